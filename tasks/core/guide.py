"""The fairness guide: from answers to the fairness metrics that fit, and from a metric to the methods that move it.

    advice = advise({"task": "binary", "who": "groups", "standard": "no", "labels": "trusted", "harm": "allocation", ...})
    advice.fitting[0].metric.name  # 'equal_opportunity'
    remedies("equal_opportunity")  # methods before, in and after fitting, with sources
    proposals(["equal_opportunity"], "binary")  # those that a case can name today

The questions join EqualityAI's tree of 2022 and its later questionnaire. Each path of the tree is a path here (`harm: rates`),
each cell of the questionnaire's table is one (`harm: allocation`), and both lead to the same metric, since a rationed resource
means that rates among those decided alike matter, and an assistive one that a wrong no is the worse error. All of it is data:
assets/guide.yaml.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, zip_longest
from reprlib import repr as short
from typing import Any, Literal, get_args

from tasks.core.candidate_spec import InMethod, PostMethod, PreMethod
from tasks.core.case import Task
from tasks.core.errors import CaseError, nearest
from tasks.core.guide_data import FairnessMetric, Impossibility, Method, Move, Question, load_guide

When = Literal["base rates differ", "if base rates differ"]
MOST = 4  # candidates proposed at a time
STAGES = {"pre": "before fitting", "in": "in fitting", "post": "after fitting"}


@dataclass(frozen=True)
class Step:
    """One answer on the path. `implied_by` names the question whose answer gave it; None where it was asked."""

    question: str
    answer: str
    means: str
    implied_by: str | None = None


@dataclass(frozen=True)
class Fitting:
    """A metric that fits, and why."""

    metric: FairnessMetric
    why: str


@dataclass(frozen=True)
class Advice:
    """What the answers lead to: the path, the metrics in the order of their importance, remarks, and what cannot be had together."""

    task: Task
    path: tuple[Step, ...]
    fitting: tuple[Fitting, ...]
    remarks: tuple[str, ...]
    impossible: tuple[tuple[When, Impossibility], ...]

    @property
    def because(self) -> str:
        """The path in words."""
        return "; ".join(f"so {step.means}" if step.implied_by else step.means for step in self.path)

    def to_dict(self, by: Sequence[str] = ()) -> dict[str, Any]:
        """JSON-ready; `by` names the cohort columns of the limits."""
        return {
            "task": self.task,
            "path": [asdict(step) for step in self.path],
            "because": self.because,
            "metrics": [describe(one.metric, self.task, by) | {"why": one.why} for one in self.fitting],
            "remarks": list(self.remarks),
            "impossible": [{"when": when, "says": one.says, "source": load_guide().sources[one.source]} for when, one in self.impossible],
        }


@dataclass(frozen=True)
class Remedy:
    """A method that moves a metric. `available`: a case can name it, with that constraint, today."""

    method: Method
    move: Move
    tasks: tuple[Task, ...]
    available: bool

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "method": self.method.name,
            "constraint": self.move.constraint,
            "when": STAGES[self.method.stage],
            "tasks": list(self.tasks),
            "estimator": self.method.estimator,
            "does": self.method.does,
            "reach": self.move.reach,
            "listed_by_equalityai": self.move.listed,
            "in_equipoise": self.available,
            "instead": list(self.method.instead),
            "sources": [load_guide().sources[name] for name in self.method.sources],
        }


def next_question(answers: Mapping[str, Any], where: str = "answers") -> Question | None:
    """The first question that these answers leave open; None when they lead to the end. Raises as `advise` does."""
    return _walk(answers, where)[1]


def advise(answers: Mapping[str, Any], where: str = "answers") -> Advice:
    """The metrics that fit. `answers` gives the id of an answer for the id of each question on the path.

    Raises: CaseError for an unknown question or answer (with the nearest), one that is missing (with what may be answered), and
    one to a question that this path does not ask, which would otherwise be passed over in silence.
    """
    guide = load_guide()
    path, due = _walk(answers, where)
    if due is not None:
        raise CaseError(f"`{due.id}` is not answered: {due.asks}", where=where, fix=f"Answer {_one_of(due)}.")
    facts = {step.question: step.answer for step in path}
    idle = [name for name in answers if name not in {step.question for step in path if step.implied_by is None}]
    if idle:
        fixed = f" (its answer is `{facts[idle[0]]}`, from the others)" if idle[0] in facts else ""
        raise CaseError(f"`{idle[0]}` is answered, and these answers do not lead to it{fixed}.", where=where, fix="Remove it, or change the others.")
    rules = [rule for rule in guide.rules if all(facts.get(name) == value for name, value in rule.when.items())]
    fitting = tuple(Fitting(guide.metric(name), rule.says) for rule in rules for name in rule.metrics)
    named = {one.metric.name for one in fitting}
    whens: dict[str, When] = {"differ": "base rates differ", "unknown": "if base rates differ"}
    when = whens.get(facts.get("base_rates", ""))
    impossible = tuple((when, one) for one in guide.impossibilities if when and named & set(one.metrics))
    task: Task = "regression" if facts["task"] == "regression" else "binary"
    return Advice(task, path, fitting, tuple(rule.says for rule in rules if not rule.metrics), impossible)


def describe(metric: FairnessMetric, task: Task | None = None, by: Sequence[str] = ()) -> dict[str, Any]:
    """A metric as JSON-ready values, for one task or all its tasks."""
    tasks = {task} if task else set(metric.tasks)
    return {
        "name": metric.name,
        "also": list(metric.also),
        "tasks": [one for one in metric.tasks if one in tasks],
        "asks": metric.asks,
        "formula": metric.formula,
        "measured": [{"metric": one.metric, "read": one.read} for one in metric.measured if tasks & set(one.tasks)],
        "limits": [one.entry(by) for one in metric.limits if tasks & set(one.tasks)],
        "cannot": metric.cannot,
        "sources": [load_guide().sources[name] for name in metric.sources],
    }


def remedies(name: str, task: Task | None = None) -> tuple[Remedy, ...]:
    """The methods that move a metric: the mapping, most direct first, for one task or all. Raises CaseError for an unknown metric."""
    guide = load_guide()
    metric = guide.metric(name)
    found = []
    for move in metric.moves:
        method = guide.method(move.method)
        tasks = tuple(one for one in method.tasks if one in metric.tasks and one in move.tasks and task in (None, one))
        if tasks:
            found.append(Remedy(method, move, tasks, _available(method)))
    return tuple(found)


def proposals(metrics: Iterable[str], task: Task) -> tuple[Remedy, ...]:
    """At most four remedies to try for these metrics, each available today: every metric's first, each method once while others are left."""
    pools = [[one for one in remedies(name, task) if one.available] for name in metrics]
    different: dict[tuple[str, str | None], Remedy] = {}
    first: dict[str, Remedy] = {}
    for one in filter(None, chain.from_iterable(zip_longest(*pools))):  # in turns, so that no metric takes all places
        different.setdefault((one.method.name, one.move.constraint), one)
        first.setdefault(one.method.name, one)
    return tuple(sorted(different.values(), key=lambda one: first[one.method.name] is not one)[:MOST])


def _available(method: Method) -> bool:
    """Whether a candidate of a case can name the method."""
    return method.ours and method.name in get_args({"pre": PreMethod, "in": InMethod, "post": PostMethod}[method.stage])


def _walk(answers: Mapping[str, Any], where: str) -> tuple[tuple[Step, ...], Question | None]:
    """The path as far as the answers go, and the question they leave open."""
    questions = load_guide().questions
    ids = [one.id for one in questions]
    for name in answers:
        if name not in ids:
            raise CaseError(f"{short(name)} is not a question of the guide.", where=where, fix=nearest(str(name), ids))
    facts: dict[str, str] = {}
    path: list[Step] = []
    for question in questions:
        if not question.is_due(facts):
            continue
        if question.id not in answers:
            return tuple(path), question
        given = answers[question.id]
        answer = next((one for one in question.answers if one.id == given), None)
        if answer is None:
            close = nearest(str(given), [one.id for one in question.answers])
            fix = close if close.startswith("Did") else f"Answer {_one_of(question)}."
            raise CaseError(f"{short(given)} is not an answer to `{question.id}`.", where=where, fix=fix)
        path.append(Step(question.id, answer.id, answer.means))
        facts[question.id] = answer.id
        for other, value in answer.implies.items():
            implied = next(one for asked in questions if asked.id == other for one in asked.answers if one.id == value)
            path.append(Step(other, value, implied.means, question.id))
            facts[other] = value
    return tuple(path), None


def _one_of(question: Question) -> str:
    *others, last = (f"`{one.id}`" for one in question.answers)
    return f"{', '.join(others)} or {last}"

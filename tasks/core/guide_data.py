"""The form of the fairness guide's data, and its one instance: assets/guide.yaml, checked when it is read.

What is checked beyond the form: every question, answer, metric, method and source that an entry names is there, a question
depends only on those asked before it, and no other name of a metric is used twice.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import yaml
from pydantic import Field, model_validator

from tasks.core.case import Task
from tasks.core.errors import CaseError, nearest
from tasks.core.strict import Strict

Facts = Mapping[str, str]
Stage = Literal["pre", "in", "post"]
BOTH: tuple[Task, ...] = ("binary", "regression")


class Answer(Strict):
    """One answer to a question."""

    id: str = Field(description="What an answers file writes.")
    says: str = Field(description="How it is offered.")
    means: str = Field(description="How the path tells it.")
    implies: dict[str, str] = Field(default_factory=dict, description="Answers to other questions that follow from it.")


class Question(Strict):
    """One question, asked when nothing else has answered it and one of `when` holds."""

    id: str = Field(description="What an answers file writes.")
    asks: str = Field(description="The question.")
    hint: str | None = Field(None, description="What helps to answer it.")
    origin: tuple[Literal["tree", "questionnaire", "ours"], ...] = Field(alias="from", min_length=1, description="Who asks it.")
    when: tuple[dict[str, tuple[str, ...]], ...] = Field(({},), description="Alternatives: for each question named, the answers it may have had.")
    answers: tuple[Answer, ...] = Field(min_length=2, description="What may be answered.")

    def is_due(self, facts: Facts) -> bool:
        """Whether it is to be asked when `facts` are known."""
        return self.id not in facts and any(all(facts.get(name) in allowed for name, allowed in one.items()) for one in self.when)


class Rule(Strict):
    """What fits when all of `when` hold; a remark where no metric is named."""

    when: dict[str, str] = Field(min_length=1)
    metrics: tuple[str, ...]
    says: str


class Impossibility(Strict):
    """What cannot hold together when base rates differ."""

    id: str
    metrics: tuple[str, ...] = Field(min_length=2)
    says: str
    source: str


class Reading(Strict):
    """One metric of tasks.core.metrics and how to read it."""

    metric: str
    read: Literal["gap", "cohort", "summary"]
    tasks: tuple[Task, ...] = BOTH


class Bound(Strict):
    """One entry of a case's `limits`; without `at_most` it is in a unit of the target's."""

    metric: str
    over: Literal["gap", "every"]
    at_most: float | None = None
    tasks: tuple[Task, ...] = BOTH

    def entry(self, by: Iterable[str]) -> dict[str, Any]:
        """The entry as a case has it; `at_most` is None where the case's own bound goes."""
        return {"metric": self.metric, self.over: list(by), "at_most": self.at_most, "must_show": "no_worse"}


class Move(Strict):
    """A method that moves a metric."""

    method: str
    reach: Literal["direct", "indirect"]
    constraint: str | None = None
    params: dict[str, float] = Field(default_factory=dict)
    tasks: tuple[Task, ...] = BOTH
    listed: bool = False


class FairnessMetric(Strict):
    """One notion of fairness: what it asks, how it is measured here, what moves it."""

    name: str
    also: tuple[str, ...] = ()
    tasks: tuple[Task, ...] = Field(min_length=1)
    asks: str
    formula: str
    measured: tuple[Reading, ...] = ()
    limits: tuple[Bound, ...] = ()
    cannot: str | None = None
    sources: tuple[str, ...] = Field(min_length=1)
    moves: tuple[Move, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _honest(self) -> "FairnessMetric":
        if not self.measured and self.cannot is None:
            raise ValueError(f"`{self.name}` is neither measured nor said not to be")
        return self


class Method(Strict):
    """One way to mitigate. `name` is the case file's where it is Equipoise's."""

    name: str
    stage: Stage
    tasks: tuple[Task, ...] = Field(min_length=1)
    estimator: str
    does: str
    listed_as: str | None = None
    ours: bool = True
    instead: tuple[str, ...] = ()
    sources: tuple[str, ...] = Field(min_length=1)


class Guide(Strict):
    """All of it."""

    questions: tuple[Question, ...]
    rules: tuple[Rule, ...]
    impossibilities: tuple[Impossibility, ...]
    metrics: tuple[FairnessMetric, ...]
    methods: tuple[Method, ...]
    sources: dict[str, str]

    @model_validator(mode="after")
    def _coherent(self) -> "Guide":
        metrics, methods = [one.name for one in self.metrics], [one.name for one in self.methods]
        names = [*metrics, *(other for one in self.metrics for other in one.also)]
        for kind, given in (("question", [one.id for one in self.questions]), ("metric", names), ("method", methods)):
            twice = [name for name, count in Counter(given).items() if count > 1]
            if twice:
                raise ValueError(f"a {kind} is named twice: {', '.join(twice)}")
        _there("metric", [name for rule in self.rules for name in rule.metrics] + [name for one in self.impossibilities for name in one.metrics], metrics)
        _there("method", [move.method for one in self.metrics for move in one.moves], methods)
        _there("method", [other for one in self.methods for other in one.instead], methods)
        cited = [one.sources for one in self.metrics] + [one.sources for one in self.methods] + [(one.source,) for one in self.impossibilities]
        _there("source", [name for sources in cited for name in sources], self.sources)
        self._questions()
        return self

    def _questions(self) -> None:
        answers = {(one.id, answer.id) for one in self.questions for answer in one.answers}
        pairs = [(name, value) for rule in self.rules for name, value in rule.when.items()]
        pairs += [pair for one in self.questions for answer in one.answers for pair in answer.implies.items()]
        pairs += [(name, value) for one in self.questions for when in one.when for name, values in when.items() for value in values]
        _there("answer", [f"{name}: {value}" for name, value in pairs], [f"{name}: {value}" for name, value in answers])
        order = [one.id for one in self.questions]
        for place, one in enumerate(self.questions):
            _there("question before", [name for when in one.when for name in when], order[:place])
            _there("question after", [name for answer in one.answers for name in answer.implies], order[place + 1 :])

    def method(self, name: str) -> Method:
        """The method of that name, which is there."""
        return next(one for one in self.methods if one.name == name)

    def metric(self, name: str) -> FairnessMetric:
        """The metric of that name or of another name for it, however written; a CaseError that points to the nearest otherwise."""
        wanted = name.strip().lower().replace("-", "_").replace(" ", "_")
        known = {other: one for one in self.metrics for other in (one.name, *one.also)}
        if wanted not in known:
            raise CaseError(f"the guide has no fairness metric {name!r}.", where="--metric", fix=_nearest_metric(wanted, known, self.metrics))
        return known[wanted]


def _nearest_metric(name: str, known: Mapping[str, FairnessMetric], metrics: Iterable[FairnessMetric]) -> str:
    close = nearest(name, known)
    return close if close.startswith("Did") else nearest(name, [one.name for one in metrics])


def _there(kind: str, named: Iterable[str], known: Iterable[str]) -> None:
    missing = sorted(set(named) - set(known))
    if missing:
        raise ValueError(f"there is no {kind} {', '.join(missing)}")


@cache
def load_guide() -> Guide:
    """The guide of the package."""
    text = files("tasks.core").joinpath("assets/guide.yaml").read_text(encoding="utf-8")
    return Guide.model_validate(yaml.safe_load(text))

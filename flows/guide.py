"""The guide at the terminal: it asks or reads the answers, says what fits and why, and writes candidates into a case."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows import terminal
from tasks.core.errors import CaseError
from tasks.io.home import Home

if TYPE_CHECKING:
    from tasks.core.case import Case
    from tasks.core.guide import Remedy
    from tasks.core.guide_data import Question

READINGS = {"gap": "the gap of {}", "cohort": "{} of each cohort", "summary": "the summary {}"}
_out = Console(highlight=False)


def guide(*, answers: Path | None = None, metric: str | None = None, write: str | None = None, by: Sequence[str] = ()) -> dict[str, Any]:
    """Name the fairness metrics that fit the answers, or with `metric` the methods that move it; with `write`, add candidates to that case.

    answers: a YAML file of question ids and answer ids; asked one by one unless given. by: the cohort columns aimed at. Nothing is
    written before the last answer is in. Returns what was shown as JSON-ready values; with `write`, the candidates `added` and those `already` there.

    Raises: CaseError for both `answers` and `metric`, for answers that do not lead to an end, and for a case that the candidates do not fit.
    """
    from tasks.io.case_edits import open_case

    if answers is not None and metric is not None:
        raise CaseError("--answers asks which metric fits, and --metric names one.", fix="Give one of the two.")
    project = Home.from_environment().project
    case = open_case(write, project, by) if write else None  # before the first question
    found, names = _mapped(metric, case, by) if metric is not None else _advised(answers, case, by)
    if case:
        found |= _write(case, project, names, by)
    terminal.closing(**_closing(found, names, case, metric))
    return found


def _mapped(metric: str, case: "Case | None", by: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """What moves a metric, shown and returned, and the metric's own name."""
    from tasks.core.guide import describe, remedies
    from tasks.core.guide_data import load_guide

    chosen, task = load_guide().metric(metric), case.task if case else None
    if case and case.task not in chosen.tasks:
        stated = f"`{chosen.name}` is for {' and '.join(chosen.tasks)} tasks, and the task of {case.case} is {case.task}."
        raise CaseError(stated, where="--metric", fix=f"`equipoise guide --write {case.case}` without --metric asks which metric fits.")
    found = describe(chosen, task, by) | {"methods": [one.to_dict() for one in remedies(chosen.name, task)]}
    _show_metric(found)
    _show_methods(found["methods"])
    return found, [chosen.name]


def _advised(answers: Path | None, case: "Case | None", by: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """What fits the answers, shown and returned, and the names of the metrics."""
    from tasks.core.guide import advise

    where = str(answers or "answers")
    given = _read(answers) if answers is not None else _asked(case)
    advice = advise(given, where=where)
    if case and advice.task != case.task:
        stated = f"`task` is `{advice.task}`, and the task of {case.case} is {case.task}."
        raise CaseError(stated, where=where, fix=f"Answer for {case.case}, or name another case.")
    found = advice.to_dict(by)
    _show_advice(found)
    if answers is None:
        _show_answers(given)
    return found, [one.metric.name for one in advice.fitting]


def _read(path: Path) -> dict[str, Any]:
    from tasks.io.documents import read_yaml

    return read_yaml(path, shown=str(path))


def _asked(case: "Case | None") -> dict[str, str]:
    """The answers, question by question. What the case says already is not asked."""
    from tasks.core.guide import next_question

    given: dict[str, str] = {"task": case.task} if case else {}
    while (question := next_question(given)) is not None:
        given[question.id] = _ask(question)
    return given


def _ask(question: "Question") -> str:
    """One answer, by its number or its id; asked again until it is one."""
    terminal.line("")
    terminal.line(question.asks)
    if question.hint:
        terminal.line(f"  ({question.hint})")
    ids = [one.id for one in question.answers]
    for number, one in enumerate(question.answers, start=1):
        terminal.line(f"  {number}  {one.says}  [{one.id}]")
    while True:
        try:
            reply = input("Answer: ").strip().lower()
        except EOFError as error:
            raise CaseError(f"`{question.id}` is not answered: there is nothing more to read.", fix="Give --answers FILE, or run it in a terminal.") from error
        if reply in ids:
            return reply
        if reply.isdecimal() and 1 <= int(reply) <= len(ids):
            return ids[int(reply) - 1]
        terminal.warn(f"{reply!r} is not an answer: type 1 to {len(ids)}, or {', '.join(ids)}.")


def _write(case: "Case", project: Path, names: Sequence[str], by: Sequence[str]) -> dict[str, Any]:
    from tasks.core.guide import proposals
    from tasks.io.case_edits import add_candidates

    found: tuple[Remedy, ...] = proposals(names, case.task)
    if not found:
        what = f"no method that moves {' or '.join(names)} can be named in a case yet" if names else "no metric fits yet, so there is nothing to move"
        fix = "equipoise guide --metric NAME shows what there is for a metric."
        raise CaseError(f"{what}; nothing is written.", where=f"configs/{case.case}.yaml", fix=fix)
    why = f"Proposed by `equipoise guide` for {' and '.join(names)}; training shows what they do and cost."
    edited = add_candidates(case.case, project, found, by, why)
    if tuple(by) not in case.cohorts.by:
        terminal.warn(f"`cohorts.by` of {case.case} has no [{', '.join(by)}]: add it, or no limit on its gap can be judged.")
    return {"added": list(edited.added), "already": list(edited.already)}


def _show_advice(found: Mapping[str, Any]) -> None:
    terminal.line("")
    terminal.line(f"Because {found['because']}:")
    for one in found["metrics"]:
        _show_metric(one)
    for remark in found["remarks"]:
        terminal.warn(remark)
    for one in found["impossible"]:
        terminal.warn(f"{one['when'].capitalize()}{':' if one['when'].startswith('if') else ', so:'} {one['says']} ({one['source']})")


def _show_metric(one: Mapping[str, Any]) -> None:
    """What a metric asks, how it is measured here, and the limit that would hold it."""
    _out.print()
    _out.print(f"[bold]{escape(one['name'])}[/]  {escape(one['asks'])}", soft_wrap=True)
    _fact("why", one.get("why", ""))
    _fact("formula", one["formula"])
    _fact("measured as", "; ".join(READINGS[reading["read"]].format(f"`{reading['metric']}`") for reading in one["measured"]))
    for limit in one["limits"]:
        _fact("limit", f"- {_flow(limit)}")
    _fact("not yet", one["cannot"] or "")
    for source in one["sources"]:
        _fact("source", source)


def _fact(word: str, text: str) -> None:
    if text:
        _out.print(f"  {word:<12} {escape(text)}", soft_wrap=True)


def _flow(limit: Mapping[str, Any]) -> str:
    """A limit as a case has it; BOUND and COLUMN stand for what is the user's to say."""
    shown = {key: "BOUND" if value is None else f"[{', '.join(value) or 'COLUMN'}]" if isinstance(value, list) else value for key, value in limit.items()}
    return "{" + ", ".join(f"{key}: {value}" for key, value in shown.items()) + "}"


def _show_methods(methods: Iterable[Mapping[str, Any]]) -> None:
    _out.print()
    table = Table(title="Methods that move it, the most direct first", title_justify="left", title_style="bold")
    for column in ("method", "constraint", "when", "tasks", "estimator", "reach", "in a case", "EqualityAI"):
        table.add_column(column, overflow="fold")
    for one in methods:
        there = "yes" if one["in_equipoise"] else f"no; see {', '.join(one['instead'])}" if one["instead"] else "not yet"
        cells = (one["method"], one["constraint"] or "–", one["when"], ", ".join(one["tasks"]), one["estimator"], one["reach"], there)
        table.add_row(*map(escape, cells), "lists it" if one["listed_by_equalityai"] else "–")
    _out.print(table)
    for name, one in {one["method"]: one for one in methods}.items():
        terminal.line(f"{name}: {one['does']} ({'; '.join(one['sources'])})")


def _show_answers(given: Mapping[str, str]) -> None:
    """The answers as a file that --answers reads, so that the same advice can be had again."""
    terminal.line("")
    terminal.line("Your answers, for --answers FILE:")
    for name, answer in given.items():
        terminal.line(f"{name}: {json.dumps(answer)}")


def _closing(found: Mapping[str, Any], names: Sequence[str], case: "Case | None", metric: str | None) -> dict[str, str]:
    if case:
        already = f"; already there: {', '.join(found['already'])}" if found["already"] else ""
        made = f"{len(found['added'])} candidates in configs/{case.case}.yaml{': ' if found['added'] else ''}{', '.join(found['added'])}{already}"
        return {"made": made, "look": f"configs/{case.case}.yaml", "then": f"equipoise train {case.case}"}
    then = f"equipoise guide --metric {names[0]}" if names and metric is None else "equipoise guide --write CASE --by COLUMN adds candidates to a case"
    return {"made": "nothing: this only advises", "look": "docs/guide.md", "then": then}

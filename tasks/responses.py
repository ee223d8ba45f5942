"""Step: do what the case's rules ask for about an incident, once each; stop scoring, and take it up again."""

from collections.abc import Collection, Sequence
from typing import Any

from prefect.artifacts import Artifact, create_markdown_artifact

from tasks.core.card import plain
from tasks.core.errors import DataError, EquipoiseError, UnavailableError
from tasks.core.incidents import RETRAIN, Incident, answer, no_training, not_serving, results, stopped, told_channels, trained_up_to, unanswered
from tasks.core.operations import Action
from tasks.core.review import Event, production_version
from tasks.io import addresses
from tasks.io.channels import Notice, channel_name, deliver
from tasks.io.documents import load_people
from tasks.io.ledger import Entry
from tasks.io.provenance import author
from tasks.io.workbench import Workbench
from tasks.step import say, step


def next_unanswered(bench: Workbench, tried: Collection[tuple[int, Action]]) -> tuple[Incident, Action] | None:
    """The first action that is still to be done, without those that were tried (by incident and action)."""
    found = unanswered(bench.ledger.events(bench.case.case))
    return next(((incident, action) for incident, action in found if (incident.sequence, action) not in tried), None)


@step("stop scoring")
def stop_scoring(bench: Workbench, incident: Incident) -> str:
    """Stop the scoring of the case while the incident's version is in production, until somebody resumes it. Returns: what was done."""

    def entry(events: list[Event]) -> Entry | None:
        if stopped(events) is not None or not_serving(events, incident.version):
            return None
        return "stopped", incident.version, {"incident": incident.sequence, "by": "rule", "why": incident.reason}, ()

    if bench.ledger.enter(bench.case.case, entry) is not None:
        return record_answer(bench, incident, "stop", "scoring is stopped")
    events = bench.ledger.events(bench.case.case)
    return record_answer(bench, incident, "stop", not_serving(events, incident.version) or "scoring was stopped already")


@step("ask for training")
def ask_for_training(bench: Workbench, incident: Incident) -> str:
    """Ask for training on the window that ends with the newest labelled period, once for each such window. Returns: what was done; empty
    while no labels are newer than those that a version was trained on: it stays unanswered until they come.

    The event that starts the training is emitted by `announce`. Training goes through the gate, and a review stands before production.
    """
    period = max(bench.periods("labels"), default="")

    def entry(events: list[Event]) -> Entry | None:
        needless = no_training(events, incident, period)
        if answer(events, incident, "retrain") is not None or not (needless or period > trained_up_to(events)):
            return None
        body = _response(incident, "retrain", needless or f"training was asked for, on labels up to {period}")
        return "responded", incident.version, body if needless else {**body, "period": period}, () if needless else (RETRAIN,)

    made = bench.ledger.enter(bench.case.case, entry)
    if made is None:
        say(f"incident {incident.sequence}: training waits for labels newer than {trained_up_to(bench.ledger.events(bench.case.case)) or 'none'}")
    return _said(incident, "retrain", made)


@step("notify", retries=0)  # a channel is tried again where it makes sense, and the others should not wait for it
def notify(bench: Workbench, incident: Incident) -> str:
    """Tell every channel of the case once, and leave an artifact in Prefect. Returns: who was told.

    Raises: UnavailableError naming each channel that did not take it; the others have been told, and are not told again.
    """
    case = bench.case.case
    events = bench.ledger.events(case)
    notice = _notice(bench, incident, results(events, incident))
    _leave(notice, f"{case.replace('_', '-')}-incident-{incident.sequence}")
    told, untold = set(told_channels(events, incident)), list[str]()
    for channel in bench.case.monitoring.notify:
        name = channel_name(channel)
        if name in told:
            continue
        try:
            deliver(channel, notice)
        except EquipoiseError as error:
            untold.append(f"{error.where}: {error.message}")
            continue
        told.add(name)
        bench.ledger.append(case, "responded", incident.version, _response(incident, "notify", f"told {name}") | {"channel": name})
    if untold:
        raise UnavailableError("; ".join(untold))
    return record_answer(bench, incident, "notify", f"told {', '.join(sorted(told))}" if told else "an artifact was left in Prefect")


def record_answer(bench: Workbench, incident: Incident, action: Action, result: str) -> str:
    """Enter what was done about an incident, once. Returns: the result."""

    def entry(events: list[Event]) -> Entry | None:
        return None if answer(events, incident, action) is not None else ("responded", incident.version, _response(incident, action, result), ())

    _said(incident, action, bench.ledger.enter(bench.case.case, entry))
    return result


@step("resume scoring")
def resume_scoring(bench: Workbench, why: str, by: str = "") -> int:
    """Take scoring up again, recorded. Returns: the entry that had stopped it.

    by: who, by a name or account of configs/reviewers.yaml: somebody who may promote. Whoever runs this, unless given.
    Raises: DataError where nothing is stopped, or without a reason; AccessError for somebody who may not.
    """
    case = bench.case.case
    if not why.strip():
        raise DataError("Scoring is taken up again for a reason.", fix="Give --why TEXT.")
    name = load_people(bench.home.project).authorise("promote", by or author())

    def entry(events: list[Event]) -> Entry | None:
        stop = stopped(events)
        return None if stop is None else ("resumed", production_version(events), {"stopped": stop.sequence, "why": why.strip(), "by": name}, ())

    made = bench.ledger.enter(bench.case.case, entry)
    if made is None:
        raise DataError(f"Scoring of `{case}` is not stopped.", fix=f"Run: equipoise status {case}")
    say(f"scoring of {case} is taken up again by {name}")
    return int(made.body["stopped"])


def refuse_stopped(bench: Workbench) -> None:
    """Raise DataError when the scoring of the case is stopped."""
    case = bench.case.case
    stop = stopped(bench.ledger.events(case))
    if stop is not None:
        raise DataError(
            f"Scoring of `{case}` was stopped on {stop.at[:10]} for incident {stop.body['incident']}: {stop.body['why']}",
            fix=f"Look at: equipoise ledger {case}. When it is mended, run: equipoise resume {case} --why TEXT",
        )


def still_serves(bench: Workbench, version: int) -> bool:
    """Whether a version is in production by the record, and scoring is not stopped: both may change while a run is at work."""
    events = bench.ledger.events(bench.case.case)
    return production_version(events) == version and stopped(events) is None


def _leave(notice: Notice, key: str) -> None:
    """An artifact in Prefect; none where the one there says the same, as when a channel that is down is tried again."""
    parts = [f"# {plain(notice.title)}", plain(notice.text), *(f"[{plain(name)}]({url})" for name, url in notice.look.items()), f"Next: `{notice.then}`"]
    text = "\n\n".join(parts)
    left: Any = Artifact.get(key)
    if left is None or left.data != text:
        create_markdown_artifact(text, key=key, description=notice.title)


def _notice(bench: Workbench, incident: Incident, done: Sequence[str]) -> Notice:
    case, version = incident.case, incident.version
    text = ". ".join(part.rstrip(".") for part in (incident.reason, *(f"Done: {one}" for one in done))) + "."
    then = f"equipoise resume {case} --why TEXT, once it is mended" if "stop" in incident.actions else f"equipoise status {case}"
    return Notice(
        id=str(incident.id),
        title=f"{case} version {version} in {incident.period}: {incident.kind}" + f" of {incident.subject}" * bool(incident.subject) + f", {incident.severity}",
        text=text,
        severity=incident.severity,
        look={**({"What was found": incident.page} if incident.page else {}), "The version": addresses.version_page(bench.home, case, version)},
        then=then,
        facts=incident.facts,
    )


def _response(incident: Incident, action: Action, result: str) -> dict[str, Any]:
    return {"incident": incident.sequence, "action": action, "result": result}


def _said(incident: Incident, action: Action, made: Event | None) -> str:
    """Tell the user of an answer that was entered just now."""
    if made is None:
        return ""
    say(f"incident {incident.sequence}: {action}: {made.body['result']}")
    return str(made.body["result"])

"""Step: from alerts to action: open and resolve incidents, tell Prefect, and do what the case's rules ask for, once each."""

import datetime as dt
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import httpx
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.events.schemas.events import Event as PrefectEvent
from prefect.events.schemas.events import Resource

from tasks.core.alerts import Alert, staleness_alerts
from tasks.core.card import plain
from tasks.core.errors import DataError, EquipoiseError, UnavailableError
from tasks.core.incidents import (
    OF_LABELS,
    Incident,
    Look,
    answer,
    incident_of,
    looks_on_record,
    news,
    no_training,
    not_serving,
    results,
    stopped,
    told_channels,
    trained_up_to,
    unanswered,
)
from tasks.core.operations import Action, FindingKind
from tasks.core.review import Event, production_version
from tasks.io import addresses
from tasks.io.channels import Notice, channel_name, deliver
from tasks.io.documents import load_people
from tasks.io.ledger import Entry
from tasks.io.provenance import author
from tasks.io.workbench import Workbench
from tasks.io.workspace import link, project_id
from tasks.step import say, step

INCIDENT = "equipoise.incident"
RETRAIN = "equipoise.retrain"


@step("raise alerts")
def raise_alerts(bench: Workbench, version: int, period: str, kinds: Collection[FindingKind], alerts: Sequence[Alert], page: str = "") -> list[int]:
    """Enter what a look at a version found: incidents that are new or have become critical, and those that are over. The same look twice,
    or in two processes at once, enters it once.

    period: the newest one looked at. kinds: those that this look covers wholly, with every subject. page: the link to look at.
    Returns: the sequence numbers of the incidents entered.
    """
    return _raise(bench, version, lambda _: [(period, kinds, alerts)], lambda _: page)


@step("raise alerts on record")
def raise_recorded(bench: Workbench, version: int) -> list[int]:
    """Enter what the record says of the periods that a version served, and of their labels. A run that died after a period was on record
    has lost no alert: the next one enters it, once. Returns: as `raise_alerts`.
    """
    case, evidently = bench.case.case, addresses.page(bench.home, "evidently")
    turns = Counter(event.body["period"] for event in bench.ledger.events(case) if event.kind == "served" and event.version == version)

    def page(look: Look) -> str:
        period, kinds, _ = look
        run = bench.workspace.run(case, period, version, revision=turns[period]) if kinds != OF_LABELS else None
        return link(project_id(case), evidently, run)

    return _raise(bench, version, lambda events: looks_on_record(events, version), page)


@step("raise a refusal")
def raise_refused(bench: Workbench, version: int, period: str, error: EquipoiseError) -> None:
    """Raise an alert of a period that was not scored, since its data were refused, and tell Prefect of all that is on record."""
    raise_recorded.fn(bench, version)
    raise_alerts.fn(bench, version, period, ("data quality",), [Alert("data quality", "critical", period, f"{period} was not scored: {error}", "refused")])
    announce.fn(bench)


@step("look at the age of the newest period")
def raise_staleness(bench: Workbench, version: int) -> None:
    """Raise an alert when the newest period that a version scored ended longer ago than the case allows."""
    served = [event.body["period"] for event in bench.ledger.events(bench.case.case) if event.kind == "served" and event.version == version]
    if served and bench.case.monitoring.stale_days is not None:
        alerts = staleness_alerts(max(served), dt.datetime.now(dt.UTC).date(), bench.case.monitoring.stale_days)
        raise_alerts.fn(bench, version, max(served), ("staleness",), alerts)


@step("tell Prefect")
def announce(bench: Workbench) -> None:
    """Emit the Prefect events that the record still has to emit: `equipoise.incident` for each incident, `equipoise.retrain` for each
    training that was asked for. A crash loses none; it may send one twice, under the same id.

    Raises: UnavailableError when Prefect does not take them.
    """
    case = bench.case.case
    for entry, what in bench.ledger.errands(case):
        if what == INCIDENT:
            incident = incident_of(entry)
            _emit(INCIDENT, case, incident.id, incident.facts)
        elif what == RETRAIN:
            _emit(RETRAIN, case, uuid.uuid5(uuid.NAMESPACE_URL, f"{RETRAIN}/{case}/{entry.sequence}/{entry.at}"), {"case": case, **entry.body})
        else:
            continue
        bench.ledger.done(entry, what)


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
    parts = [f"# {plain(notice.title)}", plain(notice.text), *(f"[{plain(name)}]({url})" for name, url in notice.look.items()), f"Next: `{notice.then}`"]
    create_markdown_artifact("\n\n".join(parts), key=f"{case.replace('_', '-')}-incident-{incident.sequence}", description=notice.title)
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


def _raise(bench: Workbench, version: int, looks: Callable[[list[Event]], list[Look]], page: Callable[[Look], str]) -> list[int]:
    """Enter what looks at a version add to the record, oldest look first; page: the link to what a look has found."""

    def entry(events: list[Event]) -> Entry | None:
        for look in looks(events):
            period, kinds, alerts = look
            entries, over = news(events, version, period, kinds, alerts, bench.case.monitoring.rules)
            if entries:
                return "incident", version, {**entries[0], "page": page(look)}, (INCIDENT,)
            if over:
                return "resolved", version, {"key": over[0], "period": period}, ()
        return None

    opened = []
    while (event := bench.ledger.enter(bench.case.case, entry)) is not None:
        if event.kind == "incident":
            opened.append(event.sequence)
            say(f"incident {event.sequence}, {event.body['severity']}: {event.body['key']}: {event.body['reason']}")
        else:
            say(f"incident resolved in {event.body['period']}: {event.body['key']}")
    return opened


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


def _emit(name: str, case: str, identity: uuid.UUID, payload: Mapping[str, Any]) -> None:
    """Hand an event to Prefect and wait until it has it: what `emit_event` queues is lost with its process."""
    resource = Resource({"prefect.resource.id": f"equipoise.case.{case}", "prefect.resource.name": case})
    event = PrefectEvent(occurred=dt.datetime.now(dt.UTC), event=name, resource=resource, payload=dict(payload), id=identity)
    try:
        with get_client(sync_client=True) as client:
            client.request("POST", "/events", json=[event.model_dump(mode="json")])
    except (httpx.HTTPError, OSError) as error:
        raise UnavailableError(f"Prefect took no event ({type(error).__name__}).", where=name, fix="Start it: equipoise up.") from error

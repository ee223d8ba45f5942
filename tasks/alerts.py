"""Step: from what was found to the record: open and resolve incidents, and tell Prefect of what has to follow."""

import datetime as dt
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import httpx
from prefect.client.orchestration import get_client
from prefect.events.schemas.events import Event as PrefectEvent
from prefect.events.schemas.events import Resource

from tasks.core.alerts import Alert, period_alert
from tasks.core.errors import EquipoiseError, UnavailableError
from tasks.core.incidents import INCIDENT, OF_LABELS, RETRAIN, Look, incident_of, looks_at_age, looks_on_record, mended, news
from tasks.core.operations import FindingKind
from tasks.core.review import Event
from tasks.io import addresses
from tasks.io.ledger import Entry
from tasks.io.workbench import Workbench
from tasks.io.workspace import link, project_id
from tasks.step import say, step


@step("raise alerts")
def raise_alerts(bench: Workbench, version: int, period: str, kinds: Collection[FindingKind], alerts: Sequence[Alert], page: str = "") -> list[int]:
    """Enter what a look at a version found: incidents that are new or have become critical, and those that are over. The same look twice,
    or in two processes at once, enters it once.

    period: the newest one looked at. kinds: those that this look covers wholly, with every subject; none for what is wrong with one period by
    itself. page: the link to look at.
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
    """Raise an alert of a period that was not scored, since its data were refused, and tell Prefect of all that is on record. It is over when
    that period is scored, and no other says anything of it.
    """
    raise_recorded.fn(bench, version)
    raise_alerts.fn(bench, version, period, (), [period_alert("refused", period, error)])
    announce.fn(bench)


@step("look at the age of the newest period")
def raise_staleness(bench: Workbench, version: int) -> None:
    """Raise an alert when the newest period that a version scored ended longer ago than the case allows; of one that has scored none, the
    newest that was scored before it or that it was trained on.
    """
    stale_days = bench.case.monitoring.stale_days
    if stale_days is not None:
        today = dt.datetime.now(dt.UTC).date()
        _raise(bench, version, lambda events: looks_at_age(events, version, today, stale_days), lambda _: "")


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


def _raise(bench: Workbench, version: int, looks: Callable[[list[Event]], list[Look]], page: Callable[[Look], str]) -> list[int]:
    """Enter what looks at a version add to the record, oldest look first, after what the record itself has ended; page: the link to what a
    look has found.
    """

    def entry(events: list[Event]) -> Entry | None:
        if ended := mended(events, version):
            key, period = ended[0]
            return "resolved", version, {"key": key, "period": period}, ()
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


def _emit(name: str, case: str, identity: uuid.UUID, payload: Mapping[str, Any]) -> None:
    """Hand an event to Prefect and wait until it has it: what `emit_event` queues is lost with its process."""
    resource = Resource({"prefect.resource.id": f"equipoise.case.{case}", "prefect.resource.name": case})
    event = PrefectEvent(occurred=dt.datetime.now(dt.UTC), event=name, resource=resource, payload=dict(payload), id=identity)
    try:
        with get_client(sync_client=True) as client:
            client.request("POST", "/events", json=[event.model_dump(mode="json")])
    except (httpx.HTTPError, OSError) as error:
        raise UnavailableError(f"Prefect took no event ({type(error).__name__}).", where=name, fix="Start it: equipoise up.") from error

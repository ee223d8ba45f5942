"""What there is of a case, from the store, the ledger and the registry."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.core.carbon import status_rows
from tasks.core.errors import UnavailableError
from tasks.core.incidents import open_incidents, stopped, unanswered
from tasks.core.review import Event, production_version, reviews_of
from tasks.io.performances import monitored, newest_by_period
from tasks.io.workbench import Workbench

Row = tuple[str, str]


@dataclass(frozen=True)
class Status:
    """Rows of (what, state), and the command that makes sense next."""

    rows: tuple[Row, ...]
    advice: str


def status_of(bench: Workbench) -> Status:
    """Snapshots, versions with their gate and reviews, production, what it scored, what was found, what is left to do, and its carbon."""
    case = bench.case.case
    events = bench.ledger.events(case)
    taken, labelled = bench.periods("features"), bench.periods("labels")
    registered = [event for event in events if event.kind == "registered"]
    production = production_version(events)
    rows = [("snapshots", f"{len(taken)}: {taken[0]} to {taken[-1]}" + (f"; labels to {labelled[-1]}" if labelled else "; no labels yet") if taken else "none")]
    rows += [_version(events, event) for event in registered]
    rows.append(("production", _production(bench, registered, production)))
    served = _newest([event for event in events if event.kind == "served"])
    rows += _service(served)
    if production is not None:
        rows += _findings(bench, events, production)
    if errands := bench.ledger.errands(case):
        waiting = ", ".join(sorted({what for _, what in errands}))
        rows.append(("not shown yet", f"{len(errands)} entries wait for {waiting}"))
    refused = [event for event in events if event.kind == "refused"]
    if refused:
        rows.append(("last refusal", f"version {refused[-1].version}: {'; '.join(refused[-1].body['missing'])}"))
    rows += status_rows(events, bench.case.carbon.budget_kg, dt.datetime.now(dt.UTC).date())
    return Status(tuple(rows), _advice(bench, events, taken, [event.version or 0 for event in registered], production))


def _version(events: Sequence[Event], event: Event) -> Row:
    reviews = reviews_of(events, event.version or 0)
    verdict = f"{reviews[-1].verdict}d by {reviews[-1].reviewer}".replace("rejectd", "rejected") if reviews else "not reviewed"
    short = sum(check["outcome"] != "passed" for check in event.body["decision"]["checks"])
    gate = "gate passed" if not short else f"gate: {short} not passed"
    return f"version {event.version}", f"{event.body['candidate']}, trained on {', '.join(event.body['periods'])}; {gate}; {verdict}"


def _production(bench: Workbench, registered: Sequence[Event], production: int | None) -> str:
    if production is None:
        return "none"
    try:
        alias = bench.registry.alias(bench.case.case, "production") if registered else None
    except UnavailableError:
        return f"version {production} (MLflow is not there)"
    return f"version {production}" + ("" if alias == production else f" (MLflow's alias says {alias or 'none'})")


def _newest(served: Sequence[Event]) -> list[Mapping[str, Any]]:
    """The record's last word on each period, whichever version it was of, oldest period first; with `version`."""
    newest = {str(event.body["period"]): {**event.body, "version": event.version} for event in served}
    return [newest[period] for period in sorted(newest)]


def _service(served: Sequence[Mapping[str, Any]]) -> list[Row]:
    if not served:
        return [("last inference", "none"), ("drift", "not measured")]
    last, drifted = served[-1], [body for body in served if body["drifted"]]
    rows = [("last inference", f"{last['period']} with version {last['version']}, {last['rows']:,} rows")]
    if again := [f"{body['period']} (revision {body['revision']})" for body in served if body.get("revision", 1) > 1]:
        rows.append(("scored again", ", ".join(again)))
    if partial := [f"{body['period']} lacks {len(body['missing_parts'])} part(s)" for body in served if body.get("missing_parts")]:
        rows.append(("partial", ", ".join(partial)))
    columns = ", ".join(map(str, drifted[-1]["drifted_columns"])) if drifted else ""
    rows.append(("drift", f"in {', '.join(body['period'] for body in drifted)}; last: {columns}" if drifted else "none seen"))
    return rows


def _findings(bench: Workbench, events: Sequence[Event], production: int) -> list[Row]:
    rows = []
    entries = newest_by_period(monitored(bench, production))
    if entries:
        last = list(entries.values())[-1].body
        rows.append(("performance", f"{last['period']}: {last['verdict']}, on {last['rows']:,} labels; labels of {len(entries)} period(s) so far"))
    if (stop := stopped(events)) is not None:
        rows.append(("stopped", f"since {stop.at[:10]}: {stop.body['why']}"))
    for incident in open_incidents(events, production):
        rows.append((f"incident {incident.sequence}", f"{incident.severity}, since {incident.period}: {incident.reason}"))
    if waiting := unanswered(events):
        rows.append(("unanswered", ", ".join(f"{action} for incident {incident.sequence}" for incident, action in waiting)))
    return rows


def _advice(bench: Workbench, events: Sequence[Event], taken: Sequence[str], versions: Sequence[int], production: int | None) -> str:
    case = bench.case.case
    if not taken:
        return f"equipoise snapshot {case}"
    if not versions:
        return f"equipoise train {case}"
    if production is None:
        return f"equipoise review {case} {versions[-1]} --approve --reviewer NAME --notes TEXT, then: equipoise promote {case} {versions[-1]}"
    if stopped(events) is not None:
        return f"equipoise resume {case} --why TEXT, once it is mended"
    if unanswered(events):
        return f"equipoise respond {case}"
    served = {event.body["period"] for event in events if event.kind == "served" and event.version == production}
    if not served or max(taken) > max(served) or bench.ledger.errands(case):
        return f"equipoise infer {case}"
    return f"equipoise monitor {case}"

"""What there is of a case, from the store, the ledger and the registry."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.core.carbon import status_rows
from tasks.core.errors import UnavailableError
from tasks.core.incidents import Incident, looks_at_age, open_incidents, stopped, unanswered
from tasks.core.review import Event, production_version, registration, reviews_of
from tasks.io.performances import ERRANDS, awaiting, is_due, monitored, newest_by_period, served_periods, served_whole
from tasks.io.workbench import Workbench

Row = tuple[str, str]


@dataclass(frozen=True)
class Status:
    """Rows of (what, state), and the command that makes sense next."""

    rows: tuple[Row, ...]
    advice: str


@dataclass(frozen=True)
class Due:
    """What production has yet to do, oldest period first. `scores`: periods to score, each with why; `labels`: periods that it scored whose
    labels have come and are not held against it as they are; `taken`: when the snapshot of either was taken, ISO 8601, by kind and period.
    """

    scores: Mapping[str, str]
    labels: tuple[str, ...]
    taken: Mapping[tuple[str, str], str]

    def __str__(self) -> str:
        scores = "score " + ", ".join(f"{period} ({why})" for period, why in self.scores.items())
        labels = f"hold {', '.join(self.labels)} against the labels"
        return "; ".join(text for text, found in ((scores, self.scores), (labels, self.labels)) if found) or "nothing"


def status_of(bench: Workbench) -> Status:
    """Snapshots, versions with their gate and reviews, production, what it scored, what is due, what was found, what is left to do, and its
    carbon.
    """
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
    due = Due({}, (), {})
    if production is not None:
        due = _due(bench, events, production)
        rows.append(("due", str(due)))
        rows += _findings(bench, events, production)
    if errands := bench.ledger.errands(case):
        waiting = ", ".join(sorted({what for _, what in errands}))
        rows.append(("not shown yet", f"{'1 entry waits' if len(errands) == 1 else f'{len(errands)} entries wait'} for {waiting}"))
    refused = [event for event in events if event.kind == "refused"]
    if refused:
        rows.append(("last refusal", f"version {refused[-1].version}: {'; '.join(refused[-1].body['missing'])}"))
    rows += status_rows(events, bench.case.carbon.budget_kg, dt.datetime.now(dt.UTC).date())
    return Status(tuple(rows), _advice(bench, events, taken, [event.version or 0 for event in registered], production, due))


def _due(bench: Workbench, events: Sequence[Event], version: int) -> Due:
    """By the rules of `infer` and `monitor`."""
    registered = registration(events, version)
    trained = max(registered.body["periods"]) if registered is not None else ""
    served, whole = served_periods(bench, version), served_whole(bench, version)
    scores, taken = dict[str, str](), dict[tuple[str, str], str]()
    for period in (period for period in bench.periods() if period > trained):
        source, revision = bench.newest("features", period)
        if is_due(whole, period, revision):
            last = served.get(period)
            scores[period] = "new" if last is None else "partial" if last.get("revision", 1) == revision else f"corrected, revision {revision}"
            taken["served", period] = source.created
    labels = awaiting(bench, version)
    return Due(scores, tuple(labels), taken | {("monitored", period): source.created for period, source in labels.items()})


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
    rows.append(("drift", f"in {', '.join(body['period'] for body in drifted)}; last: {_moved(drifted[-1])}" if drifted else "none seen"))
    if less := [body for body in served if not body["drifted"] and _moved(body)]:
        rows.append(("drifted columns", f"in {', '.join(body['period'] for body in less)}, less than the case calls drift; last: {_moved(less[-1])}"))
    return rows


def _moved(body: Mapping[str, Any]) -> str:
    """Names of what drifted in a served period, whether or not the period did; empty when nothing has."""
    prediction = body.get("prediction")
    return ", ".join([*map(str, body["drifted_columns"]), *(["the predictions"] if prediction and prediction["drifted"] else [])])


def _findings(bench: Workbench, events: Sequence[Event], production: int) -> list[Row]:
    rows = []
    entries = newest_by_period(monitored(bench, production))
    if entries:
        last = list(entries.values())[-1].body
        rows.append(("performance", f"{last['period']}: {last['verdict']}, on {last['rows']:,} labels; labels of {len(entries)} period(s) so far"))
    if (stale_days := bench.case.monitoring.stale_days) is not None:
        looks = looks_at_age(events, production, dt.datetime.now(dt.UTC).date(), stale_days)
        rows += [("staleness", f"{alert.severity}: {alert.reason}") for _, _, alerts in looks for alert in alerts]
    if (stop := stopped(events)) is not None:
        rows.append(("stopped", f"since {stop.at[:10]}: {stop.body['why']}"))
    for incident in open_incidents(events, production):
        rows.append((f"incident {incident.sequence}", f"{incident.severity}, since {incident.period}: {incident.reason}"))
    if waiting := unanswered(events):
        rows.append(("unanswered", ", ".join(f"{action} for incident {incident.sequence}" for incident, action in waiting)))
    return rows


def _advice(bench: Workbench, events: Sequence[Event], taken: Sequence[str], versions: Sequence[int], production: int | None, due: Due) -> str:
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
    return _work(bench, open_incidents(events, production), due)


def _work(bench: Workbench, incidents: Sequence[Incident], due: Due) -> str:
    """What is to be done while nothing is stopped or unanswered: infer stops at a period that is refused, monitor goes on."""
    case, waiting = bench.case.case, {what for _, what in bench.ledger.errands(bench.case.case)}
    bad = {(one.ended_by, one.period): one for one in incidents if one.ended_by is not None}
    bad = {key: one for key, one in bad.items() if key in due.taken and due.taken[key] <= one.at}  # no correction has been taken since
    first = next(iter(due.scores), None)
    if first is not None and ("served", first) in bad:
        return _mend(bad["served", first], f"equipoise infer {case}")
    if due.scores or waiting - set(ERRANDS):
        return f"equipoise infer {case}"
    if waiting or any(("monitored", period) not in bad for period in due.labels):
        return f"equipoise monitor {case}"
    return _mend(bad["monitored", due.labels[0]], f"equipoise monitor {case}") if due.labels else f"equipoise snapshot {case}"


def _mend(incident: Incident, command: str) -> str:
    return f"mend what incident {incident.sequence} tells ({incident.reason.rstrip('.')}), then: {command}"

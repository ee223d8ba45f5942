"""Step: hold production against the labels that have come."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from tasks.core.alerts import Alert
from tasks.core.cohorts import condition_columns
from tasks.core.errors import DataError
from tasks.core.estimation import scored
from tasks.core.evaluation import CohortReport
from tasks.core.evidence import stored_report
from tasks.core.findings import PREDICTED
from tasks.core.online import level
from tasks.core.outcome import labelled_rows
from tasks.core.report import records
from tasks.core.review import Event, production_version, registration
from tasks.core.suppression import K
from tasks.core.watch import watch
from tasks.io.gatehouse import no_production
from tasks.io.performances import (
    ERRANDS,
    PERFORMANCE,
    awaiting,
    estimates_of,
    is_monitored,
    keep,
    monitored,
    performance_of,
    served_periods,
)
from tasks.io.references import Reference
from tasks.io.scored import readable
from tasks.io.workbench import Workbench
from tasks.step import now, say, step


@dataclass(frozen=True)
class Labelled:
    """A served period with the labels that have come. `table` is its predictions table, of rows with a label and an answer; `of` counts the
    rows that were scored, `labelled` those of them with a label, `abstained` those with a label and no answer.
    """

    period: str
    table: pd.DataFrame
    labels: str
    predictions: str
    of: int
    labelled: int
    abstained: int


@dataclass(frozen=True)
class Performance:
    """What the labels of a period say, as it is kept: the digest of `body`, and the alerts in it."""

    digest: str
    body: Mapping[str, Any]

    @property
    def alerts(self) -> tuple[Alert, ...]:
        return tuple(Alert(**alert) for alert in self.body["alerts"])


@step("find what is monitored")
def find_monitored(bench: Workbench) -> int:
    """The version in production by the record; MLflow is not asked. Raises: DataError when none is."""
    case = bench.case.case
    version = production_version(bench.ledger.events(case))
    if version is None:
        raise no_production(case)
    return version


def due_labels(bench: Workbench, production: int, period: str | None = None) -> list[tuple[int, str]]:
    """Versions and the periods they served whose labels have come and are not yet on record with these labels, oldest first: labels come
    late, also for a version that left production meanwhile. Or the one period asked for, of production or else of who served it last.

    Raises: DataError when nobody served that one, or it has no labels yet.
    """
    case = bench.case.case
    versions = list(dict.fromkeys(event.version or 0 for event in bench.ledger.events(case) if event.kind == "served"))
    if period is not None:
        by = [version for version in (*versions, production) if period in served_periods(bench, version)]
        if not by:
            raise DataError(f"Version {production} of `{case}` has not scored {period}.", fix=f"Run: equipoise infer {case} --period {period}")
        bench.newest("labels", period)
        return [(by[-1], period)]
    return [(version, found) for version in versions for found in awaiting(bench, version)]


@step("join predictions with labels", task_run_name="labels of {period}")
def labelled_predictions(bench: Workbench, version: int, period: str) -> Labelled:
    """What a version answered in a period, beside the newest labels of it, by row id. Labels may have come for a part of the rows only."""
    body, (labels, revision) = served_periods(bench, version)[period], bench.newest("labels", period)
    features = body.get("snapshot") or bench.newest("features", period)[0].digest  # the rows that were scored
    read = condition_columns(bench.case.cohorts.where, (*bench.dataset.names, *PREDICTED))
    columns = list(dict.fromkeys(("row_id", *bench.case.cohort_columns, *read, bench.case.target.column)))  # a period may be large
    rows = pd.concat(readable(bench, features, columns), ignore_index=True)
    frame, target = labelled_rows(bench.case, rows, bench.store.get_frame(labels.digest, columns))
    answers = bench.store.get_frame(body["predictions"], ["row_id", "y_pred", "y_score"])
    joined = frame.assign(y_true=target).merge(answers, on="row_id", validate="one_to_one")
    answered = joined["y_pred"].notna()
    rows = joined[answered].reset_index(drop=True)
    rows["y_pred"] = rows["y_pred"].astype("int64" if bench.case.task == "binary" else "float64")
    told = f"{period}: {len(joined):,} of {len(answers):,} scored rows have a label"
    say(told + (f", {int((~answered).sum()):,} of them no answer" if not answered.all() else "") + (f" (labels, revision {revision})" if revision > 1 else ""))
    return Labelled(period, rows, labels.digest, body["predictions"], len(answers), len(joined), int((~answered).sum()))


@step("hold against what was accepted", task_run_name="judge {labelled.period}")
def judge(bench: Workbench, version: int, labelled: Labelled, report: CohortReport) -> Performance:
    """The published report of a period beside the figures at acceptance and all looks on record, kept in the store once for each state of
    the labels. What is on record stands, also where labels of other periods have come or were corrected since.
    """
    case, store = bench.case, bench.store
    kept, key = performance_of(bench, version, labelled.period, labelled.labels, labelled.predictions)
    if kept is not None:
        return Performance(kept.digest, store.get_json(kept.digest))
    registered = registration(bench.ledger.events(case.case), version)
    assert registered is not None  # nothing else serves
    evidence = bench.archive.evidence(registered.body["evidence"])
    events = monitored(bench, version)
    before = {event.body["performance"]: store.get_json(event.body["performance"]) for event in events}  # labels that came back are one look
    looks = [(str(event.body["period"]), before[event.body["performance"]]["report"]["rows"]) for event in events]
    published = stored_report(report)
    rows = records(report.frame())
    found = watch(
        bench.archive.report(evidence),
        [*looks, (labelled.period, rows)],
        look=len(before) + 1,
        task=case.task,
        primary=case.metrics.primary,
        limits=case.limits,
        min_support=case.cohorts.min_support,
    )
    estimates = estimates_of(bench, version, labelled.period, labelled.predictions)
    body = {
        "period": labelled.period,
        "version": version,
        "labels": labelled.labels,
        "predictions": labelled.predictions,
        "rows": len(labelled.table),
        "of": labelled.of,
        "labelled": labelled.labelled,
        "abstained": labelled.abstained,
        "look": len(before) + 1,
        "verdict": found.verdict,
        "judged": [one.to_dict() for one in found.judged],
        "alerts": [asdict(alert) for alert in found.alerts],
        "estimates": scored(estimates, report.frame()) if estimates is not None and len(estimates) else None,
        "label_drift": _label_drift(bench, evidence, labelled, [one["label_drift"] for one in before.values() if one["label_drift"]]),
        "report": published,
    }
    digest = store.put_json(body)
    source = f"version {version} on {labelled.labels}"
    keep(
        bench,
        PERFORMANCE,
        key,
        digest,
        rows=len(labelled.table),
        source=source,
        created=now(),
        parent=labelled.labels,
        predictions=labelled.predictions,
    )
    say(f"{labelled.period}: {found.verdict}" + "".join(f"\n  - {alert.severity}: {alert.reason}" for alert in found.alerts))
    return Performance(digest, store.get_json(digest))


def _label_drift(bench: Workbench, evidence: Mapping[str, Any], labelled: Labelled, before: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The target of the period's rows against that of the test rows, by the case's rule for drift; None for so few rows that it would tell
    of one. before: what each earlier look found, in the order of the record, corrections included: each has spent its level.
    """
    if len(labelled.table) < K:
        return None
    name, binary = bench.case.target.column, bench.case.task == "binary"

    def target(values: "pd.Series[Any]") -> pd.DataFrame:
        return pd.DataFrame({name: values.astype("int64").astype(str) if binary else values.astype("float64")})

    accepted = Reference.of(target(bench.store.get_frame(evidence["predictions"])["y_true"]), {name: "categorical" if binary else "numeric"})
    settings = bench.case.drift.model_copy(update={"limits": {}})
    return accepted.compare(target(labelled.table["y_true"]), settings, level([one["alarm"] for one in before])).to_dict()


@step("record as monitored")
def record_monitored(bench: Workbench, version: int, performance: Performance) -> Event | None:
    """Enter the period into the ledger, once for each state of its labels. Returns the entry, or None when it was there."""
    body, primary = performance.body, bench.case.metrics.primary
    row = next((one for one in body["report"]["rows"] if (one["cohort"], one["metric"]) == ("overall", primary)), {})
    entry = {
        **{name: body[name] for name in ("period", "labels", "predictions", "rows", "of", "verdict", "alerts")},
        "performance": performance.digest,
        "metric": primary,
        **{name: row.get(name) for name in ("value", "low", "high")},
    }
    there = (version, body["period"], body["labels"], body["predictions"])
    errands = (*ERRANDS, "evidently")
    return bench.ledger.append_unless(bench.case.case, "monitored", version, entry, lambda events: is_monitored(events, *there), errands=errands)


def month_of(bench: Workbench, performance: Performance) -> dict[str, Any]:
    """A labelled period for who called the flow, JSON-ready."""
    body = performance.body
    overall = {one["metric"]: one for one in body["judged"] if one["cohort"] == "overall"}
    return {
        **{name: body[name] for name in ("period", "version", "rows", "of", "labelled", "abstained", "verdict", "alerts", "labels")},
        "performance": performance.digest,
        "metric": bench.case.metrics.primary,
        "cohorts": body["report"]["rows"],
        "judged": body["judged"],
        "since": (overall.get(bench.case.metrics.primary) or {}).get("since"),
        "accepted": (overall.get(bench.case.metrics.primary) or {}).get("accepted"),
        "estimates": body["estimates"],
        "label_drifted": body["label_drift"] and body["label_drift"]["drifted"],
    }

"""What Evidently shows, drawn from the record: a period's drift as it was measured, its quality, and what runs used.

Nothing is measured anew: figures and verdicts are those of the stored objects, and the rows that are drawn are read from the stored
snapshots and predictions. Each page is made once; one that is there is left as it is.
"""

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from tasks.core.cohort_drift import CohortsDrift
from tasks.core.domain import Domain
from tasks.core.drift import DriftReport, looks_told
from tasks.core.errors import DataError
from tasks.core.outcome import labelled_rows
from tasks.core.report import COLUMNS
from tasks.core.review import Event, EventKind, turn_of
from tasks.io.pages import Beside
from tasks.io.references import reference
from tasks.io.scored import readable, scored_parts
from tasks.io.workbench import Workbench


def beside_of(body: Mapping[str, Any]) -> Beside:
    """What a drift object has beside its report; older ones have nothing."""
    domain, cohorts = body.get("domain"), body.get("cohorts")
    return Beside(
        domain=Domain.from_dict(domain) if domain else None,
        cohorts=CohortsDrift.from_dict({**cohorts, "mix": body.get("mix") or []}) if cohorts else None,
        looks=looks_told(body),
    )


def draw_period(bench: Workbench, event: Event) -> bool:
    """The page of an entry `served`. Returns whether it was made now; False where it is there, or where nothing was measured.

    Raises: IntegrityError for a damaged project, UnavailableError for one that cannot be written.
    """
    case, period, version, workspace = bench.case.case, str(event.body["period"]), event.version or 0, bench.workspace
    events = bench.ledger.events(case)
    turn = turn_of(events, event)
    digest = event.body.get("drift")
    if "drift" not in event.body and (found := bench.store.find(case, "drift", f"v{version}-{period}")):
        digest = found.digest  # entries of old do not name it
    if digest is None or workspace.has(case, workspace.run(case, period, version, revision=turn)):
        return False
    body = bench.store.get_json(digest)
    features = {one["column"]: one["kind"] for one in body["report"]["columns"]}
    against = reference(bench.store, body["reference"], features, ("prediction", "numeric"), cohorts=bench.case.cohorts, stream=case)
    current = against.current(scored_parts(bench, _snapshot(bench, event, body), body["predictions"]), cohorts=False)
    report, beside = DriftReport.from_dict(body["report"]), beside_of(body)
    return workspace.record(
        case,
        period,
        str(version),
        report,
        lambda: workspace.draw(report, against, current, beside),
        {"predictions": str(body["predictions"])},
        revision=turn,
        cohorts=beside.cohorts,
    ).created


def draw_quality(bench: Workbench, event: Event) -> bool:
    """The page of an entry `monitored`. Returns whether it was made now."""
    case, body = bench.case, bench.store.get_json(event.body["performance"])
    period, version, revision = str(event.body["period"]), event.version or 0, turn_of(bench.ledger.events(case.case), event)
    if bench.workspace.has(case.case, bench.workspace.run(case.case, period, version, "quality", revision)):
        return False
    figures = pd.DataFrame(body["report"]["rows"], columns=list(COLUMNS))
    served = [one for one in bench.ledger.events(case.case) if one.kind == "served" and one.body.get("predictions") == body["predictions"]]
    columns = ("row_id", case.target.column)
    features = pd.concat(readable(bench, _snapshot(bench, served[-1] if served else event, body), columns), ignore_index=True)
    frame, target = labelled_rows(case, features, bench.store.get_frame(body["labels"], columns))
    answers = bench.store.get_frame(body["predictions"], ("row_id", "y_pred", "y_score"))
    rows = frame[["row_id"]].assign(y_true=target.to_numpy()).merge(answers, on="row_id", validate="one_to_one")
    return bench.workspace.record_quality(case, period, version, figures, rows[rows["y_pred"].notna()], revision=revision).created


def draw_carbon(bench: Workbench, event: Event) -> bool:
    """The page of an entry `metered`. Returns whether it was made now."""
    body = event.body
    facts = {name: body[name] for name in ("method", "country", "intensity_kg_per_kwh", "seconds", "note") if body.get(name) is not None}
    return bench.workspace.record_carbon(
        bench.case.case, str(body["flow"]), event.at, body.get("kg"), body.get("kwh"), body.get("rows"), body.get("per_thousand_kg"), facts
    ).created


DRAW: Mapping[EventKind, Callable[[Workbench, Event], bool]] = {"served": draw_period, "monitored": draw_quality, "metered": draw_carbon}
"""What draws the page of each kind of entry."""


def _snapshot(bench: Workbench, event: Event, body: Mapping[str, Any]) -> str:
    """The digest of the features that were scored: the record says it, or, in an older one, the predictions' manifest."""
    if event.body.get("snapshot"):
        return str(event.body["snapshot"])
    for manifest in bench.store.list(bench.case.case, "predictions"):
        if manifest.digest == body["predictions"] and manifest.parent:
            return manifest.parent
    raise DataError(f"The record does not say which snapshot of {body['period']} was scored.", fix=f"Run: equipoise infer {bench.case.case}")

"""Step: measure a scored period against the reference its model was accepted on."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import pandas as pd

from tasks.core.case import Case
from tasks.core.cohort_drift import compare_cohorts
from tasks.core.digests import canonical_json
from tasks.core.domain import tell_apart
from tasks.core.drift import DriftReport
from tasks.core.online import level
from tasks.io.manifests import Manifest
from tasks.io.references import Current, Reference
from tasks.io.references import reference as reference_of
from tasks.io.workbench import Workbench
from tasks.step import now, say, step

Kind = Literal["numeric", "categorical"]


@step("measure drift", task_run_name="drift {period}")
def measure_drift(
    bench: Workbench,
    rows: pd.DataFrame | Callable[[], Iterable[pd.DataFrame]],
    *,
    version: int,
    period: str,
    reference: str,
    kinds: Mapping[str, Kind],
    predictions: Manifest,
    alarms: Sequence[bool] = (),
    revision: int = 1,
) -> tuple[DriftReport, str]:
    """Drift of each feature, and of the prediction beside them, from the reference; then, deciding nothing, of each cohort and of the mix of
    cohorts, and how well all features together tell the period from the reference.

    What was found goes into the store under the key of the predictions; what is on record stands, whatever has been served since.
    Evidently shows it from there (tasks.io.pages_again). Returns: the report, and the digest of all that was found.

    rows: the period's rows with `prediction`, in one frame or part by part. reference: digest of a stored frame. kinds: the model's
    inputs. alarms: which of the looks before this one raised an alarm, one for each entry `served` of the version in the order of the record,
    corrections included: each has spent its level. revision: of the period's snapshot, from 1.
    """
    case = bench.case
    on_record = bench.store.find(case.case, "drift", predictions.key)
    if on_record is None:
        features = {name: kind for name, kind in kinds.items() if name in case.features}
        against = reference_of(bench.store, reference, features, ("prediction", "numeric"), cohorts=case.cohorts, stream=case.case)
        current = against.current(rows if isinstance(rows, pd.DataFrame) else rows())
        found, report = _measured(against, current, case, level(alarms), _earlier(bench, version, alarms))
        body = {"period": period, "version": version, "revision": revision, "reference": reference, "predictions": predictions.digest, **found}
        on_record = bench.store.record(
            Manifest(
                stream=case.case,
                kind="drift",
                key=predictions.key,
                digest=bench.store.put(canonical_json(body)),
                rows=len(report.columns),
                schema={},
                source=f"version {version}",
                seed=None,
                created=now(),
                parent=predictions.digest,
            )
        )
    else:
        report = DriftReport.from_dict(bench.store.get_json(on_record.digest)["report"])
    say(f"drift {period}: {report.reason}")
    return report, on_record.digest


def _earlier(bench: Workbench, version: int, alarms: Sequence[bool]) -> list[tuple[str, bool]]:
    """The looks before this one, by period: the record's first entries of what the version served, as many as there are alarms."""
    periods = [str(event.body["period"]) for event in bench.ledger.events(bench.case.case) if event.kind == "served" and event.version == version]
    return list(zip(periods, alarms, strict=False))


def _measured(against: Reference, current: Current, case: Case, level: float, earlier: Sequence[tuple[str, bool]]) -> tuple[dict[str, Any], DriftReport]:
    """What a drift object keeps of the comparison: the report, the looks before it that its level rests on, the domain classifier's answer,
    the cohorts and their mix.
    """
    features = {name: kind for name, kind in against.kinds.items() if name != against.prediction}
    report = against.compare(current, case.drift, level)
    domain = tell_apart(against.drawn, current.drawn, features)
    cohorts = None
    if against.cohorts is not None and current.cohorts is not None:
        cohorts = compare_cohorts(against.cohorts, current.cohorts, case.drift, min_support=case.cohorts.min_support, level=level).to_dict()
    mix = cohorts.pop("mix") if cohorts else None
    before = [{"period": period, "alarm": alarm} for period, alarm in earlier]
    return {"report": report.to_dict(), "earlier": before, "domain": domain.to_dict() if domain else None, "cohorts": cohorts, "mix": mix}, report


def drift_summary(report: DriftReport | None) -> dict[str, Any]:
    """The verdict in the words of the record; prediction drift stands beside the columns. None: nothing was measured of a period without rows."""
    if report is None:
        return {"drifted": False, "alarm": False, "level": None, "drifted_columns": [], "share": None, "prediction": None}
    prediction = report.prediction
    return {
        "drifted": report.drifted,
        "alarm": report.alarm,
        "level": report.level,
        "drifted_columns": list(report.drifted_columns),
        "share": report.share,
        "prediction": {"effect": prediction.effect, "limit": prediction.limit, "drifted": prediction.drifted} if prediction else None,
    }

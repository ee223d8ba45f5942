"""Step: measure a scored period against the reference its model was accepted on, show it in Evidently, and say so when it drifted."""

from collections.abc import Mapping
from typing import Any, Literal

import pandas as pd
from prefect.events import emit_event

from tasks.core.digests import canonical_json
from tasks.core.drift import DriftReport
from tasks.io.store import Manifest
from tasks.io.workbench import Workbench
from tasks.step import now, say, step

Kind = Literal["numeric", "categorical"]
EVENT = "equipoise.drift"


@step("measure drift", task_run_name="drift {period}")
def measure_drift(
    bench: Workbench, current: pd.DataFrame, *, version: int, period: str, reference: str, kinds: Mapping[str, Kind], predictions: str
) -> tuple[DriftReport, str]:
    """Drift of each feature, and of the prediction beside them, from the reference.

    The report goes into the store and, dated by the period, into the case's Evidently project, once for each model version.
    Returns: the report, and the id of its page in Evidently.

    current: the period's rows with `prediction`. reference, predictions: digests of stored frames. kinds: the model's inputs.
    """
    case = bench.case
    features = {name: kind for name, kind in kinds.items() if name in case.features}
    report, snapshot = bench.workspace.drift(
        bench.store.get_frame(reference), current, columns=features, prediction=("prediction", "numeric"), settings=case.drift
    )
    recorded = bench.workspace.record(case.case, period, str(version), report, snapshot, {"predictions": predictions})
    body = canonical_json(
        {"period": period, "version": version, "reference": reference, "predictions": predictions, "columns": report.frame().to_dict("records")}
    )
    bench.store.record(
        Manifest(
            stream=case.case,
            kind="drift",
            key=f"v{version}-{period}",
            digest=bench.store.put(body),
            rows=len(report.columns),
            schema={},
            source=f"version {version}",
            seed=None,
            created=now(),
            parent=predictions,
        )
    )
    say(f"drift {period}: {report.reason}")
    return report, recorded.run


def drift_summary(report: DriftReport) -> dict[str, Any]:
    """The verdict in the words of the demo's summary; prediction drift stands beside the columns."""
    prediction = report.prediction
    return {
        "drifted": report.drifted,
        "drifted_columns": list(report.drifted_columns),
        "share": report.share,
        "prediction": {"score": prediction.score, "limit": prediction.limit, "drifted": prediction.drifted} if prediction else None,
    }


@step("announce drift")
def announce_drift(case: str, version: int, period: str, report: DriftReport) -> None:
    """Emit the event that the train deployment listens for."""
    emit_event(
        event=EVENT,
        resource={"prefect.resource.id": f"equipoise.case.{case}", "prefect.resource.name": case},
        payload={"case": case, "version": version, "period": period, **drift_summary(report)},
    )

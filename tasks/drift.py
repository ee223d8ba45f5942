"""Step: measure a scored period against the reference its model was accepted on, show it in Evidently, and say so when it drifted."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pandas as pd
from prefect.events import emit_event

from tasks.core.digests import canonical_json
from tasks.core.drift import DriftReport
from tasks.core.online import level
from tasks.io.references import reference as reference_of
from tasks.io.store import Manifest
from tasks.io.workbench import Workbench
from tasks.step import now, say, step

Kind = Literal["numeric", "categorical"]
EVENT = "equipoise.drift"


@step("measure drift", task_run_name="drift {period}")
def measure_drift(
    bench: Workbench,
    current: pd.DataFrame,
    *,
    version: int,
    period: str,
    reference: str,
    kinds: Mapping[str, Kind],
    predictions: str,
    alarms: Sequence[bool] = (),
) -> tuple[DriftReport, str]:
    """Drift of each feature, and of the prediction beside them, from the reference.

    The report goes into the store and, dated by the period, into the case's Evidently project, once for each model version; a report
    on record stands, whatever has been served since. Returns: the report, and the id of its page in Evidently.

    current: the period's rows with `prediction`. reference, predictions: digests of stored frames. kinds: the model's inputs.
    alarms: which of the periods that the version served before raised an alarm, in the order they were served.
    """
    case, key = bench.case, f"v{version}-{period}"
    on_record = bench.store.find(case.case, "drift", key)
    kept = bench.store.get_json(on_record.digest).get("report") if on_record else None
    report = DriftReport.from_dict(kept) if kept else None
    features = {one.column: one.kind for one in report.columns} if report else {name: kind for name, kind in kinds.items() if name in case.features}
    against = reference_of(bench.store, reference, features, ("prediction", "numeric"))
    if report is None:
        report = against.compare(current, case.drift, level(alarms))
    page = bench.workspace.draw(report, against, current)
    recorded = bench.workspace.record(case.case, period, str(version), report, page, {"predictions": predictions})
    if on_record is None:
        body = {"period": period, "version": version, "reference": reference, "predictions": predictions, "report": report.to_dict()}
        bench.store.record(
            Manifest(
                stream=case.case,
                kind="drift",
                key=key,
                digest=bench.store.put(canonical_json(body)),
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
    """The verdict in the words of the record; prediction drift stands beside the columns."""
    prediction = report.prediction
    return {
        "drifted": report.drifted,
        "alarm": report.alarm,
        "level": report.level,
        "drifted_columns": list(report.drifted_columns),
        "share": report.share,
        "prediction": {"effect": prediction.effect, "limit": prediction.limit, "drifted": prediction.drifted} if prediction else None,
    }


@step("announce drift")
def announce_drift(bench: Workbench, version: int) -> None:
    """Emit the event that the train deployment listens for, for each period of a version that drifted, and enter it into the ledger.

    The entry follows the event, so that a crash between them sends the event again, under the same id, and none is lost.
    """
    case, ledger = bench.case.case, bench.ledger
    events = [event for event in ledger.events(case) if event.version == version]
    told = {event.body["period"] for event in events if event.kind == "drifted"}
    for event in events:
        body = event.body
        if event.kind == "served" and body["drifted"] and body["period"] not in told:
            emit_event(
                event=EVENT,
                resource={"prefect.resource.id": f"equipoise.case.{case}", "prefect.resource.name": case},
                payload={"case": case, "version": version, **{name: body[name] for name in ("period", "share", "drifted", "drifted_columns", "prediction")}},
                id=uuid.uuid5(uuid.NAMESPACE_URL, f"{EVENT}/{case}/{version}/{body['period']}/{event.sequence}"),
            )
            ledger.append(case, "drifted", version, {"period": body["period"], "columns": body["drifted_columns"]})

"""Flow: take immutable snapshots of a case's periods."""

from typing import Any

from prefect import flow

from tasks.io.workbench import Workbench
from tasks.snapshots import take_snapshots


@flow(name="snapshot", flow_run_name="snapshot {case}")
def snapshot(case: str = "boston", period: str | None = None) -> dict[str, Any]:
    """Record one period, or all that the source holds. Taking the same period again changes nothing.

    period: YYYY-MM.
    """
    manifests, fresh = take_snapshots(Workbench.open(case), period)
    return {"case": case, "periods": [manifest.key for manifest in manifests], "new": fresh}

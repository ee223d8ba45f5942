"""Flow: take immutable snapshots of a case's periods."""

from typing import Any

from prefect import flow

from tasks.carbon import record_energy
from tasks.core.case import Period
from tasks.core.strict import Name
from tasks.io.emissions import track
from tasks.io.workbench import Workbench
from tasks.snapshots import take_snapshots


@flow(name="snapshot", flow_run_name="snapshot {case}", timeout_seconds=24 * 3600)
def snapshot(case: Name = "boston", period: Period | None = None, revise: bool = False) -> dict[str, Any]:
    """Record one period, or all that the source holds. Taking the same period again changes nothing.

    period: YYYY-MM. revise: where the source now says something else of a period, take a further revision of it.
    """
    bench = Workbench.open(case)
    with track(country=bench.case.carbon.country, name="snapshot", short=True) as meter:
        manifests, fresh = take_snapshots(bench, period, revise=revise)
    if fresh:
        record_energy(bench, "snapshot", meter.result)
    return {"case": case, "periods": [manifest.key[:7] for manifest in manifests], "new": fresh}

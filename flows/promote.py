"""Flow: let a reviewed version into production, or say everything that is missing."""

from typing import Any

from prefect import flow
from prefect.states import Completed

from tasks.carbon import record_energy
from tasks.core.strict import Name
from tasks.io.emissions import track
from tasks.io.workbench import Workbench
from tasks.promotion import promote_version


@flow(name="promote", flow_run_name="promote {case} {version}", timeout_seconds=3600)
def promote(case: Name = "boston", version: int = 1) -> Any:
    """A refusal is a result: the run completes as `Refused`, with the full list of what is missing."""
    bench = Workbench.open(case)
    with track(country=bench.case.carbon.country, name="promote", short=True) as meter:
        result = promote_version(bench, version)
    if result.previous != version:  # it was not in production already
        record_energy(bench, "promote", meter.result)
    return result if result.promoted else Completed(name="Refused", message="; ".join(result.missing), data=result)

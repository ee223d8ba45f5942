"""Flow: let a reviewed version into production, or say everything that is missing."""

from typing import Any

from prefect import flow
from prefect.states import Completed

from tasks.core.strict import Name
from tasks.io.workbench import Workbench
from tasks.promotion import promote_version


@flow(name="promote", flow_run_name="promote {case} {version}", timeout_seconds=3600)
def promote(case: Name = "boston", version: int = 1) -> Any:
    """A refusal is a result: the run completes as `Refused`, with the full list of what is missing."""
    result = promote_version(Workbench.open(case), version)
    return result if result.promoted else Completed(name="Refused", message="; ".join(result.missing), data=result)

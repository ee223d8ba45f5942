"""Flow: the whole story of a case in one run, with a reviewer plainly marked as simulated."""

from typing import Any

from prefect import flow

from flows.infer import infer
from flows.promote import promote
from flows.snapshot import snapshot
from flows.train import train
from tasks.core.carbon import trend
from tasks.core.strict import Name
from tasks.inference import served_months
from tasks.io.workbench import Workbench
from tasks.promotion import simulated_review

REVIEWER = "Demo Reviewer"


@flow(name="lifecycle", flow_run_name="lifecycle {case}", timeout_seconds=132 * 3600)
def lifecycle(case: Name = "boston") -> dict[str, Any]:
    """Snapshot, check, train, review, promote, then score every month after the training window."""
    bench = Workbench.open(case)
    snapshot(case)
    trained = train(case)
    version = trained["model"]["version"]
    simulated_review(bench, version, reviewer=REVIEWER, notes="Part of the demo. No person looked at this.")
    promotion = promote(case, version)
    if promotion.promoted:
        infer(case)
    used = trend(bench.ledger.events(case)).overall
    return {
        "case": case,
        "model": trained["model"],
        "chosen": trained["chosen"],
        "primary": bench.case.metrics.primary,
        "candidates": trained["candidates"],
        "missing": list(promotion.missing),
        "months": served_months(bench, version),
        "emissions_kg": None if used.missing else used.kg,
    }

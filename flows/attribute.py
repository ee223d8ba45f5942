"""Flow: what the steps of each candidate changed, beside the estimator without them and beside thresholds tuned alone."""

from typing import Any

from prefect import flow

from tasks.attribution import attribute_changes, log_attribution, measure_with_seed, report_attribution, seeds_of
from tasks.carbon import record_energy
from tasks.checks import check_columns, check_snapshot, refuse_blocked
from tasks.core.case import Period
from tasks.core.strict import Name
from tasks.io.emissions import track
from tasks.io.workbench import Workbench
from tasks.reports import key
from tasks.training import load_window


@flow(name="attribute", flow_run_name="attribute {case}", timeout_seconds=72 * 3600)
def attribute(case: Name = "boston", period: Period | None = None, seeds: int = 5) -> dict[str, Any]:
    """Fit every candidate with steps anew for each seed, and say per cohort and metric what helped, what hurt and what is not known.

    period: YYYY-MM, the last of the training window; the first window there is unless given. seeds: how many, at least 5.
    """
    bench = Workbench.open(case)
    chosen = seeds_of(bench, seeds)
    with track(country=bench.case.carbon.country, name="attribute") as meter:
        window = load_window(bench, period)
        refuse_blocked(bench, check_columns(bench) + [found for taken in window.periods for found in check_snapshot(bench, taken, for_training=True)])
        found = attribute_changes(bench, [measure_with_seed(bench, window.frame, window.target, seed) for seed in chosen])
    assert meter.result is not None
    record_energy(bench, "attribute", meter.result)
    run = log_attribution(bench, found, window.periods, meter.result)
    report_attribution(bench, found, key(case, "attribution"))
    return {"case": case, "run": run, "periods": list(window.periods), "emissions_kg": meter.result.kg, **found.to_dict()}

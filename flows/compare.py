"""Flow: registered versions side by side, on rows that none of them has learned from."""

from typing import Any

import pandas as pd
from prefect import flow

from tasks.carbon import record_energy
from tasks.comparison import Versions, code_of, compare_versions, later_rows, predict_with_versions, unseen_rows, versions_to_compare
from tasks.core.case import Period
from tasks.core.comparison import Comparison
from tasks.core.strict import Name
from tasks.evaluation_runs import log_comparison
from tasks.io.emissions import track
from tasks.io.workbench import Workbench
from tasks.reports import report_comparison
from tasks.training import load_window


@flow(name="compare", flow_run_name="compare {case}", timeout_seconds=12 * 3600)
def compare(case: Name = "boston", versions: list[int] | None = None, period: Period | None = None) -> dict[str, Any]:
    """Every version on every cohort beside the baseline: deltas with paired intervals, what newly fails, BTC and BEC.

    versions: production and the newest unless given; production is the baseline when it is among them, else the first.
    period: YYYY-MM, a labelled month to compare on; the test rows that no version has learned from unless given.
    """
    bench = Workbench.open(case)
    chosen = versions_to_compare(bench, versions or [])
    with track(country=bench.case.carbon.country, name="compare") as meter:
        frame, comparison = _compared(bench, chosen, period)
    record_energy(bench, "compare", meter.result)
    run = log_comparison(bench, comparison, list(chosen.registered))
    report_comparison(bench, comparison, list(chosen.registered))
    return {"case": case, "run": run, "rows_compared": len(frame), "code": code_of(bench, chosen), **comparison.to_dict()}


def _compared(bench: Workbench, chosen: Versions, period: str | None) -> tuple[pd.DataFrame, Comparison]:
    """The rows, and what the versions answer on them side by side."""
    windows = {last: load_window(bench, last) for last in {event.body["periods"][-1] for event in chosen.registered.values()}}
    of_version = {version: windows[event.body["periods"][-1]] for version, event in chosen.registered.items()}
    seen = {version: (window.frame, window.target, window.part) for version, window in of_version.items()}
    frame, target = unseen_rows(bench, chosen, seen) if period is None else later_rows(bench, period, seen)
    tables = predict_with_versions(bench, chosen, frame, target)
    return frame, compare_versions(bench, chosen, tables)

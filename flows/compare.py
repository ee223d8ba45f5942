"""Flow: registered versions side by side, on rows that none of them has learned from."""

from typing import Any

from prefect import flow

from tasks.comparison import code_of, compare_versions, later_rows, predict_with_versions, unseen_rows, versions_to_compare
from tasks.core.case import Period
from tasks.core.strict import Name
from tasks.evaluation_runs import log_comparison
from tasks.io.workbench import Workbench
from tasks.reports import report_comparison
from tasks.training import load_window


@flow(name="compare", flow_run_name="compare {case}")
def compare(case: Name = "boston", versions: list[int] | None = None, period: Period | None = None) -> dict[str, Any]:
    """Every version on every cohort beside the baseline: deltas with paired intervals, what newly fails, BTC and BEC.

    versions: production and the newest unless given; production is the baseline when it is among them, else the first.
    period: YYYY-MM, a labelled month to compare on; the test rows that no version has learned from unless given.
    """
    bench = Workbench.open(case)
    chosen = versions_to_compare(bench, versions or [])
    windows = {last: load_window(bench, last) for last in {event.body["periods"][-1] for event in chosen.registered.values()}}
    of_version = {version: windows[event.body["periods"][-1]] for version, event in chosen.registered.items()}
    seen = {version: (window.frame, window.target, window.part) for version, window in of_version.items()}
    frame, target = unseen_rows(bench, chosen, seen) if period is None else later_rows(bench, period, seen)
    tables = predict_with_versions(bench, chosen, frame, target)
    comparison = compare_versions(bench, chosen, tables)
    run = log_comparison(bench, comparison, list(chosen.registered))
    report_comparison(bench, comparison, list(chosen.registered))
    return {"case": case, "run": run, "rows_compared": len(frame), "code": code_of(bench, chosen), **comparison.to_dict()}

"""Flow: evaluate what is in production on a period whose labels have come."""

from typing import Any

from prefect import flow

from tasks.core.suppression import publish
from tasks.evaluation import evaluate_predictions
from tasks.evaluation_runs import log_evaluation
from tasks.inference import find_production, labelled_predictions
from tasks.io.workbench import Workbench
from tasks.reports import report_evaluation


@flow(name="monitor", flow_run_name="monitor {case}")
def monitor(case: str = "boston", period: str | None = None) -> dict[str, Any]:
    """Join a scored period's predictions with its labels by row id and evaluate every cohort; the newest such period unless given.

    period: YYYY-MM.
    """
    bench = Workbench.open(case)
    production = find_production(bench)
    found, predictions = labelled_predictions(bench, production, period)
    report = publish(evaluate_predictions(bench.case, predictions, f"version {production.version} on {found}"))
    run = log_evaluation(bench, version=production.version, period=found, report=report)
    report_evaluation(bench, period=found, version=production.version, frame=report.frame())
    return {"case": case, "version": production.version, "period": found, "run": run, "rows": len(predictions), "cohorts": report.to_dict()["rows"]}

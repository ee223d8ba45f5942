"""Flow: evaluate predictions from anywhere on every cohort; the parts of a large folder on as many machines as there are."""

from typing import Any, Literal

from prefect import flow

from tasks.core.cells import merge
from tasks.core.errors import CaseError
from tasks.core.strict import Country
from tasks.evaluation import examine_folded, examine_predictions, fold_part, plan_parts
from tasks.evaluation_runs import log_examination
from tasks.io.documents import cohorts_asked
from tasks.io.emissions import track
from tasks.io.engines import Engine, mapped
from tasks.reports import report_examination

Task = Literal["binary", "multiclass", "multilabel", "regression"]
WORKERS = 2  # of an engine that starts here; a cluster that runs already has its own


@flow(name="evaluate", flow_run_name="evaluate {predictions}", timeout_seconds=24 * 3600)
def evaluate(
    predictions: str,
    task: Task,
    by: list[list[str]] | None = None,
    where: dict[str, str] | None = None,
    metrics: list[str] | None = None,
    baseline: str | None = None,
    cohorts: str | None = None,
    slices: bool = False,
    min_support: int | None = None,
    engine: Engine | None = None,
    experiment: str = "evaluations",
    country: Country | None = None,
) -> dict[str, Any]:
    """Evaluate predictions on cohorts, log the report and its page to MLflow, and leave artifacts in Prefect.

    predictions: Parquet (a file or a folder of parts), CSV or Arrow with y_true, y_pred and columns to slice by.
    by: groupings, each one column or several crossed. where: named SQL conditions. cohorts: a file of named cohorts.
    metrics: all that the columns suffice for, unless given. baseline: other predictions for the same rows.
    engine: fold the folder's parts one by one on threads, processes, dask or ray; in this process unless given.
    experiment: where MLflow keeps the run.
    country: whose grid the emissions are those of, ISO 3166 of three letters; the run has its energy alone unless given.
    """
    if engine is not None and baseline is not None:
        raise CaseError("a comparison needs both models' rows in one place.", where="engine", fix="Leave out `engine`, or `baseline`.")
    asked = {"task": task, "metrics": metrics, **cohorts_asked(by or [], where or {}, cohorts, min_support)}
    with track(country=country, name="evaluate", short=True) as meter:
        if engine is None:
            found = examine_predictions(predictions, baseline=baseline, errors=slices, **asked)
        else:
            parts, plan, chosen = plan_parts(predictions, **asked)
            summary = merge(mapped(engine, WORKERS, fold_part, parts, plan))
            found = examine_folded(summary, chosen, predictions, errors=slices, min_support=asked["min_support"])
    run = log_examination(found, predictions, experiment, asked, meter.result)
    report_examination(found, predictions, experiment, run)
    return {"predictions": predictions, "run": run, **found.to_dict()}

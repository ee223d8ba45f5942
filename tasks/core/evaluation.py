"""The evaluation engine: one predictions table in, one cohort report out.

    report = evaluate(predictions, task="binary", by=[["sex"], ["sex", "race"]], where={"Married": "relationship IN ('Wife', 'Husband')"})
    report.frame()  # cohort, kind, metric, value, low, high, n, support, verdict
    report.gaps()   # metric, grouping, difference, ratio, worst, best, low, high, ratio_low, ratio_high, p_value, verdict

`predictions` has y_true and y_pred, for some metrics y_score, optionally weight, and raw columns to slice by. Rows are
folded into cells once (tasks.core.cells); everything after is arithmetic on arrays with one element a cohort. To evaluate
parts elsewhere, `summarise` each with the same plan, add, and call `report_of`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tasks.core.comparison import Side, aligned, deltas
from tasks.core.errors import CaseError
from tasks.core.folding import summarise
from tasks.core.planning import MIN_SUPPORT, estimate_all, make_plan, report_of, report_on
from tasks.core.predictions import Source
from tasks.core.report import COLUMNS, CohortReport
from tasks.core.streaming import fold_stream, is_large, stream_plan

__all__ = ["COLUMNS", "CohortReport", "evaluate", "make_plan", "report_of", "summarise"]


def evaluate(
    predictions: Any,
    *,
    task: str,
    by: Sequence[str | Sequence[str]] = (),
    where: Mapping[str, str] | None = None,
    metrics: Sequence[str] | None = None,
    intervals: bool = True,
    baseline: Any = None,
    seed: int = 0,
    bins: Mapping[str, Sequence[float] | int] | None = None,
    min_support: int = MIN_SUPPORT,
    costs: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    prevalence: Mapping[str, Mapping[Any, float]] | None = None,
) -> CohortReport:
    """Evaluate a predictions table on every cohort.

    `by` names groupings, each a column or several crossed; `where` names SQL conditions on raw columns; `bins` gives inner
    edges of a numeric column, or a number of quantile bins; `metrics` are names of tasks.core.metrics (all that the
    columns suffice for unless given); `baseline` is another table of predictions for the same rows. A file or folder of more
    than four million rows is read in batches (tasks.core.streaming). `costs` and `prevalence` are what tasks.core.declared
    says.
    """
    asked: dict[str, Any] = {"task": task, "by": by, "where": where, "metrics": metrics, "intervals": intervals, "bins": bins}
    asked |= {"costs": costs, "prevalence": prevalence}
    if baseline is None and isinstance(predictions, (str, Path)) and is_large(predictions):
        plan, chosen = stream_plan(predictions, **asked)
        return report_of(fold_stream(predictions, plan), chosen, intervals=intervals, seed=seed, min_support=min_support)
    source = Source(predictions)
    plan, chosen = make_plan(source, **asked)
    if baseline is None:
        return report_of(summarise(source, plan), chosen, intervals=intervals, seed=seed, min_support=min_support)
    if not intervals:
        raise CaseError("a comparison needs intervals.", where="baseline", fix="Leave `intervals` on.")
    other = aligned(source, baseline)
    new, slices = Side.of(source, plan)
    old, _ = Side.of(other, plan, slices)
    report = report_on(new.stats, chosen, seed=seed, min_support=min_support)
    return replace(report, compared=deltas(report, new, old, estimate_all(old.stats, chosen[0], seed=seed)))

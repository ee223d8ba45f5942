"""The evaluation engine: one predictions table in, one cohort report out.

    report = evaluate(predictions, task="binary", by=[["sex"], ["sex", "race"]], where={"Married": "relationship IN ('Wife', 'Husband')"})
    report.frame()  # cohort, kind, metric, value, low, high, n, support, verdict
    report.gaps()   # metric, grouping, difference, ratio, worst, best, low, high, p_value, verdict

`predictions` has y_true and y_pred, for some metrics y_score, optionally weight, and raw columns to slice by. Rows are
folded into cells once (tasks.core.cells); everything after is arithmetic on arrays with one element a cohort. To evaluate
parts elsewhere, `summarise` each with the same plan, add, and call `report_of`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.core import gaps
from tasks.core.cells import Plan, Summary, summarise
from tasks.core.cohorts import check_edges, groupings, numeric, parse_conditions, quantile_edges
from tasks.core.errors import CaseError, nearest
from tasks.core.estimates import Context, Estimate
from tasks.core.metrics import Metric, get_metric, metrics_for
from tasks.core.predictions import Source
from tasks.core.stats import Stats

MIN_SUPPORT = 20
COLUMNS = ("cohort", "kind", "metric", "value", "low", "high", "n", "support", "verdict")


@dataclass(frozen=True)
class CohortReport:
    """Estimates of every metric on every cohort. Arrays inside are by metric and cohort; `frame` lays them out in rows.

    A value without rows in its denominator is NaN and `undefined`; one with fewer than `min_support` is `insufficient`:
    it is shown with its interval, takes no part in gaps, and no limit may pass on it.
    """

    task: str
    metrics: tuple[Metric, ...]
    stats: Stats
    estimates: tuple[Estimate, ...]
    min_support: int
    comparison_rows: list[dict[str, Any]] = field(default_factory=list)

    def verdict(self, estimate: Estimate) -> NDArray[np.object_]:
        """ok, insufficient or undefined, for each cohort."""
        words = np.where(np.isnan(estimate.value), "undefined", np.where(estimate.support < self.min_support, "insufficient", "ok"))
        return words.astype(object)

    def frame(self) -> pd.DataFrame:
        """One row for each cohort and metric: cohort, kind, metric, value, low, high, n, support, verdict."""
        stats, count = self.stats, len(self.metrics)
        by_cohort = lambda arrays: np.stack(arrays, axis=1).ravel()  # noqa: E731
        return pd.DataFrame(
            {
                "cohort": np.repeat(np.array(stats.names, dtype=object), count),
                "kind": np.repeat(np.array(stats.kinds, dtype=object), count),
                "metric": np.tile(np.array([metric.name for metric in self.metrics], dtype=object), len(stats.names)),
                "value": by_cohort([one.value for one in self.estimates]),
                "low": by_cohort([one.low for one in self.estimates]),
                "high": by_cohort([one.high for one in self.estimates]),
                "n": np.repeat(stats.n.astype(np.int64), count),
                "support": by_cohort([one.support for one in self.estimates]).astype(np.int64),
                "verdict": by_cohort([self.verdict(one) for one in self.estimates]),
            },
            columns=list(COLUMNS),
        )

    def gaps(self) -> pd.DataFrame:
        """One row for each metric and grouping; see tasks.core.gaps."""
        rows = []
        for block, place in zip(self.stats.blocks, self.stats.spread(), strict=True):
            if block.kind not in ("group", "intersection"):
                continue
            for metric, one in zip(self.metrics, self.estimates, strict=True):
                enough = self.verdict(one)[place] == "ok"
                rows.append(gaps.gap(metric.name, ", ".join(block.grouping), metric.better, block.names, one.value[place], one.low[place], one.high[place], enough))
        return gaps.table(rows)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: `rows`, `gaps` and, with a baseline, `comparison`. What is not known is None."""
        found = {"rows": records(self.frame()), "gaps": records(self.gaps())}
        if self.comparison_rows:
            found["comparison"] = self.comparison_rows
        return found


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """A frame's rows as plain dictionaries; NaN and infinity become None."""
    columns = {name: [_plain(value) for value in frame[name].tolist()] for name in frame.columns}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value


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
) -> CohortReport:
    """Evaluate a predictions table on every cohort.

    `by` names groupings, each a column or several crossed; `where` names SQL conditions on raw columns; `bins` gives inner
    edges of a numeric column, or a number of quantile bins; `metrics` are names of tasks.core.metrics (all that the
    columns suffice for unless given); `baseline` is another table of predictions for the same rows.
    """
    source = Source(predictions)
    plan, chosen = make_plan(source, task=task, by=by, where=where, metrics=metrics, intervals=intervals, bins=bins)
    return report_of(summarise(source, plan), chosen, intervals=intervals, seed=seed, min_support=min_support)


def make_plan(
    source: Source,
    *,
    task: str,
    by: Sequence[str | Sequence[str]] = (),
    where: Mapping[str, str] | None = None,
    metrics: Sequence[str] | None = None,
    intervals: bool = True,
    bins: Mapping[str, Sequence[float] | int] | None = None,
) -> tuple[Plan, tuple[Metric, ...]]:
    """What to fold for these metrics, checked against the table's columns."""
    names = list(dict.fromkeys(metrics)) if metrics is not None else metrics_for(task, source.names)
    chosen = tuple(get_metric(name, task) for name in names)
    if not chosen:
        raise CaseError("no metric is asked for.", where="metrics", fix="Name at least one, or leave `metrics` out.")
    source.require(["y_true", "y_pred", *dict.fromkeys(column for metric in chosen for column in metric.needs)])
    grouped = groupings(by)
    columns = list(dict.fromkeys(column for entry in grouped for column in entry))
    source.require(columns)
    edges: dict[str, tuple[float, ...]] = {}
    for column, cut in (bins or {}).items():
        if column not in columns:
            raise CaseError(f"`{column}` is binned but in no grouping.", where="bins", fix=nearest(column, columns))
        found = quantile_edges(numeric(source.column(column), column, "binned"), cut, column) if isinstance(cut, int) else check_edges(cut, column)
        edges[column] = tuple(found)
    conditions = dict(where or {})
    parse_conditions(conditions, [*source.names, "error"])
    quantities = tuple(dict.fromkeys(name for metric in chosen for name in metric.sums(intervals)))
    ranked = tuple(dict.fromkeys(name for metric in chosen for name in metric.ranked))
    return Plan(task, grouped, conditions, edges, quantities, ranked), chosen


def report_of(summary: Summary, metrics: Sequence[Metric], *, intervals: bool = True, seed: int = 0, min_support: int = MIN_SUPPORT) -> CohortReport:
    """The report of a summary that was folded for these metrics."""
    stats, context = Stats.of(summary), Context(seed=seed, intervals=intervals)
    return CohortReport(summary.plan.task, tuple(metrics), stats, tuple(_bounded(metric, metric.estimate(stats, context), intervals) for metric in metrics), min_support)


def _bounded(metric: Metric, estimate: Estimate, intervals: bool) -> Estimate:
    """Limits within the metric's range; none where the value is undefined or intervals are off."""
    hidden = np.isnan(estimate.value) | (not intervals)
    low, high = np.maximum(estimate.low, metric.low), np.minimum(estimate.high, metric.high)
    return Estimate(estimate.value, np.where(hidden, np.nan, low), np.where(hidden, np.nan, high), estimate.support)

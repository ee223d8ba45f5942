"""Planning: what to fold for the metrics and cohorts asked for, and the report of what was folded."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tasks.core.cells import Plan, Summary
from tasks.core.cohorts import check_edges, groupings, numeric, parse_conditions, quantile_edges
from tasks.core.declared import parse_costs, parse_prevalence
from tasks.core.errors import CaseError, nearest
from tasks.core.estimates import Context, Estimate
from tasks.core.labels import find_classes
from tasks.core.metrics import Metric, choose, get_metric, metrics_for
from tasks.core.predictions import Source, numbers
from tasks.core.report import CohortReport
from tasks.core.stats import Stats

MIN_SUPPORT = 20
SHAPE = 20  # intervals of a distribution

Metrics = tuple[tuple[Metric, ...], tuple[Metric, ...]]  # those of cohorts, and fairness summaries of groupings


def make_plan(
    source: Source,
    *,
    task: str,
    by: Sequence[str | Sequence[str]] = (),
    where: Mapping[str, str] | None = None,
    metrics: Sequence[str] | None = None,
    intervals: bool = True,
    bins: Mapping[str, Sequence[float] | int] | None = None,
    classes: tuple[str, ...] | None = None,
    costs: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    prevalence: Mapping[str, Mapping[Any, float]] | None = None,
) -> tuple[Plan, Metrics]:
    """What to fold for these metrics, checked against the table's columns. `classes` is the label set, found if not given."""
    priced = parse_costs(costs)
    names = list(metrics) if metrics is not None else metrics_for(task, [*source.names, *(["costs"] if priced else [])])
    known = [get_metric(name, task) for name in names]
    if not known:
        raise CaseError("no metric is asked for.", where="metrics", fix="Name at least one, or leave `metrics` out.")
    needs = dict.fromkeys(column for metric in known for column in metric.needs)
    if "costs" in needs and not priced:
        raise CaseError("expected_cost needs a cost matrix.", where="costs", fix="Give for example costs={'false_positive': 1, 'false_negative': 5}.")
    needs.pop("costs", None)
    source.require(["y_true", "y_pred", *(needs if task != "multiclass" else ())])
    if classes is None:
        classes = find_classes(source, task) if task in ("multiclass", "multilabel") else ()
    chosen, summaries = choose(names, task, classes)
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
    reserved = {"overall", *(", ".join(entry) for entry in grouped)}
    if taken := next((name for name in conditions if name in reserved or ("=" in name and name.partition("=")[0] in source.names)), None):
        raise CaseError(f"a condition cannot be named `{taken}`, which reads as another cohort.", where="where", fix="Give it a name of its own.")
    parse_conditions(conditions, [*source.names, "error"])
    quantities = tuple(dict.fromkeys(name for metric in chosen for name in metric.sums(intervals)))
    ranked = tuple(dict.fromkeys(name for metric in chosen for name in metric.ranked))
    parse_conditions({f"costs.{place}": cost.where for place, cost in enumerate(priced) if cost.where is not None}, source.names)
    shapes, origin = _shapes(source, task)
    plan = Plan(task, grouped, conditions, edges, quantities, ranked, classes, (), shapes, origin, priced, parse_prevalence(prevalence, [source]))
    return plan, (chosen, summaries)


def _shapes(source: Source, task: str) -> tuple[tuple[tuple[str, tuple[float, ...]], ...], float]:
    """Of a regression: edges for the distributions of predictions and errors, equal intervals between their extreme
    percentiles; and a round number near the mean label.
    """
    if task != "regression":
        return (), 0.0
    true, told = (numbers(source.column(name), name, source.name) for name in ("y_true", "y_pred"))
    found = []
    for name, values in (("predicted", told), ("error", told - true)):
        low, high = np.quantile(values, [0.01, 0.99])
        found.append((name, tuple(float(edge) for edge in np.unique(np.linspace(low, high, SHAPE - 1)))))
    spread = float(true.std())
    step = 2.0 ** np.ceil(np.log2(spread) + 2) if 0 < spread < np.inf else 0.0
    return tuple(found), float(np.round(true.mean() / step) * step) if step else float(true[0])


def report_of(summary: Summary, metrics: Metrics, *, intervals: bool = True, seed: int = 0, min_support: int = MIN_SUPPORT) -> CohortReport:
    """The report of a summary that was folded for these metrics."""
    return report_on(Stats.of(summary), metrics, intervals=intervals, seed=seed, min_support=min_support)


def report_on(stats: Stats, metrics: Metrics, *, intervals: bool = True, seed: int = 0, min_support: int = MIN_SUPPORT) -> CohortReport:
    """The report of cohorts' statistics; it keeps none of the rows."""
    estimates = estimate_all(stats, metrics[0], intervals=intervals, seed=seed)
    rest = stats.rest()
    outside = estimate_all(rest, metrics[0], intervals=intervals, seed=seed) if rest else ()
    return CohortReport(stats.summary.plan.task, *metrics, stats.without_rows(), estimates, min_support, outside)


def estimate_all(stats: Stats, metrics: Sequence[Metric], *, intervals: bool = True, seed: int = 0) -> tuple[Estimate, ...]:
    """Every metric on every cohort."""
    context = Context(seed=seed, intervals=intervals)
    return tuple(_bounded(metric, metric.estimate(stats, context), intervals) for metric in metrics)


def _bounded(metric: Metric, estimate: Estimate, intervals: bool) -> Estimate:
    """Limits within the metric's range; none where the value is undefined or intervals are off."""
    hidden = np.isnan(estimate.value) | (not intervals)
    low, high = np.maximum(estimate.low, metric.low), np.minimum(estimate.high, metric.high)
    return Estimate(estimate.value, np.where(hidden, np.nan, low), np.where(hidden, np.nan, high), estimate.support)

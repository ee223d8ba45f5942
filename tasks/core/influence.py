"""Influence: how much each row moves an estimate of its cohort.

Two models measured on the same rows err together. Their estimates' correlation is that of the rows' influences, so that a
paired interval needs nothing but these. Only the correlation is used, so that any positive scale by cohort will do.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tasks.core.estimates import Context, Estimate
from tasks.core.exact import ExactSums
from tasks.core.metrics import Metric
from tasks.core.ranking import rank_components
from tasks.core.stats import Stats
from tasks.core.targets import CALIBRATION_BINS, Rows, calibration_bin

Floats = NDArray[np.float64]
STEP = 1e-6


@dataclass(frozen=True)
class View:
    """One model's rows seen by one block of cohorts: `cohort` (n,) places each row among `size` cohorts, whose estimates
    are at `place` in the statistics. Rows outside all cohorts are left out.
    """

    rows: Rows
    kept: NDArray[np.int64] | None
    cohort: NDArray[np.int64]
    size: int
    place: slice
    stats: Stats

    def of(self, values: Floats) -> Floats:
        """Row values, of the rows that are in a cohort."""
        return values if self.kept is None else values[self.kept]


def influence(metric: Metric, estimate: Estimate, view: View) -> Floats:
    """The influence (n,) of each row of the view on its cohort's estimate."""
    name = metric.name.partition("@")[0].partition("[")[0]
    value, rows = estimate.value[view.place], view.rows
    if metric.ranked and name in ("roc_auc", "average_precision"):
        return _of_ranks(metric, view)
    if name == "median_ae":
        return np.sign(view.of(rows.quantity("absolute")) - value[view.cohort])
    if name == "expected_calibration_error":
        return _of_calibration(view)
    if name == "r2":
        return _of_r2(view)
    if name == "pinball_loss":
        level = float(metric.name.partition("@")[2] or 0.5)
        return view.of(level * rows.quantity("under") + (1 - level) * rows.quantity("over")) - value[view.cohort]
    if metric.quantities:
        centre = view.stats.sum(metric.quantities[0])[view.place] / np.maximum(view.stats.weights[view.place].sum(axis=1), 1e-300)
        return np.asarray(view.of(rows.quantity(metric.quantities[0])) - centre[view.cohort])
    table = outcome_influence(metric, view.stats)[view.place]
    return np.asarray(table[view.cohort, rows.outcome if view.kept is None else rows.outcome[view.kept]])


def outcome_influence(metric: Metric, stats: Stats) -> Floats:
    """For a metric that is a function of outcome counts: its slope along each outcome's weight (N, outcomes)."""
    plain = Context(intervals=False)
    weights = stats.weights
    step = STEP * np.maximum(weights.sum(axis=1), 1e-300)
    base = metric.estimate(stats, plain).value
    slopes = []
    for outcome in range(weights.shape[1]):
        moved = weights.copy()
        moved[:, outcome] += step
        slopes.append((metric.estimate(_with(stats, moved), plain).value - base) / STEP)
    return np.nan_to_num(np.stack(slopes, axis=1))


def _with(stats: Stats, weights: Floats) -> Stats:
    """Statistics with other outcome weights, for estimates that read nothing else."""
    size, outcomes = weights.shape
    nothing = ExactSums(0, np.zeros((size, outcomes, 3), dtype=np.int64))
    changed = replace(stats, summary=replace(stats.summary, weighted=True), sums={"weight|1": nothing, "weight|2": nothing}, ranks={})
    changed.__dict__["weights"] = weights
    changed.__dict__["squares"] = weights
    return changed


def _of_ranks(metric: Metric, view: View) -> Floats:
    total = np.zeros(len(view.cohort))
    weight = None if view.rows.weight is None else view.of(view.rows.weight)
    labels = metric.ranked if "[" not in metric.name else metric.ranked[_class(metric, view) : _class(metric, view) + 1]
    for key in labels:
        if view.rows.class_scores is None:
            scores, y = view.rows.scores(), view.rows.y == 1
        else:
            scores, y = view.rows.class_scores[:, int(key.removeprefix("score:"))], view.rows.y == int(key.removeprefix("score:"))
        parts = rank_components(view.of(scores), view.cohort, view.size, view.of(y.astype(np.float64)), weight)
        total += parts[1 if metric.name == "average_precision" else 0]
    return total


def _class(metric: Metric, view: View) -> int:
    return view.stats.summary.plan.classes.index(metric.name.partition("[")[2][:-1])


def _of_calibration(view: View) -> Floats:
    rows = view.rows
    bins = calibration_bin(rows.scores())
    excess = view.of(np.asarray(rows.y, dtype=np.float64) - rows.scores())
    cell = view.cohort * CALIBRATION_BINS + (bins if view.kept is None else bins[view.kept])
    weight = np.ones(len(excess)) if rows.weight is None else view.of(rows.weight)
    sign = np.sign(np.bincount(cell, weight * excess, minlength=view.size * CALIBRATION_BINS))
    moved = sign[cell] * excess
    total = np.bincount(view.cohort, weight, minlength=view.size)
    return np.asarray(moved - (np.bincount(view.cohort, weight * moved, minlength=view.size) / np.maximum(total, 1e-300))[view.cohort])


def _of_r2(view: View) -> Floats:
    total = np.maximum(view.stats.weights[view.place].sum(axis=1), 1e-300)
    centre, squared = view.stats.sum("true")[view.place] / total, view.stats.sum("squared")[view.place] / total
    spread = np.maximum(view.stats.sum("true**2")[view.place] / total - centre**2, 1e-300)
    around = (view.of(view.rows.quantity("true")) - centre[view.cohort]) ** 2
    return np.asarray(((squared / spread)[view.cohort] * around - view.of(view.rows.quantity("squared"))) / spread[view.cohort])

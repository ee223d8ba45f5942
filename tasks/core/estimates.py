"""Formulas: statistics of N cohorts in, value, interval and support of each out. Arrays have shape (N,).

Each maker returns a function of (stats, z); the table of metrics is in tasks.core.metrics.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import special

from tasks.core import intervals
from tasks.core.ranking import Curves
from tasks.core.stats import Stats
from tasks.core.targets import CALIBRATION_BINS

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Context:
    """How to estimate: the normal quantile of the level, and the seed of what is resampled."""

    z: float = intervals.Z
    seed: int = 0
    replicates: int = 1000
    intervals: bool = True


@dataclass(frozen=True)
class Estimate:
    """Value, limits, and rows in the metric's own denominator."""

    value: Floats
    low: Floats
    high: Floats
    support: Floats


Estimator = Callable[[Stats, Context], Estimate]


def rate(numerator: Sequence[int], denominator: Sequence[int]) -> Estimator:
    """The share of rows with an outcome in `numerator` among those in `denominator`, with Wilson's interval.

    With weights the effective number of rows is p (1 - p) over the linearised variance of p, and Kish's
    (sum w)**2 / sum w**2 where p is 0 or 1.
    """
    inside, among = list(numerator), list(denominator)
    outside = [outcome for outcome in among if outcome not in inside]

    def estimate(stats: Stats, context: Context) -> Estimate:
        support = stats.rows[:, among].sum(axis=1)
        total = stats.weights[:, among].sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            value = stats.weights[:, inside].sum(axis=1) / total
            effective = total
            if stats.weighted:
                q_in, q_out = stats.squares[:, inside].sum(axis=1), stats.squares[:, outside].sum(axis=1)
                variance = (q_in * (1 - value) ** 2 + q_out * value**2) / total**2
                kish = total**2 / (q_in + q_out)
                effective = np.where(variance > 0, value * (1 - value) / variance, kish)
        return Estimate(value, *intervals.wilson(value, effective, context.z), support)

    return estimate


def moments(stats: Stats, quantity: str) -> tuple[Floats, Floats]:
    """The weighted mean of a row quantity, and the variance of that mean."""
    total, squares, n = stats.weights.sum(axis=1), stats.squares.sum(axis=1), stats.n
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = stats.sum(quantity) / total
        if f"{quantity}**2|1" not in stats.sums:
            return mean, np.full_like(mean, np.nan)
        around = stats.sum(f"{quantity}**2", 2) - 2 * mean * stats.sum(quantity, 2) + mean**2 * squares
        return mean, np.maximum(around, 0) / total**2 * n / (n - 1)


def mean(quantity: str, link: Callable[[Floats], Floats] | None = None) -> Estimator:
    """The mean of a row quantity with Student's interval; `link` is a rising function applied to value and limits."""

    def estimate(stats: Stats, context: Context) -> Estimate:
        value, variance = moments(stats, quantity)
        low, high = intervals.student(value, variance, stats.n, context.z)
        got = Estimate(value, low, high, stats.n)
        return got if link is None else linked(link)(got)

    return estimate


def linked(link: Callable[[Floats], Floats]) -> Callable[[Estimate], Estimate]:
    """Value and limits through a rising function."""
    return lambda got: replace(got, value=link(got.value), low=link(got.low), high=link(got.high))


def through(estimator: Estimator, link: Callable[[Floats], Floats]) -> Estimator:
    """An estimator followed by a rising function."""
    return lambda stats, context: linked(link)(estimator(stats, context))


def average(*estimators: Estimator) -> Estimator:
    """The mean of estimates on separate rows, with the MOVER interval; the support is the least of theirs."""

    def estimate(stats: Stats, context: Context) -> Estimate:
        parts = [one(stats, context) for one in estimators]
        value, low, high = intervals.combine([(1 / len(parts), part.value, part.low, part.high) for part in parts])
        return Estimate(value, low, high, np.min([part.support for part in parts], axis=0))

    return estimate


def smooth(function: Callable[[Floats], Floats]) -> Estimator:
    """Any smooth function of the shares of the outcomes (N, outcomes), with an interval by the delta method."""

    def estimate(stats: Stats, context: Context) -> Estimate:
        total = stats.weights.sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = stats.weights / total[:, None]
            value = function(shares)
            if not context.intervals:
                return Estimate(value, np.full_like(value, np.nan), np.full_like(value, np.nan), stats.n)
            influence = np.stack([_slope(function, shares, outcome) for outcome in range(shares.shape[1])], axis=1)
            around = influence - (influence * shares).sum(axis=1)[:, None]
            error = np.sqrt((stats.squares * around**2).sum(axis=1)) / total
        return Estimate(value, value - context.z * error, value + context.z * error, stats.n)

    return estimate


def _slope(function: Callable[[Floats], Floats], shares: Floats, outcome: int, step: float = 1e-6) -> Floats:
    """The derivative along one share; one-sided at zero. Where the outcome never occurs it does not count."""
    up, down = shares.copy(), shares.copy()
    up[:, outcome] += step
    down[:, outcome] = np.maximum(down[:, outcome] - step, 0)
    slope = (function(up) - function(down)) / (up[:, outcome] - down[:, outcome])
    return np.where(shares[:, outcome] > 0, slope, 0.0)


def auc(stats: Stats, context: Context) -> Estimate:
    """Area under the ROC curve, DeLong's error on the logit scale. Where it is 0 or 1, Wilson's limits on the smaller class."""
    return area(stats.curves(), stats.rows[:, 2:].sum(axis=1), stats.rows[:, :2].sum(axis=1), context)


def area(found: Curves, positive: Floats, negative: Floats, context: Context) -> Estimate:
    """The areas of ranking curves, with how many rows there were of either class."""
    fewer = np.minimum(positive, negative)
    low, high = intervals.logit_interval(found.auc, found.auc_error, context.z)
    wide = intervals.wilson(found.auc, np.where(fewer > 0, fewer, np.nan), context.z)
    flat = ~(found.auc_error > 0)
    return Estimate(found.auc, np.where(flat, wide[0], low) - found.auc_bound, np.where(flat, wide[1], high) + found.auc_bound, fewer)


def average_precision(stats: Stats, context: Context) -> Estimate:
    """Average precision with the logit interval of Boyd, Eng and Page (2013): as of a proportion among the positives."""
    value, bound = stats.curves().average_precision, stats.curves().average_precision_bound
    positive = stats.rows[:, 2:].sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        effective = stats.weights[:, 2:].sum(axis=1) ** 2 / stats.squares[:, 2:].sum(axis=1)
        low, high = intervals.logit_interval(value, np.sqrt(value * (1 - value) / effective), context.z)
    wide = intervals.wilson(value, effective, context.z)
    flat = ~((value > 0) & (value < 1))
    return Estimate(value, np.where(flat, wide[0], low) - bound, np.where(flat, wide[1], high) + bound, positive)


def calibration_error(stats: Stats, context: Context) -> Estimate:
    """Expected calibration error over ten equal bins: the sum over bins of |sum of y - sum of score| over all weight.

    Interval: bootstrap over the cells (bin, label) of each cohort, pivoted on the value.
    """
    held, true, scored = (stats.sum(f"calibration_{name}") for name in ("rows", "true", "score"))
    total = held.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.abs(true - scored).sum(axis=1) / total
    low, high = np.full_like(value, np.nan), np.full_like(value, np.nan)
    if context.intervals:
        effective = np.nan_to_num(total**2 / np.maximum(stats.squares.sum(axis=1), 1e-300)).round().astype(np.int64)
        generator = np.random.default_rng(context.seed)
        for cohort in np.flatnonzero(total > 0):
            shares = np.clip(np.concatenate([true[cohort], held[cohort] - true[cohort]]) / total[cohort], 0, 1)
            drawn = generator.multinomial(effective[cohort], shares / shares.sum(), size=context.replicates) / effective[cohort]
            ones, rows = drawn[:, :CALIBRATION_BINS], drawn[:, :CALIBRATION_BINS] + drawn[:, CALIBRATION_BINS:]
            middle = np.divide(scored[cohort], held[cohort], out=np.zeros(CALIBRATION_BINS), where=held[cohort] > 0)
            again = np.abs(ones - rows * middle).sum(axis=1)
            tail = 1 - float(special.ndtr(context.z))
            below, above = np.quantile(again, [tail, 1 - tail])
            low[cohort], high[cohort] = max(2 * value[cohort] - above, 0.0), max(2 * value[cohort] - below, value[cohort])
    return Estimate(value, low, high, stats.n)


def median_absolute(stats: Stats, _: Context) -> Estimate:
    """Median absolute error, interval from order statistics."""
    return Estimate(*stats.medians, stats.n)


def r2(stats: Stats, context: Context) -> Estimate:
    """1 - sum e**2 / sum (y - mean y)**2, interval by the delta method from fourth moments. Undefined where y is constant."""
    n, total = stats.n, stats.weights.sum(axis=1).astype(np.longdouble)
    with np.errstate(divide="ignore", invalid="ignore"):
        moment = {name: stats.sum(name).astype(np.longdouble) / total for name in ("true", "true**2", "squared")}
        centre, spread = moment["true"], moment["true**2"] - moment["true"] ** 2
        spread = np.where(spread > 1e-12 * np.maximum(moment["true**2"], 1e-300), spread, np.nan)
        ratio = moment["squared"] / spread
        value = (1 - ratio).astype(np.float64)
        if not context.intervals:
            return Estimate(value, np.full_like(value, np.nan), np.full_like(value, np.nan), n)
        squares = stats.squares.sum(axis=1).astype(np.longdouble)
        second = {
            name: stats.sum(name, 2).astype(np.longdouble) / squares
            for name in ("true", "true**2", "true_3", "true_4", "squared", "squared**2", "squared_true", "squared_true_2")
        }
        cross = second["squared_true_2"] - 2 * centre * second["squared_true"] + centre**2 * second["squared"]
        fourth = second["true_4"] - 4 * centre * second["true_3"] + 6 * centre**2 * second["true**2"] - 4 * centre**3 * second["true"] + centre**4
        variance = (second["squared**2"] - 2 * ratio * cross + ratio**2 * fourth) / spread**2 * squares / total**2
        low, high = intervals.student(value, variance.astype(np.float64), n, context.z)
    return Estimate(value, low, np.minimum(high, 1.0), n)


def pinball(level: float) -> Estimator:
    """Pinball loss at a quantile level: level * max(y - p, 0) + (1 - level) * max(p - y, 0), averaged."""

    def estimate(stats: Stats, context: Context) -> Estimate:
        (over, over_variance), (under, under_variance) = moments(stats, "over"), moments(stats, "under")
        n, total = stats.n, stats.weights.sum(axis=1)
        value = level * under + (1 - level) * over
        # A row is over or under, never both: E[over * under] = 0, so that their covariance is -mean * mean.
        with np.errstate(divide="ignore", invalid="ignore"):
            q_over = stats.sum("over", 2) * under + stats.sum("under", 2) * over - over * under * stats.squares.sum(axis=1)
            variance = level**2 * under_variance + (1 - level) ** 2 * over_variance - 2 * level * (1 - level) * q_over / total**2 * n / (n - 1)
        return Estimate(value, *intervals.student(value, variance, n, context.z), n)

    return estimate


def generalized_entropy(shares: Floats) -> Floats:
    """Half the squared coefficient of variation of the benefits b = y_pred - y_true + 1. Speicher et al. (2018), alpha 2."""
    mean_benefit = shares @ np.array([1.0, 2.0, 0.0, 1.0]) / shares.sum(axis=1)
    return np.asarray(((shares @ np.array([1.0, 4.0, 0.0, 1.0]) / shares.sum(axis=1)) / mean_benefit**2 - 1) / 2)


def theil_index(shares: Floats) -> Floats:
    """Mean of (b / mean b) ln(b / mean b) over the benefits b = y_pred - y_true + 1. Speicher et al. (2018), alpha 1."""
    total = shares.sum(axis=1)
    mean_benefit = shares @ np.array([1.0, 2.0, 0.0, 1.0]) / total
    once, twice = (shares[:, 0] + shares[:, 3]) / total, shares[:, 1] / total
    return np.asarray(once / mean_benefit * np.log(1 / mean_benefit) + twice * 2 / mean_benefit * np.log(2 / mean_benefit))

"""Intervals and tests: closed forms over arrays, one element a cohort.

`z` is the standard normal quantile of the level: 1.96 for 95 %. Undefined inputs (no rows) give NaN.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]

LEVEL = 0.95
Z = float(special.ndtri(0.5 + LEVEL / 2))


def wilson(share: Floats, n: Floats, z: float = Z) -> tuple[Floats, Floats]:
    """Wilson's score interval of a proportion `share` among `n` (effective) rows. Wilson (1927)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        shrink = 1 + z * z / n
        centre = (share + z * z / (2 * n)) / shrink
        half = z * np.sqrt(np.maximum(share * (1 - share), 0) / n + z * z / (4 * n * n)) / shrink
        low, high = np.maximum(centre - half, 0), np.minimum(centre + half, 1)
    # At 0 and 1 the formula meets the bound exactly; rounding must not lift it off.
    return np.where(share <= 0, np.where(np.isnan(low), low, 0.0), low), np.where(share >= 1, np.where(np.isnan(high), high, 1.0), high)


def student(mean: Floats, variance: Floats, n: Floats, z: float = Z) -> tuple[Floats, Floats]:
    """Student's interval of a mean with variance `variance` (of the mean) on `n` - 1 degrees of freedom; NaN below two rows."""
    with np.errstate(invalid="ignore"):
        t = special.stdtrit(np.where(n > 1, n - 1, np.nan), special.ndtr(z))
        half = t * np.sqrt(np.maximum(variance, 0))
    return mean - half, mean + half


def logit_interval(value: Floats, error: Floats, z: float = Z) -> tuple[Floats, Floats]:
    """Interval of a value in (0, 1) with standard error `error`, symmetric on the logit scale; stays within [0, 1]."""
    with np.errstate(divide="ignore", invalid="ignore"):
        centre = special.logit(value)
        half = z * error / (value * (1 - value))
        return special.expit(centre - half), special.expit(centre + half)


def combine(terms: list[tuple[float, Floats, Floats, Floats]]) -> tuple[Floats, Floats, Floats]:
    """Sum of independent terms, each (coefficient, value, low, high), with its interval by the method of variance estimates
    recovery (MOVER): the distances of the limits from the values add as squares. Zou and Donner (2008).
    """
    total = sum((c * v for c, v, _, _ in terms), start=np.zeros_like(terms[0][1]))
    below = sum(((c * (v - (lo if c >= 0 else hi))) ** 2 for c, v, lo, hi in terms), start=np.zeros_like(total))
    above = sum(((c * ((hi if c >= 0 else lo) - v)) ** 2 for c, v, lo, hi in terms), start=np.zeros_like(total))
    return total, total - np.sqrt(below), total + np.sqrt(above)


def paired_difference(one: tuple[Floats, Floats, Floats], two: tuple[Floats, Floats, Floats], correlation: Floats) -> tuple[Floats, Floats, Floats]:
    """two - one, each (value, low, high), measured on the same rows with this correlation of the estimates.

    MOVER with correlation; for proportions it is Newcombe's interval for paired data (1998, method 10).
    """
    (a, la, ha), (b, lb, hb) = one, two
    delta = b - a
    below = (b - lb) ** 2 - 2 * correlation * (b - lb) * (ha - a) + (ha - a) ** 2
    above = (hb - b) ** 2 - 2 * correlation * (hb - b) * (a - la) + (a - la) ** 2
    return delta, delta - np.sqrt(np.maximum(below, 0)), delta + np.sqrt(np.maximum(above, 0))


def two_sided(statistic: Floats) -> Floats:
    """The p-value of a standard normal statistic."""
    return np.asarray(2 * special.ndtr(-np.abs(statistic)), dtype=np.float64)


def holm(p_values: Floats) -> Floats:
    """Holm's correction: the family-wise error stays at the level for any dependence. NaN stays NaN. Holm (1979)."""
    corrected = np.full(p_values.shape, np.nan)
    known = np.flatnonzero(~np.isnan(p_values))
    order = known[np.argsort(p_values[known], kind="stable")]
    scaled = p_values[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(scaled), 1.0) if len(order) else scaled
    return corrected


def benjamini_hochberg(p_values: Floats) -> Floats:
    """False-discovery-rate correction; NaN stays NaN. Benjamini and Hochberg (1995)."""
    corrected = np.full(p_values.shape, np.nan)
    known = np.flatnonzero(~np.isnan(p_values))
    order = known[np.argsort(p_values[known], kind="stable")]
    scaled = p_values[order] * len(order) / np.arange(1, len(order) + 1)
    corrected[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0) if len(order) else scaled
    return corrected


def range_p_value(statistic: float, cohorts: int) -> float:
    """Probability of a largest standardised difference this large among so many cohorts that are all the same.

    Tukey's studentised range with known spread: P(range < q) = k * integral of phi(x) (Phi(x + q) - Phi(x))**(k - 1).
    """
    if np.isnan(statistic):
        return float("nan")
    if cohorts <= 2:
        return float(2 * special.ndtr(-abs(statistic)))
    inside = special.ndtr(_GRID + abs(statistic) * np.sqrt(2)) - special.ndtr(_GRID)
    return float(np.clip(1 - cohorts * np.sum(_DENSITY * inside ** (cohorts - 1)), 0, 1))


@lru_cache(maxsize=4096)
def range_factor(cohorts: int, level: float = LEVEL) -> float:
    """How much wider than z each pairwise interval is so that the intervals of all pairs of so many cohorts hold together.

    1 for two cohorts; for more, the quantile of the studentised range over sqrt(2) and over z (Tukey and Kramer;
    conservative for unequal sizes: Hayter, 1984).
    """
    if cohorts <= 2:
        return 1.0
    low, high = 1.0, 12.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if range_p_value(middle, cohorts) > 1 - level else (low, middle)
    return float(high / special.ndtri(0.5 + level / 2))


_STEP = 0.01
_GRID = np.arange(-10, 10, _STEP)
_DENSITY = np.exp(-_GRID * _GRID / 2) / np.sqrt(2 * np.pi) * _STEP

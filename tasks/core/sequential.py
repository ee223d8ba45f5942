"""Confidence sequences: limits of a figure that hold at every look at once, however often and for however long one looks.

An ordinary 95 % interval that is looked at each month will be wrong in some month, sooner or later almost surely. The limits here are
wrong at any look, ever, with at most the probability asked for. They come from sums over periods, never from rows.

    rates   k of n: one-sided beta-binomial mixtures (Robbins 1970; Howard, Ramdas, McAuliffe and Sekhon 2021, proposition 8), exact at
            every n. The upper limit also holds where the rate differs from period to period, for the lowest rate that was
            promised throughout: a model that was better than promised for a while raises no alarm.
    means   a weighted mean of periods' figures with their standard errors: one-sided normal mixtures (Howard et al. 2021, proposition 6),
            asymptotic in the sense of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2024: the rows of each period make its
            figure about normal. Student's quantile in place of the normal one makes up for few rows.

A mean over all periods moves slowly after a long quiet time, so the newest period is judged alone as well: `spent` gives each look a part
of the level, and the parts of all looks ever add up to it.

`level` is the probability that the limit on one side fails; arrays have one element a figure.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Floats = NDArray[np.float64]

PLANNED = 6.0
"""Periods of the first one's size after which the limits are tightest, relative to what a plan for that number of rows could be."""
_STEPS = 50  # halvings: limits are right to 1e-15
_EDGE = 1e-12  # rates are taken for no nearer to 0 and 1


def spent(level: float, look: int) -> float:
    """The part of a level that look number `look` (from 1) may spend: level * 6 / (pi look)**2, which adds up to the level.

    >>> round(spent(0.05, 1), 4), round(sum(spent(0.05, look) for look in range(1, 10_000)), 4)
    (0.0304, 0.05)
    """
    return level * 6 / (np.pi * look) ** 2


def rate_evidence(k: ArrayLike, n: ArrayLike, bound: ArrayLike, centre: ArrayLike, weight: ArrayLike) -> Floats:
    """The natural logarithm of the evidence (an e-value) in k of n against "the rate is at least `bound` in every period".

    The likelihood ratio of rates below the bound, mixed by a beta distribution of mean min(centre, bound) and of `weight` rows that is cut
    off at the bound. It may be looked at after any period: where the rate was never below the bound it ever exceeds log(1/level) with
    probability at most `level` (Ville). `centre` and `weight` must not come from the rows counted.
    """
    k, n, bound, centre, weight = np.broadcast_arrays(*(np.asarray(one, dtype=np.float64) for one in (k, n, bound, centre, weight)))
    x = np.clip(bound, _EDGE, 1 - _EDGE)
    mean = np.clip(np.minimum(centre, x), _EDGE, 1 - _EDGE)
    a, b = weight * mean, weight * (1 - mean)
    with np.errstate(divide="ignore"):
        before = special.betaln(a, b) + np.log(special.betainc(a, b, x))
        after = special.betaln(a + k, b + n - k) + np.log(special.betainc(a + k, b + n - k, x))
    return np.asarray(after - before - special.xlogy(k, x) - special.xlog1py(n - k, -x))


def rate_sequence(k: ArrayLike, n: ArrayLike, level: ArrayLike, centre: ArrayLike, first: ArrayLike) -> tuple[Floats, Floats]:
    """Limits of a rate after k of n rows so far; [0, 1] while there are none.

    centre: a rate to expect, known beforehand: that of acceptance. first: rows of the first period.
    """
    k, n, level, centre, first = np.broadcast_arrays(*(np.asarray(one, dtype=np.float64) for one in (k, n, level, centre, first)))
    weight = np.maximum(PLANNED * first / _planned(level), 1.0)
    high = _highest(k, n, level, centre, weight)
    return 1 - _highest(n - k, n, level, 1 - centre, weight), high


def _highest(k: Floats, n: Floats, level: Floats, centre: Floats, weight: Floats) -> Floats:
    """The largest rate that the evidence has not spoken against."""
    inside, outside = np.where(n > 0, k / np.maximum(n, 1), 1.0), np.ones_like(n)
    for _ in range(_STEPS):
        middle = (inside + outside) / 2
        kept = rate_evidence(k, n, middle, centre, weight) < -np.log(level)
        inside, outside = np.where(kept, middle, inside), np.where(kept, outside, middle)
    return np.where(k >= n, 1.0, outside)


def mean_sequence(value: ArrayLike, error: ArrayLike, rows: ArrayLike, growth: ArrayLike, level: ArrayLike) -> tuple[Floats, Floats]:
    """Limits of a weighted mean of periods' figures, with its standard error so far.

    rows: those behind the errors, for Student's quantile. growth: the variance of the weighted sum so far over that of the first period,
    1 in the first. No limits (NaN) where the error is 0 or not known.
    """
    value, error, rows, growth, level = np.broadcast_arrays(*(np.asarray(one, dtype=np.float64) for one in (value, error, rows, growth, level)))
    ratio = growth * _planned(level) / PLANNED
    quantile = mixture_quantile(ratio, level) * np.sqrt(1 + 1 / ratio)
    half = _student(quantile, rows) * np.where(error > 0, error, np.nan)
    return value - half, value + half


def mixture_quantile(ratio: ArrayLike, level: ArrayLike) -> Floats:
    """How many standard deviations sqrt(V + rho) a sum may be off before the half-normal mixture's evidence reaches 1/level.

    ratio: V / rho, of the sum's variance to the mixture's precision. Solves
    z**2 / 2 + log Phi(z) = log(1 / (2 level)) + log(1 + ratio) / 2 by Newton's method.
    """
    wanted = -np.log(2 * np.asarray(level, dtype=np.float64)) + np.log1p(np.asarray(ratio, dtype=np.float64)) / 2
    z = np.sqrt(2 * np.maximum(wanted, 0) + 2)
    for _ in range(20):
        slope = z + np.exp(-z * z / 2 - special.log_ndtr(z)) / np.sqrt(2 * np.pi)
        z = np.maximum(z - (z * z / 2 + special.log_ndtr(z) - wanted) / slope, 0)
    return np.asarray(z)


def rate_interval(k: ArrayLike, n: ArrayLike, level: ArrayLike) -> tuple[Floats, Floats]:
    """Limits of a rate from rows counted once. Clopper and Pearson (1934), exact."""
    k, n, level = np.broadcast_arrays(*(np.asarray(one, dtype=np.float64) for one in (k, n, level)))
    low = special.betaincinv(np.maximum(k, _EDGE), n - k + 1, level)
    high = special.betaincinv(k + 1, np.maximum(n - k, _EDGE), 1 - level)
    return np.where(k > 0, low, 0.0), np.where(k < n, high, 1.0)


def mean_interval(value: ArrayLike, error: ArrayLike, rows: ArrayLike, level: ArrayLike) -> tuple[Floats, Floats]:
    """Student's limits of a figure from rows looked at once; NaN where the error is 0 or not known."""
    value, error, rows, level = np.broadcast_arrays(*(np.asarray(one, dtype=np.float64) for one in (value, error, rows, level)))
    half = _student(-special.ndtri(level), rows) * np.where(error > 0, error, np.nan)
    return value - half, value + half


def _student(quantile: Floats, rows: Floats) -> Floats:
    """Student's quantile on rows - 1 degrees of freedom that lies as far out as the normal one."""
    tail = np.maximum(special.ndtr(-quantile), 1e-300)
    return np.asarray(-special.stdtrit(np.where(rows > 1, rows - 1, np.nan), tail))


def _planned(level: ArrayLike) -> Floats:
    """The variance planned for over the mixture's precision at which its limits are tightest (Howard et al. 2021, section 3.5)."""
    once = -2 * np.log(np.minimum(2 * np.asarray(level, dtype=np.float64), 0.5))
    return np.asarray(once + np.log1p(once))

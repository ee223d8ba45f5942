"""Tests and limits of slices on rows they were not chosen on.

Errors of 0 and 1 are tested exactly, by the hypergeometric tail of Fisher's test. Other errors, and rows that weigh
differently, are tested by Welch's t and by the normal score of a draw without replacement, and the larger p-value counts: on
skewed errors one of the two is too small, never both: to first order (Edgeworth) their errors have opposite signs.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from tasks.core.intervals import combine
from tasks.core.slice_choice import Sample, Sums
from tasks.core.slice_search import drawn_score
from tasks.core.weighted import Moments

Floats = NDArray[np.float64]


def p_value(part: Sums, sample: Sample) -> float:
    """The probability of a mean this high in as many rows of the sample, had they been drawn at random; 1 without rows."""
    n, s, q = part
    N, S, Q = sample.whole
    if not 0 < n < N:
        return 1.0
    if sample.counted:
        return hypergeometric_tail(int(s), int(n), int(S), int(N))
    (own, m) = (max(q - s * s / n, 0) / max(n - 1, 1) / n, N - n)
    rest = max((Q - q) - (S - s) ** 2 / m, 0) / max(m - 1, 1) / m
    if n < 2 or m < 2 or own + rest <= 0:
        return 1.0
    df = (own + rest) ** 2 / (own**2 / (n - 1) + rest**2 / (m - 1))
    welch = float(special.stdtr(df, -(s / n - (S - s) / m) / np.sqrt(own + rest)))
    return max(welch, float(special.ndtr(-drawn_score(np.array(n), np.array(s), sample.whole))))


def hypergeometric_tail(s: int, n: int, S: int, N: int) -> float:
    """P(at least s of n rows drawn without replacement from N, of which S are wrong, are wrong).

    >>> round(hypergeometric_tail(3, 3, 3, 6), 6)  # 1 / (6 choose 3)
    0.05
    """
    top, bottom = min(n, S), max(0, n + S - N)
    if s <= n * S / N:  # the other tail is the short one to add
        return 1.0 if s <= bottom else 1.0 - float(np.exp(_log_mass(np.arange(bottom, s), n, S, N)).sum())
    spread = np.sqrt(n * (S / N) * (1 - S / N)) + 1
    return min(1.0, float(np.exp(_log_mass(np.arange(s, min(top, s + int(60 * spread)) + 1), n, S, N)).sum()))


def _log_mass(k: NDArray[np.int64], n: int, S: int, N: int) -> Floats:
    def chosen(whole: Any, part: Any) -> Any:
        return special.gammaln(whole + 1) - special.gammaln(part + 1) - special.gammaln(whole - part + 1)

    return np.asarray(chosen(S, k) + chosen(N - S, n - k) - chosen(N, n), dtype=np.float64)


def weighted_holm(p_values: Sequence[float]) -> Floats:
    """Holm's correction (1979) with weights 1, 1/2, 1/3, ... in the order given: family-wise, for any dependence.

    >>> weighted_holm([0.02, 0.02]).round(6).tolist()  # 3/2 times the first, then as large at least
    [0.03, 0.03]
    """
    p, weight = np.array(p_values, dtype=np.float64), 1 / np.arange(1, len(p_values) + 1)
    order = np.argsort(p / weight, kind="stable")
    left = np.cumsum(weight[order][::-1])[::-1]
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(np.maximum.accumulate(left * (p / weight)[order]), 1.0)
    return corrected


def effect_limits(moments: Moments, shares: bool) -> tuple[float, float]:
    """95 % limits of slice mean - overall mean, of moments of the rest and the slice (2,): those of mean - rest, by MOVER,
    times the share of the rest.
    """
    low, high = moments.limits(shares)
    value, share = moments.value, float(moments.weight[0] / moments.weight.sum())
    _, under, over = combine([(share, value[1:], low[1:], high[1:]), (-share, value[:1], low[:1], high[:1])])
    return float(under[0]), float(over[0])

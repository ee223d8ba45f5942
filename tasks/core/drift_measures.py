"""How far two summaries of a column are apart: effect sizes, and the p-value of a test that they are of one population.

Exact on all rows. Numeric: Kolmogorov-Smirnov's D, the Wasserstein distance over the reference's standard deviation, the population
stability index over the reference's deciles; the test is Kolmogorov-Smirnov's. Categorical: the Jensen-Shannon distance (natural
logarithm, as scipy's), the population stability index, Cramér's V; the test is chi-square's.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from tasks.core.drift_summary import Categories, Floats, Numbers

SMALLEST_SPREAD = 0.001  # of a constant reference, as Evidently has it: any move away from a constant is large
EMPTY = 1e-4  # the share that stands for none in the population stability index
BINS = 10


@dataclass(frozen=True)
class Merged:
    """Two numeric columns on one axis: every distinct value, and the share of each side at or below it."""

    values: Floats
    reference: Floats
    current: Floats
    sizes: tuple[int, int]

    @staticmethod
    def of(reference: Numbers, current: Numbers) -> "Merged":
        """Both sides have at least one value."""
        values = np.concatenate([reference.values, current.values])
        order = np.argsort(values, kind="stable")  # two sorted runs: one merge
        below = []
        for start, side in ((0, reference), (reference.values.size, current)):
            counts = np.zeros(values.size)
            counts[start : start + side.values.size] = side.counts
            below.append(np.cumsum(counts[order]) / side.n)
        last = np.append(values[order][1:] != values[order][:-1], True)  # of equal values the last has the whole count
        return Merged(values[order][last], below[0][last], below[1][last], (reference.n, current.n))

    @property
    def largest_gap(self) -> float:
        """Kolmogorov and Smirnov's D: the largest difference of the two distribution functions."""
        return float(np.abs(self.reference - self.current).max())

    @property
    def p_value(self) -> float:
        """Of Kolmogorov and Smirnov's two-sided test, asymptotic: scipy's `ks_2samp(method="asymp")`."""
        one, two = map(float, sorted(self.sizes, reverse=True))
        return float(np.clip(stats.distributions.kstwo.sf(self.largest_gap, np.round(one * two / (one + two))), 0, 1))

    @property
    def distance(self) -> float:
        """The Wasserstein distance, in units of the column: scipy's `wasserstein_distance`."""
        return float(np.abs(self.reference - self.current)[:-1] @ np.diff(self.values))


def wasserstein(reference: Numbers, current: Numbers, merged: Merged) -> float:
    """The distance over the reference's standard deviation."""
    return merged.distance / max(reference.spread, SMALLEST_SPREAD)


def ks(reference: Numbers, current: Numbers, merged: Merged) -> float:
    """The largest difference of the two distribution functions, 0 to 1."""
    return merged.largest_gap


def psi(reference: Numbers, current: Numbers, merged: Merged) -> float:
    """The population stability index over the reference's deciles: sum of (a - b) ln(a / b) of the shares in each bin."""
    inner = np.searchsorted(merged.reference, np.arange(1, BINS) / BINS)
    edges = np.unique(np.minimum(inner, merged.values.size - 1))
    one, two = (np.diff(side[edges], prepend=0.0, append=1.0) for side in (merged.reference, merged.current))
    return stability(one, two)


def stability(one: Floats, two: Floats) -> float:
    """The population stability index of two sets of shares; an empty share counts as `EMPTY`."""
    one, two = np.maximum(one, EMPTY), np.maximum(two, EMPTY)
    return float(((one - two) * np.log(one / two)).sum())


def table(reference: Categories, current: Categories) -> NDArray[np.float64]:
    """Counts, shape (2, categories), of categories that either side has."""
    names = sorted({**reference.counts, **current.counts})
    return np.array([[side.counts.get(name, 0) for name in names] for side in (reference, current)], dtype=np.float64)


def jensenshannon(counts: Floats) -> float:
    """The Jensen-Shannon distance: the root of the divergence, 0 to sqrt(ln 2)."""
    one, two = counts / counts.sum(axis=1, keepdims=True)
    middle = (one + two) / 2
    return float(np.sqrt(max((special.rel_entr(one, middle).sum() + special.rel_entr(two, middle).sum()) / 2, 0.0)))


def categorical_psi(counts: Floats) -> float:
    """The population stability index of the categories' shares."""
    return stability(*(counts / counts.sum(axis=1, keepdims=True)))


def chi_square(counts: Floats) -> tuple[float, float]:
    """Cramér's V (0 to 1) and the p-value of Pearson's chi-square test of the 2 x k table; (0, 1) for a single category."""
    if counts.shape[1] < 2:
        return 0.0, 1.0
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0, keepdims=True) / counts.sum()
    statistic = float(((counts - expected) ** 2 / expected).sum())
    return float(np.sqrt(statistic / counts.sum())), float(special.chdtrc(counts.shape[1] - 1, statistic))


NUMERIC: dict[str, Callable[[Numbers, Numbers, Merged], float]] = {"wasserstein": wasserstein, "ks": ks, "psi": psi}
CATEGORICAL: dict[str, Callable[[Floats], float]] = {"jensenshannon": jensenshannon, "psi": categorical_psi, "chisquare": lambda counts: chi_square(counts)[0]}

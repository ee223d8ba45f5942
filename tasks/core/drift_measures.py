"""How far two summaries of a column are apart: effect sizes, and the p-value of a test that they are of one population.

Exact on all rows. Numeric: Kolmogorov-Smirnov's D, the Wasserstein distance over the reference's standard deviation, the population
stability index over the reference's deciles; the test is Kolmogorov-Smirnov's. Categorical: the Jensen-Shannon distance (natural
logarithm, as scipy's), the population stability index, Cramér's V; the test is chi-square's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from tasks.core.drift_summary import Categories, Floats, Numbers

SMALLEST_SPREAD = 0.001  # of a constant reference, as Evidently has it: any move away from a constant is large
EMPTY = 1e-4  # the share that stands for none in the population stability index
BINS = 10
EXPECTED = 5  # rows of a category from which chi-square's p-value holds
STEP = 64  # values from one point of the reference that is looked at first to the next
FEW = 4  # values are few when there are this many rows for each


@dataclass(frozen=True)
class Pair:
    """Two numeric columns, each with at least one value."""

    reference: Numbers
    current: Numbers

    @cached_property
    def largest_gap(self) -> float:
        """Kolmogorov and Smirnov's D: the largest difference of the two distribution functions.

        Both functions only rise, so their values at two points bound the gap between them: only the stretches that could hold
        a larger gap than the largest one seen at every `STEP`-th value of the reference are looked at value by value.
        """
        one, two = self.reference, self.current
        at = np.append(np.arange(0, one.values.size - 1, STEP), one.values.size - 1)
        ends = at + 1, np.searchsorted(two.values, one.values[at], side="right")
        mine, theirs = one.shares[ends[0]], two.shares[ends[1]]
        seen = float(np.abs(mine - theirs).max())
        bound = np.maximum(mine - np.append(0.0, theirs[:-1]), theirs - np.append(0.0, mine[:-1]))
        near = bound > seen
        # Beyond the reference's last value the gap only shrinks.
        points = np.concatenate([side.values[: end[-1]][np.repeat(near, np.diff(end, prepend=0))] for side, end in zip((one, two), ends, strict=True)])
        return max(seen, float(np.abs(one.below(points) - two.below(points)).max(initial=0.0)))

    @cached_property
    def p_value(self) -> float:
        """Of Kolmogorov and Smirnov's two-sided test, asymptotic: scipy's `ks_2samp(method="asymp")`."""
        one, two = map(float, sorted((self.reference.n, self.current.n), reverse=True))
        return float(np.clip(stats.distributions.kstwo.sf(self.largest_gap, np.round(one * two / (one + two))), 0, 1))

    @cached_property
    def distance(self) -> float:
        """The Wasserstein distance, in units of the column: scipy's `wasserstein_distance`.

        Of few values: the area between the distribution functions. Of many: the same area seen from the side, between the
        quantile functions, whose steps are known without merging the values.
        """
        one, two = self.reference, self.current
        if FEW * (one.values.size + two.values.size) < one.n + two.n:
            points = np.unique(np.concatenate([one.values, two.values]))
            return float(np.abs(one.below(points) - two.below(points))[:-1] @ np.diff(points))
        short, long = sorted((one.rows, two.rows), key=len)
        if short.size == long.size:
            return float(np.abs(short - long).mean())
        # In units of 1 / (short * long), a row of the long side covers [start, start + short), and one of the short side `long` units:
        # the former meets one row of the latter, or two.
        start = np.arange(long.size) * short.size
        first = start // long.size
        over = start + short.size - (first + 1) * long.size
        area = short.size * np.abs(long - short[first]).sum()
        met = np.flatnonzero(over > 0)
        again = np.abs(long[met] - short[first[met] + 1]) - np.abs(long[met] - short[first[met]])
        return float((area + over[met] @ again) / (short.size * long.size))


def wasserstein(pair: Pair) -> float:
    """The distance over the reference's standard deviation."""
    return pair.distance / max(pair.reference.spread, SMALLEST_SPREAD)


def psi(pair: Pair) -> float:
    """The population stability index over the reference's deciles: sum of (a - b) ln(a / b) of the shares in each bin."""
    inner = np.unique(np.searchsorted(pair.reference.shares[1:], np.arange(1, BINS) / BINS))
    edges = pair.reference.values[np.minimum(inner, pair.reference.values.size - 1)]
    one, two = (np.diff(side.below(edges), prepend=0.0, append=1.0) for side in (pair.reference, pair.current))
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


def pooled(counts: Floats) -> Floats:
    """The table with rare categories put together, so that chi-square's p-value holds.

    Rare is a category of which either side expects fewer than `EXPECTED` rows; where those together are rare as well, the next one
    joins them. Only the totals of both sides decide, so the choice favours no outcome. Cochran, Some methods for strengthening the
    common chi-square tests, 1954.
    """
    expected = counts.sum(axis=0) * counts.sum(axis=1).min() / counts.sum()
    order = np.argsort(expected, kind="stable")
    rare = int((expected < EXPECTED).sum())
    while 0 < rare < order.size and expected[order[:rare]].sum() < EXPECTED:
        rare += 1
    if rare < 2:
        return counts
    return np.column_stack([counts[:, order[:rare]].sum(axis=1), counts[:, order[rare:]]])


NUMERIC: dict[str, Callable[[Pair], float]] = {"wasserstein": wasserstein, "ks": lambda pair: pair.largest_gap, "psi": psi}
CATEGORICAL: dict[str, Callable[[Floats], float]] = {"jensenshannon": jensenshannon, "psi": categorical_psi, "chisquare": lambda counts: chi_square(counts)[0]}

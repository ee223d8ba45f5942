"""How far two summaries of a column are apart: effect sizes, and the p-value of a test that they are of one population.

Exact on all rows. Numeric: Kolmogorov-Smirnov's D, the Wasserstein distance over the reference's standard deviation, the population
stability index over the reference's deciles; the test is Kolmogorov-Smirnov's. Categorical: the Jensen-Shannon distance (natural
logarithm, as scipy's), the population stability index, Cramér's V; the test is chi-square's. Missing numbers: the change of their
share; the test is that of two proportions.
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
BLOCK = 2**16  # values whose distances are added up at a time
CERTAIN = 18.0  # rows times D squared from which the p-value is below 1e-15
MANY = 10_000  # rows from which scipy's sum takes long
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
        """Of Kolmogorov and Smirnov's two-sided test, asymptotic: scipy's `ks_2samp(method="asymp")`, to 1e-15.

        Where it is below that, scipy's sum over all rows is spared: it is Massart's bound, The tight constant in the
        Dvoretzky-Kiefer-Wolfowitz inequality, 1990.
        """
        one, two = map(float, sorted((self.reference.n, self.current.n), reverse=True))
        rows = float(np.round(one * two / (one + two)))
        if rows * self.largest_gap**2 > CERTAIN:
            return float(2 * np.exp(-2 * rows * self.largest_gap**2))
        if rows > MANY and rows * self.largest_gap**2 >= 2.25:  # from 2.2 on scipy, too, takes twice the one-sided test's
            return float(np.clip(2 * one_sided(rows, self.largest_gap), 0, 1))
        return float(np.clip(stats.distributions.kstwo.sf(self.largest_gap, rows), 0, 1))

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
        # the former meets one row of the latter, or two. A block at a time stays in the processor's cache, which is five times faster.
        area = 0.0
        for begin in range(0, long.size, BLOCK):
            part = long[begin : begin + BLOCK]
            start = np.arange(begin, begin + part.size) * short.size
            first = start // long.size
            over = start + short.size - (first + 1) * long.size
            gap = np.abs(part - short[first])
            met = np.flatnonzero(over > 0)
            again = np.abs(part[met] - short[first[met] + 1]) - gap[met]
            area += short.size * float(gap.sum()) + float(over[met] @ again)
        return area / (short.size * long.size)


def one_sided(rows: float, gap: float) -> float:
    """P(the one-sided gap of so many rows from their distribution is at least `gap`): scipy's `smirnov`, whose sum over the rows is
    taken one term after the other, all at once. Birnbaum and Tingey, One-sided confidence contours for probability distribution
    functions, 1951.
    """
    j = np.arange(np.floor(rows * (1 - gap)) + 1)
    with np.errstate(divide="ignore"):
        terms = (j - 1) * np.log(gap + j / rows) + (rows - j) * np.log(np.maximum(1 - gap - j / rows, 0))
    terms += special.gammaln(rows + 1) - special.gammaln(j + 1) - special.gammaln(rows - j + 1)
    return float(gap * np.exp(terms).sum())


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


def missing_p_value(missing: tuple[int, int], rows: tuple[int, int]) -> float:
    """The p-value, two-sided, that so many of the rows of the reference and of the current data have no value."""
    return two_proportions(np.array([missing, (rows[0] - missing[0], rows[1] - missing[1])], dtype=np.float64).T)


def two_proportions(counts: Floats) -> float:
    """The p-value, two-sided, that both sides have the same shares in a 2 x 2 table.

    Fisher's exact test where a side expects fewer than `EXPECTED` rows of either kind, Pearson's chi-square otherwise.
    """
    totals = counts.sum(axis=0)
    if not totals.all():
        return 1.0
    if (totals * counts.sum(axis=1).min() / counts.sum() < EXPECTED).any():
        return float(min(stats.fisher_exact(counts.astype(np.int64)).pvalue, 1.0))
    return chi_square(counts)[1]


def categories_p_value(counts: Floats) -> float:
    """The p-value of Pearson's chi-square test of the 2 x k table, its rare categories put together.

    Where every category is rare, as when all rows of a large period are in categories of their own, nothing would be left to compare: then
    the rarer categories are held against the commoner, about half of the rows each. Like `pooled`, that rests on the totals of both sides only.
    """
    table = pooled(counts)
    if table.shape[1] > 1 or counts.shape[1] < 2:
        return chi_square(table)[1]
    totals = counts.sum(axis=0)
    order = np.argsort(totals, kind="stable")
    ends = np.flatnonzero(np.diff(totals[order])) + 1  # between categories that are equally common nothing but their names could choose
    if not ends.size:
        return 1.0
    middle = ends[np.abs(np.cumsum(totals[order])[ends - 1] - totals.sum() / 2).argmin()]
    return two_proportions(np.column_stack([counts[:, order[:middle]].sum(axis=1), counts[:, order[middle:]].sum(axis=1)]))


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

"""Measures that need rows in order: area under the ROC curve, average precision, and medians, for every cohort at once.

Rows are sorted by their key once; each grouping then needs one stable sort by cohort. Within a cohort, rows that tie form
one block, and every measure is a sum over blocks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tasks.core.targets import Rows

Floats = NDArray[np.float64]


def unpack(bits: NDArray[np.uint64], n: int) -> NDArray[np.bool_]:
    """One condition's bits as a Boolean array (n,)."""
    return np.unpackbits(bits.view(np.uint8), count=n, bitorder="little").view(np.bool_)


@dataclass(frozen=True)
class Ranked:
    """Rows kept for ordering: keys (n,) by name, labels and weights (n,), the cell of each row in every set, and the
    conditions' bits (conditions, words).
    """

    n: int
    keys: dict[str, Floats]
    y: NDArray[np.uint8] | NDArray[np.int32] | Floats
    weight: Floats | None
    members: tuple[NDArray[np.integer], ...]
    masks: NDArray[np.uint64]

    @staticmethod
    def of(rows: Rows, names: Sequence[str], members: Sequence[NDArray[np.integer]], masks: NDArray[np.uint64]) -> "Ranked":
        """Keep what the named keys ("score", "score:3" of the class at place 3, "absolute") need."""
        keys = {name: key_of(rows, name) for name in names}
        return Ranked(rows.n, keys, rows.y, rows.weight, tuple(members), masks)

    def joined(self, other: "Ranked", moves: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]) -> "Ranked":
        """The rows of both; `moves` says for each set where either's cells have gone."""
        members = tuple(np.concatenate([one[mine], two[theirs]]) for mine, theirs, (one, two) in zip(self.members, other.members, moves, strict=True))
        bits = [np.unpackbits(part.masks.view(np.uint8), axis=1, count=part.n, bitorder="little") for part in (self, other)]
        n = self.n + other.n
        packed = np.zeros((len(self.masks), -(-n // 64) * 8), dtype=np.uint8)
        packed[:, : -(-n // 8)] = np.packbits(np.concatenate(bits, axis=1), axis=1, bitorder="little")
        weight = None if self.weight is None or other.weight is None else np.concatenate([self.weight, other.weight])
        keys = {name: np.concatenate([values, other.keys[name]]) for name, values in self.keys.items()}
        return Ranked(n, keys, np.concatenate([self.y, other.y]), weight, members, packed.view(np.uint64))


def key_of(rows: Rows, name: str) -> Floats:
    """The values (n,) that a key orders rows by."""
    if name.startswith("score:"):
        assert rows.class_scores is not None
        return np.ascontiguousarray(rows.class_scores[:, int(name.removeprefix("score:"))])
    return rows.scores() if name == "score" else rows.quantity(name)


@dataclass(frozen=True)
class Order:
    """Rows of one key in rising order."""

    key: Floats
    order: NDArray[np.int64]

    @staticmethod
    def of(key: Floats) -> "Order":
        """Sort once."""
        order = np.argsort(key)
        return Order(key[order], order)


@dataclass(frozen=True)
class Blocks:
    """Ties: one element for each distinct (cohort, key), by cohort and rising key. Weights of either class and in all."""

    cohort: NDArray[np.int64]
    key: Floats
    weights: tuple[Floats, ...]
    first: NDArray[np.int64]


def blocks(order: Order, cohort: NDArray[np.integer] | None, size: int, weights: Sequence[Floats]) -> Blocks:
    """Group rows that share cohort and key. `cohort` and `weights` (n,) follow `order`."""
    key = order.key
    if size > 1 and cohort is not None:
        place = np.argsort(cohort.astype(np.uint16) if size <= 2**16 else cohort, kind="stable")
        cohort, key = cohort[place], key[place]
        weights = [weight[place] for weight in weights]
    else:
        cohort = np.zeros(len(key), dtype=np.int64)
    new = np.empty(len(key), dtype=bool)
    new[:1] = True
    np.not_equal(key[1:], key[:-1], out=new[1:])
    new[1:] |= cohort[1:] != cohort[:-1]
    starts = np.flatnonzero(new)
    if not len(starts):
        return Blocks(np.zeros(0, dtype=np.int64), key, tuple(np.zeros(0) for _ in weights), np.zeros(size + 1, dtype=np.int64))
    sums = tuple(np.add.reduceat(weight, starts) for weight in weights)
    first = np.searchsorted(cohort[starts], np.arange(size + 1))
    return Blocks(cohort[starts].astype(np.int64), key[starts], sums, first)


def _running(values: Floats, where: Blocks) -> tuple[Floats, Floats]:
    """Cumulative sums within each cohort, the block itself included, and each cohort's total."""
    everything = np.concatenate([[0.0], np.cumsum(values)])
    start, stop = everything[where.first[:-1]], everything[where.first[1:]]
    return everything[1:] - start[where.cohort], stop - start


@dataclass(frozen=True)
class Curves:
    """Area under the ROC curve with DeLong's standard error, and average precision, by cohort (size,). Where scores were
    kept as histograms the bounds say how far off the two can be; with the rows themselves they are 0.
    """

    auc: Floats
    auc_error: Floats
    average_precision: Floats
    auc_bound: Floats
    average_precision_bound: Floats


def curves(order: Order, cohort: NDArray[np.integer] | None, size: int, y: Floats, weight: Floats | None) -> Curves:
    """ROC area (ties count half; DeLong, DeLong and Clarke-Pearson, 1988) and average precision (the sum of precision over
    steps of recall) of each cohort. NaN where a class is missing.
    """
    if weight is None:
        ties = blocks(order, cohort, size, [y, 1 - y])
        ties = replace(ties, weights=ties.weights * 3)
    else:
        ties = blocks(order, cohort, size, [weight * y, weight * (1 - y), weight**2 * y, weight**2 * (1 - y), y, 1 - y])
    count_p, count_n = (np.asarray(np.bincount(ties.cohort, values, minlength=size), dtype=np.float64) for values in ties.weights[4:])
    return _curves(ties, size, count_p, count_n, exact=True)


def curves_of_histograms(weights: Floats, squares: Floats, count_p: Floats, count_n: Floats) -> Curves:
    """The same from histograms (size, 2 * bins), the negatives' bins first; rows of one bin count as ties."""
    size, bins = weights.shape[0], weights.shape[1] // 2
    split = (weights[:, bins:], weights[:, :bins], squares[:, bins:], squares[:, :bins])
    cohort = np.repeat(np.arange(size), bins)
    ties = Blocks(cohort, np.tile(np.arange(bins, dtype=np.float64), size), tuple(part.ravel() for part in split), np.arange(size + 1) * bins)
    return _curves(ties, size, count_p, count_n, exact=False)


def _curves(ties: Blocks, size: int, count_p: Floats, count_n: Floats, *, exact: bool) -> Curves:
    positive, negative, square_p, square_n = ties.weights[:4]
    below, total_n = _running(negative, ties)
    upto, total_p = _running(positive, ties)

    def total(values: Floats) -> Floats:
        return np.asarray(np.bincount(ties.cohort, values, minlength=size), dtype=np.float64)

    with np.errstate(divide="ignore", invalid="ignore"):
        share_p = (below - negative / 2) / total_n[ties.cohort]  # of negatives, those below a positive of this block
        share_n = (total_p[ties.cohort] - upto + positive / 2) / total_p[ties.cohort]
        auc = total(positive * share_p) / total_p
        away_p, away_n = share_p - auc[ties.cohort], share_n - auc[ties.cohort]
        variance = total(square_p * away_p**2) / total_p**2 * count_p / (count_p - 1) + total(square_n * away_n**2) / total_n**2 * count_n / (count_n - 1)
        hits = total_p[ties.cohort] - upto + positive  # at and above this block's score
        misses = total_n[ties.cohort] - below + negative
        precision = np.where(hits + misses > 0, hits / (hits + misses), 0.0)
        average = np.where(total_p > 0, total(positive * precision) / total_p, np.nan)
        bounds = [np.zeros(size), np.zeros(size)]
        if not exact:
            least, most = _precision_within(positive, negative, hits, misses, whole=bool(np.all(square_p == positive)))
            low, high = total(positive * least) / total_p, total(positive * most) / total_p
            average = np.where(total_p > 0, (low + high) / 2, np.nan)
            bounds = [total(positive * negative) / (2 * total_p * total_n), (high - low) / 2]
    there = (total_p > 0) & (total_n > 0)
    return Curves(np.where(there, np.clip(auc, 0, 1), np.nan), np.sqrt(variance), np.clip(average, 0, 1), *bounds)


def _precision_within(positive: Floats, negative: Floats, hits: Floats, misses: Floats, *, whole: bool) -> tuple[Floats, Floats]:
    """The least and the most that precision, averaged over the positives of a bin, can be: with all its negatives before
    them, and after. Sums of 1 / (c + j) lie between logarithms; the tighter upper one holds for weights of 1 (`whole`).
    """
    before = hits - positive
    worst = before + misses
    least = np.where(worst > 0, 1 - misses / positive * np.log1p(positive / worst), 1.0 - (misses > 0))
    others = misses - negative
    best = before + others
    most = 1 - others / (best + positive)
    if whole:
        most = 1 - others / positive * np.log1p(positive / (best + 1))
    return np.where(positive > 0, np.clip(least, 0, 1), 0.0), np.where(positive > 0, np.clip(most, 0, 1), 0.0)


def histogram_bins(rows: Rows, name: str, edges: tuple[float, ...]) -> tuple[NDArray[np.int64], int]:
    """The bin of each row for a key of `Ranked`; a score's bins are apart for negatives and positives."""
    key, bins = key_of(rows, name), len(edges) + 1
    place = np.searchsorted(np.array(edges), key, side="left").astype(np.int64)
    if name == "absolute":
        return place, bins
    positive = rows.y == (int(name.removeprefix("score:")) if name.startswith("score:") else 1)
    return place + bins * positive, 2 * bins


def histogram_edges(key: Floats, bins: int) -> tuple[float, ...]:
    """Inner edges that cut a sample of a key into bins of about the same size; every value its own bin where there are few."""
    distinct = np.unique(key)
    if len(distinct) > bins:
        distinct = np.unique(np.quantile(key, np.arange(1, bins) / bins, method="inverted_cdf"))
    return tuple(float(value) for value in distinct)


def medians_of_histograms(weights: Floats, edges: tuple[float, ...], count: Floats, z: float) -> tuple[Floats, Floats, Floats]:
    """Medians from histograms (size, bins): the upper edge of the bin in which half the weight is reached, its limits those
    of the bins in which the order statistics lie. The median itself lies in the named bin.
    """
    tops = np.array([*edges, edges[-1] if edges else 0.0])
    running = np.cumsum(weights, axis=1)
    total = running[:, -1]

    def at(share: Floats, shift: int) -> Floats:
        place = (running < (np.clip(share, 0, 1) * total)[:, None]).sum(axis=1) + shift
        return np.where(total > 0, tops[np.clip(place, 0, len(tops) - 1)], np.nan)

    with np.errstate(divide="ignore", invalid="ignore"):
        half = np.nan_to_num(z / np.sqrt(count) / 2)
    return at(np.full(len(total), 0.5), 0), at(0.5 - half, -1), at(0.5 + half, 0)


def medians(order: Order, cohort: NDArray[np.integer] | None, size: int, weight: Floats | None, z: float) -> tuple[Floats, Floats, Floats]:
    """The median of the key in each cohort, and its interval from order statistics, which assumes nothing of the key's
    distribution. Weighted: where half of the weight lies below, the mean of both when it falls between two.
    """
    w = np.ones(len(order.key)) if weight is None else weight
    ties = blocks(order, cohort, size, [w, w * w])
    running, total = _running(ties.weights[0], ties)
    squares = np.bincount(ties.cohort, ties.weights[1], minlength=size)
    with np.errstate(divide="ignore", invalid="ignore"):
        effective = total**2 / squares
        half = z * np.sqrt(effective) / 2
        shares = (np.floor(effective / 2 - half) / effective, np.ceil(effective / 2 + 1 + half) / effective)
    shifted = running + np.concatenate([[0.0], np.cumsum(total)])[ties.cohort]  # rising over all blocks, so that one search serves

    def at(share: Floats, side: str) -> Floats:
        target = np.concatenate([[0.0], np.cumsum(total)])[:-1] + np.clip(share, 1e-12, 1) * total
        place = np.searchsorted(shifted, target * (1 - 1e-15) if side == "left" else target, side="left" if side == "left" else "right")
        place = np.clip(place, ties.first[:-1], np.maximum(ties.first[1:] - 1, ties.first[:-1]))
        known = np.minimum(place, max(len(ties.key) - 1, 0))
        return np.where(total > 0, ties.key[known] if len(ties.key) else np.nan, np.nan)

    middle = np.full(size, 0.5)
    return (at(middle, "left") + at(middle, "right")) / 2, at(shares[0], "left"), at(shares[1], "left")


def rank_components(key: Floats, cohort: NDArray[np.integer], size: int, y: Floats, weight: Floats | None) -> tuple[Floats, Floats]:
    """What each row (n,) adds to its cohort's ROC area (DeLong's components, centred) and to its average precision (the
    precision at a positive's score, centred; the lesser effect of a row on others' precision is left out).
    """
    w = np.ones(len(y)) if weight is None else weight
    by_score = Order.of(key)
    place = by_score.order[np.argsort(cohort[by_score.order], kind="stable")]
    where, s, positive = cohort[place], key[place], (w * y)[place]
    negative = w[place] - positive
    new = np.concatenate([[True], (s[1:] != s[:-1]) | (where[1:] != where[:-1])])
    block = np.cumsum(new) - 1
    starts = np.flatnonzero(new)
    ties = Blocks(where[starts].astype(np.int64), s[starts], (), np.searchsorted(where[starts], np.arange(size + 1)))
    in_block = [np.add.reduceat(values, starts) for values in (positive, negative)]
    (upto_p, total_p), (upto_n, total_n) = (_running(values, ties) for values in in_block)
    group = ties.cohort
    with np.errstate(divide="ignore", invalid="ignore"):
        below = (upto_n - in_block[1] / 2) / total_n[group]
        above = (total_p[group] - upto_p + in_block[0] / 2) / total_p[group]
        auc = np.bincount(group, in_block[0] * below, minlength=size) / total_p
        hits = total_p[group] - upto_p + in_block[0]
        misses = total_n[group] - upto_n + in_block[1]
        precision = hits / (hits + misses)
        average = np.bincount(group, in_block[0] * precision, minlength=size) / total_p
        truth = y[place] > 0
        area = np.where(truth, (below - auc[group])[block] / total_p[where], (above - auc[group])[block] / total_n[where])
        share = np.where(truth, (precision - average[group])[block] / total_p[where], 0.0)
    result = np.empty((2, len(y)))
    result[:, place] = area, share
    return np.nan_to_num(result[0]), np.nan_to_num(result[1])

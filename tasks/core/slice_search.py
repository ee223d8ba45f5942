"""The count of every slice: rows and losses of all that few columns make together.

A slice is a set of parts of different columns: `city = 'Oslo' AND age > 40`. One pass counts a block of several columns
together, and every pair or triple of columns inside the block is a margin of that count, so that the passes are a
fraction of the sets of columns. Sets are dropped as soon as no slice of theirs can have enough rows or, where losses are
0 or 1, enough errors: if these are few they are counted first, which is a fraction of the work.
"""

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from tasks.core.slice_columns import Codes

Floats = NDArray[np.float64]
Part = tuple[int, int]  # column, code
Whole = tuple[float | Floats, float | Floats, float | Floats]  # rows, losses, squared losses

BAR = float(special.ndtri(1 - 0.005))  # what lies less clearly above the rest than this does not matter
BLOCK = 2**16  # cells counted in one pass, so that a row's cell fits 16 bits
WIDE = 2**24  # cells counted in place for one set of columns; beyond, they are sorted
RARE = 0.25  # share of errors up to which they are counted before the rows


def strength(n: Floats, s: Floats, q: Floats, whole: Whole, shares: bool) -> Floats:
    """How clearly the mean of n rows (sum s, sum of squares q) lies above the rest of the `whole`, as a standard normal score.

    For shares (losses of 0 and 1) the signed root of the likelihood ratio of the two-by-two table. For other losses the
    smaller of two scores, since skewed losses err on opposite sides of them: Welch's t, brought to the normal scale by
    Wallace's approximation (1959) on n - 1 degrees of freedom, and the score of n rows drawn without replacement from the
    whole, with the spread of the whole.
    """
    N, S, Q = whole
    with np.errstate(divide="ignore", invalid="ignore"):
        if shares:
            a, b, c, d = s, n - s, S - s, (N - n) - (S - s)
            joint = sum(special.xlogy(x, x) for x in (a, b, c, d))
            margins = special.xlogy(n, n) + special.xlogy(N - n, N - n) + special.xlogy(S, S) + special.xlogy(N - S, N - S)
            ratio = np.maximum(2 * (joint - margins + special.xlogy(N, N)), 0)
            return np.asarray(np.sign(s * N - n * S) * np.sqrt(ratio), dtype=np.float64)
        m = N - n
        own = np.maximum(q - s * s / n, 0) / np.maximum(n - 1, 1)
        rest = np.maximum((Q - q) - (S - s) ** 2 / m, 0) / np.maximum(m - 1, 1)
        t = np.asarray((s / n - (S - s) / m) / np.sqrt(own / n + rest / m), dtype=np.float64)
        df = np.maximum(n - 1, 1)
        score = np.sign(t) * np.sqrt(df * np.log1p(t * t / df)) * (8 * df + 1) / (8 * df + 3)
        score = np.minimum(score, drawn_score(n, s, whole))
    return np.asarray(np.nan_to_num(score, nan=0.0), dtype=np.float64)


def drawn_score(n: Floats, s: Floats, whole: Whole) -> Floats:
    """(mean - overall mean) over its standard error in a draw of n rows of N without replacement: variance V / n * (N - n) / (N - 1)."""
    N, S, Q = whole
    variance = np.maximum(Q / N - (S / N) ** 2, 0) / n * (N - n) / np.maximum(N - 1, 1)
    return np.asarray((s / n - S / N) / np.sqrt(variance), dtype=np.float64)


@dataclass(frozen=True)
class Examined:
    """What a search saw: `count` slices with enough rows, and those that lie clearly above the rest (m), strongest first.

    `parts` (m, depth) holds codes by column of `sets` (m, depth); unused places are -1.
    """

    count: int
    sets: NDArray[np.int32]
    parts: NDArray[np.int32]
    sums: Floats
    strength: Floats

    def slices(self) -> Iterator[tuple[Part, ...]]:
        """Each slice, strongest first."""
        for columns, codes in zip(self.sets.tolist(), self.parts.tolist(), strict=True):
            yield tuple((column, code) for column, code in zip(columns, codes, strict=True) if column >= 0)


class Search:
    """An exhaustive search over some rows: `codes` (columns, rows), `sizes` (parts of each column), `loss` (rows,)."""

    def __init__(self, codes: Sequence[Codes], sizes: Sequence[int], loss: Floats, shares: bool, least: int) -> None:
        self.codes, self.sizes, self.loss, self.shares, self.least = codes, sizes, loss, shares, max(least, 1)
        self.squares = loss if shares else loss * loss
        self.errors = loss.astype(np.uint16) if shares else None
        self.whole = (float(len(loss)), float(loss.sum()), float(self.squares.sum()))
        # Parts of each column, and one more for rows in none where there are any.
        self.full = [max(size, int(column.max(initial=0)) + 1) for column, size in zip(codes, sizes, strict=True)]
        wrong = np.flatnonzero(loss) if shares and self.whole[1] <= RARE * len(loss) else None
        self.wrong = None if wrong is None else [column[wrong] for column in codes]
        # A table much larger than the rows costs more to clear than the rows to count.
        self.limit = int(np.clip(len(loss) // 8, 2**10, BLOCK)) // (2 if shares else 1)

    def run(self, depth: int) -> Examined:
        """Every slice of up to `depth` parts."""
        count, kept = 0, []
        alive: set[tuple[int, ...]] = {()}
        for size in range(1, depth + 1):
            longer = ((*part, column) for part in sorted(alive) for column in range(part[-1] + 1 if part else 0, len(self.sizes)))
            sets = [chosen for chosen in longer if self.sizes[chosen[-1]] and all(part in alive for part in combinations(chosen, size - 1))]
            found = list(self._level(sets)) if sets else []
            if not found:
                break
            n, s, q = (np.concatenate([table[place] for _, _, table in found]) for place in range(3))
            score = np.zeros(len(n))
            raised = np.flatnonzero(s * self.whole[0] > n * self.whole[1])
            score[raised] = strength(n[raised], s[raised], q[raised], self.whole, self.shares)
            owner = np.repeat(np.arange(len(found)), [len(codes) for _, codes, _ in found])
            alive = {found[place][0] for place in np.unique(owner[self._bound(n, s) >= BAR])}
            keep = np.flatnonzero(score >= BAR)
            columns = np.full((len(keep), depth), -1, dtype=np.int32)
            parts = columns.copy()
            columns[:, :size] = np.array([chosen for chosen, _, _ in found], dtype=np.int32)[owner[keep]]
            parts[:, :size] = np.concatenate([codes for _, codes, _ in found])[keep]
            kept.append((columns, parts, np.stack([n[keep], s[keep], q[keep]], axis=1), score[keep]))
            count += len(n)
        if not kept:
            empty = np.zeros((0, depth), dtype=np.int32)
            return Examined(0, empty, empty, np.zeros((0, 3)), np.zeros(0))
        columns, parts, sums, score = (np.concatenate(arrays) for arrays in zip(*kept, strict=True))
        order = np.argsort(-score, kind="stable")  # of equal slices the one with fewer parts comes first
        return Examined(count, columns[order], parts[order], sums[order], score[order])

    def _bound(self, n: Floats, s: Floats) -> Floats:
        """The most that any part of these slices can be raised: all their errors on as few rows as allowed."""
        if not self.shares:
            return np.full(len(n), np.inf)
        fewest = np.maximum(s, self.least)
        return strength(fewest, s, s, self.whole, True)

    def _level(self, sets: list[tuple[int, ...]]) -> Iterator[tuple[tuple[int, ...], NDArray[np.int64], Floats]]:
        """Each set of columns with its slices of enough rows: codes (m, size) and sums (3, m)."""
        small = [chosen for chosen in sets if math.prod(self.full[column] for column in chosen) <= self.limit]
        wide = sorted(set(sets) - set(small))
        if self.wrong is not None and len(sets[0]) > 1:
            small = list(self._erring(small, self.wrong))
        for block, inside in _blocks(tuple(small), tuple(self.full), self.limit):
            table = self._count(self._joint(block, self.codes), [self.full[column] for column in block])
            for chosen in inside:
                yield self._cells(chosen, table.sum(axis=_others(block, chosen, 1)))
        for chosen in wide:
            yield self._wide(chosen)

    def _erring(self, sets: list[tuple[int, ...]], wrong: Sequence[Codes]) -> Iterator[tuple[int, ...]]:
        """Those sets of columns in which a slice has as many errors as it takes for one of the fewest rows to stand out."""
        fewest = 1 + bisect_left(range(1, int(self.whole[1]) + 1), BAR, key=lambda errors: self._bound(np.array([errors]), np.array([errors]))[0])
        for block, inside in _blocks(tuple(sets), tuple(self.full), self.limit):
            shape = [self.full[column] for column in block]
            table = np.bincount(self._joint(block, wrong), minlength=math.prod(shape)).reshape(shape)
            for chosen in inside:
                cells = table.sum(axis=_others(block, chosen))[tuple(slice(0, self.sizes[column]) for column in chosen)]
                if cells.max(initial=0) >= fewest:
                    yield chosen

    def _joint(self, block: Sequence[int], codes: Sequence[Codes]) -> Codes:
        code = codes[block[0]].copy()
        for column in block[1:]:
            code *= np.uint16(self.full[column])
            code += codes[column]
        return code

    def _count(self, code: NDArray[np.integer], shape: Sequence[int]) -> NDArray[Any]:
        """Rows, losses and squares by cell, (3, *shape); for shares rows and errors, (2, *shape)."""
        cells = math.prod(shape)
        if self.errors is not None:
            if cells <= BLOCK // 2 and code.dtype == np.uint16:
                code += self.errors * np.uint16(cells)
            else:
                code = code + self.errors.astype(np.int64) * cells
            counts = np.bincount(code, minlength=2 * cells).reshape(2, *shape)
            counts[0] += counts[1]
            return counts
        sums = [np.bincount(code, weights, minlength=cells) for weights in (None, self.loss, self.squares)]
        return np.stack(sums).reshape(3, *shape)

    def _cells(self, chosen: tuple[int, ...], table: NDArray[Any]) -> tuple[tuple[int, ...], NDArray[np.int64], Floats]:
        table = table[(slice(None), *(slice(0, self.sizes[column]) for column in chosen))]
        places = np.nonzero((table[0] >= self.least) & (table[0] < self.whole[0]))
        sums = np.stack([layer[places] for layer in table]).astype(np.float64)
        return chosen, np.stack(places, axis=1), sums if len(sums) == 3 else np.stack([sums[0], sums[1], sums[1]])

    def _wide(self, chosen: tuple[int, ...]) -> tuple[tuple[int, ...], NDArray[np.int64], Floats]:
        """A set of columns with more cells than a block: column by column, keeping only cells with enough rows."""
        code = self.codes[chosen[0]].astype(np.int64)
        members = np.arange(self.sizes[chosen[0]])[:, None]
        for column in chosen[1:]:
            width = self.sizes[column] + 1
            code = code * width + self.codes[column]
            cells = (len(members) + 1) * width
            if cells > WIDE:
                values, inverse = np.unique(code, return_inverse=True)
                enough = np.bincount(inverse) >= self.least
            else:
                values, inverse = np.arange(cells), code
                enough = np.bincount(code, minlength=cells) >= self.least
            enough &= (values % width < width - 1) & (values // width < len(members))
            found = values[enough]
            members = np.column_stack([members[found // width], found % width])
            place = np.full(len(values), len(found))
            place[enough] = np.arange(len(found))
            code = place[inverse]
        table = self._count(code, [len(members) + 1])[:, :-1].astype(np.float64)
        return chosen, members, table if len(table) == 3 else np.stack([table[0], table[1], table[1]])


def _others(block: Sequence[int], chosen: Sequence[int], first: int = 0) -> tuple[int, ...]:
    """The axes of a block's table that belong to columns not chosen."""
    return tuple(place + first for place, column in enumerate(block) if column not in chosen)


@lru_cache(maxsize=16)  # the same for rows and errors, and mostly for both halves
def _blocks(sets: tuple[tuple[int, ...], ...], sizes: tuple[int, ...], limit: int) -> list[tuple[list[int], list[tuple[int, ...]]]]:
    return list(cover(sets, sizes, limit))


def cover(sets: Sequence[tuple[int, ...]], sizes: Sequence[int], limit: int) -> Iterator[tuple[list[int], list[tuple[int, ...]]]]:
    """Blocks of columns of at most `limit` cells that together hold every set, greedily few; each set is given once.

    >>> list(cover([(0, 1), (0, 2), (1, 2)], [2, 2, 2], 8))
    [([0, 1, 2], [(0, 1), (0, 2), (1, 2)])]
    """
    left = dict.fromkeys(sets)
    columns = sorted({column for chosen in sets for column in chosen})
    while left:
        block = list(next(iter(left)))
        size, cells = len(block), math.prod(sizes[column] for column in block)
        while True:
            gains = [
                (sum(tuple(sorted((*part, column))) in left for part in combinations(block, size - 1)), -column)
                for column in columns
                if column not in block and cells * sizes[column] <= limit
            ]
            gain, column = max(gains, default=(0, 0))
            if not gain:
                break
            block.append(-column)
            cells *= sizes[-column]
        block.sort()
        inside = [chosen for chosen in combinations(block, size) if chosen in left]
        for chosen in inside:
            del left[chosen]
        yield block, inside

"""Histogram gradient boosting evaluated by tables: the sums that scikit-learn's own prediction gives, to the last bit, several times faster.

Each feature is turned into its bin (0 to 255) once. A tree is then a table for each feature it splits on: for each bin, a word with a
bit for each leaf that rows of that bin may still reach. The words of a row's bins are combined by AND; the lowest bit left is its leaf,
leaves being numbered from left to right. Two trees of up to 32 leaves share a word. Lucchese et al., QuickScorer: a fast algorithm to rank
documents with additive ensembles of regression trees, SIGIR 2015.

Leaves are added in the order of the trees, as scikit-learn adds them, so that sums round alike. Since this reads what scikit-learn keeps
under private names, a model is held against scikit-learn's answers on the first rows it is given, and left to it where they differ.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._openmp_helpers import _openmp_effective_n_threads

Floats = NDArray[np.float64]
Words = NDArray[np.uint64]

ROWS_FROM = 20_000
"""Below, what it takes to make the tables is more than they save."""
BLOCK = 1 << 14
"""Rows that are worked on at a time: what they need stays in a core's cache."""
CHECKED = 2_000
LEAVES = 32
BINS = 256


@dataclass(frozen=True)
class Pair:
    """Two trees: for each feature that either splits on, its place and 256 words; and each tree's leaves, from left to right."""

    tables: tuple[tuple[int, Words], ...]
    leaves: tuple[Floats, ...]


class TreeTables:
    """The tables of a fitted HistGradientBoosting estimator with one tree an iteration."""

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator
        trees = [trees[0] for trees in estimator._predictors]
        missing = int(estimator._bin_mapper.missing_values_bin_idx_)
        made = [_tables(tree, missing) for tree in trees]
        self.pairs = [_paired(made[place : place + 2]) for place in range(0, len(made), 2)]

    def raw(self, matrix: NDArray[Any]) -> Floats:
        """The sum of baseline and trees for each row, shape (n,)."""
        codes = self.estimator._bin_mapper.transform(self.estimator._preprocess_X(matrix, reset=False))
        sums = np.full(len(codes), float(self.estimator._baseline_prediction.ravel()[0]))
        starts = range(0, len(codes), BLOCK)
        with ThreadPoolExecutor(_openmp_effective_n_threads()) as pool:
            list(pool.map(lambda start: self._add(codes[start : start + BLOCK], sums[start : start + BLOCK]), starts))
        return sums

    def _add(self, codes: NDArray[np.uint8], sums: Floats) -> None:
        """Add every tree's leaf to the sums of a block of rows."""
        rows = len(codes)
        places = [codes[:, feature].astype(np.intp) for feature in range(codes.shape[1])]
        word, other, spare = (np.empty(rows, dtype=np.uint64) for _ in range(3))
        count, leaf = np.empty(rows, dtype=np.uint8), np.empty(rows)
        one, half = np.uint64(1), np.uint64(LEAVES)
        for pair in self.pairs:
            for number, (feature, table) in enumerate(pair.tables):
                np.take(table, places[feature], out=other if number else word, mode="clip")
                if number:
                    np.bitwise_and(word, other, out=word)
            for number, leaves in enumerate(pair.leaves):
                if number:
                    np.right_shift(word, half, out=word)
                np.subtract(word, one, out=other)
                np.invert(word, out=spare)
                np.bitwise_and(other, spare, out=other)  # ones below the lowest bit
                np.bitwise_count(other, out=count)
                np.take(leaves, count, out=leaf, mode="clip")
                np.add(sums, leaf, out=sums)


_known: "WeakKeyDictionary[Any, TreeTables | None]" = WeakKeyDictionary()


def raw_sums(estimator: Any, matrix: NDArray[Any]) -> Floats:
    """The raw predictions of a HistGradientBoosting estimator of one tree an iteration, shape (n,): by tables where there are many rows."""
    if len(matrix) < ROWS_FROM:
        return _own(estimator, matrix)
    if estimator not in _known:
        _known[estimator] = _checked(estimator, matrix[:CHECKED])
    tables = _known[estimator]
    return _own(estimator, matrix) if tables is None else tables.raw(matrix)


def _checked(estimator: Any, matrix: NDArray[Any]) -> TreeTables | None:
    """The tables, if they can be made and say what scikit-learn says."""
    try:
        tables = TreeTables(estimator)
        return tables if np.array_equal(tables.raw(matrix), _own(estimator, matrix)) else None
    except (AttributeError, KeyError, IndexError, TypeError, ValueError):  # another release keeps other things, or a tree has more leaves
        return None


def _own(estimator: Any, matrix: NDArray[Any]) -> Floats:
    return np.asarray(estimator._raw_predict(matrix), dtype=np.float64).ravel()


def _tables(tree: Any, missing: int) -> tuple[dict[int, Words], Floats]:
    """A tree's words by feature and bin, and its leaves from left to right. Raises: ValueError for more than LEAVES of them."""
    nodes, leaves, tables = tree.nodes, list[float](), dict[int, Words]()
    bins = np.arange(BINS)

    def walk(place: int) -> int:
        """Number the leaves below a node; the first number after them."""
        node = nodes[place]
        if node["is_leaf"]:
            leaves.append(float(node["value"]))
            return len(leaves)
        first = len(leaves)
        middle = walk(int(node["left"]))
        if node["is_categorical"]:
            words = tree.binned_left_cat_bitsets[node["bitset_idx"]]
            left = (words[bins // 32] >> (bins % 32).astype(np.uint32)) & 1 == 1
        else:
            left = bins <= node["bin_threshold"]
        left[missing] = node["missing_go_to_left"]
        reached = np.uint64(((1 << middle) - 1) ^ ((1 << first) - 1))  # leaves on the left, which rows that go right do not reach
        table = tables.setdefault(int(node["feature_idx"]), np.full(BINS, np.iinfo(np.uint64).max))
        table[~left] &= ~reached
        return walk(int(node["right"]))

    if int(nodes["is_leaf"].sum()) > LEAVES:
        raise ValueError("too many leaves for a word")
    walk(0)
    return tables, np.array(leaves)


def _paired(trees: list[tuple[dict[int, Words], Floats]]) -> Pair:
    """Two trees in one word each, the first in its lower half; the last one alone where their number is odd."""
    low, half = np.uint64((1 << LEAVES) - 1), np.uint64(LEAVES)
    all_ones = np.full(BINS, np.iinfo(np.uint64).max)
    first, second = trees[0][0], trees[1][0] if len(trees) > 1 else {}
    features = sorted({*first, *second} or {0})
    tables = ((one, (first.get(one, all_ones) & low) | (second.get(one, all_ones) << half)) for one in features)
    return Pair(tuple(tables), tuple(leaves for _, leaves in trees))

"""A sample's quantiles in few numbers, none of which is one row's: the means of its sorted parts."""

import numpy as np
from numpy.typing import NDArray

from tasks.core.encoding import RARE
from tasks.core.mitigation.base import Floats


def profile(values: Floats, most: int, least: int = RARE) -> Floats:
    """The means of at most `most` equal parts of each sorted column, each part of at least `least` rows; (n, d) -> (k, d).

    Part i of k stands for the quantile of level (i + 1/2) / k. A part of equal values has exactly that value.

    >>> profile(np.array([[4.0], [1.0], [2.0], [9.0]]), most=2, least=1).ravel().tolist()
    [1.5, 6.5]
    """
    rows, parts = len(values), max(1, min(most, len(values) // least))
    edges = np.linspace(0, rows, parts + 1).astype(np.intp)
    ordered = np.sort(values, axis=0)
    first, last = ordered[edges[:-1]], ordered[edges[1:] - 1]
    means = np.add.reduceat(ordered, edges[:-1], axis=0) / np.diff(edges)[:, None]
    return np.asarray(np.clip(means, first, last))  # rounding must not part what is equal, nor put it out of order


def levels(parts: int) -> Floats:
    """The levels of a profile of so many parts; shape (parts,)."""
    return (np.arange(parts) + 0.5) / parts


def level_of(values: Floats, quantiles: Floats) -> Floats:
    """The level of each value under one column of a profile, between the middles of its first and last parts.

    A value that several parts share has the middle of their levels.
    """
    distinct, first, count = np.unique(quantiles, return_index=True, return_counts=True)
    middle = (first + count / 2) / len(quantiles)
    return np.asarray(np.interp(values, distinct, middle))


def value_at(level: Floats, quantiles: Floats) -> Floats:
    """The value of one column of a profile at each level, linear in between and constant beyond the outermost parts."""
    return np.asarray(np.interp(level, levels(len(quantiles)), quantiles))


def spread(columns: Floats) -> NDArray[np.bool_]:
    """Whether each column has more than two distinct values; shape (d,)."""
    ordered = np.sort(columns, axis=0)
    return np.asarray((np.diff(ordered, axis=0) != 0).sum(axis=0) > 1)

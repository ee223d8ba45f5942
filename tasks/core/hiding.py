"""Which parts of a table are not published: those of few rows, and those that would give them away by subtraction."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tasks.core.suppression import protect

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Family = tuple[int, NDArray[np.intp]]  # a part, and the parts that it is made of


def hidden_parts(n: Floats, families: Sequence[Family], k: int, also: Mask | None = None) -> Mask:
    """Which parts (N,) of `n` rows must be hidden, `also` being hidden anyway: those of fewer than k rows but some, those
    within a hidden one, and as many others as it takes for no total to give fewer than k hidden rows away.

    >>> hidden_parts(np.array([100.0, 4.0, 30.0, 66.0]), [(0, np.array([1, 2, 3]))], 10).tolist()
    [False, True, True, False]
    """
    hidden = (n > 0) & (n < k)
    if also is not None:
        hidden |= also
    before = -1
    while hidden.sum() > before:
        before = int(hidden.sum())
        for parent, children in families:
            # A part without rows hides nobody, unless it lies in a hidden one.
            protect(parent, children if hidden[parent] else children[n[children] > 0], n, hidden, k)
    return np.asarray(hidden)


def hidden_cells(n: NDArray[np.int64], k: int) -> Mask:
    """Which cells of a table in one or two dimensions must be hidden, its margins and its total being known."""
    margins = [n.sum(axis=1), n.sum(axis=0)] if n.ndim == 2 else []
    everything = np.concatenate([n.ravel(), *margins, [n.sum()]]).astype(np.float64)
    place = np.arange(n.size).reshape(n.shape)
    whole = len(everything) - 1
    families: list[Family] = []
    if n.ndim == 2:
        rows, columns = n.shape
        families += [(n.size + row, place[row]) for row in range(rows)]
        families += [(n.size + rows + column, place[:, column]) for column in range(columns)]
        families += [(whole, n.size + np.arange(rows)), (whole, n.size + rows + np.arange(columns))]
    families.append((whole, place.ravel()))
    return hidden_parts(everything, families, k)[: n.size].reshape(n.shape)

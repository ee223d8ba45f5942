"""All the rules `score > threshold` that a sample can tell apart, and what each rejects."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.core.mitigation.base import Floats


def cuts(scores: Floats, y: NDArray[Any]) -> tuple[Floats, Floats]:
    """Thresholds (m + 1,) for m distinct scores, from -inf (reject none) to inf (reject all), halfway between neighbours;
    and the negatives and positives that each rejects, (2, m + 1).

    >>> cuts(np.array([0.2, 0.6, 0.6]), np.array([0, 1, 0]))[1].tolist()
    [[0.0, 1.0, 2.0], [0.0, 0.0, 1.0]]
    """
    values, index = np.unique(scores, return_inverse=True)
    counts = [np.bincount(index, weights=y == label) for label in (0, 1)]
    middle = (values[:-1] + values[1:]) / 2
    middle = np.where(middle < values[1:], middle, values[:-1])  # between two neighbouring floats, halfway may round up to the upper
    edges = np.concatenate([[-np.inf], middle, [np.inf]])
    return edges, np.pad(np.cumsum(counts, axis=1), ((0, 0), (1, 0)))

"""Reweighing: weights that make every group count as it should before the estimator is fitted."""

from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.core.mitigation.base import Floats, Labels, Weigher, needs_labels


def group_label_weights(groups: Labels, y: NDArray[Any]) -> Floats:
    """w(g, y) = P(g) P(y) / P(g, y): group and label are independent under these weights, which sum to n.

    y: 0 or 1; every group has both. Kamiran and Calders, Data preprocessing techniques for classification without
    discrimination, 2012.

    >>> group_label_weights(np.array(["a", "a", "b", "b", "b"], dtype=object), np.array([1, 0, 0, 0, 1])).round(3).tolist()
    [0.8, 1.2, 0.9, 0.9, 1.2]
    """
    codes, names = pd.factorize(groups)
    cells = 2 * codes + y
    counts = np.bincount(cells, minlength=2 * len(names)).reshape(-1, 2).astype(np.float64)
    weights = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / (len(y) * np.maximum(counts, 1))
    return np.asarray(weights.ravel()[cells])


def group_weights(groups: Labels) -> Floats:
    """w(g) = n / (K n_g) for K groups: every group has the same total weight, and the weights sum to n.

    >>> group_weights(np.array(["a", "a", "a", "b"], dtype=object)).round(3).tolist()
    [0.667, 0.667, 0.667, 2.0]
    """
    codes, names = pd.factorize(groups)
    return np.asarray(len(groups) / (len(names) * np.bincount(codes))[codes])


class Reweighing(Weigher):
    """Weights for the rows of a fit; prediction is as it would be without them, and asks for no group.

    Binary (labels of an integer type): Kamiran and Calders' weights (2012), under which group and label are independent.
    A group that lacks one of the labels cannot be made independent of it and is refused.

    Regression (labels of a floating type): every group gets the same total weight, so that the fitted loss is the mean
    of the groups' mean losses and a small group counts as much as a large one. Independence from a continuous label is
    not to be had by weighing where the groups' labels hardly overlap, as with homes in poor and in rich tracts.
    """

    aimed = True
    __metadata_request__fit: ClassVar[dict[str, bool]] = {"groups": True}

    def fit(self, X: Any, y: NDArray[Any], *, groups: Labels) -> "Reweighing":  # noqa: ARG002  # as scikit-learn calls it
        """Check only. Raises DataError for a group that lacks a label in a binary task."""
        if not np.issubdtype(y.dtype, np.floating):
            needs_labels(y, groups, (0, 1), "training")
        return self

    def weigh(self, y: NDArray[Any], *, groups: Labels) -> Floats:
        """The weights, shape (n,), summing to n. Raises DataError for a group that lacks a label."""
        self.fit(None, y, groups=groups)
        return group_weights(groups) if np.issubdtype(y.dtype, np.floating) else group_label_weights(groups, y)


METHODS: dict[str, type[Weigher]] = {"reweighing": Reweighing}

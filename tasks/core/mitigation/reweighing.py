"""Reweighing: weights that make every group count as it should before the estimator is fitted."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import is_classifier

from tasks.core.mitigation.base import Labels, Plain, Rows, fitted, needs_labels, needs_weights


def group_label_weights(groups: Labels, y: NDArray[Any]) -> NDArray[np.float64]:
    """w(g, y) = P(g) P(y) / P(g, y): group and label are independent under these weights, which sum to n.

    Kamiran and Calders, Data preprocessing techniques for classification without discrimination, 2012, section 5.3.

    >>> group_label_weights(np.array(["a", "a", "a", "b"], dtype=object), np.array([1, 0, 0, 0])).round(3).tolist()
    [0.75, 1.125, 1.125, 0.75]
    """
    table = pd.DataFrame({"group": groups, "y": y})
    sizes = [table.groupby(keys)["y"].transform("size").to_numpy(dtype=np.float64) for keys in (["group"], ["y"], ["group", "y"])]
    return np.asarray(sizes[0] * sizes[1] / (len(y) * sizes[2]))


def group_weights(groups: Labels) -> NDArray[np.float64]:
    """w(g) = n / (K n_g) for K groups: every group has the same total weight, and the weights sum to n.

    >>> group_weights(np.array(["a", "a", "a", "b"], dtype=object)).round(3).tolist()
    [0.667, 0.667, 0.667, 2.0]
    """
    _, codes, counts = np.unique(groups.astype(str), return_inverse=True, return_counts=True)
    return np.asarray(len(groups) / (len(counts) * counts[codes]))


class Reweighing(Plain):
    """Fits the estimator with weights; predicts as it would without, so no group is asked for at prediction.

    Binary: Kamiran and Calders' weights, under which group and label are independent. A group that lacks one of the
    labels cannot be made independent of it and is refused.

    Regression: every group gets the same total weight, so that the fitted loss is the mean of the groups' mean
    losses and a small group counts as much as a large one. Independence from a continuous label is not to be had by
    weighing where the groups' labels hardly overlap, as with homes in poor and in rich tracts.
    """

    def fit(self, rows: Rows, y: NDArray[Any]) -> "Reweighing":
        """Weigh, then fit. Raises CaseError without sample weights, DataError for a group that lacks a label."""
        needs_weights(self.estimator)
        if is_classifier(self.estimator):
            needs_labels(y, rows.groups, (0, 1), "training")
            weights = group_label_weights(rows.groups, y)
        else:
            weights = group_weights(rows.groups)
        self.estimator_ = fitted(self.estimator, rows.matrix, y, sample_weight=weights)
        return self

"""Resampling: rows copied and left out until group and label are independent, for estimators that take no weights."""

from numbers import Integral
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils._param_validation import Interval, StrOptions

from tasks.core.mitigation.base import Floats, Labels, Sampler, needs_labels


class Resampling(Sampler):
    """Gives each cell of group g and label y the rows it would have if they were independent: n_g n_y / n, rounded.

    Kamiran and Calders, Data preprocessing techniques for classification without discrimination, 2012. `uniform`: rows
    drawn from the cell with replacement. `preferential`: rows near the border between the labels are copied or left
    out first, since they are the ones of which a model is least sure: in a cell with too few rows each stays and those
    nearest the border come again; in a cell with too many the nearest ones go. Nearness is by a logistic regression's
    probability of the cell's own label, the less the nearer (the paper ranks by naive Bayes, and leaves it open).

    It reads encoded numbers for the ranking's sake. Binary tasks only. A group that lacks a label is refused.
    """

    tasks = ("binary",)
    aimed = True
    __metadata_request__fit: ClassVar[dict[str, bool]] = {"groups": True}
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "kind": [StrOptions({"uniform", "preferential"})],
        "seed": [Interval(Integral, 0, None, closed="left")],
    }

    def __init__(self, kind: str = "uniform", seed: int = 0) -> None:
        self.kind = kind
        self.seed = seed

    def fit(self, X: Floats, y: NDArray[Any], *, groups: Labels) -> "Resampling":  # noqa: ARG002  # as scikit-learn calls it
        """Check only. Raises DataError for a group that lacks a label."""
        needs_labels(y, groups, (0, 1), "training")
        return self

    def fit_resample(self, X: Floats, y: NDArray[Any], *, groups: Labels) -> tuple[Floats, NDArray[Any]]:
        """The rows chosen, in the order they had. Raises DataError for a group that lacks a label."""
        self.fit(X, y, groups=groups)
        codes, _ = pd.factorize(groups)
        counts = np.bincount(2 * codes + y).reshape(-1, 2)
        sizes = np.maximum(1, np.rint(counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / len(y)).astype(np.int64)).ravel()
        random = np.random.default_rng(self.seed)
        order = np.argsort(_own_label_probability(X, y), kind="stable") if self.kind == "preferential" else np.arange(len(y))
        cells = (2 * codes + y)[order]
        chosen = []
        for cell, size in enumerate(sizes):
            rows = order[cells == cell]
            if self.kind == "uniform":
                chosen.append(random.choice(rows, size))
            else:
                times, more = divmod(int(size), len(rows))
                chosen += [np.repeat(rows, times), rows[:more] if times else rows[-more:]]
        self.sample_indices_ = np.sort(np.concatenate(chosen))
        return X[self.sample_indices_], y[self.sample_indices_]


def _own_label_probability(X: Floats, y: NDArray[Any]) -> Floats:
    ranker = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(X, y)
    return np.asarray(ranker.predict_proba(X)[np.arange(len(y)), y])


METHODS: dict[str, type[Sampler]] = {"resampling": Resampling}

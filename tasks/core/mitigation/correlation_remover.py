"""Correlation remover: features from which what the group explains linearly has been taken out."""

from numbers import Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from tasks.core.errors import DataError
from tasks.core.mitigation.base import Labels, Plain, Rows, decision, fitted, positive_score


class CorrelationRemover(Plain):
    """Fits the estimator on Z* = Z - alpha (S - mean(S)) W, where W minimises |Z - (S - mean(S)) W|^2.

    Z is the encoded matrix and S the 0/1 indicators of the groups, as in fairlearn's CorrelationRemover; alpha = 1
    removes the whole linear correlation, 0 none. Kept: the group labels, the mean of each indicator, W.

    A row of a group unseen in training has no indicator: it is taken for an average row (S = mean(S)), so its
    features are left as they are.
    """

    reads_groups: ClassVar[bool] = True
    dense: ClassVar[bool] = True
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {"alpha": [Interval(Real, 0, 1, closed="both")]}

    def __init__(self, estimator: Any, alpha: float = 1.0) -> None:
        self.estimator = estimator
        self.alpha = alpha

    def fit(self, rows: Rows, y: NDArray[Any]) -> "CorrelationRemover":
        """Learn W from the training rows, then fit on the residuals. Raises DataError when there is one group only."""
        self.groups_ = sorted(set(rows.groups))
        if len(self.groups_) < 2:
            raise DataError(f"all training rows are in one group, `{self.groups_[0]}`.", fix="Aim `by` at columns that tell groups apart.")
        indicators = self._indicators(rows.groups)
        self.means_ = indicators.mean(axis=0)
        self.weights_ = np.linalg.lstsq(indicators - self.means_, rows.matrix, rcond=None)[0]
        self.estimator_ = fitted(self.estimator, self.transform(rows.matrix, rows.groups), y)
        return self

    def transform(self, matrix: NDArray[np.float64], groups: Labels) -> NDArray[np.float64]:
        """The matrix without what the group explains; shape unchanged, Fortran-ordered."""
        check_is_fitted(self, "weights_")
        indicators = self._indicators(groups)
        centred = np.where(indicators.sum(axis=1, keepdims=True) > 0, indicators - self.means_, 0.0)
        return np.asfortranarray(matrix - self.alpha * (centred @ self.weights_))

    def predict(self, rows: Rows) -> NDArray[Any]:
        """The estimator's prediction on the residuals."""
        return decision(self.estimator_, self.transform(rows.matrix, rows.groups))

    def predict_score(self, rows: Rows) -> NDArray[np.float64] | None:
        """The estimator's probability on the residuals."""
        return positive_score(self.estimator_, self.transform(rows.matrix, rows.groups))

    def _indicators(self, groups: Labels) -> NDArray[np.float64]:
        return np.asarray(np.equal(groups[:, None], np.array(self.groups_, dtype=object)), dtype=np.float64)

    @property
    def known_groups(self) -> tuple[str, ...]:
        """The groups seen in training."""
        return tuple(self.groups_)

"""Imputation from centroids: what the nearest-neighbours imputer does, without keeping anyone's row."""

from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.cluster import KMeans
from sklearn.metrics.pairwise import nan_euclidean_distances
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from tasks.core.encoding import RARE
from tasks.core.errors import DataError

MOST = 256
"""Centroids at most: more cost time and hardly move the filled values."""
BATCH = 4096


class CentroidImputer(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn carries no types
    """Fills a gap with the mean of that column over the nearest groups of training rows.

    scikit-learn's KNNImputer (Troyanskaya et al., 2001) keeps every training row to look among. This one groups the rows
    by k-means: those without gaps, then each other row with the nearest; or all, gaps at the columns' means, where few have
    none. It keeps for each group the mean of each column over the rows that have it: of at least ten, or no mean. A row
    with gaps takes the nearest centroids, by Euclidean distance over the columns that both have, until they stand for
    `n_neighbors` rows; each counts by its rows (`weights: uniform`), or by its rows over its distance (`weights: distance`).
    Where groups are tight and apart from each other, that is close to the neighbours' own mean; elsewhere it is smoother.
    Distances are taken as the columns are: scale them first where their units differ. A row without any value takes the
    columns' means.

    Kept: `centroids_` and `rows_`, the rows that each mean is of, both (n_groups, n_columns); `means_` (n_columns,).
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "weights": [StrOptions({"uniform", "distance"})],
        "random_state": ["random_state"],
    }

    def __init__(self, n_neighbors: int = 5, weights: str = "uniform", random_state: int = 0) -> None:
        self.n_neighbors = n_neighbors
        self.weights = weights
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> "CentroidImputer":  # noqa: ARG002  # as scikit-learn calls it
        """Group the rows, (n, n_columns) with NaN for gaps. Raises DataError for a column with fewer than ten values."""
        self._validate_params()
        X = validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan")
        present = ~np.isnan(X)
        if (short := present.sum(axis=0) < RARE).any():
            raise DataError(
                f"{int(short.sum())} of its columns have a value in fewer than {RARE} of {len(X)} rows, too few to fill the others from.",
                fix="Use simple_imputer, leave such columns out of `columns`, or bring more data.",
            )
        self.means_ = np.nanmean(X, axis=0)
        groups = self._groups(X)
        self.rows_ = np.column_stack([np.bincount(groups, weights=column) for column in present.T])
        sums = np.column_stack([np.bincount(groups, weights=column) for column in np.where(present, X, 0.0).T])
        self.centroids_ = np.divide(sums, self.rows_, out=np.full_like(sums, np.nan), where=self.rows_ >= RARE)
        return self

    def _groups(self, X: NDArray[np.float64]) -> NDArray[np.intp]:
        """A group's number for each row; every group has at least ten rows."""
        whole = ~np.isnan(X).any(axis=1)
        if whole.sum() < max(2 * RARE, len(X) / 10):
            X, whole = np.where(np.isnan(X), self.means_, X), np.ones(len(X), dtype=np.bool_)
        many = min(MOST, int(whole.sum()) // (2 * RARE), len(np.unique(X[whole], axis=0)))
        if many < 2:
            return np.zeros(len(X), dtype=np.intp)
        means = KMeans(many, n_init=1, max_iter=20, tol=1e-3, random_state=self.random_state).fit(X[whole])
        counts = np.bincount(means.labels_, minlength=many)
        large = counts >= RARE
        groups = np.empty(len(X), dtype=np.intp)
        groups[whole] = (np.cumsum(large) - 1)[means.labels_]
        rest = np.asarray(~whole)
        rest[whole] = ~large[means.labels_]  # rows with gaps, and those of groups too small to stand for, join the nearest that is not
        for batch in _batches(np.flatnonzero(rest)):
            apart = nan_euclidean_distances(X[batch], means.cluster_centers_[large])
            groups[batch] = np.nan_to_num(apart).argmin(axis=1)  # a row without any value may go anywhere: it adds to no mean
        return groups

    def transform(self, X: Any) -> NDArray[np.float64]:
        """The rows with their gaps filled, as a new array."""
        check_is_fitted(self, "centroids_")
        X = validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan", reset=False, copy=True)
        gaps = np.flatnonzero(np.isnan(X).any(axis=1))
        for batch in _batches(gaps):
            rows = X[batch]
            distances = nan_euclidean_distances(rows, self.centroids_)
            filled = [self._filled(column, np.isnan(rows[:, column]), distances) for column in range(X.shape[1])]
            X[batch] = np.where(np.isnan(rows), np.column_stack(filled), rows)
        return np.asarray(X)

    def _filled(self, column: int, wanted: NDArray[np.bool_], distances: NDArray[np.float64]) -> NDArray[np.float64]:
        """The column's values for the `wanted` rows, NaN for the others; shape (n_rows,)."""
        result = np.full(len(wanted), np.nan)
        usable = np.flatnonzero(self.rows_[:, column] >= RARE)
        if not wanted.any():
            return result
        if not len(usable):
            result[wanted] = self.means_[column]
            return result
        apart = distances[np.ix_(wanted, usable)]
        apart = np.where(np.isnan(apart), np.inf, apart)  # nothing in common
        most = min(len(usable), -(-self.n_neighbors // RARE))  # each stands for at least ten rows
        near = np.argpartition(apart, most - 1, axis=1)[:, :most]
        apart = np.take_along_axis(apart, near, axis=1)
        order = np.argsort(apart, axis=1, kind="stable")
        near, apart = usable[np.take_along_axis(near, order, axis=1)], np.take_along_axis(apart, order, axis=1)
        rows = self.rows_[near, column]
        weights = np.where(np.isfinite(apart) & (np.cumsum(rows, axis=1) - rows < self.n_neighbors), rows, 0.0)
        if self.weights == "distance":
            exact = apart == 0
            weights = np.where(exact.any(axis=1, keepdims=True), weights * exact, weights / np.where(exact, 1.0, apart))
        total = weights.sum(axis=1)
        means = (weights * self.centroids_[near, column]).sum(axis=1) / np.where(total > 0, total, 1.0)
        result[wanted] = np.where(total > 0, means, self.means_[column])
        return result

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


def _batches(rows: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    return [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]

"""Rebalancing by drawing rows again, leaving rows out, or putting centroids in their place; and the names of all rebalancing steps."""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import pairwise_distances_argmin
from sklearn.utils._param_validation import StrOptions

from tasks.core.errors import DataError
from tasks.core.mitigation.arguments import Maker
from tasks.core.mitigation.rebalancing import ADDING, NEIGHBOURS, TAKING, Rebalancer, class_counts, whole_counts
from tasks.core.mitigation.smote import Smote, SmoteN, SmoteNC


class RandomOverSampler(Rebalancer):
    """Draws rows of the smaller class again, with replacement.

    imbalanced-learn's, without `shrinkage`, which makes up numbers around each row and knows no categories.
    """

    reads = "frame"
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "sampling_strategy": ADDING,
        "seed": ["random_state"],
    }

    def __init__(self, sampling_strategy: str | float | dict[Any, int] = "auto", seed: int = 0) -> None:
        self.sampling_strategy = sampling_strategy
        self.seed = seed

    def _resampled(self, X: Any, y: NDArray[np.int64]) -> tuple[Any, NDArray[np.int64]]:
        from imblearn.over_sampling import RandomOverSampler as Library

        return self._rows(Library(sampling_strategy=self._strategy(y), random_state=self.seed), X, y)

    def _rows(self, library: Any, X: Any, y: NDArray[np.int64]) -> tuple[Any, NDArray[np.int64]]:
        """Its draw depends on y alone: it draws row numbers, and each column is copied once with its own type."""
        library.fit_resample(np.arange(len(y)).reshape(-1, 1), y)
        self.sample_indices_ = np.asarray(library.sample_indices_)
        return X.iloc[self.sample_indices_].reset_index(drop=True), y[self.sample_indices_]


class RandomUnderSampler(RandomOverSampler):
    """Keeps some rows of the larger class, drawn without replacement, or with it. imbalanced-learn's."""

    adds = False
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "sampling_strategy": TAKING,
        "replacement": ["boolean"],
        "seed": ["random_state"],
    }

    def __init__(self, sampling_strategy: str | float | dict[Any, int] = "auto", replacement: bool = False, seed: int = 0) -> None:
        super().__init__(sampling_strategy, seed)
        self.replacement = replacement

    def _resampled(self, X: Any, y: NDArray[np.int64]) -> tuple[Any, NDArray[np.int64]]:
        from imblearn.under_sampling import RandomUnderSampler as Library

        return self._rows(Library(sampling_strategy=self._strategy(y), random_state=self.seed, replacement=self.replacement), X, y)


class TomekLinks(Rebalancer):
    """Takes away rows that form a Tomek link: two rows of different classes that are each other's nearest (Tomek, 1976).

    imbalanced-learn's, on the encoded matrix. `sampling_strategy` names the classes whose rows may go ("auto": the larger
    one), as a word or as a list of labels. Its time grows with the square of the rows.
    """

    adds = False
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "sampling_strategy": [StrOptions({"auto", "majority", "not minority", "not majority", "all"}), tuple, list],
    }

    def __init__(self, sampling_strategy: str | tuple[int, ...] = "auto") -> None:
        self.sampling_strategy = sampling_strategy

    def _plan(self, y: NDArray[np.int64]) -> dict[int, int]:
        class_counts(y)
        return {}

    def _resampled(self, X: Any, y: NDArray[np.int64]) -> tuple[Any, NDArray[np.int64]]:
        library = self._library()
        rows, labels = library.fit_resample(X, y)
        self.sample_indices_ = np.asarray(library.sample_indices_)
        return rows, labels

    def _library(self) -> Any:
        from imblearn.under_sampling import TomekLinks as Library

        return Library(sampling_strategy=self._classes())

    def _classes(self) -> Any:
        return self.sampling_strategy if isinstance(self.sampling_strategy, str) else sorted(whole_counts(dict.fromkeys(self.sampling_strategy, 1)))


class EditedNearestNeighbours(TomekLinks):
    """Takes away rows whose `n_neighbors` nearest are not all of their own class (`kind_sel: all`), or not most (`mode`).

    Wilson, 1972; imbalanced-learn's, on the encoded matrix. `sampling_strategy` as for Tomek links. Its time grows with the
    square of the rows.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **TomekLinks._parameter_constraints,
        "n_neighbors": NEIGHBOURS,
        "kind_sel": [StrOptions({"all", "mode"})],
    }

    def __init__(self, sampling_strategy: str | tuple[int, ...] = "auto", n_neighbors: int = 3, kind_sel: str = "all") -> None:
        super().__init__(sampling_strategy)
        self.n_neighbors = n_neighbors
        self.kind_sel = kind_sel

    def _plan(self, y: NDArray[np.int64]) -> dict[int, int]:
        if len(y) <= self.n_neighbors:
            raise DataError(f"there are {len(y)} rows, and `n_neighbors` is {self.n_neighbors}.", fix=f"Lower `params.n_neighbors` to at most {len(y) - 1}.")
        return super()._plan(y)

    def _library(self) -> Any:
        from imblearn.under_sampling import EditedNearestNeighbours as Library

        return Library(sampling_strategy=self._classes(), n_neighbors=self.n_neighbors, kind_sel=self.kind_sel)


class ClusterCentroids(Rebalancer):
    """Puts the larger class's k-means centroids in the place of its rows, as many as rows are wanted, or the rows nearest to them.

    imbalanced-learn's, on the encoded matrix, with its k-means. `voting`: `soft` ("auto") for the centroids, `hard` for the
    rows nearest. A centroid's index is that of the nearest row of its class. k-means with as many centroids as rows are kept
    is slow: minutes from 20,000 rows of the larger class on.
    """

    adds = False
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "sampling_strategy": TAKING,
        "voting": [StrOptions({"auto", "hard", "soft"})],
        "seed": ["random_state"],
    }

    def __init__(self, sampling_strategy: str | float | dict[Any, int] = "auto", voting: str = "auto", seed: int = 0) -> None:
        self.sampling_strategy = sampling_strategy
        self.voting = voting
        self.seed = seed

    def _resampled(self, X: Any, y: NDArray[np.int64]) -> tuple[Any, NDArray[np.int64]]:
        from imblearn.under_sampling import ClusterCentroids as Library

        rows, labels = Library(sampling_strategy=self._strategy(y), voting=self.voting, random_state=self.seed).fit_resample(X, y)
        self.sample_indices_ = np.empty(len(labels), dtype=np.int64)
        for label in (0, 1):
            members = np.flatnonzero(y == label)
            made = labels == label
            self.sample_indices_[made] = members[pairwise_distances_argmin(rows[made], X[members])] if label in self.sampling_strategy_ else members
        return rows, labels


METHODS = {
    name: Maker(name, step)
    for name, step in {
        "smote": Smote,
        "smotenc": SmoteNC,
        "smoten": SmoteN,
        "random_over_sampler": RandomOverSampler,
        "random_under_sampler": RandomUnderSampler,
        "tomek_links": TomekLinks,
        "edited_nearest_neighbours": EditedNearestNeighbours,
        "cluster_centroids": ClusterCentroids,
    }.items()
}

"""Rows made up between rows of the smaller class: SMOTE for numbers, for numbers and categories, and for categories."""

from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder
from sklearn.utils import check_random_state, gen_batches

from tasks.core.errors import CaseError, DataError
from tasks.core.mitigation.arguments import kinds_of
from tasks.core.mitigation.rebalancing import ADDING, NEIGHBOURS, Rebalancer, class_counts


class Smote(Rebalancer):
    """Makes up rows of the smaller class: x + u (x' - x), of a row x, one x' of its `k_neighbors` nearest, and u in [0, 1).

    Chawla, Bowyer, Hall and Kegelmeyer, 2002; imbalanced-learn's SMOTE, on the encoded matrix, where a made-up row can lie
    between two categories; `smotenc` makes none that do.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "sampling_strategy": ADDING,
        "k_neighbors": NEIGHBOURS,
        "seed": ["random_state"],
    }

    def __init__(self, sampling_strategy: str | float | dict[Any, int] = "auto", k_neighbors: int = 5, seed: int = 0) -> None:
        self.sampling_strategy = sampling_strategy
        self.k_neighbors = k_neighbors
        self.seed = seed

    def _plan(self, y: NDArray[np.int64]) -> dict[int, int]:
        plan = super()._plan(y)
        for label, count in class_counts(y).items():
            if plan.get(label) and count <= self.k_neighbors:
                raise DataError(
                    f"class {label} has {count} rows, and `k_neighbors` is {self.k_neighbors}.",
                    fix=f"Lower `params.k_neighbors` to at most {count - 1}." if count > 1 else "Use random_over_sampler, or bring more data.",
                )
        return plan

    def _resampled(self, X: Any, y: NDArray[np.int64]) -> tuple[Any, NDArray[np.int64]]:
        self.sample_indices_ = np.concatenate(
            [np.arange(len(y)), *(np.flatnonzero(y == label)[self._seeds(y, label, rows)] for label, rows in self.sampling_strategy_.items())]
        )
        rows, labels = self._library(X, y).fit_resample(X, y)
        return rows, labels

    def _library(self, X: Any, y: NDArray[np.int64]) -> Any:  # noqa: ARG002  # SMOTENC reads from X which columns are categories
        from imblearn.over_sampling import SMOTE

        return SMOTE(sampling_strategy=self._strategy(y), k_neighbors=self.k_neighbors, random_state=self.seed)

    def _seeds(self, y: NDArray[np.int64], label: int, rows: int) -> NDArray[np.int64]:
        """Which rows of the class the library starts from: it draws pairs of a row and one of its neighbours, anew for each class."""
        pairs = int(np.sum(y == label)) * self.k_neighbors
        return np.asarray(check_random_state(self.seed).randint(0, pairs, size=rows) // self.k_neighbors)


class SmoteNC(Smote):
    """SMOTE for numbers and categories: numbers as in SMOTE; each category the commonest among the seed's neighbours.

    Chawla et al., 2002, section 6.1: two rows with other categories are apart by the median of the numbers' standard deviations.
    imbalanced-learn's SMOTENC, on the frame before it is encoded. Neighbours are looked up in a dense array and categories
    read back in one go, which makes it several times as fast; where two neighbours are equally far, to within rounding, the
    library may take the other, and draws other categories from there on.
    """

    reads = "frame"

    def _library(self, X: Any, y: NDArray[np.int64]) -> Any:
        from imblearn.over_sampling import SMOTENC

        return SMOTENC(
            [name for name, kind in kinds_of(X).items() if kind == "categorical"],
            sampling_strategy=self._strategy(y),
            k_neighbors=_DenseNeighbors(n_neighbors=self.k_neighbors + 1),
            categorical_encoder=_DenseDecoder(handle_unknown="ignore"),
            random_state=self.seed,
        )

    def _resampled(self, X: Any, y: NDArray[np.int64]) -> tuple[Any, NDArray[np.int64]]:
        kinds = kinds_of(X)
        for kind, other in (("numeric", "smoten"), ("categorical", "smote")):
            if kind not in kinds.values():
                raise CaseError(f"smotenc reads numbers and categories together, and there is no {kind} column.", fix=f"Use {other}.")
        for name in (name for name, kind in kinds.items() if kind == "numeric"):
            if gaps := int(X[name].isna().sum()):
                raise DataError(f"column `{name}` has no value in {gaps:,} rows.", fix="Put an imputer before it, such as simple_imputer.")
        return super()._resampled(X, y)


class _DenseNeighbors(NearestNeighbors):  # type: ignore[misc]
    """Neighbours among rows that the library hands over as a sparse matrix, found ten times as fast in a dense one."""

    def fit(self, X: Any, y: Any = None) -> "_DenseNeighbors":
        super().fit(X.toarray(), y)
        return self

    def kneighbors(self, X: Any, return_distance: bool = True) -> Any:
        return super().kneighbors(X.toarray(), return_distance=return_distance)


class _DenseDecoder(OneHotEncoder):  # type: ignore[misc]
    """Reads categories back from a sparse matrix column by column in dense blocks."""

    def inverse_transform(self, X: Any) -> NDArray[np.object_]:
        bounds = np.cumsum([0, *map(len, self.categories_)])
        codes = [X[:, start:end].toarray().argmax(axis=1) for start, end in pairwise(bounds)]
        return np.column_stack([names.astype(object)[code] for names, code in zip(self.categories_, codes, strict=True)])


class SmoteN(Smote):
    """SMOTE for categories alone: each category the commonest among the `k_neighbors` + 1 rows nearest to a seed, itself among them.

    Chawla et al., 2002, section 6.2. Rows are apart by the value difference metric (Stanfill and Waltz, 1986): the sum over
    columns of (sum over labels of |P(label | a) - P(label | b)|)^2, for categories a and b. The rows that come out are those
    of imbalanced-learn's SMOTEN; distances are taken from a table of categories, for the seeds alone and in batches, where the
    library fills a matrix of all rows by all rows.
    """

    reads = "frame"

    def _seeds(self, y: NDArray[np.int64], label: int, rows: int) -> NDArray[np.int64]:
        return np.asarray(check_random_state(self.seed).choice(int(np.sum(y == label)), size=rows, replace=True))

    def _resampled(self, X: Any, y: NDArray[np.int64]) -> tuple[Any, NDArray[np.int64]]:
        numbers = [name for name, kind in kinds_of(X).items() if kind == "numeric"]
        if numbers:
            raise CaseError(f"smoten reads categories alone, and column `{numbers[0]}` holds numbers.", fix="Use smotenc, or bin its columns.")
        encoder = OrdinalEncoder(dtype=np.intp)
        codes = encoder.fit_transform(X.to_numpy(dtype=object))
        tables = [_differences(column, y) for column in codes.T]
        made, indices = [], [np.arange(len(y))]
        for label, rows in self.sampling_strategy_.items():
            members = np.flatnonzero(y == label)
            seeds = self._seeds(y, label, rows)
            made.append(_commonest(codes[members], seeds, tables, self.k_neighbors + 1))
            indices.append(members[seeds])
        self.sample_indices_ = np.concatenate(indices)
        names = encoder.inverse_transform(np.concatenate(made))
        added = pd.DataFrame({name: pd.Series(names[:, place], dtype=X[name].dtype) for place, name in enumerate(X.columns)})
        return pd.concat([X, added], ignore_index=True), y[self.sample_indices_]


def _differences(codes: NDArray[np.intp], y: NDArray[np.int64]) -> NDArray[np.float64]:
    """The squared value difference of each two categories of a column, (n_categories, n_categories)."""
    counts = np.column_stack([np.bincount(codes[y == label], minlength=codes.max() + 1) for label in (0, 1)]).astype(np.float64)
    shares = counts / counts.sum(axis=1, keepdims=True)
    return np.asarray(np.abs(shares[:, None, :] - shares[None, :, :]).sum(axis=2) ** 2)


def _commonest(codes: NDArray[np.intp], seeds: NDArray[np.int64], tables: list[NDArray[np.float64]], near: int) -> NDArray[np.intp]:
    """For each seed, the commonest code of each column among the `near` rows nearest to it; the lowest code where tied."""
    different, back = np.unique(codes[seeds], axis=0, return_inverse=True)
    result = np.empty_like(different)
    for batch in gen_batches(len(different), max(1, 2**24 // len(codes))):
        apart = np.zeros((len(different[batch]), len(codes)))
        for column, table in enumerate(tables):
            apart += table[different[batch, column]][:, codes[:, column]]
        rows = np.argpartition(apart, near - 1, axis=1)[:, :near]
        for column, table in enumerate(tables):
            votes = codes[rows, column]
            tally = (votes[:, :, None] == np.arange(len(table))).sum(axis=1)
            result[batch, column] = tally.argmax(axis=1)
    return np.asarray(result[back.ravel()])

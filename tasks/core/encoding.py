"""From raw columns to the matrix an estimator reads.

`tidy` makes one canonical array of each column, whatever dtype it came in; `Encoder` learns medians, scales and
categories from training rows and applies them. It keeps a handful of numbers for each column and no row: a category
seen in fewer than ten training rows is pooled with those never seen, so not even its name is kept.
"""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from tasks.core.errors import DataError, nearest

Kind = Literal["numeric", "categorical"]
Form = Literal["sparse", "dense", "tree"]
Columns = dict[str, NDArray[Any]]

MISSING = "missing"
OTHER = "other"
RARE = 10  # rows: below it a category is pooled with the unseen ones
NUMBERS = {"integer", "floating", "mixed-integer-float", "decimal", "boolean", "empty"}


def tidy(frame: pd.DataFrame, kinds: Mapping[str, str]) -> Columns:
    """One array for each column of `kinds`: float64 with NaN for missing, or str objects with "missing" for missing.

    Whole numbers are written without a fraction ("3", not "3.0"), so that a column of codes reads the same in a batch
    with gaps and in one without. A value that is the word "missing" is taken as missing. Raises DataError for a
    column that is not there, a numeric column that holds text, or an infinity.
    """
    for name in kinds:
        if name not in frame.columns:
            raise DataError(f"column `{name}` is not in the data.", fix=nearest(name, map(str, frame.columns)))
    return {name: _numbers(frame[name], name) if kind == "numeric" else _names(frame[name]) for name, kind in kinds.items()}


def _numbers(column: "pd.Series[Any]", name: str) -> NDArray[np.float64]:
    if not pd.api.types.is_numeric_dtype(column) and pd.api.types.infer_dtype(column, skipna=True) not in NUMBERS:
        raise DataError(
            f"column `{name}` should be numeric and is {pd.api.types.infer_dtype(column, skipna=True)}.", fix="Mend the data, or its type in the catalogue."
        )
    values: NDArray[np.float64] = column.to_numpy(dtype=np.float64, na_value=np.nan)
    if np.isinf(values).any():
        raise DataError(f"column `{name}` holds {int(np.isinf(values).sum())} infinite values.", fix="Leave such values empty, or give a bound.")
    return values


def _names(column: "pd.Series[Any]") -> NDArray[np.object_]:
    codes, names = categories_of(column)
    return names[codes]


def categories_of(column: "pd.Series[Any]") -> tuple[NDArray[np.intp], NDArray[np.object_]]:
    """Each row's place among the names of a column's categories, and these names; the last, at -1, is that of missing values."""
    fast = isinstance(column.dtype, pd.StringDtype | pd.CategoricalDtype)  # told apart without an object for each row
    codes, values = pd.factorize(column if fast else column.astype(object))
    return codes, np.array([*map(_name, np.asarray(values, dtype=object)), MISSING], dtype=object)


def _name(value: object) -> str:
    return str(int(value)) if isinstance(value, (float, np.floating)) and float(value).is_integer() else str(value)


class Encoder(BaseEstimator):  # type: ignore[misc]  # scikit-learn carries no types
    """Encodes tidy columns as a float64 matrix of shape (n_rows, n_encoded).

    form "sparse" or "dense" (for linear models, forests and distances): numeric columns are filled with the training
    median and standardised, with a 0/1 column for "was missing" where training had gaps; categorical ones become one
    column for each kept category and a last one for all others, rare and unseen alike. An unseen category therefore
    gets the weight that training gave to the rare ones, and none where there were no rare ones.

    form "tree" (for histogram boosting): numbers as they are, NaN included; categories as codes from 1, with 0 for
    rare and unseen ones, which boosting treats as missing where training had no rare one. Fortran-ordered.

    At most `most` categories of a column are kept, the commonest first.
    """

    def __init__(self, kinds: Mapping[str, Kind], form: Form, most: int = 254) -> None:
        self.kinds = kinds
        self.form = form
        self.most = most

    def fit(self, columns: Columns) -> "Encoder":
        """Learn from tidy columns. Raises DataError for a column without a single value."""
        self.medians_: dict[str, float] = {}
        self.centres_: dict[str, float] = {}
        self.scales_: dict[str, float] = {}
        self.gaps_: list[str] = []
        self.categories_: dict[str, list[str]] = {}
        for name, kind in self.kinds.items():
            if kind == "numeric":
                self._fit_numeric(name, columns[name])
            else:
                counts = pd.Series(columns[name], dtype=object).value_counts()
                if set(counts.index) == {MISSING}:
                    raise _no_value(name)
                common = counts[counts >= RARE].sort_index().sort_values(ascending=False, kind="stable").index[: self.most]
                self.categories_[name] = sorted(common)
        return self

    def _fit_numeric(self, name: str, values: NDArray[np.float64]) -> None:
        missing = np.isnan(values)
        if missing.all():
            raise _no_value(name)
        if missing.any():
            self.gaps_.append(name)
        self.medians_[name] = float(np.median(values[~missing]))
        filled = np.where(missing, self.medians_[name], values)
        self.centres_[name] = float(filled.mean())
        spread = float(filled.std())
        self.scales_[name] = spread if spread > 10 * np.finfo(float).eps * abs(self.centres_[name]) else 1.0  # a constant stays one

    def transform(self, columns: Columns) -> Any:
        """The matrix: CSR for "sparse", C-ordered for "dense", Fortran-ordered for "tree"."""
        check_is_fitted(self)
        codes = {name: self._codes(name, columns[name]) for name in self.categories_}
        if self.form == "tree":
            matrix = np.empty((len(columns[next(iter(self.kinds))]), len(self.kinds)), order="F")
            for place, name in enumerate(self.kinds):
                matrix[:, place] = codes[name] if name in codes else columns[name]
            return matrix
        filled = {name: np.where(np.isnan(columns[name]), median, columns[name]) for name, median in self.medians_.items()}
        numeric = [(values - self.centres_[name]) / self.scales_[name] for name, values in filled.items()]
        numeric += [np.isnan(columns[name]).astype(np.float64) for name in self.gaps_]
        blocks = [sparse.csr_array(np.column_stack(numeric))] if numeric else []
        blocks += [_one_hot(codes[name] - 1, len(kept) + 1) for name, kept in self.categories_.items()]
        matrix = sparse.hstack(blocks, format="csr")
        return sparse.csr_matrix(matrix) if self.form == "sparse" else matrix.toarray()

    def _codes(self, name: str, values: NDArray[np.object_]) -> NDArray[np.intp]:
        """1 for the first kept category, and so on; 0 for every other."""
        return np.asarray(pd.Index(self.categories_[name], dtype=object).get_indexer(pd.Index(values, dtype=object)) + 1)


class Vocabulary(BaseEstimator):  # type: ignore[misc]  # scikit-learn carries no types
    """The categories of each column that steps on raw columns may know: those of at least ten training rows.

    All others, rare and unseen alike, are written `other`; "missing" stays. So no step keeps a name that could name a person.
    """

    def __init__(self, kinds: Mapping[str, Kind]) -> None:
        self.kinds = kinds

    def fit(self, columns: Columns) -> "Vocabulary":
        """Learn from tidy columns."""
        self.known_: dict[str, list[str]] = {}
        for name, kind in self.kinds.items():
            if kind == "categorical":
                counts = pd.Series(columns[name], dtype=object).value_counts()
                self.known_[name] = sorted({*counts[counts >= RARE].index, MISSING})
        return self

    def transform(self, columns: Columns) -> Columns:
        """The columns with strange categories pooled."""
        check_is_fitted(self)
        return {name: self._pooled(name, values) if name in self.known_ else values for name, values in columns.items()}

    def _pooled(self, name: str, values: NDArray[np.object_]) -> NDArray[np.object_]:
        codes, names = pd.factorize(values)
        known = set(self.known_[name])
        return np.array([value if value in known else OTHER for value in names], dtype=object)[codes]


def columns_of(table: Any) -> Columns:
    """The columns of a frame, or of a mapping, as the encoder reads them: float64 or str objects."""
    if not isinstance(table, pd.DataFrame):
        return dict(table)
    return {str(name): table[name].to_numpy(dtype=np.float64 if kind == "numeric" else object) for name, kind in kinds_of(table).items()}


def kinds_of(table: Any) -> dict[str, Kind]:
    """Each column's kind: numbers, or text."""
    return {str(name): "numeric" if pd.api.types.is_numeric_dtype(table[name].dtype) else "categorical" for name in table}


def _one_hot(codes: NDArray[np.intp], width: int) -> Any:
    rows = np.arange(len(codes))
    return sparse.csr_array((np.ones(len(codes)), (rows, codes % width)), shape=(len(codes), width))  # -1, "other", is the last column


def _no_value(name: str) -> DataError:
    return DataError(f"feature `{name}` has no value in any training row.", fix="Drop it from the case's `features`, or mend the data.")

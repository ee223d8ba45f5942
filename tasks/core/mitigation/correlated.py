"""Features that say the same: how strongly two columns go together, and which one of them stays."""

from dataclasses import dataclass
from itertools import combinations
from numbers import Real
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import TransformerMixin
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from tasks.core.encoding import MISSING
from tasks.core.errors import CaseError
from tasks.core.mitigation.arguments import chosen
from tasks.core.mitigation.base import Transformer

LIMIT = Interval(Real, 0, 1, closed="both")


@dataclass(frozen=True, slots=True)
class Pair:
    """Two columns, in the frame's order, and how strongly they go together, from 0 to 1."""

    first: str
    second: str
    measure: str
    strength: float


class CorrelatedFeatures(TransformerMixin, Transformer):  # type: ignore[misc]  # scikit-learn carries no types
    """Leaves out one of each two columns that go together more than a limit, from 0 to 1; at 1 nothing is left out.

    - `spearman`: two columns of numbers; the absolute rank correlation (Spearman, 1904).
    - `cramers_v`: two of text; Cramer's V with Bergsma's correction for bias (2013): with phi2 the mean square contingency
      of an r x k table, phi2' = max(0, phi2 - (r-1)(k-1)/(n-1)), r' = r - (r-1)^2/(n-1), k' alike, V = sqrt(phi2' / (min(r', k') - 1)).
    - `eta`: numbers and text; the correlation ratio (Fisher, 1925), the root of the share of the numbers' variance that
      lies between the categories.

    Each over the rows where both have a value. Pairs are taken the strongest first, as long as both are there, and `keep` says
    which stays: `first`, the one that comes first in the frame; `more_complete`, the one with fewer gaps; `closer_to_target`,
    the one that goes together more strongly with y, by `spearman` or, for text, `eta` (labels 0 and 1 are numbers);
    `fewer_correlations`, the one over a limit with fewer of the columns still there. Where the rule cannot tell, the first stays.

    `columns` says which to look at; the others stay. `kept_`: the names that stay, in order. `dropped_`: for each one left out,
    the column it was left out for (`because`), the `measure`, its `strength` and the `limit`.
    """

    reads = "frame"
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "columns": [tuple],
        "spearman": [LIMIT],
        "cramers_v": [LIMIT],
        "eta": [LIMIT],
        "keep": [StrOptions({"first", "more_complete", "closer_to_target", "fewer_correlations"})],
    }

    def __init__(self, columns: tuple[str, ...] = (), spearman: float = 0.85, cramers_v: float = 0.85, eta: float = 0.85, keep: str = "first") -> None:
        self.columns = columns
        self.spearman = spearman
        self.cramers_v = cramers_v
        self.eta = eta
        self.keep = keep

    def fit(self, X: pd.DataFrame, y: Any = None) -> "CorrelatedFeatures":
        """Find the pairs over their limits and decide; y is for `keep: closer_to_target`."""
        self._validate_params()
        validate_data(self, X, skip_check_array=True)
        if self.keep == "closer_to_target" and y is None:
            raise CaseError("`keep: closer_to_target` needs labels, and there are none.", fix="Choose another rule for `keep`.")
        kinds = chosen(X, self.columns, ("numeric", "categorical"), "correlated_features", "")
        columns = {name: _coded(X[name]) for name in X.columns if name in kinds}
        limits = {"spearman": self.spearman, "cramers_v": self.cramers_v, "eta": self.eta}
        over = [pair for pair in strengths(columns) if pair.strength > limits[pair.measure]]
        self.dropped_: dict[str, dict[str, Any]] = {}
        for pair in sorted(over, key=lambda pair: -pair.strength):
            if not {pair.first, pair.second} & set(self.dropped_):
                stays, goes = self._decide(pair, over, columns, y)
                self.dropped_[goes] = {"because": stays, "measure": pair.measure, "strength": pair.strength, "limit": limits[pair.measure]}
        self.kept_ = [str(name) for name in X.columns if name not in self.dropped_]
        return self

    def _decide(self, pair: Pair, over: list[Pair], columns: dict[str, NDArray[Any]], y: Any) -> tuple[str, str]:
        """The column that stays, and the one that goes."""
        if self.keep == "first":
            return pair.first, pair.second

        def merit(name: str) -> float:
            if self.keep == "more_complete":
                return float(_present(columns[name]).sum())
            if self.keep == "closer_to_target":
                return association(columns[name], np.asarray(y, dtype=np.float64))[1]
            others = [{other.first, other.second} for other in over if name in (other.first, other.second)]
            return -float(sum(not names & set(self.dropped_) for names in others))

        return (pair.second, pair.first) if merit(pair.second) > merit(pair.first) else (pair.first, pair.second)

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """The columns that stay."""
        check_is_fitted(self, "kept_")
        validate_data(self, X, reset=False, skip_check_array=True)
        return X[self.kept_]


def strengths(columns: dict[str, NDArray[Any]]) -> list[Pair]:
    """Every pair of columns: numbers as float64 with NaN for a gap, categories as integer codes with -1 for a gap."""
    numbers = pd.DataFrame({name: values for name, values in columns.items() if values.dtype.kind == "f"})
    ranked, place = _ranked(numbers), {name: index for index, name in enumerate(numbers)}
    pairs = []
    for first, second in combinations(columns, 2):
        if first in place and second in place:
            pairs.append(Pair(first, second, "spearman", float(ranked[place[first], place[second]])))
        else:
            pairs.append(Pair(first, second, *association(columns[first], columns[second])))
    return pairs


def association(a: NDArray[Any], b: NDArray[Any]) -> tuple[str, float]:
    """The measure that fits two columns, as in `strengths`, and its value from 0 to 1; 0 for a column with a single value."""
    both = _present(a) & _present(b)
    a, b = a[both], b[both]
    if a.dtype.kind == "f" and b.dtype.kind == "f":
        return "spearman", float(_ranked(pd.DataFrame({"a": a, "b": b}))[0, 1])
    if a.dtype.kind == "f":
        return "eta", correlation_ratio(a, b)
    return ("eta", correlation_ratio(b, a)) if b.dtype.kind == "f" else ("cramers_v", cramers_v(a, b))


def _ranked(numbers: pd.DataFrame) -> NDArray[np.float64]:
    """Absolute rank correlations of all columns at once: each is ranked once where none has gaps; 0 for a constant."""
    return np.asarray(np.nan_to_num(np.abs(numbers.corr(method="spearman").to_numpy(dtype=np.float64))))


def cramers_v(a: NDArray[np.int64], b: NDArray[np.int64]) -> float:
    """Cramer's V of two arrays of codes from 0 on, corrected for bias (Bergsma, 2013); 0 where either has a single value.

    >>> cramers_v(np.array([0, 0, 1, 1] * 25), np.array([0, 0, 1, 1] * 25))
    1.0
    >>> cramers_v(np.array([0, 0, 1, 1] * 25), np.array([0, 1, 0, 1] * 25))
    0.0
    """
    n = len(a)
    if n < 2:
        return 0.0
    counts_a, counts_b = np.bincount(a), np.bincount(b)
    cells, counts = np.unique(a * len(counts_b) + b, return_counts=True)  # only cells that hold rows: tables can be wide
    phi2 = float((counts**2 / (counts_a[cells // len(counts_b)] * counts_b[cells % len(counts_b)])).sum() - 1)
    r, k = np.count_nonzero(counts_a), np.count_nonzero(counts_b)
    narrower = min(side - (side - 1) ** 2 / (n - 1) for side in (r, k)) - 1
    return float(np.sqrt(min(1.0, max(0.0, phi2 - (r - 1) * (k - 1) / (n - 1)) / narrower))) if narrower > 0 else 0.0


def correlation_ratio(values: NDArray[np.float64], codes: NDArray[np.int64]) -> float:
    """The root of (sum of squares between categories / total sum of squares); 0 for constant values.

    >>> round(correlation_ratio(np.array([45, 70, 29, 15, 21, 40, 20, 30, 42, 65, 95, 80, 70, 85, 73.0]), np.repeat([0, 1, 2], [5, 4, 6])), 4)
    0.8386
    """
    if not len(values):
        return 0.0
    centred = values - values.mean()
    total = float(centred @ centred)
    counts = np.bincount(codes)
    sums = np.bincount(codes, weights=centred)
    between = float((sums**2 / np.maximum(counts, 1)).sum())
    return float(np.sqrt(min(1.0, between / total))) if total > 0 else 0.0


def _coded(column: "pd.Series[Any]") -> NDArray[Any]:
    if pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(dtype=np.float64)
    codes, names = pd.factorize(column.to_numpy(dtype=object))
    if MISSING in (known := list(names)):
        codes = np.where(codes == known.index(MISSING), -1, codes)
    return codes.astype(np.int64)


def _present(values: NDArray[Any]) -> NDArray[np.bool_]:
    return np.asarray(~np.isnan(values) if values.dtype.kind == "f" else values >= 0)

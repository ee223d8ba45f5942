"""Imputers, encoders, scalers and normalisers: scikit-learn's, on chosen columns of a frame.

One step serves them all: `METHODS` names what each is. Columns that are not worked on pass through in place.
"""

import inspect
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import TransformerMixin
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from tasks.core.encoding import MISSING, RARE
from tasks.core.errors import CaseError, DataError, nearest
from tasks.core.mitigation.arguments import Kind, Maker, chosen
from tasks.core.mitigation.base import Transformer
from tasks.core.mitigation.column_methods import IMPUTERS, TABLE


class OnColumns(TransformerMixin, Transformer):  # type: ignore[misc]  # scikit-learn carries no types
    """`method` of scikit-learn's on `columns`, or on all columns of its kind where none are named.

    Formulas and sources are scikit-learn's, under the class of the same name; `params` are its parameters and have its
    defaults. It differs where a default would harm:

    - `simple_imputer` reads text as well, where "missing" is the gap (`strategy` most_frequent or constant); `mean` and
      `median` take columns of numbers alone, and `constant` must be given its `fill_value`, of the columns' own kind.
    - `knn_imputer` fills from centroids of at least ten rows each (`CentroidImputer`): scikit-learn's keeps the rows.
    - Each imputer's `add_indicator` puts a 0/1 column `age=missing` beside a column that had gaps in training.
    - `one_hot_encoder` names its columns `workclass=Private`. A category unseen in training counts as infrequent where
      `min_frequency` or `max_categories` made some so, and else has 0 in each. There is no `drop`: with it, unseen
      categories would pass for the dropped one.
    - `ordinal_encoder` gives a category unseen in training NaN, a gap, and not a place in the order.
    - `target_encoder` (Micci-Barreca, 2001) cross-fits: `fit_transform` encodes each fold's rows by the other folds', so
      that no row is told its own label. An unseen category, and one of under ten rows, which could tell a row's label,
      takes the mean of the target; 0/1 labels are taken as classes, others as numbers.
    - `quantile_transformer` keeps at most a tenth as many quantiles as there are values, and in the place of the outermost
      the means of the ten outermost values.
    - `min_max_scaler` takes the means of the ten least and of the ten greatest values for the ends of the range, where a single
      row's value would be told; values beyond come out beyond, unless `clip` is true. It needs at least twenty values.
    - `normalizer` passes over gaps: they stay, and the norm is that of the row's other values.

    Encoded columns are float64, in their column's place. Kept: statistics, categories, coefficients; no row.
    """

    reads = "frame"
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "method": [StrOptions(set(TABLE))],
        "columns": [tuple],
        "params": [dict, None],
        "seed": ["random_state"],
    }

    def __init__(self, method: str, columns: tuple[str, ...] = (), params: dict[str, Any] | None = None, seed: int = 0) -> None:
        self.method = method
        self.columns = columns
        self.params = params
        self.seed = seed

    def fit(self, X: pd.DataFrame, y: Any = None) -> "OnColumns":
        """Learn from training rows; y is for `target_encoder`.

        Raises CaseError for columns or params that do not fit the method, DataError for columns that cannot be learned from.
        """
        self._validate_params()
        validate_data(self, X, skip_check_array=True)
        columns = chosen(X, self.columns, self._reads(), self.method, self._otherwise())
        self.parts_: dict[str, Any] = {}
        self.made_: dict[str, list[tuple[str, str]]] = {}
        for kind in dict.fromkeys(columns.values()):
            names = [name for name, other in columns.items() if other == kind]
            values = _values(X, names)
            gaps = _gaps(values)
            if (empty := gaps.all(axis=0)).any() and self.method not in ("one_hot_encoder", "ordinal_encoder", "target_encoder"):
                raise DataError(f"column `{names[empty.argmax()]}` has no value in any training row.", fix="Leave it out of `columns`, or mend the data.")
            part = self._part(kind, values, y)
            self.parts_[kind] = _without_rare(part.fit(values, y), values) if self.method == "target_encoder" else self._fitted(part, names, values)
            flagged = [name for place, name in enumerate(names) if gaps[:, place].any() and (self.params or {}).get("add_indicator")]
            self.made_[kind] = (_one_hot_names(part, names) if self.method == "one_hot_encoder" else [(name, name) for name in names]) + [
                (name, f"{name}={MISSING}") for name in flagged
            ]
        self._check_unique(X)
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """A new frame, each column in its place; as many rows, the same index."""
        check_is_fitted(self, "made_")
        validate_data(self, X, reset=False, skip_check_array=True)
        return self._rebuilt(X, crossed=None)

    def fit_transform(self, X: pd.DataFrame, y: Any = None) -> pd.DataFrame:
        """The training rows transformed; by cross-fitting for `target_encoder`, so other than `fit(X, y).transform(X)`."""
        self.fit(X, y)
        if self.method != "target_encoder":
            return self.transform(X)
        values = _values(X, [name for name, _ in self.made_["categorical"]])
        return self._rebuilt(X, crossed=self._part("categorical", values, y).fit_transform(values, y))

    def _rebuilt(self, X: pd.DataFrame, crossed: NDArray[Any] | None) -> pd.DataFrame:
        made: dict[str, dict[str, Any]] = {}
        for kind, part in self.parts_.items():
            names = list(dict.fromkeys(source for source, _ in self.made_[kind]))
            values = _values(X, names)
            results = self._applied(part, values) if crossed is None else crossed
            flags = _gaps(values).astype(np.float64)
            for place, (source, name) in enumerate(self.made_[kind]):
                column = results[:, place] if place < results.shape[1] else flags[:, names.index(source)]
                keeps = self.method in IMPUTERS and source == name  # text that is filled stays text
                made.setdefault(source, {})[name] = pd.Series(column, index=X.index, dtype=X[source].dtype if keeps else np.float64)
        columns: dict[str, Any] = {}
        for name in X.columns:
            columns.update(made.get(name, {name: X[name]}))
        return pd.DataFrame(columns, index=X.index)

    def _applied(self, part: Any, values: NDArray[Any]) -> NDArray[Any]:
        if self.method != "normalizer":
            return np.asarray(part.transform(values))
        gaps = _gaps(values)
        return np.where(gaps, np.nan, part.transform(np.where(gaps, 0.0, values)))

    def _fitted(self, part: Any, names: list[str], values: NDArray[Any]) -> Any:
        if self.method == "normalizer":
            return part.fit(np.zeros_like(values))  # it has nothing to learn, and takes no gaps
        if getattr(part, "method", None) == "box-cox" and (low := np.nanmin(values, axis=0) <= 0).any():
            raise DataError(f"column `{names[low.argmax()]}` has values of 0 or below, which Box-Cox cannot take.", fix="Write `method: yeo-johnson`.")
        part.fit(values)
        vars(part).pop("random_state_", None)  # as long as many a table
        if self.method == "min_max_scaler":
            return _without_extremes(part, values)
        if self.method == "quantile_transformer":
            for place, column in enumerate(values.T):
                ordered = np.sort(column[~np.isnan(column)])
                quantiles = part.quantiles_[:, place]
                quantiles[0], quantiles[-1] = min(quantiles[1], ordered[:RARE].mean()), max(quantiles[-2], ordered[-RARE:].mean())
        return part

    def _part(self, kind: Kind, values: NDArray[Any], y: Any) -> Any:
        """scikit-learn's estimator for columns of one kind, with what the training rows ask for."""
        part = self._plain()
        if self.method == "simple_imputer" and kind == "categorical":
            part.set_params(missing_values=MISSING)
        if self.method == "quantile_transformer":
            fewest = int((~np.isnan(values)).sum(axis=0).min())
            if fewest < 2 * RARE:
                raise DataError(f"a column has {fewest} values, and quantiles need at least {2 * RARE}.", fix="Use standard_scaler or bring more data.")
            part.set_params(n_quantiles=min(part.n_quantiles, min(fewest, part.subsample or fewest) // RARE))
        if self.method == "target_encoder":
            part.set_params(**_folds(part.cv, y, self.seed))
        return part

    def _plain(self) -> Any:
        method = TABLE[self.method]
        params = {name: value for name, value in (self.params or {}).items() if name not in method.also}
        if isinstance(params.get("categories"), tuple):
            params["categories"] = [list(names) for names in params["categories"]]
        drawn = {"random_state": self.seed} if "random_state" in inspect.signature(method.cls).parameters and self.method != "target_encoder" else {}
        return method.cls(**method.ours, **params, **drawn)

    def _reads(self) -> tuple[Kind, ...]:
        if self.method != "simple_imputer":
            return TABLE[self.method].reads
        params = self.params or {}
        if params.get("strategy") == "constant":
            return ("categorical",) if isinstance(params["fill_value"], str) else ("numeric",)
        return ("numeric", "categorical") if params.get("strategy") == "most_frequent" else ("numeric",)

    def _otherwise(self) -> str:
        """What to do about a column of the wrong kind."""
        if self.method == "simple_imputer":
            return "Write `strategy: most_frequent`, which reads both, or give `fill_value` of the columns' own kind."
        if self.method in IMPUTERS:
            return "Use simple_imputer with `strategy: most_frequent` for it."
        if TABLE[self.method].reads == ("numeric",):
            return "Encode it first, by one_hot_encoder, ordinal_encoder or target_encoder, or leave it out of `columns`."
        return "Leave it out of `columns`."

    def _validate_params(self) -> None:
        super()._validate_params()
        params = self.params or {}
        for name in params:
            if name not in TABLE[self.method].parameters:
                raise CaseError(f"{self.method} has no parameter `{name}`.", fix=nearest(name, TABLE[self.method].parameters))
        self._plain()._validate_params()
        if self.method == "simple_imputer" and params.get("strategy") == "constant" and params.get("fill_value") is None:
            raise CaseError("`strategy: constant` needs a `fill_value`.", fix="Write the value to fill gaps with in `params`.")
        if not isinstance(params.get("add_indicator", False), bool):
            raise CaseError(f"`add_indicator` is true or false, and {params['add_indicator']!r} is given.", fix="Change it in `params`.")
        if params.get("categories", "auto") != "auto" and len(params["categories"]) != len(self.columns):
            raise CaseError(
                f"`categories` has {len(params['categories'])} lists, for {len(self.columns)} `columns`.", fix="Name the `columns`, and give a list for each."
            )

    def _check_unique(self, X: pd.DataFrame) -> None:
        made = [name for pairs in self.made_.values() for _, name in pairs]
        worked = {source for pairs in self.made_.values() for source, _ in pairs}
        names = made + [name for name in X.columns if name not in worked]
        if twice := {name for name in names if names.count(name) > 1}:
            raise DataError(f"there would be two columns named `{min(twice)}`.", fix="Rename the one in the data.")


def _without_extremes(scaler: Any, values: NDArray[Any]) -> Any:
    """The scaler, its range between the means of the ten outermost values."""
    low, high = scaler.feature_range
    for place, column in enumerate(values.T):
        ordered = np.sort(column[~np.isnan(column)])
        if len(ordered) < 2 * RARE:
            raise DataError(f"a column has {len(ordered)} values, and a range needs at least {2 * RARE}.", fix="Use standard_scaler or bring more data.")
        least, most = ordered[:RARE].mean(), ordered[-RARE:].mean()
        spread = most - least if most > least else 1.0
        scaler.data_min_[place], scaler.data_max_[place], scaler.data_range_[place] = least, most, spread
        scaler.scale_[place] = (high - low) / spread
        scaler.min_[place] = low - least * scaler.scale_[place]
    return scaler


def _values(X: pd.DataFrame, names: list[str]) -> NDArray[Any]:
    """The columns as one array: float64, or objects for text."""
    return X[names].to_numpy(dtype=np.float64 if all(pd.api.types.is_numeric_dtype(X[name]) for name in names) else object)


def _gaps(values: NDArray[Any]) -> NDArray[np.bool_]:
    return np.asarray(values == MISSING if values.dtype == object else np.isnan(values))


def _one_hot_names(encoder: Any, names: list[str]) -> list[tuple[str, str]]:
    """Each output's column and name, such as ("workclass", "workclass=Private"); the pooled ones are `workclass=infrequent`."""
    pooled = getattr(encoder, "infrequent_categories_", [None] * len(names))
    result = []
    for name, categories, rare in zip(names, encoder.categories_, pooled, strict=True):
        kept = [category for category in categories if rare is None or category not in set(rare)] + ([] if rare is None else ["infrequent"])
        result += [(name, f"{name}={category}") for category in kept]
    return result


def _folds(folds: int, y: Any, seed: int) -> dict[str, Any]:
    """TargetEncoder's arguments for these labels. Raises DataError where a fold would have nothing to learn from."""
    values, counts = np.unique(np.asarray(y), return_counts=True)
    classes = bool(np.array_equal(values, [0, 1]))
    fewest = int(counts.min() if classes else counts.sum())
    if fewest < folds:
        rows = f"label {int(values[counts.argmin()])} has {fewest} rows" if classes else f"there are {fewest} rows"
        raise DataError(
            f"{rows}, for {folds} folds.", fix=f"Lower `params.cv` to at most {fewest}." if fewest > 1 else "Use ordinal_encoder, or bring more data."
        )
    split = StratifiedKFold if classes else KFold
    return {"target_type": "binary" if classes else "continuous", "cv": split(folds, shuffle=True, random_state=seed)}


def _without_rare(encoder: Any, values: NDArray[Any]) -> Any:
    """The encoder, knowing nothing of categories of under ten rows, and no splitter."""
    for column, (categories, encodings) in enumerate(zip(encoder.categories_, encoder.encodings_, strict=True)):
        counts = pd.Series(values[:, column]).value_counts().reindex(categories, fill_value=0).to_numpy()
        encodings[counts < RARE] = encoder.target_mean_
    return encoder.set_params(cv=5)


METHODS = {name: Maker(name, OnColumns, {"method": name}, method.parameters) for name, method in TABLE.items()}

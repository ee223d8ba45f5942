"""Selection of features: by what a small model makes of them, or by leaving out one of two that say the same."""

from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor, RandomForestClassifier, RandomForestRegressor
from sklearn.feature_selection import RFE, RFECV, SelectorMixin, SequentialFeatureSelector
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import get_scorer_names
from sklearn.utils._param_validation import Interval, RealNotInt, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from tasks.core.errors import CaseError, DataError
from tasks.core.mitigation.arguments import Maker
from tasks.core.mitigation.base import Transformer
from tasks.core.mitigation.correlated import CorrelatedFeatures

SMALL: dict[str, tuple[type, type, dict[str, Any]]] = {
    "linear": (LogisticRegression, Ridge, {}),  # logistic regression by Newton's method, in less than half the time on a long matrix
    "hist_gradient_boosting": (HistGradientBoostingClassifier, HistGradientBoostingRegressor, {"max_iter": 30, "max_leaf_nodes": 8}),
    "random_forest": (RandomForestClassifier, RandomForestRegressor, {"n_estimators": 50, "min_samples_leaf": 5, "max_features": "sqrt"}),
}
SHARE = [StrOptions({"auto"}), Interval(RealNotInt, 0, 1, closed="right"), Interval(Integral, 1, None, closed="left")]
SCORING = [StrOptions(set(get_scorer_names())), None]


class _Selector(SelectorMixin, Transformer):  # type: ignore[misc]  # scikit-learn carries no types
    """Keeps `support_`, whether each column of the matrix stays, (n_columns,); and nothing of the model that chose."""

    def fit(self, X: Any, y: Any) -> "_Selector":
        """Choose columns of the matrix, (n_rows, n_columns). Raises DataError where there is nothing to choose by."""
        self._validate_params()
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        self.support_ = np.asarray(self._support(X, y, self._small(y)), dtype=np.bool_)
        return self

    def _support(self, X: NDArray[np.float64], y: NDArray[Any], model: Any) -> Any:
        raise NotImplementedError

    def _small(self, y: NDArray[Any]) -> Any:
        """The model asked: a classifier for 0/1 labels, else a regressor."""
        classifier, regressor, params = SMALL[self.estimator]
        labels, counts = np.unique(y, return_counts=True)
        binary = set(labels.tolist()) <= {0, 1}
        if binary and len(labels) < 2:
            raise DataError(f"every label is {int(labels[0])}, so nothing tells a good feature.", fix="Aim it at more rows, or bring rows of both classes.")
        folds = self.get_params()["cv"] or 0
        fewest = int(counts.min() if binary else counts.sum())
        if fewest < folds:
            rows = f"label {int(labels[counts.argmin()])} has {fewest} rows" if binary else f"there are {fewest} rows"
            raise DataError(f"{rows}, for {folds} folds.", fix=f"Lower `params.cv` to at most {fewest}." if fewest > 1 else "Bring more data.")
        model = (classifier if binary else regressor)(**params)
        drawn = {"random_state": self.seed} if "random_state" in model.get_params() else {}
        return model.set_params(**drawn, **({"solver": "newton-cholesky"} if isinstance(model, LogisticRegression) else {}))

    def _wanted(self, width: int, wanted: Any) -> None:
        if isinstance(wanted, int) and wanted >= width:
            raise DataError(
                f"`params.n_features_to_select` is {wanted}, and the matrix has {width} columns.", fix=f"Lower it to at most {width - 1}, or remove the step."
            )

    def _get_support_mask(self) -> NDArray[np.bool_]:
        check_is_fitted(self, "support_")
        return self.support_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags


class SequentialSelector(_Selector):
    """Adds (or, backward, takes away) one column at a time, each time the one with which the small model scores best.

    The score is the mean over `cv` folds of `scoring` (the model's own where None: accuracy, or R2), until
    `n_features_to_select` columns are kept: a number, a share, or "auto" (half of them; with `tol`, as long as each
    adds more than `tol`). Parameters and defaults are those of scikit-learn's SequentialFeatureSelector (Whitney, 1971),
    with the model by name: `linear` (logistic regression, or ridge) or `hist_gradient_boosting`. It fits about
    columns x kept x folds models: seconds to hours.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "estimator": [StrOptions({"linear", "hist_gradient_boosting"})],
        "n_features_to_select": SHARE,
        "tol": [None, Interval(Real, None, None, closed="neither")],
        "direction": [StrOptions({"forward", "backward"})],
        "scoring": SCORING,
        "cv": [Interval(Integral, 2, None, closed="left")],
        "seed": ["random_state"],
    }

    def __init__(
        self,
        estimator: str = "linear",
        n_features_to_select: int | float | str = "auto",
        tol: float | None = None,
        direction: str = "forward",
        scoring: str | None = None,
        cv: int = 5,
        seed: int = 0,
    ) -> None:
        self.estimator = estimator
        self.n_features_to_select = n_features_to_select
        self.tol = tol
        self.direction = direction
        self.scoring = scoring
        self.cv = cv
        self.seed = seed

    def _support(self, X: NDArray[np.float64], y: NDArray[Any], model: Any) -> Any:
        self._wanted(X.shape[1], self.n_features_to_select)
        if self.direction == "forward" and self.tol is not None and self.tol < 0:
            raise CaseError(f"`tol` is {self.tol}, and a column that makes the score worse cannot be worth adding.", fix="Give a `tol` above 0.")
        search = SequentialFeatureSelector(
            model, n_features_to_select=self.n_features_to_select, tol=self.tol, direction=self.direction, scoring=self.scoring, cv=self.cv
        )
        return search.fit(X, y).support_


class RecursiveSelector(_Selector):
    """Fits the small model, takes away the `step` columns that weigh least in it, and so on until few enough are left.

    Guyon, Weston, Barnhill and Vapnik, 2002. A weight is the absolute coefficient (`linear`: logistic regression, or
    ridge; the matrix's columns are on one scale) or the impurity importance (`random_forest`). `n_features_to_select` is
    a number, a share, or None for half, as in scikit-learn's RFE. With `cv` folds given, as in its RFECV, the number is
    chosen by the mean of `scoring` over the folds, and is at least `min_features_to_select`.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "estimator": [StrOptions({"linear", "random_forest"})],
        "n_features_to_select": [None, *SHARE[1:]],
        "step": [Interval(Integral, 1, None, closed="left"), Interval(RealNotInt, 0, 1, closed="neither")],
        "cv": [None, Interval(Integral, 2, None, closed="left")],
        "min_features_to_select": [Interval(Integral, 1, None, closed="left")],
        "scoring": SCORING,
        "seed": ["random_state"],
    }

    def __init__(
        self,
        estimator: str = "linear",
        n_features_to_select: int | float | None = None,
        step: int | float = 1,
        cv: int | None = None,
        min_features_to_select: int = 1,
        scoring: str | None = None,
        seed: int = 0,
    ) -> None:
        self.estimator = estimator
        self.n_features_to_select = n_features_to_select
        self.step = step
        self.cv = cv
        self.min_features_to_select = min_features_to_select
        self.scoring = scoring
        self.seed = seed

    def _support(self, X: NDArray[np.float64], y: NDArray[Any], model: Any) -> Any:
        if self.cv is None:
            self._wanted(X.shape[1], self.n_features_to_select)
            return RFE(model, n_features_to_select=self.n_features_to_select, step=self.step).fit(X, y).support_
        if self.n_features_to_select is not None:
            raise CaseError("`cv` chooses the number of features, and `n_features_to_select` gives it.", fix="Remove one of them.")
        search = RFECV(model, step=self.step, min_features_to_select=self.min_features_to_select, cv=self.cv, scoring=self.scoring)
        return search.fit(X, y).support_


METHODS = {
    "sequential_selector": Maker("sequential_selector", SequentialSelector),
    "recursive_selector": Maker("recursive_selector", RecursiveSelector),
    "correlated_features": Maker("correlated_features", CorrelatedFeatures),
}

"""What every remedy shares: an estimator on an encoded matrix, and the labels of the groups it is to treat alike.

A remedy is a scikit-learn meta-estimator whose `fit`, `predict` and `predict_score` read `Rows`: the encoded matrix and,
beside it, what is known of each row that is no feature. Errors raised here say what is wrong and what to do; `Candidate`
adds the case, the candidate and the step.
"""

from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from tasks.core.errors import CaseError, DataError

Labels = NDArray[np.object_]


class Rows(NamedTuple):
    """n rows: `matrix` (n, d); `groups` (n,), their group labels, and `keys` (n,), what lots are drawn from.

    `groups` and `keys` are empty where the remedy does not ask for them.
    """

    matrix: Any
    groups: Labels = np.empty(0, dtype=object)
    keys: NDArray[np.uint64] = np.empty(0, dtype=np.uint64)


class Plain(BaseEstimator):  # type: ignore[misc]  # scikit-learn carries no types
    """The estimator alone: no remedy. The base of all remedies.

    Class attributes say where a remedy fits: `tasks`; `constraints` for each task (empty: it takes none);
    `reads_groups`, whether groups are needed to predict; `draws`, whether keys are; `dense`, whether it needs a dense
    matrix without gaps. A remedy with a method `choose(rows, y)` is given the validation rows after fitting.
    """

    tasks: ClassVar[tuple[str, ...]] = ("binary", "regression")
    constraints: ClassVar[dict[str, tuple[str, ...]]] = {}
    reads_groups: ClassVar[bool] = False
    draws: ClassVar[bool] = False
    dense: ClassVar[bool] = False
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {}

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def fit(self, rows: Rows, y: NDArray[Any]) -> "Plain":
        """Fit the estimator on all rows alike."""
        self.estimator_ = fitted(self.estimator, rows.matrix, y)
        return self

    def predict(self, rows: Rows) -> NDArray[Any]:
        """0 or 1 as int64 for a classifier, float64 for a regressor; shape (n,)."""
        check_is_fitted(self)
        return decision(self.estimator_, rows.matrix)

    def predict_score(self, rows: Rows) -> NDArray[np.float64] | None:
        """The probability of the positive class, shape (n,); None for a regressor."""
        check_is_fitted(self)
        return positive_score(self.estimator_, rows.matrix)

    @property
    def known_groups(self) -> tuple[str, ...] | None:
        """Labels of the groups that prediction tells apart; None where it needs no groups."""
        return None


def fitted(estimator: Any, matrix: Any, y: NDArray[Any], **weights: NDArray[np.float64]) -> Any:
    """A fitted clone without what forests keep of each training row: weights, which tell group and label, and out-of-bag answers."""
    fit = clone(estimator).fit(matrix, y, **weights)
    for kept in ("_sample_weight", "oob_prediction_", "oob_decision_function_"):
        vars(fit).pop(kept, None)
    return fit


def decision(estimator: Any, matrix: Any) -> NDArray[Any]:
    """The estimator's predictions as int64 (classifier) or float64 (regressor)."""
    return np.asarray(estimator.predict(matrix)).astype(np.int64 if is_classifier(estimator) else np.float64)


def positive_score(estimator: Any, matrix: Any) -> NDArray[np.float64] | None:
    """The probability of class 1; 0 or 1 throughout for a constant classifier; None for a regressor."""
    if not is_classifier(estimator):
        return None
    probabilities = np.asarray(estimator.predict_proba(matrix), dtype=np.float64)
    columns = list(estimator.classes_)
    return probabilities[:, columns.index(1)] if 1 in columns else np.zeros(len(probabilities))


def needs_weights(estimator: Any) -> None:
    """Raise CaseError unless the estimator's `fit` takes sample weights."""
    if not has_fit_parameter(estimator, "sample_weight"):
        raise CaseError(
            f"it works through sample weights, and {type(estimator).__name__} takes none.",
            fix="Use another estimator, or a remedy that does not weigh rows: correlation_remover, threshold_optimizer.",
        )


def needs_labels(y: NDArray[Any], groups: Labels, labels: tuple[int, ...], which: str) -> None:
    """Raise DataError when a group lacks a row of one of the `labels`; `which` names the rows looked at."""
    for group in sorted(set(groups)):
        for label in labels:
            if not np.any((groups == group) & (y == label)):
                raise DataError(
                    f"group `{group}` has no {which} row with label {label} (of {int(np.sum(groups == group))} rows), so its error rates cannot be made equal.",
                    fix="Merge groups by coarser `cohorts.bins` or fewer columns in `by`, or bring more data.",
                )

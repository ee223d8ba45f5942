"""What every step of a candidate shares: how it is called, what it may ask for, and how it says no.

A candidate is a chain: `pre` steps change rows, columns or weights before an estimator is fitted; one `in` step may take
the place of plain fitting; `post` steps change scores or decide from them. Each is a scikit-learn estimator: constructor
arguments are kept as they are, `fit` makes attributes that end in an underscore, `clone` works, every draw comes from `seed`.

What is known of a row and is no feature travels beside the rows as metadata, requested as scikit-learn's metadata routing
has it (`__metadata_request__fit` and the like): `groups` (n,), labels of the cohorts that the step is aimed at; `keys` (n,),
from which lots are drawn; `sample_weight` (n,); `previous` (n, 2), the answers and scores of the model to stay compatible
with. A candidate hands each step what it requests (`requested`) and nothing else. Errors raised in a step say what is wrong and
what to do; the candidate adds the case, its own name and the step's.
"""

import json
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.utils.validation import has_fit_parameter

from tasks.core.errors import CaseError, DataError

Labels = NDArray[np.object_]
Floats = NDArray[np.float64]


class Step(BaseEstimator):  # type: ignore[misc]  # scikit-learn carries no types
    """A step of a candidate; class attributes say where it fits.

    `role`: where it stands. `tasks`: what it serves. `constraints`: for each task, what its `constraint` may be (empty: it
    takes none). Of a `pre` step, `reads`: "frame" for a step on raw columns (a pandas DataFrame of float64 columns, NaN for
    missing, and str columns, "missing" for missing), "matrix" for one on encoded numbers (a dense float64 array without
    gaps). `aimed`: whether it needs cohorts to aim at.
    """

    role: ClassVar[Literal["pre", "in", "post"]] = "pre"
    tasks: ClassVar[tuple[str, ...]] = ("binary", "regression")
    constraints: ClassVar[dict[str, tuple[str, ...]]] = {}
    reads: ClassVar[Literal["frame", "matrix"]] = "matrix"
    aimed: ClassVar[bool] = False
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {}

    @property
    def known_groups(self) -> tuple[str, ...] | None:
        """Labels that prediction tells apart, once fitted; None for a step that needs no groups to predict."""
        return None


class Transformer(Step):
    """A `pre` step that changes columns: `fit(X, y, *, groups)`, then `transform(X, *, groups)` of as many rows."""


class Sampler(Step):
    """A `pre` step that changes rows while fitting, and nothing at prediction.

    `fit_resample(X, y, *, groups)` returns the new X and y and leaves `sample_indices_` (m,): for each new row the index of
    the row it is a copy of, or of the row whose cohort it belongs to where it was made up.
    """


class Weigher(Step):
    """A `pre` step that weighs rows while fitting: `weigh(y, *, groups)` returns weights (n,) that are multiplied with others."""


class Adjuster(Step):
    """A `post` step on scores: probabilities of the positive class, or a regression's predictions; shape (n,).

    `fit(scores, y, *, groups)` on validation rows, then `transform(scores, *, groups)` gives better scores.
    """

    role = "post"
    aimed = True


class Decider(Step):
    """A `post` step that answers 0 or 1 from scores: `fit(scores, y, *, groups)` on validation rows, then
    `predict(scores, *, groups, keys)`, int64 of shape (n,). It is the last step of a candidate, and leaves scores as they are.
    """

    role = "post"
    tasks = ("binary",)
    aimed = True


def requested(step: Any, method: str) -> set[str]:
    """Names of the metadata that a step requests for a method of scikit-learn's: fit, transform, predict."""
    requests: dict[str, Any] = getattr(step.get_metadata_routing(), method).requests
    return {name for name, alias in requests.items() if alias is True}


def fitted(estimator: Any, matrix: Any, y: NDArray[Any], **metadata: Any) -> Any:
    """A fitted clone without what forests keep of each training row: weights, which tell group and label, and out-of-bag answers."""
    fit = clone(estimator).fit(matrix, y, **metadata)
    for kept in ("_sample_weight", "oob_prediction_", "oob_decision_function_"):
        vars(fit).pop(kept, None)
    return fit


def decision(estimator: Any, matrix: Any, **metadata: Any) -> NDArray[Any]:
    """The estimator's predictions as int64 (classifier) or float64 (regressor)."""
    return np.asarray(estimator.predict(matrix, **metadata)).astype(np.int64 if is_classifier(estimator) else np.float64)


def positive_score(estimator: Any, matrix: Any, **metadata: Any) -> Floats | None:
    """The probability of class 1; 0 or 1 throughout for a constant classifier; None for a regressor."""
    if not is_classifier(estimator):
        return None
    probabilities = np.asarray(estimator.predict_proba(matrix, **metadata), dtype=np.float64)
    columns = list(estimator.classes_)
    return probabilities[:, columns.index(1)] if 1 in columns else np.zeros(len(probabilities))


def needs_weights(estimator: Any) -> None:
    """Raise CaseError unless the estimator's `fit` takes sample weights."""
    if not has_fit_parameter(estimator, "sample_weight"):
        raise CaseError(
            f"it works through sample weights, and {type(estimator).__name__} takes none.",
            fix="Use another estimator, or a step that does not weigh rows, such as correlation_remover or threshold_optimizer.",
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


def described(value: Any) -> str:
    """An estimator and its parameters in words: equal for equal steps, and for no others."""

    def plain(part: Any) -> Any:
        if isinstance(part, BaseEstimator):
            return [type(part).__name__, {name: plain(inner) for name, inner in part.get_params(deep=False).items()}]
        if isinstance(part, Mapping):
            return {str(name): plain(inner) for name, inner in part.items()}
        return [plain(inner) for inner in part] if isinstance(part, list | tuple) else part

    return json.dumps(plain(value), sort_keys=True, default=repr)

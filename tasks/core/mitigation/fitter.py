"""What `in` steps over an estimator share: they are a classifier or a regressor as their estimator is."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import ClassifierMixin, RegressorMixin, is_classifier
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from tasks.core.mitigation.base import Floats, Step
from tasks.core.mitigation.told_apart import needs_both

MATRIX = {"accept_sparse": "csr", "ensure_all_finite": False}  # the estimator says which gaps it takes


class Fitter(Step):
    """An `in` step with an `estimator`. Subclasses fit, and answer in `_score` (binary) and `predict`."""

    role = "in"
    estimator: Any

    def __sklearn_tags__(self) -> Any:
        tags, inner = super().__sklearn_tags__(), get_tags(self.estimator)
        tags.estimator_type, tags.regressor_tags = inner.estimator_type, inner.regressor_tags
        tags.input_tags.sparse = inner.input_tags.sparse
        tags.classifier_tags = inner.classifier_tags and replace(inner.classifier_tags, multi_class=False)
        tags.target_tags.required = True
        return tags

    def score(self, X: Any, y: NDArray[Any], **metadata: Any) -> float:
        """Accuracy, or R^2 of a regression, as scikit-learn has it."""
        answers = self.predict(X, **metadata)
        mixin = ClassifierMixin if is_classifier(self) else RegressorMixin
        return float(mixin.score(_Told(answers), X, y))

    @available_if(lambda self: is_classifier(self.estimator))  # type: ignore[untyped-decorator]  # scikit-learn carries no types
    def predict_proba(self, X: Any, **metadata: Any) -> Floats:
        """Probabilities of 0 and 1, shape (n, 2)."""
        score = self._score(self._checked(X), **metadata)
        return np.column_stack([1 - score, score])

    def _score(self, X: Any, **metadata: Any) -> Floats:
        raise NotImplementedError

    def _begin(self, X: Any, y: Any) -> tuple[Any, NDArray[Any]]:
        """X and y as scikit-learn checks them, a classifier's two labels as 0 and 1. Raises DataError when there is one label only."""
        X, y = validate_data(self, X, y, **MATRIX)
        if is_classifier(self.estimator):
            check_classification_targets(y)
            needs_both(y, "training")
            self.classes_, y = np.unique(y, return_inverse=True)
            if len(self.classes_) > 2:
                raise ValueError("Only binary classification is supported. The type of the target is multiclass.")
        return X, y

    def _in_labels(self, answers: NDArray[Any]) -> NDArray[Any]:
        """A classifier's answers 0 and 1 as the labels that training had; a regressor's as they are."""
        return np.asarray(self.classes_[answers]) if is_classifier(self.estimator) else answers

    def _checked(self, X: Any) -> Any:
        check_is_fitted(self)
        return validate_data(self, X, reset=False, **MATRIX)


class _Told:
    """Answers that are there, where scikit-learn asks an estimator for them."""

    def __init__(self, answers: NDArray[Any]) -> None:
        self.answers = answers

    def predict(self, _X: Any) -> NDArray[Any]:
        return self.answers


def stacked(parts: list[Any]) -> Any:
    """Matrices, sparse or dense, one above the other."""
    return sparse.vstack(parts, format="csr") if sparse.issparse(parts[0]) else np.concatenate(parts)

"""Backward compatible retraining: losses that keep what the previous model told rightly."""

from numbers import Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from tasks.core.mitigation.base import Floats, Step, decision, fitted, needs_weights, positive_score
from tasks.core.mitigation.fitter import Fitter, stacked


class BackwardCompatible(Fitter):
    """Fits the estimator so that rows which the previous model told rightly stay right. Bansal, Nushi, Kamar, Weld, Lasecki and
    Horvitz, Updates in human-AI teams, 2019; through sample weights, for any estimator that takes them.

    `previous` (n, 2) holds the previous model's answers and its probabilities of 1 on the training rows. With h1 the previous
    and h2 the new model, and lambda the `strength`, the loss of a row is

    - `new_error`: loss(y, h2) (1 + lambda [h1 = y]): a row told rightly weighs more;
    - `strict_imitation`: loss(y, h2) + lambda [h1 = y] loss(h1's probability, h2): the new model also learns the old one's
      confidence there, from each such row once with label 1 and once with label 0, weighed by that probability.

    Strength 0 is plain fitting. No previous model is needed to predict.
    """

    tasks = ("binary",)
    __metadata_request__fit: ClassVar[dict[str, bool]] = {"previous": True, "sample_weight": True}
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "estimator": [HasMethods(["fit", "predict"])],
        "penalty": [StrOptions({"new_error", "strict_imitation"})],
        "strength": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(self, estimator: Any, penalty: str = "new_error", strength: float = 1.0) -> None:
        self.estimator = estimator
        self.penalty = penalty
        self.strength = strength

    def fit(self, X: Any, y: NDArray[Any], *, previous: Floats, sample_weight: Floats | None = None) -> "BackwardCompatible":
        """Weigh, then fit. Raises CaseError for an estimator without sample weights."""
        needs_weights(self.estimator)
        X, y = self._begin(X, y)
        if not self.strength:  # weights of 1 are not none: a forest draws its rows by them
            self.estimator_ = fitted(self.estimator, X, y, **({} if sample_weight is None else {"sample_weight": sample_weight}))
            return self
        weight = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
        right = previous[:, 0] == y
        if self.penalty == "new_error":
            self.estimator_ = fitted(self.estimator, X, y, sample_weight=weight * np.where(right, 1 + self.strength, 1.0))
            return self
        kept, told = np.flatnonzero(right), previous[right, 1]
        more = self.strength * weight[kept]
        labels = np.concatenate([y, np.ones(len(kept), dtype=y.dtype), np.zeros(len(kept), dtype=y.dtype)])
        given = np.concatenate([weight, more * told, more * (1 - told)])
        self.estimator_ = fitted(self.estimator, stacked([X, X[kept], X[kept]]), labels, sample_weight=given)
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """The estimator's answers."""
        X = self._checked(X)
        return self._in_labels(decision(self.estimator_, X))

    def _score(self, X: Any, **_: Any) -> Floats:
        return np.asarray(positive_score(self.estimator_, X))


METHODS: dict[str, type[Step]] = {"backward_compatible": BackwardCompatible}

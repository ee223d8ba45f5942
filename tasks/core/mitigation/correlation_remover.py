"""Correlation remover: features from which what the group explains linearly has been taken out."""

from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import TransformerMixin
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted, validate_data

from tasks.core.encoding import RARE
from tasks.core.mitigation.base import Floats, Labels, Transformer
from tasks.core.mitigation.told_apart import places, two_apart


class CorrelationRemover(TransformerMixin, Transformer):  # type: ignore[misc]  # scikit-learn carries no types
    """Z* = Z - alpha (S - mean(S)) W, where W minimises |Z - (S - mean(S)) W|^2.

    Z is the encoded matrix and S the 0/1 indicators of the groups, as in fairlearn's CorrelationRemover; alpha = 1
    removes the whole linear correlation, 0 none. With indicators the regression has a closed form: (S - mean(S)) W is
    the mean of the row's group less the mean of all rows. Those differences, one row for each group, are all that is kept.

    A row of a group unseen in training, or of one with fewer than 10 training rows (`pooled_`), is taken for an average
    row: its features are left as they are.
    """

    aimed = True
    least: ClassVar[int] = RARE
    __metadata_request__fit: ClassVar[dict[str, bool]] = {"groups": True}
    __metadata_request__transform: ClassVar[dict[str, bool]] = {"groups": True}
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {"alpha": [Interval(Real, 0, 1, closed="both")]}

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def fit(self, X: Any, y: Any = None, *, groups: Labels) -> "CorrelationRemover":  # noqa: ARG002  # as scikit-learn calls it
        """Learn the groups' differences from the mean. Raises DataError unless two groups have rows enough."""
        X = validate_data(self, X, dtype=np.float64)
        self.groups_, self.pooled_ = two_apart(groups, self.least)
        place, mean = places(groups, self.groups_), X.mean(axis=0)
        means = [X[place == number].mean(axis=0) - mean for number in range(len(self.groups_))]
        self.shifts_ = np.vstack([*means, np.zeros_like(mean)])
        return self

    def transform(self, X: Any, *, groups: Labels) -> Floats:
        """The matrix without what the group explains; shape unchanged, Fortran-ordered."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return np.asfortranarray(X - self.alpha * self.shifts_[places(groups, self.groups_)])

    @property
    def known_groups(self) -> tuple[str, ...]:
        """The groups with rows enough in training."""
        return tuple(self.groups_)


METHODS: dict[str, type[Transformer]] = {"correlation_remover": CorrelationRemover}

"""Disparate impact remover: features whose distribution is the same in every group, the order within a group kept."""

from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import TransformerMixin
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted, validate_data

from tasks.core.encoding import RARE
from tasks.core.mitigation.base import Floats, Labels, Transformer
from tasks.core.mitigation.quantiles import level_of, levels, profile, spread, value_at
from tasks.core.mitigation.told_apart import places, two_apart


class DisparateImpactRemover(TransformerMixin, Transformer):  # type: ignore[misc]  # scikit-learn carries no types
    """x' = (1 - r) x + r Q(F_g(x)) in each column, r the `repair_level`, F_g the group's distribution, Q the median quantile.

    Feldman, Friedler, Moeller, Scheidegger and Venkatasubramanian, Certifying and removing disparate impact, 2015: the
    quantile function Q(u) is the median over the groups of theirs. At r = 1 a value tells its rank within its group and
    nothing of the group; at 0 nothing changes.

    A quantile is kept as the mean of one of at most `n_quantiles` equal parts of the group's sorted values, each of at
    least 10 rows; between them ranks are interpolated, and beyond the outermost parts values are moved to the
    outermost quantile. Equal values keep an equal rank. A column of two values or fewer, such as an indicator of a
    category, has no quantiles to move and stays as it is: correlation_remover evens those out.

    A row of a group unseen in training, or of one with fewer than 20 training rows (`pooled_`), is ranked among all
    training rows instead.
    """

    aimed = True
    least: ClassVar[int] = RARE
    __metadata_request__fit: ClassVar[dict[str, bool]] = {"groups": True}
    __metadata_request__transform: ClassVar[dict[str, bool]] = {"groups": True}
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "repair_level": [Interval(Real, 0, 1, closed="both")],
        "n_quantiles": [Interval(Integral, 2, 10_000, closed="both")],
    }

    def __init__(self, repair_level: float = 1.0, n_quantiles: int = 100) -> None:
        self.repair_level = repair_level
        self.n_quantiles = n_quantiles

    def fit(self, X: Any, y: Any = None, *, groups: Labels) -> "DisparateImpactRemover":  # noqa: ARG002  # as scikit-learn calls it
        """Learn each group's quantiles and their median. Raises DataError unless two groups have rows enough."""
        X = validate_data(self, X, dtype=np.float64)
        self.groups_, self.pooled_ = two_apart(groups, 2 * self.least)
        self.moved_ = np.flatnonzero(spread(X))
        X, place = X[:, self.moved_], places(groups, self.groups_)
        own = [profile(X[place == number], self.n_quantiles, self.least) for number in range(len(self.groups_))]
        grid = levels(max(map(len, own)))
        at_grid = [np.array([value_at(grid, column) for column in part.T]).reshape(-1, len(grid)).T for part in own]
        self.target_ = np.median(at_grid, axis=0)
        self.profiles_ = [*own, profile(X, self.n_quantiles, self.least)]
        return self

    def transform(self, X: Any, *, groups: Labels) -> Floats:
        """The repaired matrix; shape unchanged, Fortran-ordered."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        repaired, place = np.array(X, order="F"), places(groups, self.groups_)
        for number in np.unique(place):
            mine = np.flatnonzero(place == number)
            for column, own, target in zip(self.moved_, self.profiles_[number].T, self.target_.T, strict=True):
                values = X[mine, column]
                repaired[mine, column] = (1 - self.repair_level) * values + self.repair_level * value_at(level_of(values, own), target)
        return repaired

    @property
    def known_groups(self) -> tuple[str, ...]:
        """The groups with rows enough in training."""
        return tuple(self.groups_)


METHODS: dict[str, type[Transformer]] = {"disparate_impact_remover": DisparateImpactRemover}

"""Corrections of a regression's predictions for each cohort: of their mean, or of their whole distribution."""

from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from tasks.core.encoding import RARE
from tasks.core.mitigation.base import Adjuster, Floats, Labels, Step
from tasks.core.mitigation.quantiles import profile
from tasks.core.mitigation.told_apart import places, tell_apart


class CohortBiasCorrection(Adjuster):
    """Prediction - mean(prediction - label) of the cohort's validation rows, whose mean error is then 0.

    The least squares choice of one number to subtract in each cohort. A cohort with fewer than 10 validation rows
    (`pooled_`) and a row of a cohort that validation did not show take the mean error of all validation rows.
    """

    tasks = ("regression",)
    __metadata_request__fit: ClassVar[dict[str, bool]] = {"groups": True}
    __metadata_request__transform: ClassVar[dict[str, bool]] = {"groups": True}

    def fit(self, scores: Floats, y: NDArray[Any], *, groups: Labels) -> "CohortBiasCorrection":
        """Learn each cohort's mean error, and that of all rows."""
        self.groups_, self.pooled_ = tell_apart(groups)
        place, error = places(groups, self.groups_), scores - y
        self.biases_ = np.array([*(error[place == number].mean() for number in range(len(self.groups_))), error.mean()])
        return self

    def transform(self, scores: Floats, *, groups: Labels) -> Floats:
        """Corrected predictions, shape (n,)."""
        check_is_fitted(self)
        return np.asarray(scores - self.biases_[places(groups, self.groups_)])

    @property
    def known_groups(self) -> tuple[str, ...]:
        """The cohorts with a correction of their own."""
        return tuple(self.groups_)


class QuantileMapping(Adjuster):
    """Gives the quantiles of a cohort's predictions the values that its labels have there.

    Panofsky and Brier, Some applications of statistics to meteorology, 1968; used to correct climate models. Validation
    predictions and labels, each sorted, are cut into at most `n_quantiles` equal parts of at least 10 rows; a part's
    mean prediction is mapped to the labels' mean in that part, linear in between, and beyond the outermost parts by
    their shift. A prediction that several parts share is mapped to their labels' mean. The whole distribution is
    mended, tails included; single predictions need not be nearer to their labels than before.

    A cohort with fewer than 20 validation rows (`pooled_`) and a row of a cohort that validation did not show are
    mapped as all validation rows together are.
    """

    tasks = ("regression",)
    __metadata_request__fit: ClassVar[dict[str, bool]] = {"groups": True}
    __metadata_request__transform: ClassVar[dict[str, bool]] = {"groups": True}
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {"n_quantiles": [Interval(Integral, 2, 10_000, closed="both")]}

    def __init__(self, n_quantiles: int = 100) -> None:
        self.n_quantiles = n_quantiles

    def fit(self, scores: Floats, y: NDArray[Any], *, groups: Labels) -> "QuantileMapping":
        """Learn each cohort's map, and that of all rows."""
        self.groups_, self.pooled_ = tell_apart(groups, 2 * RARE)
        place = places(groups, self.groups_)
        rows = [*(place == number for number in range(len(self.groups_))), np.full(len(y), True)]
        self.maps_ = [self._map(scores[mine], y[mine]) for mine in rows]  # the pooled one last
        return self

    def _map(self, scores: Floats, y: NDArray[Any]) -> Floats:
        predicted, actual = (profile(np.asarray(values, dtype=np.float64)[:, None], self.n_quantiles)[:, 0] for values in (scores, y))
        distinct, which = np.unique(predicted, return_inverse=True)
        return np.array([distinct, np.bincount(which, weights=actual) / np.bincount(which)])

    def transform(self, scores: Floats, *, groups: Labels) -> Floats:
        """Mapped predictions, shape (n,)."""
        check_is_fitted(self)
        place, mapped = places(groups, self.groups_), np.empty(len(scores))
        for number in np.unique(place):
            mine, (source, target) = place == number, self.maps_[number]
            shift = np.interp(scores[mine], source, target - source)
            mapped[mine] = scores[mine] + shift
        return mapped

    @property
    def known_groups(self) -> tuple[str, ...]:
        """The cohorts with a map of their own."""
        return tuple(self.groups_)


METHODS: dict[str, type[Step]] = {"cohort_bias_correction": CohortBiasCorrection, "quantile_mapping": QuantileMapping}

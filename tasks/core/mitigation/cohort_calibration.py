"""Calibration for each cohort: scores that are probabilities in every cohort, not only over all rows."""

from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from tasks.core.mitigation.base import Adjuster, Floats, Labels, Step
from tasks.core.mitigation.told_apart import needs_both, places, tell_apart

EDGE = 1e-12  # scores are taken for no nearer to 0 and 1, where log-odds end


class CohortCalibration(Adjuster):
    """Maps each cohort's scores s to probabilities by a curve fitted on that cohort's validation rows.

    `isotonic`: the non-decreasing curve of least squares, linear between its steps (Zadrozny and Elkan 2002).
    `platt`: 1 / (1 + exp(-(a l + b))) of the log-odds l, fitted to labels drawn in from 0 and 1 as Platt (1999) has it,
    by (n1 + 1) / (n1 + 2) and 1 / (n0 + 2). `temperature`: the same with b = 0, a = 1/T > 0 and plain labels (Guo et
    al. 2017): it keeps the order of scores and the answer at 0.5. Isotonic bends most and needs most rows;
    its corners are scores of validation rows.

    A cohort with fewer than `min_rows` validation rows or one label only takes the curve fitted on all of them
    (`pooled_` names these cohorts), and so does a row of a cohort that validation did not show.
    """

    tasks = ("binary",)
    __metadata_request__fit: ClassVar[dict[str, bool]] = {"groups": True}
    __metadata_request__transform: ClassVar[dict[str, bool]] = {"groups": True}
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "kind": [StrOptions({"isotonic", "platt", "temperature"})],
        "min_rows": [Interval(Integral, 10, None, closed="left")],
    }

    def __init__(self, kind: str = "isotonic", min_rows: int = 100) -> None:
        self.kind = kind
        self.min_rows = min_rows

    def fit(self, scores: Floats, y: NDArray[Any], *, groups: Labels) -> "CohortCalibration":
        """Fit the curves. Raises DataError when all labels are equal."""
        needs_both(y, "validation")
        self.groups_, self.pooled_ = tell_apart(groups, self.min_rows, y)
        place = places(groups, self.groups_)
        rows = [*(place == number for number in range(len(self.groups_))), np.full(len(y), True)]
        fit = {"isotonic": isotonic, "platt": platt, "temperature": temperature}[self.kind]
        self.curves_ = [fit(scores[mine], y[mine]) for mine in rows]  # the pooled one last
        return self

    def transform(self, scores: Floats, *, groups: Labels) -> Floats:
        """Calibrated probabilities, shape (n,)."""
        check_is_fitted(self)
        place, calibrated = places(groups, self.groups_), np.empty(len(scores))
        for number in np.unique(place):
            mine, curve = place == number, self.curves_[number]
            calibrated[mine] = np.interp(scores[mine], *curve) if self.kind == "isotonic" else expit(curve[0] * log_odds(scores[mine]) + curve[1])
        return calibrated

    @property
    def known_groups(self) -> tuple[str, ...]:
        """The cohorts with a curve of their own."""
        return tuple(self.groups_)


def log_odds(scores: Floats) -> Floats:
    """log(s / (1 - s)), shape (n,)."""
    return np.asarray(logit(np.clip(scores, EDGE, 1 - EDGE)))


def isotonic(scores: Floats, y: NDArray[Any]) -> Floats:
    """The corners of the isotonic curve: scores and probabilities, shape (2, corners)."""
    curve = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(scores, y)
    return np.array([curve.X_thresholds_, curve.y_thresholds_])


def platt(scores: Floats, y: NDArray[Any]) -> Floats:
    """Slope and intercept on the log-odds, shape (2,)."""
    odds, positives = log_odds(scores), float(y.sum())
    targets = np.where(y == 1, (positives + 1) / (positives + 2), 1 / (len(y) - positives + 2))

    def loss(point: Floats) -> tuple[float, Floats]:
        chance = point[0] * odds + point[1]
        rest = expit(chance) - targets
        return float(np.mean(np.logaddexp(0, chance) - targets * chance)), np.array([np.mean(rest * odds), np.mean(rest)])

    return np.asarray(minimize(loss, np.array([1.0, 0.0]), jac=True, method="BFGS", options={"gtol": 1e-8}).x)


def temperature(scores: Floats, y: NDArray[Any]) -> Floats:
    """1/T and 0, shape (2,); T between exp(-10) and exp(10), which is met where the labels part perfectly at 0.5."""
    odds = log_odds(scores)

    def loss(log_slope: float) -> float:
        chance = np.exp(log_slope) * odds
        return float(np.mean(np.logaddexp(0, chance) - y * chance))

    return np.array([np.exp(minimize_scalar(loss, bounds=(-10, 10), method="bounded", options={"xatol": 1e-10}).x), 0.0])


METHODS: dict[str, type[Step]] = {"cohort_calibration": CohortCalibration}

"""A threshold for each cohort, by what its wrong answers cost."""

from collections.abc import Mapping
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from tasks.core.errors import CaseError, nearest
from tasks.core.mitigation.base import Decider, Floats, Labels, Step
from tasks.core.mitigation.cuts import cuts
from tasks.core.mitigation.told_apart import needs_both, places, tell_apart

ERRORS = ("false_positive", "false_negative")


class CohortThresholds(Decider):
    """Answers 1 where the score exceeds the cohort's threshold, the one of least cost on the cohort's validation rows.

    Cost = false_positive x (rows wrongly answered 1) + false_negative x (rows wrongly answered 0). Every threshold that
    parts the rows differently is tried, so the least cost is exact. Of equals, the one nearest to
    false_positive / (false_positive + false_negative) is taken: the best threshold for calibrated scores (Elkan, The
    foundations of cost-sensitive learning, 2001).

    `costs` {false_positive: a, false_negative: b} holds for every cohort (1 and 1 unless given), `cohort_costs`
    {cohort: {false_positive: a, false_negative: b}} for the cohorts it names instead.

    A cohort with fewer than `min_rows` validation rows or one label only takes the threshold of least cost over all of
    them by `costs` (`pooled_` names these cohorts), and so does a row of a cohort that validation did not show.
    """

    __metadata_request__fit: ClassVar[dict[str, bool]] = {"groups": True}
    __metadata_request__predict: ClassVar[dict[str, bool]] = {"groups": True}
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "costs": [None, dict],
        "cohort_costs": [None, dict],
        "min_rows": [Interval(Integral, 10, None, closed="left")],
    }

    def __init__(self, costs: dict[str, float] | None = None, cohort_costs: dict[str, dict[str, float]] | None = None, min_rows: int = 30) -> None:
        self.costs = costs
        self.cohort_costs = cohort_costs
        self.min_rows = min_rows

    def fit(self, scores: Floats, y: NDArray[Any], *, groups: Labels) -> "CohortThresholds":
        """Choose the thresholds. Raises CaseError for costs that are none or of unknown cohorts, DataError when all labels are equal."""
        own = {group: _pair(costs, f"cohort_costs.{group}") for group, costs in (self.cohort_costs or {}).items()}
        common = _pair(self.costs if self.costs is not None else dict.fromkeys(ERRORS, 1.0), "costs")
        needs_both(y, "validation")
        self.groups_, self.pooled_ = tell_apart(groups, self.min_rows, y)
        for group in own:
            if group not in self.groups_:
                why = "has too few validation rows or one label only" if group in self.pooled_ else "is no cohort of the validation rows"
                raise CaseError(f"params.cohort_costs: `{group}` {why}.", fix=nearest(group, self.groups_))
        place = places(groups, self.groups_)
        chosen = [cheapest(scores[place == number], y[place == number], *own.get(group, common)) for number, group in enumerate(self.groups_)]
        self.thresholds_ = np.array([*chosen, cheapest(scores, y, *common)])
        return self

    def predict(self, scores: Floats, *, groups: Labels) -> NDArray[np.int64]:
        """0 or 1 for each row."""
        check_is_fitted(self)
        return (scores > self.thresholds_[places(groups, self.groups_)]).astype(np.int64)

    @property
    def known_groups(self) -> tuple[str, ...]:
        """The cohorts with a threshold of their own."""
        return tuple(self.groups_)


def cheapest(scores: Floats, y: NDArray[Any], false_positive: float, false_negative: float) -> float:
    """The threshold t for which the rule `score > t` costs least.

    >>> cheapest(np.array([0.1, 0.3, 0.6, 0.8]), np.array([0, 1, 0, 1]), 1.0, 5.0)
    0.2
    """
    edges, (negatives, positives) = cuts(scores, y)
    cost = false_positive * (negatives[-1] - negatives) + false_negative * positives
    equals = edges[cost <= cost.min() * (1 + 1e-12)]
    return float(equals[np.argmin(np.abs(equals - false_positive / (false_positive + false_negative)))])


def _pair(costs: Mapping[str, Any], name: str) -> tuple[float, float]:
    wrong = [key for key in costs if key not in ERRORS]
    if wrong:
        raise CaseError(f"params.{name} has no `{wrong[0]}`.", fix=nearest(wrong[0], ERRORS))
    pair: list[Any] = [costs.get(key) for key in ERRORS]
    if not all(isinstance(value, (int, float)) and 0 <= value < np.inf for value in pair) or sum(pair) == 0:
        raise CaseError(f"params.{name} is {dict(costs)}.", fix="Write `{false_positive: a, false_negative: b}` with a and b at least 0 and not both 0.")
    return float(pair[0]), float(pair[1])


METHODS: dict[str, type[Step]] = {"cohort_thresholds": CohortThresholds}

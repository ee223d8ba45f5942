"""Calibrated equalized odds: some of a group's scores give way to its base rate, until every group bears the same cost."""

from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from tasks.core.errors import DataError
from tasks.core.mitigation.base import Adjuster, Floats, Labels, Step, needs_labels
from tasks.core.mitigation.draws import Keys, lots
from tasks.core.mitigation.told_apart import places


class CalibratedEqualizedOdds(Adjuster):
    """A share of each group's rows, drawn, takes the group's base rate for a score; the others keep theirs.

    Pleiss, Raghavan, Wu, Kleinberg and Weinberger, On fairness and calibration, 2017. The `cost` of a group with scores
    s and base rate m is its generalised false positive rate mean(s | y = 0) (`fpr`), its generalised false negative
    rate mean(1 - s | y = 1) (`fnr`), or (1 - m) fpr + m fnr, the share of weight on the wrong label (`weighted`), as in
    AIF360. The share is (highest - cost) / (cost of the base rate as every score - cost), which brings every group to
    the highest group's cost in expectation. Scores that were calibrated stay so: a drawn row's answer is right as often
    as it says. Give it calibrated ones: put cohort_calibration before it.

    It changes scores and is an Adjuster; it draws, so it asks for keys: a row's lot (`draws.lots`) decides, the same
    each time. Groups are made equal by making some worse, and a group whose base rate itself costs less than the
    highest group's scores cannot be brought there: it is refused, and so is a group that lacks a label. A row of a
    group that validation did not show keeps its score.
    """

    tasks = ("binary",)
    __metadata_request__fit: ClassVar[dict[str, bool]] = {"groups": True}
    __metadata_request__transform: ClassVar[dict[str, bool]] = {"groups": True, "keys": True}
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "cost": [StrOptions({"fnr", "fpr", "weighted"})],
        "seed": [Interval(Integral, 0, None, closed="left")],
    }

    def __init__(self, cost: str = "weighted", seed: int = 0) -> None:
        self.cost = cost
        self.seed = seed

    def fit(self, scores: Floats, y: NDArray[Any], *, groups: Labels) -> "CalibratedEqualizedOdds":
        """Choose each group's share. Raises DataError for a group that lacks a label or whose base rate costs too little."""
        needs_labels(y, groups, (0, 1), "validation")
        self.groups_ = sorted(set(map(str, groups)))
        place = places(groups, self.groups_)
        mine = [place == number for number in range(len(self.groups_))]
        rates = np.array([y[rows].mean() for rows in mine])
        costs = np.array([group_cost(scores[rows], y[rows], self.cost) for rows in mine])
        blind = np.array([group_cost(np.full(rows.sum(), rate), y[rows], self.cost) for rows, rate in zip(mine, rates, strict=True)])
        highest = int(np.argmax(costs))
        for number in np.flatnonzero((costs < costs[highest]) & (blind < costs[highest])):
            raise DataError(
                f"group `{self.groups_[number]}` cannot bear the {self.cost} cost of `{self.groups_[highest]}`, {costs[highest]:.4f}: "
                f"its base rate as every score costs {blind[number]:.4f}.",
                fix="Set `params.cost` to another of fnr, fpr and weighted, or put cohort_calibration before it.",
            )
        shares = np.divide(costs[highest] - costs, blind - costs, out=np.zeros_like(costs), where=costs < costs[highest])
        self.shares_, self.rates_ = np.append(shares, 0.0), np.append(rates, y.mean())
        return self

    def transform(self, scores: Floats, *, groups: Labels, keys: Keys) -> Floats:
        """The scores, shape (n,), the drawn ones replaced by their group's base rate."""
        check_is_fitted(self)
        place = places(groups, self.groups_)
        return np.where(lots(keys, self.seed) < self.shares_[place], self.rates_[place], scores)

    @property
    def known_groups(self) -> tuple[str, ...]:
        """The groups that validation showed."""
        return tuple(self.groups_)


def group_cost(scores: Floats, y: NDArray[Any], cost: str) -> float:
    """The generalised `fpr` or `fnr` of one group, or their mean weighted by the labels' shares.

    >>> group_cost(np.array([0.2, 0.6, 0.7]), np.array([0, 0, 1]), "weighted")
    0.3666666666666667
    """
    rates = {"fpr": float(scores[y == 0].mean()), "fnr": float(1 - scores[y == 1].mean())}
    return rates[cost] if cost in rates else float((1 - y.mean()) * rates["fpr"] + y.mean() * rates["fnr"])


METHODS: dict[str, type[Step]] = {"calibrated_equalized_odds": CalibratedEqualizedOdds}

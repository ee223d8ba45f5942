"""Reject option: near the border, where a model is least sure, the answer goes to the disadvantaged group."""

from numbers import Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from tasks.core.errors import DataError
from tasks.core.mitigation.base import Decider, Floats, Labels, Step, needs_labels
from tasks.core.mitigation.told_apart import needs_both, places, two_apart

RATES: dict[str, tuple[tuple[int, ...], ...]] = {  # constraint: the labels over which each of its rates is taken
    "demographic_parity": ((0, 1),),
    "equalized_odds": ((0,), (1,)),
    "true_positive_rate_parity": ((1,),),
    "false_positive_rate_parity": ((0,),),
}


class RejectOption(Decider):
    """In the critical region max(s, 1 - s) < theta a disadvantaged group's rows get 1 and the others' 0; elsewhere s > 0.5 decides.

    Kamiran, Karim and Zhang, Decision theory for discrimination-aware classification, 2012. It is the same as a
    threshold of 1 - theta for the disadvantaged groups and of theta for the others, which is what is kept.

    theta and the disadvantaged groups are chosen on validation rows. Groups are put in the order of their constrained
    rate at 0.5 (for equalized_odds, the sum of its two); the disadvantaged are the lowest one, two and so on, and
    theta any value between two neighbouring scores' distances from 0.5: all are tried. Of those whose gap, the
    greatest difference between two groups' rates (for equalized_odds, the greater of the two), is at most `limit`, the
    one with the best balanced accuracy is taken, and of equals the narrowest region. The limit is that of AIF360.

    A row of a group that validation did not show belongs to no side: s > 0.5 decides. A group without the rows whose
    rate is constrained is refused; any other counts in the gap, however few its rows.
    """

    constraints: ClassVar[dict[str, tuple[str, ...]]] = {"binary": tuple(RATES)}
    __metadata_request__fit: ClassVar[dict[str, bool]] = {"groups": True}
    __metadata_request__predict: ClassVar[dict[str, bool]] = {"groups": True}
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "constraint": [StrOptions(set(RATES))],
        "limit": [Interval(Real, 0, 1, closed="left")],
    }

    def __init__(self, constraint: str, limit: float = 0.05) -> None:
        self.constraint = constraint
        self.limit = limit

    def fit(self, scores: Floats, y: NDArray[Any], *, groups: Labels) -> "RejectOption":
        """Choose theta and the sides. Raises DataError where no theta brings the gap under the limit, naming the least gap."""
        rates = RATES[self.constraint]
        needs_labels(y, groups, tuple(labels[0] for labels in rates if len(labels) == 1), "validation")
        needs_both(y, "validation")
        self.groups_, _ = two_apart(groups, 1, "validation")
        margins, everyone = _margins(scores), np.arange(len(self.groups_))
        accepted, rows = _accepted(scores, y, places(groups, self.groups_), len(self.groups_), margins)
        share = np.array([accepted[:, :, labels].sum(axis=2) / rows[:, labels].sum(axis=1, keepdims=True) for labels in rates])  # rate, side, group, margin
        order = np.argsort(share[:, 0, :, 0].sum(axis=0), kind="stable")
        best, margin, sides, least = -np.inf, 0.0, everyone, np.inf
        for count in everyone[1:]:
            side = np.ones_like(everyone)
            side[order[:count]] = 0
            gap = np.ptp(share[:, side, everyone], axis=1).max(axis=0)
            right = accepted[side, everyone].sum(axis=0) / rows.sum(axis=0)[:, None]  # the rate of 1 among each label, for each margin
            value = np.where(gap <= self.limit + 1e-12, right[1] - right[0], -np.inf)
            least, place = min(least, float(gap.min())), int(np.argmax(value))
            if value[place] > best:
                best, margin, sides = value[place], float(margins[place]), side
        if best == -np.inf:
            raise DataError(
                f"no critical region brings the {self.constraint} gap to {self.limit:g}: the least on validation is {least:.4f}.",
                fix=f"Raise `params.limit` to {np.ceil(least * 1000) / 1000:g} or more, or use threshold_optimizer, which draws and so can be exact.",
            )
        self.theta_ = 0.5 + margin
        self.disadvantaged_ = [self.groups_[number] for number in np.flatnonzero(sides == 0)]
        self.thresholds_ = np.array([*np.where(sides == 0, 0.5 - margin, 0.5 + margin), 0.5])
        return self

    def predict(self, scores: Floats, *, groups: Labels) -> NDArray[np.int64]:
        """0 or 1 for each row: 1 where the score exceeds its group's threshold."""
        check_is_fitted(self)
        return (scores > self.thresholds_[places(groups, self.groups_)]).astype(np.int64)

    @property
    def known_groups(self) -> tuple[str, ...]:
        """The groups that validation showed."""
        return tuple(self.groups_)


def _margins(scores: Floats) -> Floats:
    """Half-widths of the region that differ in the rows they hold, from 0 (none) to 0.5 (all but scores of 0 and 1)."""
    distances = np.unique(np.abs(scores - 0.5))
    return np.concatenate([[0.0], (distances[:-1] + distances[1:]) / 2, [0.5]])


def _accepted(scores: Floats, y: NDArray[Any], place: NDArray[np.intp], groups: int, margins: Floats) -> tuple[Floats, Floats]:
    """Rows accepted, (sides, groups, labels, margins), side 0 being the disadvantaged one; and rows, (groups, labels)."""
    accepted, totals = np.zeros((2, groups, 2, len(margins))), np.zeros((groups, 2))
    for group in range(groups):
        for label in (0, 1):
            mine = np.sort(scores[(place == group) & (y == label)])
            totals[group, label] = len(mine)
            for side, thresholds in enumerate((0.5 - margins, 0.5 + margins)):
                accepted[side, group, label] = len(mine) - np.searchsorted(mine, thresholds, side="right")
    return accepted, totals


METHODS: dict[str, type[Step]] = {"reject_option": RejectOption}

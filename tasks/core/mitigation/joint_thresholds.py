"""Joint thresholds: a threshold for each cohort, chosen together for accuracy and for fairness between cohorts."""

from numbers import Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from tasks.core.mitigation.base import Decider, Floats, Labels, Step
from tasks.core.mitigation.cuts import cuts
from tasks.core.mitigation.told_apart import needs_both, places, two_apart

STARTS = 200


class JointThresholds(Decider):
    """Answers 1 where the score exceeds the cohort's threshold. Joint losses of Dwork et al. 2018, over validation rows.

    With K cohorts of n_k of the n rows, e the share of wrong answers, p_k the share of cohort k that is answered 1:

    - `balanced`: the mean over cohorts of their share of wrong answers;
    - `numerical_parity`: a e + (1 - a) sum over k of |n_k p_k - mean of n_j p_j| / n: the cohorts get equally many 1s;
    - `demographic_parity`: a e + (1 - a) sum over k of |p_k - mean of p_j|: equal shares,

    a the `accuracy_weight`. Of all thresholds that part the rows differently the least loss is found exactly for
    `balanced` and for two cohorts. For more, one cohort at a time is changed until that helps no more, beginning at each of
    200 common shares of 1s, and the best end is taken (`exact_` is false).

    A cohort with fewer than 10 validation rows counts nowhere (`pooled_` names these): the one threshold with the fewest wrong
    answers over all validation rows answers it, and so it does a row of a cohort that validation did not show.
    """

    __metadata_request__fit: ClassVar[dict[str, bool]] = {"groups": True}
    __metadata_request__predict: ClassVar[dict[str, bool]] = {"groups": True}
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "loss": [StrOptions({"balanced", "numerical_parity", "demographic_parity"})],
        "accuracy_weight": [Interval(Real, 0, 1, closed="both")],
    }

    def __init__(self, loss: str = "balanced", accuracy_weight: float = 0.5) -> None:
        self.loss = loss
        self.accuracy_weight = accuracy_weight

    def fit(self, scores: Floats, y: NDArray[Any], *, groups: Labels) -> "JointThresholds":
        """Choose the thresholds. Raises DataError when all labels are equal, or not two cohorts have 10 rows each."""
        needs_both(y, "validation")
        self.groups_, self.pooled_ = two_apart(groups, which="validation")
        place = places(groups, self.groups_)
        sizes = np.bincount(place[place >= 0])
        edges, errors, ones = zip(*(_choices(scores[place == number], y[place == number]) for number in range(len(sizes))), strict=True)
        # Each cohort's part of the loss at each of its thresholds, what parity compares of it there, and the price of a difference.
        parity, n = self.loss != "balanced", sizes.sum()
        price = 1 - self.accuracy_weight if parity else 0.0
        wrong = [count * self.accuracy_weight / n if parity else count / size / len(sizes) for count, size in zip(errors, sizes, strict=True)]
        shares = [count / (n if self.loss == "numerical_parity" else size) for count, size in zip(ones, sizes, strict=True)]
        self.exact_ = not parity or len(sizes) == 2
        best = [int(np.argmin(part)) for part in wrong] if not parity else _pair(wrong, shares, price) if self.exact_ else _descend(wrong, shares, price)
        self.loss_ = _total(wrong, shares, best, price)
        pooled = _choices(scores, y)
        self.thresholds_ = np.array([*(edge[at] for edge, at in zip(edges, best, strict=True)), pooled[0][int(np.argmin(pooled[1]))]])
        return self

    def predict(self, scores: Floats, *, groups: Labels) -> NDArray[Any]:
        """0 or 1 for each row."""
        check_is_fitted(self)
        return (scores > self.thresholds_[places(groups, self.groups_)]).astype(np.int64)

    @property
    def known_groups(self) -> tuple[str, ...]:
        """The cohorts with a threshold of their own."""
        return tuple(self.groups_)


def _choices(scores: Floats, y: NDArray[Any]) -> tuple[Floats, Floats, Floats]:
    """Thresholds in rising order, and at each how many answers are wrong and how many are 1."""
    edges, (negatives, positives) = cuts(scores, y)
    return edges, positives + negatives[-1] - negatives, len(y) - negatives - positives


def _total(wrong: list[Floats], shares: list[Floats], at: list[int], price: float) -> float:
    told = np.array([values[place] for values, place in zip(shares, at, strict=True)])
    return float(sum(values[place] for values, place in zip(wrong, at, strict=True)) + price * np.abs(told - told.mean()).sum())


def _pair(wrong: list[Floats], shares: list[Floats], price: float) -> list[int]:
    """The best places for two cohorts, of whose shares p and q the differences to their mean are |p - q| together.

    Shares fall from place to place, so the places of the second with at most p are a tail, and those with at least p a head;
    in each the least loss is a running minimum.
    """
    (one, two), (p, q) = wrong, shares
    tail = np.minimum.accumulate((two - price * q)[::-1])[::-1][np.searchsorted(-q, -p, side="left")]  # never empty: the last share is 0
    head = np.append(np.minimum.accumulate(two + price * q), np.inf)[np.searchsorted(-q, -p, side="right") - 1]  # the last where empty
    first = int(np.argmin(one + np.minimum(tail + price * p, head - price * p)))
    return [first, int(np.argmin(two + price * np.abs(p[first] - q)))]


def _descend(wrong: list[Floats], shares: list[Floats], price: float) -> list[int]:
    """The best of the places found by changing one cohort at a time, from shares that all cohorts come near to."""
    aims = np.linspace(0, max(float(share.max()) for share in shares), STARTS)
    starts = {tuple(int(np.argmin(loss + price * np.abs(share - aim))) for loss, share in zip(wrong, shares, strict=True)) for aim in aims}
    ends = [_settle(wrong, shares, price, list(start)) for start in sorted(starts)]
    return min(ends, key=lambda at: _total(wrong, shares, at, price))


def _settle(wrong: list[Floats], shares: list[Floats], price: float, best: list[int]) -> list[int]:
    while True:
        before = list(best)
        for number in range(len(best)):
            others = np.array([shares[other][at] for other, at in enumerate(best) if other != number])
            told = np.column_stack([shares[number], np.broadcast_to(others, (len(shares[number]), len(others)))])
            loss = wrong[number] + price * np.abs(told - told.mean(axis=1, keepdims=True)).sum(axis=1)
            if loss.min() < loss[best[number]] - 1e-15:
                best[number] = int(np.argmin(loss))
        if best == before:
            return best


METHODS: dict[str, type[Step]] = {"joint_thresholds": JointThresholds}

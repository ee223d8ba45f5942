"""Threshold optimizer: for each group the thresholds on one score that keep a constraint.

Hardt, Price and Srebro, Equality of opportunity in supervised learning, 2016. fairlearn finds the thresholds, on
validation rows; its fitted object silently answers 0 for an unseen group and draws afresh at each call, so the
thresholds are held in a class of ours.
"""

from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from tasks.core.errors import CaseError
from tasks.core.mitigation.base import Decider, Floats, Labels, Step, needs_labels
from tasks.core.mitigation.cuts import cuts
from tasks.core.mitigation.draws import Keys, lots
from tasks.core.mitigation.told_apart import places

SIMPLE = (
    "demographic_parity",
    "selection_rate_parity",
    "true_positive_rate_parity",
    "false_positive_rate_parity",
    "true_negative_rate_parity",
    "false_negative_rate_parity",
)
OBJECTIVES = {  # our name: fairlearn's
    "accuracy": "accuracy_score",
    "balanced_accuracy": "balanced_accuracy_score",
    "selection_rate": "selection_rate",
    "true_positive_rate": "true_positive_rate",
    "true_negative_rate": "true_negative_rate",
}


class ThresholdOptimizer(Decider):
    """Accepts a row when its lot falls under its group's acceptance at its score.

    The thresholds are chosen on validation rows to maximise `objective` among the rules that satisfy `constraint`
    there: exactly, up to the grid of 1/grid_size on the constrained rate, or within `tol` where that is given.
    demographic_parity and selection_rate_parity are two names of one constraint. equalized_odds takes no `tol`, and
    the objectives accuracy and balanced_accuracy only. balanced_accuracy is the default, where fairlearn has accuracy:
    where positives are few, that is best served by accepting nobody. fairlearn's `flip`, which may accept the lowest
    scores of a group, is not offered.

    A group's acceptance at score s is c p + (1 - c) (p0 [s > t0] + p1 [s > t1]), the six numbers of its row in
    `rules_`. Between two thresholds, and where c > 0, it lies between 0 and 1 and the answer is drawn: the row's lot
    (`draws.lots`, from its key and `seed`) is compared with it, so that a row's answer never depends on its batch.

    A group that lacks a label on validation is refused, for it has no rates; one with both has thresholds of its own,
    however few its rows. A row of a group that validation did not show is accepted when its score exceeds the one
    threshold that is best by `objective` over all validation rows: the last row of `rules_`.
    """

    constraints: ClassVar[dict[str, tuple[str, ...]]] = {"binary": (*SIMPLE, "equalized_odds")}
    __metadata_request__fit: ClassVar[dict[str, bool]] = {"groups": True}
    __metadata_request__predict: ClassVar[dict[str, bool]] = {"groups": True, "keys": True}
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "constraint": [StrOptions({*SIMPLE, "equalized_odds"})],
        "objective": [StrOptions(set(OBJECTIVES))],
        "grid_size": [Interval(Integral, 10, 100_000, closed="both")],
        "tol": [None, Interval(Real, 0, 1, closed="both")],
        "seed": [Interval(Integral, 0, None, closed="left")],
    }

    def __init__(self, constraint: str, objective: str = "balanced_accuracy", grid_size: int = 1000, tol: float | None = None, seed: int = 0) -> None:
        self.constraint = constraint
        self.objective = objective
        self.grid_size = grid_size
        self.tol = tol
        self.seed = seed

    def fit(self, scores: Floats, y: NDArray[Any], *, groups: Labels) -> "ThresholdOptimizer":
        """Choose the thresholds. Raises CaseError for what equalized_odds does not take, DataError for a group with one label only."""
        from fairlearn.postprocessing import ThresholdOptimizer as Search

        if self.constraint == "equalized_odds" and (self.tol is not None or self.objective not in ("accuracy", "balanced_accuracy")):
            raise CaseError(
                "equalized_odds takes no `tol`, and maximises accuracy or balanced_accuracy only.",
                fix="Remove `params.tol`, and set `params.objective` to accuracy or balanced_accuracy.",
            )
        needs_labels(y, groups, (0, 1), "validation")
        search = Search(
            estimator=_Scores(),
            constraints=self.constraint,
            objective=OBJECTIVES[self.objective],
            grid_size=self.grid_size,
            prefit=True,
            predict_method="predict",
            tol=self.tol,
        )
        search.fit(scores[:, None], y, sensitive_features=groups.astype(str))
        found = search.interpolated_thresholder_.interpolation_dict
        self.groups_ = sorted(map(str, found))
        rules = [
            [r.get("p_ignore", 0.0), r.get("prediction_constant", 0.0), r.p0, r.operation0.threshold, r.p1, r.operation1.threshold]
            for r in (found[group] for group in self.groups_)
        ]
        pooled = best_threshold(scores, y, self.objective)
        self.rules_ = np.array([*rules, [0.0, 0.0, 1.0, pooled, 0.0, pooled]], dtype=np.float64)
        return self

    def acceptance(self, scores: Floats, groups: Labels) -> Floats:
        """The probability of answer 1 for each row's score and group, shape (n,); 0 or 1 for an unseen group."""
        check_is_fitted(self)
        ignore, constant, p0, t0, p1, t1 = self.rules_[places(groups, self.groups_)].T
        return np.asarray(ignore * constant + (1 - ignore) * (p0 * (scores > t0) + p1 * (scores > t1)))

    def predict(self, scores: Floats, *, groups: Labels, keys: Keys) -> NDArray[np.int64]:
        """0 or 1 for each row: 1 where the acceptance exceeds the row's lot."""
        return (self.acceptance(scores, groups) > lots(keys, self.seed)).astype(np.int64)

    @property
    def known_groups(self) -> tuple[str, ...]:
        """The groups that validation showed."""
        return tuple(self.groups_)


def best_threshold(scores: Floats, y: NDArray[Any], objective: str) -> float:
    """The threshold t for which the rule `score > t` has the best `objective` (a key of OBJECTIVES); the lowest of equals.

    >>> best_threshold(np.array([0.2, 0.4, 0.6, 0.8]), np.array([0, 0, 1, 1]), "accuracy")
    0.5
    """
    edges, rejected = cuts(scores, y)
    negatives, positives = rejected[:, -1]
    true_negative, true_positive = rejected[0], positives - rejected[1]
    value = {
        "accuracy": true_negative + true_positive,
        "balanced_accuracy": true_negative / negatives + true_positive / positives,
        "selection_rate": -rejected.sum(axis=0),
        "true_positive_rate": true_positive,
        "true_negative_rate": true_negative,
    }[objective]
    return float(edges[int(np.argmax(value))])


class _Scores(BaseEstimator):  # type: ignore[misc]  # scikit-learn carries no types
    """A fitted estimator, to fairlearn, whose prediction is the one column it is given."""

    fitted_ = True

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def fit(self, *_: Any) -> "_Scores":
        return self

    def predict(self, X: Any) -> Any:
        return X[:, 0]


METHODS: dict[str, type[Step]] = {"threshold_optimizer": ThresholdOptimizer}

"""Threshold optimizer: one fitted estimator, and for each group the thresholds that keep a constraint.

Hardt, Price and Srebro, Equality of opportunity in supervised learning, 2016. fairlearn finds the thresholds, on
validation rows; its fitted object silently answers 0 for an unseen group and draws afresh at each call, so the
thresholds are held in a class of ours.
"""

from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from tasks.core.mitigation.base import Labels, Plain, Rows, needs_labels, positive_score
from tasks.core.mitigation.draws import lots

OBJECTIVES = {"accuracy": "accuracy_score", "balanced_accuracy": "balanced_accuracy_score"}


class ThresholdOptimizer(Plain):
    """Accepts a row when its lot falls under its group's acceptance at its score.

    The estimator is fitted on training rows; the thresholds are chosen on validation rows to maximise `objective`
    among the rules that satisfy `constraint` there (exactly, up to the grid of 1/grid_size on the constrained rate).
    balanced_accuracy is the default: where positives are few, accuracy is best served by accepting nobody.

    A group's acceptance at score s is c p + (1 - c) (p0 [s > t0] + p1 [s > t1]), the six numbers of its row in
    `rules_`. Between two thresholds, and where c > 0, it lies between 0 and 1 and the answer is drawn: the row's lot
    (`draws.lots`, from its values and `seed`) is compared with it, so that a row's answer never depends on its batch.

    A row of a group that validation did not show is accepted when its score exceeds `fallback_`, the one threshold
    that is best by `objective` over all validation rows.

    The score is the estimator's own probability: it ranks rows, and the answer follows the group's thresholds.
    """

    tasks: ClassVar[tuple[str, ...]] = ("binary",)
    constraints: ClassVar[dict[str, tuple[str, ...]]] = {
        "binary": ("demographic_parity", "equalized_odds", "true_positive_rate_parity", "false_positive_rate_parity")
    }
    reads_groups: ClassVar[bool] = True
    draws: ClassVar[bool] = True
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "objective": [StrOptions(set(OBJECTIVES))],
        "grid_size": [Interval(Integral, 10, 100_000, closed="both")],
    }

    def __init__(self, estimator: Any, constraint: str, objective: str = "balanced_accuracy", grid_size: int = 1000, seed: int = 0) -> None:
        self.estimator = estimator
        self.constraint = constraint
        self.objective = objective
        self.grid_size = grid_size
        self.seed = seed

    def choose(self, rows: Rows, y: NDArray[Any]) -> "ThresholdOptimizer":
        """Choose thresholds on rows that `fit` did not see. Raises DataError for a group with one label only."""
        from fairlearn.postprocessing import ThresholdOptimizer as Search

        check_is_fitted(self, "estimator_")
        needs_labels(y, rows.groups, (0, 1), "validation")
        scores = np.asarray(positive_score(self.estimator_, rows.matrix))
        search = Search(
            estimator=_Scores(),
            constraints=self.constraint,
            objective=OBJECTIVES[self.objective],
            grid_size=self.grid_size,
            prefit=True,
            predict_method="predict",
        )
        search.fit(scores[:, None], y, sensitive_features=rows.groups.astype(str))
        found = search.interpolated_thresholder_.interpolation_dict
        self.groups_ = sorted(map(str, found))
        rules = (found[group] for group in self.groups_)
        self.rules_ = np.array(
            [[r.get("p_ignore", 0.0), r.get("prediction_constant", 0.0), r.p0, r.operation0.threshold, r.p1, r.operation1.threshold] for r in rules]
        )
        self.fallback_ = best_threshold(scores, y, self.objective)
        return self

    def acceptance(self, scores: NDArray[np.float64], groups: Labels) -> NDArray[np.float64]:
        """The probability of answer 1 for each row's score and group, shape (n,); 0 or 1 for an unseen group."""
        check_is_fitted(self, "rules_")
        accepted = (scores > self.fallback_).astype(np.float64)
        for group, (ignore, constant, p0, t0, p1, t1) in zip(self.groups_, self.rules_, strict=True):
            mine = groups == group
            accepted[mine] = ignore * constant + (1 - ignore) * (p0 * (scores[mine] > t0) + p1 * (scores[mine] > t1))
        return accepted

    def predict(self, rows: Rows) -> NDArray[Any]:
        """0 or 1 for each row: 1 where the acceptance exceeds the row's lot."""
        scores = np.asarray(positive_score(self.estimator_, rows.matrix))
        return (self.acceptance(scores, rows.groups) > lots(rows.keys, self.seed)).astype(np.int64)

    @property
    def known_groups(self) -> tuple[str, ...]:
        """The groups that validation showed."""
        return tuple(self.groups_)


def best_threshold(scores: NDArray[np.float64], y: NDArray[Any], objective: str) -> float:
    """The threshold t for which the rule `score > t` has the best accuracy or balanced accuracy; the lowest of equals.

    >>> best_threshold(np.array([0.2, 0.4, 0.6, 0.8]), np.array([0, 0, 1, 1]), "accuracy")
    0.5
    """
    levels, index = np.unique(scores, return_inverse=True)
    counts = [np.bincount(index, weights=y == label) for label in (0, 1)]
    rejected = np.pad(np.cumsum(counts, axis=1), ((0, 0), (1, 0)))  # negatives and positives at or below each edge
    negatives, positives = rejected[:, -1]
    right = np.array([rejected[0], positives - rejected[1]])
    value = right.sum(axis=0) if objective == "accuracy" else (right / [[negatives], [positives]]).sum(axis=0)
    edges = np.concatenate([[-np.inf], (levels[:-1] + levels[1:]) / 2, [np.inf]])
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

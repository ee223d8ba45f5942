"""Exponentiated gradient: a few weighted fits, mixed so that the mixture keeps a constraint across groups.

Agarwal, Beygelzimer, Dudik, Langford and Wallach, A reductions approach to fair classification, 2018; bounded group
loss: Agarwal, Dudik and Wu, Fair regression, 2019. fairlearn does the fitting; its fitted object keeps the training
rows, so only the members of the mixture and their weights are taken from it.
"""

from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import clone, is_classifier
from sklearn.utils._param_validation import Interval
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.validation import check_is_fitted

from tasks.core.errors import DataError
from tasks.core.mitigation.base import Plain, Rows, decision, fitted, needs_labels, needs_weights, positive_score
from tasks.core.mitigation.draws import lots

PARITIES = {  # constraint: the labels each group must have for its rate to exist
    "demographic_parity": (),
    "equalized_odds": (0, 1),
    "true_positive_rate_parity": (1,),
    "false_positive_rate_parity": (0,),
}


class ExponentiatedGradient(Plain):
    """A weighted mixture of estimators that keeps `constraint` on the training rows.

    eps: greatest violation aimed at, and 1/eps the bound on the multipliers: the fitted mixture's violation is at
    most 2 (eps + its duality gap) on the training rows. max_iter: most rounds. nu: duality gap at which to stop; set
    from the noise of the error rate unless given.

    bounded_group_loss bounds each group's mean loss by `upper_bound`. Binary: the share of wrong answers. Regression:
    the mean squared error as a share of the squared range of the training labels (labels are scaled to 0..1 for the
    fit), so 0.01 for labels between 5 and 50 is an MSE of 0.01 x 45^2 = 20.25.

    An estimator's `class_weight` becomes the cost of a wrong answer in the objective: as a weight inside each
    fit it would fight the weights through which the reduction steers.

    The theory's answer is to draw one member for each row by its weight. Ours is the same for a row each time:
    regression takes the weighted mean of the members, whose loss in each group is at most the draw's (Jensen);
    binary compares the weight on answer 1 with the row's lot (`draws.lots`, from its values and `seed`), which keeps the
    constraint in expectation as the draw does. A vote of the members would not: it is simply the heaviest of them. The
    score is the weighted mean of the members' probabilities: it ranks rows, and 0.5 is not its threshold. No group is
    needed to predict.
    """

    draws: ClassVar[bool] = True

    constraints: ClassVar[dict[str, tuple[str, ...]]] = {"binary": (*PARITIES, "bounded_group_loss"), "regression": ("bounded_group_loss",)}
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "eps": [Interval(Real, 0, 1, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "nu": [None, Interval(Real, 0, None, closed="neither")],
        "upper_bound": [None, Interval(Real, 0, 1, closed="right")],
    }

    def __init__(
        self,
        estimator: Any,
        constraint: str,
        eps: float = 0.01,
        max_iter: int = 50,
        nu: float | None = None,
        upper_bound: float | None = None,
        seed: int = 0,
    ) -> None:
        self.estimator = estimator
        self.constraint = constraint
        self.eps = eps
        self.max_iter = max_iter
        self.nu = nu
        self.upper_bound = upper_bound
        self.seed = seed

    def fit(self, rows: Rows, y: NDArray[Any]) -> "ExponentiatedGradient":
        """Fit the mixture. Raises CaseError without sample weights, DataError for a group without the rate to equalise."""
        from fairlearn.reductions import ErrorRate
        from fairlearn.reductions import ExponentiatedGradient as Reduction

        needs_weights(self.estimator)
        needs_labels(y, rows.groups, PARITIES.get(self.constraint, ()), "training")
        binary = is_classifier(self.estimator)
        self.low_, self.range_ = (0.0, 1.0) if binary else (float(np.min(y)), float(np.ptp(y)))
        if self.range_ == 0:
            raise DataError("all training labels are equal, so there is no loss to bound.", fix="Check the target column.")
        estimator, objective = clone(self.estimator), None
        if self.constraint in PARITIES:
            costs = compute_class_weight(estimator.get_params().get("class_weight"), classes=np.array([0, 1]), y=y)
            objective = ErrorRate(costs={"fp": float(costs[0]), "fn": float(costs[1])})
            if "class_weight" in estimator.get_params():
                estimator.set_params(class_weight=None)
        reduction = Reduction(_Oracle.over(estimator, rows.matrix), self._moment(binary), objective=objective, eps=self.eps, max_iter=self.max_iter, nu=self.nu)
        reduction.fit(np.arange(len(y))[:, None], y if binary else (y - self.low_) / self.range_, sensitive_features=rows.groups.astype(str))
        weights = reduction.weights_[reduction.weights_ > 1e-9]  # the linear programme leaves specks of its tolerance
        self.members_ = [getattr(reduction.predictors_[index], "fitted", reduction.predictors_[index]) for index in weights.index]
        self.weights_ = weights.to_numpy(dtype=np.float64) / float(weights.sum())
        return self

    def _moment(self, binary: bool) -> Any:
        from fairlearn import reductions

        if self.constraint == "bounded_group_loss":
            return reductions.BoundedGroupLoss(reductions.ZeroOneLoss() if binary else reductions.SquareLoss(0, 1), upper_bound=self.upper_bound)
        name = {"equalized_odds": "EqualizedOdds"}.get(self.constraint, "".join(part.capitalize() for part in self.constraint.split("_")))
        return getattr(reductions, name)(difference_bound=self.eps)

    def expected(self, matrix: Any) -> NDArray[np.float64]:
        """The members' weighted mean answer, shape (n,): binary, the weight on answer 1; regression, the prediction."""
        check_is_fitted(self, "members_")
        answers = sum(weight * decision(member, matrix) for weight, member in zip(self.weights_, self.members_, strict=True))
        return np.asarray(self.low_ + self.range_ * np.asarray(answers, dtype=np.float64))

    def predict(self, rows: Rows) -> NDArray[Any]:
        """Binary: 0 or 1, by the row's lot. Regression: the weighted mean."""
        expected = self.expected(rows.matrix)
        return (lots(rows.keys, self.seed) < expected).astype(np.int64) if is_classifier(self.estimator) else expected

    def predict_score(self, rows: Rows) -> NDArray[np.float64] | None:
        """The weighted mean of the members' probabilities; None for a regressor."""
        check_is_fitted(self, "members_")
        if not is_classifier(self.estimator):
            return None
        return np.asarray(sum(weight * positive_score(member, rows.matrix) for weight, member in zip(self.weights_, self.members_, strict=True)))


class _Oracle:
    """Stands between fairlearn and the matrix: fairlearn sees row numbers, so the matrix may be sparse and is not copied.

    A classifier on a sparse matrix is fitted on its distinct rows, each label's weights summed over the rows alike:
    the same weighted loss, from a tenth of the rows where features are few and coarse.
    """

    def __init__(self, estimator: Any, matrix: Any, which: NDArray[np.intp] | None = None) -> None:
        self.estimator, self.matrix, self.which = estimator, matrix, which

    @classmethod
    def over(cls, estimator: Any, matrix: Any) -> "_Oracle":
        """`which` says for each row of the matrix which of its distinct rows it is; None where rows are taken singly."""
        if not (is_classifier(estimator) and sparse.issparse(matrix)):
            return cls(estimator, matrix)
        marks = matrix @ np.random.default_rng(0).standard_normal(matrix.shape[1])  # equal for equal rows, and for no others
        _, first, which = np.unique(marks, return_index=True, return_inverse=True)
        return cls(estimator, matrix[first], which)

    def __sklearn_clone__(self) -> "_Oracle":
        return _Oracle(self.estimator, self.matrix, self.which)

    def fit(self, _rows: Any, y: Any, sample_weight: Any) -> "_Oracle":
        matrix, labels, weights = self.matrix, np.asarray(y), np.asarray(sample_weight)
        if self.which is not None:
            cells, index = np.unique(2 * self.which + labels, return_inverse=True)
            matrix, labels, weights = matrix[cells // 2], cells % 2, np.bincount(index, weights=weights)
        self.fitted = fitted(self.estimator, matrix, labels, sample_weight=weights)
        answers = decision(self.fitted, self.matrix)
        self.answers = answers if self.which is None else answers[self.which]
        return self

    def predict(self, _rows: Any) -> NDArray[Any]:
        return self.answers  # fairlearn asks for the training rows only

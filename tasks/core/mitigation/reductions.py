"""What the two reductions share: the constraint in fairlearn's terms, and an oracle that fits on weighted rows.

Agarwal, Beygelzimer, Dudik, Langford and Wallach, A reductions approach to fair classification, 2018; bounded group
loss: Agarwal, Dudik and Wu, Fair regression, 2019. fairlearn does the search; its fitted objects keep the training rows,
so only fitted estimators and their weights are taken from them.
"""

from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import clone, is_classifier
from sklearn.utils.class_weight import compute_class_weight

from tasks.core.errors import CaseError, DataError
from tasks.core.mitigation.base import Floats, Labels, decision, fitted, needs_labels, needs_weights
from tasks.core.mitigation.fitter import Fitter

PARITIES = {  # constraint: the labels each group must have for its rate to exist
    "demographic_parity": (),
    "equalized_odds": (0, 1),
    "true_positive_rate_parity": (1,),
    "false_positive_rate_parity": (0,),
    "error_rate_parity": (),
}
LOSSES = {"binary": ("zero_one",), "regression": ("square", "absolute")}


class Reduction(Fitter):
    """An `in` step that fits its estimator several times on weighted rows, until what it answers keeps a constraint.

    It is a classifier or a regressor as its estimator is. It takes no sample weights: the reduction's own take their place.
    """

    aimed = True
    constraints: ClassVar[dict[str, tuple[str, ...]]] = {"binary": (*PARITIES, "bounded_group_loss"), "regression": ("bounded_group_loss",)}
    __metadata_request__fit: ClassVar[dict[str, bool]] = {"groups": True}
    constraint: str
    loss: str | None

    def _reduced(self, X: Any, y: NDArray[Any], groups: Labels, bounds: dict[str, float]) -> tuple["Oracle", NDArray[Any], Any]:
        """The oracle over X, the labels as the reduction takes them, and the constraint with its objective.

        `bounds` goes to fairlearn's constraint. Raises CaseError for an estimator without sample weights and a loss that
        does not fit the task, DataError for a group without the rate to equalise and for labels that are all equal.
        """
        needs_weights(self.estimator)
        X, y = self._begin(X, y)
        binary = is_classifier(self.estimator)
        if not binary and np.ptp(y) == 0:
            raise DataError("all training labels are equal, so there is no loss to bound.", fix="Check the target column.")
        needs_labels(y, groups, PARITIES.get(self.constraint, ()), "training")
        self.low_, self.range_ = (0.0, 1.0) if binary else (float(np.min(y)), float(np.ptp(y)))
        estimator = clone(self.estimator)
        moment = self._loss_moment(binary, bounds) if self.constraint == "bounded_group_loss" else _parity_moment(self.constraint, estimator, y, bounds)
        return Oracle.over(estimator, X), y if binary else (y - self.low_) / self.range_, moment

    def _loss_moment(self, binary: bool, bounds: dict[str, float]) -> Any:
        from fairlearn import reductions

        class BoundedGroupLoss(reductions.BoundedGroupLoss):  # type: ignore[misc]  # fairlearn carries no types
            """fairlearn's, with weights looked up for all rows at once, where fairlearn calls a function for each row."""

            def default_objective(self) -> Any:
                objective = super().default_objective()
                objective.signed_weights = lambda: pd.Series(1.0, index=objective.tags.index)
                return objective

            def signed_weights(self, lambda_vec: Any) -> Any:
                return self.tags["group_id"].map(lambda_vec / self.prob_attr)

        allowed = LOSSES["binary" if binary else "regression"]
        loss = self.loss or allowed[0]
        if loss not in allowed:
            raise CaseError(
                f"`loss: {loss}` does not fit a {'binary' if binary else 'regression'} task.", fix=f"Set `params.loss` to one of: {', '.join(allowed)}."
            )
        made = {"zero_one": reductions.ZeroOneLoss, "square": reductions.SquareLoss, "absolute": reductions.AbsoluteLoss}[loss]
        return BoundedGroupLoss(made() if binary else made(0, 1), **bounds)

    def _in_label_units(self, answers: Any) -> Floats:
        return np.asarray(self.low_ + self.range_ * np.asarray(answers, dtype=np.float64))


def _parity_moment(constraint: str, estimator: Any, y: NDArray[Any], bounds: dict[str, float]) -> Any:
    """fairlearn's constraint; an estimator's class weight becomes the cost of a wrong answer in its objective.

    As a weight inside each fit it would fight the weights through which the reduction steers.
    """
    from fairlearn import reductions

    name = "".join(part.capitalize() for part in constraint.split("_"))
    moment = getattr(reductions, name)(**bounds)
    if "class_weight" in estimator.get_params():
        costs = compute_class_weight(estimator.get_params()["class_weight"], classes=np.array([0, 1]), y=y)
        estimator.set_params(class_weight=None)
        moment.default_objective = lambda: reductions.ErrorRate(costs={"fp": float(costs[0]), "fn": float(costs[1])})
    return moment


class Oracle:
    """Stands between fairlearn and the matrix: fairlearn sees row numbers, so the matrix may be sparse and is not copied.

    A classifier on a sparse matrix is fitted on its distinct rows, each label's weights summed over the rows alike:
    the same weighted loss, from a tenth of the rows where features are few and coarse.
    """

    def __init__(self, estimator: Any, matrix: Any, which: NDArray[np.intp] | None = None) -> None:
        self.estimator, self.matrix, self.which = estimator, matrix, which

    @classmethod
    def over(cls, estimator: Any, matrix: Any) -> "Oracle":
        """`which` says for each row of the matrix which of its distinct rows it is; None where rows are taken singly."""
        if not (is_classifier(estimator) and sparse.issparse(matrix)):
            return cls(estimator, matrix)
        marks = matrix @ np.random.default_rng(0).standard_normal(matrix.shape[1])  # equal for equal rows, and for no others
        _, first, which = np.unique(marks, return_index=True, return_inverse=True)
        return cls(estimator, matrix[first], which)

    def __sklearn_clone__(self) -> "Oracle":
        return Oracle(self.estimator, self.matrix, self.which)

    def __deepcopy__(self, _memo: Any) -> "Oracle":
        return self.__sklearn_clone__()  # the grid search copies where it could clone

    def fit(self, _rows: Any, y: Any, sample_weight: Any) -> "Oracle":
        """Fit a clone of the estimator on the matrix, and keep its answers on every row."""
        matrix, labels, weights = self.matrix, np.asarray(y), np.asarray(sample_weight)
        if self.which is not None:
            cells, index = np.unique(2 * self.which + labels, return_inverse=True)
            matrix, labels, weights = matrix[cells // 2], cells % 2, np.bincount(index, weights=weights)
        self.fitted = fitted(self.estimator, matrix, labels, sample_weight=weights)
        answers = decision(self.fitted, self.matrix)
        self.answers = answers if self.which is None else answers[self.which]
        return self

    def predict(self, _rows: Any) -> NDArray[Any]:
        """The answers on every row: fairlearn asks for the training rows only."""
        return self.answers


def released(predictor: Any) -> Any:
    """The fitted estimator without the oracle that fitted it; fairlearn's constant classifier as it is."""
    return getattr(predictor, "fitted", predictor)

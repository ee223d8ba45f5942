"""Grid search: one weighted fit for each of a grid of prices on a constraint's violation, of which the best is kept."""

from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from tasks.core.mitigation.base import Floats, Labels, Step, decision, positive_score
from tasks.core.mitigation.reductions import PARITIES, Reduction, released


class GridSearch(Reduction):
    """The one estimator of a grid with the least (1 - constraint_weight) * error + constraint_weight * violation on training rows.

    Agarwal et al. 2018, section 3.4, as fairlearn's GridSearch: `grid_size` vectors of multipliers of L1 norm at most
    `grid_limit`, an estimator fitted for each. The answer is one estimator's, so nothing is drawn and nothing is mixed;
    what one estimator cannot keep, exponentiated_gradient's mixture may. With many groups the grid must grow as 2 to
    the number of constraints.

    bounded_group_loss: the violation is the worst group's mean loss, and no bound is set. `loss` as in
    exponentiated_gradient. An estimator's `class_weight` becomes the cost of a wrong answer in the error. No group is
    needed to predict.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "estimator": [HasMethods(["fit", "predict"])],
        "constraint": [StrOptions({*PARITIES, "bounded_group_loss"})],
        "constraint_weight": [Interval(Real, 0, 1, closed="both")],
        "grid_size": [Interval(Integral, 2, None, closed="left")],
        "grid_limit": [Interval(Real, 0, None, closed="neither")],
        "loss": [None, StrOptions({"zero_one", "square", "absolute"})],
    }

    def __init__(
        self, estimator: Any, constraint: str, constraint_weight: float = 0.5, grid_size: int = 10, grid_limit: float = 2.0, loss: str | None = None
    ) -> None:
        self.estimator = estimator
        self.constraint = constraint
        self.constraint_weight = constraint_weight
        self.grid_size = grid_size
        self.grid_limit = grid_limit
        self.loss = loss

    def fit(self, X: Any, y: NDArray[Any], *, groups: Labels) -> "GridSearch":
        """Fit the grid, keep the best. Raises CaseError without sample weights, DataError for a group without the rate to equalise."""
        from fairlearn import reductions

        oracle, labels, moment = self._reduced(X, y, groups, {})
        search = reductions.GridSearch(oracle, moment, constraint_weight=self.constraint_weight, grid_size=self.grid_size, grid_limit=self.grid_limit)
        search.fit(np.arange(len(labels))[:, None], labels, sensitive_features=groups.astype(str))
        self.estimator_ = released(search.predictors_[search.best_idx_])
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """The best estimator's answers: `classes_`, or a regression's predictions; shape (n,)."""
        X = self._checked(X)
        answers = decision(self.estimator_, X)
        return np.asarray(self.classes_[answers]) if is_classifier(self) else self._in_label_units(answers)

    def _score(self, X: Any, **metadata: Any) -> Floats:  # noqa: ARG002  # the base takes what steps request
        return np.asarray(positive_score(self.estimator_, X))


METHODS: dict[str, type[Step]] = {"grid_search": GridSearch}

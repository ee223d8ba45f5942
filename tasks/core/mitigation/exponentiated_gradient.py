"""Exponentiated gradient: a few weighted fits, mixed so that the mixture keeps a constraint across groups."""

from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import is_classifier
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from tasks.core.errors import CaseError
from tasks.core.mitigation.base import Floats, Labels, Step, decision, positive_score
from tasks.core.mitigation.draws import Keys, lots, row_keys
from tasks.core.mitigation.reductions import PARITIES, Reduction, released


class ExponentiatedGradient(Reduction):
    """A weighted mixture of estimators that keeps `constraint` on the training rows.

    eps: greatest violation aimed at, and 1/eps the bound on the multipliers: the fitted mixture's violation is at
    most 2 (eps + its duality gap) on the training rows. max_iter: most rounds. nu: duality gap at which to stop; set
    from the noise of the error rate unless given. Agarwal et al. 2018.

    bounded_group_loss bounds each group's mean loss by `upper_bound`, which it needs. Binary: the share of wrong
    answers (`loss` zero_one, the only one). Regression: the mean `loss`, square (the default) or absolute, of labels
    scaled to 0..1 by the range of the training labels, so a square loss of 0.01 for labels between 5 and 50 is an MSE
    of 0.01 x 45^2 = 20.25. The estimator minimises its own loss whichever is bounded. Agarwal, Dudik and Wu 2019.

    An estimator's `class_weight` becomes the cost of a wrong answer in the objective.

    The theory's answer is to draw one member for each row by its weight. Ours is the same for a row each time:
    regression takes the weighted mean of the members, whose loss in each group is at most the draw's (Jensen);
    binary compares the weight on answer 1 with the row's lot (`draws.lots`, from its key and `seed`), which keeps the
    constraint in expectation as the draw does. A vote of the members would not: it is simply the heaviest of them. The
    probability is the weighted mean of the members': it ranks rows, and 0.5 is not its threshold. No group is needed
    to predict.
    """

    __metadata_request__predict: ClassVar[dict[str, bool]] = {"keys": True}
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "estimator": [HasMethods(["fit", "predict"])],
        "constraint": [StrOptions({*PARITIES, "bounded_group_loss"})],
        "eps": [Interval(Real, 0, 1, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "nu": [None, Interval(Real, 0, None, closed="neither")],
        "upper_bound": [None, Interval(Real, 0, 1, closed="right")],
        "loss": [None, StrOptions({"zero_one", "square", "absolute"})],
        "seed": [Interval(Integral, 0, None, closed="left")],
    }

    def __init__(
        self,
        estimator: Any,
        constraint: str,
        eps: float = 0.01,
        max_iter: int = 50,
        nu: float | None = None,
        upper_bound: float | None = None,
        loss: str | None = None,
        seed: int = 0,
    ) -> None:
        self.estimator = estimator
        self.constraint = constraint
        self.eps = eps
        self.max_iter = max_iter
        self.nu = nu
        self.upper_bound = upper_bound
        self.loss = loss
        self.seed = seed

    def fit(self, X: Any, y: NDArray[Any], *, groups: Labels) -> "ExponentiatedGradient":
        """Fit the mixture. Raises CaseError without sample weights, DataError for a group without the rate to equalise."""
        from fairlearn import reductions

        bounded = self.constraint == "bounded_group_loss"
        if bounded and self.upper_bound is None:
            raise CaseError("`bounded_group_loss` needs `upper_bound` in `params`.", fix="Write the greatest loss allowed, between 0 and 1.")
        oracle, labels, moment = self._reduced(X, y, groups, {"upper_bound": float(self.upper_bound or 0)} if bounded else {"difference_bound": self.eps})
        search = reductions.ExponentiatedGradient(oracle, moment, eps=self.eps, max_iter=self.max_iter, nu=self.nu)
        search.fit(np.arange(len(labels))[:, None], labels, sensitive_features=groups.astype(str))
        self.n_iter_ = search.last_iter_ + 1
        weights = search.weights_[search.weights_ > 1e-9]  # the linear programme leaves specks of its tolerance
        self.members_ = [released(search.predictors_[index]) for index in weights.index]
        self.weights_ = weights.to_numpy(dtype=np.float64) / float(weights.sum())
        if bounded:
            answers = sum(weight * search.predictors_[index].predict(None) for index, weight in zip(weights.index, self.weights_, strict=True))
            self.note_ = self._unmet(np.abs(np.asarray(answers) - labels), groups.astype(str))
        return self

    def _unmet(self, errors: Floats, groups: Labels) -> str:
        """What to tell where the bound is not kept on the training rows: it may be less than any such model can reach. Empty where it is."""
        losses = errors**2 if not is_classifier(self) and self.loss in (None, "square") else errors
        names, which = np.unique(groups, return_inverse=True)
        means = np.bincount(which, losses) / np.bincount(which)
        worst, bound = int(np.argmax(means)), float(self.upper_bound or 0)
        if means[worst] <= 1.01 * bound:  # the theory allows 2 eps more, which is much beside a small bound: it is said
            return ""
        return f"the bound of {bound:g} is not met: {names[worst]} has {means[worst]:.3g} on the training rows. Allow more, or change the estimator."

    def expected(self, X: Any) -> Floats:
        """The members' weighted mean answer, shape (n,): binary, the weight on answer 1; regression, the prediction."""
        X = self._checked(X)
        return self._in_label_units(sum(weight * decision(member, X) for weight, member in zip(self.weights_, self.members_, strict=True)))

    def predict(self, X: Any, *, keys: Keys | None = None) -> NDArray[Any]:
        """Binary: one of `classes_`, by the row's lot. Regression: the weighted mean. Without `keys` they are made of the rows of X."""
        expected = self.expected(X)
        if not is_classifier(self):
            return expected
        if keys is None:
            keys = row_keys(np.asarray(X.toarray() if sparse.issparse(X) else X, dtype=np.float64).T)
        return np.asarray(self.classes_[(lots(keys, self.seed) < expected).astype(np.intp)])

    def _score(self, X: Any, **metadata: Any) -> Floats:  # noqa: ARG002  # the base takes what steps request
        return np.asarray(sum(weight * np.asarray(positive_score(member, X)) for weight, member in zip(self.weights_, self.members_, strict=True)))


METHODS: dict[str, type[Step]] = {"exponentiated_gradient": ExponentiatedGradient}

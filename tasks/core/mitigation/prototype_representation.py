"""Prototype representation: a few typical rows, and how near each row is to them, told so that the group is hard to tell."""

from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.spatial.distance import cdist
from scipy.special import softmax
from sklearn.base import TransformerMixin
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted, validate_data

from tasks.core.encoding import RARE
from tasks.core.errors import DataError
from tasks.core.mitigation.base import Floats, Labels, Transformer
from tasks.core.mitigation.told_apart import needs_both

TINY = float(np.finfo(np.float64).eps)


class PrototypeRepresentation(TransformerMixin, Transformer):  # type: ignore[misc]  # scikit-learn carries no types
    """Replaces a row x by its memberships M_k = softmax(-d(x, v_k)) in K prototypes; shape (n, K).

    d(x, v)^2 = sum_j a_j (x_j - v_j)^2. Prototypes v, weights a >= 0 and the prototypes' labels w in [0, 1] minimise
        reconstruct_weight * mean |x - M v|^2 + target_weight * log loss(y, M w)
        + fairness_weight * mean over pairs of groups and prototypes of |mean M_k of one group - mean M_k of the other|.
    Zemel, Wu, Swersky, Pitassi and Dwork, Learning fair representations, 2013, as in fairlearn's
    PrototypeRepresentationLearner: the same objective and bounds. Ours has the gradient worked out, where fairlearn
    takes differences and needs as many evaluations as there are parameters for one step; it starts near the columns'
    means, where fairlearn starts near 0; and by default it has 10 prototypes, as the paper, where fairlearn's 2 leave one
    number of a row, and at most 200 rounds for fairlearn's 1000: 20 seconds on 30,000 rows, after which little is gained.

    A prototype that stands for fewer than 10 training rows (the sum of their memberships) would be nearly one of them:
    it is left out, and the others are fitted again from where they are, or all from the start where fewer than two are
    left, without the rows nearest to it. Prediction needs no group. Binary tasks only.
    """

    tasks = ("binary",)
    aimed = True
    least: ClassVar[int] = RARE
    __metadata_request__fit: ClassVar[dict[str, bool]] = {"groups": True}
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_prototypes": [Interval(Integral, 2, None, closed="left")],
        "reconstruct_weight": [Interval(Real, 0, None, closed="left")],
        "target_weight": [Interval(Real, 0, None, closed="left")],
        "fairness_weight": [Interval(Real, 0, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "seed": [Interval(Integral, 0, None, closed="left")],
    }

    def __init__(
        self,
        n_prototypes: int = 10,
        reconstruct_weight: float = 1.0,
        target_weight: float = 1.0,
        fairness_weight: float = 1.0,
        tol: float = 1e-6,
        max_iter: int = 200,
        seed: int = 0,
    ) -> None:
        self.n_prototypes = n_prototypes
        self.reconstruct_weight = reconstruct_weight
        self.target_weight = target_weight
        self.fairness_weight = fairness_weight
        self.tol = tol
        self.max_iter = max_iter
        self.seed = seed

    def fit(self, X: Any, y: NDArray[Any], *, groups: Labels) -> "PrototypeRepresentation":
        """Learn the prototypes. Raises DataError for labels that are all equal, or rows too few for two prototypes."""
        X = validate_data(self, X, dtype=np.float64)
        needs_both(y, "training")
        random, width = np.random.RandomState(self.seed), X.shape[1]
        around = random.rand(self.n_prototypes, width) + X.mean(axis=0)
        first = start = np.concatenate([around.ravel(), random.rand(self.n_prototypes), np.ones(width)])
        weights, near = (self.reconstruct_weight, self.target_weight, self.fairness_weight), np.full(len(X), True)
        while True:
            count = (len(start) - width) // (width + 1)
            bounds = [(None, None)] * (count * width) + [(0, 1)] * count + [(0, None)] * width
            loss = _Loss(X[near], y[near], groups[near], weights)
            found = minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B", tol=self.tol, options={"maxiter": self.max_iter})
            prototypes, answers, scales = parts(found.x, width)
            member = memberships(X, prototypes, scales)
            large = member[near].sum(axis=0) >= self.least
            if large.all():
                break
            gone = near & ~large[np.argmax(member, axis=1)]
            near &= ~gone
            if near.sum() < 2 * self.least or (large.sum() < 2 and not gone.any()):
                raise DataError(
                    f"{len(X)} training rows give no two prototypes that stand for {self.least} rows each.",
                    fix="Set `params.n_prototypes` or `params.reconstruct_weight` lower, or bring more rows.",
                )
            start = np.concatenate([prototypes[large].ravel(), answers[large], scales]) if large.sum() >= 2 else first
        self.prototypes_, self.scales_, self.n_iter_ = prototypes, scales, int(found.nit)
        return self

    def transform(self, X: Any) -> Floats:
        """Each row's memberships, which sum to 1; shape (n, prototypes kept)."""
        check_is_fitted(self)
        return memberships(validate_data(self, X, dtype=np.float64, reset=False), self.prototypes_, self.scales_)


def parts(point: Floats, width: int) -> tuple[Floats, Floats, Floats]:
    """Prototypes (K, width), their labels (K,) and the columns' weights (width,) in the optimiser's one vector."""
    count = (len(point) - width) // (width + 1)
    return point[: count * width].reshape(count, width), point[count * width : -width], point[-width:]


def memberships(X: Floats, prototypes: Floats, scales: Floats) -> Floats:
    """Softmax of the negative weighted distances, shape (n, K)."""
    return np.asarray(softmax(-cdist(X, prototypes, metric="euclidean", w=scales), axis=1))


class _Loss:
    """The objective and its gradient at a point of the optimiser."""

    def __init__(self, X: Floats, y: NDArray[Any], groups: Labels, weights: tuple[float, float, float]) -> None:
        self.X, self.y, self.squares, self.weights = X, y, X**2, weights
        means = [(groups == group) / np.sum(groups == group) for group in sorted(set(groups))]
        first, second = np.triu_indices(len(means), k=1)
        self.differences = np.array(means)[first] - np.array(means)[second]  # (pairs, n): a product with M gives the pairs' gaps

    def __call__(self, point: Floats) -> tuple[float, Floats]:
        rows, width = self.X.shape
        prototypes, answers, scales = parts(point, width)
        distances = cdist(self.X, prototypes, metric="euclidean", w=scales)
        member = np.asarray(softmax(-distances, axis=1))
        rest = member @ prototypes - self.X
        chance = np.clip(member @ answers, TINY, 1 - TINY)
        gaps = self.differences @ member
        terms = (
            np.sum(rest**2) / rows,
            -float(np.mean(np.where(self.y == 1, np.log(chance), np.log1p(-chance)))),
            float(np.abs(gaps).mean()) if gaps.size else 0.0,
        )
        reconstruct, target, fairness = self.weights
        by_chance = target * (chance - self.y) / (chance * (1 - chance)) / rows
        by_member = 2 * reconstruct / rows * (rest @ prototypes.T) + by_chance[:, None] * answers
        by_member += fairness / max(gaps.size, 1) * (self.differences.T @ np.sign(gaps))
        by_distance = -member * (by_member - (by_member * member).sum(axis=1, keepdims=True))
        pull = by_distance / np.maximum(distances, TINY)  # the distance's own derivative divides by it
        pulled, total = pull.T @ self.X, pull.sum(axis=0)[:, None]
        by_prototype = 2 * reconstruct / rows * (member.T @ rest) + scales * (total * prototypes - pulled)
        by_scale = (pull.sum(axis=1) @ self.squares + (total * prototypes**2 - 2 * pulled * prototypes).sum(axis=0)) / 2
        return float(np.dot(self.weights, terms)), np.concatenate([by_prototype.ravel(), member.T @ by_chance, by_scale])


METHODS: dict[str, type[Transformer]] = {"prototype_representation": PrototypeRepresentation}

"""Decoupled models: one for each cohort, with help for the cohorts that are too small for one of their own."""

from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import is_classifier
from sklearn.metrics import log_loss, mean_squared_error
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.preprocessing import StandardScaler
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from tasks.core.encoding import RARE
from tasks.core.mitigation.base import Floats, Labels, Step, decision, fitted, needs_weights, positive_score
from tasks.core.mitigation.cohort_models import by_cohort
from tasks.core.mitigation.fitter import Fitter
from tasks.core.mitigation.told_apart import places

SHARES = (0.0, 0.05, 0.1, 0.25, 0.5, 1.0)  # weights of others' rows that are tried


class Decoupled(Fitter):
    """Dwork, Immorlica, Kalai and Leiserson, Decoupled classifiers for group-fair and efficient machine learning, 2018.

    A cohort with at least `min_rows` training rows, and of a classifier `min_class` rows of each label, has a model of its
    own. One with fewer is helped as `small` says:

    - `transfer`: its model is fitted on its own rows, with weight 1, and on those of the nearer half of the other cohorts,
      with the weight of (0, 0.05, 0.1, 0.25, 0.5, 1) whose log loss (squared error, for a regression) is least in
      cross-validation on its own rows; of equals the largest. A cohort with fewer than ten rows, or fewer of a label than
      there are folds, is merged.
    - `merge`: it joins the nearest cohort that has enough rows, and one model serves both.

    Nearness is the distance between cohorts' mean columns, each in units of its standard deviation over all rows. Where no
    cohort has enough rows, one model serves all. A row of a cohort that training did not show is answered by a model of all
    rows. `merged_` says which cohort joined which, `shares_` which weight was chosen. Thresholds are for a step on scores:
    `joint_thresholds`, on validation rows.
    """

    aimed = True
    __metadata_request__fit: ClassVar[dict[str, bool]] = {"groups": True, "sample_weight": True}
    __metadata_request__predict: ClassVar[dict[str, bool]] = {"groups": True}
    __metadata_request__predict_proba: ClassVar[dict[str, bool]] = {"groups": True}
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "estimator": [HasMethods(["fit", "predict"])],
        "min_rows": [Interval(Integral, 10, None, closed="left")],
        "min_class": [Interval(Integral, 1, None, closed="left")],
        "small": [StrOptions({"transfer", "merge"})],
        "folds": [Interval(Integral, 2, 20, closed="both")],
        "seed": [Interval(Integral, 0, None, closed="left")],
    }

    def __init__(self, estimator: Any, min_rows: int = 200, min_class: int = 20, small: str = "transfer", folds: int = 5, seed: int = 0) -> None:
        self.estimator = estimator
        self.min_rows = min_rows
        self.min_class = min_class
        self.small = small
        self.folds = folds
        self.seed = seed

    def fit(self, X: Any, y: NDArray[Any], *, groups: Labels, sample_weight: Floats | None = None) -> "Decoupled":
        """Fit the models. Raises CaseError for `transfer` with an estimator without sample weights."""
        if self.small == "transfer":
            needs_weights(self.estimator)
        X, y = self._begin(X, y)
        weight = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
        weighed = sample_weight is not None
        names = sorted(set(map(str, groups)))
        place = places(groups, names)
        enough = [self._enough(y[place == number]) for number in range(len(names))]
        self.merged_: dict[str, str] = {}
        self.shares_: dict[str, float] = {}
        self.models_ = [fitted(self.estimator, X, y, **({"sample_weight": weight} if weighed else {}))]
        if not any(enough):
            self.groups_, self.models_ = names, self.models_ * (len(names) + 1)
            return self
        near = [[int(other) for other in np.argsort(far, kind="stable") if other != number] for number, far in enumerate(_distances(X, place, len(names)))]
        serves: dict[int, list[int]] = {number: [number] for number in range(len(names)) if enough[number]}
        helped: dict[int, NDArray[np.intp]] = {}
        for number in (number for number in range(len(names)) if not enough[number]):
            own = np.flatnonzero(place == number)
            if self.small == "transfer" and self._foldable(y[own]):
                others = np.flatnonzero(np.isin(place, near[number][: -(-len(near[number]) // 2)]))
                self.shares_[names[number]] = share = self._share(X, y, weight, own, others)
                serves[number], helped[number] = [number], others if share else others[:0]
            else:
                into = next(other for other in near[number] if enough[other])
                serves[into].append(number)
                self.merged_[names[number]] = names[into]
        self.groups_ = [names[number] for held in serves.values() for number in held]
        models = []
        for leader, held in serves.items():
            own = np.flatnonzero(np.isin(place, held))
            others = helped.get(leader, own[:0])
            rows = np.concatenate([own, others])
            given = np.concatenate([weight[own], weight[others] * self.shares_.get(names[leader], 0.0)])
            models += [fitted(self.estimator, X[rows], y[rows], **({"sample_weight": given} if weighed or len(others) else {}))] * len(held)
        self.models_ = [*models, *self.models_]  # the pooled one last
        return self

    def _enough(self, y: NDArray[Any]) -> bool:
        if len(y) < self.min_rows:
            return False
        return not is_classifier(self.estimator) or min(int((y == label).sum()) for label in (0, 1)) >= self.min_class

    def _foldable(self, y: NDArray[Any]) -> bool:
        """Whether a cohort can have a model of its own: ten rows, of which a model cannot tell each, and rows for every fold."""
        fewest = min(int((y == label).sum()) for label in (0, 1)) if is_classifier(self.estimator) else len(y)
        return len(y) >= RARE and fewest >= self.folds

    def _share(self, X: Any, y: NDArray[Any], weight: Floats, own: NDArray[np.intp], others: NDArray[np.intp]) -> float:
        """The weight of others' rows that predicts the cohort's held-out rows best."""
        classify = is_classifier(self.estimator)
        folds = (StratifiedKFold if classify else KFold)(self.folds, shuffle=True, random_state=self.seed)
        losses = np.zeros(len(SHARES))
        for train, test in folds.split(own, y[own]):
            held = own[test]
            rows = np.concatenate([own[train], others])
            for number, share in enumerate(SHARES):
                used = rows if share else own[train]
                given = np.concatenate([weight[own[train]], weight[others] * share]) if share else weight[own[train]]
                model = fitted(self.estimator, X[used], y[used], sample_weight=given)
                if classify:
                    losses[number] += log_loss(y[held], np.asarray(positive_score(model, X[held])), labels=[0, 1], sample_weight=weight[held]) * len(held)
                else:
                    losses[number] += mean_squared_error(y[held], decision(model, X[held]), sample_weight=weight[held]) * len(held)
        return float(max(share for share, loss in zip(SHARES, losses, strict=True) if loss <= losses.min() * (1 + 1e-12)))

    def predict(self, X: Any, *, groups: Labels) -> NDArray[Any]:
        """Each row's answer by its cohort's model."""
        X = self._checked(X)
        return self._in_labels(by_cohort(self.models_, places(groups, self.groups_), X, decision))

    def _score(self, X: Any, *, groups: Labels) -> Floats:  # type: ignore[override]  # what it requests
        return by_cohort(self.models_, places(groups, self.groups_), X, positive_score)

    @property
    def known_groups(self) -> tuple[str, ...]:
        """The cohorts that training showed, merged ones among them."""
        return tuple(self.groups_)


def _distances(X: Any, place: NDArray[np.intp], count: int) -> Floats:
    """Distances between cohorts' mean columns in standard deviations (count, count); gaps are passed over."""
    inside = sparse.csr_array((np.ones(len(place)), (place, np.arange(len(place)))), shape=(count, len(place)))
    if sparse.issparse(X):
        sums, rows = (inside @ sparse.csr_array(X)).toarray(), inside.sum(axis=1)[:, None]
    else:
        sums, rows = inside @ np.nan_to_num(X), inside @ (~np.isnan(X)).astype(np.float64)
    means = np.divide(sums, rows, out=np.full(sums.shape, np.nan), where=rows > 0) / StandardScaler(with_mean=False).fit(X).scale_
    return np.asarray(np.sqrt(np.nansum((means[:, None] - means[None]) ** 2, axis=2)))


METHODS: dict[str, type[Step]] = {"decoupled": Decoupled}

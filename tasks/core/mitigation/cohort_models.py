"""A model for each cohort, fitted on that cohort's rows alone."""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.utils._param_validation import HasMethods

from tasks.core.encoding import RARE
from tasks.core.errors import DataError
from tasks.core.mitigation.base import Floats, Labels, Step, decision, fitted, positive_score
from tasks.core.mitigation.fitter import Fitter
from tasks.core.mitigation.told_apart import places


class CohortModels(Fitter):
    """One clone of the estimator for each cohort, and one for all rows.

    A row of a cohort that training did not show is answered by the model of all rows. A cohort with fewer than ten rows, or
    of a classifier's one label only, is refused: `decoupled` merges such cohorts, or helps them with others' rows.
    """

    aimed = True
    __metadata_request__fit: ClassVar[dict[str, bool]] = {"groups": True, "sample_weight": True}
    __metadata_request__predict: ClassVar[dict[str, bool]] = {"groups": True}
    __metadata_request__predict_proba: ClassVar[dict[str, bool]] = {"groups": True}
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {"estimator": [HasMethods(["fit", "predict"])]}

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def fit(self, X: Any, y: NDArray[Any], *, groups: Labels, sample_weight: Floats | None = None) -> "CohortModels":
        """Fit a model for each cohort. Raises DataError for a cohort that is too small or has one label only."""
        X, y = self._begin(X, y)
        names = sorted(set(map(str, groups)))
        rows = [*(groups == name for name in names), np.full(len(y), True)]
        for name, mine in zip(names, rows, strict=False):
            if (count := int(mine.sum())) < RARE:
                raise DataError(f"cohort `{name}` has {count} training rows, and a model needs at least {RARE}.", fix=INSTEAD)
            if is_classifier(self.estimator) and len(labels := np.unique(y[mine])) < 2:
                raise DataError(
                    f"cohort `{name}` has {count} training rows, each with label {self.classes_[labels[0]]}, and a classifier needs both.", fix=INSTEAD
                )
        self.groups_ = names
        weights = [{} if sample_weight is None else {"sample_weight": np.asarray(sample_weight)[mine]} for mine in rows]
        self.models_ = [fitted(self.estimator, X[mine], y[mine], **weight) for mine, weight in zip(rows, weights, strict=True)]  # the pooled one last
        return self

    def predict(self, X: Any, *, groups: Labels) -> NDArray[Any]:
        """Each row's answer by its cohort's model."""
        X = self._checked(X)
        return self._in_labels(by_cohort(self.models_, places(groups, self.groups_), X, decision))

    def _score(self, X: Any, *, groups: Labels) -> Floats:  # type: ignore[override]  # what it requests
        return by_cohort(self.models_, places(groups, self.groups_), X, positive_score)

    @property
    def known_groups(self) -> tuple[str, ...]:
        """The cohorts with a model of their own."""
        return tuple(self.groups_)


INSTEAD = "Use `method: decoupled`, which merges such cohorts or helps them with others' rows."


def by_cohort(models: list[Any], place: NDArray[np.intp], X: Any, answer: Any) -> NDArray[Any]:
    """What each row's model answers; shape (n,). `place` is the model of each row, -1 for the last."""
    found: NDArray[Any] | None = None
    for number in np.unique(place):
        mine = place == number
        told = answer(models[number], X[mine])
        found = np.empty(len(place), dtype=told.dtype) if found is None else found
        found[mine] = told
    return np.empty(0) if found is None else found


METHODS: dict[str, type[Step]] = {"cohort_models": CohortModels}

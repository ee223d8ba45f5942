"""A model for each cohort."""

import warnings
from typing import Any

import numpy as np
import pytest
import skops.io
from scipy import sparse
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.utils.estimator_checks import check_estimator

from tasks.core.errors import DataError
from tasks.core.mitigation import cohort_models
from tasks.core.mitigation.base import requested
from tasks.core.mitigation.cohort_models import CohortModels
from tasks.core.mitigation.draws import row_keys


def rows(n: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers, 0/1 labels that two groups give by opposite rules, and the groups."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    groups = rng.choice(["a", "b"], n, p=[0.7, 0.3]).astype(object)
    return X, (X[:, 0] * np.where(groups == "a", 1, -1) + rng.normal(size=n) > 0).astype(int), groups


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
def test_each_cohort_is_answered_by_a_model_of_its_own(form: Any) -> None:
    """Answers and scores in a cohort are those of the estimator fitted on its rows alone, weighted as they are; dense or sparse."""
    X, y, groups = rows()
    weight = np.random.default_rng(1).uniform(0.5, 2, len(y))
    given = form(X)
    for weights in (None, weight):
        model = CohortModels(LogisticRegression()).fit(given, y, groups=groups, sample_weight=weights)
        for group in ("a", "b"):
            mine = groups == group
            alone = LogisticRegression().fit(given[mine], y[mine], None if weights is None else weights[mine])
            np.testing.assert_allclose(model.predict_proba(given, groups=groups)[mine], alone.predict_proba(given[mine]), rtol=1e-12)
            np.testing.assert_array_equal(model.predict(given, groups=groups)[mine], alone.predict(given[mine]))


def test_an_unseen_cohort_is_answered_by_the_model_of_all_rows() -> None:
    """A row of a cohort that training did not show is answered by a model fitted on all rows, beside rows of known ones or alone."""
    X, y, groups = rows()
    model = CohortModels(LogisticRegression()).fit(X, y, groups=groups)
    pooled = LogisticRegression().fit(X, y)
    strange = groups.copy()
    strange[:7] = "c"
    scores = model.predict_proba(X, groups=strange)
    np.testing.assert_allclose(scores[:7], pooled.predict_proba(X[:7]), rtol=1e-12)
    np.testing.assert_array_equal(scores[7:], model.predict_proba(X, groups=groups)[7:])
    np.testing.assert_array_equal(model.predict(X[:7], groups=strange[:7]), pooled.predict(X[:7]))
    assert model.known_groups == ("a", "b")


def test_regression_has_a_model_for_each_too() -> None:
    """A regressor's cohorts are answered by their own least squares; there are no probabilities, and a constant label is fitted."""
    X, _, groups = rows()
    value = X @ [1.0, 2.0, 0.0] * np.where(groups == "a", 1, -3) + 5
    model = CohortModels(LinearRegression()).fit(X, value, groups=groups)
    np.testing.assert_allclose(model.predict(X, groups=groups), value, rtol=1e-9)
    assert model.score(X, value, groups=groups) == pytest.approx(1.0)
    assert not hasattr(model, "predict_proba")
    np.testing.assert_allclose(CohortModels(Ridge()).fit(X, np.full(len(X), 2.0), groups=groups).predict(X, groups=groups), 2.0)


def test_too_small_or_one_sided_cohorts_are_refused() -> None:
    """Nine rows, or one label, are too few for a model: the cohort is named with its rows and with what to do."""
    X, y, groups = rows()
    few = groups.copy()
    few[:9] = "c"
    with pytest.raises(DataError, match=r"cohort `c` has 9 training rows, and a model needs at least 10.*`method: decoupled`"):
        CohortModels(LogisticRegression()).fit(X, y, groups=few)
    count = int((groups == "b").sum())
    with pytest.raises(DataError, match=rf"cohort `b` has {count} training rows, each with label 1, and a classifier needs both.*`method: decoupled`"):
        CohortModels(LogisticRegression()).fit(X, np.where(groups == "b", 1, y), groups=groups)
    with pytest.raises(DataError, match="every training label is 0"):
        CohortModels(LogisticRegression()).fit(X, np.zeros(len(y), dtype=int), groups=groups)
    few[:10] = "c"
    y[:2] = [0, 1]
    assert CohortModels(LogisticRegression()).fit(X, y, groups=few).known_groups == ("a", "b", "c")


def test_it_keeps_scikit_learns_contract() -> None:
    """Parameters come back, clones are unfitted and alike, inputs stay as they were, fits repeat, and it asks for groups."""
    X, y, groups = rows()
    step = CohortModels(RandomForestClassifier(5, random_state=0))
    assert requested(step, "fit") == {"groups", "sample_weight"}
    assert requested(step, "predict") == requested(step, "predict_proba") == {"groups"}
    with pytest.raises(NotFittedError):
        step.predict(X, groups=groups)
    before = [part.copy() for part in (X, y, groups)]
    answers = step.fit(X, y, groups=groups).predict_proba(X, groups=groups)
    for part, copy in zip((X, y, groups), before, strict=True):
        np.testing.assert_array_equal(part, copy)
    for again in (step.fit(X, y, groups=groups), clone(step).fit(X, y, groups=groups)):
        np.testing.assert_array_equal(again.predict_proba(X, groups=groups), answers)
    with pytest.raises(NotFittedError):
        clone(step).predict_proba(X, groups=groups)
    assert step.set_params(estimator__n_estimators=3).estimator.n_estimators == 3
    with pytest.raises(ValueError, match="2 features"):
        step.predict(X[:, :2], groups=groups)


def test_it_saves_and_loads_bit_for_bit() -> None:
    """The file asks for no type but the step's own, and the loaded step answers the same bytes."""
    X, y, groups = rows()
    step = CohortModels(LogisticRegression()).fit(X, y, groups=groups)
    data = skops.io.dumps(step)
    trusted = skops.io.get_untrusted_types(data=data)
    assert trusted == ["tasks.core.mitigation.cohort_models.CohortModels"]
    again = skops.io.loads(data, trusted=trusted)
    assert again.predict_proba(X, groups=groups).tobytes() == step.predict_proba(X, groups=groups).tobytes()
    assert again.known_groups == step.known_groups


class Grouped(CohortModels):
    """With groups of its own making, for scikit-learn's checks give none."""

    def fit(self, X, y, sample_weight=None):  # type: ignore[no-untyped-def,override]
        return super().fit(X, y, groups=made_up(X), sample_weight=sample_weight)

    def predict(self, X):  # type: ignore[no-untyped-def,override]
        return super().predict(X, groups=made_up(X))


def made_up(X: Any) -> np.ndarray:
    """A group for each row by its own values; one for what is no matrix, which the step is to refuse."""
    try:
        return np.where(row_keys(np.asarray(X.toarray() if hasattr(X, "toarray") else X, dtype=float).T) & np.uint64(1), "a", "b").astype(object)
    except (TypeError, ValueError):
        return np.array(["a"], dtype=object)


def test_scikit_learns_estimator_checks_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of scikit-learn's checks pass for a regressor, whose cohorts may be of any size here; one gives weights of a wrong shape."""
    monkeypatch.setattr(cohort_models, "RARE", 1)
    reason = {"check_sample_weights_shape": "it hands out sample weights by cohort before the estimator looks at their shape"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(Grouped(Ridge()), expected_failed_checks=reason, on_skip=None, on_fail=None)
    assert [(result["check_name"], result["exception"]) for result in results if result["status"] == "failed"] == []

"""Backward compatible retraining."""

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from scipy import sparse
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.utils.estimator_checks import check_estimator

from tasks.core.errors import CaseError
from tasks.core.mitigation.backward import BackwardCompatible
from tasks.core.mitigation.base import requested
from tasks.core.mitigation.draws import row_keys

PENALTIES = ("new_error", "strict_imitation")


def rows(n: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers, labels, and the answers and probabilities of a previous model that read one of the numbers only."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4))
    y = (X @ [1.0, 1.0, -0.8, 0.0] + rng.normal(size=n) > 0.3).astype(int)
    old = LogisticRegression().fit(X[:80, :1], y[:80])
    return X, y, np.column_stack([old.predict(X[:, :1]), old.predict_proba(X[:, :1])[:, 1]])


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize(
    "estimator", [LogisticRegression(), GaussianNB(), RandomForestClassifier(20, random_state=0), HistGradientBoostingClassifier(max_iter=10)]
)
def test_strength_0_is_plain_fitting(penalty: str, estimator: Any) -> None:
    """Without a penalty the scores are those of the estimator fitted as ever."""
    X, y, previous = rows()
    model = BackwardCompatible(estimator, penalty, 0.0).fit(X, y, previous=previous)
    np.testing.assert_allclose(model.predict_proba(X), clone(estimator).fit(X, y).predict_proba(X), rtol=1e-9)


@pytest.mark.parametrize("estimator", [LogisticRegression(), RandomForestClassifier(20, random_state=0)])
def test_new_error_weighs_rows_that_the_previous_model_told_rightly(estimator: Any) -> None:
    """A row told rightly weighs 1 + strength times what it weighed, any other what it weighed."""
    X, y, previous = rows()
    given = np.random.default_rng(1).uniform(0.5, 2, len(y))
    for weight in (None, given):
        model = BackwardCompatible(estimator, "new_error", 2.5).fit(X, y, previous=previous, sample_weight=weight)
        by_hand = np.ones(len(y)) if weight is None else weight.copy()
        for row in range(len(y)):
            by_hand[row] *= 3.5 if previous[row, 0] == y[row] else 1.0
        np.testing.assert_allclose(model.predict_proba(X), clone(estimator).fit(X, y, by_hand).predict_proba(X), rtol=1e-12)


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
def test_strict_imitation_is_a_table_with_the_old_confidence(form: Any) -> None:
    """Beside every row stand, for each told rightly, one with label 1 and one with label 0, weighed by the old probabilities."""
    X, y, previous = rows()
    given = np.random.default_rng(1).uniform(0.5, 2, len(y))
    table = pd.DataFrame(X).assign(y=y, weight=given)
    right = previous[:, 0] == y
    extra = [
        table[right].assign(y=label, weight=given[right] * 1.5 * probability) for label, probability in ((1, previous[right, 1]), (0, 1 - previous[right, 1]))
    ]
    whole = pd.concat([table, *extra])
    reference = LogisticRegression(tol=1e-8, max_iter=1000).fit(form(whole[[0, 1, 2, 3]].to_numpy()), whole["y"], whole["weight"])
    model = BackwardCompatible(LogisticRegression(tol=1e-8, max_iter=1000), "strict_imitation", 1.5).fit(form(X), y, previous=previous, sample_weight=given)
    np.testing.assert_allclose(model.predict_proba(form(X)), reference.predict_proba(form(X)), atol=1e-6)


def test_strict_imitation_minimises_the_loss_it_states() -> None:
    """With the log loss, the fitted coefficients are where loss(y, h2) + strength [h1 = y] cross-entropy(h1, h2) has no slope."""
    X, y, previous = rows()
    strength, C = 2.0, 1e6
    model = BackwardCompatible(LogisticRegression(C=C, tol=1e-10, max_iter=5000), "strict_imitation", strength).fit(X, y, previous=previous)
    p, right = model.predict_proba(X)[:, 1], previous[:, 0] == y
    slope = (p - y) + strength * right * (p - previous[:, 1])  # of each row's loss in the log-odds
    np.testing.assert_allclose(np.column_stack([np.ones(len(y)), X]).T @ slope, 0.0, atol=1e-3)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_btc_rises_with_strength(penalty: str) -> None:
    """On data like a census, the share of rows told rightly before that stay right rises with the strength, within noise, over seeds."""
    strengths = (0.0, 0.5, 2.0, 8.0, 32.0)
    curves = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        X = np.column_stack([rng.normal(size=(3000, 3)), rng.integers(0, 2, size=(3000, 4))]).astype(float)
        signal = X @ [1.2, 0.8, 0.5, 1.0, -0.7, 0.3, 0.0] + 0.8 * X[:, 0] * X[:, 3]
        y = (signal + rng.logistic(size=3000) > 1.6).astype(int)
        fit, held = slice(0, 1500), slice(1500, None)
        old = LogisticRegression().fit(X[:120, 2:], y[:120])  # fewer rows, fewer columns
        told = np.column_stack([old.predict(X[:, 2:]), old.predict_proba(X[:, 2:])[:, 1]])
        right = told[held, 0] == y[held]
        curve = []
        for strength in strengths:
            model = BackwardCompatible(LogisticRegression(), penalty, strength).fit(X[fit], y[fit], previous=told[fit])
            curve.append(float(np.mean((model.predict(X[held]) == y[held])[right])))
        curves.append(curve)
        assert curve[-1] > curve[0] - 0.005
        assert min(np.diff(curve)) > -0.02
    mean = np.mean(curves, axis=0)
    assert (np.diff(mean) > -0.005).all()
    assert mean[-1] > mean[0] + 0.01


def test_what_cannot_be_is_refused() -> None:
    """An estimator without sample weights is named with what to do; a regressor's labels and missing probabilities are no classifier's."""
    X, y, previous = rows()
    with pytest.raises(CaseError, match=r"works through sample weights, and KNeighborsClassifier takes none.*another estimator"):
        BackwardCompatible(KNeighborsClassifier()).fit(X, y, previous=previous)
    with pytest.raises(TypeError, match="previous"):
        BackwardCompatible(LogisticRegression()).fit(X, y)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="NaN"):
        BackwardCompatible(LogisticRegression(), "strict_imitation").fit(X, y, previous=np.column_stack([y, np.full(len(y), np.nan)]))
    assert requested(BackwardCompatible(LogisticRegression()), "fit") == {"previous", "sample_weight"}
    assert requested(BackwardCompatible(LogisticRegression()), "predict") == set()
    assert BackwardCompatible.tasks == ("binary",)


@pytest.mark.parametrize("previously", [0, 1], ids=["all wrong", "all right"])
@pytest.mark.parametrize("penalty", PENALTIES)
def test_a_previous_model_that_is_always_right_or_never(penalty: str, previously: int) -> None:
    """Where it was never right nothing is kept, and that is plain fitting; where always, every row counts alike."""
    X, y, _ = rows()
    told = y if previously else 1 - y
    model = BackwardCompatible(LogisticRegression(), penalty, 3.0).fit(X, y, previous=np.column_stack([told, told]).astype(float))
    plain = LogisticRegression(C=4.0 if previously else 1.0).fit(X, y)  # four times each row's weight is a fourth of the penalty on coefficients
    np.testing.assert_allclose(model.predict_proba(X), plain.predict_proba(X), atol=1e-4)


def test_it_keeps_scikit_learns_contract_and_saves() -> None:
    """Unfitted it says so; inputs stay as they were; fits repeat; a file loads bit for bit and asks for no type but the step's own."""
    X, y, previous = rows()
    step = BackwardCompatible(LogisticRegression(), "strict_imitation", 2.0)
    assert repr(clone(step)) == repr(step)
    for unfitted in (step.predict, step.predict_proba):
        with pytest.raises(NotFittedError):
            unfitted(X)
    before = [part.copy() for part in (X, y, previous)]
    answers = step.fit(X, y, previous=previous).predict_proba(X)
    for part, copy in zip((X, y, previous), before, strict=True):
        np.testing.assert_array_equal(part, copy)
    np.testing.assert_array_equal(clone(step).fit(X, y, previous=previous).predict_proba(X), answers)
    data = skops.io.dumps(step)
    trusted = skops.io.get_untrusted_types(data=data)
    assert trusted == ["tasks.core.mitigation.backward.BackwardCompatible"]
    assert skops.io.loads(data, trusted=trusted).predict_proba(X).tobytes() == answers.tobytes()


class Made(BackwardCompatible):
    """With previous answers of its own making, for scikit-learn's checks give none."""

    def fit(self, X, y, sample_weight=None):  # type: ignore[no-untyped-def,override]
        try:
            told = (row_keys(np.asarray(X.toarray() if hasattr(X, "toarray") else X, dtype=float).T) & np.uint64(1)).astype(float)
        except (TypeError, ValueError):  # what is no matrix is for the step to refuse
            told = np.zeros(1)
        return super().fit(X, y, previous=np.column_stack([told, 0.25 + told / 2]), sample_weight=sample_weight)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_scikit_learns_estimator_checks_pass(penalty: str) -> None:
    """All of scikit-learn's checks pass but two, which fit one class and want a ValueError where DataError says it in our words."""
    fails = {"check_fit2d_1sample": "one row is one class", "check_classifiers_one_label": "one class is refused by DataError, which is no ValueError"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(Made(LogisticRegression(), penalty), expected_failed_checks=fails, on_skip=None, on_fail=None)
    assert [(result["check_name"], result["exception"]) for result in results if result["status"] == "failed"] == []
    assert {result["check_name"] for result in results if result["status"] == "xfail"} == set(fails)

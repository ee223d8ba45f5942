"""Decoupled models, and the help for cohorts that are too small for one of their own."""

import warnings
from typing import Any

import numpy as np
import pytest
import skops.io
from scipy import sparse
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.metrics import log_loss, mean_squared_error
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.utils.estimator_checks import check_estimator

from tasks.core.errors import CaseError
from tasks.core.mitigation.base import requested
from tasks.core.mitigation.decoupled import SHARES, Decoupled
from tasks.core.mitigation.draws import row_keys

SIZES = {"a": 300, "b": 300, "c": 40, "d": 12}
CENTRES = {"a": (0.0, 0.0), "b": (6.0, 0.0), "c": (4.5, 1.0), "d": (0.5, -1.0)}
"""c lies nearest to b and d to a, in standard deviations over all rows as well as in the plane."""


def rows(slopes: dict[str, float], sizes: dict[str, int] | None = None, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Two columns that place the cohorts and a third that tells the label, with each cohort's slope; 0/1 labels, numbers, and cohorts."""
    rng = np.random.default_rng(seed)
    sizes = sizes or SIZES
    groups = np.concatenate([np.full(count, name, dtype=object) for name, count in sizes.items()])
    order = rng.permutation(len(groups))
    groups = groups[order]
    X = np.column_stack([np.array([CENTRES[group] for group in groups]) + rng.normal(scale=0.5, size=(len(groups), 2)), rng.normal(size=len(groups))])
    value = np.array([slopes[group] for group in groups]) * X[:, 2]
    return X, (value + rng.logistic(scale=0.5, size=len(groups)) > 0).astype(int), value + rng.normal(scale=0.3, size=len(groups)), groups


ALIKE, OPPOSITE = dict.fromkeys(SIZES, 3.0), {"a": 3.0, "b": 3.0, "c": -3.0, "d": 3.0}
ONE = LogisticRegression()


@pytest.mark.parametrize("small", ["transfer", "merge"])
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
def test_a_large_cohort_has_its_own_model(small: str, form: Any) -> None:
    """Where every cohort is large enough, each is answered as by the estimator fitted on its rows alone, weighted or not."""
    X, y, _, groups = rows(OPPOSITE, {"a": 250, "b": 250})
    given = form(X)
    for weight in (None, np.random.default_rng(1).uniform(0.5, 2, len(y))):
        model = Decoupled(ONE, small=small).fit(given, y, groups=groups, sample_weight=weight)
        assert model.merged_ == {}
        assert model.shares_ == {}
        for group in ("a", "b"):
            mine = groups == group
            alone = clone(ONE).fit(given[mine], y[mine], None if weight is None else weight[mine])
            np.testing.assert_allclose(model.predict_proba(given, groups=groups)[mine], alone.predict_proba(given[mine]), rtol=1e-12)
            np.testing.assert_array_equal(model.predict(given, groups=groups)[mine], alone.predict(given[mine]))


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
def test_small_cohorts_merge_with_the_nearest_large_one(form: Any) -> None:
    """With `merge` a small cohort joins the large one whose mean is nearest, and one model fitted on both serves both."""
    X, y, _, groups = rows(ALIKE)
    given = form(X)
    model = Decoupled(ONE, small="merge").fit(given, y, groups=groups)
    assert model.merged_ == {"c": "b", "d": "a"}
    assert model.shares_ == {}
    assert set(model.known_groups) == set(SIZES)
    for both in (["b", "c"], ["a", "d"]):
        mine = np.isin(groups, both)
        together = clone(ONE).fit(given[mine], y[mine])
        np.testing.assert_allclose(model.predict_proba(given, groups=groups)[mine], together.predict_proba(given[mine]), rtol=1e-12)


def test_nearness_is_in_standard_deviations() -> None:
    """A column in small units counts as much as one in large units: c is merged by the column that tells the cohorts apart in their spread."""
    rng = np.random.default_rng(0)
    groups = np.repeat(["a", "b", "c"], [250, 250, 20]).astype(object)
    grams = {"a": 0.0, "b": 1000.0, "c": 400.0}  # 0.8 and 1.2 standard deviations from c
    shares = {"a": 0.0, "b": 0.001, "c": 0.001}  # 2.0 and 0.0
    X = np.array([[grams[group], shares[group]] for group in groups]) + rng.normal(size=(520, 2)) * [1.0, 1e-6]
    y = rng.integers(0, 2, 520)
    assert Decoupled(ONE, small="merge").fit(X, y, groups=groups).merged_ == {"c": "b"}


def test_a_small_cohort_like_its_neighbours_learns_from_them_fully() -> None:
    """Where others' rows follow the same rule, they are given (nearly) full weight, and the cohort is told better than by its own rows."""
    X, y, _, groups = rows(ALIKE)
    model = Decoupled(ONE).fit(X, y, groups=groups)
    assert model.shares_["c"] >= 0.5
    assert model.merged_ == ({} if min((y[groups == "d"] == label).sum() for label in (0, 1)) >= 5 else {"d": "a"})
    new, labels, _, theirs = rows(ALIKE, {"c": 2000}, seed=1)
    own = clone(ONE).fit(X[groups == "c"], y[groups == "c"])
    assert log_loss(labels, model.predict_proba(new, groups=theirs)) < log_loss(labels, own.predict_proba(new))


def test_a_small_cohort_with_the_opposite_rule_learns_nothing_from_others() -> None:
    """Where others' rows follow the opposite rule, their weight is 0, and the model is that of the cohort's rows alone."""
    X, y, value, groups = rows(OPPOSITE)
    model = Decoupled(ONE).fit(X, y, groups=groups)
    assert model.shares_["c"] == 0.0
    mine = groups == "c"
    np.testing.assert_allclose(model.predict_proba(X, groups=groups)[mine], clone(ONE).fit(X[mine], y[mine]).predict_proba(X[mine]), rtol=1e-12)
    numbers = Decoupled(LinearRegression()).fit(X, value, groups=groups)
    assert numbers.shares_["c"] == 0.0
    np.testing.assert_allclose(numbers.predict(X, groups=groups)[mine], LinearRegression().fit(X[mine], value[mine]).predict(X[mine]), rtol=1e-9)


def test_regression_learns_from_those_alike() -> None:
    """The squared error chooses as the log loss does: rows of others that follow the same rule count (nearly) fully."""
    X, _, value, groups = rows(ALIKE)
    model = Decoupled(LinearRegression()).fit(X, value, groups=groups)
    assert model.shares_["c"] >= 0.5
    assert set(model.shares_) == {"c", "d"}
    assert not hasattr(model, "predict_proba")
    merged = Decoupled(LinearRegression(), small="merge").fit(X, value, groups=groups)
    assert merged.merged_ == {"c": "b", "d": "a"}
    mine = np.isin(groups, ["b", "c"])
    np.testing.assert_allclose(merged.predict(X, groups=groups)[mine], LinearRegression().fit(X[mine], value[mine]).predict(X[mine]), rtol=1e-9)


@pytest.mark.parametrize("slopes", [ALIKE, OPPOSITE, {**ALIKE, "c": 0.5}])
@pytest.mark.parametrize("task", ["binary", "regression"])
def test_the_share_is_the_one_that_cross_validation_prefers(slopes: dict[str, float], task: str) -> None:
    """Worked out by hand: of six weights for the rows of the nearer half of the others, the one with the least loss on held-out rows."""
    X, y, value, groups = rows(slopes)
    target, estimator = (y, LogisticRegression()) if task == "binary" else (value, Ridge())
    model = Decoupled(estimator, seed=4, folds=3).fit(X, target, groups=groups)
    own = np.flatnonzero(groups == "c")
    others = np.flatnonzero(np.isin(groups, ["b", "a"]))  # the nearer two of three, as the crow flies
    losses = []
    for share in (0.0, 0.05, 0.1, 0.25, 0.5, 1.0):
        total = 0.0
        splitter = StratifiedKFold(3, shuffle=True, random_state=4) if task == "binary" else KFold(3, shuffle=True, random_state=4)
        for train, test in splitter.split(own, target[own]):
            used = np.concatenate([own[train], others])
            fit = clone(estimator).fit(X[used], target[used], np.concatenate([np.ones(len(train)), np.full(len(others), share)]))
            answers, held = fit.predict_proba(X[own[test]]) if task == "binary" else fit.predict(X[own[test]]), target[own[test]]
            total += (log_loss(held, answers, labels=[0, 1]) if task == "binary" else mean_squared_error(held, answers)) * len(test)
        losses.append(total)
    best = SHARES[int(np.argmin(losses))]
    assert model.shares_["c"] == best
    used = np.concatenate([own, others])
    expected = clone(estimator).fit(X[used], target[used], np.concatenate([np.ones(len(own)), np.full(len(others), best)]))
    np.testing.assert_allclose(model.predict(X[own], groups=groups[own]), expected.predict(X[own]), rtol=1e-6)


def test_a_cohort_that_cannot_be_folded_is_merged() -> None:
    """Fewer rows of a label than folds, or fewer than ten rows, are too few for a model of its own even with others' help."""
    X, y, value, groups = rows(ALIKE)
    y = np.where((groups == "c") & (np.cumsum((groups == "c") & (y == 1)) > 4), 0, y)  # four rows of c with label 1
    assert Decoupled(ONE).fit(X, y, groups=groups).merged_["c"] == "b"
    assert "c" in Decoupled(ONE, folds=4).fit(X, y, groups=groups).shares_
    groups[np.flatnonzero(groups == "d")[:3]] = "a"
    assert (groups == "d").sum() == 9
    assert Decoupled(LinearRegression(), folds=2).fit(X, value, groups=groups).merged_["d"] == "a"


@pytest.mark.parametrize("small", ["transfer", "merge"])
def test_without_a_large_cohort_one_model_serves_all(small: str) -> None:
    """Where no cohort has enough rows, or enough of both labels, everyone is answered by one model, and no cohort counts as unseen."""
    X, y, _, groups = rows(OPPOSITE)
    pooled = clone(ONE).fit(X, y).predict_proba(X)
    for params in ({"min_rows": 301}, {"min_class": 200}):
        model = Decoupled(ONE, small=small, **params).fit(X, y, groups=groups)
        np.testing.assert_allclose(model.predict_proba(X, groups=groups), pooled, rtol=1e-12)
        assert model.known_groups == ("a", "b", "c", "d")
        assert model.merged_ == model.shares_ == {}


def test_an_unseen_cohort_is_answered_by_the_model_of_all_rows() -> None:
    """A row of a cohort that training did not show is answered by a model fitted on all rows."""
    X, y, _, groups = rows(OPPOSITE)
    model = Decoupled(ONE).fit(X, y, groups=groups)
    strange = np.full(5, "e", dtype=object)
    np.testing.assert_allclose(model.predict_proba(X[:5], groups=strange), clone(ONE).fit(X, y).predict_proba(X[:5]), rtol=1e-12)


def test_enough_rows_are_counted_with_their_labels() -> None:
    """A cohort needs `min_rows` rows and, for a classifier, `min_class` of each label."""
    X, y, value, groups = rows(ALIKE)
    y = np.where((groups == "b") & (np.cumsum((groups == "b") & (y == 1)) > 19), 0, y)
    assert "b" in Decoupled(ONE, folds=2).fit(X, y, groups=groups).shares_
    assert "b" not in Decoupled(ONE, folds=2, min_class=19).fit(X, y, groups=groups).shares_
    assert "c" not in Decoupled(ONE, folds=2, min_rows=40, min_class=1).fit(X, y, groups=groups).shares_
    assert "c" in Decoupled(ONE, folds=2, min_rows=41, min_class=1).fit(X, y, groups=groups).shares_
    assert "b" not in Decoupled(Ridge()).fit(X, value, groups=groups).shares_


def test_gaps_are_passed_over() -> None:
    """Missing numbers, which boosting takes, do not keep a cohort from its nearest; nor does a column that one cohort lacks altogether."""
    X, y, value, groups = rows(ALIKE)
    X[::7, 0] = np.nan
    X[groups == "c", 2] = np.nan
    for estimator, target in ((HistGradientBoostingClassifier(max_iter=3), y), (HistGradientBoostingRegressor(max_iter=3), value)):
        assert Decoupled(estimator, small="merge").fit(X, target, groups=groups).merged_ == {"c": "b", "d": "a"}


def test_only_transfer_needs_weights() -> None:
    """An estimator without sample weights can be merged, and is refused with what to do where rows are to be weighed."""
    X, y, _, groups = rows(ALIKE)
    assert Decoupled(KNeighborsClassifier(), small="merge").fit(X, y, groups=groups).merged_ == {"c": "b", "d": "a"}
    with pytest.raises(CaseError, match=r"works through sample weights, and KNeighborsClassifier takes none.*another estimator"):
        Decoupled(KNeighborsClassifier()).fit(X, y, groups=groups)


def test_it_keeps_scikit_learns_contract_and_saves() -> None:
    """Unfitted it says so; the same seed fits the same; inputs stay as they were; a file loads bit for bit and asks for no other type."""
    X, y, _, groups = rows({**ALIKE, "c": 0.5})
    step = Decoupled(ONE, seed=2)
    assert repr(clone(step)) == repr(step)
    assert set(step._parameter_constraints) == set(step.get_params(deep=False))
    assert requested(step, "fit") == {"groups", "sample_weight"}
    assert requested(step, "predict") == requested(step, "predict_proba") == {"groups"}
    for unfitted in (step.predict, step.predict_proba):
        with pytest.raises(NotFittedError):
            unfitted(X, groups=groups)
    before = [part.copy() for part in (X, y, groups)]
    answers = step.fit(X, y, groups=groups).predict_proba(X, groups=groups)
    for part, copy in zip((X, y, groups), before, strict=True):
        np.testing.assert_array_equal(part, copy)
    for again in (step.fit(X, y, groups=groups), clone(step).fit(X, y, groups=groups)):
        np.testing.assert_array_equal(again.predict_proba(X, groups=groups), answers)
    data = skops.io.dumps(step)
    trusted = skops.io.get_untrusted_types(data=data)
    assert trusted == ["tasks.core.mitigation.decoupled.Decoupled"]
    assert skops.io.loads(data, trusted=trusted).predict_proba(X, groups=groups).tobytes() == answers.tobytes()


class Grouped(Decoupled):
    """With groups of its own making, for scikit-learn's checks give none."""

    def fit(self, X, y, sample_weight=None):  # type: ignore[no-untyped-def,override]
        return super().fit(X, y, groups=made_up(X), sample_weight=sample_weight)

    def predict(self, X):  # type: ignore[no-untyped-def,override]
        return super().predict(X, groups=made_up(X))


class GroupedClassifier(Grouped):
    """The same with probabilities."""

    def predict_proba(self, X):  # type: ignore[no-untyped-def,override]
        return super().predict_proba(X, groups=made_up(X))


def made_up(X: Any) -> np.ndarray:
    """A group for each row by its own values; one for what is no matrix, which the step is to refuse."""
    try:
        return np.where(row_keys(np.asarray(X.toarray() if hasattr(X, "toarray") else X, dtype=float).T) & np.uint64(1), "a", "b").astype(object)
    except (TypeError, ValueError):
        return np.array(["a"], dtype=object)


ONE_CLASS = {"check_fit2d_1sample": "one row is one class", "check_classifiers_one_label": "one class is refused by DataError, which is no ValueError"}


@pytest.mark.parametrize(
    ("step", "fails"),
    [
        (GroupedClassifier(LogisticRegression(), min_rows=10, min_class=2, folds=2), ONE_CLASS),
        (Grouped(Ridge(), min_rows=10, small="merge"), {}),
    ],
    ids=["classifier", "regressor"],
)
def test_scikit_learns_estimator_checks_pass(step: Any, fails: dict[str, str]) -> None:
    """All of scikit-learn's checks pass but those listed, each for its reason."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(step, expected_failed_checks=fails, on_skip=None, on_fail=None)
    assert [(result["check_name"], result["exception"]) for result in results if result["status"] == "failed"] == []
    assert {result["check_name"] for result in results if result["status"] == "xfail"} == set(fails)

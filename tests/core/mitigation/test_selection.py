"""Selection of features by a small model, and removal of correlated ones."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestRegressor
from sklearn.exceptions import NotFittedError
from sklearn.feature_selection import RFE, RFECV, SequentialFeatureSelector
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.utils.estimator_checks import parametrize_with_checks

from tasks.core.errors import CaseError, DataError
from tasks.core.mitigation.correlated import CorrelatedFeatures, correlation_ratio, cramers_v, strengths
from tasks.core.mitigation.selection import METHODS, RecursiveSelector, SequentialSelector


def make_matrix(n: int = 300, width: int = 6, binary: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Columns of which the first three tell the label, the first most."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, width))
    value = X[:, 0] * 3 + X[:, 1] * 2 - X[:, 2] + rng.normal(0, 0.5, n)
    return X, (value > 0).astype(np.int64) if binary else value


PEERS: list[tuple[str, dict[str, Any], bool, Any]] = [
    ("sequential_selector", {}, True, SequentialFeatureSelector(LogisticRegression(solver="newton-cholesky"))),
    ("sequential_selector", {"tol": 0.01, "direction": "forward", "cv": 3}, False, SequentialFeatureSelector(Ridge(), tol=0.01, cv=3)),
    (
        "sequential_selector",
        {"estimator": "hist_gradient_boosting", "n_features_to_select": 1, "cv": 2, "scoring": "roc_auc"},
        True,
        SequentialFeatureSelector(
            HistGradientBoostingClassifier(max_iter=30, max_leaf_nodes=8, random_state=0), n_features_to_select=1, cv=2, scoring="roc_auc"
        ),
    ),
    ("recursive_selector", {"n_features_to_select": 2}, True, RFE(LogisticRegression(solver="newton-cholesky"), n_features_to_select=2)),
    (
        "recursive_selector",
        {"estimator": "random_forest", "step": 0.3},
        False,
        RFE(RandomForestRegressor(n_estimators=50, min_samples_leaf=5, max_features="sqrt", random_state=0), step=0.3),
    ),
    ("recursive_selector", {"cv": 3, "min_features_to_select": 2}, False, RFECV(Ridge(), cv=3, min_features_to_select=2)),
]


@pytest.mark.parametrize(("method", "params", "binary", "peer"), PEERS, ids=[f"{method}-{'-'.join(params)}" for method, params, *_ in PEERS])
def test_the_columns_that_stay_are_scikit_learn_s(method: str, params: dict[str, Any], binary: bool, peer: Any) -> None:
    """With the same small model the same columns stay: a classifier for 0/1 labels, a regressor for numbers."""
    X, y = make_matrix(binary=binary)
    step = METHODS[method]((), 0, params).fit(X, y)
    np.testing.assert_array_equal(step.support_, peer.fit(X, y).support_)
    np.testing.assert_array_equal(step.transform(X), X[:, step.support_])
    assert step.support_[0]
    assert 0 < step.support_.sum() < 6


@pytest.mark.parametrize("method", ["sequential_selector", "recursive_selector"])
def test_a_selector_keeps_a_mask_and_nothing_of_its_model(method: str) -> None:
    """Saved and loaded it keeps the same columns; the mask and the number of columns are all it has learned."""
    X, y = make_matrix()
    step = METHODS[method]((), 0, {}).fit(X, y)
    assert {name for name in vars(step) if name.endswith("_")} == {"support_", "n_features_in_"}
    dumped = skops.io.dumps(step)
    again = skops.io.loads(dumped, trusted=[f"tasks.core.mitigation.selection.{type(step).__name__}"])
    np.testing.assert_array_equal(again.transform(X), step.transform(X))


@parametrize_with_checks(
    [RecursiveSelector(), SequentialSelector(cv=2)],
    expected_failed_checks=lambda _: {"check_fit2d_1sample": "one row has one label; the error is a DataError that says so"},
)
def test_a_selector_keeps_scikit_learn_s_contract(estimator: Any, check: Any) -> None:
    """Each of scikit-learn's own checks of a transformer passes."""
    check(estimator)


def test_what_a_selector_cannot_do_is_said() -> None:
    """One label, fewer rows of a label than folds, more columns than there are, and parameters at odds: each is named, with a way out."""
    X, y = make_matrix()
    with pytest.raises(DataError, match=r"every label is 1.*bring rows of both classes"):
        SequentialSelector().fit(X, np.ones_like(y))
    with pytest.raises(DataError, match=r"label 1 has 3 rows, for 5 folds\. Lower `params.cv` to at most 3"):
        SequentialSelector().fit(X, (np.arange(len(y)) < 3).astype(int))
    with pytest.raises(DataError, match=r"`params.n_features_to_select` is 6, and the matrix has 6 columns\. Lower it to at most 5"):
        RecursiveSelector(n_features_to_select=6).fit(X, y)
    with pytest.raises(CaseError, match=r"`cv` chooses the number.*Remove one"):
        RecursiveSelector(n_features_to_select=2, cv=3).fit(X, y)
    with pytest.raises(CaseError, match=r"Give a `tol` above 0"):
        SequentialSelector(tol=-0.1).fit(X, y)
    with pytest.raises(CaseError, match=r"'estimator' parameter of RecursiveSelector must be a str among"):
        METHODS["recursive_selector"]((), 0, {"estimator": "hist_gradient_boosting"})
    with pytest.raises(CaseError, match=r"takes no `columns`"):
        METHODS["sequential_selector"](("age",), 0, {})
    with pytest.raises(CaseError, match=r"has no parameter `direct`\. Did you mean `direction`"):
        METHODS["sequential_selector"]((), 0, {"direct": "forward"})


def make_frame(n: int = 500) -> pd.DataFrame:
    """Numbers a, b (b follows a), text c, d (d follows c), and numbers e that follow c."""
    rng = np.random.default_rng(1)
    a, c = rng.normal(size=n), rng.choice(["x", "y", "z"], n)
    return pd.DataFrame(
        {
            "a": a,
            "b": np.exp(a) + rng.normal(0, 0.05, n),
            "c": pd.Series(c, dtype="str"),
            "d": pd.Series(np.where(rng.random(n) < 0.95, np.char.upper(c), "X"), dtype="str"),
            "e": np.searchsorted(["x", "y", "z"], c) * 2.0 + rng.normal(0, 0.3, n),
            "f": rng.normal(size=n),
        }
    )


def coded(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """The frame as `strengths` reads it."""
    return {name: pd.factorize(frame[name])[0] if frame[name].dtype != np.float64 else frame[name].to_numpy() for name in frame}


def test_two_columns_of_numbers_are_compared_by_spearman() -> None:
    """The strength is scipy's absolute rank correlation, over the rows where both have a value."""
    frame = make_frame()
    frame["b"] = -frame["b"]
    frame.loc[:50, "a"] = np.nan
    found = {(pair.first, pair.second): pair for pair in strengths(coded(frame))}
    expected = stats.spearmanr(frame["a"], frame["b"], nan_policy="omit").statistic
    assert found["a", "b"].measure == "spearman"
    np.testing.assert_allclose(found["a", "b"].strength, -expected, rtol=1e-12)


def test_two_columns_of_text_are_compared_by_cramers_v() -> None:
    """Bergsma's correction, worked from scipy's chi-squared: what it takes off is what chance alone would give."""
    frame = make_frame()
    chi2 = stats.chi2_contingency(pd.crosstab(frame["c"], frame["d"]), correction=False).statistic
    n, r, k = len(frame), 3, 3
    phi2 = max(0.0, chi2 / n - (r - 1) * (k - 1) / (n - 1))
    expected = np.sqrt(phi2 / min(r - (r - 1) ** 2 / (n - 1) - 1, k - (k - 1) ** 2 / (n - 1) - 1))
    columns = coded(frame)
    np.testing.assert_allclose(cramers_v(columns["c"], columns["d"]), expected, rtol=1e-12)
    uncorrected = stats.contingency.association(pd.crosstab(frame["c"], frame["d"]), method="cramer")
    assert abs(cramers_v(columns["c"], columns["d"]) - uncorrected) < 0.01
    rng = np.random.default_rng(3)
    chance = [cramers_v(rng.integers(0, 10, 200), rng.integers(0, 10, 200)) for _ in range(50)]
    assert np.mean(chance) < 0.06  # uncorrected: about .21


def test_numbers_and_text_are_compared_by_the_correlation_ratio() -> None:
    """Its square is the share of variance between categories, as the F statistic of an analysis of variance has it."""
    frame = make_frame()
    eta = correlation_ratio(frame["e"].to_numpy(), pd.factorize(frame["c"])[0])
    f = stats.f_oneway(*(part["e"] for _, part in frame.groupby("c"))).statistic
    np.testing.assert_allclose(eta**2, f * 2 / (f * 2 + len(frame) - 3), rtol=1e-12)


def test_one_of_two_is_left_out_and_the_reason_kept() -> None:
    """Each dropped column names the column that stays in its stead, the measure, its strength and the limit; the rest is left as it was."""
    frame = make_frame()
    step = CorrelatedFeatures().fit(frame)
    assert step.kept_ == ["a", "c", "f"]
    assert {name: (why["because"], why["measure"], why["limit"]) for name, why in step.dropped_.items()} == {
        "b": ("a", "spearman", 0.85),
        "d": ("c", "cramers_v", 0.85),
        "e": ("c", "eta", 0.85),
    }
    np.testing.assert_allclose(step.dropped_["b"]["strength"], stats.spearmanr(frame["a"], frame["b"]).statistic)
    pd.testing.assert_frame_equal(step.transform(frame), frame[["a", "c", "f"]])
    assert CorrelatedFeatures(spearman=1.0, cramers_v=1.0, eta=1.0).fit(frame).dropped_ == {}
    assert list(CorrelatedFeatures(("a", "b")).fit(frame).dropped_) == ["b"]


def test_the_rule_says_which_stays() -> None:
    """By completeness the column with fewer gaps stays, by target the one nearer to it, by correlations the one with fewer others."""
    frame = make_frame()[["a", "b"]]
    gappy = frame.assign(a=frame["a"].where(frame.index > 100))
    assert list(CorrelatedFeatures(keep="more_complete").fit(gappy).dropped_) == ["a"]
    assert list(CorrelatedFeatures(keep="first").fit(gappy).dropped_) == ["b"]
    noisy = frame.assign(a=frame["a"] + np.random.default_rng(0).normal(0, 0.3, len(frame)))
    for target in (frame["b"].to_numpy(), (frame["b"] > 1).astype(int).to_numpy()):
        assert list(CorrelatedFeatures(keep="closer_to_target").fit(noisy, target).dropped_) == ["a"]
    rng = np.random.default_rng(5)
    middle = rng.normal(size=500)
    hub = pd.DataFrame({"hub": middle, "left": middle + rng.normal(0, 0.3, 500), "right": middle + rng.normal(0, 0.3, 500)})
    limit = 0.93  # the hub goes with both, and they not with each other
    assert stats.spearmanr(hub["left"], hub["right"]).statistic < limit < stats.spearmanr(hub["hub"], hub["right"]).statistic
    assert CorrelatedFeatures(spearman=limit, keep="fewer_correlations").fit(hub).kept_ == ["left", "right"]
    assert CorrelatedFeatures(spearman=limit, keep="first").fit(hub).kept_ == ["hub"]


def test_gaps_and_constants_count_for_nothing() -> None:
    """A column with one value goes together with none, and two columns that are missing in the same rows are not alike for that."""
    rng = np.random.default_rng(0)
    gap = rng.random(300) < 0.5
    frame = pd.DataFrame({"p": np.where(gap, "missing", rng.choice(["a", "b"], 300)), "q": np.where(gap, "missing", rng.choice(["c", "d"], 300))})
    frame = frame.assign(one=1.0, word="same", empty=np.nan, number=rng.normal(size=300))
    assert CorrelatedFeatures(spearman=0.3, cramers_v=0.3, eta=0.3).fit(frame).dropped_ == {}


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 5))
def test_strengths_lie_between_0_and_1_and_names_do_not_matter(seed: int, left: int, right: int) -> None:
    """For any two columns V and eta lie in [0, 1], V is symmetric, and renaming categories or shifting numbers changes nothing."""
    rng = np.random.default_rng(seed)
    a, b, x = rng.integers(0, left, 40), rng.integers(0, right, 40), rng.normal(size=40)
    v, eta = cramers_v(a, b), correlation_ratio(x, a)
    assert 0 <= v <= 1
    assert 0 <= eta <= 1
    np.testing.assert_allclose([cramers_v(b, a), cramers_v(left - a, b), correlation_ratio(3 * x + 7, left - a)], [v, v, eta], atol=1e-9)


def test_the_remover_behaves_as_an_estimator() -> None:
    """It clones, refuses before fitting and other columns after, leaves the rows alone, and is saved with its reasons."""
    frame = make_frame()
    before = frame.copy()
    step = METHODS["correlated_features"]((), 0, {"keep": "more_complete"})
    with pytest.raises(NotFittedError):
        step.transform(frame)
    assert clone(step).fit(frame).fit(frame).dropped_ == step.fit(frame).dropped_
    pd.testing.assert_frame_equal(frame, before)
    with pytest.raises(ValueError, match="feature names"):
        step.transform(frame[["b", "a", "c", "d", "e", "f"]])
    again = skops.io.loads(skops.io.dumps(step), trusted=["tasks.core.mitigation.correlated.CorrelatedFeatures"])
    assert again.dropped_ == step.dropped_
    with pytest.raises(CaseError, match=r"`columns` names `g`, which is not among"):
        CorrelatedFeatures(("g",)).fit(frame)
    with pytest.raises(CaseError, match=r"needs labels, and there are none"):
        CorrelatedFeatures(keep="closer_to_target").fit(frame)
    with pytest.raises(CaseError, match=r"'eta' parameter"):
        METHODS["correlated_features"]((), 0, {"eta": 2})

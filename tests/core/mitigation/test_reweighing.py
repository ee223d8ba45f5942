"""Reweighing."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from tasks.core.errors import CaseError, DataError
from tasks.core.mitigation.base import Rows
from tasks.core.mitigation.reweighing import Reweighing, group_label_weights, group_weights


def as_groups(values: list[str]) -> np.ndarray:
    """Group labels as the remedies take them."""
    return np.array(values, dtype=object)


def test_weights_are_those_of_the_published_example() -> None:
    """The ten job applicants of Kamiran and Calders (2012, table 1) get the paper's weights."""
    sex = as_groups(["m", "m", "m", "m", "m", "f", "f", "f", "f", "f"])
    hired = np.array([1, 1, 1, 1, 0, 1, 1, 0, 0, 0])
    weights = group_label_weights(sex, hired)
    expected = {("m", 1): 0.75, ("m", 0): 2.0, ("f", 1): 1.5, ("f", 0): 2 / 3}
    np.testing.assert_allclose(weights, [expected[pair] for pair in zip(sex, hired, strict=True)], rtol=1e-12)


def test_group_and_label_are_independent_under_the_weights() -> None:
    """The weighted share of positives is the same in every group to within 1e-12, and the weights sum to the rows."""
    rng = np.random.default_rng(0)
    groups = rng.choice(["a", "b", "c"], 3000, p=[0.7, 0.2, 0.1]).astype(object)
    y = (rng.random(3000) < np.where(groups == "a", 0.5, 0.1)).astype(int)
    weights = group_label_weights(groups, y)
    rates = [np.average(y[groups == group], weights=weights[groups == group]) for group in "abc"]
    assert np.ptp(rates) < 1e-12
    assert weights.sum() == pytest.approx(3000)


def test_regression_gives_every_group_the_same_total() -> None:
    """One row against three: each group weighs half, and a constant model fits the mean of the group means."""
    groups, y = as_groups(["a", "a", "a", "b"]), np.array([1.0, 2.0, 3.0, 10.0])
    weights = group_weights(groups)
    assert weights[groups == "a"].sum() == pytest.approx(2.0)
    assert weights[groups == "b"].sum() == pytest.approx(2.0)
    rows = Rows(np.zeros((4, 1)), groups)
    assert Reweighing(LinearRegression()).fit(rows, y).predict(rows)[0] == pytest.approx((2.0 + 10.0) / 2)


def test_binary_fit_is_the_estimator_with_those_weights() -> None:
    """The fitted classifier is scikit-learn's, given the weights; no group is needed to predict."""
    rng = np.random.default_rng(1)
    matrix, groups = rng.normal(size=(400, 3)), rng.choice(["a", "b"], 400).astype(object)
    y = (matrix[:, 0] + (groups == "a") + rng.normal(size=400) > 0).astype(int)
    ours = Reweighing(LogisticRegression()).fit(Rows(matrix, groups), y)
    theirs = LogisticRegression().fit(matrix, y, sample_weight=group_label_weights(groups, y))
    np.testing.assert_array_equal(ours.predict_score(Rows(matrix)), theirs.predict_proba(matrix)[:, 1])
    assert ours.known_groups is None


def test_a_group_with_one_label_or_an_estimator_without_weights_is_refused() -> None:
    """Neither can be reweighed, and the error says which and what to do."""
    rows, y = Rows(np.arange(4.0)[:, None], as_groups(["a", "a", "b", "b"])), np.array([0, 1, 1, 1])
    with pytest.raises(DataError, match=r"group `b` has no training row with label 0 \(of 2 rows\).*coarser"):
        Reweighing(LogisticRegression()).fit(rows, y)
    with pytest.raises(CaseError, match=r"KNeighborsClassifier takes none.*another estimator"):
        Reweighing(KNeighborsClassifier()).fit(rows, y)

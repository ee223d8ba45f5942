"""Boosting by tables says what scikit-learn says, to the last bit."""

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from tasks.core import tree_tables
from tasks.core.candidates import both
from tasks.core.tree_tables import TreeTables, raw_sums


def table(rows, seed):
    """Two numbers, one with gaps, one of few values, and codes of categories, of which new rows have some that fitting did not see."""
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=(rows, 3))
    numbers[rng.random(rows) < 0.2, 1] = np.nan
    numbers[:, 2] = numbers[:, 2].round()
    return np.asfortranarray(np.column_stack([numbers, rng.integers(0, 12 if seed else 9, rows), rng.integers(0, 200, rows)]))


def answers_of(matrix):
    """What is fitted: every column counts."""
    return matrix[:, 0] + np.nan_to_num(matrix[:, 1]) ** 2 + matrix[:, 2] * (matrix[:, 3] % 3) + matrix[:, 4] % 2


@pytest.mark.parametrize(
    ("params", "quick"),
    [
        ({}, True),
        ({"categorical_features": [3, 4]}, True),
        ({"categorical_features": [4], "max_leaf_nodes": 32, "max_iter": 7, "monotonic_cst": [1, 0, 0, 0, 0]}, True),
        ({"max_iter": 1, "max_depth": 1}, True),
        ({"max_iter": 3, "min_samples_leaf": 3000}, True),
        ({"max_leaf_nodes": 40}, False),
    ],
)
def test_the_sums_are_scikit_learns(params, quick):
    """Gaps, few values, known and unknown categories, trees of one leaf to 32 and odd numbers of trees; larger trees are left to scikit-learn."""
    matrix, new = table(4000, 0), table(30_000, 1)
    settings = {"max_iter": 12, "early_stopping": False, **params}
    regressor = HistGradientBoostingRegressor(**settings).fit(matrix, answers_of(matrix))
    classifier = HistGradientBoostingClassifier(**settings).fit(matrix, (answers_of(matrix) > 1.5).astype(int))
    found, score = both(classifier, new, {}, {})
    np.testing.assert_array_equal(raw_sums(classifier, new), classifier.decision_function(new))
    np.testing.assert_array_equal(found, classifier.predict(new))
    np.testing.assert_array_equal(score, classifier.predict_proba(new)[:, 1])
    found, score = both(regressor, new, {}, {})
    assert score is None
    np.testing.assert_array_equal(found, regressor.predict(new))
    for fitted in (classifier, regressor):
        assert (tree_tables._known[fitted] is not None) == quick


def test_other_losses_go_through_their_link():
    """Counts are predicted as scikit-learn does: the exponential of the sum."""
    matrix, new = table(4000, 0), table(30_000, 1)
    fitted = HistGradientBoostingRegressor(loss="poisson", max_iter=5).fit(matrix, np.abs(answers_of(matrix)).round())
    np.testing.assert_array_equal(both(fitted, new, {}, {})[0], fitted.predict(new))


def test_tables_that_differ_are_not_used(monkeypatch):
    """Where the tables say something else on the first rows, scikit-learn answers."""
    matrix, new = table(4000, 0), table(30_000, 1)
    fitted = HistGradientBoostingRegressor(max_iter=3).fit(matrix, answers_of(matrix))
    monkeypatch.setattr(TreeTables, "raw", lambda self, rows: np.zeros(len(rows)))
    np.testing.assert_array_equal(raw_sums(fitted, new), fitted.predict(new))


def test_a_few_rows_are_left_to_scikit_learn():
    """Tables are not made for what they would not pay for."""
    matrix = table(4000, 0)
    fitted = HistGradientBoostingRegressor(max_iter=3).fit(matrix, answers_of(matrix))
    np.testing.assert_array_equal(raw_sums(fitted, matrix), fitted.predict(matrix))
    assert fitted not in tree_tables._known

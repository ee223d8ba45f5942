"""Correlation remover."""

import numpy as np
import pandas as pd
import pytest
from fairlearn.preprocessing import CorrelationRemover as Theirs
from sklearn.linear_model import LinearRegression, LogisticRegression

from tasks.core.errors import DataError
from tasks.core.mitigation.base import Rows
from tasks.core.mitigation.correlation_remover import CorrelationRemover


def make_rows(n: int = 300) -> tuple[Rows, np.ndarray]:
    """Four features of which two follow the group, and labels."""
    rng = np.random.default_rng(2)
    groups = rng.choice(["a", "b", "c"], n, p=[0.6, 0.3, 0.1]).astype(object)
    matrix = rng.normal(size=(n, 4))
    matrix[:, 0] += 2.0 * (groups == "a")
    matrix[:, 1] -= 1.0 * (groups == "c")
    return Rows(matrix, groups), matrix @ [1.0, 2.0, 0.0, -1.0] + rng.normal(size=n)


@pytest.mark.parametrize("alpha", [1.0, 0.4])
def test_transform_is_fairlearn_s(alpha: float) -> None:
    """The residual features are those of fairlearn's CorrelationRemover given the groups' 0/1 columns."""
    rows, y = make_rows()
    ours = CorrelationRemover(LinearRegression(), alpha=alpha).fit(rows, y).transform(rows.matrix, rows.groups)
    indicators = pd.get_dummies(pd.Series(rows.groups)).to_numpy(dtype=float)
    theirs = Theirs(sensitive_feature_ids=[0, 1, 2], alpha=alpha).fit_transform(np.column_stack([indicators, rows.matrix]))
    np.testing.assert_allclose(ours, theirs, atol=1e-10)


def test_nothing_linear_is_left_of_the_group() -> None:
    """Every group has the same mean of every residual feature, to within 1e-10."""
    rows, y = make_rows()
    residual = CorrelationRemover(LinearRegression()).fit(rows, y).transform(rows.matrix, rows.groups)
    means = [residual[rows.groups == group].mean(axis=0) for group in "abc"]
    assert np.ptp(means, axis=0).max() < 1e-10


def test_an_unseen_group_is_taken_for_an_average_row() -> None:
    """A row of a group that training did not show keeps its features as they are, and the known groups are listed."""
    rows, y = make_rows()
    model = CorrelationRemover(LinearRegression()).fit(rows, y)
    stranger = Rows(rows.matrix[:3], np.array(["z"] * 3, dtype=object))
    np.testing.assert_array_equal(model.transform(stranger.matrix, stranger.groups), stranger.matrix)
    np.testing.assert_array_equal(model.predict(stranger), model.estimator_.predict(stranger.matrix))
    assert model.known_groups == ("a", "b", "c")


def test_a_classifier_predicts_from_the_residuals() -> None:
    """Answers and scores both come from the estimator fitted on residual features."""
    rows, values = make_rows()
    y = (values > 0).astype(int)
    model = CorrelationRemover(LogisticRegression()).fit(rows, y)
    residual = model.transform(rows.matrix, rows.groups)
    plain = LogisticRegression().fit(residual, y)
    np.testing.assert_allclose(model.predict_score(rows), plain.predict_proba(residual)[:, 1])
    np.testing.assert_array_equal(model.predict(rows), plain.predict(residual))


def test_one_group_is_refused() -> None:
    """With one group there is nothing to remove, and the error says so."""
    with pytest.raises(DataError, match="all training rows are in one group, `a`"):
        CorrelationRemover(LinearRegression()).fit(Rows(np.ones((3, 1)), np.array(["a"] * 3, dtype=object)), np.arange(3.0))

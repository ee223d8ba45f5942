"""Correlation remover."""

import numpy as np
import pandas as pd
import pytest
from fairlearn.preprocessing import CorrelationRemover as Theirs

from tasks.core.errors import DataError
from tasks.core.mitigation.correlation_remover import CorrelationRemover


def make_rows(n: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Four features of which two follow the group."""
    rng = np.random.default_rng(2)
    groups = rng.choice(["a", "b", "c"], n, p=[0.6, 0.3, 0.1]).astype(object)
    matrix = rng.normal(size=(n, 4))
    matrix[:, 0] += 2.0 * (groups == "a")
    matrix[:, 1] -= 1.0 * (groups == "c")
    return matrix, groups


@pytest.mark.parametrize("alpha", [1.0, 0.4])
def test_transform_is_fairlearn_s(alpha: float) -> None:
    """The residual features are those of fairlearn's CorrelationRemover given the groups' 0/1 columns."""
    X, groups = make_rows()
    ours = CorrelationRemover(alpha).fit(X, groups=groups).transform(X, groups=groups)
    indicators = pd.get_dummies(pd.Series(groups)).to_numpy(dtype=float)
    theirs = Theirs(sensitive_feature_ids=[0, 1, 2], alpha=alpha).fit_transform(np.column_stack([indicators, X]))
    np.testing.assert_allclose(ours, theirs, atol=1e-10)


def test_nothing_linear_is_left_of_the_group() -> None:
    """Every group has the same mean of every residual feature, to within 1e-10."""
    X, groups = make_rows()
    residual = CorrelationRemover().fit(X, groups=groups).transform(X, groups=groups)
    means = [residual[groups == group].mean(axis=0) for group in "abc"]
    assert np.ptp(means, axis=0).max() < 1e-10


def test_unseen_and_small_groups_are_taken_for_average_rows() -> None:
    """A row of a group that training did not show, or showed nine times, keeps its features; the known groups are listed."""
    X, groups = make_rows()
    groups[np.flatnonzero(groups == "c")[9:]] = "b"
    model = CorrelationRemover().fit(X, groups=groups)
    for label in ("z", "c"):
        np.testing.assert_array_equal(model.transform(X[:3], groups=np.array([label] * 3, dtype=object)), X[:3])
    assert model.known_groups == ("a", "b")
    assert model.pooled_ == ["c"]


def test_one_group_is_refused() -> None:
    """With one group there is nothing to remove, and the error says so."""
    with pytest.raises(DataError, match=r"not two groups with at least 10 training rows each: only `a`.*Aim `by`"):
        CorrelationRemover().fit(np.ones((12, 1)), groups=np.array(["a"] * 12, dtype=object))

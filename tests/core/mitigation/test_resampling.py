"""Resampling."""

import numpy as np
import pytest

from tasks.core.errors import DataError
from tasks.core.mitigation.resampling import Resampling


def make_rows(n: int = 1000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One informative feature, its own row number, labels commoner in group a."""
    rng = np.random.default_rng(8)
    groups = rng.choice(["a", "b"], n, p=[0.7, 0.3]).astype(object)
    value = rng.normal(size=n) + (groups == "a")
    y = (value + rng.normal(size=n) > 0.7).astype(int)
    return np.column_stack([value, np.arange(n)]), y, groups


def cells(y: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Rows for each group and label."""
    return np.array([[np.sum((groups == group) & (y == label)) for label in (0, 1)] for group in "ab"])


@pytest.mark.parametrize("kind", ["uniform", "preferential"])
def test_cells_get_the_sizes_of_independence(kind: str) -> None:
    """Each group and label has as many rows as if the two were independent, to a rounding, and the indices say which they are."""
    X, y, groups = make_rows()
    step = Resampling(kind)
    new, labels = step.fit_resample(X, y, groups=groups)
    before, after = cells(y, groups), cells(labels, groups[step.sample_indices_])
    assert np.abs(after - np.outer(before.sum(axis=1), before.sum(axis=0)) / len(y)).max() <= 0.5
    np.testing.assert_array_equal(new, X[step.sample_indices_])
    np.testing.assert_array_equal(labels, y[step.sample_indices_])
    np.testing.assert_array_equal(new[:, 1], np.sort(new[:, 1]))


def test_preferential_touches_the_border_first() -> None:
    """With one feature, which ranks by itself: too large cells lose the rows nearest the border, too small ones get those twice."""
    X, y, groups = make_rows()
    X = X[:, :1]
    step = Resampling("preferential")
    step.fit_resample(X, y, groups=groups)
    times = np.bincount(step.sample_indices_, minlength=len(y))
    grown = 0
    for group in "ab":
        for label in (0, 1):
            mine = np.flatnonzero((groups == group) & (y == label))
            from_border = mine[np.argsort(X[mine, 0] if label else -X[mine, 0], kind="stable")]
            copies = times[from_border]
            if copies.sum() >= len(mine):
                assert copies.min() >= 1
                assert (np.diff(copies) <= 0).all()
                grown += 1
            else:
                assert (np.diff(copies) >= 0).all()
                assert copies.max() == 1
    assert grown == 2


def test_uniform_draws_from_the_seed_and_preferential_draws_nothing() -> None:
    """The same seed gives the same rows and another seed others; the preferential choice is one and the same."""
    X, y, groups = make_rows()

    def rows(kind: str, seed: int) -> np.ndarray:
        step = Resampling(kind, seed)
        step.fit_resample(X, y, groups=groups)
        return step.sample_indices_

    np.testing.assert_array_equal(rows("uniform", 1), rows("uniform", 1))
    assert not np.array_equal(rows("uniform", 1), rows("uniform", 2))
    np.testing.assert_array_equal(rows("preferential", 1), rows("preferential", 2))


def test_a_group_with_one_label_is_refused() -> None:
    """There is nothing to copy, and the error names the group."""
    X, y, groups = make_rows()
    with pytest.raises(DataError, match="group `b` has no training row with label 1"):
        Resampling().fit_resample(X, np.where(groups == "b", 0, y), groups=groups)

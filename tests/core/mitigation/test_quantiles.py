"""Quantiles as means of parts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.core.mitigation.quantiles import level_of, levels, profile, spread, value_at

VALUES = st.lists(st.integers(-4, 4).map(lambda value: value / 10), min_size=10, max_size=60)


@settings(max_examples=60, deadline=None)
@given(VALUES, st.integers(1, 8), st.integers(1, 10))
def test_parts_are_as_promised(values: list[float], most: int, least: int) -> None:
    """Never more parts than asked for or than the rows allow, in order, with equal values exact, and the same mean over all."""
    column = np.array(values)[:, None]
    parts = profile(column, most, least)
    assert len(parts) == max(1, min(most, len(values) // least))
    assert (np.diff(parts[:, 0]) >= 0).all()
    sizes = np.diff(np.linspace(0, len(values), len(parts) + 1).astype(int))
    assert sizes.min() >= min(least, len(values))
    assert np.average(parts[:, 0], weights=sizes) == pytest.approx(np.mean(values), abs=1e-12)
    np.testing.assert_array_equal(profile(np.full((30, 1), 0.1), 3), np.full((3, 1), 0.1))


@settings(max_examples=60, deadline=None)
@given(VALUES)
def test_levels_rise_with_values_and_come_back(values: list[float]) -> None:
    """A greater value never has a lower level, and a value that one part alone has comes back from its level."""
    quantiles = profile(np.array(values)[:, None], 5, 2)[:, 0]
    at = level_of(np.sort(np.array(values)), quantiles)
    assert (np.diff(at) >= 0).all()
    assert at.min() >= 0
    assert at.max() <= 1
    once = [value for value in quantiles if np.sum(quantiles == value) == 1]
    np.testing.assert_allclose(value_at(level_of(np.array(once), quantiles), quantiles), once, atol=1e-12)


def test_shared_values_have_the_middle_level() -> None:
    """Worked by hand: three parts of four are 0, so 0 stands at the middle of the first three quarters."""
    np.testing.assert_allclose(level_of(np.array([0.0, 1.0]), np.array([0.0, 0.0, 0.0, 1.0])), [0.375, 0.875])
    np.testing.assert_allclose(levels(4), [0.125, 0.375, 0.625, 0.875])


def test_spread_is_more_than_two_values() -> None:
    """An indicator and a constant are not spread, three values are."""
    assert spread(np.array([[0.0, 1.0, 1.0], [1.0, 1.0, 2.0], [0.0, 1.0, 3.0]])).tolist() == [False, False, True]

"""Lots that depend on the row and the seed alone."""

import numpy as np
import pytest
from scipy.stats import kstest

from tasks.core.mitigation.draws import lots, row_keys


def make_columns(rows: int = 4000) -> list[np.ndarray]:
    """One float and one text column, every row different."""
    return [np.arange(rows, dtype=float), np.array([f"name {i % 7}" for i in range(rows)], dtype=object)]


def test_a_row_has_the_same_lot_in_every_batch_and_order() -> None:
    """A row drawn alone, in reverse, or among thousands has one and the same lot."""
    columns = make_columns()
    all_lots = lots(row_keys(columns), 5)
    np.testing.assert_array_equal(lots(row_keys([column[::-1] for column in columns]), 5)[::-1], all_lots)
    assert lots(row_keys([column[17:18] for column in columns]), 5)[0] == all_lots[17]


def test_lots_are_even_and_seeds_and_columns_independent() -> None:
    """Lots spread evenly over [0, 1), and another seed or one changed value gives unrelated ones."""
    columns = make_columns()
    first, second = lots(row_keys(columns), 0), lots(row_keys(columns), 1)
    swapped = lots(row_keys([columns[0] + 1.0, columns[1]]), 0)
    for sample in (first, second, swapped):
        assert sample.min() >= 0
        assert sample.max() < 1
        assert kstest(sample, "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.06
    assert abs(np.corrcoef(first, swapped)[0, 1]) < 0.06


def test_equal_values_have_equal_keys() -> None:
    """Both zeros, and every NaN, count as the same value; the order of columns matters."""
    plus, minus = row_keys([np.array([0.0, np.nan])]), row_keys([np.array([-0.0, -np.nan])])
    np.testing.assert_array_equal(plus, minus)
    a, b = np.array(["x"], dtype=object), np.array(["y"], dtype=object)
    assert row_keys([a, b])[0] != row_keys([b, a])[0]


def test_keys_do_not_change_between_releases() -> None:
    """A saved model draws the same lot for a row after any upgrade: the hash is pinned here."""
    assert row_keys([np.array([1.5]), np.array(["é"], dtype=object)]).tolist() == [10991247265124463387]


def test_no_columns_is_a_fault() -> None:
    """A key of nothing is a programmer's mistake."""
    with pytest.raises(ValueError, match="at least one column"):
        row_keys([])

"""Intervals and corrections against published examples and scipy."""

import numpy as np
import pytest
from scipy import stats

from tasks.core import intervals


def array(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


@pytest.mark.parametrize(("hits", "n", "low", "high"), [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)])
def test_wilson_as_published(hits: int, n: int, low: float, high: float) -> None:
    """Wilson's interval of the four examples in Newcombe (1998, Statistics in Medicine 17:857, method 3)."""
    found = intervals.wilson(array(hits / n), array(n))
    assert float(found[0][0]) == pytest.approx(low, abs=5e-5)
    assert float(found[1][0]) == pytest.approx(high, abs=5e-5)


def test_difference_as_published() -> None:
    """Newcombe's hybrid score interval of 56/70 - 48/80: 0.0524 to 0.3339 (1998, Statistics in Medicine 17:873, method 10)."""
    terms = []
    for sign, hits, n in ((1.0, 56, 70), (-1.0, 48, 80)):
        terms.append((sign, array(hits / n), *intervals.wilson(array(hits / n), array(n))))
    value, low, high = intervals.combine(terms)
    assert float(value[0]) == pytest.approx(0.2)
    assert (float(low[0]), float(high[0])) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_corrections_by_hand() -> None:
    """Holm and Benjamini-Hochberg on five p-values worked by hand; what is unknown stays unknown and does not count."""
    p = array(0.01, 0.04, np.nan, 0.03, 0.005)
    np.testing.assert_allclose(intervals.holm(p), [0.03, 0.06, np.nan, 0.06, 0.02])
    np.testing.assert_allclose(intervals.benjamini_hochberg(p), [0.02, 0.04, np.nan, 0.04, 0.02])
    np.testing.assert_allclose(intervals.benjamini_hochberg(p)[[0, 1, 3, 4]], stats.false_discovery_control(p[[0, 1, 3, 4]]))
    assert len(intervals.holm(array())) == 0


@pytest.mark.parametrize("cohorts", [3, 10, 200])
def test_range_agrees_with_scipy(cohorts: int) -> None:
    """The quantile and tail of the range of k values are those of the studentised range."""
    assert intervals.range_factor(cohorts) * intervals.Z * np.sqrt(2) == pytest.approx(stats.studentized_range.ppf(0.95, cohorts, np.inf), rel=1e-6)
    assert intervals.range_p_value(3.0, cohorts) == pytest.approx(stats.studentized_range.sf(3 * np.sqrt(2), cohorts, np.inf), abs=1e-8)


def test_student_agrees_with_scipy() -> None:
    """The interval of a mean is scipy's."""
    rows = np.random.default_rng(0).normal(3, 2, 17)
    low, high = intervals.student(array(rows.mean()), array(rows.var(ddof=1) / 17), array(17))
    expected = stats.t.interval(0.95, 16, rows.mean(), stats.sem(rows))
    assert (float(low[0]), float(high[0])) == pytest.approx(expected)

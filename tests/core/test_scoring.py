"""What scoring adds to answers: guards, intervals and calibrated probabilities, against worked examples and other libraries."""

import json
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import _SigmoidCalibration
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import log_loss

from tasks.core.calibration import calibrator
from tasks.core.conformal import half_width, needed, split_conformal
from tasks.core.drift_summary import Categories, Numbers, Summary, summarise
from tasks.core.errors import DataError
from tasks.core.guards import Guards, Refusal
from tasks.core.scoring import Kit


@given(coverage=st.integers(500, 999), rows=st.integers(1, 1200))
def test_the_half_width_is_the_rank_that_exchangeability_asks_for(coverage, rows):
    """Of n + 1 exchangeable errors, so many are at most the half-width that the share is at least the coverage, and no smaller one is enough."""
    errors = np.arange(1.0, rows + 1)
    if rows < needed(coverage / 1000):
        with pytest.raises(DataError, match=f"needs {needed(coverage / 1000):,} validation rows, and there are {rows:,}"):
            half_width(errors, coverage / 1000)
    else:
        rank = half_width(-errors, coverage / 1000)
        assert rank * 1000 >= coverage * (rows + 1) > (rank - 1) * 1000


def test_coverage_is_measured_on_the_test_rows():
    """Three of four test errors are within the half-width of 9; the interval around 75 % is Wilson's."""
    interval = split_conformal(0.9, np.arange(1.0, 10.0), np.array([-9.0, 0.0, 3.0, 9.5]))
    assert (interval.half, interval.rows, interval.covered, interval.tested) == (9.0, 9, 3, 4)
    assert interval.measured == pytest.approx((0.75, 0.3006, 0.9544), abs=1e-4)
    low, high = interval.around(np.array([1.0, 2.0]))
    assert (low.tolist(), high.tolist()) == ([-8.0, -7.0], [10.0, 11.0])


def test_calibration_is_scikit_learns():
    """The isotonic curve is IsotonicRegression's and the sigmoid Platt's on log-odds; the log loss on test rows is measured before and after."""
    rng = np.random.default_rng(4)
    scores = rng.random(2000)
    y = (rng.random(2000) < scores**2).astype(int)
    (one, other), (y_one, y_other) = np.split(scores, 2), np.split(y, 2)
    found = calibrator("isotonic", (one, y_one), (other, y_other))
    expected = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(one, y_one).predict(other)
    np.testing.assert_allclose(found.apply(other), expected, atol=1e-12)
    assert found.before["log_loss"] == pytest.approx(log_loss(y_other, other))
    assert found.after["expected_calibration_error"] < found.before["expected_calibration_error"]
    sigmoid = calibrator("sigmoid", (one, y_one), (other, y_other))
    odds = np.log(scores / (1 - scores))
    np.testing.assert_allclose(sigmoid.apply(other), _SigmoidCalibration().fit(odds[:1000], y_one).predict(odds[1000:]), atol=1e-4)
    assert sigmoid.after["log_loss"] < sigmoid.before["log_loss"]
    with pytest.raises(DataError, match="rows of one class"):
        calibrator("isotonic", (one, np.ones(1000)), (other, y_other))


def test_a_kit_comes_back_from_json():
    """Bounds, categories, interval and curve are the same after JSON, to the last bit."""
    frame = pd.DataFrame({"x": [1 / 3, None, 2e300], "code": [3.0, 4.0, None], "empty": [None] * 3})
    guards = Guards.of(frame, {"x": "numeric", "code": "categorical", "empty": "numeric"})
    kit = Kit(guards, True, split_conformal(0.5, np.array([0.1, 0.7]), np.array([1.0])), calibrator("sigmoid", *[(np.array([0.2, 0.9]), np.array([0, 1]))] * 2))
    assert Kit.of_json(json.loads(json.dumps(kit.to_json()))) == kit
    assert guards.columns["code"].categories == {"3", "4"}


def test_codes_are_the_same_category_with_and_without_gaps():
    """A column of codes that gaps turned into floats holds no new category, and gaps that fitting saw are no news."""
    guards = Guards.of(pd.DataFrame({"code": [3, 7, None]}), {"code": "categorical"})
    assert guards.beyond(pd.DataFrame({"code": [7, 3]})).counts == {}
    assert guards.beyond(pd.DataFrame({"code": [7, None, 8.0]})).counts == {"unseen": {"code": 1}}
    assert guards.beyond(pd.DataFrame({"code": pd.Categorical(["3", "9", None])})).counts == {"unseen": {"code": 1}}


def test_refusals_of_parts_add():
    """Counts add, and the first rows are those of the first parts."""
    guards = Guards.of(pd.DataFrame({"x": [0.0, 1.0]}), {"x": "numeric"})
    frames = [pd.DataFrame({"row_id": [f"{part}{row}" for row in range(2)], "x": [2.0, -1.0]}) for part in "abc"]
    refusal = sum((Refusal.of(guards, ["outside"], frame) for frame in frames), Refusal())
    with pytest.raises(DataError, match=r"`x` is outside the range of the rows fitted on, in 6 of 9 rows \(first: a0, a1, b0\)"):
        refusal.check(9, "May")
    Refusal.of(guards, ["unseen", "missing"], frames[0]).check(2, "May")


@given(cuts=st.lists(st.integers(0, 60), max_size=4), seed=st.integers(0, 99))
def test_summaries_of_parts_add_to_that_of_the_whole(cuts, seed):
    """Wherever a table is cut, also into parts without rows or values, its summary is the same."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {"x": rng.integers(0, 9, 60) / 3, "y": np.where(rng.random(60) < 0.6, np.nan, rng.normal(size=60)), "c": rng.choice(["a", "b", "c"], 60)}
    )
    edges = [0, *sorted(cuts), 60]
    found, whole = Summary.joined([summarise(frame[low:high]) for low, high in pairwise(edges)]), summarise(frame)
    assert found.rows == whole.rows
    for name, column in whole.columns.items():
        mine = found.columns[name]
        assert mine.missing == column.missing
        if isinstance(column, Categories):
            assert mine.counts == column.counts
        else:
            assert isinstance(mine, Numbers)
            np.testing.assert_array_equal(mine.values, column.values)
            np.testing.assert_array_equal(mine.counts, column.counts)

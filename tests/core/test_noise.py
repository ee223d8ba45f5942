"""Noise in labels: what identical features and a model's doubts say, by hand and as cleanlab has it."""

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import stats

from tasks.core.errors import CaseError, DataError
from tasks.core.measures import COLUMNS
from tasks.core.noise import MEASURES, noise


def one(frame: pd.DataFrame, measure: str, cohort: str = "overall") -> Any:
    """The one row of this measure and cohort."""
    (row,) = frame[(frame.measure == measure) & (frame.cohort == cohort)].itertuples()
    return row


def by_hand() -> pd.DataFrame:
    """Pattern a has labels 1, 1, 0, pattern b 0, 1, pattern c 1; g parts pattern a."""
    return pd.DataFrame({"x": list("aaabbc"), "y_true": [1, 1, 0, 0, 1, 1], "g": list("uuvvvv")})


def test_conflicts_worked_by_hand() -> None:
    """5 of 6 rows share their features with another label; one of three and one of two must be told wrongly."""
    found = noise(by_hand(), by=["g"], features=["x"], k=0)
    assert one(found, "conflicting_share").value == pytest.approx(5 / 6)
    assert one(found, "inconsistency_rate").value == pytest.approx(2 / 6)
    assert one(found, "conflicting_share").n == 6
    # within u both labels of a are 1; within v a is met once, b twice
    assert one(found, "conflicting_share", "g=u").value == 0
    assert one(found, "conflicting_share", "g=v").value == pytest.approx(2 / 4)
    assert one(found, "inconsistency_rate", "g=v").value == pytest.approx(1 / 4)
    assert one(noise(by_hand(), by=["g"], k=0), "inconsistency_rate").value == pytest.approx(1 / 6)  # with g among the features


def test_the_inconsistency_rate_is_the_error_of_the_best_rule() -> None:
    """No rule of the features errs less on these rows: the most frequent label of each pattern errs exactly so often."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"a": random.integers(0, 4, 500), "b": random.choice(["x", None], 500), "y_true": random.choice(["p", "q", "r"], 500)})
    best = frame.groupby(["a", "b"], dropna=False).y_true.transform(lambda labels: labels.mode()[0])
    assert one(noise(frame, by=[]), "inconsistency_rate").value == pytest.approx((best != frame.y_true).mean())


def test_limits_know_that_patterns_are_drawn_and_not_rows() -> None:
    """Of ten patterns of 100 rows five conflict throughout: the limits are scipy's of 5 in 10, not of 500 in 1,000."""
    frame = pd.DataFrame({"x": np.repeat(np.arange(10), 100), "y_true": np.where(np.repeat(np.arange(10), 100) < 5, np.arange(1000) % 2, 0)})
    row = one(noise(frame, by=[]), "conflicting_share")
    limits = stats.binomtest(5, 10).proportion_ci(method="wilson")
    assert (row.value, row.low, row.high, row.n) == pytest.approx((0.5, limits.low, limits.high, 1000))


def test_confident_learning_worked_by_hand() -> None:
    """Thresholds are the mean scores of 0.3 for class 1's labels and 0.8 for 0's; one confident label in each class is given to the other."""
    score = [0.1, 0.1, 0.1, 0.9, 0.9, 0.8, 0.9, 0.2]
    frame = pd.DataFrame({"y_true": [0, 0, 0, 0, 1, 1, 1, 1], "y_pred": 0, "y_score": score})
    # t_0 = mean(0.9, 0.9, 0.9, 0.1) = 0.7, t_1 = mean(0.9, 0.8, 0.9, 0.2) = 0.7: every row is confident; row 3 is told 1, row 7 is told 0
    row = one(noise(frame, by=[], k=0), "label_noise")
    assert row.value == pytest.approx(2 / 8)
    assert 0 <= row.low < row.value < row.high <= 1


def test_confident_learning_is_cleanlabs() -> None:
    """On 600 rows of three classes the estimate follows from the confident joint that cleanlab 2.9 counts for the same seed."""
    random = np.random.default_rng(0)
    y = random.integers(0, 3, 600)
    p = random.dirichlet(np.ones(3), 600) * 0.5
    p[np.arange(600), y] += 0.5
    given = np.where(random.random(600) < 0.15, random.integers(0, 3, 600), y)
    joint = np.array([[110, 3, 11], [6, 95, 6], [6, 7, 115]])  # cleanlab.count.compute_confident_joint(given, p, calibrate=False)
    expected = (np.bincount(given) / 600 * (1 - np.diag(joint) / joint.sum(axis=1))).sum()
    frame = pd.DataFrame({"y_true": np.array(["a", "b", "c"])[given], "y_pred": "a"} | {f"y_score_{name}": p[:, place] for place, name in enumerate("abc")})
    row = one(noise(frame, by=[]), "label_noise")
    assert row.value == pytest.approx(expected, abs=1e-12)
    assert row.low < (given != y).mean() < row.high


def test_label_noise_is_estimated_by_cohort() -> None:
    """Where one cohort's labels are flipped more often, its estimate is higher; both hold the truth within their limits."""
    random = np.random.default_rng(3)
    n = 4000
    y, g = random.integers(0, 2, n), random.choice(["a", "b"], n)
    score = np.clip(np.where(y == 1, 0.9, 0.1) + random.normal(0, 0.05, n), 0.01, 0.99)
    flipped = random.random(n) < np.where(g == "a", 0.05, 0.2)
    found = noise(pd.DataFrame({"y_true": np.where(flipped, 1 - y, y), "y_pred": y, "y_score": score, "g": g}), by=["g"])
    for name in ("a", "b"):
        row = one(found, "label_noise", f"g={name}")
        assert row.low < flipped[g == name].mean() < row.high


def test_weights_are_rows_again_and_equal_ones_nothing() -> None:
    """Whole weights give the values of repeated rows; equal ones change nothing; n stays the number of rows."""
    random = np.random.default_rng(5)
    frame = pd.DataFrame({"x": random.integers(0, 20, 300), "g": random.choice(["a", "b"], 300), "y_true": random.integers(0, 2, 300), "y_pred": 0})
    frame["y_score"] = np.round(random.random(300), 2)
    weight = random.integers(1, 4, 300)
    again = frame.loc[frame.index.repeat(weight)]
    found, expected = noise(frame.assign(weight=weight), by=["g"]), noise(again, by=["g"])
    np.testing.assert_allclose(found.value, expected.value, atol=1e-12)
    assert found.n.iloc[0] == 300
    pd.testing.assert_frame_equal(noise(frame.assign(weight=0.3), by=["g"]), noise(frame, by=["g"]), check_exact=True)
    with pytest.raises(DataError, match="outside"):
        noise(frame.assign(weight=-1.0), by=["g"])


def test_small_cohorts_are_hidden_and_unlabelled_rows_left_out() -> None:
    """A cohort of fewer than ten labelled rows has no figures, nor has the one that would give it away."""
    frame = pd.DataFrame({"x": 1, "g": ["a"] * 40 + ["b"] * 30 + ["c"] * 12, "y_true": pd.array([0, 1] * 41, dtype="Int64")})
    frame.loc[frame.index[-4:], "y_true"] = pd.NA
    found = noise(frame, by=["g"])
    assert found.set_index("cohort").verdict.loc[["g=a", "g=b", "g=c"]].groupby(level=0).unique().map(list).to_dict() == {
        "g=a": ["ok"],
        "g=b": ["insufficient"],
        "g=c": ["insufficient"],
    }
    assert found[found.verdict == "insufficient"][["value", "low", "high", "n"]].isna().all(axis=None)
    assert one(found, "conflicting_share").n == 78


@pytest.mark.parametrize("form", ["pandas", "polars", "arrow"])
def test_missing_values_are_alike_in_every_form(form: str) -> None:
    """NaN and null make one pattern, and scores are found in every kind of table."""
    frame: Any = pd.DataFrame({"x": [1.0, np.nan] * 20, "y_true": [0, 0, 1, 1] * 10, "y_pred": 0, "y_score": 0.5, "tags": [["a"]] * 40})
    if form == "polars":
        frame = pl.from_pandas(frame, nan_to_null=False).with_columns(x=pl.when(pl.arange(0, 40) < 20).then(pl.col("x").fill_nan(None)).otherwise(pl.col("x")))
    elif form == "arrow":
        frame = pl.from_pandas(frame).to_arrow()
    found = noise(frame, by=[])
    assert tuple(found.columns) == COLUMNS
    assert set(found.measure) == set(MEASURES)
    assert one(found, "inconsistency_rate").value == 0.5
    with pytest.raises(DataError, match="`tags` holds"):
        noise(frame, by=[], features=["tags"])


def test_what_cannot_be_estimated_is_left_out() -> None:
    """Without scores, or for another label, there is no label_noise; unknown columns are pointed out."""
    frame = by_hand().assign(y_score=0.5)
    assert set(noise(frame.drop(columns="y_score"), by=[]).measure) == {"conflicting_share", "inconsistency_rate"}
    assert "label_noise" not in set(noise(frame, by=[], label="g").measure)
    assert "label_noise" not in set(noise(frame.assign(y_true=1), by=[]).measure)
    with pytest.raises(DataError, match="Did you mean `x`"):
        noise(frame, by=[], features=["X"])
    with pytest.raises(CaseError, match="neither the label nor"):
        noise(frame, by=[], bins={"z": 2})

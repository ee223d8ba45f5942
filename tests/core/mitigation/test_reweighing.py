"""Reweighing."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from tasks.core.errors import DataError
from tasks.core.mitigation.reweighing import Reweighing, group_label_weights, group_weights

ADULT = Path(__file__).resolve().parents[3] / "data/raw/adult/adult.parquet"


def as_groups(values: list[str]) -> np.ndarray:
    """Group labels as the remedies take them."""
    return np.array(values, dtype=object)


def test_weights_are_those_of_the_published_example() -> None:
    """The ten job applicants of Kamiran and Calders (2012, table 1) get the paper's weights."""
    sex = as_groups(["m", "m", "m", "m", "m", "f", "f", "f", "f", "f"])
    hired = np.array([1, 1, 1, 1, 0, 1, 1, 0, 0, 0])
    weights = Reweighing().weigh(hired, groups=sex)
    expected = {("m", 1): 0.75, ("m", 0): 2.0, ("f", 1): 1.5, ("f", 0): 2 / 3}
    np.testing.assert_allclose(weights, [expected[pair] for pair in zip(sex, hired, strict=True)], rtol=1e-12)


def adult() -> tuple[np.ndarray, np.ndarray]:
    """Adult's sexes and whether each person earns above $50K: a mean difference of .19."""
    frame = pd.read_parquet(ADULT, columns=["sex", "income"])
    return frame["sex"].to_numpy(dtype=object), (frame["income"] == ">50K").to_numpy(dtype=np.int64)


def german() -> tuple[np.ndarray, np.ndarray]:
    """1,000 applicants as in the German credit data: 190 are 25 or younger, of whom 110 are good risks, and 590 of the others."""
    return as_groups(["young"] * 190 + ["old"] * 810), np.array([1] * 110 + [0] * 80 + [1] * 590 + [0] * 220)


@pytest.mark.parametrize("data", [adult, german])
def test_the_weighted_mean_difference_is_nought(data) -> None:  # type: ignore[no-untyped-def]
    """On adult and German-style data the weighted share of positives is the same in every group, to 1e-12; the weights sum to the rows."""
    groups, y = data()
    weights = Reweighing().weigh(y, groups=groups)
    names = sorted(set(groups))
    assert abs(np.subtract(*(y[groups == name].mean() for name in names))) > 0.1
    assert abs(np.subtract(*(np.average(y[groups == name], weights=weights[groups == name]) for name in names))) < 1e-12
    assert weights.sum() == pytest.approx(len(y), rel=1e-12)


def test_group_and_label_are_independent_with_many_groups() -> None:
    """The weighted share of positives is the same in three groups to within 1e-12, and every group keeps its total weight."""
    rng = np.random.default_rng(0)
    groups = rng.choice(["a", "b", "c"], 3000, p=[0.7, 0.2, 0.1]).astype(object)
    y = (rng.random(3000) < np.where(groups == "a", 0.5, 0.1)).astype(int)
    weights = group_label_weights(groups, y)
    rates = [np.average(y[groups == group], weights=weights[groups == group]) for group in "abc"]
    assert np.ptp(rates) < 1e-12
    for group in "abc":
        assert weights[groups == group].sum() == pytest.approx((groups == group).sum())


def test_regression_gives_every_group_the_same_total() -> None:
    """One row against three: each group weighs half, and a constant model fits the mean of the group means."""
    groups, y = as_groups(["a", "a", "a", "b"]), np.array([1.0, 2.0, 3.0, 10.0])
    weights = Reweighing().weigh(y, groups=groups)
    np.testing.assert_array_equal(weights, group_weights(groups))
    assert weights[groups == "a"].sum() == pytest.approx(2.0)
    assert weights[groups == "b"].sum() == pytest.approx(2.0)
    constant = LinearRegression().fit(np.zeros((4, 1)), y, sample_weight=weights).predict(np.zeros((1, 1)))
    assert constant[0] == pytest.approx((2.0 + 10.0) / 2)


def test_a_group_with_one_label_is_refused() -> None:
    """It cannot be reweighed, and the error says which group, which label, and what to do."""
    with pytest.raises(DataError, match=r"group `b` has no training row with label 0 \(of 2 rows\).*coarser"):
        Reweighing().weigh(np.array([0, 1, 1, 1]), groups=as_groups(["a", "a", "b", "b"]))

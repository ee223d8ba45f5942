"""Corrections of a regression's predictions for each cohort."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from tasks.core.mitigation.cohort_predictions import CohortBiasCorrection, QuantileMapping

BOSTON = Path(__file__).resolve().parents[3] / "data/raw/boston/boston.csv"


def boston() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Half of Boston's homes as validation: predictions without LSTAT and B, prices, and cohorts by LSTAT."""
    frame = pd.read_csv(BOSTON)
    features = frame.drop(columns=["MEDV", "LSTAT", "B"]).fillna(0.0)
    model = LinearRegression().fit(features[::2], frame["MEDV"][::2])
    held = frame[1::2]
    cohorts = pd.cut(held["LSTAT"], [-np.inf, 7, 11, 17, np.inf], labels=["low", "some", "much", "most"]).astype(object).fillna("missing")
    return model.predict(features[1::2]), held["MEDV"].to_numpy(), cohorts.to_numpy(dtype=object)


def test_each_boston_cohort_has_no_mean_error() -> None:
    """On validation the mean error of every cohort of Boston is 0 to 1e-12, where it was dollars before."""
    scores, y, groups = boston()
    model = CohortBiasCorrection().fit(scores, y, groups=groups)
    error = model.transform(scores, groups=groups) - y
    assert max(abs((scores - y)[groups == group].mean()) for group in model.groups_) > 1.0
    assert max(abs(error[groups == group].mean()) for group in model.groups_) < 1e-12
    assert {"low", "some", "much", "most"} <= set(model.known_groups)


def test_small_and_unseen_cohorts_take_the_mean_of_all() -> None:
    """Nine rows have no correction of their own, and neither has a cohort never seen: both get that of all rows."""
    scores, y = np.arange(30.0), np.arange(30.0) - np.repeat([1.0, 4.0], [21, 9])
    groups = np.repeat(np.array(["a", "b"], dtype=object), [21, 9])
    for step, least in ((CohortBiasCorrection(), 1.9), (QuantileMapping(), None)):
        model = step.fit(scores, y, groups=groups)
        assert model.known_groups == ("a",)
        assert model.pooled_ == ["b"]
        b, z = (model.transform(scores, groups=np.full(30, label, dtype=object)) for label in "bz")
        np.testing.assert_array_equal(b, z)
        if least:
            np.testing.assert_allclose(b, scores - least)
        assert np.any(model.transform(scores, groups=np.full(30, "a", dtype=object)) != b)


def make_rows(n: int = 4000, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predictions that shrink towards the mean, more in cohort b, whose labels are skewed."""
    rng = np.random.default_rng(seed)
    groups = rng.choice(["a", "b"], n).astype(object)
    y = np.where(groups == "a", rng.normal(20, 5, n), rng.gamma(2, 6, n))
    return 18 + np.where(groups == "a", 0.6, 0.3) * (y - 18) + rng.normal(0, 1, n), y, groups


def test_mapped_quantiles_are_the_labels_on_new_rows() -> None:
    """In each cohort the quantiles of new predictions, far from the labels' before, agree with them after, and their order stays."""
    model = QuantileMapping().fit(*make_rows()[:2], groups=make_rows()[2])
    scores, y, groups = make_rows(20_000, seed=2)
    new = model.transform(scores, groups=groups)
    at = np.linspace(0.05, 0.95, 19)
    for group in "ab":
        mine = groups == group
        assert np.abs(np.quantile(scores[mine], at) - np.quantile(y[mine], at)).max() > 3.0
        assert np.abs(np.quantile(new[mine], at) - np.quantile(y[mine], at)).max() < 1.2
        assert np.mean(np.diff(new[mine][np.argsort(scores[mine])]) < 0) < 0.01


def test_maps_are_worked_by_hand() -> None:
    """Two parts of ten: their means are mapped, linear in between, shifted beyond; equal predictions take their labels' mean."""
    scores, y = np.repeat([1.0, 3.0], 10), np.repeat([10.0, 20.0], 10)
    groups = np.full(20, "a", dtype=object)
    model = QuantileMapping().fit(scores, y, groups=groups)
    np.testing.assert_allclose(model.transform(np.array([1.0, 2.0, 3.0, 4.0, 0.0]), groups=groups[:5]), [10.0, 15.0, 20.0, 21.0, 9.0])
    constant = QuantileMapping().fit(np.full(20, 2.0), y, groups=groups)
    np.testing.assert_allclose(constant.transform(np.array([2.0]), groups=groups[:1]), [15.0])


def test_parts_hold_ten_rows_or_more() -> None:
    """No cohort keeps more points than a tenth of its rows, and `n_quantiles` bounds them."""
    scores, y, groups = make_rows(300)
    assert [part.shape[1] for part in QuantileMapping().fit(scores, y, groups=groups).maps_] == [*(int((groups == group).sum()) // 10 for group in "ab"), 30]
    assert {part.shape[1] for part in QuantileMapping(5).fit(scores, y, groups=groups).maps_} == {5}


@pytest.mark.parametrize("step", [CohortBiasCorrection(), QuantileMapping()])
def test_scores_are_left_as_they_were(step) -> None:  # type: ignore[no-untyped-def]
    """Fitting and transforming change neither predictions nor labels."""
    scores, y, groups = make_rows(200)
    before = scores.copy(), y.copy()
    step.fit(scores, y, groups=groups).transform(scores, groups=groups)
    np.testing.assert_array_equal(scores, before[0])
    np.testing.assert_array_equal(y, before[1])

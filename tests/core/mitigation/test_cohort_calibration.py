"""Calibration for each cohort."""

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.calibration import _SigmoidCalibration, _TemperatureScaling
from sklearn.isotonic import IsotonicRegression

from tasks.core.errors import DataError
from tasks.core.mitigation.cohort_calibration import CohortCalibration

KINDS = ("isotonic", "platt", "temperature")


def make_rows(n: int = 3000, seed: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores that are overconfident in cohort a and timid in b, labels, cohorts; c has 50 rows."""
    rng = np.random.default_rng(seed)
    groups = np.array(["c"] * 50 + ["a", "b"] * ((n - 50) // 2), dtype=object)
    truth = rng.normal(size=len(groups))
    return expit(np.where(groups == "a", 2.5, 0.4) * truth), (rng.random(len(groups)) < expit(truth)).astype(int), groups


def theirs(kind: str, scores: np.ndarray, y: np.ndarray) -> np.ndarray:
    """scikit-learn's calibrated probabilities of the rows it is fitted on."""
    if kind == "isotonic":
        return np.asarray(IsotonicRegression(y_min=0, y_max=1).fit(scores, y).predict(scores))
    if kind == "platt":
        return np.asarray(_SigmoidCalibration().fit(logit(scores), y).predict(logit(scores)))
    return np.asarray(_TemperatureScaling().fit(logit(scores) / 2, y).predict(logit(scores) / 2)[:, 1])  # it makes (-x, x) of x


@pytest.mark.parametrize("kind", KINDS)
def test_each_cohort_s_curve_is_scikit_learn_s(kind: str) -> None:
    """A cohort's probabilities are those of scikit-learn's calibrator fitted on its rows alone."""
    scores, y, groups = make_rows()
    new = CohortCalibration(kind).fit(scores, y, groups=groups).transform(scores, groups=groups)
    for group in "ab":
        mine = groups == group
        np.testing.assert_allclose(new[mine], theirs(kind, scores[mine], y[mine]), atol={"isotonic": 1e-12, "platt": 1e-4, "temperature": 1e-6}[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_calibration_holds_in_every_cohort_on_new_rows(kind: str) -> None:
    """Rows of about .7 are positive about .7 of the time in each cohort after it, and were not before."""
    model = CohortCalibration(kind).fit(*make_rows()[:2], groups=make_rows()[2])
    scores, y, groups = make_rows(40_000, seed=3)
    new = model.transform(scores, groups=groups)
    for group in "ab":
        about = [(groups == group) & (np.abs(values - 0.7) < 0.05) for values in (scores, new)]
        assert abs(y[about[0]].mean() - 0.7) > 0.08
        assert abs(y[about[1]].mean() - 0.7) < 0.06


@pytest.mark.parametrize("kind", KINDS)
def test_small_one_sided_and_unseen_cohorts_take_the_pooled_curve(kind: str) -> None:
    """A cohort of 50 rows, one with a single label, and one never seen get the curve of all validation rows; the first two are named."""
    scores, y, groups = make_rows()
    y = np.where(groups == "b", 0, y)
    model = CohortCalibration(kind).fit(scores, y, groups=groups)
    assert model.known_groups == ("a",)
    assert model.pooled_ == ["b", "c"]
    pooled = theirs(kind, scores, y)
    for label in "bcz":
        new = model.transform(scores, groups=np.full(len(scores), label, dtype=object))
        np.testing.assert_allclose(new, pooled, atol=1e-4 if kind == "platt" else 1e-6)


def test_temperature_keeps_order_and_the_answer_at_a_half() -> None:
    """One slope moves no score across 0.5 and swaps none; scores of 0 and 1 stay finite."""
    scores, y, groups = make_rows()
    model = CohortCalibration("temperature").fit(scores, y, groups=groups)
    new = model.transform(scores, groups=groups)
    np.testing.assert_array_equal(new > 0.5, scores > 0.5)
    mine = groups == "a"
    assert (np.diff(new[mine][np.argsort(scores[mine])]) >= 0).all()
    ends = model.transform(np.array([0.0, 1.0]), groups=np.array(["a", "a"], dtype=object))
    assert np.isfinite(ends).all()
    assert ends[0] < 0.01
    assert ends[1] > 0.99


def test_labels_that_part_perfectly_stop_at_a_bound() -> None:
    """Where 0.5 parts the labels without a fault the curves stay finite."""
    scores, groups = np.tile([0.3, 0.7], 60), np.full(120, "a", dtype=object)
    for kind in KINDS:
        new = CohortCalibration(kind).fit(scores, np.tile([0, 1], 60), groups=groups).transform(scores, groups=groups)
        assert np.isfinite(new).all()
        assert new[0] < 0.05
        assert new[1] > 0.95


def test_equal_labels_are_refused() -> None:
    """There is nothing to calibrate to."""
    scores, y, groups = make_rows()
    with pytest.raises(DataError, match="every validation label is 0: there is one class only"):
        CohortCalibration().fit(scores, np.zeros_like(y), groups=groups)

"""A threshold for each cohort by cost."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.core.errors import CaseError, DataError
from tasks.core.mitigation.cohort_thresholds import CohortThresholds, cheapest


def make_rows(n: int = 600, seed: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Calibrated scores, labels drawn from them, and cohorts; c has 20 rows."""
    rng = np.random.default_rng(seed)
    scores = rng.random(n)
    return scores, (rng.random(n) < scores).astype(int), np.array(["c"] * 20 + ["a", "b"] * ((n - 20) // 2), dtype=object)


def cost(answers: np.ndarray, y: np.ndarray, false_positive: float, false_negative: float) -> float:
    """What these answers cost."""
    return false_positive * np.sum((answers == 1) & (y == 0)) + false_negative * np.sum((answers == 0) & (y == 1))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 1)), min_size=1, max_size=30), st.integers(0, 5), st.integers(1, 5))
def test_no_threshold_costs_less(rows: list[tuple[int, int]], false_positive: int, false_negative: int) -> None:
    """Whatever the scores, labels and costs, none of the thresholds between, below or above the scores costs less."""
    scores, y = np.array([score / 8 for score, _ in rows]), np.array([label for _, label in rows])
    found = cheapest(scores, y, false_positive, false_negative)
    tried = [cost(scores > cut, y, false_positive, false_negative) for cut in [-1.0, *np.unique(scores)]]
    assert cost(scores > found, y, false_positive, false_negative) == min(tried)


def test_each_cohort_has_its_own_costs() -> None:
    """Costs of one cohort move its threshold and no other's, toward the share that calibrated scores call for."""
    scores, y, groups = make_rows(20_000)
    same = CohortThresholds({"false_positive": 1, "false_negative": 1}).fit(scores, y, groups=groups)
    other = CohortThresholds(cohort_costs={"b": {"false_positive": 1, "false_negative": 4}}).fit(scores, y, groups=groups)
    assert same.thresholds_[0] == other.thresholds_[0] == pytest.approx(0.5, abs=0.06)
    assert other.thresholds_[1] == pytest.approx(0.2, abs=0.06)
    assert same.thresholds_[2] == other.thresholds_[2]
    np.testing.assert_array_equal(other.predict(scores, groups=groups)[groups == "b"], scores[groups == "b"] > other.thresholds_[1])


def test_of_equals_the_one_nearest_to_the_best_for_calibrated_scores_is_taken() -> None:
    """Worked by hand: one wrong answer at costs 1 and 1 for every cut, of which .5 is the middle one."""
    assert cheapest(np.array([0.2, 0.4, 0.6, 0.8]), np.array([1, 0, 1, 0]), 1, 1) in (0.5,)
    assert cheapest(np.array([0.1, 0.2, 0.3]), np.array([0, 0, 0]), 1, 1) == np.inf


def test_small_one_sided_and_unseen_cohorts_take_the_pooled_threshold() -> None:
    """A cohort of 20 rows, one with a single label and one never seen get the threshold of all validation rows; the first two are named."""
    scores, y, groups = make_rows()
    y = np.where(groups == "b", 0, y)
    model = CohortThresholds({"false_positive": 1, "false_negative": 2}).fit(scores, y, groups=groups)
    assert model.known_groups == ("a",)
    assert model.pooled_ == ["b", "c"]
    pooled = cheapest(scores, y, 1, 2)
    for label in "bcz":
        np.testing.assert_array_equal(model.predict(scores, groups=np.full(len(scores), label, dtype=object)), scores > pooled)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"costs": {"false_positve": 1, "false_negative": 1}}, r"params.costs has no `false_positve`. Did you mean `false_positive`"),
        ({"costs": {"false_positive": -1, "false_negative": 1}}, r"params.costs is .*at least 0"),
        ({"costs": {"false_positive": 0, "false_negative": 0}}, r"not both 0"),
        ({"costs": {"false_positive": 1}}, r"Write `{false_positive: a, false_negative: b}`"),
        ({"cohort_costs": {"A": {"false_positive": 1, "false_negative": 1}}}, r"`A` is no cohort of the validation rows. Did you mean `a`"),
        ({"cohort_costs": {"c": {"false_positive": 1, "false_negative": 1}}}, r"`c` has too few validation rows or one label only"),
    ],
)
def test_wrong_costs_are_refused(params: dict[str, object], message: str) -> None:
    """A misspelt, missing or negative cost and a cohort that is not there are named with the way out."""
    scores, y, groups = make_rows()
    with pytest.raises(CaseError, match=message):
        CohortThresholds(**params).fit(scores, y, groups=groups)  # type: ignore[arg-type]


def test_equal_labels_are_refused() -> None:
    """No threshold can be weighed against another."""
    scores, y, groups = make_rows()
    with pytest.raises(DataError, match="every validation label is 0: there is one class only"):
        CohortThresholds().fit(scores, np.zeros_like(y), groups=groups)

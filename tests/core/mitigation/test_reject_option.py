"""Reject option."""

import itertools

import fairlearn.metrics
import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from tasks.core.errors import DataError
from tasks.core.mitigation.reject_option import RATES, RejectOption

METRICS = {
    "demographic_parity": fairlearn.metrics.demographic_parity_difference,
    "equalized_odds": fairlearn.metrics.equalized_odds_difference,
    "true_positive_rate_parity": fairlearn.metrics.true_positive_rate_difference,
    "false_positive_rate_parity": fairlearn.metrics.false_positive_rate_difference,
}


def make_rows(n: int = 400, names: str = "ab", seed: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores that favour the first group, labels, and groups."""
    rng = np.random.default_rng(seed)
    groups = rng.choice(list(names), n).astype(object)
    value = rng.normal(size=n) + np.where(groups == "a", 0.5, np.where(groups == "b", -0.5, 0.0))
    y = (value + rng.normal(size=n) > 0).astype(int)
    return 1 / (1 + np.exp(-1.5 * value)), y, groups


def critical(scores: np.ndarray, groups: np.ndarray, theta: float, disadvantaged: set[str]) -> np.ndarray:
    """Kamiran, Karim and Zhang's rule as the paper writes it."""
    inside = np.maximum(scores, 1 - scores) < theta
    return np.where(inside, np.isin(groups.astype(str), sorted(disadvantaged)), scores > 0.5).astype(int)


def gap(answers: np.ndarray, y: np.ndarray, groups: np.ndarray, constraint: str) -> float:
    """What fairlearn's metric gives, a hundred times faster."""
    names, rates = np.unique(groups.astype(str)), {"demographic_parity": [y >= 0], "equalized_odds": [y == 0, y == 1]}
    among = rates.get(constraint, [y == (constraint == "true_positive_rate_parity")])
    return max(float(np.ptp([answers[rows & (groups == name)].mean() for name in names])) for rows in among)


@pytest.mark.parametrize("constraint", RATES)
def test_the_region_is_the_best_of_all_that_keep_the_limit(constraint: str) -> None:
    """The answers are the paper's rule; the gap, by fairlearn's metric, keeps the limit, and no other theta does so with more balanced accuracy."""
    scores, y, groups = make_rows()
    model = RejectOption(constraint, limit=0.08).fit(scores, y, groups=groups)
    answers = model.predict(scores, groups=groups)
    np.testing.assert_array_equal(answers, critical(scores, groups, model.theta_, set(model.disadvantaged_)))
    assert METRICS[constraint](y, scores > 0.5, sensitive_features=groups.astype(str)) > 0.2
    reached = METRICS[constraint](y, answers, sensitive_features=groups.astype(str))
    assert reached <= 0.08 + 1e-9
    assert reached == pytest.approx(gap(answers, y, groups, constraint))
    assert model.disadvantaged_ == ["b"]
    best = -1.0
    for theta in 0.5 + np.unique(np.abs(scores - 0.5)) + 1e-9:
        other = critical(scores, groups, theta, {"b"})
        if gap(other, y, groups, constraint) <= 0.08:
            best = max(best, other[y == 1].mean() / 2 + 1 / 2 - other[y == 0].mean() / 2)
    assert balanced_accuracy_score(y, answers) >= best - 1e-12


def test_with_many_groups_the_lowest_are_disadvantaged() -> None:
    """Of three groups the choice is as good as the best split of them in two and theta that keeps the limit."""
    scores, y, groups = make_rows(300, "abc", seed=5)
    model = RejectOption("demographic_parity", limit=0.25).fit(scores, y, groups=groups)
    answers = model.predict(scores, groups=groups)
    reached = balanced_accuracy_score(y, answers)
    assert fairlearn.metrics.demographic_parity_difference(y, answers, sensitive_features=groups.astype(str)) <= 0.25
    for size in (1, 2):
        for favoured in itertools.combinations("abc", size):
            for theta in np.linspace(0.5, 1, 41):
                other = critical(scores, groups, theta, set(favoured))
                if gap(other, y, groups, "demographic_parity") <= 0.25:
                    assert balanced_accuracy_score(y, other) <= reached + 1e-12


def test_a_gap_under_the_limit_leaves_the_answers_at_a_half() -> None:
    """Where s > 0.5 already keeps the limit and no region does better, there is no region."""
    scores, y, groups = np.array([0.9, 0.8, 0.2, 0.1] * 20), np.array([1, 1, 0, 0] * 20), np.array(["a", "b"] * 40, dtype=object)
    model = RejectOption("demographic_parity", limit=0.0).fit(scores, y, groups=groups)
    assert model.theta_ == 0.5
    np.testing.assert_array_equal(model.predict(scores, groups=groups), y)


def test_an_unseen_group_is_judged_at_a_half() -> None:
    """A group that validation did not show belongs to no side of the region."""
    scores, y, groups = make_rows()
    model = RejectOption("demographic_parity").fit(scores, y, groups=groups)
    strangers = np.full(len(scores), "z", dtype=object)
    np.testing.assert_array_equal(model.predict(scores, groups=strangers), scores > 0.5)
    assert model.known_groups == ("a", "b")


def test_what_cannot_be_reached_is_refused() -> None:
    """The least gap there is, a group without the rows of a rate, and a lone group are named."""
    scores, y, groups = make_rows()
    lone = np.where(groups == "b", 0.01, scores)  # no region reaches the scores of b before those of a are all gone
    with pytest.raises(DataError, match=r"no critical region brings the equalized_odds gap to 0: the least on validation is 0\.\d+.*Raise `params.limit`"):
        RejectOption("equalized_odds", limit=0.0).fit(lone, y, groups=groups)
    with pytest.raises(DataError, match="group `b` has no validation row with label 1"):
        RejectOption("true_positive_rate_parity").fit(scores, np.where(groups == "b", 0, y), groups=groups)
    RejectOption("demographic_parity", limit=0.3).fit(scores, np.where(groups == "b", 0, y), groups=groups)
    with pytest.raises(DataError, match="not two groups"):
        RejectOption("demographic_parity").fit(scores, y, groups=np.full(len(scores), "a", dtype=object))

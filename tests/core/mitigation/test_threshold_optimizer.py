"""Threshold optimizer."""

import fairlearn.metrics
import numpy as np
import pytest
from fairlearn.postprocessing import ThresholdOptimizer as Theirs
from sklearn.linear_model import LinearRegression
from sklearn.metrics import balanced_accuracy_score

from tasks.core.errors import CaseError, DataError
from tasks.core.mitigation.draws import row_keys
from tasks.core.mitigation.threshold_optimizer import OBJECTIVES, SIMPLE, ThresholdOptimizer, best_threshold

PAIRS = [(constraint, objective) for constraint in SIMPLE for objective in OBJECTIVES]
PAIRS += [("equalized_odds", objective) for objective in ("accuracy", "balanced_accuracy")]
METRICS = {
    "demographic_parity": fairlearn.metrics.demographic_parity_difference,
    "selection_rate_parity": fairlearn.metrics.demographic_parity_difference,
    "equalized_odds": fairlearn.metrics.equalized_odds_difference,
    **{
        f"{sign}_{label}_rate_parity": getattr(fairlearn.metrics, f"{sign}_{label}_rate_difference")
        for sign in ("true", "false")
        for label in ("positive", "negative")
    },
}


def make_rows(n: int = 800, seed: int = 7) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Scores, labels whose positives are commoner and better told in one group, groups and keys."""
    rng = np.random.default_rng(seed)
    groups = rng.choice(["a", "b"], n, p=[0.6, 0.4]).astype(object)
    value = rng.normal(size=n) + (groups == "a")
    y = (value + rng.normal(size=n) * np.where(groups == "a", 0.7, 1.4) > 0.8).astype(int)
    return 1 / (1 + np.exp(0.8 - value)), y, groups, row_keys([value, groups])


def fitted(constraint: str = "equalized_odds", **params: object) -> ThresholdOptimizer:
    """Fitted on the rows of seed 7."""
    scores, y, groups, _ = make_rows()
    return ThresholdOptimizer(constraint, **params).fit(scores, y, groups=groups)  # type: ignore[arg-type]


def theirs(constraint: str, objective: str, **params: object) -> np.ndarray:
    """fairlearn's probability of answer 1 on the rows that it was fitted on."""
    scores, y, groups, _ = make_rows()
    identity = LinearRegression()
    identity.coef_, identity.intercept_, identity.n_features_in_ = np.ones(1), 0.0, 1
    search = Theirs(estimator=identity, constraints=constraint, objective=OBJECTIVES[objective], prefit=True, predict_method="predict", **params)
    search.fit(scores[:, None], y, sensitive_features=groups.astype(str))
    return np.asarray(search._pmf_predict(scores[:, None], sensitive_features=groups.astype(str))[:, 1])


def gap(answers: np.ndarray, y: np.ndarray, groups: np.ndarray, constraint: str) -> float:
    """The constraint's gap of randomised answers by fairlearn's metric: each row stands twice, as 1 and as 0, with the weights of its draw."""
    twice = {"y_true": np.tile(y, 2), "y_pred": np.repeat([1, 0], len(y)), "sensitive_features": np.tile(groups.astype(str), 2)}
    return float(METRICS[constraint](**twice, sample_weight=np.concatenate([answers, 1 - answers])))


@pytest.mark.parametrize(("constraint", "objective"), PAIRS)
def test_acceptance_is_fairlearn_s_and_keeps_the_constraint_on_validation(constraint: str, objective: str) -> None:
    """Each row's acceptance is the probability fairlearn draws with, and by fairlearn's metrics the groups agree on validation."""
    scores, y, groups, _ = make_rows()
    ours = fitted(constraint, objective=objective).acceptance(scores, groups)
    np.testing.assert_allclose(ours, theirs(constraint, objective), atol=1e-12)
    assert gap(ours, y, groups, constraint) < 1e-9
    assert gap((scores > 0.5).astype(float), y, groups, constraint) > 0.05


def test_a_tolerance_is_fairlearn_s_and_kept() -> None:
    """Given `tol` the acceptance is fairlearn's and the gap at most that, which leaves room for a better objective."""
    scores, y, groups, _ = make_rows()
    ours = fitted("demographic_parity", tol=0.1).acceptance(scores, groups)
    np.testing.assert_allclose(ours, theirs("demographic_parity", "balanced_accuracy", tol=0.1), atol=1e-12)
    assert 0.01 < gap(ours, y, groups, "demographic_parity") <= 0.1 + 1e-9


@pytest.mark.parametrize("constraint", ["demographic_parity", "equalized_odds"])
def test_answers_follow_the_acceptance(constraint: str) -> None:
    """Over a large sample each group's rate is its mean acceptance, within four standard errors of a draw."""
    model, (scores, _, groups, keys) = fitted(constraint), make_rows(20_000, seed=8)
    accepted, answers = model.acceptance(scores, groups), model.predict(scores, groups=groups, keys=keys)
    assert set(answers) == {0, 1}
    assert answers.dtype == np.int64
    for group in "ab":
        mine = groups == group
        assert abs(answers[mine].mean() - accepted[mine].mean()) <= 4 * np.sqrt((accepted * (1 - accepted))[mine].sum()) / mine.sum() + 1e-12
    np.testing.assert_array_equal(answers[accepted == 1], 1)
    np.testing.assert_array_equal(answers[accepted == 0], 0)


def test_a_row_has_the_same_answer_in_every_batch() -> None:
    """One row alone is answered as among all others, and so is every row in another order."""
    model, (scores, _, groups, keys) = fitted(), make_rows(500, seed=9)
    answers = model.predict(scores, groups=groups, keys=keys)
    np.testing.assert_array_equal(model.predict(scores[::-1], groups=groups[::-1], keys=keys[::-1])[::-1], answers)
    assert [model.predict(scores[i : i + 1], groups=groups[i : i + 1], keys=keys[i : i + 1])[0] for i in range(60)] == answers[:60].tolist()


def test_another_seed_draws_other_lots() -> None:
    """The seed decides the lots, and nothing else does."""
    scores, _, groups, keys = make_rows(2000, seed=9)
    assert np.any(fitted(seed=1).predict(scores, groups=groups, keys=keys) != fitted(seed=2).predict(scores, groups=groups, keys=keys))
    np.testing.assert_array_equal(fitted(seed=1).rules_, fitted(seed=2).rules_)


def test_an_unseen_group_gets_the_overall_threshold() -> None:
    """A group that validation did not show is judged by the one best threshold of all validation rows, not answered 0."""
    model, (scores, _, _, keys), (held, y, _, _) = fitted(), make_rows(300, seed=9), make_rows()
    strangers, threshold = np.array(["z"] * 300, dtype=object), model.rules_[-1, 3]
    answers = model.predict(scores, groups=strangers, keys=keys)
    np.testing.assert_array_equal(answers, scores > threshold)
    assert answers.any()
    best = max(balanced_accuracy_score(y, held > cut) for cut in np.linspace(0, 1, 301))
    assert balanced_accuracy_score(y, held > threshold) >= best
    assert model.known_groups == ("a", "b")


def test_best_threshold_worked_by_hand() -> None:
    """Ties in the score move together, and a rule that accepts nobody or everybody is among the choices."""
    scores, y = np.array([0.9, 0.8, 0.8, 0.3, 0.1]), np.array([1, 1, 0, 1, 0])
    assert best_threshold(scores, y, "accuracy") == pytest.approx(0.2)  # 4 of 5 right: only 0.1 is rejected
    assert best_threshold(scores, y, "balanced_accuracy") == pytest.approx(0.2)  # (1 + 1/2) / 2
    assert best_threshold(np.array([0.9, 0.1, 0.2, 0.3]), np.array([0, 0, 1, 0]), "accuracy") == np.inf
    assert best_threshold(scores, y, "selection_rate") == -np.inf
    assert best_threshold(scores, y, "true_positive_rate") == -np.inf
    assert best_threshold(scores, y, "true_negative_rate") == pytest.approx(0.85)  # both negatives rejected, and no more than need be


def test_what_does_not_fit_is_refused() -> None:
    """A group with one class has no rates, and equalized odds no tolerance and no objective but accuracies: the error says so."""
    scores, y, groups, _ = make_rows()
    with pytest.raises(DataError, match=r"group `b` has no validation row with label 1.*coarser"):
        ThresholdOptimizer("demographic_parity").fit(scores, np.where(groups == "b", 0, y), groups=groups)
    for params in ({"tol": 0.1}, {"objective": "selection_rate"}):
        with pytest.raises(CaseError, match=r"equalized_odds takes no `tol`.*Remove"):
            fitted("equalized_odds", **params)

"""Threshold optimizer."""

import numpy as np
import pytest
from fairlearn.postprocessing import ThresholdOptimizer as Theirs
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score

from tasks.core.errors import DataError
from tasks.core.mitigation.base import Rows
from tasks.core.mitigation.draws import row_keys
from tasks.core.mitigation.threshold_optimizer import ThresholdOptimizer, best_threshold

CONSTRAINTS = ("demographic_parity", "equalized_odds", "true_positive_rate_parity", "false_positive_rate_parity")


def make_rows(n: int = 1500, seed: int = 6) -> tuple[Rows, np.ndarray]:
    """Rows whose positives are commoner in one group."""
    rng = np.random.default_rng(seed)
    groups = rng.choice(["a", "b"], n, p=[0.6, 0.4]).astype(object)
    matrix = np.column_stack([rng.normal(size=n) + (groups == "a"), rng.normal(size=n)])
    y = (matrix @ [1.0, 0.5] + rng.normal(size=n) > 0.8).astype(int)
    return Rows(matrix, groups, row_keys([*matrix.T, groups])), y


def fitted(constraint: str = "equalized_odds", **params: object) -> ThresholdOptimizer:
    """Fitted on one sample, thresholds chosen on another."""
    return ThresholdOptimizer(LogisticRegression(), constraint, **params).fit(*make_rows(seed=6)).choose(*make_rows(seed=7))  # type: ignore[arg-type]


def rates(answers: np.ndarray, rows: Rows, y: np.ndarray, constraint: str) -> list[list[float]]:
    """The constrained rate of each group, for each label it is conditioned on."""
    labels = {"demographic_parity": [None], "equalized_odds": [0, 1], "true_positive_rate_parity": [1], "false_positive_rate_parity": [0]}[constraint]
    return [[answers[(rows.groups == group) & (True if label is None else y == label)].mean() for group in "ab"] for label in labels]


@pytest.mark.parametrize("objective", ["accuracy", "balanced_accuracy"])
@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_acceptance_is_fairlearn_s_and_keeps_the_constraint_on_validation(constraint: str, objective: str) -> None:
    """Each row's acceptance is the probability fairlearn draws with, and the groups' rates on validation agree to the grid."""
    model, (rows, y) = fitted(constraint, objective=objective), make_rows(seed=7)
    reference = Theirs(estimator=model.estimator_, constraints=constraint, objective=f"{objective}_score", prefit=True, predict_method="predict_proba")
    reference.fit(rows.matrix, y, sensitive_features=rows.groups.astype(str))
    ours = model.acceptance(model.predict_score(rows), rows.groups)
    np.testing.assert_allclose(ours, reference._pmf_predict(rows.matrix, sensitive_features=rows.groups.astype(str))[:, 1], atol=1e-12)
    assert max(map(np.ptp, rates(ours, rows, y, constraint))) < 1e-9


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_answers_follow_the_acceptance(constraint: str) -> None:
    """Over a large sample each group's rate is its mean acceptance, within four standard errors of a draw."""
    model, (rows, _) = fitted(constraint), make_rows(20_000, seed=8)
    accepted, answers = model.acceptance(model.predict_score(rows), rows.groups), model.predict(rows)
    assert set(answers) == {0, 1}
    for group in "ab":
        mine = rows.groups == group
        assert abs(answers[mine].mean() - accepted[mine].mean()) <= 4 * np.sqrt((accepted * (1 - accepted))[mine].sum()) / mine.sum() + 1e-12
    np.testing.assert_array_equal(answers[accepted == 1], 1)
    np.testing.assert_array_equal(answers[accepted == 0], 0)


def test_a_row_has_the_same_answer_in_every_batch() -> None:
    """One row alone is answered as among all others, and so is every row in another order."""
    model, (rows, _) = fitted(), make_rows(500, seed=9)
    answers = model.predict(rows)
    np.testing.assert_array_equal(model.predict(Rows(*(part[::-1] for part in rows)))[::-1], answers)
    assert [model.predict(Rows(*(part[i : i + 1] for part in rows)))[0] for i in range(60)] == answers[:60].tolist()


def test_another_seed_draws_other_lots() -> None:
    """The seed decides the lots, and nothing else does."""
    rows, _ = make_rows(2000, seed=9)
    assert np.any(fitted(seed=1).predict(rows) != fitted(seed=2).predict(rows))
    np.testing.assert_array_equal(fitted(seed=1).predict(rows), fitted(seed=1).predict(rows))


def test_an_unseen_group_gets_the_overall_threshold() -> None:
    """A group that validation did not show is judged by the one best threshold of all validation rows, not answered 0."""
    model, (rows, _), (held, y) = fitted(), make_rows(300, seed=9), make_rows(seed=7)
    strangers = rows._replace(groups=np.array(["z"] * 300, dtype=object))
    scores = model.predict_score(strangers)
    np.testing.assert_array_equal(model.predict(strangers), scores > model.fallback_)
    assert model.predict(strangers).any()
    best = max(balanced_accuracy_score(y, model.predict_score(held) > cut) for cut in np.linspace(0, 1, 301))
    assert balanced_accuracy_score(y, model.predict_score(held) > model.fallback_) >= best
    assert model.known_groups == ("a", "b")


def test_best_threshold_worked_by_hand() -> None:
    """Ties in the score move together, and a rule that accepts nobody or everybody is among the choices."""
    scores, y = np.array([0.9, 0.8, 0.8, 0.3, 0.1]), np.array([1, 1, 0, 1, 0])
    assert best_threshold(scores, y, "accuracy") == pytest.approx(0.2)  # 4 of 5 right: only 0.1 is rejected
    assert best_threshold(scores, y, "balanced_accuracy") == pytest.approx(0.2)  # (1 + 1/2) / 2
    assert best_threshold(np.array([0.9, 0.1, 0.2, 0.3]), np.array([0, 0, 1, 0]), "accuracy") == np.inf


def test_a_group_with_one_class_is_refused() -> None:
    """Thresholds for a group need both classes on validation, and the error names the group and the way out."""
    (rows, y), (held, theirs) = make_rows(), make_rows(seed=7)
    model = ThresholdOptimizer(LogisticRegression(), "demographic_parity").fit(rows, y)
    with pytest.raises(DataError, match=r"group `b` has no validation row with label 1.*coarser"):
        model.choose(held, np.where(held.groups == "b", 0, theirs))

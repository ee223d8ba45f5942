"""Exponentiated gradient."""

from collections.abc import Iterator

import fairlearn.reductions as theirs
import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from threadpoolctl import threadpool_limits

from tasks.core.errors import CaseError, DataError
from tasks.core.mitigation.base import Rows
from tasks.core.mitigation.draws import lots, row_keys
from tasks.core.mitigation.exponentiated_gradient import ExponentiatedGradient

MOMENTS = {
    "demographic_parity": theirs.DemographicParity,
    "equalized_odds": theirs.EqualizedOdds,
    "true_positive_rate_parity": theirs.TruePositiveRateParity,
    "false_positive_rate_parity": theirs.FalsePositiveRateParity,
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Dozens of small fits: threads would only wait for each other."""
    with threadpool_limits(1):
        yield


def make_rows(n: int = 1200) -> tuple[Rows, np.ndarray]:
    """Coarse features, the first a proxy of the group, and labels that differ by group: a plain fit is far from parity."""
    rng = np.random.default_rng(4)
    groups = rng.choice(["a", "b"], n, p=[0.7, 0.3]).astype(object)
    matrix = np.column_stack([(groups == "a") + rng.integers(0, 2, n), rng.integers(-3, 4, n), rng.integers(0, 3, n)]).astype(float)
    chance = 1 / (1 + np.exp(-(1.5 * matrix[:, 0] + 0.8 * matrix[:, 1] - 2.0)))
    return Rows(matrix, groups, row_keys([*matrix.T, np.arange(n, dtype=float)])), (rng.random(n) < chance).astype(int)


def rates(answers: np.ndarray, rows: Rows, y: np.ndarray, constraint: str) -> list[list[float]]:
    """The constrained rate of each group, for each label it is conditioned on."""
    labels = {"demographic_parity": [None], "equalized_odds": [0, 1], "true_positive_rate_parity": [1], "false_positive_rate_parity": [0]}[constraint]
    return [[answers[(rows.groups == group) & (True if label is None else y == label)].mean() for group in "ab"] for label in labels]


@pytest.mark.parametrize("constraint", MOMENTS)
def test_the_mixture_is_fairlearn_s_and_keeps_the_constraint(constraint: str) -> None:
    """The members' weighted answer is the randomised classifier's of fairlearn, and meets the constraint on train within 2 (eps + gap)."""
    rows, y = make_rows()
    model = ExponentiatedGradient(LogisticRegression(), constraint, eps=0.02, max_iter=25).fit(rows, y)
    reference = theirs.ExponentiatedGradient(LogisticRegression(), MOMENTS[constraint](difference_bound=0.02), eps=0.02, max_iter=25)
    reference.fit(rows.matrix, y, sensitive_features=rows.groups.astype(str))
    np.testing.assert_allclose(model.expected(rows.matrix), reference._pmf_predict(rows.matrix)[:, 1], atol=1e-6)
    plain = LogisticRegression().fit(rows.matrix, y).predict(rows.matrix)
    assert max(map(np.ptp, rates(plain, rows, y, constraint))) > 0.1
    assert max(map(np.ptp, rates(model.expected(rows.matrix), rows, y, constraint))) <= 2 * 2 * (0.02 + reference.best_gap_)


def test_answers_follow_the_rows_lots_and_do_not_change() -> None:
    """A row answers 1 where its lot is below the weight on 1, the same each time; scores are the members' mean probability."""
    rows, y = make_rows()
    model = ExponentiatedGradient(LogisticRegression(), "demographic_parity", max_iter=15).fit(rows, y)
    expected = sum(weight * member.predict(rows.matrix) for weight, member in zip(model.weights_, model.members_, strict=True))
    np.testing.assert_array_equal(model.predict(rows), lots(rows.keys, 0) < expected)
    assert set(model.predict(rows)[expected > 1 - 1e-9]) == {1}
    assert set(model.predict(rows)[expected < 1e-9]) == {0}
    np.testing.assert_array_equal(model.predict(rows), model.predict(rows))
    score = model.predict_score(rows)
    np.testing.assert_allclose(score, sum(w * m.predict_proba(rows.matrix)[:, 1] for w, m in zip(model.weights_, model.members_, strict=True)))
    assert model.weights_.min() > 0
    assert model.weights_.sum() == pytest.approx(1.0)


def test_a_sparse_matrix_of_repeated_rows_gives_the_same_mixture() -> None:
    """Fitting on the distinct rows of a sparse matrix, their weights summed, gives what fitting on every row gives."""
    rows, y = make_rows()
    assert len(np.unique(rows.matrix, axis=0)) < 100
    dense = ExponentiatedGradient(LogisticRegression(tol=1e-8), "equalized_odds", eps=0.02, max_iter=10).fit(rows, y)
    thin = ExponentiatedGradient(LogisticRegression(tol=1e-8), "equalized_odds", eps=0.02, max_iter=10)
    thin.fit(rows._replace(matrix=sparse.csr_matrix(rows.matrix)), y)
    np.testing.assert_allclose(thin.expected(sparse.csr_matrix(rows.matrix)), dense.expected(rows.matrix), atol=1e-5)


def test_class_weight_is_the_objective_s_cost() -> None:
    """A class weight counts as the cost of a wrong answer, as fairlearn's ErrorRate takes it, not inside each fit."""
    rows, y = make_rows()
    ours = ExponentiatedGradient(LogisticRegression(class_weight={0: 1.0, 1: 3.0}), "demographic_parity", eps=0.05, max_iter=10).fit(rows, y)
    reference = theirs.ExponentiatedGradient(
        LogisticRegression(), theirs.DemographicParity(difference_bound=0.05), objective=theirs.ErrorRate(costs={"fp": 1.0, "fn": 3.0}), eps=0.05, max_iter=10
    ).fit(rows.matrix, y, sensitive_features=rows.groups.astype(str))
    np.testing.assert_allclose(ours.expected(rows.matrix), reference._pmf_predict(rows.matrix)[:, 1], atol=1e-6)


def test_bounded_group_loss_helps_the_worst_group_in_regression() -> None:
    """The worse group's mean squared error falls below the bound that a plain fit breaks, on labels of any scale."""
    rng = np.random.default_rng(5)
    groups = np.array(["large"] * 300 + ["small"] * 60, dtype=object)
    x = rng.uniform(-1, 1, 360)
    y = 1000 + 100 * np.where(groups == "small", -x, x) + rng.normal(0, 1, 360)
    rows = Rows(x[:, None], groups)

    def worst(answers: np.ndarray) -> float:
        return max(np.mean((answers[groups == group] - y[groups == group]) ** 2) for group in ("large", "small")) / np.ptp(y) ** 2

    model = ExponentiatedGradient(LinearRegression(), "bounded_group_loss", upper_bound=0.1, max_iter=30).fit(rows, y)
    plain = LinearRegression().fit(rows.matrix, y).predict(rows.matrix)
    assert worst(plain) > 0.15
    assert worst(model.predict(rows)) <= 0.1 + 0.01
    assert model.predict_score(rows) is None
    mean = 1.0 * sum(weight * member.predict(rows.matrix) for weight, member in zip(model.weights_, model.members_, strict=True))
    np.testing.assert_allclose(model.predict(rows), y.min() + np.ptp(y) * mean)


def test_bounded_group_loss_bounds_each_group_s_errors_in_classification() -> None:
    """With a bound that a plain fit keeps, the answers are the plain fit's."""
    rows, y = make_rows(400)
    model = ExponentiatedGradient(LogisticRegression(), "bounded_group_loss", upper_bound=0.5, max_iter=6).fit(rows, y)
    np.testing.assert_array_equal(model.predict(rows), LogisticRegression().fit(rows.matrix, y).predict(rows.matrix))


def test_what_cannot_be_equalised_is_refused() -> None:
    """A group without the rows whose rate is constrained, equal labels, and an estimator without weights are named."""
    rows, y = make_rows(200)
    no_positives = np.where(rows.groups == "b", 0, y)
    with pytest.raises(DataError, match="group `b` has no training row with label 1"):
        ExponentiatedGradient(LogisticRegression(), "true_positive_rate_parity").fit(rows, no_positives)
    ExponentiatedGradient(LogisticRegression(), "demographic_parity", max_iter=2).fit(rows, no_positives)
    with pytest.raises(DataError, match="all training labels are equal"):
        ExponentiatedGradient(LinearRegression(), "bounded_group_loss", upper_bound=0.1).fit(rows, np.full(200, 3.0))
    with pytest.raises(CaseError, match="KNeighborsClassifier takes none"):
        ExponentiatedGradient(KNeighborsClassifier(), "demographic_parity").fit(rows, y)

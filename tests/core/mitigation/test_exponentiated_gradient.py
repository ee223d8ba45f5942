"""Exponentiated gradient."""

import copy
from collections.abc import Iterator

import fairlearn.metrics
import fairlearn.reductions as theirs
import numpy as np
import pytest
from scipy import sparse
from sklearn.base import is_classifier, is_regressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from threadpoolctl import threadpool_limits

from tasks.core.errors import CaseError, DataError
from tasks.core.mitigation.draws import lots, row_keys
from tasks.core.mitigation.exponentiated_gradient import ExponentiatedGradient

MOMENTS = {
    "demographic_parity": theirs.DemographicParity,
    "equalized_odds": theirs.EqualizedOdds,
    "true_positive_rate_parity": theirs.TruePositiveRateParity,
    "false_positive_rate_parity": theirs.FalsePositiveRateParity,
    "error_rate_parity": theirs.ErrorRateParity,
}
METRICS = {
    "demographic_parity": fairlearn.metrics.demographic_parity_difference,
    "equalized_odds": fairlearn.metrics.equalized_odds_difference,
    "true_positive_rate_parity": fairlearn.metrics.true_positive_rate_difference,
    "false_positive_rate_parity": fairlearn.metrics.false_positive_rate_difference,
    "error_rate_parity": fairlearn.metrics.accuracy_score_difference,
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Dozens of small fits: threads would only wait for each other."""
    with threadpool_limits(1):
        yield


def make_rows(n: int = 800) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coarse features, the first a proxy of the group, and labels that differ by group and are noisier in one: no rate is equal."""
    rng = np.random.default_rng(4)
    groups = rng.choice(["a", "b"], n, p=[0.7, 0.3]).astype(object)
    X = np.column_stack([(groups == "a") + rng.integers(0, 2, n), rng.integers(-3, 4, n), rng.integers(0, 3, n)]).astype(float)
    chance = 1 / (1 + np.exp(-(1.5 * X[:, 0] + np.where(groups == "a", 1.6, 0.5) * X[:, 1] - 1.5)))
    return X, (rng.random(n) < chance).astype(int) ^ ((groups == "b") & (rng.random(n) < 0.15)), groups


@pytest.fixture(scope="module")
def even() -> ExponentiatedGradient:
    """A mixture of several members."""
    X, y, groups = make_rows()
    return ExponentiatedGradient(LogisticRegression(), "demographic_parity", max_iter=4, nu=1e-6).fit(X, y, groups=groups)


def keys_of(X: np.ndarray) -> np.ndarray:
    """A key for each row, its own even where features repeat."""
    return row_keys([*X.T, np.arange(len(X), dtype=float)])


def worst(answers: np.ndarray, y: np.ndarray, groups: np.ndarray, constraint: str) -> float:
    """The constraint's gap of randomised answers by fairlearn's metric: each row stands twice, as 1 and as 0, with the weights of its draw."""
    twice = {"y_true": np.tile(y, 2), "y_pred": np.repeat([1, 0], len(y)), "sensitive_features": np.tile(groups.astype(str), 2)}
    return float(METRICS[constraint](**twice, sample_weight=np.concatenate([answers, 1 - answers])))


@pytest.mark.parametrize("constraint", MOMENTS)
def test_the_mixture_is_fairlearn_s_and_keeps_the_constraint(constraint: str) -> None:
    """The members' weighted answer is that of fairlearn's randomised classifier, and by fairlearn's metrics meets the constraint on train."""
    X, y, groups = make_rows()
    model = ExponentiatedGradient(LogisticRegression(), constraint, eps=0.02, max_iter=5, nu=1e-6).fit(X, y, groups=groups)
    reference = theirs.ExponentiatedGradient(LogisticRegression(), MOMENTS[constraint](difference_bound=0.02), eps=0.02, max_iter=5, nu=1e-6)
    reference.fit(X, y, sensitive_features=groups.astype(str))
    np.testing.assert_allclose(model.expected(X), reference._pmf_predict(X)[:, 1], atol=1e-6)
    plain = LogisticRegression().fit(X, y).predict(X)
    assert worst(plain, y, groups, constraint) > 0.1
    assert worst(model.expected(X), y, groups, constraint) <= 2 * 2 * (0.02 + reference.best_gap_)


def test_answers_follow_the_rows_lots_and_do_not_change(even: ExponentiatedGradient) -> None:
    """A row answers 1 where its lot is below the weight on 1, the same each time; scores are the members' mean probability."""
    X, _, _ = make_rows()
    keys, model = keys_of(X), copy.deepcopy(even)
    expected = sum(weight * member.predict(X) for weight, member in zip(model.weights_, model.members_, strict=True))
    answers = model.predict(X, keys=keys)
    np.testing.assert_array_equal(answers, lots(keys, 0) < expected)
    assert set(answers[expected > 1 - 1e-9]) == {1}
    assert set(answers[expected < 1e-9]) == {0}
    np.testing.assert_array_equal(answers, model.predict(X, keys=keys))
    assert np.any(model.set_params(seed=1).predict(X, keys=keys) != answers)
    scores = sum(w * m.predict_proba(X) for w, m in zip(model.weights_, model.members_, strict=True))
    np.testing.assert_allclose(model.predict_proba(X), scores)
    assert model.weights_.min() > 0
    assert model.weights_.sum() == pytest.approx(1.0)


def test_without_keys_lots_come_from_the_rows_themselves(even: ExponentiatedGradient) -> None:
    """Given no keys, equal rows have equal answers, whatever the order and whether the matrix is sparse or not."""
    X, _, _ = make_rows()
    answers = even.predict(X)
    assert 0 < answers.mean() < 1
    np.testing.assert_array_equal(even.predict(X[::-1])[::-1], answers)
    np.testing.assert_array_equal(even.predict(sparse.csr_matrix(X)), answers)
    np.testing.assert_array_equal(answers, even.predict(X, keys=row_keys(X.T)))


def test_a_sparse_matrix_of_repeated_rows_gives_the_same_mixture() -> None:
    """Fitting on the distinct rows of a sparse matrix, their weights summed, gives what fitting on every row gives."""
    X, y, groups = make_rows()
    assert len(np.unique(X, axis=0)) < 100
    dense, thin = (ExponentiatedGradient(LogisticRegression(tol=1e-8), "equalized_odds", eps=0.02, max_iter=3, nu=1e-6) for _ in range(2))
    dense.fit(X, y, groups=groups)
    thin.fit(sparse.csr_matrix(X), y, groups=groups)
    np.testing.assert_allclose(thin.expected(sparse.csr_matrix(X)), dense.expected(X), atol=1e-5)


def test_class_weight_is_the_objective_s_cost() -> None:
    """A class weight counts as the cost of a wrong answer, as fairlearn's ErrorRate takes it, not inside each fit."""
    X, y, groups = make_rows()
    ours = ExponentiatedGradient(LogisticRegression(class_weight={0: 1.0, 1: 3.0}), "demographic_parity", eps=0.05, max_iter=3, nu=1e-6).fit(
        X, y, groups=groups
    )
    reference = theirs.ExponentiatedGradient(
        LogisticRegression(),
        theirs.DemographicParity(difference_bound=0.05),
        objective=theirs.ErrorRate(costs={"fp": 1.0, "fn": 3.0}),
        eps=0.05,
        max_iter=3,
        nu=1e-6,
    ).fit(X, y, sensitive_features=groups.astype(str))
    np.testing.assert_allclose(ours.expected(X), reference._pmf_predict(X)[:, 1], atol=1e-6)


@pytest.mark.parametrize(("loss", "bound", "plainly"), [(None, 0.1, 0.15), ("absolute", 0.28, 0.35)])
def test_bounded_group_loss_helps_the_worst_group_in_regression(loss: str | None, bound: float, plainly: float) -> None:
    """The worse group's mean loss falls below the bound that a plain fit breaks, on labels of any scale."""
    rng = np.random.default_rng(5)
    groups = np.array(["large"] * 300 + ["small"] * 60, dtype=object)
    x = rng.uniform(-1, 1, 360)
    y = 1000 + 100 * np.where(groups == "small", -x, x) + rng.normal(0, 1, 360)
    X, power = x[:, None], 1 if loss else 2

    def worst_loss(answers: np.ndarray) -> float:
        return max(np.mean((np.abs(answers - y)[groups == group] / np.ptp(y)) ** power) for group in ("large", "small"))

    model = ExponentiatedGradient(LinearRegression(), "bounded_group_loss", upper_bound=bound, loss=loss, max_iter=7).fit(X, y, groups=groups)
    plain = LinearRegression().fit(X, y).predict(X)
    assert worst_loss(plain) > plainly
    assert worst_loss(model.predict(X)) <= bound + 0.01
    assert is_regressor(model)
    assert not hasattr(model, "predict_proba")
    mean = 1.0 * sum(weight * member.predict(X) for weight, member in zip(model.weights_, model.members_, strict=True))
    np.testing.assert_allclose(model.predict(X), y.min() + np.ptp(y) * mean)


def test_bounded_group_loss_bounds_each_group_s_errors_in_classification() -> None:
    """The mixture is fairlearn's, and each group's expected share of wrong answers is under a bound that a plain fit breaks."""
    X, y, groups = make_rows(400)
    model = ExponentiatedGradient(LogisticRegression(), "bounded_group_loss", upper_bound=0.3, max_iter=4, nu=1e-6).fit(X, y, groups=groups)
    reference = theirs.ExponentiatedGradient(LogisticRegression(), theirs.BoundedGroupLoss(theirs.ZeroOneLoss(), upper_bound=0.3), max_iter=4, nu=1e-6)
    reference.fit(X, y, sensitive_features=groups.astype(str))
    np.testing.assert_allclose(model.expected(X), reference._pmf_predict(X) @ reference.weights_, atol=1e-6)

    def worst_share(answers: np.ndarray) -> float:
        return max(np.abs(answers - y)[groups == group].mean() for group in "ab")

    assert worst_share(LogisticRegression().fit(X, y).predict(X)) > 0.31
    assert worst_share(model.expected(X)) <= 0.3 + 1e-9
    assert is_classifier(model)
    assert model.classes_.tolist() == [0, 1]


def test_what_cannot_be_equalised_is_refused() -> None:
    """A group without the rows whose rate is constrained, equal labels, an estimator without weights and a loss that does not fit are named."""
    X, y, groups = make_rows(200)
    no_positives = np.where(groups == "b", 0, y)
    with pytest.raises(DataError, match="group `b` has no training row with label 1"):
        ExponentiatedGradient(LogisticRegression(), "true_positive_rate_parity").fit(X, no_positives, groups=groups)
    ExponentiatedGradient(LogisticRegression(), "demographic_parity", max_iter=2).fit(X, no_positives, groups=groups)
    with pytest.raises(DataError, match="all training labels are equal"):
        ExponentiatedGradient(LinearRegression(), "bounded_group_loss", upper_bound=0.1).fit(X, np.full(200, 3.0), groups=groups)
    with pytest.raises(CaseError, match="KNeighborsClassifier takes none"):
        ExponentiatedGradient(KNeighborsClassifier(), "demographic_parity").fit(X, y, groups=groups)
    with pytest.raises(CaseError, match=r"`loss: absolute` does not fit a binary task.*zero_one"):
        ExponentiatedGradient(LogisticRegression(), "bounded_group_loss", upper_bound=0.1, loss="absolute").fit(X, y, groups=groups)
    with pytest.raises(CaseError, match="needs `upper_bound`"):
        ExponentiatedGradient(LogisticRegression(), "bounded_group_loss").fit(X, y, groups=groups)


def test_a_bound_that_cannot_be_met_is_said():
    """A group whose labels are noise cannot be told to a loss of 0.001: the step says so and by how much; a bound it keeps says nothing."""
    rng = np.random.default_rng(0)
    X, groups = rng.normal(size=(400, 2)), np.repeat(["a", "b"], 200)
    y = X[:, 0] + np.where(groups == "b", rng.normal(size=400), 0.0)
    tight = ExponentiatedGradient(LinearRegression(), "bounded_group_loss", upper_bound=0.001, max_iter=5, eps=0.001).fit(X, y, groups=groups)
    assert tight.note_.startswith("the bound of 0.001 is not met: b has 0.0")
    loose = ExponentiatedGradient(LinearRegression(), "bounded_group_loss", upper_bound=0.5, max_iter=5).fit(X, y, groups=groups)
    assert loose.note_ == ""

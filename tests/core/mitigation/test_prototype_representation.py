"""Prototype representation."""

import numpy as np
import pandas as pd
import pytest
from fairlearn.preprocessing import PrototypeRepresentationLearner as Theirs
from scipy.optimize import check_grad
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from tasks.core.errors import DataError
from tasks.core.mitigation.prototype_representation import PrototypeRepresentation, _Loss, memberships, parts


def make_rows(n: int = 60, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three features of which the first follows the group, and labels."""
    rng = np.random.default_rng(seed)
    groups = rng.choice(["a", "b", "c"], n).astype(object)
    X = rng.normal(size=(n, 3)) + np.outer(groups == "a", [2.0, 0.0, 0.0])
    X -= X.mean(axis=0)
    return X, (X[:, 0] + X[:, 1] + rng.normal(size=n) > 0).astype(int), groups


@pytest.fixture(scope="module")
def theirs() -> Theirs:
    """fairlearn's, fitted with two prototypes."""
    X, y, groups = make_rows()
    return Theirs(n_prototypes=2, random_state=0, tol=1e-3, max_iter=6).fit(X, y, sensitive_features=groups)


def test_memberships_are_fairlearn_s(theirs: Theirs) -> None:
    """For the same prototypes and weights the representation is fairlearn's, bit for bit."""
    X, _, _ = make_rows()
    np.testing.assert_array_equal(memberships(X, theirs.prototypes_, theirs.alpha_), theirs.transform(X))


def test_the_objective_is_fairlearn_s_and_its_gradient_right(theirs: Theirs) -> None:
    """At random points the loss is fairlearn's to 1e-10, and the gradient agrees with differences of it."""
    X, y, groups = make_rows()
    rng = np.random.default_rng(5)
    loss = _Loss(X, y, groups, (1.0, 1.0, 1.0))
    for _ in range(4):
        point = np.concatenate([rng.normal(size=6), rng.uniform(0.1, 0.9, size=2), rng.uniform(0.1, 2, size=3)])
        assert loss(point)[0] == pytest.approx(theirs._objective(point, X, y, pd.Series(groups)), abs=1e-10)
        assert check_grad(lambda at: loss(at)[0], lambda at: loss(at)[1], point) < 1e-5


def test_the_fit_is_as_good_as_fairlearn_s(theirs: Theirs) -> None:
    """From the same start the objective reached is fairlearn's or better."""
    X, y, groups = make_rows()
    seen = {}

    class Watched(PrototypeRepresentation):
        def fit(self, X, y, *, groups):  # type: ignore[no-untyped-def]
            super().fit(X, y, groups=groups)
            seen["loss"] = _Loss(X, y, groups, (1.0, 1.0, 1.0))
            return self

    model = Watched(n_prototypes=2).fit(X, y, groups=groups)
    reached = theirs._objective(np.concatenate([theirs.prototypes_.ravel(), theirs.coef_, theirs.alpha_]), X, y, pd.Series(groups))
    labels = min(
        seen["loss"](np.concatenate([model.prototypes_.ravel(), [first, second], model.scales_]))[0]
        for first in np.linspace(0, 1, 21)
        for second in np.linspace(0, 1, 21)
    )  # the prototypes' labels are not kept
    assert labels <= reached
    np.testing.assert_allclose(model.transform(X).sum(axis=1), 1.0)
    assert parts(np.arange(11.0), 3)[0].shape == (2, 3)


def test_fairness_weight_hides_the_group() -> None:
    """With more weight on fairness the groups' mean memberships move together, and the group is harder to tell from them."""
    X, y, groups = make_rows(600)

    def tell(weight: float) -> tuple[float, float]:
        model = PrototypeRepresentation(4, reconstruct_weight=0.1, fairness_weight=weight, seed=1).fit(X, y, groups=groups)
        seen = model.transform(X)
        means = np.array([seen[groups == group].mean(axis=0) for group in "abc"])
        spy = LogisticRegression(max_iter=1000).fit(seen, groups == "a")
        return float(np.ptp(means, axis=0).max()), float(roc_auc_score(groups == "a", spy.predict_proba(seen)[:, 1]))

    (open_gap, open_auc), (hidden_gap, hidden_auc) = tell(0.0), tell(50.0)
    assert hidden_gap < 0.1 * open_gap
    assert hidden_auc < open_auc - 0.1


def test_a_prototype_of_few_rows_is_left_out() -> None:
    """Nine rows far from all others get no prototype of their own: each is far from them and stands for ten rows or more."""
    X, y, groups = make_rows(200)
    X[:9] = [60.0, -60.0, 60.0]
    for count in (3, 6):
        model = PrototypeRepresentation(count).fit(X, y, groups=groups)
        assert model.transform(X[9:]).sum(axis=0).min() >= 10
        assert np.linalg.norm(model.prototypes_ - X[0], axis=1).min() > 60


def test_too_few_rows_or_one_label_are_refused() -> None:
    """Nineteen rows cannot give two prototypes of ten, and equal labels nothing to learn."""
    X, y, groups = make_rows(19)
    with pytest.raises(DataError, match="19 training rows give no two prototypes that stand for 10 rows each"):
        PrototypeRepresentation(2).fit(X, y, groups=groups)
    with pytest.raises(DataError, match="every training label is 0"):
        PrototypeRepresentation(2).fit(X, np.zeros(19, dtype=int), groups=groups)

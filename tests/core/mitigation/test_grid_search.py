"""Grid search."""

import fairlearn.reductions as theirs
import numpy as np
import pytest
from sklearn.base import is_classifier, is_regressor
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from tasks.core.errors import CaseError, DataError
from tasks.core.mitigation.grid_search import GridSearch

MOMENTS = {
    "demographic_parity": theirs.DemographicParity,
    "equalized_odds": theirs.EqualizedOdds,
    "true_positive_rate_parity": theirs.TruePositiveRateParity,
    "false_positive_rate_parity": theirs.FalsePositiveRateParity,
    "error_rate_parity": theirs.ErrorRateParity,
}


def make_rows(n: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A proxy of the group and a feature, and labels that differ by group."""
    rng = np.random.default_rng(4)
    groups = rng.choice(["a", "b"], n, p=[0.7, 0.3]).astype(object)
    X = np.column_stack([(groups == "a") + rng.normal(size=n), rng.normal(size=n)])
    return X, (X @ [1.0, 0.7] + rng.normal(size=n) > 0.6).astype(int), groups


@pytest.mark.parametrize("constraint", MOMENTS)
def test_the_choice_is_fairlearn_s(constraint: str) -> None:
    """Answers and probabilities are those of the estimator that fairlearn's grid search chooses."""
    X, y, groups = make_rows()
    ours = GridSearch(LogisticRegression(), constraint, grid_size=5).fit(X, y, groups=groups)
    reference = theirs.GridSearch(LogisticRegression(), MOMENTS[constraint](), grid_size=5).fit(X, y, sensitive_features=groups.astype(str))
    np.testing.assert_array_equal(ours.predict(X), reference.predict(X))
    np.testing.assert_array_equal(ours.predict_proba(X), reference.predict_proba(X))
    assert is_classifier(ours)


def test_the_gap_shrinks_as_the_constraint_weighs_more() -> None:
    """With all weight on the constraint the selection rates differ far less than in a plain fit."""
    X, y, groups = make_rows()

    def gap(answers: np.ndarray) -> float:
        return float(abs(answers[groups == "a"].mean() - answers[groups == "b"].mean()))

    plain = gap(LogisticRegression().fit(X, y).predict(X))
    fair = gap(GridSearch(LogisticRegression(), "demographic_parity", constraint_weight=1.0, grid_size=9).fit(X, y, groups=groups).predict(X))
    assert plain > 0.2
    assert fair < 0.3 * plain


@pytest.mark.parametrize("loss", [None, "absolute"])
def test_bounded_group_loss_is_fairlearn_s_in_regression(loss: str | None) -> None:
    """The chosen regression is fairlearn's, given labels scaled to 0..1, in the labels' own unit."""
    rng = np.random.default_rng(5)
    groups = np.array(["large"] * 300 + ["small"] * 60, dtype=object)
    x = rng.uniform(-1, 1, 360)
    y = 1000 + 100 * np.where(groups == "small", -x, x) + rng.normal(0, 1, 360)
    ours = GridSearch(LinearRegression(), "bounded_group_loss", loss=loss, constraint_weight=0.8).fit(x[:, None], y, groups=groups)
    moment = theirs.BoundedGroupLoss((theirs.AbsoluteLoss if loss else theirs.SquareLoss)(0, 1))
    reference = theirs.GridSearch(LinearRegression(), moment, constraint_weight=0.8)
    reference.fit(x[:, None], (y - y.min()) / np.ptp(y), sensitive_features=groups.astype(str))
    np.testing.assert_allclose(ours.predict(x[:, None]), y.min() + np.ptp(y) * reference.predict(x[:, None]), rtol=1e-10)
    assert is_regressor(ours)


def test_bounded_group_loss_is_fairlearn_s_in_classification() -> None:
    """The chosen classifier is the one that fairlearn chooses by the zero-one loss."""
    X, y, groups = make_rows()
    ours = GridSearch(LogisticRegression(), "bounded_group_loss").fit(X, y, groups=groups)
    reference = theirs.GridSearch(LogisticRegression(), theirs.BoundedGroupLoss(theirs.ZeroOneLoss())).fit(X, y, sensitive_features=groups.astype(str))
    np.testing.assert_array_equal(ours.predict(X), reference.predict(X))


def test_class_weight_is_the_error_s_cost() -> None:
    """A class weight is taken out of each fit and counts in the error: more positives are answered, as with fairlearn's costs."""
    X, y, groups = make_rows()
    plain = GridSearch(LogisticRegression(), "demographic_parity", grid_size=5).fit(X, y, groups=groups)
    heavy = GridSearch(LogisticRegression(class_weight={0: 1.0, 1: 5.0}), "demographic_parity", grid_size=5).fit(X, y, groups=groups)
    assert heavy.predict(X).mean() > plain.predict(X).mean() + 0.1
    assert heavy.estimator_.class_weight is None


def test_a_forest_keeps_no_weights() -> None:
    """The chosen forest drops the sample weights that scikit-learn leaves on it."""
    X, y, groups = make_rows(300)
    model = GridSearch(RandomForestClassifier(5, random_state=0), "demographic_parity", grid_size=3).fit(X, y, groups=groups)
    assert not hasattr(model.estimator_, "_sample_weight")


def test_what_cannot_be_equalised_is_refused() -> None:
    """A group without the rows whose rate is constrained and an estimator without weights are named."""
    X, y, groups = make_rows(200)
    with pytest.raises(DataError, match="group `b` has no training row with label 1"):
        GridSearch(LogisticRegression(), "equalized_odds").fit(X, np.where(groups == "b", 0, y), groups=groups)
    with pytest.raises(CaseError, match="KNeighborsClassifier takes none"):
        GridSearch(KNeighborsClassifier(), "demographic_parity").fit(X, y, groups=groups)

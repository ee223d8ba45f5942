"""Calibrated equalized odds."""

import numpy as np
import pytest

from tasks.core.errors import DataError
from tasks.core.mitigation.calibrated_equalized_odds import CalibratedEqualizedOdds, group_cost
from tasks.core.mitigation.draws import row_keys


def make_rows(n: int = 2000, seed: int = 3, names: str = "ab") -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Calibrated scores, sharper in group a, with labels drawn from them, groups and keys."""
    rng = np.random.default_rng(seed)
    groups = rng.choice(list(names), n).astype(object)
    sharp = np.where(groups == "a", 0.5, np.where(groups == "b", 2.0, 1.0))
    scores = rng.beta(sharp, sharp)
    return scores, (rng.random(n) < scores).astype(int), groups, row_keys([scores, np.arange(n, dtype=float)])


def expected_costs(model: CalibratedEqualizedOdds, scores: np.ndarray, y: np.ndarray, groups: np.ndarray) -> list[float]:
    """Each group's cost over the draw: shares are taken of the cost with the base rate for a score and with the scores as they are."""
    costs = []
    for number, group in enumerate(model.groups_):
        mine, share = groups == group, model.shares_[number]
        blind = np.full(mine.sum(), y[mine].mean())
        costs.append(share * group_cost(blind, y[mine], model.cost) + (1 - share) * group_cost(scores[mine], y[mine], model.cost))
    return costs


@pytest.mark.parametrize("names", ["ab", "abc"])
@pytest.mark.parametrize("cost", ["fnr", "fpr", "weighted"])
def test_every_group_bears_the_same_cost(cost: str, names: str) -> None:
    """On validation the groups' costs are equal over the draw to 1e-12, at the highest one, which had none of its scores replaced."""
    scores, y, groups, _ = make_rows(names=names)
    model = CalibratedEqualizedOdds(cost).fit(scores, y, groups=groups)
    before = [group_cost(scores[groups == group], y[groups == group], cost) for group in names]
    assert np.ptp(before) > 0.1
    np.testing.assert_allclose(expected_costs(model, scores, y, groups), max(before), rtol=1e-12)
    assert model.shares_[np.argmax(before)] == 0


def test_costs_worked_by_hand() -> None:
    """Generalised rates of three rows, and the mixing rate that equals two groups' false negative rates."""
    scores, y = np.array([0.2, 0.6, 0.7]), np.array([0, 0, 1])
    assert group_cost(scores, y, "fpr") == pytest.approx(0.4)
    assert group_cost(scores, y, "fnr") == pytest.approx(0.3)
    assert group_cost(scores, y, "weighted") == pytest.approx(2 / 3 * 0.4 + 1 / 3 * 0.3)
    groups = np.array(["a", "a", "b", "b"], dtype=object)
    model = CalibratedEqualizedOdds("fnr").fit(np.array([0.9, 0.1, 0.6, 0.4]), np.array([1, 0, 1, 0]), groups=groups)
    np.testing.assert_allclose(model.shares_, [(0.4 - 0.1) / (0.5 - 0.1), 0.0, 0.0])
    np.testing.assert_allclose(model.rates_, 0.5)


def test_the_draw_comes_near_the_equal_cost_and_keeps_calibration() -> None:
    """Over 40,000 rows the drawn scores' costs differ by the noise of a draw, and scores of about .7 are right about .7 of the time in each group."""
    model = CalibratedEqualizedOdds("fnr").fit(*make_rows()[:2], groups=make_rows()[2])
    scores, y, groups, keys = make_rows(40_000, seed=4)
    new = model.transform(scores, groups=groups, keys=keys)
    costs = [group_cost(new[groups == group], y[groups == group], "fnr") for group in "ab"]
    assert np.ptp(costs) < 0.03
    for group in "ab":
        about = (groups == group) & (np.abs(new - 0.7) < 0.05)
        assert y[about].mean() == pytest.approx(0.7, abs=0.04)


def test_a_row_has_the_same_score_in_every_batch_and_the_seed_decides() -> None:
    """A row's score depends on its key and the seed, not on the rows beside it."""
    scores, y, groups, keys = make_rows()
    model = CalibratedEqualizedOdds("fnr").fit(scores, y, groups=groups)
    new = model.transform(scores, groups=groups, keys=keys)
    np.testing.assert_array_equal(model.transform(scores[::-1], groups=groups[::-1], keys=keys[::-1])[::-1], new)
    assert np.any(CalibratedEqualizedOdds("fnr", seed=1).fit(scores, y, groups=groups).transform(scores, groups=groups, keys=keys) != new)


def test_an_unseen_group_keeps_its_scores() -> None:
    """Rows of a group that validation did not show are not drawn."""
    scores, y, groups, keys = make_rows()
    model = CalibratedEqualizedOdds("fnr").fit(scores, y, groups=groups)
    np.testing.assert_array_equal(model.transform(scores, groups=np.full(len(scores), "z", dtype=object), keys=keys), scores)
    assert model.known_groups == ("a", "b")


def test_what_cannot_be_made_equal_is_refused() -> None:
    """A group whose base rate costs less than the other's scores, and one with a single label, are named with the way out."""
    scores = np.array([0.9, 0.8, 0.6, 0.7, 0.1, 0.1, 0.1, 0.2])
    y, groups = np.array([1, 1, 0, 0, 1, 0, 0, 0]), np.array(["a"] * 4 + ["b"] * 4, dtype=object)
    with pytest.raises(DataError, match=r"group `b` cannot bear the fpr cost of `a`, 0\.6500.*costs 0\.2500.*`params.cost`"):
        CalibratedEqualizedOdds("fpr").fit(scores, y, groups=groups)
    with pytest.raises(DataError, match="group `b` has no validation row with label 1"):
        CalibratedEqualizedOdds().fit(scores, np.where(groups == "b", 0, y), groups=groups)

"""Weights in slices, the error tree and heatmaps: what they change, and what they must not."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tasks.core.error_tree import heatmap, tree
from tasks.core.errors import DataError
from tasks.core.evaluation import evaluate
from tasks.core.slices import find

FIGURES = ["value", "coverage", "false_positive_rate", "false_negative_rate"]


def table(rows: int = 4000, seed: int = 1, rate: Any = None) -> pd.DataFrame:
    """Predictions with columns c0, c1, c2 of four codes, wrong more often where c0 is 1."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({f"c{place}": random.integers(0, 4, rows) for place in range(3)})
    y = random.integers(0, 2, rows)
    chance = np.where(frame.c0 == 1, 0.35, 0.1) if rate is None else rate(frame)
    return frame.assign(y_true=y, y_pred=np.where(random.random(rows) < chance, 1 - y, y))


def test_equal_weights_change_nothing() -> None:
    """Rows of the same weight, whatever it is, give to the bit what rows without weights give."""
    frame = table()
    for weight in (1, 0.1, 7.0):
        heavy = frame.assign(weight=weight)
        pd.testing.assert_frame_equal(find(heavy).frame(), find(frame).frame(), check_exact=True)
        pd.testing.assert_frame_equal(tree(heavy).frame(), tree(frame).frame(), check_exact=True)
        pd.testing.assert_frame_equal(heatmap(heavy, ["c0", "c1"]), heatmap(frame, ["c0", "c1"]), check_exact=True)


def test_scaling_weights_changes_nothing() -> None:
    """Weights count beside each other only: ten times all of them is the same."""
    frame = table().assign(weight=np.random.default_rng(0).uniform(0.1, 3, 4000))
    ten = frame.assign(weight=10 * frame.weight)
    for one, two in ((find(frame).frame(), find(ten).frame()), (tree(frame).frame(), tree(ten).frame()), (heatmap(frame, "c0"), heatmap(ten, "c0"))):
        pd.testing.assert_frame_equal(one, two, rtol=1e-9)


def test_whole_weights_are_rows_again() -> None:
    """Shares and rates under whole weights are those of a table with each row as many times; n stays the number of rows."""
    frame = table(seed=3).assign(weight=np.random.default_rng(2).integers(0, 4, 4000))
    again = frame.loc[frame.index.repeat(frame.weight)].drop(columns="weight")
    cells, expected = (heatmap(one, ["c0", "c1"]).sort_values(["row", "column"]) for one in (frame, again))
    np.testing.assert_allclose(cells.value, expected.value, atol=1e-12)
    assert cells.n.sum() == 4000
    nodes = tree(frame, columns=["c0"], depth=1).frame()
    repeated = tree(again, columns=["c0"], depth=1).frame()
    assert nodes.condition[1] == repeated.condition[1] == "c0 = 1"
    np.testing.assert_allclose(nodes[FIGURES].to_numpy(), repeated[FIGURES].to_numpy(), atol=1e-12)
    assert nodes.n[0] == 4000
    found = find(frame).frame()
    assert found.condition[0] == "c0 = 1"
    inside = again[again.c0 == 1]
    assert found.value[0] == pytest.approx((inside.y_true != inside.y_pred).mean(), abs=1e-12)
    assert found.overall[0] == pytest.approx((again.y_true != again.y_pred).mean(), abs=1e-12)
    assert found.n[0] == (frame.c0 == 1).sum()


def test_what_weighs_is_what_is_found() -> None:
    """A slice whose errors are no more than elsewhere, but on the heavy rows, is found by weight and by nothing else."""
    random = np.random.default_rng(6)
    n = 20_000
    frame = pd.DataFrame({"c0": random.integers(0, 4, n), "c1": random.integers(0, 4, n), "weight": random.choice([1.0, 4.0], n)})
    chance = np.where(frame.c0 == 2, np.where(frame.weight == 4, 0.3, 0.1), 0.2)
    frame = frame.assign(y_true=0, y_pred=random.random(n) < chance)
    found = find(frame).frame()
    assert found.condition[0] == "c0 = 2"
    assert found.confirmed[0]
    assert not find(frame.drop(columns="weight")).frame().confirmed.any()
    assert tree(frame).frame().condition[1] == "c0 = 2"
    assert len(tree(frame.drop(columns="weight")).nodes) == 1


def test_the_weighted_p_value_is_scipys() -> None:
    """One slice: the larger of Welch's t on weight * (error - mean error) of the half and of the score of a draw, times two."""
    frame = table(3000, seed=8).drop(columns=["c1", "c2"]).assign(c0=lambda f: f.c0 == 1, weight=np.random.default_rng(5).lognormal(0, 0.7, 3000))
    found = find(frame, seed=4).frame()
    assert found.condition.tolist() == ["c0 = TRUE"]
    drawn = np.random.default_rng(4).integers(0, 2, len(frame), dtype=np.uint8) == 1
    p = []
    for half in (frame[drawn], frame[~drawn]):
        weight = half.weight / frame.weight.mean()
        wrong = (half.y_true != half.y_pred).astype(float)
        tested = weight * (wrong - np.average(wrong, weights=weight))
        inside = tested[half.c0]
        welch = stats.ttest_ind(inside, tested[~half.c0], equal_var=False, alternative="greater").pvalue
        n, whole = len(inside), len(half)
        error = tested.std(ddof=0) * np.sqrt((whole - n) / (whole - 1) / n)
        p.append(max(welch, stats.norm.sf((inside.mean() - tested.mean()) / error)))
    assert found.p_value[0] == pytest.approx(2 * min(p), rel=1e-6)


@pytest.mark.parametrize("weights", ["of chance", "of a column"])
def test_weighted_errors_that_depend_on_nothing_confirm_no_slice(weights: str) -> None:
    """Weights, even such as go with a column, do not make slices of chance (small version: 4 of 40 at most)."""
    false = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        frame = table(3000, seed + 500, lambda f: 0.1)
        weight = random.lognormal(0, 1, 3000) * (np.where(frame.c1 == 0, 6, 1) if weights == "of a column" else 1)
        false += bool(find(frame.assign(weight=weight), seed=seed).frame().confirmed.any())
    assert false <= 4


def test_limits_of_a_cell_are_the_evaluations() -> None:
    """Under weights a cell's value and limits are those that the engine gives the same condition, turned from accuracy to error."""
    frame = table(1500, seed=4).assign(weight=np.random.default_rng(9).exponential(1, 1500) + 0.01)
    cells = heatmap(frame, ["c0", "c1"])
    where = dict(zip(cells.condition, cells.condition, strict=True))
    rows = evaluate(frame, task="binary", where=where, metrics=["accuracy"]).frame()
    rows = rows[rows.kind == "filter"]
    np.testing.assert_allclose(cells.value, 1 - rows.value, atol=1e-12)
    np.testing.assert_allclose(cells.low, 1 - rows.high, atol=1e-12)
    np.testing.assert_allclose(cells.high, 1 - rows.low, atol=1e-12)
    numbers = frame.assign(y_true=0.0, y_pred=np.random.default_rng(1).normal(size=1500))
    cells = heatmap(numbers, ["c0", "c1"])
    rows = evaluate(numbers, task="regression", where=where, metrics=["mae"]).frame()
    rows = rows[rows.kind == "filter"]
    for name in ("value", "low", "high"):
        np.testing.assert_allclose(cells[name], rows[name], atol=1e-12)


@pytest.mark.parametrize(("weight", "words"), [(-1.0, "outside"), (np.nan, "no value"), (np.inf, "outside|not finite"), (0.0, "0 in every row")])
def test_weights_that_cannot_be_are_refused(weight: float, words: str) -> None:
    """A negative, missing or infinite weight is refused, and so are weights that leave nothing."""
    frame = table(200).assign(weight=0.0 if weight == 0 else 1.0)
    frame.loc[7, "weight"] = weight
    for work in (find, tree, lambda predictions: heatmap(predictions, "c0")):
        with pytest.raises(DataError, match=words):
            work(frame)


def test_rows_of_no_weight_say_nothing() -> None:
    """A cell and a node whose rows all weigh nothing are undefined, not 0; no slice is made of them."""
    frame = table().assign(weight=lambda f: np.where(f.c1 == 3, 0.0, 1.0 + (f.c2 == 0)))
    cells = heatmap(frame, "c1").set_index("row").sort_index()
    assert cells.verdict.tolist() == ["ok", "ok", "ok", "undefined"]
    assert cells.value.isna().tolist() == [False, False, False, True]
    assert not find(frame).frame().condition.str.fullmatch("c1 = 3").any()
    assert tree(frame).frame().verdict.eq("ok").all()

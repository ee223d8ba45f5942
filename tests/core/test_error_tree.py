"""The error tree and the heatmap: their figures, and the rows that their conditions select."""

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import stats

from tasks.core.cohorts import memberships, parse_conditions
from tasks.core.error_tree import CELLS, NODES, heatmap, tree
from tasks.core.errors import CaseError, DataError
from tasks.core.predictions import Source
from tasks.core.slice_columns import read_column, union


def selected(predictions: Any, condition: str) -> np.ndarray:
    """The rows that the engine selects by a condition."""
    source = Source(predictions)
    return memberships(source.polars(source.names), parse_conditions({"node": condition}, source.names))[0].to_numpy()


def by_hand() -> pd.DataFrame:
    """200 rows: of 100 in `left` 60 positives with 30 missed and 40 negatives with 10 false alarms; `right` is all right."""
    left = [(1, 0)] * 30 + [(1, 1)] * 30 + [(0, 1)] * 10 + [(0, 0)] * 30
    right = [(1, 1)] * 50 + [(0, 0)] * 50
    return pd.DataFrame([("left", *pair) for pair in left] + [("right", *pair) for pair in right], columns=["side", "y_true", "y_pred"])


def test_nodes_have_the_figures_worked_by_hand() -> None:
    """Size, error rate, coverage, FPR = FP / (FP + TN) and FNR = FN / (FN + TP) of a table small enough to count."""
    frame = tree(by_hand()).frame()
    assert tuple(frame.columns) == NODES
    expected = [
        (None, None, 0, 200, 40.0, 0.2, 1.0, 10 / 90, 30 / 110),
        (0, "side = 'left'", 1, 100, 40.0, 0.4, 1.0, 10 / 40, 30 / 60),
        (0, "side = 'right'", 1, 100, 0.0, 0.0, 0.0, 0.0, 0.0),
    ]
    for row, (parent, condition, depth, n, errors, value, coverage, fpr, fnr) in zip(frame.itertuples(), expected, strict=True):
        assert (None if pd.isna(row.parent) else row.parent, row.condition, row.depth, row.n) == (parent, condition, depth, n)
        assert (row.errors, row.value, row.coverage) == pytest.approx((errors, value, coverage))
        assert (row.false_positive_rate, row.false_negative_rate) == pytest.approx((fpr, fnr))


def _mixed(rows: int = 6000) -> pd.DataFrame:
    random = np.random.default_rng(2)
    frame = pd.DataFrame(
        {
            "age": random.integers(18, 90, rows),
            "pay per hour": np.where(random.random(rows) < 0.2, np.nan, random.lognormal(3, 1, rows)),
            "city": random.choice(np.array(["Oslo", "Bergen", "Tromsø", "O'Hara", None], dtype=object), rows),
            "noise": random.integers(0, 6, rows),
        }
    )
    rate = 0.05 + 0.3 * ((frame.age > 60) & frame["pay per hour"].isna()) + 0.2 * frame.city.isin(["Oslo", "O'Hara"])
    y = random.integers(0, 2, rows)
    return frame.assign(y_true=y, y_pred=np.where(random.random(rows) < rate, 1 - y, y))


@pytest.mark.parametrize("form", ["pandas", "polars"])
def test_conditions_of_nodes_select_their_rows(form: str) -> None:
    """Every node's rows are those its condition selects, with their error, and the children of a node share its rows out."""
    frame = _mixed()
    wrong = (frame.y_true != frame.y_pred).to_numpy()
    table: Any = frame if form == "pandas" else pl.from_pandas(frame, nan_to_null=False)
    nodes = tree(table, depth=4).frame()
    assert nodes.depth.max() >= 2
    assert nodes.condition.str.contains("IS NULL").any()
    assert any(f"IN ({pair})" in str(condition) for condition in nodes.condition for pair in ("'Oslo', 'O''Hara'", "'O''Hara', 'Oslo'"))
    for node in nodes.itertuples():
        rows = np.ones(len(frame), dtype=bool) if node.condition is None else selected(table, node.condition)
        assert rows.sum() == node.n
        assert wrong[rows].sum() == node.errors
        below = nodes[nodes.parent == node.node]
        assert len(below) in (0, 2)
        if len(below):
            assert below.n.sum() == node.n
            assert below.coverage.sum() == pytest.approx(node.coverage)
            assert below.value.is_monotonic_decreasing
    assert not nodes.condition.str.contains("noise").any()


def test_unions_of_parts_select_the_rows_of_any() -> None:
    """A run of intervals, with or without the missing values, is one condition for exactly those rows."""
    frame = pl.DataFrame({"x": [float(k) for k in range(60)] + [float("nan"), None, float("inf")], "y_true": 1, "y_pred": 1})
    column = read_column(Source(frame), "x")
    last = len(column.marks)
    for first, stop in combinations(range(last + 2), 2):
        for missing in ([], [last + 1]):
            codes = [*range(first, stop), *missing]
            np.testing.assert_array_equal(selected(frame, union(column, codes)), np.isin(column.codes, codes), err_msg=union(column, codes))


def test_a_tree_of_chance_has_no_splits() -> None:
    """With errors that depend on nothing, at most one tree in twenty splits (small version: 3 of 30 at most)."""
    split = 0
    for seed in range(30):
        random = np.random.default_rng(seed)
        frame = pd.DataFrame({f"c{k}": random.integers(0, 6, 1500) for k in range(5)} | {"x": random.normal(size=1500), "y_true": 0})
        split += len(tree(frame.assign(y_pred=random.random(1500) < 0.2)).nodes) > 1
    assert split <= 3


def test_trees_of_regression_have_mean_errors() -> None:
    """For numbers a node's value is the mean error, coverage its share of the sum; FPR and FNR are not defined."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"g": random.choice(["a", "b", "c"], 3000), "y_true": 0.0})
    frame["y_pred"] = random.exponential(1, 3000) * np.where(frame.g == "b", 3, 1)
    nodes = tree(frame, error="squared").frame()
    assert nodes.condition[1] == "g = 'b'"
    assert nodes.value[1] == pytest.approx((frame.y_pred[frame.g == "b"] ** 2).mean())
    assert nodes.coverage[1] == pytest.approx((frame.y_pred[frame.g == "b"] ** 2).sum() / (frame.y_pred**2).sum())
    assert nodes.false_positive_rate.isna().all()


def test_a_tree_becomes_json_and_refuses_what_cannot_be() -> None:
    """The dictionary is plain; a depth below 1 and a named column of too many values are refused."""
    found = tree(by_hand()).to_dict()["tree"]
    assert found[0]["parent"] is None
    assert found[1]["parent"] == 0
    assert type(found[1]["n"]) is int
    with pytest.raises(CaseError, match="depth"):
        tree(by_hand(), depth=0)
    many = by_hand().assign(code=[f"v{k % 40}" for k in range(200)])
    with pytest.raises(DataError, match="`code` has more than 30 values"):
        tree(many, columns=["code"])
    assert len(tree(many).nodes) == 3


def test_support_is_kept() -> None:
    """No node below the root is smaller than min_support."""
    nodes = tree(_mixed(), depth=5, min_support=700).frame()
    assert (nodes.n >= 700).all()


def test_heatmap_counts_and_wilson_limits() -> None:
    """Every cell has the rows and errors of its two values, scipy's Wilson limits, and a condition for its rows; empty cells show as empty."""
    frame = pd.DataFrame(
        {
            "a": ["x"] * 30 + ["y"] * 20,
            "b": pd.array([1] * 20 + [2] * 10 + [1] * 20, dtype="Int64"),
            "y_true": 1,
            "y_pred": [0] * 5 + [1] * 15 + [1] * 10 + [0] * 20,
        }
    )
    cells = heatmap(frame, ["a", "b"])
    assert tuple(cells.columns) == CELLS
    assert cells[["row", "column", "n", "errors"]].to_numpy().tolist() == [["x", "1", 20, 5], ["x", "2", 10, 0], ["y", "1", 20, 20], ["y", "2", 0, 0]]
    for cell in cells.itertuples():
        assert selected(frame, cell.condition).sum() == cell.n
        if cell.n:
            limits = stats.binomtest(int(cell.errors), cell.n).proportion_ci(method="wilson")
            assert (cell.value, cell.low, cell.high) == pytest.approx((cell.errors / cell.n, limits.low, limits.high))
    assert cells[["value", "low", "high"]].isna().all(axis=1).tolist() == [False, False, False, True]


def test_heatmap_of_one_feature_and_of_numbers() -> None:
    """One feature gives a row of cells; for regression the limits are Student's; rare values are one cell without a condition."""
    random = np.random.default_rng(1)
    frame = pd.DataFrame({"x": random.normal(size=500), "code": [f"v{min(k, 60)}" for k in range(500)], "y_true": 0.0, "y_pred": random.normal(size=500)})
    cells = heatmap(frame, "x")
    assert len(cells) == 10
    assert cells.n.sum() == 500
    assert cells["column"].isna().all()
    for cell in cells.itertuples():
        own = frame.y_pred[selected(frame, cell.condition)].abs()
        low, high = stats.t.interval(0.95, len(own) - 1, own.mean(), own.std(ddof=1) / np.sqrt(len(own)))
        assert (cell.value, cell.low, cell.high) == pytest.approx((own.mean(), low, high))
    rare = heatmap(frame.assign(code=[f"v{min(k // 2, 60)}" for k in range(500)]), "code", k=0)
    assert rare.n.sum() == 500
    assert rare[rare.row == "other"].condition.isna().all()


def test_heatmaps_are_of_one_or_two_columns() -> None:
    """Three columns, one twice, or one that is not there are refused."""
    for features in (["side", "side"], [], ["side", "y_true", "y_pred"]):
        with pytest.raises(CaseError, match="one or two columns"):
            heatmap(by_hand(), features)
    with pytest.raises(DataError, match="Did you mean `side`"):
        heatmap(by_hand(), "sid")

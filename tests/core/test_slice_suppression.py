"""What slices, error trees and heatmaps do not say: figures of few rows, and what gives them away by subtraction."""

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.core.error_tree import ErrorTree, heatmap, tree
from tasks.core.hiding import hidden_cells, hidden_parts
from tasks.core.report import records
from tasks.core.slices import find


def wrong(frame: pd.DataFrame, chance: np.ndarray, seed: int = 0) -> pd.DataFrame:
    """Labels, and predictions that are wrong by this chance."""
    random = np.random.default_rng(seed)
    y = random.integers(0, 2, len(frame))
    return frame.assign(y_true=y, y_pred=np.where(random.random(len(frame)) < chance, 1 - y, y))


def test_no_slice_has_fewer_than_ten_rows_or_all_but_fewer() -> None:
    """Whatever support is asked for, a slice has ten rows and leaves ten."""
    few = np.arange(600) < 8
    frame = wrong(pd.DataFrame({"c": np.where(few, "few", "many"), "d": np.arange(600) % 2}), np.where(few, 1.0, 0.3))
    assert not find(frame, min_support=1).frame().condition.str.contains("'few'|'many'").any()
    frame = wrong(frame, np.where(few, 0.0, 0.9))
    assert not find(frame, min_support=1).frame().condition.str.contains("'few'|'many'").any()
    enough = np.arange(600) < 24
    frame = wrong(pd.DataFrame({"c": np.where(enough, "few", "many")}), np.where(enough, 1.0, 0.1))
    assert find(frame, min_support=1).frame().condition.tolist() == ["c = 'few'"]


def test_two_slices_do_not_differ_by_fewer_than_ten_rows() -> None:
    """Of a slice and another that holds it and a few rows more, only the stronger is reported."""
    for seed in range(5):
        rows = np.arange(3000)
        frame = pd.DataFrame({"c": np.where(rows < 34, "x", "y"), "d": np.where((rows < 28) | (rows % 2 == 0), "p", "q")})
        frame = wrong(frame, np.where((frame.c == "x") & (frame.d == "p"), 0.95, np.where(frame.c == "x", 0.8, 0.1)), seed)
        found = find(frame, min_support=10, seed=seed).slices
        sizes = {one.condition: one.n for one in found}
        inside = "c = 'x' AND d = 'p'"
        assert sum(condition in sizes for condition in ("c = 'x'", inside)) == 1
        nested = [(one, two) for one in found for two in found if set(one.condition.split(" AND ")) < set(two.condition.split(" AND "))]
        assert all(one.n - two.n >= 10 for one, two in nested)


def _spoilt(seed: int = 2) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    rows = 600
    frame = pd.DataFrame({"a": random.choice(["p", "q", "r"], rows), "b": np.where(np.arange(rows) < 6, "rare", random.choice(["s", "t"], rows))})
    return wrong(frame, np.where(frame.b == "rare", 1.0, np.where(frame.a == "p", 0.5, 0.05)), seed)


def test_a_small_node_hides_its_sibling_and_all_below() -> None:
    """A node of six rows has no figures, nor has its sibling, which would give it away, nor what lies below that."""
    frame = _spoilt()
    everything = tree(frame, columns=["b", "a"], min_support=1, depth=4, k=0)
    seen = tree(frame, columns=["b", "a"], min_support=1, depth=4)
    small = [node.node for node in everything.nodes if node.n is not None and node.n < 10]
    assert small
    for one, two in zip(everything.nodes, seen.nodes, strict=True):
        assert (one.node, one.parent, one.condition) == (two.node, two.parent, two.condition)
        if two.verdict == "insufficient":
            assert two.n is None
            assert np.isnan([two.errors, two.value, two.coverage, two.false_positive_rate, two.false_negative_rate]).all()
        else:
            assert two.n == one.n
            assert two.value == one.value
    _no_subtraction(everything, seen)
    assert seen.frame().n.dtype == "Int64"
    assert {row["n"] for row in seen.to_dict()["tree"] if row["verdict"] == "insufficient"} == {None}


def _no_subtraction(everything: ErrorTree, seen: ErrorTree) -> None:
    hidden = {node.node for node in seen.nodes if node.n is None}
    for node in everything.nodes:
        children = [child for child in everything.nodes if child.parent == node.node]
        gone = [child for child in children if child.node in hidden]
        assert (node.n or 0) >= 10 or node.node in hidden
        if node.node in hidden:
            assert gone == children
        assert not gone or (len(gone) == 2)


def test_rates_of_few_rows_are_hidden_though_the_node_is_not() -> None:
    """A false positive rate among four negatives is left out, and so is the sibling's, from which it could be told."""
    left = pd.DataFrame({"side": "left", "y_true": [0] * 4 + [1] * 196, "y_pred": [1] * 4 + [0] * 80 + [1] * 116})
    right = pd.DataFrame({"side": "right", "y_true": [0] * 100 + [1] * 100, "y_pred": [0] * 98 + [1] * 102})
    nodes = tree(pd.concat([left, right])).frame()
    assert nodes.verdict.tolist() == ["ok", "ok", "ok"]
    assert nodes.false_positive_rate.isna().tolist() == [False, True, True]
    assert nodes.false_negative_rate.notna().all()
    assert tree(pd.concat([left, right]), k=0).frame().false_positive_rate.notna().all()


def test_a_table_of_few_rows_says_nothing() -> None:
    """Nine rows have no tree and no heatmap with figures."""
    frame = wrong(pd.DataFrame({"c": [0, 1] * 4 + [0]}), np.full(9, 0.5))
    assert tree(frame).frame().verdict.tolist() == ["insufficient"]
    assert heatmap(frame, "c").verdict.tolist() == ["insufficient", "insufficient"]


def test_a_small_cell_hides_the_next_smallest() -> None:
    """Of one feature the second smallest value is hidden with a small one; hidden cells have no figures in JSON."""
    frame = wrong(pd.DataFrame({"c": ["a"] * 100 + ["b"] * 40 + ["few"] * 5 + ["c"] * 60}), np.full(205, 0.2))
    cells = heatmap(frame, "c").set_index("row")
    assert cells.verdict.to_dict() == {"a": "ok", "b": "insufficient", "few": "insufficient", "c": "ok"}
    assert cells.loc[["b", "few"], ["n", "errors", "value", "low", "high"]].isna().all(axis=None)
    assert [row["n"] for row in records(cells)] == [100, None, None, 60]
    assert heatmap(frame, "c", k=0).n.tolist() == [100, 40, 5, 60]


def test_cells_of_two_features_are_hidden_as_a_table_is() -> None:
    """One small cell hides one more in its row and in its column, and a fourth to close the square; empty cells hide nobody."""
    n = np.array([[3, 50, 60, 20], [40, 70, 55, 30], [80, 45, 90, 35]])
    hidden = hidden_cells(n, 10)
    assert hidden.tolist() == [[True, False, False, True], [True, False, False, True], [False, False, False, False]]
    assert not hidden_cells(np.array([[10, 0], [0, 20]]), 10).any()


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.data())
def test_no_line_of_cells_gives_fewer_than_k_rows_away(rows: int, columns: int, data: st.DataObject) -> None:
    """In every row, every column and the whole, the hidden cells are none, or the line's own total is hidden, or they hold k rows."""
    n = np.array(data.draw(st.lists(st.integers(0, 40), min_size=rows * columns, max_size=rows * columns))).reshape(rows, columns)
    hidden = hidden_cells(n, 10)
    assert hidden[(n > 0) & (n < 10)].all()
    shown = np.where(hidden, 0, n)
    for axis in (0, 1, None):
        left = n.sum(axis=axis) - shown.sum(axis=axis)
        alone = (hidden & (n > 0)).sum(axis=axis) == 1
        closed = hidden.all(axis=axis)
        assert np.all((left == 0) | ((left >= 10) & ~alone) | closed)


def test_hidden_parts_leave_what_is_enough() -> None:
    """With nothing small nothing is hidden; k = 0 hides nothing; what is hidden already spreads to its own parts."""
    families = [(0, np.array([1, 2])), (1, np.array([3, 4]))]
    n = np.array([100.0, 60.0, 40.0, 30.0, 30.0])
    assert not hidden_parts(n, families, 10).any()
    assert not hidden_parts(np.array([100.0, 97.0, 3.0, 95.0, 2.0]), families, 0).any()
    also = np.array([False, True, False, False, False])
    assert hidden_parts(n, families, 10, also).tolist() == [False, True, True, True, True]

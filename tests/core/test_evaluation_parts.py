"""Mergeable summaries: parts add up to exactly the whole, in memory or read in batches."""

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.core import streaming
from tasks.core.cells import merge
from tasks.core.errors import DataError
from tasks.core.evaluation import evaluate, make_plan, report_of, summarise
from tasks.core.exact import ExactSums
from tasks.core.predictions import Source
from tasks.core.streaming import fold_stream, stream_plan

NUMBERS = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e30, max_value=1e30)


def table(seed: int, n: int, task: str = "binary", weighted: bool = True) -> pd.DataFrame:
    """Random predictions with awkward groups."""
    random = np.random.default_rng(seed)
    y = random.integers(0, 2, n)
    frame = pd.DataFrame({"y_true": y, "y_pred": random.integers(0, 2, n), "y_score": random.random(n), "age": random.integers(0, 99, n)})
    if task == "regression":
        frame["y_true"] = random.lognormal(0, 6, n)
        frame["y_pred"] = frame.y_true * random.lognormal(0, 1, n)
    frame["g"] = random.choice(np.array(["ä", "b, c=d", "", None], dtype=object), n)
    frame["h"] = random.choice(["x", "y"], n)
    return frame.assign(weight=random.lognormal(0, 3, n)) if weighted else frame


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), cuts=st.lists(st.integers(1, 59), max_size=4), task=st.sampled_from(["binary", "regression"]), weighted=st.booleans())
def test_parts_add_up_to_exactly_the_whole(seed: int, cuts: list[int], task: str, weighted: bool) -> None:
    """However a table is divided, its parts' summaries add up to the summary of the whole, and give the same report."""
    frame = table(seed, 60, task, weighted)
    source = Source(frame)
    plan, metrics = make_plan(source, task=task, by=[["g", "h"], ["g"], ["h"], ["age"]], bins={"age": [30, 60]}, where={"Old": "age > 50"})
    edges = [0, *sorted(set(cuts)), 60]
    parts = [summarise(Source(frame[start:stop]), plan) for start, stop in pairwise(edges)]
    whole = summarise(source, plan)
    assert merge(parts).same(whole)
    assert merge(parts[::-1]).same(whole)
    one, two = report_of(merge(parts), metrics), report_of(whole, metrics)
    pd.testing.assert_frame_equal(one.frame(), two.frame(), check_exact=not weighted)


@settings(max_examples=200, deadline=None)
@given(values=st.lists(NUMBERS, min_size=1, max_size=40), cut=st.integers(0, 40))
def test_exact_sums_do_not_depend_on_order_or_division(values: list[float], cut: int) -> None:
    """Exact sums of any numbers are the same however they are ordered and divided, and correct to the last digits of the largest."""
    numbers = np.array(values)
    whole = ExactSums.of(numbers, None, 1)
    assert ExactSums.of(numbers[::-1].copy(), None, 1) == whole
    if 0 < cut < len(values):
        here = np.zeros(1, dtype=np.int64)
        parts = ExactSums.of(numbers[:cut], None, 1).plus(ExactSums.of(numbers[cut:], None, 1), here, here, 1)
        assert parts == whole
    assert float(whole.floats()[0]) == pytest.approx(math.fsum(values), rel=1e-15, abs=len(values) * 2.0**-52 * max(map(abs, values)) + 1e-290)


def parts(folder: Path, frame: pd.DataFrame, count: int) -> Path:
    """The table as a folder of Parquet parts."""
    folder.mkdir()
    for number, rows in enumerate(np.array_split(np.arange(len(frame)), count)):
        frame.iloc[rows].to_parquet(folder / f"part-{number}.parquet", row_group_size=700)
    return folder


@pytest.mark.parametrize("weighted", [False, True])
def test_a_folder_read_in_batches_gives_the_report_of_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weighted: bool) -> None:
    """Read in batches, everything but the ranking measures is the same to the last digit; those stay within their bound."""
    frame = table(1, 6000, weighted=weighted)
    folder = parts(tmp_path / "parts", frame, 3)
    arguments = {"task": "binary", "by": [["g"], ["g", "h"]], "where": {"Old": "age > 50"}}
    expected = evaluate(frame, **arguments).frame().set_index(["cohort", "metric"])
    monkeypatch.setattr(streaming, "IN_MEMORY", 1000)
    monkeypatch.setattr(streaming, "BATCH", 1024)
    report = evaluate(folder, **arguments)
    found = report.frame().set_index(["cohort", "metric"])
    ordered = found.index.get_level_values("metric").isin(["roc_auc", "average_precision"])
    pd.testing.assert_frame_equal(found[~ordered], expected[~ordered], check_exact=True)
    curves = report.stats.curves()
    for metric, bound in (("roc_auc", curves.auc_bound), ("average_precision", curves.average_precision_bound)):
        one, two = (rows.xs(metric, level="metric") for rows in (found, expected))
        assert (bound > 0).any()
        assert weighted or (bound < 0.02).all()  # with such weights single rows may hold most of a cohort
        assert (np.abs(one.value - two.value).to_numpy() <= bound + 1e-12).all()
        assert (one.low <= two.value).all()
        assert (one.high >= two.value).all()


def test_medians_in_batches_lie_in_their_bin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A median read in batches is within a bin of the true one."""
    frame = table(2, 5000, "regression", weighted=False)
    folder = parts(tmp_path / "parts", frame, 2)
    expected = evaluate(frame, task="regression", by=["h"], metrics=["median_ae"]).frame()
    monkeypatch.setattr(streaming, "IN_MEMORY", 1000)
    found = evaluate(folder, task="regression", by=["h"], metrics=["median_ae"]).frame()
    np.testing.assert_allclose(found.value, expected.value, rtol=0.05)
    assert (found.low <= found.value).all()
    assert (found.value <= found.high).all()


def test_multiclass_in_batches_knows_every_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A class that occurs only in a later part is known to the plan."""
    frame = pd.DataFrame({"y_true": ["a"] * 2000 + ["z"] * 1000, "y_pred": ["a"] * 2500 + ["z"] * 500})
    folder = parts(tmp_path / "parts", frame, 3)
    monkeypatch.setattr(streaming, "IN_MEMORY", 1000)
    monkeypatch.setattr(streaming, "BATCH", 1024)
    assert evaluate(folder, task="multiclass").frame().equals(evaluate(frame, task="multiclass").frame())


def test_summaries_of_different_plans_do_not_add() -> None:
    """Parts folded for different questions are refused."""
    source = Source(table(0, 50))
    one, two = (summarise(source, make_plan(source, task="binary", by=by)[0]) for by in (["g"], ["h"]))
    with pytest.raises(DataError, match="different plans"):
        one + two


def test_the_same_plan_serves_parts_elsewhere(tmp_path: Path) -> None:
    """One plan for a folder, each part folded on its own: the sum is the folder's."""
    folder = parts(tmp_path / "parts", table(4, 3000), 3)
    plan, _ = stream_plan(folder, task="binary", by=[["g", "h"]])
    alone = merge([summarise(Source(part), plan) for part in sorted(folder.iterdir())])
    assert alone.same(fold_stream(folder, plan))

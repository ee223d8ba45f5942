"""Error slices: what is counted, what is confirmed, and what a condition selects."""

import datetime as dt
from decimal import Decimal
from itertools import combinations, product
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from tasks.core.cohorts import memberships, parse_conditions
from tasks.core.errors import CaseError, DataError
from tasks.core.evaluation import evaluate
from tasks.core.predictions import Source
from tasks.core.slice_columns import identifier, infer_task, read_columns
from tasks.core.slice_search import BAR, Search, cover
from tasks.core.slice_tests import hypergeometric_tail, weighted_holm
from tasks.core.slices import COLUMNS, find


def table(rows: int, columns: int, values: int, seed: int, rate: Any = 0.1) -> pd.DataFrame:
    """Predictions with independent columns c0, c1, ... of codes, wrong at `rate`."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({f"c{k}": random.integers(0, values, rows) for k in range(columns)})
    rate = rate(frame) if callable(rate) else rate
    y = random.integers(0, 2, rows)
    return frame.assign(y_true=y, y_pred=np.where(random.random(rows) < rate, 1 - y, y))


def selected(predictions: Any, condition: str) -> np.ndarray:
    """The rows that the engine selects by a condition."""
    source = Source(predictions)
    return memberships(source.polars(source.names), parse_conditions({"slice": condition}, source.names))[0].to_numpy()


def test_the_planted_slice_comes_first_and_is_confirmed() -> None:
    """500 rows of 50,000 that err three times as often as the rest come first, and no other slice is confirmed with them."""
    for seed in range(5):
        frame = table(50_000, 8, 10, seed, lambda f: np.where((f.c1 == 3) & (f.c4 == 7), 0.3, 0.1))
        found = find(frame, seed=seed).frame()
        assert set(found.condition[0].split(" AND ")) == {"c1 = 3", "c4 = 7"}
        assert found.confirmed[0]
        assert found.low[0] < 0.2 < found.high[0]
        assert found.p_value[0] < 1e-6


def test_a_faint_slice_comes_first_as_a_rule() -> None:
    """500 rows of 50,000 that err in 9 % of cases beside 3 % come first, whichever half shows them (small version: 10 of 12 at least)."""
    first = 0
    for seed in range(12):
        frame = table(50_000, 5, 10, seed + 40, lambda f: np.where((f.c1 == 3) & (f.c4 == 7), 0.09, 0.03))
        slices = find(frame, seed=seed).slices
        first += bool(slices) and set(slices[0].condition.split(" AND ")) == {"c1 = 3", "c4 = 7"}
    assert first >= 10


def test_a_planted_triple_of_text_number_and_absence_is_found() -> None:
    """A slice made of a text, an interval and a missing value is told from its parts."""
    random = np.random.default_rng(4)
    n = 20_000
    frame = pd.DataFrame({"city": random.choice(["Oslo", "Bergen", "Tromsø"], n), "age": random.integers(20, 70, n), "job": random.choice(["a", None], n)})
    inside = (frame.city == "Tromsø") & (frame.age > 60) & frame.job.isna()
    y = random.integers(0, 2, n)
    frame = frame.assign(y_true=y, y_pred=np.where(random.random(n) < np.where(inside, 0.5, 0.1), 1 - y, y))
    found = find(frame).frame()
    assert found.condition[0].startswith("city = 'Tromsø' AND age > ")
    assert found.condition[0].endswith(" AND job IS NULL")
    assert found.confirmed[0]


@pytest.mark.parametrize("losses", ["classes", "skewed to the right", "skewed to the left"])
def test_errors_that_depend_on_nothing_confirm_no_slice(losses: str) -> None:
    """With errors independent of every column at most one run in twenty confirms a slice (small version: 4 of 40 at most)."""
    false = 0
    for seed in range(40):
        frame = table(3000, 6, 6, seed + 1000)
        if losses != "classes":
            random = np.random.default_rng(seed)
            drawn = random.exponential(1, len(frame)) if losses == "skewed to the right" else 1 - random.beta(0.3, 8, len(frame))
            frame = frame.assign(y_true=0.0, y_pred=drawn)
        false += bool(find(frame, seed=seed).frame().confirmed.any())
    assert false <= 4


def test_figures_are_those_of_the_selected_rows() -> None:
    """n and value agree with the engine's count and error of the printed condition, and effect is value - overall."""
    frame = table(4000, 5, 4, 1, lambda f: np.where((f.c0 == 1) | (f.c1 == 2), 0.35, 0.1))
    found = find(frame, min_support=40).frame()
    assert len(found) > 1
    report = evaluate(frame, task="binary", where=dict(zip(found.condition, found.condition, strict=True)), metrics=["accuracy"], min_support=1).frame()
    report = report[report.kind == "filter"]
    assert report.n.tolist() == found.n.tolist()
    np.testing.assert_allclose(1 - report.value.to_numpy(), found.value, atol=1e-12)
    assert found.overall.unique() == pytest.approx((frame.y_true != frame.y_pred).mean())
    np.testing.assert_allclose(found.effect, found.value - found.overall, atol=1e-15)
    assert ((found.low <= found.effect) & (found.effect <= found.high)).all()


def test_the_p_value_is_fishers_on_the_confirming_half() -> None:
    """One slice, found on both halves: its p-value is the smaller of scipy's one-sided Fisher tests of them, times two."""
    frame = table(2000, 1, 2, 3, lambda f: np.where(f.c0 == 1, 0.2, 0.1))
    found = find(frame, seed=5).frame()
    assert found.condition.tolist() == ["c0 = 1"]
    drawn = np.random.default_rng(5).integers(0, 2, len(frame), dtype=np.uint8) == 1
    p = []
    for half in (frame[drawn], frame[~drawn]):
        wrong = half.y_true != half.y_pred
        counts = [[(wrong & (half.c0 == value)).sum(), (~wrong & (half.c0 == value)).sum()] for value in (1, 0)]
        p.append(stats.fisher_exact(counts, alternative="greater").pvalue)
    assert found.p_value[0] == pytest.approx(2 * min(p))


def test_holm_weighted_by_rank() -> None:
    """With weights 1, 1/2, 1/3 a hypothesis falls while p is at most its share of 5 % of the weight left, step by step by hand."""
    # 0.02 of 0.05 * 1 / (11 / 6) = 0.0273: falls; then 0.03 of 0.05 * 0.5 / (5 / 6) = 0.03: falls just; then 0.2 of 0.05: stays.
    corrected = weighted_holm([0.02, 0.03, 0.2])
    np.testing.assert_allclose(corrected, [0.02 * 11 / 6, 0.03 * (5 / 6) / 0.5, 0.2])
    assert weighted_holm([]).tolist() == []


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 400), st.data())
def test_the_hypergeometric_tail_is_scipys(N: int, data: st.DataObject) -> None:
    """P(at least s wrong) agrees with scipy on any table."""
    n, S = data.draw(st.integers(1, N - 1)), data.draw(st.integers(0, N))
    s = data.draw(st.integers(max(0, n + S - N), min(n, S)))
    assert hypergeometric_tail(s, n, S, N) == pytest.approx(stats.hypergeom.sf(s - 1, N, S, n), rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("rows", [600, 20_000])
@pytest.mark.parametrize("kind", ["shares", "rare shares", "means"])
def test_the_search_sees_every_slice(rows: int, kind: str) -> None:
    """Every combination of parts with enough rows is examined, and the strong ones have the sums a plain loop finds.

    Where errors are rare they are counted first, and sets of columns without enough of them are left out.
    """
    random = np.random.default_rng(rows)
    sizes = [3, 5, 2, 40, 1]  # the last code of each column is in no part
    codes = [random.integers(0, size + 1, rows).astype(np.uint16) for size in sizes]
    chance = (0.25 if kind == "shares" else 0.05) + 0.3 * (codes[1] == 2)
    loss = random.exponential(1 + (codes[1] == 2), rows) if kind == "means" else (random.random(rows) < chance).astype(float)
    least = rows // 100
    search = Search(codes, sizes, loss, kind != "means", least)
    assert (search.wrong is not None) == (kind == "rare shares")
    found = search.run(3)
    expected, count = {}, 0
    for depth in (1, 2, 3):
        for columns in combinations(range(5), depth):
            for parts in product(*(range(sizes[column]) for column in columns)):
                mask = np.logical_and.reduce([codes[column] == part for column, part in zip(columns, parts, strict=True)])
                if mask.sum() >= least:
                    count += 1
                    expected[tuple(zip(columns, parts, strict=True))] = (mask.sum(), loss[mask].sum(), (loss[mask] ** 2).sum())
    assert found.count <= count
    sums = dict(zip(found.slices(), found.sums.tolist(), strict=True))
    assert len(sums) > 3
    for parts, total in sums.items():
        np.testing.assert_allclose(total, expected[parts])
    if kind == "means":  # nothing bounds how far a mean can rise, so nothing is left out
        assert found.count == count
        whole = (rows, loss.sum(), (loss**2).sum())
        welch = {
            parts: stats.ttest_ind_from_stats(*_moments(total), *_moments(np.subtract(whole, total)), equal_var=False).statistic
            for parts, total in expected.items()
        }
        drawn = {parts: (s / n - loss.mean()) / (loss.std(ddof=1) * np.sqrt(1 / n - 1 / rows)) for parts, (n, s, _) in expected.items()}
        least_clear = {parts: min(t, drawn[parts]) for parts, t in welch.items()}
        assert {parts for parts, t in least_clear.items() if t > BAR + 0.5} <= set(sums) <= {parts for parts, t in least_clear.items() if t > BAR - 0.01}
    else:
        deviance = {
            parts: stats.chi2_contingency([[s, n - s], [loss.sum() - s, rows - n - loss.sum() + s]], correction=False, lambda_="log-likelihood").statistic
            for parts, (n, s, _) in expected.items()
            if s * rows > n * loss.sum()
        }
        assert set(sums) == {parts for parts, value in deviance.items() if value >= BAR**2}
        np.testing.assert_allclose(found.strength**2, [deviance[parts] for parts in found.slices()], rtol=1e-8)


def _moments(sums: Any) -> tuple[float, float, float]:
    n, s, q = sums
    return s / n, float(np.sqrt((q - s * s / n) / (n - 1))), n


def test_columns_of_many_values_are_searched_too() -> None:
    """A slice of columns with more combinations than one pass counts is found as any other."""
    frame = table(60_000, 3, 300, 2, lambda f: np.where((f.c0 < 30) & (f.c1 < 30), 0.4, 0.1))
    frame["c0"], frame["c1"] = (np.where(frame[name] < 30, "many", "v" + frame[name].astype(str)) for name in ("c0", "c1"))
    frame["c2"] = "v" + frame.c2.astype(str)
    found = find(frame, min_support=60).frame()
    assert set(found.condition[0].split(" AND ")) == {"c0 = 'many'", "c1 = 'many'"}


@pytest.mark.parametrize("limit", [8, 30, 1000])
def test_blocks_hold_every_set_once(limit: int) -> None:
    """The blocks that are counted hold each set of columns exactly once, within the limit where the sets themselves are."""
    sets = list(combinations(range(7), 3))
    blocks = list(cover(sets, [2] * 7, limit))
    assert sorted(chosen for _, inside in blocks for chosen in inside) == sets
    assert all(2 ** len(block) <= limit for block, _ in blocks)
    assert len(blocks) < len(sets) or limit == 8


def test_near_duplicates_are_folded() -> None:
    """A copy of a column, a coarser neighbour and a part that changes nothing do not repeat a slice."""
    frame = table(20_000, 4, 5, 6, lambda f: np.where(f.c1 == 3, 0.4, 0.1))
    frame["copy"] = "x" + frame.c1.astype(str)
    frame["most"] = np.where(np.random.default_rng(0).random(len(frame)) < 0.95, "yes", "no")
    found = find(frame).frame()
    confirmed = found[found.confirmed].condition.tolist()
    assert confirmed in (["c1 = 3"], ["copy = 'x3'"])


def test_two_separate_slices_are_both_reported() -> None:
    """Folding keeps slices that err for reasons of their own."""
    frame = table(40_000, 5, 5, 8, lambda f: np.where((f.c0 == 1) & (f.c1 == 2), 0.4, np.where((f.c2 == 4) & (f.c3 == 0), 0.35, 0.1)))
    found = find(frame).frame()
    assert {frozenset(condition.split(" AND ")) for condition in found[found.confirmed].condition} == {
        frozenset({"c0 = 1", "c1 = 2"}),
        frozenset({"c2 = 4", "c3 = 0"}),
    }


HOSTILE = ["O'Brien", 'say "hi"', "", "null", "missing", "50 % \\ off", "a; DROP TABLE x --", "Zürich\n2", "TRUE"]


def _every_kind(rows: int = 4000) -> pd.DataFrame:
    random = np.random.default_rng(9)
    y = random.integers(0, 2, rows)
    return pd.DataFrame(
        {
            "hours per week": random.normal(38, 9, rows),
            "order": random.choice(np.array(HOSTILE, dtype=object), rows),
            'odd "name"': random.choice(np.array(["a", None], dtype=object), rows),
            "Größe": np.where(random.random(rows) < 0.2, np.nan, random.lognormal(0, 2, rows)),
            "count": pd.array(np.where(random.random(rows) < 0.1, None, random.integers(0, 4, rows)), dtype="Int64"),
            "big": random.integers(-(2**40), 2**40, rows),
            "single": random.choice(np.array([0.1, 0.2, 1e-8], dtype=np.float32), rows),
            "tenths": (random.integers(0, 50, rows) / 10).astype(np.float32),
            "price": [Decimal(int(cents)) / 100 for cents in random.integers(0, 900, rows)],
            "grade": [Decimal(int(cents)) / 100 for cents in random.integers(100, 104, rows)],
            "flag": random.random(rows) < 0.5,
            "maybe": pd.array(random.choice(np.array([True, False, None], dtype=object), rows), dtype="boolean"),
            "class": pd.Categorical(random.choice(np.array(["low", "high", None], dtype=object), rows)),
            "level": pd.Categorical(random.integers(1, 4, rows)),
            "day": random.choice(np.array([dt.date(2024, 1, 1), dt.date(2024, 2, 1)], dtype=object), rows),
            "when": pd.to_datetime(random.choice(np.array(["2024-01-01", "2024-03-01T12:30:00.250"]), rows), format="ISO8601"),
            "infinite": np.where(random.random(rows) < 0.3, np.where(random.random(rows) < 0.5, np.inf, -np.inf), random.normal(size=rows)),
            "y_true": y,
            "y_pred": np.where(random.random(rows) < 0.2, 1 - y, y),
        }
    )


@pytest.mark.parametrize("form", ["pandas", "polars", "arrow"])
def test_every_part_prints_as_the_condition_of_its_rows(form: str) -> None:
    """For every kind of column, and any name and value, the engine selects by a part's condition exactly its rows."""
    frame: Any = _every_kind()
    if form == "polars":  # polars and Arrow keep NaN beside missing values
        frame = pl.from_pandas(frame, nan_to_null=False)
        frame = frame.with_columns(pl.when(pl.col("hours per week") < 20).then(None).otherwise(pl.col("hours per week")).alias("hours per week"))
    elif form == "arrow":
        frame = pa.Table.from_pandas(frame, preserve_index=False)
        place = frame.column_names.index("Größe")
        frame = frame.set_column(place, "Größe", pa.array([float("nan") if k % 5 == 0 else None if k % 5 == 1 else float(k) for k in range(frame.num_rows)]))
    if form != "pandas":
        assert np.isnan(Source(frame).polars(["Größe"])["Größe"].drop_nulls().to_numpy()).any()
    columns = read_columns(Source(frame), None)
    assert {column.name for column in columns} == set(Source(frame).names) - {"y_true", "y_pred"}
    for column in columns:
        assert len(column.conditions) == len(column.labels) > 1
        covered = 0
        for code, condition in enumerate(column.conditions):
            rows = selected(frame, condition)
            np.testing.assert_array_equal(rows, column.codes == code, err_msg=condition)
            covered += int(rows.sum())
        assert covered == len(column.codes)
    report = find(frame, min_support=200)
    for one in report.slices:
        assert selected(frame, one.condition).sum() == one.n


@settings(max_examples=80, deadline=None)
@example("*", ["", "0"])
@example("^.*$", ["", "0"])
@given(st.text(min_size=1, max_size=8).filter(lambda name: "\x00" not in name), st.lists(st.text(max_size=6), min_size=2, max_size=4, unique=True))
def test_any_name_and_any_text_can_be_pasted(name: str, values: list[str]) -> None:
    """Whatever a column and its texts are called, conditions select their rows, also those that polars takes for patterns of names."""
    if name in ("row_id", "weight") or name.startswith("y_"):
        return
    try:
        name.encode(), "".join(values).encode()
    except UnicodeEncodeError:
        return
    frame = pl.DataFrame({name: values * 3 + [None], "y_true": 1, "y_pred": 1})
    (column,) = read_columns(Source(frame), [name])
    for code, condition in enumerate(column.conditions):
        np.testing.assert_array_equal(selected(frame, condition), column.codes == code)


def test_reserved_words_are_quoted() -> None:
    """Names that SQL would read as something else are quoted, plain ones are not."""
    assert [identifier(name) for name in ("age", "Age_2", "select", "true", "not", "2nd", "a b", 'q"')] == [
        *["age", "Age_2", '"select"', '"true"', '"not"', '"2nd"', '"a b"', '"q"""']
    ]


def test_regression_slices_are_of_absolute_or_squared_error() -> None:
    """For numbers the error is |y_pred - y_true| or its square; the slice of larger misses is found by both."""
    random = np.random.default_rng(3)
    frame = pd.DataFrame({"g": random.choice(["a", "b", "c", "d"], 8000), "h": random.integers(0, 5, 8000), "y_true": random.normal(size=8000)})
    frame["y_pred"] = frame.y_true + random.normal(size=8000) * np.where(frame.g == "c", 2.0, 1.0)
    inside = frame[frame.g == "c"]
    for error, power in (("absolute", 1), ("squared", 2)):
        found = find(frame, error=error).frame()  # type: ignore[arg-type]
        assert found.condition[0] == "g = 'c'"
        assert found.confirmed[0]
        assert found.value[0] == pytest.approx(((inside.y_pred - inside.y_true).abs() ** power).mean())


def test_tasks_are_told_from_the_columns() -> None:
    """0 and 1 are binary, other labels multiclass, lists multilabel, numbers that are not whole regression."""
    pairs = {
        "binary": ([0, 1], [1, 1]),
        "multiclass": (["a", "b"], ["a", "a"]),
        "multilabel": ([["a"], []], [["a"], ["b"]]),
        "regression": ([1.0, 2.0], [1.5, 2.0]),
    }
    for task, (true, predicted) in pairs.items():
        assert infer_task(Source(pl.DataFrame({"y_true": true, "y_pred": predicted}))) == task
    assert infer_task(Source(pl.DataFrame({"y_true": [0, 2], "y_pred": [1, 1]}))) == "multiclass"
    assert infer_task(Source(pl.DataFrame({"y_true": [True, False], "y_pred": [0.0, 1.0]}))) == "binary"


def test_multiclass_and_multilabel_errors_are_any_difference() -> None:
    """A row is wrong when its class differs, or when its set of labels is not exactly right."""
    frame = table(4000, 3, 3, 12, lambda f: np.where(f.c0 == 2, 0.5, 0.1))
    classes = frame.assign(y_true=frame.y_true.map({0: "no", 1: "yes"}), y_pred=frame.y_pred.map({0: "no", 1: "yes"}))
    sets = frame.assign(y_true=[["a"] if y else [] for y in frame.y_true], y_pred=[["a"] if y else [] for y in frame.y_pred])
    expected = find(frame).frame()
    assert expected.condition[0] == "c0 = 2"
    pd.testing.assert_frame_equal(find(classes).frame(), expected)
    pd.testing.assert_frame_equal(find(sets).frame(), expected)


def test_the_frame_has_its_shape_always() -> None:
    """Columns and types are the same with and without slices; without errors, or without variety, there are none."""
    full = find(table(2000, 3, 3, 1, lambda f: np.where(f.c0 == 1, 0.4, 0.1))).frame()
    perfect = find(table(200, 2, 3, 1, 0.0)).frame()
    wrong = find(table(200, 2, 3, 1, 1.0)).frame()
    constant = find(pd.DataFrame({"c": ["x"] * 100, "y_true": [0, 1] * 50, "y_pred": 0})).frame()
    for frame in (full, perfect, wrong, constant):
        assert tuple(frame.columns) == COLUMNS
        assert frame.dtypes.iloc[1:].equals(full.dtypes.iloc[1:])
    assert len(full) > 0
    assert len(perfect) == len(wrong) == len(constant) == 0


def test_a_report_becomes_json() -> None:
    """The dictionary holds plain values, one row a slice, and how many were examined."""
    found = find(table(2000, 3, 3, 1, lambda f: np.where(f.c0 == 1, 0.4, 0.1))).to_dict()
    assert found["examined"] > 0
    assert set(found["slices"][0]) == set(COLUMNS)
    assert type(found["slices"][0]["n"]) is int
    assert type(found["slices"][0]["confirmed"]) is bool


def test_the_same_seed_finds_the_same() -> None:
    """One seed, one report; min_support is kept by every slice."""
    frame = table(5000, 5, 5, 2)
    pd.testing.assert_frame_equal(find(frame, seed=3).frame(), find(frame, seed=3).frame())
    assert (find(frame, min_support=300).frame().n >= 300).all()


def test_columns_can_be_chosen_and_identifiers_are_left_out() -> None:
    """Only named columns form slices; unnamed, columns of identifiers, lists and zoned times are passed over."""
    frame = table(4000, 3, 4, 1, lambda f: np.where(f.c0 == 1, 0.4, 0.1))
    frame["id"] = [f"p{k}" for k in range(len(frame))]
    frame["tags"] = [[k] for k in range(len(frame))]
    frame["seen"] = pd.date_range("2024-01-01", periods=len(frame), tz="UTC")
    assert [column.name for column in read_columns(Source(frame), None)] == ["c0", "c1", "c2"]
    assert not any("c0" in condition for condition in find(frame, columns=["c1", "c2"]).frame().condition)
    for name in ("tags", "seen"):
        with pytest.raises(DataError, match=name):
            find(frame, columns=[name])


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"columns": ["C0"]}, DataError, "Did you mean `c0`"),
        ({"columns": ["c0", "c0"]}, CaseError, "different columns"),
        ({"columns": "c0"}, CaseError, "different columns"),
        ({"depth": 0}, CaseError, "depth"),
        ({"min_support": 0}, CaseError, "min_support"),
        ({"task": "binery"}, CaseError, "Did you mean `binary`"),
        ({"error": "cubed"}, CaseError, "unknown error"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], error: type[Exception], words: str) -> None:
    """Unknown columns, depths, supports, tasks and errors are refused with a way out."""
    with pytest.raises(error, match=words):
        find(table(100, 2, 2, 1), **options)


def test_predictions_without_columns_are_refused() -> None:
    """Without a raw column there is nothing to slice by."""
    with pytest.raises(DataError, match="no column to slice by"):
        find(pd.DataFrame({"row_id": ["a"], "y_true": [1], "y_pred": [1], "y_score": [0.5], "weight": [1.0]}))

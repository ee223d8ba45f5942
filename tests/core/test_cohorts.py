"""Bins, groupings and conditions."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from tasks.core.cohorts import bin_column, cohort_name, condition_columns, crossings, encode, groupings, memberships, parse_conditions
from tasks.core.errors import CaseError, DataError
from tasks.core.evaluation import evaluate


def test_edges_belong_below() -> None:
    """A value on an edge lies in the interval below it; infinities lie at the ends; missing stays missing."""
    values = pd.Series([7.9, 8.0, 8.1, 16.0, 17.0, -np.inf, np.inf, np.nan], name="LSTAT")
    expected = ["(-inf, 8]", "(-inf, 8]", "(8, 16]", "(8, 16]", "(16, inf)", "(-inf, 8]", "(16, inf)"]
    binned = bin_column(values, (8, 16))
    assert binned[:7].tolist() == expected
    assert binned.isna().tolist() == [False] * 7 + [True]
    assert binned.name == "LSTAT"


@pytest.mark.parametrize("dtype", ["Int64", "Float32", "int8", "object"])
def test_any_numbers_can_be_binned(dtype: str) -> None:
    """Nullable, small and object numbers are binned alike; edges that are no whole numbers show as given."""
    assert bin_column(pd.Series([1, 2, 3], dtype=dtype, name="x"), [1.5]).tolist() == ["(-inf, 1.5]", "(1.5, inf)", "(1.5, inf)"]


@pytest.mark.parametrize("edges", [[], [2, 1], [1, 1], [float("nan")], [float("inf")]])
def test_edges_that_do_not_rise_are_refused(edges: list[float]) -> None:
    """Edges must be finite and rise."""
    with pytest.raises(CaseError, match=r"bins\.x"):
        bin_column(pd.Series([1.0], name="x"), edges)


def test_text_is_not_binned() -> None:
    """Binning a text column names the column and a value."""
    with pytest.raises(DataError, match="'tall'"):
        bin_column(pd.Series(["tall"], name="height"), [1])
    with pytest.raises(DataError, match="'tall'"):
        evaluate(pd.DataFrame({"y_true": [1], "y_pred": [1], "height": ["tall"]}), task="binary", by=["height"], bins={"height": [1]})


def test_binned_columns_name_cohorts_and_cross() -> None:
    """Cohorts of binned columns are named by interval, alone and crossed, in order of the intervals."""
    frame = pd.DataFrame({"B": [100.0, 395.0, np.nan, 380.0], "LSTAT": [3.0, 10.0, 20.0, 30.0], "y_true": 1.0, "y_pred": 1.0})
    report = evaluate(frame, task="regression", by=[["B"], ["LSTAT"], ["B", "LSTAT"]], bins={"B": [390], "LSTAT": [8, 16]}, metrics=["mae"])
    assert list(report.frame().cohort) == [
        *["overall", "B=(-inf, 390]", "B=(390, inf)", "B=missing", "LSTAT=(-inf, 8]", "LSTAT=(8, 16]", "LSTAT=(16, inf)"],
        *["B=(-inf, 390], LSTAT=(-inf, 8]", "B=(-inf, 390], LSTAT=(16, inf)", "B=(390, inf), LSTAT=(8, 16]", "B=missing, LSTAT=(16, inf)"],
    ]
    assert report.cohorts_of(["LSTAT", "B"]) == report.cohorts_of(["B", "LSTAT"])
    assert report.cohorts_of(["LSTAT"]) == ("LSTAT=(-inf, 8]", "LSTAT=(8, 16]", "LSTAT=(16, inf)")


def test_quantile_bins_share_the_rows() -> None:
    """A number of bins cuts at quantiles."""
    frame = pd.DataFrame({"x": np.arange(100.0), "y_true": 1, "y_pred": 1})
    rows = evaluate(frame, task="binary", by=["x"], bins={"x": 4}, metrics=["accuracy"]).frame()
    assert list(rows.n) == [100, 25, 25, 25, 25]


def test_values_of_any_kind_are_groups() -> None:
    """Booleans, numbers, dates, unicode and missing values name cohorts as they read."""
    frame = pd.DataFrame(
        {"y_true": [1, 0], "y_pred": [1, 0], "bool": [True, False], "int": [1, 2], "float": [1.5, np.nan], "date": pd.to_datetime(["2024-01-01", None])}
    )
    frame["text"] = ["日本", None]
    frame["mixed"] = pd.Series([1, "one"], dtype=object)
    names = set(evaluate(frame, task="binary", by=["bool", "int", "float", "date", "text", "mixed"], metrics=["accuracy"]).frame().cohort)
    assert {"bool=True", "bool=False", "int=1", "float=1.5", "float=missing", "date=missing", "text=日本", "text=missing", "mixed=1", "mixed=one"} <= names


def test_a_value_called_missing_is_not_a_missing_value() -> None:
    """Where both occur the real value is quoted."""
    codes = encode(pa.array(["missing", None, "a"]), "g")
    assert [codes.labels[code] for code in codes.codes] == ["'missing'", None, "a"]
    assert cohort_name(["g", "h"], [None, "x"]) == "g=missing, h=x"


def test_groupings_are_named_once() -> None:
    """Bare names are groupings of one; the same columns in another order are the same grouping; crossings go by size."""
    assert groupings(["a", ["a"], ["a", "b"], ["b", "a"]]) == (("a",), ("a", "b"))
    assert groupings("ab") == (("ab",),)
    assert crossings(["a", "b", "c"], depth=2) == [["a"], ["b"], ["c"], ["a", "b"], ["a", "c"], ["b", "c"]]
    with pytest.raises(CaseError, match="twice"):
        groupings([["a", "a"]])


FRAME = pl.DataFrame({"age": [30, 50, None], "city": ["Oslo", "Rome", None], "ill": [["flu"], [], None], "home-town": ["x", "y", "z"]})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("age > 40 AND city = 'Rome'", [False, True, False]),
        ("city IN ('Oslo', 'Rome')", [True, True, False]),
        ("age BETWEEN 30 AND 40", [True, False, False]),
        ("city IS NULL", [False, False, True]),
        ("city LIKE 'O%'", [True, False, False]),
        ("array_contains(ill, 'flu')", [True, False, False]),
        ("NOT age > 40", [True, False, False]),
        ("\"home-town\" = 'x' OR age = 50", [True, True, False]),
        ("age % 20 = 10", [True, True, False]),
        ("CASE WHEN age > 40 THEN city = 'Rome' ELSE false END", [False, True, False]),
    ],
)
def test_conditions_mean_what_sql_means(text: str, expected: list[bool]) -> None:
    """SQL conditions hold where they are true; unknown is not true."""
    (held,) = memberships(FRAME, parse_conditions({"it": text}, FRAME.columns))
    assert held.to_list() == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"*" = 1', [True, False, False]),
        ('"^a.*$" > 4 AND age IS NOT NULL', [False, True, False]),
        ('CASE WHEN "*" IN (1, 2) THEN age < 50 ELSE "^a.*$" = 6 END', [True, False, True]),
    ],
)
def test_columns_that_read_as_patterns_are_columns(text: str, expected: list[bool]) -> None:
    """polars takes `*` and `^...$` for patterns of names; in a condition they are the columns called so, and unknown where there is none."""
    frame = pl.DataFrame({"*": [1, 2, 3], "^a.*$": [4, 5, 6], "age": [30, 50, None], "ab": [0, 0, 0]})
    (held,) = memberships(frame, parse_conditions({"it": text}, frame.columns))
    assert held.to_list() == expected
    with pytest.raises(CaseError, match=r"names an unknown column `(\*|\^a\.\*\$)`"):
        parse_conditions({"it": text}, ["age", "ab"])


def test_conditions_see_predictions_and_errors() -> None:
    """True and predicted values, scores and the row's error can be conditions."""
    frame = pd.DataFrame({"y_true": [1, 0, 1, 0], "y_pred": [1, 1, 0, 0], "y_score": [0.9, 0.6, 0.4, 0.2]})
    where = {"Wrong": "error", "Sure": "y_score > 0.8 OR y_score < 0.3", "Positive": "y_true = 1"}
    rows = evaluate(frame, task="binary", where=where, metrics=["accuracy"]).frame().set_index("cohort")
    assert rows.loc[["Wrong", "Sure", "Positive"], "value"].tolist() == [0, 1, 0.5]
    frame = pd.DataFrame({"y_true": [1.0, 5.0], "y_pred": [3.0, 4.0]})
    assert evaluate(frame, task="regression", where={"Over": "error > 0"}, metrics=["mae"]).frame().value.tolist() == [1.5, 2.0]


def test_condition_columns() -> None:
    """The columns that conditions read, each once; an unknown one is an error that names the nearest."""
    assert condition_columns({"a": "age > 40 AND age < 50", "b": "city = 'x'"}, ["age", "city"]) == ["age", "city"]
    with pytest.raises(CaseError, match="Did you mean `city`"):
        condition_columns({"b": "citty = 'x'"}, ["age", "city"])


@pytest.mark.parametrize("name", ["overall", "age=30"])
def test_a_condition_has_a_name_of_its_own(name: str) -> None:
    """A condition cannot take the name of the whole table or of a group."""
    with pytest.raises(CaseError, match="reads as another cohort"):
        evaluate(pd.DataFrame({"y_true": [1], "y_pred": [1], "age": [30]}), task="binary", where={name: "age > 3"})

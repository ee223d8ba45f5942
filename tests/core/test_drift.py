"""Drift verdicts and the schema check."""

import decimal
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.case import Drift
from tasks.core.drift import check_schema, judge
from tasks.core.errors import CaseError, DataError

KINDS = {"age": "numeric", "pay": "numeric", "city": "categorical", "prediction": "numeric"}
SCORES = {"age": 0.4, "pay": 0.41, "city": 0.2, "prediction": 3.0}


def test_a_distance_drifts_above_its_limit_and_not_at_it():
    """A score equal to the limit is not drift."""
    report = judge(SCORES, Drift(limit=0.4), kinds=KINDS, prediction="prediction")
    assert report.drifted_columns == ("pay",)


@pytest.mark.parametrize(("score", "drifted"), [(0.049, True), (0.05, False), (0.9, False)])
def test_a_p_value_drifts_below_its_limit(score, drifted):
    """K-S and chi-square give p-values: small ones mean drift."""
    settings = Drift(numeric="ks", categorical="chisquare", limit=0.05)
    report = judge({"age": score, "city": score}, settings, kinds={"age": "numeric", "city": "categorical"})
    assert [(column.method, column.drifted) for column in report.columns] == [("ks", drifted), ("chisquare", drifted)]


def test_the_prediction_stands_beside_the_features():
    """A drifted prediction neither enters the share nor the names of drifted features."""
    report = judge(SCORES, Drift(limit=0.5, share=0.01), kinds=KINDS, prediction="prediction")
    assert report.prediction is not None
    assert report.prediction.drifted
    assert (report.drifted, report.share, report.drifted_columns) == (False, 0.0, ())
    assert "prediction" not in [column.column for column in report.columns]


@pytest.mark.parametrize(("share", "drifted"), [(0.3, True), (1 / 3, True), (0.34, False)])
def test_a_period_drifts_from_its_share_on(share, drifted):
    """One of three features is a share of exactly one third, and that is enough for a limit of one third."""
    report = judge(SCORES, Drift(limit=0.4, share=share), kinds=KINDS, prediction="prediction")
    assert report.share == 1 / 3
    assert report.drifted is drifted


def test_a_column_may_have_a_limit_of_its_own():
    """`drift.limits` overrides the common limit for the column it names."""
    report = judge(SCORES, Drift(limit=0.4, limits={"city": 0.1, "pay": 0.5}), kinds=KINDS, prediction="prediction")
    assert report.drifted_columns == ("city",)


def test_a_limit_for_an_unknown_column_is_refused():
    """A misspelt column under `drift.limits` is named with the nearest right one."""
    with pytest.raises(CaseError, match=r"`cty`.*Did you mean `city`"):
        judge(SCORES, Drift(limits={"cty": 0.1}), kinds=KINDS)


@pytest.mark.parametrize("score", [math.nan, math.inf, None])
def test_a_score_that_could_not_be_measured_is_an_error(score):
    """A missing score is neither drift nor its absence."""
    scores = {"age": score} if score is not None else {}
    with pytest.raises(DataError, match="`age`"):
        judge(scores, Drift(), kinds={"age": "numeric"})


def test_the_reason_names_what_drifted():
    """The reason can be read without the table."""
    reason = judge(SCORES, Drift(limit=0.4), kinds=KINDS, prediction="prediction").reason
    assert reason == "1 of 3 features drifted, a share of 0.33 (limit 0.1): pay (wasserstein 0.41, limit 0.4)."


def test_the_frame_has_one_row_for_each_column():
    """Features first, in their order, then the prediction."""
    frame = judge(SCORES, Drift(limit=0.4), kinds=KINDS, prediction="prediction").frame()
    assert list(frame.columns) == ["column", "role", "kind", "method", "score", "limit", "drifted"]
    assert frame["column"].tolist() == ["age", "pay", "city", "prediction"]
    assert frame["role"].tolist() == ["feature", "feature", "feature", "prediction"]


@given(st.lists(st.floats(0, 10), min_size=1, max_size=20), st.floats(0.01, 5), st.floats(0.01, 5), st.floats(0.01, 1))
def test_raising_a_limit_never_makes_drift(values, limit, more, share):
    """What does not drift under one limit does not drift under a higher one."""
    scores = {f"c{i}": value for i, value in enumerate(values)}
    kinds = dict.fromkeys(scores, "numeric")
    low, high = (judge(scores, Drift(limit=bound, share=share), kinds=kinds) for bound in (limit, limit + more))
    assert set(high.drifted_columns) <= set(low.drifted_columns)
    assert low.drifted or not high.drifted


EXPECTED = {"age": "numeric", "city": "categorical"}
GOOD = pd.DataFrame({"age": [30.0, None], "city": ["Ulm", None]})


@pytest.mark.parametrize(
    "frame",
    [
        GOOD,
        GOOD[["city", "age"]],
        GOOD.astype({"age": "Int64", "city": "category"}),
        GOOD.astype({"age": object, "city": object}),
        GOOD.assign(age=[decimal.Decimal(3), None]),
        GOOD.assign(age=[True, False]),
        GOOD.assign(city=[True, None]),
        GOOD.astype({"age": "double[pyarrow]", "city": "string[pyarrow]"}),
    ],
)
def test_any_dtype_that_holds_the_kind_passes(frame):
    """Order, missing values and the dtype's flavour do not matter."""
    check_schema(EXPECTED, frame)


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (GOOD.drop(columns="city"), "column `city` is missing"),
        (GOOD.rename(columns={"city": "City "}), r"column `city` is missing \(`City ` looks like it under another name\)"),
        (GOOD.assign(zip=1), "column `zip` is unknown"),
        (GOOD.assign(age=["30", "31"]), "column `age` should hold numbers and holds text values"),
        (GOOD.assign(age=pd.Series([1, "x"], dtype=object)), "column `age` should hold numbers"),
        (GOOD.assign(age=pd.to_datetime(["2024-01-01", "2024-01-02"])), "column `age` should hold numbers"),
        (GOOD.assign(city=[1, 2]), "column `city` should hold categories and holds integer values"),
        (GOOD.assign(age=np.nan), "column `age` has no value in any row"),
        (GOOD.assign(city=pd.Series([None, None], dtype="str")), "column `city` has no value in any row"),
        (GOOD.assign(age=[1.0, np.inf]), r"column `age` holds infinity in 1 row"),
        (GOOD.iloc[:0], "it has no rows"),
        (pd.concat([GOOD, GOOD[["age"]]], axis=1), "column `age` is there 2 times"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(frame, said):
    """Missing, renamed, unknown, retyped, empty and infinite columns are each named."""
    with pytest.raises(DataError, match=said):
        check_schema(EXPECTED, frame)


def test_every_problem_is_named_at_once():
    """Two faults make one error, so that the source is mended once."""
    with pytest.raises(DataError, match=r"snapshot 2024-05.*`age` should hold numbers.*`city` is missing"):
        check_schema(EXPECTED, pd.DataFrame({"age": ["a"]}), where="snapshot 2024-05")


def test_known_columns_may_be_there_besides():
    """The catalogue's other columns are no surprise; a column that nobody knows is."""
    check_schema(EXPECTED, GOOD.assign(row_id=["1", "2"]), known=["row_id"])
    with pytest.raises(DataError, match="`rowid`"):
        check_schema(EXPECTED, GOOD.assign(rowid=["1", "2"]), known=["row_id"])

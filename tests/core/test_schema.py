"""The schema check: what does not fit the model is refused by name."""

import decimal

import numpy as np
import pandas as pd
import pytest

from tasks.core.errors import DataError
from tasks.core.schema import check_schema

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

"""From raw columns to a matrix."""

import numpy as np
import pandas as pd
import pytest
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from tasks.core.encoding import RARE, Encoder, tidy
from tasks.core.errors import DataError

KINDS = {"höhe": "numeric", "stadt": "categorical", "n": "numeric"}


def make_frame(rows: int = 60) -> pd.DataFrame:
    """Two numeric columns, one with gaps, and a category with gaps, a "?" and one rare value."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"höhe": rng.normal(10, 4, rows), "stadt": rng.choice(["Köln", "東京", "?"], rows), "n": rng.integers(0, 5, rows)})
    frame.loc[:11, "höhe"] = np.nan
    frame.loc[5:16, "stadt"] = None
    frame.loc[20, "stadt"] = "seen once"
    return frame


def test_dense_form_is_what_scikit_learn_makes() -> None:
    """Numbers are imputed by the median and standardised, gaps flagged, categories one-hot, as scikit-learn's own steps do it."""
    frame = make_frame()
    matrix = Encoder(KINDS, "dense").fit(tidy(frame, KINDS)).transform(tidy(frame, KINDS))
    numbers = StandardScaler().fit_transform(SimpleImputer(strategy="median").fit_transform(frame[["höhe", "n"]]))
    gaps = frame[["höhe"]].isna().to_numpy(dtype=float)
    names = frame[["stadt"]].astype(object).where(frame[["stadt"]].notna(), "missing").to_numpy(dtype=object)
    one_hot = OneHotEncoder(min_frequency=RARE, handle_unknown="infrequent_if_exist", sparse_output=False).fit_transform(names)
    np.testing.assert_allclose(matrix, np.column_stack([numbers, gaps, one_hot]), atol=1e-12)
    sparse = Encoder(KINDS, "sparse").fit(tidy(frame, KINDS)).transform(tidy(frame, KINDS))
    np.testing.assert_array_equal(sparse.toarray(), matrix)


def test_unseen_and_rare_categories_share_a_column_and_missing_has_its_own() -> None:
    """A category never seen is encoded as the rare ones are, and a missing one as a category of its own."""
    frame = make_frame()
    encoder = Encoder({"stadt": "categorical"}, "dense").fit(tidy(frame, {"stadt": "categorical"}))
    assert encoder.categories_["stadt"] == ["?", "Köln", "missing", "東京"]
    rows = pd.DataFrame({"stadt": ["seen once", "never seen", None, "?"]})
    matrix = encoder.transform(tidy(rows, {"stadt": "categorical"}))
    assert matrix.tolist() == [[0, 0, 0, 0, 1], [0, 0, 0, 0, 1], [0, 0, 1, 0, 0], [1, 0, 0, 0, 0]]


def test_tree_form_keeps_gaps_and_codes_categories() -> None:
    """Boosting gets NaN as it is, codes from 1 with 0 for the unseen, and Fortran order, which it predicts faster on."""
    frame = make_frame()
    encoder = Encoder(KINDS, "tree").fit(tidy(frame, KINDS))
    rows = pd.DataFrame({"höhe": [1.5, np.nan], "stadt": ["Köln", "nowhere"], "n": [2, 3]})
    matrix = encoder.transform(tidy(rows, KINDS))
    np.testing.assert_array_equal(matrix, [[1.5, 2, 2], [np.nan, 0, 3]])
    assert matrix.flags["F_CONTIGUOUS"]
    assert Encoder(KINDS, "tree", most=2).fit(tidy(frame, KINDS)).categories_["stadt"] == sorted(frame["stadt"].value_counts().index[:2])


@pytest.mark.parametrize("dtype", [float, "Int64", "Float64", object, "category"])
def test_codes_read_the_same_in_every_dtype(dtype: object) -> None:
    """A column of whole-number codes means the same categories whether or not gaps have turned it into floats."""
    whole = tidy(pd.DataFrame({"code": [3, 7, 3]}), {"code": "categorical"})["code"]
    other = tidy(pd.DataFrame({"code": pd.Series([3, 7, 3, None]).astype(dtype)}), {"code": "categorical"})["code"]
    assert whole.tolist() == ["3", "7", "3"]
    assert other.tolist() == ["3", "7", "3", "missing"]


@pytest.mark.parametrize("values", [[1, 2, None], pd.array([1, 2, None], dtype="Int64"), pd.array([True, False, None], dtype="boolean"), [1.5, 2, None]])
def test_numbers_of_every_dtype_become_floats(values: object) -> None:
    """Integers, booleans and nullable numbers are read as floats with NaN for missing."""
    column = tidy(pd.DataFrame({"x": values}), {"x": "numeric"})["x"]
    assert column.dtype == np.float64
    assert np.isnan(column[2])
    assert not np.isnan(column[:2]).any()


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        ({"heigth": [1.0]}, "column `height` is not in the data.* Did you mean `heigth`"),
        ({"height": ["tall"]}, "column `height` should be numeric and is string"),
        ({"height": [1.0, np.inf]}, "column `height` holds 1 infinite value"),
        ({"height": [None, np.nan]}, "feature `height` has no value in any training row"),
    ],
)
def test_a_column_that_does_not_fit_is_named(frame: dict[str, list[object]], says: str) -> None:
    """A missing, mistyped, infinite or empty numeric column is refused by name."""
    with pytest.raises(DataError, match=says):
        Encoder({"height": "numeric"}, "dense").fit(tidy(pd.DataFrame(frame), {"height": "numeric"}))


def test_an_empty_category_column_is_refused() -> None:
    """A categorical feature without a single value is refused by name."""
    columns = tidy(pd.DataFrame({"c": [None, None]}, dtype=object), {"c": "categorical"})
    with pytest.raises(DataError, match="feature `c` has no value"):
        Encoder({"c": "categorical"}, "sparse").fit(columns)


def test_a_constant_column_stays_finite() -> None:
    """A column of one value is centred and not divided by its spread of nothing."""
    columns = tidy(pd.DataFrame({"x": [0.1] * 30}), {"x": "numeric"})
    assert np.all(np.abs(Encoder({"x": "numeric"}, "dense").fit(columns).transform(columns)) < 1e-12)

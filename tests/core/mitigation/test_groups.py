"""Group labels."""

import numpy as np
import pandas as pd
import pytest

from tasks.core.errors import DataError
from tasks.core.mitigation.groups import label_cohorts, label_groups


def test_columns_are_binned_and_crossed_in_order() -> None:
    """Each row's label names every column, cut at the case's edges, an edge belonging below, with missing as a group."""
    frame = pd.DataFrame({"B": [390.0, 390.5, None], "sex": ["F", None, "M"], "other": [1, 2, 3]})
    labels = label_groups(frame, {"B": "numeric", "sex": "categorical"}, {"B": [390]})
    assert labels.tolist() == ["B=(-inf, 390], sex=F", "B=(390, inf), sex=missing", "B=missing, sex=M"]


def test_codes_with_gaps_keep_their_names() -> None:
    """A numeric column that is not cut groups by value, written alike with and without gaps."""
    whole = label_groups(pd.DataFrame({"code": [1, 2]}), {"code": "numeric"}, {})
    gaps = label_groups(pd.DataFrame({"code": [1, 2, np.nan]}), {"code": "numeric"}, {})
    assert whole.tolist() == ["code=1", "code=2"]
    assert gaps.tolist() == ["code=1", "code=2", "code=missing"]


def test_a_missing_or_mistyped_column_is_named() -> None:
    """A group column that is not there, or is to be cut and holds text, is refused by name."""
    with pytest.raises(DataError, match=r"column `sex` is not in the data.*`Sex`"):
        label_groups(pd.DataFrame({"Sex": ["F"]}), {"sex": "categorical"}, {})
    with pytest.raises(DataError, match="column `B` should be numeric"):
        label_groups(pd.DataFrame({"B": ["high"]}), {"B": "numeric"}, {"B": [390]})


def test_a_column_without_a_value_is_in_no_stated_cohort_whatever_its_type():
    """A batch in which nobody's age is known, read as text by whoever made it, meets no condition on age, and is the rest."""
    frame = pd.DataFrame({"age": pd.Series([None, None], dtype=object)})
    assert label_cohorts(frame, {"old": "age > 40", "others": "rest"}, fitting=False).tolist() == ["others", "others"]

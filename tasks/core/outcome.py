"""From a label column to what is predicted."""

from typing import Any

import pandas as pd

from tasks.core.case import Case
from tasks.core.errors import DataError, nearest


def target_values(case: Case, labels: pd.DataFrame) -> "pd.Series[float]":
    """The target of each row as floats, aligned with `labels`: 0 and 1 for a binary case, NaN where the label is missing.

    Raises: DataError when the label column is missing, or a numeric target is no number.
    """
    target = case.target
    if target.column not in labels:
        raise DataError(f"There is no label column `{target.column}`.", where=f"configs/{case.case}.yaml", fix=nearest(target.column, labels.columns))
    values = labels[target.column]
    missing = values.isna()
    if target.positive is not None:
        return values.astype("string").eq(str(target.positive)).fillna(False).astype(float).mask(missing)
    try:
        numbers = pd.to_numeric(values).astype(float)
    except (ValueError, TypeError) as error:
        raise DataError(
            f"The label column `{target.column}` holds values that are no numbers: {error}.", fix="Clean the source, or choose another target."
        ) from error
    return numbers if target.above is None else numbers.gt(target.above).astype(float).mask(missing)


def labelled_rows(case: Case, features: pd.DataFrame, labels: pd.DataFrame) -> tuple[pd.DataFrame, "pd.Series[Any]"]:
    """The rows of a period that have a label, features and labels joined by row id; and their target (0 and 1, as int64, for a
    binary case).
    """
    whole = features.merge(labels, on="row_id", how="inner", validate="one_to_one")
    target = target_values(case, whole)
    known = target.notna()
    frame, found = whole[known].reset_index(drop=True), target[known].reset_index(drop=True)
    return frame, found.astype("int64") if case.task == "binary" else found

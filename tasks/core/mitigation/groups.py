"""Which cohort each row is in: by columns, binned as the case's cohorts are and crossed, or by a candidate's own conditions."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.core.candidate_spec import REST
from tasks.core.encoding import MISSING, tidy
from tasks.core.errors import CaseError, DataError

NO_COHORT = "no cohort"


def label_groups(frame: pd.DataFrame, kinds: Mapping[str, str], bins: Mapping[str, Sequence[float]]) -> NDArray[np.object_]:
    """One label for each row, such as `sex=Female` or `B=(390, inf), LSTAT=missing`; shape (n_rows,).

    `kinds` names the columns in the order in which they are crossed; `bins` holds inner edges for those to be cut.
    """
    from tasks.core.cohorts import bin_column

    def parts(name: str) -> list[str]:
        if name in bins:
            tidy(frame, {name: "numeric"})  # a column to be cut must hold numbers
            values: Any = pd.Series(bin_column(frame[name], bins[name]), dtype=object).fillna(MISSING)
        else:
            values = tidy(frame, {name: "categorical"})[name]
        return [f"{name}={value}" for value in values]

    tidy(frame.iloc[:0], dict.fromkeys(kinds, "categorical"))  # every column is there
    return np.array([", ".join(row) for row in zip(*map(parts, kinds), strict=True)], dtype=object)


def label_cohorts(frame: pd.DataFrame, conditions: Mapping[str, str], *, fitting: bool) -> NDArray[np.object_]:
    """The name of each row's cohort among a candidate's `conditions`; shape (n_rows,).

    `rest` is every row that no other condition holds for. While fitting, rows that meet two conditions or none are refused
    with their counts. At prediction a row that meets two belongs to the first, and one that meets none to `no cohort`, which
    takes each step's fallback.
    """
    import polars as pl

    from tasks.core.cohorts import memberships, parse_conditions

    stated = {name: condition for name, condition in conditions.items() if condition != REST}
    rest = next((name for name, condition in conditions.items() if condition == REST), None)
    parsed = parse_conditions(stated, frame.columns)
    used = list(dict.fromkeys(column for expression in parsed.values() for column in expression.meta.root_names()))
    try:
        table = pl.from_pandas(frame[used])
    except (TypeError, ValueError) as error:  # Arrow's errors are these
        raise DataError(f"one of the columns {', '.join(used)} holds values of several types: {error}.", where="cohorts", fix="Give it one type.") from error
    table = table.with_columns(pl.lit(None).alias(name) for name in used if table[name].null_count() == len(table))  # of no type, it compares with any
    inside = np.array([series.to_numpy() for series in memberships(table, parsed)], dtype=bool)
    count = inside.sum(axis=0)
    if fitting and (count > 1).any():
        pairs = [(one, two, int((inside[i] & inside[j]).sum())) for i, one in enumerate(stated) for j, two in enumerate(stated) if i < j]
        one, two, both = max(pairs, key=lambda pair: pair[2])
        raise CaseError(
            f"cohorts overlap: {both} of {len(frame)} rows are in both `{one}` and `{two}`.", where="cohorts", fix="Write conditions that no row meets two of."
        )
    if fitting and rest is None and (count == 0).any():
        raise CaseError(
            f"cohorts leave rows out: {int((count == 0).sum())} of {len(frame)} are in none of {', '.join(stated)}.",
            where="cohorts",
            fix="Add a cohort that is the `rest`, such as `others: rest`.",
        )
    names = np.array([*stated, rest or NO_COHORT], dtype=object)
    return np.asarray(names[np.where(count > 0, inside.argmax(axis=0), len(stated))], dtype=object)

"""Which rows are fitted on, chosen on and reported on; and what moment a value of a date column means.

For n rows (stratified: for the n rows of each label) a part with share s gets floor(n s) of them, and one more where its remainder is
among the largest, so that no part is a whole row from its exact share. Which rows they are depends on the seed, the row ids and, but for random, on
what the split looks at; never on the order of the table. (A table without `row_id` is split by position.)
"""

from __future__ import annotations  # pandas.Series takes its type argument in annotations only

from math import floor
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types

from tasks.core.case import Split
from tasks.core.errors import CaseError, DataError, nearest

TRAIN, VALIDATION, TEST = PARTS = ("train", "validation", "test")

_OFFSET = r"[T ]\d{2}.*(?:Z|[+-]\d{2}(?::?\d{2})?)$"

Ints = npt.NDArray[np.int64]


def split(frame: pd.DataFrame, labels: pd.Series[Any] | None, spec: Split, seed: int) -> pd.Series[Any]:
    """ "train", "validation" or "test" for each row, aligned with `frame.index` and named "split".

    random      any row anywhere
    stratified  the shares hold within each label; `labels` has one value for each row of `frame`, in its order
    group       rows with the same value of `spec.column` stay together: groups, in seeded order, each go to the part that lacks most
                rows, so that no part exceeds its share by a whole group
    time        the oldest rows train, the newest test; rows of one moment are ordered by row id, and a cut may fall between them

    Raises: CaseError for a column that is not there; DataError where a part, or a label's share of it, would be empty, and for missing
    labels, groups or dates.
    """
    order = _canonical_order(frame)
    generator = np.random.default_rng(seed)
    if spec.kind == "random":
        parts = _shares(generator.permutation(order), spec, f"{len(frame)} rows")
    elif spec.kind == "stratified":
        parts = _stratified(order, labels, spec, generator)
    elif spec.kind == "group":
        parts = _grouped(order, _column(frame, spec), spec, generator)
    else:
        values = _column(frame, spec)
        times = values if types.is_numeric_dtype(values.dtype) and not values.isna().any() else moments(values).dt.tz_localize(None)
        parts = _shares(order[np.argsort(times.to_numpy()[order], kind="stable")], spec, f"{len(frame)} rows")
    result = np.empty(len(frame), dtype=object)
    for name, rows in parts.items():
        result[rows] = name
    return pd.Series(result, index=frame.index, name="split").astype("str")


def moments(values: pd.Series[Any]) -> pd.Series[Any]:
    """The dates of a column as timestamps: in UTC where the values carry an offset, without a zone where they do not.

    Takes date and timestamp columns, `datetime.date` objects and ISO 8601 text; with and without an offset are not to be mixed.

    Raises: DataError with the first offending value and its row, counted from 1.

    >>> [str(moment) for moment in moments(pd.Series(["2013-01-01T10:00:00+02:00"]))]
    ['2013-01-01 08:00:00+00:00']
    """
    name = f"Column `{values.name}`"
    missing = np.flatnonzero(values.isna())
    if missing.size:
        raise DataError(f"{name} has no date in {missing.size} of {len(values)} rows, first in row {missing[0] + 1}.", fix="Fill or drop those rows.")
    if types.is_numeric_dtype(values.dtype):
        raise DataError(f"{name} holds numbers ({values.dtype}), not dates.", fix="Give it as a date column or as ISO 8601 text, such as 2024-01-31.")
    if types.is_datetime64_any_dtype(values.dtype):
        return pd.to_datetime(values, utc=values.dt.tz is not None)
    text = values.astype("str")
    offset = text.str.contains(_OFFSET, regex=True)
    if offset.any() and not offset.all():
        odd = int(np.flatnonzero(offset != offset.iloc[0])[0])
        raise DataError(f"{name} mixes dates with and without a UTC offset: {text.iloc[0]!r} in row 1, {text.iloc[odd]!r} in row {odd + 1}.")
    parsed = pd.to_datetime(text, format="ISO8601", utc=bool(offset.any()), errors="coerce")
    wrong = np.flatnonzero(parsed.isna())
    if wrong.size:
        raise DataError(
            f"{name} holds {text.iloc[wrong[0]]!r} in row {wrong[0] + 1}, which is not an ISO 8601 date ({wrong.size} of {len(values)} rows are not).",
            fix="Write dates as 2024-01-31 or 2024-01-31T23:59:00Z.",
        )
    return parsed


def _canonical_order(frame: pd.DataFrame) -> Ints:
    """Positions of the rows in the order of their ids."""
    if "row_id" not in frame.columns:
        return np.arange(len(frame))
    ids = frame["row_id"].astype("str")
    repeated = ids[ids.duplicated()]
    if len(repeated):
        raise DataError(f"`row_id` is not unique: {repeated.iloc[0]!r} occurs again.", fix="Give each row an id of its own.")
    return np.argsort(ids.to_numpy(dtype=object), kind="stable")


def _shares(rows: Ints, spec: Split, what: str) -> dict[str, Ints]:
    """Cut rows, in their order, into train, validation and test."""
    # rounded, so that 10 * (1 - 0.25 - 0.45) counts as the 3 it would be without binary fractions
    exact = [round(len(rows) * share, 9) for share in (1 - spec.validation - spec.test, spec.validation, spec.test)]
    sizes = [floor(size) for size in exact]
    for part in sorted(range(len(PARTS)), key=lambda part: sizes[part] - exact[part])[: len(rows) - sum(sizes)]:
        sizes[part] += 1
    if min(sizes) < 1:
        raise DataError(
            f"{what} are too few for a split into {sizes[0]} to train on, {sizes[1]} to validate and {sizes[2]} to test on.",
            fix="Bring more rows, or change `split`.",
        )
    return dict(zip(PARTS, np.split(rows, np.cumsum(sizes)[:-1]), strict=True))


def _stratified(order: Ints, labels: pd.Series[Any] | None, spec: Split, generator: np.random.Generator) -> dict[str, Ints]:
    if labels is None:
        raise CaseError("A stratified split needs labels.", where="split")
    if len(labels) != len(order):
        raise DataError(f"There are {len(labels)} labels for {len(order)} rows.")
    if labels.isna().any():
        raise DataError(f"{int(labels.isna().sum())} of {len(labels)} labels are missing, and a stratified split needs them all.", fix="Drop those rows.")
    codes, classes = pd.factorize(labels.astype("str"), sort=True)
    pieces = []
    for code, name in enumerate(classes):
        rows = order[codes[order] == code]
        fix = "Merge rare classes, or use a random split."
        try:
            pieces.append(_shares(generator.permutation(rows), spec, f"The {len(rows)} rows"))
        except DataError as error:
            raise DataError(f"Class {name!r}: {error.message}", fix=fix) from None
    if not pieces:
        raise DataError("0 rows are too few for a split.", fix="Bring more rows.")
    return {part: np.concatenate([piece[part] for piece in pieces]) for part in PARTS}


def _grouped(order: Ints, groups: pd.Series[Any], spec: Split, generator: np.random.Generator) -> dict[str, Ints]:
    missing = np.flatnonzero(groups.isna())
    if missing.size:
        raise DataError(f"Column `{groups.name}` names no group in {missing.size} of {len(groups)} rows, first in row {missing[0] + 1}.")
    codes, names = pd.factorize(groups.astype("str"), sort=True)
    if len(names) < len(PARTS):
        raise DataError(f"Column `{groups.name}` has {len(names)} groups; a split into three parts needs at least 3.", fix="Use another kind of split.")
    lacking = len(order) * np.array([1 - spec.validation - spec.test, spec.validation, spec.test])
    sizes, part_of, empty = np.bincount(codes), np.empty(len(names), dtype=np.int64), set(range(len(PARTS)))
    for done, group in enumerate(generator.permutation(len(names))):
        open_parts = sorted(empty) if len(names) - done == len(empty) else range(len(PARTS))  # the last groups fill parts that have none
        part = max(open_parts, key=lambda candidate: lacking[candidate])
        part_of[group] = part
        lacking[part] -= sizes[group]
        empty.discard(part)
    assigned = part_of[codes]
    return {name: order[assigned[order] == part] for part, name in enumerate(PARTS)}


def _column(frame: pd.DataFrame, spec: Split) -> pd.Series[Any]:
    column = str(spec.column)
    if column not in frame.columns:
        raise CaseError(f"The table has no column `{column}` to split by.", where="split.column", fix=nearest(column, map(str, frame.columns)))
    return frame[column]

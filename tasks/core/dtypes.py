"""Whether the values of a pandas column are of a declared type, however pandas happens to store them.

Judged by value where the storage does not say: whole numbers that pandas keeps as floats because some are missing are
integers, and so are Python integers in an object column. Missing values never count against a type.
"""

from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types

# What pandas' infer_dtype calls object columns that hold the type.
_OBJECTS = {
    "integer": {"integer"},
    "number": {"integer", "floating", "mixed-integer-float", "decimal"},
    "string": {"string"},
    "boolean": {"boolean"},
    "date": {"date"},
    "timestamp": {"datetime", "datetime64"},
}
_CALENDAR = r"\d{4}-\d{2}-\d{2}"
_CLOCK = r"[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?"


def fault(values: "pd.Series[Any]", type_: str, *, finite: bool = True) -> str | None:
    """Why the column is not of the type, in words that fit after "it is declared so, and"; None when it is.

    `type_` is integer, number, string, boolean, date or timestamp. With `finite`, infinity is a fault too. The words
    hold counts and storage types, never values.
    """
    known = values.dropna()
    if known.empty:
        return None
    if isinstance(known.dtype, pd.CategoricalDtype):
        known = pd.Series(np.asarray(known), index=known.index)
    if type_ in ("integer", "number"):
        return _number(known, type_, finite)
    if type_ in ("date", "timestamp"):
        return _time(known, type_)
    held = _is_text(known) if type_ == "string" else types.is_bool_dtype(known.dtype) or _inferred(known) in _OBJECTS["boolean"]
    return None if held else _stored(known)


def _number(known: "pd.Series[Any]", type_: str, finite: bool) -> str | None:
    if types.is_bool_dtype(known.dtype) or types.is_complex_dtype(known.dtype):
        return _stored(known)
    if not types.is_numeric_dtype(known.dtype) and _inferred(known) not in _OBJECTS["number"]:
        return _stored(known)
    if types.is_integer_dtype(known.dtype):
        return None
    numbers = known.to_numpy(dtype=np.float64)
    infinite = int(np.isinf(numbers).sum())
    if infinite and finite:
        return f"it is infinite in {_of(infinite, known)}"
    if type_ == "integer":
        parts = int((numbers != np.rint(numbers)).sum())
        if parts:
            return f"it is not whole in {_of(parts, known)}"
    return None


def _time(known: "pd.Series[Any]", type_: str) -> str | None:
    """Dates and times as such, or as ISO 8601 text: 2013-01-31 and 2013-01-31T10:00:00Z."""
    if types.is_datetime64_any_dtype(known.dtype):
        if type_ == "timestamp":
            return None
        timed = int((known != known.dt.normalize()).sum())
        return f"it has a time of day in {_of(timed, known)}" if timed else None
    if _inferred(known) in _OBJECTS[type_]:
        return None
    if not _is_text(known):
        return _stored(known)
    texts = known.astype(str)
    shaped = texts.str.fullmatch(_CALENDAR if type_ == "date" else f"{_CALENDAR}(?:{_CLOCK})?").astype(bool)
    wrong = int((~shaped).sum())
    if not wrong:
        wrong = int(pd.to_datetime(texts, format="ISO8601", utc=True, errors="coerce").isna().sum())
    return f"it is not in ISO form in {_of(wrong, known)}" if wrong else None


def _is_text(known: "pd.Series[Any]") -> bool:
    return (types.is_string_dtype(known.dtype) and not types.is_object_dtype(known.dtype)) or _inferred(known) in _OBJECTS["string"]


def _inferred(known: "pd.Series[Any]") -> str:
    return str(types.infer_dtype(known, skipna=True)) if known.dtype == object else ""


def _stored(known: "pd.Series[Any]") -> str:
    inner = _inferred(known)
    return f"it is stored as {known.dtype}{f' holding {inner}' if inner else ''}"


def _of(count: int, known: "pd.Series[Any]") -> str:
    return f"{count:,} of {len(known):,} rows"

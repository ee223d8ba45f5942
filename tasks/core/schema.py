"""The schema check: columns that are missing, extra, renamed or retyped are said before anything is scored or measured."""

from collections.abc import Collection, Mapping
from difflib import get_close_matches

import numpy as np
import pandas as pd

from tasks.core.drift_summary import Kind
from tasks.core.errors import DataError


def check_schema(expected: Mapping[str, Kind], frame: pd.DataFrame, known: Collection[str] = (), *, where: str | None = None) -> None:
    """Refuse a frame whose columns are not what the model was accepted on. Every problem is named in one error.

    `expected` names the inputs and their kinds. `known` names columns that may be there besides, such as the rest of the
    catalogue; any other column is refused. Refused too: no rows, a column twice, a column without a value, infinity in a
    numeric column, a numeric column that holds text and the reverse. Booleans pass as either kind. Missing values pass.
    """
    names = [str(name) for name in frame.columns]
    unknown = [name for name in names if name not in expected and name not in known]
    problems, renamed = [], set()
    if frame.empty:
        problems.append("it has no rows" if len(names) else "it has no columns")
    problems += [f"column `{name}` is there {names.count(name)} times" for name in dict.fromkeys(names) if names.count(name) > 1]
    for name, kind in expected.items():
        if name not in names:
            close = get_close_matches(name.casefold(), {other.casefold(): other for other in unknown}, n=1, cutoff=0.7)
            twin = next((other for other in unknown if close and other.casefold() == close[0]), None)
            renamed.add(twin)
            problems.append(f"column `{name}` is missing" + (f" (`{twin}` looks like it under another name)" if twin else ""))
        elif names.count(name) == 1 and len(frame) and (problem := _values(frame.iloc[:, names.index(name)], kind)):
            problems.append(f"column `{name}` {problem}")
    problems += [f"column `{name}` is unknown" for name in unknown if name not in renamed]
    if problems:
        fix = "Mend the source and take the snapshot again, or train on the new columns."
        raise DataError(f"the data does not fit the model: {'; '.join(problems)}.", where=where, fix=fix)


def _values(series: pd.Series, kind: Kind) -> str | None:
    """What is wrong with one column's values, as the end of a sentence; None when they fit the kind."""
    if not series.notna().any():
        return "has no value in any row"
    # Objects are judged by what they hold: a database driver hands out Decimal, a CSV with gaps may hand out Python ints.
    held = pd.api.types.infer_dtype(series, skipna=True)
    if held == "boolean":
        return None
    if kind == "categorical":
        return None if held in ("string", "categorical") else f"should hold categories and holds {held} values"
    if held not in ("integer", "floating", "mixed-integer-float", "decimal"):
        return f"should hold numbers and holds {'text' if held == 'string' else held} values"
    infinite = int(np.isinf(pd.to_numeric(series, errors="raise").astype("float64")).sum())
    return f"holds infinity in {infinite} row(s)" if infinite else None

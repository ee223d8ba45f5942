"""Drift: has the data moved away from the reference the model was accepted on?

Scores come from outside (Evidently measures them in tasks.io.workspace); whether a score is drift, and whether a period has
drifted, is decided here and nowhere else. The schema is checked first, because a column that is missing or retyped has no score.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from math import isfinite
from typing import Literal

import numpy as np
import pandas as pd

from tasks.core.case import Drift
from tasks.core.errors import CaseError, DataError, nearest

Kind = Literal["numeric", "categorical"]

P_VALUES = frozenset({"ks", "chisquare"})
"""Methods whose score is a p-value: small means drift. Every other score is a distance: large means drift."""


@dataclass(frozen=True)
class ColumnDrift:
    """One column's score against its limit. A distance drifts above its limit, a p-value below it."""

    column: str
    kind: Kind
    method: str
    score: float
    limit: float
    drifted: bool

    def __str__(self) -> str:
        return f"{self.column} ({self.method} {self.score:.3g}, limit {self.limit:g})"


@dataclass(frozen=True)
class DriftReport:
    """The verdict on one period. `columns` holds features only; the prediction stands beside them and does not count."""

    columns: tuple[ColumnDrift, ...]
    prediction: ColumnDrift | None
    share: float
    share_limit: float
    drifted: bool
    reason: str

    @property
    def drifted_columns(self) -> tuple[str, ...]:
        """Names of the drifted features, in the order of the features."""
        return tuple(column.column for column in self.columns if column.drifted)

    def frame(self) -> pd.DataFrame:
        """One row for each feature, then the prediction: column, role (feature or prediction), kind, method, score, limit, drifted."""
        roles = [("feature", column) for column in self.columns] + [("prediction", column) for column in (self.prediction,) if column]
        names = ["column", "role", "kind", "method", "score", "limit", "drifted"]
        return pd.DataFrame([(c.column, role, c.kind, c.method, c.score, c.limit, c.drifted) for role, c in roles], columns=names)


def rule(column: str, kind: Kind, drift: Drift) -> tuple[str, float]:
    """The method and the limit that the case sets for one column."""
    return (drift.numeric if kind == "numeric" else drift.categorical), drift.limits.get(column, drift.limit)


def judge(scores: Mapping[str, float], drift: Drift, *, kinds: Mapping[str, Kind], prediction: str | None = None) -> DriftReport:
    """Turn scores into the verdict on a period.

    `scores` and `kinds` hold the features and, if given, the column named `prediction`. The period has drifted when
    drifted features / features >= drift.share. A missing or non-finite score is an error: what could not be measured is
    neither drift nor its absence.

    >>> report = judge({"age": 0.9, "pay": 0.1}, Drift(limit=0.4, share=0.5), kinds={"age": "numeric", "pay": "numeric"})
    >>> report.drifted, report.share, report.drifted_columns
    (True, 0.5, ('age',))
    """
    features = [name for name in kinds if name != prediction]
    if not features:
        raise DataError("no feature was scored, so drift cannot be judged.", fix="Name at least one column under `features` in the case.")
    for name in drift.limits:
        if name not in kinds:
            raise CaseError(f"drift.limits names `{name}`, which is not a feature or the prediction.", fix=nearest(name, kinds))
    judged: dict[str, ColumnDrift] = {}
    for name, kind in kinds.items():
        method, limit = rule(name, kind, drift)
        score = scores.get(name)
        if score is None or not isfinite(score):
            raise DataError(f"column `{name}` has no {method} score ({score}).", fix="Look at its values in the snapshot: a score needs values on both sides.")
        judged[name] = ColumnDrift(name, kind, method, float(score), limit, score < limit if method in P_VALUES else score > limit)
    columns = tuple(judged[name] for name in features)
    moved = [column for column in columns if column.drifted]
    share = len(moved) / len(columns)
    reason = f"{len(moved)} of {len(columns)} features drifted, a share of {share:.2f} (limit {drift.share:g})"
    reason += f": {', '.join(map(str, moved))}." if moved else "."
    return DriftReport(columns, judged.get(prediction) if prediction else None, share, drift.share, share >= drift.share, reason)


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

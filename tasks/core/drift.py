"""Drift: has the data moved away from the reference the model was accepted on?

Two things must both hold before a column has drifted: the effect size is beyond the case's limit, so that it matters; and the test
survives correction over the period's columns (Holm) at the level that the periods before it leave (tasks.core.online), so that it
is not chance. Statistics are exact on all rows, from mergeable summaries (tasks.core.drift_summary). Nothing else decides drift.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

import numpy as np
import pandas as pd

from tasks.core.case import Drift
from tasks.core.drift_measures import CATEGORICAL, NUMERIC, Pair, chi_square, pooled, table
from tasks.core.drift_summary import THREADS, Categories, Kind, Numbers, Summary
from tasks.core.errors import CaseError, DataError, nearest
from tasks.core.intervals import holm
from tasks.core.online import ALPHA

MISSING = "(missing)"
COLUMNS = ("column", "kind", "method", "effect", "limit", "p_value", "q_value", "drifted", "missing_rate", "new_categories")


@dataclass(frozen=True)
class ColumnDrift:
    """One column against the reference. `effect` is an effect size by `method`; `q_value` the p-value corrected over columns and
    periods, at most 0.05 when it counts; `missing_rate` the share of current rows without a value; `new_categories` how many
    categories the reference does not have.
    """

    column: str
    kind: Kind
    method: str
    effect: float
    limit: float
    p_value: float
    q_value: float
    drifted: bool
    missing_rate: float
    new_categories: int

    def __str__(self) -> str:
        return f"{self.column} ({self.method} {self.effect:.3g}, limit {self.limit:g}, corrected p {p_text(self.q_value)})"


@dataclass(frozen=True)
class DriftReport:
    """The verdict on one period. `columns` holds features only; the prediction stands beside them and does not count.

    `level`: what this period's tests could spend. `alarm`: whether any test survived its correction, whatever the size of its
    effect: what the next period's level rests on.
    """

    columns: tuple[ColumnDrift, ...]
    prediction: ColumnDrift | None
    share: float
    share_limit: float
    drifted: bool
    alarm: bool
    level: float
    reason: str

    @property
    def drifted_columns(self) -> tuple[str, ...]:
        """Names of the drifted features, in the order of the features."""
        return tuple(column.column for column in self.columns if column.drifted)

    def frame(self) -> pd.DataFrame:
        """One row for each feature, then the prediction, with columns `COLUMNS`."""
        found = [*self.columns, *((self.prediction,) if self.prediction else ())]
        return pd.DataFrame([[getattr(one, name) for name in COLUMNS] for one in found], columns=list(COLUMNS))

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON has it."""
        return asdict(self) | {"columns": [asdict(column) for column in self.columns]}

    @staticmethod
    def from_dict(kept: Mapping[str, Any]) -> "DriftReport":
        """The report that `to_dict` gave."""
        columns = tuple(ColumnDrift(**column) for column in kept["columns"])
        return DriftReport(**{**kept, "columns": columns, "prediction": ColumnDrift(**kept["prediction"]) if kept["prediction"] else None})


def p_text(p_value: float) -> str:
    """A p-value to two digits; one that is smaller than anybody's data can show is not called 0.

    >>> p_text(0.0312), p_text(0.0)
    ('0.031', '< 1e-12')
    """
    return f"{p_value:.2g}" if p_value >= 1e-12 else "< 1e-12"


def rule(column: str, kind: Kind, drift: Drift) -> tuple[str, float]:
    """The method and the limit that the case sets for one column."""
    return (drift.numeric if kind == "numeric" else drift.categorical), drift.limits.get(column, drift.limit)


def compare(reference: Summary, current: Summary, drift: Drift, *, prediction: str | None = None, level: float = ALPHA) -> DriftReport:
    """The verdict on a period.

    prediction: the column that is not a feature; it is tested with the others. level: what this period's tests may spend together,
    of `tasks.core.online.level`. The period has drifted when drifted features / features >= drift.share. Raises: DataError for a
    column without a value on either side or of another kind, CaseError for a limit on a column that is not there.
    """
    features = [name for name in reference.columns if name != prediction]
    if not features:
        raise DataError("there is no feature, so drift cannot be judged.", fix="Name at least one column under `features` in the case.")
    for name in drift.limits:
        if name not in reference.columns:
            raise CaseError(f"drift.limits names `{name}`, which is not a feature or the prediction.", fix=nearest(name, reference.columns))
    with ThreadPoolExecutor(THREADS) as pool:
        measured = list(pool.map(lambda name: _measure(name, reference.columns[name], current.columns.get(name), drift), reference.columns))
    corrected = np.minimum(holm(np.array([p_value for _, _, p_value in measured])) * (ALPHA / level), 1.0)
    judged: dict[str, ColumnDrift] = {}
    for name, (kind, effect, p_value), q_value in zip(reference.columns, measured, corrected.tolist(), strict=True):
        method, limit = rule(name, kind, drift)
        before, now = reference.columns[name], current.columns[name]
        new = len(now.counts.keys() - before.counts.keys()) if isinstance(now, Categories) and isinstance(before, Categories) else 0
        drifted = effect > limit and q_value <= ALPHA
        judged[name] = ColumnDrift(name, kind, method, effect, limit, p_value, q_value, drifted, now.missing / current.rows, new)
    columns = tuple(judged[name] for name in features)
    moved = [column for column in columns if column.drifted]
    share = len(moved) / len(columns)
    reason = f"{len(moved)} of {len(columns)} features drifted at level {level:.2g}, a share of {share:.2f} (limit {drift.share:g})"
    reason += f": {', '.join(map(str, moved))}." if moved else "."
    alarm = any(column.q_value <= ALPHA for column in judged.values())
    return DriftReport(columns, judged.get(prediction) if prediction else None, share, drift.share, share >= drift.share, alarm, level, reason)


def _measure(name: str, reference: Numbers | Categories, current: Numbers | Categories | None, drift: Drift) -> tuple[Kind, float, float]:
    """Kind, effect and p-value of one column. A missing category is a category of its own; missing numbers are left out."""
    if isinstance(reference, Numbers) and isinstance(current, Numbers):
        if not reference.n or not current.n:
            raise DataError(f"column `{name}` has no value in {'any row' if reference.n else 'the reference'}.", fix="Look at the snapshot.")
        pair = Pair(reference, current)
        return "numeric", _finite(name, NUMERIC[drift.numeric](pair)), pair.p_value
    if isinstance(reference, Categories) and isinstance(current, Categories):
        counts = table(*(Categories({**side.counts, **({MISSING: side.missing} if side.missing else {})}, 0) for side in (reference, current)))
        if not counts.size or not counts.sum(axis=1).all():
            raise DataError(f"column `{name}` has no row to compare.", fix="Look at the snapshot.")
        return "categorical", _finite(name, CATEGORICAL[drift.categorical](counts)), chi_square(pooled(counts))[1]
    raise DataError(f"column `{name}` is {'missing' if current is None else 'not of the kind it was'}.", fix="Mend the source, or train on the new columns.")


def _finite(name: str, effect: float) -> float:
    if not isfinite(effect):
        raise DataError(f"column `{name}` cannot be compared with the reference.", fix="Look at its values in the snapshot.")
    return effect

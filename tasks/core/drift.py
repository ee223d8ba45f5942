"""Drift: has the data moved away from the reference the model was accepted on?

Two things must both hold before a column has drifted: the effect size is beyond the case's limit, so that it matters; and the test
survives correction over the period's tests (Holm) at the level that the periods before it leave (tasks.core.online), so that it
is not chance. A numeric column is asked twice where rows lack a value: whether its values have moved, and whether the share of rows
without one has. Statistics are exact on all rows, from mergeable summaries (tasks.core.drift_summary). Nothing else decides drift.
"""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

import numpy as np
import pandas as pd

from tasks.core.case import Drift
from tasks.core.drift_measures import CATEGORICAL, NUMERIC, Pair, categories_p_value, missing_p_value, table
from tasks.core.drift_summary import THREADS, Categories, Kind, Numbers, Summary, summarise
from tasks.core.errors import DataError
from tasks.core.intervals import holm
from tasks.core.online import ALPHA

__all__ = ["COLUMNS", "ColumnDrift", "DriftReport", "compare", "judge", "looks_before", "looks_told", "measure", "p_text", "rule", "summarise"]

USUAL = Drift()
MISSING = "(missing)"
MISSING_RATE = "missing rate"
"""The method of a column whose share of missing values has drifted: the effect is its change, 0 to 1."""
COLUMNS = ("column", "kind", "method", "effect", "limit", "p_value", "q_value", "drifted", "missing_rate", "new_categories")
NAMED = 6
"""Most earlier alarms that are named; of more it is said how many there were, and when the last was."""


@dataclass(frozen=True)
class ColumnDrift:
    """One column against the reference. `effect` is an effect size by `method`; `q_value` the p-value corrected over the tests of the
    period and over periods, at most 0.05 when it counts; `missing_rate` the share of current rows without a value, `missing_before` that
    of the reference; `new_categories` how many categories the reference does not have, `new_category_rate` the share of current rows in
    them. What reports of before do not have is None.

    Of a column asked twice, this is what the values say, unless only the missing rate has drifted: then it is what that says, and
    `value_effect` has what the values say.
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
    missing_before: float | None = None
    value_effect: float | None = None
    new_category_rate: float | None = None

    @property
    def moved_values(self) -> float | None:
        """The effect size of the values, by the case's method; None where there was no value to measure."""
        return self.value_effect if self.method == MISSING_RATE else self.effect

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

    @property
    def shown(self) -> tuple[ColumnDrift, ...]:
        """Every column that was tested: the features, then the prediction."""
        return (*self.columns, *((self.prediction,) if self.prediction else ()))

    def frame(self) -> pd.DataFrame:
        """One row for each feature, then the prediction, with columns `COLUMNS`."""
        return pd.DataFrame([[getattr(one, name) for name in COLUMNS] for one in self.shown], columns=list(COLUMNS))

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON has it."""
        return asdict(self) | {"columns": [asdict(column) for column in self.columns]}

    @staticmethod
    def from_dict(kept: Mapping[str, Any]) -> "DriftReport":
        """The report that `to_dict` gave."""
        columns = tuple(ColumnDrift(**column) for column in kept["columns"])
        return DriftReport(**{**kept, "columns": columns, "prediction": ColumnDrift(**kept["prediction"]) if kept["prediction"] else None})


@dataclass(frozen=True)
class Question:
    """One question that a column is asked."""

    method: str
    effect: float
    limit: float
    p_value: float


@dataclass(frozen=True)
class Measured:
    """A column's questions, and what is told beside them."""

    column: str
    kind: Kind
    tests: tuple[Question, ...]
    missing: tuple[float, float]
    new: tuple[int, float]
    """How many new categories there are, and the share of rows in them."""

    def judged(self, corrected: Sequence[float]) -> ColumnDrift:
        """The verdict, from the corrected p-value of each test."""
        drifted = [test.effect > test.limit and q_value <= ALPHA for test, q_value in zip(self.tests, corrected, strict=True)]
        place = drifted.index(True) if any(drifted) else 0
        test = self.tests[place]
        told = (test.method, test.effect, test.limit, test.p_value, corrected[place])
        values = next((one.effect for one in self.tests if one.method != MISSING_RATE), None) if test.method == MISSING_RATE else None
        return ColumnDrift(self.column, self.kind, *told, any(drifted), self.missing[1], self.new[0], self.missing[0], values, self.new[1])


def p_text(p_value: float) -> str:
    """A p-value to two digits; one that is smaller than anybody's data can show is not called 0.

    >>> p_text(0.0312), p_text(0.0)
    ('0.031', '< 1e-12')
    """
    return f"{p_value:.2g}" if p_value >= 1e-12 else "< 1e-12"


def looks_before(earlier: Sequence[tuple[str, bool]]) -> str:
    """What a period's level rests on, for people: how many looks there were before, and which of them found more than chance.

    >>> looks_before([]), looks_before([("2024-02", False), ("2024-03", True)])
    ('It is the first look.', 'Of 2 looks before, 1 found more than chance: 2024-03.')
    """
    if not earlier:
        return "It is the first look."
    raised = [period for period, alarm in earlier if alarm]
    named = f": {', '.join(raised)}" if 0 < len(raised) <= NAMED else f", the last in {raised[-1]}" if raised else ""
    return f"Of {len(earlier)} look{'s' if len(earlier) > 1 else ''} before, {len(raised) or 'none'} found more than chance{named}."


def looks_told(body: Mapping[str, Any]) -> str:
    """The same of a drift object; empty for an older one, which does not say it."""
    return looks_before([(one["period"], one["alarm"]) for one in body["earlier"]]) if "earlier" in body else ""


def rule(column: str, kind: Kind, drift: Drift) -> tuple[str, float]:
    """The method and the limit that the case sets for one column."""
    return (drift.numeric if kind == "numeric" else drift.categorical), drift.limits.get(column, drift.limit)


def compare(reference: Summary, current: Summary, drift: Drift = USUAL, *, prediction: str | None = None, level: float = ALPHA) -> DriftReport:
    """The verdict on a period.

    drift: what the case sets; its defaults where nothing is given. prediction: the column that is not a feature; it is tested with the
    others. level: what this period's tests may spend together, of `tasks.core.online.level`. The period has drifted when drifted features /
    features >= drift.share. Raises: DataError for a column without rows, of another kind or not to be compared. A limit of a column that
    the model does not read says nothing: its name is checked where the case is loaded.
    """
    features = [name for name in reference.columns if name != prediction]
    if not features:
        raise DataError("there is no feature, so drift cannot be judged.", fix="Name at least one column under `features` in the case.")
    with ThreadPoolExecutor(THREADS) as pool:
        measured = list(pool.map(lambda name: measure(name, reference.columns[name], current.columns.get(name), drift), reference.columns))
    found, alarm = judge(measured, level)
    judged = {column.column: column for column in found}
    columns = tuple(judged[name] for name in features)
    moved = [column for column in columns if column.drifted]
    share = len(moved) / len(columns)
    reason = f"{len(moved)} of {len(columns)} features drifted at level {level:.2g}, a share of {share:.2f} (limit {drift.share:g})"
    reason += f": {', '.join(map(str, moved))}." if moved else "."
    return DriftReport(columns, judged.get(prediction) if prediction else None, share, drift.share, share >= drift.share, alarm, level, reason)


def judge(measured: Iterable[Measured], level: float) -> tuple[list[ColumnDrift], bool]:
    """The verdict on each column, all tests corrected together (Holm) at a level, and whether any test survived."""
    measured = list(measured)
    corrected = np.minimum(holm(np.array([test.p_value for one in measured for test in one.tests])) * (ALPHA / level), 1.0).tolist()
    found, place = [], 0
    for one in measured:
        found.append(one.judged(corrected[place : place + len(one.tests)]))
        place += len(one.tests)
    return found, any(q_value <= ALPHA for q_value in corrected)


def measure(name: str, reference: Numbers | Categories, current: Numbers | Categories | None, drift: Drift) -> Measured:
    """What a column is asked, and the answers. A missing category is a category of its own.

    Missing numbers are left out of the values' test and have one of their own wherever there are any. Whether there are depends on
    both sides together and not on how they differ, so that counting the tests this way favours no outcome.
    """
    if isinstance(reference, Numbers) and isinstance(current, Numbers):
        if not reference.n + reference.missing or not current.n + current.missing:
            raise DataError(f"column `{name}` has no row to compare.", fix="Look at the snapshot.")
        method, limit = rule(name, "numeric", drift)
        tests = []
        if reference.n and current.n:
            pair = Pair(reference, current)
            tests.append(Question(method, _finite(name, NUMERIC[method](pair)), limit, pair.p_value))
        absent, rows = (reference.missing, current.missing), (reference.n + reference.missing, current.n + current.missing)
        missing = (absent[0] / rows[0], absent[1] / rows[1])
        if any(absent):
            tests.append(Question(MISSING_RATE, abs(missing[1] - missing[0]), drift.missing, missing_p_value(absent, rows)))
        return Measured(name, "numeric", tuple(tests), missing, (0, 0.0))
    if isinstance(reference, Categories) and isinstance(current, Categories):
        sides = reference, current
        counts = table(*(Categories({**side.counts, **({MISSING: side.missing} if side.missing else {})}, 0) for side in sides))
        if not counts.size or not counts.sum(axis=1).all():
            raise DataError(f"column `{name}` has no row to compare.", fix="Look at the snapshot.")
        method, limit = rule(name, "categorical", drift)
        test = Question(method, _finite(name, CATEGORICAL[method](counts)), limit, categories_p_value(counts))
        before, now = (side.missing / (side.n + side.missing) for side in sides)
        new = current.counts.keys() - reference.counts.keys()
        share = sum(current.counts[category] for category in new) / (current.n + current.missing)
        return Measured(name, "categorical", (test,), (before, now), (len(new), share))
    raise DataError(f"column `{name}` is {'missing' if current is None else 'not of the kind it was'}.", fix="Mend the source, or train on the new columns.")


def _finite(name: str, effect: float) -> float:
    if not isfinite(effect):
        raise DataError(f"column `{name}` cannot be compared with the reference.", fix="Look at its values in the snapshot.")
    return effect

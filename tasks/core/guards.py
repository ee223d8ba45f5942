"""Guards: what fitting saw of each column, and which rows of a period are beyond it.

Three kinds, as `scoring` of the case names them: `unseen` (a category that no row fitted on has), `outside` (a number below the
smallest or above the largest of the rows fitted on) and `missing` (no value, where every row fitted on has one).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.core.encoding import MISSING, Kind, categories_of, tidy
from tasks.core.errors import DataError
from tasks.core.operations import Scoring

GUARDS = ("unseen", "outside", "missing")
SHOWN = 3
"""Rows that a refusal names for each column."""

TEXT = pd.StringDtype("pyarrow", na_value=np.nan)
Counts = dict[str, dict[str, int]]
"""Rows by guard and column; columns without any are left out."""


@dataclass(frozen=True)
class Seen:
    """What the rows fitted on hold of a column. low, high: of a numeric one (None where no row has a value). categories: of any other,
    as text. gaps: whether a row has no value.
    """

    gaps: bool
    low: float | None = None
    high: float | None = None
    categories: frozenset[str] | None = None

    @staticmethod
    def of(column: "pd.Series[Any]", kind: Kind) -> "Seen":
        """Of a column of the rows fitted on. Raises: DataError for a numeric one that is not."""
        if kind == "categorical":
            codes, names = categories_of(column)
            return Seen(bool((names[codes] == MISSING).any()), categories=frozenset(names[:-1]) - {MISSING})
        values = tidy(column.to_frame(), {str(column.name): kind})[str(column.name)]
        known = values[~np.isnan(values)]
        return Seen(known.size < values.size, *((float(known.min()), float(known.max())) if known.size else ()))

    def beyond(self, column: "pd.Series[Any]") -> dict[str, NDArray[np.bool_]]:
        """Rows beyond what was seen, by guard; a mask of shape (n,) each."""
        if self.categories is not None:
            codes, names = categories_of(column)
            missing = names == MISSING
            found = {"unseen": ~(missing | np.fromiter((name in self.categories for name in names), bool, len(names)))[codes]}
            return found if self.gaps else found | {"missing": missing[codes]}
        values = tidy(column.to_frame(), {str(column.name): "numeric"})[str(column.name)]
        found = {} if self.low is None else {"outside": (values < self.low) | (values > self.high)}
        return found if self.gaps else found | {"missing": np.isnan(values)}

    def said(self, guard: str) -> str:
        """What a row beyond is said to be."""
        return f"outside {_number(self.low)} to {_number(self.high)}" if guard == "outside" else guard


@dataclass(frozen=True)
class Guards:
    """What the rows fitted on hold of each column that the model reads."""

    columns: Mapping[str, Seen]

    @staticmethod
    def of(frame: pd.DataFrame, kinds: Mapping[str, Kind]) -> "Guards":
        """Of the rows fitted on."""
        return Guards({name: Seen.of(frame[name], kind) for name, kind in kinds.items()})

    def beyond(self, frame: pd.DataFrame) -> "Beyond":
        """What of a frame's rows is beyond it."""
        found = ((name, guard, rows) for name, seen in self.columns.items() for guard, rows in seen.beyond(frame[name]).items())
        return Beyond(self, len(frame), {(guard, name): rows for name, guard, rows in found if rows.any()})

    def to_json(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            name: {"gaps": seen.gaps} | ({"low": seen.low, "high": seen.high} if seen.categories is None else {"categories": sorted(seen.categories)})
            for name, seen in self.columns.items()
        }

    @staticmethod
    def of_json(stored: Mapping[str, Any]) -> "Guards":
        """The reverse of `to_json`."""
        return Guards(
            {
                name: Seen(one["gaps"], one.get("low"), one.get("high"), frozenset(one["categories"]) if "categories" in one else None)
                for name, one in stored.items()
            }
        )


@dataclass(frozen=True)
class Beyond:
    """Rows of a frame that are beyond what fitting saw, by guard and column."""

    guards: Guards
    size: int
    rows: Mapping[tuple[str, str], NDArray[np.bool_]]

    @property
    def counts(self) -> Counts:
        """Rows by guard and column."""
        return {guard: found for guard in GUARDS if (found := {name: int(rows.sum()) for (one, name), rows in self.rows.items() if one == guard})}

    def reasons(self, guards: Sequence[str]) -> "pd.Series[str]":
        """A text for each row: what of it is beyond, by these guards; empty where nothing is."""
        texts, codes = [""], np.zeros(self.size, dtype=np.int64)
        for (guard, name), rows in self.rows.items():
            if guard in guards:
                before, place = np.unique(codes[rows], return_inverse=True)  # few: each is a set of reasons that some row has
                reason = f"{name}: {self.guards.columns[name].said(guard)}"
                codes[rows] = len(texts) + place
                texts += [f"{texts[one]}; {reason}" if texts[one] else reason for one in before]
        return pd.Series(pd.array(texts, dtype=TEXT).take(codes))


@dataclass
class Refusal:
    """What the guards that refuse have found so far in a period: rows, and the ids of the first ones."""

    counts: Counts = field(default_factory=dict)
    first: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    @staticmethod
    def of(guards: Guards, refusing: Sequence[str], frame: pd.DataFrame) -> "Refusal":
        """Of a frame with `row_id`."""
        found = {key: rows for key, rows in guards.beyond(frame).rows.items() if key[0] in refusing}
        ids = frame["row_id"]
        refusal = Refusal(first={key: ids[rows][:SHOWN].astype(str).tolist() for key, rows in found.items()})
        for (guard, name), rows in found.items():
            refusal.counts.setdefault(guard, {})[name] = int(rows.sum())
        return refusal

    def __add__(self, other: "Refusal") -> "Refusal":
        first = {key: (self.first.get(key, []) + other.first.get(key, []))[:SHOWN] for key in {**self.first, **other.first}}
        return Refusal(total([self.counts, other.counts]), first)

    def check(self, rows: int, where: str) -> None:
        """Raise DataError where a guard refuses the period."""
        if self.first:
            told = [
                _TOLD[guard].format(name=name, rows=f"{self.counts[guard][name]:,} of {rows:,} rows (first: {', '.join(ids)})")
                for (guard, name), ids in self.first.items()
            ]
            named = ", ".join(f"`scoring.{guard}`" for guard in GUARDS if guard in self.counts)
            raise DataError(
                f"Nothing was scored: {'; '.join(told)}.",
                where=where,
                fix=f"Mend the source and take the period again, train on newer rows, or set {named} of the case to flag.",
            )


_TOLD = {
    "unseen": "`{name}` holds a category that no row fitted on has, in {rows}",
    "outside": "`{name}` is outside the range of the rows fitted on, in {rows}",
    "missing": "`{name}` has no value, which every row fitted on has, in {rows}",
}


def refusing(settings: Scoring) -> tuple[str, ...]:
    """The guards that refuse a period."""
    return tuple(guard for guard in GUARDS if getattr(settings, guard) == "refuse")


def flagging(settings: Scoring) -> tuple[str, ...]:
    """The guards that say of a row what is beyond. Rows of a guard that refuses would be said of, if they could be scored."""
    return tuple(guard for guard in GUARDS if getattr(settings, guard) == "flag")


def total(counts: Iterable[Mapping[str, Mapping[str, int]]]) -> Counts:
    """Counts of parts, added."""
    found: Counts = {}
    for one in counts:
        for guard, columns in one.items():
            mine = found.setdefault(guard, {})
            for name, rows in columns.items():
                mine[name] = mine.get(name, 0) + rows
    return found


def _number(value: float | None) -> str:
    assert value is not None  # a column without a value has no range to be outside of
    return f"{int(value):,}" if value.is_integer() and abs(value) < 1e15 else f"{value:,.6g}"

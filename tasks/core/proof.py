"""Proof: what is on record of a version held against what is computed again from its pinned inputs.

The same inputs give the same figures on the same platform. Elsewhere the last digits of a sum may differ, so numbers that agree
to TOLERANCE, relative or absolute, count as the same, and the detail says which it was. Answers are classes or predicted numbers,
and are held to the same rule, row by row.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from tasks.core.digests import finite
from tasks.core.gate import Decision

Outcome = Literal["same", "different", "cannot be checked"]
Row = Mapping[str, Any]

TOLERANCE = 1e-9

PARTS: dict[str, str] = {
    "bundle": "Files of the bundle",
    "ledger": "Ledger",
    "record": "What the ledger says of the version",
    "objects": "Objects in the store",
    "split": "Split",
    "model": "Model and predictions",
    "figures": "Figures",
    "gate": "Gate",
    "card": "Card",
    "reviews": "Reviews and promotions",
    "environment": "Environment",
}
"""What a proof is made of, in order, and its headings."""


@dataclass(frozen=True)
class Proven:
    """One thing looked at. `part` is a key of PARTS; `detail` says how the two agree, how they differ, or why it cannot be checked."""

    part: str
    what: str
    outcome: Outcome
    detail: str = ""

    def to_dict(self) -> dict[str, str]:
        """JSON-ready."""
        return asdict(self)


def verdict(proven: Sequence[Proven]) -> Outcome:
    """different when anything is; otherwise same, unless nothing at all could be checked."""
    found = {one.outcome for one in proven}
    return "different" if "different" in found else "same" if "same" in found else "cannot be checked"


def tally(proven: Sequence[Proven]) -> dict[str, Counter[Outcome]]:
    """How many of each outcome, for each part that was looked at."""
    return {part: counts for part in PARTS if (counts := Counter(one.outcome for one in proven if one.part == part))}


def agreement(stored: Any, again: Any) -> Literal["exactly", "to 1e-9"] | None:
    """How two plain values agree; None when they do not.

    >>> agreement(0.25, 0.25), agreement(0.25, 0.25 + 1e-12), agreement(0.25, 0.26), agreement(None, 0.0)
    ('exactly', 'to 1e-9', None, None)
    """
    if stored == again:
        return "exactly"
    numbers = [isinstance(value, int | float) and not isinstance(value, bool) for value in (stored, again)]
    return "to 1e-9" if all(numbers) and math.isclose(stored, again, rel_tol=TOLERANCE, abs_tol=TOLERANCE) else None


def compare(part: str, what: str, stored: Row, again: Row, fields: Iterable[str]) -> Proven:
    """Two rows held against each other, field by field."""
    found = {field: agreement(stored.get(field), again.get(field)) for field in fields}
    apart = [f"{field}: {_shown(stored.get(field))} on record, {_shown(again.get(field))} now" for field, how in found.items() if how is None]
    if apart:
        return Proven(part, what, "different", "; ".join(apart))
    return Proven(part, what, "same", "to 1e-9" if "to 1e-9" in found.values() else "exactly")


def compare_rows(
    part: str, stored: Sequence[Row], again: Sequence[Row], *, key: Sequence[str], fields: Sequence[str], named: Callable[[Row], str]
) -> list[Proven]:
    """Two tables held against each other. Rows belong together by `key`, and are named for people by `named`."""

    def keyed(rows: Sequence[Row]) -> Iterator[tuple[tuple[Any, ...], Row]]:
        return ((tuple(str(row.get(name)) for name in key), row) for row in rows)

    ours, theirs = dict(keyed(stored)), dict(keyed(again))
    if len(ours) < len(stored):
        return [Proven(part, "rows", "different", f"{len(stored) - len(ours)} of {len(stored)} rows on record are there twice")]
    found = [compare(part, named(row), row, theirs[place], fields) for place, row in ours.items() if place in theirs]
    found += [Proven(part, named(row), "different", "is on record, and was not found now") for place, row in ours.items() if place not in theirs]
    return found + [Proven(part, named(row), "different", "was found now, and is not on record") for place, row in theirs.items() if place not in ours]


def compare_decisions(what: str, stored: Sequence[Row], again: Decision, *, left_out: str = "") -> list[Proven]:
    """Checks on record held against those made again: outcome, figure, interval and margin. Figures are not told, since some cohorts
    are not published.

    left_out: why a check may be on one side only; without it that is a difference.
    """
    ours, theirs = {str(check["limit"]): check for check in stored}, {check.limit: finite(vars(check)) for check in again.checks}
    found = []
    for limit, check in ours.items():
        name = f"{what}: {limit}"
        if limit not in theirs:
            found.append(Proven("gate", name, "cannot be checked" if left_out else "different", left_out or "is on record, and was not found now"))
        elif check.get("outcome") != theirs[limit]["outcome"]:
            found.append(Proven("gate", name, "different", f"{check.get('outcome')} on record, {theirs[limit]['outcome']} now"))
        else:
            made = compare("gate", name, check, theirs[limit], ("value", "low", "high", "margin"))
            apart = "the outcome is the same, its figures are not"
            found.append(Proven("gate", name, made.outcome, apart if made.outcome == "different" else f"{check.get('outcome')}, {made.detail}"))
    for limit in theirs.keys() - ours.keys():
        found.append(Proven("gate", f"{what}: {limit}", "cannot be checked" if left_out else "different", left_out or "is not on record"))
    return found


def compare_predictions(stored: pd.DataFrame, again: pd.DataFrame) -> Proven:
    """Predictions on record held against those made again: the same rows in the same order, and each row's label, answer and score."""
    what = f"predictions of {len(again):,} rows"
    if list(stored.columns) != list(again.columns) or len(stored) != len(again):
        shapes = (f"{len(table):,} rows of {', '.join(table.columns)}" for table in (stored, again))
        return Proven("model", what, "different", "{} on record, {} now".format(*shapes))
    apart, close = np.zeros(len(stored), dtype=bool), False
    for name in stored.columns:
        one, other = stored[name].to_numpy(), again[name].to_numpy()
        equal = np.asarray(one == other, dtype=bool) | (pd.isna(one) & pd.isna(other))
        if pd.api.types.is_numeric_dtype(stored[name].dtype) and pd.api.types.is_numeric_dtype(again[name].dtype):
            near = np.isclose(one.astype(float), other.astype(float), rtol=TOLERANCE, atol=TOLERANCE)
            close, equal = close or bool(np.any(near & ~equal)), equal | near
        apart |= ~equal
    if apart.any():
        return Proven("model", what, "different", f"{int(apart.sum()):,} of {len(apart):,} rows differ")
    return Proven("model", what, "same", "to 1e-9" if close else "exactly")


def _shown(value: Any) -> str:
    return "nothing" if value is None else f"{value:.12g}" if isinstance(value, float) else str(value)


def headed_tables(markdown: str) -> dict[str, tuple[str, ...]]:
    """The lines of each Markdown table of a document, by the heading that it stands under.

    >>> headed_tables("### Figures\\n\\n| a |\\n| --- |\\n| 1 |\\n")
    {'Figures': ('| a |', '| --- |', '| 1 |')}
    """
    found: dict[str, tuple[str, ...]] = {}
    heading = ""
    for line in markdown.splitlines():
        if line.startswith("#"):
            heading = line.lstrip("#").strip()
        elif line.startswith("|"):
            found[heading] = (*found.get(heading, ()), line)
    return found

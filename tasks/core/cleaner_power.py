"""When a run may begin on cleaner power: forecasts of the grid's intensity, and the best start within a window.

Intensities are grams of CO2-equivalent a kilowatt-hour, as somebody declared them. Times are aware and compared in UTC.
"""

import datetime as dt
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tasks.core.errors import DataError

MOST_SLOTS = 10_000
"""A forecast of half-hours for more than half a year."""


@dataclass(frozen=True)
class Slot:
    """The declared intensity from `start` until just before `end`."""

    start: dt.datetime
    end: dt.datetime
    g_per_kwh: float


@dataclass(frozen=True)
class Start:
    """When to begin. `g_per_kwh` is the declared mean over the run from there; None where none is declared."""

    at: dt.datetime
    g_per_kwh: float | None
    reason: str


def read_forecast(text: str) -> tuple[Slot, ...]:
    """The slots of a forecast in order: a JSON list of {"from", "to", "g_per_kwh"}, ISO 8601 with a zone, that do not overlap.

    Raises: DataError naming the entry, counted from 1, and what is wrong with it.
    """
    try:
        found = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise DataError(f"is not JSON that can be read: {str(error) or 'nested too deep'}.") from None
    if not isinstance(found, list) or not found:
        raise DataError("is not a JSON list of {from, to, g_per_kwh} with at least one entry.")
    if len(found) > MOST_SLOTS:
        raise DataError(f"has {len(found):,} entries; {MOST_SLOTS:,} are read at most.")
    slots = sorted((_slot(number, entry) for number, entry in enumerate(found, start=1)), key=lambda slot: slot.start)
    for one, other in pairwise(slots):
        if other.start < one.end:
            raise DataError(f"declares {other.start.isoformat()} twice: entries overlap.")
    return tuple(slots)


def best_start(forecast: Sequence[Slot], now: dt.datetime, hours: float, seconds: float) -> Start:
    """When to begin, between `now` and so many `hours` later, a run of so many `seconds`: where the mean of the declared intensity over
    the run is lowest, and the earliest such moment.

    The mean over a run is linear in its start between moments at which the start or the end of the run meets the edge of a slot, so
    that the lowest is at one of these or at an end of the window. Where the forecast does not cover the run from `now`, nothing says that waiting
    is better, and the run begins now.
    """
    length, latest = dt.timedelta(seconds=seconds), now + dt.timedelta(hours=hours)
    at_once = _mean(forecast, now, length)
    if at_once is None:
        if not forecast or forecast[-1].end <= now:
            return Start(now, None, f"the forecast is stale: it ended at {forecast[-1].end.isoformat()}" if forecast else "the forecast is empty")
        return Start(now, None, "the forecast does not cover a run that begins now")
    edges = {edge for slot in forecast for edge in (slot.start, slot.end)}
    starts = sorted({start for edge in edges for start in (edge, edge - length) if now < start <= latest} | {latest})
    means = [(start, mean) for start in starts if (mean := _mean(forecast, start, length)) is not None]
    lowest, rounding = min((mean for _, mean in means), default=at_once), 1e-9 * at_once
    if lowest >= at_once - rounding:
        return Start(now, at_once, f"no start within {hours:g} h has less than the {at_once:.0f} g/kWh declared for now")
    best = next(start for start, mean in means if mean <= lowest + rounding)
    return Start(best, lowest, f"{lowest:.0f} g/kWh are declared from {best.isoformat(timespec='seconds')} on, {at_once:.0f} for now")


def _mean(forecast: Sequence[Slot], start: dt.datetime, length: dt.timedelta) -> float | None:
    """The mean intensity over a run; of a run without length, that of its moment. None where a part is not declared."""
    if not length:
        return next((slot.g_per_kwh for slot in forecast if slot.start <= start < slot.end), None)
    end, covered, total = start + length, dt.timedelta(0), 0.0
    for slot in forecast:
        part = min(slot.end, end) - max(slot.start, start)
        if part > dt.timedelta(0):
            covered += part
            total += slot.g_per_kwh * (part / length)
    return total if covered == length else None


def _slot(number: int, entry: object) -> Slot:
    """An entry of a forecast."""
    if not isinstance(entry, dict) or set(entry) != {"from", "to", "g_per_kwh"}:
        raise DataError(f"entry {number} is not {{from, to, g_per_kwh}}, and nothing else.")
    start, end = (_moment(number, name, entry[name]) for name in ("from", "to"))
    value = entry["g_per_kwh"]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 10_000 or not math.isfinite(value):
        raise DataError(f"entry {number}: `g_per_kwh` is not a number from 0 to 10,000.")
    if end <= start:
        raise DataError(f"entry {number}: `to` is not after `from`.")
    return Slot(start, end, float(value))


def _moment(number: int, name: str, value: object) -> dt.datetime:
    """A moment in UTC."""
    try:
        moment = dt.datetime.fromisoformat(value) if isinstance(value, str) else None
        if moment is not None and moment.tzinfo is not None:
            return moment.astimezone(dt.UTC)
    except (ValueError, OverflowError):
        pass
    raise DataError(f"entry {number}: `{name}` is not a moment in ISO 8601 with a zone, such as 2026-05-01T13:30:00+02:00.")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object none of whose keys is there twice."""
    if len(dict(pairs)) != len(pairs):
        raise ValueError("an object has a key twice")
    return dict(pairs)


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no number")

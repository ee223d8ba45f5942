"""Carbon: what the record says a case has caused, and the year's budget.

Figures that could not be had are missing: they are counted as such and never taken for 0. Emissions are kilograms of CO2-equivalent.
Times are aware; a month and a year are those of UTC, as the ledger's are.
"""

import calendar
import datetime as dt
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.core.review import Event

SCORING = "infer"
"""The flow whose emissions are given for each 1,000 predictions."""
RECENT = 5
"""From so many of a flow's last runs the length of the next one is expected."""


@dataclass(frozen=True)
class Total:
    """What some runs caused together. `kg` and `kwh` are of the `known` ones among the `runs`; None where none is known."""

    runs: int
    known: int
    kg: float | None
    kwh: float | None
    seconds: float

    @property
    def missing(self) -> int:
        """Runs without figures."""
        return self.runs - self.known


@dataclass(frozen=True)
class PerThousand:
    """Emissions of scoring in a month: kg for each 1,000 predictions, over the runs whose emissions are known. None where none is."""

    month: str
    rows: int
    kg: float | None
    missing: int


@dataclass(frozen=True)
class Trend:
    """All metered runs of a case: together, by flow and by month (YYYY-MM, in order), and what predictions cost month by month."""

    overall: Total
    flows: Mapping[str, Total]
    months: Mapping[str, Total]
    predictions: tuple[PerThousand, ...]


@dataclass(frozen=True)
class Budget:
    """A calendar year's budget. `spent_kg` and `projected_kg` are lower bounds where `missing` runs have no figures."""

    year: int
    budget_kg: float
    spent_kg: float
    projected_kg: float
    missing: int

    @property
    def share(self) -> float:
        """Of the budget that is used, 0 and up."""
        return self.spent_kg / self.budget_kg


@dataclass(frozen=True)
class Waited:
    """What was done about a window: how long a run waited, on which declared intensity it began, and why."""

    seconds: float
    g_per_kwh: float | None
    reason: str


def metered_body(
    flow: str, figures: Mapping[str, Any], *, rows: int | None = None, flow_run: str | None = None, waited: Waited | None = None
) -> dict[str, Any]:
    """What the ledger keeps of a run's emissions.

    figures: kg, kwh, seconds, covered_seconds, method, country, intensity_kg_per_kwh and note, of `tasks.io.emissions.EmissionsResult`.
    rows: how many predictions the run made; where it is `infer`, its emissions are divided by them.
    """
    kg = figures["kg"]
    return {
        "flow": flow,
        **figures,
        "rows": rows,
        "per_thousand_kg": kg / rows * 1000 if flow == SCORING and rows and kg is not None else None,
        "flow_run": flow_run,
        "waited_seconds": None if waited is None else waited.seconds,
        "declared_g_per_kwh": None if waited is None else waited.g_per_kwh,
    }


def was_metered(events: Iterable[Event], flow_run: str) -> bool:
    """Whether a flow run's emissions are on record."""
    return any(event.body.get("flow_run") == flow_run for event in _metered(events))


def trend(events: Iterable[Event]) -> Trend:
    """Totals of the entries of kind `metered`; others are passed over."""
    metered = _metered(events)
    scoring = [event for event in metered if event.body["flow"] == SCORING and event.body["rows"]]
    return Trend(
        overall=_total(metered),
        flows={flow: _total(found) for flow, found in _by(metered, lambda event: str(event.body["flow"])).items()},
        months={month: _total(found) for month, found in _by(metered, _month).items()},
        predictions=tuple(_per_thousand(month, found) for month, found in _by(scoring, _month).items()),
    )


def budget(events: Iterable[Event], budget_kg: float, today: dt.date) -> Budget:
    """What of the year's budget is used, and what the year comes to at this pace: what was spent up to `today`, over the days gone, for all days."""
    year = [event for event in _metered(events) if event.at[:4] == f"{today.year:04d}"]
    spent = _total(year)
    kg = spent.kg or 0.0
    return Budget(today.year, budget_kg, kg, kg * (366 if calendar.isleap(today.year) else 365) / today.timetuple().tm_yday, spent.missing)


def status_rows(events: Sequence[Event], budget_kg: float | None, today: dt.date) -> list[tuple[str, str]]:
    """Rows of (what, state) for `equipoise status`: emissions by flow, scoring for each 1,000 predictions, the year's budget."""
    found = trend(events)
    if not found.overall.runs:
        return [("carbon", "nothing metered yet")] if budget_kg is None else [("carbon", f"nothing metered yet; budget {amount(budget_kg)} a year")]
    flows = ", ".join(f"{flow} {amount(total.kg)}" for flow, total in found.flows.items())
    rows = [("carbon", f"{amount(found.overall.kg)} in {_runs(found.overall.runs)} ({flows}){_gaps(found.overall.missing)}")]
    if found.predictions:
        *before, last = found.predictions
        told = f"{amount(last.kg)} in {last.month}" + (f", {amount(before[-1].kg)} in {before[-1].month}" if before else "")
        rows.append(("carbon per 1,000 predictions", told + _gaps(sum(one.missing for one in found.predictions))))
    if budget_kg is not None:
        used = budget(events, budget_kg, today)
        state = "over it" if used.share > 1 else "on course to go over it" if used.projected_kg > budget_kg else "within it"
        told = f"{amount(used.spent_kg)} of {amount(budget_kg)} in {used.year} ({used.share:.1%}), {amount(used.projected_kg)} by the year's end at this pace"
        rows.append(("carbon budget", f"{told}: {state}{_gaps(used.missing)}"))
    return rows


def amount(kg: float | None) -> str:
    """Emissions for people.

    >>> amount(0.0000123), amount(0.25), amount(31.5), amount(None)
    ('12.3 mg CO2e', '250 g CO2e', '31.5 kg CO2e', 'not known')
    """
    if kg is None:
        return "not known"
    unit, value = ("kg", kg) if kg >= 1 else ("g", kg * 1e3) if kg >= 1e-3 or kg == 0 else ("mg", kg * 1e6)
    return f"{float(f'{value:.3g}'):,g} {unit} CO2e"


def expected_seconds(events: Iterable[Event], flow: str) -> float:
    """How long a flow may take: the median of its last runs on record; 0, a moment, where there is none."""
    seconds = [float(event.body["seconds"]) for event in _metered(events) if event.body["flow"] == flow]
    return statistics.median(seconds[-RECENT:]) if seconds else 0.0


def _metered(events: Iterable[Event]) -> list[Event]:
    return [event for event in events if event.kind == "metered"]


def _month(event: Event) -> str:
    return event.at[:7]


def _by(events: Iterable[Event], key: Callable[[Event], str]) -> dict[str, list[Event]]:
    """The events by key, keys in order."""
    found: dict[str, list[Event]] = {}
    for event in events:
        found.setdefault(key(event), []).append(event)
    return dict(sorted(found.items()))


def _total(events: Sequence[Event]) -> Total:
    known = [event.body for event in events if event.body["kg"] is not None and event.body["kwh"] is not None]
    kg, kwh = (math.fsum(body[name] for body in known) if known else None for name in ("kg", "kwh"))
    return Total(len(events), len(known), kg, kwh, math.fsum(event.body["seconds"] for event in events))


def _per_thousand(month: str, events: Sequence[Event]) -> PerThousand:
    known = [event.body for event in events if event.body["kg"] is not None]
    rows = sum(int(body["rows"]) for body in known)
    kg = math.fsum(body["kg"] for body in known) / rows * 1000 if rows else None
    return PerThousand(month, rows, kg, len(events) - len(known))


def _runs(number: int) -> str:
    return "1 run" if number == 1 else f"{number:,} runs"


def _gaps(missing: int) -> str:
    return f"; {_runs(missing)} without figures, not counted" if missing else ""

"""Energy and emissions of a flow, measured or estimated by CodeCarbon, offline.

One tracker a flow: CodeCarbon looks at the whole machine, so two at once count the same energy twice. What could
not be had is None with the reason in `note`, never 0, and never fails the flow.
"""

import importlib.resources
import json
import logging
import math
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

from tasks.core.errors import CaseError, nearest

Method = Literal["measured", "estimated", "unavailable"]

_READY_SECONDS = 0.25
_SHORT_READY_SECONDS = 10.0
# CodeCarbon's modes that read a counter in the processor. Every other way is a model of its load.
_COUNTERS = {"intel_rapl": "RAPL", "intel_power_gadget": "Intel Power Gadget", "windows_emi": "the Windows energy meter"}


@dataclass(frozen=True)
class EmissionsResult:
    """What one flow cost. kg is kilograms of CO2-equivalent, kwh kilowatt-hours of the machine while the tracker ran.

    Without a country, which is then empty, kwh can be known where kg is not.
    The tracker ran for the last `covered_seconds` of the flow's `seconds`; nothing is added for the rest.
    """

    kg: float | None
    kwh: float | None
    seconds: float
    covered_seconds: float
    method: Method
    country: str
    intensity_kg_per_kwh: float | None
    note: str

    @property
    def sentence(self) -> str:
        """For people: energy, emissions, where, and how they were come by."""
        if self.kg is None or self.kwh is None:
            return f"Not known: {self.note}"
        return f"{self.kwh * 1000:.3g} Wh and {self.kg * 1000:.3g} g of CO2-equivalent on the grid of {self.country}, {self.method}. {self.note}"

    @property
    def tags(self) -> dict[str, str]:
        """How energy was come by, as MLflow shows it beside the figure."""
        return {"equipoise.emissions_method": self.method, "equipoise.emissions_note": self.note}

    def __str__(self) -> str:
        if self.kg is None or self.kwh is None:
            return f"unavailable. {self.note}"
        return f"{self.kg:.3g} kg CO2e from {self.kwh:.3g} kWh in {self.covered_seconds:.1f} s on the grid of {self.country}, {self.method}. {self.note}"


def together(stretches: Sequence[EmissionsResult]) -> EmissionsResult:
    """What a flow cost that worked in stretches and waited between them. A figure that one of them lacks is missing."""
    worst = min(stretches, key=lambda one: ("unavailable", "estimated", "measured").index(one.method))

    def total(figures: Iterable[float | None]) -> float | None:
        known = [figure for figure in figures if figure is not None]
        return math.fsum(known) if len(known) == len(stretches) else None

    return replace(
        worst,
        kg=total(one.kg for one in stretches),
        kwh=total(one.kwh for one in stretches),
        seconds=math.fsum(one.seconds for one in stretches),
        covered_seconds=math.fsum(one.covered_seconds for one in stretches),
        note=f"{worst.note} The waits between {len(stretches)} stretches of work are not counted.",
    )


class Meter:
    """Handed out by `track`; `result` is there when the block has ended."""

    result: EmissionsResult | None = None
    tracking: "_Tracking | None" = None

    def kg(self) -> float | None:
        """Kilograms of CO2-equivalent so far; None while they cannot be told."""
        return self.tracking.kg() if self.tracking is not None and self.result is None else None


@contextmanager
def track(country: str | None, name: str, *, short: bool = False) -> Iterator[Meter]:
    """Track the block on the grid of `country` (ISO 3166, three letters); its energy alone where that is None.

    The tracker starts beside the block: at once after `warm_up`, otherwise a second or two late, which `covered_seconds` shows.
    short: the block may be over by then, and waits for the tracker first.

    Raises: CaseError for a country there is no grid of.
    """
    if country is not None:
        _check_country(country)
    meter, begun = Meter(), time.perf_counter()
    tracking = meter.tracking = _Tracking(country, name, wait=_SHORT_READY_SECONDS if short else _READY_SECONDS)
    if short:
        begun = time.perf_counter()
    try:
        yield meter
    finally:
        meter.result = tracking.end(begun)


def warm_up() -> threading.Thread:
    """Let CodeCarbon look at the hardware now, in a thread, so that later trackers start in milliseconds.

    The first start in a process takes a second or two.
    """
    return _Tracking(country=None, name="warm-up", keep=False).thread


class _Tracking:
    """One tracker, started in a thread of its own and stopped by whoever comes second: the end of the block, or the start."""

    def __init__(self, country: str | None, name: str, *, keep: bool = True, wait: float = 0.0) -> None:
        self.country, self.name = country, name
        self._lock = threading.Lock()
        self._ended = not keep
        self._tracker: Any = None
        self._reason = ""
        self.thread = threading.Thread(target=self._start, name=f"emissions of {name}", daemon=True)
        self.thread.start()
        if keep:
            self.thread.join(wait)

    def _start(self) -> None:
        try:
            tracker, reason = _started(self.country, self.name)
        except Exception as error:  # noqa: BLE001 - whatever it is, the flow goes on without it
            tracker, reason = None, f"{type(error).__name__}: {error}"
        with self._lock:
            self._tracker, self._reason = tracker, reason
            late = self._ended
        if late and tracker is not None:
            tracker.stop()

    def kg(self) -> float | None:
        """What the running tracker has counted, its open interval included."""
        with self._lock:
            tracker = self._tracker
        if tracker is None or self.country is None:
            return None
        try:
            return float(tracker.flush())
        except Exception:  # noqa: BLE001 - as below: without figures the flow goes on
            return None

    def end(self, begun: float) -> EmissionsResult:
        with self._lock:
            self._ended = True
            tracker, reason = self._tracker, self._reason or "the flow ended before the tracker was ready"
        if tracker is None:
            return self._missing(begun, reason)
        try:
            with _heard() as complaints:
                tracker.stop()
            reason = "; ".join(filter(None, (self._reason, *complaints)))
            data = tracker.final_emissions_data
            kg, kwh, covered = float(data.emissions), float(data.energy_consumed), float(data.duration)
        except Exception as error:  # noqa: BLE001 - as above; CodeCarbon swallows its own, and then has no final data
            return self._missing(begun, reason or f"{type(error).__name__}: {error}")
        if not (math.isfinite(kg) and math.isfinite(kwh) and kwh > 0):
            return self._missing(begun, reason or "the tracker saw no energy")
        seconds = time.perf_counter() - begun
        counter = next((_COUNTERS[mode] for part in getattr(tracker, "_hardware", ()) if (mode := getattr(part, "_mode", "")) in _COUNTERS), None)
        note = (
            f"The processor's energy was read from {counter}; the memory's is a model. The whole machine is counted."
            if counter
            else "No energy counter (RAPL) can be read here: modelled from the load and the processor's rated power. The whole machine is counted."
        )
        if seconds - covered > 0.5:
            note += f" The first {seconds - covered:.1f} s of {seconds:.1f} s are not covered: the tracker was starting."
        method: Method = "measured" if counter else "estimated"
        if self.country is None:
            return EmissionsResult(None, kwh, seconds, covered, method, "", None, f"{note} Emissions are not known: no country was given.")
        return EmissionsResult(kg, kwh, seconds, covered, method, self.country, kg / kwh, note)

    def _missing(self, begun: float, reason: str) -> EmissionsResult:
        seconds = time.perf_counter() - begun
        return EmissionsResult(None, None, seconds, 0.0, "unavailable", self.country or "", _intensity(self.country), f"No figures: {reason}.")


def _started(country: str | None, name: str) -> tuple[Any, str]:
    """A running tracker or None, and what went wrong on the way.

    Every setting that would send, write or ask is given here, so that no configuration of CodeCarbon's turns it on.
    With `allow_multiple_runs=False` it would replace the handlers of SIGTERM and SIGINT.
    """
    with _heard() as complaints:
        from codecarbon import OfflineEmissionsTracker

        tracker = OfflineEmissionsTracker(
            project_name=name,
            country_iso_code=country or "USA",  # it wants one; without ours its emissions are not used
            region=None,
            cloud_provider=None,
            cloud_region=None,
            country_2letter_iso_code=None,
            force_carbon_intensity_g_co2e_kwh=None,
            electricitymaps_api_token="",  # None would look for one in the configuration
            emissions_endpoint=None,
            output_methods=[],
            output_handlers=[],
            tracking_mode="machine",
            allow_multiple_runs=True,
            log_level="warning",  # at which it reports the failures it swallows
        )
        tracker.start()
    if getattr(tracker, "_start_time", None) is None:
        return None, "; ".join(complaints) or "CodeCarbon did not start and does not say why"
    return tracker, "; ".join(complaints)


@contextmanager
def _heard() -> Iterator[list[str]]:
    """Keep CodeCarbon off the terminal, for good, and collect the failures it swallows meanwhile."""
    complaints: list[str] = []

    def listen(record: logging.LogRecord) -> bool:
        if record.exc_info and record.exc_info[1] is not None:
            complaints.append(f"{type(record.exc_info[1]).__name__}: {record.exc_info[1]}")
        return False

    logger = logging.getLogger("codecarbon")
    logger.addFilter(listen)
    logger.disabled = False
    try:
        yield complaints
    finally:
        logger.disabled = True
        logger.removeFilter(listen)


@cache
def _countries() -> dict[str, tuple[str, float | None]]:
    """Name and carbon intensity in kg/kWh of every country CodeCarbon knows; empty when its table cannot be read."""
    try:
        table = json.loads((importlib.resources.files("codecarbon") / "data/private_infra/global_energy_mix.json").read_text(encoding="utf-8"))
        return {code: (str(row["country_name"]), row["carbon_intensity"] / 1000 if row.get("carbon_intensity") else None) for code, row in table.items()}
    except (OSError, ImportError, ValueError, KeyError, AttributeError):
        return {}


def _check_country(country: str) -> None:
    known = _countries()
    if known and country not in known:
        named = sorted(f"`{code}` ({name})" for code, (name, _) in known.items() if country and name.upper().startswith(country.upper()))
        raise CaseError(
            f"country: {country!r} is not a country CodeCarbon has the grid of.",
            fix=f"Did you mean {' or '.join(named[:3])}?" if named else nearest(country, known),
        )


def _intensity(country: str | None) -> float | None:
    return _countries().get(country or "", ("", None))[1]

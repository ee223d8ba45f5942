"""Steps: wait for cleaner power where the case asks for it, and enter a run's energy into the ledger."""

import datetime as dt
import time
from collections.abc import Sequence
from dataclasses import asdict

from prefect import runtime

from tasks.core.carbon import Waited, expected_seconds, metered_body, was_metered
from tasks.core.cleaner_power import best_start
from tasks.core.errors import EquipoiseError
from tasks.core.review import Event
from tasks.io.emissions import EmissionsResult
from tasks.io.intensity import forecast
from tasks.io.workbench import Workbench
from tasks.step import say, step

SLICE = 0.5
"""Seconds that a wait sleeps at once, so that a cancellation or a timeout comes through."""
PROGRESS = 600.0
"""Seconds from one word of progress to the next."""


@step("wait for cleaner power")
def wait_for_cleaner_power(bench: Workbench, flow: str) -> Waited | None:
    """Wait until the declared intensity is lowest within the case's window; None at once where the case has no window.

    Call it before the emissions are tracked: the whole machine's energy is counted, and waiting is not the run. A forecast that is missing,
    stale or broken is said and fails nothing: the run begins now.
    """
    window = bench.case.carbon.window
    if window is None:
        return None
    now = dt.datetime.now(dt.UTC)
    try:
        slots = forecast(window.forecast, bench.home.project)
    except EquipoiseError as error:
        say(f"no wait for cleaner power: {error}")
        return Waited(0.0, None, str(error))
    found = best_start(slots, now, window.hours, expected_seconds(bench.ledger.events(bench.case.case), flow))
    seconds = max(0.0, (found.at - now).total_seconds())
    if not seconds:
        say(f"no wait for cleaner power: {found.reason}")
        return Waited(0.0, found.g_per_kwh, found.reason)
    say(f"waiting {_span(seconds)} for cleaner power: {found.reason}")
    return Waited(_wait(seconds), found.g_per_kwh, found.reason)


@step("record the energy")
def record_energy(bench: Workbench, flow: str, emissions: EmissionsResult, rows: int | None = None, waited: Waited | None = None) -> Event | None:
    """Enter what a run used and emitted, and that Evidently has yet to show it; None when this Prefect run is on record already.

    rows: how many predictions it made. waited: what `wait_for_cleaner_power` returned.
    """
    run = runtime.flow_run.id
    body = metered_body(flow, asdict(emissions), rows=rows, flow_run=run, waited=waited)

    def there(events: Sequence[Event]) -> bool:
        return run is not None and was_metered(events, run)

    return bench.ledger.append_unless(bench.case.case, "metered", None, body, there, errands=("evidently",))


def _wait(seconds: float) -> float:
    """Sleep so long by the clock that nobody sets, saying from time to time how long it still takes. Returns the seconds waited."""
    begun = told = time.monotonic()
    while (left := begun + seconds - time.monotonic()) > 0:
        if time.monotonic() - told >= PROGRESS:
            told = time.monotonic()
            say(f"waiting for cleaner power: {_span(left)} left")
        time.sleep(min(SLICE, left))
    return time.monotonic() - begun


def _span(seconds: float) -> str:
    """A span of time for people."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"

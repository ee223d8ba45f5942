"""Step: show in MLflow and Evidently what the record says was served. They are views: what cannot be shown now waits, and is shown once."""

import datetime as dt
import time
from collections.abc import Sequence

from tasks.core.carbon import budget
from tasks.core.errors import UnavailableError
from tasks.core.review import Event, registration
from tasks.io.emissions import EmissionsResult
from tasks.io.leases import lease
from tasks.io.pages_again import DRAW
from tasks.io.runs import SHOWN, entry_tag
from tasks.io.workbench import Workbench
from tasks.step import flow_run, say, step


@step("show what was served")
def show_served(bench: Workbench, emissions: EmissionsResult | None = None) -> list[str]:
    """Do every errand that the record has for the case, one process at a time. Returns: what still waits and why; empty when all is shown.

    emissions: of the run of the flow that shows it; without them only Evidently's pages are made.
    """
    while bench.ledger.errands(bench.case.case):
        with lease(bench.ledger, bench.case.case, "show") as held:
            if held:
                return _show(bench, emissions)
        time.sleep(1)  # another run shows it, perhaps without what this one has just entered
    return []


def _show(bench: Workbench, emissions: EmissionsResult | None) -> list[str]:
    waiting = []
    errands = bench.ledger.errands(bench.case.case)
    for what in ("evidently", "mlflow"):
        events = [event for event, where in errands if where == what]
        try:
            if events and what == "evidently":
                _draw(bench, events)
            elif events and emissions is not None:
                _log(bench, events, emissions)
        except UnavailableError as error:
            waiting.append(f"{what}: {error}")
            say(f"{what} is not there: what is on record waits to be shown")
    return waiting


def must_be_shown(case: str, waiting: Sequence[str]) -> None:
    """A run that left something to be shown is not complete. Raises: UnavailableError that says what waits and where."""
    if waiting:
        raise UnavailableError(
            f"All that was due is scored and on record, but not all of it could be shown: {'; '.join(waiting)}.",
            where=case,
            fix=f"Start what is missing, then run: equipoise infer {case}. It shows what waits, once, and scores nothing again.",
        )


def _draw(bench: Workbench, events: Sequence[Event]) -> None:
    """A page in Evidently for each entry."""
    for event in events:
        DRAW[event.kind](bench, event)
        bench.ledger.done(event, "evidently")


def _log(bench: Workbench, events: Sequence[Event], emissions: EmissionsResult) -> None:
    """A run in MLflow for the periods that a version served, below the run that trained it: rows, drift, energy and emissions."""
    case, record = bench.case.case, bench.ledger.events(bench.case.case)
    for version in sorted({event.version or 0 for event in events}):
        own = [event for event in events if event.version == version]
        new = [event.body for event in own if bench.runs.tagged(case, entry_tag(event.sequence), SHOWN) is None]
        registered = registration(record, version)
        assert registered is not None  # nothing else serves
        if new:
            periods = [str(body["period"]) for body in new]
            rows = sum(int(body["rows"]) for body in new)
            bench.runs.log_child(
                registered.body["run"],
                f"infer {' to '.join(dict.fromkeys((periods[0], periods[-1])))}",
                metrics={
                    "emissions_kg": emissions.kg,
                    "energy_kwh": emissions.kwh,
                    "emissions_kg_per_1000_predictions": None if emissions.kg is None else emissions.kg / rows * 1000,
                    **_year(bench, record),
                    **{f"{body['period']}/rows": body["rows"] for body in new},
                    **{f"{body['period']}/drift_share": body["share"] for body in new},
                },
                tags={
                    "equipoise.version": str(version),
                    **{entry_tag(event.sequence): SHOWN for event in own},
                    **emissions.tags,
                    **flow_run(),
                },
            )
        for event in own:
            bench.ledger.done(event, "mlflow")


def _year(bench: Workbench, record: Sequence[Event]) -> dict[str, float]:
    """What the case has emitted this year, and the share of its budget where it has one."""
    limit = bench.case.carbon.budget_kg
    used = budget(record, limit or 1.0, dt.datetime.now(dt.UTC).date())
    return {"year_to_date_kg": used.spent_kg, **({"year_to_date_budget_share": used.share} if limit else {})}

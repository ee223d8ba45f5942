"""Step: show in MLflow and Evidently what the record says was served. They are views: what cannot be shown now waits, and is shown once."""

import datetime as dt
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tasks.core.carbon import budget
from tasks.core.errors import DataError, IntegrityError, UnavailableError
from tasks.core.review import Event, registration
from tasks.io.leases import lease
from tasks.io.pages_again import DRAW
from tasks.io.performances import estimates_of
from tasks.io.runs import SHOWN, entry_tag
from tasks.io.workbench import Workbench
from tasks.step import flow_run, say, step


@step("show what was served")
def show_served(bench: Workbench, *, unmetered: bool = False) -> list[str]:
    """Do every errand that the record has for the case, one process at a time. Returns: what still waits and why; empty when all is shown.

    unmetered: show in MLflow also what runs scored whose energy is not on record, since they died; a run at work has yet to enter it.
    """
    while bench.ledger.errands(bench.case.case):
        with lease(bench.ledger, bench.case.case, "show") as held:
            if held:
                return _show(bench, unmetered)
        time.sleep(1)  # another run shows it, perhaps without what this one has just entered
    return []


def _show(bench: Workbench, unmetered: bool) -> list[str]:
    """What one view cannot show keeps neither the other from its own, nor, where it is a matter of that entry, the rest."""
    errands, waiting = bench.ledger.errands(bench.case.case), list[str]()
    used = {event.body["flow_run"]: event.body for event in bench.ledger.events(bench.case.case) if event.kind == "metered"}
    pages = [[event] for event, where in errands if where == "evidently"]
    runs = _runs([event for event, where in errands if where == "mlflow"])
    views: dict[str, tuple[list[list[Event]], Callable[[list[Event]], object]]] = {
        "evidently": (pages, lambda events: DRAW[events[0].kind](bench, events[0])),
        "mlflow": (
            [events for events in runs if unmetered or events[0].body.get("flow_run") in used],
            lambda events: _log(bench, events, used.get(events[0].body.get("flow_run"), {})),
        ),
    }
    for what, (groups, show) in views.items():
        for events in groups:
            try:
                show(events)
            except UnavailableError as error:
                waiting.append(f"{what}: {error}")
                say(f"{what} is not there: what is on record waits to be shown")
                break
            except (DataError, IntegrityError) as error:
                waiting.append(f"{what}, entry {events[0].sequence}: {error}")
                say(f"entry {events[0].sequence} cannot be shown in {what}: {error}")
            else:
                for event in events:
                    bench.ledger.done(event, what)
    return waiting


def _runs(events: Sequence[Event]) -> list[list[Event]]:
    """Entries by the version that served and the run of the flow that scored, in order."""
    found: dict[tuple[int, Any], list[Event]] = {}
    for event in events:
        found.setdefault((event.version or 0, event.body.get("flow_run")), []).append(event)
    return list(found.values())


def must_be_shown(case: str, waiting: Sequence[str]) -> None:
    """A run that left something to be shown is not complete. Raises: UnavailableError that says what waits and where."""
    if waiting:
        raise UnavailableError(
            f"All that was due is scored and on record, but not all of it could be shown: {'; '.join(waiting)}.",
            where=case,
            fix=f"Start what is missing, then run: equipoise infer {case}. It shows what waits, once, and scores nothing again.",
        )


def _log(bench: Workbench, events: Sequence[Event], used: Mapping[str, Any]) -> None:
    """A run in MLflow for the periods that a version served in one run of the flow, below the run that trained it: rows, drift, energy and
    emissions. used: what the record says that run used, or nothing.
    """
    case, record, version = bench.case.case, bench.ledger.events(bench.case.case), events[0].version or 0
    new = [event.body for event in events if bench.runs.showing(case, event.sequence) is None]
    registered = registration(record, version)
    assert registered is not None  # nothing else serves
    if not new:
        return
    periods, ran = [str(body["period"]) for body in new], new[0].get("flow_run")
    bench.runs.log_child(
        registered.body["run"],
        f"infer {' to '.join(dict.fromkeys((periods[0], periods[-1])))}",
        metrics={
            "emissions_kg": used.get("kg"),
            "energy_kwh": used.get("kwh"),
            "emissions_kg_per_1000_predictions": used.get("per_thousand_kg"),
            **_year(bench, record),
            **{f"{body['period']}/rows": body["rows"] for body in new},
            **{f"{body['period']}/drift_share": body["share"] for body in new},
            **{name: value for body in new for name, value in _estimates(bench, version, body).items()},
        },
        tags={
            "equipoise.version": str(version),
            **{entry_tag(event.sequence): SHOWN for event in events},
            "equipoise.emissions_method": used.get("method", "unavailable"),
            "equipoise.emissions_note": used.get("note", "The run that scored ended before its energy was entered."),
            **(flow_run(ran) if ran else {}),
        },
    )


def _estimates(bench: Workbench, version: int, body: Mapping[str, Any]) -> dict[str, float]:
    """What was estimated of a period as a whole, without labels."""
    found = estimates_of(bench, version, body["period"], body["predictions"])
    rows = [] if found is None else found[found["cohort"] == "overall"].to_dict("records")
    return {f"{body['period']}/estimate/{one['metric']}": one["value"] for one in rows}


def _year(bench: Workbench, record: Sequence[Event]) -> dict[str, float]:
    """What the case has emitted this year, and the share of its budget where it has one."""
    limit = bench.case.carbon.budget_kg
    used = budget(record, limit or 1.0, dt.datetime.now(dt.UTC).date())
    return {"year_to_date_kg": used.spent_kg, **({"year_to_date_budget_share": used.share} if limit else {})}

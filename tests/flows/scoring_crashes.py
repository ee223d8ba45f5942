"""Scores a case's due periods again and again in forked processes, killing each at its Nth write, and looks at what the next run leaves.

    python tests/flows/scoring_crashes.py CASE EVERY

Kills at write 1, 1 + EVERY, ... until a run ends by itself. Then four processes score at once, as as many schedulers would; then with no
room on the disk, from the first write or a later one on; then with MLflow gone in the middle; last one is killed with half a run in MLflow.
Steps run as plain functions here: Prefect's part is tried on a real server in test_deployments. Prints one JSON line a run.
"""

import contextlib
import json
import os
import shutil
import signal
import sys
from collections import Counter
from typing import Any

import tasks.step

if __name__ == "__main__":  # and not where tests are looked for
    EVERY = int(sys.argv.pop())

    def plain(function: Any) -> Any:
        """A step that is a function."""
        function.fn = function
        return function

    tasks.step.step = lambda _name, **_options: plain  # before any step is declared

from flows.infer import infer
from tasks import alerts, reports
from tasks.core.errors import UnavailableError
from tasks.io import emissions
from tasks.io.durable import written
from tasks.io.warmup import SCORING
from tasks.io.workbench import Workbench
from tests.flows.crashes import CASE, HOME, Killer, at_once, forked, ready_to_fork, without_room

LIBRARIES = (*SCORING, "mlflow.store.tracking.sqlalchemy_store", "mlflow.store.model_registry.sqlalchemy_store", "evidently.presets")


def without_servers() -> None:
    """Prefect's artifacts and events as lines of a file: there is no server here, and each is a write all the same. CodeCarbon's first start
    would take seconds in every fork.
    """

    def leave(*_: Any, key: str, **__: Any) -> None:
        with written(HOME), (HOME / "artifacts.txt").open("a") as file:
            file.write(f"{key}\n")

    emissions._started = lambda *_: (None, "not measured here")
    alerts._emit = lambda name, case, identity, payload: leave(key=f"{name} {identity}")
    for name in ("create_markdown_artifact", "create_table_artifact", "create_link_artifact", "create_progress_artifact"):
        setattr(reports, name, leave)


def look() -> dict:
    """What there is of each period after the next run: entries, predictions, pages and runs, each of which must be there once."""
    infer.fn(CASE)
    bench = Workbench.open(CASE)
    served = [event for event in bench.ledger.events(CASE) if event.kind == "served"]
    runs = bench.runs.store.find(lambda client: client.search_runs([bench.runs.experiment(CASE)], max_results=1000))
    shown = Counter(tag.rpartition(".")[2] for run in runs for tag in run.data.tags if tag.startswith("equipoise.entry."))
    whole = all(run.info.status == "FINISHED" and run.data.metrics for run in runs if any(tag.startswith("equipoise.entry.") for tag in run.data.tags))
    return {
        "served": [event.body["period"] for event in served],
        "predictions": [manifest.key for manifest in bench.store.list(CASE, "predictions")],
        "same": [event.body["predictions"] for event in served] == [manifest.digest for manifest in bench.store.list(CASE, "predictions")],
        "pages": len(bench.workspace.runs(CASE)),
        "runs": [shown[str(event.sequence)] for event in served],
        "whole": whole,
        "incidents": [event.body["key"] for event in bench.ledger.events(CASE) if event.kind == "incident"],
        "errands": len(bench.ledger.errands(CASE)),
        "waste": len([path for path in HOME.rglob(".*") if path.is_file() and path.name.endswith(".tmp")]),
    }


def crashed(at: int) -> dict:
    """One run, killed at its write number `at`, and what the next one makes of it."""

    def work() -> dict:
        killer = Killer(at)
        killer.arm()
        infer.fn(CASE)
        return {"writes": len(killer.writes)}

    status, told = forked(work)
    return {"at": at, "status": status, **told, **forked(look)[1]}


def crowd(size: int) -> dict:
    """So many schedulers at once."""

    def work() -> int:
        infer.fn(CASE)
        return 0

    return {"statuses": at_once(size, work), **forked(look)[1]}


def full(at: int) -> dict:
    """The disk is full: from write number `at` on all fail; with 0, no file may grow beyond 4 KB, which the kernel sees to."""

    def work() -> dict:
        if at:
            Killer(at, full=True).arm()
        else:
            without_room()
        infer.fn(CASE)
        return {}

    status, told = forked(work)
    return {"status": status, **told, **forked(look)[1]}


def without_mlflow() -> dict:
    """MLflow's database goes away once the model is loaded, and comes back before the next run."""

    def work() -> dict:
        runs = type(Workbench.open(CASE).runs)
        before = runs.showing

        def gone(*_: Any) -> None:
            raise UnavailableError("MLflow is away.", fix="Wait.")

        runs.showing = gone
        try:
            with contextlib.suppress(UnavailableError):
                infer.fn(CASE)
                return {"complete": True}
        finally:
            runs.showing = before
        bench = Workbench.open(CASE)
        return {"complete": False, "waiting": [what for _, what in bench.ledger.errands(CASE)]}

    status, told = forked(work)
    return {"status": status, **told, **forked(look)[1]}


def half() -> dict:
    """Killed when MLflow has a run that says nothing yet."""

    def work() -> dict:
        type(Workbench.open(CASE).runs)._log = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
        infer.fn(CASE)
        return {}

    status, told = forked(work)
    return {"status": status, **told, **forked(look)[1]}


def main() -> None:
    """Every run of one scenario."""
    without_servers()
    saved = HOME.with_name("home-before")
    shutil.copytree(HOME, saved)

    def told(scenario: str, **run: Any) -> None:
        print(json.dumps({"scenario": scenario, **run}), flush=True)  # noqa: T201
        shutil.rmtree(HOME)
        shutil.copytree(saved, HOME)

    ready_to_fork(LIBRARIES)
    at, status = 1, -9
    while status == -9:
        run = crashed(at)
        status = run["status"]
        told("killed", **run)
        at += EVERY
    told("crowd", **crowd(4))
    for place in (0, *range(EVERY, run["writes"], EVERY)):
        told("full", **full(place))
    told("without mlflow", **without_mlflow())
    told("half", **half())
    shutil.rmtree(saved)


if __name__ == "__main__":
    main()

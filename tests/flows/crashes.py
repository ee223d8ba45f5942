"""Runs a change of production again and again in forked processes, killing each at its Nth write, and looks at what is left.

    python tests/flows/crashes.py CASE

A write is a file opened to be written, renamed, linked or removed, a flush to disk, and a statement or commit that changes a
database. Before each run the home is put back as it was. Then twenty processes promote at once, and last the disk is full.
Prints one JSON line a run.
"""

import errno
import gc
import importlib
import json
import os
import resource
import shutil
import signal
import sqlite3
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tasks.core.errors import ConflictError, EquipoiseError
from tasks.core.review import production_version
from tasks.inference import find_production
from tasks.io import gatehouse, models, registry  # noqa: F401  # imported once, before the forks
from tasks.io.workbench import Workbench
from tasks.promotion import promote_version

CASE = sys.argv[-1]
HOME = Path(os.environ.get("EQUIPOISE_HOME", "nowhere"))
CHANGES = ("insert", "update", "delete")


class Killer:
    """Kills this process at its Nth write; or lets this one and all that follow fail as on a full disk."""

    def __init__(self, at: int, *, full: bool = False) -> None:
        self.left, self.full, self.writes = at, full, list[str]()

    def write(self, what: str) -> None:
        self.writes.append(what)
        self.left -= 1
        if self.left == 0 and not self.full:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.left <= 0 and what.startswith(("statement", "commit")):
            raise sa.exc.OperationalError(what, None, sqlite3.OperationalError("database or disk is full"))
        if self.left <= 0 and not what.startswith("os.remove"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), what)

    def arm(self) -> None:
        def hook(event: str, arguments: tuple) -> None:
            if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+") and str(arguments[0]).startswith(str(HOME)):
                self.write(f"open {arguments[0]}")
            elif event in ("os.rename", "os.link", "os.remove"):
                self.write(f"{event} {arguments[0]}")

        sys.addaudithook(hook)
        fsync = os.fsync
        os.fsync = lambda descriptor: (self.write("fsync"), fsync(descriptor))[1]

        @sa.event.listens_for(sa.Engine, "before_cursor_execute")
        def _statement(connection, cursor, statement, parameters, context, many) -> None:
            if statement.lstrip().lower().startswith(CHANGES):
                self.write(f"statement {statement.split('(')[0].strip()[:60]}")

        @sa.event.listens_for(sa.Engine, "commit")
        def _commit(connection) -> None:
            self.write("commit")


def forked(work) -> tuple[int, dict]:
    """Run a function in a process of its own. Returns: exit status (-9 when killed) and what it told."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.write(write, json.dumps(work()).encode())
            status = 0
        except EquipoiseError as error:
            os.write(write, json.dumps({"error": f"{type(error).__name__}: {error}"}).encode())
            status = 2
        except Exception:  # noqa: BLE001  # what the process would have said, had it ended by itself
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        told = pipe.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), json.loads(told or b"{}")


def look() -> dict:
    """What the record and MLflow say, first as they were left, then after the next look at production has mended them."""
    bench = Workbench.open(CASE)
    left = {"recorded": production_version(bench.ledger.events(CASE)), "alias": bench.registry.alias(CASE, "production")}
    serves = find_production.fn(bench)
    assert serves.candidate is not None
    events = bench.ledger.events(CASE)
    promotions = [event.version for event in events if event.kind == "promoted"]
    return {**left, "serves": serves.version, "mended": bench.registry.alias(CASE, "production"), "promotions": promotions}


def crashed(at: int) -> dict:
    """One run, killed at its write number `at`."""

    def work() -> dict:
        killer = Killer(at)
        killer.arm()
        promote_version.fn(Workbench.open(CASE), 2)
        return {"writes": killer.writes}

    status, told = forked(work)
    return {"at": at, "status": status, **told, **forked(look)[1]}


def at_once(size: int, work: Callable[[], int]) -> list[int]:
    """So many processes begin the same work at the same moment. Returns: what the work gave in each, or 1 where it failed."""
    gate_read, gate_write = os.pipe()
    children = []
    for _ in range(size):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.close(gate_write)
                os.read(gate_read, 1)  # all begin when the pipe is closed
                status = work()
            finally:
                os._exit(status)
        children.append(child)
    os.close(gate_read)
    os.close(gate_write)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def crowd(size: int) -> dict:
    """So many processes promote the same version at once."""

    def work() -> int:
        try:
            return 0 if promote_version.fn(Workbench.open(CASE), 2).promoted else 3
        except ConflictError:
            return 4

    return {"statuses": at_once(size, work), **forked(look)[1]}


def without_room() -> Workbench:
    """The case's workbench, open, in a process in which no file may grow beyond 4 KB from now on."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    bench = Workbench.open(CASE)
    bench.ledger.head()
    largest = (HOME / "ledger.db").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (min(4096, largest), resource.RLIM_INFINITY))
    return bench


def full() -> dict:
    """The promotion where no file may grow: the disk is full."""

    def work() -> dict:
        promote_version.fn(without_room(), 2)
        return {}

    status, told = forked(work)
    return {"status": status, **told, **forked(look)[1]}


def ready_to_fork(libraries: Iterable[str]) -> None:
    """Import what every fork needs, which would take each seconds, and spare them the search for garbage in it."""
    for library in libraries:
        importlib.import_module(library)
    gc.freeze()


def main() -> None:
    """Every run of one scenario."""
    ready_to_fork(("mlflow", "mlflow.store.tracking.sqlalchemy_store", "mlflow.store.model_registry.sqlalchemy_store", "skops.io", "sklearn.linear_model"))
    saved = HOME.with_name("home-before")
    shutil.copytree(HOME, saved)

    def told(scenario: str, **run: Any) -> None:
        print(json.dumps({"scenario": scenario, **run}), flush=True)  # noqa: T201
        shutil.rmtree(HOME)
        shutil.copytree(saved, HOME)

    at, status = 0, -9
    while status == -9:
        at += 1
        run = crashed(at)
        status = run["status"]
        told("killed", **run)
    told("crowd", **crowd(20))
    told("full", **full())
    shutil.rmtree(saved)


if __name__ == "__main__":
    main()

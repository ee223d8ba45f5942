"""Runs a change of production again and again in forked processes, killing each at its Nth write, and looks at what is left.

    python tests/flows/crashes.py promote|rollback|adopt|crowd|full CASE

A write is a file opened to be written, renamed, linked or removed, a flush to disk, and a statement or commit that changes a
database. Before each run the home is put back as it was. Prints one JSON line a run.
"""

import importlib
import json
import os
import resource
import shutil
import signal
import sys
from pathlib import Path

import sqlalchemy as sa

from tasks.core.errors import ConflictError, EquipoiseError
from tasks.core.review import production_version
from tasks.inference import find_production
from tasks.io import gatehouse, models, registry  # noqa: F401  # imported once, before the forks
from tasks.io.workbench import Workbench
from tasks.promotion import promote_version, roll_back

CASE = sys.argv[2]
HOME = Path(os.environ["EQUIPOISE_HOME"])
CHANGES = ("insert", "update", "delete")


class Killer:
    """Kills this process at its Nth write."""

    def __init__(self, at: int) -> None:
        self.left, self.writes = at, list[str]()

    def write(self, what: str) -> None:
        self.writes.append(what)
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

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


def change(what: str) -> None:
    """The change under test."""
    bench = Workbench.open(CASE)
    if what == "promote":
        promote_version.fn(bench, 2)
    elif what == "rollback":
        roll_back.fn(bench)
    else:
        find_production.fn(bench)


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


def crashed(what: str, at: int) -> dict:
    """One run, killed at its write number `at`."""

    def work() -> dict:
        killer = Killer(at)
        killer.arm()
        change(what)
        return {"writes": killer.writes}

    status, told = forked(work)
    return {"at": at, "status": status, **told, **forked(look)[1]}


def crowd(size: int) -> dict:
    """So many processes promote the same version at once."""
    gate_read, gate_write = os.pipe()
    children = []
    for _ in range(size):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                bench = Workbench.open(CASE)
                os.close(gate_write)
                os.read(gate_read, 1)  # all begin when the pipe is closed
                status = 0 if promote_version.fn(bench, 2).promoted else 3
            except ConflictError:
                status = 4
            finally:
                os._exit(status)
        children.append(child)
    os.close(gate_read)
    os.close(gate_write)
    return {"statuses": [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children], **forked(look)[1]}


def full(what: str) -> dict:
    """The change where no file may grow: the disk is full."""

    def work() -> dict:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        bench = Workbench.open(CASE)
        bench.ledger.head()
        largest = (HOME / "ledger.db").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (min(4096, largest), resource.RLIM_INFINITY))
        change(what)
        return {}

    status, told = forked(work)
    return {"status": status, **told, **forked(look)[1]}


def main() -> None:
    """Every run of one scenario."""
    for library in ("mlflow", "mlflow.store.tracking.sqlalchemy_store", "mlflow.store.model_registry.sqlalchemy_store", "skops.io", "sklearn.linear_model"):
        importlib.import_module(library)  # once, before the forks: a process that begins anew would take seconds for them
    what, saved = sys.argv[1], HOME.with_name("home-before")
    shutil.copytree(HOME, saved)

    def restore() -> None:
        shutil.rmtree(HOME)
        shutil.copytree(saved, HOME)

    if what == "crowd":
        print(json.dumps(crowd(20)))  # noqa: T201
        return
    if what == "full":
        print(json.dumps(full("promote")))  # noqa: T201
        return
    at, status = 0, -9
    while status == -9:
        at += 1
        restore()
        run = crashed(what, at)
        status = run["status"]
        print(json.dumps(run), flush=True)  # noqa: T201
    shutil.rmtree(saved)


if __name__ == "__main__":
    main()

"""Leases: one process at a time does a piece of a case's work, wherever it runs and whatever its clock says.

A lease is a row beside the ledger. Its holder counts its `beat` up while it lives; who wants the lease and sees the count stand still
for `PATIENCE` seconds by its own clock's steps takes it over. A holder that can be looked at, a process of the same machine, is not
waited for once it has ended. A lease saves work, no more: a holder that slept and lost it still leaves one result, since the store and
the ledger take each result once.
"""

import contextlib
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError as UniqueViolation
from sqlalchemy.exc import SQLAlchemyError

from tasks.core.errors import UnavailableError
from tasks.io.ledger import Ledger, create_tables

BEAT = 2.0
"""Seconds between two beats of a holder."""
PATIENCE = 10.0
"""Seconds after which a holder that does not beat is taken for dead."""

_metadata = sa.MetaData()
_leases = sa.Table(
    "leases",
    _metadata,
    sa.Column("case_name", sa.String(63), primary_key=True),
    sa.Column("work", sa.String(63), primary_key=True),
    sa.Column("holder", sa.String(200), nullable=False),
    sa.Column("beat", sa.Integer, nullable=False),
)


@contextlib.contextmanager
def lease(ledger: Ledger, case: str, work: str) -> Iterator[bool]:
    """Hold a piece of work while the block runs. Yields False when a living process holds it.

    Raises: UnavailableError when the ledger's database does not answer.
    """
    holder = f"{_machine()}:{os.getpid()}:{_began(os.getpid())}:{uuid.uuid4().hex}"
    try:
        create_tables(_metadata, ledger.engine)
        held = _take(ledger.engine, case, work, holder)
    except SQLAlchemyError as error:
        raise UnavailableError(f"The lease of {work} cannot be had: {error.args[0]}.", where=case, fix="Check the ledger's database, and try again.") from error
    if not held:
        yield False
        return
    ended = threading.Event()
    thread = threading.Thread(target=_beat, args=(ledger.engine, case, work, holder, ended), name=f"lease of {work}", daemon=True)
    thread.start()
    try:
        yield True
    finally:
        ended.set()
        thread.join()
        with contextlib.suppress(SQLAlchemyError), ledger.engine.begin() as connection:
            connection.execute(_leases.delete().where(*_row(case, work), _leases.c.holder == holder))


def _take(engine: sa.Engine, case: str, work: str, holder: str) -> bool:
    """Whether the lease is ours now: it was free, or its holder is dead."""
    seen: tuple[str, int] | None = None
    patience = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(UniqueViolation), engine.begin() as connection:
            connection.execute(_leases.insert().values(case_name=case, work=work, holder=holder, beat=0))
            return True
        with engine.connect() as connection:
            found = connection.execute(sa.select(_leases.c.holder, _leases.c.beat).where(*_row(case, work))).first()
        if found is None:
            continue  # given back in between
        now = (str(found.holder), int(found.beat))
        if seen is not None and now != seen:
            return False
        seen = now
        if _is_gone(now[0]) or time.monotonic() > patience:
            with engine.begin() as connection:
                mine = _leases.update().where(*_row(case, work), _leases.c.holder == now[0], _leases.c.beat == now[1]).values(holder=holder, beat=0)
                return connection.execute(mine).rowcount == 1
        time.sleep(BEAT / 4)


def _beat(engine: sa.Engine, case: str, work: str, holder: str, ended: threading.Event) -> None:
    while not ended.wait(BEAT):
        with contextlib.suppress(SQLAlchemyError), engine.begin() as connection:  # a beat that is missed is followed by another
            connection.execute(_leases.update().where(*_row(case, work), _leases.c.holder == holder).values(beat=_leases.c.beat + 1))


def _is_gone(holder: str) -> bool:
    """Whether the holder was a process of this machine that has ended."""
    machine, pid, began, _ = holder.rsplit(":", 3)
    if machine != _machine():
        return False
    try:
        return _began(int(pid)) != began or psutil.Process(int(pid)).status() == psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        return True
    except (psutil.Error, OSError):
        return False


def _machine() -> str:
    """Which processes a number of one is among: on Linux those of a boot and a pid namespace, which containers of one host name have
    of their own; elsewhere the host's.
    """
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text(encoding='ascii').strip()}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()


def _began(pid: int) -> str:
    """When a process of this machine began, which tells it from a later one of its number: on Linux in ticks since the boot (field 22 of
    proc_pid_stat(5)), since psutil counts from a boot that the clock dates; elsewhere by the clock.
    """
    if not psutil.LINUX:
        return f"{psutil.Process(pid).create_time():.0f}"
    stat = Path("/proc", "self" if pid == os.getpid() else str(pid), "stat").read_text(encoding="utf-8", errors="replace")
    return stat.rpartition(")")[2].split()[19]  # the name of the program, in brackets, may hold blanks


def _row(case: str, work: str) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return _leases.c.case_name == case, _leases.c.work == work

"""Child processes that are stopped whole: each leads a process group and writes its own log."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.core.errors import UnavailableError

GRACE = 15.0
"""Seconds between asking a process to end and ending it."""


@dataclass(frozen=True)
class Child:
    """A running child, and where its output goes."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path


def spawn(name: str, command: Sequence[str], log: Path, folder: Path, environment: Mapping[str, str]) -> Child:
    """Start a command in a folder, in a process group of its own. The log it wrote the last time is kept as `.log.1`."""
    with writable(log):
        if log.exists():
            log.replace(log.with_suffix(".log.1"))
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 (our own commands)
                command, cwd=folder, env=dict(environment), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
    return Child(name, process, log)


def end(children: Sequence[Child]) -> None:
    """Ask each process group to end, wait, then kill it and whatever it started outside its group."""
    import psutil

    def family() -> list[psutil.Process]:
        found = []
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                found += psutil.Process(child.process.pid).children(recursive=True)
        return found

    def alive(process: psutil.Process) -> bool:
        with contextlib.suppress(psutil.NoSuchProcess):
            return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
        return False

    relatives = family()
    for child in children:
        _signal_group(child, signal.SIGTERM)
    deadline = time.monotonic() + GRACE
    while time.monotonic() < deadline and (any(child.process.poll() is None for child in children) or any(map(alive, relatives))):
        time.sleep(0.05)
    relatives += family()  # what a child that would not end has started since
    for child in children:
        _signal_group(child, signal.SIGKILL)
        child.process.wait()
    for process in filter(alive, relatives):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def _signal_group(child: Child, number: signal.Signals) -> None:
    """Reach the whole group, also when the process that led it has ended."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.process.pid, number)


def last_words(log: Path) -> str:
    """The last lines of a log, on one line."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return " / ".join(lines[-3:]) or "none"


@contextlib.contextmanager
def writable(path: Path) -> Iterator[None]:
    """Turn a failure to write at `path` into an error that names it."""
    try:
        yield
    except OSError as error:
        fix = "Make the folder writable, or set EQUIPOISE_HOME to one that is."
        raise UnavailableError(f"cannot be written: {error.strerror}.", where=str(path), fix=fix) from error

"""Writes a file whole or not at all, and keeps others from a folder meanwhile."""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tasks.core.errors import UnavailableError


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a value as JSON; see `write_text`."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write under a temporary name in the same folder, flush, then rename: a reader sees the old file or the new one.

    Raises: UnavailableError when the place cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise UnavailableError(f"cannot be written: {error.strerror}.", where=str(path), fix="Choose another file.") from error


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """One process at a time: whoever else asks for the folder waits."""
    import fcntl

    held = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)

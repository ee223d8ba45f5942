"""Files that are on disk before they have a name, and errors that name the path. For the store, which promises that of every object."""

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from tasks.core.errors import UnavailableError


def temporary(path: Path, data: bytes) -> Path:
    """A new file beside `path` that holds the data, on disk. Left by a crash, it is seen by nobody: its name begins with a dot."""
    _make(path.parent)
    made = path.parent / f".{path.name}.{secrets.token_hex(8)}"
    descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
    except BaseException:
        made.unlink()
        raise
    return made


def _make(folder: Path) -> None:
    """Make a folder and those above it, each on disk before the next."""
    if not folder.is_dir():
        _make(folder.parent)
        folder.mkdir(exist_ok=True)
        sync(folder.parent)


def sync(folder: Path) -> None:
    """Let the names in a folder be on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def refreshed(path: Path) -> bool:
    """Whether the file is there; if so it counts as young from now on, as one just written does (tasks.io.retention), unless it is
    somebody else's.
    """
    with contextlib.suppress(OSError):
        os.utime(path)
    return path.is_file()


@contextlib.contextmanager
def written(path: Path) -> Iterator[None]:
    """Turn what the operating system says against writing into an error that names the path."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        fix = "Free some space on that disk." if full else "Check the folder and your right to write there, or set EQUIPOISE_HOME to another."
        raise UnavailableError(f"cannot be written: {error.strerror}.", where=str(path), fix=fix) from error

"""The files of Evidently's workspace: read whole, written whole."""

import json
import os
import uuid
from pathlib import Path
from typing import Any

from tasks.core.errors import IntegrityError


def read(path: Path) -> dict[str, Any]:
    """A file of Evidently's. Raises: IntegrityError for one that is not whole."""
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise damaged(path) from None
    if not isinstance(content, dict):
        raise damaged(path)
    return content


def damaged(path: Path) -> IntegrityError:
    """What to say of such a file."""
    return IntegrityError(
        "is not a whole JSON file, and Evidently hides a project that has one.",
        where=str(path),
        fix="Run: equipoise monitor CASE --rebuild. It moves the project aside, and draws it again from the record.",
    )


def create(path: Path, text: str) -> bool:
    """Write a whole file under a name that must be new; False when it is there already. Of two writers, one wins.

    A hard link rather than a rename: it never replaces, and it raises the event by which a running Evidently UI notices.
    """
    temporary = _temporary(path, text)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    return True


def replace(path: Path, text: str) -> None:
    """Write a whole file, in place of what is there."""
    temporary = _temporary(path, text)
    try:
        temporary.replace(path)
    except BaseException:
        temporary.unlink()
        raise


def _temporary(path: Path, text: str) -> Path:
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:  # half a file helps nobody, and a full disk least
        temporary.unlink(missing_ok=True)
        raise
    return temporary

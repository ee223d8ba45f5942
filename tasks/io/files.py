"""Writes a file whole or not at all."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.core.errors import UnavailableError


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON under a temporary name in the same folder, flush it, then rename: a reader sees the old file or the new one.

    Raises: UnavailableError when the place cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8") as file:
            file.write(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UnavailableError(f"cannot be written: {error.strerror}.", where=str(path), fix="Choose another file.") from error

"""Retention: which stored objects a record still refers to, and removing those that none does."""

import math
import re
import time
from collections.abc import Iterable
from pathlib import Path

from tasks.core.errors import IntegrityError
from tasks.io.ledger import Ledger
from tasks.io.store import Store

_DIGEST = re.compile(rb"sha256:([0-9a-f]{64})")
GRACE_SECONDS = 3600
"""Younger objects stay: a run puts its objects into the store, which makes those of before young again, and only then on record."""


def unreferenced(store: Store, ledger: Ledger) -> list[Path]:
    """Objects that no ledger entry, no manifest of the store, and nothing that these refer to mentions; the oldest first.

    Raises: IntegrityError when the ledger or a manifest is not what was written: then nothing can be told.
    """
    kept: set[str] = set()
    waiting = set(_named(str(event.body).encode() for event in ledger.events()))
    waiting |= set(_named(path.read_bytes() for path in (store.root / "manifests").rglob("*.json")))
    while waiting:
        name = waiting.pop()
        kept.add(name)
        path = store.path(f"sha256:{name}")
        if path.is_file():
            with path.open("rb") as file:
                told = file.read(1) in (b"{", b"[") and _named([path.read_bytes()])
            waiting |= set(told or ()) - kept
    found = sorted((_put(path), path) for path in (store.root / "objects").glob("??/*") if path.name not in kept)
    return [path for put, path in found if put < time.time() - GRACE_SECONDS]


def remove(paths: Iterable[Path]) -> int:
    """Remove the files and return the bytes that this frees. One that was put again since it was found stays."""
    freed = 0
    for path in paths:
        if path.parent.parent.name != "objects":
            raise IntegrityError("is not an object of a store.", where=str(path))
        if _put(path) < time.time() - GRACE_SECONDS:
            freed += path.stat().st_size
            path.unlink()
    return freed


def _put(path: Path) -> float:
    """When the file was put last; never, for one that is gone: a temporary one soon has another name."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return math.inf


def _named(texts: Iterable[bytes]) -> list[str]:
    return [name.decode() for text in texts for name in _DIGEST.findall(text)]

"""Retention: which stored objects a record still refers to, and removing those that none does."""

import re
import time
from collections.abc import Iterable
from pathlib import Path

from tasks.core.errors import IntegrityError
from tasks.io.ledger import Ledger
from tasks.io.store import Store

_DIGEST = re.compile(rb"sha256:([0-9a-f]{64})")
GRACE_SECONDS = 3600
"""Younger objects stay: a training puts its objects into the store before the ledger refers to them."""


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
    youngest = time.time() - GRACE_SECONDS
    found = [path for path in (store.root / "objects").glob("??/*") if path.name not in kept and path.stat().st_mtime < youngest]
    return sorted(found, key=lambda path: path.stat().st_mtime)


def remove(paths: Iterable[Path]) -> int:
    """Remove the files and return the bytes that this frees."""
    freed = 0
    for path in paths:
        if path.parent.parent.name != "objects":
            raise IntegrityError("is not an object of a store.", where=str(path))
        freed += path.stat().st_size
        path.unlink()
    return freed


def _named(texts: Iterable[bytes]) -> list[str]:
    return [name.decode() for text in texts for name in _DIGEST.findall(text)]

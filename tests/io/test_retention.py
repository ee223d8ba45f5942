"""What a record refers to stays; the rest goes."""

import os
import time

from tasks.io import retention
from tasks.io.ledger import Ledger
from tasks.io.manifests import Manifest
from tasks.io.store import Store


def test_only_what_nothing_refers_to_is_found_and_removed(tmp_path):
    """Objects named by the ledger, by a manifest, or by an object that one of these names stay; an orphan and only it goes."""
    store, ledger = Store(tmp_path / "store"), Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    model, orphan, snapshot = store.put(b"model"), store.put(b"orphan"), store.put(b"rows")
    evidence = store.put_json({"format": 1, "model": model})
    ledger.append("boston", "registered", 1, {"evidence": evidence})
    store.record(Manifest("boston", "features", "2024-01", snapshot, 1, {}, "test", "2024-01-01T00:00:00+00:00"))
    assert retention.unreferenced(store, ledger) == []  # all too young to tell
    old = time.time() - 2 * retention.GRACE_SECONDS
    for path in (tmp_path / "store/objects").rglob("*"):
        if path.is_file():
            os.utime(path, (old, old))
    assert retention.unreferenced(store, ledger) == [store.path(orphan)]
    assert retention.remove(retention.unreferenced(store, ledger)) == len(b"orphan")
    assert [store.get(digest) for digest in (model, snapshot)] == [b"model", b"rows"]
    assert retention.unreferenced(store, ledger) == []
    ledger.close()

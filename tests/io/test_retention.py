"""What a record refers to stays; the rest goes."""

import os
import time

import pandas as pd

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


def test_what_a_run_puts_again_stays(tmp_path):
    """A run that died yesterday left parts; the one of today that puts them again, and has yet to record them, keeps them, also when they
    were found just before. A file that goes while the folder is looked through is none.
    """
    store, ledger = Store(tmp_path / "store"), Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    table = pd.DataFrame({"x": range(6)})
    digest, _ = store.put_parts([table], rows=3)
    for path in (tmp_path / "store/objects").glob("*/*"):
        os.utime(path, (0, 0))
    found = retention.unreferenced(store, ledger)
    assert len(found) == 3
    assert store.put_parts([table], rows=3) == (digest, 6)
    assert retention.unreferenced(store, ledger) == []
    assert retention.remove([*found, found[0].with_name(".gone")]) == 0
    store.record(Manifest("boston", "predictions", "v1-2024-01", digest, 6, {}, "test", "2024-01-01T00:00:00+00:00"))
    assert store.get_frame(digest).equals(table)
    ledger.close()

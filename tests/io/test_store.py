"""The store under real faults: flipped bytes, two writers at once, folders that refuse, disks that are full."""

import contextlib
import datetime as dt
import json
import os
import resource
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.core.errors import CaseError, ConflictError, DataError, IntegrityError, UnavailableError
from tasks.io.manifests import Manifest
from tasks.io.store import Store

PROJECT = Path(__file__).parents[2]
NOBODY = 65534

RACE = """
import sys, time
from pathlib import Path
from tasks.core.errors import ConflictError
from tasks.io.manifests import Manifest
from tasks.io.store import Store
root, who, rounds = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
store = Store(root / "store")
for number in range(rounds):
    (root / f"ready-{number}-{who}").touch()
    while len(list(root.glob(f"ready-{number}-*"))) < 2:
        time.sleep(0.001)
    digest = store.put(f"{who} {number}".encode())
    try:
        print(store.record(Manifest("boston", "features", f"v{number}", digest, 1, {}, who, "2024-01-01T00:00:00Z")).source, flush=True)
    except ConflictError as error:
        print("conflict" if digest in str(error) else error, flush=True)
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def frame() -> pd.DataFrame:
    """Types and names that files are prone to lose."""
    return pd.DataFrame(
        {
            "row_id": ["2024-01-000000", "2024-01-000001", "2024-01-000002"],
            "größe 📏": [1.5, float("nan"), float("inf")],
            "количество": [1, 2**60, -3],
            "färg": pd.Categorical(["grün", None, "红"], categories=["红", "grün", "never seen"], ordered=True),
            "text": ["naïve", None, ""],
            "nothing": [None, None, None],
            "no number": [np.nan] * 3,
            "maybe": pd.array([1, None, 3], dtype="Int64"),
            "flag": [True, False, True],
            "when": pd.to_datetime(["2024-01-01", None, "2024-03-31T12:00:00.000001"], format="ISO8601"),
            "moment": pd.to_datetime(["2024-01-01T00:00:00Z"] * 3, utc=True).tz_convert("America/New_York"),
            "day": [dt.date(2024, 2, 29), None, dt.date(1999, 12, 31)],
        }
    )


def manifest(digest: str, **changes: Any) -> Manifest:
    fields: dict[str, Any] = {
        "stream": "boston",
        "kind": "features",
        "key": "2024-01",
        "digest": digest,
        "rows": 3,
        "schema": {"zebra": "float64", "größe": "str"},
        "source": "data/raw/boston/boston.csv",
        "seed": 7,
        "created": "2026-11-22T03:00:00+00:00",
        "extra": {"catalogue": "sha256:abc", "нота": [1, None, {"a": 0.1}]},
    }
    return Manifest(**{**fields, **changes})


def files(store: Store) -> list[Path]:
    return [path for path in store.root.rglob("*") if path.is_file()]


@settings(max_examples=50, deadline=None)
@given(data=st.binary(max_size=2000))
def test_what_is_put_is_what_is_got(data: bytes) -> None:
    """Any bytes come back as they were, under their SHA-256 as sha256sum computes it."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        digest = store.put(data)
        assert store.get(digest) == data
        printed = subprocess.run(["sha256sum"], input=data, capture_output=True, check=True).stdout.split()[0].decode() if len(data) < 20 else None
        assert printed in (None, digest.removeprefix("sha256:"))


def test_putting_twice_keeps_one_object(store: Store) -> None:
    """The same bytes are kept once, and not written again; from then on they count as young."""
    digest = store.put(b"once")
    (path,) = files(store)
    before = path.stat()
    os.utime(path, (0, 0))
    assert store.put(b"once") == digest
    assert [path] == files(store)
    assert path.stat().st_ino == before.st_ino
    assert path.stat().st_mtime_ns >= before.st_mtime_ns
    assert path.parent.name == path.name[:2]
    assert not path.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH)


def test_every_type_comes_back(store: Store) -> None:
    """Non-ASCII names and categories, all-null columns, nullable integers, big integers, dates and time zones survive."""
    back = store.get_frame(store.put_frame(frame()))
    pd.testing.assert_frame_equal(back, frame())
    assert list(back["färg"].cat.categories) == ["红", "grün", "never seen"]


@pytest.mark.parametrize("empty", [frame().iloc[:0].drop(columns="färg"), pd.DataFrame({"x": pd.Series([], dtype="float64")}), pd.DataFrame()])
def test_an_empty_frame_comes_back_with_its_columns(store: Store, empty: pd.DataFrame) -> None:
    """No rows, or no columns, is a table too."""
    back = store.get_frame(store.put_frame(empty))
    assert list(back.columns) == list(empty.columns)
    assert back.dtypes.to_dict() == empty.dtypes.to_dict()
    assert len(back) == 0


def test_equal_frames_have_equal_bytes(store: Store) -> None:
    """The digest depends on the data alone: not on the index, on attributes, on the process, or on how the frame came to be."""
    digest = store.put_frame(frame())
    assert store.put_frame(frame().iloc[::-1].iloc[::-1].set_index(pd.Index(["a", "b", "c"]))) == digest
    noted = frame()
    noted.attrs["note"] = "from elsewhere"
    assert store.put_frame(noted) == digest
    assert store.put_frame(store.get_frame(digest)) == digest
    simple = "import pandas as pd, sys; from pathlib import Path; from tasks.io.store import Store; "
    simple += "print(Store(Path(sys.argv[1])).put_frame(pd.DataFrame({'a': [1.5, None], 'ö': ['x', None]})), end='')"
    other = subprocess.run([sys.executable, "-c", simple, store.root], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    assert other == store.put_frame(pd.DataFrame({"a": [1.5, None], "ö": ["x", None]}))


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.assign(flag=[True, False, False]),
        lambda table: table[table.columns[::-1]],
        lambda table: table.iloc[::-1],
        lambda table: table.assign(количество=table["количество"].astype("float64")),
        lambda table: table.assign(text=["naïve", "", ""]),
    ],
)
def test_different_frames_have_different_digests(store: Store, change: Any) -> None:
    """A value, the order of rows or columns, a type, or missing against empty: each makes another digest."""
    assert store.put_frame(change(frame())) != store.put_frame(frame())


def test_pages_carry_checksums(store: Store) -> None:
    """The Parquet file has page checksums, which any reader can verify."""
    digest = store.put_frame(pd.DataFrame({"x": np.random.default_rng(0).normal(size=5000)}))
    data = bytearray(store.path(digest).read_bytes())
    data[len(data) // 2] ^= 1
    damaged = store.root / "damaged.parquet"
    damaged.write_bytes(data)
    with pytest.raises(OSError, match=r"(?i)checksum|crc"):
        pq.read_table(damaged, page_checksum_verification=True)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (pd.DataFrame({"mixed": [1, "one"]}, dtype=object), "`?mixed`?"),
        (pd.DataFrame({1: [1]}), "1 is not one"),
        (pd.DataFrame([[1, 2]], columns=["twice", "twice"]), "'twice'"),
    ],
)
def test_frames_that_cannot_be_kept_are_refused(store: Store, table: pd.DataFrame, says: str) -> None:
    """A column of mixed types, a name that is no text, or one used twice is refused by name."""
    with pytest.raises(DataError, match=says):
        store.put_frame(table)


def test_one_flipped_bit_anywhere_in_an_object_is_caught(store: Store) -> None:
    """No single flipped bit of a snapshot gets past `get`: the error names the file, the digest expected and the one found."""
    digest = store.put_frame(frame())
    path = store.path(digest)
    whole = path.read_bytes()
    path.chmod(0o644)
    for position in range(0, len(whole), 7):
        data = bytearray(whole)
        data[position] ^= 1 << (position % 8)
        path.write_bytes(data)
        with pytest.raises(IntegrityError) as caught:
            store.get_frame(digest)
    message = str(caught.value)
    assert str(path) in message
    assert message.count("sha256:") == 2
    assert digest in message


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data + b"\0", lambda data: b""])
def test_a_truncated_or_lengthened_object_is_caught(store: Store, damage: Any) -> None:
    """An object cut short, emptied or added to is never returned."""
    digest = store.put(b"twelve bytes")
    path = store.path(digest)
    path.chmod(0o644)
    path.write_bytes(damage(b"twelve bytes"))
    with pytest.raises(IntegrityError, match="corrupt"):
        store.get(digest)


def test_putting_the_same_bytes_mends_a_damaged_object(store: Store) -> None:
    """What the error says to do works: taking the snapshot again restores the object."""
    digest = store.put(b"good")
    path = store.path(digest)
    path.chmod(0o644)
    path.write_bytes(b"bad!")
    assert store.put(b"good") == digest
    assert store.get(digest) == b"good"


def test_a_missing_object_is_named(store: Store) -> None:
    """An object on record that has been deleted is an integrity error with its path."""
    digest = store.put(b"gone")
    store.path(digest).unlink()
    with pytest.raises(IntegrityError, match=str(store.path(digest))):
        store.get(digest)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="no file here that opens and cannot be read")
def test_an_object_whose_bytes_the_disk_does_not_give_is_damaged(store: Store) -> None:
    """Read error 5 of a file that opens (as /proc/self/mem gives it) is the object's fault, and the same bytes mend it; a folder whose files
    cannot be opened is away.
    """
    digest = store.put(b"good")
    path = store.path(digest)
    path.unlink()
    path.symlink_to("/proc/self/mem")
    with pytest.raises(IntegrityError, match=rf"{path}: is damaged.*Input/output error"):
        store.get(digest)
    assert store.put(b"good") == digest
    assert store.get(digest) == b"good"
    path.unlink()
    path.symlink_to(path)
    with pytest.raises(UnavailableError, match="cannot be read"):
        store.get(digest)


def test_bytes_that_are_no_table_are_refused(store: Store) -> None:
    """An intact object that is not Parquet is not read as a table."""
    with pytest.raises(DataError, match="is not a table"):
        store.get_frame(store.put(b"a report"))


def test_a_manifest_comes_back_whole(store: Store) -> None:
    """Every field survives, the order of the schema too, and in another Store on the same folder."""
    recorded = store.record(manifest(store.put(b"x"), parent="sha256:" + "0" * 64))
    found = Store(store.root).find("boston", "features", "2024-01")
    assert found == recorded
    assert found is not None
    assert list(found.schema) == ["zebra", "größe"]
    assert found.seal == recorded.seal


def test_recording_again_is_a_no_op_when_the_digest_agrees(store: Store) -> None:
    """A second record with the same digest changes nothing and returns what stood there, whatever else it says."""
    digest = store.put(b"x")
    first = store.record(manifest(digest))
    before = {path: path.read_bytes() for path in files(store)}
    assert store.record(manifest(digest, created="2027-01-01T00:00:00+00:00", source="elsewhere")) == first
    assert {path: path.read_bytes() for path in files(store)} == before


def test_recording_other_content_is_a_conflict(store: Store) -> None:
    """Another digest for the same period is refused with both digests and a way out; what was on record stays."""
    old, new = store.put(b"old"), store.put(b"new")
    store.record(manifest(old))
    with pytest.raises(ConflictError) as refused:
        store.record(manifest(new))
    assert old in str(refused.value)
    assert new in str(refused.value)
    assert refused.value.fix
    found = store.find("boston", "features", "2024-01")
    assert found is not None
    assert found.digest == old


def test_a_manifest_without_its_object_is_refused(store: Store) -> None:
    """Nothing goes on record whose bytes are not in the store."""
    with pytest.raises(IntegrityError, match="not in the store"):
        store.record(manifest("sha256:" + "1" * 64))
    assert store.list("boston", "features") == []


def test_a_table_that_lacks_a_part_is_not_recorded(store: Store) -> None:
    """The index of a table is not enough: each part must be there. What is recorded counts as young, and needs not be a table."""
    digest, _ = store.put_parts([frame()], rows=2)
    first, second = (store.path(part) for part, _ in store.parts(digest))
    second.rename(store.root / "away")
    with pytest.raises(IntegrityError, match=rf"{second.name}: is to be recorded but is not in the store"):
        store.record(manifest(digest))
    assert store.list("boston", "features") == []
    (store.root / "away").rename(second)
    for path in (store.path(digest), first, second):
        os.utime(path, (0, 0))
    store.record(manifest(digest))
    assert min(path.stat().st_mtime for path in (store.path(digest), first, second)) > 0
    store.record(manifest(store.put_json({"format": "something else"}), key="2024-02"))


def test_any_flipped_bit_in_a_manifest_is_caught(store: Store) -> None:
    """No byte of a manifest can change unnoticed, in `find` or in `list`."""
    store.record(manifest(store.put(b"x")))
    path = store.root / "manifests" / "boston" / "features" / "2024-01.json"
    whole = path.read_bytes()
    path.chmod(0o644)
    for position in range(len(whole)):
        data = bytearray(whole)
        data[position] ^= 1 << (position % 8)
        path.write_bytes(data)
        with pytest.raises(IntegrityError, match=r"2024-01\.json"):
            store.find("boston", "features", "2024-01")
    with pytest.raises(IntegrityError):
        store.list("boston", "features")


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"{}", b"\xff", b'{"manifest_digest":"x"}', b"[" * 100_000])
def test_a_file_that_is_no_manifest_is_caught(store: Store, content: bytes) -> None:
    """An emptied or foreign file in a manifest's place is an integrity error."""
    store.record(manifest(store.put(b"x")))
    path = store.root / "manifests" / "boston" / "features" / "2024-01.json"
    path.chmod(0o644)
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match="is not a manifest"):
        store.find("boston", "features", "2024-01")


def test_a_manifest_written_out_anew_by_hand_is_caught(store: Store) -> None:
    """An edited number is caught although the JSON is sound; so is a manifest moved to another period's name."""
    store.record(manifest(store.put(b"x")))
    path = store.root / "manifests" / "boston" / "features" / "2024-01.json"
    whole = path.read_bytes()
    (path.parent / "2024-02.json").write_bytes(whole)
    with pytest.raises(IntegrityError, match="holds the manifest of boston/features/2024-01"):
        store.find("boston", "features", "2024-02")
    path.chmod(0o644)
    path.write_text(json.dumps({**json.loads(whole), "rows": 4}))
    with pytest.raises(IntegrityError, match="corrupt"):
        store.find("boston", "features", "2024-01")


def test_features_labels_and_predictions_are_kept_apart(store: Store) -> None:
    """Each kind and stream has records of its own, listed by key, with numbers in order."""
    digest = store.put(b"x")
    for kind, keys in {"features": ["2024-02", "2023-12", "2024-01"], "labels": ["2023-12"], "predictions": ["v10-2024-01", "v2-2024-02"]}.items():
        for key in keys:
            store.record(manifest(digest, kind=kind, key=key))
    (store.root / "manifests" / "boston" / "features" / "Read me.json").write_text("not ours")
    assert [found.key for found in store.list("boston", "features")] == ["2023-12", "2024-01", "2024-02"]
    assert [found.key for found in store.list("boston", "labels")] == ["2023-12"]
    assert [found.key for found in store.list("boston", "predictions")] == ["v2-2024-02", "v10-2024-01"]
    assert store.list("adult", "features") == []
    assert store.find("boston", "labels", "2024-01") is None


@pytest.mark.parametrize("bad", ["../../etc", "..", ".", "a/b", "/etc/passwd", "", "A", "a\\b", "a\0b", "2024-01.json", "ünder", "x" * 200])
def test_names_cannot_leave_the_store(store: Store, bad: str) -> None:
    """A stream, kind, key or digest that is not a plain name is refused before any path is made of it."""
    digest = store.put(b"x")
    for where in ("stream", "kind", "key"):
        with pytest.raises(CaseError):
            store.record(manifest(digest, **{where: bad}))
        with pytest.raises(CaseError):
            store.find(**{"stream": "boston", "kind": "features", "key": "2024-01", where: bad})
    for call in (store.get, store.path, store.get_frame):
        with pytest.raises(CaseError):
            call(bad)
    assert len(files(store)) == 1


def test_of_two_processes_exactly_one_wins(tmp_path: Path) -> None:
    """Two processes that record the same period with different content at once leave one record; the other is told of the conflict."""
    rounds = 12
    racers = [
        subprocess.Popen([sys.executable, "-c", RACE, tmp_path, who, str(rounds)], cwd=PROJECT, stdout=subprocess.PIPE, text=True) for who in ("one", "two")
    ]
    printed = [racer.communicate(timeout=120)[0].split("\n")[:-1] for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0]
    store = Store(tmp_path / "store")
    for number, (one, two) in enumerate(zip(*printed, strict=True)):
        winner = store.find("boston", "features", f"v{number}")
        assert winner is not None
        assert (one, two) in ((("one", "conflict")), ("conflict", "two"))
        assert winner.source == (one if one != "conflict" else two)
        assert store.get(winner.digest) == f"{winner.source} {number}".encode()
    assert not [path for path in files(store) if path.name.startswith(".")]


@contextlib.contextmanager
def without_rights() -> Iterator[None]:
    """Root may write anywhere; lay its rights down for a moment."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_a_folder_that_may_not_be_written_is_named() -> None:
    """A read-only store says which path, leaves nothing behind, and can still be read."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        store = Store(Path(folder) / "store")
        digest = store.put(b"old")
        store.record(manifest(digest))
        everything = [path for path in store.root.rglob("*") if path.is_dir()]
        for path in (store.root, *everything):
            path.chmod(0o555)
        try:
            with without_rights():
                with pytest.raises(UnavailableError, match=r"cannot be written: Permission denied") as refused:
                    store.put(b"new")
                assert str(store.root) in str(refused.value)
                with pytest.raises(UnavailableError, match=r"2024-02\.json"):
                    store.record(manifest(digest, key="2024-02"))
                assert store.get(digest) == b"old"
                assert [found.key for found in store.list("boston", "features")] == ["2024-01"]
        finally:
            for path in (store.root, *everything):
                path.chmod(0o755)
        assert len(files(store)) == 2


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    """A store whose folder is a file can be neither read nor written, and says so."""
    (tmp_path / "store").write_text("a file")
    store = Store(tmp_path / "store")
    with pytest.raises(UnavailableError, match="cannot be written"):
        store.put(b"x")
    with pytest.raises(UnavailableError, match="cannot be read"):
        store.find("boston", "features", "2024-01")
    with pytest.raises(UnavailableError, match="cannot be read"):
        store.list("boston", "features")


def test_a_write_that_breaks_off_leaves_the_old_state(store: Store) -> None:
    """When the system stops a write half-way (here by a limit on file size) no object, manifest or temporary file is left of it."""
    kept = store.put(b"kept")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        with pytest.raises(UnavailableError, match="cannot be written: File too large"):
            store.put(os.urandom(5000))
        with pytest.raises(UnavailableError, match="cannot be written"):
            store.record(manifest(kept, extra={"note": "x" * 5000}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert files(store) == [store.path(kept)]
    assert store.find("boston", "features", "2024-01") is None


def test_leftovers_of_a_crash_are_not_seen(store: Store) -> None:
    """A temporary file that a killed process left behind is neither listed nor in the way."""
    digest = store.put(b"x")
    store.record(manifest(digest))
    folder = store.root / "manifests" / "boston" / "features"
    (folder / ".2024-02.json.0123456789abcdef").write_bytes(b'{"half":')
    (store.path(digest).parent / ".leftover").write_bytes(b"half")
    assert [found.key for found in store.list("boston", "features")] == ["2024-01"]
    assert store.record(manifest(digest, key="2024-02")).key == "2024-02"


def test_a_table_in_parts_is_the_table(store: Store) -> None:
    """However rows come in frames, parts of one size are kept, an index names them, and the whole comes back; each part in batches."""
    table = pd.DataFrame({"row_id": [f"r{place}" for place in range(10)], "x": np.arange(10) / 3, "gap": [None] * 4 + ["text"] * 6})
    digest, rows = store.put_parts((table[place : place + 1] for place in range(10)), rows=4)
    assert rows == 10
    assert store.put_parts([table[:7], table[7:7], table[7:]], rows=4) == (digest, 10)
    assert [count for _, count in store.parts(digest)] == [4, 4, 2]
    assert store.join_parts([(part, int(count or 0)) for part, count in store.parts(digest)]) == digest
    back = store.get_frame(digest)
    pd.testing.assert_frame_equal(back, table, check_dtype=False)
    assert back["x"].equals(table["x"])
    (first,) = store.batches(store.parts(digest)[0][0], ["x"])
    assert first["x"].tolist() == table["x"].tolist()[:4]


def test_a_small_table_is_one_object_as_before(store: Store) -> None:
    """Below a part's rows nothing but the table is kept, under the digest it always had; so is a table without rows."""
    digest, rows = store.put_parts([frame()[:1], frame()[1:]])
    assert (digest, rows) == (store.put_frame(frame()), 3)
    assert store.parts(digest) == [(digest, None)]
    assert len(files(store)) == 1
    empty, rows = store.put_parts([frame().iloc[:0]])
    assert rows == 0
    (batch,) = store.batches(empty)
    assert list(batch.columns) == list(frame().columns)
    with pytest.raises(DataError, match="without a single frame"):
        store.put_parts([])


def test_a_damaged_part_or_index_is_named(store: Store) -> None:
    """A table is read only when its index and each of its parts are what was written; JSON that is no index is no table."""
    digest, _ = store.put_parts([frame()], rows=2)
    second = store.path(store.parts(digest)[1][0])
    for path in (second, store.path(digest)):
        whole = path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
        with pytest.raises(IntegrityError, match=rf"{path.name}.*is corrupt"):
            store.get_frame(digest)
        path.write_bytes(whole)
    with pytest.raises(IntegrityError, match="is not a table, nor an index of parts"):
        store.parts(store.put_json({"format": "something else"}))
    with pytest.raises(DataError, match=r"has the columns x, another x, y|has the columns x, y, another x"):
        store.put_parts([pd.DataFrame({"x": [1]}), pd.DataFrame({"x": [1], "y": [2]})])

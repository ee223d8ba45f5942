"""The store: immutable objects named by their SHA-256, and manifests that say which object is which snapshot.

    <root>/objects/ab/<sha256>                       bytes; the first two digits are the folder
    <root>/manifests/<stream>/<kind>/<key>.json      canonical JSON with a digest of its own

A table is one Parquet object, or, beyond ROWS_IN_PART rows, several with an index object that names them: canonical JSON,
{"format": PARTS, "parts": [[digest, rows], ...]}. The digest of the index names the table.

A reader sees the old state or the new one, never half: bytes go to a temporary name in the same folder, are flushed to disk, and then get
their name. A manifest gets its name by a hard link, which fails where the name is taken, so that of two processes one wins.
Nothing is read before its digest is verified. The store knows no clock and no environment.
"""

import errno
import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.core.digests import canonical_json, digest_bytes, finite
from tasks.core.errors import CaseError, ConflictError, DataError, IntegrityError, UnavailableError
from tasks.core.strict import NAME
from tasks.io import durable
from tasks.io.manifests import RESTORE_MANIFEST, Digest, Manifest, verified

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_KEY = re.compile(r"[a-z0-9][a-z0-9_-]{0,127}")
ROWS_IN_BATCH = 1 << 18
"""Rows of a Parquet row group, and so the most that are read at a time."""
ROWS_IN_PART = 1 << 20
PARTS = "equipoise-parts-1"
Parts = list[tuple[Digest, int | None]]
"""The Parquet objects of a table in order, each with its rows; None for a table of one object, which is opened to tell."""
_INDEX = canonical_json({"format": PARTS})[:-1]
"""How the index of a table begins."""


class Store:
    """A content-addressed store under one folder, which is made when first written to."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, data: bytes) -> Digest:
        """Keep the bytes and return their digest. Bytes already kept are not written again, unless what is kept is damaged; they count
        as young again, so that nothing removes them before they are put on record.
        """
        digest = digest_bytes(data)
        path = self.path(digest)
        with durable.written(path):
            if not (durable.refreshed(path) and _holds(path, data)):
                temporary = durable.temporary(path, data)
                temporary.replace(path)
                durable.sync(path.parent)
        return digest

    def get(self, digest: Digest) -> bytes:
        """The bytes of a digest, verified.

        Raises: IntegrityError when the object is missing, its bytes are others, or the disk does not give them; UnavailableError when it
        cannot be opened.
        """
        path, opened = self.path(digest), False
        try:
            with path.open("rb") as file:
                opened = True
                data = file.read()
        except FileNotFoundError:
            raise IntegrityError("is on record but not in the store.", where=str(path), fix=RESTORE) from None
        except OSError as error:
            if opened and error.errno == errno.EIO:  # the disk is there, and a place of it is not; a folder that went away opens no file
                raise IntegrityError(f"is damaged: the disk does not give its bytes ({error.strerror}).", where=str(path), fix=RESTORE) from error
            raise UnavailableError(f"cannot be read: {error.strerror}.", where=str(path), fix=_READING) from error
        found = digest_bytes(data)
        if found != digest:
            raise IntegrityError(f"is corrupt: its digest should be {digest}, but is {found} ({len(data):,} bytes).", where=str(path), fix=RESTORE)
        return data

    def put_json(self, value: Any) -> Digest:
        """Keep a value as canonical JSON, NaN and infinity as null; equal values give equal bytes."""
        return self.put(canonical_json(finite(value)))

    def get_json(self, digest: Digest) -> Any:
        """The JSON value of a digest, verified."""
        try:
            return json.loads(self.get(digest))
        except ValueError as error:
            raise DataError(f"is not JSON: {error}.", where=str(self.path(digest))) from error

    def put_frame(self, frame: pd.DataFrame) -> Digest:
        """Keep a frame as Parquet with page checksums. Equal frames give equal bytes (of one pyarrow release). The index is not kept, nor
        are the categories of a table without rows.

        Raises: DataError for columns that are not text or not unique, and for a column whose values Parquet cannot hold together.
        """
        names = list(frame.columns)
        odd = [name for name in names if not isinstance(name, str)]
        if odd or len(set(names)) < len(names):
            raise DataError(f"A table is stored under unique names of text; {(odd or sorted({n for n in names if names.count(n) > 1}))[0]!r} is not one.")
        try:
            table = pa.Table.from_pandas(frame, preserve_index=False)
        except (pa.ArrowException, TypeError, OverflowError, ValueError) as error:
            raise DataError(f"A column cannot be stored: {error.args[-1]}.", fix="Give its values one type.") from error
        # pandas' note on dtypes is kept for the way back, without the versions and attributes that would make equal frames differ
        note = json.loads((table.schema.metadata or {}).get(b"pandas", b"{}"))
        kept = {key: value for key, value in note.items() if key in ("index_columns", "column_indexes", "columns")}
        table = table.replace_schema_metadata({b"pandas": canonical_json(kept)})
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd", write_page_checksum=True, row_group_size=ROWS_IN_BATCH)
        return self.put(buffer.getvalue())

    def put_parts(self, frames: Iterable[pd.DataFrame], rows: int = ROWS_IN_PART) -> tuple[Digest, int]:
        """Keep a table that comes in frames, in objects of `rows` rows each (the last may have fewer), and return its digest and its
        rows. However the rows are cut into frames, the same objects are made. At most a frame and `rows` rows are held.

        Raises: DataError when no frame comes, when frames differ in their columns, and as `put_frame`.
        """
        parts = [(self.put_frame(frame), len(frame)) for frame in _cut(frames, rows)]
        if not parts:
            raise DataError("A table without a single frame has no columns to keep.", fix="Give a frame without rows.")
        return self.join_parts(parts), sum(count for _, count in parts)

    def join_parts(self, parts: Sequence[tuple[Digest, int]]) -> Digest:
        """The digest of the table that these objects are, in order: an index of them, or the object itself where it is alone."""
        return parts[0][0] if len(parts) == 1 else self.put_json({"format": PARTS, "parts": [list(part) for part in parts]})

    def parts(self, digest: Digest) -> Parts:
        """The Parquet objects that a table is in. They are verified when they are read, the index now.

        Raises: IntegrityError when the object is missing, or an index is corrupt or of another format.
        """
        if not self._beginning(digest).startswith(b"{"):
            return [(digest, None)]
        index = self.get_json(digest)
        try:
            known, parts = index["format"] == PARTS, [(str(part), int(rows)) for part, rows in index["parts"]]
        except (KeyError, TypeError, ValueError):
            known, parts = False, []
        if not known:
            raise IntegrityError("is not a table, nor an index of parts.", where=str(self.path(digest)), fix="Look at what names this digest.")
        return list(parts)

    def get_frame(self, digest: Digest, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """The frame of a digest, every object of it verified; only those of `columns` that it has, where given. A column of several parts has
        a type that holds the values of each.
        """
        frames: list[pd.DataFrame] = [self._read(part).read(columns=columns).to_pandas() for part, _ in self.parts(digest)]
        return frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)

    def batches(self, part: Digest, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        """A Parquet object's rows in frames of at most ROWS_IN_BATCH, of these columns where given; one without rows if there are none.

        The object is verified before the first is read, and held compressed meanwhile. Raises: as `get_frame`.
        """
        file = self._read(part)
        groups = range(file.num_row_groups)
        for group in groups:
            yield file.read_row_group(group, columns=columns, use_threads=False).to_pandas(split_blocks=True, use_threads=False)
        if not groups:
            yield file.read(columns=columns).to_pandas()

    def _read(self, digest: Digest) -> pq.ParquetFile:
        data = self.get(digest)  # verified, so that pages need no checksum of their own
        try:
            return pq.ParquetFile(pa.BufferReader(data))
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"is not a table: {str(error).splitlines()[0]}.", where=str(self.path(digest))) from error

    def _beginning(self, digest: Digest) -> bytes:
        """Tells JSON from Parquet, and an index; empty where there is nothing to read, which `get` will say."""
        try:
            with self.path(digest).open("rb") as file:
                return file.read(len(_INDEX))
        except OSError:
            return b""

    def record(self, manifest: Manifest) -> Manifest:
        """Put the manifest on record, once. Where the same stream, kind and key has the same digest on record, that manifest stands.

        Raises: ConflictError when another digest is on record; IntegrityError when the object, or a part of the table that it is, is not
        in the store.
        """
        path = self._manifest_path(manifest.stream, manifest.kind, manifest.key)
        if (missing := self._missing(manifest.digest)) is not None:
            raise IntegrityError("is to be recorded but is not in the store.", where=str(missing), fix="Run again: what is missing is made anew.")
        data = manifest.to_bytes()
        existing = self.find(manifest.stream, manifest.kind, manifest.key)
        if existing is None:
            with durable.written(path):
                temporary = durable.temporary(path, data)
                try:
                    path.hardlink_to(temporary)
                except FileExistsError:  # another process was first
                    existing = self.find(manifest.stream, manifest.kind, manifest.key)
                finally:
                    temporary.unlink()
                durable.sync(path.parent)
        if existing is None:
            return manifest
        if existing.digest != manifest.digest:
            raise ConflictError(
                f"{manifest.kind} of {manifest.stream} for {manifest.key} are on record with {existing.digest} ({existing.rows:,} rows, from "
                f"{existing.source}, {existing.created}); the new ones are {manifest.digest} ({manifest.rows:,} rows, from {manifest.source}).",
                where=str(path),
                fix="What is on record never changes: find out why the source says something else; --revise takes corrected data as a further revision.",
            )
        return existing

    def _missing(self, digest: Digest) -> Path | None:
        """The first object of a digest that is not there: its own, or a part of the table that it is the index of. The others count as
        young again.
        """
        if not durable.refreshed(self.path(digest)):
            return self.path(digest)
        parts = self.parts(digest) if self._beginning(digest) == _INDEX else []
        return next((path for path in (self.path(part) for part, _ in parts) if not durable.refreshed(path)), None)

    def find(self, stream: str, kind: str, key: str) -> Manifest | None:
        """The manifest on record, verified, or None."""
        path = self._manifest_path(stream, kind, key)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UnavailableError(f"cannot be read: {error.strerror}.", where=str(path), fix=_READING) from error
        manifest = verified(data, path)
        if (manifest.stream, manifest.kind, manifest.key) != (stream, kind, key):
            raise IntegrityError(f"holds the manifest of {manifest.stream}/{manifest.kind}/{manifest.key}.", where=str(path), fix=RESTORE_MANIFEST)
        return manifest

    def list(self, stream: str, kind: str) -> list[Manifest]:
        """All manifests of a stream and kind, by key; numbers in keys count as numbers, so v2 comes before v10."""
        folder = self._manifest_path(stream, kind, "any").parent
        try:
            names = [path.stem for path in folder.iterdir() if path.suffix == ".json" and _KEY.fullmatch(path.stem)]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UnavailableError(f"cannot be read: {error.strerror}.", where=str(folder), fix=_READING) from error
        names.sort(key=lambda name: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)])
        return [manifest for name in names if (manifest := self.find(stream, kind, name)) is not None]

    def path(self, digest: Digest) -> Path:
        """Where the object of a digest is, whether or not it is there."""
        if not _DIGEST.fullmatch(digest):
            raise CaseError(f"{digest!r} is not a digest: `sha256:` and 64 hexadecimal digits.")
        name = digest.removeprefix("sha256:")
        return self.root / "objects" / name[:2] / name

    def _manifest_path(self, stream: str, kind: str, key: str) -> Path:
        for what, value, pattern in (("stream", stream, NAME), ("kind", kind, NAME), ("key", key, _KEY)):
            if not pattern.fullmatch(value):
                raise CaseError(f"{value!r} is not the {what} of a snapshot: lower-case letters, digits, '-' and '_'.")
        return self.root / "manifests" / stream / kind / f"{key}.json"


def _holds(path: Path, data: bytes) -> bool:
    """Whether a file is these bytes; one that cannot be read is not."""
    try:
        return path.read_bytes() == data
    except OSError:
        return False


def _cut(frames: Iterable[pd.DataFrame], rows: int) -> Iterator[pd.DataFrame]:
    """The same rows in frames of `rows` rows, the last with what remains; one without rows where none has any."""
    held: list[pd.DataFrame] = []
    count, made = 0, False
    for frame in frames:
        if held and list(frame.columns) != list(held[0].columns):
            raise DataError(f"A part has the columns {', '.join(map(str, frame.columns))}, another {', '.join(map(str, held[0].columns))}.")
        held.append(frame)
        count += len(frame)
        while count > rows:  # a full part waits for more rows, so that the last is never an empty one
            whole = _joined(held)
            made, held, count = True, [whole.iloc[rows:]], count - rows
            yield whole.iloc[:rows]
    if held and (count or not made):
        yield _joined(held)


def _joined(frames: list[pd.DataFrame]) -> pd.DataFrame:
    some = [frame for frame in frames if len(frame)] or frames[:1]
    return some[0] if len(some) == 1 else pd.concat(some, ignore_index=True)


_READING = "Check the store's folder and your right to read it."
RESTORE = "Restore it from a backup, or take the snapshot again from its source: the same bytes mend it."

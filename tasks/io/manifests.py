"""Manifests: what the store says of an object, in a file that is exactly the bytes that it would be written as."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from tasks.core.digests import canonical_json, digest_of
from tasks.core.errors import IntegrityError

Digest = str
"""`sha256:` and 64 hexadecimal digits."""

RESTORE_MANIFEST = "Restore it from a backup, or remove this file and take the snapshot again from its source."
_SEAL = "manifest_digest"


@dataclass(frozen=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
class Manifest:
    """What one object is: the `kind` (features, labels, predictions, ...) of a `stream` for a `key`.

    `key` is a period, or a model version and a period: "2024-05", "v3-2024-05". `schema` maps columns to pandas dtypes, in order.
    `created` is ISO 8601. `parent` is the digest this came from. `extra` holds JSON values.
    """

    stream: str
    kind: str
    key: str
    digest: Digest
    rows: int
    schema: dict[str, str]
    source: str
    created: str
    seed: int | None = None
    parent: Digest | None = None
    extra: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def seal(self) -> Digest:
        """SHA-256 of the manifest itself: of its fields as canonical JSON."""
        return digest_of(self._fields())

    def to_bytes(self) -> bytes:
        """The manifest's file."""
        return canonical_json({**self._fields(), _SEAL: self.seal})

    def _fields(self) -> dict[str, Any]:
        # canonical JSON sorts mappings by key; the order of columns is data, so they are kept as pairs
        return {**dataclasses.asdict(self), "schema": [list(column) for column in self.schema.items()]}


_manifests = TypeAdapter(Manifest)


def verified(data: bytes, path: Path) -> Manifest:
    """The manifest in a file's bytes, which must be exactly the bytes that the manifest would be written as."""
    try:
        fields = json.loads(data)
        fields.pop(_SEAL)
        manifest = _manifests.validate_python({**fields, "schema": dict(fields["schema"])})
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, ValidationError) as error:
        raise IntegrityError(f"is not a manifest ({type(error).__name__}).", where=str(path), fix=RESTORE_MANIFEST) from error
    if manifest.to_bytes() != data:
        raise IntegrityError(f"is corrupt: its digest should be {manifest.seal} for what it says.", where=str(path), fix=RESTORE_MANIFEST)
    return manifest

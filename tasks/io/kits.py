"""Kits: what scoring with a version needs beside its model, made once from the version's evidence and kept in the store."""

from typing import Any

import numpy as np

from tasks.core.digests import digest_of
from tasks.core.operations import Scoring
from tasks.core.scoring import Kit, Model, make_kit
from tasks.io.archive import Archive
from tasks.io.manifests import Digest, Manifest
from tasks.io.store import Store

KIND = "kit"


def find_kit(store: Store, case: str, version: int, settings: Scoring) -> Digest | None:
    """The digest of a version's kit for these settings, once it was made."""
    found = store.find(case, KIND, _key(version, settings))
    return found.digest if found else None


def put_kit(store: Store, case: str, version: int, settings: Scoring, *, evidence: Digest, created: str, model: Model | None = None) -> Digest:
    """Make the kit from the rows of the evidence and put it on record. model: the version's, where it is open already.

    Raises: as `make_kit`; IntegrityError when something of the evidence is missing or has changed.
    """
    archive = Archive(store)
    pinned = archive.evidence(evidence)
    frame, target = archive.rows(pinned)
    part = frame["row_id"].map(archive.parts(pinned)).to_numpy(dtype=object)
    kit = make_kit(model or archive.model(pinned), frame, target.to_numpy(), part, settings)
    manifest = Manifest(
        stream=case,
        kind=KIND,
        key=_key(version, settings),
        digest=store.put_json(kit.to_json()),
        rows=int(np.sum(part == "train")),
        schema={},
        source=f"evidence of version {version}",
        created=created,
        parent=evidence,
    )
    return store.record(manifest).digest


def get_kit(store: Store, digest: Digest) -> Kit:
    """The kit of a digest, verified."""
    return Kit.of_json(store.get_json(digest))


def version_key(version: int, decides: Any) -> str:
    """Under which key the store keeps what is made once of a version and of what decides it beside the version, which is JSON-ready."""
    return f"v{version}-{digest_of(decides).removeprefix('sha256:')[:16]}"


def _key(version: int, settings: Scoring) -> str:
    return version_key(version, settings.model_dump(mode="json", include={"interval", "calibrate", "abstain_below"}))

"""Bundles: one version with all that its proof needs, as a folder or a zip that verifies where there is no home and no server.

    README.md                what it is, and how to verify it
    bundle.json              the case, the version, its evidence, the ledger's head, and the size and digest of every other file
    ledger.json              the chain: entries of the case whole, of others their place in the chain only
    configs/reviewers.yaml   whose keys the reviews were signed with
    store/objects/ab/<sha>   the evidence, and every object it names

Nothing in a bundle is believed: names are those above and no others, and no file is read that is larger than bundle.json says.
"""

import contextlib
import hashlib
import json
import re
import secrets
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field, ValidationError, field_validator

from tasks.core.chain import Link, head, shared
from tasks.core.digests import digest_bytes, finite, json_bytes
from tasks.core.errors import CaseError, ConflictError, DataError, IntegrityError, UnavailableError
from tasks.core.evidence import digests
from tasks.core.people import People
from tasks.core.proof import Proven
from tasks.core.strict import Name, Strict
from tasks.io.archive import Archive
from tasks.io.documents import PEOPLE, load_people
from tasks.io.store import Store
from tasks.io.unpacking import unpack

FORMAT = 1
DESCRIPTION, LEDGER, REVIEWERS, README = "bundle.json", "ledger.json", f"configs/{PEOPLE}", "README.md"
FILES = re.compile(r"README\.md|ledger\.json|configs/reviewers\.yaml|store/objects/([0-9a-f]{2})/\1[0-9a-f]{62}")
DIGEST = r"^sha256:[0-9a-f]{64}$"
MOST_DESCRIPTION = 8 << 20  # bytes of bundle.json
MOST_LEDGER = 256 << 20  # bytes of ledger.json, which is read whole

_AGAIN = "Have it made again with: equipoise bundle CASE VERSION"


class File(Strict):
    """A file of a bundle."""

    bytes: int = Field(ge=0)
    digest: str = Field(pattern=DIGEST)


class Description(Strict):
    """bundle.json. `head` is the ledger's, as `equipoise ledger head` prints it; `made` is ISO 8601."""

    format: Literal[1]
    case: Name
    version: int = Field(ge=1)
    evidence: str = Field(pattern=DIGEST)
    head: str
    made: str
    files: dict[str, File]

    @field_validator("files")
    @classmethod
    def _known(cls, value: dict[str, File]) -> dict[str, File]:
        odd = next((name for name in value if not FILES.fullmatch(name)), None)
        if odd is not None:
            raise ValueError(f"{odd!r} is not a file of a bundle")
        return value

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of each file beside bundle.json."""
        return {name: file.bytes for name, file in self.files.items()}


@dataclass(frozen=True)
class Bundle:
    """An opened bundle: what it says it is, its store, its chain as it came, its people, and what was found of its files."""

    described: Description
    archive: Archive
    links: Sequence[Link]
    people: People
    found: tuple[Proven, ...]


def write_bundle(archive: Archive, links: Sequence[Link], people: People, *, case: str, version: int, evidence: str, out: Path, made: str) -> int:
    """Write the bundle of a version: a zip where `out` ends in .zip, otherwise a folder. It appears whole or not at all.

    links: the whole ledger, checked. evidence: the digest that the version was registered with. Returns: how many files.

    Raises: ConflictError when there is something at `out`; IntegrityError when an object is gone or damaged; UnavailableError when the
    place cannot be written.
    """
    if out.exists() or out.is_symlink():
        raise ConflictError("is there already; a bundle is never written over.", where=str(out), fix="Give another --out.")
    folder = out.with_name(f".{out.name}.{secrets.token_hex(8)}")
    packed = folder.with_name(f"{folder.name}.zip")
    try:
        folder.mkdir(parents=True, mode=0o700)  # it holds the rows of snapshots
        files = {}
        for name, data in _contents(archive, links, people, case, version, evidence):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
            files[name] = File(bytes=len(data), digest=digest_bytes(data))
        described = Description(format=FORMAT, case=case, version=version, evidence=evidence, head=head(links), made=made, files=files)
        (folder / DESCRIPTION).write_bytes(json_bytes(described.model_dump(mode="json")))
        if out.suffix == ".zip":
            with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
                packed.chmod(0o600)
                for name in (DESCRIPTION, *files):
                    file.write(folder / name, name)
        (packed if out.suffix == ".zip" else folder).rename(out)
    except OSError as error:
        raise UnavailableError(f"cannot be written: {error.strerror}.", where=str(out), fix="Give another --out.") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        packed.unlink(missing_ok=True)
    return len(files) + 1


def _contents(archive: Archive, links: Sequence[Link], people: People, case: str, version: int, evidence: str) -> Iterator[tuple[str, bytes]]:
    """Every file by its name, but for the description."""
    yield README, README_TEXT.format(case=case, version=version).encode()
    yield LEDGER, json_bytes(shared(links, case))
    yield REVIEWERS, yaml.safe_dump(finite(people.model_dump(mode="json")), sort_keys=False, allow_unicode=True).encode()
    for digest in sorted({evidence, *(one for _, one in digests(archive.evidence(evidence)))}):
        yield f"store/{archive.store.path(digest).relative_to(archive.store.root).as_posix()}", archive.store.get(digest)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Bundle]:
    """A bundle, its names, sizes and digests checked; a zip is unpacked to a folder that is removed afterwards.

    Raises: IntegrityError for what is no whole bundle or not safe to open; DataError for a path where there is none.
    """
    if path.is_dir():
        yield _read(path)
    elif path.is_file():
        with tempfile.TemporaryDirectory(prefix="equipoise-bundle-") as folder:
            unpack(path, Path(folder), DESCRIPTION, MOST_DESCRIPTION, lambda data: _described(data).sizes)
            yield _read(Path(folder))
    else:
        raise DataError("is not there.", where=str(path), fix="Give the folder or the zip that `equipoise bundle` wrote.")


def _described(data: bytes) -> Description:
    try:
        return Description.model_validate(json.loads(data))
    except ValidationError as error:
        first = error.errors()[0]
        raise IntegrityError(f"bundle.json is not one: {'.'.join(map(str, first['loc']))}: {first['msg']}.", fix=_AGAIN) from error
    except (ValueError, RecursionError) as error:
        raise IntegrityError("bundle.json is not JSON.", fix=_AGAIN) from error


def _read(folder: Path) -> Bundle:
    """What is in a folder, which may be a stranger's."""
    described = _described(_bytes(folder, DESCRIPTION, MOST_DESCRIPTION))
    found = tuple(_files(folder, described))
    try:
        links = json.loads(_bytes(folder, LEDGER, MOST_LEDGER))
    except (ValueError, RecursionError) as error:
        raise IntegrityError("ledger.json is not JSON.", fix=_AGAIN) from error
    _bytes(folder, REVIEWERS, MOST_DESCRIPTION)  # without it nobody's signature could be checked
    try:
        people = load_people(folder)
    except CaseError as error:
        raise IntegrityError(f"the bundle's {REVIEWERS} cannot be read: {error.message}", fix=_AGAIN) from error
    return Bundle(described, Archive(Store(folder / "store")), links if isinstance(links, list) else [links], people, found)


def _bytes(folder: Path, name: str, most: int) -> bytes:
    path = folder / name
    try:
        if path.is_symlink() or path.parent.is_symlink():
            raise IntegrityError(f"{name} is a link; a bundle has none.", fix=_AGAIN)
        if path.stat().st_size > most:
            raise IntegrityError(f"{name} is larger than {most:,} bytes.", fix=_AGAIN)
        return path.read_bytes()
    except OSError as error:
        raise IntegrityError(f"this is not a whole bundle: {name} cannot be read ({error.strerror}).", fix=_AGAIN) from error


def _files(folder: Path, described: Description) -> Iterator[Proven]:
    """Each file as bundle.json has it. Raises: IntegrityError for a link, and for a file that it does not name."""
    there = set()
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            raise IntegrityError(f"{name} is a link; a bundle has none.", fix=_AGAIN)
        if not path.is_dir() and name != DESCRIPTION:
            there.add(name)
    if strangers := sorted(there - described.files.keys()):
        raise IntegrityError(
            f"{len(strangers)} files are not in bundle.json, the first is {strangers[0]!r}.", fix="Remove them, or have the bundle made again."
        )
    for name, file in described.files.items():
        if name not in there:
            yield Proven("bundle", name, "different", "is missing")
            continue
        size = (folder / name).stat().st_size
        if size != file.bytes:
            yield Proven("bundle", name, "different", f"is {size:,} bytes long, and was {file.bytes:,}")
            continue
        with (folder / name).open("rb") as opened_file:
            same = f"sha256:{hashlib.file_digest(opened_file, 'sha256').hexdigest()}" == file.digest
        yield Proven("bundle", name, "same" if same else "different", "" if same else "its digest is another than in bundle.json")


README_TEXT = """# Proof of {case}, version {version}

This folder holds one version of a model with all that is needed to check it and to compute its figures again: the case, the
snapshots that it was trained and tested on, the model, its reports, card and reviews, and the chain of the ledger.

**It holds the rows of the snapshots. Treat it as you treat that data, and give it only to those who may see them.**

To verify it, with Equipoise installed and nothing running:

    equipoise verify --bundle PATH [--pin FILE]

Where PATH is this folder, or the zip that it came in. It says for each digest, signature and figure: same, different, or cannot be
checked and why. FILE is the ledger's head, got from the team by another way: only with it is it shown that the history was not
written anew. The keys of reviewers are those that the team gave (`configs/reviewers.yaml`): compare them too.

`bundle.json` names every file with its digest. `ledger.json` has every entry of this case; of other cases only each entry's number and
digests, so that the chain holds.
"""

"""Verify a version, from the record or from a bundle, and write a bundle. Nothing is recorded and no server is asked, so these are plain
functions and no tasks of Prefect.
"""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.core.chain import Link, check_chain, events, head, hold_against
from tasks.core.errors import DataError, EquipoiseError, IntegrityError
from tasks.core.people import People
from tasks.core.proof import Outcome, Proven, verdict
from tasks.core.review import Event, production_version, registration, reviews_of
from tasks.io.bundles import Bundle, opened, write_bundle
from tasks.io.documents import load_people
from tasks.io.prover import prove
from tasks.io.workbench import Workbench


@dataclass(frozen=True)
class Verified:
    """What a verification found. `version` is None where the ledger is broken and none was asked for."""

    case: str
    version: int | None
    head: str
    proven: tuple[Proven, ...]

    @property
    def verdict(self) -> Outcome:
        """different when anything is."""
        return verdict(self.proven)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        told = {"case": self.case, "version": self.version, "head": self.head, "verdict": self.verdict}
        return {**told, "proven": [one.to_dict() for one in self.proven]}


def verify_version(bench: Workbench, version: int | None = None, pin: str | None = None) -> Verified:
    """Prove a version of the case, the one in production unless given, from the store and the ledger alone.

    pin: a head of the ledger that was kept elsewhere. Raises: DataError when there is no such version, or nothing in production.
    """
    case = bench.case.case
    try:
        links = bench.ledger.links()
    except IntegrityError as error:
        return Verified(case, version, "", (Proven("ledger", "chain", "different", str(error)),))
    found = events([link for link in links if link["case_name"] == case])
    version = version if version is not None else production_version(found)
    if version is None:
        raise DataError(f"Nothing of `{case}` is in production.", fix=f"Name a version: equipoise verify {case} VERSION")
    ledger = _ledger(links, len(found), pin)
    people = load_people(bench.home.project)
    return Verified(case, version, head(links), (*ledger, *prove(bench.archive, found, people, version, project=bench.home.project)))


def verify_bundle(path: Path, project: Path, pin: str | None = None) -> Verified:
    """Prove the version that a bundle holds, from nothing but the bundle.

    project: the checkout, whose configs/reviewers.yaml (if it has one) and dependencies the bundle's are held against.

    Raises: IntegrityError for what is no whole bundle or not safe to open.
    """
    with opened(path) as bundle:
        described = bundle.described
        try:
            own = check_chain(bundle.links)
        except IntegrityError as error:
            return Verified(described.case, described.version, "", (*bundle.found, Proven("ledger", "chain", "different", str(error))))
        found = [event for event in events(bundle.links) if event.case == described.case]
        proven = (
            *bundle.found,
            *_described(bundle, found),
            *_ledger(bundle.links, own, pin),
            *prove(bundle.archive, found, bundle.people, described.version, project=project),
            *_keys(bundle, found, load_people(project)),
        )
        return Verified(described.case, described.version, head(bundle.links), proven)


def bundle_version(bench: Workbench, version: int, out: Path) -> int:
    """Write the bundle of a version. Returns: how many files. Raises: as tasks.io.bundles.write_bundle; DataError for an unknown version."""
    case, links = bench.case.case, bench.ledger.links()
    registered = registration(events([link for link in links if link["case_name"] == case]), version)
    if registered is None:
        raise DataError(f"`{case}` has no registered version {version}.", fix="Look at: equipoise status")
    made = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    people = load_people(bench.home.project)
    return write_bundle(bench.archive, links, people, case=case, version=version, evidence=str(registered.body["evidence"]), out=out, made=made)


def _ledger(links: Sequence[Link], own: int, pin: str | None) -> Iterator[Proven]:
    """The chain was checked; whether it is the one that was pinned. `own`: how many entries are whole."""
    yield Proven("ledger", "chain", "same", f"{len(links)} entries, each with the digest of the one before; {own} are of this case")
    if pin is None:
        yield Proven("ledger", "pinned head", "cannot be checked", "none was given (--pin): whoever holds the ledger could have written it anew")
        return
    try:
        yield Proven("ledger", "pinned head", "same", f"entry {hold_against(links, pin)} is still there")
    except EquipoiseError as error:
        yield Proven("ledger", "pinned head", "different", str(error))


def _described(bundle: Bundle, found: Sequence[Event]) -> Iterator[Proven]:
    """What the bundle says of itself is what its ledger says, and how much of the ledger it shows."""
    described = bundle.described
    registered = registration(found, described.version)
    evidence = None if registered is None else registered.body.get("evidence")
    for what, said, known in (("evidence", described.evidence, evidence), ("ledger's head", described.head, head(bundle.links))):
        same = said == known
        yield Proven("bundle", what, "same" if same else "different", "" if same else f"{said} in bundle.json, {known} in the ledger")
    if hidden := len(bundle.links) - len(found):
        why = "only their digests are in the bundle: it cannot show that none of them is of this case"
        yield Proven("bundle", f"{hidden} entries of other cases", "cannot be checked", why)


def _keys(bundle: Bundle, found: Sequence[Event], known: People) -> Iterator[Proven]:
    """The keys that signed are those that this machine knows, where it knows any."""
    for name in dict.fromkeys(review.reviewer for review in reviews_of(found, bundle.described.version) if not review.simulated):
        theirs, ours = bundle.people.named(name), known.named(name)
        key, what = theirs.key if theirs else None, f"key of {name}"
        if ours is None:
            yield Proven("reviews", what, "cannot be checked", f"the bundle brought it: compare {key} with what you know to be {name}'s")
        else:
            yield Proven("reviews", what, "same" if ours.key == key else "different", f"{key}; configs/reviewers.yaml here has {ours.key}")

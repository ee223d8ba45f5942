"""Step: hold the gate, write a review, let a version into production, take it back, retire it. The ledger decides; MLflow shows."""

import datetime as dt
from dataclasses import dataclass
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tasks.core.errors import AccessError, ConflictError, DataError
from tasks.core.review import Grounds, Review, last_change, production_version, registration, served_in_turn, unsigned, weakness
from tasks.core.signing import sign
from tasks.io.documents import load_people
from tasks.io.gatehouse import Gated, hold_gate, show_production, unknown_version
from tasks.io.models import load
from tasks.io.provenance import author
from tasks.io.workbench import Workbench
from tasks.step import say, step


@dataclass(frozen=True)
class Promotion:
    """What came of asking for a promotion. A refusal is a result, with everything that is missing."""

    version: int
    promoted: bool
    missing: tuple[str, ...]
    previous: int | None


@step("hold the gate", task_run_name="gate {version}")
def gate_version(bench: Workbench, version: int) -> Gated:
    """The gate's decision on a version, now; entered into the ledger unless it is the same as the last one."""
    events = bench.ledger.events(bench.case.case)
    gated = hold_gate(bench, events, version)
    last = next((event.body for event in reversed(events) if event.kind == "gated" and event.version == version), None)
    if last != gated.body:
        bench.ledger.append(bench.case.case, "gated", version, gated.body)
    bench.registry.set_tags(bench.case.case, version, {"equipoise.gate": gated.decision.outcome})
    say(f"gate of {bench.case.case} version {version}: {gated.decision.outcome}, {len(gated.decision.checks)} checks")
    return gated


def statement(
    bench: Workbench, version: int, *, verdict: Literal["approve", "reject"], reviewer: str, notes: str, conditions: str = "", expires: dt.date | None = None
) -> Review:
    """A review of the version as it is now, not signed yet.

    Raises: DataError for a version that is not registered, and for a reviewer without a name.
    """
    events = bench.ledger.events(bench.case.case)
    registered = registration(events, version)
    if registered is None:
        raise unknown_version(bench, events, version)
    if not reviewer.strip():
        raise DataError("A review needs the reviewer's name.", fix="Give --reviewer NAME.")
    gated = hold_gate(bench, events, version)
    return Review(
        case=bench.case.case,
        version=version,
        verdict=verdict,
        reviewer=reviewer.strip(),
        notes=notes,
        conditions=conditions,
        expires="" if expires is None else expires.isoformat(),
        evidence=gated.evidence,
        card=gated.card,
        at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
    )


def signed(review: Review, key: Ed25519PrivateKey) -> Review:
    """The review with its reviewer's signature."""
    return Review(**{**vars(review), "signature": sign(key, review.statement)})


@step("write a review")
def write_review(bench: Workbench, review: Review) -> None:
    """Enter a signed review (or a simulated one) into the ledger, and show it on the version in MLflow.

    Raises: AccessError when it could never count: an unknown or revoked key, a signature of something else, the author's own approval.
    """
    people = load_people(bench.home.project)
    registered = registration(bench.ledger.events(bench.case.case), review.version)
    assert registered is not None  # statement() saw to it
    if not review.simulated:
        today = dt.datetime.now(dt.UTC).date()
        grounds = Grounds(review.evidence, review.card, registered.body["author"], people, bench.case.review, today)
        fault = unsigned(review, people.named(review.reviewer)) or (weakness(review, grounds) if review.verdict == "approve" else None)
        if fault is not None:
            raise AccessError(f"The review is not taken: {fault}.", fix="Run: equipoise keys new NAME, and have the key added to configs/reviewers.yaml.")
        people.authorise("review", review.reviewer)
    body = {name: value for name, value in vars(review).items() if name not in ("case", "version", "at")}
    bench.ledger.append(bench.case.case, "reviewed", review.version, body)
    bench.registry.set_tags(bench.case.case, review.version, {"equipoise.review": review.words})
    say(f"{bench.case.case} version {review.version} {review.words}")


def simulated_review(bench: Workbench, version: int, *, reviewer: str, notes: str) -> None:
    """An approval that nobody gave, plainly marked, for demonstrations; it counts only where the case's `review.simulated` says so."""
    made = statement(bench, version, verdict="approve", reviewer=reviewer, notes=notes)
    write_review(bench, Review(**{**vars(made), "simulated": True}))


@step("promote")
def promote_version(bench: Workbench, version: int) -> Promotion:
    """Let a version into production, or refuse with the full list of what is missing. Both are recorded.

    The gate is held anew. The ledger takes the promotion only if nothing was added since it was read, so of two promoters one
    wins. MLflow's alias follows; should that fail, the next look at production mends it.
    """
    case, ledger = bench.case.case, bench.ledger
    by = load_people(bench.home.project).authorise("promote", author())
    head = ledger.head()
    events = ledger.events(case)
    if registration(events, version) is None:
        raise unknown_version(bench, events, version)
    previous = production_version(events)
    if previous == version:
        change = last_change(events)
        assert change is not None  # it is in production by an entry
        show_production(bench, change)
        say(f"{case} version {version} is already in production")
        return Promotion(version, True, (), previous)
    gated = hold_gate(bench, events, version)
    if gated.missing:
        ledger.append(case, "refused", version, {"missing": list(gated.missing), "by": by}, expected=head)
        say(f"{case} version {version} is not promoted:" + "".join(f"\n  - {reason}" for reason in gated.missing))
        return Promotion(version, False, gated.missing, previous)
    load(bench.registry.fetch_model(case, version, bench.archive.evidence(gated.evidence)["model"]))  # what cannot be served is not promoted
    show_production(bench, ledger.append(case, "promoted", version, {"previous": previous, "by": by, **gated.body}, expected=head))
    say(f"{case} version {version} is in production" + (f", after version {previous}" if previous else ""))
    return Promotion(version, True, (), previous)


@step("roll back")
def roll_back(bench: Workbench, why: str = "", *, leaving: int | None = None) -> tuple[int, int]:
    """Return to the version that was in production before, recorded. Returns: from, to.

    leaving: the version that a rule of the case takes out of production, by nobody's hand: the record then says `by rule`.
    Raises: DataError when there is none to return to; IntegrityError when its model is not what was registered; ConflictError when
    production has changed, or is not the version to leave.
    """
    case, ledger = bench.case.case, bench.ledger
    by = load_people(bench.home.project).authorise("rollback", author()) if leaving is None else "rule"
    events = ledger.events(case)
    turns = served_in_turn(events)
    if len(turns) < 2:
        state = f"Version {turns[0]} is the only one that was ever in production" if turns else "Nothing is in production"
        raise DataError(f"{state} of `{case}`: there is none to return to.", fix=f"Run: equipoise status {case}")
    registered = registration(events, turns[-2])
    assert registered is not None  # only a registered version is promoted
    load(bench.registry.fetch_model(case, turns[-2], registered.body["model"]))
    body = {"from": turns[-1], "why": why, "by": by, "evidence": registered.body["evidence"]}
    entered = None
    if leaving is None or leaving == turns[-1]:
        entered = ledger.append_unless(case, "rolled back", turns[-2], body, lambda now: served_in_turn(now) != turns)
    if entered is None:
        raise ConflictError(f"What is in production of `{case}` has changed.", fix=f"Look at: equipoise status {case}")
    show_production(bench, entered)
    say(f"{case} is back to version {turns[-2]}, from version {turns[-1]}")
    return turns[-1], turns[-2]


@step("retire")
def retire_version(bench: Workbench, version: int, why: str = "") -> None:
    """Take a version out of use for good. Raises: DataError for the one in production, and for one that is not registered."""
    case, ledger = bench.case.case, bench.ledger
    by = load_people(bench.home.project).authorise("retire", author())
    head = ledger.head()
    events = ledger.events(case)
    if registration(events, version) is None:
        raise unknown_version(bench, events, version)
    if production_version(events) == version:
        raise DataError(f"Version {version} of `{case}` is in production.", fix=f"Promote another first, or run: equipoise rollback {case}")
    ledger.append(case, "retired", version, {"why": why, "by": by}, expected=head)
    bench.registry.set_tags(case, version, {"equipoise.retired": why or "yes"})
    say(f"{case} version {version} is retired")

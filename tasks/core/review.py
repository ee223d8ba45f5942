"""What the record says of a version: its reviews, which of them count, and what is in production.

Values only; the record itself is `tasks.io.ledger`. A review is a statement (`statement_of`) with an Ed25519 signature: it
names the case, the version, the evidence and the card, so that it counts for nothing else and for no later change of them.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tasks.core.limits import ReviewRules
from tasks.core.people import People, Person
from tasks.core.signing import is_signed

CARD_PARTS = ("intended_use", "risks", "risk_acceptance", "declaration")
"""The parts of a card that a person writes."""

EventKind = Literal[
    "registered",
    "gated",
    "reviewed",
    "promoted",
    "refused",
    "served",
    "drifted",
    "rolled back",
    "retired",
    "monitored",
    "incident",
    "resolved",
    "responded",
    "stopped",
    "resumed",
    "metered",
]
SIGNED = ("verdict", "reviewer", "notes", "conditions", "expires", "evidence", "card")
"""What a review says beside the case and the version."""


@dataclass(frozen=True)
class Event:
    """One entry of the ledger. `at` is ISO 8601 in UTC; `version` is None where none is concerned."""

    sequence: int
    at: str
    case: str
    kind: EventKind
    version: int | None
    body: dict[str, Any]


@dataclass(frozen=True)
class Review:
    """A person's verdict, bound to digests of the evidence and the card they saw. `expires` is an ISO date or empty."""

    case: str
    version: int
    verdict: Literal["approve", "reject"]
    reviewer: str
    notes: str
    conditions: str
    expires: str
    evidence: str
    card: str
    at: str
    signature: str = ""
    simulated: bool = False

    @property
    def statement(self) -> dict[str, Any]:
        """What is signed."""
        return {"case": self.case, "version": self.version, **{name: getattr(self, name) for name in SIGNED}}

    @property
    def words(self) -> str:
        """approved or rejected by whom."""
        return f"{'approved' if self.verdict == 'approve' else 'rejected'} by {self.reviewer}" + (" (simulated)" if self.simulated else "")


@dataclass(frozen=True)
class Grounds:
    """What a review must agree with, and by what rules: the version as it is now."""

    evidence: str
    card: str
    author: str
    people: People
    rules: ReviewRules
    today: dt.date


def review_of(event: Event) -> Review:
    """The review in an event of kind `reviewed`."""
    body = event.body
    told = {name: str(body.get(name, "")) for name in SIGNED if name != "verdict"}
    verdict: Literal["approve", "reject"] = "approve" if body.get("verdict") == "approve" else "reject"
    return Review(
        event.case, event.version or 0, verdict, at=event.at, signature=str(body.get("signature", "")), simulated=body.get("simulated") is True, **told
    )


def reviews_of(events: Sequence[Event], version: int) -> tuple[Review, ...]:
    """The reviews of a version, oldest first."""
    return tuple(review_of(event) for event in events if event.kind == "reviewed" and event.version == version)


def unsigned(review: Review, person: Person | None) -> str | None:
    """Why a review is not its reviewer's word; None when it is."""
    if person is None or person.key is None:
        return f"{review.reviewer} has no key in configs/reviewers.yaml"
    if not is_signed(person.key, review.statement, review.signature):
        return f"the signature is not {review.reviewer}'s for what the review says"
    return None


def weakness(review: Review, grounds: Grounds) -> str | None:
    """Why an approval does not count, in plain words; None when it does."""
    if review.evidence != grounds.evidence:
        return "it was of other evidence than is registered now"
    if review.card != grounds.card:
        return "the card has changed since"
    age = (grounds.today - dt.date.fromisoformat(review.at[:10])).days
    if age > grounds.rules.valid_days:
        return f"it is {age} days old, and reviews hold {grounds.rules.valid_days} days"
    if review.expires and dt.date.fromisoformat(review.expires) < grounds.today:
        return f"it expired on {review.expires}"
    if review.simulated:
        return None if grounds.rules.simulated else "it is simulated, and nobody signed it"
    person = grounds.people.named(review.reviewer)
    if (fault := unsigned(review, person)) is not None:
        return fault
    assert person is not None  # unsigned() saw to it
    if person.revoked is not None and person.revoked <= grounds.today:
        return f"{person.name}'s key was revoked on {person.revoked}"
    if not grounds.people.may(person, "review"):
        return f"none of {person.name}'s roles may review"
    if person.works_as(grounds.author):
        return f"{person.name} is the author of the run and cannot approve it"
    return None


def missing_approvals(events: Sequence[Event], version: int, grounds: Grounds) -> list[str]:
    """What reviews are still needed, and why those given do not count; empty when a promotion has all it needs.

    Each person's newest review is theirs. A rejection stands until whoever wrote it approves.
    """
    newest = {review.reviewer: review for review in reviews_of(events, version)}
    if not newest:
        return ["no review has been written"]
    missing, counted = [], list[Review]()
    for review in newest.values():
        if review.verdict == "reject":
            missing.append(f"rejected by {review.reviewer} on {review.at[:10]}: {review.notes or 'no notes'}")
        elif (weak := weakness(review, grounds)) is not None:
            missing.append(f"the approval of {review.reviewer} does not count: {weak}")
        else:
            counted.append(review)
    if any(review.simulated for review in counted):
        return missing
    for role, needed in grounds.rules.approvals.items():
        people = [grounds.people.named(review.reviewer) for review in counted]
        given = sum(person is not None and role in person.roles for person in people)
        if given < needed:
            missing.append(f"{given} of {needed} approval(s) by the role `{role}`")
    return missing


def registration(events: Sequence[Event], version: int) -> Event | None:
    """The event that registered a version."""
    return next((event for event in events if event.kind == "registered" and event.version == version), None)


def served_in_turn(events: Sequence[Event]) -> list[int]:
    """Versions that production may return to, oldest first; the last one is in production. A rollback takes off what came after."""
    stack: list[int] = []
    for event in events:
        version = event.version
        if version is None:
            continue
        if event.kind == "promoted" or (event.kind == "rolled back" and version not in stack):
            stack = [*(one for one in stack if one != version), version]
        elif event.kind == "rolled back":
            stack = stack[: stack.index(version) + 1]
        elif event.kind == "retired":
            stack = [one for one in stack if one != version]
    return stack


def production_version(events: Sequence[Event]) -> int | None:
    """The version in production, according to the record."""
    return next(reversed(served_in_turn(events)), None)


def last_change(events: Sequence[Event]) -> Event | None:
    """The entry that made production what it is."""
    return next((event for event in reversed(events) if event.kind in ("promoted", "rolled back")), None)


def turn_of(events: Sequence[Event], event: Event) -> int:
    """How many-th entry this is of its kind, version and period, from 1: a period is served again when its snapshot was corrected."""
    same = [one.sequence for one in events if (one.kind, one.version) == (event.kind, event.version) and one.body["period"] == event.body["period"]]
    return same.index(event.sequence) + 1


def retired(events: Sequence[Event], version: int) -> bool:
    """Whether a version was retired: it is never served again."""
    return any(event.kind == "retired" and event.version == version for event in events)


def what_is_missing(events: Sequence[Event], version: int, reasons: Sequence[str], card: Mapping[str, str], grounds: Grounds) -> list[str]:
    """Everything that stands between a registered version and production, in plain sentences; empty when nothing does.

    reasons: those of the gate's decision. card: the human parts of the version's card, by name.
    """
    missing = [f"version {version} was retired and is not served again"] if retired(events, version) else []
    missing += [f"limit not kept: {reason}" for reason in reasons]
    missing += [f"the card's `{part}` is empty" for part in CARD_PARTS if not card.get(part, "").strip()]
    return missing + missing_approvals(events, version, grounds)

"""What the record says of a version: its reviews, whether an approval stands, and what is in production.

Values only; the record itself is `tasks.io.ledger`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

CARD_PARTS = ("intended_use", "risks")
"""The parts of a card that a person writes."""

EventKind = Literal["registered", "reviewed", "promoted", "refused", "served", "drifted"]


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
    """A person's verdict, bound to the digest of the evidence they saw."""

    verdict: Literal["approve", "reject"]
    reviewer: str
    notes: str
    evidence: str
    at: str
    simulated: bool = False


def reviews_of(events: Sequence[Event], version: int) -> tuple[Review, ...]:
    """The reviews of a version, oldest first."""
    return tuple(
        Review(
            verdict=event.body["verdict"],
            reviewer=event.body["reviewer"],
            notes=event.body["notes"],
            evidence=event.body["evidence"],
            at=event.at,
            simulated=bool(event.body.get("simulated", False)),
        )
        for event in events
        if event.kind == "reviewed" and event.version == version
    )


def standing_approval(events: Sequence[Event], version: int) -> Review | None:
    """The approval that stands for a version: its newest review, if that approves the evidence as registered.

    A later rejection withdraws an approval, and an approval of other evidence (the version was changed since) does not count.
    """
    registered = registration(events, version)
    given = reviews_of(events, version)
    if registered is None or not given or given[-1].verdict != "approve" or given[-1].evidence != registered.body["evidence"]:
        return None
    return given[-1]


def registration(events: Sequence[Event], version: int) -> Event | None:
    """The event that registered a version."""
    return next((event for event in events if event.kind == "registered" and event.version == version), None)


def production_version(events: Sequence[Event]) -> int | None:
    """The version promoted last, according to the record."""
    return next((event.version for event in reversed(events) if event.kind == "promoted"), None)


def what_is_missing(events: Sequence[Event], version: int, card: Mapping[str, str]) -> list[str]:
    """Everything that stands between a version and production, in plain sentences; empty when nothing does.

    card: the human parts of the version's card, by name.
    """
    registered = registration(events, version)
    if registered is None:
        return ["it was not registered by Equipoise"]
    checks = registered.body["decision"]["checks"]
    missing = [f"limit not kept: {check['reason']}" for check in checks if check["outcome"] != "passed"]
    missing += [] if checks else ["no limit was checked"]
    missing += [f"the card's `{part}` is empty" for part in CARD_PARTS if not card.get(part, "").strip()]
    if standing_approval(events, version) is None:
        given = reviews_of(events, version)
        if not given:
            missing.append("no review has been written")
        elif given[-1].verdict == "reject":
            missing.append(f"rejected by {given[-1].reviewer} on {given[-1].at[:10]}: {given[-1].notes or 'no notes'}")
        else:
            missing.append("the approval was of other evidence than is registered now")
    return missing

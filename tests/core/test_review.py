"""What the record says of reviews, approvals and production."""

import pytest

from tasks.core.review import Event, production_version, standing_approval, what_is_missing

CARD = {"intended_use": "To flag valuations.", "risks": "Some are wrong."}
PASSED = {"passed": True, "checks": [{"outcome": "passed", "reason": ""}]}
FAILED = {"passed": False, "checks": [{"outcome": "failed", "reason": "mae for overall is 9 [8, 10], limit <= 4"}]}


def record(*entries):
    return [Event(place, f"2026-01-{place:02d}T00:00:00+00:00", "boston", kind, version, body) for place, (kind, version, body) in enumerate(entries, start=1)]


def registered(version=1, evidence="sha256:a", decision=PASSED):
    return ("registered", version, {"evidence": evidence, "decision": decision})


def reviewed(version=1, verdict="approve", evidence="sha256:a"):
    return ("reviewed", version, {"verdict": verdict, "reviewer": "Ada", "notes": "seen", "evidence": evidence})


def test_nothing_is_missing_with_gate_card_and_approval():
    """A version whose gate passed, whose card is filled and whose approval stands may be promoted."""
    events = record(registered(), reviewed())
    assert standing_approval(events, 1).reviewer == "Ada"
    assert what_is_missing(events, 1, CARD) == []


@pytest.mark.parametrize(
    ("events", "card", "expected"),
    [
        (record(), CARD, ["it was not registered by Equipoise"]),
        (record(registered()), CARD, ["no review has been written"]),
        (record(registered(), reviewed(verdict="reject")), CARD, ["rejected by Ada on 2026-01-02: seen"]),
        (record(registered(), reviewed(), reviewed(verdict="reject")), CARD, ["rejected by Ada on 2026-01-03: seen"]),
        (record(registered(), reviewed(evidence="sha256:b")), CARD, ["the approval was of other evidence than is registered now"]),
        (record(registered(), reviewed(version=2)), CARD, ["no review has been written"]),
        (record(registered(decision=FAILED), reviewed()), CARD, ["limit not kept: mae for overall is 9 [8, 10], limit <= 4"]),
        (record(registered(decision={"passed": True, "checks": []}), reviewed()), CARD, ["no limit was checked"]),
        (record(registered(), reviewed()), {"intended_use": " ", "risks": "x"}, ["the card's `intended_use` is empty"]),
        (record(registered(), reviewed()), {}, ["the card's `intended_use` is empty", "the card's `risks` is empty"]),
    ],
)
def test_everything_missing_is_listed(events, card, expected):
    """A refusal names each thing that is missing."""
    assert what_is_missing(events, 1, card) == expected


def test_all_that_is_missing_comes_in_one_list():
    """Gate, card and review are listed together, so that nobody has to ask three times."""
    assert len(what_is_missing(record(registered(decision=FAILED)), 1, {})) == 4


def test_production_is_the_last_promotion():
    """Production is what the record promoted last."""
    assert production_version(record()) is None
    assert production_version(record(("promoted", 1, {}), ("promoted", 3, {}), ("refused", 4, {}))) == 3

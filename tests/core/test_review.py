"""What the record says of reviews, approvals and production."""

import datetime as dt

import pytest

from tasks.core.errors import AccessError
from tasks.core.limits import ReviewRules
from tasks.core.people import People
from tasks.core.review import Event, Grounds, missing_approvals, production_version, review_of, served_in_turn, what_is_missing
from tasks.core.signing import is_signed, new_key, public_text, sign

KEYS = {name: new_key() for name in ("ada", "bob", "eve")}
CARD = dict.fromkeys(("intended_use", "risks", "risk_acceptance", "declaration"), "Said.")
PEOPLE = People.model_validate(
    {
        "roles": {"reviewer": ["review"], "lead": ["review", "promote"], "operator": ["promote"]},
        "people": [
            {"name": "ada", "roles": ["reviewer"], "key": public_text(KEYS["ada"]), "accounts": ["alovelace"]},
            {"name": "bob", "roles": ["lead"], "key": public_text(KEYS["bob"])},
            {"name": "eve", "roles": ["operator"], "key": public_text(KEYS["eve"])},
        ],
    }
)
TODAY = dt.date(2026, 2, 1)


def grounds(**changed):
    return Grounds(**{"evidence": "sha256:a", "card": "sha256:c", "author": "root", "people": PEOPLE, "rules": ReviewRules(), "today": TODAY, **changed})


def reviewed(reviewer="ada", *, version=1, at="2026-01-20T00:00:00+00:00", signer=None, sequence=1, forged=None, **said):
    """An event with a review signed by its reviewer, or by somebody else; `forged` changes it after it was signed."""
    body = {"verdict": "approve", "reviewer": reviewer, "notes": "seen", "conditions": "", "expires": "", "evidence": "sha256:a", "card": "sha256:c", **said}
    event = Event(sequence, at, "boston", "reviewed", version, body)
    body["signature"] = sign(KEYS[signer or reviewer], review_of(event).statement)
    return Event(sequence, at, "boston", "reviewed", version, {**body, **(forged or {})})


def test_a_signed_approval_is_enough():
    """One reviewer's approval of exactly this evidence and card, and nothing is missing."""
    assert missing_approvals([reviewed()], 1, grounds()) == []
    assert what_is_missing([reviewed()], 1, (), CARD, grounds()) == []


@pytest.mark.parametrize(
    ("event", "changed", "because"),
    [
        (reviewed(evidence="sha256:b"), {}, "it was of other evidence than is registered now"),
        (reviewed(card="sha256:d"), {}, "the card has changed since"),
        (reviewed(signer="eve"), {}, "the signature is not ada's for what the review says"),
        (reviewed(forged={"notes": "Fine."}), {}, "the signature is not ada's for what the review says"),
        (reviewed(forged={"signature": "AAAA"}), {}, "the signature is not ada's for what the review says"),
        (reviewed(forged={"signature": "no base64!"}), {}, "the signature is not ada's for what the review says"),
        (reviewed(forged={"signature": ""}), {}, "the signature is not ada's for what the review says"),
        (reviewed("mallory", signer="eve"), {}, "mallory has no key in configs/reviewers.yaml"),
        (reviewed("eve"), {}, "none of eve's roles may review"),
        (reviewed(), {"author": "ada"}, "ada is the author of the run and cannot approve it"),
        (reviewed(), {"author": "alovelace"}, "ada is the author of the run and cannot approve it"),
        (reviewed(expires="2026-01-31"), {}, "it expired on 2026-01-31"),
        (reviewed(), {"rules": ReviewRules(valid_days=11)}, "it is 12 days old, and reviews hold 11 days"),
        (reviewed(forged={"simulated": True}), {}, "it is simulated, and nobody signed it"),
    ],
)
def test_an_approval_that_does_not_count_says_why(event, changed, because):
    """Replayed, forged, expired, one's own, by somebody without a key or role, or simulated: none counts."""
    name = event.body["reviewer"]
    assert missing_approvals([event], 1, grounds(**changed))[0] == f"the approval of {name} does not count: {because}"
    assert "0 of 1 approval(s) by the role `reviewer`" in missing_approvals([event], 1, grounds(**changed))


def test_a_review_replayed_on_another_version_or_case_is_not_signed():
    """The signature covers case and version."""
    one = reviewed()
    replayed = Event(2, one.at, "boston", "reviewed", 2, one.body)
    assert "the signature is not ada's" in missing_approvals([one, replayed], 2, grounds())[0]
    elsewhere = Event(1, one.at, "adult", "reviewed", 1, one.body)
    assert "the signature is not ada's" in missing_approvals([elsewhere], 1, grounds())[0]


def test_a_revoked_key_does_not_approve():
    """From the day of the revocation on, nothing it signed counts for a promotion."""
    person = PEOPLE.people[0].model_copy(update={"revoked": TODAY})
    people = PEOPLE.model_copy(update={"people": (person,)})
    assert missing_approvals([reviewed()], 1, grounds(people=people))[0] == "the approval of ada does not count: ada's key was revoked on 2026-02-01"
    later = person.model_copy(update={"revoked": TODAY + dt.timedelta(days=1)})
    assert missing_approvals([reviewed()], 1, grounds(people=PEOPLE.model_copy(update={"people": (later,)}))) == []


def test_numbers_and_roles_of_approvals_are_the_case_s():
    """Two roles asked for, one given: the other is named. One person cannot be two."""
    rules = ReviewRules(approvals={"reviewer": 1, "lead": 1})
    assert missing_approvals([reviewed()], 1, grounds(rules=rules)) == ["0 of 1 approval(s) by the role `lead`"]
    assert missing_approvals([reviewed(), reviewed("bob", sequence=2)], 1, grounds(rules=rules)) == []
    two = ReviewRules(approvals={"reviewer": 2})
    assert missing_approvals([reviewed(), reviewed(sequence=2)], 1, grounds(rules=two)) == ["1 of 2 approval(s) by the role `reviewer`"]


def test_a_rejection_stands_until_its_author_approves():
    """Bob's approval does not outvote Ada's rejection; her own later approval does."""
    no = reviewed(verdict="reject", notes="Too few rows.")
    assert "rejected by ada on 2026-01-20: Too few rows." in missing_approvals([no, reviewed("bob", sequence=2)], 1, grounds())
    assert missing_approvals([no, reviewed(sequence=2)], 1, grounds()) == []
    assert "rejected by ada" in missing_approvals([reviewed(), reviewed(verdict="reject", sequence=2)], 1, grounds())[0]


def test_a_simulated_review_counts_only_where_the_case_says_so():
    """The demo's reviewer has no key; only `review: {simulated: true}` lets it count."""
    event = reviewed("Demo", signer="eve", forged={"simulated": True, "signature": ""})
    assert missing_approvals([event], 1, grounds(rules=ReviewRules(simulated=True))) == []
    assert missing_approvals([event], 1, grounds())


def test_all_that_is_missing_comes_in_one_list():
    """Gate, card and review are listed together, so that nobody has to ask three times."""
    missing = what_is_missing([], 1, ["mae is 9"], {"risks": " "}, grounds())
    assert missing[0] == "limit not kept: mae is 9"
    assert sum("is empty" in line for line in missing) == 4
    assert missing[-1] == "no review has been written"


def record(*entries):
    return [Event(place, f"2026-01-{place:02d}T00:00:00+00:00", "boston", kind, version, {}) for place, (kind, version) in enumerate(entries, start=1)]


@pytest.mark.parametrize(
    ("entries", "turns"),
    [
        ([], []),
        ([("promoted", 1), ("promoted", 3), ("refused", 4)], [1, 3]),
        ([("promoted", 1), ("promoted", 2), ("promoted", 3), ("rolled back", 2)], [1, 2]),
        ([("promoted", 1), ("promoted", 2), ("rolled back", 1), ("promoted", 3)], [1, 3]),
        ([("promoted", 1), ("promoted", 2), ("promoted", 1)], [2, 1]),
        ([("promoted", 1), ("promoted", 2), ("promoted", 3), ("retired", 2), ("rolled back", 1)], [1]),
        ([("promoted", 1), ("promoted", 2), ("retired", 1)], [2]),
    ],
)
def test_production_is_the_last_that_was_let_in_and_not_taken_back(entries, turns):
    """Promotions stack up, a rollback takes the newer ones off, a retired version is gone."""
    assert served_in_turn(record(*entries)) == turns
    assert production_version(record(*entries)) == (turns[-1] if turns else None)


def test_a_retired_version_is_never_ready():
    """Retirement stands whatever else is given."""
    events = [*record(("retired", 1)), reviewed()]
    assert what_is_missing(events, 1, (), CARD, grounds()) == ["version 1 was retired and is not served again"]


def test_a_signature_is_of_one_statement_by_one_key():
    """Any other statement, key or signature fails, and none raises."""
    said = {"case": "boston", "version": 1, "notes": "ü"}
    signature = sign(KEYS["ada"], said)
    assert is_signed(public_text(KEYS["ada"]), said, signature)
    assert not is_signed(public_text(KEYS["bob"]), said, signature)
    assert not is_signed(public_text(KEYS["ada"]), {**said, "version": 2}, signature)
    assert not is_signed("ed25519:nothing", said, signature)


def test_what_nobody_is_named_for_is_open_except_reviewing():
    """A first reviewer in the file locks nobody out of promoting; a first operator locks out everybody else; reviewing is never open."""
    ada = {"name": "ada", "roles": ["reviewer"], "key": public_text(KEYS["ada"])}
    assert People.model_validate({"people": [ada]}).authorise("promote", "root") == "root"
    with_operator = People.model_validate({"people": [ada, {"name": "grace", "roles": ["operator"], "accounts": ["g"]}]})
    assert with_operator.authorise("promote", "g") == "grace"
    with pytest.raises(AccessError, match=r"'root' may not promote\. grace may\."):
        with_operator.authorise("promote", "root")
    with pytest.raises(AccessError, match=r"'root' may not review\. Nobody may yet\."):
        People().authorise("review", "root")

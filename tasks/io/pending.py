"""A review written in MLflow's UI: tags of a version that say what its reviewer decides, until the signature makes it count.

    review.verdict     approve or reject        review.conditions  what must hold for an approval to stand (may be left out)
    review.reviewer    a name of reviewers.yaml review.expires     the last day it holds, YYYY-MM-DD (may be left out)
    review.notes       why

Whoever may edit a version can write these, so they are a request to sign and nothing more.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Any, Literal

from tasks.core.errors import AccessError, DataError
from tasks.core.people import Person
from tasks.core.review import Review, reviews_of
from tasks.io.documents import load_people
from tasks.io.workbench import Workbench


@dataclass(frozen=True)
class Pending:
    """A verdict that waits for its signature, as `tasks.promotion.statement` takes it."""

    verdict: Literal["approve", "reject"]
    reviewer: str
    notes: str
    conditions: str
    expires: dt.date | None

    @property
    def told(self) -> dict[str, Any]:
        """By name, for `statement`."""
        return dict(vars(self))


def pending_review(bench: Workbench, version: int) -> Pending:
    """The review that waits on a version. Raises: DataError when there is none, or when a tag does not make sense."""
    tags = bench.registry.version(bench.case.case, version).tags
    given = {name: tags.get(f"review.{name}", "").strip() for name in ("verdict", "reviewer", "notes", "conditions", "expires")}
    where = f"{bench.case.case} version {version} in MLflow"
    if not given["verdict"] or not given["reviewer"]:
        missing = [f"review.{name}" for name in ("verdict", "reviewer") if not given[name]]
        raise DataError(
            f"No review waits there: {' and '.join(missing)} not set.", where=where, fix="Set the tags of the version, or give --approve or --reject."
        )
    verdict = given["verdict"].lower()
    if verdict != "approve" and verdict != "reject":
        raise DataError(f"The tag review.verdict is {given['verdict']!r}.", where=where, fix="Write approve or reject.")
    try:
        expires = dt.date.fromisoformat(given["expires"]) if given["expires"] else None
    except ValueError:
        raise DataError(f"The tag review.expires is {given['expires']!r}.", where=where, fix="Write YYYY-MM-DD, or remove the tag.") from None
    return Pending(verdict, given["reviewer"], given["notes"], given["conditions"], expires)


def signer(bench: Workbench, name: str) -> Person:
    """The person whose signature is waited for. Raises: AccessError when no signature of that name could count."""
    people = load_people(bench.home.project)
    people.authorise("review", name)
    person = people.named(name)
    if person is None or person.key is None:
        raise AccessError(f"{name} has no key.", where="configs/reviewers.yaml", fix="Run: equipoise keys new NAME, and have the key added there.")
    return person


def entered(bench: Workbench, made: Review) -> bool:
    """Whether this very review is the reviewer's newest in the ledger."""
    theirs = [review for review in reviews_of(bench.ledger.events(made.case), made.version) if review.reviewer == made.reviewer]
    return bool(theirs) and theirs[-1].statement == made.statement


def wait_on(bench: Workbench, made: Review, why: str = "") -> None:
    """Say on the version whose signature is waited for, and how it is given."""
    how = f"waiting for {made.reviewer}'s signature: equipoise review {made.case} {made.version} --pending"
    bench.registry.set_tags(made.case, made.version, {"equipoise.review": f"{how} ({why})" if why else how})

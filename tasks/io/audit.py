"""The audit of the ledger: its chain, the signatures in it, a pinned head, and whether MLflow shows what it says."""

from collections.abc import Iterator
from dataclasses import dataclass

from tasks.core.errors import EquipoiseError, UnavailableError
from tasks.core.review import Event, production_version, review_of, unsigned
from tasks.io.documents import load_people
from tasks.io.home import Home
from tasks.io.ledger import Ledger
from tasks.io.registry import Registry


@dataclass(frozen=True)
class Line:
    """One thing looked at, and what was found. `good` is None where it could not be looked at."""

    what: str
    good: bool | None
    found: str


def audit(home: Home, ledger: Ledger, registry: Registry, pin: str | None = None) -> list[Line]:
    """Everything about the ledger that can be checked. Raises: UnavailableError when the ledger does not answer."""
    try:
        events = ledger.events()
    except UnavailableError:
        raise
    except EquipoiseError as error:
        return [Line("chain", False, str(error))]
    lines = [Line("chain", True, f"{len(events)} entries, each with the digest of the one before")]
    if pin is not None:
        try:
            ledger.hold_against(pin)
            lines.append(Line("pinned head", True, f"entry {pin.split()[0] if pin.split() else ''} is still there"))
        except EquipoiseError as error:
            lines.append(Line("pinned head", False, str(error)))
    return [*lines, *_signatures(home, events), *_aliases(registry, events)]


def _signatures(home: Home, events: list[Event]) -> Iterator[Line]:
    people = load_people(home.project)
    for event in events:
        if event.kind != "reviewed":
            continue
        review, what = review_of(event), f"review {event.sequence} of {event.case} version {event.version}"
        if review.simulated:
            yield Line(what, None, "simulated: nobody signed it")
            continue
        person = people.named(review.reviewer)
        fault = unsigned(review, person)
        if fault is None and person is not None and person.revoked is not None and person.revoked.isoformat() <= event.at[:10]:
            fault = f"the key was revoked on {person.revoked}, before it signed"
        yield Line(what, fault is None, fault or f"signed by {review.reviewer}")


def _aliases(registry: Registry, events: list[Event]) -> Iterator[Line]:
    for case in dict.fromkeys(event.case for event in events if event.kind == "registered"):
        recorded = production_version([event for event in events if event.case == case])
        what = f"alias `production` of {case}"
        try:
            shown = registry.alias(case, "production")
        except UnavailableError as error:
            yield Line(what, None, f"MLflow cannot be asked: {error}")
            continue
        words = "no version" if recorded is None else f"version {recorded}"
        yield Line(what, shown == recorded, words if shown == recorded else f"MLflow shows {f'version {shown}' if shown else 'none'}, the ledger says {words}")

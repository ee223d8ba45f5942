"""The ledger's chain outside its database: entries as a bundle carries them, checked and read.

An entry of the bundle's own case is whole. Of every other entry there are only its number, the digest of the one before and its
own, so that the chain holds and what it says stays where it is. So nobody can change, drop or reorder an entry and keep the head.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from tasks.core.digests import digest_of
from tasks.core.errors import DataError, IntegrityError
from tasks.core.review import Event, EventKind

GENESIS = "sha256:" + "0" * 64
STUB = ("sequence", "previous", "digest")
WHOLE = ("sequence", "at", "case_name", "kind", "version", "body", "previous", "digest")

Link = Mapping[str, Any]
_RESTORE = "Have the bundle made again from the ledger."


def shared(links: Sequence[Link], case: str) -> list[dict[str, Any]]:
    """The chain as a bundle carries it: entries of the case whole, of the others their place in the chain."""
    return [{name: link[name] for name in (WHOLE if link["case_name"] == case else STUB)} for link in links]


def check_chain(links: Sequence[Link]) -> int:
    """Check every entry and its place. Returns: how many entries are whole.

    Raises: IntegrityError naming the first entry that is not what was written there.
    """
    previous, whole = GENESIS, 0
    for place, link in enumerate(links, start=1):
        known = isinstance(link, Mapping) and set(link) in (set(WHOLE), set(STUB))
        if not known or link["sequence"] != place or link["previous"] != previous:
            raise IntegrityError(f"Entry {place} of the ledger is not what was written there.", fix=_RESTORE)
        if len(link) == len(WHOLE):
            whole += 1
            if digest_of({name: link[name] for name in WHOLE if name != "digest"}) != link["digest"] or link["kind"] not in get_args(EventKind):
                raise IntegrityError(f"Entry {place} of the ledger is not what was written there.", fix=_RESTORE)
        previous = str(link["digest"])
    return whole


def events(links: Sequence[Link]) -> list[Event]:
    """The whole entries of a checked chain. Raises: IntegrityError for an entry that is not one that Equipoise writes."""
    try:
        return [
            Event(link["sequence"], link["at"], link["case_name"], link["kind"], link["version"], dict(json.loads(link["body"])))
            for link in links
            if len(link) == len(WHOLE)
        ]
    except (ValueError, TypeError, RecursionError) as error:
        raise IntegrityError(f"An entry of the ledger cannot be read ({type(error).__name__}).", fix=_RESTORE) from error


def head(links: Sequence[Link]) -> str:
    """The last entry as one line, `SEQUENCE DIGEST`, as `equipoise ledger head` prints it."""
    return f"{len(links)} {links[-1]['digest'] if links else GENESIS}"


def hold_against(links: Sequence[Link], pin: str) -> int:
    """Check that the entry a pin names is in a checked chain. Returns: its number.

    Raises: IntegrityError when it is not, DataError for what is no pin.
    """
    place, _, digest = pin.strip().partition(" ")
    if not (place.isascii() and place.isdigit() and digest.startswith("sha256:")):
        raise DataError(f"{pin.strip()[:80]!r} is not a pinned head: a number and a digest.", fix="Give what `equipoise ledger head` printed.")
    number = int(place)
    if number > len(links):
        raise IntegrityError(f"{number} entries were pinned, and {len(links)} are there.", fix="Entries were cut off, or this is older than the pin.")
    if (links[number - 1]["digest"] if number else GENESIS) != digest:
        raise IntegrityError(f"Entry {number} is not the one that was pinned: the history was written anew.", fix=_RESTORE)
    return number

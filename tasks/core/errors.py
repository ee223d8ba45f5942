"""Every error Equipoise raises on purpose, in one tree.

    EquipoiseError            a message, where it was found, and what to do next
    ├── CaseError             a case or catalogue file that cannot be read or does not make sense
    ├── DataError             data that is missing, empty, or not what the catalogue or the model expects
    ├── IntegrityError        bytes whose digest is not the one on record, or a model that is not ours to load
    ├── ConflictError         the same thing recorded before with other content
    ├── AccessError           something that only certain people may do, or a key that is not theirs to use
    └── UnavailableError      a server, database or store that does not answer or cannot be written

All of them are the user's to mend, so the command line prints them without a traceback and exits 2. Anything else is
a fault of ours and exits 1. A refused promotion is a result (`tasks.core.gate.Decision`), not an error.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class EquipoiseError(Exception):
    """Something the user can mend. `fix` says how, in one sentence."""

    exit_code = 2

    def __init__(self, message: str, *, where: str | None = None, fix: str | None = None) -> None:
        self.message, self.where, self.fix = message, where, fix
        super().__init__(": ".join(part for part in (where, message) if part) + (f" {fix}" if fix else ""))


class CaseError(EquipoiseError):
    """A case or catalogue file that cannot be read, or that asks for what cannot be."""


class DataError(EquipoiseError):
    """Data that is missing, empty, or not what the catalogue or the model expects."""


class IntegrityError(EquipoiseError):
    """Bytes whose digest is not the one on record, or a model that is not ours to load."""


class ConflictError(EquipoiseError):
    """The same thing was recorded before with other content."""


class AccessError(EquipoiseError):
    """Something that only certain people may do, or a key that cannot be used."""


class UnavailableError(EquipoiseError):
    """A server, database or store that does not answer or cannot be written."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A sentence that points from a wrong `name` to the closest known one, or lists what there is.

    >>> nearest("colour", ["color", "size"])
    'Did you mean `color`?'
    >>> nearest("zzz", ["size", "color"])
    'There are: color, size.'
    """
    names = sorted(set(known))
    close = get_close_matches(name, names, n=1) or [k for k in names if k.lower() == name.lower()]
    if close:
        return f"Did you mean `{close[0]}`?"
    return f"There are: {', '.join(names[:20])}{', ...' if len(names) > 20 else '.'}" if names else "There are none."

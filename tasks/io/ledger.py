"""The ledger: an append-only, hash-chained table behind a SQLAlchemy URL. It decides what is in production.

Beside it are errands: what has yet to be shown elsewhere of an entry. They are written in the entry's own transaction and taken off
when they are done, so that what a crash or a server that is down leaves undone is known and done later.
"""

import contextlib
import datetime as dt
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError as UniqueViolation
from sqlalchemy.exc import SQLAlchemyError

from tasks.core import chain
from tasks.core.digests import canonical_json, digest_of
from tasks.core.errors import ConflictError, IntegrityError, UnavailableError
from tasks.core.review import Event, EventKind

_RESTORE = "Restore the ledger from a backup."

Entry = tuple[EventKind, int | None, Mapping[str, Any], Sequence[str]]
"""What is added: kind, version, body, errands."""

_metadata = sa.MetaData()
_events = sa.Table(
    "events",
    _metadata,
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", sa.String(40), nullable=False),
    sa.Column("case_name", sa.String(63), nullable=False, index=True),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("version", sa.Integer),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("previous", sa.String(71), nullable=False),
    sa.Column("digest", sa.String(71), nullable=False),
)
_errands = sa.Table(
    "errands",
    _metadata,
    sa.Column("sequence", sa.Integer, sa.ForeignKey("events.sequence"), primary_key=True, autoincrement=False),
    sa.Column("what", sa.String(20), primary_key=True),
    sa.Column("case_name", sa.String(63), nullable=False, index=True),
)


def create_tables(metadata: sa.MetaData, engine: sa.Engine) -> None:
    """Make the tables that are not there. Raises: SQLAlchemyError when the database does not let us."""
    try:
        metadata.create_all(engine)
    except SQLAlchemyError:
        metadata.create_all(engine)  # another process made one since we looked


class Ledger:
    """Appends events and reads them back verified.

    Two writers cannot take the same place: the sequence number is the primary key, so one insert fails and is tried anew.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._known: list[tuple[dict[str, Any], str]] = []

    @cached_property
    def engine(self) -> sa.Engine:
        try:
            engine = sa.create_engine(self.url)
            create_tables(_metadata, engine)
        except (SQLAlchemyError, ImportError, OSError) as error:
            raise self._unavailable(error) from error
        return engine

    def append(
        self, case: str, kind: EventKind, version: int | None, body: Mapping[str, Any], *, expected: int | None = None, errands: Sequence[str] = ()
    ) -> Event:
        """Add an event at the end.

        expected: the sequence number that the caller last saw (`head()`); when the ledger has moved on, nothing is written.
        errands: where the entry has yet to be shown.
        Raises: ConflictError then, UnavailableError when the database does not answer.
        """
        text = canonical_json(dict(body)).decode()
        for _ in range(50):
            last, previous = self._head()
            if expected is not None and last != expected:
                raise ConflictError(f"The ledger has moved on: entry {last} was added by someone else.", fix="Look at `equipoise status` and try again.")
            row = {
                "sequence": last + 1,
                "at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
                "case_name": case,
                "kind": kind,
                "version": version,
                "body": text,
                "previous": previous,
            }
            try:
                with self.engine.begin() as connection:
                    connection.execute(_events.insert().values(**row, digest=digest_of(row)))
                    for what in errands:
                        connection.execute(_errands.insert().values(sequence=last + 1, what=what, case_name=case))
            except UniqueViolation:
                continue  # someone took this place in between; look again
            except SQLAlchemyError as error:
                raise self._unavailable(error) from error
            return _event(row)
        raise UnavailableError("The ledger is too busy to take an entry.", where=self._shown, fix="Try again.")

    def enter(self, case: str, entry: Callable[[list[Event]], Entry | None]) -> Event | None:
        """Add the event that `entry` makes of the case's events, oldest first, as they are when it is added: where another process adds one
        in between, it is asked anew. Returns: the event, or None when it made nothing of them.
        """
        for _ in range(50):
            head = self.head()
            made = entry(self.events(case))
            if made is None:
                return None
            kind, version, body, errands = made
            with contextlib.suppress(ConflictError):
                return self.append(case, kind, version, body, expected=head, errands=errands)
        raise UnavailableError("The ledger is too busy to take an entry.", where=self._shown, fix="Try again.")

    def append_unless(
        self,
        case: str,
        kind: EventKind,
        version: int | None,
        body: Mapping[str, Any],
        there: Callable[[Sequence[Event]], bool],
        *,
        errands: Sequence[str] = (),
    ) -> Event | None:
        """Add an event unless the case's events say that it is there, also when another process adds it at the same moment.

        there: whether the case's events, oldest first, hold what this one would say. Returns: the event, or None when it was there.
        """
        return self.enter(case, lambda events: None if there(events) else (kind, version, body, errands))

    def errands(self, case: str) -> list[tuple[Event, str]]:
        """What has yet to be shown of a case: entries, oldest first, and where."""
        try:
            with self.engine.connect() as connection:
                found = connection.execute(sa.select(_errands.c.sequence, _errands.c.what).where(_errands.c.case_name == case)).all()
        except SQLAlchemyError as error:
            raise self._unavailable(error) from error
        events = {event.sequence: event for event in self.events(case)} if found else {}
        return [(events[sequence], what) for sequence, what in sorted(map(tuple, found))]

    def done(self, event: Event, what: str) -> None:
        """Take an errand off. Doing so twice changes nothing."""
        try:
            with self.engine.begin() as connection:
                connection.execute(_errands.delete().where(_errands.c.sequence == event.sequence, _errands.c.what == what))
        except SQLAlchemyError as error:
            raise self._unavailable(error) from error

    def events(self, case: str | None = None) -> list[Event]:
        """All events, or those of one case, oldest first, after checking the whole chain.

        Raises: IntegrityError naming the first entry that was changed, removed or put in another place.
        """
        return [_event(row) for row, _ in self._rows() if case is None or row["case_name"] == case]

    def pin(self) -> str:
        """The head as one line, `SEQUENCE DIGEST`: kept elsewhere, it shows later whether entries were cut off the end.

        Raises: IntegrityError as `events`.
        """
        return chain.head(self.links())

    def hold_against(self, pin: str) -> None:
        """Check that the entry a pin names is still there. Raises: IntegrityError when it is not, DataError for what is no pin."""
        chain.hold_against(self.links(), pin)

    def links(self) -> list[dict[str, Any]]:
        """Every entry as the database has it, with `previous` and `digest`, after checking the whole chain."""
        return [{**row, "digest": digest} for row, digest in self._rows()]

    def _rows(self) -> list[tuple[dict[str, Any], str]]:
        """Every entry with its digest. What this object has read before is held against the chain once: entries are never changed, and
        its end is compared with what the database has there now.
        """
        known = self._known
        try:
            with self.engine.connect() as connection:
                asked = sa.select(_events).where(_events.c.sequence >= len(known)).order_by(_events.c.sequence)
                rows = [dict(row) for row in connection.execute(asked).mappings()]
        except SQLAlchemyError as error:
            raise self._unavailable(error) from error
        found = list(known[:-1])
        previous = found[-1][1] if found else chain.GENESIS
        for place, row in enumerate(rows, start=len(found) + 1):
            digest = row.pop("digest")
            if row["sequence"] != place or row["previous"] != previous or digest_of(row) != digest:
                raise IntegrityError(f"Entry {row['sequence']} is not what was written there.", where=self._shown, fix=_RESTORE)
            previous = digest
            found.append((row, digest))
        if len(found) < len(known):
            raise IntegrityError(f"Entry {len(known)} was there and is gone.", where=self._shown, fix=_RESTORE)
        self._known = found
        return found

    def head(self) -> int:
        """The last sequence number; 0 when there is none."""
        return self._head()[0]

    def _head(self) -> tuple[int, str]:
        try:
            with self.engine.connect() as connection:
                row = connection.execute(sa.select(_events.c.sequence, _events.c.digest).order_by(_events.c.sequence.desc()).limit(1)).first()
        except SQLAlchemyError as error:
            raise self._unavailable(error) from error
        return (row.sequence, row.digest) if row else (0, chain.GENESIS)

    def close(self) -> None:
        """Give the database connections back."""
        self.engine.dispose()

    @property
    def _shown(self) -> str:
        """The URL without its password."""
        return sa.make_url(self.url).render_as_string(hide_password=True)

    def _unavailable(self, error: Exception) -> UnavailableError:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        return UnavailableError(f"The ledger cannot be used: {reason}.", where=self._shown, fix="Check EQUIPOISE_LEDGER_URL, or the folder's permissions.")


def _event(row: Mapping[str, Any]) -> Event:
    return Event(row["sequence"], row["at"], row["case_name"], row["kind"], row["version"], json.loads(row["body"]))

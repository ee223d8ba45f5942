"""The ledger: an append-only, hash-chained table behind a SQLAlchemy URL. It decides what is in production."""

import datetime as dt
import json
from collections.abc import Mapping
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


class Ledger:
    """Appends events and reads them back verified.

    Two writers cannot take the same place: the sequence number is the primary key, so one insert fails and is tried anew.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    @cached_property
    def _engine(self) -> sa.Engine:
        try:
            engine = sa.create_engine(self.url)
            _metadata.create_all(engine)
        except (SQLAlchemyError, ImportError, OSError) as error:
            raise self._unavailable(error) from error
        return engine

    def append(self, case: str, kind: EventKind, version: int | None, body: Mapping[str, Any], *, expected: int | None = None) -> Event:
        """Add an event at the end.

        expected: the sequence number that the caller last saw (`head()`); when the ledger has moved on, nothing is written.
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
                with self._engine.begin() as connection:
                    connection.execute(_events.insert().values(**row, digest=digest_of(row)))
            except UniqueViolation:
                continue  # someone took this place in between; look again
            except SQLAlchemyError as error:
                raise self._unavailable(error) from error
            return _event(row)
        raise UnavailableError("The ledger is too busy to take an entry.", where=self._shown, fix="Try again.")

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
        try:
            with self._engine.connect() as connection:
                rows = [dict(row) for row in connection.execute(sa.select(_events).order_by(_events.c.sequence)).mappings()]
        except SQLAlchemyError as error:
            raise self._unavailable(error) from error
        previous, found = chain.GENESIS, []
        for place, row in enumerate(rows, start=1):
            digest = row.pop("digest")
            if row["sequence"] != place or row["previous"] != previous or digest_of(row) != digest:
                raise IntegrityError(f"Entry {row['sequence']} is not what was written there.", where=self._shown, fix=_RESTORE)
            previous = digest
            found.append((row, digest))
        return found

    def head(self) -> int:
        """The last sequence number; 0 when there is none."""
        return self._head()[0]

    def _head(self) -> tuple[int, str]:
        try:
            with self._engine.connect() as connection:
                row = connection.execute(sa.select(_events.c.sequence, _events.c.digest).order_by(_events.c.sequence.desc()).limit(1)).first()
        except SQLAlchemyError as error:
            raise self._unavailable(error) from error
        return (row.sequence, row.digest) if row else (0, chain.GENESIS)

    def close(self) -> None:
        """Give the database connections back."""
        self._engine.dispose()

    @property
    def _shown(self) -> str:
        """The URL without its password."""
        return sa.make_url(self.url).render_as_string(hide_password=True)

    def _unavailable(self, error: Exception) -> UnavailableError:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        return UnavailableError(f"The ledger cannot be used: {reason}.", where=self._shown, fix="Check EQUIPOISE_LEDGER_URL, or the folder's permissions.")


def _event(row: Mapping[str, Any]) -> Event:
    return Event(row["sequence"], row["at"], row["case_name"], row["kind"], row["version"], json.loads(row["body"]))

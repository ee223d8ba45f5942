"""Reads a dataset's rows from where its catalogue entry says they are: a file, a folder of Parquet parts or a database, read-only.

A location may hold `${NAME}`, which stands for an environment variable, so that no secret is written in YAML. Messages show the location
as it is written; what a variable held is cut out of whatever else they quote. Between `//` and `@` of a database's URL a variable is taken
literally: a password may hold any character.
"""

import hashlib
import io
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote
from zoneinfo import ZoneInfo, available_timezones

import fsspec  # type: ignore[import-untyped]
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from tasks.core.catalogue import ROW_ID, Source
from tasks.core.errors import CaseError, DataError, EquipoiseError, UnavailableError, nearest
from tasks.core.splits import moments

CONNECT_SECONDS = 10

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_PASSWORD = re.compile(r"(://[^:/@\s]*:)(?!\$\{)[^@/\s]+@")
_USERINFO = re.compile(r"^[a-z0-9+]+://(?P<user>[^@/]*)@")


def read_source(source: Source, *, root: Path | None = None, period_column: str | None = None) -> pd.DataFrame:
    """All rows of the source. A relative path is taken from `root`; `period_column` is a column that must be there.

    Raises: CaseError for a variable that is not set or a location that is no URL; UnavailableError where a database does not answer or
    a driver is missing; DataError for a file or table that is missing, empty or unreadable, and for repeated column names.
    """
    frames = list(read_parts(source, root=root, period_column=period_column))
    return frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)


def read_parts(source: Source, *, root: Path | None = None, period_column: str | None = None) -> Iterator[pd.DataFrame]:
    """The rows of the source one part after the other, where it is a folder of Parquet files (a path to a folder, or a URL that ends
    in "/"): all that are below it by the order of their names, without those that begin with "." or "_". Anything else is one part.

    Raises: as `read_source`, naming the part; DataError, too, for a part whose columns are not those of the first.
    """
    place, secrets = _resolved(source)
    columns: list[str] = []
    rows, where = 0, shown(source)
    try:
        folder = source.kind == "file" and _is_folder(place, root)
        for name in _listed(place, root) if folder else [""]:
            where = f"{shown(source).rstrip('/')}/{name}" if folder else shown(source)
            if source.kind == "sql":
                frame = _read_sql(source, place, root)
            else:
                frame = _parse_parquet(_read_bytes(f"{place.rstrip('/')}/{name}", root)) if folder else _read_file(source, place, root)
            _check_columns(frame, columns, period_column)
            columns, rows = columns or [str(column) for column in frame.columns], rows + len(frame)
            if len(frame):
                yield frame
        where = shown(source)
        if not rows:
            raise DataError("has no rows.", fix="Check that this is the right source.")
    except EquipoiseError as error:
        raise type(error)(_without(error.message, secrets), where=where, fix=error.fix) from None  # what the driver said may quote the URL


def _check_columns(frame: pd.DataFrame, expected: Sequence[str], period_column: str | None) -> None:
    names = [str(name) for name in frame.columns]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataError(f"has the column `{repeated[0]}` twice.", fix="Give each column a name of its own.")
    if expected and names != list(expected):
        odd = ", ".join(f"`{name}`" for name in sorted({*names} ^ {*expected})) or "their order"
        raise DataError(f"has other columns than the parts before it: {odd}.", fix="Write all parts with the same columns.")
    if period_column is not None and len(frame):
        _must_have(frame, [period_column], None)


def _is_folder(place: str, root: Path | None) -> bool:
    return place.endswith("/") if "://" in place else ((root or Path()) / Path(place).expanduser()).is_dir()


def _listed(place: str, root: Path | None) -> list[str]:
    """Names of the Parquet files below a folder, relative to it."""
    path = place if "://" in place else str((root or Path()) / Path(place).expanduser())
    try:
        system, folder = fsspec.core.url_to_fs(path)
        found = [PurePosixPath(name).relative_to(PurePosixPath(folder)) for name in system.find(folder)]
    except Exception as error:  # noqa: BLE001  # each remote file system raises errors of its own
        raise UnavailableError(f"cannot be listed: {getattr(error, 'strerror', None) or error}.", fix="Check the location and your right to read it.") from None
    names = sorted(str(name) for name in found if name.suffix == ".parquet" and not any(part.startswith((".", "_")) for part in name.parts))
    if not names:
        raise DataError("is a folder without a Parquet file.", fix="Put parts there that end in .parquet, or correct the location in the catalogue.")
    return names


def shown(source: Source) -> str:
    """How messages and manifests name the source: as it is written, without a password written into it."""
    return _PASSWORD.sub(r"\1***@", source.location) + (f" (table {source.table})" if source.table else " (query)" if source.query else "")


def months_of(frame: pd.DataFrame, column: str, timezone: str | None = None) -> dict[str, pd.DataFrame]:
    """The rows by calendar month, oldest first: {"YYYY-MM": rows in their order}.

    Dates with a UTC offset are read in `timezone` (an IANA name; UTC unless given). Dates without one are taken as they are written.

    Raises: DataError for a missing or unreadable date, naming its row; CaseError for a time zone that is none.
    """
    _must_have(frame, [column], None)
    dates = moments(frame[column])
    if timezone is not None:
        if timezone not in available_timezones():
            raise CaseError(f"{timezone!r} is not an IANA time zone.", fix=nearest(timezone, available_timezones()))
        if dates.dt.tz is not None:
            dates = dates.dt.tz_convert(ZoneInfo(timezone))
    months = (dates.dt.year * 12 + dates.dt.month - 1).to_numpy()
    return {f"{month // 12:04d}-{month % 12 + 1:02d}": rows.reset_index(drop=True) for month, rows in frame.groupby(months, sort=True)}


def with_row_ids(frame: pd.DataFrame, key_columns: Sequence[str] | None, period: str, *, pseudonyms: bool = False) -> pd.DataFrame:
    """The frame with `row_id` as its first column, unique within the period.

    The id is the key columns' values joined by "|" (a "|" or "\\" inside a value gets a "\\" before it), or, without a key, the period
    and the row's position: 2024-01-000000. pseudonyms: where the key names people, 24 hex digits of its SHA-256 instead, since ids of
    rows that newly fail are shown. Who knows a key can find its row, nobody can read the key from it.

    Raises: DataError for a key that is missing in a row or occurs twice, and for a table that has a `row_id` already.
    """
    if ROW_ID in frame.columns:
        raise DataError(f"The table has a column `{ROW_ID}`, a name that Equipoise keeps for itself.", fix="Rename it in the source.")
    if not key_columns:
        ids = pd.Series([f"{period}-{position:06d}" for position in range(len(frame))], index=frame.index, dtype="str")
    else:
        _must_have(frame, key_columns, None)
        keys = ", ".join(key_columns)
        missing = frame[list(key_columns)].isna().any(axis=1).to_numpy().nonzero()[0]
        if missing.size:
            raise DataError(f"The key ({keys}) is missing in {missing.size} of {len(frame)} rows of {period}, first in row {missing[0] + 1}.")
        parts = [frame[name].astype("str").str.replace(r"([\\|])", r"\\\1", regex=True) for name in key_columns]
        ids = parts[0]
        for part in parts[1:]:
            ids = ids + "|" + part
        repeated = ids[ids.duplicated()].unique()
        if len(repeated):
            first = ", ".join(repeated[:3])
            raise DataError(f"The key ({keys}) is not unique in {period}: {first} occur more than once.", fix="Declare the columns that tell rows apart.")
        if pseudonyms:
            ids = ids.map(lambda text: hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]).astype("str")
    result = frame.copy()
    result.insert(0, ROW_ID, ids)
    return result


def _read_bytes(place: str, root: Path | None) -> bytes:
    path = place if "://" in place else str((root or Path()) / Path(place).expanduser())
    try:
        with fsspec.open(path, "rb") as stream:
            data: bytes = stream.read()
    except FileNotFoundError:
        raise DataError("There is no such file.", fix="Correct the location in the catalogue, or put the file there.") from None
    except ImportError as error:
        raise UnavailableError(f"needs a package that is not installed: {error}.", fix="Install it beside Equipoise.") from None
    except ValueError as error:  # a protocol that fsspec does not know
        raise CaseError(f"is not a location: {error}.", fix="Give a path, or a URL such as s3://bucket/file.parquet.") from None
    except Exception as error:  # noqa: BLE001  # each remote file system raises errors of its own
        raise UnavailableError(f"cannot be read: {getattr(error, 'strerror', None) or error}.", fix="Check the location and your right to read it.") from None
    if not data:
        raise DataError("is empty (0 bytes).", fix="Make the file again, or correct the location in the catalogue.")
    return data


def _read_file(source: Source, place: str, root: Path | None) -> pd.DataFrame:
    data = _read_bytes(place, root)
    shape = source.format or Path(place.split("?")[0]).suffix.lstrip(".").lower()
    if shape == "csv":
        return _parse_csv(data)
    if shape == "parquet":
        return _parse_parquet(data)
    raise CaseError(f"The format {shape!r} cannot be read.", fix="Files are csv or parquet.")


def _parse_csv(data: bytes) -> pd.DataFrame:
    try:
        header = pd.read_csv(io.BytesIO(data), header=None, nrows=1, dtype="str", encoding="utf-8-sig", keep_default_na=False).iloc[0].tolist()
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # without index_col=False rows longer than the header would shift the columns
            frame = pd.read_csv(io.BytesIO(data), encoding="utf-8-sig", low_memory=False, float_precision="round_trip", index_col=False)
    except UnicodeDecodeError as error:
        raise DataError(f"is not UTF-8 text (byte {error.start}).", fix="Save it as UTF-8.") from None
    except pd.errors.ParserWarning:
        raise DataError("has rows that are longer than its first line.", fix="Give every column a name in the first line.") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(f"is not a readable CSV file: {str(error).strip()}.", fix="Mend the file there.") from None
    frame.columns = pd.Index([written or str(given) for written, given in zip(header, frame.columns, strict=True)])  # pandas renames a repeated one
    return frame


def _parse_parquet(data: bytes) -> pd.DataFrame:
    try:
        table = pq.read_table(io.BytesIO(data), page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"is not a readable Parquet file: {str(error).splitlines()[0]}.", fix="Fetch or make the file again.") from None
    names = table.column_names
    if len(set(names)) < len(names):
        return pd.DataFrame(columns=names)  # the caller refuses repeated names
    frame = table.to_pandas()
    kept: pd.DataFrame = frame if isinstance(frame.index, pd.RangeIndex) and frame.index.name is None else frame.reset_index()
    return kept


def _read_sql(source: Source, place: str, root: Path | None) -> pd.DataFrame:
    engine = _engine(place, root)
    try:
        try:
            connection = engine.connect()
        except sa.exc.SQLAlchemyError as error:
            raise UnavailableError(f"The database is not there: {_said(error)}.", fix="Check that it runs, its address, the user and the password.") from None
        with connection:  # never committed: whatever a query does is rolled back
            try:
                if source.table is not None:
                    return pd.read_sql_query(_table(source.table, engine, connection), connection)
                # no_parameters hands the text to the driver as it is: a % or a :name in it is no placeholder
                return pd.read_sql_query(str(source.query), connection.execution_options(no_parameters=True))
            except sa.exc.ResourceClosedError:
                raise DataError("The query returns no rows.", fix="Write a SELECT.") from None
            except (sa.exc.SQLAlchemyError, pd.errors.DatabaseError) as error:
                cause = error.__cause__ if isinstance(error, pd.errors.DatabaseError) else error  # pandas wraps what SQLAlchemy raises
                if getattr(cause, "connection_invalidated", False):
                    raise UnavailableError(f"The database went away: {_said(cause)}.", fix="Check that it runs, and try again.") from None
                raise DataError(f"cannot be read: {_said(cause)}.", fix="Correct the table or query in the catalogue.") from None
    finally:
        engine.dispose()


def _engine(place: str, root: Path | None) -> sa.Engine:
    try:
        url = sa.make_url(place)
        name = url.database
        if url.get_backend_name() == "sqlite" and name and name != ":memory:" and not name.startswith("file:"):
            path = (root or Path()) / name
            if not path.is_file():  # SQLite would make an empty database there
                raise DataError("There is no such database file.", fix="Correct the location in the catalogue, or put the file there.")
            url = url.set(database=str(path))
        slow = url.get_backend_name() == "postgresql" and "connect_timeout" not in url.query
        return sa.create_engine(url, connect_args={"connect_timeout": CONNECT_SECONDS} if slow else {})
    except ModuleNotFoundError as error:
        fix = "Write postgresql+psycopg:// and install equipoise[postgres]." if place.startswith("postgres") else "Install it beside Equipoise."
        raise UnavailableError(f"The database needs a driver that is not installed: {error.name}.", fix=fix) from None
    except sa.exc.NoSuchModuleError as error:
        raise CaseError(f"names a database that SQLAlchemy has no driver for: {_said(error)}.", fix="Use postgresql+psycopg:// or sqlite:///.") from None
    except (sa.exc.ArgumentError, ValueError):
        raise CaseError("is not a database URL.", fix="Write it as postgresql+psycopg://user:${PASSWORD}@host/database or sqlite:///file.db.") from None


def _table(name: str, engine: sa.Engine, connection: sa.Connection) -> sa.Select[tuple[object, ...]]:
    """Every column of a table or view, `name` or `schema.name`."""
    inspector = sa.inspect(engine)
    known = [*inspector.get_table_names(), *inspector.get_view_names()]
    schema, plain = None, name
    if name not in known and "." in name:
        schema, plain = name.split(".", 1)
        known = [f"{schema}.{table}" for table in (*inspector.get_table_names(schema), *inspector.get_view_names(schema))]
    if name not in known:
        raise DataError(f"There is no table `{name}`.", fix=nearest(name, known))
    return sa.select(sa.Table(plain, sa.MetaData(), schema=schema, autoload_with=connection))


def _resolved(source: Source) -> tuple[str, list[str]]:
    """The location with its variables filled in, and what must not appear in a message."""
    secrets: list[str] = []
    userinfo = _USERINFO.match(source.location)
    literal_until = userinfo.end() if userinfo and source.kind == "sql" else 0

    def fill(found: re.Match[str]) -> str:
        value = os.environ.get(found[1])
        if not value:
            raise CaseError(f"names the environment variable {found[1]!r}, which is not set.", where=shown(source), fix=f"Set {found[1]} and run again.")
        quoted = quote(value, safe="")
        secrets.extend((value, quoted))
        return quoted if found.start() < literal_until else value

    place = _VARIABLE.sub(fill, source.location)
    inside = re.search(r"://[^:/@\s]*:([^@\s]+)@", place)
    if inside:
        secrets.extend((inside[1], unquote(inside[1])))
    return place, sorted(set(secrets), key=len, reverse=True)


def _without(message: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        message = message.replace(secret, "***")
    return message


def _said(error: BaseException | None) -> str:
    """The first line of what the driver said, without SQLAlchemy's additions."""
    return str(getattr(error, "orig", None) or error).strip().splitlines()[0].rstrip(".")


def _must_have(frame: pd.DataFrame, names: Sequence[str], where: str | None) -> None:
    known = [str(name) for name in frame.columns]
    for name in names:
        if name not in known:
            raise DataError(f"There is no column `{name}`.", where=where, fix=nearest(name, known))

"""Sources: rows come in as they are, or the error says what is wrong with which file, table, column or row."""

import datetime as dt
import sqlite3
from pathlib import Path

import fsspec
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.core.catalogue import Source
from tasks.core.errors import CaseError, DataError, EquipoiseError, UnavailableError
from tasks.io.sources import months_of, read_parts, read_source, shown, with_row_ids

RAW = Path(__file__).parents[2] / "data" / "raw"
SECRET = "hun ter2:@/%secret"  # noqa: S105  # characters that would break a URL if they were not quoted


def file(location: Path | str, shape: str | None = None) -> Source:
    return Source(kind="file", location=str(location), format=shape)  # type: ignore[arg-type]


def table(location: str, name: str) -> Source:
    return Source(kind="sql", location=location, table=name)


def query(location: str, text: str) -> Source:
    return Source(kind="sql", location=location, query=text)


def homes() -> pd.DataFrame:
    return pd.DataFrame({"größe": [1.25, None, 3.0], "straße": ["Allee 5", 'Ö, "Weg"', None], "rooms": [3, 4, 5], "sold": [True, False, True]})


def same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Equal values and numeric types; which of pandas' marks stands for a missing text depends on its release."""
    for table in (found, expected):
        table["straße"] = table["straße"].fillna("missing").astype("str")
    pd.testing.assert_frame_equal(found, expected)


@pytest.fixture
def database(tmp_path: Path) -> str:
    """An SQLite file with a table and a view."""
    path = tmp_path / "homes.db"
    connection = sqlite3.connect(path)
    homes().drop(columns="sold").to_sql("homes", connection, index=False)
    connection.execute('CREATE VIEW large AS SELECT * FROM homes WHERE "größe" > 2')
    connection.execute("CREATE TABLE empty (a INTEGER)")
    connection.commit()
    connection.close()
    return f"sqlite:///{path}"


def test_csv_and_parquet_hold_the_same_rows(tmp_path: Path) -> None:
    """A table reads the same from CSV and from Parquet, with non-ASCII names and quoted commas, by absolute and by relative path."""
    homes().to_csv(tmp_path / "homes.csv", index=False)
    homes().to_parquet(tmp_path / "homes.parquet")
    for source in (file(tmp_path / "homes.csv", "csv"), file(tmp_path / "homes.parquet", "parquet"), file("homes.csv"), file("homes.parquet")):
        same(read_source(source, root=tmp_path), homes())


def test_a_byte_order_mark_is_not_part_of_the_first_name(tmp_path: Path) -> None:
    """A CSV saved by a spreadsheet program has its first column by its name."""
    (tmp_path / "excel.csv").write_text("\ufeffa,b\n1,2\n", encoding="utf-8")
    assert list(read_source(file(tmp_path / "excel.csv")).columns) == ["a", "b"]


def test_fsspec_urls_are_read() -> None:
    """A URL of any file system that fsspec knows is read like a local path."""
    with fsspec.open("memory://equipoise/homes.csv", "wb") as stream:
        stream.write(homes().to_csv(index=False).encode())
    same(read_source(file("memory://equipoise/homes.csv")), homes())


def test_an_index_kept_in_parquet_becomes_a_column(tmp_path: Path) -> None:
    """A named index is data."""
    homes().set_index("rooms").to_parquet(tmp_path / "indexed.parquet")
    assert "rooms" in read_source(file(tmp_path / "indexed.parquet")).columns


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("no.csv", None, "no such file"),
        ("nothing.csv", b"", "is empty (0 bytes)"),
        ("blank.csv", b"\n\n", "not a readable CSV"),
        ("header.csv", b"a,b\n", "has no rows"),
        ("ragged.csv", b"a,b\n1,2\n1,2,3\n", "line 3"),
        ("wide.csv", b"a,b\n1,2,3\n4,5,6\n", "longer than its first line"),
        ("twice.csv", b"a,b,a\n1,2,3\n", "`a` twice"),
        ("latin.csv", "straße\nÖ\n".encode("latin-1"), "not UTF-8"),
        ("no.parquet", None, "no such file"),
        ("nothing.parquet", b"", "is empty (0 bytes)"),
        ("text.parquet", b"a,b\n1,2\n", "not a readable Parquet"),
        ("book.xlsx", b"PK", "'xlsx' cannot be read"),
    ],
)
def test_files_that_cannot_be_used_are_named(tmp_path: Path, name: str, content: bytes | None, says: str) -> None:
    """A missing, empty, ragged, wrongly encoded or foreign file is refused with its path and what is wrong."""
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(EquipoiseError) as refused:
        read_source(file(tmp_path / name))
    assert says in str(refused.value)
    assert name in str(refused.value)
    assert refused.value.fix


def test_a_truncated_parquet_file_is_named(tmp_path: Path) -> None:
    """Half a Parquet file is refused."""
    homes().to_parquet(tmp_path / "half.parquet")
    whole = (tmp_path / "half.parquet").read_bytes()
    (tmp_path / "half.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"half\.parquet.*not a readable Parquet"):
        read_source(file(tmp_path / "half.parquet"))


def test_an_empty_folder_or_unknown_protocol_is_refused(tmp_path: Path) -> None:
    """A folder without parts, and a protocol nobody knows, are told apart from missing files."""
    with pytest.raises(DataError, match="is a folder without a Parquet file"):
        read_source(file(tmp_path, "csv"))
    with pytest.raises(CaseError, match="is not a location"):
        read_source(file("carrier-pigeon://coop/homes.csv"))


def test_a_folder_of_parts_is_read_part_by_part_and_whole(tmp_path: Path) -> None:
    """Parts come in the order of their names, from folders within as well, without hidden files and parts without rows."""
    for name, rows in (("b/2", homes()[2:]), ("b/1", homes()[:0]), ("a", homes()[:2]), ("_old", homes()), (".tmp", homes())):
        (tmp_path / f"{name}.parquet").parent.mkdir(exist_ok=True)
        rows.to_parquet(tmp_path / f"{name}.parquet", index=False)
    (tmp_path / "_SUCCESS").touch()
    assert [len(part) for part in read_parts(file(tmp_path), period_column="rooms")] == [2, 1]
    same(read_source(file(tmp_path.name), root=tmp_path.parent), homes())
    with fsspec.open("memory://parts/1.parquet", "wb") as stream:
        homes().to_parquet(stream)
    same(read_source(file("memory://parts/")), homes())


def test_a_part_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Half a part, and a part with a column more or without the period's, stop the reading by name."""
    for name in ("1", "2"):
        homes().to_parquet(tmp_path / f"{name}.parquet")
    with pytest.raises(DataError, match=r"1\.parquet: There is no column `when`"):
        read_source(file(tmp_path), period_column="when")
    homes().assign(more=1).to_parquet(tmp_path / "2.parquet")
    with pytest.raises(DataError, match=r"2\.parquet: has other columns than the parts before it: `more`"):
        read_source(file(tmp_path))
    (tmp_path / "2.parquet").write_bytes((tmp_path / "1.parquet").read_bytes()[:-10])
    with pytest.raises(DataError, match=r"2\.parquet: is not a readable Parquet file"):
        read_source(file(tmp_path))


def test_the_period_column_must_be_there(tmp_path: Path) -> None:
    """A source without the column that dates its rows is refused with the nearest name."""
    homes().to_csv(tmp_path / "homes.csv", index=False)
    assert len(read_source(file(tmp_path / "homes.csv"), period_column="rooms")) == 3
    with pytest.raises(DataError, match="Did you mean `rooms`"):
        read_source(file(tmp_path / "homes.csv"), period_column="room")


def test_sqlite_tables_views_and_queries_are_read(database: str, tmp_path: Path) -> None:
    """A table, a view and a query give their rows; `%` and `:` in a query are what they are in SQL; a relative file is found from the root."""
    same(read_source(table(database, "homes")), homes().drop(columns="sold"))
    assert len(read_source(table(database, "large"))) == 1
    found = read_source(query(database, "SELECT rooms, '12:30 :a:b' AS t FROM homes WHERE \"straße\" LIKE 'All%'"))
    assert found.to_dict("list") == {"rooms": [3], "t": ["12:30 :a:b"]}
    assert len(read_source(table("sqlite:///homes.db", "homes"), root=tmp_path)) == 3


def test_a_query_cannot_change_the_database(database: str) -> None:
    """A statement that returns no rows is refused, and what it did is rolled back."""
    with pytest.raises(DataError, match="returns no rows"):
        read_source(query(database, "DELETE FROM homes"))
    assert len(read_source(table(database, "homes"))) == 3


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (table("{}", "hoomes"), "Did you mean `homes`?"),
        (table("{}", "other.homes"), "other"),
        (table("{}", "empty"), "has no rows"),
        (query("{}", "SELECT * FROM hoomes"), "no such table: hoomes"),
        (query("{}", "SELEKT 1"), "syntax error"),
        (query("{}", "SELECT 1 AS a, 2 AS a"), "`a` twice"),
        (table("sqlite:///nowhere/else.db", "homes"), "no such database file"),
        (table("not a url", "homes"), "not a database URL"),
        (table("oraculum://x/y", "homes"), "no driver"),
        (table("postgresql://x/y", "homes"), "postgresql+psycopg://"),
    ],
)
def test_databases_that_cannot_be_used_are_named(database: str, source: Source, says: str) -> None:
    """A table, query, file, URL or driver that is wrong is refused with its place and a way out."""
    source = source.model_copy(update={"location": source.location.replace("{}", database)})
    with pytest.raises(EquipoiseError) as refused:
        read_source(source)
    assert says in str(refused.value)
    assert source.location in str(refused.value)


def test_reading_makes_no_file(tmp_path: Path) -> None:
    """A mistyped SQLite location is an error, not a new empty database."""
    with pytest.raises(DataError):
        read_source(table(f"sqlite:///{tmp_path}/typo.db", "homes"))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """A text file is not taken for SQLite."""
    (tmp_path / "notes.db").write_text("just some notes, long enough to be mistaken for a database header" * 20)
    with pytest.raises(DataError, match="not a database"):
        read_source(table(f"sqlite:///{tmp_path}/notes.db", "homes"))


def test_variables_are_filled_in_and_never_shown(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`${NAME}` reads the environment: as part of a path, or as a whole URL; what it held is in no error."""
    monkeypatch.setenv("HOMES_FOLDER", str(tmp_path))
    monkeypatch.setenv("HOMES_URL", database)
    assert len(read_source(table("sqlite:///${HOMES_FOLDER}/homes.db", "homes"))) == 3
    assert len(read_source(table("${HOMES_URL}", "homes"))) == 3
    with pytest.raises(DataError) as refused:
        read_source(file("${HOMES_FOLDER}/missing.csv"))
    assert str(tmp_path) not in str(refused.value)
    assert "${HOMES_FOLDER}/missing.csv" in str(refused.value)


@pytest.mark.parametrize("value", [None, ""])
def test_an_unset_variable_is_named(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    """A variable that is not set, or empty, is an error that names it, before anything is opened."""
    if value is not None:
        monkeypatch.setenv("EQUIPOISE_NO_SUCH", value)
    with pytest.raises(CaseError, match="'EQUIPOISE_NO_SUCH', which is not set"):
        read_source(table("postgresql+psycopg://me:${EQUIPOISE_NO_SUCH}@localhost/db", "homes"))


def test_passwords_are_in_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is not there is named without the password, from the environment or written in the location, and without its cause."""
    monkeypatch.setenv("HOMES_PASSWORD", SECRET)
    for location in ("postgresql+psycopg://me:${HOMES_PASSWORD}@127.0.0.1:1/db", "postgresql+psycopg://me:written-down@127.0.0.1:1/db"):
        with pytest.raises(UnavailableError) as refused:
            read_source(table(location, "homes"))
        message = str(refused.value)
        assert "127.0.0.1:1/db (table homes)" in message
        assert not [secret for secret in (SECRET, "hun%20ter2", "written-down") if secret in message]
        assert refused.value.__suppress_context__
    monkeypatch.setenv("HOMES_URL", "no-url-but-secret")
    with pytest.raises(CaseError) as refused_url:
        read_source(table("${HOMES_URL}", "homes"))
    assert "no-url-but-secret" not in str(refused_url.value)


def test_a_source_is_shown_without_its_password() -> None:
    """Manifests name the source as it is written, variables unfilled and passwords cut out."""
    assert shown(table("postgresql+psycopg://me:${PW}@host/db", "t")) == "postgresql+psycopg://me:${PW}@host/db (table t)"
    assert shown(query("postgresql+psycopg://me:open@host/db", "SELECT 1")) == "postgresql+psycopg://me:***@host/db (query)"
    assert shown(file("data/raw/boston/boston.csv")) == "data/raw/boston/boston.csv"


def test_months_divide_the_rows(tmp_path: Path) -> None:
    """Every row is in exactly one month, months are in order, and rows keep theirs."""
    frame = pd.DataFrame({"when": ["2024-02-29", "2023-12-31", "2024-02-01", "2024-01-31"], "x": [1, 2, 3, 4]})
    months = months_of(frame, "when")
    assert {period: rows["x"].tolist() for period, rows in months.items()} == {"2023-12": [2], "2024-01": [4], "2024-02": [1, 3]}
    assert list(months) == ["2023-12", "2024-01", "2024-02"]
    assert all(rows.index.equals(pd.RangeIndex(len(rows))) for rows in months.values())


@settings(max_examples=30, deadline=None)
@given(days=st.lists(st.dates(dt.date(1900, 1, 1), dt.date(2100, 12, 31)), min_size=1, max_size=40))
def test_months_agree_with_the_calendar(days: list[dt.date]) -> None:
    """Date objects, text and timestamps fall into the month that the calendar says."""
    expected = [f"{day.year:04d}-{day.month:02d}" for day in days]
    forms = ([*days], [day.isoformat() for day in days], [f"{day.isoformat()}T23:59:59Z" for day in days], pd.to_datetime(pd.Series(days)))
    for values in forms:
        months = months_of(pd.DataFrame({"when": values, "expected": expected}), "when")
        assert all(set(rows["expected"]) == {period} for period, rows in months.items())
        assert sum(map(len, months.values())) == len(days)


def test_a_time_zone_decides_at_the_turn_of_the_month() -> None:
    """04:00 UTC on New Year's day is still last year in New York; dates without an offset are never moved."""
    moment = pd.DataFrame({"when": ["2014-01-01T04:00:00Z"]})
    assert list(months_of(moment, "when")) == ["2014-01"]
    assert list(months_of(moment, "when", "America/New_York")) == ["2013-12"]
    assert list(months_of(pd.DataFrame({"when": ["2014-01-01T04:00:00"]}), "when", "America/New_York")) == ["2014-01"]
    with pytest.raises(CaseError, match="Did you mean `America/New_York`"):
        months_of(moment, "when", "America/NewYork")


def test_flights_fall_into_the_twelve_months_of_2013() -> None:
    """The months of `time_hour` in New York's time are those of the table's own year and month columns; in UTC 88 flights would fall into 2014."""
    flights = pd.read_parquet(RAW / "flights" / "flights.parquet", columns=["year", "month", "time_hour"])
    months = months_of(flights, "time_hour", "America/New_York")
    assert {period: len(rows) for period, rows in months.items()} == {f"2013-{month:02d}": count for month, count in flights["month"].value_counts().items()}
    assert all((rows["month"] == int(period[5:])).all() for period, rows in months.items())
    assert len(months_of(flights, "time_hour")["2014-01"]) == 88


@pytest.mark.parametrize(("values", "says"), [(["2024-01-01", "13.1.2024"], "'13.1.2024' in row 2"), (["2024-01-01", None], "first in row 2")])
def test_rows_without_a_month_are_refused(values: list[str], says: str) -> None:
    """A date that cannot be read, or is missing, is refused with its row."""
    with pytest.raises(DataError, match=says):
        months_of(pd.DataFrame({"when": values}), "when")
    with pytest.raises(DataError, match="Did you mean `when`"):
        months_of(pd.DataFrame({"when": values}), "wen")


def test_row_ids_come_from_the_key() -> None:
    """The key columns' values are joined by a bar; a bar inside a value cannot make two keys one."""
    frame = pd.DataFrame({"a": ["x", "x|1", "x"], "b": [1, 2, 2], "c": ["2", "", "ü"]})
    named = with_row_ids(frame, ["a", "b"], "2024-01")
    assert named["row_id"].tolist() == ["x|1", "x\\|1|2", "x|2"]
    assert list(named.columns) == ["row_id", "a", "b", "c"]
    assert "row_id" not in frame.columns
    clash = pd.DataFrame({"a": ["x|y", "x"], "b": ["z", "y|z"]})
    assert with_row_ids(clash, ["a", "b"], "2024-01")["row_id"].is_unique


def test_row_ids_of_people_are_pseudonyms() -> None:
    """Where the key names people the id is a digest: the same for the same key, unique, and nothing of the key in it."""
    frame = pd.DataFrame({"name": ["Ada Lovelace", "Bob"]})
    made = with_row_ids(frame, ["name"], "2024-01", pseudonyms=True)["row_id"]
    assert made.tolist() == with_row_ids(frame, ["name"], "2024-02", pseudonyms=True)["row_id"].tolist()
    assert made.is_unique
    assert not made.str.contains("Ada|Bob").any()


def test_row_ids_without_a_key_count_the_rows() -> None:
    """Without a key the id is the period and the position."""
    frame = pd.DataFrame({"a": [5, 5]}, index=["p", "q"])
    assert with_row_ids(frame, None, "2024-01")["row_id"].tolist() == ["2024-01-000000", "2024-01-000001"]


@pytest.mark.parametrize(
    ("frame", "keys", "says"),
    [
        ({"a": [1, 1, 2, 2, 2]}, ["a"], "not unique in 2024-01: 1, 2 occur"),
        ({"a": [1, None]}, ["a"], "missing in 1 of 2 rows of 2024-01, first in row 2"),
        ({"ab": [1]}, ["a"], "There is no column `a`"),
        ({"row_id": [1]}, None, "keeps for itself"),
    ],
)
def test_keys_that_do_not_identify_rows_are_refused(frame: dict[str, list[object]], keys: list[str] | None, says: str) -> None:
    """A repeated, missing or unknown key is refused, with the first values that repeat."""
    with pytest.raises(DataError, match=says):
        with_row_ids(pd.DataFrame(frame), keys, "2024-01")

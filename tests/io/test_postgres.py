"""Sources on a real PostgreSQL, started from the machine's own binaries and stopped again."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pandas as pd
import pytest
import sqlalchemy as sa

from tasks.core.catalogue import Source
from tasks.core.errors import ConflictError, DataError, IntegrityError, UnavailableError
from tasks.io.ledger import Ledger
from tasks.io.sources import months_of, read_source

PASSWORD = "p@ss/wörd:%41 ${X}"  # noqa: S105  # characters that mean something in a URL


def binaries() -> Path | None:
    """The folder of initdb, pg_ctl and postgres: on the PATH, or where Debian keeps it, newest version first."""
    found = shutil.which("initdb")
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name) if path.parent.name.isdigit() else 0)
    folders = [*([Path(found).resolve().parent] if found else []), *reversed(versions)]
    return next((folder for folder in folders if all((folder / name).is_file() for name in ("initdb", "pg_ctl", "postgres"))), None)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A PostgreSQL that asks for a password, as `host:port/postgres`. PostgreSQL refuses to run as root, so root starts it as `postgres`."""
    folder = binaries()
    if folder is None:
        pytest.skip("no PostgreSQL binaries (initdb, pg_ctl, postgres) on this machine")
    become: list[str] = []
    if os.geteuid() == 0:
        if shutil.which("runuser") is None or subprocess.run(["id", "postgres"], capture_output=True, check=False).returncode:
            pytest.skip("running as root, and there is no `postgres` user to start PostgreSQL as")
        become = ["runuser", "-u", "postgres", "--"]
    with tempfile.TemporaryDirectory(prefix="equipoise-pg-", ignore_cleanup_errors=True) as made:
        home = Path(made)
        (home / "password").write_text(PASSWORD, encoding="utf-8")
        if become:
            shutil.chown(home, "postgres")
            shutil.chown(home / "password", "postgres")
        port, data = free_port(), home / "data"

        def run(*command: str | Path) -> None:
            # to a file: the server that pg_ctl leaves running would keep a pipe open
            with (home / "output.txt").open("a+b") as output:
                done = subprocess.run([*become, *command], cwd=home, stdout=output, stderr=output, timeout=120, check=False)
                output.seek(0)
                assert done.returncode == 0, output.read().decode(errors="replace")

        run(folder / "initdb", "-D", data, "-U", "equipoise", "-A", "scram-sha-256", "--pwfile", home / "password", "-E", "UTF8", "--locale=C", "--no-sync")
        run(folder / "pg_ctl", "-D", data, "-w", "-t", "60", "-l", home / "log", "-o", f"-p {port} -c listen_addresses=127.0.0.1 -k {home} -F", "start")
        try:
            yield f"127.0.0.1:{port}/postgres"
        finally:
            run(folder / "pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")


@pytest.fixture(scope="module")
def location(server: str) -> str:
    """The location as a catalogue would have it, the tables filled."""
    host, rest = server.split(":")
    port, database = rest.split("/")
    engine = sa.create_engine(sa.URL.create("postgresql+psycopg", "equipoise", PASSWORD, host, int(port), database))
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE SCHEMA housing"))
        connection.execute(
            sa.text(
                'CREATE TABLE housing.sales (id bigint PRIMARY KEY, "größe" numeric(8, 2), city text, "on" date, at timestamptz, sold boolean, rooms integer)'
            )
        )
        connection.execute(
            sa.text(
                "INSERT INTO housing.sales VALUES (1, 80.25, 'Köln', '2024-01-31', '2024-02-01 04:00:00+00', true, 3),"
                " (2, NULL, '100% neu', '2024-02-01', '2024-02-01 06:00:00+00', false, NULL)"
            )
        )
        pd.DataFrame({"x": range(1000), "y": [value / 3 for value in range(1000)]}).to_sql("plain", connection, index=False)
    engine.dispose()
    return f"postgresql+psycopg://equipoise:${{EQUIPOISE_TEST_PG_PASSWORD}}@{server}"


@pytest.fixture(autouse=True)
def _password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EQUIPOISE_TEST_PG_PASSWORD", PASSWORD)


def test_of_twenty_promotions_on_postgresql_one_wins(server: str) -> None:
    """Twenty writers that saw the same head promote at once: one entry, the chain holds, and a changed row is found."""
    host, rest = server.split(":")
    port, database = rest.split("/")
    url = sa.URL.create("postgresql+psycopg", "equipoise", PASSWORD, host, int(port), database)
    text = url.render_as_string(hide_password=False)
    ledger = Ledger(text)
    ledger.append("boston", "registered", 1, {"evidence": "e", "ü": "é"})
    head, ready = ledger.head(), Barrier(20)

    def attempt(version: int) -> bool:
        own = Ledger(text)
        own.head()
        ready.wait()
        try:
            own.append("boston", "promoted", version, {}, expected=head)
        except ConflictError:
            return False
        finally:
            own.close()
        return True

    with ThreadPoolExecutor(20) as pool:
        won = list(pool.map(attempt, range(1, 21)))
    assert won.count(True) == 1
    assert [event.version for event in ledger.events("boston") if event.kind == "promoted"] == [won.index(True) + 1]
    pin = ledger.pin()
    ledger.hold_against(pin)
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE events SET version = version + 1 WHERE sequence = 2"))
    engine.dispose()
    with pytest.raises(IntegrityError, match="Entry 2 is not what was written there"):
        ledger.events()
    ledger.close()


def test_a_table_is_read_with_its_types(location: str) -> None:
    """A table in a schema comes with numbers as numbers, text as text, dates and moments as such, and a password of any characters works."""
    frame = read_source(Source(kind="sql", location=location, table="housing.sales"))
    assert frame["größe"].dtype == "float64"
    assert frame["größe"].iloc[0] == 80.25
    assert frame["größe"].isna().tolist() == [False, True]
    assert frame["city"].tolist() == ["Köln", "100% neu"]
    assert frame["id"].dtype == "int64"
    assert frame["sold"].dtype == "bool"
    assert {period: rows["id"].tolist() for period, rows in months_of(frame, "on").items()} == {"2024-01": [1], "2024-02": [2]}
    assert {period: rows["id"].tolist() for period, rows in months_of(frame, "at", "America/New_York").items()} == {"2024-01": [1], "2024-02": [2]}


def test_a_query_is_read_as_written(location: str) -> None:
    """Casts, percent signs and colons in a query reach the server as they are."""
    text = "SELECT id::text AS id, '12:30' || ':x' AS t FROM housing.sales WHERE city LIKE '100%'"
    assert read_source(Source(kind="sql", location=location, query=text)).to_dict("list") == {"id": ["2"], "t": ["12:30:x"]}


def test_all_rows_of_a_table_come(location: str) -> None:
    """A thousand rows give the sums that the server gives."""
    frame = read_source(Source(kind="sql", location=location, table="plain"))
    sums = read_source(Source(kind="sql", location=location, query="SELECT count(*) AS n, sum(x) AS x, sum(y) AS y FROM plain"))
    assert [len(frame), frame["x"].sum(), frame["y"].sum()] == pytest.approx(sums.iloc[0].astype("float64").tolist())


def test_a_query_changes_nothing_on_the_server(location: str) -> None:
    """Whatever a query does is rolled back."""
    text = "DELETE FROM plain RETURNING x"
    assert len(read_source(Source(kind="sql", location=location, query=text))) == 1000
    assert len(read_source(Source(kind="sql", location=location, table="plain"))) == 1000


def test_what_is_not_there_is_named(location: str) -> None:
    """A table that is not there is refused with the nearest; a wrong column in a query with what the server said."""
    with pytest.raises(DataError, match=r"no table `housing.sale`.*Did you mean `housing.sales`"):
        read_source(Source(kind="sql", location=location, table="housing.sale"))
    with pytest.raises(DataError, match="pliny"):
        read_source(Source(kind="sql", location=location, query="SELECT pliny FROM plain"))


def test_a_wrong_password_is_refused_and_not_shown(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that refuses the user is named, the password is not."""
    monkeypatch.setenv("EQUIPOISE_TEST_PG_PASSWORD", "wrong-but-secret")
    with pytest.raises(UnavailableError, match="password authentication failed") as refused:
        read_source(Source(kind="sql", location=location, table="plain"))
    assert "wrong-but-secret" not in str(refused.value)
    assert "${EQUIPOISE_TEST_PG_PASSWORD}" in str(refused.value)

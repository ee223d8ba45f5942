"""The ledger is append-only, hash-chained, and gives one place to one writer."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest

from tasks.core.errors import ConflictError, IntegrityError, UnavailableError
from tasks.io.ledger import Ledger


@pytest.fixture
def ledger(tmp_path):
    made = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield made
    made.close()


def test_events_come_back_in_order(ledger):
    """What was appended is read back, oldest first, for all cases or one."""
    ledger.append("boston", "registered", 1, {"evidence": "e", "ü": "é"})
    ledger.append("adult", "registered", 1, {})
    ledger.append("boston", "promoted", 1, {"previous": None})
    assert [(event.sequence, event.case, event.kind) for event in ledger.events()] == [
        (1, "boston", "registered"),
        (2, "adult", "registered"),
        (3, "boston", "promoted"),
    ]
    assert [event.body for event in ledger.events("boston")] == [{"evidence": "e", "ü": "é"}, {"previous": None}]
    assert ledger.head() == 3


@pytest.mark.parametrize(
    "attack",
    [
        "UPDATE events SET body = '{}' WHERE sequence = 2",
        "UPDATE events SET version = 7 WHERE sequence = 2",
        "DELETE FROM events WHERE sequence = 2",
        "DELETE FROM events WHERE sequence = 1",
        "UPDATE events SET sequence = CASE sequence WHEN 1 THEN -2 WHEN 2 THEN -1 ELSE sequence END WHERE sequence < 3",
    ],
)
def test_changed_record_is_noticed(ledger, tmp_path, attack):
    """A changed, deleted or reordered entry is found when the ledger is read."""
    for version in (1, 2, 3):
        ledger.append("boston", "registered", version, {"evidence": str(version)})
    with sqlite3.connect(tmp_path / "ledger.db") as database:
        database.execute(attack)
    database.close()
    with pytest.raises(IntegrityError, match="is not what was written there"):
        ledger.events()


def test_stale_writer_is_refused(ledger):
    """A writer who has not seen the newest entry writes nothing."""
    seen = ledger.head()
    ledger.append("boston", "promoted", 1, {})
    with pytest.raises(ConflictError, match="has moved on"):
        ledger.append("boston", "promoted", 2, {}, expected=seen)
    assert [event.version for event in ledger.events()] == [1]


def test_of_many_promoters_one_wins(tmp_path):
    """Of eight writers that start from the same entry, exactly one promotion is recorded."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    first = Ledger(url)
    first.append("boston", "registered", 1, {})

    def attempt(version):
        own = Ledger(url)
        try:
            own.append("boston", "promoted", version, {}, expected=1)
        except ConflictError:
            return False
        finally:
            own.close()
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(attempt, range(8)))
    assert won.count(True) == 1
    assert [event.version for event in first.events() if event.kind == "promoted"] == [won.index(True)]
    first.close()


def test_writers_without_a_condition_all_succeed(tmp_path):
    """Entries that depend on nothing are all taken, in some order, and the chain holds."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    ledger = Ledger(url)
    ledger.head()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda version: ledger.append("boston", "served", version, {}), range(20)))
    assert sorted(event.version for event in ledger.events()) == list(range(20))
    ledger.close()


def test_unreachable_database_is_said(tmp_path):
    """A ledger that cannot be opened names where it is, and no password."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UnavailableError, match=r"file/ledger\.db"):
        Ledger(f"sqlite:///{tmp_path / 'file' / 'ledger.db'}").events()
    with pytest.raises(UnavailableError) as caught:
        Ledger("postgresql+psycopg://me:hunter2@127.0.0.1:1/none").head()
    assert "hunter2" not in str(caught.value)


def test_errands_come_with_their_entry_and_go_when_done(ledger):
    """What has yet to be shown of an entry is known after a crash; an entry that was not written leaves none."""
    served = ledger.append("boston", "served", 1, {"period": "2024-05"}, errands=("evidently", "mlflow"))
    ledger.append("adult", "served", 1, {"period": "2024-05"}, errands=("mlflow",))
    with pytest.raises(ConflictError):
        ledger.append("boston", "served", 1, {"period": "2024-06"}, expected=0, errands=("mlflow",))
    again = Ledger(ledger.url)
    assert again.errands("boston") == [(served, "evidently"), (served, "mlflow")]
    for _ in range(2):
        again.done(served, "mlflow")
    assert again.errands("boston") == [(served, "evidently")]
    again.close()


def test_of_many_who_would_add_the_same_one_does(ledger):
    """Ten writers find the entry missing at the same time; it is there once."""

    def add(_):
        return ledger.append_unless("boston", "served", 1, {"period": "2024-05"}, lambda events: any(event.body["period"] == "2024-05" for event in events))

    ledger.head()
    with ThreadPoolExecutor(10) as pool:
        added = [found for found in pool.map(add, range(10)) if found]
    assert [event.sequence for event in ledger.events()] == [added[0].sequence]
    assert len(added) == 1

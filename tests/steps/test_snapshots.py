"""Snapshots never change: corrected rows make a further revision, labels come when the case says, and a month that is not over waits."""

import datetime as dt
from itertools import pairwise

import pandas as pd
import pytest

from tasks.core.errors import ConflictError, DataError
from tasks.io.workbench import Workbench
from tasks.snapshots import take_snapshots


def edit(project, change):
    """The source's table, changed."""
    table = pd.read_csv(project / "loans.csv")
    change(table).to_csv(project / "loans.csv", index=False)


def after(project, periods):
    """The case with its labels so many periods later."""
    path = project / "configs/loans.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("periods: {column: month", f"periods: {{column: month, labels_after: {periods}"), encoding="utf-8")


def test_corrected_rows_make_a_revision_beside_the_first(project):
    """Nothing is overwritten: the first revision is read as it was, the newest is what a period means, and asking again adds nothing."""
    bench = Workbench.open("loans")
    take_snapshots.fn(bench)
    before = bench.snapshot("features", "2024-01")[1]
    edit(project, lambda table: table.assign(amount=table["amount"].where(table.index != 0, 1.0)))
    with pytest.raises(ConflictError, match=r"2024-01.*--revise"):
        take_snapshots.fn(bench)
    assert take_snapshots.fn(bench, revise=True)[1] == 1  # labels and the other months are as they were
    assert take_snapshots.fn(bench, revise=True)[1] == 0
    first, second = bench.revisions("features", "2024-01")
    assert (first.key, second.key, second.parent) == ("2024-01", "2024-01-r2", first.digest)
    pd.testing.assert_frame_equal(bench.store.get_frame(first.digest), before)
    assert bench.snapshot("features", "2024-01")[1]["amount"][0] == 1.0
    assert bench.newest("features", "2024-01") == (second, 2)
    assert len(bench.revisions("labels", "2024-01")) == 1
    assert bench.periods() == ["2024-01", "2024-02", "2024-03"]
    edit(project, lambda table: table.assign(amount=table["amount"].where(table.index != 0, before["amount"][0])))
    take_snapshots.fn(bench, revise=True)  # back to what it said at first: that is news as well
    assert [one.digest for one in bench.revisions("features", "2024-01")] == [first.digest, second.digest, first.digest]


def test_however_the_source_is_cut_into_parts_the_snapshots_are_the_same(project, monkeypatch):
    """A folder of Parquet files gives the digests that one file of all its rows gives, also where a column's type differs from part to part;
    one period of it is the same again.
    """
    table = pd.read_csv(project / "loans.csv")
    table["rooms"] = pd.array([None if month == "2024-03-15" else 4 for month in table["month"]], dtype="Int64")
    catalogue = project / "catalog/loans.yaml"
    text = catalogue.read_text(encoding="utf-8")
    digests = []
    for place, cuts in (("one", [0, 1800]), ("three", [0, 250, 1300, 1800])):
        (project / place).mkdir()
        for number, (first, last) in enumerate(pairwise(cuts)):
            plain = table.iloc[first:last].assign(rooms=lambda rows: rows["rooms"].astype("float64" if rows["rooms"].isna().any() else "int64"))
            plain.to_parquet(project / place / f"{number}.parquet", index=False)
        catalogue.write_text(text.replace("path: loans.csv", f"path: {place}/"), encoding="utf-8")
        for period in (None, "2024-01"):
            monkeypatch.setenv("EQUIPOISE_HOME", str(project / f"home {place} {period}"))
            bench = Workbench.open("loans")
            take_snapshots.fn(bench, period)
            digests.append({(kind, found): bench.newest(kind, found)[0].digest for kind in ("features", "labels") for found in bench.periods(kind)})
    assert digests[0] == digests[2]
    assert len(digests[0]) == 6
    assert digests[1] == digests[3] == {key: digest for key, digest in digests[0].items() if key[1] == "2024-01"}


def test_labels_come_with_the_period_that_the_case_says(project):
    """With `labels_after: 1` the newest period has no labels yet; one period's snapshot brings the labels of the one before."""
    after(project, 1)
    bench = Workbench.open("loans")
    take_snapshots.fn(bench, "2024-01")
    assert (bench.periods(), bench.periods("labels")) == (["2024-01"], [])
    take_snapshots.fn(bench, "2024-02")
    assert (bench.periods(), bench.periods("labels")) == (["2024-01", "2024-02"], ["2024-01"])
    take_snapshots.fn(bench)
    assert bench.periods("labels") == ["2024-01", "2024-02"]
    assert set(bench.snapshot("labels", "2024-02")[1]["row_id"]) == set(bench.snapshot("features", "2024-02")[1]["row_id"])


def test_a_month_that_is_not_over_waits(project):
    """More of its rows will come, so it is left out; asked for, it is refused with the day from which it can be had."""
    present = f"{dt.datetime.now(dt.UTC):%Y-%m}"
    edit(project, lambda table: table.assign(month=table["month"].str.replace("2024-03", present)))
    bench = Workbench.open("loans")
    take_snapshots.fn(bench)
    assert bench.periods() == ["2024-01", "2024-02"]
    with pytest.raises(DataError, match=rf"{present} is not over yet\. Take it from \d{{4}}-\d\d-01 on"):
        take_snapshots.fn(bench, present)

"""What is checked of a period, whole or column by column."""

from functools import partialmethod

import pytest

from tasks.checks import check_snapshot
from tasks.core.rules import Rule
from tasks.io.store import Store
from tasks.io.workbench import Workbench
from tasks.snapshots import take_snapshots
from tests.conftest import loans

MONTH = "2024-02"


def findings(project, monkeypatch, table, rules, rows):
    """What is found of a month of this table, with these rules beside the entry's own, in parts of so many rows."""
    table.to_csv(project / "loans.csv", index=False)
    monkeypatch.setenv("EQUIPOISE_HOME", str(project / f"home {rows}"))
    with monkeypatch.context() as patch:
        patch.setattr(Store, "put_parts", partialmethod(Store.put_parts, rows=rows))
        opened = Workbench.open("loans")
        bench = Workbench(opened.home, opened.case, opened.dataset.model_copy(update={"rules": (*opened.dataset.rules, *rules)}))
        take_snapshots.fn(bench, MONTH)
    assert len(bench.store.parts(bench.newest("features", MONTH)[0].digest)) == -(-600 // rows)
    return check_snapshot.fn(bench, MONTH, for_training=False)


def rule(expectation, column=None, **kwargs):
    return Rule(column=column, expectation=expectation, kwargs=kwargs, severity="warning", description=expectation)


RULES = (
    rule("expect_column_values_to_be_between", "amount", min_value=5_000, mostly=0.99),
    rule("expect_column_values_to_be_between", "income", min_value=-1e6),
    rule("expect_column_pair_values_a_to_be_greater_than_b", column_A="amount", column_B="income"),
    rule("expect_column_values_to_be_unique", "region"),
    rule("expect_column_values_to_be_in_set", "repaid", value_set=["yes"]),
    rule("expect_column_pair_values_to_be_in_set", column_A="region", column_B="repaid", value_pairs_set=[["Nord", "yes"]]),
    rule("expect_table_row_count_to_be_between", min_value=601),
    rule("expect_table_column_count_to_equal", value=99),
)


def test_a_period_of_many_parts_is_checked_column_by_column_with_the_same_findings(project, monkeypatch):
    """Rules of a column, of two, of a feature and a label and of the table find what they find in the whole, with the same counts."""
    table = loans()
    whole = findings(project, monkeypatch, table, RULES, 1000)
    parts = findings(project, monkeypatch, table, RULES, 200)
    assert len(whole) == 7
    assert sorted(map(str, parts)) == sorted(map(str, whole))


@pytest.mark.parametrize(
    "change",
    [lambda table: table.drop(columns="amount"), lambda table: table.assign(more=1), lambda table: table.assign(income="x", amount=None)],
    ids=["a column is missing", "a column is undeclared", "types are others"],
)
def test_what_blocks_a_period_blocks_it_in_parts(project, monkeypatch, change):
    """Columns that are missing, unknown, empty or of another type block, and no rule is run."""
    table = change(loans())
    whole = findings(project, monkeypatch, table, RULES, 1000)
    assert {one.severity for one in whole} == {"block"}
    assert sorted(map(str, findings(project, monkeypatch, table, RULES, 200))) == sorted(map(str, whole))

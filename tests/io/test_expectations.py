"""Quality rules run on Great Expectations and bring back verdicts and counts, never values."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from tasks.core.catalogue import Column, Dataset, Source, dataset_from_contract
from tasks.core.errors import CaseError
from tasks.core.rules import Rule
from tasks.io.expectations import rule_findings, run_rules

ROOT = Path(__file__).resolve().parents[2]


def rule(expectation: str, column: str | None = "amount", severity: str = "error", **kwargs: Any) -> Rule:
    return Rule(column=column, expectation=expectation, kwargs=kwargs, severity=severity, description="holds")


def dataset(*rules: Rule) -> Dataset:
    columns = tuple(Column(name=name, type="number", description=name, classification="internal") for name in ("amount", "city"))
    source = Source(kind="file", location="x", format="csv")
    return Dataset(name="loans", title="Loans", description="", version="1", columns=columns, source=source, rules=rules)


FRAME = pd.DataFrame({"amount": [1.0, 5.0, None, 9.0], "city": ["Oslo", "Oslo", "secret-town", None]})


@pytest.mark.parametrize("name", ["boston", "adult", "flights"])
def test_shipped_tables_keep_their_rules(name: str) -> None:
    """Every rule of every shipped entry runs, and holds, on the shipped table (flights: its January)."""
    document = yaml.safe_load((ROOT / "catalog" / f"{name}.yaml").read_text(encoding="utf-8"))
    entry = dataset_from_contract(document, name)
    path = ROOT / entry.source.location
    frame = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path, filters=[("month", "==", 1)] if name == "flights" else None)
    results = run_rules(entry, frame)
    assert [result.rule for result in results] == list(entry.rules)
    assert {result.verdict for result in results} == {"passed"}
    assert rule_findings(entry, results) == ()


def test_counts_are_those_of_the_table() -> None:
    """Worked by hand: one of four amounts is missing, two of the three others are above 4, Oslo is there twice."""
    results = run_rules(
        dataset(
            rule("expect_column_values_to_not_be_null"),
            rule("expect_column_values_to_be_between", max_value=4),
            rule("expect_column_values_to_be_unique", "city"),
            rule("expect_table_row_count_to_be_between", None, min_value=5),
            rule("expect_column_values_to_not_be_null", mostly=0.75),
        ),
        FRAME,
    )
    assert [(result.verdict, result.checked, result.exceptions) for result in results] == [
        ("failed", 4, 1),
        ("failed", 3, 2),
        ("failed", 3, 2),
        ("failed", 4, None),
        ("passed", 4, 1),
    ]


def test_errors_block_and_warnings_warn() -> None:
    """A failed rule becomes a finding as grave as the rule says, with its bounds and counts."""
    entry = dataset(rule("expect_column_values_to_be_between", max_value=4), rule("expect_column_values_to_be_between", severity="warning", max_value=6))
    block, warn = rule_findings(entry, run_rules(entry, FRAME))
    assert (block.kind, block.severity, block.column) == ("rule", "block", "amount")
    assert "in 2 of 3 rows (max_value: 4)" in block.message
    assert (warn.severity, warn.column) == ("warn", "amount")
    assert "in 1 of 3 rows" in warn.message


def test_no_value_of_the_table_leaves() -> None:
    """Results and findings hold counts only, even where a rule fails on, or breaks at, a value."""
    entry = dataset(
        rule("expect_column_values_to_be_in_set", "city", value_set=["Oslo"]),
        rule("expect_column_values_to_be_between", "city", min_value=3),
        rule("expect_column_max_to_be_between", "city", max_value=3),
    )
    results = run_rules(entry, FRAME)
    assert "secret-town" not in repr(results) + repr(rule_findings(entry, results)) + repr([result.to_dict() for result in results])


def test_a_rule_that_cannot_be_run_blocks() -> None:
    """A rule on values of the wrong type is neither passed nor skipped: it blocks, and says what kind of error it met."""
    entry = dataset(rule("expect_column_values_to_be_between", "city", severity="warning", min_value=3))
    (result,) = run_rules(entry, FRAME)
    (finding,) = rule_findings(entry, (result,))
    assert (result.verdict, result.passed, finding.severity) == ("broken", False, "block")
    assert "could not be run" in finding.message
    assert "Error" in result.note


def test_rules_on_absent_columns_wait() -> None:
    """A label that has not come yet breaks no rule; the check of columns says when a column must be there."""
    entry = dataset(rule("expect_column_values_to_not_be_null"), rule("expect_compound_columns_to_be_unique", None, column_list=["amount", "city"]))
    results = run_rules(entry, FRAME[["city"]])
    assert [result.verdict for result in results] == ["absent", "absent"]
    assert rule_findings(entry, results) == ()


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (rule("expect_column_values_to_be_betwixt"), "Did you mean `expect_column_values_to_be_between`?"),
        (rule("expect_column_values_to_be_between", minimum=3), "arguments it does not take"),
    ],
)
def test_expectations_that_do_not_exist_are_refused(broken: Rule, told: str) -> None:
    """A misspelt expectation or argument is the catalogue's fault and is named with the nearest right one."""
    with pytest.raises(CaseError, match=r"catalog/loans\.yaml: A quality rule of column `amount`") as caught:
        run_rules(dataset(broken), FRAME)
    assert told in str(caught.value)


def test_a_table_without_rules_needs_no_great_expectations() -> None:
    """No rules, no results."""
    assert run_rules(dataset(), FRAME) == ()


def test_running_twice_leaves_nothing_behind(tmp_path: Path) -> None:
    """A second run in one process gives the same, nothing is printed, no file appears, and no socket beyond loopback is opened."""
    script = f"""
import os, socket, sys
sys.path.insert(0, {str(ROOT)!r})
real = socket.socket.connect
def guard(self, address):
    host = address[0] if isinstance(address, tuple) else "local"
    if host not in ("127.0.0.1", "::1", "localhost", "local"):
        raise SystemExit(f"connected to {{host}}")
    return real(self, address)
socket.socket.connect = guard
socket.getaddrinfo = lambda *args, **kwargs: sys.exit(f"looked up {{args[0]}}")
import pandas as pd
from tasks.core.catalogue import Column, Dataset, Source
from tasks.core.rules import Rule
from tasks.io.expectations import run_rules
assert "great_expectations" not in sys.modules
rule = Rule(column="a", expectation="expect_column_values_to_be_between", kwargs={{"min_value": 2}}, severity="error", description="x")
entry = Dataset(name="d", title="", description="", version="1", columns=(), source=Source(kind="file", location="x", format="csv"), rules=(rule,))
frame = pd.DataFrame({{"a": [1, 2, 3]}})
assert run_rules(entry, frame) == run_rules(entry, frame)
assert run_rules(entry, frame)[0].exceptions == 1
"""
    # no CI and no pytest in sight: libraries silence themselves under either
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []

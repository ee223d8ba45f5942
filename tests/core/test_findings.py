"""What the catalogue check says of a use and of a table."""

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tasks.core.case import Case
from tasks.core.catalogue import Column, Dataset, RiskFlag, Source
from tasks.core.dtypes import fault
from tasks.core.findings import Finding, blocks, check_frame, check_target, check_use

TODAY = dt.date(2026, 3, 1)
SENSITIVE = frozenset({RiskFlag.SENSITIVE})
EVALUATE = ("evaluate", "report")


def facts(name: str, type_: str = "number", **more: Any) -> Column:
    return Column(name=name, type=type_, description=f"The {name}.", classification="internal", **more)


def dataset(*columns: Column) -> Dataset:
    standard = (
        facts("amount"),
        facts("city", "string"),
        facts("sex", "string", flags=SENSITIVE, why="Protected.", uses=EVALUATE),
        facts("paid_late", flags=frozenset({RiskFlag.LEAKAGE}), why="Later.", uses=EVALUATE),
        facts("religion", "string", flags=frozenset({RiskFlag.PROHIBITED}), why="The law.", uses=("evaluate",)),
        facts("name", "string", flags=frozenset({RiskFlag.PII}), why="A person.", uses=EVALUATE),
        facts("branch", "string", uses=EVALUATE),
        facts("ledger", "string", uses=("train",)),
        facts("repaid", "string", label=True),
        facts("recovered", label=True),
    )
    return Dataset(
        name="loans", title="Loans", description="", version="1", columns=columns or standard, source=Source(kind="file", location="x", format="csv")
    )


def case(**changes: Any) -> Case:
    values: dict[str, Any] = {
        "case": "credit",
        "purpose": "Test.",
        "dataset": "loans",
        "task": "binary",
        "target": {"column": "repaid", "positive": "yes"},
        "features": ["amount", "city"],
        "periods": {"simulate": {"first": "2024-01", "months": 2}},
        "candidates": [{"name": "plain", "estimator": {"kind": "logistic"}}],
        "metrics": {"primary": "accuracy"},
        "limits": [{"metric": "accuracy", "at_least": 0.5}],
        "carbon": {"country": "FRA"},
    }
    return Case.model_validate({**values, **changes})


def waiver(column: str, until: str = "2026-12-31") -> dict[str, str]:
    return {"column": column, "who": "Ada", "why": "Audited.", "until": until}


def found(**changes: Any) -> list[tuple[str, str, str | None]]:
    return [(finding.kind, finding.severity, finding.column) for finding in check_use(case(**changes), dataset(), TODAY)]


def test_a_plain_use_has_no_findings() -> None:
    """Trainable features, a label as target and evaluable cohorts give nothing to say."""
    assert found(cohorts={"by": [["sex"], ["sex", "branch"]], "where": {"Late": "paid_late > 3", "Right": "y_true = y_pred"}}) == []


@pytest.mark.parametrize(
    ("feature", "expected"),
    [
        ("sex", ("flagged_feature", "block", "sex")),
        ("paid_late", ("flagged_feature", "block", "paid_late")),
        ("religion", ("flagged_feature", "block", "religion")),
        ("branch", ("forbidden_use", "block", "branch")),
        ("recovered", ("forbidden_use", "block", "recovered")),
        ("amuont", ("unknown_column", "block", "amuont")),
    ],
)
def test_features_that_may_not_be_trained_on_block(feature: str, expected: tuple[str, str, str]) -> None:
    """A flagged, forbidden, label or unknown column among the features blocks."""
    assert found(features=["amount", feature]) == [expected]


def test_the_message_names_the_flag_the_files_and_both_ways_out() -> None:
    """Whoever reads the finding can act on it without looking anything up."""
    (finding,) = check_use(case(features=["sex"]), dataset(), TODAY)
    for word in ("`sex`", "`sensitive`", "catalog/loans.yaml", "configs/credit.yaml", "Drop it", "record a waiver"):
        assert word in str(finding)
    (finding,) = check_use(case(features=["amuont"]), dataset(), TODAY)
    assert "Did you mean `amount`?" in finding.fix


@pytest.mark.parametrize("column", ["sex", "paid_late", "branch"])
@pytest.mark.parametrize(("until", "expected"), [("2026-03-01", []), ("2026-12-31", []), ("2026-02-28", ["expired_waiver"])])
def test_a_waiver_holds_through_its_last_day(column: str, until: str, expected: list[str]) -> None:
    """A standing waiver lets a column through; the day after its last, the column blocks again."""
    assert [kind for kind, _, _ in found(features=["amount", column], waivers=[waiver(column, until)])] == expected


def test_an_expired_waiver_says_whose_it_was() -> None:
    """The finding names the person and the day, so that they can be asked."""
    (finding,) = check_use(case(features=["sex"], waivers=[waiver("sex", "2026-01-31")]), dataset(), TODAY)
    assert finding.severity == "block"
    assert "Ada ended on 2026-01-31" in finding.message


def test_one_standing_waiver_among_expired_ones_is_enough() -> None:
    """A renewed waiver stands beside the old one."""
    assert found(features=["sex"], waivers=[waiver("sex", "2025-01-31"), waiver("sex")]) == []


def test_no_waiver_lifts_prohibited() -> None:
    """A prohibited column is never trained on, and the useless waiver is pointed out."""
    assert found(features=["religion"], waivers=[waiver("religion")]) == [("flagged_feature", "block", "religion"), ("needless_waiver", "warn", "religion")]


@pytest.mark.parametrize(("features", "column"), [(["amount"], "sex"), (["amount"], "amount"), (["amount"], "sxe")])
def test_waivers_without_effect_warn(features: list[str], column: str) -> None:
    """A waiver for a column that needs none, is not used or does not exist warns."""
    assert found(features=features, waivers=[waiver(column)]) == [("needless_waiver", "warn", column)]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("branch", [("target", "block", "branch"), ("forbidden_use", "block", "branch")]),
        ("city", [("target", "block", "city")]),
        ("sex", [("target", "block", "sex"), ("target", "block", "sex")]),
        ("repayed", [("unknown_column", "block", "repayed")]),
    ],
)
def test_targets_are_labels_without_flags(target: str, expected: list[tuple[str, str, str]]) -> None:
    """A target that is no label, is flagged, or is unknown blocks."""
    assert found(target={"column": target, "positive": "yes"}, features=["amount"]) == expected


@pytest.mark.parametrize(
    ("cohorts", "expected"),
    [
        ({"by": [["ledger"]]}, [("forbidden_use", "block", "ledger"), ("forbidden_use", "warn", "ledger")]),
        ({"where": {"Some": "ledger = 'a'"}}, [("forbidden_use", "block", "ledger")]),
        ({"by": [["name"]]}, [("forbidden_use", "block", "name")]),
        ({"by": [["religion"]]}, [("forbidden_use", "warn", "religion")]),
        ({"by": [["gender"]]}, [("unknown_column", "block", "gender")]),
        ({"by": [["sex"]], "bins": {"amont": [1]}}, [("unknown_column", "block", "amont")]),
        ({"where": {"Some": "amont > 3"}}, [("condition", "block", None)]),
        ({"where": {"Some": "amount >"}}, [("condition", "block", None)]),
    ],
)
def test_cohorts_need_columns_that_may_be_evaluated_and_shown(cohorts: dict[str, Any], expected: list[tuple[str, str, str | None]]) -> None:
    """Cohorts by a column that may not be evaluated, that names a person, or that is not there block; one not to be reported warns."""
    assert found(cohorts=cohorts) == expected


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("sex", []),
        ("ledger", [("forbidden_use", "block", "ledger")]),
        ("religion", [("forbidden_use", "block", "religion")]),
        ("gender", [("unknown_column", "block", "gender")]),
    ],
)
def test_mitigations_aim_at_columns_that_may_be_evaluated(by: str, expected: list[tuple[str, str, str]]) -> None:
    """A mitigation may read a sensitive column, and not a forbidden, prohibited or unknown one."""
    spec = {"name": "fair", "estimator": {"kind": "logistic"}, "pre": [{"method": "reweighing", "by": [by]}]}
    assert found(candidates=[spec]) == expected


@pytest.mark.parametrize(
    ("changes", "column"),
    [
        ({"periods": {"column": "month"}}, "month"),
        ({"split": {"kind": "group", "column": "house"}}, "house"),
        ({"periods": {"simulate": {"first": "2024-01", "months": 2, "drifts": [{"columns": ["x"], "kind": "scale", "size": 2, "first": 2}]}}}, "x"),
    ],
)
def test_columns_named_anywhere_in_a_case_exist(changes: dict[str, Any], column: str) -> None:
    """A period, split or drift column that the catalogue does not know blocks."""
    assert found(**changes) == [("unknown_column", "block", column)]


def test_resampling_a_table_with_a_key_warns() -> None:
    """Months made by resampling repeat rows, which a key forbids: said before the rule fails."""
    keyed = dataset(facts("id", "integer", key=True), *dataset().columns)
    assert [(finding.kind, finding.severity, finding.column) for finding in check_use(case(), keyed, TODAY)] == [("rule", "warn", "id")]


def frame(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"row_id": ["a", "b", "c"], **columns})


TABLE = dataset(facts("amount"), facts("größe", "integer"), facts("repaid", "string", label=True))


def kinds(table: pd.DataFrame, entry: Dataset = TABLE) -> list[tuple[str, str | None]]:
    findings = check_frame(entry, table)
    assert all(finding.severity == "block" for finding in findings)
    return [(finding.kind, finding.column) for finding in findings]


def test_a_table_as_declared_has_no_findings() -> None:
    """Declared columns, `row_id` and whole numbers with gaps are as they should be; labels may come or be absent or empty."""
    plain = frame(amount=[1.5, None, 2], größe=[1, None, 3])
    assert kinds(plain) == []
    assert kinds(plain.assign(repaid=["yes", None, "no"])) == []
    assert kinds(plain.assign(repaid=[None, None, None])) == []


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (frame(amount=[1, 2, 3]), [("missing_column", "größe")]),
        (frame(amount=[1, 2, 3], größe=[1, 2, 3], extra=[1, 2, 3]), [("undeclared_column", "extra")]),
        (frame(amount=[1, 2, 3], groesse=[1, 2, 3]), [("missing_column", "größe"), ("undeclared_column", "groesse")]),
        (frame(amount=["1", "x", "3"], größe=[1, 2, 3]), [("type", "amount")]),
        (frame(amount=[1, 2, np.inf], größe=[1, 2.5, 3]), [("type", "amount"), ("type", "größe")]),
        (frame(amount=[None, None, None], größe=[1, 2, 3]), [("all_null", "amount")]),
        (frame(amount=[1, 2, 3], größe=[1, 2, 3]).iloc[:0], [("empty", None)]),
        (pd.DataFrame(), [("empty", None), ("missing_column", "amount"), ("missing_column", "größe")]),
        (frame(amount=[1, 2, 3], größe=[1, 2, 3], repaid=[1, 0, 1]), [("type", "repaid")]),
        (pd.DataFrame([[1, 2, 3]], columns=["amount", "größe", "größe"]), [("undeclared_column", "größe")]),
    ],
)
def test_a_table_that_is_not_as_declared_blocks(table: pd.DataFrame, expected: list[tuple[str, str | None]]) -> None:
    """Missing, extra, repeated, mistyped, infinite, all-null columns and an empty table each block by name."""
    assert kinds(table) == expected


def test_a_renamed_column_is_pointed_out() -> None:
    """A missing column and an undeclared one of nearly the same name are shown as what they probably are."""
    findings = check_frame(TABLE, frame(amounts=[1, 2, 3], größe=[1, 2, 3]))
    assert "`amounts`: was it renamed?" in findings[0].fix
    assert "Did you mean `amount`?" in findings[1].fix


def test_messages_about_types_hold_no_values() -> None:
    """A finding about a column counts its rows and never quotes what is in them."""
    table = frame(amount=["12", "secret-123", "7"], größe=[1, 2.5, 3])
    assert "secret-123" not in " ".join(map(str, check_frame(TABLE, table)))
    assert "not whole in 1 of 3 rows" in " ".join(map(str, check_frame(TABLE, table)))


UTC = dt.UTC


@pytest.mark.parametrize(
    ("type_", "held"),
    [
        ("integer", pd.Series([1, 2])),
        ("integer", pd.Series([1.0, np.nan])),
        ("integer", pd.Series([1, pd.NA], dtype="Int64")),
        ("integer", pd.Series([1, None], dtype="int64[pyarrow]")),
        ("integer", pd.Series([1, 2], dtype="uint8")),
        ("integer", pd.Series([1, None], dtype=object)),
        ("integer", pd.Series([1, 2], dtype="category")),
        ("number", pd.Series([1, 2])),
        ("number", pd.Series([1.5, pd.NA], dtype="Float64")),
        ("number", pd.Series([Decimal("1.5"), None])),
        ("number", pd.Series([1, 2.5], dtype=object)),
        ("string", pd.Series(["a", None])),
        ("string", pd.Series(["a", None], dtype=object)),
        ("string", pd.Series(["a", pd.NA], dtype="string")),
        ("string", pd.Series(["a", None], dtype="string[pyarrow]")),
        ("string", pd.Series(["a", "日本"], dtype="category")),
        ("boolean", pd.Series([True, False])),
        ("boolean", pd.Series([True, pd.NA], dtype="boolean")),
        ("boolean", pd.Series([True, None], dtype=object)),
        ("date", pd.Series(pd.to_datetime(["2024-01-31", None]))),
        ("date", pd.Series([dt.date(2024, 1, 31), None])),
        ("date", pd.Series(["2024-01-31", None])),
        ("timestamp", pd.Series(pd.to_datetime(["2024-01-31T10:00:00Z"]))),
        ("timestamp", pd.Series(pd.to_datetime(["2024-01-31"]))),
        ("timestamp", pd.Series([dt.datetime(2024, 1, 31, 10, tzinfo=UTC)], dtype=object)),
        ("timestamp", pd.Series(["2013-01-01T10:00:00Z", "2013-01-01 10:00"])),
    ],
)
def test_types_hold_however_pandas_stores_them(type_: str, held: pd.Series) -> None:
    """Nullable, Arrow, categorical, object and gap-ridden columns are judged by what they hold."""
    assert fault(held, type_) is None


@pytest.mark.parametrize(
    ("type_", "values"),
    [
        ("integer", pd.Series([1.5, 2])),
        ("integer", pd.Series(["1", "2"])),
        ("integer", pd.Series([True, False])),
        ("number", pd.Series([True, False])),
        ("number", pd.Series(["1.5", None])),
        ("number", pd.Series([1, "2"], dtype=object)),
        ("number", pd.Series([1.0, -np.inf])),
        ("number", pd.Series(pd.to_datetime(["2024-01-31"]))),
        ("string", pd.Series([1, 2])),
        ("string", pd.Series(["a", 1], dtype=object)),
        ("string", pd.Series([True, False])),
        ("string", pd.Series([1, 2], dtype="category")),
        ("boolean", pd.Series([0, 1])),
        ("boolean", pd.Series(["true", "false"])),
        ("date", pd.Series(pd.to_datetime(["2024-01-31 10:00"]))),
        ("date", pd.Series(["31.01.2024"])),
        ("date", pd.Series(["2024-02-30"])),
        ("date", pd.Series([20240131])),
        ("timestamp", pd.Series(["yesterday"])),
        ("timestamp", pd.Series([1704067200])),
    ],
)
def test_types_that_do_not_hold_are_faults(type_: str, values: pd.Series) -> None:
    """Numbers in text, flags as numbers, fractions as whole numbers, impossible dates and mixtures are faults."""
    assert fault(values, type_) is not None


REGRESSION = {"task": "regression", "target": {"column": "recovered"}, "metrics": {"primary": "mae"}, "limits": [{"metric": "mae", "at_most": 1}]}
ABOVE = {"target": {"column": "recovered", "above": 15}}


@pytest.mark.parametrize(
    ("changes", "labels"),
    [
        ({}, ["yes", "no", None]),
        (ABOVE, [3, 20, None]),
        (ABOVE, [3.5, 20, np.nan]),
        (REGRESSION, [1.5, 2, 3]),
    ],
)
def test_labels_that_can_be_learned_from(changes: dict[str, Any], labels: list[Any]) -> None:
    """Two classes with or without gaps, and finite numbers that differ, are fine."""
    assert check_target(case(**changes), pd.Series(labels)) == ()


@pytest.mark.parametrize(
    ("changes", "labels", "told"),
    [
        ({}, [None, None], "no value in any of 2 rows"),
        ({}, ["yes", "yes"], "one class only"),
        ({}, ["no", "Yes"], "No label of `repaid` is the positive class `yes`"),
        (ABOVE, [np.nan, np.nan], "no value in any of 2 rows"),
        (ABOVE, [20, 30, np.nan], "Every label of `recovered` is above 15: there is one class only"),
        (ABOVE, [15, 3], "No label of `recovered` is above 15: there is one class only"),
        (ABOVE, [3, np.inf], "infinite in 1 of 2 rows"),
        (ABOVE, ["3", "20"], "must hold numbers"),
        (REGRESSION, [1, np.nan, 3], "missing in 1 of 3 rows"),
        (REGRESSION, [1, -np.inf, 3], "infinite in 1 of 3 rows"),
        (REGRESSION, ["a", "b"], "must hold numbers"),
        (REGRESSION, [2, 2], "the same in all 2 rows"),
        (REGRESSION, [], "no value in any of 0 rows"),
    ],
)
def test_labels_that_cannot_be_learned_from_block(changes: dict[str, Any], labels: list[Any], told: str) -> None:
    """Missing, infinite, textual, constant labels and a single class block, with what was seen."""
    (finding,) = check_target(case(**changes), pd.Series(labels))
    assert (finding.kind, finding.severity) == ("labels", "block")
    assert told in finding.message


def test_a_finding_is_json_ready_and_blocks_by_severity() -> None:
    """Findings are plain values: to print, to record, to act on."""
    warn, block = Finding("rule", "warn", "a", "Odd."), Finding("rule", "block", "a", "Wrong.", "Mend it.")
    assert block.to_dict() == {"kind": "rule", "severity": "block", "column": "a", "message": "Wrong.", "fix": "Mend it."}
    assert (str(warn), str(block)) == ("Odd.", "Wrong. Mend it.")
    assert (blocks([]), blocks([warn]), blocks([warn, block])) == (False, False, True)

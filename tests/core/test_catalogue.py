"""Catalogue entries: the shipped ones are valid and true, and malformed ones are refused by name."""

import copy
import hashlib
import json
from pathlib import Path
from typing import Any

import jsonschema
import pandas as pd
import pytest
import yaml
from open_data_contract_standard import model as odcs

from tasks.core.catalogue import COLUMN_TYPES, Dataset, RiskFlag, Source, dataset_from_contract
from tasks.core.errors import CaseError
from tasks.core.rules import Rule

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ("boston", "adult", "flights")


def document(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / "catalog" / f"{name}.yaml").read_text(encoding="utf-8"))


def column(name: str, type_: str = "string", **more: Any) -> dict[str, Any]:
    return {"name": name, "logicalType": type_, "description": f"The {name}.", "classification": "public", **more}


def custom(**values: Any) -> list[dict[str, Any]]:
    return [{"property": key, "value": value} for key, value in values.items()]


def contract(*columns: dict[str, Any], server: dict[str, Any] | None = None, **table: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": "loans",
        "name": "Loans",
        "version": "1.0.0",
        "status": "active",
        "description": {"purpose": "Loans of one bank."},
        "servers": [server or {"server": "here", "type": "local", "path": "loans.csv", "format": "csv"}],
        "schema": [{"name": "loans", "properties": list(columns) or [column("amount", "number"), column("city")], **table}],
    }


def read(*columns: dict[str, Any], **more: Any) -> Dataset:
    return dataset_from_contract(contract(*columns, **more), "loans")


def refusal(document: dict[str, Any]) -> str:
    """What the user is told about a document that must be refused."""
    with pytest.raises(CaseError) as caught:
        dataset_from_contract(document, "loans")
    text = str(caught.value)
    assert text.startswith("catalog/loans.yaml: ")
    return text


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_entries_are_valid_contracts(name: str) -> None:
    """Each shipped entry satisfies the standard's own JSON schema, and reading it gives the same record each time."""
    schema = json.loads((Path(odcs.__file__).parent / "schema.json").read_text(encoding="utf-8"))
    jsonschema.validators.validator_for(schema)(schema).validate(document(name))
    dataset = dataset_from_contract(document(name), name)
    assert json.loads(json.dumps(dataset.record())) == dataset_from_contract(document(name), name).record()


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_entries_describe_the_shipped_tables(name: str) -> None:
    """Each shipped entry declares exactly the columns of the file it points to, in the file's order."""
    source = dataset_from_contract(document(name), name).source
    frame = pd.read_csv(ROOT / source.location) if source.format == "csv" else pd.read_parquet(ROOT / source.location)
    assert dataset_from_contract(document(name), name).names == tuple(frame.columns)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_tables_are_the_ones_their_source_file_names(name: str) -> None:
    """The digest and size in SOURCE.txt are those of the table beside it."""
    folder = ROOT / "data" / "raw" / name
    listed = (folder / "SOURCE.txt").read_text(encoding="utf-8").split("files (sha256  bytes  name):\n")[1].splitlines()
    assert listed
    for line in listed:
        digest, size, file = line.split()
        data = (folder / file).read_bytes()
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (digest, int(size))


def test_published_rates_hold_in_the_shipped_tables() -> None:
    """The copies are right: UCI's income rates by sex, and the share of late flights in three months of 2013."""
    adult = pd.read_parquet(ROOT / "data/raw/adult/adult.parquet", columns=["sex", "income"])
    rich = adult["income"] == ">50K"
    assert rich.mean() == pytest.approx(0.23928, abs=5e-6)
    assert rich.groupby(adult["sex"]).mean().to_dict() == pytest.approx({"Male": 0.3038, "Female": 0.1093}, abs=5e-5)
    flights = pd.read_parquet(ROOT / "data/raw/flights/flights.parquet", columns=["month", "arr_delay"]).dropna()
    late = (flights["arr_delay"] > 15).groupby(flights["month"]).mean()
    assert late[[1, 9, 12]].round(3).tolist() == [0.227, 0.132, 0.326]


@pytest.mark.parametrize(
    ("name", "flag", "columns", "labels"),
    [
        ("boston", RiskFlag.SENSITIVE, {"B", "LSTAT"}, ("MEDV",)),
        ("adult", RiskFlag.SENSITIVE, {"sex", "race", "marital-status", "relationship", "native-country", "age"}, ("income",)),
        ("flights", RiskFlag.LEAKAGE, {"dep_time", "dep_delay", "arr_time", "air_time"}, ("arr_delay",)),
    ],
)
def test_shipped_flags(name: str, flag: RiskFlag, columns: set[str], labels: tuple[str, ...]) -> None:
    """The columns that carry a risk are flagged, may be evaluated on and not trained on, and labels are named."""
    dataset = dataset_from_contract(document(name), name)
    assert set(dataset.flagged(flag)) == columns == set(dataset.flagged(*RiskFlag))
    assert dataset.labels == labels
    for flagged in columns:
        assert not dataset.column(flagged).trainable
        assert {"evaluate", "report"} == set(dataset.column(flagged).uses)
        assert len(dataset.column(flagged).why) > 30


def test_a_column_is_read_with_all_that_is_said_of_it() -> None:
    """Type, words, flags, uses, label and key come through as written."""
    dataset = read(
        column("id", "integer", primaryKey=True, required=True),
        column("größe", "number", customProperties=custom(risk=["proxy", "sensitive"], why="Goes with sex.", uses=["evaluate"])),
        column("repaid", "boolean", customProperties=custom(label=True)),
    )
    assert dataset.key_columns == ("id",)
    assert dataset.labels == ("repaid",)
    size = dataset.column("größe")
    assert (size.type, size.flags, size.uses, size.why) == ("number", {RiskFlag.PROXY, RiskFlag.SENSITIVE}, ("evaluate",), "Goes with sex.")
    assert dataset.record()["columns"][1]["flags"] == ["proxy", "sensitive"]
    assert dataset.column("id").trainable
    assert not dataset.column("repaid").trainable


def test_an_unknown_column_is_refused_with_the_nearest() -> None:
    """Asking for a column that is not there names the one that was probably meant."""
    with pytest.raises(CaseError, match="Did you mean `amount`"):
        read().column("amoun")


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        ({"server": "a", "type": "local", "path": "x.parquet", "format": "parquet"}, Source(kind="file", location="x.parquet", format="parquet")),
        ({"server": "a", "type": "s3", "location": "s3://bucket/x.csv", "format": "csv"}, Source(kind="file", location="s3://bucket/x.csv", format="csv")),
        (
            {"server": "a", "type": "custom", "customProperties": custom(url="postgresql://${USER}@db/x", table="loans")},
            Source(kind="sql", location="postgresql://${USER}@db/x", table="loans"),
        ),
        (
            {"server": "a", "type": "custom", "customProperties": custom(url="sqlite:///x.db", query="SELECT * FROM loans")},
            Source(kind="sql", location="sqlite:///x.db", query="SELECT * FROM loans"),
        ),
        (
            {"server": "a", "type": "custom", "customProperties": custom(url="memory://x.csv", format="csv")},
            Source(kind="file", location="memory://x.csv", format="csv"),
        ),
    ],
)
def test_servers_say_where_the_data_is(server: dict[str, Any], expected: Source) -> None:
    """Files, object stores and databases are read from the standard's servers; references to the environment stay as written."""
    assert read(server=server).source == expected


@pytest.mark.parametrize(
    ("server", "told"),
    [
        ({"server": "a", "type": "local", "path": "x.json", "format": "json"}, "format 'json'"),
        ({"server": "a", "type": "custom"}, "does not say where the data is"),
        ({"server": "a", "type": "custom", "customProperties": custom(url="sqlite://", table="a", query="b")}, "mixes what is read"),
        ({"server": "a", "type": "custom", "customProperties": custom(url="sqlite://", tabel="a")}, "`tabel`, which is not known. Did you mean `table`?"),
        ({"server": "a", "type": "local", "format": "csv"}, "does not say where the data is"),
        ({"server": "a", "type": "lokal", "path": "x", "format": "csv"}, "'lokal' is not one of"),
    ],
)
def test_servers_that_make_no_sense_are_refused(server: dict[str, Any], told: str) -> None:
    """A server without a place, with two, or of an unknown kind is refused by name."""
    assert told in refusal(contract(server=server))


def spoiled(change: Any) -> dict[str, Any]:
    made = copy.deepcopy(contract(column("amount", "number"), column("city")))
    change(made, made["schema"][0], made["schema"][0]["properties"][1])
    return made


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda top, table, col: col.update(name="amount"), "Column `amount` is declared 2 times"),
        (lambda top, table, col: col.pop("logicalType"), "Column `city` has no `logicalType`"),
        (lambda top, table, col: col.pop("description"), "Column `city` has no `description`"),
        (lambda top, table, col: col.update(description=" "), "Column `city` has no `description`"),
        (lambda top, table, col: col.pop("classification"), "Column `city` has no `classification`"),
        (lambda top, table, col: col.pop("name"), "A column has the name None"),
        (lambda top, table, col: col.update(name="row_id"), "keeps for itself"),
        (lambda top, table, col: col.update(logicalType="text"), "has the logicalType `text`. A table here holds: integer"),
        (lambda top, table, col: col.update(logicalType="array"), "has the logicalType `array`. A table here holds: integer"),
        (lambda top, table, col: col.update(requird=True), "`schema[loans].properties[city].requird` is not a key of the standard. Did you mean"),
        (lambda top, table, col: col.update(required="yes, please"), "`schema[loans].properties[city].required`"),
        (lambda top, table, col: col.update(customProperties=custom(risk=["sensitve"])), "`city`: `sensitve` is not one of `risk`. Did you mean `sensitive`?"),
        (lambda top, table, col: col.update(customProperties=custom(uses=["training"])), "`training` is not one of `uses`. Did you mean `train`?"),
        (lambda top, table, col: col.update(customProperties=custom(uses={"train": True})), "`uses` is a list of words"),
        (lambda top, table, col: col.update(customProperties=custom(risk=["pii"], uses=[])), "flagged pii and does not say `why`"),
        (lambda top, table, col: col.update(customProperties=custom(risk=["pii"], why="A name.")), "flagged pii and does not say `uses`"),
        (lambda top, table, col: col.update(customProperties=custom(risks=["pii"])), "custom property `risks`, which is not known. Did you mean `risk`?"),
        (lambda top, table, col: col.update(customProperties=custom(risk=[]) + custom(risk=["pii"])), "gives the custom property `risk` twice"),
        (lambda top, table, col: col.update(customProperties=custom(label="yes")), "`label` is true or false"),
        (lambda top, table, col: top.update(apiVersion="v2.2.2"), "only version 3"),
        (lambda top, table, col: top.pop("apiVersion"), "`apiVersion` is None"),
        (lambda top, table, col: top.pop("version"), "'version' is a required property"),
        (lambda top, table, col: top.update(owner="me"), "`owner` is not a key of the standard"),
        (lambda top, table, col: top["schema"].append(table), "`schema` names 2 entries"),
        (lambda top, table, col: top.pop("schema"), "`schema` names 0 entries"),
        (lambda top, table, col: top.update(servers=[]), "`servers` names 0 entries"),
        (lambda top, table, col: table.update(properties=[]), "declares no columns"),
        (lambda top, table, col: table.update(properties="amount"), "`schema[loans].properties`"),
    ],
)
def test_malformed_entries_are_refused_by_name(change: Any, told: str) -> None:
    """A document that is not a catalogue entry is refused with its file, the column, the key and the nearest right word."""
    assert told in refusal(spoiled(change))


def test_another_tools_property_names_its_vendor() -> None:
    """Custom properties of other tools are let through when they say whose they are."""
    theirs = [{"property": "masking", "value": "hash", "vendor": "immuta"}]
    assert read(column("city", customProperties=theirs)).column("city").flags == frozenset()


def rules_of(quality: dict[str, Any] | None = None, **item: Any) -> tuple[Rule, ...]:
    return read(column("amount", "number", **({"quality": [quality]} if quality else {}), **item)).rules


@pytest.mark.parametrize(
    ("quality", "expectation", "kwargs"),
    [
        ({"metric": "nullValues", "mustBe": 0}, "expect_column_values_to_not_be_null", {}),
        ({"metric": "nullValues", "mustBeLessOrEqualTo": 3, "unit": "percent"}, "expect_column_values_to_not_be_null", {"mostly": 0.97}),
        ({"metric": "duplicateValues", "mustBe": 0}, "expect_column_values_to_be_unique", {}),
        (
            {"metric": "invalidValues", "arguments": {"validValues": [1, 2]}, "mustBe": 0},
            "expect_column_values_to_be_in_set",
            {"value_set": [1, 2]},
        ),
        ({"metric": "invalidValues", "arguments": {"pattern": "^a"}, "mustBe": 0}, "expect_column_values_to_match_regex", {"regex": "^a"}),
        (
            {"metric": "missingValues", "arguments": {"missingValues": ["?"]}, "mustBeLessOrEqualTo": 10, "unit": "percent"},
            "expect_column_values_to_not_be_in_set",
            {"value_set": ["?"], "mostly": 0.9},
        ),
        (
            {"type": "custom", "engine": "great-expectations", "implementation": {"type": "expect_column_max_to_be_between", "kwargs": {"max_value": 9}}},
            "expect_column_max_to_be_between",
            {"max_value": 9},
        ),
    ],
)
def test_quality_entries_compile(quality: dict[str, Any], expectation: str, kwargs: dict[str, Any]) -> None:
    """The standard's own metrics and Great Expectations entries of a column become expectations on it."""
    (rule,) = rules_of(quality)
    assert (rule.column, rule.expectation, rule.kwargs, rule.severity) == ("amount", expectation, kwargs, "error")


@pytest.mark.parametrize(
    ("item", "expectation", "kwargs"),
    [
        ({"required": True}, "expect_column_values_to_not_be_null", {}),
        ({"unique": True}, "expect_column_values_to_be_unique", {}),
        ({"enum": [{"value": 1}, {"value": 2}]}, "expect_column_values_to_be_in_set", {"value_set": [1, 2]}),
        (
            {"logicalTypeOptions": {"exclusiveMinimum": 0, "maximum": 5}},
            "expect_column_values_to_be_between",
            {"min_value": 0, "strict_min": True, "max_value": 5},
        ),
        ({"primaryKey": True}, "expect_column_values_to_be_unique", {}),
    ],
)
def test_what_a_column_states_about_itself_is_a_rule(item: dict[str, Any], expectation: str, kwargs: dict[str, Any]) -> None:
    """`required`, `unique`, `enum`, `primaryKey` and bounds of the type are not passed over: they are rules that block."""
    (rule,) = rules_of(**item)
    assert (rule.column, rule.expectation, rule.kwargs, rule.severity) == ("amount", expectation, kwargs, "error")


@pytest.mark.parametrize(
    ("quality", "kwargs"),
    [
        ({"mustBe": 7}, {"min_value": 7, "max_value": 7}),
        ({"mustBeBetween": [1, 9]}, {"min_value": 1, "max_value": 9}),
        ({"mustBeGreaterThan": 0}, {"min_value": 1}),
        ({"mustBeGreaterOrEqualTo": 5}, {"min_value": 5}),
        ({"mustBeLessThan": 10}, {"max_value": 9}),
        ({"mustBeLessOrEqualTo": 10}, {"max_value": 10}),
    ],
)
def test_row_counts_compile(quality: dict[str, Any], kwargs: dict[str, Any]) -> None:
    """Bounds on the number of rows are whole numbers with both ends included."""
    (rule,) = read(quality=[{"metric": "rowCount", **quality}]).rules
    assert (rule.column, rule.expectation, rule.kwargs) == (None, "expect_table_row_count_to_be_between", kwargs)


def test_keys_of_several_columns_are_unique_together() -> None:
    """A key of several columns, and a table's `duplicateValues`, speak of the columns together, in the key's order."""
    found = read(
        column("a", primaryKey=True, primaryKeyPosition=2),
        column("b", primaryKey=True, primaryKeyPosition=1),
        quality=[{"metric": "duplicateValues", "arguments": {"properties": ["a", "b"]}, "mustBe": 0, "severity": "warning"}],
    ).rules
    assert [(rule.kwargs["column_list"], rule.severity) for rule in found] == [(["a", "b"], "warning"), (["b", "a"], "error")]
    assert {rule.expectation for rule in found} == {"expect_compound_columns_to_be_unique"}


def test_text_rules_are_for_people() -> None:
    """A rule of type text is documentation and runs nothing."""
    assert rules_of({"type": "text", "description": "Amounts look right."}) == ()


@pytest.mark.parametrize(
    ("quality", "told"),
    [
        ({"metric": "nullValues", "mustBeLessThan": 5}, "compares `nullValues` in a way that is not run"),
        ({"metric": "nullValues", "mustBeLessOrEqualTo": 5, "unit": "rows"}, "compares `nullValues` in a way that is not run"),
        ({"metric": "rowCount", "mustBe": 1}, "names the metric 'rowCount'"),
        ({"metric": "invalidValues", "mustBe": 0}, "needs `validValues` or `pattern`"),
        ({"metric": "missingValues", "arguments": {"missingValues": [None]}, "mustBe": 0}, "needs `missingValues` in `arguments`, without nulls"),
        ({"metric": "nullValues", "mustBe": 0, "severity": "fatal"}, "severity 'fatal'"),
        ({"type": "sql", "query": "SELECT 1", "mustBe": 1}, "type `sql`, which is not run"),
        ({"type": "custom", "engine": "soda", "implementation": "checks"}, "names the engine 'soda'"),
        ({"type": "custom", "engine": "greatExpectations", "implementation": "text"}, "is not `{type, kwargs}`"),
        (
            {"type": "custom", "engine": "greatExpectations", "implementation": {"type": "expect_x", "kwargs": {"column": "city"}}},
            "names another column",
        ),
    ],
)
def test_rules_that_cannot_be_run_are_refused(quality: dict[str, Any], told: str) -> None:
    """A stated rule is either run or refused with its column, never passed over."""
    text = refusal(contract(column("amount", "number", quality=[quality])))
    assert told in text
    assert "column `amount`" in text


def test_bounds_that_are_not_checked_are_refused() -> None:
    """An option of a type that no rule stands for is refused rather than believed to hold."""
    fives = column("amount", "number", logicalTypeOptions={"multipleOf": 5})
    assert "`logicalTypeOptions.multipleOf` of column `amount` is not checked" in refusal(contract(fives))


def test_rules_on_undeclared_columns_are_refused() -> None:
    """A rule that reads a column which is not there names the nearest one."""
    rule = {"metric": "duplicateValues", "arguments": {"properties": ["amount", "citty"]}, "mustBe": 0}
    assert "reads the column `citty`, which is not declared. Did you mean `city`?" in refusal(contract(quality=[rule]))


def test_the_order_of_words_does_not_change_the_record() -> None:
    """Flags and uses are sets: writing them in another order leaves the record, and so its digest, the same."""
    one = read(column("a", customProperties=custom(risk=["pii", "proxy"], why="x", uses=["report", "evaluate"])))
    two = read(column("a", customProperties=custom(uses=["evaluate", "report"], why="x", risk=["proxy", "pii"])))
    assert one.record() == two.record()


def test_column_types_are_those_of_the_standard() -> None:
    """Every type that a column may have is a logical type of the standard."""
    schema = json.loads((Path(odcs.__file__).parent / "schema.json").read_text(encoding="utf-8"))
    assert set(COLUMN_TYPES) <= set(schema["$defs"]["SchemaBaseProperty"]["properties"]["logicalType"]["enum"])

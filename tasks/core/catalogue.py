"""What governance says about a dataset: its columns, their risks, the uses they may be put to, and the rules they keep.

A catalogue entry is an ODCS v3 document, `catalog/<dataset>.yaml`. What Equipoise adds to the standard stands in
`customProperties`: on a column `risk`, `why`, `uses` and `label`; on a server of type `custom` `url`, `table`, `query`
and `format`.
"""

import re
from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Any, Literal, TypeVar, cast, get_args

from open_data_contract_standard.model import CustomProperty, OpenDataContractStandard, SchemaObject, SchemaProperty, Server
from pydantic import BaseModel, ConfigDict, field_serializer

from tasks.core.case import Use
from tasks.core.contract import check_schema, read_contract
from tasks.core.errors import CaseError, nearest
from tasks.core.rules import Rule, compile_rule, implied_rules, key_rule

Item = TypeVar("Item")

ColumnType = Literal["integer", "number", "string", "boolean", "date", "timestamp"]
FileFormat = Literal["csv", "parquet"]
COLUMN_TYPES: tuple[str, ...] = get_args(ColumnType)
USES: tuple[str, ...] = get_args(Use)
FORMATS: tuple[str, ...] = get_args(FileFormat)
COLUMN_PROPERTIES = ("risk", "why", "uses", "label")
SERVER_PROPERTIES = ("url", "table", "query", "format")
"""The custom properties that mean something here, of a column and of a server."""
ROW_ID = "row_id"
"""Equipoise's own column: a row's identity within a period. No dataset declares it."""


_SECRET = re.compile(
    r"://[^:/@\s]*:(?!(\$\{\w+\})+@)[^@/\s]+@"  # user:password@
    r"|[?&;](\w*(password|passwd|pwd|secret|token)|(access|api|secret|account)_?key|sig)=(?!\$\{)[^&;\s]",
    re.IGNORECASE,
)
"""A secret written into a location instead of the name of a variable that holds it."""


class RiskFlag(StrEnum):
    """Why a column needs a second thought before a model may see it."""

    SENSITIVE = "sensitive"  # says something about people that a decision should not turn on
    PROXY = "proxy"  # stands in for a sensitive column
    PII = "pii"  # names or singles out a person: never in a report
    PROHIBITED = "prohibited"  # never trained on, waiver or not
    LEAKAGE = "leakage"  # not known yet at the time the model is asked


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Column(_Frozen):
    """One column's facts."""

    name: str
    type: ColumnType
    description: str
    classification: str
    flags: frozenset[RiskFlag] = frozenset()
    why: str = ""
    uses: tuple[Use, ...] = ("train", "evaluate", "report")
    required: bool = False
    label: bool = False
    key: bool = False

    @property
    def trainable(self) -> bool:
        """Whether it may be a feature without a waiver."""
        return not self.flags and not self.label and "train" in self.uses

    @field_serializer("flags")
    def _sorted(self, flags: frozenset[RiskFlag]) -> list[str]:
        return sorted(flags)  # a set has no order, and a digest is taken of the record


class Source(_Frozen):
    """Where the data is. `${NAME}` in a location stands for an environment variable and is filled in when the source is read."""

    kind: Literal["file", "sql"]
    location: str
    format: FileFormat | None = None
    table: str | None = None
    query: str | None = None


class Dataset(_Frozen):
    """A catalogue entry."""

    name: str
    title: str
    description: str
    version: str
    columns: tuple[Column, ...]
    source: Source
    rules: tuple[Rule, ...] = ()

    @property
    def file(self) -> str:
        """How messages name the entry."""
        return f"catalog/{self.name}.yaml"

    @property
    def names(self) -> tuple[str, ...]:
        """All columns, in the order of the entry."""
        return tuple(column.name for column in self.columns)

    @property
    def labels(self) -> tuple[str, ...]:
        """Columns that arrive as labels, perhaps later than the rest."""
        return tuple(column.name for column in self.columns if column.label)

    @property
    def key_columns(self) -> tuple[str, ...]:
        """Columns that together identify a row; empty when there is no key. (A member called `keys` would make Prefect take this for a mapping.)"""
        return tuple(column.name for column in self.columns if column.key)

    def flagged(self, *flags: RiskFlag) -> tuple[str, ...]:
        """Columns that carry any of these flags."""
        return tuple(column.name for column in self.columns if column.flags & set(flags))

    def find(self, name: str) -> Column | None:
        """The column of that name, if there is one."""
        return next((column for column in self.columns if column.name == name), None)

    def column(self, name: str) -> Column:
        """The column of that name. Raises: CaseError with the nearest one."""
        found = self.find(name)
        if found is None:
            raise CaseError(f"There is no column `{name}`.", where=self.file, fix=nearest(name, self.names))
        return found

    def record(self) -> dict[str, Any]:
        """The entry as JSON-ready values, the same for the same meaning: what a digest is taken of."""
        return self.model_dump(mode="json")


def dataset_from_contract(document: Mapping[str, Any], name: str) -> Dataset:
    """The dataset that an ODCS v3 document describes.

    Raises: CaseError that names the file, the column and the key.
    """
    where = f"catalog/{name}.yaml"
    contract = read_contract(document, where)
    table = _one(contract.schema_, "schema", "one table", where)
    items = table.properties or []
    if not items:
        raise CaseError("`schema` declares no columns.", where=where, fix="List every column of the data under `properties`.")
    columns = tuple(_column(item, where) for item in items)
    names = [column.name for column in columns]
    for repeated in sorted({found for found in names if names.count(found) > 1}):
        raise CaseError(f"Column `{repeated}` is declared {names.count(repeated)} times.", where=where, fix="Declare each column once.")
    if ROW_ID in names:
        raise CaseError(f"A column is called `{ROW_ID}`, a name that Equipoise keeps for itself.", where=where, fix="Rename it in the source.")
    dataset = Dataset(
        name=name,
        title=contract.name or name,
        description=_description(contract),
        version=contract.version or "",
        columns=columns,
        source=_source(_one(contract.servers, "servers", "one place", where), where),
        rules=_rules(table, items, names, where),
    )
    check_schema(document, where)
    return dataset


def _one(found: list[Item] | None, key: str, wanted: str, where: str) -> Item:
    if not found or len(found) > 1:
        raise CaseError(f"`{key}` names {len(found or [])} entries; a dataset has {wanted}.", where=where, fix=f"Leave exactly one under `{key}`.")
    return found[0]


def _description(contract: OpenDataContractStandard) -> str:
    text = contract.description
    return " ".join(part.strip() for part in (text.purpose, text.usage, text.limitations) if part) if text else ""


def _column(item: SchemaProperty, where: str) -> Column:
    name = item.name
    if not name or name != name.strip():
        raise CaseError(f"A column has the name {name!r}.", where=where, fix="Give each column its name, without spaces around it.")
    for key, value in (("logicalType", item.logicalType), ("description", item.description), ("classification", item.classification)):
        if not value or not value.strip():
            raise CaseError(f"Column `{name}` has no `{key}`.", where=where, fix=f"Add `{key}`.")
    if item.logicalType not in COLUMN_TYPES:
        raise CaseError(f"Column `{name}` has the logicalType `{item.logicalType}`.", where=where, fix=f"A table here holds: {', '.join(COLUMN_TYPES)}.")
    own = _custom(item.customProperties, COLUMN_PROPERTIES, f"Column `{name}`", where)
    flags = _words(own.get("risk", []), tuple(RiskFlag), "risk", name, where)
    uses = _words(own.get("uses", [] if flags else list(USES)), USES, "uses", name, where)
    why, label = own.get("why", ""), own.get("label", False)
    if not isinstance(why, str) or not isinstance(label, bool):
        raise CaseError(f"Column `{name}`: `why` is a sentence and `label` is true or false.", where=where)
    for key in ("why", "uses"):
        if flags and (key not in own or not str(own[key]).strip()):
            raise CaseError(
                f"Column `{name}` is flagged {', '.join(flags)} and does not say `{key}`.",
                where=where,
                fix="Say why it is flagged." if key == "why" else f"List the uses it may be put to, of: {', '.join(USES)}.",
            )
    return Column(
        name=name,
        type=cast(ColumnType, item.logicalType),
        description=(item.description or "").strip(),
        classification=item.classification or "",
        flags=frozenset(RiskFlag(flag) for flag in flags),
        why=why.strip(),
        uses=tuple(cast(Use, use) for use in uses),
        required=bool(item.required),
        label=label,
        key=bool(item.primaryKey),
    )


def _custom(properties: list[CustomProperty] | None, known: Collection[str], subject: str, where: str) -> dict[str, Any]:
    """Custom properties by name. One that is not ours is another tool's when it names its `vendor`, and a slip when it does not."""
    values: dict[str, Any] = {}
    for entry in properties or []:
        key = entry.property or ""
        if key in values:
            raise CaseError(f"{subject} gives the custom property `{key}` twice.", where=where, fix="Keep one.")
        if key in known:
            values[key] = entry.value
        elif not entry.vendor:
            fix = f"{nearest(key, known)} Another tool's property names its `vendor`."
            raise CaseError(f"{subject} has the custom property `{key}`, which is not known.", where=where, fix=fix)
    return values


def _words(value: object, known: tuple[str, ...], key: str, column: str, where: str) -> list[str]:
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list):
        raise CaseError(f"Column `{column}`: `{key}` is a list of words (given: {value!r}).", where=where, fix=f"There are: {', '.join(known)}.")
    for word in words:
        if word not in known:
            raise CaseError(f"Column `{column}`: `{word}` is not one of `{key}`.", where=where, fix=nearest(str(word), known))
    return [word for word in known if word in words]


def _source(server: Server, where: str) -> Source:
    subject = f"Server `{server.server}`"
    own = _custom(server.customProperties, SERVER_PROPERTIES, subject, where)
    location = own.get("url") or server.path or server.location
    if not isinstance(location, str) or not location:
        raise CaseError(f"{subject} does not say where the data is.", where=where, fix="Give `path`, or `url` in customProperties.")
    if _SECRET.search(location):
        raise CaseError(
            f"{subject} has a secret written into its location.",
            where=where,
            fix="Write ${NAME} in its place and set the environment variable NAME; then change the secret, which others may have read.",
        )
    table, query, shape = own.get("table"), own.get("query"), own.get("format") or server.format
    if table is not None or query is not None:
        if (table is None) == (query is None) or not isinstance(table or query, str) or shape is not None:
            raise CaseError(f"{subject} mixes what is read.", where=where, fix="A database is read by `url` and one of `table` and `query`, without `format`.")
        return Source(kind="sql", location=location, table=table, query=query)
    if shape not in FORMATS:
        raise CaseError(f"{subject} has the format {shape!r}.", where=where, fix=f"Files are {' or '.join(FORMATS)}; a database has a `table` or a `query`.")
    return Source(kind="file", location=location, format=cast(FileFormat, shape))


def _rules(table: SchemaObject, items: list[SchemaProperty], names: list[str], where: str) -> tuple[Rule, ...]:
    found: list[Rule | None] = [compile_rule(quality, None, where) for quality in table.quality or []]
    keys = sorted((item for item in items if item.primaryKey), key=lambda item: item.primaryKeyPosition or 0)
    found.append(key_rule(tuple(str(item.name) for item in keys)))
    for item in items:
        column = str(item.name)
        found += implied_rules(item, column, where)
        found += [compile_rule(quality, column, where) for quality in item.quality or []]
    rules = tuple(rule for rule in found if rule is not None)
    for rule in rules:
        for column in rule.columns:
            if column not in names:
                raise CaseError(f"A quality rule reads the column `{column}`, which is not declared.", where=where, fix=nearest(column, names))
    return rules

"""Quality rules: what an ODCS `quality` entry and a column's own statements mean as Great Expectations expectations.

Nothing here runs a rule; `tasks.io.expectations` does. What cannot be compiled is refused, so that no stated rule is
passed over in silence.
"""

from typing import Any, Literal

from open_data_contract_standard.model import DataQuality, SchemaProperty
from pydantic import BaseModel, ConfigDict

from tasks.core.errors import CaseError, nearest

Severity = Literal["error", "warning"]

OPERATORS = (
    "mustBe",
    "mustNotBe",
    "mustBeGreaterThan",
    "mustBeGreaterOrEqualTo",
    "mustBeLessThan",
    "mustBeLessOrEqualTo",
    "mustBeBetween",
    "mustNotBeBetween",
)
COLUMN_METRICS = ("nullValues", "missingValues", "invalidValues", "duplicateValues")
TABLE_METRICS = ("rowCount", "duplicateValues")


class Rule(BaseModel):
    """One expectation on a column, or on the table when `column` is None. An `error` blocks, a `warning` does not."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: str | None
    expectation: str
    kwargs: dict[str, Any]
    severity: Severity
    description: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it reads."""
        named = [self.column, *(self.kwargs.get(key) for key in ("column", "column_A", "column_B")), *self.kwargs.get("column_list", ())]
        return tuple(dict.fromkeys(name for name in named if isinstance(name, str)))


def compile_rule(quality: DataQuality, column: str | None, where: str) -> Rule | None:
    """The rule that a `quality` entry states; None for type `text`, which is for people.

    Raises: CaseError for an engine, metric or comparison that is not run here.
    """
    subject = f"A quality rule of column `{column}`" if column else "A quality rule of the table"
    if quality.type == "text":
        return None
    severity = quality.severity or "error"
    if severity not in ("error", "warning"):
        raise CaseError(f"{subject} has the severity {severity!r}.", where=where, fix="Use `error`, which blocks, or `warning`.")
    if quality.type == "custom":
        expectation, kwargs = _custom(quality, column, subject, where)
    elif quality.type in (None, "library"):
        expectation, kwargs = _library(quality, column, subject, where)
    else:
        raise CaseError(f"{subject} has the type `{quality.type}`, which is not run.", where=where, fix="Use `library`, or `custom` with `greatExpectations`.")
    description = quality.description or quality.name or expectation.removeprefix("expect_").replace("_", " ")
    return Rule(column=column, expectation=expectation, kwargs=kwargs, severity="error" if severity == "error" else "warning", description=description)


def implied_rules(item: SchemaProperty, column: str, where: str) -> tuple[Rule, ...]:
    """Rules that a column states without `quality`: `required`, `unique`, `enum` and `logicalTypeOptions`."""
    found: list[tuple[str, dict[str, Any], str]] = []
    if item.required:
        found.append(("expect_column_values_to_not_be_null", {}, "is required"))
    if item.unique:
        found.append(("expect_column_values_to_be_unique", {}, "is unique"))
    if item.enum:
        found.append(("expect_column_values_to_be_in_set", {"value_set": [entry.value for entry in item.enum]}, "takes listed values only"))
    found += _type_options(item, column, where)
    return tuple(Rule(column=column, expectation=name, kwargs=kwargs, severity="error", description=text) for name, kwargs, text in found)


def key_rule(keys: tuple[str, ...]) -> Rule | None:
    """The primary key identifies a row: one column is unique, several are unique together."""
    if not keys:
        return None
    if len(keys) == 1:
        return Rule(column=keys[0], expectation="expect_column_values_to_be_unique", kwargs={}, severity="error", description="is the primary key")
    kwargs = {"column_list": list(keys)}
    return Rule(
        column=None, expectation="expect_compound_columns_to_be_unique", kwargs=kwargs, severity="error", description="the primary key identifies a row"
    )


def _custom(quality: DataQuality, column: str | None, subject: str, where: str) -> tuple[str, dict[str, Any]]:
    engine = (quality.engine or "").replace("-", "").lower()
    if engine != "greatexpectations":
        raise CaseError(f"{subject} names the engine {quality.engine!r}.", where=where, fix="Only `greatExpectations` is run.")
    body = quality.implementation
    if not isinstance(body, dict) or not isinstance(body.get("type"), str) or not isinstance(body.get("kwargs", {}), dict) or set(body) - {"type", "kwargs"}:
        raise CaseError(
            f"{subject} has an `implementation` that is not `{{type, kwargs}}`.",
            where=where,
            fix="Write it as a mapping: `type: expect_column_values_to_be_between` and `kwargs: {min_value: 0}`.",
        )
    kwargs = dict(body.get("kwargs", {}))
    if column is not None and kwargs.pop("column", column) != column:
        raise CaseError(f"{subject} names another column in `kwargs`.", where=where, fix="Leave `column` out: the rule stands under its column.")
    return body["type"], kwargs


def _library(quality: DataQuality, column: str | None, subject: str, where: str) -> tuple[str, dict[str, Any]]:
    metrics = COLUMN_METRICS if column else TABLE_METRICS
    metric = quality.metric or quality.rule  # `rule` is the name the key had before 3.1
    if metric is None or metric not in metrics:
        raise CaseError(f"{subject} names the metric {metric!r}.", where=where, fix=nearest(str(metric), metrics))
    given = quality.arguments or {}
    if metric == "rowCount":
        return "expect_table_row_count_to_be_between", _row_count(quality, subject, where)
    mostly = _mostly(quality, metric, subject, where)
    if metric == "nullValues":
        return "expect_column_values_to_not_be_null", mostly
    if metric == "duplicateValues":
        properties = given.get("properties")
        if column is not None and properties is None:
            return "expect_column_values_to_be_unique", mostly
        if column is None and isinstance(properties, list) and len(properties) > 1:
            return "expect_compound_columns_to_be_unique", {"column_list": properties, **mostly}
        raise CaseError(f"{subject} does not say what is unique.", where=where, fix="On the table give `arguments: {properties: [a, b]}`; on a column nothing.")
    values = given.get("missingValues" if metric == "missingValues" else "validValues")
    if metric == "invalidValues" and values is None and isinstance(given.get("pattern"), str):
        return "expect_column_values_to_match_regex", {"regex": given["pattern"], **mostly}
    if not isinstance(values, list) or not values or None in values:
        wanted = "`missingValues`" if metric == "missingValues" else "`validValues` or `pattern`"
        raise CaseError(f"{subject} needs {wanted} in `arguments`, without nulls.", where=where, fix="`metric: nullValues` counts nulls.")
    verb = "not_be_in_set" if metric == "missingValues" else "be_in_set"
    return f"expect_column_values_to_{verb}", {"value_set": values, **mostly}


def _mostly(quality: DataQuality, metric: str, subject: str, where: str) -> dict[str, float]:
    """`mostly`, the least share of rows that must keep the rule: 1 unless a percentage of exceptions is allowed."""
    stated = {name: getattr(quality, name) for name in OPERATORS if getattr(quality, name) is not None}
    if stated in ({"mustBe": 0}, {"mustBeLessOrEqualTo": 0}):
        return {}
    percent = stated.get("mustBeLessOrEqualTo")
    if len(stated) == 1 and isinstance(percent, int | float) and 0 <= percent <= 100 and quality.unit == "percent":
        return {"mostly": round(1 - percent / 100, 12)}
    fix = "Use `mustBe: 0`, or `mustBeLessOrEqualTo` with `unit: percent`."
    raise CaseError(f"{subject} compares `{metric}` in a way that is not run.", where=where, fix=fix)


def _row_count(quality: DataQuality, subject: str, where: str) -> dict[str, int]:
    """Bounds are whole numbers, both included."""
    if quality.mustBeBetween is not None:
        low, high = quality.mustBeBetween
        return {"min_value": int(low), "max_value": int(high)}
    if isinstance(quality.mustBe, int):
        return {"min_value": quality.mustBe, "max_value": quality.mustBe}
    bounds: dict[str, int] = {}
    if quality.mustBeGreaterThan is not None:
        bounds["min_value"] = int(quality.mustBeGreaterThan) + 1
    if quality.mustBeGreaterOrEqualTo is not None:
        bounds["min_value"] = int(quality.mustBeGreaterOrEqualTo)
    if quality.mustBeLessThan is not None:
        bounds["max_value"] = int(quality.mustBeLessThan) - 1
    if quality.mustBeLessOrEqualTo is not None:
        bounds["max_value"] = int(quality.mustBeLessOrEqualTo)
    if not bounds:
        raise CaseError(f"{subject} compares `rowCount` in a way that is not run.", where=where, fix="Use mustBe, mustBeBetween or a bound.")
    return bounds


def _type_options(item: SchemaProperty, column: str, where: str) -> list[tuple[str, dict[str, Any], str]]:
    options = {key: value for key, value in (item.logicalTypeOptions or {}).items() if key not in ("format", "timezone", "defaultTimezone")}
    bounds: dict[str, Any] = {}
    for key, bound, strict in (
        ("minimum", "min_value", None),
        ("exclusiveMinimum", "min_value", "strict_min"),
        ("maximum", "max_value", None),
        ("exclusiveMaximum", "max_value", "strict_max"),
    ):
        if key in options and item.logicalType in ("integer", "number"):
            bounds |= {bound: options.pop(key), **({strict: True} if strict else {})}
    lengths = {bound: options.pop(key) for key, bound in (("minLength", "min_value"), ("maxLength", "max_value")) if key in options}
    found: list[tuple[str, dict[str, Any], str]] = []
    if bounds:
        found.append(("expect_column_values_to_be_between", bounds, "stays within its stated range"))
    if lengths:
        found.append(("expect_column_value_lengths_to_be_between", lengths, "keeps its stated length"))
    if "pattern" in options:
        found.append(("expect_column_values_to_match_regex", {"regex": options.pop("pattern")}, "matches its stated pattern"))
    if options:
        key = next(iter(options))
        raise CaseError(f"`logicalTypeOptions.{key}` of column `{column}` is not checked.", where=where, fix="State it as a `quality` rule instead.")
    return found

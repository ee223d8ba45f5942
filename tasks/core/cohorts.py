"""Cohorts: bins of numeric columns, codes of grouping columns, and SQL conditions on raw columns.

A group cohort is named `race=Caucasian`, an intersection `race=Caucasian, sex=Male`, a binned column `LSTAT=(8, 16]`,
the rows without a value `race=missing`. A condition is named by its author.
"""

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.core.errors import CaseError, DataError, nearest

MISSING = "missing"
MAX_GROUPS = 100_000  # distinct groups of one grouping: beyond, a table of cohorts tells nobody anything


@dataclass(frozen=True)
class Codes:
    """One grouping column, encoded: `codes` (n,) index `labels`; the label None stands for missing."""

    codes: NDArray[np.int32]
    labels: tuple[str | None, ...]


def interval_labels(edges: Sequence[float]) -> list[str]:
    """The names of the intervals that inner `edges` cut: (-inf, e1], (e1, e2], ..., (ek, inf).

    >>> interval_labels([8, 16])
    ['(-inf, 8]', '(8, 16]', '(16, inf)']
    """
    marks = [str(int(edge)) if float(edge).is_integer() and abs(edge) < 1e15 else repr(float(edge)) for edge in edges]
    return [f"({low}, {high}{')' if high == 'inf' else ']'}" for low, high in zip(["-inf", *marks], [*marks, "inf"], strict=True)]


def check_edges(edges: Sequence[float], column: str) -> list[float]:
    """The inner edges as floats, or a CaseError when they do not rise."""
    floats = [float(edge) for edge in edges]
    if not floats or not all(np.isfinite(floats)) or any(low >= high for low, high in pairwise(floats)):
        raise CaseError(f"edges {list(edges)} do not rise.", where=f"bins.{column}", fix="Give one or more finite inner edges in rising order.")
    return floats


def quantile_edges(values: NDArray[np.float64], count: int, column: str) -> list[float]:
    """Inner edges that cut the known `values` into `count` bins of about the same size; fewer where values repeat."""
    known = values[np.isfinite(values)]
    if count < 2:
        raise CaseError(f"{count} bins are not a cut.", where=f"bins.{column}", fix="Give two or more, or the edges themselves.")
    if not known.size:
        raise DataError(f"column `{column}` has no numbers to cut into quantiles.", fix="Give the edges, or leave the column out.")
    edges = np.unique(np.quantile(known, np.arange(1, count) / count, method="inverted_cdf"))
    edges = edges[edges < known.max()]
    return [float(edge) for edge in edges] or [float(known.max())]


def bin_column(values: pd.Series, edges: Sequence[float]) -> pd.Series:
    """The interval of each value, as strings; a missing value stays missing. A value on an edge belongs below it.

    >>> bin_column(pd.Series([1.0, 390.0, 391.0]), [390]).tolist()
    ['(-inf, 390]', '(-inf, 390]', '(390, inf)']
    """
    name = str(values.name)
    floats = check_edges(edges, name)
    try:
        numbers = pd.to_numeric(values).to_numpy(dtype=np.float64, na_value=np.nan)
    except (ValueError, TypeError) as error:
        raise DataError(f"column `{name}` is binned but holds {_example(values.dropna())}, which is no number.", fix="Bin numeric columns only.") from error
    labels = np.array(interval_labels(floats), dtype=object)
    named = labels[np.searchsorted(floats, numbers, side="left").clip(max=len(floats))]
    named[np.isnan(numbers)] = None
    return pd.Series(named, index=values.index, name=values.name, dtype="str" if int(pd.__version__.split(".")[0]) >= 3 else object)


def _example(values: Any) -> str:
    for value in values:
        try:
            float(value)
        except (TypeError, ValueError):
            return repr(value)
    return "a value"


def encode(array: pa.Array, column: str, edges: Sequence[float] | None = None) -> Codes:
    """Codes of a grouping column: its distinct values as strings, or its intervals when `edges` are given."""
    if edges is not None:
        floats = check_edges(edges, column)
        numbers = numeric(array, column, "binned")
        codes = np.searchsorted(floats, numbers, side="left").astype(np.int32)
        unknown = np.isnan(numbers)
        codes[unknown] = len(floats) + 1
        return Codes(codes, (*interval_labels(floats), None) if unknown.any() else tuple(interval_labels(floats)))
    kind = array.type
    if pa.types.is_nested(kind):
        raise DataError(f"column `{column}` holds lists or records, which do not form groups.", fix="Use array_contains(...) in a condition instead.")
    if pa.types.is_dictionary(kind):
        indices = array.indices.fill_null(len(array.dictionary)) if array.null_count else array.indices
        codes, values = indices.to_numpy(zero_copy_only=False), array.dictionary.to_pylist()
        values = [*values, None] if array.null_count else values
    else:
        encoded = pc.dictionary_encode(array, null_encoding="encode")
        codes, values = encoded.indices.to_numpy(zero_copy_only=False), encoded.dictionary.to_pylist()
    if len(values) > MAX_GROUPS:
        raise too_many(column, len(values))
    return _named(codes.astype(np.int32, copy=False), values)


def _named(codes: NDArray[np.int32], values: list[Any]) -> Codes:
    """Codes whose values became labels: NaN and None are missing, and values that read the same are one."""
    texts = [None if value is None or value != value else str(value) for value in values]
    distinct = tuple(dict.fromkeys(texts))
    if len(distinct) < len(texts):
        place = {text: index for index, text in enumerate(distinct)}
        codes = np.array([place[text] for text in texts], dtype=np.int32)[codes]
    if None in distinct and MISSING in distinct:  # a real value called "missing" keeps a name of its own
        distinct = tuple(f"'{MISSING}'" if text == MISSING else text for text in distinct)
    return Codes(codes, distinct)


def too_many(grouping: str, count: int) -> DataError:
    """The refusal of a grouping that is no grouping."""
    return DataError(
        f"`{grouping}` has {count:,} distinct groups; at most {MAX_GROUPS:,} make a table",
        fix="Bin the column (bins), group by a coarser one, or name the cohorts you mean with `where`.",
    )


def numeric(array: pa.Array, column: str, use: str) -> NDArray[np.float64]:
    """A column as float64 (n,), missing as NaN, or a DataError that says what the column is `use`d for."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        array = array.dictionary_decode()
        kind = array.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind)):
        raise DataError(f"column `{column}` is {use} but holds {_example(array.drop_null().to_pylist())}, which is no number.", fix="Use a numeric column.")
    if not pa.types.is_floating(kind) or kind.bit_width != 64:
        array = array.cast(pa.float64(), safe=False)
    if array.null_count:
        array = array.fill_null(float("nan"))
    values: NDArray[np.float64] = array.to_numpy(zero_copy_only=False)
    return values


def groupings(by: Iterable[str | Sequence[str]]) -> tuple[tuple[str, ...], ...]:
    """Groupings as tuples of columns, each once; a bare name is a grouping of one column."""
    if isinstance(by, str):
        by = [by]
    named = [(entry,) if isinstance(entry, str) else tuple(entry) for entry in by]
    for entry in named:
        if not entry or len(set(entry)) < len(entry):
            raise CaseError(f"grouping {list(entry)} is empty or names a column twice.", where="by", fix="Name each column once.")
    seen: dict[frozenset[str], tuple[str, ...]] = {}
    for entry in named:
        seen.setdefault(frozenset(entry), entry)
    return tuple(seen.values())


def crossings(columns: Sequence[str], depth: int | None = None) -> list[list[str]]:
    """Every group and every intersection of these columns, up to `depth` columns at once.

    >>> crossings(["race", "sex"])
    [['race'], ['sex'], ['race', 'sex']]
    """
    deepest = len(columns) if depth is None else min(depth, len(columns))
    return [list(chosen) for size in range(1, deepest + 1) for chosen in combinations(columns, size)]


def cohort_name(columns: Sequence[str], labels: Sequence[str | None]) -> str:
    """`race=Caucasian, sex=Male`; a missing value reads `race=missing`."""
    return ", ".join(f"{column}={MISSING if label is None else label}" for column, label in zip(columns, labels, strict=True))


def parse_conditions(where: Mapping[str, str], columns: Iterable[str]) -> dict[str, pl.Expr]:
    """Named SQL conditions as polars expressions over the known `columns`.

    Only conditions on a row's own values: no file, no query, no aggregate, no window. Anything else is a CaseError.
    """
    known, parsed = set(columns), {}
    for name, text in where.items():
        place = f"where.{name}"
        try:
            found = expression(text)
        except Exception as error:  # polars raises several unrelated classes for what it cannot parse
            raise CaseError(f"{text!r} is not a condition: {_first_line(error)}.", where=place, fix="Write SQL such as age > 40 AND city = 'Oslo'.") from error
        used = list(dict.fromkeys(found.meta.root_names()))
        for column in used:
            if column not in known:
                raise CaseError(f"{text!r} names an unknown column `{column}`.", where=place, fix=nearest(column, known))
        if not used or not _of_the_row(json.loads(found.meta.serialize(format="json"))):
            raise CaseError(
                f"{text!r} is not a condition on each row's own values.", where=place, fix="Use columns of the row, without aggregates, windows or subqueries."
            )
        parsed[name] = found.alias(name)
    return parsed


def expression(text: str) -> pl.Expr:
    """SQL as a polars expression, in which `"*"` and `"^a.*$"` are columns of that name: polars takes such names for patterns of names.

    Raises: whatever polars raises for text that it cannot parse.
    """
    found = pl.sql_expr(text)
    told = found.meta.serialize(format="json")
    if '"Selector"' not in told:
        return found
    return pl.Expr.deserialize(io.BytesIO(json.dumps(_columns_for_patterns(json.loads(told))).encode()), format="json")


def _columns_for_patterns(node: Any) -> Any:
    match node:
        case {"Selector": "Wildcard"}:
            return {"Column": "*"}
        case {"Selector": {"Matches": str(name)}}:
            return {"Column": name}
        case dict():
            return {key: _columns_for_patterns(part) for key, part in node.items()}
        case list():
            return [_columns_for_patterns(part) for part in node]
    return node


_FAMILIES = {"Boolean", "StringExpr", "ListExpr", "TemporalExpr", "Sql"}  # polars function families that work row by row
_FUNCTIONS = {"Abs", "Coalesce", "FillNull", "Sign", "Negate", "Round", "Floor", "Ceil", "RoundSF", "Pow", "MinHorizontal", "MaxHorizontal", "Exp", "Log"}


def _of_the_row(node: Any) -> bool:
    """Whether a parsed expression looks at nothing but its own row. Unknown kinds of node are refused."""
    if not isinstance(node, dict) or len(node) != 1:
        return False
    ((kind, body),) = node.items()
    match kind:
        case "Column" | "Literal":
            return True
        case "BinaryExpr":
            return _of_the_row(body["left"]) and _of_the_row(body["right"])
        case "Ternary":
            return all(_of_the_row(body[part]) for part in ("predicate", "truthy", "falsy"))
        case "Cast":
            return _of_the_row(body["expr"])
        case "Alias":
            return _of_the_row(body[0])
        case "Function":
            function = body["function"]
            family = next(iter(function)) if isinstance(function, dict) else function
            inner = function.get("Boolean") if isinstance(function, dict) else None
            return (family in _FAMILIES or family in _FUNCTIONS) and inner not in ("Any", "All") and all(_of_the_row(part) for part in body["input"])
    return False


def condition_columns(where: Mapping[str, str], columns: Iterable[str]) -> list[str]:
    """Columns that the conditions read, each once."""
    expressions = parse_conditions(where, columns).values()
    return list(dict.fromkeys(column for expression in expressions for column in expression.meta.root_names()))


def memberships(frame: pl.DataFrame, conditions: Mapping[str, pl.Expr]) -> list[pl.Series]:
    """One Boolean column (n,) for each condition: true where it holds, false where it does not or cannot be told."""
    if not conditions:
        return []
    try:  # lazily, so that what conditions share is computed once
        held = frame.lazy().select(expression.alias(str(index)) for index, expression in enumerate(conditions.values())).collect()
    except pl.exceptions.PolarsError:
        held = pl.DataFrame({str(index): _one(frame, name, expression) for index, (name, expression) in enumerate(conditions.items())})
    for name, series in zip(conditions, held, strict=True):
        if series.dtype != pl.Boolean:
            raise CaseError(f"gives {series.dtype}, not true or false.", where=f"where.{name}", fix="Compare the column with a value.")
    return [series.fill_null(False) for series in held]


def _one(frame: pl.DataFrame, name: str, expression: pl.Expr) -> pl.Series:
    try:
        return frame.select(expression).to_series()
    except pl.exceptions.PolarsError as error:
        kinds = ", ".join(f"{column} is {frame.schema[column]}" for column in dict.fromkeys(expression.meta.root_names()))
        raise CaseError(f"cannot be told for these rows: {_first_line(error)} ({kinds}).", where=f"where.{name}", fix="Compare like with like.") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__

"""What slices are made of: each row's error, and columns cut into parts (values, intervals), each with a label and the SQL
condition that selects exactly its rows.
"""

import math
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.core.cohorts import encode, interval_labels, numeric, quantile_edges
from tasks.core.errors import CaseError, DataError, nearest
from tasks.core.labels import SCORE, find_classes
from tasks.core.predictions import Source
from tasks.core.targets import Rows, read_rows
from tasks.core.weighted import relative

Floats = NDArray[np.float64]
Codes = NDArray[np.uint16]

BINS = 10  # quantile bins of a number
FEW = 12  # numbers of at most so many different values are not binned
SAMPLE = 100_000  # rows that quantiles are taken from
COMMON = 1000  # values of a column that can form parts: the most frequent
TASKS = ("binary", "multiclass", "multilabel", "regression")
NO_FEATURES = {"row_id", "y_true", "y_pred", "y_score", "weight"}


@dataclass(frozen=True)
class Errors:
    """Each row's error `loss` (n,), whether errors are 0 or 1, what they were read from, and weights (n,) if they differ."""

    loss: Floats
    shares: bool
    task: str
    rows: Rows
    weight: Floats | None = None


def read_errors(source: Source, task: str | None, error: str = "absolute") -> Errors:
    """1 where y_pred is not y_true (for multilabel tasks: not exactly), for regression |y_pred - y_true| or its square."""
    if task is not None and task not in TASKS:
        raise CaseError(f"unknown task {task!r}.", where="task", fix=nearest(task, TASKS))
    if error not in ("absolute", "squared"):
        raise CaseError(f"unknown error {error!r}.", where="error", fix=nearest(error, ("absolute", "squared")))
    task = task or infer_task(source)
    classes = find_classes(source, task) if task in ("multiclass", "multilabel") else ()
    rows = read_rows(source, task, scored=False, classes=classes)
    weight = relative(rows.weight, source.name)
    if task == "regression":
        return Errors(rows.quantity(error), False, task, rows, weight)
    return Errors(np.asarray(rows.y != rows.p).astype(np.float64), True, task, rows, weight)


def infer_task(source: Source) -> str:
    """Multilabel for lists, regression for numbers that are not whole, binary for 0 and 1, multiclass for what is left."""
    source.require(["y_true", "y_pred"])
    binary = True
    for name in ("y_true", "y_pred"):
        array = source.column(name)
        if pa.types.is_nested(array.type):
            return "multilabel"
        if pa.types.is_floating(array.type) and pc.any(pc.not_equal(pc.floor(array), array)).as_py():
            return "regression"
        if pa.types.is_integer(array.type) or pa.types.is_floating(array.type):  # whole numbers
            ends = pc.min_max(array).as_py()
            binary &= ends["min"] in (0, 1) and ends["max"] in (0, 1)
        else:
            binary &= pa.types.is_boolean(array.type)
    return "binary" if binary else "multiclass"


@dataclass(frozen=True)
class Column:
    """A column in parts: row i is in part codes[i], which has a label and a SQL condition. Rows of code len(labels) are in none.

    `sql` is the column in SQL; `marks` are the inner edges of its intervals, none where parts are values; the part
    labelled `missing`, if any, is the last of intervals.
    """

    name: str
    codes: Codes
    labels: tuple[str, ...]
    conditions: tuple[str, ...]
    sql: str
    marks: tuple[str, ...] = ()

    def supported(self, rows: NDArray[np.intp] | None, least: float) -> "Column":
        """The same with only the parts that at least so many, but not all, of these rows (all unless given) are in."""
        codes = self.codes if rows is None else self.codes[rows]
        counts = np.bincount(codes, minlength=len(self.labels) + 1)
        kept = np.flatnonzero((counts[:-1] >= least) & (counts[:-1] < len(codes)))
        if len(kept) == len(self.labels):
            return self
        table = np.full(len(counts), len(kept), dtype=np.uint16)
        table[kept] = np.arange(len(kept))
        return replace(self, codes=table[self.codes], labels=tuple(self.labels[k] for k in kept), conditions=tuple(self.conditions[k] for k in kept))


def read_columns(source: Source, names: Sequence[str] | None) -> list[Column]:
    """The named columns in parts; without names, every column that can be cut and is no prediction, score, weight or row id."""
    if names is not None:
        if isinstance(names, str) or len(set(names)) < len(names) or not names:
            raise CaseError(f"{names!r} is not a list of different columns.", where="columns", fix="Name each column once, or leave `columns` out.")
        source.require(names)
        chosen = list(names)
    else:
        chosen = [name for name in source.names if name not in NO_FEATURES and not name.startswith(SCORE) and _worth(source, name)]
        if not chosen:
            raise DataError("has no column to slice by.", where=source.name, fix="Add raw columns to the predictions, beside y_true and y_pred.")
    with ThreadPoolExecutor(max_workers=4) as pool:
        return list(pool.map(lambda name: read_column(source, name), chosen))


def read_column(source: Source, name: str) -> Column:
    """One column in parts: its values, or its intervals between quantiles where it holds more than a few different numbers."""
    array, column = source.column(name), identifier(name)
    if not _sliceable(array.type):
        raise DataError(f"column `{name}` holds {array.type}, which does not form slices.", where=source.name, fix="Leave it out, or turn it into text.")
    if _number_type(array.type):
        if pa.types.is_decimal(array.type):  # Arrow's own cast is not to the nearest double, which SQL's is
            array = pl.Series(pl.from_arrow(array)).cast(pl.Float64).to_arrow()
            column = f"CAST({column} AS DOUBLE)"
        values = numeric(array, name, "sliced")
        known = values[:: max(1, len(values) // SAMPLE)]
        known = known[np.isfinite(known)]
        if len(np.unique(known[:1000])) > FEW or len(np.unique(known)) > FEW:
            return _binned(name, column, values, known, array)
    found = encode(array, name)
    if _number_type(array.type) and sum(label is not None for label in found.labels) > FEW:
        return _binned(name, column, values, values[np.isfinite(values)], array)
    codes, labels = found.codes.astype(np.uint16), list(found.labels)
    if len(labels) > COMMON:
        kept = np.sort(np.argsort(-np.bincount(found.codes), kind="stable")[:COMMON])
        table = np.full(len(labels), COMMON, dtype=np.uint16)
        table[kept] = np.arange(COMMON)
        codes, labels = table[found.codes], [labels[k] for k in kept]
    kind = array.type.value_type if pa.types.is_dictionary(array.type) else array.type
    nan = pa.types.is_floating(kind) and bool(np.isnan(values).sum() > array.null_count) if _number_type(array.type) else False
    conditions = [_missing(column, nan) if label is None else f"{column} = {_literal(label, kind, None in labels)}" for label in labels]
    return Column(name, codes, tuple("missing" if label is None else label for label in labels), tuple(conditions), column)


def _worth(source: Source, name: str) -> bool:
    """Whether a column that nobody named is worth slicing by: of a fit type, and no list of identifiers."""
    array = source.column(name)
    if not _sliceable(array.type):
        return False
    if _number_type(array.type) or pa.types.is_dictionary(array.type):
        return not pa.types.is_dictionary(array.type) or len(array.dictionary) <= max(COMMON, len(array) // 2)
    some = array.take(pa.array(np.arange(0, len(array), max(1, len(array) // 10_000))))
    return len(some) < COMMON or len(some.unique()) <= len(some) // 2


def _number_type(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _sliceable(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_timestamp(kind):
        return kind.tz is None
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    return bool(_number_type(kind) or text or pa.types.is_boolean(kind) or pa.types.is_null(kind) or pa.types.is_date(kind))


def _binned(name: str, column: str, values: Floats, known: Floats, array: pa.Array) -> Column:
    edges = _plain(quantile_edges(known, BINS, name), float(np.ptp(known)))
    if pa.types.is_float32(array.type):  # 0.3 as it is stored, not the number next to it
        edges = [float(np.float32(edge)) for edge in edges]
    codes = np.zeros(len(values), dtype=np.uint8)
    for edge in edges:
        codes += values > edge
    unknown = np.isnan(values)
    missing = int(unknown.sum())
    nan = missing > array.null_count
    marks = [_number(edge) for edge in edges]
    inner = [f"{column} > {low} AND {column} <= {high}" for low, high in pairwise(marks)]
    # NaN is larger than every number in SQL; a column that holds it needs its last interval closed.
    last = f"{column} > {marks[-1]}" + (f" AND {column} <= CAST('inf' AS DOUBLE)" if nan else "")
    conditions, labels = [f"{column} <= {marks[0]}", *inner, last], interval_labels(edges)
    if missing:
        codes[unknown] = len(labels)
        conditions, labels = [*conditions, _missing(column, nan)], [*labels, "missing"]
    return Column(name, codes.astype(np.uint16), tuple(labels), tuple(conditions), column, tuple(marks))


def _plain(edges: list[float], spread: float) -> list[float]:
    """Edges rounded to a tenth of their smallest distance: 38000 instead of 38214.37."""
    gap = float(np.diff(edges).min()) if len(edges) > 1 else spread / BINS
    return [float(edge) for edge in np.round(edges, math.ceil(-math.log10(gap)) + 1)] if gap > 0 else edges


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def _missing(column: str, nan: bool) -> str:
    return f"({column} IS NULL OR NOT {column} <= CAST('inf' AS DOUBLE))" if nan else f"{column} IS NULL"


def _literal(label: str, kind: pa.DataType, beside_missing: bool) -> str:
    if pa.types.is_boolean(kind):
        return label.upper()
    if _number_type(kind):
        return label if math.isfinite(float(label)) else f"CAST('{label}' AS DOUBLE)"
    if pa.types.is_date(kind):
        return f"DATE '{label}'"
    if pa.types.is_timestamp(kind):
        return f"TIMESTAMP '{label}'"
    if beside_missing and label == "'missing'":  # how `encode` tells the word from the absence
        label = "missing"
    return "'" + label.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A column's name in SQL, quoted where it must be.

    >>> identifier("age"), identifier("hours per week"), identifier("order")
    ('age', '"hours per week"', '"order"')
    """
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        try:
            if set(pl.sql_expr(f"{name} = 1 AND {name} > 1 AND {name} IS NULL").meta.root_names()) == {name}:  # first, and later
                return name
        except Exception:  # noqa: BLE001, S110 - polars raises several unrelated classes for what it cannot parse
            pass
    return '"' + name.replace('"', '""') + '"'


def union(column: Column, codes: Sequence[int]) -> str:
    """The condition of rows in any of these parts of a column; intervals among them follow each other."""
    missing = [column.conditions[code] for code in codes if _is_missing(column, code)]
    rest = [code for code in codes if not _is_missing(column, code)]
    if not rest:
        return missing[0]
    if len(rest) == 1:
        text = column.conditions[rest[0]]
    elif not column.marks:
        literals = [column.conditions[code].removeprefix(f"{column.sql} = ") for code in rest]
        text = f"{column.sql} IN ({', '.join(literals)})"
    else:
        first, last = min(rest), max(rest)
        low = [f"{column.sql} > {column.marks[first - 1]}"] if first else []
        high = [f"{column.sql} <= {column.marks[last]}"] if last < len(column.marks) else _end(column)
        text = " AND ".join([*low, *high]) or f"{column.sql} IS NOT NULL"
    if not missing:
        return text
    return f"({text} OR {missing[0]})" if " AND " not in text else f"(({text}) OR {missing[0]})"


def _end(column: Column) -> list[str]:
    """What closes the last interval of a column that holds NaN."""
    condition = column.conditions[len(column.marks)]
    return [condition.split(" AND ")[-1]] if condition.endswith("CAST('inf' AS DOUBLE)") else []


def _is_missing(column: Column, code: int) -> bool:
    return column.conditions[code].startswith((f"{column.sql} IS NULL", f"({column.sql} IS NULL"))

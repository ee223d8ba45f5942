"""Where errors are, as a picture: a shallow tree of splits, and a heatmap over one or two columns.

Both cut columns as the slice search does, and name every node and cell by a condition that selects its rows. They
describe; what is confirmed is for `tasks.core.slices` to say. No node is split by chance alone: a split must be significant
at 5 % after Bonferroni's correction for every split of the node that could have been.
"""

from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from tasks.core.errors import CaseError, DataError
from tasks.core.intervals import student, wilson
from tasks.core.predictions import Source
from tasks.core.report import records
from tasks.core.slice_columns import Column, Errors, read_column, read_columns, read_errors
from tasks.core.slice_search import strength
from tasks.core.targets import FN, FP, TN, TP

Floats = NDArray[np.float64]

NODES = ("node", "parent", "depth", "condition", "n", "errors", "value", "coverage", "false_positive_rate", "false_negative_rate")
CELLS = ("row", "column", "condition", "n", "errors", "value", "low", "high")
PARTS = 30  # of a column with more values the tree makes no use; a heatmap shows so many, and the rest as `other`
LEVEL = 0.05


@dataclass(frozen=True)
class Node:
    """One node: `errors` is the number (or sum) of errors, `value` their rate (or mean), `coverage` their share of all errors.

    FPR = FP / (FP + TN) and FNR = FN / (FN + TP), for binary tasks; NaN otherwise, or without rows of that class.
    """

    node: int
    parent: int | None
    depth: int
    condition: str | None
    n: int
    errors: float
    value: float
    coverage: float
    false_positive_rate: float
    false_negative_rate: float


@dataclass(frozen=True)
class ErrorTree:
    """Nodes from the root down, each before its children, the child with more error first."""

    nodes: tuple[Node, ...]

    def frame(self) -> pd.DataFrame:
        """One row a node, columns exactly as in `NODES`; the root has neither parent nor condition."""
        frame = pd.DataFrame([astuple(node) for node in self.nodes], columns=list(NODES)).astype({"parent": "Int64"})
        return frame.assign(condition=_texts([node.condition for node in self.nodes]))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: `tree`. What is not known is None."""
        return {"tree": records(self.frame())}


def tree(
    predictions: Any,
    *,
    columns: Sequence[str] | None = None,
    depth: int = 3,
    min_support: int | None = None,
    task: str | None = None,
    error: Literal["absolute", "squared"] = "absolute",
) -> ErrorTree:
    """A tree of at most `depth` splits deep, each in two, that parts rows of more error from rows of less.

    Intervals are parted at an edge, values into two lists; missing values go where they fit better. A node has at least
    `min_support` rows: one in 100 and at least 50 unless given. For `task` and `error` see tasks.core.slices.
    """
    if depth < 1:
        raise CaseError(f"{depth} splits make no tree.", where="depth", fix="Give 1 or more.")
    source = Source(predictions)
    errors = read_errors(source, task, error)
    found = read_columns(source, columns)
    few = [column for column in found if 1 < len(column.labels) <= PARTS]
    if columns is not None:
        for column in found:
            if len(column.labels) > PARTS:
                raise DataError(f"column `{column.name}` has more than {PARTS} values.", where=source.name, fix="Group rare values, or leave the column out.")
    support = min_support if min_support is not None else max(50, source.rows // 100)
    grown = _Tree(errors, few, depth, support)
    grown.grow(np.arange(source.rows), {}, None, 0)
    return ErrorTree(tuple(grown.nodes))


Codes = tuple[int, ...]


@dataclass(frozen=True)
class _Split:
    gain: float
    column: int
    sides: tuple[Codes, Codes]


class _Tree:
    def __init__(self, errors: Errors, columns: Sequence[Column], depth: int, support: int) -> None:
        self.errors, self.columns, self.depth, self.support = errors, columns, depth, support
        self.total = float(errors.loss.sum())
        self.nodes: list[Node] = []

    def grow(self, rows: NDArray[np.intp], held: dict[int, Codes], parent: int | None, depth: int) -> None:
        """Add the node of these rows, in parts `held` by column, and those below it."""
        number = len(self.nodes)
        self.nodes.append(self._node(rows, held, parent, depth))
        split = self._best(rows) if depth < self.depth else None
        if split is None:
            return
        codes = self.columns[split.column].codes[rows]
        for side in split.sides:
            self.grow(rows[np.isin(codes, side)], held | {split.column: side}, number, depth + 1)

    def _node(self, rows: NDArray[np.intp], held: dict[int, Codes], parent: int | None, depth: int) -> Node:
        total = float(self.errors.loss[rows].sum())
        rates = (float("nan"), float("nan"))
        if self.errors.task == "binary":
            count = np.bincount(self.errors.rows.outcome[rows], minlength=4).astype(np.float64)
            rates = (_ratio(count[FP], count[FP] + count[TN]), _ratio(count[FN], count[FN] + count[TP]))
        condition = " AND ".join(union(self.columns[column], codes) for column, codes in held.items()) or None
        return Node(len(self.nodes), parent, depth, condition, len(rows), total, total / len(rows), _ratio(total, self.total), *rates)

    def _best(self, rows: NDArray[np.intp]) -> _Split | None:
        """The split that explains most of the spread of errors, if it is more than chance."""
        loss = self.errors.loss[rows]
        whole = (float(len(rows)), float(loss.sum()), float((loss * loss).sum()))
        best, tried, sums = None, 0.0, np.zeros(3, dtype=np.float64)
        for place, column in enumerate(self.columns):
            codes = column.codes[rows]
            size = len(column.labels)
            table = np.stack([np.bincount(codes, weights, minlength=size) for weights in (None, loss, loss * loss)]).astype(np.float64)
            present = [code for code in range(size) if table[0, code]]
            for order in _orders(column, present, table):
                below = np.cumsum(table[:, list(order)], axis=1)[:, :-1]
                n, s = below[0], below[1]
                gain = (s - n * whole[1] / whole[0]) ** 2 / (n * (whole[0] - n))
                gain[(n < self.support) | (whole[0] - n < self.support)] = 0.0
                cut = int(np.argmax(gain)) if len(gain) else 0
                if len(gain) and gain[cut] > 1e-12 * max(whole[2], 1e-300) and (best is None or gain[cut] > best.gain):
                    sides = (tuple(sorted(order[cut + 1 :])), tuple(sorted(order[: cut + 1])))
                    if s[cut] / n[cut] > whole[1] / whole[0]:
                        sides = (sides[1], sides[0])
                    best, sums = _Split(float(gain[cut]), place, sides), below[:, cut]
            tried += _splits(column, present)
        if best is None:
            return None
        part = sums if sums[1] * whole[0] > whole[1] * sums[0] else np.subtract(whole, sums)
        score = strength(part[:1], part[1:2], part[2:], whole, self.errors.shares)[0]
        return best if 2 * special.ndtr(-score) * tried <= LEVEL else None


def _orders(column: Column, present: list[int], table: Floats) -> Iterator[Codes]:
    """Orders of parts within which a split is a cut: for values that of their mean error (Breiman et al. 1984), for
    intervals their own, missing values at either end.
    """
    if not column.marks:
        mean = table[1, present] / table[0, present]
        yield tuple(present[k] for k in np.argsort(mean, kind="stable"))
        return
    intervals = [code for code in present if code <= len(column.marks)]
    missing = [code for code in present if code > len(column.marks)]
    yield (*intervals, *missing)
    if missing:
        yield (*missing, *intervals)


def _splits(column: Column, present: list[int]) -> float:
    """How many ways there are to part these in two."""
    if not column.marks:
        return 2.0 ** (len(present) - 1) - 1
    return (2.0 if max(present) > len(column.marks) else 1.0) * (len(present) - 1)


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


def _texts(values: Sequence[str | None]) -> pd.Series:
    """A column of texts in which None stays None, whatever pandas would make of it."""
    return pd.Series(list(values), dtype=object)


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")


def heatmap(predictions: Any, features: str | Sequence[str], *, task: str | None = None, error: Literal["absolute", "squared"] = "absolute") -> pd.DataFrame:
    """Error in every cell of one or two columns' parts: one row a cell, columns exactly as in `CELLS`, empty cells too.

    `row` and `column` are labels (`column` is None for one feature); `errors` and `value` as in the tree; `low` and `high`
    are 95 % limits: Wilson's for shares of errors, Student's for means. A column's rarer values are shown as `other`,
    whose cells have no condition.
    """
    names = [features] if isinstance(features, str) else list(features)
    if len(names) not in (1, 2) or len(set(names)) < len(names):
        raise CaseError(f"{names} are not one or two columns.", where="features", fix="Name one column, or two different ones.")
    source = Source(predictions)
    source.require(names)
    errors = read_errors(source, task, error)
    parts = [_shown(read_column(source, name)) for name in names]
    code, shape = np.zeros(source.rows, dtype=np.int64), []
    for column in parts:
        other = int(column.codes.max()) == len(column.labels)
        shape.append(len(column.labels) + other)
        code = code * shape[-1] + column.codes
    n, s, q = (np.bincount(code, weights, minlength=int(np.prod(shape))).astype(np.float64) for weights in (None, errors.loss, errors.loss**2))
    with np.errstate(divide="ignore", invalid="ignore"):
        value = s / n
        low, high = wilson(value, n) if errors.shares else student(value, np.maximum(q - s * value, 0) / np.maximum(n - 1, 1) / n, n)
    labels = [[*column.labels, "other"][:size] for column, size in zip(parts, shape, strict=True)]
    conditions = [[*column.conditions, None][:size] for column, size in zip(parts, shape, strict=True)]
    places = list(np.ndindex(*shape))
    cells = [[conditions[k][place] for k, place in enumerate(cell)] for cell in places]
    return pd.DataFrame(
        {
            "row": [labels[0][cell[0]] for cell in places],
            "column": _texts([labels[1][cell[1]] if len(cell) > 1 else None for cell in places]),
            "condition": _texts([None if None in cell else " AND ".join(str(part) for part in cell) for cell in cells]),
            "n": n.astype(np.int64),
            "errors": s,
            "value": value,
            "low": low,
            "high": high,
        },
        columns=list(CELLS),
    )


def _shown(column: Column) -> Column:
    """At most `PARTS` parts, the most frequent."""
    if len(column.labels) <= PARTS:
        return column
    counts = np.sort(np.bincount(column.codes, minlength=len(column.labels))[: len(column.labels)])
    return column.supported(None, float(counts[-PARTS]))

"""Where errors are, as a picture: a shallow tree of splits, and a heatmap over one or two columns.

Both cut columns as the slice search does, and name every node and cell by a condition that selects its rows. They
describe; what is confirmed is for `tasks.core.slices` to say. No node is split by chance alone: a split must be significant
at 5 % after Bonferroni's correction for every split of the node that could have been.

A column `weight` says how much each row counts, beside the others: errors, rates and shares are weighted, `n` is rows. Nodes
and cells of fewer than `k` rows are shown without figures, as `insufficient`, and so are those whose figures would give them
away by subtraction: the other child of a node, the next smallest cell, row or column (tasks.core.suppression); with k = 0
all are shown. `verdict` is ok, insufficient, or undefined where there is nothing to divide by.
"""

from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from tasks.core.errors import CaseError, DataError
from tasks.core.hiding import Family, hidden_cells, hidden_parts
from tasks.core.predictions import Source
from tasks.core.report import records
from tasks.core.slice_columns import Column, Errors, read_column, read_columns, read_errors, union
from tasks.core.slice_search import strength
from tasks.core.suppression import K
from tasks.core.targets import FN, FP, TN, TP
from tasks.core.weighted import Moments

Floats = NDArray[np.float64]

NODES = ("node", "parent", "depth", "condition", "n", "errors", "value", "coverage", "false_positive_rate", "false_negative_rate", "verdict")
CELLS = ("row", "column", "condition", "n", "errors", "value", "low", "high", "verdict")
PARTS = 30  # of a column with more values the tree makes no use; a heatmap shows so many, and the rest as `other`
LEVEL = 0.05
NAN = float("nan")


@dataclass(frozen=True)
class Node:
    """One node: `errors` is the number (or sum) of errors, `value` their rate (or mean), `coverage` their share of all errors.

    FPR = FP / (FP + TN) and FNR = FN / (FN + TP), for binary tasks; NaN otherwise, or without rows of that class, or with
    so few that they are hidden. In a hidden node `n` is None and every figure NaN.
    """

    node: int
    parent: int | None
    depth: int
    condition: str | None
    n: int | None
    errors: float
    value: float
    coverage: float
    false_positive_rate: float
    false_negative_rate: float
    verdict: str


@dataclass(frozen=True)
class ErrorTree:
    """Nodes from the root down, each before its children, the child with more error first."""

    nodes: tuple[Node, ...]

    def frame(self) -> pd.DataFrame:
        """One row a node, columns exactly as in `NODES`; the root has neither parent nor condition."""
        frame = pd.DataFrame([astuple(node) for node in self.nodes], columns=list(NODES)).astype({"parent": "Int64", "n": "Int64"})
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
    k: int = K,
) -> ErrorTree:
    """A tree of at most `depth` splits deep, each in two, that parts rows of more error from rows of less.

    Intervals are parted at an edge, values into two lists; missing values go where they fit better. A node has at least
    `min_support` rows: one in 100 and at least 50 unless given. For `task` and `error` see tasks.core.slices, for `k` above.
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
    return ErrorTree(_published(grown.nodes, np.array(grown.counts, dtype=np.float64), k))


def _published(nodes: Sequence[Node], counts: Floats, k: int) -> tuple[Node, ...]:
    """The nodes as they may be seen. `counts` (nodes, 3): rows, those that are negative, and those that are positive."""
    families: list[Family] = []
    for place in range(len(nodes)):
        children = [node.node for node in nodes if node.parent == place]
        if children:
            families.append((place, np.array(children)))
    hidden = hidden_parts(counts[:, 0], families, k)
    positives, negatives = (hidden_parts(counts[:, place], families, k, hidden) for place in (2, 1))
    found = []
    for place, node in enumerate(nodes):
        if hidden[place]:
            node = replace(node, n=None, errors=NAN, value=NAN, coverage=NAN, verdict="insufficient")
        false_positive = NAN if negatives[place] else node.false_positive_rate
        false_negative = NAN if positives[place] else node.false_negative_rate
        found.append(replace(node, false_positive_rate=false_positive, false_negative_rate=false_negative))
    return tuple(found)


Codes = tuple[int, ...]


@dataclass(frozen=True)
class _Split:
    gain: float
    column: int
    sides: tuple[Codes, Codes]


class _Tree:
    def __init__(self, errors: Errors, columns: Sequence[Column], depth: int, support: int) -> None:
        self.errors, self.columns, self.depth, self.support = errors, columns, depth, support
        self.weighted = errors.loss if errors.weight is None else errors.weight * errors.loss
        self.total = float(self.weighted.sum())
        self.nodes: list[Node] = []
        self.counts: list[tuple[int, int, int]] = []  # rows, negative, positive

    def grow(self, rows: NDArray[np.intp], held: dict[int, Codes], parent: int | None, depth: int) -> None:
        """Add the node of these rows, in parts `held` by column, and those below it."""
        number = len(self.nodes)
        self._add(rows, held, parent, depth)
        split = self._best(rows) if depth < self.depth else None
        if split is None:
            return
        codes = self.columns[split.column].codes[rows]
        for side in split.sides:
            self.grow(rows[np.isin(codes, side)], held | {split.column: side}, number, depth + 1)

    def _add(self, rows: NDArray[np.intp], held: dict[int, Codes], parent: int | None, depth: int) -> None:
        weight = None if self.errors.weight is None else self.errors.weight[rows]
        total = float(self.weighted[rows].sum())
        value = _ratio(total, len(rows) if weight is None else float(weight.sum()))
        rates, classes = (NAN, NAN), (0, 0)
        if self.errors.task == "binary":
            outcome = self.errors.rows.outcome[rows]
            count, much = np.bincount(outcome, minlength=4), np.bincount(outcome, weight, minlength=4).astype(np.float64)
            classes = (int(count[FP] + count[TN]), int(count[FN] + count[TP]))
            rates = (_ratio(much[FP], much[FP] + much[TN]), _ratio(much[FN], much[FN] + much[TP]))
        condition = " AND ".join(union(self.columns[column], codes) for column, codes in held.items()) or None
        verdict = "undefined" if np.isnan(value) else "ok"
        self.nodes.append(Node(len(self.nodes), parent, depth, condition, len(rows), total, value, _ratio(total, self.total), *rates, verdict))
        self.counts.append((len(rows), *classes))

    def _best(self, rows: NDArray[np.intp]) -> _Split | None:
        """The split that explains most of the spread of errors, if it is more than chance."""
        kinds = self._kinds(rows)
        w, e = (0, 1) if self.errors.weight is None else (3, 4)
        whole = np.array([len(rows) if kind is None else kind.sum() for kind in kinds], dtype=np.float64)
        best, tried, sums = None, 0.0, np.zeros(3, dtype=np.float64)
        for place, column in enumerate(self.columns):
            codes = column.codes[rows]
            size = len(column.labels)
            table = np.stack([np.bincount(codes, kind, minlength=size) for kind in kinds]).astype(np.float64)
            present = [code for code in range(size) if table[0, code]]
            for order in _orders(column, present, table[[w, e]]):
                below = np.cumsum(table[:, list(order)], axis=1)[:, :-1]
                n, weight, s = below[0], below[w], below[e]
                with np.errstate(divide="ignore", invalid="ignore"):
                    gain = (s - weight * whole[e] / whole[w]) ** 2 / (weight * (whole[w] - weight))
                gain[(n < self.support) | (whole[0] - n < self.support) | ~np.isfinite(gain)] = 0.0
                cut = int(np.argmax(gain)) if len(gain) else 0
                if len(gain) and gain[cut] > 1e-12 * max(whole[2], 1e-300) and (best is None or gain[cut] > best.gain):
                    sides = (tuple(sorted(order[cut + 1 :])), tuple(sorted(order[: cut + 1])))
                    if s[cut] / weight[cut] > whole[e] / whole[w]:
                        sides = (sides[1], sides[0])
                    best, sums = _Split(float(gain[cut]), place, sides), below[:3, cut]
            tried += _splits(column, present)
        if best is None:
            return None
        part = sums if sums[1] * whole[0] > whole[1] * sums[0] else whole[:3] - sums
        score = strength(part[:1], part[1:2], part[2:], tuple(whole[:3]), self.errors.shares and self.errors.weight is None)[0]
        return best if 2 * special.ndtr(-score) * tried <= LEVEL else None

    def _kinds(self, rows: NDArray[np.intp]) -> list[Floats | None]:
        """What is summed by part: rows, what is tested (see tasks.core.slice_choice.Sample), its squares; weights and weighted errors."""
        loss = self.errors.loss[rows]
        if self.errors.weight is None:
            return [None, loss, loss * loss]
        weight = self.errors.weight[rows]
        tested = weight * (loss - (weight @ loss) / max(weight.sum(), 1e-300))
        return [None, tested, tested * tested, weight, weight * loss]


def _orders(column: Column, present: list[int], table: Floats) -> Iterator[Codes]:
    """Orders of parts within which a split is a cut: for values that of their mean error (Breiman et al. 1984), for
    intervals their own, missing values at either end. `table` (2, parts) holds weights and weighted errors.
    """
    if not column.marks:
        with np.errstate(divide="ignore", invalid="ignore"):
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


def _texts(values: Sequence[str | None]) -> pd.Series:
    """A column of texts in which None stays None, whatever pandas would make of it."""
    return pd.Series(list(values), dtype=object)


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else NAN


def heatmap(
    predictions: Any, features: str | Sequence[str], *, task: str | None = None, error: Literal["absolute", "squared"] = "absolute", k: int = K
) -> pd.DataFrame:
    """Error in every cell of one or two columns' parts: one row a cell, columns exactly as in `CELLS`, empty cells too.

    `row` and `column` are labels (`column` is None for one feature); `errors` and `value` as in the tree; `low` and `high`
    are 95 % limits: Wilson's for shares of errors, Student's for means, with the variance that weights give them. A column's
    rarer values are shown as `other`, whose cells have no condition. For `k` see above.
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
    sums = Moments.of(code, int(np.prod(shape)), errors.loss, errors.weight)
    low, high = sums.limits(errors.shares)
    hidden = hidden_cells(sums.n.astype(np.int64).reshape(shape), k).ravel()
    figures = {"n": sums.n, "errors": sums.sum, "value": sums.value, "low": low, "high": high}
    labels = [[*column.labels, "other"][:size] for column, size in zip(parts, shape, strict=True)]
    conditions = [[*column.conditions, None][:size] for column, size in zip(parts, shape, strict=True)]
    places = list(np.ndindex(*shape))
    cells = [[conditions[axis][place] for axis, place in enumerate(cell)] for cell in places]
    return pd.DataFrame(
        {
            "row": [labels[0][cell[0]] for cell in places],
            "column": _texts([labels[1][cell[1]] if len(cell) > 1 else None for cell in places]),
            "condition": _texts([None if None in cell else " AND ".join(str(part) for part in cell) for cell in cells]),
            **{name: np.where(hidden, np.nan, figure) for name, figure in figures.items()},
            "verdict": np.where(hidden, "insufficient", np.where(np.isnan(sums.value), "undefined", "ok")).astype(object),
        },
        columns=list(CELLS),
    ).astype({"n": "Int64"})


def _shown(column: Column) -> Column:
    """At most `PARTS` parts, the most frequent."""
    if len(column.labels) <= PARTS:
        return column
    counts = np.sort(np.bincount(column.codes, minlength=len(column.labels))[: len(column.labels)])
    return column.supported(None, float(counts[-PARTS]))

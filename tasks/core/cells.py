"""Rows folded into cells: the mergeable summary that every metric, gap and interval is computed from.

A cell is one distinct combination of the values of a grouping's columns. It holds how many rows had each outcome and
exact sums of row quantities. Groupings that are part of a larger one are read from the larger one's cells. Conditions
overlap, so each has a cell of its own. Two summaries made by the same plan add up to exactly the summary of all their rows.

    plan = Plan(task="binary", by=(("race", "sex"),), quantities=("log_loss",))
    whole = summarise(part1, plan) + summarise(part2, plan)
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from tasks.core.declared import Cost, Prevalence
from tasks.core.errors import DataError
from tasks.core.exact import ExactSums
from tasks.core.ranking import Ranked

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Plan:
    """What to fold: the same plan for every part of a table. `quantities` are summed; keys in `ranked` are kept in order:
    as rows, or, where `cuts` gives edges, as histograms in the cells, which stay small however many rows there are.
    `shapes` gives the edges of quantities whose distributions are kept; `origin` is what labels are measured from where
    their spread matters.
    """

    task: str
    by: tuple[tuple[str, ...], ...] = ()
    where: dict[str, str] = field(default_factory=dict)
    bins: dict[str, tuple[float, ...]] = field(default_factory=dict)
    quantities: tuple[str, ...] = ()
    ranked: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    cuts: tuple[tuple[str, tuple[float, ...]], ...] = ()
    shapes: tuple[tuple[str, tuple[float, ...]], ...] = ()
    origin: float = 0.0
    costs: tuple[Cost, ...] = ()
    prevalence: Prevalence | None = None

    @property
    def cut(self) -> dict[str, tuple[float, ...]]:
        """Edges of the histograms that stand for ordered rows, by key; none where the rows themselves are kept."""
        return dict(self.cuts)

    @property
    def sets(self) -> tuple[tuple[str, ...], ...]:
        """The groupings that no other contains; their cells serve all the others."""
        largest = [entry for entry in self.by if not any(set(entry) < set(other) for other in self.by)]
        return tuple(largest) or ((),)

    @property
    def scored(self) -> bool:
        """Whether scores are needed."""
        return any(name.startswith("score") for name in self.ranked) or any(name.startswith(("log_loss", "brier", "calibration")) for name in self.quantities)


@dataclass(frozen=True)
class Cells:
    """Cells of one set of columns: `codes` (cells, columns) index `labels`; `rows` (cells, outcomes) counts rows;
    `sums` holds, by quantity and power of the weight, exact sums (cells,) or (cells, bins).
    """

    columns: tuple[str, ...]
    labels: tuple[tuple[str | None, ...], ...]
    codes: NDArray[np.int32]
    rows: Ints
    sums: dict[str, ExactSums]

    def __len__(self) -> int:
        return len(self.codes)

    def group(self, columns: Sequence[str]) -> tuple[NDArray[np.int64], list[list[str | None]]]:
        """For each cell the group of these columns it lies in, and the groups' labels, in order of the labels."""
        if not columns:
            return np.zeros(len(self), dtype=np.int64), [[]]
        places = [self.columns.index(column) for column in columns]
        joint = np.zeros(len(self), dtype=np.int64)
        for place in places:
            joint = joint * len(self.labels[place]) + self.codes[:, place]
        _, first, index = np.unique(joint, return_index=True, return_inverse=True)
        return index, [[self.labels[place][self.codes[cell, place]] for place in places] for cell in first]

    def __add__(self, other: "Cells") -> "Cells":
        labels, codes = [], []
        for place in range(len(self.columns)):
            names = sort_labels({*self.labels[place], *other.labels[place]})
            position = {name: index for index, name in enumerate(names)}
            labels.append(names)
            codes.append(
                np.concatenate([np.array([position[name] for name in part.labels[place]], dtype=np.int32)[part.codes[:, place]] for part in (self, other)])
            )
        stacked = np.stack(codes, axis=1) if codes else np.zeros((len(self) + len(other), 0), dtype=np.int32)
        distinct, index = np.unique(stacked, axis=0, return_inverse=True) if codes else (stacked[:1], np.zeros(len(stacked), dtype=np.int64))
        mine, theirs = np.split(index.ravel(), [len(self)])
        rows = np.zeros((len(distinct), self.rows.shape[1]), dtype=np.int64)
        rows[mine] += self.rows
        rows[theirs] += other.rows
        sums = {key: value.plus(other.sums[key], mine, theirs, len(distinct)) for key, value in self.sums.items()}
        return Cells(self.columns, tuple(labels), distinct, rows, sums)

    def same(self, other: "Cells") -> bool:
        """Whether two are equal, cell by cell."""
        return (
            self.columns == other.columns
            and self.labels == other.labels
            and np.array_equal(self.codes, other.codes)
            and np.array_equal(self.rows, other.rows)
            and self.sums == other.sums
        )


def sort_labels(labels: set[str | None]) -> tuple[str | None, ...]:
    """Labels in order, missing last; intervals by where they begin."""

    def key(label: str | None) -> tuple[int, float, str]:
        if label is None:
            return (2, 0.0, "")
        if label[:1] == "(" and label[-1:] in "])" and ", " in label:
            try:
                return (0, float(label[1:].split(", ")[0]), label)
            except ValueError:
                pass
        return (1, 0.0, label)

    return tuple(sorted(labels, key=key))


@dataclass(frozen=True)
class Summary:
    """All cells of a table, or of a part of one. Parts add. `nested` (conditions, conditions) says whether the first lies
    within the second, which has fewer than tasks.core.folding.NEAR rows besides; in the order of the cells in `filters`.
    """

    plan: Plan
    weighted: bool
    cells: tuple[Cells, ...]
    filters: Cells
    ranked: Ranked | None
    nested: NDArray[np.bool_]

    @property
    def rows(self) -> int:
        """How many rows were folded."""
        return int(self.cells[0].rows.sum())

    def __add__(self, other: "Summary") -> "Summary":
        if self.plan != other.plan or self.weighted != other.weighted:
            raise DataError("summaries of different plans do not add.", fix="Give every part the same columns, weights and plan.")
        cells = tuple(one + two for one, two in zip(self.cells, other.cells, strict=True))
        ranked = None
        if self.ranked is not None and other.ranked is not None:
            ranked = self.ranked.joined(
                other.ranked, [(move(one, all_), move(two, all_)) for one, two, all_ in zip(self.cells, other.cells, cells, strict=True)]
            )
        return Summary(self.plan, self.weighted, cells, self.filters + other.filters, ranked, self.nested & other.nested)

    def same(self, other: "Summary") -> bool:
        """Whether two summaries hold the same cells."""
        return self.weighted == other.weighted and all(a.same(b) for a, b in zip((*self.cells, self.filters), (*other.cells, other.filters), strict=True))


def move(part: Cells, whole: Cells) -> NDArray[np.int64]:
    """For each cell of a part its place in the whole."""
    if not part.columns:
        return np.zeros(len(part), dtype=np.int64)
    joint, known = np.zeros(len(part), dtype=np.int64), np.zeros(len(whole), dtype=np.int64)
    for place, names in enumerate(whole.labels):
        position = {name: index for index, name in enumerate(names)}
        joint = joint * len(names) + np.array([position[name] for name in part.labels[place]], dtype=np.int64)[part.codes[:, place]]
        known = known * len(names) + whole.codes[:, place]
    return np.searchsorted(known, joint).astype(np.int64)


def merge(parts: Sequence[Summary]) -> Summary:
    """The summary of all parts."""
    return reduce(lambda one, two: one + two, parts)

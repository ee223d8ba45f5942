"""Statistics of cohorts: cells added up for every group, intersection and condition, side by side in arrays."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tasks.core.cells import Cells, Summary
from tasks.core.cohorts import cohort_name
from tasks.core.exact import ExactSums, concat
from tasks.core.intervals import Z
from tasks.core.ranking import Curves, Order, curves, curves_of_histograms, medians, medians_of_histograms, unpack

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Block:
    """Cohorts that come together: one grouping, the overall table, or the conditions. `index` says where each cell of
    set `source` goes; for conditions `source` is -1 and `index` their place among the stored ones.
    """

    kind: str
    grouping: tuple[str, ...]
    names: list[str]
    labels: list[list[str | None]]
    source: int
    index: NDArray[np.int64]


@dataclass(frozen=True)
class Stats:
    """Sums of N cohorts in the order overall, groupings, conditions. `rows` (N, outcomes) counts rows."""

    summary: Summary
    blocks: list[Block]
    rows: Floats
    sums: dict[str, ExactSums]
    ranks: dict[int | None, Curves] = field(default_factory=dict)

    @staticmethod
    def of(summary: Summary) -> "Stats":
        """Add cells up to cohorts."""
        sets = summary.plan.sets
        found = [Block("overall", (), ["overall"], [[]], 0, np.zeros(len(summary.cells[0]), dtype=np.int64))]
        for grouping in summary.plan.by:
            source = next(place for place, columns in enumerate(sets) if set(grouping) <= set(columns))
            index, labels = summary.cells[source].group(grouping)
            kind = "group" if len(grouping) == 1 else "intersection"
            found.append(Block(kind, grouping, [cohort_name(grouping, entry) for entry in labels], labels, source, index))
        if summary.plan.where:
            names = list(summary.plan.where)
            stored = list(summary.filters.labels[0])
            found.append(Block("filter", (), names, [[] for _ in names], -1, np.array([stored.index(name) for name in names], dtype=np.int64)))
        rows = [_counts(summary, block) for block in found]
        sums = {key: concat([_sums(_cells(summary, block), key, block) for block in found]) for key in summary.cells[0].sums}
        return Stats(summary, found, np.concatenate(rows).astype(np.float64), sums)

    @property
    def weighted(self) -> bool:
        """Whether rows carry weights."""
        return self.summary.weighted

    def rest(self) -> "Stats | None":
        """Statistics of the rows outside each condition, in the conditions' order; None without conditions."""
        block = self.blocks[-1]
        if block.kind != "filter":
            return None
        place = self.spread()[-1]
        inside, everything = np.arange(place.start, place.stop), np.zeros(len(block.names), dtype=np.int64)
        sums = {key: value.take(everything).minus(value.take(inside)) for key, value in self.sums.items()}
        ranked = self.summary.ranked
        outside = None if ranked is None else replace(ranked, masks=~ranked.masks)  # bits beyond the last row are never read
        block = replace(block, names=[f"not {name}" for name in block.names])
        return Stats(replace(self.summary, ranked=outside), [block], self.rows[everything] - self.rows[inside], sums)

    def without_rows(self) -> "Stats":
        """The same without the rows that were kept for ordering: what a report may carry about. Curves stay known."""
        return replace(self, summary=replace(self.summary, ranked=None))

    @cached_property
    def names(self) -> list[str]:
        """Cohort names (N)."""
        return [name for block in self.blocks for name in block.names]

    @cached_property
    def kinds(self) -> list[str]:
        """Kind of each cohort (N)."""
        return [block.kind for block in self.blocks for _ in block.names]

    @cached_property
    def n(self) -> Floats:
        """Rows in each cohort (N,)."""
        return np.asarray(self.rows.sum(axis=1))

    @cached_property
    def weights(self) -> Floats:
        """Weight by cohort and outcome (N, outcomes)."""
        return self.sums["weight|1"].floats() if self.weighted else self.rows

    @cached_property
    def squares(self) -> Floats:
        """Squared weight by cohort and outcome (N, outcomes)."""
        return self.sums["weight|2"].floats() if self.weighted else self.rows

    def sum(self, quantity: str, power: int = 1) -> Floats:
        """The sum of weight**power times a quantity, by cohort (N,) or cohort and bin."""
        return self.sums[f"{quantity}|{power if self.weighted else 1}"].floats()

    def spread(self) -> list[slice]:
        """Where each block's cohorts stand among the N."""
        ends = np.cumsum([0, *(len(block.names) for block in self.blocks)])
        return [slice(int(start), int(stop)) for start, stop in pairwise(ends)]

    def curves(self, positive: int | None = None) -> Curves:
        """Ranking measures of every cohort: by the score of a binary task, or by that of one class against the rest."""
        if positive not in self.ranks:
            self.ranks[positive] = self._curves(positive)
        return self.ranks[positive]

    def _curves(self, positive: int | None) -> Curves:
        name = "score" if positive is None else f"score:{positive}"
        if name in self.summary.plan.cut:
            classes = 2 if positive is None else len(self.summary.plan.classes)
            truth = 1 if positive is None else positive
            count = self.rows.reshape(len(self.rows), classes, classes)[:, truth].sum(axis=1)
            return curves_of_histograms(self.sum(f"histogram:{name}"), self.sum(f"histogram:{name}", 2), count, self.n - count)
        ranked = self.summary.ranked
        assert ranked is not None
        order = Order.of(ranked.keys[name])
        y = (ranked.y == (1 if positive is None else positive)).astype(np.float64)[order.order]
        weight = None if ranked.weight is None else ranked.weight[order.order]

        def one(rows: NDArray[np.bool_] | None, cohort: NDArray[np.integer] | None, size: int) -> list[Floats]:
            if rows is None:
                got = curves(order, cohort, size, y, weight)
            else:
                got = curves(Order(order.key[rows], order.order[rows]), cohort, size, y[rows], None if weight is None else weight[rows])
            return [got.auc, got.auc_error, got.average_precision, got.auc_bound, got.average_precision_bound]

        return Curves(*self._ordered(order, one))

    @cached_property
    def medians(self) -> tuple[Floats, Floats, Floats]:
        """Median absolute error of every cohort, and its interval."""
        cut = self.summary.plan.cut
        if "absolute" in cut:
            return medians_of_histograms(self.sum("histogram:absolute"), cut["absolute"], self.n, Z)
        ranked = self.summary.ranked
        assert ranked is not None
        order = Order.of(ranked.keys["absolute"])
        weight = None if ranked.weight is None else ranked.weight[order.order]

        def one(rows: NDArray[np.bool_] | None, cohort: NDArray[np.integer] | None, size: int) -> list[Floats]:
            if rows is None:
                return list(medians(order, cohort, size, weight, Z))
            return list(medians(Order(order.key[rows], order.order[rows]), cohort, size, None if weight is None else weight[rows], Z))

        value, low, high = self._ordered(order, one)
        return value, low, high

    def _ordered(self, order: Order, one: Callable[[NDArray[np.bool_] | None, NDArray[np.integer] | None, int], list[Floats]]) -> list[Floats]:
        """Run a measure on each block of cohorts, rows in order of the key."""
        ranked = self.summary.ranked
        assert ranked is not None
        parts: list[list[Floats]] = []
        for block in self.blocks:
            if block.source >= 0:
                cohort = None if len(block.names) == 1 else block.index[ranked.members[block.source][order.order]]
                parts.append(one(None, cohort, len(block.names)))
            else:
                parts.extend(one(unpack(ranked.masks[place], ranked.n)[order.order], None, 1) for place in range(len(block.names)))
        return [np.concatenate([part[place] for part in parts]) for place in range(len(parts[0]))]


def _cells(summary: Summary, block: Block) -> Cells:
    return summary.filters if block.source < 0 else summary.cells[block.source]


def _counts(summary: Summary, block: Block) -> NDArray[np.int64]:
    cells = _cells(summary, block)
    if block.source < 0:
        return cells.rows[block.index]
    total = np.zeros((len(block.names), cells.rows.shape[1]), dtype=np.int64)
    np.add.at(total, block.index, cells.rows)
    return total


def _sums(cells: Cells, key: str, block: Block) -> ExactSums:
    return cells.sums[key].take(block.index) if block.source < 0 else cells.sums[key].gather(block.index, len(block.names))

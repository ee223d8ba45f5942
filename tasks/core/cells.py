"""Rows folded into cells: the mergeable summary that every metric, gap and interval is computed from.

A cell is one distinct combination of the values of a grouping's columns. It holds how many rows had each outcome and
exact sums of row quantities. Groupings that are part of a larger one are read from the larger one's cells. Conditions
overlap, so each has a cell of its own. Two summaries made by the same plan add up to exactly the summary of all their rows.

    plan = Plan(task="binary", by=(("race", "sex"),), quantities=("log_loss",))
    whole = summarise(part1, plan) + summarise(part2, plan)
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import reduce

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tasks.core.cohorts import Codes, encode, memberships, parse_conditions, too_many, MAX_GROUPS
from tasks.core.errors import DataError
from tasks.core.exact import ExactSums, concat, split
from tasks.core.predictions import Source
from tasks.core.ranking import Ranked
from tasks.core.targets import Rows, read_rows

Ints = NDArray[np.int64]

DENSE = 2**22  # joint codes up to here are counted in place; beyond, they are made dense first
BLOCK = 2**15  # rows of condition masks expanded at a time


@dataclass(frozen=True)
class Plan:
    """What to fold: the same plan for every part of a table."""

    task: str
    by: tuple[tuple[str, ...], ...] = ()
    where: dict[str, str] = field(default_factory=dict)
    bins: dict[str, tuple[float, ...]] = field(default_factory=dict)
    quantities: tuple[str, ...] = ()
    ranked: tuple[str, ...] = ()

    @property
    def sets(self) -> tuple[tuple[str, ...], ...]:
        """The groupings that no other contains; their cells serve all the others."""
        largest = [entry for entry in self.by if not any(set(entry) < set(other) for other in self.by)]
        return tuple(largest) or ((),)

    @property
    def scored(self) -> bool:
        """Whether scores are needed."""
        return "score" in self.ranked or any(name.startswith(("log_loss", "brier", "calibration")) for name in self.quantities)


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
        groups, first, index = np.unique(joint, return_index=True, return_inverse=True)
        return index, [[self.labels[place][self.codes[cell, place]] for place in places] for cell in first]

    def __add__(self, other: "Cells") -> "Cells":
        labels, codes = [], []
        for place in range(len(self.columns)):
            names = sort_labels({*self.labels[place], *other.labels[place]})
            position = {name: index for index, name in enumerate(names)}
            labels.append(names)
            codes.append(np.concatenate([np.array([position[name] for name in part.labels[place]], dtype=np.int32)[part.codes[:, place]] for part in (self, other)]))
        stacked = np.stack(codes, axis=1) if codes else np.zeros((len(self) + len(other), 0), dtype=np.int32)
        distinct, index = np.unique(stacked, axis=0, return_inverse=True) if codes else (stacked[:1], np.zeros(len(stacked), dtype=np.int64))
        rows = np.zeros((len(distinct), self.rows.shape[1]), dtype=np.int64)
        np.add.at(rows, index.ravel(), np.concatenate([self.rows, other.rows]))
        sums = {key: concat([value, other.sums[key]]).gather(index.ravel(), len(distinct)) for key, value in self.sums.items()}
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
    """All cells of a table, or of a part of one. Parts add."""

    plan: Plan
    weighted: bool
    cells: tuple[Cells, ...]
    filters: Cells
    ranked: Ranked | None

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
            ranked = self.ranked.joined(other.ranked, [(move(one, all_), move(two, all_)) for one, two, all_ in zip(self.cells, other.cells, cells, strict=True)])
        return Summary(self.plan, self.weighted, cells, self.filters + other.filters, ranked)

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


def summarise(source: Source, plan: Plan) -> Summary:
    """Fold the rows of one table (or part) into cells."""
    rows = read_rows(source, plan.task, scored=plan.scored)
    columns = list(dict.fromkeys(column for entry in plan.sets for column in entry))
    source.require(columns)
    with ThreadPoolExecutor(max_workers=4) as pool:  # encoding strings releases the interpreter's lock
        encoded = dict(zip(columns, pool.map(lambda name: encode(source.column(name), name, plan.bins.get(name)), columns), strict=True))
    digits = _digits(rows, plan)
    cells, members = zip(*(_fold(rows, entry, [encoded[column] for column in entry], digits) for entry in plan.sets), strict=True)
    masks = _masks(source, rows, plan)
    filters = _fold_filters(rows, tuple(plan.where), masks, digits)
    ranked = Ranked.of(rows, plan.ranked, members, masks) if plan.ranked else None
    return Summary(plan, rows.weight is not None, cells, filters, ranked)


@dataclass(frozen=True)
class _Digits:
    """A quantity ready to be summed: its exact digits, and the sub-cells it is kept by, if any."""

    top: int
    parts: list[NDArray[np.float64]]
    bins: NDArray[np.integer] | None
    size: int


def _digits(rows: Rows, plan: Plan) -> dict[str, _Digits]:
    """Every sum of the plan by `quantity|power of the weight`."""
    made: dict[str, _Digits] = {}
    if rows.weight is not None:
        for power, values in (("1", rows.weight), ("2", rows.weight**2)):
            made[f"weight|{power}"] = _Digits(*split(values), rows.outcome, rows.outcomes)
    for name in plan.quantities:
        values = rows.quantity(name)
        bins, size = rows.bin(name) if name.startswith("calibration") else (None, 1)
        if rows.weight is None:
            made[f"{name}|1"] = _Digits(*split(values), bins, size)
        else:
            for power in ("1", "2"):
                made[f"{name}|{power}"] = _Digits(*split(values * rows.weight ** int(power)), bins, size)
    return made


def _fold(rows: Rows, columns: tuple[str, ...], codes: list[Codes], digits: dict[str, _Digits]) -> tuple[Cells, NDArray[np.integer]]:
    """The cells of one set of columns, and the cell of each row."""
    joint, size = _joint(codes, columns)
    if size == 1:
        dense: NDArray[np.integer] = np.zeros(rows.n, dtype=np.int64)
        present = np.zeros(1, dtype=np.int64)
    elif size * rows.outcomes <= DENSE:
        dense, present = joint, np.arange(size)
    else:
        present, dense = np.unique(joint, return_inverse=True)
        size = len(present)
    if size > MAX_GROUPS:
        found = len(np.unique(joint))
        if found > MAX_GROUPS:
            raise too_many(", ".join(columns), found)
    counts = _count(dense, rows.outcome, size, rows.outcomes)
    sums = {}
    for key, entry in digits.items():
        where = dense if entry.bins is None else dense * entry.size + entry.bins
        lanes = np.stack([np.bincount(where, part, minlength=size * entry.size) for part in entry.parts], axis=-1).astype(np.int64)
        total = ExactSums(entry.top, lanes)
        sums[key] = total if entry.bins is None else total.reshape(size, entry.size)
    return _canonical(columns, codes, present, counts, sums, dense)


def _count(dense: NDArray[np.integer], outcome: NDArray[np.integer], size: int, outcomes: int) -> Ints:
    if outcomes == 1:
        return np.bincount(dense, minlength=size).reshape(size, 1)
    return np.bincount(dense * outcomes + outcome, minlength=size * outcomes).reshape(size, outcomes)


def _joint(codes: list[Codes], columns: tuple[str, ...]) -> tuple[NDArray[np.integer], int]:
    """One number for each row that stands for its combination of labels, and how many there may be."""
    if not codes:
        return np.zeros(0, dtype=np.int64), 1
    size = int(np.prod([float(len(entry.labels)) for entry in codes]))
    if size >= 2**62:
        raise too_many(", ".join(columns), size)
    joint: NDArray[np.integer] = codes[0].codes.astype(np.int64 if size >= 2**24 else np.int32, copy=False)
    for entry in codes[1:]:
        joint = joint * len(entry.labels) + entry.codes
    return joint, size


def _canonical(
    columns: tuple[str, ...], codes: list[Codes], present: Ints, counts: Ints, sums: dict[str, ExactSums], dense: NDArray[np.integer]
) -> tuple[Cells, NDArray[np.integer]]:
    """Cells in the order of their labels, the empty ones left out, whatever order the rows came in."""
    kept = np.flatnonzero(counts.any(axis=1)) if columns else np.arange(1)
    joint, parts, labels = present[kept], [], []
    for entry in reversed(codes):
        joint, raw = np.divmod(joint, len(entry.labels))
        used = sort_labels({entry.labels[code] for code in np.unique(raw)})
        position = {name: index for index, name in enumerate(used)}
        parts.append(np.array([position.get(name, 0) for name in entry.labels], dtype=np.int32)[raw])
        labels.append(used)
    table = np.stack(parts[::-1], axis=1) if parts else np.zeros((1, 0), dtype=np.int32)
    order = np.lexsort(table.T[::-1]) if parts else np.zeros(1, dtype=np.int64)
    place = np.zeros(len(counts), dtype=np.int32)
    place[kept[order]] = np.arange(len(order))
    cells = Cells(columns, tuple(labels[::-1]), table[order], counts[kept[order]], {key: value.take(kept[order]) for key, value in sums.items()})
    return cells, place[dense]


def _masks(source: Source, rows: Rows, plan: Plan) -> NDArray[np.uint64]:
    """The conditions' memberships as bits (conditions, words): bit i of a condition is row i."""
    words = -(-rows.n // 64)
    if not plan.where:
        return np.zeros((0, words), dtype=np.uint64)
    virtual = {} if "error" in source.names else {"error": np.asarray(rows.p, dtype=np.float64) - rows.y if plan.task == "regression" else (rows.p != rows.y)}
    conditions = parse_conditions(plan.where, [*source.names, *virtual])
    used = list(dict.fromkeys(column for expression in conditions.values() for column in expression.meta.root_names()))
    frame = source.polars([column for column in used if column not in virtual])
    frame = frame.with_columns(pl.Series(name, values) for name, values in virtual.items() if name in used)
    bits = np.zeros((len(conditions), words * 8), dtype=np.uint8)
    for index, series in enumerate(memberships(frame, conditions)):
        bits[index, : -(-rows.n // 8)] = np.packbits(series.to_numpy(), bitorder="little")
    return bits.view(np.uint64)


def unpack(bits: NDArray[np.uint64], n: int) -> NDArray[np.bool_]:
    """One condition's bits as a Boolean array (n,)."""
    return np.unpackbits(bits.view(np.uint8), count=n, bitorder="little").view(np.bool_)


def _fold_filters(rows: Rows, names: tuple[str, ...], masks: NDArray[np.uint64], digits: dict[str, _Digits]) -> Cells:
    """One cell for each condition. Counts come from the bits; sums from products of 0/1 masks with digits, exact in float64."""
    counts = np.zeros((len(names), rows.outcomes), dtype=np.int64)
    lanes = {key: np.zeros((len(names), entry.size, len(entry.parts)), dtype=np.int64) for key, entry in digits.items()}
    if names:
        if rows.outcomes <= 16:
            for outcome in range(rows.outcomes):
                bits = np.zeros(masks.shape[1] * 8, dtype=np.uint8)
                bits[: -(-rows.n // 8)] = np.packbits(rows.outcome == outcome, bitorder="little")
                for index in range(len(names)):
                    counts[index, outcome] = int(np.bitwise_count(masks[index] & bits.view(np.uint64)).sum(dtype=np.int64))
        else:
            for index in range(len(names)):
                counts[index] = np.bincount(rows.outcome[unpack(masks[index], rows.n)], minlength=rows.outcomes)
        plain = [key for key, entry in digits.items() if entry.bins is None]
        if plain:
            table = np.stack([part for key in plain for part in digits[key].parts], axis=1)
            total = np.zeros((len(names), table.shape[1]))
            for start in range(0, rows.n, BLOCK):
                count = min(BLOCK, rows.n - start)
                part = np.unpackbits(masks.view(np.uint8)[:, start // 8 : start // 8 + BLOCK // 8], axis=1, count=count, bitorder="little")
                total += part.astype(np.float64) @ table[start : start + count]
            for key, values in zip(plain, np.split(total, len(plain), axis=1), strict=True):
                lanes[key][:, 0, :] = values.astype(np.int64)
        for key, entry in digits.items():
            if entry.bins is not None:
                for index in range(len(names)):
                    held = np.flatnonzero(unpack(masks[index], rows.n))
                    where = entry.bins[held]
                    for lane, part in enumerate(entry.parts):
                        lanes[key][index, :, lane] = np.bincount(where, part[held], minlength=entry.size).astype(np.int64)
    sums = {key: ExactSums(entry.top, lanes[key] if entry.bins is not None else lanes[key][:, 0]) for key, entry in digits.items()}
    labels = sort_labels(set(names))
    order = np.argsort([labels.index(name) for name in names]) if names else np.zeros(0, dtype=np.int64)
    return Cells(("where",), (labels,), np.arange(len(names), dtype=np.int32)[:, None], counts[order], {key: value.take(order) for key, value in sums.items()})

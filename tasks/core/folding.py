"""Folding: the one pass that turns rows into cells.

Grouping columns are encoded, a row's labels become one number, and counts and digits are added up by it. Conditions
become bits; their counts are population counts of bits, their sums products of 0/1 masks with digits, exact in float64.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tasks.core.cells import Cells, Plan, Summary, sort_labels
from tasks.core.cohorts import MAX_GROUPS, Codes, encode, memberships, parse_conditions, too_many
from tasks.core.declared import reweighted, row_costs
from tasks.core.errors import DataError
from tasks.core.exact import ExactSums, split
from tasks.core.predictions import Source
from tasks.core.ranking import Ranked, histogram_bins, unpack
from tasks.core.targets import Rows, read_rows

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

THREADS = 4  # for encoding columns
FEW = 2**12  # joint codes up to here are counted in place; beyond, those that occur are numbered first
DENSE = 2**24  # joint codes up to here are numbered by a table, beyond by sorting
CELLS = 2**27  # counts kept at most
HISTOGRAMS = 2**25  # sums by bin kept at most, each of 24 bytes
BLOCK = 2**15  # rows of condition masks expanded at a time
NEAR = 1000  # rows: a condition that has more than another within it gives nobody away


@dataclass(frozen=True)
class Slices:
    """Which cohorts each row is in: codes by grouping column, and the conditions' bits (conditions, words)."""

    codes: dict[str, Codes]
    masks: NDArray[np.uint64]

    @staticmethod
    def of(source: Source, rows: Rows, plan: Plan) -> "Slices":
        """Encode the grouping columns and evaluate the conditions."""
        with ThreadPoolExecutor(THREADS) as pool:
            return Slices(_encoded(source, plan, pool)(), _masks(source, rows, plan))


def _encoded(source: Source, plan: Plan, pool: ThreadPoolExecutor) -> Callable[[], dict[str, Codes]]:
    """Begin to encode the grouping columns, which releases the interpreter's lock; the result waits for it."""
    columns = list(dict.fromkeys(column for entry in plan.sets for column in entry))
    source.require(columns)
    begun = {name: pool.submit(encode, source.column(name), name, plan.bins.get(name)) for name in columns}
    return lambda: {name: work.result() for name, work in begun.items()}


def read(source: Source, plan: Plan) -> Rows:
    """The rows of a table as the plan needs them, weighted and costed as it declares."""
    rows = read_rows(source, plan.task, scored=plan.scored, classes=plan.classes)
    rows.origin = plan.origin
    if plan.prevalence is not None:
        rows.weight = reweighted(source, rows.weight, plan.prevalence)
    if plan.costs:
        rows.made["cost"] = row_costs(source, rows.outcome, plan.costs)
    return rows


def summarise(source: Source, plan: Plan) -> Summary:
    """Fold the rows of one table (or part) into cells."""
    with ThreadPoolExecutor(THREADS) as pool:
        codes = _encoded(source, plan, pool)
        rows = read(source, plan)
        digits = _digits(rows, plan)
        slices = Slices(codes(), _masks(source, rows, plan))
    return _fold_all(rows, slices, plan, digits)[0]


def fold(rows: Rows, slices: Slices, plan: Plan) -> tuple[Summary, tuple[NDArray[np.integer], ...]]:
    """The summary of some rows, and the cell of each row in every set of the plan."""
    return _fold_all(rows, slices, plan, _digits(rows, plan))


def _fold_all(rows: Rows, slices: Slices, plan: Plan, digits: dict[str, "_Digits"]) -> tuple[Summary, tuple[NDArray[np.integer], ...]]:
    folded = [_fold(rows, entry, [slices.codes[column] for column in entry], digits) for entry in plan.sets]
    members = tuple(member for _, member in folded)
    filters = _fold_filters(rows, tuple(plan.where), slices.masks, digits)
    ranked = Ranked.of(rows, plan.ranked, members, slices.masks) if plan.ranked and not plan.cuts else None
    nested = _nested(slices.masks[[list(plan.where).index(str(name)) for name in filters.labels[0]]])
    return Summary(plan, rows.weight is not None, tuple(cells for cells, _ in folded), filters, ranked, nested), members


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
    for name, edges in plan.shapes:
        place = np.searchsorted(np.array(edges), rows.quantity(name), side="left")
        made[f"shape:{name}|1"] = _Digits(*split(np.ones(rows.n)), place, len(edges) + 1)
    for name, edges in plan.cuts:
        weight = np.ones(rows.n) if rows.weight is None else rows.weight
        bins, size = histogram_bins(rows, name, edges)
        for power in ("1",) if rows.weight is None else ("1", "2"):
            made[f"histogram:{name}|{power}"] = _Digits(*split(weight ** int(power)), bins, size)
    return made


def _fold(rows: Rows, columns: tuple[str, ...], codes: list[Codes], digits: dict[str, _Digits]) -> tuple[Cells, NDArray[np.integer]]:
    """The cells of one set of columns, and the cell of each row."""
    joint, size = _joint(codes, columns)
    if size == 1:
        dense: NDArray[np.integer] = np.zeros(rows.n, dtype=np.int64)
        present = np.zeros(1, dtype=np.int64)
    elif size <= FEW:
        dense, present = joint, np.arange(size)
    else:
        present, dense = _compressed(joint, size)
        size = len(present)
    if size > MAX_GROUPS:
        raise too_many(", ".join(columns), size)
    if size * rows.outcomes > CELLS:
        raise DataError(
            f"`{', '.join(columns)}` makes {size:,} groups of {rows.outcomes:,} outcomes, too many to count.",
            fix="Group by fewer columns, or join rare classes.",
        )
    widest = max((entry.size for entry in digits.values()), default=1)
    if size * widest > HISTOGRAMS:
        raise DataError(
            f"`{', '.join(columns)}` makes {size:,} groups, too many to keep a histogram of each in memory.",
            fix="Leave out roc_auc, average_precision and median_ae, or group by fewer columns.",
        )
    counts = _count(dense, rows.outcome, size, rows.outcomes)
    sums = {}
    for key, entry in digits.items():
        where = dense if entry.bins is None else dense * entry.size + entry.bins
        lanes = np.stack([np.bincount(where, part, minlength=size * entry.size) for part in entry.parts], axis=-1).astype(np.int64)
        total = ExactSums(entry.top, lanes)
        sums[key] = total if entry.bins is None else total.reshape(size, entry.size)
    return _canonical(columns, codes, present, counts, sums, dense)


def _compressed(joint: NDArray[np.integer], size: int) -> tuple[Ints, NDArray[np.integer]]:
    """The codes that occur, and each row's place among them."""
    if size > DENSE:
        present, dense = np.unique(joint, return_inverse=True)
        return present.astype(np.int64), dense
    present = np.flatnonzero(np.bincount(joint, minlength=size))
    place = np.zeros(size, dtype=np.int32)
    place[present] = np.arange(len(present))
    return present, place[joint]


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
    frame = pl.DataFrame([*frame.get_columns(), *(pl.Series(name, values) for name, values in virtual.items() if name in used)])
    bits = np.zeros((len(conditions), words * 8), dtype=np.uint8)
    for index, series in enumerate(memberships(frame, conditions)):
        bits[index, : -(-rows.n // 8)] = _packed(series)
    return bits.view(np.uint64)


def _packed(series: pl.Series) -> NDArray[np.uint8]:
    """A Boolean column as bits, row 0 the lowest of the first byte: Arrow's own buffer where it starts at a byte."""
    array = series.to_arrow()
    if array.offset % 8 or array.null_count:
        return np.packbits(series.to_numpy(), bitorder="little")
    start, size = array.offset // 8, -(-len(array) // 8)
    packed = np.frombuffer(array.buffers()[1], dtype=np.uint8)[start : start + size].copy()
    if len(array) % 8:
        packed[-1] &= (1 << len(array) % 8) - 1  # bits beyond the last row mean nothing
    return packed


def _nested(masks: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which conditions lie within which others, by a few rows."""
    sizes = np.bitwise_count(masks).sum(axis=1, dtype=np.int64)
    besides = sizes[None, :] - sizes[:, None]
    within = (besides >= 0) & (besides < NEAR) & ~np.eye(len(masks), dtype=bool)
    for one, two in np.argwhere(within):
        within[one, two] = not np.any(masks[one] & ~masks[two])
    return np.asarray(within)


def _fold_filters(rows: Rows, names: tuple[str, ...], masks: NDArray[np.uint64], digits: dict[str, _Digits]) -> Cells:
    """One cell for each condition. Counts come from the bits; sums from products of 0/1 masks with digits, exact in float64."""
    counts = np.zeros((len(names), rows.outcomes), dtype=np.int64)
    lanes = {key: np.zeros((len(names), entry.size, len(entry.parts)), dtype=np.int64) for key, entry in digits.items()}
    if names:
        if rows.outcomes <= 16:
            for outcome in range(rows.outcomes):
                packed = np.zeros(masks.shape[1] * 8, dtype=np.uint8)
                packed[: -(-rows.n // 8)] = np.packbits(rows.outcome == outcome, bitorder="little")
                for index in range(len(names)):
                    counts[index, outcome] = int(np.bitwise_count(masks[index] & packed.view(np.uint64)).sum(dtype=np.int64))
        else:
            for index in range(len(names)):
                counts[index] = np.bincount(rows.outcome[unpack(masks[index], rows.n)], minlength=rows.outcomes)
        plain = [key for key, entry in digits.items() if entry.bins is None]
        if plain:
            table = np.stack([part for key in plain for part in digits[key].parts], axis=1)
            total = np.zeros((len(names), table.shape[1]))
            for start in range(0, rows.n, BLOCK):
                count = min(BLOCK, rows.n - start)
                held = np.unpackbits(masks.view(np.uint8)[:, start // 8 : start // 8 + BLOCK // 8], axis=1, count=count, bitorder="little")
                total += held.astype(np.float64) @ table[start : start + count]
            for key, values in zip(plain, np.split(total, len(plain), axis=1), strict=True):
                lanes[key][:, 0, :] = values.astype(np.int64)
        for key, entry in digits.items():
            if entry.bins is not None:
                for index in range(len(names)):
                    inside = np.flatnonzero(unpack(masks[index], rows.n))
                    where = entry.bins[inside]
                    for lane, part in enumerate(entry.parts):
                        lanes[key][index, :, lane] = np.bincount(where, part[inside], minlength=entry.size).astype(np.int64)
    sums = {key: ExactSums(entry.top, lanes[key] if entry.bins is not None else lanes[key][:, 0]) for key, entry in digits.items()}
    labels = sort_labels(set(names))
    order = np.argsort([labels.index(name) for name in names]) if names else np.zeros(0, dtype=np.int64)
    return Cells(("where",), (labels,), np.arange(len(names), dtype=np.int32)[:, None], counts[order], {key: value.take(order) for key, value in sums.items()})

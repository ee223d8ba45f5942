"""What is kept of a table's cohorts to tell drift in each: their rows, and a summary of each of them. Parts add.

A grouping puts every row into one cohort; a condition puts it in or leaves it out. Cohorts are named as in a cohort report
(tasks.core.cohorts). Rows are ordered once by cohort, so that a column costs one look for all the cohorts of a grouping.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.core.case import Cohorts
from tasks.core.cohorts import Codes, cohort_name, condition_columns, encode, expression, memberships, parse_conditions
from tasks.core.drift_summary import THREADS, Categories, Kind, Numbers, Summary
from tasks.core.predictions import Source

MOST = 200
"""A grouping of more cohorts is left out: nobody reads so many verdicts, and each of them costs all the others power."""
REST = "all other rows"
_DENSE = 2**22


@dataclass(frozen=True)
class Block:
    """A grouping or condition: the rows of each cohort, and a summary of each. The rows outside a condition are counted as `REST`, and
    have no summary. Both are empty where the grouping has too many cohorts.
    """

    sizes: Mapping[str, int]
    summaries: Mapping[str, Summary]
    condition: bool = False
    too_many: bool = False

    @staticmethod
    def joined(parts: Sequence["Block"]) -> "Block":
        """The same grouping in all parts together."""
        sizes: dict[str, int] = {}
        for part in parts:
            for name, rows in part.sizes.items():
                sizes[name] = sizes.get(name, 0) + rows
        if any(part.too_many for part in parts) or len(sizes) > MOST:
            return Block({}, {}, parts[0].condition, True)
        names = dict.fromkeys(name for part in parts for name in part.summaries)
        held = {name: Summary.joined([part.summaries[name] for part in parts if name in part.summaries]) for name in names}
        return Block(sizes, held, parts[0].condition)


@dataclass(frozen=True)
class ByCohort:
    """A table's groupings and conditions by name; a grouping's name is its columns, such as `sex, race`."""

    blocks: Mapping[str, Block]

    @property
    def size(self) -> int:
        """How many distinct values and categories are kept, over all columns of all cohorts."""
        return sum(one.size for block in self.blocks.values() for one in block.summaries.values())

    @staticmethod
    def joined(parts: Sequence["ByCohort"]) -> "ByCohort":
        """Of all parts together, which were made with the same cohorts from the same columns."""
        return ByCohort({name: Block.joined([part.blocks[name] for part in parts]) for name in parts[0].blocks})


def by_cohort(frame: pd.DataFrame, kinds: Mapping[str, Kind], cohorts: Cohorts) -> ByCohort:
    """The summaries of the columns of `kinds` in every cohort of a case. What needs a column that the frame lacks is left out.

    Raises: DataError for a binned column without numbers, CaseError for a condition that cannot be told of these rows.
    """
    source = Source(frame, "the rows")
    held = set(source.names)
    codes = {
        name: _ordered(encode(source.column(name), name, cohorts.bins.get(name)), binned=name in cohorts.bins)
        for name in dict.fromkeys(sum(cohorts.by, ()))
        if name in held
    }
    placed: dict[str, tuple[NDArray[np.int64], list[str], bool]] = {}
    for grouping in cohorts.by:
        if not set(grouping) <= held:
            continue
        joint = np.zeros(len(frame), dtype=np.int64)
        for name in grouping:
            joint = joint * len(codes[name].labels) + codes[name].codes
        values, place = np.unique(joint, return_inverse=True)
        shape = [len(codes[name].labels) for name in grouping]
        names = [
            cohort_name(grouping, [codes[name].labels[int(one)] for name, one in zip(grouping, labels, strict=True)])
            for labels in (np.column_stack(np.unravel_index(values, shape)) if values.size <= MOST else [])
        ]
        placed[", ".join(grouping)] = place, names, False
    told = {name: text for name, text in cohorts.where.items() if set(expression(text).meta.root_names()) <= held}
    if told:
        rows = source.polars(condition_columns(told, source.names))
        for name, holds in zip(told, memberships(rows, parse_conditions(told, source.names)), strict=True):
            placed[name] = (~holds.to_numpy()).astype(np.int64), [name, REST], True
    columns = _columns(frame, kinds)
    return ByCohort({name: _block(columns, *found) for name, found in placed.items()})


def _ordered(codes: Codes, *, binned: bool) -> Codes:
    """The same codes, labels in the order of the alphabet and a missing one last; intervals keep theirs."""
    if binned or not codes.labels:
        return codes
    order = sorted(range(len(codes.labels)), key=lambda place: (codes.labels[place] is None, codes.labels[place] or ""))
    return Codes(np.argsort(order).astype(np.int32)[codes.codes], tuple(codes.labels[place] for place in order))


@dataclass(frozen=True)
class _Texts:
    """A categorical column: the place of each row's category among `names`, -1 where it is missing."""

    codes: NDArray[np.int64]
    names: list[str]


def _columns(frame: pd.DataFrame, kinds: Mapping[str, Kind]) -> dict[str, NDArray[np.float64] | _Texts]:
    def one(item: tuple[str, Kind]) -> NDArray[np.float64] | _Texts:
        name, kind = item
        if kind == "numeric":
            numbers: NDArray[np.float64] = pd.to_numeric(frame[name]).to_numpy(dtype=np.float64, na_value=np.nan)
            return numbers
        codes, values = pd.factorize(frame[name])
        places, names = pd.factorize(np.array([str(value) for value in values], dtype=object))  # values that read the same are one
        return _Texts(np.where(codes < 0, -1, places[codes]) if len(places) else codes.astype(np.int64), [str(text) for text in names])

    with ThreadPoolExecutor(THREADS) as pool:
        return dict(zip(kinds, pool.map(one, kinds.items()), strict=True))


def _block(columns: Mapping[str, NDArray[np.float64] | _Texts], place: NDArray[np.int64], names: list[str], condition: bool) -> Block:
    """The cohorts of a grouping; `place` is each row's, among `names`."""
    if not names:
        return Block({}, {}, condition, too_many=True)
    small = place.astype(np.uint8 if len(names) <= 256 else np.uint16)
    order = np.argsort(small, kind="stable")
    counts = np.bincount(place, minlength=len(names))
    ends = np.cumsum(counts)
    kept = [one for one, name in enumerate(names) if counts[one] and not (condition and name == REST)]
    spans = [slice(int(ends[one] - counts[one]), int(ends[one])) for one in kept]

    def of(column: NDArray[np.float64] | _Texts) -> list[Numbers | Categories]:
        if isinstance(column, _Texts):
            return _categories(column, order, place, kept, spans, len(names))
        ordered = column[order]
        return [Numbers.of_values(ordered[span]) for span in spans]

    with ThreadPoolExecutor(THREADS) as pool:
        found = dict(zip(columns, pool.map(of, columns.values()), strict=True))
    summaries = {names[one]: Summary({name: found[name][index] for name in columns}, int(counts[one])) for index, one in enumerate(kept)}
    return Block({name: int(count) for name, count in zip(names, counts, strict=True)}, summaries, condition)


def _categories(
    column: _Texts, order: NDArray[np.int64], place: NDArray[np.int64], kept: list[int], spans: list[slice], cohorts: int
) -> list[Numbers | Categories]:
    width = len(column.names) + 1
    if cohorts * width <= _DENSE:
        table = np.bincount(place * width + column.codes + 1, minlength=cohorts * width).reshape(cohorts, width)
        counted: list[tuple[Any, Any]] = [(np.flatnonzero(table[one]), table[one][table[one] > 0]) for one in kept]
    else:
        ordered = column.codes[order] + 1
        counted = [np.unique(ordered[span], return_counts=True) for span in spans]
    found: list[Numbers | Categories] = []
    for codes, counts in counted:
        pairs = dict(zip(codes.tolist(), counts.tolist(), strict=True))
        missing = pairs.pop(0, 0)
        found.append(Categories({column.names[code - 1]: count for code, count in pairs.items()}, missing))
    return found

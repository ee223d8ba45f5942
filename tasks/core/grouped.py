"""Rows in cohorts, for measures of data: which cohort of each grouping a row is in, and which cohorts may be published."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.core.cohorts import check_edges, cohort_name, encode, groupings, numeric, quantile_edges
from tasks.core.errors import CaseError, DataError, nearest
from tasks.core.hiding import Family, Mask, hidden_parts
from tasks.core.predictions import Source

Bins = Mapping[str, Sequence[float] | int]
MAX_COHORTS = 300


@dataclass(frozen=True)
class Cohorts:
    """The cohorts of one grouping, or the whole table: row i is in cohort `names[member[i]]`."""

    columns: tuple[str, ...]
    names: list[str]
    member: NDArray[np.int64]

    @property
    def grouping(self) -> str:
        """The columns as a text; empty for the whole table."""
        return ", ".join(self.columns)

    def count(self, rows: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
        """Rows in each cohort, of these."""
        return np.bincount(self.member if rows is None else self.member[rows], minlength=len(self.names)).astype(np.float64)


def read_cohorts(source: Source, by: Iterable[str | Sequence[str]], bins: Bins | None, label: str) -> list[Cohorts]:
    """The whole table, then the cohorts of each grouping; a missing value is a group of its own.

    `bins` gives inner edges of numeric columns, or a number of quantile bins. Raises: CaseError for bins of a column that is
    neither the label nor in a grouping; DataError for columns that are not there, or more than 300 cohorts.
    """
    grouped, cut = groupings(by), dict(bins or {})
    used = [name for entry in grouped for name in entry]
    source.require([label, *used])
    for name in cut:
        if name not in {label, *used}:
            raise CaseError(f"`{name}` is binned but is neither the label nor in a grouping.", where="bins", fix=nearest(name, source.names))
    found = [Cohorts((), ["overall"], np.zeros(source.rows, dtype=np.int64))]
    for entry in grouped:
        joint = np.zeros(source.rows, dtype=np.int64)
        groups: list[list[str | None]] = []
        for name in entry:
            codes, labels = encoded(source, name, cut)
            joint = joint * (len(labels) + 1) + np.where(codes < 0, len(labels), codes)
            groups.append([*labels, None])
        present, member = np.unique(joint, return_inverse=True)
        if len(present) > MAX_COHORTS:
            raise DataError(f"`{', '.join(entry)}` has {len(present):,} cohorts; at most {MAX_COHORTS} can be compared pair by pair.", fix="Bin or group them.")
        cells = np.stack(np.unravel_index(present, [len(group) for group in groups]), axis=1)
        names = [cohort_name(entry, [group[place] for group, place in zip(groups, cell, strict=True)]) for cell in cells.tolist()]
        found.append(Cohorts(entry, names, member))
    return found


def encoded(source: Source, name: str, bins: Bins) -> tuple[NDArray[np.int64], list[str]]:
    """Codes of a column's known values in order of their labels, -1 where missing."""
    array, edges = source.column(name), bins.get(name)
    if isinstance(edges, int):
        edges = quantile_edges(numeric(array, name, "binned"), edges, name)
    found = encode(array, name, check_edges(edges, name) if edges is not None else None)
    known = [label for label in found.labels if label is not None]
    order = known if edges is not None else sorted(known, key=_in_order)
    place = {label: index for index, label in enumerate(order)}
    table = np.array([-1 if label is None else place[label] for label in found.labels], dtype=np.int64)
    return table[found.codes], order


def _in_order(label: str) -> tuple[float, str]:
    try:
        return float(label), label
    except ValueError:
        return float("inf"), label


def hidden_cohorts(cohorts: Sequence[Cohorts], k: int, rows: NDArray[np.bool_] | None = None, also: Sequence[Mask] | None = None) -> list[Mask]:
    """Which cohorts of each grouping must be hidden for fewer than k of these rows, or for giving such a cohort away; `also`
    are hidden anyway.
    """
    ends = np.cumsum([0, *(len(one.names) for one in cohorts)])
    families: list[Family] = []
    for outer, start in zip(cohorts, ends, strict=False):
        for inner, place in zip(cohorts, ends, strict=False):
            if set(outer.columns) < set(inner.columns):
                above = np.zeros(len(inner.names), dtype=np.int64)
                above[inner.member] = outer.member
                families += [(int(start + parent), place + np.flatnonzero(above == parent)) for parent in range(len(outer.names))]
    n = np.concatenate([one.count(rows) for one in cohorts])
    hidden = hidden_parts(n, families, k, None if also is None else np.concatenate(also))
    return np.split(hidden, ends[1:-1])

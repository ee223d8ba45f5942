"""What is kept of a table to tell drift exactly: the distinct values of each column with their counts. Summaries of parts add.

A numeric column's distinct values are sorted once, so that comparing it later is one merge; a categorical one is a count of each
category. Nothing is binned or sampled: statistics from two summaries are those of all rows.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Kind = Literal["numeric", "categorical"]

THREADS = 2  # sorting lets go of Python's lock; more threads wait for memory


@dataclass(frozen=True)
class Numbers:
    """A numeric column: distinct finite values in rising order, how often each occurs, and how many rows have none."""

    values: Floats
    counts: Counts
    missing: int

    @staticmethod
    def of(column: "pd.Series[Any]") -> "Numbers":
        """The column's summary. Booleans count as 0 and 1."""
        found = column.to_numpy(dtype=np.float64, na_value=np.nan)
        known = np.sort(found[~np.isnan(found)])
        first = np.flatnonzero(np.concatenate([[True], known[1:] != known[:-1]])) if known.size else np.zeros(0, dtype=np.intp)
        return Numbers(known[first], np.diff(first, append=known.size).astype(np.int64), int(found.size - known.size))

    @property
    def n(self) -> int:
        """Rows that have a value."""
        return int(self.counts.sum())

    @property
    def spread(self) -> float:
        """Standard deviation of the values (of the population)."""
        if not self.n:
            return float("nan")
        mean = float(self.values @ self.counts) / self.n
        return float(np.sqrt(((self.values - mean) ** 2) @ self.counts / self.n))

    def __add__(self, other: "Numbers") -> "Numbers":
        values, place = np.unique(np.concatenate([self.values, other.values]), return_inverse=True)
        counts = np.bincount(place, np.concatenate([self.counts, other.counts]), minlength=values.size)
        return Numbers(values, counts.astype(np.int64), self.missing + other.missing)


@dataclass(frozen=True)
class Categories:
    """A categorical column: how often each category occurs, and how many rows have none."""

    counts: Mapping[str, int]
    missing: int

    @staticmethod
    def of(column: "pd.Series[Any]") -> "Categories":
        """The column's summary; values are told apart by their text."""
        codes, values = pd.factorize(column)
        counts = np.bincount(codes[codes >= 0], minlength=len(values))
        found: dict[str, int] = {}
        for value, count in zip(values, counts.tolist(), strict=True):
            if count:
                found[str(value)] = found.get(str(value), 0) + count
        return Categories(found, int((codes < 0).sum()))

    @property
    def n(self) -> int:
        """Rows that have a value."""
        return sum(self.counts.values())

    def __add__(self, other: "Categories") -> "Categories":
        counts = {name: self.counts.get(name, 0) + other.counts.get(name, 0) for name in {**self.counts, **other.counts}}
        return Categories(counts, self.missing + other.missing)


@dataclass(frozen=True)
class Summary:
    """A table's columns, summarised, and its number of rows."""

    columns: Mapping[str, Numbers | Categories]
    rows: int

    def __add__(self, other: "Summary") -> "Summary":
        """The summary of both tables together. Both have the same columns."""
        added: dict[str, Numbers | Categories] = {}
        for name, mine in self.columns.items():
            theirs = other.columns[name]
            if (isinstance(mine, Numbers) and isinstance(theirs, Numbers)) or (isinstance(mine, Categories) and isinstance(theirs, Categories)):
                added[name] = mine + theirs
            else:
                raise TypeError(f"column {name!r} is numeric in one part and categorical in the other")
        return Summary(added, self.rows + other.rows)


def kinds_of(frame: pd.DataFrame) -> dict[str, Kind]:
    """numeric for numbers and booleans, categorical for everything else."""
    return {str(name): "numeric" if pd.api.types.is_numeric_dtype(frame[name]) else "categorical" for name in frame.columns}


def summarise(frame: pd.DataFrame, kinds: Mapping[str, Kind] | None = None) -> Summary:
    """The summary of a table's columns, or of those that `kinds` names. Infinite values are kept as the largest and smallest there are."""
    kinds = kinds_of(frame) if kinds is None else kinds

    def one(item: tuple[str, Kind]) -> Numbers | Categories:
        name, kind = item
        return Numbers.of(pd.to_numeric(frame[name])) if kind == "numeric" else Categories.of(frame[name])

    with ThreadPoolExecutor(THREADS) as pool:
        return Summary(dict(zip(kinds, pool.map(one, kinds.items()), strict=True)), len(frame))

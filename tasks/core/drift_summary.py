"""What is kept of a table to tell drift exactly: the distinct values of each column with their counts. Summaries of parts add.

A numeric column's distinct values are sorted once, so that comparing it later is one merge; a categorical one is a count of each
category. Nothing is binned or sampled: statistics from two summaries are those of all rows.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import add
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
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
        return Numbers.of_values(column.to_numpy(dtype=np.float64, na_value=np.nan))

    @staticmethod
    def of_values(values: Floats) -> "Numbers":
        """The summary of values, NaN where one is missing."""
        found = np.sort(values)
        known = found[: np.searchsorted(found, np.nan)]  # sorting puts NaN last
        new = known[1:] != known[:-1]
        if new.all():
            return Numbers(known, np.broadcast_to(np.int64(1), known.size), found.size - known.size)  # ones that take no memory
        first = np.flatnonzero(np.append(True, new))
        return Numbers(known[first], np.diff(first, append=known.size).astype(np.int64), found.size - known.size)

    @cached_property
    def n(self) -> int:
        """Rows that have a value."""
        return int(self.counts.sum())

    @cached_property
    def spread(self) -> float:
        """Standard deviation of the values (of the population)."""
        if not self.n:
            return float("nan")
        if self.values.size == self.n:
            return float(self.values.std())
        weights = self.counts.astype(np.float64)
        mean = float(self.values @ weights) / self.n
        return float(np.sqrt(((self.values - mean) ** 2) @ weights / self.n))

    @cached_property
    def shares(self) -> Floats:
        """The share of rows below the first value (0), then at or below each value, up to 1."""
        if self.values.size == self.n:
            return np.arange(self.n + 1) / self.n
        return np.append(0.0, np.cumsum(self.counts) / self.n)

    @property
    def rows(self) -> Floats:
        """Every row's value, in rising order."""
        return self.values if self.values.size == self.n else np.repeat(self.values, self.counts)

    def below(self, points: Floats) -> Floats:
        """The distribution function: the share of rows at or below each point."""
        found: Floats = self.shares[np.searchsorted(self.values, points, side="right")]
        return found

    def __add__(self, other: "Numbers") -> "Numbers":
        return Numbers.joined([self, other])

    @staticmethod
    def joined(parts: Sequence["Numbers"]) -> "Numbers":
        """The summary of all parts together: sorted once, however many there are."""
        if len(parts) == 1:
            return parts[0]
        missing, kept = sum(part.missing for part in parts), sum(part.values.size for part in parts)
        if 2 * kept > sum(part.n for part in parts):  # values hardly repeat: the rows themselves sort faster
            found = Numbers.of_values(np.concatenate([part.rows for part in parts]))
            return Numbers(found.values, found.counts, missing)
        values, place = np.unique(np.concatenate([part.values for part in parts]), return_inverse=True)
        counts = np.bincount(place, np.concatenate([part.counts for part in parts]), minlength=values.size)
        return Numbers(values, counts.astype(np.int64), missing)


@dataclass(frozen=True)
class Categories:
    """A categorical column: how often each category occurs, and how many rows have none."""

    counts: Mapping[str, int]
    missing: int

    @staticmethod
    def of(column: "pd.Series[Any]") -> "Categories":
        """The column's summary; values are told apart by their text."""
        if isinstance(column.dtype, pd.StringDtype):  # Arrow counts text twice as fast, and lets go of Python's lock
            texts = pc.value_counts(pa.array(column, from_pandas=True)).to_pylist()
            counted = {text["values"]: text["counts"] for text in texts}
            missing = counted.pop(None, 0)
            return Categories(counted, missing)
        codes, values = pd.factorize(column)
        missing, *counts = np.bincount(codes + 1, minlength=len(values) + 1).tolist()
        found: dict[str, int] = {}
        for value, count in zip(values, counts, strict=True):
            if count:
                found[str(value)] = found.get(str(value), 0) + count
        return Categories(found, missing)

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

    @property
    def size(self) -> int:
        """How many distinct values and categories are kept, over all columns."""
        return sum(column.values.size if isinstance(column, Numbers) else len(column.counts) for column in self.columns.values())

    def __add__(self, other: "Summary") -> "Summary":
        """The summary of both tables together. Both have the same columns."""
        return Summary.joined([self, other])

    @staticmethod
    def joined(parts: Sequence["Summary"]) -> "Summary":
        """The summary of all parts together, which have the same columns. Raises: TypeError for a column of two kinds."""

        def one(name: str) -> Numbers | Categories:
            columns = [part.columns[name] for part in parts]
            numbers = [column for column in columns if isinstance(column, Numbers)]
            texts = [column for column in columns if isinstance(column, Categories)]
            if numbers and texts:
                raise TypeError(f"column {name!r} is numeric in one part and categorical in the other")
            return Numbers.joined(numbers) if numbers else reduce(add, texts)

        with ThreadPoolExecutor(THREADS) as pool:
            names = list(parts[0].columns)
            return Summary(dict(zip(names, pool.map(one, names), strict=True)), sum(part.rows for part in parts))


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

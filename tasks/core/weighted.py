"""Row weights, and sums over weighted rows from which a share or a mean gets its limits.

Weights count relative to each other: they are brought to a mean of 1, and weights that are all the same are no weights. So a
weighted sum stays on the scale of rows, and what is weighted evenly is exactly what is not weighted.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.core.errors import DataError
from tasks.core.intervals import student, wilson
from tasks.core.predictions import Source, numbers

Floats = NDArray[np.float64]


def read_weight(source: Source) -> Floats | None:
    """The column `weight` (n,) with mean 1; None where there is none, or where all rows weigh the same.

    Raises: DataError where a weight is missing, negative or not finite, or all are 0.
    """
    return relative(numbers(source.column("weight"), "weight", source.name, low=0.0), source.name) if "weight" in source.names else None


def relative(weight: Floats | None, where: str) -> Floats | None:
    """Checked weights brought to a mean of 1; None where all are the same."""
    if weight is None:
        return None
    if weight.max() == 0:
        raise DataError("`weight` is 0 in every row.", where=where, fix="Give the rows that count a weight, or leave the column out.")
    return None if weight.min() == weight.max() else weight / weight.mean()


def effective(share: Floats, total: Floats, inside: Floats, outside: Floats) -> Floats:
    """How many rows a weighted share is worth: p (1 - p) over its linearised variance, and Kish's (sum w)^2 / sum w^2 where p
    is 0 or 1. `total` is the sum of w; `inside` and `outside` are sums of w^2 of rows that are and are not of the share.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = (inside * (1 - share) ** 2 + outside * share**2) / total**2
        return np.where(variance > 0, share * (1 - share) / variance, kish(total, inside + outside))


def kish(total: Floats, squares: Floats) -> Floats:
    """The effective number of rows (sum w)^2 / sum w^2. Kish (1965)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(total**2 / squares, dtype=np.float64)


@dataclass(frozen=True)
class Moments:
    """Sums over the rows of parts (N,): rows, w, w x, w^2, w^2 x and w^2 x^2, of weights w (1 unless given) and a quantity x."""

    n: Floats
    weight: Floats
    sum: Floats
    squares: Floats
    squares_x: Floats
    squares_xx: Floats

    @staticmethod
    def of(code: NDArray[np.integer], size: int, x: Floats, weight: Floats | None) -> "Moments":
        """By part, of rows whose part is `code`."""

        def total(values: Floats | None) -> Floats:
            return np.bincount(code, values, minlength=size).astype(np.float64)

        n = total(None)
        if weight is None:
            return Moments.plain(n, total(x), total(x * x))
        once, twice = weight * x, weight * weight
        return Moments(n, total(weight), total(once), total(twice), total(weight * once), total(once * once))

    @staticmethod
    def plain(n: Floats, s: Floats, q: Floats) -> "Moments":
        """Of rows that weigh the same: their number, the sum of x and of x^2."""
        return Moments(n, n, s, n, s, q)

    @property
    def value(self) -> Floats:
        """The weighted mean of x; NaN without weight."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(self.sum / self.weight, dtype=np.float64)

    def limits(self, shares: bool) -> tuple[Floats, Floats]:
        """95 % limits of the mean: Wilson's on the effective rows where x is 0 or 1, Student's with the linearised variance else."""
        mean = self.value
        if shares:
            return wilson(mean, effective(mean, self.weight, self.squares_x, self.squares - self.squares_x))
        with np.errstate(divide="ignore", invalid="ignore"):
            around = self.squares_xx - 2 * mean * self.squares_x + mean**2 * self.squares
            return student(mean, np.maximum(around, 0) / self.weight**2 * self.n / (self.n - 1), self.n)


@dataclass(frozen=True)
class Tally:
    """Rows counted by what they are: how many, their weight, and their squared weight. Arrays of any one shape."""

    n: Floats
    weight: Floats
    squares: Floats

    @staticmethod
    def of(code: NDArray[np.integer], shape: tuple[int, ...], weight: Floats | None) -> "Tally":
        """By code: places in a table of this shape."""

        def total(values: Floats | None) -> Floats:
            return np.bincount(code, values, minlength=int(np.prod(shape))).astype(np.float64).reshape(shape)

        n = total(None)
        return Tally(n, n, n) if weight is None else Tally(n, total(weight), total(weight * weight))

    def sum(self) -> "Tally":
        """Added up over the last axis."""
        return Tally(self.n.sum(axis=-1), self.weight.sum(axis=-1), self.squares.sum(axis=-1))

    def repeat(self, times: int) -> "Tally":
        """Each entry so many times."""
        return Tally(*(np.repeat(array, times) for array in (self.n, self.weight, self.squares)))

    def of_whole(self, whole: "Tally") -> Moments:
        """These rows as a share of others that hold them."""
        part = self.weight.ravel(), self.squares.ravel()
        n, weight, squares = (np.broadcast_to(array.ravel(), part[0].shape) for array in (whole.n, whole.weight, whole.squares))
        return Moments(n, weight, part[0], squares, part[1], part[1])

"""Sums that do not depend on order or on how rows were divided.

A floating-point sum changes in its last digits when the rows come in another order, so summaries of parts would not add
up to exactly the summary of the whole. Here each number is cut into digits of 26 bits on one fixed grid of exponents and
the digits are summed as integers, which is exact. Three digits from the largest number downwards keep at least 53 bits
below it. The scheme is that of Demmel and Nguyen, "Fast reproducible floating-point summation" (2013).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.core.errors import DataError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

WIDTH = 26  # bits in a digit: 2**27 rows of them still add exactly in a float64
OFFSET = 6  # where the grid starts; log losses stay below 2**6, so their first digit is well filled
LANES = 3
LOWEST, HIGHEST = -36, 39  # grid positions that a float64 can scale to; numbers below 1e-290 count as 0


def _top(values: Floats) -> int:
    """The grid position of the first digit: the least k such that every |x| < 2**(OFFSET + WIDTH k)."""
    largest = max(abs(float(values.max())), abs(float(values.min()))) if values.size else 0.0
    if not np.isfinite(largest):
        raise DataError("numbers too large to be squared and summed.", fix="Rescale the target and the predictions.")
    if largest == 0.0:
        return LOWEST
    exponent = int(np.frexp(largest)[1])  # largest < 2**exponent
    return min(max(-((OFFSET - exponent) // WIDTH), LOWEST), HIGHEST)


@dataclass(frozen=True)
class ExactSums:
    """Sums in the cells of an array, as integer digits: `lanes` has shape (..., 3), its first digit at grid position `top`."""

    top: int
    lanes: Ints

    @staticmethod
    def of(values: Floats, codes: NDArray[np.integer] | None, size: int) -> "ExactSums":
        """Sum `values` (n,) into `size` cells; `codes` (n,) says which cell each belongs to (all to cell 0 when None)."""
        top, digits = split(values)
        if codes is None:
            lanes = np.array([[int(digit.sum()) for digit in digits]], dtype=np.int64)
        else:
            lanes = np.stack([np.bincount(codes, digit, minlength=size) for digit in digits], axis=-1).astype(np.int64)
        return ExactSums(top, lanes)

    def at(self, top: int) -> Ints:
        """The lanes moved to a higher first digit; what falls off the end is below the precision kept there."""
        shift = top - self.top
        if shift == 0:
            return self.lanes
        moved = np.zeros_like(self.lanes)
        if shift < LANES:
            moved[..., shift:] = self.lanes[..., : LANES - shift]
        return moved

    def gather(self, index: NDArray[np.integer], size: int) -> "ExactSums":
        """Add the cells (first axis) that share an index into `size` new cells."""
        lanes = np.zeros((size, *self.lanes.shape[1:]), dtype=np.int64)
        if len(index):
            order = np.argsort(index, kind="stable")
            present, starts = np.unique(index[order], return_index=True)
            lanes[present] = np.add.reduceat(self.lanes[order], starts, axis=0)
        return ExactSums(self.top, lanes)

    def plus(self, other: "ExactSums", mine: NDArray[np.integer], theirs: NDArray[np.integer], size: int) -> "ExactSums":
        """The sums of two parts in `size` cells, where the cells of either (each once) have these places."""
        top = max(self.top, other.top)
        lanes = np.zeros((size, *self.lanes.shape[1:]), dtype=np.int64)
        lanes[mine] += self.at(top)
        lanes[theirs] += other.at(top)
        return ExactSums(top, lanes)

    def minus(self, other: "ExactSums") -> "ExactSums":
        """What is left of these sums without others of the same cells."""
        top = max(self.top, other.top)
        return ExactSums(top, self.at(top) - other.at(top))

    def take(self, index: NDArray[np.integer]) -> "ExactSums":
        """The cells at these places along the first axis."""
        return ExactSums(self.top, self.lanes[index])

    def reshape(self, *shape: int) -> "ExactSums":
        """The same sums with other axes before the digits."""
        return ExactSums(self.top, self.lanes.reshape(*shape, LANES))

    def floats(self) -> Floats:
        """The sums as float64, correct to about one unit in the last place."""
        scale = OFFSET + WIDTH * (self.top - 1)
        parts = [np.ldexp(self.lanes[..., lane].astype(np.float64), scale - WIDTH * lane) for lane in range(LANES)]
        return (parts[2] + parts[1]) + parts[0]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ExactSums):
            return NotImplemented
        top = max(self.top, other.top)
        return bool(np.array_equal(self.at(top), other.at(top)))

    __hash__ = None  # type: ignore[assignment]  # how Python spells unhashable


def concat(parts: list[ExactSums]) -> ExactSums:
    """Cells of several sums one after the other, on the grid of the largest."""
    top = max(part.top for part in parts)
    return ExactSums(top, np.concatenate([part.at(top) for part in parts]))


def split(values: Floats) -> tuple[int, list[Floats]]:
    """The grid position of the first digit, and three arrays (n,) of whole numbers below 2**26 in size, sign included."""
    top = _top(values)
    scaled = values * 2.0 ** -(OFFSET + WIDTH * (top - 1))  # a power of two: exact
    digits = []
    for _ in range(LANES - 1):
        whole = np.trunc(scaled)
        digits.append(whole)
        scaled -= whole
        scaled *= float(2**WIDTH)
    digits.append(np.trunc(scaled, out=scaled))
    return top, digits

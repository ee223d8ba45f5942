"""Which of the slices that a search saw are worth a test: the strongest, simplified, and no two of them alike.

A part is dropped where the slice does not stand out from the wider one, and the wider one stands out nearly as clearly. A
slice goes where it has nearly the rows of a stronger one, or is raised by the rows of stronger ones alone: the last not for
the first twenty of a half, since with fewer errors to go by chance may put the shadow of a slice before the slice.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import special

from tasks.core.slice_columns import Codes, Column, Errors
from tasks.core.slice_search import BAR, Examined, Part, strength
from tasks.core.suppression import K
from tasks.core.weighted import Moments

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Bits = NDArray[np.uint8]  # a mask, eight rows a byte
Sums = tuple[float, float, float]  # rows, what is tested, its squares

FEWEST, MOST = 20, 50  # slices chosen: at least, if there are so many, and at most
CONSIDERED = 2000  # strongest slices that those are chosen from
LEVEL = 0.05
ALIKE = 0.8  # Jaccard index from which two slices are one
NEARLY = 0.9  # of a slice's score: what a wider one must have to take its place


@dataclass(frozen=True)
class Sample:
    """Some rows: part codes by column, errors and weights.

    What is `tested` is a row's error or, where rows weigh differently, weight * (error - weighted mean error): its mean is 0
    over all rows, and above 0 over a slice exactly where the slice's weighted error is above the overall one.
    """

    codes: list[Codes]
    loss: Floats
    weight: Floats | None
    tested: Floats
    wrong: Mask | None  # errors of 0 and 1 of rows that weigh the same are counted as bits
    shares: bool
    whole: Sums

    @staticmethod
    def of(columns: Sequence[Column], errors: Errors, rows: NDArray[np.intp] | None = None) -> "Sample":
        """These rows, or all."""
        loss, weight = errors.loss, errors.weight
        codes = [column.codes for column in columns]
        if rows is not None:
            loss, weight, codes = loss[rows], None if weight is None else weight[rows], [column[rows] for column in codes]
        tested = loss if weight is None else weight * (loss - (weight @ loss) / max(weight.sum(), 1e-300))
        whole = (float(len(loss)), float(tested.sum()), float((tested * tested).sum()))
        return Sample(codes, loss, weight, tested, loss > 0 if errors.shares and weight is None else None, errors.shares, whole)

    @property
    def counted(self) -> bool:
        """Whether errors are counts of rows."""
        return self.wrong is not None

    @property
    def flat(self) -> bool:
        """Whether no slice can stand out: all rows err alike."""
        n, s, q = self.whole
        return n * q <= s * s

    def rows(self, parts: Sequence[Part]) -> Mask:
        """The rows of a slice."""
        mask = np.asarray(self.codes[parts[0][0]] == parts[0][1])
        for column, code in parts[1:]:
            mask &= self.codes[column] == code
        return mask

    def sums(self, mask: Mask) -> Sums:
        """Rows, what is tested and its squares, of a mask."""
        n = float(np.count_nonzero(mask))
        if self.wrong is not None:
            errors = float(np.count_nonzero(mask & self.wrong))
            return n, errors, errors
        own = self.tested[np.flatnonzero(mask)]
        return n, float(own.sum()), float((own * own).sum())

    def moments(self, mask: Mask) -> Moments:
        """Sums of weights and errors outside and inside a mask (2,)."""
        if self.weight is not None:
            return Moments.of(mask.view(np.uint8), 2, self.loss, self.weight)
        n, s, q = self.sums(mask)
        N, S, Q = self.whole
        return Moments.plain(np.array([N - n, n]), np.array([S - s, s]), np.array([Q - q, q]))

    def raised(self, parts: Sequence[Sums], wholes: Sequence[Sums]) -> Floats:
        """How clearly each part of a whole lies above the rest of it, as a standard normal score; 0 where one of them is empty."""
        part, whole = np.array(parts), np.array(wholes)
        score = strength(part[:, 0], part[:, 1], part[:, 2], (whole[:, 0], whole[:, 1], whole[:, 2]), self.counted)
        return np.where((part[:, 0] > 0) & (part[:, 0] < whole[:, 0]), score, 0.0)

    def score(self, sums: Sums) -> float:
        """How clearly a slice lies above the rest of these rows."""
        return float(self.raised([sums], [self.whole])[0])


@dataclass
class Kept:
    """Slices taken so far, the stronger before the weaker."""

    sample: Sample
    slices: list[tuple[tuple[Part, ...], Bits, Sums]] = field(default_factory=list)
    covered: Mask | None = None

    def take(self, parts: tuple[Part, ...], covered_too: bool = False) -> bool:
        """Keep a slice that says something beside those before it, and tell whether it does; with `covered_too` keep it also
        where nothing but their rows raises it.
        """
        mask = self.sample.rows(parts)
        sums = self.sample.sums(mask)
        wider = [others for other, _, others in self.slices if set(other) < set(parts)]
        if any(not self._matters(sums, others) for others in wider):
            return False
        bits = np.packbits(mask)
        if any(_alike(bits, sums, rows, others) for _, rows, others in self.slices):
            return False
        new = self.covered is None or bool(wider) or self._matters(self.sample.sums(mask & ~self.covered), self.sample.whole)
        if new or covered_too:
            self.slices.append((parts, bits, sums))
        if new:
            self.covered = mask if self.covered is None else self.covered | mask
        return new

    def _matters(self, part: Sums, whole: Sums) -> bool:
        return bool(self.sample.raised([part], [whole])[0] >= BAR)


def _alike(bits: Bits, sums: Sums, other: Bits, others: Sums) -> bool:
    """Whether two slices have most rows in common, or one holds the other and fewer than k rows, who could be told by subtraction."""
    few, many = min(sums[0], others[0]), max(sums[0], others[0])
    near = many - few < K
    if few < ALIKE * many and not near:
        return False  # the index cannot be more than the ratio of the sizes
    both = float(np.bitwise_count(bits & other).sum())
    return both >= ALIKE * (few + many - both) or (near and both == few)


def choose(sample: Sample, found: Examined) -> list[tuple[Part, ...]]:
    """The slices to be tested, strongest first: as many as pass Benjamini and Hochberg's procedure, within bounds."""
    ranked = special.ndtr(-found.strength)
    passing = np.flatnonzero(ranked <= LEVEL * np.arange(1, len(ranked) + 1) / max(found.count, 1))
    most = int(np.clip(passing[-1] + 1 if len(passing) else 0, FEWEST, MOST))
    strongest = list(zip(found.slices(), map(tuple, found.sums[:CONSIDERED].tolist()), strict=False))
    simple = _Simple(sample, dict(strongest))
    kept = Kept(sample)
    seen: set[tuple[Part, ...]] = set()
    for parts, _ in strongest:
        simplest = simple.of(parts)
        if simplest not in seen:
            seen.add(simplest)
            most -= kept.take(simplest, covered_too=len(seen) <= FEWEST)
        if not most:
            break
    return [parts for parts, _, _ in kept.slices]


@dataclass
class _Simple:
    """The simplest way to say a slice; sums are kept from one to the next."""

    sample: Sample
    known: dict[tuple[Part, ...], Sums]

    def of(self, parts: tuple[Part, ...]) -> tuple[Part, ...]:
        """The slice without those of its parts that do not matter, one after the other."""
        while len(parts) > 1:
            sums = self._sums(parts)
            wider = [tuple(part for part in parts if part != left) for left in parts]
            totals = [self._sums(entry) for entry in wider]
            size, whole = len(parts), self.sample.whole
            own, scores, within = np.split(self.sample.raised([sums, *totals, *[sums] * size], [*[whole] * (size + 1), *totals]), [1, size + 1])
            free = (within < BAR) & (scores >= NEARLY * own)
            if not free.any():
                break
            parts = wider[int(np.argmax(np.where(free, scores, -np.inf)))]
        return parts

    def _sums(self, parts: tuple[Part, ...]) -> Sums:
        if parts not in self.known:
            self.known[parts] = self.sample.sums(self.sample.rows(parts))
        return self.known[parts]

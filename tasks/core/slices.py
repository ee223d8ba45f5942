"""Error slices: the cohorts nobody named on which a model errs more than elsewhere.

    report = find(predictions)
    report.frame()  # condition, n, value, overall, effect, low, high, p_value, confirmed

Rows are halved at random. One half is searched: every slice of up to `depth` parts (values of columns, intervals between
deciles) with enough rows is scored. The strongest are simplified and folded: a part is dropped where it does not matter,
and a slice goes where it has nearly the rows of a stronger one, or is raised by those rows alone. Those left that pass
Benjamini-Hochberg over all that was examined, and in any case the first twenty, go to the other half, which nothing was
chosen on. There each is tested once, and corrected for the number of slices tested by Holm's method. So the probability of
confirming any slice, where errors have nothing to do with the columns, is at most 5 %, however many slices were examined.
Errors of 0 and 1 are tested exactly, by the hypergeometric tail of Fisher's test. Other losses are tested by Welch's t and
by the normal score of a draw without replacement, and the larger p-value counts: on skewed losses one of the two is too
small, never both: to first order (Edgeworth) their errors have opposite signs.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from tasks.core.errors import CaseError
from tasks.core.intervals import combine, holm, student, wilson
from tasks.core.predictions import Source
from tasks.core.report import records
from tasks.core.slice_columns import Codes, Column, Errors, read_columns, read_errors
from tasks.core.slice_search import BAR, Examined, Part, Search, drawn_score, strength

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Sums = tuple[float, float, float]  # rows, losses, squared losses

COLUMNS = ("condition", "n", "value", "overall", "effect", "low", "high", "p_value", "confirmed")
FEWEST, MOST = 20, 50  # slices taken to the second half: at least, and at most
CONSIDERED = 2000  # strongest slices that those are chosen from
ALIKE = 0.8  # Jaccard index from which two slices are one
LEVEL = 0.05


@dataclass(frozen=True)
class Slice:
    """One slice. `n`, `value` (mean error) and `effect` (value - overall) are of all rows; `low` and `high` bound the effect
    at 95 % by the confirming half alone, and reach at least to the effect; `p_value` is one-sided and corrected.
    """

    condition: str
    n: int
    value: float
    overall: float
    effect: float
    low: float
    high: float
    p_value: float
    confirmed: bool


@dataclass(frozen=True)
class SliceReport:
    """Slices, confirmed ones first, then by how clearly they stand out; `examined` is how many were searched."""

    slices: tuple[Slice, ...]
    examined: int

    def frame(self) -> pd.DataFrame:
        """One row a slice, columns exactly as in `COLUMNS`."""
        kinds = {"n": "int64", "confirmed": "bool"} | dict.fromkeys(COLUMNS[2:8], "float64")
        return pd.DataFrame([astuple(one) for one in self.slices], columns=list(COLUMNS)).astype(kinds)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: `slices` and `examined`. What is not known is None."""
        return {"slices": records(self.frame()), "examined": self.examined}


def find(
    predictions: Any,
    *,
    columns: Sequence[str] | None = None,
    depth: int = 3,
    min_support: int | None = None,
    seed: int = 0,
    task: str | None = None,
    error: Literal["absolute", "squared"] = "absolute",
) -> SliceReport:
    """Slices of a predictions table with more error than the whole.

    A row's error is 1 where y_pred is not y_true (for multilabel tasks: not exactly), for regression |y_pred - y_true| or
    its square. `columns` are all that can form slices unless given; `min_support` is the number of rows a slice needs, one
    in 500 and at least 50 unless given; `task` is told from y_true and y_pred unless given. Rows count once each: weights
    are not used.

    Raises: CaseError for a depth, support, task or error that cannot be; DataError for columns that cannot.
    """
    if depth < 1:
        raise CaseError(f"{depth} columns make no slice.", where="depth", fix="Give 1 or more.")
    if min_support is not None and min_support < 1:
        raise CaseError(f"{min_support} rows are no support.", where="min_support", fix="Give 1 or more.")
    source = Source(predictions)
    errors = read_errors(source, task, error)
    support = min_support if min_support is not None else max(50, source.rows // 500)
    drawn = np.random.default_rng(seed).integers(0, 2, source.rows, dtype=np.uint8).view(np.bool_)
    first, second = np.flatnonzero(drawn), np.flatnonzero(~drawn)
    cut = [column.supported(first, support / 2) for column in read_columns(source, columns)]
    cut = [column for column in cut if column.labels]
    one, two = Half.of(cut, errors, first), Half.of(cut, errors, second)
    if not cut or one.whole[1] == 0 or one.whole[0] * one.whole[2] == one.whole[1] ** 2:
        return SliceReport((), 0)
    found = Search(one.codes, [len(column.labels) for column in cut], one.loss, errors.shares, -(-support // 2)).run(depth)
    taken = _Taken(one, found).choose()
    return SliceReport(_confirm(taken, cut, one, two, support), found.count)


@dataclass(frozen=True)
class Half:
    """Some rows: part codes by column, and losses."""

    codes: list[Codes]
    loss: Floats
    wrong: Mask | None  # losses of 0 and 1 are counted as bits
    whole: Sums

    @staticmethod
    def of(columns: Sequence[Column], errors: Errors, rows: NDArray[np.intp]) -> "Half":
        """These rows."""
        own = errors.loss[rows]
        whole = (float(len(own)), float(own.sum()), float((own * own).sum()))
        return Half([column.codes[rows] for column in columns], own, own > 0 if errors.shares else None, whole)

    @property
    def shares(self) -> bool:
        """Whether losses are 0 or 1."""
        return self.wrong is not None

    def rows(self, parts: Sequence[Part]) -> Mask:
        """The rows of a slice."""
        mask = np.asarray(self.codes[parts[0][0]] == parts[0][1])
        for column, code in parts[1:]:
            mask &= self.codes[column] == code
        return mask

    def sums(self, mask: Mask) -> Sums:
        """Rows, losses and squared losses of a mask."""
        n = float(np.count_nonzero(mask))
        if self.wrong is not None:
            errors = float(np.count_nonzero(mask & self.wrong))
            return n, errors, errors
        own = self.loss[np.flatnonzero(mask)]
        return n, float(own.sum()), float((own * own).sum())

    def raised(self, parts: Sequence[Sums], wholes: Sequence[Sums]) -> Floats:
        """How clearly each part of a whole lies above the rest of it, as a standard normal score; 0 where one of them is empty."""
        part, whole = np.array(parts), np.array(wholes)
        score = strength(part[:, 0], part[:, 1], part[:, 2], (whole[:, 0], whole[:, 1], whole[:, 2]), self.shares)
        return np.where((part[:, 0] > 0) & (part[:, 0] < whole[:, 0]), score, 0.0)


class _Taken:
    """The choice of slices on the half that was searched."""

    def __init__(self, half: Half, found: Examined) -> None:
        self.half, self.found = half, found
        ranked = special.ndtr(-found.strength)
        passing = np.flatnonzero(ranked <= LEVEL * np.arange(1, len(ranked) + 1) / max(found.count, 1))
        self.most = int(np.clip(passing[-1] + 1 if len(passing) else 0, FEWEST, MOST))
        self.strongest = list(zip(found.slices(), map(tuple, found.sums[:CONSIDERED].tolist()), strict=False))
        self.known: dict[tuple[Part, ...], Sums] = dict(self.strongest)

    def choose(self) -> list[tuple[Part, ...]]:
        """Slices to be tested, no two of them alike, none raised only by the rows of those before it."""
        kept: list[tuple[tuple[Part, ...], Mask, Sums]] = []
        seen = set()
        covered = np.zeros(len(self.half.loss), dtype=bool)
        for parts, sums in self.strongest:
            parts, sums = self._simplest(parts, sums)
            if parts in seen:
                continue
            seen.add(parts)
            if any(set(other) < set(parts) and not self._matters(sums, others) for other, _, others in kept):
                continue
            mask = self.half.rows(parts)
            if any(_jaccard(mask, sums, rows, others) >= ALIKE for _, rows, others in kept):
                continue
            finer = any(set(other) < set(parts) for other, _, _ in kept)
            if kept and not finer and not self._matters(self.half.sums(mask & ~covered), self.half.whole):
                continue
            kept.append((parts, mask, sums))
            covered |= mask
            if len(kept) == self.most:
                break
        return [parts for parts, _, _ in kept]

    def _matters(self, part: Sums, whole: Sums) -> bool:
        return bool(self.half.raised([part], [whole])[0] >= BAR)

    def _simplest(self, parts: tuple[Part, ...], sums: Sums) -> tuple[tuple[Part, ...], Sums]:
        """The slice without those of its parts that do not matter, one after the other."""
        while len(parts) > 1:
            wider = [tuple(part for part in parts if part != left) for left in parts]
            totals = [self._sums(entry) for entry in wider]
            free = np.flatnonzero(self.half.raised([sums] * len(wider), totals) < BAR)
            if not len(free):
                break
            best = free[np.argmax(self.half.raised([totals[place] for place in free], [self.half.whole] * len(free)))]
            parts, sums = wider[best], totals[best]
        return parts, sums

    def _sums(self, parts: tuple[Part, ...]) -> Sums:
        if parts not in self.known:
            self.known[parts] = self.half.sums(self.half.rows(parts))
        return self.known[parts]


def _jaccard(mask: Mask, sums: Sums, other: Mask, others: Sums) -> float:
    """Rows in both over rows in either."""
    if min(sums[0], others[0]) < ALIKE * max(sums[0], others[0]):
        return 0.0  # it cannot be more than the ratio of the sizes
    both = float(np.count_nonzero(mask & other))
    return both / (sums[0] + others[0] - both)


def _confirm(taken: list[tuple[Part, ...]], cut: Sequence[Column], one: Half, two: Half, support: int) -> tuple[Slice, ...]:
    """The slices that have enough rows, tested on the second half."""
    sums = [(one.sums(one.rows(parts)), two.sums(two.rows(parts))) for parts in taken]
    both = [(parts, tuple(np.add(first, second)), second) for parts, (first, second) in zip(taken, sums, strict=True)]
    both = [entry for entry in both if entry[1][0] >= support]
    corrected = holm(np.array([_p_value(second, two) for _, _, second in both]))
    whole = tuple(np.add(one.whole, two.whole))
    overall = float(whole[1] / whole[0])
    found: list[tuple[bool, float, int, Slice]] = []
    for (parts, total, second), p_value in zip(both, corrected, strict=True):
        n, value = int(total[0]), float(total[1] / total[0])
        low, high = _interval(second, two)
        effect = value - overall
        condition = " AND ".join(cut[column].conditions[code] for column, code in parts)
        score = one.raised([total], [whole])[0]
        row = Slice(condition, n, value, overall, effect, min(low, effect), max(high, effect), float(p_value), bool(p_value <= LEVEL))
        found.append((not row.confirmed, -score, len(found), row))
    return tuple(row for *_, row in sorted(found))


def _p_value(part: Sums, half: Half) -> float:
    """The probability of a mean this high in as many rows of the half, had they been drawn at random; 1 without rows."""
    n, s, q = part
    N, S, Q = half.whole
    if not 0 < n < N:
        return 1.0
    if half.shares:
        return hypergeometric_tail(int(s), int(n), int(S), int(N))
    (own, m) = (max(q - s * s / n, 0) / max(n - 1, 1) / n, N - n)
    rest = max((Q - q) - (S - s) ** 2 / m, 0) / max(m - 1, 1) / m
    if n < 2 or m < 2 or own + rest <= 0:
        return 1.0
    df = (own + rest) ** 2 / (own**2 / (n - 1) + rest**2 / (m - 1))
    welch = float(special.stdtr(df, -(s / n - (S - s) / m) / np.sqrt(own + rest)))
    return max(welch, float(special.ndtr(-drawn_score(np.array(n), np.array(s), half.whole))))


def hypergeometric_tail(s: int, n: int, S: int, N: int) -> float:
    """P(at least s of n rows drawn without replacement from N, of which S are wrong, are wrong).

    >>> round(hypergeometric_tail(3, 3, 3, 6), 6)  # 1 / (6 choose 3)
    0.05
    """
    top, bottom = min(n, S), max(0, n + S - N)
    if s <= n * S / N:  # the other tail is the short one to add
        return 1.0 if s <= bottom else 1.0 - float(np.exp(_log_mass(np.arange(bottom, s), n, S, N)).sum())
    spread = np.sqrt(n * (S / N) * (1 - S / N)) + 1
    return min(1.0, float(np.exp(_log_mass(np.arange(s, min(top, s + int(60 * spread)) + 1), n, S, N)).sum()))


def _log_mass(k: NDArray[np.int64], n: int, S: int, N: int) -> Floats:
    def chosen(whole: Any, part: Any) -> Any:
        return special.gammaln(whole + 1) - special.gammaln(part + 1) - special.gammaln(whole - part + 1)

    return np.asarray(chosen(S, k) + chosen(N - S, n - k) - chosen(N, n), dtype=np.float64)


def _interval(part: Sums, half: Half) -> tuple[float, float]:
    """95 % limits of mean - overall mean: that of mean - rest, by MOVER, times the share of the rest."""
    ends = []
    for n, s, q in (part, tuple(np.subtract(half.whole, part))):
        mean = np.array([s / n if n > 0 else np.nan])
        size = np.array([n], dtype=np.float64)
        if half.shares:
            ends.append((mean, *wilson(mean, size)))
        else:
            ends.append((mean, *student(mean, np.array([max(q - s * mean[0], 0) / max(n - 1, 1) / max(n, 1)]), size)))
    share = 1 - part[0] / half.whole[0]
    _, low, high = combine([(share, *ends[0]), (-share, *ends[1])])
    return float(low[0]), float(high[0])

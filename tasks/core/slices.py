"""Error slices: the cohorts nobody named on which a model errs more than elsewhere.

    report = find(predictions)
    report.frame()  # condition, n, value, overall, effect, low, high, p_value, confirmed

Rows are halved at random, and each half is searched in its turn: every slice of up to `depth` parts (values of columns,
intervals between deciles) with enough rows is scored, the strongest are simplified and folded (tasks.core.slice_choice),
and at least the first twenty go to the other half, which nothing was chosen on. There each is tested once, by
tasks.core.slice_tests, and corrected for the number of slices tested and of halves. So the probability of confirming any
slice, where errors have nothing to do with the columns, is at most 5 %, however many slices were examined. The correction
is Holm's, weighted by rank: the clearest finding of a half is asked for least. What either half found is put in one
order, confirmed slices first, then by how clearly they stand out from all rows, and folded again.

Rows that weigh differently count by their weights: values are weighted means, tests and limits take linearised variances.
No slice has fewer than ten rows, nor all rows but fewer than ten, nor fewer than ten rows more or less than another that
holds it or that it holds: subtraction would tell about them.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.core.errors import CaseError
from tasks.core.predictions import Source
from tasks.core.report import records
from tasks.core.slice_choice import LEVEL, Kept, Sample, choose
from tasks.core.slice_columns import Column, read_columns, read_errors
from tasks.core.slice_search import Part, Search
from tasks.core.slice_tests import effect_limits, p_value, weighted_holm
from tasks.core.suppression import K

Floats = NDArray[np.float64]

COLUMNS = ("condition", "n", "value", "overall", "effect", "low", "high", "p_value", "confirmed")


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
    """Slices, confirmed ones first, then by how clearly they stand out; `examined` is how many were counted in a half, not
    those that cannot have rows or errors enough.
    """

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
    in 500 and at least 50 unless given, and never fewer than ten; `task` is told from y_true and y_pred unless given. A
    column `weight` says how much each row's error counts; rows, for `n` and the support, count once each.

    Raises: CaseError for a depth, support, task or error that cannot be; DataError for columns or weights that cannot.
    """
    if depth < 1:
        raise CaseError(f"{depth} columns make no slice.", where="depth", fix="Give 1 or more.")
    if min_support is not None and min_support < 1:
        raise CaseError(f"{min_support} rows are no support.", where="min_support", fix="Give 1 or more.")
    source = Source(predictions)
    errors = read_errors(source, task, error)
    support = max(min_support if min_support is not None else max(50, source.rows // 500), K)
    cut = [column.supported(None, support) for column in read_columns(source, columns)]
    cut = [column for column in cut if column.labels]
    drawn = np.random.default_rng(seed).integers(0, 2, source.rows, dtype=np.uint8).view(np.bool_)
    halves = [Sample.of(cut, errors, np.flatnonzero(rows)) for rows in (drawn, ~drawn)]
    tests: dict[tuple[Part, ...], tuple[float, Sample]] = {}
    examined = 0
    for searched, other in (halves, halves[::-1]):
        if not cut or searched.flat:
            continue
        found = Search(searched.codes, [len(column.labels) for column in cut], searched.tested, searched.counted, -(-support // 2)).run(depth)
        examined = max(examined, found.count)
        chosen = choose(searched, found)
        corrected = len(halves) * weighted_holm([p_value(other.sums(other.rows(parts)), other) for parts in chosen])
        for parts, p in zip(chosen, np.minimum(corrected, 1.0).tolist(), strict=True):
            before = tests.get(parts)
            tests[parts] = (p, other) if before is None else (min(p, before[0]), before[1])
    return SliceReport(_report(tests, cut, Sample.of(cut, errors), support), examined)


def _report(tests: dict[tuple[Part, ...], tuple[float, Sample]], cut: Sequence[Column], whole: Sample, support: int) -> tuple[Slice, ...]:
    """The slices that have enough rows, of all that were tested, in order and folded. The limits are of the other half than
    the one a slice was found on; where both found it, of the second, so that they do not choose themselves.
    """
    sums = {parts: whole.sums(whole.rows(parts)) for parts in tests}
    sums = {parts: own for parts, own in sums.items() if support <= own[0] <= whole.whole[0] - K}
    kept = Kept(whole)
    found = []
    for parts in sorted(sums, key=lambda parts: (tests[parts][0] > LEVEL, -whole.score(sums[parts]))):
        if not kept.take(parts):
            continue
        p, other = tests[parts]
        moments = whole.moments(whole.rows(parts))
        value, overall = float(moments.value[1]), float(moments.sum.sum() / moments.weight.sum())
        effect = value - overall
        low, high = effect_limits(other.moments(other.rows(parts)), other.shares)
        condition = " AND ".join(cut[column].conditions[code] for column, code in parts)
        found.append(Slice(condition, int(moments.n[1]), value, overall, effect, min(low, effect), max(high, effect), p, p <= LEVEL))
    return tuple(found)

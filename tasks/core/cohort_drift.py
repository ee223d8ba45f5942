"""Drift of each cohort, and of the mix of cohorts: has the world moved for some people only, or has it other people in it?

Every cohort with enough rows on both sides is compared with itself in the reference, as all rows are (tasks.core.drift); its verdicts
survive correction over all columns of all cohorts together. The mix of a grouping is the shares of its cohorts. Both are shown beside
the period's verdict and do not enter it: neither its share, nor its alarm.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tasks.core.case import Drift
from tasks.core.drift import ColumnDrift, judge, measure
from tasks.core.drift_by_cohort import Block, ByCohort
from tasks.core.drift_measures import categories_p_value, jensenshannon, table
from tasks.core.drift_summary import THREADS, Categories
from tasks.core.intervals import holm
from tasks.core.online import ALPHA
from tasks.core.suppression import K

MIX_LIMIT = 0.1
"""A Jensen-Shannon distance of the mix above it counts."""
OTHERS = "cohorts of few rows"


@dataclass(frozen=True)
class CohortDrift:
    """One cohort: its rows in the reference and now, and its columns, the prediction among them."""

    cohort: str
    grouping: str
    rows: tuple[int, int]
    columns: tuple[ColumnDrift, ...]

    @property
    def drifted_columns(self) -> tuple[str, ...]:
        """Names of the columns that have drifted in it."""
        return tuple(column.column for column in self.columns if column.drifted)


@dataclass(frozen=True)
class Mix:
    """How the cohorts of a grouping share the rows: the Jensen-Shannon distance from the reference, its corrected p-value, and the shares
    before and now. Cohorts of few rows have one share together.
    """

    grouping: str
    distance: float
    limit: float
    p_value: float
    q_value: float
    drifted: bool
    shares: Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class CohortsDrift:
    """All cohorts of a case. `level`: of the period's tests; `few`: how many cohorts had too few rows; `left_out`: groupings of too many."""

    level: float
    cohorts: tuple[CohortDrift, ...]
    mix: tuple[Mix, ...]
    few: int
    left_out: tuple[str, ...]

    @property
    def drifted(self) -> tuple[str, ...]:
        """Names of the cohorts in which a column has drifted."""
        return tuple(one.cohort for one in self.cohorts if one.drifted_columns)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        found: dict[str, Any] = asdict(self)
        return found

    @staticmethod
    def from_dict(kept: Mapping[str, Any]) -> "CohortsDrift":
        """What `to_dict` gave."""
        cohorts = tuple(
            CohortDrift(one["cohort"], one["grouping"], _two(one["rows"]), tuple(ColumnDrift(**column) for column in one["columns"])) for one in kept["cohorts"]
        )
        mix = tuple(Mix(**{**one, "shares": {name: _two(shares) for name, shares in one["shares"].items()}}) for one in kept["mix"])
        return CohortsDrift(kept["level"], cohorts, mix, kept["few"], tuple(kept["left_out"]))


def compare_cohorts(reference: ByCohort, current: ByCohort, drift: Drift, *, min_support: int, level: float = ALPHA) -> CohortsDrift:
    """The verdict on each cohort of at least `min_support` rows on both sides (never fewer than `suppression.K`), and on each mix.

    level: what the tests of all cohorts may spend together, and those of all mixes: the period's.
    """
    support = max(min_support, K)
    pairs = {name: (block, current.blocks[name]) for name, block in reference.blocks.items() if name in current.blocks}
    left_out = tuple(name for name, sides in pairs.items() if any(side.too_many for side in sides))
    wanted, few = [], 0
    for name, (before, now) in pairs.items():
        if name in left_out:
            continue
        for cohort in dict.fromkeys((*before.summaries, *now.summaries)):
            enough = all(side.sizes.get(cohort, 0) >= support for side in (before, now))
            few += not enough
            if enough:
                wanted.append((name, cohort, before.summaries[cohort], now.summaries[cohort]))
    asked = [(place, column) for place, (_, _, before, _) in enumerate(wanted) for column in before.columns]
    with ThreadPoolExecutor(THREADS) as pool:
        measured = list(pool.map(lambda one: measure(one[1], wanted[one[0]][2].columns[one[1]], wanted[one[0]][3].columns.get(one[1]), drift), asked))
    judged = iter(judge(measured, level)[0])
    cohorts = [CohortDrift(cohort, name, (before.rows, now.rows), tuple(next(judged) for _ in before.columns)) for name, cohort, before, now in wanted]
    mixes = {name: sides for name, sides in pairs.items() if name not in left_out}
    return CohortsDrift(level, tuple(cohorts), _mixes(mixes, support, level), few, left_out)


def _mixes(pairs: Mapping[str, tuple[Block, Block]], support: int, level: float) -> tuple[Mix, ...]:
    """The mix of each grouping, corrected over all of them (Holm)."""
    tables = [table(Categories(before.sizes, 0), Categories(now.sizes, 0)) for before, now in pairs.values()]
    p_values = np.array([categories_p_value(counts) for counts in tables])
    corrected = np.minimum(holm(p_values) * (ALPHA / level), 1.0)
    found = []
    for (name, (before, now)), counts, p_value, q_value in zip(pairs.items(), tables, p_values.tolist(), corrected.tolist(), strict=True):
        distance = jensenshannon(counts)
        drifted = distance > MIX_LIMIT and q_value <= ALPHA
        found.append(Mix(name, distance, MIX_LIMIT, p_value, q_value, drifted, _shares(before, now, support)))
    return tuple(found)


def _shares(before: Block, now: Block, support: int) -> dict[str, tuple[float, float]]:
    """The shares of cohorts with `support` rows on both sides. The others have one together, and the smallest of the rest joins them
    until they have as many: a share that is what remains would be the share of a single small cohort.
    """
    sizes = {name: (before.sizes.get(name, 0), now.sizes.get(name, 0)) for name in {**before.sizes, **now.sizes}}
    rows = [sum(side) for side in zip(*sizes.values(), strict=True)]
    order = sorted(sizes, key=lambda name: (min(sizes[name]) >= support, min(sizes[name])))
    hidden = sum(min(size) < support for size in sizes.values())
    while 0 < hidden < len(order) and min(map(sum, zip(*(sizes[name] for name in order[:hidden]), strict=True))) < support:
        hidden += 1
    together = {OTHERS: tuple(map(sum, zip(*(sizes[name] for name in order[:hidden]), strict=True)))} if hidden else {}
    shown = {name: sizes[name] for name in sizes if name not in order[:hidden]} | together
    return {name: (size[0] / rows[0], size[1] / rows[1]) for name, size in shown.items()}


def _two(pair: Any) -> tuple[Any, Any]:
    before, now = pair
    return before, now

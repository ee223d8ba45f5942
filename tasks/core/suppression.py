"""Suppression: what of a report may leave the machine.

Cohorts of fewer than k rows are not published. Nor is what would give them away by subtraction: where the other cohorts
of a grouping would leave a hidden remainder of one cohort or of fewer than k rows, the smallest published one is hidden
too, and so on until nothing changes; cohorts within a hidden cohort are hidden with it. A condition is hidden if it, or
the rest of the table, has fewer than k rows, if it holds exactly the rows' counts of a hidden cohort, or if it lies within
another that has fewer than k rows besides. A value on fewer than k rows of its own denominator is left out, though its
cohort be larger. What is hidden counts as insufficient evidence.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tasks.core.report import CohortReport
from tasks.core.stats import Stats

K = 10


def publish(report: CohortReport, k: int = K) -> CohortReport:
    """The report as it may be published: same tables, with the figures of hidden cohorts left out."""
    return replace(report, hidden=hidden_cohorts(report.stats, k), published=k)


def hidden_cohorts(stats: Stats, k: int = K) -> NDArray[np.bool_]:
    """Which cohorts must not be published (N,)."""
    n = stats.n
    hidden = n < k
    families = _families(stats)
    changed = True
    while changed:
        before = int(hidden.sum())
        for parent, children in families:
            protect(parent, children, n, hidden, k)
        changed = int(hidden.sum()) > before
    kinds = np.array(stats.kinds, dtype=object)
    filters = np.flatnonzero(kinds == "filter")
    rest = n[0] - n[filters]
    hidden[filters] |= (rest > 0) & (rest < k)
    fingerprints = {stats.rows[place].tobytes() for place in np.flatnonzero(hidden)}
    hidden[filters] |= np.array([stats.rows[place].tobytes() in fingerprints for place in filters], dtype=bool)
    if len(filters):
        _protect_nested(stats, filters, n, hidden, k)
    return np.asarray(hidden)


def _protect_nested(stats: Stats, filters: NDArray[np.int64], n: NDArray[np.float64], hidden: NDArray[np.bool_], k: int) -> None:
    """Hide each condition that another published one contains with fewer than k rows besides."""
    stored = stats.blocks[-1].index
    sizes = n[filters]
    besides = sizes[None, :] - sizes[:, None]  # rows of the second outside the first, where the first lies within it
    within = stats.summary.nested[np.ix_(stored, stored)] & (besides > 0) & (besides < k)
    for place in np.argsort(sizes, kind="stable"):  # the smallest first: hiding it may be enough
        hidden[filters[place]] |= bool(np.any(within[place] & ~hidden[filters]))


def protect(parent: int, children: NDArray[np.int64], n: NDArray[np.float64], hidden: NDArray[np.bool_], k: int) -> None:
    """Hide more among the children of a cohort until its total gives none of the hidden ones away."""
    if hidden[parent]:
        hidden[children] = True
        return
    while True:
        secret = children[hidden[children]]
        if not len(secret) or (len(secret) > 1 and n[secret].sum() >= k):
            return
        seen = children[~hidden[children]]
        if not len(seen):
            hidden[parent] = True  # its one child, or all its children together, say what it says
            return
        hidden[seen[np.argmin(n[seen])]] = True


def _families(stats: Stats) -> list[tuple[int, NDArray[np.int64]]]:
    """Every cohort with the cohorts of a finer grouping that make it up."""
    found = []
    spread = stats.spread()
    for outer, outer_place in zip(stats.blocks, spread, strict=True):
        for inner, inner_place in zip(stats.blocks, spread, strict=True):
            if outer.kind == "filter" or inner.kind == "filter" or not set(outer.grouping) < set(inner.grouping):
                continue
            columns = [inner.grouping.index(column) for column in outer.grouping]
            made: dict[tuple[str | None, ...], list[int]] = {}
            for offset, labels in enumerate(inner.labels):
                made.setdefault(tuple(labels[column] for column in columns), []).append(inner_place.start + offset)
            for offset, labels in enumerate(outer.labels):
                found.append((outer_place.start + offset, np.array(made.get(tuple(labels), []), dtype=np.int64)))
    return [(parent, children) for parent, children in found if len(children)]

"""Measures of data, laid out as the same table always: one row is one measure of a cohort, of a pair of cohorts (`cohort` and
`other`), or of a grouping (neither); `of` is the class or column it speaks of.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.core.weighted import Moments

Floats = NDArray[np.float64]

COLUMNS = ("measure", "grouping", "cohort", "other", "of", "value", "low", "high", "p_value", "n", "verdict")
FIGURES = ("value", "low", "high", "p_value", "n")


@dataclass(frozen=True)
class Measure:
    """One measure: what it is of, its formula, where its values lie, what no imbalance gives, and where its definition is from."""

    name: str
    scope: Literal["cohort", "cohort and class", "cohort and column", "pair", "pair and class", "grouping", "grouping and class"]
    formula: str
    low: float
    high: float
    balanced: float | None
    source: str


Rows = Mapping[str, NDArray[Any]]  # columns by name, all of one length


def rows(measure: str, values: Any, n: Any, **more: Any) -> Rows:
    """Rows of one measure; what is not given is None, or NaN."""
    values = np.asarray(values, dtype=np.float64).ravel()
    size = len(values)
    found: dict[str, NDArray[Any]] = {"measure": np.full(size, measure, dtype=object), "value": values, "n": np.asarray(n, dtype=np.float64).ravel()}
    for name in ("cohort", "other", "of"):
        found[name] = np.array(more.get(name, [None] * size), dtype=object)
    for name in ("low", "high", "p_value"):
        found[name] = np.asarray(more.get(name, np.full(size, np.nan)), dtype=np.float64).ravel()
    return found


def shares(measure: str, sums: Moments, **more: Any) -> Rows:
    """Rows of a share, with Wilson's limits."""
    low, high = sums.limits(shares=True)
    return rows(measure, sums.value, sums.n, low=low, high=high, **more)


def published(parts: Sequence[Rows], grouping: str, names: Sequence[str], hidden: NDArray[np.bool_]) -> pd.DataFrame:
    """Rows of one grouping as they may be seen: without figures where they are of hidden cohorts, or, of no cohort, where any is."""
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    secret = {name for name, gone in zip(names, hidden, strict=True) if gone}
    pairs = zip(whole["cohort"], whole["other"], strict=True)
    gone = np.array([bool(secret) if one is None else one in secret or two in secret for one, two in pairs], dtype=bool)
    whole |= {name: np.where(gone, np.nan, whole[name]) for name in FIGURES}
    whole["grouping"] = np.full(len(gone), grouping, dtype=object)
    whole["verdict"] = np.where(gone, "insufficient", np.where(np.isnan(whole["value"]), "undefined", "ok")).astype(object)
    return pd.DataFrame({name: pd.Series(whole[name], dtype=object if whole[name].dtype == object else None) for name in COLUMNS})


def one_table(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """All rows, columns exactly as in `COLUMNS`; in texts None stays None."""
    return pd.concat(parts, ignore_index=True).astype({"n": "Int64"})

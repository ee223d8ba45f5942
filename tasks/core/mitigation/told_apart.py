"""Which groups a step tells apart, and to which of them each row belongs.

A step keeps numbers about groups, and a number about a handful of rows would tell of those rows. So a group below a least
number of rows is pooled: it takes what all rows together gave, as a group unseen at prediction does.
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.core.encoding import RARE
from tasks.core.errors import DataError
from tasks.core.mitigation.base import Labels


def tell_apart(groups: Labels, least: int = RARE, y: NDArray[Any] | None = None) -> tuple[list[str], list[str]]:
    """Names of the groups with at least `least` rows (and, given binary labels `y`, both labels), and of the others; sorted.

    >>> tell_apart(np.array(["b", "a", "b", "c", "c"], dtype=object), 2, np.array([0, 0, 1, 1, 1]))
    (['b'], ['a', 'c'])
    """
    codes, names = pd.factorize(groups)
    counts = np.bincount(codes, minlength=len(names))
    enough = counts >= least
    if y is not None:
        positives = np.bincount(codes, weights=y, minlength=len(names))
        enough &= (positives > 0) & (positives < counts)
    return sorted(map(str, names[enough])), sorted(map(str, names[~enough]))


def needs_both(y: NDArray[Any], which: str) -> None:
    """Raise DataError when the labels are all equal; `which` names the rows looked at."""
    if len(values := np.unique(y)) < 2:
        raise DataError(f"every {which} label is {values[0]}: there is one class only.", fix="Check `target` in the case, or bring rows of both classes.")


def two_apart(groups: Labels, least: int = RARE, which: str = "training") -> tuple[list[str], list[str]]:
    """As `tell_apart`; raises DataError unless two groups are left to tell apart. `which` names the rows looked at."""
    known, pooled = tell_apart(groups, least)
    if len(known) < 2:
        raise DataError(
            f"there are not two groups with at least {least} {which} rows each" + (f": only `{known[0]}` has as many." if known else "."),
            fix="Aim `by` or `cohorts` at columns that tell larger groups apart.",
        )
    return known, pooled


def places(groups: Labels, names: list[str]) -> NDArray[np.intp]:
    """For each row the index of its group among `names`, -1 where it is none of them; shape (n,).

    An array of numbers for each group with the pooled number last can be indexed with it: -1 is the last.
    """
    return np.asarray(pd.Index(names, dtype=object).get_indexer(pd.Index(groups, dtype=object)), dtype=np.intp)

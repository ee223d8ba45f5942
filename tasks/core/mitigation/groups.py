"""Group labels: the columns a remedy aims at, binned as the case's cohorts are, crossed into one label for each row."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.core.encoding import MISSING, tidy


def label_groups(frame: pd.DataFrame, kinds: Mapping[str, str], bins: Mapping[str, Sequence[float]]) -> NDArray[np.object_]:
    """One label for each row, such as `sex=Female` or `B=(390, inf), LSTAT=missing`; shape (n_rows,).

    `kinds` names the columns in the order in which they are crossed; `bins` holds inner edges for those to be cut.
    """
    from tasks.core.cohorts import bin_column

    def parts(name: str) -> list[str]:
        if name in bins:
            tidy(frame, {name: "numeric"})  # a column to be cut must hold numbers
            values: Any = pd.Series(bin_column(frame[name], bins[name]), dtype=object).fillna(MISSING)
        else:
            values = tidy(frame, {name: "categorical"})[name]
        return [f"{name}={value}" for value in values]

    tidy(frame.iloc[:0], dict.fromkeys(kinds, "categorical"))  # every column is there
    return np.array([", ".join(row) for row in zip(*map(parts, kinds), strict=True)], dtype=object)

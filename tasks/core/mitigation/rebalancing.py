"""What the rebalancing steps share: how many rows of each class are asked for, and whether they can be had.

Given the same rows and seed, the rows that come out are imbalanced-learn's. What is ours: words for what cannot be done, and
`sample_indices_`, which also says of a row that was made up which row it was made from, for it is in that row's cohorts.
"""

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval, StrOptions

from tasks.core.errors import CaseError, DataError
from tasks.core.mitigation.base import Sampler

NEIGHBOURS = [Interval(Integral, 1, None, closed="left")]
RATIO = Interval(Real, 0, 1, closed="right")
ADDING = [StrOptions({"auto", "minority", "not minority", "not majority", "all"}), RATIO, Mapping]
TAKING = [StrOptions({"auto", "majority", "not minority", "not majority", "all"}), RATIO, Mapping]


class Rebalancer(Sampler):
    """Makes the counts of labels 0 and 1 what `sampling_strategy` asks for.

    A number is the ratio smaller class : larger class to come to (imbalanced-learn takes it for binary labels alike); a
    mapping {0: n, 1: n} is the rows of each class to come to; words name the classes to change, each to the other's count:
    "auto" evens the two out. A class left out of the mapping keeps its rows.
    """

    tasks = ("binary",)
    adds: ClassVar[bool] = True
    """Whether it adds rows, rather than taking rows away."""

    def fit_resample(self, X: Any, y: Any) -> tuple[Any, NDArray[np.int64]]:
        """The rows and labels that come out, and `sample_indices_`: for each the row it is, or was made from.

        y: 0 or 1, shape (n_rows,). Raises DataError for a class that is missing or too small, or counts that cannot be had
        this way; CaseError for a strategy that makes no sense.
        """
        self._validate_params()
        class_counts(np.asarray(y))
        y = np.asarray(y).astype(np.int64)
        self.sampling_strategy_ = self._plan(y)
        if self.adds and not any(self.sampling_strategy_.values()):
            self.sample_indices_ = np.arange(len(y))
            return (X.reset_index(drop=True) if isinstance(X, pd.DataFrame) else np.array(X)), y.copy()
        return self._resampled(X, y)

    def _resampled(self, X: Any, y: NDArray[np.int64]) -> tuple[Any, NDArray[np.int64]]:
        raise NotImplementedError

    def _plan(self, y: NDArray[np.int64]) -> dict[int, int]:
        """The library's own: rows to add to each class that it lists, or rows to leave of it."""
        from imblearn.utils import check_sampling_strategy

        strategy = self._strategy(y)
        kind = "over-sampling" if self.adds else "under-sampling"
        return {int(label): int(rows) for label, rows in check_sampling_strategy(strategy, y, kind).items()}

    def _strategy(self, y: NDArray[np.int64]) -> Any:
        counts = class_counts(y)
        smaller, larger = sorted(counts, key=lambda label: counts[label])
        asked = self.sampling_strategy
        if isinstance(asked, str):
            return asked
        targets = (
            whole_counts(asked)
            if isinstance(asked, Mapping)
            else {smaller: int(counts[larger] * asked)}
            if self.adds
            else {larger: int(counts[smaller] / asked)}
        )
        for label, rows in targets.items():
            if (rows < counts[label]) if self.adds else (rows > counts[label]):
                raise DataError(
                    f"class {label} has {counts[label]:,} rows, and `sampling_strategy` asks for {rows:,}, "
                    f"where {'rows are only added' if self.adds else 'rows are only taken away'}.",
                    fix="Give a greater one, or use random_under_sampler."
                    if self.adds
                    else "Give a smaller count or a greater ratio, or use random_over_sampler.",
                )
        return targets


def class_counts(y: NDArray[Any]) -> dict[int, int]:
    """Rows of label 0 and of label 1. Raises CaseError where there are other labels, DataError where there are none of one of them."""
    counts = {label: int(np.sum(y == label)) for label in (0, 1)}
    if sum(counts.values()) != len(y):
        raise CaseError("it rebalances labels 0 and 1, and there are others.", fix="Use it for a binary task; for regression, reweighing weighs rows.")
    for label, rows in counts.items():
        if not rows:
            raise DataError(f"there is no row of class {label} among {len(y):,}.", fix="Aim it at a cohort with both classes, or merge cohorts.")
    return counts


def whole_counts(asked: Mapping[Any, Any]) -> dict[int, int]:
    targets: dict[int, int] = {}
    for label, rows in asked.items():
        if str(label) not in ("0", "1"):
            raise CaseError(
                f"`sampling_strategy` names class `{label}`, and the classes are 0 and 1.", fix="Write 0 for the negative class, 1 for the positive."
            )
        if not isinstance(rows, Integral) or isinstance(rows, bool) or rows < 1:
            raise CaseError(f"`sampling_strategy` asks for {rows!r} rows of class {label}.", fix="Give a whole number above 0.")
        targets[int(label)] = int(rows)
    return targets

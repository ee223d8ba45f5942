"""Figures as they add up over periods, from the rows of cohort reports: counts for rates, weighted means with standard errors for the rest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from tasks.core.intervals import Z
from tasks.core.metrics import SUMMARIES, get_metric
from tasks.core.sequential import mean_interval, mean_sequence, rate_interval, rate_sequence

Floats = NDArray[np.float64]
Row = Mapping[str, Any]

RATES = frozenset(
    {
        "accuracy",
        "precision",
        "recall",
        "specificity",
        "f1",
        "false_positive_rate",
        "false_negative_rate",
        "false_discovery_rate",
        "negative_predictive_value",
        "false_omission_rate",
        "selection_rate",
        "base_rate",
        "overprediction",
        "underprediction",
    }
)
"""Metrics of a binary task that are a share of counted rows. F1 is one by way of TP / (TP + FP + FN)."""
MEANS = frozenset({"log_loss", "brier", "expected_cost"})
"""Metrics of a binary task that are a mean over rows, with Student's interval in reports; of regression nearly all are."""
AREAS = frozenset({"roc_auc", "average_precision"})
UNJUDGED = frozenset({"expected_calibration_error", *SUMMARIES})
"""Metrics whose value depends on how many rows there are, so that months and test rows cannot be held against each other; and
summaries, which are read from gaps."""


@dataclass(frozen=True)
class Bounds:
    """A figure with its limits, and the rows of its denominator."""

    value: float
    low: float
    high: float
    rows: int


@dataclass(frozen=True)
class Sums:
    """A figure of one or more periods. Of a rate `total` is how many of `n` rows counted; of a mean it is the sum of periods' figures, each
    times its rows, and `variance` that sum's variance. `first` and `first_variance` are those of the first period, `ends` what the
    metric can be at least and at most.
    """

    metric: str
    rate: bool
    n: float = 0
    total: float = 0
    variance: float = 0
    first: float = 0
    first_variance: float = 0
    ends: tuple[float, float] = (-np.inf, np.inf)

    @staticmethod
    def of(task: str, metric: str, row: Row | None) -> "Sums":
        """The figure of a row of a report; nothing where it has no value, or no error is known that a mean would need."""
        rate, known = task == "binary" and metric in RATES, get_metric(metric, task)
        nothing = Sums(metric, rate, ends=(known.low, known.high))
        if row is None or pd.isna(row["value"]) or not row["support"]:
            return nothing
        n, value = float(row["support"]), _inward(metric, float(row["value"]))
        if rate:
            return replace(nothing, n=n, total=round(value * n), first=n)
        variance = (n * _error(task, metric, row)) ** 2
        return replace(nothing, n=n, total=n * value, variance=variance, first=n, first_variance=variance) if variance > 0 else nothing

    def __add__(self, later: "Sums") -> "Sums":
        begun = self if self.n else later
        total, variance = self.total + later.total, self.variance + later.variance
        return replace(begun, n=self.n + later.n, total=total, variance=variance)

    @property
    def value(self) -> float:
        """The rate, or the mean weighted by rows; 0 without rows."""
        return self.total / self.n if self.n else 0.0

    @property
    def error(self) -> float:
        """The standard error of a mean; NaN where it is not known."""
        return self.variance**0.5 / self.n if self.variance else float("nan")

    @property
    def growth(self) -> float:
        """The variance of the sum over that of the first period."""
        return self.variance / self.first_variance if self.first_variance else 1.0

    @property
    def centre(self) -> float:
        """A rate to expect after these rows, inside (0, 1)."""
        return (self.total + 0.5) / (self.n + 1) if self.rate else 0.5


def _inward(metric: str, value: float) -> float:
    """From the metric to what is summed."""
    return value / (2 - value) if metric == "f1" else value * value if metric == "rmse" else value


def _outward(metric: str, value: float) -> float:
    return 2 * value / (1 + value) if metric == "f1" else max(value, 0.0) ** 0.5 if metric == "rmse" else value


def _error(task: str, metric: str, row: Row) -> float:
    """The standard error of what is summed, from the interval that a report gives it (tasks.core.estimates); NaN when not known."""
    known: list[float] = [float("nan") if pd.isna(row[name]) else float(row[name]) for name in ("value", "low", "high")]
    value, low, high = known
    if task == "regression" or metric in MEANS:
        rows = float(row["support"])
        quantile = float(special.stdtrit(rows - 1, special.ndtr(Z))) if rows > 1 else float("nan")
        if metric == "r2":  # its upper limit is cut off at 1
            return (value - low) / quantile
        return (_inward(metric, high) - _inward(metric, value)) / quantile
    if metric in AREAS and 0 < value < 1 and low > 0 and high < 1:
        return float(special.logit(high) - special.logit(low)) / (2 * Z) * value * (1 - value)
    return (high - low) / (2 * Z)


def bounds(sums: Sequence[Sums], level: Floats, min_support: int, centres: Sequence[float] | None = None) -> list[Bounds | None]:
    """Limits of each figure, each side at its level: confidence sequences where `centres`, rates to expect that were known beforehand,
    are given; intervals of rows looked at once otherwise. None for fewer than `min_support` rows, and where the error is not known.
    """
    names = ("n", "total", "value", "error", "growth", "first")
    n, total, value, error, growth, first = (np.array([float(getattr(one, name)) for one in sums]) for name in names)
    rate = np.array([one.rate for one in sums], dtype=bool)
    mean, low, high = ~rate, np.full(len(sums), np.nan), np.full(len(sums), np.nan)
    if centres is None:
        low[rate], high[rate] = rate_interval(total[rate], n[rate], level[rate])
        low[mean], high[mean] = mean_interval(value[mean], error[mean], n[mean], level[mean])
    else:
        low[rate], high[rate] = rate_sequence(total[rate], n[rate], level[rate], np.array(centres)[rate], first[rate])
        low[mean], high[mean] = mean_sequence(value[mean], error[mean], n[mean], growth[mean], level[mean])
    found: list[Bounds | None] = []
    for one, least, most in zip(sums, low.tolist(), high.tolist(), strict=True):
        if one.n < max(min_support, 1) or np.isnan([least, most]).any():
            found.append(None)
        else:
            ends = max(_outward(one.metric, least), one.ends[0]), min(_outward(one.metric, most), one.ends[1])
            found.append(Bounds(_outward(one.metric, one.value), *ends, int(one.n)))
    return found

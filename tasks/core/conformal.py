"""Prediction intervals by split conformal inference: the prediction, and as much below and above it as a quantile of earlier errors.

With n rows that the model was not fitted on, the half-width is the k-th smallest of their absolute errors, k = ceil((n + 1) c) for a
coverage c. A new row from where these came from is then inside with a probability of at least c, whatever the model and the
distribution (rows exchangeable). Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005; Lei, G'Sell, Rinaldo,
Tibshirani and Wasserman, Distribution-free predictive inference for regression, JASA 113, 2018.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import ceil

import numpy as np
from numpy.typing import NDArray

from tasks.core.errors import DataError
from tasks.core.intervals import wilson

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A prediction interval of a version. half: its half-width, in the target's unit, from `rows` validation rows. covered: of `tested` test
    rows, how many were inside.
    """

    coverage: float
    half: float
    rows: int
    covered: int
    tested: int

    @property
    def measured(self) -> tuple[float, float, float]:
        """The share of test rows that were inside, with its 95 % interval (Wilson); NaN without test rows."""
        share = np.array([self.covered / self.tested if self.tested else np.nan])
        low, high = wilson(share, np.array([float(self.tested)]))
        return float(share[0]), float(low[0]), float(high[0])

    def around(self, predictions: Floats) -> tuple[Floats, Floats]:
        """The lower and upper end for each prediction, shape (n,)."""
        return predictions - self.half, predictions + self.half


def needed(coverage: float) -> int:
    """The fewest rows from which a coverage can be promised.

    >>> needed(0.9), needed(0.95), needed(0.99)
    (9, 19, 99)
    """
    share = Fraction(str(coverage))
    return ceil(share / (1 - share))


def half_width(errors: Floats, coverage: float) -> float:
    """The half-width for a coverage, from errors of rows that the model was not fitted on, shape (n,).

    Nine errors 1 to 9: the ninth smallest for 0.9, the fifth for 0.5.

    >>> half_width(np.arange(-9.0, 0.0), 0.9), half_width(np.arange(1.0, 10.0), 0.5)
    (9.0, 5.0)

    Raises: DataError when there are too few.
    """
    if len(errors) < needed(coverage):
        raise DataError(
            f"an interval that covers {coverage:.4g} needs {needed(coverage):,} validation rows, and there are {len(errors):,}.",
            where="scoring.interval",
            fix="Give `split.validation` more rows, or ask for a lower coverage.",
        )
    rank = ceil((len(errors) + 1) * Fraction(str(coverage)))
    return float(np.partition(np.abs(errors), rank - 1)[rank - 1])


def split_conformal(coverage: float, validation: Floats, test: Floats) -> Interval:
    """The interval from errors (label - prediction) on validation rows, and what it covered of the test rows."""
    half = half_width(validation, coverage)
    return Interval(coverage, half, len(validation), int((np.abs(test) <= half).sum()), len(test))

"""A version's scores as probabilities: one curve for all rows, fitted on the validation rows and measured on the test rows.

The curves are those of tasks.core.mitigation.cohort_calibration, where cohorts have one each.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from tasks.core.errors import DataError
from tasks.core.evaluation import evaluate
from tasks.core.mitigation.cohort_calibration import isotonic, log_odds, platt

Floats = NDArray[np.float64]
Kind = Literal["isotonic", "sigmoid"]
MEASURES = ("log_loss", "expected_calibration_error")


@dataclass(frozen=True)
class Calibrator:
    """A curve from scores to probabilities. isotonic: `curve` has the corners, scores and probabilities, linear between them. sigmoid:
    slope and intercept on the log-odds. before, after: MEASURES on the test rows, of the scores and of the probabilities.
    """

    kind: Kind
    curve: tuple[tuple[float, ...], ...]
    rows: int
    before: Mapping[str, float]
    after: Mapping[str, float]

    def apply(self, scores: Floats) -> Floats:
        """Probabilities of the positive class, shape (n,)."""
        if self.kind == "isotonic":
            known, probabilities = (np.array(side) for side in self.curve)
            return np.asarray(np.interp(scores, known, probabilities))
        ((slope, intercept),) = self.curve
        return np.asarray(expit(slope * log_odds(scores) + intercept))


def calibrator(kind: Kind, validation: tuple[Floats, NDArray[Any]], test: tuple[Floats, NDArray[Any]]) -> Calibrator:
    """The curve fitted on scores and labels (0, 1) of the validation rows, each of shape (n,), measured on those of the test rows.

    Raises: DataError when the validation rows have one label only.
    """
    scores, y = validation
    if len(np.unique(y)) < 2:
        raise DataError("probabilities cannot be calibrated on rows of one class.", where="scoring.calibrate", fix="Give `split.validation` more rows.")
    found = isotonic(scores, y) if kind == "isotonic" else platt(scores, y)[None]
    curve = tuple(tuple(map(float, side)) for side in found)
    made = Calibrator(kind, curve, len(y), {}, {})
    return Calibrator(kind, curve, len(y), _measured(*test), _measured(made.apply(test[0]), test[1]))


def _measured(probabilities: Floats, y: NDArray[Any]) -> dict[str, float]:
    table = pd.DataFrame({"y_true": y, "y_pred": (probabilities > 0.5).astype(np.int64), "y_score": probabilities})
    rows = evaluate(table, task="binary", metrics=list(MEASURES), intervals=False, min_support=1).frame()
    return {str(row["metric"]): float(row["value"]) for row in rows.to_dict("records") if row["cohort"] == "overall"}

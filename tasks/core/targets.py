"""What a row says: its outcome (true and predicted class), and the quantities that are summed over rows.

An outcome is a small whole number, so that rows can be counted by it: for binary tasks 2 * y_true + y_pred (0 true
negative, 1 false positive, 2 false negative, 3 true positive); for multiclass classes * true + predicted; for multilabel
1 where every label is right; for regression always 0.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tasks.core.labels import class_scores, classes_of, label_sets
from tasks.core.predictions import Source, classes_01, numbers, score

Floats = NDArray[np.float64]

CALIBRATION_BINS = 10
TN, FP, FN, TP = 0, 1, 2, 3


@dataclass
class Rows:
    """One batch of rows, checked. Arrays have shape (n,)."""

    n: int
    outcome: NDArray[np.uint8] | NDArray[np.int32]
    outcomes: int
    y: Floats | NDArray[np.uint8] | NDArray[np.int32]
    p: Floats | NDArray[np.uint8] | NDArray[np.int32]
    weight: Floats | None = None
    score: Floats | None = None
    epsilon: float = float(np.finfo(np.float64).eps)
    class_scores: Floats | None = None
    bins: NDArray[np.int64] | None = None
    origin: float = 0.0  # what labels are measured from where their spread matters, lest it drown in a large mean
    made: dict[str, Floats] = field(default_factory=dict)

    def quantity(self, name: str) -> Floats:
        """A row quantity of `QUANTITIES`; `name**2` is its square."""
        if name not in self.made:
            if name.endswith("**2"):
                base = self.quantity(name.removesuffix("**2"))
                self.made[name] = base * base
            else:
                self.made[name] = QUANTITIES[name](self)
        return self.made[name]

    def bin(self, name: str) -> tuple[NDArray[np.integer], int]:
        """The sub-cell of each row for quantities that are kept by bin, and how many there are."""
        if name.startswith("calibration"):
            if self.bins is None:
                self.bins = calibration_bin(self.scores())
            return self.bins, CALIBRATION_BINS
        return self.outcome, self.outcomes

    def scores(self) -> Floats:
        """The scores, which the metrics asked for need."""
        assert self.score is not None
        return self.score


def calibration_bin(scores: Floats) -> NDArray[np.int64]:
    """Which of ten equal intervals a score falls in, each closed on the right; 0 belongs to the first."""
    return np.clip(np.ceil(scores * CALIBRATION_BINS).astype(np.int64) - 1, 0, CALIBRATION_BINS - 1)


def _error(rows: Rows) -> Floats:
    return np.asarray(rows.p, dtype=np.float64) - rows.y


def _log_loss(rows: Rows) -> Floats:
    if rows.class_scores is not None:
        right = rows.class_scores[np.arange(rows.n), np.asarray(rows.y, dtype=np.int64)]
    else:
        right = np.subtract(1 - rows.y, rows.scores())  # 1 - score, or minus the score of a positive
        np.abs(right, out=right)
    if right.min() < rows.epsilon or right.max() > 1 - rows.epsilon:
        np.clip(right, rows.epsilon, 1 - rows.epsilon, out=right)
    np.log(right, out=right)
    return np.negative(right, out=right)


def _absolute_share(rows: Rows) -> Floats:
    return rows.quantity("absolute") / np.maximum(np.abs(rows.y), np.finfo(np.float64).eps)


QUANTITIES: Mapping[str, Callable[[Rows], Floats]] = {
    "log_loss": _log_loss,
    "brier": lambda rows: (rows.scores() - rows.y) ** 2,
    "calibration_rows": lambda rows: np.ones(rows.n),
    "calibration_true": lambda rows: np.asarray(rows.y, dtype=np.float64),
    "calibration_score": lambda rows: rows.scores(),
    "error": _error,
    "absolute": lambda rows: np.abs(rows.quantity("error")),
    "squared": lambda rows: rows.quantity("error") ** 2,
    "over": lambda rows: np.maximum(rows.quantity("error"), 0),
    "under": lambda rows: np.maximum(-rows.quantity("error"), 0),
    "absolute_share": _absolute_share,
    "true": lambda rows: np.asarray(rows.y, dtype=np.float64) - rows.origin,
    "predicted": lambda rows: np.asarray(rows.p, dtype=np.float64),
    "true_3": lambda rows: rows.quantity("true") ** 3,
    "true_4": lambda rows: rows.quantity("true**2") ** 2,
    "squared_true": lambda rows: rows.quantity("squared") * rows.quantity("true"),
    "squared_true_2": lambda rows: rows.quantity("squared") * rows.quantity("true**2"),
}


def read_rows(source: Source, task: str, *, scored: bool, classes: Sequence[str] = ()) -> Rows:
    """The rows of one table, with every value checked against the task and the label set."""
    source.require(["y_true", "y_pred"])
    weight = numbers(source.column("weight"), "weight", source.name, low=0.0) if "weight" in source.names else None
    if task == "regression":
        y, p = (numbers(source.column(name), name, source.name) for name in ("y_true", "y_pred"))
        return Rows(source.rows, np.zeros(source.rows, dtype=np.uint8), 1, y, p, weight)
    if task == "multiclass":
        true, predicted = (classes_of(source, name, classes) for name in ("y_true", "y_pred"))
        table = class_scores(source, classes) if scored else None
        return Rows(source.rows, true * np.int32(len(classes)) + predicted, len(classes) ** 2, true, predicted, weight, class_scores=table)
    if task == "multilabel":
        return _multilabel(source, classes, weight)
    y01, p01 = (classes_01(source.column(name), name, source.name) for name in ("y_true", "y_pred"))
    rows = Rows(source.rows, 2 * y01 + p01, 4, y01, p01, weight)
    if scored:
        scores = score(source.column("y_score"), "y_score", source.name)
        rows.score, rows.epsilon = scores.values, scores.epsilon
    return rows


def _multilabel(source: Source, classes: Sequence[str], weight: Floats | None) -> Rows:
    """Each row's exact match, Hamming score (share of labels told rightly) and Jaccard index (1 where both sets are empty)."""
    true, predicted = (label_sets(source, name, classes) for name in ("y_true", "y_pred"))
    agree = (true == predicted).sum(axis=1)
    both, either = (true & predicted).sum(axis=1), (true | predicted).sum(axis=1)
    exact = (agree == len(classes)).astype(np.uint8)
    made = {
        "hamming": agree / len(classes) if classes else np.ones(source.rows),
        "jaccard": np.divide(both, either, out=np.ones(source.rows), where=either > 0),
    }
    return Rows(source.rows, exact, 2, np.ones(source.rows, dtype=np.uint8), exact, weight, made=made)

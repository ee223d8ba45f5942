"""Formulas of multiclass tasks. Outcomes are cells of the confusion matrix, row the true class and column the predicted.

Per class, precision, recall and F1 are proportions with Wilson's interval. Averages over classes follow scikit-learn: over
the classes that occur in a cohort, true or predicted; a class without rows in its denominator counts 0. Their intervals
are by the delta method.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.core import intervals
from tasks.core.errors import CaseError, nearest
from tasks.core.estimates import Context, Estimate, Estimator, area, rate
from tasks.core.stats import Stats

Floats = NDArray[np.float64]


def accuracy(stats: Stats, context: Context) -> Estimate:
    """The share of rows on the diagonal."""
    classes = len(stats.summary.plan.classes)
    return rate([index * classes + index for index in range(classes)], range(classes**2))(stats, context)


def class_place(name: str, classes: tuple[str, ...]) -> int:
    """Where a class stands, or a CaseError that names the nearest."""
    if name not in classes:
        raise CaseError(f"there is no class `{name}`.", where="metrics", fix=nearest(name, classes))
    return classes.index(name)


def of_class(kind: str, name: str) -> Estimator:
    """Precision, recall, F1 or one-versus-rest AUC of one class."""

    def estimate(stats: Stats, context: Context) -> Estimate:
        classes = stats.summary.plan.classes
        k, count = class_place(name, classes), len(classes)
        right, truth, told = k * count + k, [k * count + j for j in range(count)], [i * count + k for i in range(count)]
        if kind == "precision":
            return rate([right], told)(stats, context)
        if kind == "recall":
            return rate([right], truth)(stats, context)
        if kind == "roc_auc":
            positive = stats.rows[:, truth].sum(axis=1)
            return area(stats.curves(k), positive, stats.n - positive, context)
        part = rate([right], sorted({*truth, *told}))(stats, context)
        return Estimate(2 * part.value / (1 + part.value), 2 * part.low / (1 + part.low), 2 * part.high / (1 + part.high), part.support)

    return estimate


def roc_auc(stats: Stats, context: Context) -> Estimate:
    """The mean over classes of one-versus-rest AUC; undefined unless every class occurs. The interval is the mean of the
    classes' own limits: their estimates share rows, and this is the widest that correlation can make it.
    """
    parts = [of_class("roc_auc", name)(stats, context) for name in stats.summary.plan.classes]
    value, low, high = (np.mean([getattr(part, end) for part in parts], axis=0) for end in ("value", "low", "high"))
    return Estimate(value, low, high, np.min([part.support for part in parts], axis=0))


@dataclass(frozen=True)
class _Scores:
    """Scores by class (N, K), and their slopes along a diagonal cell, a true total and a predicted total."""

    value: Floats
    diagonal: Floats
    truth: Floats
    told: Floats


def _divide(top: Floats, bottom: Floats) -> Floats:
    return np.divide(top, bottom, out=np.zeros_like(bottom), where=bottom > 0)


def _precision(right: Floats, _truth: Floats, told: Floats) -> _Scores:
    return _Scores(_divide(right, told), _divide(np.ones_like(told), told), np.zeros_like(right), -_divide(right, told**2))


def _recall(right: Floats, truth: Floats, _told: Floats) -> _Scores:
    return _Scores(_divide(right, truth), _divide(np.ones_like(truth), truth), -_divide(right, truth**2), np.zeros_like(right))


def _f1(right: Floats, truth: Floats, told: Floats) -> _Scores:
    both = truth + told
    return _Scores(_divide(2 * right, both), _divide(np.full_like(both, 2.0), both), -_divide(2 * right, both**2), -_divide(2 * right, both**2))


_KINDS: dict[str, Callable[[Floats, Floats, Floats], _Scores]] = {"precision": _precision, "recall": _recall, "f1": _f1}


def averaged(kind: str, how: str) -> Estimator:
    """The macro (each class alike), weighted (by true rows) or balanced (macro over true classes) average of class scores."""

    def estimate(stats: Stats, context: Context) -> Estimate:
        count = len(stats.summary.plan.classes)
        total = stats.weights.sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = (stats.weights / total[:, None]).reshape(-1, count, count)
            right, truth, told = np.diagonal(shares, axis1=1, axis2=2).copy(), shares.sum(axis=2), shares.sum(axis=1)
            scores = _KINDS[kind](right, truth, told)
            there = truth > 0 if how == "balanced" else (truth + told) > 0
            part = truth if how == "weighted" else there / there.sum(axis=1, keepdims=True)
            value = (part * scores.value).sum(axis=1)
            if not context.intervals:
                return Estimate(value, np.full_like(value, np.nan), np.full_like(value, np.nan), stats.n)
            slope = (part * scores.truth)[:, :, None] + (part * scores.told)[:, None, :]
            if how == "weighted":
                slope = slope + scores.value[:, :, None]
            place = np.arange(count)
            slope[:, place, place] += part * scores.diagonal
            around = slope - (slope * shares).sum(axis=(1, 2))[:, None, None]
            error = np.sqrt((stats.squares.reshape(shares.shape) * around**2).sum(axis=(1, 2))) / total
            value = np.where(total > 0, value, np.nan)
            wide = intervals.wilson(value, total**2 / stats.squares.sum(axis=1), context.z)
        flat = ~(error > 0)  # every row told alike: the delta method knows no spread, Wilson's limits do
        low, high = value - context.z * error, value + context.z * error
        return Estimate(value, np.where(flat, wide[0], low), np.where(flat, wide[1], high), stats.n)

    return estimate

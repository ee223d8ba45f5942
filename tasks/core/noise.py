"""Noise in labels, cohort by cohort: how far the same features bear different labels, and how many labels a model doubts.

    noise(table, by=["sex", ["sex", "race"]])  # the same columns as tasks.core.balance

Two measures look at rows with identical features, a pattern. What is inconsistent among them no rule of these features can
tell: the inconsistency rate is the error that the best of them still has on these rows, and a lower bound, since a pattern
met once says nothing. The third, label_noise, is an estimate: confident learning counts the rows of class i that a model
gives to class j with at least the mean probability that it gives to j in rows labelled j. It needs `y_score` (or
`y_score_<class>`) of rows that the model was not fitted on, and its limits know of chance, not of a model that is wrong.

Limits of the first two are Wilson's on as many rows as their variance between patterns is worth (patterns are drawn, not
rows); those of the third combine Wilson's limits of the classes. A column `weight` counts as in tasks.core.balance, whose
rules for cohorts of fewer than `k` rows hold too.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.core.errors import DataError
from tasks.core.grouped import Bins, Cohorts, encoded, hidden_cohorts, read_cohorts
from tasks.core.intervals import wilson
from tasks.core.labels import SCORE, class_scores
from tasks.core.measures import Measure, Rows, one_table, published, rows
from tasks.core.predictions import Source, score
from tasks.core.slice_columns import NO_FEATURES
from tasks.core.suppression import K
from tasks.core.weighted import kish, read_weight

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BINARY = (["0", "1"], ["False", "True"], ["0.0", "1.0"])
ROUNDING = 1e-9  # a score that is the mean of its class may be a last digit below it
CONSISTENCY, CONFIDENT = "Dash and Liu 2003", "Northcutt, Jiang and Chuang 2021"
_TABLE = (
    Measure("conflicting_share", "cohort", "rows of A whose features another row of A bears with another label / rows of A", 0, 1, 0, CONSISTENCY),
    Measure("inconsistency_rate", "cohort", "sum over patterns of (rows of A less those of the most frequent label) / rows of A", 0, 1, 0, CONSISTENCY),
    Measure("label_noise", "cohort", "sum over i of P(i | A) * (1 - C_ii / sum over j of C_ij), C the confident joint of A; an estimate", 0, 1, 0, CONFIDENT),
)
MEASURES: Mapping[str, Measure] = {measure.name: measure for measure in _TABLE}


def noise(
    table: Any,
    *,
    by: Sequence[str | Sequence[str]],
    label: str = "y_true",
    features: Sequence[str] | None = None,
    bins: Bins | None = None,
    k: int = K,
) -> pd.DataFrame:
    """Every measure for the whole table and the groupings `by`, one row each, columns exactly as in tasks.core.measures.

    Rows without a label are left out. `features` are all columns but the label, predictions, scores, weights and row ids
    unless given, as far as they hold no lists; missing values are alike. label_noise is left out where the label is not
    `y_true`, and where the table has neither a score of each class nor `y_score` and both labels 0 and 1.

    Raises: DataError for columns that are not there or hold lists, and for scores that are no probabilities of the classes.
    """
    source = Source(table, "table")
    cohorts = read_cohorts(source, by, bins, label)
    codes, classes = encoded(source, label, bins or {})
    weight = read_weight(source)
    weight = np.ones(source.rows) if weight is None else weight
    known = codes >= 0
    pattern = _patterns(source, features, label)
    scores = _scores(source, classes) if label == "y_true" and label not in (bins or {}) else None
    hidden = hidden_cohorts(cohorts, k, known, hidden_cohorts(cohorts, k))
    found = []
    for one, gone in zip(cohorts, hidden, strict=True):
        n = one.count(known)
        parts = _conflicts(one, n, pattern[known], codes[known], weight[known], known)
        if scores is not None:
            parts.append(_label_noise(one, n, codes, scores, weight))
        found.append(published(parts, one.grouping, one.names, gone))
    return one_table(found)


def _patterns(source: Source, features: Sequence[str] | None, label: str) -> Ints:
    """Each row's combination of feature values (n,)."""
    if features is None:
        reserved = NO_FEATURES | {label}
        features = [name for name in source.names if name not in reserved and not name.startswith(SCORE) and not pa.types.is_nested(source.column(name).type)]
    source.require(features)
    joint = np.zeros(source.rows, dtype=np.int64)
    for name in features:
        array = source.column(name)
        if pa.types.is_nested(array.type):
            raise DataError(f"column `{name}` holds {array.type}, which is not compared.", where=source.name, fix="Leave it out of `features`.")
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        if pa.types.is_floating(array.type):
            array = pc.if_else(pc.is_nan(array), None, array)
        values = pc.dictionary_encode(array, null_encoding="encode")
        codes = values.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        joint = np.unique(joint * len(values.dictionary) + codes, return_inverse=True)[1]
    return joint


def _conflicts(one: Cohorts, n: Floats, pattern: Ints, codes: Ints, weight: Floats, known: NDArray[np.bool_]) -> list[Rows]:
    """conflicting_share and inconsistency_rate of rows with a label."""
    group, member = np.unique(one.member[known] * (pattern.max(initial=0) + 1) + pattern, return_inverse=True)
    cohort = group // (pattern.max(initial=0) + 1)
    cell, place = np.unique(member * (codes.max(initial=0) + 1) + codes, return_inverse=True)
    owner = cell // (codes.max(initial=0) + 1)
    of_label = np.bincount(place, weight)
    total, most = np.bincount(owner, of_label).astype(np.float64), np.zeros(len(group))
    np.maximum.at(most, owner, of_label)
    several = np.bincount(owner, minlength=len(group)) > 1
    parts = {"conflicting_share": np.where(several, total, 0.0), "inconsistency_rate": np.where(several, total - most, 0.0)}
    found = []

    def by_cohort(place: Ints, values: Floats) -> Floats:
        return np.bincount(place, values, minlength=len(one.names)).astype(np.float64)

    whole = by_cohort(cohort, total)
    rows_worth = kish(whole, by_cohort(one.member[known], weight**2))
    for name, part in parts.items():
        with np.errstate(divide="ignore", invalid="ignore"):
            share = by_cohort(cohort, part) / whole
            variance = by_cohort(cohort, (part - share[cohort] * total) ** 2) / whole**2
            worth = np.where(variance > 0, np.minimum(share * (1 - share) / variance, rows_worth), rows_worth)
        low, high = wilson(share, worth)
        found.append(rows(name, share, n, low=low, high=high, cohort=one.names))
    return found


def _scores(source: Source, classes: list[str]) -> Floats | None:
    """Probabilities (n, classes) of the classes of the label, if the table has them."""
    scored = [name.removeprefix(SCORE) for name in source.names if name.startswith(SCORE)]
    if scored:
        source.require([SCORE + name for name in classes])
        return class_scores(source, scored)[:, [scored.index(name) for name in classes]]
    if "y_score" not in source.names or classes not in BINARY:
        return None
    positive = score(source.column("y_score"), "y_score", source.name).values
    return np.stack([1 - positive, positive], axis=1)


def _label_noise(one: Cohorts, n: Floats, codes: Ints, scores: Floats, weight: Floats) -> Rows:
    """The share of labels that confident learning holds for wrong: thresholds are of the whole table, counts of the cohort."""
    labelled = np.flatnonzero(codes >= 0)
    y, p, w = codes[labelled], scores[labelled], weight[labelled]
    shape = (len(one.names), scores.shape[1])
    cell = one.member[labelled] * shape[1] + y
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.bincount(y, w * p[np.arange(len(y)), y], minlength=shape[1]) / np.bincount(y, w, minlength=shape[1])
    above = np.where(p >= mean - ROUNDING, p, -1.0)
    confident = above.max(axis=1) >= 0
    other = confident & (above.argmax(axis=1) != y)

    def total(rows: NDArray[np.bool_], values: Floats) -> Floats:
        return np.bincount(cell[rows], values[rows], minlength=shape[0] * shape[1]).astype(np.float64).reshape(shape)

    joint = total(confident, w)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = total(codes[labelled] >= 0, w)
        share = share / share.sum(axis=1, keepdims=True)
        wrong = total(other, w) / joint
        low, high = wilson(wrong, kish(joint, total(confident, w**2)))
    # Nothing is known of a class without confident rows: it is taken to be right, and its limits are open.
    wrong, low = np.where(joint > 0, wrong, 0.0), np.where(joint > 0, low, 0.0)
    high = np.where(joint > 0, high, 1.0)
    value = (share * wrong).sum(axis=1)
    below, over = (np.sqrt(((share * (wrong - end)) ** 2).sum(axis=1)) for end in (low, high))  # MOVER: Zou and Donner 2008
    return rows("label_noise", value, n, low=np.maximum(value - below, 0), high=np.minimum(value + over, 1), cohort=one.names)

"""Labels of multiclass and multilabel tasks: which there are, and each row's as numbers.

Multiclass: y_true and y_pred hold one label; y_score_<label> its probability. Multilabel: both hold a list of labels, or
text with labels divided by `|`.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.core.cohorts import encode
from tasks.core.errors import DataError
from tasks.core.predictions import Source, numbers

Floats = NDArray[np.float64]
SCORE = "y_score_"
MAX_CLASSES = 500
SUM_TOLERANCE = 1e-4  # scores stored in single precision still add up to 1 within this


def find_classes(source: Source, task: str) -> tuple[str, ...]:
    """The label set: those with a score column where there are any, otherwise all that occur."""
    source.require(["y_true", "y_pred"])
    scored = [name.removeprefix(SCORE) for name in source.names if name.startswith(SCORE)]
    if task == "multiclass" and scored:
        found = set(scored)
    else:
        found = set()
        for column in ("y_true", "y_pred"):
            if task == "multiclass":
                labels = encode(source.column(column), column).labels
            else:
                labels = encode(_lists(source.column(column), column, source.name).flatten(), column).labels
            found |= {label for label in labels if label is not None}
    if len(found) > MAX_CLASSES:
        raise DataError(
            f"has {len(found):,} classes; at most {MAX_CLASSES} can be told apart.",
            where=source.name,
            fix="Is this a regression task? Otherwise group rare classes.",
        )
    return tuple(sorted(found))


def classes_of(source: Source, column: str, classes: Sequence[str]) -> NDArray[np.int32]:
    """The index of each row's class (n,)."""
    codes = encode(source.column(column), column)
    place = {name: index for index, name in enumerate(classes)}
    for label in codes.labels:
        if label is None:
            row = int(np.flatnonzero(codes.codes == codes.labels.index(None))[0])
            raise DataError(f"`{column}` has no value in row {row}.", where=source.name, fix="Leave out rows that were not predicted or not labelled.")
        if label not in place:
            raise DataError(
                f"`{column}` holds {label!r}, which is outside the label set {', '.join(classes[:10])}.",
                where=source.name,
                fix="Mend the label, or give its score column.",
            )
    index: NDArray[np.int32] = np.array([place[str(label)] for label in codes.labels], dtype=np.int32)[codes.codes]
    return index


def class_scores(source: Source, classes: Sequence[str]) -> Floats:
    """Probabilities (n, classes), each in [0, 1], each row adding up to 1."""
    source.require([SCORE + name for name in classes])
    table = np.stack([numbers(source.column(SCORE + name), SCORE + name, source.name, 0.0, 1.0) for name in classes], axis=1)
    total = table.sum(axis=1)
    wrong = np.flatnonzero(np.abs(total - 1) > SUM_TOLERANCE)
    if len(wrong):
        raise DataError(
            f"the scores of row {int(wrong[0])} add up to {total[wrong[0]]:.4g}, not 1.", where=source.name, fix="Give probabilities of every class."
        )
    return table


def _lists(array: pa.Array, column: str, where: str) -> pa.Array:
    kind = array.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        split = pc.split_pattern(array, "|")
        empty = pa.scalar([], type=split.type)
        array = pc.if_else(pc.fill_null(pc.equal(array, ""), True), empty, split)
    elif not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        raise DataError(f"`{column}` holds {kind}, not lists of labels.", where=where, fix="Write a list of labels, or text with labels divided by |.")
    if array.null_count:
        row = int(np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False))[0])
        raise DataError(f"`{column}` has no value in row {row}.", where=where, fix="Write an empty list for no label.")
    return array


def label_sets(source: Source, column: str, classes: Sequence[str]) -> NDArray[np.bool_]:
    """Which labels each row has, (n, classes)."""
    lists = _lists(source.column(column), column, source.name)
    rows = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False)
    codes = encode(lists.flatten(), column)
    place = {name: index for index, name in enumerate(classes)}
    unknown = next((label for label in codes.labels if label not in place), None)
    if any(label not in place for label in codes.labels):
        raise DataError(f"`{column}` holds {unknown!r}, which is outside the label set {', '.join(classes[:10])}.", where=source.name, fix="Mend the label.")
    held = np.zeros((source.rows, len(classes)), dtype=bool)
    if len(rows):
        held[rows, np.array([place[str(label)] for label in codes.labels], dtype=np.int64)[codes.codes]] = True
    return held

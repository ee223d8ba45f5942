"""Tables beside a cohort report, computed from the same cells: confusion matrices, calibration curves, distributions.

In a published report (tasks.core.suppression) hidden cohorts are absent, and counts below its k are NaN, with the smallest
other count of the same table so that subtraction does not give one away.
"""

from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.core.errors import CaseError
from tasks.core.intervals import wilson
from tasks.core.report import CohortReport
from tasks.core.targets import CALIBRATION_BINS

Floats = NDArray[np.float64]


def confusion(report: CohortReport) -> pd.DataFrame:
    """Rows by cohort, true and predicted class: cohort, true, predicted, n."""
    if report.task not in ("binary", "multiclass"):
        raise CaseError(f"a {report.task} task has no confusion matrix.", where="task", fix="Look at the distribution of errors.")
    classes: list[object] = [0, 1] if report.task == "binary" else list(report.stats.summary.plan.classes)
    count = len(classes)
    seen, names = _seen(report)
    cells = _published(report, report.stats.rows[seen])
    return pd.DataFrame(
        {
            "cohort": np.repeat(names, count * count),
            "true": np.tile(np.repeat(np.array(classes, dtype=object), count), len(names)),
            "predicted": np.tile(np.array(classes, dtype=object), len(names) * count),
            "n": cells.ravel(),
        }
    )


def calibration(report: CohortReport) -> pd.DataFrame:
    """The calibration curve of each cohort of a binary task over ten equal bins of the score: cohort, bin (its interval),
    n (weight of its rows), score (their mean), positive (their share of positives), low, high (Wilson's interval of it).
    The column n is also the distribution of scores.
    """
    stats = report.stats
    if "calibration_rows|1" not in stats.sums:
        raise CaseError("the report holds no calibration.", where="metrics", fix="Ask for expected_calibration_error.")
    seen, names = _seen(report)
    held = stats.sum("calibration_rows")[seen]
    with np.errstate(divide="ignore", invalid="ignore"):
        score, positive = (stats.sum(f"calibration_{name}")[seen] / held for name in ("score", "true"))
    shown = _published(report, held)
    hidden = np.isnan(shown)
    low, high = wilson(positive, held)
    edges = [place / CALIBRATION_BINS for place in range(CALIBRATION_BINS + 1)]
    labels = [f"{'[' if place == 0 else '('}{edges[place]:g}, {edges[place + 1]:g}]" for place in range(CALIBRATION_BINS)]
    figures = {"n": shown} | {
        name: np.where(hidden | (held <= 0), np.nan, values) for name, values in (("score", score), ("positive", positive), ("low", low), ("high", high))
    }
    return pd.DataFrame(
        {"cohort": np.repeat(names, CALIBRATION_BINS), "bin": np.tile(np.array(labels, dtype=object), len(names))}
        | {name: values.ravel() for name, values in figures.items()}
    )


def distribution(report: CohortReport) -> pd.DataFrame:
    """How predictions are distributed in each cohort: cohort, of, bin, n.

    Of regression tasks the predictions and the errors (y_pred - y_true), in intervals between their first and last
    percentile; of others the predicted classes.
    """
    stats = report.stats
    seen, names = _seen(report)
    tables = []
    if report.task == "regression":
        for name, edges in stats.summary.plan.shapes:
            marks = ["-inf", *(f"{edge:.4g}" for edge in edges), "inf"]
            labels = [f"({low}, {high}{')' if high == 'inf' else ']'}" for low, high in pairwise(marks)]
            tables.append((name, labels, stats.sums[f"shape:{name}|1"].floats()[seen]))
    else:
        outcomes = stats.rows.shape[1]
        classes = [str(name) for name in stats.summary.plan.classes] if report.task == "multiclass" else ["0", "1"]
        told = stats.rows[seen].reshape(len(names), outcomes // len(classes), len(classes)).sum(axis=1)
        tables.append(("exact_match" if report.task == "multilabel" else "predicted", classes, told))
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "cohort": np.repeat(names, len(labels)),
                    "of": name,
                    "bin": np.tile(np.array(labels, dtype=object), len(names)),
                    "n": _published(report, counts).ravel(),
                }
            )
            for name, labels, counts in tables
        ],
        ignore_index=True,
    )


def _seen(report: CohortReport) -> tuple[NDArray[np.int64], NDArray[np.object_]]:
    """Places and names of the cohorts that may be seen."""
    names = np.array(report.stats.names, dtype=object)
    seen = np.arange(len(names)) if report.hidden is None else np.flatnonzero(~report.hidden)
    return seen, names[seen]


def _published(report: CohortReport, counts: Floats) -> Floats:
    """Counts (cohorts, cells) as they may be shown."""
    found = counts.astype(np.float64)
    if report.hidden is None:
        return found
    small = (counts > 0) & (counts < report.published)
    for row in np.flatnonzero(small.any(axis=1)):
        while small[row].sum() < 2 or counts[row][small[row]].sum() < report.published:
            others = np.flatnonzero(~small[row] & (counts[row] > 0))
            if not len(others):
                break
            small[row, others[np.argmin(counts[row][others])]] = True
    found[small] = np.nan
    return found

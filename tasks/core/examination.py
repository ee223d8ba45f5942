"""All that is said of one predictions table: its cohort report, where its errors are, and the page that shows both.

found = examine(evaluate("predictions.parquet", task="binary", by=[["sex"]]), "predictions.parquet", errors=True)
found.to_dict()      # rows, gaps, comparison, balance, slices, tree, heatmap: what may leave the machine
found.page("adult")  # the same as one HTML file
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from tasks.core.balance import balance
from tasks.core.cohorts import condition_columns
from tasks.core.error_tree import ErrorTree, heatmap, tree
from tasks.core.noise import noise
from tasks.core.predictions import Source
from tasks.core.report import CohortReport, records
from tasks.core.slices import SliceReport, find
from tasks.core.suppression import publish


@dataclass(frozen=True)
class Examination:
    """A published report. With it, where errors were looked for: slices, the error tree, a heatmap over its first columns, and
    how balanced and how noisy the labels of the same cohorts are.
    """

    report: CohortReport
    slices: SliceReport | None = None
    tree: ErrorTree | None = None
    heat: tuple[tuple[str, ...], pd.DataFrame] | None = None
    labels: pd.DataFrame | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: what the report holds, and slices, tree, heatmap and balance where errors were looked for."""
        found = self.report.to_dict()
        if self.slices is not None and self.tree is not None:
            found |= self.slices.to_dict() | self.tree.to_dict()
        if self.heat is not None:
            found |= {"heatmap": {"columns": list(self.heat[0]), "cells": records(self.heat[1])}}
        return found if self.labels is None else found | {"balance": records(self.labels)}

    def page(self, title: str) -> str:
        """One self-contained HTML document."""
        from tasks.core.page import render
        from tasks.core.tables import calibration, confusion

        task, names = self.report.task, {metric.name for metric in self.report.metrics}
        return render(
            self.report.to_dict(),
            title=title,
            slices=self.slices,
            tree=self.tree,
            heatmap=None if self.heat is None else {self.heat[0]: self.heat[1]},
            curves=calibration(self.report) if task == "binary" and "expected_calibration_error" in names else None,
            confusion=confusion(self.report) if task in ("binary", "multiclass") else None,
        )


def examine(report: CohortReport, predictions: Any, *, errors: bool = False, seed: int = 0) -> Examination:
    """What may be published of a report, and with `errors` of where the errors are in the rows it was made from."""
    published = publish(report)
    if not errors:
        return Examination(published)
    grown = tree(predictions, task=report.task)
    conditions = {str(node.node): node.condition for node in grown.nodes if node.condition is not None}
    columns = tuple(condition_columns(conditions, Source(predictions).names)[:2])
    heat = (columns, heatmap(predictions, columns, task=report.task)) if columns else None
    return Examination(published, find(predictions, task=report.task, seed=seed), grown, heat, _labels(report, predictions))


def _labels(report: CohortReport, predictions: Any) -> pd.DataFrame | None:
    """Balance and noise of the labels by the report's groupings; a regression's labels by quarters. None of lists of labels."""
    plan = report.stats.summary.plan
    if report.task == "multilabel":
        return None
    by = [list(entry) for entry in plan.by]
    bins: dict[str, Sequence[float] | int] = {**plan.bins, **({"y_true": 4} if report.task == "regression" else {})}
    return pd.concat([balance(predictions, by=by, bins=bins), noise(predictions, by=by, bins=bins)], ignore_index=True)

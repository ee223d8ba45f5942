"""Evidently's pages of how good a version was on a period's labels, and of what a run used: figures are ours, plots are Evidently's.

The figures are of all labelled rows, with their intervals, as published: a cohort of few rows has none here. Evidently's own figures of the
few rows that it draws are left out, so that one metric has one value.
"""

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tasks.io.pages_figures import Figure, empty, note, table, with_figures

if TYPE_CHECKING:
    from evidently.core.report import Snapshot

COUNTERS = "counter"
"""The kind of Evidently's widgets that hold figures and no plot."""


def quality(figures: pd.DataFrame, sample: pd.DataFrame, task: str, primary: str) -> "Snapshot":
    """The page of a labelled period.

    figures: a published cohort report, one row for each cohort and metric (tasks.core.report.COLUMNS). sample: labelled rows to draw, with
    `y_true`, `y_pred` and, where there is one, `y_score`.
    """
    known = figures[figures["value"].notna()]
    overall, cohorts = known[known["kind"] == "overall"], known[known["kind"] != "overall"]
    own = cohorts[cohorts["metric"] == primary]
    found = [Figure("Quality", float(row.value), {"metric": str(row.metric)}) for row in overall.itertuples()]
    found += [Figure("CohortQuality", float(row.value), {"metric": str(row.metric), "cohort": str(row.cohort)}) for row in cohorts.itertuples()]
    limits = ["value", "low", "high", "support"]
    above = [table("All rows with a label", ["metric", *limits], _rows(overall, ["metric", *limits]))]
    if len(own):
        above.append(table(f"{primary} in each cohort", ["cohort", *limits, "verdict"], _rows(own, ["cohort", *limits, "verdict"])))
    plots = _plots(sample, task)
    said = note(f"Plots of {len(sample):,} rows with a label") if plots else note("No plots: too few rows with a label, or one class only")
    return with_figures(empty(), found, above=above, below=[said, *plots])


def carbon(flow: str, figures: Mapping[str, float | None], facts: Mapping[str, Any]) -> "Snapshot":
    """The page of a run's energy and emissions. A figure that could not be had is missing, and not 0."""
    found = [Figure("Carbon", value, {"flow": flow, "figure": name}) for name, value in figures.items() if value is not None]
    rows = [*figures.items(), *facts.items()]
    return with_figures(empty(), found, above=[table(f"Energy and emissions of {flow}", ["", "value"], rows)])


def _rows(figures: pd.DataFrame, columns: list[str]) -> list[list[Any]]:
    return [[None if pd.isna(cell) else cell for cell in row] for row in figures[columns].astype(object).itertuples(index=False)]


def _plots(sample: pd.DataFrame, task: str) -> list[Any]:
    """Evidently's plots of the rows; none where there is nothing to draw."""
    from evidently import BinaryClassification, DataDefinition, Dataset, Regression, Report
    from evidently.presets import ClassificationQuality, RegressionQuality

    rows = sample[sample["y_true"].notna() & sample["y_pred"].notna()]
    if len(rows) < 2 or (task == "binary" and rows["y_true"].nunique() < 2):
        return []
    names = [name for name in ("y_true", "y_pred", "y_score") if name in rows and rows[name].notna().all()]
    metric: Any
    if task == "binary":
        drawn = pd.DataFrame({name: rows[name].to_numpy(dtype=np.float64) for name in names}).astype({"y_true": int, "y_pred": int})
        scores = "y_score" if "y_score" in names and drawn["y_score"].between(0, 1).all() else None
        roles = BinaryClassification(target="y_true", prediction_labels="y_pred", prediction_probas=scores, pos_label=1)  # type: ignore[arg-type]
        definition = DataDefinition(classification=[roles], categorical_columns=["y_true", "y_pred"], numerical_columns=[scores] if scores else [])
        metric = ClassificationQuality(conf_matrix=True, pr_curve=scores is not None)
    else:
        drawn = pd.DataFrame({name: rows[name].to_numpy(dtype=np.float64) for name in ("y_true", "y_pred")})
        definition = DataDefinition(regression=[Regression(target="y_true", prediction="y_pred")], numerical_columns=["y_true", "y_pred"])
        metric = RegressionQuality(pred_actual_plot=True, error_distr=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        page = Report([metric]).run(Dataset.from_pandas(drawn, data_definition=definition), None)
    return [widget for widget in page.to_snapshot_model().widgets if widget.type != COUNTERS]

"""What Evidently's pages show: a report of one period against the reference, and the panels of a case's dashboard.

Column names and category values would run as script in those pages, so they are made safe before Evidently sees them.
"""

import hashlib
import math
import unicodedata
import uuid
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tasks.core import drift as core
from tasks.core.case import Drift

if TYPE_CHECKING:
    from evidently.core.report import Snapshot

ROWS = 50_000
"""Most rows of each side that are measured and drawn; a fixed seed chooses them. The sample's own noise at this size: about
0.01 for a normalised Wasserstein distance, and for a Jensen-Shannon distance sqrt((k - 1) / 4n), which is 0.02 for k = 100
categories. K-S and chi-square see at most this many rows as well, so their p-values stop shrinking there."""

LOOKALIKES = {"<": "‹", ">": "›", "&": "＆", '"': "”", "'": "’", "`": "ˋ", "\\": "⧵", "{": "❴", "}": "❵"}
MISSING = "(missing)"
COLOURS = 6
"""How many lines the page tells apart by colour."""


def safe_text(text: str, longest: int = 80) -> str:
    """`text` with nothing in it that a page could run or that a label template could fill in.

    Each dangerous character becomes one that looks like it; other control characters become spaces. Different texts stay
    different: where they could meet (a lookalike in the original, a control character, a long text), a digest is added.

    >>> safe_text("<=50K")
    '‹=50K'
    """
    plain = "".join(" " if unicodedata.category(c)[0] == "C" or unicodedata.category(c) in ("Zl", "Zp") else c for c in text)[:longest]
    shown = "".join(LOOKALIKES.get(c, c) for c in plain)
    if plain == text and text.strip() and not set(text) & set(LOOKALIKES.values()):
        return shown
    return f"{shown}~{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def _prepare(frame: pd.DataFrame, kinds: Mapping[str, core.Kind]) -> pd.DataFrame:
    """At most ROWS rows of the named columns: floats and safe strings, under safe names."""
    frame = frame.sample(ROWS, random_state=0) if len(frame) > ROWS else frame
    prepared = {}
    for name, kind in kinds.items():
        series = frame[name]
        if kind == "numeric":
            prepared[safe_text(name)] = pd.to_numeric(series).astype("float64").to_numpy()
        else:
            codes, values = pd.factorize(series)
            labels = np.array([*(safe_text(str(value)) for value in values), MISSING], dtype=object)
            prepared[safe_text(name)] = labels[codes]
    return pd.DataFrame(prepared)


def report(current: pd.DataFrame, reference: pd.DataFrame, kinds: Mapping[str, core.Kind], prediction: str | None, settings: Drift) -> "Snapshot":
    """Evidently's report, with the case's method and limit for each column, and the share that makes a period drift.

    Its results are named by `safe_text` of the columns.
    """
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import DriftedColumnsCount, ValueDrift

    current, reference = _prepare(current, kinds), _prepare(reference, kinds)
    limits = {safe_text(name): _inclusive(*core.rule(name, kind, settings)) for name, kind in kinds.items()}
    definition = DataDefinition(
        numerical_columns=[safe_text(name) for name, kind in kinds.items() if kind == "numeric"],
        categorical_columns=[safe_text(name) for name, kind in kinds.items() if kind == "categorical"],
    )
    features = [safe_text(name) for name in kinds if name != prediction]
    metrics: list[Any] = [
        DriftedColumnsCount(
            columns=features,
            drift_share=settings.share,
            num_method=settings.numeric,
            cat_method=settings.categorical,
            per_column_threshold={name: limits[name] for name in features},
        )
    ]
    for name, kind in kinds.items():
        metrics.append(ValueDrift(column=safe_text(name), method=core.rule(name, kind, settings)[0], threshold=limits[safe_text(name)]))
    with warnings.catch_warnings():
        # Its own divisions by zero (a category that one side lacks) and deprecations; the scores are checked for NaN after.
        warnings.simplefilter("ignore")
        snapshot = Report(metrics, include_tests=True).run(
            Dataset.from_pandas(current, data_definition=definition),
            Dataset.from_pandas(reference, data_definition=definition),
        )
    for result in snapshot.metric_results.values():
        # Chi-square over one category has no degree of freedom and gives NaN: the two sides are then the same.
        if isinstance(value := getattr(result, "value", None), float) and math.isnan(value):
            column = result.metric_value_location.metric.params["column"]
            if set(current[column]) == set(reference[column]) and current[column].nunique() == 1:
                result.value = 1.0
    return snapshot


def _inclusive(method: str, limit: float) -> float:
    """The threshold by which Evidently decides as we do: it counts a score equal to its threshold as drift, and we do not.

    (Chi-square is the exception: there it is below the threshold for both.)
    """
    if method == "chisquare":
        return limit
    return math.nextafter(limit, 0.0 if method in core.P_VALUES else math.inf)


def panels(project: uuid.UUID, case: str, report: core.DriftReport) -> list[Any]:
    """The dashboard: how many features drifted, how far each one is, and how far the prediction is, month by month.

    The same panel of the same project has the same id, whatever the report.
    """
    from evidently.sdk.models import PanelMetric
    from evidently.sdk.panels import bar_plot_panel, counter_panel, line_plot_panel

    def score(column: core.ColumnDrift) -> Any:
        return PanelMetric(metric="ValueDrift", metric_labels={"column": safe_text(column.column)}, legend=safe_text(column.column))

    def bound(column: core.ColumnDrift) -> str:
        return f"{column.method} {'below' if column.method in core.P_VALUES else 'above'} {column.limit:g}"

    share = PanelMetric(metric="DriftedColumnsCount", metric_labels={"value_type": "share"}, legend="share")
    counted = PanelMetric(metric="DriftedColumnsCount", metric_labels={"value_type": "count"}, legend="drifted features")
    text = f"The month counts as drifted from {report.share_limit:g} on. Compared with what the model of case {case} was accepted on."
    drawn = {"share": bar_plot_panel("Share of features that drifted, by month", [share], text)}
    # The page has six colours, and more lines than that could not be told apart.
    parts = math.ceil(len(report.columns) / COLOURS)
    for part in range(parts):
        columns = report.columns[part * len(report.columns) // parts : (part + 1) * len(report.columns) // parts]
        rules = " or ".join(dict.fromkeys(map(bound, columns)))
        title = "Drift score of each feature, by month" + (f" ({part + 1} of {parts})" if parts > 1 else "")
        drawn[f"scores {part}"] = line_plot_panel(title, list(map(score, columns)), f"Drifted: {rules}.", size="half" if parts > 1 else "full")
    drawn["count"] = counter_panel("Drifted features in the latest month", [counted], f"Out of {len(report.columns)}.", size="half")
    if report.prediction:
        text = f"Drifted: {bound(report.prediction)}. Shown beside the features and not counted among them."
        drawn["prediction"] = line_plot_panel("Drift of the predictions, by month", [score(report.prediction)], text, size="half")
    for name, panel in drawn.items():
        panel.id = uuid.uuid5(project, name)
    return list(drawn.values())

"""What Evidently's pages show: a report of one period against the reference, and the panels of a case's dashboard.

Evidently draws a sample of the rows; figures and verdicts are ours (tasks.core.drift), handed to it by a test of our own for each
method. Column names and category values would run as script in those pages, so they are made safe before Evidently sees them.
"""

import hashlib
import math
import unicodedata
import uuid
import warnings
from collections.abc import Mapping
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tasks.core.drift import MISSING, ColumnDrift, DriftReport
from tasks.core.drift_measures import CATEGORICAL, NUMERIC
from tasks.core.drift_summary import Kind

if TYPE_CHECKING:
    from evidently.core.report import Snapshot

ROWS = 5_000
"""Most rows of each side that are drawn; a fixed seed chooses them. Nothing is measured on them."""

METHODS = {
    "wasserstein": "Wasserstein distance over the standard deviation",
    "ks": "Kolmogorov and Smirnov's D",
    "psi": "population stability index",
    "jensenshannon": "Jensen-Shannon distance",
    "chisquare": "Cramér's V",
}
FIGURES: ContextVar[Mapping[str, ColumnDrift]] = ContextVar("figures")
"""Our figures by safe column name, while Evidently draws a report."""

LOOKALIKES = {"<": "‹", ">": "›", "&": "＆", '"': "”", "'": "’", "`": "ˋ", "\\": "⧵", "{": "❴", "}": "❵"}
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


def sample(frame: pd.DataFrame, columns: Mapping[str, Kind]) -> pd.DataFrame:
    """At most `ROWS` rows of the named columns, always the same ones; a column with a value anywhere has one here."""
    if len(frame) <= ROWS:
        return frame[list(columns)]
    places = np.sort(np.random.default_rng(0).choice(len(frame), ROWS, replace=False))
    for name in columns:
        if frame[name].iloc[places].isna().all():  # Evidently refuses to draw a column without a value
            places = np.append(places, np.flatnonzero(frame[name].notna())[:1])
    return pd.DataFrame({name: frame[name].iloc[places] for name in columns})


def _prepare(frame: pd.DataFrame, kinds: Mapping[str, Kind]) -> pd.DataFrame:
    """The named columns as floats and safe strings, under safe names."""
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


def _ours(_reference: "pd.Series[Any]", current: "pd.Series[Any]", _feature_type: object, _threshold: float) -> tuple[float, bool]:
    """A test in Evidently's form that looks a column's effect size and verdict up."""
    found = FIGURES.get()[str(current.name)]
    return found.effect, found.drifted


@cache
def _register() -> None:
    """Make our tests known to Evidently, one for each method."""
    from evidently.legacy.calculations.stattests import StatTest, register_stattest
    from evidently.legacy.core import ColumnType

    for method, name in METHODS.items():
        kinds = [kind for kind, known in ((ColumnType.Numerical, NUMERIC), (ColumnType.Categorical, CATEGORICAL)) if method in known]
        register_stattest(StatTest(_named(method), f"{name}, all rows, corrected", kinds), _ours)


def _named(method: str) -> str:
    return f"equipoise_{method}"


def report(current: pd.DataFrame, reference: pd.DataFrame, found: DriftReport) -> "Snapshot":
    """Evidently's report of a verdict: its figures, and plots of the two samples of rows.

    Its results are named by `safe_text` of the columns.
    """
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import DriftedColumnsCount, ValueDrift

    _register()
    shown = {safe_text(one.column): one for one in (*found.columns, *((found.prediction,) if found.prediction else ()))}
    kinds = {one.column: one.kind for one in shown.values()}
    current, reference = _prepare(current, kinds), _prepare(reference, kinds)
    definition = DataDefinition(
        numerical_columns=[name for name, one in shown.items() if one.kind == "numeric"],
        categorical_columns=[name for name, one in shown.items() if one.kind == "categorical"],
    )
    features = [safe_text(one.column) for one in found.columns]
    metrics: list[Any] = [
        DriftedColumnsCount(
            columns=features,
            drift_share=found.share_limit,
            per_column_method={name: _named(shown[name].method) for name in features},
            per_column_threshold={name: shown[name].limit for name in features},
        ),
        *(ValueDrift(column=name, method=_named(one.method), threshold=one.limit) for name, one in shown.items()),
    ]
    token = FIGURES.set(shown)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its own divisions by zero and deprecations
            return Report(metrics, include_tests=True).run(
                Dataset.from_pandas(current, data_definition=definition),
                Dataset.from_pandas(reference, data_definition=definition),
            )
    finally:
        FIGURES.reset(token)


def panels(project: uuid.UUID, case: str, report: DriftReport) -> list[Any]:
    """The dashboard: how many features drifted, how far each one is, and how far the prediction is, month by month.

    The same panel of the same project has the same id, whatever the report.
    """
    from evidently.sdk.models import PanelMetric
    from evidently.sdk.panels import bar_plot_panel, counter_panel, line_plot_panel

    def effect(column: ColumnDrift) -> Any:
        return PanelMetric(metric="ValueDrift", metric_labels={"column": safe_text(column.column)}, legend=safe_text(column.column))

    def bound(column: ColumnDrift) -> str:
        return f"{column.method} above {column.limit:g}"

    share = PanelMetric(metric="DriftedColumnsCount", metric_labels={"value_type": "share"}, legend="share")
    counted = PanelMetric(metric="DriftedColumnsCount", metric_labels={"value_type": "count"}, legend="drifted features")
    text = f"The month counts as drifted from {report.share_limit:g} on. Compared with what the model of case {case} was accepted on."
    drawn = {"share": bar_plot_panel("Share of features that drifted, by month", [share], text)}
    # The page has six colours, and more lines than that could not be told apart.
    parts = math.ceil(len(report.columns) / COLOURS)
    for part in range(parts):
        columns = report.columns[part * len(report.columns) // parts : (part + 1) * len(report.columns) // parts]
        rules = " or ".join(dict.fromkeys(map(bound, columns)))
        title = "Effect size of each feature, by month" + (f" ({part + 1} of {parts})" if parts > 1 else "")
        drawn[f"scores {part}"] = line_plot_panel(title, list(map(effect, columns)), f"Drifted: {rules}, not by chance.", size="half" if parts > 1 else "full")
    drawn["count"] = counter_panel("Drifted features in the latest month", [counted], f"Out of {len(report.columns)}.", size="half")
    if report.prediction:
        text = f"Drifted: {bound(report.prediction)}, not by chance. Shown beside the features and not counted among them."
        drawn["prediction"] = line_plot_panel("Drift of the predictions, by month", [effect(report.prediction)], text, size="half")
    for name, panel in drawn.items():
        panel.id = uuid.uuid5(project, name)
    return list(drawn.values())

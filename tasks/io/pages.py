"""What Evidently's page of a period shows: drift from the reference, and what the data are.

Evidently draws a sample of the rows; figures and verdicts are ours (tasks.core.drift), handed to it by a test of our own for each
method, or beside its own (tasks.io.pages_figures). Column names and category values would run as script in those pages, so they are made
safe before Evidently sees them.
"""

import warnings
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tasks.core.cohort_drift import CohortsDrift
from tasks.core.domain import Domain
from tasks.core.drift import MISSING, MISSING_RATE, ColumnDrift, DriftReport
from tasks.core.drift_measures import CATEGORICAL, NUMERIC
from tasks.core.drift_summary import Categories, Kind, Numbers, Summary
from tasks.io.pages_figures import Figure, note, table, with_figures
from tasks.io.pages_text import safe_text

if TYPE_CHECKING:
    from evidently.core.report import Snapshot

MOST = 20
"""Lines of a table of cohorts."""
ROWS = 5_000
"""Most rows of each side that are drawn; a fixed seed chooses them. Nothing is measured on them."""

METHODS = {
    "wasserstein": "Wasserstein distance over the standard deviation",
    "ks": "Kolmogorov and Smirnov's D",
    "psi": "population stability index",
    "jensenshannon": "Jensen-Shannon distance",
    "chisquare": "Cramér's V",
    MISSING_RATE: "change of the share of missing values",
}
PRESENT = "(a value)"
OTHERS = "(all others)"
LABELS = 50
FIGURES: ContextVar[Mapping[str, ColumnDrift]] = ContextVar("figures")
"""Our figures by safe column name, while Evidently draws a report."""


def sample(frame: pd.DataFrame, columns: Mapping[str, Kind]) -> pd.DataFrame:
    """At most `ROWS` rows of the named columns, always the same ones; a column with a value anywhere has one here."""
    if len(frame) <= ROWS:
        return frame[list(columns)]
    places = np.sort(np.random.default_rng(0).choice(len(frame), ROWS, replace=False))
    for name in columns:
        if frame[name].iloc[places].isna().all():  # Evidently refuses to draw a column without a value
            places = np.append(places, np.flatnonzero(frame[name].notna())[:1])
    return pd.DataFrame({name: frame[name].iloc[places] for name in columns})


def _prepare(frame: pd.DataFrame, shown: Mapping[str, ColumnDrift]) -> pd.DataFrame:
    """The columns as floats and safe strings, under safe names. Where the missing rate has moved, it is that which is drawn."""
    prepared = {}
    for column in shown.values():
        name, series = column.column, frame[column.column]
        if column.method == MISSING_RATE:
            prepared[safe_text(name)] = np.where(series.isna(), MISSING, PRESENT).astype(object)
        elif column.kind == "numeric":
            prepared[safe_text(name)] = pd.to_numeric(series).astype("float64").to_numpy()
        else:
            codes, values = pd.factorize(series)
            labels = np.array([*(safe_text(str(value)) for value in values), MISSING], dtype=object)
            prepared[safe_text(name)] = labels[codes]
    return pd.DataFrame(prepared)


def _few_labels(current: pd.DataFrame, reference: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both sides with the commonest `LABELS` of each categorical column; the others are drawn as one: nobody tells them apart."""
    for name in current:
        if current[name].dtype != np.float64:
            labels = pd.concat([current[name], reference[name]]).value_counts()
            if len(labels) > LABELS:
                kept = set(labels.index[:LABELS])
                current[name], reference[name] = (side[name].where(side[name].isin(kept), OTHERS) for side in (current, reference))
    return current, reference


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
        kinds = [kind for kind, known in ((ColumnType.Numerical, NUMERIC), (ColumnType.Categorical, (*CATEGORICAL, MISSING_RATE))) if method in known]
        register_stattest(StatTest(_named(method), f"{name}, all rows, corrected", kinds), _ours)


def _named(method: str) -> str:
    return f"equipoise_{method.replace(' ', '_')}"


@dataclass(frozen=True)
class Beside:
    """What a page shows beside the verdict: the rows of each side, the cohorts and the domain classifier where they were asked, and which looks
    were before.
    """

    reference: Summary | None = None
    current: Summary | None = None
    domain: Domain | None = None
    cohorts: CohortsDrift | None = None
    looks: str = ""


def report(current: pd.DataFrame, reference: pd.DataFrame, found: DriftReport, beside: Beside = Beside()) -> "Snapshot":
    """Evidently's report of a verdict: its figures, plots of the two samples of rows, and a summary of the data.

    Its results are named by `safe_text` of the columns.
    """
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import DriftedColumnsCount, ValueDrift

    _register()
    shown = {safe_text(one.column): one for one in found.shown}
    drawn = len(current)
    current, reference = _few_labels(_prepare(current, shown), _prepare(reference, shown))
    numeric = [name for name, one in shown.items() if one.kind == "numeric" and one.method != MISSING_RATE]
    definition = DataDefinition(numerical_columns=numeric, categorical_columns=[name for name in shown if name not in numeric])
    sides = [Dataset.from_pandas(side, data_definition=definition) for side in (current, reference)]
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
            page = Report(metrics, include_tests=True).run(*sides)
    finally:
        FIGURES.reset(token)
    rows = beside.current.rows if beside.current else drawn
    said = f"Data summary of {rows:,} rows" + (f"; the plots are of the {drawn:,} that are drawn" if drawn < rows else "")
    below = [*([note(beside.looks)] if beside.looks else []), *_tables(beside), note(said), *_summary(beside)]
    return with_figures(page, _figures(found, rows, beside), below=below)


def _figures(found: DriftReport, rows: int, beside: Beside) -> list[Figure]:
    """What the panels draw over time, beside Evidently's own names for drift."""
    figures = [Figure("Rows", float(rows)), Figure("NewCategories", float(sum(one.new_categories for one in found.columns)))]
    figures += [Figure("DriftShare", found.share), Figure("DriftCount", float(len(found.drifted_columns)))]
    figures += [Figure("Effect", one.moved_values, {"feature": one.column}) for one in found.shown if one.moved_values is not None]
    figures += [Figure("MissingShare", one.missing_rate, {"feature": one.column}) for one in found.shown]
    if beside.domain:
        figures.append(Figure("DomainAUC", beside.domain.auc))
    if beside.cohorts:
        figures += [Figure("CohortDrift", float(len(one.drifted_columns)), {"cohort": one.cohort}) for one in beside.cohorts.cohorts]
        figures += [Figure("CohortMix", one.distance, {"grouping": one.grouping}) for one in beside.cohorts.mix]
    return figures


def _tables(beside: Beside) -> list[Any]:
    """The domain classifier's answer, and the cohorts and mixes that moved most."""
    made = []
    if beside.domain:
        one = beside.domain
        title = f"All features together: the period is told from the reference with an AUC of {one.auc:.3f} ({one.low:.3f} to {one.high:.3f}); 0.5 is chance"
        made.append(table(title, ["feature", "the AUC falls without it by"], [[driver.column, driver.importance] for driver in one.drivers]))
    if beside.cohorts:
        worst = sorted(((one, column) for one in beside.cohorts.cohorts for column in one.columns), key=lambda pair: -pair[1].effect / pair[1].limit)
        named = [[one.cohort, column.column, column.method, column.effect, column.limit, column.q_value, column.drifted] for one, column in worst[:MOST]]
        header = ["cohort", "column", "method", "effect", "limit", "corrected p", "drifted"]
        made.append(table(f"Columns that moved most in a cohort ({len(beside.cohorts.cohorts)} cohorts; they do not decide)", header, named))
        mixes = [[one.grouping, one.distance, one.limit, one.q_value, one.drifted] for one in beside.cohorts.mix]
        made.append(table("Mix of the cohorts: Jensen-Shannon distance from the reference", ["grouping", "distance", "limit", "corrected p", "moved"], mixes))
    return made


def _summary(beside: Beside) -> list[Any]:
    """A line for each column, of all rows, now and in the reference."""
    if beside.current is None or beside.reference is None:
        return []
    rows = []
    for name, before in beside.reference.columns.items():
        for side, one, of in (("now", beside.current.columns[name], beside.current.rows), ("reference", before, beside.reference.rows)):
            rows.append([name, side, f"{one.missing / of:.2%}" if of else "–", *_described(one)])
    return [table("Columns, all rows", ["column", "rows of", "missing", "distinct", "least", "median", "mean", "largest", "commonest"], rows)]


def _described(one: Numbers | Categories) -> list[Any]:
    """distinct, least, median, mean, largest, commonest."""
    if isinstance(one, Categories):
        most = max(one.counts, key=lambda name: (one.counts[name], name), default=None)
        return [len(one.counts), None, None, None, None, None if most is None else f"{most} ({one.counts[most] / one.n:.1%})"]
    if not one.n:
        return [0, None, None, None, None, None]
    middle = float(one.values[np.searchsorted(one.shares[1:], 0.5)])
    place = int(one.counts.argmax())
    most = f"{one.values[place]:.4g} ({one.counts[place] / one.n:.1%})" if one.counts[place] > 1 else None
    return [int(one.values.size), float(one.values[0]), middle, float(one.values @ one.counts / one.n), float(one.values[-1]), most]

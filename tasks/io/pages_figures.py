"""Our own figures in Evidently's pages: values that its panels draw over time, and tables of them.

Evidently keeps of a metric its value and a plain description of what was asked, and knows the latter by its text alone. So a value of
ours goes into a run as a single value under a name of ours, and any `evidently ui` shows it without our code.
"""

import datetime as dt
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Any

from tasks.io.pages_text import safe_text

if TYPE_CHECKING:
    from evidently.core.report import Snapshot


@dataclass(frozen=True)
class Figure:
    """A value of one run. `name` and `labels` tell it apart from others and are what a panel asks for; labels are made safe here."""

    name: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


def metric(name: str) -> str:
    """What Evidently calls a figure of ours."""
    return f"evidently:metric_v2:Equipoise{name}"


def line(name: str, labels: Mapping[str, str] | None = None, legend: str | None = None) -> Any:
    """What a panel asks for to draw a figure over time."""
    from evidently.sdk.models import PanelMetric

    safe = {key: safe_text(text) for key, text in (labels or {}).items()}
    return PanelMetric(metric=metric(name), metric_labels=safe, legend=safe_text(legend) if legend else " ".join(safe.values()) or name)


def table(title: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> Any:
    """A table of a page; every cell is made safe."""
    from evidently.legacy.renderers.html_widgets import table_data

    return table_data(title=safe_text(title, 300), column_names=list(header), data=[[safe_text(_shown(cell), 200) for cell in row] for row in rows])


def note(text: str) -> Any:
    """A line of text of a page."""
    from evidently.legacy.renderers.html_widgets import header_text

    return header_text(label=safe_text(text, 400))


def with_figures(snapshot: "Snapshot", figures: Iterable[Figure], above: Sequence[Any] = (), below: Sequence[Any] = ()) -> "Snapshot":
    """The run with our figures, and with widgets above and below its own. A figure that is not finite is left out: it is not known."""
    from evidently.core.metric_types import MetricConfig, MetricValueLocation, SingleValue
    from evidently.core.report import Snapshot

    model = snapshot.to_snapshot_model()
    for one in model.metric_results.values():
        one.widget = []  # the page has it below, and a second copy would make each file twice as long
    for figure in figures:
        if not isfinite(figure.value):
            continue
        params = {"type": metric(figure.name), **{key: safe_text(text) for key, text in figure.labels.items()}}
        number = hashlib.sha256(repr(sorted(params.items())).encode()).hexdigest()[:32]
        model.metric_results[number] = SingleValue(
            value=figure.value,
            display_name=" ".join([figure.name, *list(params.values())[1:]]),
            metric_value_location=MetricValueLocation(MetricConfig(metric_id=number, params=params), {}),
            widget=[],
        )
        model.top_level_metrics.append(number)
    model.widgets = [*above, *model.widgets, *below]
    return Snapshot.load_model(model)


def empty() -> "Snapshot":
    """A run without anything in it; the workspace dates it."""
    from evidently.core.report import Snapshot
    from evidently.core.serialization import ReportModel, SnapshotModel

    nothing: dict[str, Any] = {"metadata": {}, "metric_results": {}, "tags": [], "top_level_metrics": [], "widgets": [], "tests_widgets": []}
    return Snapshot.load_model(SnapshotModel(report=ReportModel(items=[]), name=None, timestamp=dt.datetime.min, **nothing))  # noqa: DTZ901


def _shown(cell: object) -> str:
    if cell is None or (isinstance(cell, float) and not isfinite(cell)):
        return "–"
    return f"{cell:,.4g}" if isinstance(cell, float) else f"{cell:,}" if isinstance(cell, int) and not isinstance(cell, bool) else str(cell)

"""The evaluation page: a cohort report as one HTML file that needs nothing but itself.

    html = render(publish(report).to_dict(), title="adult, version 3", slices=find(predictions).frame())

Text, styles, drawings and the script are in the file, and its content security policy lets nothing else run or load: the
script and the styles are named by their digests, so markup in a cohort's name, a category or a condition would stay inert
even if it were not escaped, as all of it is.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tasks.core.errors import DataError
from tasks.core.page_cohorts import Cohorts, gap_table, glossary, summary
from tasks.core.page_errors import error_tree, heat_tables, slice_list
from tasks.core.page_figures import number, rows_of
from tasks.core.page_tables import calibration_curves, confusion_matrices
from tasks.core.suppression import K

POLICY = (
    "default-src 'none'; script-src '{script}'; style-src '{style}'; img-src data:; base-uri 'none'; form-action 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
INERT = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})


def render(
    report: Mapping[str, Any], *, title: str, slices: Any = None, tree: Any = None, heatmap: Any = None, curves: Any = None, confusion: Any = None
) -> str:
    """A published report as an HTML document.

    `report` is what `CohortReport.to_dict()` gives, with or without a comparison. `slices` and `tree` are the tables of
    tasks.core.slices.find and tasks.core.error_tree.tree, `curves` and `confusion` those of tasks.core.tables.calibration and
    confusion; each a data frame, an object with `frame()`, or a list of mappings. `heatmap` is a table of
    tasks.core.error_tree.heatmap, or several by the names of their features: {("age", "sex"): table}. Sections without rows
    are left out.

    Raises: DataError for a report without rows, or with a cohort of fewer than ten, which has not been published.
    """
    _check([*(report.get("rows") or [])])
    for table in (curves, confusion):
        _check(rows_of(table), needed=False)
    cohorts, gaps = Cohorts(report), list(report.get("gaps") or [])
    drawn, gap_scale = gap_table(gaps)
    script, style = _asset("page.js"), _asset("page.css")
    document: str = _template().render(
        title=title,
        policy=POLICY.format(script=_digest(script), style=_digest(style)),
        script=Markup(script),  # noqa: S704  # an asset of ours
        style=Markup(style),  # noqa: S704
        data=Markup(_inert(cohorts.data())),  # noqa: S704  # escaped by _inert
        summary=summary(cohorts, gaps),
        metrics=cohorts.metrics,
        kinds=cohorts.kinds(),
        cohorts=cohorts.table(),
        compared=bool(cohorts.changes),
        gaps=drawn,
        gap_scale=gap_scale,
        slices=slice_list(slices),
        tree=error_tree(tree),
        heats=heat_tables(heatmap),
        calibration=calibration_curves(curves),
        confusion=confusion_matrices(confusion),
        glossary=glossary([*cohorts.metrics, *(str(row["metric"]) for row in gaps)]),
        k=K,
    )
    # A lone surrogate cannot be written, NUL is no character of HTML, and a bare CR would be read as a line feed.
    return document.encode("utf-8", "replace").decode("utf-8").replace("\0", "\N{REPLACEMENT CHARACTER}").replace("\r", "&#13;")


def _check(rows: Sequence[Mapping[str, Any]], needed: bool = True) -> None:
    if needed and not rows:
        raise DataError("the report has no rows.", where="page", fix="Evaluate a predictions table first.")
    for row in rows:
        n = number(row["n"])
        if n is not None and 0 < n < K:
            raise DataError(f"{row['cohort']} shows only {n:g} rows.", where="page", fix="Give the report through tasks.core.suppression.publish.")


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("tasks.core", "assets"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, auto_reload=False
    )


def _template() -> Any:
    return _environment().get_template("page.html.j2")


@cache
def _asset(name: str) -> str:
    """A script or style sheet of ours, with the line ends that a browser will digest."""
    loader = _environment().loader
    assert loader is not None
    return loader.get_source(_environment(), name)[0].replace("\r\n", "\n")


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _inert(value: Any) -> str:
    """JSON in which no character can end a script element or start a comment."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).translate(INERT)

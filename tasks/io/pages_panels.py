"""The dashboard of a case in Evidently: the tabs Drift, Quality, Cohorts and Carbon, and their panels over time.

The same panel of the same project has the same id, whatever it draws. A panel has at most six lines: more could not be told apart.
"""

import math
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tasks.core.carbon import SCORING
from tasks.core.cohort_drift import CohortsDrift
from tasks.core.drift import ColumnDrift, DriftReport
from tasks.io.pages_figures import line

DRIFT, QUALITY, COHORTS, CARBON = TABS = ("Drift", "Quality", "Cohorts", "Carbon")
COLOURS = 6
"""How many lines the page tells apart by colour."""

CARBON_FIGURES = {
    "mg": ("Emissions of each run, mg of CO2-equivalent", "Measured or modelled: each run says which."),
    "mWh": ("Energy of each run, mWh", "Of the whole machine while the run lasted."),
    "mg_per_1000": ("Emissions for each 1,000 predictions, mg of CO2-equivalent", "Of the runs that made predictions."),
}
"""What is drawn of a run's energy, with title and text. The page cuts numbers after four signs, so units are small."""

Panels = dict[str, dict[str, Any]]
"""Panels by tab, and there by name."""
Known = Callable[[str, Sequence[str]], Sequence[str]]
"""Names of the lines of a family that were ever drawn, with those of now: a cohort that is not there this month keeps its line."""


def of_drift(case: str, report: DriftReport, cohorts: CohortsDrift | None, known: Known) -> Panels:
    """How many features drifted, how far each one is, and how far the prediction is, month by month; what the data lack; and the cohorts."""
    from evidently.sdk.panels import bar_plot_panel, counter_panel, line_plot_panel

    def effect(column: ColumnDrift) -> Any:
        return line("Effect", {"feature": column.column})

    def bound(column: ColumnDrift) -> str:
        return f"{column.method} above {column.limit:g}"

    share, counted = line("DriftShare", legend="share"), line("DriftCount", legend="drifted features")
    text = f"The month counts as drifted from {report.share_limit:g} on. Compared with what the model of case {case} was accepted on."
    drift: dict[str, Any] = {"share": bar_plot_panel("Share of features that drifted, by month", [share], text)}
    for part, columns, title in _parts(report.columns, "Effect size of each feature, by month"):
        rules = " or ".join(dict.fromkeys(map(bound, columns)))
        size = "half" if len(report.columns) > COLOURS else "full"
        drift[f"scores {part}"] = line_plot_panel(title, list(map(effect, columns)), f"Drifted: {rules}, not by chance.", size=size)
    drift["count"] = counter_panel("Drifted features in the latest month", [counted], f"Out of {len(report.columns)}.", size="half")
    if report.prediction:
        text = f"Drifted: {bound(report.prediction)}, not by chance. Shown beside the features and not counted among them."
        drift["prediction"] = line_plot_panel("Drift of the predictions, by month", [effect(report.prediction)], text, size="half")
    text = "AUC of a model that tells a month's rows from the reference's. 0.5 is chance, 1 certainty. It decides nothing."
    drift["domain"] = line_plot_panel("All features together", [line("DomainAUC", legend="AUC")], text, size="half")
    quality: dict[str, Any] = {"rows": bar_plot_panel("Rows, by month", [line("Rows", legend="rows")], size="half")}
    if any(column.kind == "categorical" for column in report.columns):
        new = line("NewCategories", legend="new categories")
        quality["new"] = bar_plot_panel("Categories that the reference does not have, by month", [new], "Over all features.", size="half")
    columns = [column.column for column in report.shown]
    quality |= _lines("missing", "Share of missing values, by month", "MissingShare", "feature", columns)
    panels = {DRIFT: drift, QUALITY: quality}
    if cohorts is not None and (cohorts.cohorts or cohorts.mix):
        names = known("cohort drift", [one.cohort for one in cohorts.cohorts])
        text = "Corrected over all columns of all cohorts. Shown beside the verdict of the month, which they do not decide."
        found = _lines("cohort drift", "Drifted columns in each cohort, by month", "CohortDrift", "cohort", names, text)
        groupings = known("mix", [one.grouping for one in cohorts.mix])
        text = "Jensen-Shannon distance of the cohorts' shares from the reference's: 0 is the same mix, 0.83 a wholly other one."
        panels[COHORTS] = found | _lines("mix", "Mix of the cohorts, by month", "CohortMix", "grouping", groupings, text)
    return panels


def of_quality(primary: str, metrics: Sequence[str], cohorts: Sequence[str], known: Known) -> Panels:
    """Each metric on all labelled rows, and the primary one in each cohort that may be shown, month by month."""
    from evidently.sdk.panels import line_plot_panel

    quality = {
        f"metric {name}": line_plot_panel(f"{name}, by month", [line("Quality", {"metric": name})], "On all rows with a label.", size="half")
        for name in known("metrics", metrics)
    }
    names, text = known(f"cohorts {primary}", cohorts), "On all rows with a label. Cohorts of few rows are not shown."
    return {
        QUALITY: quality,
        COHORTS: _lines(f"cohorts {primary}", f"{primary} in each cohort, by month", "CohortQuality", "cohort", names, text, metric=primary),
    }


def of_carbon(flows: Sequence[str], known: Known) -> Panels:
    """Emissions and energy of each run of each flow, and emissions for each 1,000 predictions of the runs that make them."""
    from evidently.sdk.panels import bar_plot_panel

    panels: dict[str, Any] = {}
    every = known("flows", flows)
    for figure, (title, text) in CARBON_FIGURES.items():
        drawn = [name for name in every if figure != "mg_per_1000" or name == SCORING]
        for part, names, full in _parts(drawn, title):
            asked = [line("Carbon", {"flow": name, "figure": figure}, name) for name in names]
            panels[f"carbon {figure} {part}"] = bar_plot_panel(full, asked, text)
    return {CARBON: panels}


def named(project: uuid.UUID, panels: Panels) -> dict[str, list[Any]]:
    """The panels of each tab with their ids, below a heading: Evidently's own page shows all tabs one below the other."""
    from evidently.sdk.panels import text_panel

    headed = {tab: {f"heading {tab}": text_panel(tab), **found} for tab, found in panels.items()}
    for tab in headed.values():
        for name, panel in tab.items():
            panel.id = uuid.uuid5(project, name)
    return {tab: list(found.values()) for tab, found in headed.items()}


def _lines(family: str, title: str, figure_name: str, label: str, names: Sequence[str], text: str | None = None, **also: str) -> dict[str, Any]:
    from evidently.sdk.panels import line_plot_panel

    size = "half" if len(names) > COLOURS else "full"
    return {
        f"{family} {part}": line_plot_panel(full, [line(figure_name, {label: name, **also}, name) for name in some], text, size=size)
        for part, some, full in _parts(names, title)
    }


def _parts(things: Sequence[Any], title: str) -> list[tuple[int, Sequence[Any], str]]:
    """The things in as many parts of about one size as there must be, with their numbers and titles."""
    parts = math.ceil(len(things) / COLOURS)
    cut = [things[part * len(things) // parts : (part + 1) * len(things) // parts] for part in range(parts)]
    return [(part, some, title + (f" ({part + 1} of {parts})" if parts > 1 else "")) for part, some in enumerate(cut)]


def merged(
    project: uuid.UUID, dashboard: dict[str, Any], ours: Mapping[str, Sequence[dict[str, Any]]], offered: Sequence[str]
) -> tuple[dict[str, Any], list[str]]:
    """The dashboard with our panels as they are now, where they are, and with those that it was never given, each on its tab and after
    that tab's others; and all that it was given. A tab of ours that the user has taken away does not come back.
    """
    current = {panel["id"]: panel for panels in ours.values() for panel in panels}
    panels = [current.get(panel["id"], panel) for panel in dashboard["panels"]]
    tabs, told = [dict(tab) for tab in dashboard["tabs"]], list(offered)
    order = [_tab(project, tab) for tab in TABS]
    for title, found in ours.items():
        number = _tab(project, title)
        there = {panel["id"] for panel in panels}
        new = [panel for panel in found if panel["id"] not in told and panel["id"] not in there]
        if new and number not in told and number not in [str(tab["id"]) for tab in tabs]:
            tabs.insert(_place(tabs, [{str(tab["id"])} for tab in tabs], order, number), {"id": number, "title": title, "panels": []})
        told += [one for one in (number, *current.keys() & {panel["id"] for panel in found}) if one not in told]
        tab = next((tab for tab in tabs if str(tab["id"]) == number), None)
        if new and tab is not None:
            homes = [{str(one["id"]) for one in tabs if panel["id"] in one["panels"]} for panel in panels]
            place = _place(panels, homes, order, number)
            panels[place:place] = new
            tab["panels"] = [*tab["panels"], *(panel["id"] for panel in new)]
    return dashboard | {"tabs": tabs, "panels": panels}, sorted(told)


def _place(things: Sequence[object], homes: Sequence[set[str]], order: Sequence[str], number: str) -> int:
    """Where among things, of which each is on some tabs, what goes on a tab of ours is put in: after the last one of that tab or of one of
    ours before it, and before those of later ones.
    """
    earlier, later = set(order[: order.index(number) + 1]), set(order[order.index(number) + 1 :])
    last = max((place for place, home in enumerate(homes) if home & earlier), default=None)
    first = min((place for place, home in enumerate(homes) if home & later), default=len(things))
    return first if last is None else last + 1


def _tab(project: uuid.UUID, tab: str) -> str:
    """The id of a tab of ours."""
    return str(uuid.uuid5(project, "tab" if tab == DRIFT else f"tab {tab}"))

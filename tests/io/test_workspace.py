"""Drift as Evidently shows it, and the project that shows it over time: the figures and the verdict are ours."""

import datetime as dt
import json
import os
import re
from concurrent.futures import ThreadPoolExecutor

os.environ.setdefault("DO_NOT_TRACK", "true")

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tasks.core.case import Cohorts, Drift
from tasks.core.cohort_drift import compare_cohorts
from tasks.core.domain import Domain, Driver
from tasks.core.drift_by_cohort import by_cohort
from tasks.core.errors import DataError, IntegrityError, UnavailableError
from tasks.core.online import ALPHA
from tasks.io import pages, references
from tasks.io.documents import load_case
from tasks.io.home import PROJECT
from tasks.io.references import Reference, reference
from tasks.io.store import Store
from tasks.io.workspace import Workspace, link, project_id

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::PendingDeprecationWarning")

COLUMNS = {"age": "numeric", "city": "categorical"}
HOSTILE = "<img src=x onerror=\"document.title='run'\">"
SCRIPT = "</script><script>document.title='run'</script>"


def people(shift=0.0, seed=0, rows=300, cities=(0.5, 0.3, 0.2)):
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "row_id": [str(i) for i in range(rows)],
            "age": random.normal(40 + shift, 10, rows),
            "city": random.choice(["Ulm", "Köln", "Bonn"], rows, p=cities),
            "prediction": random.random(rows),
        }
    )


def measure(workspace, current, reference=None, columns=COLUMNS, level=ALPHA, **settings):
    against = Reference.of(people() if reference is None else reference, columns, ("prediction", "numeric"))
    return workspace.drift(against, current, settings=Drift(**settings), level=level)


def shown(snapshot):
    """What Evidently's page says: each column's figure and verdict, and the count of drifted features."""
    results = snapshot.dict()
    figures = {metric["config"]["column"]: metric["value"] for metric in results["metrics"] if "column" in metric["config"]}
    verdicts = {test["metric_config"]["params"]["column"]: test["status"].value for test in results["tests"] if "column" in test["metric_config"]["params"]}
    return figures, {name: status == "FAIL" for name, status in verdicts.items()}, results["metrics"][0]["value"]


COHORTS = Cohorts(by=(("city",),), min_support=20)
CASE = load_case("boston", PROJECT)


def cohorts_of(current):
    both = [by_cohort(side, COLUMNS, COHORTS) for side in (people(), current)]
    return compare_cohorts(*both, Drift(limit=0.4), min_support=COHORTS.min_support)


def page(found, cohorts):
    against = Reference.of(people(), COLUMNS, ("prediction", "numeric"))
    return Workspace("unused").draw(found[0], against, against.current(people(15, seed=1)), pages.Beside(cohorts=cohorts))


def figures():
    """A published report: two metrics, and three cities of which one is suppressed."""
    rows = [("overall", "overall", "mae", 2.5), ("overall", "overall", "r2", 0.7), ("city=Bonn", "group", "mae", 1.5), ("city=Ulm", "group", "mae", 3.5)]
    frame = pd.DataFrame(rows, columns=["cohort", "kind", "metric", "value"]).assign(low=0.1, high=9.0, n=100, support=100, verdict="ok")
    hidden = {"cohort": "city=Köln", "kind": "group", "metric": "mae", "verdict": "insufficient"}
    return pd.concat([frame, pd.DataFrame([hidden])], ignore_index=True)


def labelled(rows=60):
    random = np.random.default_rng(0)
    true = random.normal(20, 5, rows)
    return pd.DataFrame({"y_true": true, "y_pred": true + random.normal(0, 2, rows)})


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    return measure(Workspace(tmp_path_factory.mktemp("measured")), people(15, seed=1), limit=0.4)


@pytest.mark.parametrize("settings", [{}, {"numeric": "ks", "categorical": "chisquare"}, {"numeric": "psi", "categorical": "psi"}])
@pytest.mark.parametrize("shift", [0, 15])
def test_evidently_shows_our_figures_and_our_verdict(tmp_path, settings, shift):
    """By every method, each column's effect size and verdict, and the count of drifted features, are those of the report."""
    after = people(shift, seed=1, cities=(0.1, 0.1, 0.8) if shift else (0.5, 0.3, 0.2))
    report, snapshot = measure(Workspace(tmp_path), after, limit=0.2, **settings)
    figures, verdicts, counted = shown(snapshot)
    columns = (*report.columns, report.prediction)
    assert figures == {column.column: column.effect for column in columns}
    assert verdicts == {column.column: column.drifted for column in columns}
    assert counted == {"count": float(len(report.drifted_columns)), "share": report.share}
    assert report.drifted_columns == (("age", "city") if shift else ())


def test_where_evidently_would_decide_otherwise_it_says_ours(tmp_path):
    """Six rows beyond the limit would be drift by its own distance; by ours that may be chance, and the page says so."""
    from evidently import Report
    from evidently.metrics import ValueDrift

    few = people(4, seed=2, rows=6)
    report, snapshot = measure(Workspace(tmp_path), few, limit=0.1)
    theirs = Report([ValueDrift(column="age", method="wasserstein", threshold=0.1)], include_tests=True).run(few[["age"]], people()[["age"]]).dict()
    figures, verdicts, counted = shown(snapshot)
    assert theirs["metrics"][0]["value"] == pytest.approx(figures["age"])
    assert theirs["tests"][0]["status"].value == "FAIL"
    assert figures["age"] > 0.1
    assert (verdicts["age"], counted["count"], report.drifted_columns) == (False, 0.0, ())
    assert "Wasserstein distance over the standard deviation, all rows, corrected" in snapshot.get_html_str(as_iframe=False)


def test_reports_of_two_periods_at_once_keep_their_figures(tmp_path):
    """Each thread's page shows its own period."""
    workspace = Workspace(tmp_path)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda shift: measure(workspace, people(shift, seed=1)), range(0, 16, 4)))
    for report, snapshot in found:
        assert shown(snapshot)[0]["age"] == report.columns[0].effect
    assert len({report.columns[0].effect for report, _ in found}) == 4


def test_evidently_counts_what_we_count(measured):
    """The page's count and share are those of the report, its share test fails when the period has drifted, and predictions are not counted."""
    report, snapshot = measured
    results = snapshot.dict()
    assert results["metrics"][0]["value"] == {"count": 1.0, "share": report.share}
    assert results["tests"][0]["status"].value == "FAIL"
    assert report.drifted


@pytest.mark.parametrize("fault", ["missing", "retyped", "empty"])
def test_the_schema_is_checked_before_anything_is_measured(tmp_path, monkeypatch, fault):
    """A missing column would be dropped in silence; here it stops the report before Evidently is called."""
    monkeypatch.setattr(pages, "report", lambda *_: pytest.fail("measured"))
    current = {"missing": people().drop(columns="age"), "retyped": people().assign(age="old"), "empty": people()[:0]}[fault]
    with pytest.raises(DataError, match=r"current data.*(`age`|no rows)"):
        measure(Workspace(tmp_path), current)


def test_a_new_category_and_missing_ones_count(tmp_path):
    """Missing categories are a category of their own, and a category that the reference lacks is no error."""
    current = people()
    current["city"] = current["city"].where(current.index % 2 == 0).replace("Bonn", "Trier")
    report, snapshot = measure(Workspace(tmp_path), current, categorical="chisquare", numeric="ks", limit=0.1)
    assert report.drifted_columns == ("city",)
    assert pages.MISSING in snapshot.dumps()


def test_one_category_on_both_sides_has_not_drifted(tmp_path):
    """Cramer's V of one shared category is 0, not an error."""
    same = people().assign(city="Ulm")
    report, snapshot = measure(Workspace(tmp_path), same, same, categorical="chisquare", limit=0.05, numeric="ks")
    assert [column.effect for column in report.columns] == [0.0, 0.0]
    assert "NaN" not in snapshot.dumps()


def test_every_row_is_measured_and_a_fixed_number_is_drawn(tmp_path, monkeypatch):
    """Figures are those of all rows, whatever the page draws; the rows it draws are the same each time."""
    before, after = people(), people(3, seed=1)
    expected, _ = measure(Workspace(tmp_path), after, before)
    monkeypatch.setattr(pages, "ROWS", 50)
    report, snapshot = measure(Workspace(tmp_path), after, before)
    assert report == expected
    assert shown(snapshot)[0]["age"] == pytest.approx(stats.wasserstein_distance(before["age"], after["age"]) / before["age"].std(ddof=0))
    drawn = pages.sample(after, COLUMNS)
    assert len(drawn) == 50
    assert drawn.equals(pages.sample(after, COLUMNS))
    sparse = after.assign(age=after["age"].where(after.index == 299))
    assert pages.sample(sparse, COLUMNS)["age"].notna().sum() == 1
    measure(Workspace(tmp_path), sparse, before)


def test_a_reference_is_read_once(tmp_path):
    """The same digest and columns give the reference that is kept; few are kept."""
    store = Store(tmp_path)
    digest = store.put_frame(people())
    kept = reference(store, digest, COLUMNS, ("prediction", "numeric"))
    assert reference(store, digest, COLUMNS, ("prediction", "numeric")) is kept
    assert reference(store, digest, {"age": "numeric"}).kinds == {"age": "numeric"}
    reference(store, digest, {"city": "categorical"})
    assert reference(store, digest, COLUMNS, ("prediction", "numeric")) is not kept


def test_parts_of_a_period_are_measured_as_one(monkeypatch):
    """Cut anywhere, an empty part and one without an age among them: the report is the whole's, and as few rows are drawn, the same each time."""
    monkeypatch.setattr(references, "ROWS", 50)
    whole = people(3, seed=1)
    whole["age"] = whole["age"].where(whole.index >= 100)
    against = Reference.of(people(), COLUMNS, ("prediction", "numeric"), COHORTS)
    cut = [whole[:100], whole[100:100], whole[100:180], whole[180:]]
    one, parts = against.current(whole), against.current(iter(cut))
    assert against.compare(parts, Drift()) == against.compare(one, Drift())
    sides = [compare_cohorts(against.cohorts, found.cohorts, Drift(), min_support=20) for found in (one, parts)]
    assert sides[0] == sides[1]
    assert 50 <= len(parts.drawn) <= 51
    assert parts.drawn["age"].notna().any()
    assert parts.drawn.equals(against.current(cut).drawn)
    assert against.current(whole, cohorts=False).cohorts is None
    with pytest.raises(DataError, match="no rows"):
        against.current(iter([whole[:0]]))


def test_cohorts_of_any_number_of_rows_are_looked_at_while_they_are_small(monkeypatch):
    """What bounds them is how many values they hold: values that repeat are few however many rows there are."""
    monkeypatch.setattr(references, "MOST", 4000)
    plain, rounded = (people(rows=3000).round(one) for one in ({}, {"age": 0, "prediction": 1}))
    against = Reference.of(people(), COLUMNS, ("prediction", "numeric"), COHORTS)
    parts = [rounded[:1500], rounded[1500:]]
    assert against.current(iter(parts)).cohorts.blocks["city"].sizes == {f"city={city}": rows for city, rows in rounded["city"].value_counts().items()}
    assert against.current(iter([plain[:1500], plain[1500:]])).cohorts is None


def test_a_reference_is_summarised_once(tmp_path, monkeypatch):
    """A fresh process reads the kept summaries and not the rows; only of many values that hardly repeat nothing is kept."""
    store = Store(tmp_path)
    small, rounded, plain = people(), *(people(rows=3000).round(one) for one in ({"age": 0, "prediction": 1}, {}))
    for frame, few, kept in ((small, references.FEW, 1), (rounded, 100, 2), (plain, 100, 2)):
        monkeypatch.setattr(references, "FEW", few)
        digest = store.put_frame(frame)
        first = reference(store, digest, COLUMNS, ("prediction", "numeric"), cohorts=COHORTS, stream="boston")
        references._kept.clear()
        again = reference(store, digest, COLUMNS, ("prediction", "numeric"), cohorts=COHORTS, stream="boston")
        assert len(store.list("boston", "summary")) == kept
        current = first.current(people(3, seed=1))
        assert again.compare(current, Drift()) == first.compare(current, Drift())
        assert again.drawn.reset_index(drop=True).equals(first.drawn.reset_index(drop=True))
        sides = [compare_cohorts(one.cohorts, current.cohorts, Drift(), min_support=20) for one in (first, again)]
        assert sides[0] == sides[1]
    references._kept.clear()
    monkeypatch.setattr(Store, "get_frame", lambda *_: pytest.fail("read") if _[1] == store.put_frame(rounded) else people())
    reference(store, store.put_frame(rounded), COLUMNS, ("prediction", "numeric"), cohorts=COHORTS, stream="boston")
    references._kept.clear()


def test_a_period_is_recorded_once_for_each_version(tmp_path, measured):
    """The second record of a version and period changes nothing; another version or period adds a run."""
    workspace = Workspace(tmp_path)
    first = workspace.record("boston", "2024-05", "1", *measured)
    kept = {path: path.read_bytes() for path in tmp_path.rglob("*.json")}
    again = workspace.record("boston", "2024-05", "1", *measured)
    assert first.created
    assert not again.created
    assert again.run == first.run
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.json")} == kept
    workspace.record("boston", "2024-05", "2", *measured)
    workspace.record("boston", "2024-06", "1", *measured)
    assert len(workspace.runs("boston")) == 3
    assert not list(tmp_path.rglob("*.tmp"))


def test_writers_at_the_same_time_leave_one_run(tmp_path, measured):
    """Four flows that record the same period together make one project with one run."""
    workspace = Workspace(tmp_path)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: workspace.record("boston", "2024-05", "1", *measured), range(4)))
    assert sum(result.created for result in results) == 1
    assert len(list(tmp_path.rglob("snapshots/*.json"))) == 1
    assert len(list(tmp_path.glob("*/metadata.json"))) == 1


def test_evidently_reads_what_was_recorded(tmp_path, measured):
    """Evidently's own workspace lists the project and the run, dated the first of the month, with what was said of it."""
    from evidently.ui.workspace import Workspace as Evidently

    recorded = Workspace(tmp_path).record("boston", "2024-05", "7", *measured, {"predictions": "abc"})
    (project,) = Evidently(str(tmp_path)).list_projects()
    assert (str(project.id), project.name) == (project_id("boston"), "boston")
    run = Evidently(str(tmp_path)).get_run(project.id, recorded.run)
    assert run.timestamp == dt.datetime(2024, 5, 1)  # noqa: DTZ001 (the page shows naive dates as they are)
    assert run.metadata | {"verdict": ""} == {"period": "2024-05", "model version": "7", "drifted features": "age", "verdict": "", "predictions": "abc"}
    assert run.tags == ["drifted"]
    kept = json.loads((tmp_path / str(project.id) / "snapshots" / f"{recorded.run}.json").read_text())
    assert '"name": "current"' in json.dumps(kept["widgets"])  # plots are kept once, on the page
    assert [one["widget"] for one in kept["metric_results"].values() if one["widget"]] == []


def dashboard_of(path, case="boston"):
    """Titles of the tabs, each with what its panels draw, and the panels in the order in which the page shows them."""
    found = json.loads((path / project_id(case) / "dashboard.json").read_text())
    panels = {panel["id"]: panel for panel in found["panels"]}
    drawn = {
        tab["title"]: [
            (value["metric"].removeprefix("evidently:metric_v2:Equipoise"), *value["metric_labels"].values())
            for number in tab["panels"]
            for value in panels[number]["values"]
        ]
        for tab in found["tabs"]
    }
    return drawn, [number for tab in found["tabs"] for number in tab["panels"]], list(panels)


def test_the_dashboard_has_a_tab_for_each_kind(tmp_path, measured):
    """Drift, Quality, Cohorts and Carbon in this order whatever came first, each headed, with panels for the figures that there are."""
    workspace = Workspace(tmp_path)
    workspace.record_carbon("boston", "infer", "2024-06-01T06:00:01+00:00", 2e-6, 5e-6, 506, 4e-6)
    workspace.record_quality(CASE, "2024-05", 1, figures(), labelled())
    workspace.record("boston", "2024-05", "1", *measured, cohorts=cohorts_of(people(15, seed=1)))
    drawn, by_tab, shown = dashboard_of(tmp_path)
    assert drawn == {
        "Drift": [("DriftShare",), ("Effect", "age"), ("Effect", "city"), ("DriftCount",), ("Effect", "prediction"), ("DomainAUC",)],
        "Quality": [
            *(("Quality", "mae"), ("Quality", "r2"), ("Rows",), ("NewCategories",)),
            *(("MissingShare", "age"), ("MissingShare", "city"), ("MissingShare", "prediction")),
        ],
        "Cohorts": [
            *(("CohortQuality", "city=Bonn", "mae"), ("CohortQuality", "city=Ulm", "mae")),
            *(("CohortDrift", "city=Bonn"), ("CohortDrift", "city=Köln"), ("CohortDrift", "city=Ulm"), ("CohortMix", "city")),
        ],
        "Carbon": [("Carbon", "infer", "mg"), ("Carbon", "infer", "mWh"), ("Carbon", "infer", "mg_per_1000")],
    }
    assert by_tab == shown  # Evidently's own page shows them so, below headings
    titles = {panel["id"]: panel["title"] for panel in json.loads((tmp_path / project_id("boston") / "dashboard.json").read_text())["panels"]}
    assert [titles[number] for number in shown if titles[number] in drawn] == list(drawn)


def test_carbon_of_many_flows_is_told_apart(tmp_path):
    """More flows than the page has colours are drawn in two panels a figure, which say so; predictions are those of `infer` alone."""
    workspace = Workspace(tmp_path)
    flows = ["snapshot", "train", "review", "promote", "infer", "monitor", "respond"]
    for minute, flow in enumerate(flows):
        workspace.record_carbon("boston", flow, f"2024-06-01T06:0{minute}:00+00:00", 2e-6, 5e-6)
    board = json.loads((tmp_path / project_id("boston") / "dashboard.json").read_text())
    drawn = {panel["title"]: [value["metric_labels"]["flow"] for value in panel["values"]] for panel in board["panels"] if panel["values"]}
    emissions, energy = "Emissions of each run, mg of CO2-equivalent", "Energy of each run, mWh"
    predictions = "Emissions for each 1,000 predictions, mg of CO2-equivalent"
    cut = {" (1 of 2)": flows[:3], " (2 of 2)": flows[3:]}
    assert drawn == {title + part: some for title in (emissions, energy) for part, some in cut.items()} | {predictions: ["infer"]}


def test_our_figures_are_those_that_are_drawn(tmp_path, measured):
    """Every line of the dashboard finds its value in the runs, as a plain `evidently ui` reads them; what is suppressed is nowhere."""
    from evidently.core.metric_types import SingleValue
    from evidently.core.serialization import SnapshotModel

    workspace = Workspace(tmp_path)
    cohorts = cohorts_of(people(15, seed=1))
    runs = [
        workspace.record("boston", "2024-05", "1", measured[0], page(measured, cohorts), cohorts=cohorts),
        workspace.record_quality(CASE, "2024-05", 1, figures(), labelled()),
        workspace.record_carbon("boston", "infer", "2024-06-01T06:00:01+00:00", 2e-6, None, 506, 4e-6),
    ]
    found = {}
    for run in runs:
        model = SnapshotModel.parse_obj(json.loads((tmp_path / run.project / "snapshots" / f"{run.run}.json").read_text()))
        for result in model.metric_results.values():
            config = result.metric_value_location.metric.params
            if isinstance(result, SingleValue) and "Equipoise" in config["type"]:
                found[tuple(text.removeprefix("evidently:metric_v2:Equipoise") for text in config.values())] = result.value
    report = measured[0]
    assert found["DriftShare",] == report.share == 0.5
    assert {name: found["Effect", name] for name in ("age", "city")} == {one.column: one.effect for one in report.columns}
    assert {one.cohort: found["CohortDrift", one.cohort] for one in cohorts.cohorts} == {one.cohort: 1.0 for one in cohorts.cohorts}
    assert (found["Quality", "mae"], found["CohortQuality", "mae", "city=Ulm"], found["Carbon", "infer", "mg"]) == (2.5, 3.5, pytest.approx(2.0))
    assert ("Carbon", "infer", "mWh") not in found  # not known is not 0
    assert ["city=K\\u00f6ln" in (tmp_path / one.project / "snapshots" / f"{one.run}.json").read_text() for one in runs] == [True, False, False]


def test_a_revision_is_a_run_of_its_own(tmp_path, measured):
    """A corrected period is dated a minute later and named; nothing is overwritten, and the first one stands."""
    workspace = Workspace(tmp_path)
    first = workspace.record("boston", "2024-05", "1", *measured)
    second = workspace.record("boston", "2024-05", "1", *measured, revision=2)
    quality = [workspace.record_quality(CASE, "2024-05", 1, figures(), labelled(), revision=number) for number in (1, 2, 2)]
    assert [one.created for one in quality] == [True, True, False]
    assert len({first.run, second.run, *(one.run for one in quality)}) == 4
    kept = json.loads((tmp_path / second.project / "snapshots" / f"{second.run}.json").read_text())
    assert (kept["name"], kept["timestamp"]) == ("boston 2024-05, model version 1, revision 2", "2024-05-01T00:01:00")
    assert first.run == workspace.run("boston", "2024-05", 1)


def test_a_lost_column_is_drawn_by_what_is_there(tmp_path):
    """Evidently refuses a column without a value; what has moved is the missing rate, and that is what is drawn and shown."""
    report, snapshot = measure(Workspace(tmp_path), people().assign(age=np.nan))
    effects, verdicts, counted = shown(snapshot)
    assert (effects["age"], verdicts["age"], counted["count"]) == (1.0, True, 1.0)
    assert "change of the share of missing values" in snapshot.get_html_str(as_iframe=False)
    assert report.columns[0].method == "missing rate"


def test_of_many_categories_the_commonest_are_drawn(tmp_path):
    """A period in which every row has a category of its own is drawn with the others as one, in no time, and is drift."""
    report, snapshot = measure(Workspace(tmp_path), people(1).assign(city=lambda frame: "city " + frame["row_id"]))
    assert report.drifted_columns == ("city",)
    assert report.columns[1].new_categories == 300
    drawn = snapshot.dumps()
    assert "(all others)" in drawn
    assert "city 299" not in drawn


@pytest.mark.parametrize(("task", "score"), [("regression", None), ("binary", 0.3), ("binary", None)])
def test_quality_is_drawn_for_every_task(task, score):
    """Evidently's plots without its figures: the page's own are those of all rows. Labels of one class leave no plot."""
    from tasks.io.pages_quality import quality

    rows = labelled().assign(y_true=lambda one: one.index % 2, y_pred=lambda one: one.index % 3 // 2)
    rows = rows if score is None else rows.assign(y_score=score + 0.1 * (rows.index % 4))
    model = quality(figures(), rows, task, "mae").to_snapshot_model()
    kinds = [widget.type for widget in model.widgets]
    assert kinds[:3] == ["table", "table", "counter"]
    assert len(kinds) > 3
    assert len(model.metric_results) == 4
    if task == "binary":
        assert len(quality(figures(), rows.assign(y_true=1), task, "mae").to_snapshot_model().widgets) == 3


def test_a_dashboard_keeps_the_users_changes(tmp_path, measured):
    """A panel of the user's stays, one they removed stays away, as does a tab, and a new feature gets its line."""
    workspace, path = Workspace(tmp_path), tmp_path / project_id("boston") / "dashboard.json"
    workspace.record("boston", "2024-05", "1", *measured)
    dashboard = json.loads(path.read_text())
    theirs = {"id": "5d7ab5d2-0000-4000-8000-000000000000", "title": "Mine", "subtitle": None, "size": "full", "values": [], "plot_params": {}}
    away = dashboard["tabs"].pop(1)["panels"]
    dashboard["panels"] = [theirs, *(panel for panel in dashboard["panels"][1:] if panel["id"] not in away)]
    path.write_text(json.dumps(dashboard))
    wider = people().assign(height=people(seed=3)["age"])
    workspace.record("boston", "2024-06", "2", *measure(workspace, wider, wider, columns=COLUMNS | {"height": "numeric"}))
    after = json.loads(path.read_text())
    assert after["panels"][0] == theirs
    assert len(after["panels"]) == len(dashboard["panels"])
    assert [tab["title"] for tab in after["tabs"]] == ["Drift"]
    assert "height" in [value["metric_labels"].get("feature") for panel in after["panels"] for value in panel["values"]]


@pytest.mark.parametrize("damaged", ["metadata.json", "dashboard.json", "snapshots/*.json"])
def test_a_damaged_file_is_named(tmp_path, measured, damaged):
    """A truncated file is an error that names it, when recording and when the servers start."""
    workspace = Workspace(tmp_path)
    workspace.record("boston", "2024-05", "1", *measured)
    (path,) = (tmp_path / project_id("boston")).glob(damaged)
    path.write_bytes(path.read_bytes()[:-9])
    for act in (lambda: workspace.record("boston", "2024-06", "1", *measured), workspace.check):
        with pytest.raises(IntegrityError, match=str(path)):
            act()


def test_a_folder_that_cannot_be_written_is_named(tmp_path, measured):
    """A workspace where a file stands in the way is an error that names it."""
    (tmp_path / "taken").write_text("")
    with pytest.raises(UnavailableError, match="taken"):
        Workspace(tmp_path / "taken").record("boston", "2024-05", "1", *measured)


def test_names_and_categories_cannot_run_as_script(tmp_path):
    """Nothing that Evidently stores or shows holds a character that opens markup, and scores come back under the true names."""
    frame = people().rename(columns={"age": HOSTILE, "city": SCRIPT}).replace({"Ulm": HOSTILE, "Köln": SCRIPT, "Bonn": "{{1+1}}"})
    workspace = Workspace(tmp_path)
    report, snapshot = measure(workspace, frame, frame, columns={HOSTILE: "numeric", SCRIPT: "categorical"})
    groups = Cohorts(by=((SCRIPT,),), where={HOSTILE: f'"{SCRIPT}" IS NOT NULL'})
    kinds = {HOSTILE: "numeric"}
    cohorts = compare_cohorts(*[by_cohort(frame, kinds, groups)] * 2, Drift(), min_support=5)
    assert len(cohorts.cohorts) == 4
    against = Reference.of(frame, {HOSTILE: "numeric", SCRIPT: "categorical"}, ("prediction", "numeric"))
    domain = Domain(0.9, 0.8, 0.95, (300, 300), (Driver(HOSTILE, 0.3),))
    snapshot = workspace.draw(report, against, against.current(frame), pages.Beside(domain=domain, cohorts=cohorts))
    workspace.record("boston", "2024-05", HOSTILE, report, snapshot, {SCRIPT: HOSTILE}, cohorts=cohorts)
    workspace.record_quality(CASE, "2024-05", HOSTILE, figures().replace({"city=Ulm": HOSTILE, "city=Bonn": SCRIPT}), labelled())
    workspace.record_carbon("boston", HOSTILE, "2024-06-01T06:00:01+00:00", 1e-6, 1e-6, facts={SCRIPT: HOSTILE})
    assert [column.column for column in report.columns] == [HOSTILE, SCRIPT]
    stored = "".join(path.read_text() for path in tmp_path.rglob("*.json") if path.name != "shown.json")  # which no page shows
    assert "document.title" in stored
    assert not re.search(r"<[a-z/!]", stored)  # Evidently's own test texts hold "0.1 < 0.2"
    assert "{{" not in stored
    page = snapshot.get_html_str(as_iframe=False)
    assert SCRIPT not in page
    assert HOSTILE not in page


@pytest.mark.parametrize(("one", "other"), [("<a", "‹a"), ("a\x00b", "a b"), ("x" * 90, "x" * 91), ("", " ")])
def test_different_names_stay_different(one, other):
    """Making a name safe never makes two columns one."""
    assert pages.safe_text(one) != pages.safe_text(other)


def test_ordinary_names_are_shown_as_they_are():
    """Letters of any script, spaces and common signs are left alone."""
    for name in ("LSTAT", "größe (m²)", "地区", "hours-per-week", "a.b_c/d"):
        assert pages.safe_text(name) == name


def test_links_lead_to_the_project_and_the_run():
    """The address of a dashboard follows from the case's name."""
    assert link(project_id("boston"), "http://127.0.0.1:8000/") == f"http://127.0.0.1:8000/projects/{project_id('boston')}"
    assert link("p", "http://127.0.0.1:8000", "r") == "http://127.0.0.1:8000/projects/p/reports/r"
    assert project_id("boston") == project_id("boston") != project_id("adult")

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

from tasks.core.case import Drift
from tasks.core.errors import DataError, IntegrityError, UnavailableError
from tasks.core.online import ALPHA
from tasks.io import pages
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


@pytest.mark.parametrize("fault", ["missing", "retyped", "null"])
def test_the_schema_is_checked_before_anything_is_measured(tmp_path, monkeypatch, fault):
    """A missing column would be dropped in silence; here it stops the report before Evidently is called."""
    monkeypatch.setattr(pages, "report", lambda *_: pytest.fail("measured"))
    current = {"missing": people().drop(columns="age"), "retyped": people().assign(age="old"), "null": people().assign(age=np.nan)}[fault]
    with pytest.raises(DataError, match=r"current data.*`age`"):
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


def test_the_dashboard_draws_share_scores_and_prediction(tmp_path, measured):
    """One tab has panels for the share, for each feature's score and for the prediction."""
    Workspace(tmp_path).record("boston", "2024-05", "1", *measured)
    dashboard = json.loads((tmp_path / project_id("boston") / "dashboard.json").read_text())
    drawn = [(value["metric"].rsplit(":", 1)[1], *value["metric_labels"].values()) for panel in dashboard["panels"] for value in panel["values"]]
    assert drawn == [
        ("DriftedColumnsCount", "share"),
        ("ValueDrift", "age"),
        ("ValueDrift", "city"),
        ("DriftedColumnsCount", "count"),
        ("ValueDrift", "prediction"),
    ]
    assert dashboard["tabs"][0]["panels"] == [panel["id"] for panel in dashboard["panels"]]


def test_a_dashboard_keeps_the_users_changes(tmp_path, measured):
    """A panel of the user's stays, one they removed stays away, and a new feature gets its line."""
    workspace, path = Workspace(tmp_path), tmp_path / project_id("boston") / "dashboard.json"
    workspace.record("boston", "2024-05", "1", *measured)
    dashboard = json.loads(path.read_text())
    theirs = {"id": "5d7ab5d2-0000-4000-8000-000000000000", "title": "Mine", "subtitle": None, "size": "full", "values": [], "plot_params": {}}
    dashboard["panels"] = [theirs, *dashboard["panels"][1:]]
    path.write_text(json.dumps(dashboard))
    wider = people().assign(height=people(seed=3)["age"])
    workspace.record("boston", "2024-06", "2", *measure(workspace, wider, wider, columns=COLUMNS | {"height": "numeric"}))
    after = json.loads(path.read_text())
    assert after["panels"][0] == theirs
    assert len(after["panels"]) == len(dashboard["panels"])
    assert "height" in [value["metric_labels"].get("column") for panel in after["panels"] for value in panel["values"]]


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
    workspace.record("boston", "2024-05", HOSTILE, report, snapshot, {SCRIPT: HOSTILE})
    assert [column.column for column in report.columns] == [HOSTILE, SCRIPT]
    stored = "".join(path.read_text() for path in tmp_path.rglob("*.json"))
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

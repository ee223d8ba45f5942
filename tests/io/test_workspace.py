"""Drift measured by Evidently, and the project that shows it over time. Expected scores come from scipy."""

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
from scipy.spatial import distance

from tasks.core.case import Drift
from tasks.core.errors import DataError, IntegrityError, UnavailableError
from tasks.io import pages
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


def measure(workspace, current, reference=None, columns=COLUMNS, **settings):
    reference = people() if reference is None else reference
    return workspace.drift(reference, current, columns=columns, prediction=("prediction", "numeric"), settings=Drift(**settings))


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    return measure(Workspace(tmp_path_factory.mktemp("measured")), people(15, seed=1), limit=0.4)


def test_scores_are_those_of_scipy(measured):
    """Normalised Wasserstein distance is scipy's over the reference's standard deviation; Jensen-Shannon is scipy's, in nats."""
    report, _ = measured
    before, after = people(), people(15, seed=1)
    cities = sorted(set(before["city"]))
    shares = [[(frame["city"] == city).mean() for city in cities] for frame in (before, after)]
    expected = {
        "age": stats.wasserstein_distance(before["age"], after["age"]) / before["age"].std(ddof=0),
        "city": distance.jensenshannon(*shares),
    }
    assert {column.column: column.score for column in report.columns} == pytest.approx(expected)
    assert report.drifted_columns == ("age",)


@pytest.mark.parametrize(
    ("numeric", "categorical", "p_value"),
    [("ks", "chisquare", True), ("psi", "psi", False)],
)
def test_every_method_of_a_case_is_measured(tmp_path, numeric, categorical, p_value):
    """K-S and chi-square give scipy's p-values, PSI its textbook sum; the moved columns drift under each."""
    before, after = people(), people(15, seed=1, cities=(0.1, 0.1, 0.8))
    report, _ = measure(Workspace(tmp_path), after, before, numeric=numeric, categorical=categorical, limit=0.1)
    counts = [frame["city"].value_counts().reindex(["Ulm", "Köln", "Bonn"]).to_numpy() for frame in (before, after)]
    shares = [count / count.sum() for count in counts]
    psi = float(((shares[0] - shares[1]) * np.log(shares[0] / shares[1])).sum())
    expected = stats.chisquare(counts[1], counts[0]).pvalue if p_value else psi
    scores = {column.column: column.score for column in report.columns}
    assert scores["city"] == pytest.approx(expected)
    if p_value:
        assert scores["age"] == pytest.approx(stats.ks_2samp(before["age"], after["age"]).pvalue)
    assert report.drifted_columns == ("age", "city")


@pytest.mark.parametrize("settings", [{}, {"numeric": "ks", "categorical": "chisquare"}, {"numeric": "psi", "categorical": "psi"}])
def test_evidently_reaches_the_same_verdict_even_on_the_limit(tmp_path, settings):
    """With limits set to the very scores, no column drifts for us, and none does on Evidently's page."""
    workspace, after = Workspace(tmp_path), people(3, seed=1)
    first, _ = measure(workspace, after, **settings)
    scores = {column.column: column.score for column in (*first.columns, first.prediction)}
    report, snapshot = measure(workspace, after, limits=scores, **settings)
    results = snapshot.dict()
    assert report.drifted_columns == ()
    assert results["metrics"][0]["value"] == {"count": 0.0, "share": 0.0}
    assert {test["status"].value for test in results["tests"]} == {"SUCCESS"}


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
    report, _ = measure(Workspace(tmp_path), current, categorical="chisquare", numeric="ks", limit=0.01)
    assert report.drifted_columns == ("city",)


def test_one_category_on_both_sides_has_not_drifted(tmp_path):
    """Chi-square of one shared category is 1, not an error."""
    same = people().assign(city="Ulm")
    report, snapshot = measure(Workspace(tmp_path), same, same, categorical="chisquare", limit=0.05, numeric="ks")
    assert [column.score for column in report.columns] == [1.0, 1.0]
    assert "NaN" not in snapshot.dumps()


def test_at_most_a_fixed_number_of_rows_is_measured(tmp_path, monkeypatch):
    """A large month costs no more than a sample of it, and the sample is the same each time."""
    monkeypatch.setattr(pages, "ROWS", 50)
    before, after = people(), people(seed=1)
    report, _ = measure(Workspace(tmp_path), after, before)
    drawn = [frame.sample(50, random_state=0)["age"] for frame in (before, after)]
    assert report.columns[0].score == pytest.approx(stats.wasserstein_distance(*drawn) / drawn[0].std(ddof=0))


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

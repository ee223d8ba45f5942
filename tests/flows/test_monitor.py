"""Labels that come late: production is held against them, once for each state of them, whatever else is up."""

import json
from types import SimpleNamespace

import pytest

from tasks.core.errors import DataError, UnavailableError
from tasks.io.performances import history
from tasks.io.workbench import Workbench

pytestmark = pytest.mark.usefixtures("prefect", "home")


@pytest.fixture
def served(project):
    """`loans` in production as version 1, by the record alone; February and March scored and estimated. Returns: its workbench."""
    from tasks.core.evaluation import evaluate
    from tasks.core.evidence import OBJECTS, manifest, stored_report
    from tasks.core.predictions import kept_predictions
    from tasks.core.suppression import publish
    from tasks.estimates import estimate_performance
    from tasks.io.models import dump
    from tasks.snapshots import take_snapshots
    from tasks.training import fit_candidate, load_window

    bench = Workbench.open("loans")
    store, case = bench.store, bench.case
    take_snapshots.fn(bench)
    window = load_window.fn(bench)
    fitted = fit_candidate.fn(bench, window, case.candidates[0])
    objects = {
        "case": store.put_json(case.model_dump(mode="json")),
        "parts": store.put_frame(window.parts),
        "model": store.put(dump(fitted.candidate)),
        "report": store.put_json(stored_report(publish(evaluate(fitted.test, **case.asked)))),
        "predictions": store.put_frame(kept_predictions(fitted.test)),
    }
    rest = dict.fromkeys(OBJECTS, store.put_json({}))
    digest = store.put_json(manifest(snapshots=window.digests, reports={}, objects=rest | objects, periods=list(window.periods)))
    run = bench.runs.start_parent("loans")
    bench.runs.finish(run)
    bench.ledger.append("loans", "registered", 1, {"evidence": digest, "run": run})
    bench.ledger.append("loans", "promoted", 1, {})
    production = SimpleNamespace(version=1, evidence=digest, candidate=fitted.candidate, kinds=fitted.candidate.inputs)
    for period in ("2024-02", "2024-03"):
        source, frame = bench.snapshot("features", period)
        scored = frame.assign(y_pred=fitted.candidate.predict(frame), y_score=fitted.candidate.predict_score(frame))
        predictions = store.put_frame(scored[["row_id", "y_pred", "y_score"]])
        first = estimate_performance.fn(bench, production, period, lambda scored=scored: [scored.iloc[:100], scored.iloc[100:]], predictions)
        assert estimate_performance.fn(bench, production, period, lambda scored=scored: [scored.iloc[:10]], predictions) == first  # once made, it stands
        month = {"period": period, "rows": len(frame), "drifted": False, "drifted_columns": [], "share": 0.0, "prediction": None, "revision": 1}
        bench.ledger.append("loans", "served", 1, {**month, "snapshot": source.digest, "predictions": predictions})
    return bench


def relabel(bench, period, labels):
    """A further revision of a period's labels, as `equipoise snapshot --revise` takes one."""
    from tasks.snapshots import _record

    return _record(bench, "labels", period, labels, revise=True)[0]


def runs_of(bench, period):
    """MLflow's runs that evaluate a period."""
    with bench.runs.store.talking() as client:
        return client.search_runs([bench.runs.experiment("loans")], f"tags.mlflow.runName = 'evaluate {period}'")


def test_months_are_judged_once_beside_what_was_accepted_and_estimated(served):
    """Each labelled month is evaluated by row id, held against acceptance and its own estimate, and recorded once; nothing of it is an alarm
    where nothing has changed.
    """
    from flows.monitor import monitor

    before = history(served, 1)
    assert set(before["period"]) == {"2024-02", "2024-03"}
    assert before["value"].isna().all()
    assert before["estimate"].notna().all()
    result = monitor("loans")
    assert [(month["period"], month["rows"], month["of"], month["verdict"]) for month in result["months"]] == [
        ("2024-02", 600, 600, "as accepted"),
        ("2024-03", 600, 600, "as accepted"),
    ]
    assert result["alerts"] == []
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    [*_, entry] = [event for event in served.ledger.events("loans") if event.kind == "served"]
    scored = served.store.get_frame(entry.body["predictions"])
    right = scored.merge(served.snapshot("labels", "2024-03")[1], on="row_id").eval("y_pred == (repaid == 'yes')").mean()
    told = history(served, 1)
    row = told[(told["period"] == "2024-03") & (told["cohort"] == "overall") & (told["metric"] == "accuracy")].iloc[0]
    assert row["value"] == pytest.approx(right, abs=1e-12)
    assert row["estimate_low"] < row["estimate"] < row["estimate_high"]
    assert row["since_low"] < row["since"] < row["since_high"]
    assert row["accepted_low"] < row["since"] < row["accepted_high"]
    assert bool(row["inside"]) == (row["estimate_low"] <= right <= row["estimate_high"])

    head = served.ledger.head()
    assert monitor("loans")["months"] == []
    assert [month["period"] for month in monitor("loans", "2024-02")["months"]] == ["2024-02"]
    assert served.ledger.head() == head
    assert served.ledger.errands("loans") == []
    assert [len(runs_of(served, period)) for period in ("2024-02", "2024-03")] == [1, 1]
    with pytest.raises(DataError, match="has not scored 2024-09"):
        monitor("loans", "2024-09")


def test_what_was_found_is_shown_in_prefect_and_in_the_terminal_and_no_name_is_markup(served, capsys):
    """Markdown, table, pictures and link for each month, a table in the terminal; a category that is a script stays text."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

    from flows.cli_monitor import months
    from flows.monitor import monitor
    from tasks.core.watch_report import report_text

    result = monitor("loans", "2024-03")
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(like_="loans-monitor-2024-03%")), limit=200)
    left = ("", "-cohorts", "-mlflow", "-accuracy", "-balanced-accuracy")
    assert {artifact.key for artifact in found} == {f"loans-monitor-2024-03{name}" for name in left}
    assert {artifact.type for artifact in found} == {"markdown", "table", "image"}
    text = next(artifact.data for artifact in found if artifact.key == "loans-monitor-2024-03")
    assert all(heading in text for heading in ("## All rows", "## Cohorts", "## The label", "## What had been estimated before labels came"))
    months(result["months"], 1)
    said = capsys.readouterr().out
    assert "as accepted" in said
    assert "(v1)" not in said
    months(result["months"], 2)
    assert "(v1)" in capsys.readouterr().out
    body = served.store.get_json(result["months"][0]["performance"])
    hostile = json.loads(json.dumps(body).replace("region=Nord", "region=<script>alert(1)</script>|x"))
    assert "<script" not in report_text("loans", hostile)


def test_corrected_and_partial_labels_are_monitored_anew(served):
    """Labels that are corrected, or that come for more rows, make a further entry, and the first one stays; half the labels are half the rows."""
    from flows.monitor import monitor

    labels = served.snapshot("labels", "2024-03")[1]
    relabel(served, "2024-03", labels.iloc[:300])
    first = monitor("loans")["months"][-1]
    assert (first["rows"], first["labelled"], first["of"]) == (300, 300, 600)
    relabel(served, "2024-03", labels.assign(repaid=labels["repaid"].map({"yes": "no", "no": "yes"})))
    [anew] = monitor("loans")["months"]
    assert (anew["period"], anew["rows"], anew["verdict"]) == ("2024-03", 600, "worse")
    critical = [alert for alert in anew["alerts"] if alert["severity"] == "critical"]
    assert ("performance", "balanced_accuracy for overall") in {(alert["kind"], alert["subject"]) for alert in critical}
    entries = [event.body for event in served.ledger.events("loans") if event.kind == "monitored"]
    assert [body["period"] for body in entries] == ["2024-02", "2024-03", "2024-03"]
    assert len({body["performance"] for body in entries}) == 3
    assert entries[-1]["alerts"] == anew["alerts"]
    told = history(served, 1)
    assert len(told) == len(told.drop_duplicates(["period", "cohort", "metric"]))
    assert set(told[told["period"] == "2024-03"]["verdict"]) >= {"worse"}


def test_looks_stand_in_the_order_of_the_record_and_each_spends_its_level(served):
    """March's labels come before February's and are corrected later, February's are corrected and come back to what they were, and are then
    corrected again: every look but the one that came back takes in all that the record has, and has a level of its own for the label's drift.
    """
    from tasks.core.evaluation import evaluate
    from tasks.core.online import level
    from tasks.core.suppression import publish
    from tasks.monitoring import judge, labelled_predictions, record_monitored

    def look(period, rows=None):
        if rows:
            relabel(served, period, whole[period].iloc[:rows])
        labelled = labelled_predictions.fn(served, 1, period)
        found = judge.fn(served, 1, labelled, publish(evaluate(labelled.table, **served.case.asked)))
        assert record_monitored.fn(served, 1, found) is not None
        return found.body

    def behind(body):
        return next(one["since"]["rows"] for one in body["judged"] if (one["cohort"], one["metric"]) == ("overall", "accuracy"))

    whole = {period: served.snapshot("labels", period)[1] for period in ("2024-02", "2024-03")}
    bodies = [look(*asked) for asked in (("2024-03",), ("2024-02",), ("2024-03", 300), ("2024-02", 400), ("2024-02", 600), ("2024-02", 500))]
    assert bodies.pop(4) == bodies[1]
    assert [body["look"] for body in bodies] == [1, 2, 3, 4, 5]
    assert [behind(body) for body in bodies] == [600, 1200, 900, 700, 800]
    alarms = [body["label_drift"]["alarm"] for body in bodies]
    assert [body["label_drift"]["level"] for body in bodies] == [level(alarms[:number]) for number in range(5)]


def test_late_labels_of_a_version_that_left_production_are_told_and_nothing_is_done(served):
    """Version 2 is in production when the labels come of what version 1 served: they are held against what was accepted of version 1, and
    though they are worse, no incident of them starts anything.
    """
    from flows.monitor import monitor

    [first] = [event for event in served.ledger.events("loans") if event.kind == "registered"]
    served.ledger.append("loans", "registered", 2, first.body)
    served.ledger.append("loans", "promoted", 2, {"previous": 1})
    labels = served.snapshot("labels", "2024-03")[1]
    relabel(served, "2024-03", labels.assign(repaid=labels["repaid"].map({"yes": "no", "no": "yes"})))
    result = monitor("loans")
    assert result["version"] == 2
    assert [(month["version"], month["period"], month["verdict"]) for month in result["months"]] == [(1, "2024-02", "as accepted"), (1, "2024-03", "worse")]
    assert set(history(served, 1)["verdict"]) >= {"worse"}
    assert [event.kind for event in served.ledger.events("loans") if event.kind == "incident"] == []
    assert monitor("loans")["months"] == []
    assert [month["version"] for month in monitor("loans", "2024-03")["months"]] == [1]


def test_with_mlflow_down_all_else_is_recorded_and_the_next_run_completes_it(served, monkeypatch):
    """The flow is not reported complete while MLflow has not got its run; the record is whole meanwhile, and one run comes of two tries."""
    from flows.monitor import monitor

    monkeypatch.setenv("EQUIPOISE_MLFLOW_URI", "http://127.0.0.1:9")
    with pytest.raises(UnavailableError, match="could not be shown"):
        monitor("loans")
    assert [event.body["period"] for event in served.ledger.events("loans") if event.kind == "monitored"] == ["2024-02", "2024-03"]
    monkeypatch.delenv("EQUIPOISE_MLFLOW_URI")
    assert monitor("loans")["months"] == []
    assert [len(runs_of(served, period)) for period in ("2024-02", "2024-03")] == [1, 1]
    assert served.ledger.errands("loans") == []


def test_what_a_crash_left_half_done_is_taken_up_and_not_done_again(served):
    """The process died after the report was stored and before its entry: the next one finds the report, whatever was entered in between, and
    enters it once.
    """
    from tasks.core.evaluation import evaluate
    from tasks.core.suppression import publish
    from tasks.monitoring import judge, labelled_predictions, record_monitored

    def step(period):
        labelled = labelled_predictions.fn(served, 1, period)
        return judge.fn(served, 1, labelled, publish(evaluate(labelled.table, **served.case.asked)))

    left = step("2024-03")
    assert record_monitored.fn(served, 1, step("2024-02")) is not None
    assert step("2024-03") == left
    assert record_monitored.fn(served, 1, left) is not None
    assert record_monitored.fn(served, 1, left) is None
    assert len(served.store.list("loans", "performance")) == 2


def test_a_label_alone_tells_nothing_and_names_nobody(served):
    """One label of a month: the period is on record with how many came, and no figure, no drift and no alert of that one row."""
    from flows.monitor import monitor

    labels = served.snapshot("labels", "2024-02")[1]
    relabel(served, "2024-02", labels.assign(repaid=labels["repaid"].where(labels.index == 7)))
    month = monitor("loans", "2024-02")["months"][0]
    assert (month["rows"], month["of"], month["verdict"], month["alerts"], month["label_drifted"]) == (1, 600, "insufficient evidence", [], None)
    assert {row["value"] for row in month["cohorts"]} == {None}
    assert month["estimates"] == []


def test_rows_without_an_answer_are_counted_and_left_out(served):
    """A model that abstained is not judged by those rows, and how many they are is said."""
    from tasks.monitoring import labelled_predictions

    [event] = [event for event in served.ledger.events("loans") if event.kind == "served" and event.body["period"] == "2024-02"]
    scored = served.store.get_frame(event.body["predictions"])
    scored["y_pred"] = scored["y_pred"].astype("Int64").mask(scored.index < 50)
    body = {**event.body, "predictions": served.store.put_frame(scored)}
    served.ledger.append("loans", "served", 1, body)
    labelled = labelled_predictions.fn(served, 1, "2024-02")
    assert (len(labelled.table), labelled.labelled, labelled.abstained, labelled.of) == (550, 600, 50, 600)


def test_labels_of_one_period_that_are_corrupt_keep_no_other_waiting(served):
    """The other month is held, the run fails and names the one that could not be, and an incident says so once; restored, the month is held
    and the incident over. Labels of a version that left production are named as well, and are no incident.
    """
    from flows.monitor import monitor

    def months():
        return [(event.version, event.body["period"]) for event in served.ledger.events("loans") if event.kind == "monitored"]

    def incidents(kind="incident"):
        return [event.body["key"] for event in served.ledger.events("loans") if event.kind == kind]

    [(part, _)] = served.store.parts(served.newest("labels", "2024-02")[0].digest)
    path = served.store.path(part)
    whole = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(DataError, match="2024-02 of version 1"):
        monitor("loans", "2024-02")
    assert incidents() == []  # whoever asks for one period is told, and nobody else
    for _ in range(2):
        with pytest.raises(DataError, match=r"Not held against their labels: 2024-02 of version 1: .*corrupt.*equipoise monitor loans"):
            monitor("loans")
    assert (months(), incidents(), incidents("resolved")) == ([(1, "2024-03")], ["v1 data quality: labels 2024-02"], [])
    assert served.ledger.errands("loans") == []
    path.write_bytes(whole)
    assert [month["period"] for month in monitor("loans")["months"]] == ["2024-02"]
    assert (incidents(), incidents("resolved")) == (["v1 data quality: labels 2024-02"],) * 2

    [first] = [event for event in served.ledger.events("loans") if event.kind == "registered"]
    served.ledger.append("loans", "registered", 2, first.body)
    served.ledger.append("loans", "promoted", 2, {"previous": 1})
    for period in ("2024-02", "2024-03"):
        relabel(served, period, served.snapshot("labels", period)[1].iloc[:300])
    served.store.path(served.newest("labels", "2024-02")[0].digest).unlink()
    with pytest.raises(DataError, match=r"2024-02 of version 1: "):
        monitor("loans")
    assert months()[-1] == (1, "2024-03")
    assert len(months()) == 3
    assert len(incidents()) == 1

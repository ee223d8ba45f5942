"""Periods are scored once each, whatever comes: corrections, lost parts, servers that are away, ranges, a stop. On real parts, with a Prefect server."""

from dataclasses import replace
from functools import partialmethod

import pandas as pd
import pytest

from tasks.core.case import revision_key
from tasks.core.errors import CaseError, DataError, IntegrityError, UnavailableError
from tasks.core.incidents import open_incidents
from tasks.io.status import status_of
from tasks.io.store import Store
from tasks.io.workbench import Workbench
from tests.conftest import enrol, loans, review

pytestmark = pytest.mark.usefixtures("prefect", "home")


@pytest.fixture
def production(version_1, project):
    """Version 1 in production; nothing is scored yet."""
    from flows.promote import promote

    enrol(project)
    review("loans", 1)
    promote("loans", 1)
    return project


def served(bench):
    return [event for event in bench.ledger.events("loans") if event.kind == "served"]


def rows(bench):
    return dict(status_of(bench).rows)


def correct(project, month, **columns):
    """Other values in a month of the source, taken as a revision."""
    from flows.snapshot import snapshot

    table = pd.read_csv(project / "loans.csv")
    inside = table["month"].str.startswith(month)
    for name, change in columns.items():
        table.loc[inside, name] = change(table.loc[inside, name])
    table.to_csv(project / "loans.csv", index=False)
    snapshot("loans", revise=True)


def guard(project, *, refused, taken):
    """Have the case refuse what fitting did not see, of which one month then has some and another nothing."""
    case = project / "configs/loans.yaml"
    case.write_text(case.read_text(encoding="utf-8") + "\nscoring: {outside: refuse}\n", encoding="utf-8")
    correct(project, refused, income=lambda values: values.where(values.index % 100 > 0, 1e7))
    correct(project, taken, income=lambda values: values.clip(20_000, 60_000), amount=lambda values: values.clip(2_000, 20_000))


def test_a_corrected_month_is_scored_again_beside_what_was_served(production):
    """The first scores, their page and their entry stand; the correction has its own of each, and says so. What is not corrected is not
    scored again, and the same correction is scored once.
    """
    from flows.infer import infer

    infer("loans")
    bench = Workbench.open("loans")
    first = bench.store.get_frame(bench.store.find("loans", "predictions", "v1-2024-02").digest)
    correct(production, "2024-02", income=lambda values: values + 30_000)
    for _ in range(2):
        infer("loans")
    entries = [(event.body["period"], event.body["revision"], event.body["drifted"]) for event in served(bench)]
    assert entries == [("2024-02", 1, False), ("2024-03", 1, False), ("2024-02", 2, True)]
    again = bench.store.get_frame(bench.store.find("loans", "predictions", "v1-2024-02-r2").digest)
    pd.testing.assert_frame_equal(bench.store.get_frame(bench.store.find("loans", "predictions", "v1-2024-02").digest), first)
    assert again["y_pred"].ne(first["y_pred"]).any()
    assert again["row_id"].equals(first["row_id"])
    assert len(bench.workspace.runs("loans")) == 3 + 6  # a page a scoring, and one for the energy of two snapshots, training, promotion and two scorings
    assert rows(bench)["scored again"] == "2024-02 (revision 2)"
    [drift] = [event.body for event in bench.ledger.events("loans") if event.kind == "incident" and event.body["kind"] == "drift"]
    assert drift["period"] == "2024-02"


def test_a_correction_that_is_taken_back_is_the_last_word_again(production):
    """The third revision has the bytes of the first: it is scored, as what stands now, and once."""
    from flows.infer import infer
    from flows.snapshot import snapshot

    before = (production / "loans.csv").read_bytes()
    infer("loans", "2024-02")
    correct(production, "2024-02", income=lambda values: values + 30_000)
    infer("loans", "2024-02")
    (production / "loans.csv").write_bytes(before)
    snapshot("loans", revise=True)
    for _ in range(2):
        infer("loans", "2024-02")
    found = [(event.body["revision"], event.body["predictions"]) for event in served(Workbench.open("loans"))]
    assert [revision for revision, _ in found] == [1, 2, 3]
    assert found[0][1] == found[2][1] != found[1][1]


def test_other_settings_after_a_run_that_died_are_no_conflict(production, monkeypatch):
    """The predictions of a run that ended before its entry stand in the store; with what the case asks for now the month is scored, once."""
    from flows import infer as module

    with monkeypatch.context() as patch:
        patch.setattr(module, "measure_drift", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            module.infer("loans", "2024-02")
    bench = Workbench.open("loans")
    left = bench.store.find("loans", "predictions", "v1-2024-02")
    case = production / "configs/loans.yaml"
    case.write_text(case.read_text(encoding="utf-8") + "\nscoring: {abstain_below: 0.6}\n", encoding="utf-8")
    for _ in range(2):
        module.infer("loans", "2024-02")
    [entry] = served(bench)
    assert entry.body["abstained"] > 0
    assert entry.body["predictions"] != left.digest


def test_a_run_at_work_ends_where_it_is_stopped(production, monkeypatch):
    """What a rule or a person decides while a run scores holds from the next month on."""
    from flows import infer as module

    serve = module.serve

    def serve_and_stop(bench, production, due):
        scored = serve(bench, production, due)
        bench.ledger.append("loans", "stopped", 1, {"incident": 3, "by": "rule", "why": "Every prediction is late."})
        return scored

    monkeypatch.setattr(module, "serve", serve_and_stop)
    assert [month["period"] for month in module.infer("loans")["months"]] == ["2024-02"]
    bench = Workbench.open("loans")
    assert [event.body["period"] for event in served(bench)] == ["2024-02"]
    assert bench.ledger.errands("loans") == []


def test_a_lost_part_leaves_a_partial_month_that_is_completed_once(production, monkeypatch):
    """A part that is corrupt is named, nothing is scored, and an incident says so. With `corrupt_part: skip` the rest is scored and the month
    is marked; while the part is lost nothing is added, and labels are held against the rest; restored, the whole month is scored once, the
    record shows both, and all pages can be made anew from it.
    """
    from flows.infer import infer
    from flows.monitor import monitor
    from tasks.rebuilding import rebuild

    monkeypatch.setattr(Store, "put_parts", partialmethod(Store.put_parts, rows=200))
    correct(production, "2024-02", amount=lambda values: values + 0.01)
    bench = Workbench.open("loans")
    source, _ = bench.newest("features", "2024-02")
    [_, (lost, _), _] = bench.store.parts(source.digest)
    whole = bench.store.path(lost).read_bytes()
    bench.store.path(lost).chmod(0o600)
    bench.store.path(lost).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(IntegrityError, match=r"part 2 of 3 of snapshot 2024-02 of loans .*Nothing was scored"):
        infer("loans", "2024-02")
    assert served(bench) == []
    [refused] = [event.body for event in bench.ledger.events("loans") if event.kind == "incident"]
    assert (refused["kind"], refused["severity"], refused["period"]) == ("data quality", "critical", "2024-02")
    assert "part 2 of 3" in refused["reason"]
    case = production / "configs/loans.yaml"
    case.write_text(case.read_text(encoding="utf-8") + "\nscoring: {corrupt_part: skip}\n", encoding="utf-8")
    for _ in range(2):
        infer("loans", "2024-02")
    [entry] = served(bench)
    assert (entry.body["rows"], len(entry.body["missing_parts"])) == (400, 1)
    assert rows(bench)["partial"] == "2024-02 lacks 1 part(s)"
    [month] = monitor("loans")["months"]
    assert (month["labelled"], month["rows"]) == (400, 400)
    assert bench.ledger.errands("loans") == []
    bench.store.path(lost).write_bytes(whole)
    for _ in range(2):
        infer("loans", "2024-02")
    assert [(event.body["rows"], len(event.body["missing_parts"])) for event in served(bench)] == [(400, 1), (600, 0)]
    assert "partial" not in rows(bench)
    assert bench.store.find("loans", "predictions", "v1-2024-02-r2").rows == 600
    pages = set(bench.workspace.runs("loans"))
    bench.workspace.set_aside("loans")
    assert rebuild.fn(bench) == len(pages)
    assert set(bench.workspace.runs("loans")) == pages


def test_while_mlflow_and_evidently_are_away_scoring_goes_on_and_the_rest_waits(production, monkeypatch):
    """The model comes from the store, both months are scored and on record, and the run fails, saying what waits. The next run shows each
    month once in MLflow and in Evidently, and scores nothing.
    """
    from flows.infer import infer
    from tasks.io.registry import Registry
    from tasks.io.runs import Runs

    def away(*_, **__):
        raise UnavailableError("MLflow does not answer.", where="mlflow", fix="Start it.")

    workspace = production / "home/evidently"
    workspace.write_text("A file is in the way.", encoding="utf-8")
    with monkeypatch.context() as patch:
        for adapter, verb in ((Registry, "alias"), (Registry, "fetch_model"), (Registry, "version"), (Runs, "showing"), (Runs, "log_child")):
            patch.setattr(adapter, verb, away)
        with pytest.raises(UnavailableError, match=r"not all of it could be shown: evidently: .*; mlflow: .*equipoise infer loans"):
            infer("loans")
        bench = Workbench.open("loans")
        assert [event.body["period"] for event in served(bench)] == ["2024-02", "2024-03"]
        assert rows(bench)["not shown yet"].endswith("wait for evidently, mlflow")
    workspace.unlink()
    before = len(served(bench))
    for _ in range(2):
        infer("loans")
    assert len(served(bench)) == before
    assert bench.ledger.errands("loans") == []
    for event in served(bench):
        assert bench.runs.showing("loans", event.sequence)
    experiment = bench.runs.experiment("loans")
    found = bench.runs.store.find(lambda client: client.search_runs([experiment], "attributes.run_name = 'infer 2024-02 to 2024-03'"))
    assert len(found) == 1
    assert {bench.workspace.run("loans", event.body["period"], 1) for event in served(bench)} <= set(bench.workspace.runs("loans"))


def test_a_range_is_scored_in_order_and_what_makes_no_range_is_refused(production):
    """A range may reach back before the training; what is in it and on record is told and not scored again."""
    from flows.infer import infer

    result = infer("loans", first="2024-01", last="2024-02")
    assert [month["period"] for month in result["months"]] == ["2024-01", "2024-02"]
    again = infer("loans", first="2024-02")
    assert [month["period"] for month in again["months"]] == ["2024-02", "2024-03"]
    assert [event.body["period"] for event in served(Workbench.open("loans"))] == ["2024-01", "2024-02", "2024-03"]
    with pytest.raises(CaseError, match="ends with 2024-01, before it begins with 2024-03"):
        infer("loans", first="2024-03", last="2024-01")
    with pytest.raises(CaseError, match="a range as well"):
        infer("loans", "2024-02", first="2024-01")
    with pytest.raises(DataError, match=r"no features snapshot of 2025-01 .* There are 2024-01 to 2024-03"):
        infer("loans", first="2025-01")


def test_a_refused_month_is_an_incident_and_those_before_it_stand(production):
    """A guard that refuses stops at the month that it refuses, names column, rows and what to do, and tells it as bad data."""
    from flows.infer import infer

    guard(production, refused="2024-03", taken="2024-02")
    bench = Workbench.open("loans")
    with pytest.raises(DataError, match=r"2024-03.*income"):
        infer("loans")
    assert [event.body["period"] for event in served(bench)] == ["2024-02"]
    found = [event.body for event in bench.ledger.events("loans") if event.kind == "incident"]
    assert [(one["period"], one["severity"]) for one in found if one["kind"] == "data quality" and "refused" in one["subject"]] == [("2024-03", "critical")]
    assert bench.ledger.errands("loans") == []  # what came before it is shown
    assert [event.body["rows"] for event in bench.ledger.events("loans") if event.kind == "metered" and event.body["flow"] == "infer"] == [600]
    assert bench.store.find("loans", "predictions", "v1-2024-03-r2") is None


def test_a_refused_correction_keeps_no_later_month_waiting(production):
    """What was scored of the month stands; the month after it is scored and shown, and the run fails and names the correction."""
    from flows.infer import infer

    infer("loans", "2024-02")
    guard(production, refused="2024-02", taken="2024-03")
    bench = Workbench.open("loans")
    with pytest.raises(DataError, match=r"2024-02.*income"):
        infer("loans")
    assert [(event.body["period"], event.body["revision"]) for event in served(bench)] == [("2024-02", 1), ("2024-03", 2)]
    assert bench.ledger.errands("loans") == []
    assert rows(bench)["due"].startswith("score 2024-02 (corrected, revision 2); ")
    found = [event.body for event in bench.ledger.events("loans") if event.kind == "incident"]
    assert [(one["period"], one["severity"]) for one in found if one["kind"] == "data quality" and "refused" in one["subject"]] == [("2024-02", "critical")]


def test_strange_months_have_one_result_each(production):
    """One row, categories that are all new, nothing but gaps, no row at all: each month is scored once, and status says so."""
    from flows.infer import infer
    from flows.snapshot import snapshot

    strange = loans(("2024-04", "2024-05", "2024-06"), rows=300, seed=9)
    month = strange["month"].str[:7]
    strange.loc[month == "2024-05", "region"] = strange["id"]
    strange.loc[month == "2024-06", ["amount", "income", "region"]] = None
    strange = strange.drop(index=strange.index[month == "2024-04"][1:])
    pd.concat([pd.read_csv(production / "loans.csv"), strange.assign(id="S" + strange["id"])]).to_csv(production / "loans.csv", index=False)
    snapshot("loans")
    bench = Workbench.open("loans")
    last = bench.store.find("loans", "features", "2024-06")
    digest, _ = bench.store.put_parts([bench.store.get_frame(last.digest).iloc[:0]])
    bench.store.record(replace(last, key="2024-07", digest=digest, rows=0, parent=last.digest))
    for _ in range(2):
        infer("loans")
    assert [(event.body["period"], event.body["rows"]) for event in served(bench)] == [
        *(("2024-02", 600), ("2024-03", 600), ("2024-04", 1), ("2024-05", 300), ("2024-06", 300), ("2024-07", 0)),
    ]
    incidents = {(one.kind, one.period): one for one in open_incidents(bench.ledger.events("loans"), 1)}
    assert ("drift", "2024-06") in incidents  # what is not measured afterwards is not over
    [alert] = served(bench)[-1].body["alerts"]
    assert (alert["kind"], alert["severity"], alert["subject"]) == ("data quality", "critical", "rows")
    assert "no rows" in alert["reason"]
    told = rows(bench)
    assert told["last inference"] == "2024-07 with version 1, 0 rows"
    assert not told["due"].startswith("score")
    assert bench.ledger.errands("loans") == []

    first = bench.store.find("loans", "features", "2024-02")
    bench.store.record(replace(first, key=revision_key("2024-02", 2), digest=digest, rows=0, parent=first.digest))
    infer("loans")
    assert (served(bench)[-1].body["revision"], served(bench)[-1].body["rows"]) == (2, 0)
    pages = bench.workspace.runs("loans")
    assert [bench.workspace.run("loans", "2024-02", 1, revision=revision) in pages for revision in (1, 2)] == [True, False]  # not the first's again


def test_a_case_that_was_stopped_is_not_scored_until_it_is_resumed(production):
    """The stop and the resumption are on record with their reasons."""
    from flows.infer import infer
    from tasks.responses import resume_scoring

    bench = Workbench.open("loans")
    bench.ledger.append("loans", "stopped", 1, {"incident": 3, "by": "rule", "why": "Every prediction is late."})
    with pytest.raises(DataError, match=r"stopped on .*Every prediction is late\..*equipoise resume loans"):
        infer("loans")
    assert rows(bench)["stopped"].endswith("Every prediction is late.")
    resume_scoring.fn(bench, "The clock was mended.")
    assert len(infer("loans")["months"]) == 2

"""Real months of 2013: drift that leaves performance intact is told and starts no training; performance that is worse starts one."""

import shutil

import pytest
import yaml

from tasks.core.incidents import incident_of, unanswered
from tasks.io.home import PROJECT
from tasks.io.workbench import Workbench

pytestmark = pytest.mark.usefixtures("prefect", "home")

MONTHS = ("2013-01", "2013-02", "2013-03", "2013-07", "2013-09")


@pytest.fixture
def flights(project, monkeypatch):
    """The case as it is shipped, but for one candidate and fewer cohorts, and labels that are there at once."""
    shutil.copy(PROJECT / "catalog/flights.yaml", project / "catalog")
    case = yaml.safe_load((PROJECT / "configs/flights.yaml").read_text(encoding="utf-8"))
    case["candidates"] = [one for one in case["candidates"] if one["name"] == "thresholds"]
    case["cohorts"] = {"by": [["origin"]], "min_support": 50}
    case["periods"]["labels_after"] = 0
    (project / "configs/flights.yaml").write_text(yaml.safe_dump(case), encoding="utf-8")
    (project / "data").mkdir()
    (project / "data/raw").symlink_to(PROJECT / "data/raw")
    return project


def asked_for(bench):
    """What the record asks to be done, by the kind of incident and its month."""
    return {(incident.kind, incident.period): incident.actions for incident in map(incident_of, events(bench, "incident"))}


def events(bench, kind):
    return [event for event in bench.ledger.events("flights") if event.kind == kind]


def test_drift_alone_notifies_and_worse_performance_retrains(flights):
    """July's plan has drifted, and labels show the model as good as accepted: people are told. September's labels show it to be worse:
    training is asked for, on the newest labelled month, once; nothing is promoted.
    """
    from flows.infer import infer
    from flows.monitor import monitor
    from flows.promote import promote
    from flows.respond import respond
    from flows.snapshot import snapshot
    from flows.train import train
    from tasks.promotion import simulated_review

    for month in MONTHS[:4]:
        snapshot("flights", month)
    train("flights")
    bench = Workbench.open("flights")
    simulated_review(bench, 1, reviewer="Nobody", notes="A test.")
    promote("flights", 1)
    infer("flights")
    [july] = monitor("flights")["months"]
    assert july["verdict"] == "as accepted", july["alerts"]
    assert asked_for(bench) == {("drift", "2013-07"): ("notify",)}
    respond("flights")
    assert unanswered(bench.ledger.events("flights")) == []

    snapshot("flights", MONTHS[4])
    infer("flights")
    [september] = monitor("flights")["months"]
    assert september["verdict"] == "worse"
    assert asked_for(bench)["performance", "2013-09"] == ("retrain", "notify")
    respond("flights")
    [training] = [event.body for event in events(bench, "responded") if event.body["action"] == "retrain" and event.body.get("period")]
    assert training["period"] == "2013-09"
    assert [event.version for event in events(bench, "promoted")] == [1]

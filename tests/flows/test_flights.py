"""Real months of 2013: drift that leaves performance intact is told and starts no training; a cohort that is worse starts one."""

import shutil

import pytest
import yaml

from tasks.core.incidents import incident_of, unanswered
from tasks.io.home import PROJECT
from tasks.io.workbench import Workbench

pytestmark = pytest.mark.usefixtures("prefect", "home")

TRAINED = ("2013-01", "2013-02", "2013-03", "2013-04")
"""Three months of training, and the one with which the labels of the third come."""


@pytest.fixture
def flights(project):
    """The case as it is shipped, but for the one candidate that is chosen."""
    shutil.copy(PROJECT / "catalog/flights.yaml", project / "catalog")
    case = yaml.safe_load((PROJECT / "configs/flights.yaml").read_text(encoding="utf-8"))
    case["candidates"] = [one for one in case["candidates"] if one["name"] == "thresholds"]
    (project / "configs/flights.yaml").write_text(yaml.safe_dump(case), encoding="utf-8")
    (project / "data").mkdir()
    (project / "data/raw").symlink_to(PROJECT / "data/raw")
    return project


def asked_for(bench):
    """What the record asks to be done, by the kind of incident and its month."""
    return {(incident.kind, incident.period): incident.actions for incident in map(incident_of, events(bench, "incident"))}


def events(bench, kind):
    return [event for event in bench.ledger.events("flights") if event.kind == kind]


def test_drift_notifies_and_a_cohort_that_is_worse_retrains(flights):
    """April's plan has not drifted, July's has: people are told, and that is all that drift asks for. July's labels come a month later and show
    all rows as good as accepted and evening flights worse: for that a training is asked for, once; nothing is promoted.
    """
    from flows.infer import infer
    from flows.monitor import monitor
    from flows.promote import promote
    from flows.respond import respond
    from flows.snapshot import snapshot
    from flows.train import train
    from tasks.promotion import simulated_review

    for month in TRAINED:
        snapshot("flights", month)
    train("flights")
    bench = Workbench.open("flights")
    simulated_review(bench, 1, reviewer="Nobody", notes="A test.")
    promote("flights", 1)
    snapshot("flights", "2013-07")
    assert [(month["period"], month["drifted"]) for month in infer("flights")["months"]] == [("2013-04", False), ("2013-07", True)]
    drift = {("drift", "2013-07"): ("notify",)}
    assert asked_for(bench) == drift
    respond("flights")
    assert unanswered(bench.ledger.events("flights")) == []
    assert {event.body["action"] for event in events(bench, "responded")} == {"notify"}

    snapshot("flights", "2013-08")
    [july] = monitor("flights")["months"]
    assert {one["verdict"] for one in july["judged"] if one["cohort"] == "overall"} <= {"as accepted", "changed"}
    assert "roc_auc for Evening" in {alert["subject"] for alert in july["alerts"]}
    assert asked_for(bench) == drift | {("cohort gap", "2013-07"): ("retrain", "notify")}
    respond("flights")
    [told, gap] = events(bench, "incident")
    assert [(event.body["incident"], event.body["action"]) for event in events(bench, "responded")] == [
        (told.sequence, "notify"),
        (gap.sequence, "retrain"),
        (gap.sequence, "notify"),
    ]
    assert [event.version for event in events(bench, "promoted")] == [1]

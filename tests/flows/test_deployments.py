"""prefect.yaml: every deployment loads, says what its case says, and runs on a real server."""

import sys
import time
from collections import Counter

import pytest
import yaml

from tasks.io.documents import load_case
from tasks.io.home import PROJECT, Home
from tasks.io.servers import HOST, POOL, Services
from tasks.io.workbench import Workbench
from tasks.snapshots import take_snapshots
from tests.conftest import loans, one_candidate, with_prefect_tables
from tests.io.test_servers import free_ports

DEPLOYMENTS = yaml.safe_load((PROJECT / "prefect.yaml").read_text())["deployments"]
FLOWS = ("snapshot", "train", "compare", "promote", "review", "infer", "monitor", "respond")
CLOCK = {"snapshot": -1, "infer": 0, "monitor": 1, "respond": 2}
"""What runs by the clock: so many hours after the case's schedule."""
MONTHS = ("2024-01", "2024-02")
CASES = sorted(path.stem for path in (PROJECT / "configs").glob("*.yaml"))


def evidently_of_files(services):
    """What a supervisor starts in Evidently's place: a server of files that answers as a healthy one does."""
    return of_files(services, "api/version", services.ports.evidently)


def mlflow_of_files(services):
    """The same in MLflow's place: runs write to its database without a server."""
    return of_files(services, "health", services.ports.mlflow)


def of_files(services, name, port):
    answer = services.home.root / "stand-in" / name
    answer.parent.mkdir(parents=True, exist_ok=True)
    answer.write_text("ok", encoding="utf-8")
    return ["http.server", str(port), "--bind", HOST, "--directory", str(services.home.root / "stand-in")], {}


def flow_name(deployment):
    return deployment["entrypoint"].rpartition(":")[2]


def test_every_case_has_every_flow_once():
    """Each case of configs/ is deployed under its name for each flow, with itself as parameter, on the pool of the worker; the one
    flow that needs no case is there once.
    """
    expected = [*((flow, case) for flow in FLOWS for case in CASES), ("evaluate", "predictions")]
    assert Counter((flow_name(one), one["name"]) for one in DEPLOYMENTS) == Counter(expected)
    assert all(one["parameters"]["case"] == one["name"] for one in DEPLOYMENTS if flow_name(one) != "evaluate")
    assert {one["work_pool"]["name"] for one in DEPLOYMENTS} == {POOL}


@pytest.mark.parametrize("entrypoint", sorted({one["entrypoint"] for one in DEPLOYMENTS}))
@pytest.mark.filterwarnings("default")
def test_every_entrypoint_loads(entrypoint, monkeypatch):
    """`prefect deploy` accepts a flow whose imports are broken, so each is loaded for real here."""
    from prefect.flows import load_flow_from_entrypoint

    monkeypatch.chdir(PROJECT)
    monkeypatch.setattr(sys, "path", list(sys.path))
    flow = load_flow_from_entrypoint(entrypoint, use_placeholder_flow=False)
    assert flow.name == entrypoint.rpartition(":")[2]
    for deployment in DEPLOYMENTS:
        if deployment["entrypoint"] == entrypoint and "parameters" in deployment:
            flow.validate_parameters(deployment["parameters"])


def shifted(cron, hours, daily):
    """A schedule of one time of day, so many hours later."""
    minute, hour, *days = cron.split()
    assert 0 <= int(hour) + hours < 24
    return " ".join([minute, str(int(hour) + hours), *(["*"] * 3 if daily else days)])


@pytest.mark.parametrize("case", CASES)
def test_the_loop_runs_when_the_case_says(case):
    """Snapshots come an hour before inference and labels an hour after it, in the case's time zone; what could not be done about incidents
    is tried each day; and nothing else runs by the clock.
    """
    schedule = load_case(case, PROJECT).schedule
    for one in DEPLOYMENTS:
        if one["name"] == case:
            hours = CLOCK.get(flow_name(one))
            cron = None if hours is None else shifted(schedule.cron, hours, daily=flow_name(one) == "respond")
            assert one["schedules"] == ([] if cron is None else [{"cron": cron, "timezone": schedule.timezone}])


@pytest.mark.parametrize("case", CASES)
def test_events_of_a_case_start_its_own_flows(case):
    """An incident starts the responses, and a rule that asks for training starts it on the window that ends with the newest labelled
    period. The names of the events are those that are emitted.
    """
    from tasks.core.incidents import INCIDENT, RETRAIN

    expected = {"respond": (INCIDENT, {"case": case}), "train": (RETRAIN, {"case": case, "period": "{{ event.payload.period }}"})}
    found = {}
    for one in DEPLOYMENTS:
        for trigger in one.get("triggers", []) if one["name"] == case else []:
            assert (trigger["type"], trigger["match"]) == ("event", {"prefect.resource.id": f"equipoise.case.{case}"})
            [event] = trigger["expect"]
            found[flow_name(one)] = (event, trigger["parameters"])
    assert found == expected


def test_runs_that_would_meet_wait_for_each_other():
    """What scores, monitors, responds, trains or promotes runs once at a time for each case; the next run waits. Every deployment has its
    case as a tag, and says what it does.
    """
    for one in DEPLOYMENTS:
        waits = flow_name(one) in ("infer", "monitor", "respond", "train", "promote")
        assert one.get("concurrency_limit") == ({"limit": 1, "collision_strategy": "ENQUEUE"} if waits else None)
        assert one["tags"] == [one["name"]]
        assert one["description"].endswith(".")


@pytest.fixture
def served(project, home, prefect, monkeypatch, tmp_path_factory):
    """A server, its worker and every deployment, for a `boston` that is the case `loans`, with version 1 in production. MLflow's and
    Evidently's servers have no part in it: files stand in for them. What runs in this process runs on the session's Prefect server,
    since Prefect's sender of events stays with the first server it has known; of the other one this process is but a client.
    """
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from flows.promote import promote
    from flows.snapshot import snapshot
    from flows.train import train
    from tasks.promotion import simulated_review

    one_candidate(project)
    case = (project / "configs/loans.yaml").read_text(encoding="utf-8")
    (project / "configs/boston.yaml").write_text(case.replace("case: loans", "case: boston"), encoding="utf-8")
    loans(MONTHS).iloc[:600].to_csv(project / "loans.csv", index=False)
    snapshot("boston")
    train("boston")
    simulated_review(Workbench.open("boston"), 1, reviewer="Nobody", notes="A test.")
    promote("boston", 1)
    for name in ("PREFECT_API_URL", "PREFECT_SERVER_API_AUTH_STRING"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PREFECT_WORKER_QUERY_SECONDS", "2")  # instead of 10
    monkeypatch.setattr(Services, "_evidently", evidently_of_files)
    monkeypatch.setattr(Services, "_mlflow", mlflow_of_files)
    with_prefect_tables(tmp_path_factory, home)
    with Services(Home(root=home, project=project), free_ports()) as services:
        services.start()
        with temporary_settings({PREFECT_API_URL: services.environment["PREFECT_API_URL"]}):
            yield services


def completed(services, deployment):
    """Ask for a run of a deployment, and wait until the worker has completed it: on a busy machine Prefect's server may hold its SQLite
    database for a minute or two, and answers once it lets go.
    """
    from prefect.deployments import run_deployment

    run = run_deployment(deployment, timeout=300, poll_interval=0.5)
    assert run.state.is_completed(), f"{run.state}\n{(services.home.root / 'logs/worker.log').read_text()}"


@pytest.mark.timeout(900)
def test_when_the_world_moves_a_version_is_trained_and_waits_for_review(served, project):
    """`equipoise up` registers every deployment. A month comes in which those repay who did not before: it is scored and held
    against its labels by runs that the worker makes. What follows starts by itself: an incident, the responses to it, and a training on that month, whose
    version waits for a person. Production stays what it was.
    """
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        registered = {client.read_flow(one.flow_id).name + "/" + one.name: one for one in client.read_deployments()}
        automations = client.request("POST", "/automations/filter", json={}).json()
    assert set(registered) == {f"{flow_name(one)}/{one['name']}" for one in DEPLOYMENTS}
    for one in DEPLOYMENTS:
        made = registered[f"{flow_name(one)}/{one['name']}"]
        assert made.global_concurrency_limit is None or made.global_concurrency_limit.limit == one["concurrency_limit"]["limit"]
        assert [schedule.schedule.cron for schedule in made.schedules] == [schedule["cron"] for schedule in one.get("schedules", [])]
        assert made.tags == one["tags"]
    assert {name for one in automations for name in one["trigger"]["expect"]} == {"equipoise.incident", "equipoise.retrain"}
    assert len(automations) == 2 * len(CASES)

    table = loans(MONTHS)
    table.loc[600:, "repaid"] = table.loc[600:, "repaid"].map({"yes": "no", "no": "yes"})
    table.to_csv(project / "loans.csv", index=False)
    bench = Workbench.open("boston")
    take_snapshots.fn(bench)
    for flow in ("infer", "monitor"):
        completed(served, f"{flow}/boston")
    until = time.monotonic() + 300
    while len(versions := [event for event in bench.ledger.events("boston") if event.kind == "registered"]) < 2:
        assert time.monotonic() < until, (project / "home/logs/worker.log").read_text()
        time.sleep(0.5)
    events = bench.ledger.events("boston")
    assert [event.body["period"] for event in events if event.kind == "served"] == ["2024-02"]
    [incident] = [event.sequence for event in events if event.kind == "incident" and event.body["kind"] == "performance"]
    assert {"retrain", "notify"} <= {event.body["action"] for event in events if event.kind == "responded" and event.body["incident"] == incident}
    assert [event.body["periods"] for event in versions] == [["2024-01"], ["2024-02"]]
    assert [event.version for event in events if event.kind == "promoted"] == [1]

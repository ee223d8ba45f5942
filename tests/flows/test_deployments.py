"""prefect.yaml: every deployment loads, says what its case says, and runs on a real server."""

import sys
from collections import Counter

import pytest
import yaml

from tasks.io.documents import load_case
from tasks.io.home import PROJECT, Home
from tasks.io.servers import HOST, POOL, Services
from tests.io.test_servers import free_ports

DEPLOYMENTS = yaml.safe_load((PROJECT / "prefect.yaml").read_text())["deployments"]
FLOWS = ("snapshot", "train", "compare", "promote", "review", "infer", "monitor")
CASES = sorted(path.stem for path in (PROJECT / "configs").glob("*.yaml"))


def evidently_of_files(services):
    """What a supervisor starts in Evidently's place: a server of files that answers as a healthy one does."""
    answer = services.home.root / "stand-in/api/version"
    answer.parent.mkdir(parents=True)
    answer.write_text("ok", encoding="utf-8")
    return ["http.server", str(services.ports.evidently), "--bind", HOST, "--directory", str(services.home.root / "stand-in")], {}


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


@pytest.mark.parametrize("case", CASES)
def test_infer_runs_when_the_case_says(case):
    """The schedule in prefect.yaml is that of configs/<case>.yaml, and nothing else runs by the clock."""
    schedule = load_case(case, PROJECT).schedule
    for one in DEPLOYMENTS:
        if one["name"] == case:
            expected = [{"cron": schedule.cron, "timezone": schedule.timezone}] if flow_name(one) == "infer" else []
            assert one.get("schedules", []) == expected


@pytest.mark.parametrize("case", CASES)
def test_train_runs_when_the_case_drifts(case):
    """Drift of a case triggers its own training, on the window that ends with the month that drifted."""
    (train,) = [one for one in DEPLOYMENTS if one["name"] == case and flow_name(one) == "train"]
    (trigger,) = train["triggers"]
    assert trigger["match"] == {"prefect.resource.id": f"equipoise.case.{case}"}
    assert trigger["expect"] == ["equipoise.drift"]
    assert trigger["parameters"] == {"case": case, "period": "{{ event.payload.period }}"}


@pytest.mark.timeout(900)
def test_a_deployment_runs_on_a_real_server(tmp_path, monkeypatch):
    """`equipoise up` registers every deployment, and a run of `snapshot/boston` takes the snapshots. The two servers that have no part in
    it are left out: MLflow is said to be elsewhere, and files stand in for Evidently.
    """
    from prefect.client.orchestration import get_client
    from prefect.deployments import run_deployment
    from prefect.settings import PREFECT_API_URL, temporary_settings

    for name in ("PREFECT_API_URL", "PREFECT_SERVER_API_AUTH_STRING"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("EQUIPOISE_MLFLOW_URI", f"http://{HOST}:9")
    monkeypatch.setenv("PREFECT_WORKER_QUERY_SECONDS", "1")  # instead of 10: a worker looks for work once a second
    monkeypatch.setattr(Services, "_evidently", evidently_of_files)
    home = Home(root=tmp_path)
    with Services(home, free_ports()) as services:
        services.start()
        with temporary_settings({PREFECT_API_URL: services.environment["PREFECT_API_URL"]}):
            with get_client(sync_client=True) as client:
                names = {client.read_flow(one.flow_id).name + "/" + one.name for one in client.read_deployments()}
            assert names == {f"{flow_name(one)}/{one['name']}" for one in DEPLOYMENTS}
            run = run_deployment("snapshot/boston", timeout=300, poll_interval=0.5)
        log = (tmp_path / "logs" / "worker.log").read_text()
        assert run.state.is_completed(), f"{run.state}\n{log}"
        assert any(home.store.rglob("*")), log

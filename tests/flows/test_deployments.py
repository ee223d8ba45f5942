"""prefect.yaml: every deployment loads, says what its case says, and runs on a real server."""

import os
import socket
import subprocess
import sys
from collections import Counter

import pytest
import yaml

from tasks.io.documents import load_case
from tasks.io.home import PROJECT, QUIET, Home
from tasks.io.servers import POOL, Ports, Services

DEPLOYMENTS = yaml.safe_load((PROJECT / "prefect.yaml").read_text())["deployments"]
FLOWS = ("snapshot", "train", "compare", "promote", "review", "infer", "monitor")
CASES = sorted(path.stem for path in (PROJECT / "configs").glob("*.yaml"))


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
    """`equipoise up` registers every deployment, and `prefect deployment run 'snapshot/boston'` takes the snapshots."""
    for name in ("EQUIPOISE_MLFLOW_URI", "PREFECT_API_URL", "PREFECT_SERVER_API_AUTH_STRING"):
        monkeypatch.delenv(name, raising=False)
    home = Home(root=tmp_path)
    sockets = [socket.socket() for _ in range(3)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = Ports(*(one.getsockname()[1] for one in sockets))
    for one in sockets:
        one.close()
    with Services(home, ports) as services:
        services.start()
        environment = dict(os.environ) | QUIET | services.environment | {"PREFECT_HOME": str(tmp_path / "client")}

        def prefect(*arguments):
            return subprocess.run([sys.executable, "-m", "prefect", *arguments], cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=600)

        listed = prefect("deployment", "ls")
        assert all(f"{flow}/{case}" in listed.stdout for flow in FLOWS for case in CASES), listed.stdout + listed.stderr
        run = prefect("deployment", "run", "snapshot/boston", "--watch")
        log = (tmp_path / "logs" / "worker.log").read_text()
        assert run.returncode == 0, run.stdout + run.stderr + log
        assert "Completed" in run.stdout, run.stdout + log
        assert any(home.store.rglob("*")), log

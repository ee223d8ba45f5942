"""Servers that ask for passwords: `equipoise up` starts them so, our adapters and flows pass with the right ones, and no password is left behind."""

import base64
import os
import shutil
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from tasks.core.errors import AccessError, UnavailableError
from tasks.io.home import PROJECT, QUIET, Home
from tasks.io.registry import Registry
from tasks.io.runs import Runs
from tasks.io.servers import Ports, Services
from tests.conftest import documented_files, loans, one_candidate, with_prefect_tables
from tests.flows.test_cli import in_process
from tests.flows.test_deployments import evidently_of_files
from tests.io.test_servers import free_ports

MLFLOW, PREFECT, PLACE = "canary-mlflow-9b1", "canary-prefect-4f7", "canary-place-2c8"
pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def guarded(tmp_path_factory, migrated):
    """Prefect and MLflow behind passwords, as the environment asks, with a worker; a project whose source is in a variable. Of the
    deployments there is the one that is run, of Evidently, which asks for no password, a stand-in. The run is asked for here, and goes
    on in the worker beside the checks that do not need it.
    """
    project = tmp_path_factory.mktemp("guarded")
    catalogue, case = documented_files()
    (project / "catalog").mkdir()
    (project / "configs").mkdir()
    (project / "catalog/loans.yaml").write_text(catalogue.replace("path: loans.csv", 'path: "${LOANS_PLACE}"'), encoding="utf-8")
    (project / "configs/loans.yaml").write_text(case, encoding="utf-8")
    one_candidate(project)
    loans().to_csv(project / f"{PLACE}.csv", index=False)
    home = Home(root=project / "home", project=project)
    home.root.mkdir()
    shutil.copy(migrated, home.root / "mlflow.db")
    with_prefect_tables(tmp_path_factory, home.root)
    spawn = Services._spawn

    def spawn_one(self, name, module, settings):
        """As the supervisor does, but of all deployments only one."""
        return spawn(self, name, [*module[:-1], "--name", "snapshot/boston"] if name == "deploy" else module, settings)

    with Services(home, free_ports()) as services:
        with pytest.MonkeyPatch.context() as patch:
            for name in ("EQUIPOISE_MLFLOW_URI", "PREFECT_API_URL", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_AUTH_CONFIG_PATH"):
                patch.delenv(name, raising=False)
            patch.setenv("MLFLOW_AUTH_ADMIN_PASSWORD", MLFLOW)
            patch.setenv("PREFECT_SERVER_API_AUTH_STRING", f"me:{PREFECT}")
            patch.setenv("PREFECT_WORKER_QUERY_SECONDS", "1")
            patch.delenv("LOANS_PLACE", raising=False)
            patch.setattr(Services, "_evidently", evidently_of_files)
            patch.setattr(Services, "_spawn", spawn_one)
            services.start()
            made = SimpleNamespace(home=home, mlflow=services.addresses["mlflow"], prefect=services.environment["PREFECT_API_URL"])
        yield SimpleNamespace(**vars(made), run=ask_for_snapshots(made))


def as_client(url, secret=None):
    """Prefect's settings in this process: which server, and what is said to it."""
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

    return temporary_settings({PREFECT_API_URL: url, PREFECT_API_AUTH_STRING: secret})


def ask_for_snapshots(guarded):
    """Name the source in a Prefect block, and ask for a run of the deployment that gets it from there; what the run is called by."""
    from prefect.blocks.system import Secret
    from prefect.deployments import run_deployment

    with as_client(guarded.prefect, f"me:{PREFECT}"):
        Secret(value=f"{PLACE}.csv").save("loans-place")
        from_block = {"env": {"LOANS_PLACE": "{{ prefect.blocks.secret.loans-place }}"}}
        return run_deployment("snapshot/boston", parameters={"case": "loans"}, job_variables=from_block, timeout=0).id


def snapshot(guarded, url=None, secret=None):
    """`equipoise snapshot loans` in this process, saying this to that server."""
    places = {"EQUIPOISE_HOME": str(guarded.home.root), "EQUIPOISE_PROJECT": str(guarded.home.project)}
    with as_client(url or guarded.prefect, secret):
        return in_process("snapshot", "loans", environment=places | ({"PREFECT_API_AUTH_STRING": secret} if secret else {}))


def as_user(patch, user, password):
    for name, value in (("MLFLOW_TRACKING_USERNAME", user), ("MLFLOW_TRACKING_PASSWORD", password)):
        patch.delenv(name, raising=False) if value is None else patch.setenv(name, value)


def mlflow_with_the_right_password_and_the_permission(guarded, monkeypatch):
    """Runs and the registry work behind MLflow's basic auth with the user and password of the environment; somebody who may only read
    is told so when they would write.
    """
    import requests

    as_user(monkeypatch, "admin", MLFLOW)
    runs, registry = (kind(guarded.mlflow, guarded.home.artifacts) for kind in (Runs, Registry))
    parent = runs.start_parent("right", params={"seed": 7})
    runs.finish(parent)
    number = registry.register("right", run_id=parent, model_bytes=b"model", inputs={"a": "numeric"}, task="binary", description="# Card")
    registry.set_alias("right", "production", number)
    assert registry.versions("right")[0].aliases == ("production",)
    reader = {"username": "reader", "password": "canary-reader-12"}
    assert requests.post(f"{guarded.mlflow}/api/2.0/mlflow/users/create", json=reader, auth=("admin", MLFLOW), timeout=30).ok
    as_user(monkeypatch, "reader", "canary-reader-12")
    theirs = Registry(guarded.mlflow, guarded.home.artifacts)
    assert [version.version for version in theirs.versions("right")] == [1]
    with pytest.raises(AccessError, match="MLflow does not let reader do this"):
        theirs.set_tags("right", 1, {"review.verdict": "approve"})


MLFLOW_TELLS = [
    (None, None, "MLflow asks for a user and a password."),
    ("admin", "canary-wrong-1", "MLflow does not take the password of admin."),
    ("nobody", "canary-wrong-1", "MLflow does not take the password of nobody."),
]


def mlflow_with_a_wrong_password(guarded, monkeypatch, user, password, told):
    """The refusal names the server and what to set, within seconds, and repeats no password."""
    as_user(monkeypatch, user, password)
    for use in (lambda: Registry(guarded.mlflow, guarded.home.artifacts).versions("x"), lambda: Runs(guarded.mlflow, guarded.home.artifacts).start_parent("x")):
        with pytest.raises(AccessError) as refused:
            use()
        assert str(refused.value) == f"{guarded.mlflow}: {told} Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD."
        assert refused.value.__cause__ is None


def test_a_password_in_the_address_is_not_shown(monkeypatch, tmp_path):
    """An address with a user and a password is named without them, whatever is wrong with it."""
    as_user(monkeypatch, None, None)
    address = "http://me:canary-address-3@127.0.0.1:9"
    with pytest.raises(UnavailableError) as gone:
        Registry(address, tmp_path).versions("x")
    assert "canary" not in str(gone.value)
    monkeypatch.setenv("EQUIPOISE_MLFLOW_URI", address)
    assert Services(Home(root=tmp_path), Ports()).addresses["mlflow"] == "http://127.0.0.1:9"


PREFECT_TELLS = [(None, "Prefect asks for a user and a password."), ("me:canary-wrong-2", "Prefect does not take what PREFECT_API_AUTH_STRING says.")]


def prefect_with_a_wrong_password(guarded, secret, told):
    """A command ends before any work with exit code 2, names the server and what to set, and repeats no password."""
    result = snapshot(guarded, secret=secret)
    assert result.returncode == 2, result.stdout + result.stderr
    assert f"{guarded.prefect}: {told} Set PREFECT_API_AUTH_STRING to USER:PASSWORD" in result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    assert "canary" not in result.stdout + result.stderr


def prefect_that_is_not_there(guarded):
    """A server that is gone is named at once."""
    result = snapshot(guarded, "http://127.0.0.1:9/api")
    assert result.returncode == 2, result.stdout + result.stderr
    assert "http://127.0.0.1:9/api: Prefect cannot be reached" in result.stderr


def the_story_behind_passwords_leaves_none_of_them(guarded):
    """A deployment, whose source is named in a Prefect block, and a training pass with the right secrets; no log, artifact, page or
    database below the home has any of them.
    """
    from prefect.client.orchestration import get_client

    log = guarded.home.root / "logs/worker.log"
    deadline = time.monotonic() + 240
    with as_client(guarded.prefect, f"me:{PREFECT}"), get_client(sync_client=True) as client:
        while not (state := client.read_flow_run(guarded.run).state).is_final() and time.monotonic() < deadline:
            time.sleep(0.2)
    assert state.is_completed(), f"{state}\n{log.read_text()}"
    assert (guarded.home.store / "manifests").exists(), log.read_text()
    right = {
        "EQUIPOISE_HOME": str(guarded.home.root),
        "EQUIPOISE_PROJECT": str(guarded.home.project),
        "EQUIPOISE_MLFLOW_URI": guarded.mlflow,
        "MLFLOW_TRACKING_USERNAME": "admin",
        "MLFLOW_TRACKING_PASSWORD": MLFLOW,
        "PREFECT_API_URL": guarded.prefect,
        "PREFECT_API_AUTH_STRING": f"me:{PREFECT}",
    }
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    # In a process of its own: Prefect's threads that send logs and events would stay with this server.
    command = [sys.executable, "-m", "flows.cli", "train", "loans"]
    trained = subprocess.run(command, cwd=PROJECT, env=bare | QUIET | right, capture_output=True, text=True, timeout=400)
    said = trained.stdout + trained.stderr
    assert trained.returncode == 0, said
    secrets = [MLFLOW, PREFECT, PLACE, *(base64.b64encode(pair.encode()).decode() for pair in (f"me:{PREFECT}", f"admin:{MLFLOW}"))]
    assert [secret for secret in secrets if secret in said] == []
    files = [path for path in guarded.home.root.rglob("*") if path.is_file()]
    assert {"prefect.db", "mlflow.db", "mlflow-auth.db", "worker.log", "mlflow.log", "prefect.log", "ledger.db"} <= {path.name for path in files}
    leaked = [(path.relative_to(guarded.home.root), secret) for path in files for secret in secrets if secret.encode() in path.read_bytes()]
    assert leaked == []


def test_servers_that_ask_for_passwords(guarded, monkeypatch):
    """With the right ones everything passes and none is left behind; with wrong ones, without permission or without a server, each refusal
    says what to do. (One test: its servers take half a minute to start, and two workers would each start them.)
    """
    with monkeypatch.context() as patch:
        mlflow_with_the_right_password_and_the_permission(guarded, patch)
    for user, password, told in MLFLOW_TELLS:
        with monkeypatch.context() as patch:
            mlflow_with_a_wrong_password(guarded, patch, user, password, told)
    for secret, told in PREFECT_TELLS:
        prefect_with_a_wrong_password(guarded, secret, told)
    prefect_that_is_not_there(guarded)
    the_story_behind_passwords_leaves_none_of_them(guarded)

"""Servers that ask for passwords: `equipoise up` starts them so, our adapters and flows pass with the right ones, and no password is left behind."""

import base64
import os
import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest

from tasks.core.errors import AccessError, UnavailableError
from tasks.io.home import PROJECT, QUIET, Home
from tasks.io.registry import Registry
from tasks.io.runs import Runs
from tasks.io.servers import Ports, Services
from tests.conftest import documented_files, loans

MLFLOW, PREFECT, PLACE = "canary-mlflow-9b1", "canary-prefect-4f7", "canary-place-2c8"
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """Prefect and MLflow behind passwords, as the environment asks, with a worker and the deployments; a project whose source is in a variable."""
    project = tmp_path_factory.mktemp("guarded")
    catalogue, case = documented_files()
    (project / "catalog").mkdir()
    (project / "configs").mkdir()
    (project / "catalog/loans.yaml").write_text(catalogue.replace("path: loans.csv", 'path: "${LOANS_PLACE}"'), encoding="utf-8")
    (project / "configs/loans.yaml").write_text(case, encoding="utf-8")
    loans().to_csv(project / f"{PLACE}.csv", index=False)
    home = Home(root=project / "home", project=project)
    with socket.socket() as a, socket.socket() as b, socket.socket() as c:
        for one in (a, b, c):
            one.bind(("127.0.0.1", 0))
        ports = Ports(*(one.getsockname()[1] for one in (a, b, c)))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("EQUIPOISE_MLFLOW_URI", "PREFECT_API_URL", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_AUTH_CONFIG_PATH"):
            patch.delenv(name, raising=False)
        patch.setenv("MLFLOW_AUTH_ADMIN_PASSWORD", MLFLOW)
        patch.setenv("PREFECT_SERVER_API_AUTH_STRING", f"me:{PREFECT}")
        patch.delenv("LOANS_PLACE", raising=False)
        with Services(home, ports) as services:
            services.start()
            yield SimpleNamespace(home=home, mlflow=services.addresses["mlflow"], prefect=services.environment["PREFECT_API_URL"])


def run(guarded, *command, module="-m", **settings):
    """A command in a process of its own, with nothing of ours in its environment but these settings."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    places = {"EQUIPOISE_HOME": str(guarded.home.root), "EQUIPOISE_PROJECT": str(guarded.home.project), "PREFECT_API_URL": guarded.prefect, "COLUMNS": "200"}
    return subprocess.run([sys.executable, module, *command], cwd=PROJECT, env=bare | QUIET | places | settings, capture_output=True, text=True, timeout=400)


def as_user(patch, user, password):
    for name, value in (("MLFLOW_TRACKING_USERNAME", user), ("MLFLOW_TRACKING_PASSWORD", password)):
        patch.delenv(name, raising=False) if value is None else patch.setenv(name, value)


def test_mlflow_with_the_right_password(guarded, monkeypatch):
    """Runs and the registry work behind MLflow's basic auth with the user and password of the environment."""
    as_user(monkeypatch, "admin", MLFLOW)
    runs, registry = (kind(guarded.mlflow, guarded.home.artifacts) for kind in (Runs, Registry))
    parent = runs.start_parent("right", params={"seed": 7})
    runs.finish(parent)
    number = registry.register("right", run_id=parent, model_bytes=b"model", inputs={"a": "numeric"}, task="binary", description="# Card")
    registry.set_alias("right", "production", number)
    assert registry.versions("right")[0].aliases == ("production",)


@pytest.mark.parametrize(
    ("user", "password", "told"),
    [
        (None, None, "MLflow asks for a user and a password."),
        ("admin", "canary-wrong-1", "MLflow does not take the password of admin."),
        ("nobody", "canary-wrong-1", "MLflow does not take the password of nobody."),
    ],
)
def test_mlflow_with_a_wrong_password(guarded, monkeypatch, user, password, told):
    """The refusal names the server and what to set, within seconds, and repeats no password."""
    as_user(monkeypatch, user, password)
    for use in (lambda: Registry(guarded.mlflow, guarded.home.artifacts).versions("x"), lambda: Runs(guarded.mlflow, guarded.home.artifacts).start_parent("x")):
        with pytest.raises(AccessError) as refused:
            use()
        assert str(refused.value) == f"{guarded.mlflow}: {told} Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD."
        assert refused.value.__cause__ is None


def test_mlflow_without_the_permission(guarded, monkeypatch):
    """Somebody who may only read is told so when they would write."""
    import requests

    as_user(monkeypatch, "admin", MLFLOW)
    registry = Registry(guarded.mlflow, guarded.home.artifacts)
    run_id = Runs(guarded.mlflow, guarded.home.artifacts).start_parent("read-only")
    registry.register("read-only", run_id=run_id, model_bytes=b"model", inputs={"a": "numeric"}, task="binary", description="# Card")
    reader = {"username": "reader", "password": "canary-reader-12"}
    assert requests.post(f"{guarded.mlflow}/api/2.0/mlflow/users/create", json=reader, auth=("admin", MLFLOW), timeout=30).ok
    as_user(monkeypatch, "reader", "canary-reader-12")
    theirs = Registry(guarded.mlflow, guarded.home.artifacts)
    assert [version.version for version in theirs.versions("read-only")] == [1]
    with pytest.raises(AccessError, match="MLflow does not let reader do this"):
        theirs.set_tags("read-only", 1, {"review.verdict": "approve"})


def test_a_password_in_the_address_is_not_shown(monkeypatch, tmp_path):
    """An address with a user and a password is named without them, whatever is wrong with it."""
    as_user(monkeypatch, None, None)
    address = "http://me:canary-address-3@127.0.0.1:9"
    with pytest.raises(UnavailableError) as gone:
        Registry(address, tmp_path).versions("x")
    assert "canary" not in str(gone.value)
    monkeypatch.setenv("EQUIPOISE_MLFLOW_URI", address)
    assert Services(Home(root=tmp_path), Ports()).addresses["mlflow"] == "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("secret", "told"),
    [(None, "Prefect asks for a user and a password."), ("me:canary-wrong-2", "Prefect does not take what PREFECT_API_AUTH_STRING says.")],
)
def test_prefect_with_a_wrong_password(guarded, secret, told):
    """A command ends before any work with exit code 2, names the server and what to set, and repeats no password."""
    result = run(guarded, "flows.cli", "snapshot", "loans", **({"PREFECT_API_AUTH_STRING": secret} if secret else {}))
    assert result.returncode == 2, result.stdout + result.stderr
    assert f"{guarded.prefect}: {told} Set PREFECT_API_AUTH_STRING to USER:PASSWORD" in result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    assert "canary" not in result.stdout + result.stderr


def test_prefect_that_is_not_there(guarded):
    """A server that is gone is named at once."""
    result = run(guarded, "flows.cli", "snapshot", "loans", PREFECT_API_URL="http://127.0.0.1:9/api")
    assert result.returncode == 2, result.stdout + result.stderr
    assert "http://127.0.0.1:9/api: Prefect cannot be reached" in result.stderr


def test_the_story_behind_passwords_leaves_none_of_them(guarded):
    """A deployment, whose source is named in a Prefect block, and a training pass with the right secrets; no log, artifact, page or
    database below the home has any of them.
    """
    right = {
        "PREFECT_API_AUTH_STRING": f"me:{PREFECT}",
        "EQUIPOISE_MLFLOW_URI": guarded.mlflow,
        "MLFLOW_TRACKING_USERNAME": "admin",
        "MLFLOW_TRACKING_PASSWORD": MLFLOW,
    }
    saved = run(guarded, f"from prefect.blocks.system import Secret; Secret(value='{PLACE}.csv').save('loans-place')", module="-c", **right)
    assert saved.returncode == 0, saved.stderr
    from_block = 'env={"LOANS_PLACE": "{{ prefect.blocks.secret.loans-place }}"}'
    command = ("deployment", "run", "snapshot/boston", "--param", "case=loans", "--job-variable", from_block, "--watch")
    taken = run(guarded, "prefect", *command, **right)
    log = (guarded.home.root / "logs/worker.log").read_text()
    assert taken.returncode == 0, taken.stdout + taken.stderr + log
    assert (guarded.home.store / "manifests").exists(), log
    trained = run(guarded, "flows.cli", "train", "loans", **right)
    assert trained.returncode == 0, trained.stdout + trained.stderr
    said = taken.stdout + taken.stderr + trained.stdout + trained.stderr
    secrets = [MLFLOW, PREFECT, PLACE, *(base64.b64encode(pair.encode()).decode() for pair in (f"me:{PREFECT}", f"admin:{MLFLOW}"))]
    assert [secret for secret in secrets if secret in said] == []
    files = [path for path in guarded.home.root.rglob("*") if path.is_file()]
    assert {"prefect.db", "mlflow.db", "mlflow-auth.db", "worker.log", "mlflow.log", "prefect.log", "ledger.db"} <= {path.name for path in files}
    leaked = [(path.relative_to(guarded.home.root), secret) for path in files for secret in secrets if secret.encode() in path.read_bytes()]
    assert leaked == []

"""docker/: the containers start what `equipoise up` starts, with its settings, and publish nothing beyond this machine. No container is needed."""

import importlib.util
import re
import subprocess
import sys
import threading
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import yaml

from tasks.io.home import DEFAULTS, PROJECT, QUIET, Home
from tasks.io.servers import POOL, Ports, Services

FOLDER = PROJECT / "docker"
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
DOCKERFILE = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
SERVERS = ("prefect", "mlflow", "evidently")
STATE = "/data"


def filled(value):
    """Text with each variable of compose.yaml at its default; one that must be set is `secret`."""
    if isinstance(value, list):
        return [filled(one) for one in value]
    if isinstance(value, dict):
        return {name: filled(one) for name, one in value.items()}
    return re.sub(r"\$\{\w+(?::([-?])([^}]*))?\}", lambda found: found[2] if found[1] == "-" else "secret", value) if isinstance(value, str) else value


def instructions(name):
    """The arguments of every such instruction of the Dockerfile, continued lines put together."""
    return [line.removeprefix(name).strip() for line in DOCKERFILE.replace("\\\n", " ").splitlines() if line.startswith(f"{name} ")]


def image_environment():
    """The variables that the finished image sets."""
    last = DOCKERFILE.replace("\\\n", " ").rpartition("\nFROM ")[2]
    pairs = [pair for line in last.splitlines() if line.startswith("ENV ") for pair in line.removeprefix("ENV ").split()]
    return {name: value.strip('"') for name, _, value in (pair.partition("=") for pair in pairs)}


def options(command):
    """A command's words, each option with its value."""
    found, words = {}, list(command)
    while words:
        word = words.pop(0)
        found[word] = words.pop(0) if word.startswith("--") and words and not words[0].startswith("--") else None
    return found


def mounts(name):
    """What a service finds at each path: a named volume or a folder."""
    return {path: source for source, path, *_ in (filled(volume).split(":") for volume in SERVICES[name].get("volumes", []))}


@pytest.fixture
def services(monkeypatch):
    """What `equipoise up` would start in the containers' place."""
    for name in ("EQUIPOISE_MLFLOW_URI", "PREFECT_SERVER_API_AUTH_STRING", "MLFLOW_AUTH_ADMIN_PASSWORD", "MLFLOW_AUTH_CONFIG_PATH"):
        monkeypatch.delenv(name, raising=False)
    return Services(Home(root=PROJECT / "nowhere"), Ports())


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_is_started_as_equipoise_up_starts_it(services, name):
    """The same command, options and settings, but for the address it binds in its container, the folder, and the names it is reached by."""
    command, settings = getattr(services, f"_{name}")()
    ours, theirs = options(filled(SERVICES[name]["command"])), options(["python", "-m", *command])
    assert ours.keys() == theirs.keys()
    for option, value in theirs.items():
        wanted = "0.0.0.0" if option == "--host" else value.replace(str(services.home.root), STATE) if value else value  # noqa: S104 (in a container)
        if option == "--allowed-hosts":
            assert set(wanted.split(",")) <= set(ours[option].split(",")) <= {*wanted.split(","), "mlflow:5000"}
        else:
            assert ours[option] == wanted, option
    environment = image_environment() | filled(SERVICES[name]["environment"])
    elsewhere = {"PREFECT_API_URL", "MLFLOW_BACKEND_STORE_URI"}  # a server asks itself; state is in PostgreSQL
    assert {variable: environment.get(variable) for variable in settings.keys() - elsewhere} == {
        variable: value for variable, value in settings.items() if variable not in elsewhere
    }


def test_the_worker_and_the_deployments_are_those_of_equipoise_up():
    """The pool of prefect.yaml, and its deployments registered once the worker has made the pool."""
    worker = filled(SERVICES["worker"]["command"])
    assert worker == ["python", "-m", "prefect", "worker", "start", "--pool", POOL, "--type", "process", "--name", POOL, "--with-healthcheck"]
    assert SERVICES["deployments"]["command"] == ["python", "-m", "prefect", "--no-prompt", "deploy", "--all"]
    assert SERVICES["deployments"]["depends_on"] == {"worker": {"condition": "service_healthy"}}
    assert SERVICES["deployments"]["restart"] == "on-failure"
    for name in ("worker", "deployments", "equipoise"):
        environment = filled(SERVICES[name]["environment"])
        assert environment["PREFECT_API_URL"] == "http://prefect:4200/api"
        assert environment["EQUIPOISE_MLFLOW_URI"] == "http://mlflow:5000"


def test_nothing_is_published_beyond_this_machine():
    """Every published port is on 127.0.0.1, those of `equipoise up`, moved by the same variables; PostgreSQL has none."""
    published = {name: service.get("ports", []) for name, service in SERVICES.items()}
    assert {name: filled(ports) for name, ports in published.items() if ports} == {name: [f"127.0.0.1:{port}:{port}"] for name, port in asdict(Ports()).items()}
    for name in SERVERS:
        assert f"${{EQUIPOISE_{name.upper()}_PORT:-" in published[name][0]
    assert not any("network_mode" in service or service.get("privileged") for service in SERVICES.values())


def test_no_telemetry_and_no_secret_is_in_the_files():
    """The image has every quiet setting of the house; a password comes from the environment, and there is none to fall back on."""
    environment = image_environment()
    assert {name: environment.get(name) for name in QUIET | DEFAULTS} == QUIET | DEFAULTS
    assert environment["EQUIPOISE_HOME"] == STATE
    text = (FOLDER / "compose.yaml").read_text(encoding="utf-8")
    for line in text.splitlines():
        if "PASSWORD" in line and not line.lstrip().startswith("#"):
            assert "${EQUIPOISE_DB_PASSWORD:?" in line
        assert not re.search(r"AUTH_STRING: *\S", line)  # passed on if it is set; an empty one would be a password
        assert not re.search(r"://[^/\s@]*:[^/\s@]*@", line)


def test_services_wait_for_what_they_need_and_come_back():
    """What is waited for has a health check, runs for good and restarts; state is in named volumes."""
    for name, service in SERVICES.items():
        for needed, how in service.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"}, name
            checked = SERVICES[needed].get("healthcheck") or SERVICES[needed]["environment"].get("HEALTH_URL")
            assert checked, f"{needed} says nothing of its health"
            assert SERVICES[needed]["restart"] == "unless-stopped"
        for volume in service.get("volumes", []):
            source = filled(volume).split(":")[0]
            assert source in COMPOSE["volumes"] or (FOLDER / source).exists(), volume
    databases = set(re.findall(r"CREATE DATABASE (\w+);", (FOLDER / "databases.sql").read_text(encoding="utf-8")))
    named = set(re.findall(r"@postgres:5432/(\w+)", (FOLDER / "compose.yaml").read_text(encoding="utf-8")))
    assert databases == named == {"ledger", "mlflow", "prefect"}


def test_files_are_where_others_look_for_them():
    """MLflow's artifacts are in one volume at the path that runs say of them, for whoever writes, reads or serves them; Evidently's folder too; the
    leases of Prefect's server outlive its container. The image has a folder for every volume, or Docker would make it root's.
    """
    of_flows = {name for name in SERVICES if mounts(name).get(STATE) == "state"}
    assert of_flows == {name for name in SERVICES if "/project" in mounts(name)} == {"worker", "equipoise"}
    for volume, server in (("artifacts", "mlflow"), ("evidently", "evidently")):
        used = {name: path for name in SERVICES for path, source in mounts(name).items() if source == volume}
        assert used == dict.fromkeys({*of_flows, server}, f"{STATE}/{volume}")
    assert mounts("prefect") == {image_environment()["PREFECT_HOME"]: "prefect"}
    made = {path for folders in re.findall(r"install -d -o equipoise -g equipoise -m \d+ ([^&]+)", DOCKERFILE) for path in folders.split()}
    assert {path for name in SERVICES for path, source in mounts(name).items() if source in COMPOSE["volumes"] and name != "postgres"} <= made


def test_the_image_is_made_of_what_is_there():
    """Every file that is copied exists and is sent to the builder; all is installed by its hash; what goes out again is for working on it only."""
    sent = {line[1:] for line in (FOLDER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines() if line.startswith("!")}
    for copied in instructions("COPY"):
        if not copied.startswith("--from"):
            for source in copied.split()[:-1]:
                assert (PROJECT / source).exists(), source
                assert source in sent, source
    installs = [step for step in re.split(r"&&|\n", DOCKERFILE.replace("\\\n", " ")) if "pip install" in step]
    assert len(installs) == 3
    assert all("--require-hashes" in step or "--editable ." in step for step in installs)
    project = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
    for_work = set(re.findall(r'^    "([A-Za-z0-9_-]+)', project[project.index("\ndev = [") : project.index("[project.scripts]")], re.MULTILINE)) - {
        "equipoise"
    }
    gone = set(re.search(r"pip uninstall --quiet --python \S+ (.*)", DOCKERFILE.replace("\\\n", " "))[1].split())
    assert gone - {"pip"} == for_work - {"websockets"}  # Prefect needs these
    assert instructions("USER") == ["equipoise"]
    assert instructions("FROM") == ["python:3.11-slim AS build", "python:3.11-slim"]


class Answer(BaseHTTPRequestHandler):
    """/yes is well, anything else is not."""

    def do_GET(self):
        self.send_response(200 if self.path == "/yes" else 503)
        self.end_headers()

    def log_message(self, *_):
        """Keeps quiet."""


def test_health_is_what_the_server_says():
    """200 is healthy; another answer, none, or no address at all is not; a container without a server is."""
    spec = importlib.util.spec_from_file_location("healthy", FOLDER / "healthy.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}"
        assert [module.healthy(f"{address}/yes"), module.healthy(f"{address}/no"), module.healthy("nonsense"), module.healthy(None)] == [
            True,
            False,
            False,
            True,
        ]
        server.shutdown()
        thread.join()
    assert not module.healthy(f"{address}/yes")
    done = subprocess.run([sys.executable, FOLDER / "healthy.py"], env={"HEALTH_URL": f"{address}/yes"}, check=False)
    assert done.returncode == 1

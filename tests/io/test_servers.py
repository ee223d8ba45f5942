"""The supervisor of the servers: real servers once, small stand-ins for the ways in which they end."""

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request

import psutil
import pytest

from tasks.core.errors import CaseError, IntegrityError, UnavailableError
from tasks.io import processes, servers
from tasks.io.home import PROJECT, Home
from tasks.io.servers import Ports, Services


def free_ports():
    with socket.socket() as a, socket.socket() as b, socket.socket() as c:
        for one in (a, b, c):
            one.bind(("127.0.0.1", 0))
        return Ports(*(one.getsockname()[1] for one in (a, b, c)))


def family(services):
    """Every process that the supervisor started, and all of theirs."""
    leaders = [psutil.Process(child.process.pid) for child in services._children]
    return leaders + [process for leader in leaders for process in leader.children(recursive=True)]


def gone(found):
    _, left = psutil.wait_procs(found, timeout=5)
    return [process for process in left if process.status() != psutil.STATUS_ZOMBIE] == []


def ask(url, data=None, **headers):
    """The status and headers of the answer to a request over HTTP."""
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, data=data, headers=headers), timeout=30)  # noqa: S310 (http to the loopback)
    except urllib.error.HTTPError as error:
        return error.code, error.headers
    return answer.status, answer.headers


def killed(services, name):
    """Kill -9 a server and all that it started. The supervisor no longer watches it."""
    (child,) = [child for child in services._children if child.name == name]
    os.killpg(child.process.pid, signal.SIGKILL)
    child.process.wait(30)
    services._children.remove(child)


def slots_outlive_prefect(services):
    """Prefect's server is killed while two runs hold a slot and comes back in the same home: the one run goes on, and keeps its slot; the
    other has ended meanwhile, and its slot becomes free when its lease is over. Its last minute is written as long ago in the lease's files:
    Prefect gives none for less than a minute.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
    from prefect.settings import PREFECT_API_URL, temporary_settings

    leases = services.home.prefect / "concurrency_leases"
    with temporary_settings({PREFECT_API_URL: services.environment["PREFECT_API_URL"]}), get_client(sync_client=True) as client:

        def take(name):
            client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=1))
            return client.increment_concurrency_slots_with_lease([name], 1, "concurrency", 60).json()["lease_id"]

        def taken(name):
            return client.read_global_concurrency_limit_by_name(name).active_slots

        goes_on, ended = take("goes on"), take("ended")
        assert [taken("goes on"), taken("ended")] == [1, 1]
        killed(services, "prefect")
        over = json.loads((leases / f"{ended}.json").read_text())["expiration"]
        for file in (leases / f"{ended}.json", leases / "expirations.json"):
            file.write_text(file.read_text().replace(over, "2024-01-01T00:00:00+00:00"))
        services._spawn("prefect", *services._prefect())
        services._until(lambda: servers._answers(f"{services.addresses['prefect']}/api/health"), "prefect")

        assert client.renew_concurrency_lease(goes_on, 60).status_code == 204
        deadline = time.monotonic() + 60
        while taken("ended") and time.monotonic() < deadline:
            time.sleep(0.1)
        assert [taken("goes on"), taken("ended")] == [1, 0]
        assert [file.stem for file in leases.glob("*-*.json")] == [goes_on]


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in ("EQUIPOISE_MLFLOW_URI", "PREFECT_API_URL", "PREFECT_SERVER_API_AUTH_STRING"):
        monkeypatch.delenv(name, raising=False)
    return Home(root=tmp_path)


@pytest.mark.timeout(600)
def test_the_three_servers_start_answer_and_stop(home):
    """They listen on the loopback only, refuse foreign hosts, origins and forged requests, keep their state in the home, and leave no process.
    What Prefect's server knows of who holds a slot outlives it, also when the lock of a server before names a process that there is.
    """
    lock = home.prefect / "concurrency_leases" / "expirations.lock"
    lock.parent.mkdir(parents=True)
    lock.write_text(str(os.getpid()))
    said = []
    with Services(home, free_ports(), deployments=False) as services:
        addresses = services.start(said.append)
        found = family(services)
        for name in ("prefect", "mlflow", "evidently"):
            assert ask(addresses[name])[0] == 200
            assert any(line.startswith(f"{name} answers at {addresses[name]}") for line in said)
        listening = {socket.laddr for process in found for socket in process.net_connections("inet") if socket.status == psutil.CONN_LISTEN}
        assert {address.port for address in listening} >= {services.ports.prefect, services.ports.mlflow, services.ports.evidently}
        assert {address.ip for address in listening} == {"127.0.0.1"}

        assert ask(addresses["mlflow"], Host="192.168.evil.com")[0] == 403
        _, headers = ask(f"{addresses['prefect']}/api/health", Origin="http://evil.example")
        assert headers["Access-Control-Allow-Origin"] not in ("*", "http://evil.example")
        assert ask(f"{addresses['prefect']}/api/flows/", b"{}", **{"Content-Type": "application/json"})[0] == 403  # no CSRF token

        telemetry = urllib.request.urlopen(f"{addresses['mlflow']}/ajax-api/3.0/mlflow/ui-telemetry", timeout=30)  # noqa: S310
        assert json.load(telemetry)["disable_ui_telemetry"] is True

        assert (home.prefect / "prefect.db").exists()
        assert (home.root / "mlflow.db").exists()
        services.check()

        slots_outlive_prefect(services)
        found += family(services)

        (evidently,) = [child for child in services._children if child.name == "evidently"]
        os.kill(evidently.process.pid, signal.SIGKILL)
        with pytest.raises(UnavailableError, match=r"evidently\.log: evidently ended by signal SIGKILL"):
            services.wait()
    assert gone(found)


def test_a_port_that_is_taken_is_named(home):
    """The error names the port, the server that needs it, and the way out; nothing was started."""
    ports = free_ports()
    with socket.socket() as taken, Services(home, ports) as services:
        taken.bind(("127.0.0.1", ports.mlflow))
        taken.listen()
        with pytest.raises(UnavailableError, match=rf"port {ports.mlflow}, which mlflow needs.*EQUIPOISE_MLFLOW_PORT"):
            services.start()
        assert services._children == []
    assert not (home.root / "logs").exists()


def test_ports_are_moved_by_the_environment(monkeypatch):
    """EQUIPOISE_<SERVER>_PORT moves one server; anything that is not a port is refused by name."""
    monkeypatch.setenv("EQUIPOISE_MLFLOW_PORT", "5001")
    assert Ports.from_environment() == Ports(mlflow=5001)
    monkeypatch.setenv("EQUIPOISE_MLFLOW_PORT", "70000")
    with pytest.raises(CaseError, match="EQUIPOISE_MLFLOW_PORT"):
        Ports.from_environment()


def test_a_server_that_cannot_start_is_reported_with_its_log(home, monkeypatch):
    """The error names the server, its exit code and its last words; the others are stopped."""
    monkeypatch.setattr(Services, "_prefect", lambda self: (["http.server", "0", "--bind", "127.0.0.1"], {}))
    monkeypatch.setattr(Services, "_evidently", lambda self: (["http.server", "0", "--bind", "127.0.0.1"], {}))
    monkeypatch.setattr(Services, "_mlflow", lambda self: (["no_such_module"], {}))
    services = Services(home, free_ports(), deployments=False)
    with pytest.raises(UnavailableError, match=r"mlflow\.log: mlflow ended with exit code 1.*No module named no_such_module"):
        services.start()
    assert services._children == []


def test_a_damaged_workspace_is_named_before_anything_starts(home):
    """A truncated Evidently file would hide its project, so it stops the start."""
    damaged = home.evidently / "344344de-50b6-5a35-89ae-5bc0f34b59bf" / "metadata.json"
    damaged.parent.mkdir(parents=True)
    damaged.write_text('{"id": ')
    with Services(home, free_ports()) as services, pytest.raises(IntegrityError, match=r"metadata\.json"):
        services.start()


def test_an_mlflow_server_elsewhere_is_used_as_it_is(home, monkeypatch):
    """With EQUIPOISE_MLFLOW_URI at a server, its address is given and no second one is started."""
    monkeypatch.setenv("EQUIPOISE_MLFLOW_URI", "https://mlflow.example:5443")
    assert Services(home, Ports()).addresses == {
        "prefect": "http://127.0.0.1:4200",
        "mlflow": "https://mlflow.example:5443",
        "evidently": "http://127.0.0.1:8000",
    }


def test_clients_get_the_password_that_the_server_was_given(home, monkeypatch):
    """The worker authenticates itself when the Prefect server asks for it."""
    assert Services(home, Ports()).environment == {"PREFECT_API_URL": "http://127.0.0.1:4200/api"}
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", "me:secret")
    assert Services(home, Ports()).environment["PREFECT_API_AUTH_STRING"] == "me:secret"


def test_a_child_that_will_not_end_is_killed_with_its_children(tmp_path, monkeypatch):
    """A process that ignores the request to end, and a grandchild that left its group, are killed."""
    monkeypatch.setattr(processes, "GRACE", 0.5)
    stubborn = """
        import signal, subprocess, sys, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
        print("ready", flush=True)
        time.sleep(60)
    """
    log = tmp_path / "stubborn.log"
    child = processes.spawn("stubborn", [sys.executable, "-c", textwrap.dedent(stubborn)], log, tmp_path, os.environ)
    while "ready" not in log.read_text():
        time.sleep(0.05)
    found = [psutil.Process(child.process.pid), *psutil.Process(child.process.pid).children(recursive=True)]
    assert len(found) == 2
    processes.end([child])
    assert gone(found)


def test_the_log_before_is_kept(tmp_path):
    """Starting again keeps the last log beside the new one."""
    for word in ("first", "second"):
        child = processes.spawn("echo", ["echo", word], tmp_path / "echo.log", tmp_path, os.environ)
        child.process.wait(30)
    assert (tmp_path / "echo.log").read_text() == "second\n"
    assert (tmp_path / "echo.log.1").read_text() == "first\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_everything(tmp_path, number):
    """Ctrl-C, SIGTERM and a closed terminal end the supervisor with exit code 0 and no process left."""
    script = f"""
        from pathlib import Path
        from tasks.io.home import Home
        from tasks.io.servers import Ports, Services, serve

        pages = Path({str(tmp_path)!r}) / "pages"
        for health in ("api/health", "health", "api/version"):
            (pages / health).parent.mkdir(parents=True, exist_ok=True)
            (pages / health).write_text("ok")

        def stand_in(name):
            return lambda self: (["http.server", str(getattr(self.ports, name)), "--bind", "127.0.0.1", "--directory", str(pages)], {{}})

        for name in ("prefect", "mlflow", "evidently"):
            setattr(Services, f"_{{name}}", stand_in(name))
        start = Services._start
        Services._start = lambda self, progress: (setattr(self, "deployments", False), start(self, progress))
        serve(Home(root=Path({str(tmp_path)!r})), {free_ports()!r}, progress=print, ready=lambda services: print("ready", flush=True))
        print("done", flush=True)
    """
    environment = {name: value for name, value in os.environ.items() if name != "EQUIPOISE_MLFLOW_URI"}
    command = [sys.executable, "-c", textwrap.dedent(script)]
    with subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True) as supervisor:
        for line in supervisor.stdout:
            if line.strip() == "ready":
                break
        found = psutil.Process(supervisor.pid).children(recursive=True)
        assert len(found) == 3
        supervisor.send_signal(number)
        assert supervisor.stdout.read().endswith("done\n")
        assert supervisor.wait(30) == 0
    assert gone(found)

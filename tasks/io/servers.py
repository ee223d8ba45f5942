"""The three servers and the worker, as child processes of one supervisor.

    prefect    runs, schedules, events     state in <home>/prefect/
    mlflow     models and their runs       the database and artifacts of the home
    evidently  drift over time             <home>/evidently/
    worker     runs the deployments of prefect.yaml against that Prefect server

All bind the loopback only. Each writes <home>/logs/<name>.log. They start together and stop together: when one dies the
others are stopped and the error names it. Child processes lead process groups of their own, so that a Ctrl-C reaches the
supervisor alone and it can stop them in order, worker first.
"""

import base64
import contextlib
import importlib.util
import os
import secrets
import signal
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from types import FrameType

from tasks.core.errors import CaseError, UnavailableError
from tasks.io import processes
from tasks.io.addresses import without_user
from tasks.io.home import DEFAULTS, PROJECT, QUIET, Home
from tasks.io.workspace import Workspace

HOST = "127.0.0.1"
POOL = "equipoise"
LEASES = "prefect.server.concurrency.lease_storage.filesystem"
"""Where Prefect's server keeps who holds a deployment's slot: files in its home. In memory, its default, a restart forgets the holder while the
slot stays taken in the database: for ever, or until the run is cancelled at its next renewal."""
PATIENCE = 300.0
"""Seconds until a server must answer. Two free cores need about 20, two very busy ones 100."""

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Ports:
    """Where each server listens on the loopback. Each can be moved: EQUIPOISE_PREFECT_PORT and so on."""

    prefect: int = 4200
    mlflow: int = 5000
    evidently: int = 8000

    @classmethod
    def from_environment(cls) -> "Ports":
        """The usual ports, but for those the environment moves."""
        moved = {}
        for field in fields(cls):
            if text := os.environ.get(f"EQUIPOISE_{field.name.upper()}_PORT"):
                if not (text.isdecimal() and 0 < int(text) < 65536):
                    raise CaseError(f"{text!r} is not a port.", where=f"EQUIPOISE_{field.name.upper()}_PORT", fix="Give a number from 1 to 65535.")
                moved[field.name] = int(text)
        return cls(**moved)


class Services:
    """Starts, watches and stops the servers. Use as a context manager: leaving it stops them, whatever happened.

    deployments: run the deployments of prefect.yaml as well.
    """

    def __init__(self, home: Home, ports: Ports | None = None, *, deployments: bool = True) -> None:
        self.home, self.ports, self.deployments = home, ports or Ports.from_environment(), deployments
        self._children: list[processes.Child] = []
        self._asked_to_stop = threading.Event()

    def __enter__(self) -> "Services":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def addresses(self) -> dict[str, str]:
        """Each server's name and address. An MLflow server that EQUIPOISE_MLFLOW_URI names is used as it is."""
        ours = {name: f"http://{HOST}:{getattr(self.ports, name)}" for name in ("prefect", "mlflow", "evidently")}
        return ours | ({"mlflow": without_user(self.home.mlflow_url)} if self._external_mlflow else {})

    @property
    def environment(self) -> dict[str, str]:
        """What a client of these servers needs in its environment."""
        settings = {"PREFECT_API_URL": f"{self.addresses['prefect']}/api"}
        secret = os.environ.get("PREFECT_SERVER_API_AUTH_STRING")
        return settings | ({"PREFECT_API_AUTH_STRING": secret} if secret else {})

    def start(self, progress: Progress = lambda _: None) -> dict[str, str]:
        """Start everything and wait until it answers. Returns the addresses.

        Raises UnavailableError for a port that is taken, a server that ends or does not answer; IntegrityError for a damaged
        Evidently workspace. What had started is stopped first.
        """
        try:
            self._start(progress)
        except BaseException:
            self.stop()
            raise
        return self.addresses

    def wait(self) -> None:
        """Return when asked to stop. Raises UnavailableError as soon as a child has ended by itself."""
        while not self._asked_to_stop.wait(0.3):
            self.check()

    def ask_to_stop(self) -> None:
        """End `wait`, or a `start` under way. Safe to call from a signal handler or another thread."""
        self._asked_to_stop.set()

    def check(self) -> None:
        """Raise UnavailableError when a child has ended, naming it and its log."""
        for child in self._children:
            if (code := child.process.poll()) is not None:
                how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
                said = f"{child.name} ended {how}. Its last words: {processes.last_words(child.log)}."
                raise UnavailableError(said, where=str(child.log), fix="Mend that and start again.")

    def stop(self, progress: Progress = lambda _: None) -> None:
        """Stop the worker, then the servers. Each group is asked to end, waited for, and then killed. Nothing is left behind."""
        ordered = [[child for child in self._children if child.name == "worker"], [child for child in self._children if child.name != "worker"]]
        for children in ordered:
            if children:
                progress(f"stopping {', '.join(child.name for child in children)}")
                processes.end(children)
        self._children.clear()

    @property
    def _external_mlflow(self) -> bool:
        return self.home.mlflow_url.startswith(("http://", "https://"))

    def _start(self, progress: Progress) -> None:
        names = [name for name in ("prefect", "mlflow", "evidently") if name != "mlflow" or not self._external_mlflow]
        for name in names:
            _refuse_taken(name, getattr(self.ports, name))
        for folder in (self.home.root / "logs", self.home.artifacts, self.home.evidently, self.home.prefect):
            with processes.writable(folder):
                folder.mkdir(parents=True, exist_ok=True)
        # The lock names a process by its number. After a restart of the machine another may have that number, and Prefect would wait for it for ever.
        (self.home.prefect / "concurrency_leases" / "expirations.lock").unlink(missing_ok=True)
        Workspace(self.home.evidently).check()
        commands = {"prefect": self._prefect, "mlflow": self._mlflow, "evidently": self._evidently}
        health = {"prefect": "/api/health", "mlflow": "/health", "evidently": "/api/version"}
        for name in names:
            self._spawn(name, *commands[name]())
        for name in names:
            self._until(lambda url=self.addresses[name] + health[name]: _answers(url), name)  # type: ignore[misc]
            progress(f"{name} answers at {self.addresses[name]}")
            if name == "prefect" and self.deployments:
                self._spawn("worker", *self._worker())
        if self.deployments:
            self._deploy()
            progress("deployments are registered and the worker is ready")

    def _prefect(self) -> tuple[list[str], dict[str, str]]:
        address = self.addresses["prefect"]
        settings = {
            "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"{address},http://localhost:{self.ports.prefect}",
            "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
            "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": LEASES,
        }
        return ["prefect", "server", "start", "--host", HOST, "--port", str(self.ports.prefect)], settings | self.environment

    def _worker(self) -> tuple[list[str], dict[str, str]]:
        return ["prefect", "worker", "start", "--pool", POOL, "--type", "process", "--name", POOL], self.environment

    def _mlflow(self) -> tuple[list[str], dict[str, str]]:
        port = self.ports.mlflow
        command = ["mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
        command += ["--artifacts-destination", str(self.home.artifacts), "--allowed-hosts", f"{HOST}:{port},localhost:{port}"]
        command += ["--cors-allowed-origins", f"http://{HOST}:{port},http://localhost:{port}"]
        # Background jobs (LLM judges) would start processes of their own, and nothing here uses them. A database's address may hold a
        # password, and everybody sees the arguments of a process.
        settings = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_BACKEND_STORE_URI": self.home.mlflow_url}
        if os.environ.get("MLFLOW_AUTH_ADMIN_PASSWORD") or os.environ.get("MLFLOW_AUTH_CONFIG_PATH"):
            command += ["--app-name", "basic-auth"]
            settings |= self._mlflow_users()
        return command, settings

    def _mlflow_users(self) -> dict[str, str]:
        """What MLflow needs to ask for passwords: where its users are, and a key for its forms that lives as long as the server."""
        settings = {"MLFLOW_FLASK_SERVER_SECRET_KEY": os.environ.get("MLFLOW_FLASK_SERVER_SECRET_KEY") or secrets.token_hex(32)}
        if os.environ.get("MLFLOW_AUTH_CONFIG_PATH"):
            return settings
        if importlib.util.find_spec("flask_wtf") is None:
            raise UnavailableError("MLflow needs Flask-WTF to ask for passwords.", where="MLFLOW_AUTH_ADMIN_PASSWORD", fix="Install equipoise[auth].")
        config = self.home.root / "mlflow-auth.ini"
        lines = ("[mlflow]", "default_permission = READ", f"database_uri = sqlite:///{self.home.root / 'mlflow-auth.db'}", "admin_username = admin")
        with processes.writable(config):
            config.write_text("\n".join(lines).replace("%", "%%") + "\n", encoding="utf-8")
        return settings | {"MLFLOW_AUTH_CONFIG_PATH": str(config)}

    def _evidently(self) -> tuple[list[str], dict[str, str]]:
        return ["evidently.cli", "ui", "--host", HOST, "--port", str(self.ports.evidently), "--workspace", str(self.home.evidently)], {}

    def _deploy(self) -> None:
        """Register the deployments. The worker makes the work pool when it starts, so wait for that first."""
        pool = f"{self.environment['PREFECT_API_URL']}/work_pools/{POOL}"
        self._until(lambda: _answers(pool), "worker")
        # Without a prompt it fails where it would have asked.
        child = self._spawn("deploy", ["prefect", "--no-prompt", "deploy", "--all"], self.environment)
        self._children.remove(child)
        try:
            self._until(lambda: child.process.poll() is not None, "deploy")
        finally:
            processes.end([child])
        if child.process.returncode:
            said = f"the deployments could not be registered: {processes.last_words(child.log)}"
            raise UnavailableError(said, where=str(child.log), fix="Mend prefect.yaml or the flow it names.")

    def _spawn(self, name: str, module: Sequence[str], settings: Mapping[str, str]) -> processes.Child:
        """Run `python -m` for a child, in the project's folder, with its output in its log; the log before is kept as .1."""
        log = self.home.root / "logs" / f"{name}.log"
        places = {"PREFECT_HOME": str(self.home.prefect), "EQUIPOISE_HOME": str(self.home.root), "EQUIPOISE_PROJECT": str(self.home.project)}
        environment = DEFAULTS | dict(os.environ) | QUIET | places | {"PYTHONUNBUFFERED": "1"} | dict(settings)
        child = processes.spawn(name, [sys.executable, "-m", *module], log, PROJECT, environment)
        self._children.append(child)
        return child

    def _until(self, condition: Callable[[], bool], name: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            self.check()
            if self._asked_to_stop.is_set():
                raise KeyboardInterrupt
            if time.monotonic() > deadline:
                log, fix = self.home.root / "logs" / f"{name}.log", "Look into the log, or start it on a less busy machine."
                raise UnavailableError(f"{name} did not answer in {PATIENCE:.0f} s.", where=str(log), fix=fix)
            time.sleep(0.1)


def serve(home: Home, ports: Ports | None = None, *, progress: Progress, ready: Callable[[Services], None]) -> None:
    """Start everything, call `ready`, and stay until Ctrl-C, SIGTERM or SIGHUP; then stop everything.

    To be called from the main thread. Raises what `Services.start` and `Services.wait` raise, after stopping.
    """
    services = Services(home, ports)

    def asked(_signal: int, _frame: FrameType | None) -> None:
        services.ask_to_stop()

    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, asked) for number in signals}
    try:
        with contextlib.suppress(KeyboardInterrupt):
            services.start(progress)
            ready(services)
            services.wait()
    finally:
        services.stop(progress)
        for number, handler in before.items():
            signal.signal(number, handler)


def _refuse_taken(name: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise UnavailableError(
                f"port {port}, which {name} needs, cannot be used: {error.strerror}.",
                fix=f"Stop what listens there (`ss -ltnp 'sport = :{port}'` names it), or set EQUIPOISE_{name.upper()}_PORT to another port.",
            ) from error


def _answers(url: str) -> bool:
    """Whether a GET succeeds. Proxies are left out: the address is on this machine."""
    request = urllib.request.Request(url)  # noqa: S310 (http to the loopback)
    if secret := os.environ.get("PREFECT_SERVER_API_AUTH_STRING"):
        request.add_header("Authorization", "Basic " + base64.b64encode(secret.encode()).decode())
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False

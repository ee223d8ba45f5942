"""Where MLflow keeps runs and models: one address, one artifact folder, and what its faults mean.

`runs` and `registry` speak to MLflow through a `TrackingStore`. It says in seconds, not minutes, that a server or
a database is not there, keeps MLflow's own log lines off the terminal, and turns its failures into ours.
"""

import logging
import os
import re
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tasks.core.errors import AccessError, CaseError, DataError, UnavailableError
from tasks.core.strict import NAME
from tasks.io.files import alone

if TYPE_CHECKING:
    from mlflow import MlflowClient

PROBE_SECONDS = 3.0
"""How long a server or database may take to say that it is there."""

SETTINGS = {
    # MLflow retries seven times, four minutes in all. Two retries are a pause of about five seconds.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
# What MLflow refuses for what it was asked, rather than for how it is.
_REFUSED = {"UNAUTHENTICATED", "PERMISSION_DENIED"}
_NOT_ITS_FAULT = {"INVALID_PARAMETER_VALUE", "INVALID_STATE", "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS"}


class TrackingStore:
    """MLflow at `uri` (sqlite:///FILE, postgresql://..., http://HOST:PORT), its files below `artifact_root`.

    The folder must be the same for every client and for the server, which shows the files it holds.
    """

    def __init__(self, uri: str, artifact_root: Path) -> None:
        self.uri, self.artifact_root = uri, Path(artifact_root).resolve()
        self._lock = threading.Lock()

    @property
    def shown(self) -> str:
        """The address without a password, for messages."""
        parts = urlsplit(self.uri)
        return self.uri.replace(f":{parts.password}@", ":***@", 1) if parts.password else self.uri

    def prepare(self) -> None:
        """Import MLflow (4 s) and, on an empty database, make its tables (2.5 s).

        Anything else does it too when first used; a flow calls this early, in a thread, while it has other work:
        `threading.Thread(target=store.prepare, daemon=True).start()`.
        """
        with self.talking() as client:
            client.search_experiments(max_results=1)

    @cached_property
    def _client(self) -> "MlflowClient":
        self.probe()
        for key, value in SETTINGS.items():
            os.environ.setdefault(key, value)
        from mlflow import MlflowClient

        if "MLFLOW_LOGGING_LEVEL" not in os.environ:
            logging.getLogger("mlflow").setLevel(logging.WARNING)
            # Its tracebacks of a refused write come on top of the error that reaches the user anyway.
            logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
            logging.getLogger("alembic").setLevel(logging.WARNING)
        try:
            with self._alone():
                client = MlflowClient(self.uri, registry_uri=self.uri)
                client.search_registered_models(max_results=1)  # runs and models are two stores, each with its tables
                return client
        except Exception as error:  # such as a database that a newer MLflow has migrated
            if getattr(error, "error_code", None) in _REFUSED:
                raise self.refused(error) from None
            raise self.unavailable(_first_line(error), "Use the MLflow version the database was made with.") from error

    def probe(self) -> None:
        """Find out within `PROBE_SECONDS` whether anything answers; raise UnavailableError when not.

        Needed because MLflow itself waits for 100 s on a database file it cannot open.
        """
        scheme = urlsplit(self.uri).scheme.split("+")[0]
        if scheme in ("http", "https"):
            self._probe_server()
        elif scheme == "sqlite":
            self._probe_file()
        elif scheme in _PORTS:
            parts = urlsplit(self.uri)
            try:
                socket.create_connection((parts.hostname or "localhost", parts.port or _PORTS[scheme]), timeout=PROBE_SECONDS).close()
            except OSError as error:
                raise self.unavailable(str(error), "Start the database, or correct the address.") from error
        else:
            raise self.unavailable("no such kind of address", "Use sqlite:///FILE, postgresql://USER@HOST/NAME or http://HOST:PORT.")

    def _probe_server(self) -> None:
        import requests

        try:
            answer = requests.get(self.uri.rstrip("/") + "/health", timeout=PROBE_SECONDS)
        except requests.RequestException as error:
            raise self.unavailable("nothing answers", "Start it with `equipoise up`, or correct the address.") from error
        if answer.status_code != 200 or answer.text.strip() != "OK":
            raise self.unavailable(
                f"what answers is not MLflow, or refuses: HTTP {answer.status_code} from /health", "Correct the address, or see the server's log."
            )

    def _probe_file(self) -> None:
        path = self._file()
        if not path.exists():
            folder = next(parent for parent in path.absolute().parents if parent.exists())
            if not (folder.is_dir() and os.access(folder, os.W_OK)):
                raise self.unavailable(f"{folder} cannot be written", "Make the folder writable, or choose another.")
            return
        try:
            with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=PROBE_SECONDS)) as database:
                database.execute("PRAGMA schema_version").fetchone()
        except sqlite3.DatabaseError as error:
            raise self.unavailable(str(error), "Restore the file from a backup, or move it away to begin anew.") from error
        if not (os.access(path, os.W_OK) and os.access(path.absolute().parent, os.W_OK)):
            raise self.unavailable("the file or its folder is read-only", "Make both writable: SQLite keeps its journal beside the file.")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other processes from making the tables of the same SQLite file at the same time: MLflow 3.17 fails in both."""
        if not self.uri.startswith("sqlite"):
            yield
            return
        folder = self._file().absolute().parent
        folder.mkdir(parents=True, exist_ok=True)
        with alone(folder):
            yield

    def _file(self) -> Path:
        # As SQLAlchemy reads it: what follows three slashes, neither unescaped nor cut at a "#".
        return Path(self.uri.partition(":///")[2].partition("?")[0])

    @contextmanager
    def talking(self) -> Iterator["MlflowClient"]:
        """Lend the one client of all threads. A failure of MLflow, its server, database or disk becomes UnavailableError, its refusal
        of a user AccessError.
        """
        with self._lock:
            client = self._client
        from mlflow.exceptions import MlflowException

        try:
            yield client
        except MlflowException as error:
            if error.error_code in _NOT_ITS_FAULT:
                raise
            if error.error_code in _REFUSED:
                raise self.refused(error) from None
            raise self.unavailable(_first_line(error), "See that the server runs and its database and disk can be written.") from error
        except OSError as error:  # those of requests among them
            raise self.unavailable(_first_line(error), f"See that the server runs and that {self.artifact_root} can be written.") from error

    def find(self, ask: Callable[["MlflowClient"], Any]) -> Any:
        """What `ask` gets from the client; None when MLflow says that there is no such thing."""
        with self.talking() as client:
            try:
                return ask(client)
            except Exception as error:
                # An alias that is not there counts as an invalid parameter, and only the message tells which.
                if getattr(error, "error_code", None) == "RESOURCE_DOES_NOT_EXIST" or re.search(r"alias \S+ not found", str(error)):
                    return None
                raise

    def run(self, run_id: str) -> Any:
        """MLflow's record of a run. Raises DataError when there is none."""
        found = self.find(lambda client: client.get_run(run_id))
        if found is None:
            raise DataError(f"MLflow has no run `{run_id}`.", where=self.shown, fix="Give the id of a run that is there.")
        return found

    def unavailable(self, reason: str, fix: str) -> UnavailableError:
        """The error to raise, naming the address."""
        password = urlsplit(self.uri).password  # what a library says may quote the address
        return UnavailableError(f"MLflow cannot be used: {reason.replace(password, '***') if password else reason}.", where=self.shown, fix=fix)

    def refused(self, error: Exception) -> AccessError:
        """The error to raise when the server knows neither the user nor the password, or does not let the user do it."""
        user = os.environ.get("MLFLOW_TRACKING_USERNAME") or urlsplit(self.uri).username
        if getattr(error, "error_code", None) == "PERMISSION_DENIED":
            fix = "Ask whoever administers it for the permission on this experiment or model."
            return AccessError(f"MLflow does not let {user or 'you'} do this.", where=self.shown, fix=fix)
        said = f"MLflow does not take the password of {user}." if user else "MLflow asks for a user and a password."
        return AccessError(said, where=self.shown, fix="Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.")


def checked_name(name: str) -> str:
    """The name of a case, an experiment or a model, unless it could mean another file or another query."""
    if not NAME.fullmatch(name):
        raise CaseError(f"{name!r} is not a name.", fix="Use lower-case letters, digits, '-' and '_', starting with a letter.")
    return name


def _first_line(error: Exception, most: int = 300) -> str:
    text = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
    return text if len(text) <= most else text[: most - 1] + "…"

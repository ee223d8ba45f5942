"""Where state lives, and the quiet environment that every command sets before a library is imported."""

import gc
import os
from dataclasses import dataclass
from pathlib import Path

from tasks.core.errors import UnavailableError

PROJECT = Path(__file__).resolve().parents[2]

# Telemetry and promotional calls, off before any import reads them; `DO_NOT_TRACK=true` is the one value that all readers accept.
QUIET = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_MODEL_CATALOG_URI": "",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
    "GX_ANALYTICS_ENABLED": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
}

# What would otherwise fill the terminal or wait for minutes. A value the user has set stands.
DEFAULTS = {
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "equipoise",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
    "GIT_PYTHON_REFRESH": "quiet",
    "MPLBACKEND": "Agg",
    "ALEMBIC_LOG_LEVEL": "ERROR",
}


@dataclass(frozen=True)
class Home:
    """The state folder and what is in it. Databases are SQLAlchemy URLs."""

    root: Path
    project: Path = PROJECT

    @classmethod
    def from_environment(cls) -> "Home":
        """`EQUIPOISE_HOME` or `data/` of the project; `EQUIPOISE_PROJECT` moves `catalog/` and `configs/`, the checkout unless given."""
        project = Path(os.environ.get("EQUIPOISE_PROJECT") or PROJECT).resolve()
        return cls(root=Path(os.environ.get("EQUIPOISE_HOME") or project / "data").expanduser().resolve(), project=project)

    @property
    def store(self) -> Path:
        """Snapshots and predictions."""
        return self.root / "store"

    @property
    def artifacts(self) -> Path:
        """MLflow's artifacts."""
        return self.root / "artifacts"

    @property
    def evidently(self) -> Path:
        """Evidently's workspace."""
        return self.root / "evidently"

    @property
    def reports(self) -> Path:
        """Summaries that commands write."""
        return self.root / "reports"

    @property
    def prefect(self) -> Path:
        """Prefect's own state."""
        return self.root / "prefect"

    @property
    def mlflow_url(self) -> str:
        """`EQUIPOISE_MLFLOW_URI`, or SQLite in the state folder."""
        return os.environ.get("EQUIPOISE_MLFLOW_URI") or f"sqlite:///{self.root / 'mlflow.db'}"

    @property
    def ledger_url(self) -> str:
        """`EQUIPOISE_LEDGER_URL`, or SQLite in the state folder."""
        return os.environ.get("EQUIPOISE_LEDGER_URL") or f"sqlite:///{self.root / 'ledger.db'}"


def project_directory() -> dict[str, str]:
    """Prefect's pull step of prefect.yaml: the folder from which a worker loads flows. It is here, where hardly anything is imported, because
    a process of its own asks for it before each run.
    """
    return {"directory": str(PROJECT)}


def quiet_environment(home: Home) -> None:
    """Turn telemetry off and keep Prefect's state in the home. To be called before the libraries are imported: they make a million objects
    that stay, and Python looks for garbage among them less often from here on.

    Raises: UnavailableError when the home cannot be written.
    """
    try:
        home.prefect.mkdir(parents=True, exist_ok=True)  # Prefect's server does not make it, and waits minutes before it says so
    except OSError as error:
        raise UnavailableError(
            f"The state folder cannot be written: {error.strerror}.", where=str(home.root), fix="Set EQUIPOISE_HOME to a folder of yours."
        ) from error
    gc.set_threshold(50_000)  # instead of 700
    os.environ.update(QUIET)
    for name, value in {**DEFAULTS, "PREFECT_HOME": str(home.prefect)}.items():
        os.environ.setdefault(name, value)

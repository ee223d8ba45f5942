"""Builders that several rooms share: a project of one's own, a Prefect server, and a home prepared once."""

import contextlib
import fcntl
import gc
import getpass
import os
import re
import shutil
import sqlite3
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import skops.io  # noqa: F401  # before all that would make its own start slow, see tasks.io.warmup
import yaml
from hypothesis import settings

from tasks.io.home import PROJECT, QUIET

settings.register_profile("suite", max_examples=25, deadline=None)  # a busy machine is no failure; a test may ask for more
settings.load_profile("suite")
os.environ.update(QUIET)  # before any test imports a library that reads it
os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
gc.set_threshold(50_000)  # instead of 700: a worker of the run soon holds a million objects of modules, which Python would search again and again


LONG = ("test_access", "test_deployments", "test_servers", "test_faults", "test_cli", "test_scoring", "test_evaluate", "test_story")


def pytest_collection_modifyitems(items):
    """Files that start servers and processes begin: one of them at the end would keep a worker waiting for the other."""
    items.sort(key=lambda item: item.path.stem not in LONG)


def loans(months=("2024-01", "2024-02", "2024-03"), rows=600, seed=3):
    """A table of loans: amount and income decide most of whether one is repaid, the region a little."""
    generator = np.random.default_rng(seed)
    count = rows * len(months)
    income, amount = generator.normal(40_000, 9_000, count).round(2), generator.gamma(4, 2_500, count).round(2)
    region = generator.choice(["Nord", "Süd", "Ost"], count, p=[0.5, 0.3, 0.2])
    odds = (income - 40_000) / 5_000 - (amount - 10_000) / 2_500 + np.where(region == "Ost", -0.4, 0.0)
    return pd.DataFrame(
        {
            "id": [f"L{number:05d}" for number in range(count)],
            "month": np.repeat([f"{month}-15" for month in months], rows),
            "amount": amount,
            "income": income,
            "region": region,
            "repaid": np.where(generator.random(count) < 1 / (1 + np.exp(-odds)), "yes", "no"),
        }
    )


def documented_files():
    """The two YAML files that docs/your-data.md tells a user to write."""
    catalogue, case = re.findall(r"```yaml\n(.*?)```", (PROJECT / "docs/your-data.md").read_text(encoding="utf-8"), re.DOTALL)
    return catalogue, case


def write_project(folder, patch):
    """Write the documented case `loans` with its table into a folder, and let the environment name it and a home within."""
    catalogue, case = documented_files()
    for room, text in (("catalog", catalogue), ("configs", case)):
        (folder / room).mkdir()
        (folder / room / "loans.yaml").write_text(text, encoding="utf-8")
    loans().to_csv(folder / "loans.csv", index=False)
    patch.setenv("EQUIPOISE_PROJECT", str(folder))
    patch.setenv("EQUIPOISE_HOME", str(folder / "home"))
    patch.setenv("EQUIPOISE_KEYS", str(folder / "keys"))
    for name in ("EQUIPOISE_MLFLOW_URI", "EQUIPOISE_LEDGER_URL"):
        patch.delenv(name, raising=False)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with the documented case `loans`, its table, and a home of its own."""
    write_project(tmp_path, monkeypatch)
    return tmp_path


def one_candidate(project):
    """Leave the case with its first candidate, where a test asks nothing of the others."""
    path = project / "configs/loans.yaml"
    case = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump(case | {"candidates": case["candidates"][:1]}, sort_keys=False), encoding="utf-8")


def enrol(project, name="ada", **more):
    """Give a person a key and a place in configs/reviewers.yaml."""
    from tasks.core.signing import public_text
    from tasks.io.keys import make_key

    _, key = make_key(name, "")
    path = project / "configs/reviewers.yaml"
    known = yaml.safe_load(path.read_text()) if path.is_file() else {"people": []}
    account = os.environ.get("EQUIPOISE_USER") or getpass.getuser()
    if not known["people"]:  # whoever runs the tests may do what an operator may
        known["people"].append({"name": "operator", "roles": ["operator"], "accounts": [account]})
    known["people"].append({"name": name, "roles": ["reviewer"], "key": public_text(key), **more})
    path.write_text(yaml.safe_dump(known), encoding="utf-8")


def review(case, version=1, *, reviewer="ada", verdict="approve", notes="Looked at every cohort.", **more):
    """A signed review by somebody enrolled, in the ledger."""
    from tasks.io.keys import load_key
    from tasks.io.workbench import Workbench
    from tasks.promotion import signed, statement, write_review

    bench = Workbench.open(case)
    write_review.fn(bench, signed(statement(bench, version, verdict=verdict, reviewer=reviewer, notes=notes, **more), load_key(reviewer, "")))


def for_all_workers(tmp_path_factory, name):
    """Where a file is kept that one worker of the run makes, holding `name`.lock, and the others copy."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name


@contextlib.contextmanager
def alone(path):
    """One worker at a time."""
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def migrated(tmp_path_factory):
    """An empty MLflow database with its tables made, which takes seconds, to be copied."""
    from tasks.io.runs import Runs

    kept = for_all_workers(tmp_path_factory, "mlflow-tables.db")
    with alone(kept):
        if not kept.exists():
            folder = tmp_path_factory.mktemp("mlflow")
            Runs(f"sqlite:///{folder / 'mlflow.db'}", folder / "artifacts").prepare()
            shutil.copy(folder / "mlflow.db", kept)
    return kept


@pytest.fixture
def home(project, migrated):
    """The project's home with an MLflow database that need not be migrated again."""
    folder = project / "home"
    folder.mkdir()
    shutil.copy(migrated, folder / "mlflow.db")
    return folder


@pytest.fixture(scope="session")
def prefect(tmp_path_factory):
    """A real Prefect server with a database of its own, for the session. Flow runs send it no heartbeats: each would end up to a second
    later for the thread that sends them.
    """
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    tables, database = prefect_tables(tmp_path_factory), Path(tempfile.mkdtemp()) / "prefect-test.db"  # the harness removes it
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        patch.setattr("prefect.testing.utilities.mkdtemp", lambda: str(database.parent))
        with alone(tables):
            if known := tables.exists():
                shutil.copy(tables, database)
            else:
                stack.enter_context(prefect_test_harness(server_startup_timeout=180))
                with contextlib.closing(sqlite3.connect(database)) as made, contextlib.closing(sqlite3.connect(tables.with_suffix(".new"))) as kept:
                    made.backup(kept)
                tables.with_suffix(".new").rename(tables)
        if known:
            stack.enter_context(prefect_test_harness(server_startup_timeout=180))
        with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
            yield


def prefect_tables(tmp_path_factory):
    """Where the first server of a run keeps an empty database with its tables made, which takes 9 s of a processor, for all the others."""
    return for_all_workers(tmp_path_factory, "prefect-tables.db")


def with_prefect_tables(tmp_path_factory, home):
    """Put them into a home for its server; where there are none yet, it makes its own."""
    (home / "prefect").mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        shutil.copy(prefect_tables(tmp_path_factory), home / "prefect/prefect.db")


@pytest.fixture(scope="session")
def once_trained(tmp_path_factory, migrated, prefect):
    """A project whose version 1 is registered, and what training it returned: `version_1` copies it."""
    from flows.snapshot import snapshot
    from flows.train import train

    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        write_project(folder, patch)
        (folder / "home").mkdir()
        shutil.copy(migrated, folder / "home/mlflow.db")
        snapshot("loans")
        summary = train("loans")
    return folder / "home", summary


@pytest.fixture
def version_1(project, home, once_trained):
    """The project's snapshots taken and version 1 registered, as `snapshot` and `train` leave it: what training returned."""
    made, summary = once_trained
    shutil.rmtree(home)
    shutil.copytree(made, home)
    with contextlib.closing(sqlite3.connect(home / "mlflow.db")) as database, database:
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for _, column, kind, *_ in database.execute(f"PRAGMA table_info({table})").fetchall():
                if kind.startswith(("VARCHAR", "TEXT")):  # MLflow knows artifacts by whole paths
                    database.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?) WHERE instr({column}, ?)", (str(made), str(home), str(made)))
    return summary

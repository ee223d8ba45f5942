"""Builders that several rooms share: a project of one's own, a Prefect server, and a home prepared once."""

import getpass
import os
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import settings

from tasks.io.home import PROJECT, QUIET

settings.register_profile("suite", max_examples=40, deadline=None)  # a busy machine is no failure; a test may ask for more
settings.load_profile("suite")
os.environ.update(QUIET)  # before any test imports a library that reads it
os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")


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


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with the documented case `loans`, its table, and a home of its own."""
    catalogue, case = documented_files()
    for folder, text in (("catalog", catalogue), ("configs", case)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "loans.yaml").write_text(text, encoding="utf-8")
    loans().to_csv(tmp_path / "loans.csv", index=False)
    monkeypatch.setenv("EQUIPOISE_PROJECT", str(tmp_path))
    monkeypatch.setenv("EQUIPOISE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("EQUIPOISE_KEYS", str(tmp_path / "keys"))
    for name in ("EQUIPOISE_MLFLOW_URI", "EQUIPOISE_LEDGER_URL"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


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


@pytest.fixture(scope="session")
def migrated(tmp_path_factory):
    """An empty MLflow database with its tables made, which takes seconds, to be copied."""
    from tasks.io.runs import Runs

    folder = tmp_path_factory.mktemp("mlflow")
    Runs(f"sqlite:///{folder / 'mlflow.db'}", folder / "artifacts").prepare()
    return folder / "mlflow.db"


@pytest.fixture
def home(project, migrated):
    """The project's home with an MLflow database that need not be migrated again."""
    folder = project / "home"
    folder.mkdir()
    shutil.copy(migrated, folder / "mlflow.db")
    return folder


@pytest.fixture(scope="session")
def prefect():
    """A real Prefect server with a database of its own, for the session."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=180):
        yield

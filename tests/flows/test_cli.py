"""The command line as a user meets it: exit codes, messages, and nothing heavy before it is needed."""

import contextlib
import getpass
import io
import json
import os
import shutil
import subprocess
import sys
import time
from types import SimpleNamespace
from unittest import mock

import pytest
import yaml

from flows import cli
from tasks.io.home import PROJECT
from tests.conftest import with_prefect_tables

COMMAND = [sys.executable, "-m", "flows.cli"]


def equipoise(*arguments, environment=None, timeout=240):
    """Run a command in a process of its own, as a user would."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_") and name not in ("CI", "PYTEST_CURRENT_TEST", "COLUMNS")}
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, cwd=PROJECT, env=known | {"COLUMNS": "200"} | (environment or {}), timeout=timeout
    )


def in_process(*arguments, environment=None):
    """Run a command in this process, which saves the seconds of its imports: what it said, and its exit code. What it changes of the
    environment is put back; a flow talks to the Prefect server of this process.
    """
    from prefect.settings import get_current_settings

    server, out, err = get_current_settings().api.url, io.StringIO(), io.StringIO()
    settings = ({"PREFECT_API_URL": str(server)} if server else {}) | (environment or {})
    with (
        mock.patch.dict(os.environ, settings),
        mock.patch.object(sys, "argv", ["equipoise", *arguments]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        cli.main()
    return SimpleNamespace(returncode=ended.value.code or 0, stdout=out.getvalue(), stderr=err.getvalue())


def test_help_is_instant():
    """`--help` imports nothing heavy: neither pandas nor Prefect nor MLflow."""
    heavy = "{'pandas', 'numpy', 'polars', 'prefect', 'mlflow', 'evidently', 'sklearn', 'pydantic'}"
    code = f"import sys; from flows.cli import app; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT).stdout.strip() == "[]"
    bare, whole = [], []
    for _ in range(3):  # the best of three, beside a bare interpreter, so that a busy machine slows both
        for times, command in ((bare, [sys.executable, "-c", "import typer, rich.console, rich.table"]), (whole, [*COMMAND, "--help"])):
            began = time.perf_counter()
            result = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT)
            times.append(time.perf_counter() - began)
    assert "snapshot" in result.stdout
    assert min(whole) < 3 * min(bare) + 0.2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["snapshot", "../../etc/passwd"], "is not the name of a case"),
        (["promote", "loans", "7"], "`loans` has no registered version 7. There is none. Run: equipoise train loans"),
        (["review", "loans", "1", "--approve", "--reviewer", "Ada"], "`loans` has no registered version 1"),
        (["snapshot", "loans", "--period", "1999-01"], "The source holds no rows for 1999-01"),
    ],
)
def test_mistake_exits_2_with_a_way_out_and_no_traceback(project, home, prefect, arguments, message):
    """What the user can mend is said in one message on standard error."""
    result = in_process(*arguments)
    assert result.returncode == 2, result.stderr
    assert message in result.stderr
    assert "Traceback" not in result.stdout + result.stderr


@pytest.mark.parametrize("arguments", [["review", "loans", "1"], ["promote", "loans"], ["promote", "loans", "0"], ["frobnicate"], ["demo", "--cases", "x"]])
def test_wrong_usage_exits_2(arguments):
    """A missing verdict, a missing or impossible version and an unknown command are usage errors."""
    result = in_process(*arguments)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


def test_step_by_step_as_documented(project, prefect):
    """The commands of docs/your-data.md, one after the other, each ending with what was made, where to look and what is next. They share
    this process, which saves a minute of imports.
    """
    from prefect.settings import get_current_settings

    server = {"PREFECT_API_URL": str(get_current_settings().api.url)}
    steps = [
        (["snapshot", "loans"], 0, "3 new snapshots"),
        (["train", "loans"], 0, "loans version 1"),
        (["keys", "new", "ada", "--no-passphrase"], 0, "key: ed25519:"),
        (["review", "loans", "1", "--approve", "--reviewer", "ada", "--notes", "seen"], 0, "approved by ada"),
        (["promote", "loans", "1"], 0, "is in production"),
        (["infer", "loans"], 0, "2 periods scored with version 1"),
        (["status", "loans"], 0, "version 1"),
    ]
    for arguments, code, expected in steps:
        result = in_process(*arguments, environment={**server, "COLUMNS": "200"})
        assert result.returncode == code, result.stdout + result.stderr
        assert expected in result.stdout
        assert [line.split()[0] for line in result.stdout.strip().splitlines()[-3:]] == ["Made", "Look", "Next"]
        if arguments[0] == "keys":  # its first lines are those of the file that lets the key count
            (project / "configs/reviewers.yaml").write_text(result.stdout.split("\n\n")[0], encoding="utf-8")
            with (project / "configs/reviewers.yaml").open("a") as file:
                file.write(f"\n  - {{name: operator, roles: [operator], accounts: [{getpass.getuser()}]}}\n")


def test_check_exits_2_when_a_finding_blocks(project):
    """A flagged feature is refused with both ways out."""
    case = project / "configs/loans.yaml"
    case.write_text(case.read_text(encoding="utf-8").replace("features: [amount, income]", "features: [amount, region]"), encoding="utf-8")
    result = in_process("check", "loans", environment={"COLUMNS": "200"})
    assert result.returncode == 2
    assert "BLOCKS" in result.stdout
    assert "`region` is flagged `proxy` in catalog/loans.yaml" in result.stdout


def test_fault_of_ours_exits_1_and_says_how_to_see_more(project, monkeypatch):
    """Anything unexpected is our fault: exit 1, one message, the traceback only with --debug."""

    def broken(bench):
        raise ZeroDivisionError("planted")

    monkeypatch.setattr("tasks.io.status.status_of", broken)
    monkeypatch.setattr(cli.terminal, "debug", False)
    result = in_process("status", "loans")
    assert result.returncode == 1
    assert "This is a fault in Equipoise: ZeroDivisionError: planted" in result.stderr
    assert "Traceback" not in result.stderr
    with pytest.raises(ZeroDivisionError, match="planted"):  # nothing stands between it and the interpreter, which prints it and exits 1
        in_process("--debug", "status", "loans")


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"EQUIPOISE_MLFLOW_URI": "http://127.0.0.1:9"}, "http://127.0.0.1:9"),
        ({"EQUIPOISE_HOME": "/dev/null/home"}, "/dev/null/home"),
    ],
)
def test_what_does_not_answer_is_named_within_seconds(project, prefect, environment, message):
    """MLflow that is gone, or a state folder that cannot be written, is said at once."""
    began = time.monotonic()
    result = in_process("promote", "loans", "1", environment=environment)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert time.monotonic() - began < 120


@pytest.mark.timeout(400)
def test_demo_leaves_the_machine_alone(tmp_path, tmp_path_factory, migrated, prefect):
    """The whole demo opens no connection beyond loopback, with every test and CI marker taken out of the environment. Of boston's candidates
    there are the first two and the one that is chosen, and the servers' tables are made, which saves a minute.
    """
    with_prefect_tables(tmp_path_factory, tmp_path / "home")
    shutil.copy(migrated, tmp_path / "home/mlflow.db")
    project = tmp_path / "project"
    shutil.copytree(PROJECT / "catalog", project / "catalog")
    (project / "configs").mkdir()
    shipped = yaml.safe_load((PROJECT / "configs/boston.yaml").read_text(encoding="utf-8"))
    (project / "configs/boston.yaml").write_text(yaml.safe_dump(shipped | {"candidates": shipped["candidates"][:3]}, sort_keys=False), encoding="utf-8")
    (project / "data").mkdir()
    (project / "data/raw").symlink_to(PROJECT / "data/raw")
    guard = tmp_path / "guard"
    guard.mkdir()
    (guard / "sitecustomize.py").write_text(
        "import socket\n"
        "real = socket.socket.connect\n"
        "def connect(self, address):\n"
        "    if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ('127.0.0.1', '::1', 'localhost'):\n"
        f"        open({str(tmp_path / 'escaped')!r}, 'a').write(repr(address) + '\\n')\n"
        "        raise OSError('guarded: ' + repr(address))\n"
        "    return real(self, address)\n"
        "socket.socket.connect = connect\n"
        "resolve = socket.getaddrinfo\n"
        "def getaddrinfo(host, *rest, **more):\n"
        "    if host not in (None, '127.0.0.1', '::1', 'localhost', '0.0.0.0'):\n"
        f"        open({str(tmp_path / 'escaped')!r}, 'a').write(repr(host) + '\\n')\n"
        "        raise OSError('guarded: ' + repr(host))\n"
        "    return resolve(host, *rest, **more)\n"
        "socket.getaddrinfo = getaddrinfo\n",
        encoding="utf-8",
    )
    clean = dict.fromkeys(("DO_NOT_TRACK", "MLFLOW_DISABLE_TELEMETRY", "GX_ANALYTICS_ENABLED", "PREFECT_SERVER_ANALYTICS_ENABLED"), "")
    environment = clean | {"PYTHONPATH": str(guard), "EQUIPOISE_HOME": str(tmp_path / "home"), "EQUIPOISE_PROJECT": str(project)}
    result = equipoise("demo", "--json", str(tmp_path / "summary.json"), environment=environment, timeout=390)
    assert result.returncode == 0, result.stdout + result.stderr
    assert not (tmp_path / "escaped").exists(), (tmp_path / "escaped").read_text()

    summary = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert summary["case"] == "boston"
    assert summary["model"] == {"name": "boston", "version": 1}
    months = {month["period"]: month for month in summary["months"]}
    assert list(months) == [f"2024-{number:02d}" for number in range(2, 9)]
    assert [month["drifted"] for month in months.values()] == [False] * 3 + [True] * 4
    from tasks.core.simulation import drifting_columns
    from tasks.io.documents import load_case, load_dataset
    from tasks.io.sources import read_source

    case = load_case("boston", PROJECT)
    base = read_source(load_dataset("boston", PROJECT).source, root=PROJECT)
    [declared] = drifting_columns(case.periods.simulate, base, case.features)
    assert len(declared) == 2
    for number in range(5, 9):
        assert sorted(months[f"2024-{number:02d}"]["drifted_columns"]) == sorted(declared)
    assert summary["emissions_kg"] is None or summary["emissions_kg"] > 0

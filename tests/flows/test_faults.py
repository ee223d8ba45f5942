"""Production survives whatever stops a change half-way: kill -9 at every write, a crowd of promoters, a full disk."""

import json
import os
import subprocess
import sys

import pytest

from tasks.io.home import PROJECT
from tasks.io.workbench import Workbench
from tests.conftest import enrol, review

pytestmark = pytest.mark.usefixtures("prefect", "home")


@pytest.fixture
def two_versions(project):
    """Version 1 in production, version 2 approved and ready."""
    from flows.promote import promote
    from flows.snapshot import snapshot
    from flows.train import train

    enrol(project)
    snapshot("loans")
    train("loans")
    review("loans", 1)
    assert promote("loans", 1).promoted
    path = project / "configs/loans.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("periods: {column: month}", "periods: {column: month}\nseed: 5"), encoding="utf-8")
    assert train("loans")["model"]["version"] == 2
    review("loans", 2)
    Workbench.open("loans").ledger.close()
    return project


def runs(scenario):
    """The lines that tests/flows/crashes.py prints for a scenario."""
    command = [sys.executable, str(PROJECT / "tests/flows/crashes.py"), scenario, "loans"]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, env=environment, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_promotion_killed_at_any_write_leaves_the_old_or_the_new_version(two_versions):
    """After each kill the chain holds, the record says version 1 or version 2, and the next look serves what it says."""
    found = runs("promote")
    assert found[-1]["status"] == 0
    assert len(found) >= 4, found[-1]["writes"]  # the ledger's row and commit, the alias's row and commit
    for run in found:
        assert run["status"] in (0, -9)
        assert run["recorded"] in (1, 2)
        assert run["promotions"] == ([1] if run["recorded"] == 1 else [1, 2])  # never twice
        assert run["serves"] == run["recorded"] == run["mended"]
    assert {run["recorded"] for run in found} == {1, 2}
    assert any(run["recorded"] == 2 and run["alias"] == 1 for run in found)  # the crash between ledger and alias did happen


def test_of_twenty_promotions_at_once_one_wins(two_versions):
    """Twenty processes promote version 2: it is in the record once, and nobody reports anything but success or a conflict."""
    [found] = runs("crowd")
    assert set(found["statuses"]) <= {0, 4}
    assert found["promotions"] == [1, 2]
    assert found["serves"] == found["mended"] == 2


def test_a_full_disk_leaves_production_as_it_was(two_versions):
    """Where no file can grow, the promotion fails with a message that names the ledger, and version 1 serves on."""
    [found] = runs("full")
    assert found["status"] == 2, found
    assert found["error"].startswith("UnavailableError")
    assert "ledger" in found["error"]
    assert found["recorded"] == found["serves"] == found["mended"] == 1

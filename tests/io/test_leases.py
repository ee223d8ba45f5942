"""Of all processes one holds a lease; a dead holder's is taken over, a living one's is not, whatever the clock says."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tasks.io import leases
from tasks.io.home import PROJECT
from tasks.io.leases import lease
from tasks.io.ledger import Ledger

HOLD = """
import sys, time
from tasks.io.leases import lease
from tasks.io.ledger import Ledger
with lease(Ledger(sys.argv[1]), "boston", "infer 2024-05") as held:
    print(held, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def ledger(tmp_path):
    made = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield made
    made.close()


@pytest.fixture
def holder(ledger):
    """Another process that holds the lease."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, ledger.url], cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "True\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_lease_is_given_back(ledger):
    """Leaving the block, also by an error, frees the work; other work and other cases were free all along."""

    def work():
        with lease(ledger, "boston", "infer 2024-05") as held:
            assert held
            with lease(ledger, "boston", "infer 2024-06") as other, lease(ledger, "adult", "infer 2024-05") as another:
                assert other
                assert another
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    with lease(ledger, "boston", "infer 2024-05") as held:
        assert held


def test_a_living_holder_keeps_it_and_a_killed_one_does_not(ledger, holder, monkeypatch):
    """While it beats, nobody else gets it, an hour's change of the clock or not; killed with -9, the next who asks does, at once."""
    monkeypatch.setattr(time, "time", lambda clock=time.time: clock() - 3600)
    with lease(ledger, "boston", "infer 2024-05") as held:
        assert not held
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    began = time.monotonic()
    with lease(ledger, "boston", "infer 2024-05") as held:
        assert held
    assert time.monotonic() - began < leases.PATIENCE / 2


@pytest.mark.skipif(not psutil.LINUX, reason="elsewhere the clock dates processes")
def test_a_clock_that_was_set_makes_no_living_holder_dead(ledger, holder, tmp_path, monkeypatch):
    """Linux dates the boot, and so every process, by the clock: set an hour back while the holder works, its beginning is what it was."""
    (tmp_path / "proc").mkdir()
    lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
    moved = [f"btime {int(line.split()[1]) - 3600}" if line.startswith("btime") else line for line in lines]
    (tmp_path / "proc/stat").write_text("\n".join(moved) + "\n", encoding="ascii")
    for pid in (os.getpid(), holder.pid):
        (tmp_path / f"proc/{pid}").symlink_to(f"/proc/{pid}")
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path / "proc"))
    assert abs(time.time() - psutil.Process(holder.pid).create_time()) > 3000
    with lease(ledger, "boston", "infer 2024-05") as held:
        assert not held


@pytest.mark.skipif(not psutil.LINUX, reason="pid namespaces are Linux's")
def test_a_holder_in_another_container_is_judged_by_its_beat(ledger, holder, monkeypatch):
    """Containers may share a name and a clock and yet number their processes each for itself: one's number says nothing in the other."""
    monkeypatch.setattr(leases, "PATIENCE", 3.0)
    monkeypatch.setattr(os, "readlink", lambda *_: "pid:[1]")
    holder.kill()
    holder.wait()
    began = time.monotonic()
    with lease(ledger, "boston", "infer 2024-05") as held:
        assert held
    assert time.monotonic() - began >= leases.PATIENCE


def test_a_holder_on_another_machine_that_stands_still_loses_it(ledger, monkeypatch):
    """Nobody can ask another machine for its processes: its beat decides."""
    monkeypatch.setattr(leases, "PATIENCE", 1.0)
    monkeypatch.setattr(leases.socket, "gethostname", lambda: "elsewhere")
    with lease(ledger, "boston", "infer 2024-05") as held:
        assert held
        monkeypatch.setattr(leases, "_beat", lambda *_: None)
        ledger.engine.dispose()
    with ledger.engine.begin() as connection:
        row = {"case_name": "boston", "work": "infer 2024-05", "holder": f"far:away:{os.getpid()}:0:x", "beat": 3}
        connection.execute(leases._leases.insert().values(**row))
    with lease(ledger, "boston", "infer 2024-05") as held:
        assert held


def test_of_many_at_once_one_holds_it(ledger):
    """Eight threads want the same work while the one that has it works on."""

    def work(_):
        with lease(ledger, "boston", "infer 2024-05") as held:
            if held:
                time.sleep(4)
            return held

    ledger.head()
    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(work, range(8))) == [False] * 7 + [True]

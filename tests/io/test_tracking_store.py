"""The tracking store in processes of its own: made by several at once, silent, and off the network."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

from tasks.io.home import QUIET


def test_the_database_is_prepared_by_several_processes_at_once(tmp_path):
    """Two processes that use an empty database for the first time at the same time both succeed."""
    code = "import sys; from pathlib import Path; from tasks.io.registry import Registry; Registry(sys.argv[1], Path(sys.argv[2])).prepare()"
    arguments = [sys.executable, "-W", "error", "-c", code, f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}", str(tmp_path)]
    both = [subprocess.Popen(arguments, env=os.environ | QUIET, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], answers
    assert answers == [("", ""), ("", "")]


GUARDED = """
    import socket, sys
    from pathlib import Path

    attempts = []
    def watch(name, real, address_of):
        def guarded(*arguments, **options):
            host = address_of(arguments)
            if host not in ("127.0.0.1", "::1", "localhost", None, ""):
                attempts.append((name, host))
                raise OSError(f"the test allows loopback only, not {host}")
            return real(*arguments, **options)
        return guarded
    def host_of(arguments):
        return arguments[1][0] if isinstance(arguments[1], tuple) else None  # a Unix socket has a path
    socket.socket.connect = watch("connect", socket.socket.connect, host_of)
    socket.socket.connect_ex = watch("connect_ex", socket.socket.connect_ex, host_of)
    socket.getaddrinfo = watch("getaddrinfo", socket.getaddrinfo, lambda arguments: arguments[0])

    home = Path(sys.argv[1])
    from tasks.io.home import Home, quiet_environment
    quiet_environment(Home(home))
    from tasks.io.emissions import track, warm_up
    from tasks.io.registry import Registry
    from tasks.io.runs import Runs

    warm_up().join()
    uri = f"sqlite:///{home / 'mlflow.db'}"
    with track("USA", "train") as meter:
        runs = Runs(uri, home / "artifacts")
        parent = runs.start_parent("boston", params={"seed": 7})
        runs.log_child(parent, "linear", metrics={"mae": 1.0}, artifacts={"a.txt": b"a"})
        runs.finish(parent)
        registry = Registry(uri, home / "artifacts")
        registry.set_alias("boston", "production", registry.register(
            "boston", run_id=parent, model_bytes=b"m", inputs={"a": "numeric"}, task="regression", description="card"))
    import time
    time.sleep(1.5)  # senders in the background
    assert meter.result.kwh > 0, meter.result
    assert not attempts, attempts
"""


def test_nothing_leaves_the_machine_and_nothing_reaches_the_terminal(tmp_path):
    """A run, a version and a tracker, outside of CI and of pytest, connect to nothing beyond loopback, print and litter nothing.

    A CodeCarbon configuration in the working folder that asks for its service changes none of that.
    """
    home, place = tmp_path / "home", tmp_path / "cwd"
    home.mkdir()
    place.mkdir()
    (place / ".codecarbon.config").write_text(
        "[codecarbon]\nsave_to_api = true\nsave_to_file = true\nelectricitymaps_api_token = t\nco2_signal_api_token = t\n"
        "emissions_endpoint = http://192.0.2.1/\ncloud_provider = gcp\nallow_multiple_runs = false\n"
    )
    hidden = {"CI", "PYTEST_CURRENT_TEST", "PYTEST_VERSION", "GITHUB_ACTIONS", *QUIET}
    environment = {key: value for key, value in os.environ.items() if key not in hidden and not key.startswith("MLFLOW_")}
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:tasks", "-c", textwrap.dedent(GUARDED), str(home)],
        cwd=place,
        env=environment | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [path.name for path in place.iterdir()] == [".codecarbon.config"]

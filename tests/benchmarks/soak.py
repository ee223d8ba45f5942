"""Scores period after period of boston through real servers, a worker and a schedule, and looks at what grows. As JSON lines.

    python tests/benchmarks/soak.py [PERIODS] [--kill]

The case has as many simulated months as there are periods. `infer/boston` runs on an interval; four periods come when those before are on
record. Each line is such a turn: seconds until all were scored, and of the servers and the worker together: resident megabytes, open
files, threads. The last line holds the ends against the beginnings. --kill: every fifth turn a process is killed with -9 while a run is in
its middle: by turns the flow, the worker, MLflow and Prefect's server; all but the flow are started again some seconds later. Two hundred
periods take about half an hour, most of it the start of each run's process.
"""

import argparse
import contextlib
import datetime as dt
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

from tasks.io.home import PROJECT, Home, quiet_environment

TOGETHER = 4
"""Periods that come at a time."""
INTERVAL = 30
"""Seconds between two scheduled runs: more than one takes, or they pile up."""
GROWTH = 0.1
"""By which part of itself a figure may grow from the first periods to the last."""
AWAY = 5
"""Seconds that a killed server stays away."""
RUN = {"prefect.engine", "prefect.runner._workspace_supervisor"}
"""What the process of a flow's run is called with."""


def project(folder: Path, periods: int) -> Path:
    """A project with boston and so many months to score after the first."""
    for name in ("catalog", "configs"):
        shutil.copytree(PROJECT / name, folder / name)
    shutil.copytree(PROJECT / "data/raw", folder / "data/raw")
    path = folder / "configs/boston.yaml"
    text = path.read_text(encoding="utf-8")
    start = text.index("    drifts:\n")
    text = text[:start] + text[text.index("\nsplit:") :]  # nothing moves: what grows is ours
    path.write_text(text.replace("first: 2024-01\n    months: 8", f"first: 2000-01\n    months: {periods + 1}"), encoding="utf-8")
    return folder


def ports() -> Any:
    """Three free ports."""
    from tasks.io.servers import Ports

    with contextlib.ExitStack() as stack:
        taken = [stack.enter_context(socket.socket()) for _ in range(3)]
        for one in taken:
            one.bind(("127.0.0.1", 0))
        return Ports(*(one.getsockname()[1] for one in taken))


def family(services: Any) -> list[tuple[str, psutil.Process]]:
    """The servers and the worker with their children, each with the name of its eldest, without the runs of flows."""
    found = []
    for child in services._children:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(child.process.pid)
            own = [process, *(one for one in process.children(recursive=True) if not RUN & set(one.cmdline()))]
            found += [(child.name, one) for one in own]
    return found


def weight(services: Any) -> dict[str, float]:
    """What the processes hold now: together, and the memory of each family."""
    total: Counter[str] = Counter()
    for name, process in family(services):
        with contextlib.suppress(psutil.Error):
            megabytes = process.memory_info().rss / 1e6
            total["megabytes"] += megabytes
            total[f"megabytes of {name}"] += megabytes
            total["files"] += process.num_fds()
            total["threads"] += process.num_threads()
    return {name: round(value) for name, value in total.items()}


def say(**line: Any) -> None:
    print(json.dumps(line), flush=True)  # noqa: T201


def main() -> None:
    """Print one line for each period and one for the whole."""
    asked = argparse.ArgumentParser()
    asked.add_argument("periods", nargs="?", type=int, default=200)
    asked.add_argument("--kill", action="store_true")
    options = asked.parse_args()
    with tempfile.TemporaryDirectory(prefix="equipoise-soak-") as folder:
        os.environ |= {"EQUIPOISE_PROJECT": str(project(Path(folder), options.periods)), "EQUIPOISE_HOME": f"{folder}/home"}
        os.environ |= {"PREFECT_WORKER_QUERY_SECONDS": "3", "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "20"}
        # Of a worker's 10 and a queue's 30 seconds; a worker gives up when it has failed 12 times, and takes runs 10 seconds ahead.
        os.environ["PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS"] = "13"
        home = Home.from_environment()
        quiet_environment(home)
        from tasks.io.servers import Services

        with Services(home, ports()) as services:
            services.start()
            soak(home, services, options.periods, kill=options.kill)


def soak(home: Home, services: Any, periods: int, *, kill: bool) -> None:
    """Prepare a model, then let the schedule score."""
    from tasks.core.case import shift_period
    from tasks.io.workbench import Workbench

    environment = os.environ | services.environment

    def run(*command: str) -> None:
        subprocess.run([sys.executable, "-m", "flows.cli", *command], check=True, cwd=PROJECT, env=environment, stdout=subprocess.DEVNULL)

    run("snapshot", "boston", "--period", "2000-01")
    run("train", "boston")
    subprocess.run([sys.executable, "-c", APPROVE], check=True, cwd=PROJECT, env=environment, stdout=subprocess.DEVNULL)
    run("promote", "boston", "1")
    os.environ |= services.environment
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.schedules import IntervalSchedule

    from tasks.io.status import status_of
    from tasks.snapshots import take_snapshots

    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name("infer/boston")
        for schedule in deployment.schedules:
            client.delete_deployment_schedule(deployment.id, schedule.id)
        client.create_deployment_schedules(deployment.id, [(IntervalSchedule(interval=dt.timedelta(seconds=INTERVAL)), True)])
    bench = Workbench.open("boston")
    lines = []
    for number in range(1, periods // TOGETHER + 1):
        for place in range(TOGETHER):
            period = shift_period("2000-01", (number - 1) * TOGETHER + place + 1)
            take_snapshots.fn(bench, period)
        began = time.monotonic()
        killed = strike(services, number) if kill else None
        while not any(event.kind == "served" and event.body["period"] == period for event in bench.ledger.events("boston")):
            time.sleep(0.2)
            if time.monotonic() - began > 600:
                raise SystemExit(f"{period} was not scored in ten minutes; see {home.root}/logs")
        lines.append({"period": period, "seconds": round(time.monotonic() - began, 2), **weight(services), **({"killed": killed} if killed else {})})
        say(**lines[-1])
    settle(bench, periods)
    ends = max(5, len(lines) // 5)
    head, tail = lines[5 : 5 + ends], lines[-ends:]
    growth = {
        name: round(statistics.median(line[name] for line in tail) / statistics.median(line[name] for line in head), 3)
        for name in head[0]
        if name not in ("period", "seconds", "killed")  # how long a turn waits for its run is the schedule's
    }
    metered = [event.body for event in bench.ledger.events("boston") if event.kind == "metered" and event.body["flow"] == "infer"]
    seconds = [body["seconds"] for body in metered if body["rows"]][5:]
    growth["seconds of the flow"] = round(statistics.median(seconds[-ends:]) / statistics.median(seconds[:ends]), 3)
    say(seconds_of_the_flow=[round(one, 1) for one in seconds])
    served = Counter(event.body["period"] for event in bench.ledger.events("boston") if event.kind == "served")
    told = dict(row for row in status_of(bench).rows if row[0] in ("last inference", "not shown yet"))
    twice, runs = [period for period, count in served.items() if count > 1], shown(bench)
    say(work=f"{periods} periods by schedule", periods=len(served), twice=twice, runs_in_mlflow=runs, status=told, growth=growth)
    grown = {name: value for name, value in growth.items() if value > 1 + GROWTH and not name.startswith("megabytes of")} if not kill else {}
    if twice or len(served) != periods or runs != {"1": periods} or "not shown yet" in told or grown:
        raise SystemExit("not each period once, and shown once, or something grew")


def strike(services: Any, number: int) -> str | None:
    """Kill something every fifth period, in the middle of a run."""
    if number % 5:
        return None
    victim = ("flow", "worker", "mlflow", "prefect")[number // 5 % 4]
    run = at_work()
    if run is None:
        return None
    if victim == "flow":
        with contextlib.suppress(psutil.NoSuchProcess):
            run.send_signal(signal.SIGKILL)
            return victim
        return None
    child = next(child for child in services._children if child.name == victim)
    os.killpg(child.process.pid, signal.SIGKILL)
    child.process.wait()
    services._children.remove(child)
    time.sleep(AWAY)
    services._spawn(victim, *{"worker": services._worker, "mlflow": services._mlflow, "prefect": services._prefect}[victim]())
    return victim


def at_work() -> psutil.Process | None:
    """The process of a run that is past its imports; None when none comes in half a minute."""
    for _ in range(300):
        for process in psutil.process_iter(["cmdline"]):
            with contextlib.suppress(psutil.NoSuchProcess):
                if RUN & set(process.info["cmdline"] or ()) and process.cpu_times().user > 5:
                    return process
        time.sleep(0.1)
    return None


def shown(bench: Any) -> dict[str, int]:
    """How many entries MLflow shows with so many runs."""
    from tasks.io.runs import SHOWN, entry_tag

    experiment, found = bench.runs.experiment("boston"), Counter[str]()
    with bench.runs.store.talking() as client:
        for event in bench.ledger.events("boston"):
            if event.kind == "served":
                runs = client.search_runs([experiment], f"tags.`{entry_tag(event.sequence)}` = '{SHOWN}'")
                found[str(len(runs))] += 1
    return dict(found)


def settle(bench: Any, periods: int) -> None:
    """Wait until all that is on record is shown."""
    for _ in range(300):
        if not bench.ledger.errands("boston") and len(bench.workspace.runs("boston")) >= periods:
            return
        time.sleep(1)
    raise SystemExit(f"{len(bench.ledger.errands('boston'))} entries are not shown")


APPROVE = """
from tasks.io.workbench import Workbench
from tasks.promotion import simulated_review
simulated_review(Workbench.open("boston"), 1, reviewer="Soak", notes="No person looked at this.")
"""


if __name__ == "__main__":
    main()

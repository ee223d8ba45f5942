"""Scores period after period of boston through real servers, a worker and a schedule, and looks at what grows. As JSON lines.

    python tests/benchmarks/soak.py [PERIODS] [--kill]

The case has as many simulated months as there are periods. `infer/boston` runs on an interval; four periods come when those before are on
record. Each line is such a turn: seconds until all were scored; of the servers and the worker together, when they were: resident megabytes,
open files, threads, and what one process holds of connections and databases; and the most that the process of a flow's run held
meanwhile. The last line holds the ends against the beginnings, where there are turns enough to tell them apart. Two hundred periods take
about half an hour, most of it the start of each run's process.

--kill: every second turn a process is killed with -9 while a run is between the first of the turn's periods and the last: by turns the
flow, the worker, MLflow and Prefect's server; all but the flow are started again some seconds later. Each has to fall, which takes 32
periods when every blow meets a run; 40 leave two turns more.
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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from tasks.io.home import PROJECT, Home, quiet_environment

FIRST = "2000-01"
"""The month that the model is trained on."""
TOGETHER = 4
"""Periods that come at a time."""
INTERVAL = 30
"""Seconds between two scheduled runs: more than one takes, or they pile up."""
PATIENCE = 600
"""Seconds that a turn may take."""
WARM = 5
"""Turns at the beginning that are not compared; of the others, at least so many with at least so many."""
GROWTH = 0.1
"""By which part of itself a figure may grow from the first turns to the last."""
JUDGED = ("megabytes", "files", "threads", "megabytes of the flow", "files of the flow", "seconds of the flow")
"""What may not grow. How long a turn waits for its run is the schedule's; the servers are judged together, and told one by one."""
POOLS = {"connections": 40, "handles of a database": 46}
"""What one process may hold at any time of what is kept open to be used again. These pools fill as chance brings calls together, and then
stay: Prefect's client opens 16 connections at most, and a worker has two; its server 15 to its database, with two handles each and, until
SQLite may close it, one that is done with. They are not among the files; nor, among the threads, the one that Prefect's server has for each
connection to its database."""
VICTIMS = ("flow", "worker", "mlflow", "prefect")
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
    path.write_text(text.replace("first: 2024-01\n    months: 8", f"first: {FIRST}\n    months: {periods + 1}"), encoding="utf-8")
    return folder


def ports() -> Any:
    """Three free ports."""
    from tasks.io.servers import Ports

    with contextlib.ExitStack() as stack:
        taken = [stack.enter_context(socket.socket()) for _ in range(3)]
        for one in taken:
            one.bind(("127.0.0.1", 0))
        return Ports(*(one.getsockname()[1] for one in taken))


def in_production(environment: Mapping[str, str], first: str) -> None:
    """Version 1 of boston, trained on its first month, reviewed and promoted, by the command line."""
    for command in (
        ["-m", "flows.cli", "snapshot", "boston", "--period", first],
        ["-m", "flows.cli", "train", "boston"],
        ["-c", APPROVE],
        ["-m", "flows.cli", "promote", "boston", "1"],
    ):
        subprocess.run([sys.executable, *command], check=True, cwd=PROJECT, env=dict(environment), stdout=subprocess.DEVNULL)


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
    """What the processes hold now: together, and the memory and threads of each family."""
    total: Counter[str] = Counter()
    for name, process in family(services):
        with contextlib.suppress(psutil.Error):
            megabytes = process.memory_info().rss / 1e6
            total["megabytes"] += megabytes
            total[f"megabytes of {name}"] += megabytes
            pools = Counter({"connections": len(process.net_connections("all"))})
            databases = [Path(one.path).name for one in process.open_files() if ".db" in Path(one.path).name]
            pools["handles of a database"] = len(databases)
            total["files"] += process.num_fds() - pools.total()
            total |= pools  # the most that one process holds
            threads = process.num_threads() - (sum(file.endswith(".db") for file in databases) if name == "prefect" else 0)
            total["threads"] += threads
            total[f"threads of {name}"] += threads
    return {name: round(value) for name, value in total.items()}


def at_work(home: Home) -> list[psutil.Process]:
    """The processes of flows' runs in this home; a killed worker leaves one that is no longer its child."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        with contextlib.suppress(psutil.Error):
            if RUN & set(process.info["cmdline"] or ()) and process.environ().get("EQUIPOISE_HOME") == str(home.root):
                found.append(process)
    return found


def weight_of_flow(home: Home) -> Counter[str]:
    """The most that a run's process holds now."""
    most = Counter[str]()
    for process in at_work(home):
        with contextlib.suppress(psutil.Error):
            most |= Counter({"megabytes of the flow": round(process.memory_info().rss / 1e6), "files of the flow": process.num_fds()})
    return most


def say(**line: Any) -> None:
    print(json.dumps(line), flush=True)  # noqa: T201


def main() -> None:
    """Print one line for each turn and one for the whole. Exits 1 when a period is not scored and shown once, or something grew."""
    asked = argparse.ArgumentParser()
    asked.add_argument("periods", nargs="?", type=int, default=200)
    asked.add_argument("--kill", action="store_true")
    options = asked.parse_args()
    if options.periods < TOGETHER or options.periods % TOGETHER:
        asked.error(f"periods come {TOGETHER} at a time: give a multiple of that")
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
            in_production(os.environ | services.environment, FIRST)
            os.environ |= services.environment
            schedule()
            soak(home, services, options.periods, kill=options.kill)


def schedule() -> None:
    """Let `infer/boston` run on an interval instead of by its case's clock."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.schedules import IntervalSchedule

    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name("infer/boston")
        for one in deployment.schedules:
            client.delete_deployment_schedule(deployment.id, one.id)
        client.create_deployment_schedules(deployment.id, [(IntervalSchedule(interval=dt.timedelta(seconds=INTERVAL)), True)])


def soak(home: Home, services: Any, periods: int, *, kill: bool) -> None:
    """Turn after turn, and the judgement."""
    from tasks.core.case import shift_period
    from tasks.io.status import status_of
    from tasks.io.workbench import Workbench

    bench = Workbench.open("boston")
    lines, fallen, struck = list[dict[str, Any]](), list[str](), 0
    for number in range(1, periods // TOGETHER + 1):
        months = [shift_period(FIRST, (number - 1) * TOGETHER + place + 1) for place in range(TOGETHER)]
        # A blow that met no run is struck again in the next turn.
        victim = VICTIMS[len(fallen) % len(VICTIMS)] if kill and number - struck > 1 else None
        lines.append(turn(home, services, bench, months, victim))
        if "killed" in lines[-1]:
            fallen.append(lines[-1]["killed"])
            struck = number
        say(**lines[-1])
    settle(bench, periods)
    events = bench.ledger.events("boston")
    seconds = [event.body["seconds"] for event in events if event.kind == "metered" and event.body["flow"] == "infer" and event.body["rows"]]
    say(seconds_of_the_flow=[round(one, 1) for one in seconds])
    served = Counter(event.body["period"] for event in events if event.kind == "served")
    told = dict(row for row in status_of(bench).rows if row[0] in ("last inference", "not shown yet"))
    twice, entries = [period for period, count in served.items() if count > 1], shown(bench)
    growth = "not judged: processes were killed" if kill else grown(lines, seconds)
    more = {"killed": dict(Counter(fallen))} if kill else {}
    say(work=f"{periods} periods by schedule", periods=len(served), twice=twice, runs_in_mlflow=entries, status=told, growth=growth, **more)
    faults = [f"{victim} never fell" for victim in VICTIMS if kill and victim not in fallen]
    faults += [f"more than {most} {name} in one process" for name, most in POOLS.items() if max(line[name] for line in lines) > most]
    faults += [f"{name} grew" for name in JUDGED if isinstance(growth, dict) and growth[name] > 1 + GROWTH]
    if twice or len(served) != periods or entries != {"1": periods} or "not shown yet" in told:
        faults.append("not each period was scored once and shown once")
    if faults:
        raise SystemExit("; ".join(faults))


def turn(home: Home, services: Any, bench: Any, months: Sequence[str], victim: str | None) -> dict[str, Any]:
    """Let months come and wait until the last is on record; meanwhile a victim falls. Returns: the turn's line."""
    from tasks.snapshots import take_snapshots

    most, killed = Counter[str](), None
    for month in months:
        take_snapshots.fn(bench, month)
        most |= weight_of_flow(home)  # of two counters, `|` keeps the greater counts
    began = time.monotonic()
    while months[-1] not in (served := {event.body["period"] for event in bench.ledger.events("boston") if event.kind == "served"}):
        if victim and killed is None and months[0] in served:
            killed = strike(home, services, victim)
        most |= weight_of_flow(home)
        time.sleep(0.2)
        if time.monotonic() - began > PATIENCE:
            raise SystemExit(f"{months[-1]} was not scored in {PATIENCE} seconds; see {home.root}/logs")
    line = {"period": months[-1], "seconds": round(time.monotonic() - began, 2), **weight(services), **most}
    return line | ({"killed": killed} if killed else {})


def strike(home: Home, services: Any, victim: str) -> str | None:
    """Kill the victim while a run is past its imports. Returns: it, once it is gone; None when there was no such run, or it did not fall by this."""
    run = max(at_work(home), key=spent, default=None)
    if run is None or spent(run) < 5:
        return None
    if victim == "flow":
        with contextlib.suppress(psutil.NoSuchProcess):
            run.send_signal(signal.SIGKILL)
            return victim if psutil.wait_procs([run], timeout=30)[0] else None
        return None
    child = next(child for child in services._children if child.name == victim)
    os.killpg(child.process.pid, signal.SIGKILL)
    fell = child.process.wait() == -signal.SIGKILL
    services._children.remove(child)
    time.sleep(AWAY)
    services._spawn(victim, *{"worker": services._worker, "mlflow": services._mlflow, "prefect": services._prefect}[victim]())
    return victim if fell else None


def spent(process: psutil.Process) -> float:
    """Seconds of a core that a process has had; none when it is gone."""
    with contextlib.suppress(psutil.Error):
        return float(process.cpu_times().user)
    return 0.0


def grown(lines: Sequence[Mapping[str, Any]], seconds: Sequence[float]) -> dict[str, float] | str:
    """By which factor each figure has grown from the first turns to the last; or why that cannot be told."""
    ends = max(WARM, len(lines) // 5)
    if len(lines) < WARM + 2 * ends:
        return f"not judged: {len(lines)} turns, and {WARM + 2 * ends} are needed"
    figures = {name: [line[name] for line in lines] for name in lines[0] if name not in ("period", "seconds")} | {"seconds of the flow": list(seconds)}
    return {name: round(statistics.median(of[-ends:]) / statistics.median(of[WARM : WARM + ends]), 3) for name, of in figures.items()}


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
simulated_review(Workbench.open("boston"), 1, reviewer="Nobody", notes="No person looked at this.")
"""


if __name__ == "__main__":
    main()

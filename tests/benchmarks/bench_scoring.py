"""Speed and memory of scoring from Parquet parts, as JSON lines.

    python tests/benchmarks/bench_scoring.py [--rows 10000000] [--runs 2] [--only one|engines]

A HistGradientBoosting candidate (100 trees) on 8 numeric and 2 categorical columns. one: this process's way, parts read, verified, checked,
guarded, scored and written, beside the estimator's bare `predict` on the same rows encoded in memory, each in a process of its own on
all cores, one after the other. engines: one-threaded workers. Ratios only: absolute times depend on the machine. Exits 1 when a ratio misses
its target by more than a tenth, which is left to noise, or an engine leaves other bytes.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import numpy as np
import pandas as pd

from tasks.core.building import build
from tasks.core.case import Case
from tasks.core.catalogue import Dataset
from tasks.core.encoding import tidy
from tasks.core.evidence import FORMAT
from tasks.io.home import Home
from tasks.io.models import dump, load
from tasks.io.store import ROWS_IN_PART
from tasks.io.workbench import Workbench

AS_BARE, TWO_WORKERS, AS_PROCESSES = 1.1, 1.7, 1.3
"""At most so many times the bare predict; at least so many times as fast as one worker; Dask at most so many times what processes take."""
NOISE = 0.1
"""By which part of itself a ratio may miss before that fails: each engine is measured once, and a machine's other work comes and goes."""
NUMERIC, FITTED = 8, 50_000
KINDS: dict[str, Any] = {f"number {place}": "numeric" for place in range(NUMERIC)} | {"carrier": "categorical", "airport": "categorical"}


def emit(**line: Any) -> None:
    """One line of JSON."""
    print(json.dumps(line), flush=True)  # noqa: T201


def rows_of(count: int, seed: int) -> pd.DataFrame:
    """So many rows: numbers of three decimals with a few gaps, and text columns of 16 and 100 categories."""
    random = np.random.default_rng(seed)
    columns: dict[str, Any] = {"row_id": pd.Series(np.arange(count) + seed * ROWS_IN_PART).map("{:010d}".format)}
    columns |= {name: random.normal(size=count).round(3) for name, kind in KINDS.items() if kind == "numeric"}
    columns["number 7"][random.random(count) < 0.05] = np.nan
    for name, many in (("carrier", 16), ("airport", 100)):
        columns[name] = pd.Series(np.array([f"{name} {place}" for place in range(many)])[random.integers(0, many, count)], dtype="str")
    return pd.DataFrame(columns)


def opened(root: Path, **scoring: Any) -> Workbench:
    """The workbench of the case."""
    columns = [
        {"name": name, "type": "number" if kind == "numeric" else "string", "description": name, "classification": "internal"} for name, kind in KINDS.items()
    ]
    source = {"kind": "file", "location": "flights.csv"}
    dataset = {"name": "flights", "title": "Flights", "description": "Flights", "version": "1", "columns": columns, "source": source}
    case = {
        "case": "flights",
        "purpose": "a benchmark",
        "dataset": "flights",
        "task": "binary",
        "target": {"column": "late", "positive": "1"},
        "features": list(KINDS),
        "periods": {"column": "when"},
        "candidates": [{"name": "boosted", "estimator": {"kind": "hist_gradient_boosting", "params": {"max_iter": 100}}}],
        "metrics": {"primary": "accuracy"},
        "limits": [{"metric": "accuracy", "at_least": 0.5}],
        "carbon": {"country": "USA"},
        "scoring": scoring,
    }
    return Workbench(Home(root=root, project=root), Case.model_validate(case), Dataset.model_validate(dataset))


def prepare(root: Path, rows: int) -> None:
    """A version with its evidence, and a period of so many rows as parts."""
    bench = opened(root)
    store, case, frame = bench.store, bench.case, rows_of(FITTED, 10_000)
    late = (frame["number 0"] + frame["number 1"] * frame["number 2"] + frame["carrier"].str.len() / 4 + np.sin(np.arange(FITTED)) > 2).astype(int)
    model = build(case.candidates[0], case, KINDS).fit(frame, late)
    evidence = {
        "format": FORMAT,
        "case": store.put_json(case.model_dump(mode="json", exclude_none=True, by_alias=True)),
        "periods": ["2024-01"],
        "snapshots": {"features 2024-01": store.put_frame(frame), "labels 2024-01": store.put_frame(frame[["row_id"]].assign(late=late.astype(str)))},
        "parts": store.put_frame(frame[["row_id"]].assign(part="train")),
        "model": store.put(dump(model)),
    }

    def frames() -> Iterator[pd.DataFrame]:
        for seed in range(-(-rows // ROWS_IN_PART)):
            yield rows_of(min(ROWS_IN_PART, rows - seed * ROWS_IN_PART), seed)

    source, _ = store.put_parts(frames())
    tiny, _ = store.put_parts([rows_of(2, 20_000)], rows=1)
    (root / "digests.json").write_text(json.dumps({"evidence": store.put_json(evidence), "model": evidence["model"], "source": source, "tiny": tiny}))


def child(root: Path, what: str, **scoring: Any) -> dict[str, Any]:
    """What a process of its own measures."""
    asked = json.dumps({"root": str(root), "what": what, "scoring": scoring})
    told = subprocess.run([sys.executable, __file__, "--child", asked], check=True, capture_output=True, text=True).stdout
    found: dict[str, Any] = json.loads(told.splitlines()[-1])
    return found


def measure(asked: dict[str, Any]) -> None:
    """In a child: the seconds of one way to predict all rows, and the process's peak memory."""
    root = Path(asked["root"])
    digests, bench = json.loads((root / "digests.json").read_text()), opened(root, **asked["scoring"])
    found = bare(bench, digests) if asked["what"] == "bare" else scored(bench, digests)
    emit(**found, gigabytes=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2))


def bare(bench: Workbench, digests: dict[str, str]) -> dict[str, Any]:
    """The estimator's `predict` on all rows, encoded beforehand."""
    model: Any = load(bench.store.get(digests["model"]))
    frames = (frame for part, _ in bench.store.parts(digests["source"]) for frame in bench.store.batches(part))
    blocks = [model.encoder_.transform(tidy(frame, KINDS)) for frame in frames]
    matrix = np.empty((sum(map(len, blocks)), len(KINDS)), order="F")
    np.concatenate(blocks, out=matrix)
    del blocks
    begun = time.perf_counter()
    answers = model.model_.predict(matrix)
    return {"seconds": time.perf_counter() - begun, "rows": len(answers), "positives": int(answers.sum())}


def scored(bench: Workbench, digests: dict[str, str]) -> dict[str, Any]:
    """All parts scored, here or on an engine: seconds with the engine's start, and what a period of two rows takes, which is the start."""
    from prefect import flow
    from prefect.testing.utilities import prefect_test_harness

    from tasks.scoring import score

    model: Any = load(bench.store.get(digests["model"]))

    @flow(name="a benchmark")
    def run(source: str) -> tuple[float, Any]:
        begun = time.perf_counter()
        found = score(bench, version=1, evidence=digests["evidence"], source=source, where="the period", model=model)
        return time.perf_counter() - begun, found

    with prefect_test_harness(server_startup_timeout=180):
        (start, _), (seconds, found) = run(digests["tiny"]), run(digests["source"])
    return {"seconds": seconds, "start": start, "rows": found.rows, "predictions": found.predictions}


def one(root: Path, runs: int) -> list[str]:
    """This process's way beside the bare predict: the best of several runs of each, one after the other. Returns: what was missed."""
    both = [(child(root, "bare"), child(root, "score")) for _ in range(runs)]
    peer, ours = (min(pair, key=lambda run: float(run["seconds"])) for pair in zip(*both, strict=True))
    times = ours["seconds"] / peer["seconds"]
    emit(
        work=f"{ours['rows']:,} rows from parts, all cores",
        seconds=round(ours["seconds"], 1),
        peer="bare predict in memory",
        peer_seconds=round(peer["seconds"], 1),
        times=round(times, 2),
        at_most=AS_BARE,
        gigabytes=ours["gigabytes"],
        below=1.5,
        peer_gigabytes=peer["gigabytes"],
    )
    return ["the bare predict"] if times > AS_BARE * (1 + NOISE) else []


def engines(root: Path) -> list[str]:
    """Two workers of one thread beside one, which is a process; once they have started, and with their start. Returns: what was missed."""
    os.environ["OMP_NUM_THREADS"] = "1"
    single, processes, missed = child(root, "score", engine="processes", workers=1), None, []
    for engine in ("processes", "dask", "ray"):
        found = child(root, "score", engine=engine, workers=2)
        took = found["seconds"] - found["start"]
        processes = processes or took
        ratio, times = (single["seconds"] - single["start"]) / took, took / processes
        emit(
            work=f"{found['rows']:,} rows, two workers of {engine}",
            seconds=round(took, 1),
            start=round(found["start"], 1),
            peer="one process",
            peer_seconds=round(single["seconds"] - single["start"], 1),
            ratio=round(ratio, 2),
            target=TWO_WORKERS if engine == "processes" else None,
            times_of_processes=round(times, 2),
            at_most=AS_PROCESSES if engine == "dask" else None,
            ratio_with_start=round(single["seconds"] / found["seconds"], 2),
            same_bytes=found["predictions"] == single["predictions"],
            gigabytes=found["gigabytes"],
        )
        if (engine == "processes" and ratio < TWO_WORKERS * (1 - NOISE)) or (engine == "dask" and times > AS_PROCESSES * (1 + NOISE)):
            missed.append(engine)
        if found["predictions"] != single["predictions"]:
            missed.append(f"the bytes of {engine}")
    return missed


def main() -> None:
    """Print one line for each measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--only", choices=["one", "engines"])
    parser.add_argument("--child", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        measure(json.loads(asked.child))
        return
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), asked.rows)
        missed = one(Path(folder), asked.runs) if asked.only in (None, "one") else []
        missed += engines(Path(folder)) if asked.only in (None, "engines") else []
    if missed:
        raise SystemExit(f"missed: {', '.join(missed)}")


if __name__ == "__main__":
    main()

"""Slice search: speed and memory beside sliceline, and how often it is right, as JSON lines.

    python tests/benchmarks/bench_slices.py [--rows 1000000] [--runs 400] [--only speed|null|planted]

Speed runs in a process of its own, so that the peak of its memory is that of the search and its table. sliceline is run
to depth 2 where it is installed and `--peer` asks for it; it needs 17 GB and a minute.
"""

import argparse
import json
import resource
import statistics
import time
from multiprocessing import get_context
from typing import Any

import numpy as np
import pandas as pd

from tasks.core.slices import find


def emit(**line: Any) -> None:
    """One line of JSON."""
    print(json.dumps(line), flush=True)  # noqa: T201


def features(random: np.random.Generator, rows: int) -> pd.DataFrame:
    """14 columns: five texts, five codes, four continuous numbers; each with about ten parts."""
    frame = {f"text{k}": random.choice(np.array([f"value {v}" for v in range(10)]), rows) for k in range(5)}
    frame |= {f"code{k}": random.integers(0, 10, rows) for k in range(5)}
    return pd.DataFrame(frame | {f"number{k}": random.normal(size=rows) for k in range(4)})


def with_errors(random: np.random.Generator, frame: pd.DataFrame, rate: Any) -> pd.DataFrame:
    """Binary labels and predictions that are wrong at this rate."""
    y = random.integers(0, 2, len(frame))
    return frame.assign(y_true=y, y_pred=np.where(random.random(len(frame)) < rate, 1 - y, y))


def _speed(rows: int, runs: int) -> tuple[list[float], float, float, int]:
    random = np.random.default_rng(0)
    frame = features(random, rows)
    frame = with_errors(random, frame, np.where((frame.text0 == "value 3") & (frame.code1 == 4), 0.3, 0.1))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    seconds = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        report = find(frame)
        seconds.append(time.perf_counter() - start)
    assert report.slices[0].condition == "text0 = 'value 3' AND code1 = 4"
    return seconds[1:], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, before, report.examined


def _peer(rows: int) -> float:
    from sliceline.slicefinder import Slicefinder

    random = np.random.default_rng(0)
    frame = features(random, rows)
    frame = with_errors(random, frame, np.where((frame.text0 == "value 3") & (frame.code1 == 4), 0.3, 0.1))
    binned = frame.drop(columns=["y_true", "y_pred"])
    for name in binned.columns[-4:]:
        binned[name] = pd.qcut(binned[name], 10, labels=False)
    start = time.perf_counter()
    Slicefinder(k=20, max_l=2, min_sup=rows // 500).fit(binned, (frame.y_true != frame.y_pred).to_numpy())
    return time.perf_counter() - start


def speed(rows: int, peer: bool) -> None:
    """Depth 3 on 14 columns, from a DataFrame with texts to the report."""
    with get_context("spawn").Pool(1) as pool:
        seconds, peak, before, examined = pool.apply(_speed, (rows, 5))
    ours = statistics.median(seconds)
    emit(
        work="slices to depth 3, 14 columns", rows=rows, ours=ours, fastest=min(seconds), examined=examined, peak_gb=peak, table_gb=before, target="under 1 GB"
    )
    if peer:
        with get_context("spawn").Pool(1) as pool:
            other = pool.apply(_peer, (rows,))
        emit(work="sliceline to depth 2, the same table", rows=rows, ours=ours, peer=other, ratio=other / ours, target="at least 50")


def null(runs: int, rows: int) -> None:
    """Errors that have nothing to do with any column: how many runs confirm a slice."""
    for name in ("classes, 10 % wrong", "classes, 1 % wrong", "losses skewed to the right", "losses skewed to the left"):
        random = np.random.default_rng(1)
        false = 0
        for seed in range(runs):
            frame = features(random, rows)
            if name.startswith("classes"):
                frame = with_errors(random, frame, 0.1 if "10" in name else 0.01)
            else:
                drawn = random.exponential(1, rows) if name.endswith("right") else 1 - random.beta(0.3, 8, rows)
                frame = frame.assign(y_true=0.0, y_pred=drawn)
            false += bool(find(frame, seed=seed).frame().confirmed.any())
        emit(work=f"runs that confirm a slice where there is none: {name}", rows=rows, runs=runs, share=false / runs, target="at most 0.05")


def planted(runs: int, rows: int = 50_000, size: int = 500) -> None:
    """One slice of 500 rows in 50,000 whose error is three times the rest: how often it comes first, and is confirmed."""
    for rest in (0.03, 0.05, 0.1, 0.2):
        for depth in (1, 2, 3):
            random = np.random.default_rng(2)
            first = confirmed = 0
            for seed in range(runs):
                frame, inside, condition = plant(random, features(random, rows), depth, rows // size)
                frame = with_errors(random, frame, np.where(inside, 3 * rest, rest))
                slices = find(frame, seed=seed).slices
                hit = bool(slices) and set(slices[0].condition.split(" AND ")) == set(condition.split(" AND "))
                first += hit
                confirmed += hit and slices[0].confirmed
            emit(
                work=f"a slice of {size} rows planted at depth {depth}",
                rows=rows,
                runs=runs,
                rest=rest,
                first=first / runs,
                confirmed=confirmed / runs,
                target="first in at least 0.95",
            )


def plant(random: np.random.Generator, frame: pd.DataFrame, depth: int, parts: int = 100) -> tuple[pd.DataFrame, np.ndarray, str]:
    """The frame with columns of which one combination, `depth` columns deep, is met by exactly one row in `parts`; those rows; its condition."""
    joint = random.permutation(np.arange(len(frame)) % parts)
    if depth == 1:
        frame = frame.assign(code0=np.where(joint == 0, 0, 1 + joint % 9))
        return frame, joint == 0, "code0 = 0"
    sizes = (10, parts // 10) if depth == 2 else (4, 5, parts // 20)
    digits = np.unravel_index(joint, sizes)
    names = ("code0", "code1", "code2")[:depth]
    return frame.assign(**dict(zip(names, digits, strict=True))), joint == 0, " AND ".join(f"{name} = 0" for name in names)


def main() -> None:
    """Run the benchmarks asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--peer", action="store_true")
    parser.add_argument("--only", choices=["speed", "null", "planted"])
    chosen = parser.parse_args()
    if chosen.only in (None, "speed"):
        speed(chosen.rows, chosen.peer)
    if chosen.only in (None, "null"):
        null(chosen.runs, 20_000)
    if chosen.only in (None, "planted"):
        planted(chosen.runs)


if __name__ == "__main__":
    main()

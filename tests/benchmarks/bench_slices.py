"""Slice search: speed and memory beside its peers, and how often it is right, as JSON lines.

    python tests/benchmarks/bench_slices.py [--rows 1000000] [--runs 400] [--only speed|null|planted] [--peer NAME] [--peer-rows 100000]

Everything timed runs in a process of its own, so that the peak of its memory is that of the search and its table. The peers,
sliceline and divexplorer, come with `pip install equipoise[peers]` and both are run unless `--peer` names one, or `none`.
They search to depth 2 (sliceline fails at depth 3 on these tables), we to depth 3. sliceline needs 3 GB for 100,000 rows and
9 GB for 300,000, divexplorer two minutes for 100,000, so that they get fewer rows than we unless `--peer-rows` says
otherwise; each line says how many, and our time in it is on as many.
"""

import argparse
import json
import resource
import statistics
import time
from importlib.metadata import version
from importlib.util import find_spec
from multiprocessing import get_context
from typing import Any

import numpy as np
import pandas as pd

from tasks.core.predictions import Source
from tasks.core.slice_choice import Sample
from tasks.core.slice_columns import read_columns, read_errors
from tasks.core.slice_search import Search
from tasks.core.slices import find

PEERS = ("sliceline", "divexplorer")


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


def _planted_pair(rows: int) -> pd.DataFrame:
    """The table that speed is measured on: one slice of two columns errs three times as often as the rest."""
    random = np.random.default_rng(0)
    frame = features(random, rows)
    return with_errors(random, frame, np.where((frame.text0 == "value 3") & (frame.code1 == 4), 0.3, 0.1))


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def _speed(rows: int, runs: int, weighted: bool = False) -> tuple[list[float], float, float, int]:
    frame = _planted_pair(rows)
    if weighted:
        frame["weight"] = np.random.default_rng(1).uniform(0.5, 2, rows)
    before = _peak()
    seconds = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        report = find(frame)
        seconds.append(time.perf_counter() - start)
    assert report.slices[0].condition == "text0 = 'value 3' AND code1 = 4"
    return seconds[1:], _peak(), before, report.examined


def _peer(name: str, rows: int) -> tuple[float, float, bool]:
    """A peer's seconds and peak memory, and whether it finds the slice."""
    frame = _planted_pair(rows)
    binned = frame.drop(columns=["y_true", "y_pred"])
    for column in binned.columns[-4:]:
        binned[column] = pd.qcut(binned[column], 10, labels=False)
    error = (frame.y_true != frame.y_pred).to_numpy()
    if name == "sliceline":
        from sliceline.slicefinder import Slicefinder

        start = time.perf_counter()  # with its default alpha, 0.6, a slice of one row in a hundred scores less than nothing
        finder = Slicefinder(alpha=0.99, k=20, max_l=2, min_sup=rows // 500, verbose=False).fit(binned, error)
        seconds = time.perf_counter() - start
        top = {str(value) for value in np.asarray(finder.top_slices_[0]).tolist() if value is not None} if len(finder.top_slices_) else set()
        return seconds, _peak(), top == {"value 3", "4"}
    from divexplorer import DivergenceExplorer

    start = time.perf_counter()
    found = DivergenceExplorer(binned.assign(error=error)).get_pattern_divergence(min_support=1 / 500, boolean_outcomes=["error"])
    seconds = time.perf_counter() - start
    return seconds, _peak(), set(found.loc[found["error_div"].idxmax(), "itemset"]) == {"text0=value 3", "code1=4"}


def _apart(work: Any, *arguments: Any) -> Any:
    """The result of a function that runs in a process of its own."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


def speed(rows: int) -> None:
    """Depth 3 on 14 columns, from a DataFrame with texts to the report."""
    for weighted in (False, True):
        seconds, peak, before, examined = _apart(_speed, rows, 5, weighted)
        emit(
            work="slices to depth 3, 14 columns" + (", rows of different weight" if weighted else ""),
            rows=rows,
            ours=statistics.median(seconds),
            fastest=min(seconds),
            examined=examined,
            peak_gb=peak,
            table_gb=before,
            target="under 1 GB",
        )


def beside(peer: str, rows: int) -> None:
    """A peer to depth 2 beside our search to depth 3, on the same table."""
    work = f"{peer} to depth 2, ours to depth 3, 14 columns"
    if find_spec(peer) is None:
        emit(work=work, skipped=f"{peer} is not installed", fix="pip install equipoise[peers]")
        return
    ours = statistics.median(_apart(_speed, rows, 5)[0])
    other, peak, told = _apart(_peer, peer, rows)
    emit(work=work, rows=rows, ours=ours, peer=other, ratio=other / ours, version=version(peer), peer_peak_gb=peak, peer_finds_it=told, target="at least 50")


def null(runs: int, rows: int) -> None:
    """Errors that have nothing to do with any column: how many runs confirm a slice."""
    for name in (*("classes, 10 % wrong", "classes, 1 % wrong", "losses skewed to the right", "losses skewed to the left"), *WEIGHTED):
        random = np.random.default_rng(1)
        false = 0
        for seed in range(runs):
            frame = features(random, rows)
            if name.startswith("classes"):
                frame = with_errors(random, frame, 0.1 if "10" in name else 0.01)
            else:
                drawn = random.exponential(1, rows) if name.startswith("losses skewed to the right") else 1 - random.beta(0.3, 8, rows)
                frame = frame.assign(y_true=0.0, y_pred=drawn)
            if name in WEIGHTED:  # one code stands for many more than its rows, and others for fewer
                frame["weight"] = random.lognormal(0, 1, rows) * np.where(frame.code0 == 3, 5, 1)
            false += bool(find(frame, seed=seed).frame().confirmed.any())
        emit(work=f"runs that confirm a slice where there is none: {name}", rows=rows, runs=runs, share=false / runs, target="at most 0.05")


WEIGHTED = ("classes, 10 % wrong, weighted", "classes, 1 % wrong, weighted", "losses skewed to the right, weighted")


def planted(runs: int, rows: int = 50_000, size: int = 500) -> None:
    """One slice of 500 rows in 50,000 whose error is three times the rest: how often it comes first, and is confirmed.

    `bound` is how often it is the likeliest of all slices with enough rows, all rows looked at: who knows no more than the
    table, and confirms nothing, cannot put it first more often by much.
    """
    for rest in (0.03, 0.05, 0.1, 0.2):
        for depth in (1, 2, 3):
            random = np.random.default_rng(2)
            first = confirmed = likeliest = 0
            for seed in range(runs):
                frame, inside, condition = plant(random, features(random, rows), depth, rows // size)
                frame = with_errors(random, frame, np.where(inside, 3 * rest, rest))
                slices = find(frame, seed=seed).slices
                parts = set(condition.split(" AND "))
                hit = bool(slices) and set(slices[0].condition.split(" AND ")) == parts
                first += hit
                confirmed += hit and slices[0].confirmed
                likeliest += most_likely(frame, rows // 500) == parts
            emit(
                work=f"a slice of {size} rows planted at depth {depth}",
                rows=rows,
                runs=runs,
                rest=rest,
                first=first / runs,
                bound=likeliest / runs,
                confirmed=confirmed / runs,
                target="first in at least 0.95",
            )


def most_likely(frame: pd.DataFrame, support: int) -> set[str]:
    """The parts of the slice with the largest likelihood ratio of all, on all rows."""
    source = Source(frame)
    cut = [column.supported(None, support) for column in read_columns(source, None)]
    whole = Sample.of(cut, read_errors(source, None))
    found = Search(whole.codes, [len(column.labels) for column in cut], whole.tested, whole.counted, support).run(3)
    return {cut[column].conditions[code] for column, code in next(found.slices(), ())}


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
    parser.add_argument("--runs", type=int, default=400, help="runs without a slice; half as many with one")
    parser.add_argument("--peer", choices=[*PEERS, "none"], help="run this peer only, or none")
    parser.add_argument("--peer-rows", type=int, default=100_000)
    parser.add_argument("--only", choices=["speed", "null", "planted"])
    chosen = parser.parse_args()
    if chosen.only in (None, "speed"):
        speed(chosen.rows)
        for peer in PEERS if chosen.peer is None else {chosen.peer} - {"none"}:
            beside(peer, chosen.peer_rows)
    if chosen.only in (None, "null"):
        null(chosen.runs, 20_000)
    if chosen.only in (None, "planted"):
        planted(chosen.runs // 2)


if __name__ == "__main__":
    main()

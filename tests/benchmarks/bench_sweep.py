"""The sweep of adult on one core and on two, as JSON lines.

    python tests/benchmarks/bench_sweep.py [--rows 48842]

The same 40 candidates (the product that configs/adult.yaml lists) on the same rows, one run after the other. `fits` counts
the estimators fitted against those that fitting each candidate by itself would take.
"""

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import pandas as pd

from tasks.core.case import Case
from tasks.core.searching import Ground, search, try_group
from tasks.core.sweep import product
from tasks.io.documents import load_case, load_dataset

PROJECT = Path(__file__).parents[2]


def emit(**line: Any) -> None:
    """One line of JSON."""
    print(json.dumps(line), flush=True)  # noqa: T201


def ground(rows: int) -> Ground:
    """Adult as its case splits it, from the raw table: two thirds to fit on, one third to judge on."""
    case = load_case("adult", PROJECT)
    kinds = {column.name: "numeric" if column.type in ("integer", "number") else "categorical" for column in load_dataset("adult", PROJECT).columns}
    frame = pd.read_parquet(PROJECT / "data/raw/adult/adult.parquet").head(rows).reset_index(drop=True)
    target = (frame["income"] == ">50K").astype(int)
    cut = len(frame) * 2 // 3
    own = case.model_dump(mode="json") | {"candidates": [{"name": "mean", "estimator": {"kind": "random_forest"}}]}  # so that none of the 40 is left out
    return Ground(Case.model_validate(own), kinds, (frame[:cut], target[:cut]), (frame[cut:], target[cut:]))


def main() -> None:
    """One core, two, and the ratio."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=48_842)
    where = ground(parser.parse_args().rows)
    specs = product(where.case)
    try_group(where, specs[:1])  # what is imported on first use
    cores, seconds = os.sched_getaffinity(0), {}
    for workers in (1, 2):
        os.sched_setaffinity(0, sorted(cores)[:workers])  # one core means one: libraries start threads of their own
        begun = time.perf_counter()
        found = search(where, specs, workers=workers, spent=lambda: None, said=lambda _: None)
        seconds[workers] = time.perf_counter() - begun
        outcomes = [one.trial.outcome for one in found]
        counts = {outcome: outcomes.count(outcome) for outcome in dict.fromkeys(outcomes)}
        emit(work="sweep", candidates=len(specs), rows=len(where.train[0]), cores=workers, seconds=seconds[workers], outcomes=counts)
    emit(work="sweep", candidates=len(specs), ratio=seconds[1] / seconds[2], target="at least 1.6")


if __name__ == "__main__":
    main()

"""Steps of a candidate beside the libraries they come from, as JSON lines.

    python tests/benchmarks/bench_mitigation.py [--rows 16000] [--runs 3] [--only smote ...]

Each line has our time and the library's on the same rows of adult, run in turn in one process, and the share of
rows that came out alike. Times are medians after a first run of each.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tasks.core.encoding import Encoder, tidy
from tasks.core.mitigation.sampling import METHODS

ADULT = Path(__file__).parents[2] / "data/raw/adult/adult.parquet"
SLOW = {"cluster_centroids": 3_000}
"""Rows at most, for what takes minutes on all of them."""


def emit(**line: Any) -> None:
    """One line of JSON."""
    print(json.dumps(line), flush=True)  # noqa: T201


def adult(rows: int) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Training rows of adult as a candidate's steps see them: the tidy frame, its encoded matrix, and labels."""
    frame = pd.read_parquet(ADULT).query("split == 'train'").head(rows).drop(columns="split").replace("?", None)
    y = (frame.pop("income") == ">50K").to_numpy(dtype=np.int64)
    kinds = {name: "numeric" if pd.api.types.is_numeric_dtype(frame[name]) else "categorical" for name in frame}
    columns = tidy(frame, kinds)
    encoder = Encoder(kinds, "dense").fit(columns)
    return (
        pd.DataFrame({name: values if kinds[name] == "numeric" else pd.Series(values, dtype="str") for name, values in columns.items()}),
        encoder.transform(columns),
        y,
    )


def in_turn(works: list[Callable[[], Any]], runs: int) -> tuple[list[float], list[Any]]:
    """Median seconds of each work and its last result; the works take turns, so that a busy spell meets them alike."""
    seconds: list[list[float]] = [[] for _ in works]
    results = [work() for work in works]
    for _ in range(runs):
        for place, work in enumerate(works):
            start = time.perf_counter()
            results[place] = work()
            seconds[place].append(time.perf_counter() - start)
    return [statistics.median(of_one) for of_one in seconds], results


def libraries(text: list[str]) -> dict[str, Any]:
    """imbalanced-learn's sampler for each of our methods, with the same seed."""
    from imblearn import over_sampling, under_sampling

    return {
        "random_over_sampler": over_sampling.RandomOverSampler(random_state=0),
        "random_under_sampler": under_sampling.RandomUnderSampler(random_state=0),
        "smote": over_sampling.SMOTE(random_state=0),
        "smotenc": over_sampling.SMOTENC(text, random_state=0),
        "smoten": over_sampling.SMOTEN(random_state=0),
        "tomek_links": under_sampling.TomekLinks(),
        "edited_nearest_neighbours": under_sampling.EditedNearestNeighbours(),
        "cluster_centroids": under_sampling.ClusterCentroids(random_state=0),
    }


def rebalancing(rows: int, runs: int, only: list[str]) -> None:
    """Every rebalancing step beside imbalanced-learn's own."""
    frame, matrix, y = adult(rows)
    text = [name for name in frame if frame[name].dtype != np.float64]
    for name, library in libraries(text).items():
        if only and name not in only:
            continue
        step = METHODS[name]((), 0, {})
        given: Any = matrix if step.reads == "matrix" else frame[text] if name == "smoten" else frame
        most = SLOW.get(name, len(y))
        given, labels = given[:most], y[:most]
        (ours, peer), (made, theirs) = in_turn([lambda: step.fit_resample(given, labels), lambda: library.fit_resample(given, labels)], runs)  # noqa: B023
        alike = (np.asarray(made[0], dtype=object) == np.asarray(theirs[0], dtype=object)).all(axis=1) if len(made[0]) == len(theirs[0]) else np.zeros(1)
        emit(work=name, rows=len(labels), ours=ours, peer=peer, ratio=ours / peer, alike=float(alike.mean()), target="at most 1.10")


def main() -> None:
    """Run the benchmarks asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=16_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[])
    chosen = parser.parse_args()
    rebalancing(chosen.rows, chosen.runs, chosen.only)


if __name__ == "__main__":
    main()

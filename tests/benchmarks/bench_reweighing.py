"""Reweighing beside a plain pandas groupby, and the correlation remover beside fairlearn's, as JSON lines.

    python tests/benchmarks/bench_reweighing.py [--rows 300000] [--runs 7]

Both of a pair run in turn on the same data, and the medians are compared.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from tasks.core.mitigation.correlation_remover import CorrelationRemover
from tasks.core.mitigation.reweighing import Reweighing


def emit(**line: Any) -> None:
    """One line of JSON."""
    print(json.dumps(line), flush=True)  # noqa: T201


def compare(work: str, rows: int, runs: int, ours: Callable[[], np.ndarray], theirs: Callable[[], np.ndarray]) -> None:
    """Seconds of each, in turn, after one run of both that must agree."""
    np.testing.assert_allclose(ours(), theirs(), atol=1e-8)
    seconds: dict[str, list[float]] = {"ours": [], "peer": []}
    for _ in range(runs):
        for name, run in (("ours", ours), ("peer", theirs)):
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    mine, peer = statistics.median(seconds["ours"]), statistics.median(seconds["peer"])
    emit(work=work, rows=rows, ours=mine, peer=peer, ratio=mine / peer, target="at most 1.10")


def reweighing(rows: int, runs: int) -> None:
    """Weights for three groups and two labels."""
    random = np.random.default_rng(0)
    groups = random.choice(["sex=Female", "sex=Male", "sex=missing"], rows, p=[0.3, 0.69, 0.01]).astype(object)
    y = (random.random(rows) < 0.25).astype(np.int64)

    def plain() -> np.ndarray:
        table = pd.DataFrame({"group": groups, "y": y, "one": 1.0})
        of_group, of_label, of_cell = (table.groupby(keys)["one"].transform("sum") for keys in (["group"], ["y"], ["group", "y"]))
        return (of_group * of_label / (rows * of_cell)).to_numpy()

    compare("reweighing, against a pandas groupby", rows, runs, lambda: Reweighing().weigh(y, groups=groups), plain)


def correlation(rows: int, runs: int) -> None:
    """Fit and transform of 40 features, two groups; fairlearn is given the groups' indicator as a column, ready made."""
    from fairlearn.preprocessing import CorrelationRemover as Theirs

    random = np.random.default_rng(0)
    groups = random.choice(["sex=Female", "sex=Male"], rows).astype(object)
    X = np.asfortranarray(random.normal(size=(rows, 40)))
    both = np.column_stack([groups == "sex=Male", X]).astype(np.float64)
    compare(
        "correlation remover, 40 features, against fairlearn's",
        rows,
        runs,
        lambda: CorrelationRemover().fit(X, groups=groups).transform(X, groups=groups),
        lambda: Theirs(sensitive_feature_ids=[0]).fit(both).transform(both),
    )


def main() -> None:
    """Run both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--runs", type=int, default=7)
    chosen = parser.parse_args()
    reweighing(chosen.rows, chosen.runs)
    correlation(chosen.rows, chosen.runs)


if __name__ == "__main__":
    main()

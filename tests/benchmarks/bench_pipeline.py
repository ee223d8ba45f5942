"""What a month of the pipeline costs beside its floor, as JSON lines: scoring and drift of boston's 506 rows.

    python tests/benchmarks/bench_pipeline.py

The floor of scoring is the bare `predict` on the same rows; the floor of drift is Evidently's own preset on the same two
frames with its defaults. Ratios only: absolute times depend on the machine.
"""

import json
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

from tasks.io.home import PROJECT, Home, quiet_environment


def seconds(work: Callable[[], Any], runs: int = 5) -> float:
    """Median seconds of several runs after a first."""
    work()
    found = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return statistics.median(found)


def main() -> None:
    """Print one line for each measurement."""
    import tempfile
    from pathlib import Path

    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        quiet_environment(Home(Path(folder)))
        from evidently import Report
        from evidently.presets import DataDriftPreset

        from tasks.core.building import build
        from tasks.core.schema import check_schema
        from tasks.core.simulation import simulate
        from tasks.io.documents import load_case, load_dataset
        from tasks.io.references import Reference
        from tasks.io.sources import read_source
        from tasks.io.workspace import Workspace

        case, dataset = load_case("boston", PROJECT), load_dataset("boston", PROJECT)
        base = read_source(dataset.source, root=PROJECT)
        month = simulate(base, case.periods.simulate, 5, features=case.features, target="MEDV")
        kinds = dict.fromkeys(case.features, "numeric")
        candidate = build(case.candidates[1], case, dict.fromkeys(dataset.names, "numeric"))
        candidate.fit(base, base["MEDV"])
        matrix = candidate.encoder_.transform({name: month[name].to_numpy(float) for name in case.features})
        bare = seconds(lambda: candidate.model_.estimator_.predict(matrix) if hasattr(candidate.model_, "estimator_") else candidate.model_.predict(matrix))
        ours = seconds(lambda: (check_schema(kinds, month, dataset.names), candidate.predict(month)))
        print(json.dumps({"work": "score a month of boston, schema check and encoding included", "floor": "bare predict", "ratio": round(ours / bare, 2)}))  # noqa: T201
        frames = month[list(case.features)], base[list(case.features)]
        preset = seconds(lambda: Report([DataDriftPreset()]).run(*frames).dict(), runs=3)
        workspace = Workspace(Path(folder) / "evidently")
        reference = Reference.of(frames[1], kinds)
        drift = seconds(lambda: workspace.drift(reference, frames[0], settings=case.drift)[1].dict(), runs=3)
        print(json.dumps({"work": "drift report of a month of boston", "peer": "DataDriftPreset", "ratio": round(drift / preset, 2)}))  # noqa: T201


if __name__ == "__main__":
    main()

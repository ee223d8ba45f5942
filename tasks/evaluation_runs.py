"""Step: log evaluations to MLflow: of production on new labels, of predictions from anywhere, of versions side by side."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.core.comparison import Comparison
from tasks.core.digests import json_bytes
from tasks.core.examination import Examination
from tasks.core.figures import cohort_chart
from tasks.io.emissions import EmissionsResult
from tasks.io.home import Home
from tasks.io.runs import Runs
from tasks.io.workbench import Workbench
from tasks.step import flow_run, step

FIGURES = 2  # a picture for each of the first so many metrics


@step("log the examination to MLflow")
def log_examination(found: Examination, predictions: str, experiment: str, asked: Mapping[str, Any], emissions: EmissionsResult) -> str:
    """A run for predictions from anywhere: figures and energy as metrics, the report as JSON, table, page and pictures. Returns its id."""
    home = Home.from_environment()
    name, frame = Path(predictions).name, found.report.frame()
    pictures = [metric.name for metric in found.report.metrics][:FIGURES]
    return Runs(home.mlflow_url, home.artifacts).log_run(
        experiment,
        f"evaluate {name}",
        params={what: value if isinstance(value, str) else json.dumps(value) for what, value in asked.items()} | {"predictions": predictions},
        metrics={**found.report.named("predictions"), "emissions_kg": emissions.kg, "energy_kwh": emissions.kwh},
        tags=flow_run() | emissions.tags,
        artifacts={
            "reports/evaluation.json": json_bytes(found.to_dict()),
            "reports/evaluation.html": found.page(name).encode(),
            "reports/cohorts.csv": frame.to_csv(index=False).encode(),
            **{f"figures/{metric}.png": cohort_chart(frame, metric, title=f"{metric} of {name}") for metric in pictures},
        },
    )


@step("log the comparison to MLflow")
def log_comparison(bench: Workbench, comparison: Comparison, versions: Sequence[int]) -> str:
    """A run for versions held side by side, with the table as JSON and CSV. Returns its id."""
    frame = comparison.frame()
    known = frame[(frame["cohort"] == "overall") & frame["delta"].notna()].to_dict("records") if "delta" in frame else []
    return str(
        bench.runs.log_run(
            bench.case.case,
            f"compare {', '.join(map(str, versions))}",
            params={"baseline": comparison.baseline, "versions": ", ".join(map(str, versions))},
            metrics={f"{row['model']}/delta/{row['metric']}": row["delta"] for row in known},
            tags=flow_run() | {"equipoise.case": bench.case.case},
            artifacts={"reports/comparison.json": json_bytes(comparison.to_dict()), "reports/comparison.csv": frame.to_csv(index=False).encode()},
        )
    )

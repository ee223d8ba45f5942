"""The flow `evaluate`: predictions from anywhere into MLflow and Prefect, folded in one process or on a cluster."""

import json

import numpy as np
import pandas as pd
import pytest

from tasks.core.errors import CaseError
from tasks.core.evaluation import evaluate as evaluate_table
from tasks.core.suppression import publish
from tasks.io.home import Home
from tasks.io.runs import Runs

pytestmark = pytest.mark.usefixtures("prefect", "home")
COHORTS = {"by": [["team"], ["team", "city"]], "where": {"Young": "age < 40"}}


@pytest.fixture
def parts(tmp_path):
    """A folder of four Parquet parts with scores, 4,000 rows in all."""
    rng = np.random.default_rng(5)
    folder = tmp_path / "parts"
    folder.mkdir()
    for place in range(4):
        score = rng.random(1000)
        frame = pd.DataFrame({"y_true": (rng.random(1000) < score).astype(int), "y_pred": (score > 0.5).astype(int), "y_score": score})
        frame = frame.assign(team=rng.choice(["A", "B", "<b>"], 1000), city=rng.choice(["x", "y"], 1000), age=rng.integers(18, 90, 1000))
        frame.to_parquet(folder / f"{place}.parquet")
    return folder


def same_rows(found, expected):
    """Two reports' rows and gaps are the same, to the last bit."""
    return json.dumps([found["rows"], found["gaps"]]) == json.dumps([expected["rows"], expected["gaps"]])


def test_a_report_goes_to_mlflow_and_prefect(parts):
    """Figures become metrics, the report JSON, table and page; Prefect has gaps, cohorts, slices and the link to the run."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

    from flows.evaluate import evaluate

    found = evaluate(str(parts), "binary", metrics=["accuracy", "roc_auc"], slices=True, **COHORTS)
    expected = publish(evaluate_table(parts, task="binary", metrics=["accuracy", "roc_auc"], **COHORTS)).to_dict()
    assert same_rows(found, expected)
    home = Home.from_environment()
    runs = Runs(home.mlflow_url, home.artifacts)
    run = runs.store.run(found["run"])
    overall = {row["metric"]: row["value"] for row in found["rows"] if row["cohort"] == "overall"}
    assert run.data.metrics["predictions/roc_auc"] == pytest.approx(overall["roc_auc"])
    assert run.data.metrics["energy_kwh"] > 0
    assert "emissions_kg" not in run.data.metrics
    assert run.data.tags["equipoise.emissions_note"].endswith("Emissions are not known: no country was given.")
    folder = home.artifacts / "evaluations" / found["run"] / "artifacts/reports"
    assert same_rows(json.loads((folder / "evaluation.json").read_text(encoding="utf-8")), expected)
    page = (folder / "evaluation.html").read_text(encoding="utf-8")
    assert "team=A" in page
    assert "team=&lt;b&gt;" in page
    assert "team=<b>" not in page
    with get_client(sync_client=True) as client:
        left = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(like_="evaluation-parts%")), limit=50)
    assert {artifact.key for artifact in left} >= {"evaluation-parts", "evaluation-parts-cohorts", "evaluation-parts-slices", "evaluation-parts-mlflow"}


@pytest.mark.parametrize("engine", ["threads", "dask"])
@pytest.mark.filterwarnings("default")  # the engines' own
def test_parts_folded_anywhere_give_the_same_report(parts, engine):
    """Parts folded on threads and on a local Dask cluster add up to the report of one process, bit for bit. (Engines are started by one function;
    tests/steps/test_scoring.py starts all of them, Ray too, which takes half a minute.)
    """
    pytest.importorskip({"threads": "prefect", "dask": "prefect_dask"}[engine])
    from flows.evaluate import evaluate

    metrics = ["accuracy", "recall", "roc_auc", "log_loss", "average_precision"]
    found = evaluate(str(parts), "binary", metrics=metrics, engine=engine, country="FRA", **COHORTS)
    assert same_rows(found, publish(evaluate_table(parts, task="binary", metrics=metrics, **COHORTS)).to_dict())
    home = Home.from_environment()
    spent = Runs(home.mlflow_url, home.artifacts).store.run(found["run"]).data.metrics
    assert 0 < spent["emissions_kg"] < spent["energy_kwh"]  # a grid that emits less than a kilogram for each kilowatt-hour


def test_parts_of_two_models_are_not_compared_on_a_cluster(parts):
    """A comparison pairs rows, so an engine for parts is refused beside a baseline, and nothing is logged."""
    from flows.evaluate import evaluate

    with pytest.raises(CaseError, match=r"engine.*Leave out `engine`, or `baseline`"):
        evaluate(str(parts), "binary", baseline=str(parts), engine="threads")
    assert not (Home.from_environment().artifacts / "evaluations").exists()

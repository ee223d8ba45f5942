"""`equipoise attribute` on real parts: what is logged, left and shown."""

import json

import pytest

from tasks.core.errors import CaseError
from tasks.core.suppression import K
from tasks.io.workbench import Workbench

pytestmark = pytest.mark.usefixtures("prefect", "home")


def test_attribution_is_logged_left_in_prefect_and_shown(project, monkeypatch, capsys):
    """Both mitigated candidates stand beside baseline and control on every cohort and metric, in MLflow, Prefect, JSON and tables."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
    from rich.console import Console

    from flows import cli_attribute, terminal
    from flows.attribute import attribute
    from flows.snapshot import snapshot

    snapshot("loans", "2024-01")
    result = attribute("loans")
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert result["seeds"] == [0, 1, 2, 3, 4]
    assert result["split"] == {"train": 300, "validation": 150, "test": 150}
    assert [one["name"] for one in result["candidates"]] == ["reweighed", "thresholds"]
    assert result["candidates"][0]["control"] == "logistic with thresholds by region, for balanced_accuracy"
    rows = result["rows"]
    cohorts = ["overall", "region=Nord", "region=Ost", "region=Süd"]
    assert {(row["cohort"], row["metric"]) for row in rows if row["kind"] != "gap"} == {
        (cohort, metric) for cohort in cohorts for metric in ("balanced_accuracy", "accuracy", "recall", "selection_rate")
    }
    assert {(row["cohort"], row["metric"]) for row in rows if row["kind"] == "gap"} == {("gap by region", "recall")}
    assert len(rows) == 2 * 2 * (4 * 4 + 1)
    assert all(row["support"] is None or row["support"] >= K for row in rows)
    assert all(row["low"] <= row["delta"] <= row["high"] for row in rows if row["delta"] is not None)

    bench = Workbench.open("loans")
    run = bench.runs.store.run(result["run"])
    assert run.data.tags["mlflow.runName"] == "attribution"
    overall = next(row for row in rows if (row["candidate"], row["against"], row["cohort"], row["metric"]) == ("thresholds", "control", "overall", "accuracy"))
    assert run.data.metrics["thresholds/control/delta/accuracy"] == pytest.approx(overall["delta"])
    assert "thresholds/baseline/delta/recall/gap by region" in run.data.metrics
    [logged] = (project / "home/artifacts").rglob("attribution.json")
    assert json.loads(logged.read_text(encoding="utf-8"))["rows"] == rows
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(like_="loans-attribution%")), limit=20)
    assert {artifact.key: artifact.type for artifact in found} == {"loans-attribution": "markdown", "loans-attribution-table": "table"}

    monkeypatch.setattr(terminal, "_out", Console(width=170, highlight=False))
    cli_attribute.changes(result["candidates"][1], [row for row in rows if row["candidate"] == "thresholds"])
    shown = capsys.readouterr().out
    assert f"{overall['delta']:+.3f} ({overall['low']:+.3f} to {overall['high']:+.3f})" in shown
    assert "gap by region" in shown
    assert "baseline: logistic without steps" in shown


def test_what_cannot_be_attributed_is_refused_before_the_work(project):
    """Too few seeds, and a case whose candidates have no steps, are said at once; a column that governance forbids stops it as it stops training."""
    from flows.attribute import attribute
    from flows.snapshot import snapshot

    with pytest.raises(CaseError, match=r"4 seeds are too few.*at least 5"):
        attribute("loans", seeds=4)
    path = project / "configs/loans.yaml"
    stated = path.read_text(encoding="utf-8")
    path.write_text(stated.replace("features: [amount, income]", "features: [amount, income, region]"), encoding="utf-8")
    snapshot("loans", "2024-01")
    with pytest.raises(CaseError, match=r"`region` is flagged `proxy`"):
        attribute("loans")
    plain = stated.replace(", pre: [{method: reweighing, by: [region]}]", "")
    plain = plain.replace(",\n     post: [{method: threshold_optimizer, by: [region], constraint: demographic_parity}]", "")
    path.write_text(plain, encoding="utf-8")
    with pytest.raises(CaseError, match="no candidate has steps"):
        attribute("loans")

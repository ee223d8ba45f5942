"""Evidently's project is a view of the record: damaged or gone, it is made again as it was, and nothing is measured for it."""

import json
import os

os.environ.setdefault("DO_NOT_TRACK", "true")

import numpy as np
import pandas as pd
import pytest

from tasks import drift, rebuilding
from tasks.core.case import revision_key
from tasks.core.cohort_drift import CohortsDrift
from tasks.core.domain import Domain
from tasks.core.drift import DriftReport
from tasks.core.evaluation import evaluate
from tasks.core.evidence import stored_report
from tasks.core.online import level
from tasks.core.suppression import publish
from tasks.drift import measure_drift
from tasks.io import references
from tasks.io.manifests import Manifest
from tasks.io.pages_again import beside_of, draw_period
from tasks.io.workbench import Workbench
from tasks.io.workspace import project_id
from tasks.rebuilding import rebuild

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::PendingDeprecationWarning")


def month(seed, shift=0.0, rows=240):
    """Features, labels and predictions of a month of loans."""
    random = np.random.default_rng(seed)
    features = pd.DataFrame(
        {
            "row_id": [f"{seed}-{number}" for number in range(rows)],
            "amount": random.gamma(4, 2500, rows),
            "income": random.normal(40_000 + shift, 9_000, rows),
            "region": random.choice(["Nord", "Süd", "Ost"], rows),
        }
    )
    odds = (features["income"] - 40_000) / 5_000
    score = 1 / (1 + np.exp(-odds))
    labels = pd.DataFrame({"row_id": features["row_id"], "repaid": np.where(random.random(rows) < score, "yes", "no")})
    return features, labels, pd.DataFrame({"row_id": features["row_id"], "y_pred": (score > 0.5).astype("int64"), "y_score": score})


@pytest.fixture
def bench(project, monkeypatch):
    """A version that served two months, the second of them twice; labels of the first; and two runs' energy. The ledger has it all."""
    for module in (drift, rebuilding):
        monkeypatch.setattr(module, "say", lambda _: None)
    references._kept.clear()
    made = Workbench.open("loans")
    store, case, ledger = made.store, made.case, made.ledger
    kinds = {name: made.kinds[name] for name in case.features}
    reference, _, answers = month(0)
    digest = store.put_frame(reference.assign(prediction=answers["y_score"]))
    ledger.append("loans", "registered", 1, {"inputs": kinds, "reference": digest})
    alarms = []
    for period, revision, seed, shift in (("2024-02", 1, 1, 0.0), ("2024-03", 1, 2, 20_000.0), ("2024-03", 2, 3, 0.0)):
        features, labels, predictions = month(seed, shift)
        snapshot, answered = store.put_frame(features), store.put_frame(predictions)
        key = revision_key(f"v1-{period}", revision)
        manifest = Manifest(stream="loans", kind="predictions", key=key, digest=answered, rows=240, schema={}, source="", created="", parent=snapshot)
        found = {"version": 1, "period": period, "reference": digest, "kinds": kinds, "predictions": store.record(manifest), "revision": revision}
        rows = features.assign(prediction=predictions["y_score"])
        report, kept = measure_drift.fn(made, (lambda rows=rows: iter([rows[:100], rows[100:]])) if revision > 1 else rows, alarms=tuple(alarms), **found)
        alarms.append(report.alarm)
        body = {"period": period, "revision": revision, "snapshot": snapshot, "predictions": answered, "drifted": report.drifted, "drift": kept}
        ledger.append("loans", "served", 1, body)
        if period == "2024-02":
            rows = features.assign(y_true=(labels["repaid"] == "yes").astype(int), y_pred=predictions["y_pred"], y_score=predictions["y_score"])
            kept = {"report": stored_report(publish(evaluate(rows, **case.asked))), "predictions": answered, "labels": store.put_frame(labels)}
            ledger.append("loans", "monitored", 1, {"period": period, "labels": kept["labels"], "predictions": answered, "performance": store.put_json(kept)})
    ledger.append(
        "loans", "metered", None, {"flow": "infer", "kg": 1e-6, "kwh": 2e-6, "seconds": 3.0, "method": "estimated", "rows": 240, "per_thousand_kg": 4e-6}
    )
    ledger.append("loans", "metered", None, {"flow": "monitor", "kg": None, "kwh": None})
    return made


def runs(bench):
    """What the project says, by run: everything but the plots."""
    home = bench.workspace.path / project_id("loans") / "snapshots"
    kept = {path.stem: json.loads(path.read_text()) for path in home.glob("*.json")}
    return {run: {name: one[name] for name in ("name", "timestamp", "tags", "metadata")} | {"figures": figures(one)} for run, one in kept.items()}


def figures(run):
    """Each figure of a run with what it is of, and the verdicts on it."""
    found = run["metric_results"].values()
    return [
        (one["metric_value_location"], one.get("value"), (one.get("count") or {}).get("value"), [(test["name"], test["status"]) for test in one["tests"]])
        for one in found
    ]


def projects(bench):
    from evidently.ui.workspace import Workspace

    try:
        return [project.name for project in Workspace(str(bench.workspace.path)).list_projects()]
    except ValueError:
        return []


def test_a_damaged_project_is_made_again_as_it_was(bench, monkeypatch):
    """A truncated file hides the project. Afterwards it is there with the same runs, figures and verdicts; the damaged one is kept."""
    assert rebuild.fn(bench) == 6  # three served periods, quality, and two runs' energy
    before = runs(bench)
    assert sorted(one["tags"][0] for one in before.values()) == ["carbon", "carbon", "drifted", "no drift", "no drift", "quality"]
    assert rebuild.fn(bench) == 0
    target = bench.workspace.path / project_id("loans") / "snapshots" / f"{next(iter(before))}.json"
    target.write_bytes(target.read_bytes()[: len(target.read_bytes()) // 2])
    assert projects(bench) == []
    for module, name in ((references, "compare"), (drift, "tell_apart"), (drift, "compare_cohorts")):
        monkeypatch.setattr(module, name, lambda *_, **__: pytest.fail("measured anew"))
    references._kept.clear()
    assert rebuild.fn(bench) == 6
    assert runs(bench) == before
    assert projects(bench) == ["loans"]
    (aside,) = (bench.workspace.path / "damaged").iterdir()
    assert aside.name == f"{project_id('loans')}.damaged-1"
    assert (aside / "snapshots" / target.name).exists()


def test_one_lost_page_is_made_again_and_the_others_stand(bench):
    """Without anything being moved; and the entry `served` alone is enough for its page."""
    rebuild.fn(bench)
    before = runs(bench)
    served = next(event for event in bench.ledger.events("loans") if event.kind == "served")
    (bench.workspace.path / project_id("loans") / "snapshots" / f"{bench.workspace.run('loans', '2024-02', 1)}.json").unlink()
    assert draw_period(bench, served)
    assert not draw_period(bench, served)
    assert runs(bench) == before
    assert not (bench.workspace.path / "damaged").exists()


def test_the_record_has_what_was_found_beside_the_verdict(bench):
    """The domain classifier, the cohorts and their mix; an object of before has none of them and is shown all the same."""
    body = bench.store.get_json(bench.store.find("loans", "drift", "v1-2024-03").digest)
    assert {"report", "domain", "cohorts", "mix"} <= set(body)
    beside = beside_of(body)
    assert isinstance(beside.domain, Domain)
    assert isinstance(beside.cohorts, CohortsDrift)
    assert beside.domain.drivers[0].column == "income"
    assert {one.grouping for one in beside.cohorts.mix} == {"region"}
    assert DriftReport.from_dict(body["report"]).drifted_columns == ("income",)
    again = bench.store.get_json(bench.store.find("loans", "drift", "v1-2024-03-r2").digest)
    assert again["revision"] == 2
    assert again["earlier"] == [{"period": "2024-02", "alarm": False}, {"period": "2024-03", "alarm": True}]
    assert again["report"]["level"] == level([False, True])
    assert beside_of(again).looks == "Of 2 looks before, 1 found more than chance: 2024-03."
    old = {name: body[name] for name in ("period", "version", "reference", "predictions", "report")}
    assert (beside_of(old).domain, beside_of(old).cohorts) == (None, None)

"""The whole story on real parts: a store, a ledger, MLflow on SQLite, Evidently, and a Prefect server."""

import json

import pandas as pd
import pytest

from tasks.core.errors import CaseError, ConflictError, DataError, IntegrityError
from tasks.core.review import production_version, registration
from tasks.io.workbench import Workbench
from tests.conftest import enrol, one_candidate, review

pytestmark = pytest.mark.usefixtures("prefect", "home")


def edit(path, old, new):
    """Change a file's text; the old text must be there."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def trained():
    """A case with its snapshots taken and version 1 registered."""
    from flows.snapshot import snapshot
    from flows.train import train

    snapshot("loans")
    return train("loans")


def approve(version=1):
    bench = Workbench.open("loans")
    if not (bench.home.project / "configs/reviewers.yaml").is_file():
        enrol(bench.home.project)
    review("loans", version)


def state(bench):
    """Everything that a repeated run must not change: the ledger's length, the store's objects, Evidently's runs."""
    return bench.ledger.head(), sorted(path.name for path in bench.home.store.rglob("*") if path.is_file()), bench.workspace.runs("loans")


def test_documented_case_runs_without_code(project):
    """The two files of docs/your-data.md are a whole case: it is trained, reviewed, promoted, and each later month scored once."""
    from flows.infer import infer
    from flows.lifecycle import lifecycle

    summary = lifecycle("loans")
    assert summary["model"] == {"name": "loans", "version": 1}
    assert [one["name"] for one in summary["candidates"]] == ["logistic", "reweighed", "thresholds"]
    assert summary["missing"] == []
    assert [(month["period"], month["rows"]) for month in summary["months"]] == [("2024-02", 600), ("2024-03", 600)]
    cohorts = {row["cohort"] for row in summary["candidates"][0]["cohorts"]}
    assert cohorts == {"overall", "region=Nord", "region=Süd", "region=Ost"}

    bench = Workbench.open("loans")
    assert bench.registry.alias("loans", "production") == 1
    assert "Orders a queue" in bench.registry.version("loans", 1).description
    experiment = bench.runs.experiment("loans")
    with bench.runs.store.talking() as client:
        [scoring] = client.search_runs([experiment], "tags.mlflow.runName = 'infer 2024-02 to 2024-03'")
    assert scoring.data.metrics["2024-03/rows"] == 600
    assert scoring.data.tags["equipoise.emissions_method"] in ("measured", "estimated", "unavailable")
    metered = [event.body for event in bench.ledger.events("loans") if event.kind == "metered"]
    assert [body["flow"] for body in metered] == ["snapshot", "train", "promote", "infer"]
    assert all(body["kwh"] > 0 for body in metered)
    assert summary["emissions_kg"] == pytest.approx(sum(body["kg"] for body in metered))
    assert len({body["flow_run"] for body in metered}) == 4
    before = state(bench)
    assert infer("loans")["months"] == []
    assert [month["period"] for month in infer("loans", "2024-02")["months"]] == ["2024-02"]
    assert state(bench) == before

    again = lifecycle("loans")
    assert again["model"] == summary["model"]
    assert again["months"] == summary["months"]


def test_reported_figures_are_those_of_the_test_rows(version_1):
    """Accuracy on the summary is scikit-learn's on the rows that were neither fitted nor chosen on."""
    from sklearn.metrics import accuracy_score

    from tasks.io.models import load
    from tasks.training import load_window

    bench = Workbench.open("loans")
    window = load_window.fn(bench)
    frame, target = window.rows("test")
    registered = registration(bench.ledger.events("loans"), 1)
    candidate = load(bench.registry.fetch_model("loans", 1, registered.body["model"]))
    chosen = next(one for one in version_1["candidates"] if one["name"] == version_1["chosen"])
    assert chosen["metrics"]["accuracy"] == pytest.approx(accuracy_score(target, candidate.predict(frame)), abs=1e-12)
    assert len(frame) == 150
    assert not set(frame["row_id"]) & set(window.rows("train")[0]["row_id"])


def test_promotion_waits_for_everything_and_says_all_of_it(project):
    """Without a review and with an empty card nothing is promoted; both are named, and the refusal is recorded."""
    from flows.promote import promote

    edit(project / "configs/loans.yaml", "  risks: Applications from some regions may wait longer.\n", '  risks: ""\n')
    one_candidate(project)
    trained()
    result = promote("loans", 1)
    assert not result.promoted
    assert result.missing == ("the card's `risks` is empty", "no review has been written")
    bench = Workbench.open("loans")
    assert bench.registry.alias("loans", "production") is None
    assert [event.kind for event in bench.ledger.events("loans")[-2:]] == ["refused", "metered"]

    approve()
    bench.registry.set_tags("loans", 1, {"card.risks": "Filled by the reviewer in MLflow."})
    assert promote("loans", 1).missing == ("the approval of ada does not count: the card has changed since", "0 of 1 approval(s) by the role `reviewer`")
    approve()
    assert promote("loans", 1).promoted
    assert bench.registry.alias("loans", "production") == 1


def test_limit_that_does_not_hold_blocks_an_approved_version(project, version_1):
    """An approval does not overrule the gate."""
    from flows.promote import promote

    edit(project / "configs/loans.yaml", "at_least: 0.55, must_show: no_worse", "at_least: 0.99")
    approve()
    result = promote("loans", 1)
    assert not result.promoted
    assert len(result.missing) == 1
    assert "balanced_accuracy for overall is" in result.missing[0]


def test_alias_set_by_hand_without_approval_is_refused_and_the_last_good_version_serves(project, version_1):
    """A version that nobody approved does not serve because somebody moved the alias in MLflow."""
    from flows.infer import infer
    from flows.promote import promote
    from flows.train import train

    bench = Workbench.open("loans")
    bench.registry.set_alias("loans", "production", 1)
    with pytest.raises(DataError, match="no review has been written"):
        infer("loans")
    assert bench.store.list("loans", "predictions") == []

    approve()
    promote("loans", 1)
    edit(project / "configs/loans.yaml", "periods: {column: month}", "periods: {column: month}\nseed: 5")
    one_candidate(project)
    assert train("loans")["model"]["version"] == 2
    bench.registry.set_alias("loans", "production", 2)
    result = infer("loans", "2024-02")
    assert result["model"]["version"] == 1
    assert "version 2, which may not serve: no review has been written" in result["notice"]
    assert "Version 1 serves on" in result["notice"]
    assert bench.registry.alias("loans", "production") == 1

    approve(2)
    bench.registry.set_alias("loans", "production", 2)
    adopted = infer("loans", "2024-03")
    assert adopted["model"]["version"] == 2
    assert production_version(bench.ledger.events("loans")) == 2


def test_nothing_in_production_is_said(project):
    """Inference before any promotion says what to do."""
    from flows.infer import infer
    from flows.snapshot import snapshot

    snapshot("loans")
    with pytest.raises(DataError, match=r"no model in production yet.*equipoise train loans"):
        infer("loans")


def test_damaged_model_is_not_loaded(project, version_1):
    """A model file that was cut, or has one other bit than the registered one, is refused before it is read."""
    from flows.infer import infer
    from flows.promote import promote

    approve()
    promote("loans", 1)
    [model] = (project / "home/artifacts").rglob("model.skops")
    whole = model.read_bytes()
    middle = len(whole) // 2
    for damaged in (whole[:middle], whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]):
        model.write_bytes(damaged)
        with pytest.raises(IntegrityError, match=r"loans version 1.*digest"):
            infer("loans")
    assert Workbench.open("loans").store.list("loans", "predictions") == []


def test_corrupt_snapshot_is_not_read(project):
    """One flipped bit in a stored snapshot stops training, naming the object."""
    from flows.snapshot import snapshot
    from flows.train import train

    snapshot("loans")
    bench = Workbench.open("loans")
    manifest = bench.store.find("loans", "features", "2024-01")
    path = bench.store.path(manifest.digest)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match=path.name):
        train("loans")


def test_changed_source_is_a_conflict_and_the_snapshot_stays(project):
    """The same period with other bytes is refused; the first snapshot stands."""
    from flows.snapshot import snapshot

    snapshot("loans")
    bench = Workbench.open("loans")
    before = bench.snapshot("features", "2024-01")[1]
    table = pd.read_csv(project / "loans.csv")
    table.loc[0, "amount"] += 1
    table.to_csv(project / "loans.csv", index=False)
    with pytest.raises(ConflictError, match="2024-01"):
        snapshot("loans")
    pd.testing.assert_frame_equal(bench.snapshot("features", "2024-01")[1], before)


def test_month_whose_schema_moved_is_refused_before_scoring(project, version_1):
    """Missing, renamed, extra and retyped columns are named, and nothing is stored."""
    from flows.infer import infer
    from flows.promote import promote
    from flows.snapshot import snapshot

    approve()
    promote("loans", 1)
    changes = {
        "2024-04": (lambda table: table.drop(columns="income"), "column `income` is missing"),
        "2024-05": (lambda table: table.rename(columns={"income": "Income"}), "`income` is missing.*`Income` looks like it"),
        "2024-06": (lambda table: table.assign(surprise=1), "column `surprise` is unknown"),
        "2024-07": (lambda table: table.assign(income="high"), "`income` should hold numbers and holds text"),
    }
    table = pd.read_csv(project / "loans.csv")
    for period, (change, message) in changes.items():
        change(table[:50].assign(month=f"{period}-15", id=lambda rows, period=period: period + rows["id"])).to_csv(project / "loans.csv", index=False)
        snapshot("loans", period)
        with pytest.raises(DataError, match=message):
            infer("loans", period)
    assert Workbench.open("loans").store.list("loans", "predictions") == []


def test_flagged_feature_blocks_until_a_waiver_stands(project):
    """A proxy among the features stops training, saying both ways out; a waiver lets it, until its day has passed."""
    from flows.snapshot import snapshot
    from flows.train import train

    case = project / "configs/loans.yaml"
    edit(case, "features: [amount, income]", "features: [amount, income, region]")
    one_candidate(project)
    snapshot("loans")
    with pytest.raises(CaseError, match=r"`region` is flagged `proxy` in catalog/loans\.yaml.*waiver"):
        train("loans")
    waiver = "waivers: [{column: region, who: Ada, why: Tried for one month., until: %s}]\n"
    case.write_text(case.read_text(encoding="utf-8") + waiver % "2020-01-01", encoding="utf-8")
    with pytest.raises(CaseError, match="2020-01-01"):
        train("loans")
    edit(case, "2020-01-01", "2999-01-01")
    assert train("loans")["model"]["version"] == 1


def test_labels_that_come_later_are_joined_by_row_id(project):
    """Production is evaluated on a month's labels, which the scores did not need."""
    from flows.infer import infer
    from flows.monitor import monitor
    from flows.promote import promote

    trained()
    approve()
    promote("loans", 1)
    infer("loans")
    months = monitor("loans")["months"]
    assert [(month["period"], month["rows"]) for month in months] == [("2024-02", 600), ("2024-03", 600)]
    overall = {row["metric"]: row for row in months[-1]["cohorts"] if row["cohort"] == "overall"}
    bench = Workbench.open("loans")
    scored = bench.store.get_frame(bench.store.find("loans", "predictions", "v1-2024-03").digest)
    labels = bench.snapshot("labels", "2024-03")[1]
    right = scored.merge(labels, on="row_id").eval("y_pred == (repaid == 'yes')").mean()
    assert overall["accuracy"]["value"] == pytest.approx(right, abs=1e-12)


def test_a_sweep_is_searched_chosen_from_and_recorded(project):
    """`train --sweep` tries the product, chooses by the case's rule on validation, says what the choice cost, and keeps table and picture."""
    from flows.snapshot import snapshot
    from flows.train import train

    one_candidate(project)
    snapshot("loans", "2024-01")
    with pytest.raises(CaseError, match="there is no `sweep`"):
        train("loans", sweep=True)
    path = project / "configs/loans.yaml"
    swept = """sweep:
  estimator: [{kind: logistic}, {kind: hist_gradient_boosting, params: {max_iter: 5}}]
  post: [[], [{method: cohort_thresholds, by: [region]}]]
  in: [null, {method: backward_compatible, params: {strength: 1.0}}]
"""
    path.write_text(path.read_text(encoding="utf-8") + swept, encoding="utf-8")
    result = train("loans", sweep=True)
    assert [row["outcome"] for row in result["sweep"]] == ["finished"] * 8  # the case's own, and seven
    assert {row["candidate"] for row in result["sweep"] if row["front"]}
    assert "gives up" in result["reason"] or "no other of" in result["reason"]
    bench = Workbench.open("loans")
    with bench.runs.store.talking() as client:
        [child] = client.search_runs([bench.runs.experiment("loans")], "tags.mlflow.runName = 'sweep'")
        kept = {file.path for file in client.list_artifacts(child.info.run_id)}
    assert kept == {"sweep.csv", "sweep.png"}
    assert train("loans", sweep=True)["model"] == result["model"]
    assert train("loans")["model"] == {"name": "loans", "version": 2}


def test_versions_are_compared_on_rows_that_neither_has_learned_from(project, version_1):
    """Two versions side by side: on the newer one's test rows, on a later month, and never on rows that one was trained on."""
    from sklearn.metrics import accuracy_score

    from flows.compare import compare
    from flows.train import train
    from tasks.training import load_window

    with pytest.raises(DataError, match=r"1 registered version\(s\): a comparison needs two"):
        compare("loans")
    one_candidate(project)
    train("loans", "2024-02")
    approve()
    found = compare("loans")
    assert found["baseline"] == "version 1"
    bench = Workbench.open("loans")
    window = load_window.fn(bench, "2024-02")
    assert found["rows_compared"] == window.counts["test"]
    overall = {row["model"]: row for row in found["rows"] if (row["cohort"], row["metric"]) == ("overall", "accuracy")}
    tables = {}
    from tasks.comparison import predict_with_versions, versions_to_compare

    frame, target = window.rows("test")
    for name, table in predict_with_versions.fn(bench, versions_to_compare.fn(bench, []), frame, target).items():
        tables[name] = accuracy_score(table["y_true"], table["y_pred"])
    assert {name: row["value"] for name, row in overall.items()} == pytest.approx(tables, abs=1e-12)
    assert overall["version 2"]["delta"] == pytest.approx(tables["version 2"] - tables["version 1"], abs=1e-12)
    run = bench.runs.store.run(found["run"])
    assert run.data.metrics["version 2/delta/accuracy"] == pytest.approx(overall["version 2"]["delta"])

    later = compare("loans", [2, 1], "2024-03")
    assert (later["baseline"], later["rows_compared"]) == ("version 2", 600)
    with pytest.raises(DataError, match="2024-02 is part of what version 2"):
        compare("loans", period="2024-02")
    with pytest.raises(DataError, match="no version 7; there are 1, 2"):
        compare("loans", [1, 7])
    edit(project / "configs/loans.yaml", "case: loans", "case: loans\nseed: 5")
    with pytest.raises(DataError, match="trained on another split than the case has now"):
        compare("loans")


def test_runs_artifacts_and_event_are_in_prefect(project):
    """A drifted month leaves its artifacts in Prefect and emits the event that training listens for."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

    from flows.infer import infer
    from flows.lifecycle import lifecycle
    from tasks.core.online import level

    one_candidate(project)
    table = pd.read_csv(project / "loans.csv")
    table.loc[table["month"] == "2024-03-15", "income"] += 30_000
    table.to_csv(project / "loans.csv", index=False)
    summary = lifecycle("loans")
    quiet, moved = summary["months"]
    assert [month["drifted_columns"] for month in (quiet, moved)] == [[], ["income"]]
    assert [(month["alarm"], month["level"]) for month in (quiet, moved)] == [(False, level([])), (True, level([False]))]
    for month in (quiet, moved):  # asked again, a month gets the decision it got, whatever was served since
        [again] = infer("loans", month["period"])["months"]
        assert again | {"predictions": month["predictions"]} == month
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(like_="loans-%")), limit=200)
    keys = {artifact.key for artifact in found}
    assert {"loans-training", "loans-cohorts", "loans-mlflow", "loans-inference-2024-03", "loans-drift-2024-03", "loans-evidently-2024-03"} <= keys
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_one_class_only_is_refused(project):
    """Labels that are all alike teach nothing; training says so and registers nothing."""
    from flows.snapshot import snapshot
    from flows.train import train

    pd.read_csv(project / "loans.csv").assign(repaid="yes").to_csv(project / "loans.csv", index=False)
    snapshot("loans")
    with pytest.raises((CaseError, DataError), match="repaid"):
        train("loans")
    assert [event.body["flow"] for event in Workbench.open("loans").ledger.events("loans")] == ["snapshot"]


def test_hostile_and_foreign_names_go_through_and_do_not_execute(project):
    """A column called größe and a category that is a script are data like any other, and live markup nowhere."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

    from flows.lifecycle import lifecycle

    hostile = "<script>alert(1)</script>"
    for path in (project / "catalog/loans.yaml", project / "configs/loans.yaml"):
        path.write_text(path.read_text(encoding="utf-8").replace("amount", "größe"), encoding="utf-8")
    table = pd.read_csv(project / "loans.csv").rename(columns={"amount": "größe"})
    table["region"] = table["region"].replace("Süd", hostile)
    table.to_csv(project / "loans.csv", index=False)
    summary = lifecycle("loans")
    assert summary["missing"] == []
    assert f"region={hostile}" in {row["cohort"] for row in summary["candidates"][0]["cohorts"]}
    card = Workbench.open("loans").registry.version("loans", 1).description
    assert "&lt;script&gt;" in card
    assert "<script" not in card
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(like_="loans-%")), limit=200)
    assert not [artifact.key for artifact in found if artifact.type == "markdown" and "<script" in str(artifact.data)]
    for path in (project / "home/evidently").rglob("*.json"):
        assert "<script" not in path.read_text(encoding="utf-8")

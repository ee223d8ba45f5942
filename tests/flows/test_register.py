"""A model that was trained elsewhere, from its file to production, on real parts: a store, a ledger, MLflow on SQLite, Prefect."""

import json
import subprocess

import numpy as np
import pytest
import skops.io
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.metrics import accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tasks.core.digests import digest_bytes
from tasks.core.errors import AccessError, CaseError, DataError
from tasks.core.review import registration
from tasks.io.workbench import Workbench
from tasks.training import load_window
from tests.conftest import enrol, one_candidate, review
from tests.flows.test_cli import in_process

pytestmark = [pytest.mark.usefixtures("prefect", "home"), pytest.mark.timeout(300)]
NOTEBOOK = json.dumps({"cells": [{"cell_type": "code", "source": "model.fit(X, y)"}], "nbformat": 4}).encode()


def trained_elsewhere(project, columns=("amount", "income"), name="Forest 7.skops"):
    """A forest of the rows that the case trains on, saved with the notebook that made it; its path and itself."""
    window = load_window.fn(Workbench.open("loans"))
    frame, target = window.rows("train")
    model = RandomForestClassifier(20, min_samples_leaf=10, random_state=7).fit(frame[list(columns)], target)
    (project / "work.ipynb").write_bytes(NOTEBOOK)
    skops.io.dump(model, project / name)
    return project / name, model


def snapshots():
    from flows.snapshot import snapshot

    snapshot("loans")


def git(project, *arguments):
    settings = ["-c", "user.name=ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *settings, "-C", str(project), *arguments], check=True, capture_output=True, text=True).stdout.strip()


def test_from_a_file_to_production(project):
    """It is evaluated on the case's test rows, registered with its code, promoted on a review, and scores later months from the same bytes."""
    from flows.infer import infer
    from flows.promote import promote
    from flows.register import register

    snapshots()
    path, model = trained_elsewhere(project)
    result = register("loans", str(path), str(project / "work.ipynb"))
    assert result["model"] == {"name": "loans", "version": 1}
    assert [one["name"] for one in result["candidates"]] == ["logistic", "forest-7"]
    assert result["chosen"] == "forest-7"

    bench = Workbench.open("loans")
    frame, target = load_window.fn(bench).rows("test")
    assert result["candidates"][1]["metrics"]["accuracy"] == pytest.approx(accuracy_score(target, model.predict(frame[["amount", "income"]])), abs=1e-12)

    evidence = bench.archive.evidence(registration(bench.ledger.events("loans"), 1).body["evidence"])
    assert evidence["spec"]["estimator"] == {"kind": "given", "params": {"file": "Forest 7.skops", "digest": digest_bytes(path.read_bytes())}}
    assert bench.store.get(evidence["code_files"]["work.ipynb"]) == NOTEBOOK
    stored = bench.store.get_frame(evidence["predictions"])
    again = bench.archive.predict(evidence, *bench.archive.part_rows(evidence, "test"))
    np.testing.assert_array_equal(stored["y_score"], again["y_score"])

    version = bench.registry.version("loans", 1)
    assert version.tags["equipoise.code_file"] == f"work.ipynb {digest_bytes(NOTEBOOK)}"
    assert version.tags["equipoise.snapshot.features.2024-01"] == evidence["snapshots"]["features 2024-01"]
    assert "prefect.flow_run_id" in version.tags
    with bench.runs.store.talking() as client:
        assert [one.path for one in client.list_artifacts(version.run_id, "code")] == ["code/work.ipynb"]

    said = in_process("register", "loans", str(path), "--code", str(project / "work.ipynb"))  # the same again changes nothing
    assert said.returncode == 0, said.stdout + said.stderr
    assert "forest-7 (chosen)" in said.stdout
    assert "loans version 1: forest-7, registered from Forest 7.skops, trained elsewhere" in said.stdout
    assert [event.kind for event in bench.ledger.events("loans")] == ["metered", "registered", "metered"]  # the snapshots, and this
    enrol(project)
    review("loans", 1)
    assert promote("loans", 1).promoted
    assert [month["rows"] for month in infer("loans")["months"]] == [600, 600]
    month = bench.store.find("loans", "predictions", "v1-2024-02")
    _, later = bench.snapshot("features", "2024-02")
    np.testing.assert_array_equal(bench.store.get_frame(month.digest)["y_score"], model.predict_proba(later[["amount", "income"]])[:, 1])


def test_an_onnx_file_is_registered_and_verified(project):
    """A network of one input a column is evaluated and kept; years later the same bytes give the same figures, as `equipoise verify` finds."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("skl2onnx")
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType

    from flows.register import register
    from tasks.verification import verify_version

    snapshots()
    frame, target = load_window.fn(Workbench.open("loans")).rows("train")
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(frame[["amount", "income"]].to_numpy(np.float32), target)
    stacked = to_onnx(model, initial_types=[("both", FloatTensorType([None, 2]))])
    (project / "net.onnx").write_bytes(stacked.SerializeToString())
    with pytest.raises(DataError, match=r"net\.onnx: has the input `both` of shape .*, and does not name its columns"):
        register("loans", str(project / "net.onnx"))
    entry = stacked.metadata_props.add()
    entry.key, entry.value = "feature_names", '["amount", "income"]'
    (project / "net.onnx").write_bytes(stacked.SerializeToString())
    assert register("loans", str(project / "net.onnx"))["chosen"] == "net"

    bench = Workbench.open("loans")
    evidence = bench.archive.evidence(registration(bench.ledger.events("loans"), 1).body["evidence"])
    assert bench.archive.model(evidence).file.tobytes() == stacked.SerializeToString()
    found = verify_version(bench, 1)
    assert [line for line in found.proven if line.outcome == "different"] == []
    assert any(line.part == "model" and line.outcome == "same" for line in found.proven)


def test_commit_and_changes_are_linked_and_compared(project):
    """A version has its commit and, of a changed checkout, the diff; `equipoise compare` says with which commit each was made."""
    from flows.train import train

    one_candidate(project)
    snapshots()
    git(project, "init", "-q")
    git(project, "add", "catalog", "configs")
    git(project, "commit", "-qm", "one")
    commit = git(project, "rev-parse", "HEAD")
    train("loans")
    case = project / "configs/loans.yaml"
    case.write_text(case.read_text(encoding="utf-8").replace("purpose: ", "purpose: Really, "), encoding="utf-8")
    train("loans")
    bench = Workbench.open("loans")
    version = bench.registry.version("loans", 2)
    assert version.tags["equipoise.code"] == f"{commit}+changes"
    name, digest = version.tags["equipoise.code_diff"].split()
    diff = bench.store.get(digest).decode()
    assert name == "changes.diff"
    assert "+purpose: Really, " in diff
    with bench.runs.store.talking() as client:
        assert [one.path for one in client.list_artifacts(version.run_id, "code")] == ["code/changes.diff"]
    git(project, "checkout", "-q", "configs/loans.yaml")
    (project / "again").write_text(diff)
    git(project, "apply", "again")
    assert "purpose: Really, " in case.read_text(encoding="utf-8")

    shown = in_process("compare", "loans", "1", "2")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert f"version 2 was made with commit {commit[:12]} and changes" in shown.stdout


def test_what_may_not_be_registered(project, monkeypatch):
    """A column that is no feature, a pickle, a file that is not there, and an account without the role are refused before any fit."""
    from flows.register import register

    snapshots()
    path, _ = trained_elsewhere(project)
    window = load_window.fn(Workbench.open("loans"))
    frame, target = window.rows("train")
    skops.io.dump(RandomForestClassifier(2).fit(frame[["amount"]].assign(region=1.0), target), project / "flagged.skops")
    with pytest.raises(DataError, match=r"flagged\.skops: reads `region`, not among the case's features"):
        register("loans", str(project / "flagged.skops"))
    with pytest.raises(CaseError, match=r"model\.pkl: ends in \.pkl"):
        register("loans", str(project / "model.pkl"))
    with pytest.raises(DataError, match=r"gone\.onnx: cannot be read: No such file"):
        register("loans", str(project / "gone.onnx"))
    skops.io.dump(RidgeClassifier().fit(frame[["amount"]], target), project / "ridge.skops")
    case = project / "configs/loans.yaml"
    case.write_text(case.read_text(encoding="utf-8").replace("also: [", "also: [roc_auc, "), encoding="utf-8")
    with pytest.raises(DataError, match=r"ridge: gives no probabilities, and roc_auc of the case need them"):
        register("loans", str(project / "ridge.skops"))
    enrol(project)
    monkeypatch.setenv("EQUIPOISE_USER", "mallory")
    with pytest.raises(AccessError, match="'mallory' may not register"):
        register("loans", str(path))
    assert [event.body["flow"] for event in Workbench.open("loans").ledger.events("loans")] == ["snapshot"]


def test_no_case_names_a_given_estimator(project):
    """`given` is what registering brings: a case that names it is refused at load."""
    case = project / "configs/loans.yaml"
    case.write_text(case.read_text(encoding="utf-8").replace("kind: logistic", "kind: given", 1), encoding="utf-8")
    with pytest.raises(CaseError, match="`given` is what `equipoise register` brings"):
        Workbench.open("loans")

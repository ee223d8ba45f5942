"""Runs: what MLflow holds after a flow, read back with MLflow's own client."""

import json
import os
import shutil
import socket
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.errors import CaseError, DataError, UnavailableError
from tasks.io.home import QUIET
from tasks.io.runs import Runs, metric_key

os.environ.update(QUIET)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder whose name a URI must escape."""
    return tmp_path_factory.mktemp("mlflow é x")


@pytest.fixture(scope="module")
def runs(home, migrated):
    shutil.copy(migrated, home / "mlflow.db")
    return Runs(f"sqlite:///{home / 'mlflow.db'}", home / "artifacts")


@pytest.fixture(scope="module")
def client(runs):
    from mlflow import MlflowClient

    return MlflowClient(runs.store.uri)


def test_a_child_run_holds_all_that_was_said_about_a_candidate(runs, client, home):
    """Parameters, metrics, tags, dataset and files of a candidate are read back as they were given, below the parent."""
    parent = runs.start_parent("boston", tags={"equipoise.case": "boston"}, params={"seed": 7})
    digest = "sha256:" + "ab" * 32
    child = runs.log_child(
        parent,
        "boosted",
        params={"estimator": "ridge", "estimator.alpha": 0.5},
        metrics={"test/mae": 2.25, "test/mae/LSTAT=(8, 16]": 3.5},
        tags={"equipoise.candidate": "boosted"},
        datasets=[("boston", digest, "snapshot features 2024-01", "training")],
        artifacts={"reports/test.json": b"{}", "figures/mae.png": b"\x89PNG"},
    )
    runs.log_metrics(parent, {"emissions_kg": 0.001})
    runs.finish(parent)

    run = client.get_run(child)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "boosted"
    assert run.data.params == {"estimator": "ridge", "estimator.alpha": "0.5"}
    assert run.data.metrics == {"test/mae": 2.25, "test/mae/LSTAT is 8 to 16": 3.5}
    assert run.data.tags["mlflow.parentRunId"] == parent
    assert run.data.tags["equipoise.candidate"] == "boosted"
    (entry,) = run.inputs.dataset_inputs
    assert (entry.dataset.name, entry.dataset.digest) == ("boston", digest[:36])
    assert json.loads(entry.dataset.source) == {"uri": "snapshot features 2024-01", "digest": digest}
    assert {tag.key: tag.value for tag in entry.tags} == {"mlflow.data.context": "training", "equipoise.digest": digest}
    folder = home / "artifacts" / "boston" / child / "artifacts"
    assert (folder / "reports" / "test.json").read_bytes() == b"{}"
    assert (folder / "figures" / "mae.png").read_bytes() == b"\x89PNG"
    assert client.get_run(parent).data.metrics == {"emissions_kg": 0.001}
    assert client.get_run(parent).info.status == "FINISHED"


def test_a_metric_without_a_finite_value_is_named_and_not_logged(runs, client, home):
    """NaN, infinity and None never become a number in MLflow: a tag names them, and cohorts.json has null."""
    parent = runs.start_parent("boston")
    child = runs.log_child(parent, "c", metrics={"mae": 1.0, "r2.sex=F": float("nan"), "auc": float("inf"), "f1": None})
    run = client.get_run(child)
    assert run.data.metrics == {"mae": 1.0}
    assert run.data.tags["equipoise.not_logged"] == "r2.sex=F (nan); auc (inf); f1 (None)"
    names = json.loads((home / "artifacts" / "boston" / child / "artifacts" / "cohorts.json").read_text())["metrics"]
    assert names == [
        {"name": "mae", "key": "mae", "value": 1.0},
        {"name": "r2.sex=F", "key": None, "value": None},
        {"name": "auc", "key": None, "value": None},
        {"name": "f1", "key": None, "value": None},
    ]


def test_every_name_is_a_key_that_mlflow_takes(runs, client, home):
    """Names MLflow would refuse are logged under safe keys, each one its own, and cohorts.json leads back to them."""
    names = ["recall.education=<=50K", "recall.education=>=50K", "é.région=Île", "x" * 300, "x" * 301, "../up", "/root", "", "a//b", "a=b, c=d", "k:v"]
    child = runs.log_child(runs.start_parent("boston"), "c", metrics={name: float(place) for place, name in enumerate(names)})
    logged = client.get_run(child).data.metrics
    rows = json.loads((home / "artifacts" / "boston" / child / "artifacts" / "cohorts.json").read_text())["metrics"]
    assert {row["name"]: logged[row["key"]] for row in rows} == {name: float(place) for place, name in enumerate(names)}


pieces = st.sampled_from(["mae", ".", "..", "/", "a", "sex", "=", ", ", " is ", " and ", " to ", "(", "]", ")", "8", "inf", "_", "-", "0123456789", "é"])


@given(st.lists(pieces, max_size=9).map("".join) | st.text(max_size=40), st.lists(pieces, max_size=9).map("".join) | st.text(max_size=40))
def test_two_names_never_share_a_key(one, other):
    """Different names have different keys, and every key is one that MLflow's own check accepts."""
    from mlflow.utils.validation import _validate_metric_name

    assert (metric_key(one) == metric_key(other)) == (one == other)
    _validate_metric_name(metric_key(one))
    assert len(metric_key(one)) <= 250


def test_candidates_are_logged_from_several_threads(runs, client):
    """Runs logged at the same time keep to themselves: no value lands in another's run."""
    parent = runs.start_parent("boston")
    with ThreadPoolExecutor(4) as pool:
        children = list(pool.map(lambda place: runs.log_child(parent, f"c{place}", metrics={"mae": float(place)}), range(6)))
    assert [client.get_run(child).data.metrics["mae"] for child in children] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


def test_an_experiment_is_made_once(runs, home, client):
    """The experiment of a case is found again, by another client too, and its files lie below the artifact root."""
    first = runs.experiment("adult")
    assert Runs(runs.store.uri, home / "artifacts").experiment("adult") == first
    assert client.get_experiment(first).artifact_location == (home / "artifacts" / "adult").as_uri()


def test_a_deleted_experiment_is_not_used_in_silence(runs, client):
    """When somebody deleted the experiment in MLflow, the error says so and how to bring it back."""
    client.delete_experiment(runs.experiment("deleted"))
    with pytest.raises(UnavailableError, match=r"`deleted` has been deleted.*mlflow experiments restore"):
        runs.start_parent("deleted")


def test_a_child_that_cannot_be_logged_is_left_failed(runs, client):
    """A failure while a candidate is logged leaves its run FAILED, not running for ever, and is raised."""
    parent = runs.start_parent("flights")
    with pytest.raises(ValueError, match="not a path inside a run"):
        runs.log_child(parent, "c", artifacts={"../../outside": b""})
    found = client.search_runs([runs.experiment("flights")], "attributes.run_name = 'c'")
    assert [run.info.status for run in found] == ["FAILED"]


def test_long_values_are_cut_and_say_so(runs, client):
    """A parameter or tag longer than MLflow holds ends in a note with its true length."""
    parent = runs.start_parent("boston", params={"features": "f" * 7000}, tags={"equipoise.findings": "g" * 9000})
    data = client.get_run(parent).data
    assert data.params["features"].endswith("f… (cut, 7000 characters)")
    assert data.tags["equipoise.findings"].endswith("g… (cut, 9000 characters)")


def test_an_unknown_run_is_named(runs):
    """Logging to a run that is not there raises an error with its id."""
    with pytest.raises(DataError, match="no run `0123`"):
        runs.log_metrics("0123", {"mae": 1.0})


@pytest.mark.parametrize("name", ["../up", "a/b", "Boston", "", "x' OR name LIKE '%"])
def test_a_name_that_could_leave_the_folder_is_refused(runs, name):
    """A case's name that is a path or a query is refused before MLflow sees it."""
    with pytest.raises(CaseError, match="is not a name"):
        runs.experiment(name)


def test_a_server_that_is_gone_is_reported_within_seconds(tmp_path):
    """Nothing listens on the port: the error names the address and comes at once, not after MLflow's four minutes."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{taken.getsockname()[1]}"
    began = time.monotonic()
    with pytest.raises(UnavailableError, match=f"{uri}.*nothing answers"):
        Runs(uri, tmp_path).start_parent("boston")
    assert time.monotonic() - began < 10


def test_a_server_that_is_not_mlflow_is_reported(tmp_path):
    """Whatever else answers on the port is not taken for MLflow."""
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Other(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(404)

        def log_message(self, *args):
            pass

    with HTTPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(UnavailableError, match="not MLflow, or refuses: HTTP 404"):
            Runs(f"http://127.0.0.1:{server.server_port}", tmp_path).prepare()
        server.shutdown()


def test_a_database_that_cannot_be_used_is_reported_at_once(tmp_path):
    """A file that is no database, a folder that cannot be made, an unknown scheme: each is an error that names the address."""
    (tmp_path / "broken.db").write_bytes(b"not a database, and longer than a header of one" * 9)
    (tmp_path / "file").write_text("")
    for uri, reason in [
        (f"sqlite:///{tmp_path / 'broken.db'}", "file is not a database"),
        (f"sqlite:///{tmp_path / 'file' / 'mlflow.db'}", "cannot be written"),
        ("ftp://nowhere", "no such kind of address"),
        ("postgresql://user:hidden@127.0.0.1:9/mlflow", r"user:\*\*\*@127.0.0.1:9.*refused"),
    ]:
        began = time.monotonic()
        with pytest.raises(UnavailableError, match=reason) as caught:
            Runs(uri, tmp_path).prepare()
        assert "hidden" not in str(caught.value)
        assert time.monotonic() - began < 10


def test_a_read_only_database_is_reported(tmp_path, monkeypatch):
    """A database that may be read and not written is refused before a run is begun."""
    sqlite3.connect(tmp_path / "mlflow.db").close()
    monkeypatch.setattr("tasks.io.tracking_store.os.access", lambda path, mode: False)  # a root user may write everywhere
    with pytest.raises(UnavailableError, match="read-only"):
        Runs(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path).prepare()
    with pytest.raises(UnavailableError, match="cannot be written"):
        Runs(f"sqlite:///{tmp_path / 'new.db'}", tmp_path).prepare()

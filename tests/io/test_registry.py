"""Registry: versions, aliases and cards as MLflow shows them, and bytes that are what they were."""

import datetime as dt
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from tasks.core.digests import digest_bytes
from tasks.core.errors import CaseError, DataError, IntegrityError, UnavailableError
from tasks.io.home import QUIET
from tasks.io.registry import Registry
from tasks.io.runs import Runs

os.environ.update(QUIET)

MODEL = bytes(range(256)) * 50


@pytest.fixture(scope="module")
def home(tmp_path_factory, migrated):
    home = tmp_path_factory.mktemp("mlflow é x")
    shutil.copy(migrated, home / "mlflow.db")
    return home


@pytest.fixture(scope="module")
def registry(home):
    return Registry(f"sqlite:///{home / 'mlflow.db'}", home / "artifacts")


@pytest.fixture(scope="module")
def runs(registry):
    return Runs(registry.store.uri, registry.store.artifact_root)


def register(registry, name, *, model=MODEL, description="# Card", tags=None):
    runs = Runs(registry.store.uri, registry.store.artifact_root)
    run_id = runs.start_parent(name, params={"seed": 7})
    inputs = {"CRIM": "numeric", "région": "categorical"}
    return registry.register(name, run_id=run_id, model_bytes=model, inputs=inputs, task="binary", description=description, tags=tags)


def folder(registry, name):
    (path,) = (registry.store.artifact_root / name / "models").glob("*/artifacts")
    return path


def test_a_version_is_read_back_as_it_was_registered(registry):
    """Number, run, tags, card, aliases and time of a version are what was registered, and the bytes are the same."""
    before = dt.datetime.now(dt.UTC)
    number = register(registry, "boston", description="# Card\n\n| a | b |", tags={"equipoise.gate": "passed"})
    registry.set_alias("boston", "production", number)
    version = registry.version("boston", number)
    assert version.version == number == 1
    assert version.run_id
    assert version.description == "# Card\n\n| a | b |"
    assert version.tags == {"equipoise.gate": "passed", "equipoise.model_digest": digest_bytes(MODEL)}
    assert version.aliases == ("production",)
    assert before - dt.timedelta(seconds=1) <= version.created <= dt.datetime.now(dt.UTC)
    assert registry.versions("boston") == [version]
    assert registry.fetch_model("boston", number, digest_bytes(MODEL)) == MODEL


def test_the_folder_has_a_signature_and_no_row_and_no_loader(registry):
    """MLflow reads the signature; the example is invented; no flavour is declared that MLflow could load."""
    from mlflow.models import Model

    register(registry, "signed")
    model = Model.load(str(folder(registry, "signed")))
    assert [(column.name, str(column.type)) for column in model.signature.inputs] == [("CRIM", "DataType.double"), ("région", "DataType.string")]
    assert [(column.name, str(column.type)) for column in model.signature.outputs] == [("y_pred", "DataType.long"), ("y_score", "DataType.double")]
    assert set(model.flavors) == {"equipoise"}
    example = json.loads((folder(registry, "signed") / "input_example.json").read_text())
    assert example == {"columns": ["CRIM", "région"], "data": [[0.0, "example"]]}
    pins = (folder(registry, "signed") / "requirements.txt").read_text().splitlines()
    assert any(line.startswith("scikit-learn==") for line in pins)


def test_one_flipped_bit_is_refused(registry):
    """A model file with one bit changed is refused before it is read as anything, naming version, path and both digests."""
    number = register(registry, "flipped")
    path = folder(registry, "flipped") / "model.skops"
    changed = bytearray(MODEL)
    changed[1000] ^= 1
    path.write_bytes(changed)
    with pytest.raises(IntegrityError) as caught:
        registry.fetch_model("flipped", number, digest_bytes(MODEL))
    for part in ("flipped version 1", str(path), digest_bytes(bytes(changed)), digest_bytes(MODEL)):
        assert part in str(caught.value)


def test_a_truncated_and_a_missing_model_are_refused(registry):
    """Half a file and no file are integrity errors, never a model and never a bare FileNotFoundError."""
    number = register(registry, "cut")
    path = folder(registry, "cut") / "model.skops"
    path.write_bytes(MODEL[: len(MODEL) // 2])
    with pytest.raises(IntegrityError, match="cut version 1"):
        registry.fetch_model("cut", number, digest_bytes(MODEL))
    path.unlink()
    with pytest.raises(IntegrityError, match="is not there"):
        registry.fetch_model("cut", number, digest_bytes(MODEL))


def test_an_overwritten_digest_tag_does_not_help(registry):
    """Whoever swaps the file and the tag with it is still found out: the expected digest comes from the caller."""
    number = register(registry, "swapped")
    (folder(registry, "swapped") / "model.skops").write_bytes(b"other")
    registry.set_tags("swapped", number, {"equipoise.model_digest": digest_bytes(b"other")})
    with pytest.raises(IntegrityError, match="is on record"):
        registry.fetch_model("swapped", number, digest_bytes(MODEL))


def test_a_version_that_points_outside_the_folder_is_refused(registry, runs, tmp_path):
    """A version whose source is another folder, or another machine, is not even read."""
    (tmp_path / "model.skops").write_bytes(MODEL)
    register(registry, "pointed")
    with registry.store.talking() as client:
        for source in (tmp_path.as_uri(), "http://example.invalid/model", str(registry.store.artifact_root / ".." / "x")):
            number = int(client.create_model_version("pointed", source).version)
            with pytest.raises(IntegrityError, match="outside"):
                registry.fetch_model("pointed", number, digest_bytes(MODEL))


def test_an_alias_moves_and_goes(registry):
    """An alias is on one version at a time, None when nobody bears it, and taking it away twice does no harm."""
    for _ in range(2):
        register(registry, "aliased")
    assert registry.alias("aliased", "production") is None
    assert registry.alias("never-registered", "production") is None
    registry.set_alias("aliased", "production", 1)
    registry.set_alias("aliased", "production", 2)
    assert registry.alias("aliased", "production") == 2
    assert [version.aliases for version in registry.versions("aliased")] == [(), ("production",)]
    registry.delete_alias("aliased", "production")
    registry.delete_alias("aliased", "production")
    assert registry.alias("aliased", "production") is None


def test_a_version_that_is_not_there_is_answered_with_those_that_are(registry):
    """Asking for version 9 lists the registered versions; asking for a model nobody made says how to make one."""
    register(registry, "known")
    for ask in (
        lambda: registry.version("known", 9),
        lambda: registry.set_alias("known", "production", 9),
        lambda: registry.set_tags("known", 9, {"a": "b"}),
        lambda: registry.fetch_model("known", 9, "sha256:0"),
    ):
        with pytest.raises(DataError, match=r"`known` has no version 9\. Registered: 1\."):
            ask()
    assert registry.versions("nobody") == []
    with pytest.raises(DataError, match=r"No version of `nobody` is registered.*equipoise train nobody"):
        registry.version("nobody", 1)
    with pytest.raises(DataError, match="no run `0123`"):
        registry.register("known", run_id="0123", model_bytes=b"", inputs={}, task="regression", description="")
    with pytest.raises(CaseError, match="is not a name"):
        registry.versions("x' OR name LIKE '%")


def test_a_deleted_version_and_a_deleted_model_are_gone_and_nothing_breaks(registry):
    """What somebody deletes in MLflow is not there: no alias, no version, and the next registration works."""
    register(registry, "deleted")
    register(registry, "deleted")
    registry.set_alias("deleted", "production", 2)
    with registry.store.talking() as client:
        client.delete_model_version("deleted", "2")
    assert registry.alias("deleted", "production") is None
    assert [version.version for version in registry.versions("deleted")] == [1]
    with registry.store.talking() as client:
        client.delete_registered_model("deleted")
    assert registry.versions("deleted") == []
    assert registry.alias("deleted", "production") is None
    assert register(registry, "deleted") == 1


def test_a_long_card_is_whole_where_the_database_holds_it(registry):
    """A card beyond 5,000 characters is whole in SQLite, and among the artifacts in any case."""
    card = "# Card\n" + "a line of the card\n" * 500
    number = register(registry, "long", description=card)
    assert registry.version("long", number).description == card
    assert (folder(registry, "long") / "card.md").read_text() == card


def test_a_long_card_is_cut_with_a_note_where_it_does_not_fit(registry, monkeypatch):
    """Where the column is shorter the card stands cut at a line's end, with a note that says where the whole is."""
    register(registry, "short")
    with registry.store.talking() as client:
        real = client.update_model_version

        def narrow(name, version, description):
            if len(description) > 5000:
                from mlflow.exceptions import MlflowException

                raise MlflowException("value too long for type character varying(5000)", error_code=1)
            return real(name, version, description)

        monkeypatch.setattr(client, "update_model_version", narrow)
    registry.set_description("short", 1, "a line of the card\n" * 500)
    shown = registry.version("short", 1).description
    assert 4800 < len(shown) <= 5000
    assert shown.startswith("a line of the card\n")
    assert "a line of the card\n\n*Cut: MLflow holds 5,000 characters." in shown
    assert "`card.md`" in shown


@pytest.fixture(scope="module")
def server(tmp_path_factory, migrated):
    """A real MLflow server on loopback, its address and its process."""
    home = tmp_path_factory.mktemp("server")
    shutil.copy(migrated, home / "mlflow.db")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{home / 'mlflow.db'}"]
    command += ["--artifacts-destination", str(home / "artifacts"), "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--allowed-hosts", f"127.0.0.1:{port}"]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (home / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=home, env=environment, start_new_session=True)
    uri = f"http://127.0.0.1:{port}"
    for _ in range(600):
        try:
            urllib.request.urlopen(f"{uri}/health", timeout=5).close()  # noqa: S310 - our own loopback address
            break
        except OSError:
            assert process.poll() is None, (home / "log").read_text()
            time.sleep(0.2)
    yield uri, home, process
    process.terminate()
    process.wait(30)


def test_a_real_server_serves_the_same_and_is_missed_within_seconds_when_it_goes(server, monkeypatch):
    """Runs, versions, aliases and bytes go through MLflow's server as through its database; when it stops, the error is quick."""
    uri, home, process = server
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    registry, runs = Registry(uri, home / "artifacts"), Runs(uri, home / "artifacts")
    parent = runs.start_parent("boston")
    runs.log_child(parent, "linear", metrics={"test/mae/B=(390, inf)": 1.5}, datasets=[("boston", "sha256:00", "s", "training")], artifacts={"a.txt": b"a"})
    number = register(registry, "boston", description="card\n" * 2000, tags={"equipoise.gate": "passed"})
    registry.set_alias("boston", "production", number)
    assert registry.alias("boston", "production") == number
    assert registry.alias("boston", "other") is None
    assert registry.fetch_model("boston", number, digest_bytes(MODEL)) == MODEL
    version = registry.version("boston", number)
    assert (version.aliases, version.tags["equipoise.gate"], version.description) == (("production",), "passed", "card\n" * 2000)
    assert registry.versions("boston") == [version]
    with pytest.raises(DataError, match="Registered: 1"):
        registry.version("boston", 7)

    process.terminate()
    process.wait(30)
    began = time.monotonic()
    with pytest.raises(UnavailableError, match=uri):
        registry.versions("boston")
    assert time.monotonic() - began < 20

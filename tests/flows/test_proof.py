"""Proof on real parts: a trained, reviewed and promoted version verifies, alone and in a bundle, and every cheat is caught."""

import functools
import io
import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import skops.io
import typer
from sklearn.linear_model import LogisticRegression
from typer.testing import CliRunner

from flows import cli_proof
from tasks.core.chain import GENESIS
from tasks.core.digests import digest_bytes, digest_of, json_bytes
from tasks.core.errors import CaseError, ConflictError, DataError, IntegrityError
from tasks.core.review import SIGNED
from tasks.core.signing import new_key, public_text, sign
from tasks.io import unpacking
from tasks.io.home import PROJECT
from tasks.io.store import Store
from tasks.io.workbench import Workbench
from tasks.verification import bundle_version, verify_bundle, verify_version
from tests.conftest import documented_files, enrol, loans, review

app = typer.Typer()
app.command()(cli_proof.verify)
app.command()(cli_proof.bundle)


def settings(folder):
    """Where a project keeps its things; MLflow cannot be reached."""
    return {
        "EQUIPOISE_PROJECT": str(folder),
        "EQUIPOISE_HOME": str(folder / "home"),
        "EQUIPOISE_KEYS": str(folder / "keys"),
        "EQUIPOISE_MLFLOW_URI": "http://127.0.0.1:9",
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory, migrated, prefect):
    """A project with a promoted version of `loans`, an entry of another case in its ledger, and no MLflow any more."""
    folder = tmp_path_factory.mktemp("made")
    catalogue, case = documented_files()
    for room, text in (("catalog", catalogue), ("configs", case)):
        (folder / room).mkdir()
        (folder / room / "loans.yaml").write_text(text, encoding="utf-8")
    loans().to_csv(folder / "loans.csv", index=False)
    (folder / "home").mkdir()
    shutil.copy(migrated, folder / "home/mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings(folder).items():
            patch.setenv(name, value)
        patch.delenv("EQUIPOISE_MLFLOW_URI")
        patch.delenv("EQUIPOISE_LEDGER_URL", raising=False)
        from flows.promote import promote
        from flows.snapshot import snapshot
        from flows.train import train

        for flow in ("snapshot", "train", "promote"):  # so that entries have the places that the tests below name
            patch.setattr(f"flows.{flow}.record_energy", lambda *_, **__: None)
        snapshot("loans")
        train("loans")
        Workbench.open("loans").ledger.append("secret", "refused", 7, {"missing": ["a thing that nobody may know"], "by": "mallory"})
        enrol(folder)
        review("loans")
        assert promote("loans", 1).promoted
    for gone in ("home/artifacts", "keys"):
        shutil.rmtree(folder / gone)
    (folder / "home/mlflow.db").unlink()
    return folder


@pytest.fixture
def bench(made, tmp_path, monkeypatch):
    """A copy of it, to be tampered with."""
    shutil.copytree(made, tmp_path / "copy")
    for name, value in settings(tmp_path / "copy").items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("EQUIPOISE_LEDGER_URL", raising=False)
    return Workbench.open("loans")


@pytest.fixture(scope="module")
def packed(made, tmp_path_factory):
    """Its bundle, as a folder and as a zip."""
    folder = tmp_path_factory.mktemp("packed")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings(made).items():
            patch.setenv(name, value)
        bundle_version(Workbench.open("loans"), 1, folder / "loans")
        bundle_version(Workbench.open("loans"), 1, folder / "loans.zip")
    return folder


@pytest.fixture
def bundle(packed, tmp_path):
    """A copy of the bundle's folder, to be tampered with."""
    return Path(shutil.copytree(packed / "loans", tmp_path / "bundle"))


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A machine with no home: an empty folder."""
    for name, value in settings(tmp_path / "elsewhere").items():
        monkeypatch.setenv(name, value)
    return tmp_path / "elsewhere"


def outcomes(verified, outcome="different"):
    """What has an outcome, with the detail."""
    return {one.what: one.detail for one in verified.proven if one.outcome == outcome}


def evidence_of(bench):
    """The registered evidence of version 1, and its digest."""
    digest = next(event.body["evidence"] for event in bench.ledger.events("loans") if event.kind == "registered")
    return bench.store.get_json(digest), digest


def overwrite(path, data):
    """Put other bytes in the place of an object, as only somebody with the disk in hand can."""
    path.unlink()
    path.write_bytes(data)


def flipped(data, place):
    """The bytes with one bit changed."""
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def rewritten(bench, change):
    """Write the ledger anew, each entry's body changed by `change(kind, body)`: an insider who makes all digests fit."""
    links, database = bench.ledger.links(), bench.home.root / "ledger.db"
    bench.ledger.close()
    database.unlink()
    bench.__dict__.pop("ledger")  # who reads it next reads all of it
    for link in links:
        bench.ledger.append(link["case_name"], link["kind"], link["version"], change(link["kind"], json.loads(link["body"])))


def forged(bench, **objects):
    """Evidence of which some objects are others, registered in a ledger written anew."""
    evidence, digest = evidence_of(bench)
    other = {**evidence, **{name: bench.store.put(data) for name, data in objects.items()}}
    named = bench.store.put_json(other)

    def change(kind, body):
        said = {**body, **({"evidence": named} if body.get("evidence") == digest else {})}
        return {**said, "model": other["model"]} if kind == "registered" else said

    rewritten(bench, change)


def test_an_untouched_version_is_proven_without_mlflow(bench):
    """Every figure, gap, digest and signature is the same; what is not looked at is said with its reason."""
    result = verify_version(bench)
    assert result.version == 1
    assert outcomes(result) == {}
    assert result.verdict == "same"
    assert {one.part for one in result.proven} == {"ledger", "record", "objects", "split", "model", "figures", "gate", "card", "reviews", "environment"}
    same = outcomes(result, "same")
    assert same["balanced_accuracy for region=Ost on test"] == "exactly"
    assert same["gap of recall by region on test"] == same["accuracy for overall on validation"] == same["predictions of 150 rows"] == "exactly"
    assert same["part of each of 600 rows"] == "exactly"
    assert same["table under `Figures by cohort, on test, with 95 % intervals`"] == "4 rows, to the letter"
    assert same["review in entry 3, approved by ada"].startswith("signed with the key ed25519:")
    assert "approvals of the promotion in entry 4" in same
    unknown = outcomes(result, "cannot be checked")
    chosen = evidence_of(bench)[0]["candidate"]
    assert {f"figures of candidate {name}" for name in ("logistic", "reweighed", "thresholds") if name != chosen} <= unknown.keys()
    assert "emissions" in unknown
    assert unknown["pinned head"].startswith("none was given")
    assert not (bench.home.root / "mlflow.db").exists()


def test_another_environment_is_said_and_is_no_failure(bench, monkeypatch):
    """Other versions of packages explain figures that differ; they are no difference themselves."""
    monkeypatch.setattr("tasks.io.prover.environment", lambda: {"python": "9.9", "platform": "x", "machine": "y", "packages": {"numpy": "0.1"}})
    result = verify_version(bench, 1)
    assert result.verdict == "same"
    unknown = outcomes(result, "cannot be checked")
    assert unknown["python"].endswith("9.9 here: figures may differ for that reason")
    assert {"platform", "machine", "packages"} <= unknown.keys()


@pytest.mark.parametrize(
    ("what", "how"),
    [
        *[(what, how) for what in ("model", "snapshots") for how in ("flipped", "truncated", "gone")],
        *[("report", "flipped"), ("report", "gone"), ("card", "flipped"), ("predictions", "truncated")],
    ],
)
def test_an_object_that_was_touched_is_named_and_nothing_is_made_of_it(bench, what, how):
    """One bit, half the bytes, or none: the object is different, and what rests on it cannot be checked."""
    evidence, _ = evidence_of(bench)
    digest = evidence["snapshots"]["features 2024-01"] if what == "snapshots" else evidence[what]
    path = bench.store.path(digest)
    data = path.read_bytes()
    if how == "gone":
        path.unlink()
    else:
        overwrite(path, flipped(data, len(data) // 2) if how == "flipped" else data[: len(data) // 2])
    result = verify_version(bench, 1)
    names = {"snapshots": "snapshot features 2024-01"}.get(what, what)
    assert names in outcomes(result)
    assert result.verdict == "different"
    unknown = outcomes(result, "cannot be checked")
    if what in ("model", "snapshots"):
        assert {"predictions", "figures on test", "figures on validation", "decision at training"} <= unknown.keys()
    if what == "report":
        assert {"figures on test", "gate", "card"} <= unknown.keys()


def test_a_swapped_model_is_not_loaded(bench, monkeypatch):
    """Another whole model in its place has another digest, and is refused before it is read."""
    monkeypatch.setattr("tasks.io.models.load", lambda data: pytest.fail("it was read"))
    monkeypatch.setattr("tasks.io.archive.load", lambda data: pytest.fail("it was read"))
    evidence, _ = evidence_of(bench)
    overwrite(bench.store.path(evidence["model"]), other_model(bench))
    assert "is corrupt" in outcomes(verify_version(bench, 1))["model"]


def other_model(bench):
    """A whole model of the same case that was fitted on the test rows turned around."""
    from tasks.core.building import build
    from tasks.io.models import dump

    frame, target = bench.archive.part_rows(evidence_of(bench)[0], "test")
    candidate = build(bench.case.candidates[0], bench.case, bench.kinds)
    candidate.fit(frame, 1 - target, validation=(frame, 1 - target))
    return dump(candidate)


def test_a_forged_model_gives_other_predictions_and_loses_its_reviews(bench):
    """With every digest made to fit, the predictions still differ, and nobody signed that evidence."""
    forged(bench, model=other_model(bench))
    found = outcomes(verify_version(bench, 1))
    assert "of 150 rows differ" in found["predictions of 150 rows"]
    assert "balanced_accuracy for overall on test" in found
    assert found["review in entry 3, approved by ada"] == "the signature is not ada's for what the review says"
    assert "the approval of ada does not count" in found["approvals of the promotion in entry 4"]


def test_a_prettied_figure_is_shown_beside_the_true_one(bench):
    """A report whose every digest fits is still not what the model gives, nor what the card says."""
    evidence, _ = evidence_of(bench)
    report = bench.store.get_json(evidence["report"])
    for row in report["rows"]:
        if (row["cohort"], row["metric"]) == ("region=Ost", "recall"):
            row["value"] = 0.99
    forged(bench, report=json_bytes(report))
    found = outcomes(verify_version(bench, 1))
    assert found["recall for region=Ost on test"].startswith("value: 0.99 on record, 0.")
    assert found["table under `Figures by cohort, on test, with 95 % intervals`"].startswith("1 of 4 rows")


def test_a_model_of_strange_types_is_named_and_not_built(bench, tmp_path):
    """A file that asks for a function that is not ours is different, by the function's name, and the function does not run."""
    from tasks.io.models import dump

    candidate = bench.archive.model(evidence_of(bench)[0])
    candidate.extra_ = functools.partial(os.mkdir, str(tmp_path / "made-by-a-model"))
    forged(bench, model=dump(candidate))
    result = verify_version(bench, 1)
    assert "types that are not ours to load" in outcomes(result)["model"]
    assert "mkdir" in outcomes(result)["model"]
    assert "figures on test" in outcomes(result, "cannot be checked")
    assert not (tmp_path / "made-by-a-model").exists()


def test_a_stranger_within_a_model_from_elsewhere_is_named_and_not_built(bench, tmp_path):
    """A model that was trained elsewhere is a file within a file: both are looked at before anything of them is built."""
    from tasks.io.foreign import Foreign
    from tasks.io.models import dump

    frame, target = bench.archive.part_rows(evidence_of(bench)[0], "test")
    inner = LogisticRegression().fit(frame[["amount", "income"]], target)
    kinds = dict.fromkeys(("amount", "income"), "numeric")
    for strange in (False, True):
        if strange:
            inner.extra_ = functools.partial(os.mkdir, str(tmp_path / "made-by-a-model"))
        data = np.frombuffer(skops.io.dumps(inner), dtype=np.uint8)
        forged(bench, model=dump(Foreign(data, "skops", "binary", kinds, 1)))
        result = verify_version(bench, 1)
        if strange:
            assert "mkdir" in outcomes(result)["model"]
            assert not (tmp_path / "made-by-a-model").exists()
        else:
            assert outcomes(result, "same")["model"].endswith("2 inputs, of trusted types only")
            assert "of 150 rows differ" in outcomes(result)["predictions of 150 rows"]


def test_a_model_that_is_a_bomb_is_not_unpacked(bench, monkeypatch):
    """What a model would unpack to is added up before it is read."""
    monkeypatch.setattr("tasks.io.again.MOST_BYTES", 1000)
    assert "would unpack to" in outcomes(verify_version(bench, 1))["model"]


def test_an_edited_row_of_the_ledger_breaks_the_chain(bench):
    """The first wrong entry is named, and nothing else is believed."""
    bench.ledger.close()
    with sqlite3.connect(bench.home.root / "ledger.db") as database:
        database.execute("UPDATE events SET body = replace(body, 'ada', 'eve') WHERE kind = 'reviewed'")
    result = verify_version(bench, 1)
    assert [one.outcome for one in result.proven] == ["different"]
    assert "Entry 3 is not what was written there" in outcomes(result)["chain"]


def test_a_ledger_written_anew_is_told_by_the_pin(bench):
    """Digests that fit are no proof against whoever holds the ledger; a head kept elsewhere is."""
    pin = bench.ledger.pin()
    assert outcomes(verify_version(bench, 1, pin), "same")["pinned head"] == "entry 4 is still there"
    rewritten(bench, lambda kind, body: {**body, "by": "eve"} if kind == "promoted" else body)
    result = verify_version(bench, 1, pin)
    assert outcomes(result) == {
        "pinned head": "Entry 4 is not the one that was pinned: the history was written anew. Have the bundle made again from the ledger."
    }
    assert outcomes(verify_version(bench, 1)) == {}


def test_a_review_replayed_on_another_version_is_caught(bench):
    """A signature for version 1 is none for version 2, even of the same evidence, and its promotion had no approval."""
    for event in bench.ledger.events("loans"):
        bench.ledger.append("loans", event.kind, 2, event.body)
    found = outcomes(verify_version(bench, 2))
    assert found["review in entry 6, approved by ada"] == "the signature is not ada's for what the review says"
    assert "0 of 1 approval(s) by the role `reviewer`" in found["approvals of the promotion in entry 7"]
    assert verify_version(bench, 1).verdict == "same"


def test_an_entry_about_other_evidence_is_caught(bench):
    """A promotion of what was never registered, and a second registration, are different."""
    registered, *_, promoted = bench.ledger.events("loans")
    bench.ledger.append("loans", "promoted", 1, {**promoted.body, "evidence": "sha256:" + "1" * 64})
    bench.ledger.append("loans", "registered", 1, registered.body)
    found = outcomes(verify_version(bench, 1))
    assert found["evidence in entry 5 (promoted)"].startswith("sha256:1111")
    assert found["registered once"] == "2 times"


def test_a_gate_that_was_passed_by_pen_is_caught(bench):
    """A recorded check whose figure is not the report's, and an outcome that its checks do not give."""

    def change(kind, body):
        if kind != "promoted":
            return body
        checks = [{**check, "value": 0.999} for check in body["decision"]["checks"]]
        checks[1]["outcome"] = "failed"
        return {**body, "decision": {"passed": True, "checks": checks}}

    rewritten(bench, change)
    found = outcomes(verify_version(bench, 1))
    assert sorted(found.values()) == [
        "failed on record, passed now",
        "the entry says passed, and its checks say failed",
        "the outcome is the same, its figures are not",
    ]


def test_there_is_nothing_to_verify_without_a_version(bench):
    """No such version, and nothing in production, are said."""
    with pytest.raises(DataError, match=r"Version 9 is not registered. There are: 1."):
        verify_version(bench, 9)
    rewritten(bench, lambda kind, body: body)
    bench.ledger.append("loans", "retired", 1, {"why": "", "by": "ada"})
    with pytest.raises(DataError, match="Nothing of `loans` is in production"):
        verify_version(bench)


@pytest.mark.parametrize("name", ["loans", "loans.zip"])
def test_a_bundle_verifies_where_there_is_no_home(packed, elsewhere, made, name):
    """Every figure again, from a folder and from a zip, on a machine that has nothing else."""
    links = json.loads((packed / "loans/ledger.json").read_text(encoding="utf-8"))
    result = verify_bundle(packed / name, elsewhere, f"{len(links)} {links[-1]['digest']}")
    assert outcomes(result) == {}
    assert (result.case, result.version, result.verdict) == ("loans", 1, "same")
    same = outcomes(result, "same")
    assert same["balanced_accuracy for region=Ost on test"] == "exactly"
    assert same["pinned head"] == "entry 4 is still there"
    unknown = outcomes(result, "cannot be checked")
    assert "compare ed25519:" in unknown["key of ada"]
    assert "1 entries of other cases" in unknown
    assert not elsewhere.exists()
    assert outcomes(verify_bundle(packed / name, made), "same")["key of ada"].startswith("ed25519:")


def test_neither_mlflow_nor_prefect_is_even_imported(packed, tmp_path):
    """The proof rests on the store, the ledger and our own evaluation."""
    code = (
        "import sys, pathlib; from tasks.verification import verify_bundle;"
        "print(verify_bundle(*map(pathlib.Path, sys.argv[1:])).verdict, {'mlflow', 'prefect', 'evidently'} & set(sys.modules))"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, str(packed / "loans.zip"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, check=True)
    assert done.stdout.strip() == "same set()"


def test_a_bundle_holds_what_it_needs_and_nothing_of_other_cases(packed):
    """The evidence and its objects, but no entry of another case, no other snapshot, no served predictions."""
    ledger = (packed / "loans/ledger.json").read_text(encoding="utf-8")
    assert "secret" not in ledger
    assert "mallory" not in ledger
    assert [sorted(link) for link in json.loads(ledger)][1] == ["digest", "previous", "sequence"]
    store = Store(packed / "loans/store")
    evidence = store.get_json(json.loads((packed / "loans/bundle.json").read_text(encoding="utf-8"))["evidence"])
    assert sorted(evidence["snapshots"]) == ["features 2024-01", "labels 2024-01"]
    assert "Treat it as you treat that data" in (packed / "loans/README.md").read_text(encoding="utf-8")
    with zipfile.ZipFile(packed / "loans.zip") as file:
        names = {path.relative_to(packed / "loans").as_posix() for path in (packed / "loans").rglob("*") if path.is_file()}
        assert set(file.namelist()) == names


def test_a_bundle_is_never_written_over_and_never_half_written(bench, tmp_path):
    """What is there stays; a version that is damaged is not bundled, and leaves nothing behind."""
    (tmp_path / "there.zip").write_text("mine", encoding="utf-8")
    with pytest.raises(ConflictError, match="never written over"):
        bundle_version(bench, 1, tmp_path / "there.zip")
    assert (tmp_path / "there.zip").read_text(encoding="utf-8") == "mine"
    with pytest.raises(DataError, match="no registered version 5"):
        bundle_version(bench, 5, tmp_path / "five")
    bench.store.path(evidence_of(bench)[0]["model"]).unlink()
    with pytest.raises(IntegrityError, match="not in the store"):
        bundle_version(bench, 1, tmp_path / "new.zip")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "there.zip"]


def test_a_bundle_is_for_its_maker_alone(packed):
    """It holds the rows of the snapshots, so nobody else on the machine may read it until its maker lets them."""
    assert stat.S_IMODE((packed / "loans").stat().st_mode) == 0o700
    assert stat.S_IMODE((packed / "loans.zip").stat().st_mode) == 0o600


def described(bundle, **changed):
    """Make bundle.json fit the files that are there, as a forger would."""
    path = bundle / "bundle.json"
    said = json.loads(path.read_text(encoding="utf-8"))
    files = {file.relative_to(bundle).as_posix(): file.read_bytes() for file in bundle.rglob("*") if file.is_file() and file != path}
    said["files"] = {name: {"bytes": len(data), "digest": digest_bytes(data)} for name, data in files.items()}
    path.write_bytes(json_bytes({**said, **changed}))


def relinked(bundle, change):
    """Write the bundle's ledger anew, with each whole entry changed, and make everything else fit."""
    path, previous, links = bundle / "ledger.json", GENESIS, []
    for link in json.loads(path.read_text(encoding="utf-8")):
        if "body" in link:
            body = change(link["kind"], json.loads(link["body"]))
            link = {**link, "body": json.dumps(body), "previous": previous}
            link["digest"] = digest_of({name: value for name, value in link.items() if name != "digest"})
        else:
            link = {**link, "previous": previous}
        previous = link["digest"]
        links.append(link)
    path.write_bytes(json_bytes(links))
    described(bundle, head=f"{len(links)} {previous}")


@pytest.mark.parametrize("name", ["ledger.json", "configs/reviewers.yaml", "README.md", "object"])
def test_a_flipped_byte_in_a_bundle_is_found(bundle, elsewhere, name):
    """In the ledger, the people, the text, or any object."""
    path = bundle / name if name != "object" else max((one for one in (bundle / "store").rglob("*") if one.is_file()), key=lambda one: one.stat().st_size)
    data = path.read_bytes()
    place = {"configs/reviewers.yaml": data.find(b"ada") + 1, "ledger.json": data.find(b"Looked")}.get(name, len(data) // 2)
    overwrite(path, flipped(data, place))
    result = verify_bundle(bundle, elsewhere)
    assert result.verdict == "different"
    assert path.relative_to(bundle).as_posix() in outcomes(result)
    if name == "ledger.json":
        assert "Entry 3 of the ledger is not what was written there" in outcomes(result)["chain"]


def signed_with(key):
    """A change that signs the review with another key."""

    def change(kind, body):
        if kind != "reviewed":
            return body
        return {**body, "signature": sign(key, {"case": "loans", "version": 1, **{name: body[name] for name in SIGNED}})}

    return change


def test_an_unsigned_or_forged_review_in_a_bundle_is_found(bundle, elsewhere):
    """Without a signature, and with one of another key, though every digest of the bundle fits."""

    def unsign(kind, body):
        return {**body, "signature": ""} if kind == "reviewed" else body

    relinked(bundle, unsign)
    found = outcomes(verify_bundle(bundle, elsewhere))
    assert found["review in entry 3, approved by ada"] == "the signature is not ada's for what the review says"
    assert "does not count" in found["approvals of the promotion in entry 4"]

    relinked(bundle, signed_with(new_key()))
    assert set(outcomes(verify_bundle(bundle, elsewhere))) == {"review in entry 3, approved by ada", "approvals of the promotion in entry 4"}


def test_a_forgers_own_key_is_told_by_whoever_knows_the_true_one(bundle, made):
    """A bundle can bring any key; where the reviewer's key is known, it is held against that."""
    key = new_key()
    people = bundle / "configs/reviewers.yaml"
    known = next(line.split("key: ")[1] for line in people.read_text(encoding="utf-8").splitlines() if "ed25519" in line)
    people.write_text(people.read_text(encoding="utf-8").replace(known, public_text(key)), encoding="utf-8")
    relinked(bundle, signed_with(key))
    found = outcomes(verify_bundle(bundle, made))
    assert set(found) == {"key of ada"}
    assert known in found["key of ada"]


def test_a_bundle_that_is_not_whole_is_refused_or_said(bundle, packed, elsewhere, tmp_path):
    """A zip cut short, a folder without its description or ledger, and one without an object."""
    data = (packed / "loans.zip").read_bytes()
    for cut in (len(data) // 2, len(data) - 30, 10, 0):
        (tmp_path / "cut.zip").write_bytes(data[:cut])
        with pytest.raises(IntegrityError, match="is not a whole zip file"):
            verify_bundle(tmp_path / "cut.zip", elsewhere)
    (tmp_path / "flipped.zip").write_bytes(flipped(data, 20_000))
    with pytest.raises(IntegrityError, match="is not a whole zip file"):
        verify_bundle(tmp_path / "flipped.zip", elsewhere)
    model = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))["evidence"]
    Store(bundle / "store").path(model).unlink()
    found = outcomes(verify_bundle(bundle, elsewhere))
    assert "is missing" in found.values()
    assert "evidence" in found
    (bundle / "configs/reviewers.yaml").write_text("people: [", encoding="utf-8")
    with pytest.raises(IntegrityError, match=r"reviewers\.yaml cannot be read"):
        verify_bundle(bundle, elsewhere)
    for name in ("ledger.json", "bundle.json"):
        (bundle / name).unlink()
        with pytest.raises(IntegrityError, match=f"not a whole bundle: {name}"):
            verify_bundle(bundle, elsewhere)
    with pytest.raises(DataError, match="is not there"):
        verify_bundle(tmp_path / "none.zip", elsewhere)


def zipped(bundle, path, *more):
    """The bundle's folder as a zip, with more members: (name or ZipInfo, bytes)."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for one in sorted(one for one in bundle.rglob("*") if one.is_file()):
            file.write(one, one.relative_to(bundle).as_posix())
        for name, data in more:
            file.writestr(name, data)
    return path


def link(name):
    """A symbolic link as a member of a zip."""
    made = zipfile.ZipInfo(name)
    made.create_system, made.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return made


@pytest.mark.parametrize("name", ["../evil", "../../evil", "/evil", "store/../../evil", "C:\\evil", "..\\evil", "evil", "store/objects/evil"])
def test_a_zip_that_would_write_elsewhere_is_refused(bundle, elsewhere, tmp_path, name):
    """Only files that bundle.json names are unpacked, and it can name nothing outside the bundle."""
    with pytest.raises(IntegrityError, match=r"which bundle.json does not name"):
        verify_bundle(zipped(bundle, tmp_path / "slip.zip", (name, b"evil")), elsewhere)
    said = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
    said["files"][name] = {"bytes": 4, "digest": digest_bytes(b"evil")}
    (bundle / "bundle.json").write_bytes(json_bytes(said))
    with pytest.raises(IntegrityError, match="is not a file of a bundle"):
        verify_bundle(zipped(bundle, tmp_path / "slip2.zip", (name, b"evil")), elsewhere)
    assert not list(tmp_path.rglob("evil"))
    assert not Path("/evil").exists()


def test_links_and_repeated_names_are_refused(bundle, elsewhere, tmp_path):
    """A link in a zip or in a folder could point anywhere; of two files of one name only one would be checked."""
    target = "x" * (bundle / "README.md").stat().st_size
    (bundle / "README.md").unlink()
    path = zipped(bundle, tmp_path / "link.zip", (link("README.md"), target))
    with pytest.raises(IntegrityError, match="is a link or encrypted"):
        verify_bundle(path, elsewhere)
    (bundle / "README.md").symlink_to("/etc/hostname")
    with pytest.raises(IntegrityError, match=r"README.md is a link"):
        verify_bundle(bundle, elsewhere)
    (bundle / "README.md").unlink()
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = zipped(bundle, tmp_path / "twice.zip", ("ledger.json", b"[]"))
    with pytest.raises(IntegrityError, match="two files have the same name"):
        verify_bundle(path, elsewhere)
    (bundle / "store/more").write_text("hello", encoding="utf-8")
    with pytest.raises(IntegrityError, match=r"files are not in bundle\.json"):
        verify_bundle(bundle, elsewhere)


def test_a_zip_bomb_is_not_unpacked(bundle, elsewhere, tmp_path, monkeypatch):
    """Neither one that says how large it is, nor one that says less."""
    zeros = b"\0" * (40 << 20)
    (bundle / "README.md").write_bytes(zeros)
    with pytest.raises(IntegrityError, match=r"'README.md' is 41,943,040 bytes long, and was 1,"):
        verify_bundle(zipped(bundle, tmp_path / "bomb.zip"), elsewhere)
    described(bundle)
    path = zipped(bundle, tmp_path / "bomb2.zip")
    with pytest.raises(IntegrityError, match="that is not a bundle's"):
        verify_bundle(path, elsewhere)
    with zipfile.ZipFile(path) as file, pytest.raises(IntegrityError, match="is larger than it says"):
        unpacking._member(file, file.getinfo("README.md"), 1000)
    (bundle / "bundle.json").write_bytes(b" " * (9 << 20))
    with pytest.raises(IntegrityError, match="is larger than"):
        verify_bundle(zipped(bundle, tmp_path / "bomb3.zip"), elsewhere)
    with pytest.raises(IntegrityError, match="is larger than"):
        verify_bundle(bundle, elsewhere)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2}', "[" * 100_000, "null", "\ud800".encode("utf-8", "surrogatepass")], ids=range(7))
def test_a_description_that_is_none_is_refused(bundle, elsewhere, text):
    """Whatever bundle.json or ledger.json hold, it is said in a sentence."""
    data = text if isinstance(text, bytes) else text.encode()
    (bundle / "bundle.json").write_bytes(data)
    with pytest.raises(IntegrityError, match=r"bundle.json is not"):
        verify_bundle(bundle, elsewhere)


@pytest.mark.parametrize("text", ["{}", "[null]", "[[]]", '[{"sequence": 1}]', "3", '"x"', "[1e400]"])
def test_a_ledger_that_is_none_is_said(bundle, elsewhere, text):
    """A malformed chain proves nothing, and an empty one registers nothing."""
    (bundle / "ledger.json").write_text(text, encoding="utf-8")
    described(bundle)
    assert "chain" in outcomes(verify_bundle(bundle, elsewhere))
    (bundle / "ledger.json").write_text("[]", encoding="utf-8")
    described(bundle)
    with pytest.raises(DataError, match="Version 1 is not registered"):
        verify_bundle(bundle, elsewhere)


def test_the_commands_say_what_they_found_and_exit_with_it(bench, elsewhere, tmp_path, monkeypatch):
    """0 when nothing is different, 2 when anything is; the bundle warns of what it holds; --json has every figure."""
    for name, value in settings(bench.home.project).items():
        monkeypatch.setenv(name, value)
    run = CliRunner().invoke
    (tmp_path / "pin").write_text(bench.ledger.pin() + "\n", encoding="utf-8")
    done = run(app, ["verify", "loans", "--pin", str(tmp_path / "pin"), "--json", str(tmp_path / "proof.json")])
    assert done.exit_code == 0, done.output
    assert "none is different: loans version 1" in done.output
    written = json.loads((tmp_path / "proof.json").read_text(encoding="utf-8"))
    assert written["verdict"] == "same"
    assert {"part": "figures", "what": "recall for overall on test", "outcome": "same", "detail": "exactly"} in written["proven"]

    done = run(app, ["bundle", "loans", "1", "--out", str(tmp_path / "out.zip")])
    assert done.exit_code == 0, done.output
    assert "will hold the rows of the snapshots" in done.output
    for name, value in settings(elsewhere).items():
        monkeypatch.setenv(name, value)
    done = run(app, ["verify", "--bundle", str(tmp_path / "out.zip")])
    assert done.exit_code == 0, done.output
    assert "Files of the bundle" in done.output

    for name, value in settings(bench.home.project).items():
        monkeypatch.setenv(name, value)
    bench.ledger.append("loans", "reviewed", 1, {"reviewer": "\x1b[2Jeve", "verdict": "approve"})
    overwrite(bench.store.path(evidence_of(bench)[0]["model"]), b"other")
    done = run(app, ["verify", "loans", "1"])
    assert done.exit_code == 2
    assert "✗ DIFFERENT  model:" in done.output
    assert "NOT PROVEN" in done.output
    assert "approved by \N{REPLACEMENT CHARACTER}[2Jeve" in done.output
    for arguments in (["verify"], ["verify", "loans", "--bundle", "x"], ["verify", "--bundle", "x", "--pin", str(tmp_path / "no")]):
        assert isinstance(run(app, arguments).exception, CaseError)


def test_a_zip_packed_again_by_hand_still_verifies(bundle, elsewhere, tmp_path):
    """Whoever unpacked a bundle and packed it again, folders and all, has the same bundle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as file:
        for one in sorted(bundle.rglob("*"), reverse=True):
            file.write(one, one.relative_to(bundle).as_posix() + ("/" if one.is_dir() else ""))
    (tmp_path / "again.zip").write_bytes(buffer.getvalue())
    assert verify_bundle(tmp_path / "again.zip", elsewhere).verdict == "same"

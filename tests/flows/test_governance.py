"""Whoever tries to get a model into production by a short cut fails, and production stays as it was."""

import json
import re
import sqlite3

import pytest

from tasks.core.errors import AccessError, ConflictError, DataError, IntegrityError
from tasks.core.review import production_version, registration
from tasks.io.keys import load_key
from tasks.io.workbench import Workbench
from tests.conftest import enrol, one_candidate, review
from tests.flows.test_cli import in_process
from tests.flows.test_story import edit, trained

pytestmark = pytest.mark.usefixtures("prefect", "home")


def equipoise(*arguments):
    """Run a command in this process, its tables wide enough for whole words."""
    return in_process(*arguments, environment={"COLUMNS": "200"})


def production(bench):
    """What the record and MLflow say is in production."""
    return production_version(bench.ledger.events("loans")), bench.registry.alias("loans", "production")


def test_no_review_is_taken_or_counts_but_a_persons_own(project, monkeypatch):
    """The author's own approval, an unknown or revoked key, a tag set by hand, a replayed and a forged entry, a card changed after the
    signature: each is refused with the reason, and nothing gets into production.
    """
    from flows.promote import promote
    from tasks.promotion import signed, statement, write_review

    enrol(project)
    enrol(project, "bob", accounts=["builder"], roles=["reviewer", "trainer"])
    with (project / "configs/reviewers.yaml").open("a") as file:
        file.write("roles: {reviewer: [review], trainer: [register], operator: [promote, rollback, retire, register]}\n")
    monkeypatch.setenv("EQUIPOISE_USER", "builder")
    one_candidate(project)
    trained()
    bench = Workbench.open("loans")
    with pytest.raises(AccessError, match="bob is the author of the run and cannot approve it"):
        review("loans", reviewer="bob")
    with pytest.raises(AccessError, match="'builder' may not promote"):
        promote("loans", 1)
    monkeypatch.delenv("EQUIPOISE_USER")

    made = statement(bench, 1, verdict="approve", reviewer="mallory", notes="Trust me.")
    with pytest.raises(AccessError, match="mallory has no key"):
        write_review.fn(bench, signed(made, load_key("bob", "")))
    forged = statement(bench, 1, verdict="approve", reviewer="ada", notes="Trust me.")
    with pytest.raises(AccessError, match="the signature is not ada's"):
        write_review.fn(bench, signed(forged, load_key("bob", "")))
    bench.registry.set_tags("loans", 1, {"equipoise.review": "approved by ada", "equipoise.gate": "passed"})
    assert promote("loans", 1).missing == ("no review has been written",)
    body = {name: value for name, value in vars(forged).items() if name not in ("case", "version", "at")}
    bench.ledger.append("loans", "reviewed", 1, {**body, "signature": "QUJD"})  # straight into the database
    assert "the signature is not ada's" in promote("loans", 1).missing[0]
    bench.ledger.append("loans", "reviewed", 1, {**body, "simulated": "yes"})  # only `true` is simulated
    assert "the signature is not ada's" in promote("loans", 1).missing[0]

    review("loans")
    bench.registry.set_tags("loans", 1, {"card.risks": "None at all."})
    assert "the approval of ada does not count: the card has changed since" in promote("loans", 1).missing
    review("loans")
    edit(project / "configs/reviewers.yaml", "  name: ada\n", "  name: ada\n  revoked: 2026-01-01\n")
    assert "the approval of ada does not count: ada's key was revoked on 2026-01-01" in promote("loans", 1).missing
    assert production(bench) == (None, None)
    edit(project / "configs/reviewers.yaml", "  revoked: 2026-01-01\n", "")
    assert promote("loans", 1).promoted


def test_a_demo_s_review_does_not_count_for_real(project, version_1):
    """Without `review: {simulated: true}` the simulated reviewer lets nothing in."""
    from flows.lifecycle import lifecycle

    edit(project / "configs/loans.yaml", "review: {simulated: true}", "review: {valid_days: 90}")
    summary = lifecycle("loans")
    assert "the approval of Demo Reviewer does not count: it is simulated, and nobody signed it" in summary["missing"]
    assert production(Workbench.open("loans")) == (None, None)


def test_what_was_registered_is_what_is_promoted(project, version_1):
    """A swapped model, a changed report, a snapshot or a manifest with one other byte, a pickle in its place: each stops the promotion."""
    from flows.promote import promote

    enrol(project)
    review("loans")
    bench = Workbench.open("loans")
    registered = registration(bench.ledger.events("loans"), 1)
    evidence = bench.archive.evidence(registered.body["evidence"])
    for digest in (registered.body["evidence"], evidence["report"], evidence["findings"]):
        path = bench.store.path(digest)
        whole = path.read_bytes()
        path.chmod(0o600)
        path.write_bytes(whole[:-2] + bytes([whole[-2] ^ 1]) + whole[-1:])
        with pytest.raises(IntegrityError, match=path.name):
            promote("loans", 1)
        path.write_bytes(whole)
    [model] = (project / "home/artifacts").rglob("model.skops")
    whole = model.read_bytes()
    for other in (whole[: len(whole) // 2], b"\x80\x04\x95cposix\nsystem\n", b""):
        model.write_bytes(other)
        with pytest.raises(IntegrityError, match="digest"):
            promote("loans", 1)
    model.write_bytes(whole)
    (model.parent / "MLmodel").write_text("flavors: {python_function: {loader_module: os}}\n")  # nobody reads it
    assert production(bench) == (None, None)
    assert promote("loans", 1).promoted


def test_rollback_retirement_and_the_alias(project, version_1):
    """Back to the version before in one step; a retired version is served no more, by promotion, by alias or by rollback."""
    from flows.infer import infer
    from flows.promote import promote
    from flows.train import train
    from tasks.promotion import retire_version, roll_back

    enrol(project)
    review("loans")
    bench = Workbench.open("loans")
    with pytest.raises(DataError, match="Nothing is in production"):
        roll_back.fn(bench)
    promote("loans", 1)
    with pytest.raises(DataError, match="Version 1 is the only one"):
        roll_back.fn(bench)
    with pytest.raises(DataError, match="Version 1 of `loans` is in production"):
        retire_version.fn(bench, 1)
    edit(project / "configs/loans.yaml", "periods: {column: month}", "periods: {column: month}\nseed: 5")
    one_candidate(project)
    train("loans")
    review("loans", 2)
    promote("loans", 2)
    assert production(bench) == (2, 2)
    assert roll_back.fn(bench, "too many complaints") == (2, 1)
    assert production(bench) == (1, 1)
    assert infer("loans", "2024-02")["model"]["version"] == 1

    bench.registry.set_alias("loans", "production", 2)  # approved once, so a person may move it back by hand
    assert infer("loans", "2024-02")["model"]["version"] == 2
    roll_back.fn(bench)
    retire_version.fn(bench, 2, "too many complaints")
    assert "version 2 was retired and is not served again" in promote("loans", 2).missing
    bench.registry.set_alias("loans", "production", 2)
    result = infer("loans", "2024-02")
    assert result["model"]["version"] == 1
    assert "version 2 was retired" in result["notice"]
    assert production(bench) == (1, 1)

    told = equipoise("ledger", "loans").stdout
    for words in (
        "registered by",
        "approved by ada",
        "went into production",
        "production went back to version 1",
        "moved by hand",
        "was retired",
        "was refused",
    ):
        assert words in told, words


def test_gate_and_ledger_on_the_command_line(project, version_1):
    """`gate` exits 0, 2 or 3 by its verdict; `ledger verify` finds a changed, and with a pinned head a shortened, ledger."""
    enrol(project)
    passed = equipoise("gate", "loans", "1")
    assert passed.returncode == 0, passed.stderr
    assert "✓ passed" in passed.stdout
    edit(project / "configs/loans.yaml", "at_most: 0.3, must_show: no_worse}", "at_most: 0.3, must_show: no_worse}\n  - {fact: data_age_days, at_most: 1}")
    failed = equipoise("gate", "loans", "1")
    assert failed.returncode == 2
    assert "data_age_days" in failed.stdout
    assert "✗ failed" in failed.stdout
    edit(project / "configs/loans.yaml", "{fact: data_age_days, at_most: 1}", "{metric: roc_auc, cohort: region=West, at_least: 0.5}")
    unknown = equipoise("gate", "loans", "1")
    assert unknown.returncode == 3
    assert "? insufficient" in unknown.stdout

    shown = equipoise("review", "loans", "1")
    assert shown.returncode == 0, shown.stderr
    assert all(part in shown.stdout for part in ("Model card", "The gate", "declaration: Ada Example", "nothing else is in production", "Drift since training"))
    review("loans")
    pin = project / "head"
    pin.write_text(equipoise("ledger", "head").stdout)
    assert re.fullmatch(r"\d+ sha256:[0-9a-f]{64}\n", pin.read_text())
    good = equipoise("ledger", "verify", "--pin", str(pin))
    assert good.returncode == 0, good.stdout
    assert "signed by ada" in good.stdout
    with sqlite3.connect(project / "home/ledger.db") as database:
        database.execute("DELETE FROM events WHERE sequence = (SELECT max(sequence) FROM events)")
    database.close()
    assert equipoise("ledger", "verify").returncode == 0  # the chain that is left holds
    cut = equipoise("ledger", "verify", "--pin", str(pin))
    assert cut.returncode == 2
    assert "entries were pinned, and" in cut.stdout


def test_two_promoters_who_saw_the_same_record_cannot_both_win(version_1):
    """The second writer's entry is refused, and says what to do."""
    bench = Workbench.open("loans")
    head = bench.ledger.head()
    bench.ledger.append("loans", "refused", 1, {"missing": []}, expected=head)
    with pytest.raises(ConflictError, match="moved on"):
        bench.ledger.append("loans", "promoted", 1, {}, expected=head)


def test_canaries_in_risky_columns_are_in_the_data_store_only(project):
    """Values planted in a column of people's names and in a sensitive one are in no log, page, artifact or database but the store."""
    import pandas as pd

    from flows.compare import compare
    from flows.lifecycle import lifecycle
    from flows.train import train

    table = pd.read_csv(project / "loans.csv")
    table["person"] = [f"CANARYNAME{number:06d}" for number in range(len(table))]
    table["faith"] = "CANARYFAITH"
    table.to_csv(project / "loans.csv", index=False)
    risky = "\n".join(
        f"      - {{name: {name}, logicalType: string, description: A person's., classification: confidential, primaryKey: {key},\n"
        f"         customProperties: [{{property: risk, value: [{flag}]}}, {{property: why, value: It is theirs.}},\n"
        f"          {{property: uses, value: [report]}}]}}"
        for name, flag, key in (("person", "pii", "true"), ("faith", "sensitive", "false"))
    )
    edit(project / "catalog/loans.yaml", "      - {name: month,", f"{risky}\n      - {{name: month,")
    edit(project / "catalog/loans.yaml", "primaryKey: true, required: true}", "required: true}")
    summary = lifecycle("loans")
    assert summary["missing"] == []
    one_candidate(project)
    train("loans", "2024-02")
    compare("loans")
    home = project / "home"
    found = {path for path in home.rglob("*") if path.is_file() and re.search(b"CANARY(NAME|FAITH)", path.read_bytes())}
    assert {path for path in found if not path.is_relative_to(home / "store")} == set()
    stored = [path for path in (home / "store/objects").rglob("*") if path.is_file() and path.read_bytes()[:4] == b"PAR1"]
    assert any("faith" in pd.read_parquet(path).columns for path in stored)  # the canary was there to be found
    assert "CANARY" not in json.dumps(summary)

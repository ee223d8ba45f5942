"""`equipoise documents` on real parts: a trained version, its documents on disk, and what each says."""

import io
import json

import pytest

from tasks.core.documents.content import figure
from tasks.core.errors import DataError, IntegrityError
from tasks.core.evidence import OBJECTS
from tasks.core.review import registration
from tasks.io.workbench import Workbench
from tests.conftest import enrol, one_candidate, review

pytestmark = pytest.mark.usefixtures("prefect", "home")

FILES = {
    "scorecard.html",
    "scorecard.pdf",
    "model-card.md",
    "model-card.html",
    "data-card.md",
    "data-card.html",
    "croissant.json",
    "bom.cdx.json",
    "lineage.jsonl",
    "annex-iv/README.md",
    "annex-iv/crosswalk.md",
}


def trained():
    from flows.snapshot import snapshot
    from flows.train import train

    snapshot("loans")
    return train("loans")


def test_documents_of_a_version_are_made_from_its_evidence(project, version_1, capsys):
    """All are written where they are said to be, with the figures of the store's report, the review, and files that Croissant reads."""
    import mlcroissant
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator
    from pypdf import PdfReader

    from flows.cli_documents import documents

    enrol(project)
    review("loans", notes="Looked <b>closely</b>.")
    documents("loans", 1, None, str(project / "events.jsonl"))
    said = capsys.readouterr().out
    folder = project / "home/reports/loans-v1"
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == FILES
    assert "scorecard.html" in said
    assert "Next" in said

    bench = Workbench.open("loans")
    registered = registration(bench.ledger.events("loans"), 1)
    evidence = bench.archive.evidence(registered.body["evidence"])
    whole = next(row for row in bench.store.get_json(evidence["report"])["rows"] if (row["cohort"], row["metric"]) == ("overall", bench.case.metrics.primary))
    text = figure(whole["value"], whole["low"], whole["high"])
    pdf = PdfReader(io.BytesIO((folder / "scorecard.pdf").read_bytes()))
    assert len(pdf.pages) <= 3
    printed = " ".join(" ".join(page.extract_text() for page in pdf.pages).split())
    page = (folder / "scorecard.html").read_text(encoding="utf-8")
    for shown in (printed, page, (folder / "model-card.html").read_text(encoding="utf-8")):
        assert text in shown
    assert "approved by ada" in printed
    assert "Looked &lt;b&gt;closely&lt;/b&gt;" in page
    card = (folder / "model-card.md").read_text(encoding="utf-8")
    assert all(f"| {name} | {evidence[name]} |" in card for name in OBJECTS)

    bom = json.loads((folder / "bom.cdx.json").read_text(encoding="utf-8"))
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bom)) is None
    assert any(one["name"] == "scikit-learn" for one in bom["components"])
    assert (project / "events.jsonl").read_bytes() == (folder / "lineage.jsonl").read_bytes()

    found = mlcroissant.Dataset(
        jsonld=str(folder / "croissant.json"),
        mapping={one.id: project / "home" / one.content_url for one in mlcroissant.Dataset(jsonld=str(folder / "croissant.json")).metadata.distribution},
    )
    record = next(iter(found.records("records-features-2024-01")))
    frame = bench.store.get_frame(evidence["snapshots"]["features 2024-01"])
    assert record["records-features-2024-01/income"] == frame["income"].iloc[0]


def test_what_people_write_is_read_again_and_changed_evidence_stops_all(project):
    """Texts of the Annex IV pack stay, and stand in it next time; parts of the card that are filled in MLflow are read from there.
    A changed object of the evidence, and a version that is not there, leave no document at all.
    """
    from tasks.documents import write_documents

    path = project / "configs/loans.yaml"
    stated = path.read_text(encoding="utf-8")
    lines = [line for line in stated.splitlines() if not line.lstrip().startswith(("risk_acceptance:", "declaration:"))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    one_candidate(project)
    trained()
    bench = Workbench.open("loans")
    made = write_documents(bench, 1, project / "out")
    assert made.empty == ("risk_acceptance", "declaration")
    assert "Declaration: not stated yet" in (project / "out/scorecard.html").read_text(encoding="utf-8")
    (project / "out/annex-iv/written").mkdir()
    (project / "out/annex-iv/written/1h.txt").write_text("Read the <i>manual</i>.", encoding="utf-8")
    bench.registry.set_tags("loans", 1, {"card.risk_acceptance": "The board accepts.", "card.declaration": "We answer for it."})
    again = write_documents(bench, 1, project / "out")
    assert again.empty == ()
    assert "We answer for it." in (project / "out/scorecard.html").read_text(encoding="utf-8")
    assert "Read the &lt;i&gt;manual&lt;/i&gt;." in (project / "out/annex-iv/README.md").read_text(encoding="utf-8")

    evidence = bench.archive.evidence(registration(bench.ledger.events("loans"), 1).body["evidence"])
    path = bench.store.path(evidence["report"])
    path.chmod(0o600)
    path.write_bytes(path.read_bytes().replace(b"0.", b"1.", 1))
    with pytest.raises(IntegrityError, match=path.name):
        write_documents(bench, 1, project / "elsewhere")
    with pytest.raises(DataError, match="no registered version 7"):
        write_documents(bench, 7, project / "elsewhere")
    assert not (project / "elsewhere").exists()

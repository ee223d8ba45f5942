"""Documents say the same figures in every form, hide what may not be told, ask for what people have to write, and run nothing."""

import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import yaml
from markdown_it import MarkdownIt

from tasks.core.card import plain
from tasks.core.documents import bom, croissant, data_card, lineage, markdown, model_card, pack, pdf, scorecard, web
from tasks.core.documents.content import Bullets, Heading, Table, Text, Tiles, count, figure
from tasks.core.evidence import OBJECTS

PAYLOADS = (
    "<script>window.ran = 1</script>",
    "<img src=x onerror='window.ran = 2'>",
    "</style><script>window.ran = 3</script>",
    "{{ 7 * 7 }}{% raw %}",
    "[link](javascript:window.ran=4)",
    "a|b`c`\n# heading\x00\u202e",
    '"><svg onload=window.ran=5>',
)


class Elements(HTMLParser):
    """The elements and attributes of a page."""

    def __init__(self, text):
        super().__init__()
        self.found, self.attributes = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.add(tag)
        self.attributes |= {name for name, _ in attributes}


def pdf_text(data):
    """The text of a PDF's pages in one line."""
    from pypdf import PdfReader

    return " ".join(" ".join(page.extract_text() for page in PdfReader(io.BytesIO(data)).pages).split())


def pages(data):
    from pypdf import PdfReader

    return len(PdfReader(io.BytesIO(data)).pages)


def texts(dossier):
    """Every document for people as text, by name."""
    card, data, annex = scorecard.document(dossier), data_card.document(dossier), pack.document(dossier, {})
    return {
        "model-card.md": model_card.to_markdown(dossier),
        "model-card.html": model_card.to_html(dossier),
        "scorecard.html": web.render(card, "scorecard"),
        "scorecard.pdf": pdf_text(pdf.render(card, dossier.registered)),
        "data-card.md": markdown.render(data),
        "data-card.html": web.render(data, "data card"),
        "annex-iv": markdown.render(annex),
        "crosswalk": markdown.render(pack.crosswalk()),
    }


def machine(dossier):
    """Every document for machines as text, by name."""
    found = {"croissant": croissant.document(dossier), "bom": bom.document(dossier), "lineage": lineage.events(dossier)}
    return {name: json.dumps(value, allow_nan=False) for name, value in found.items()}


@pytest.fixture(scope="module")
def shown(make_dossier):
    """The documents of an ordinary dossier."""
    return texts(make_dossier())


def test_every_document_has_the_same_figures(make_dossier, shown):
    """Each cohort's figure and interval stand alike in card, scorecard (HTML and PDF), pack and, unrounded, in the bill of materials."""
    dossier = make_dossier()
    measured = bom.document(dossier)["metadata"]["component"]["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    rows = [row for row in dossier.report.stored["rows"] if row["metric"] == "mae" and row["verdict"] == "ok"]
    assert len(rows) == 3
    for row in rows:
        text = figure(row["value"], row["low"], row["high"])
        for name in ("model-card.html", "scorecard.html", "scorecard.pdf"):
            assert text in shown[name], (name, text)
        for name in ("model-card.md", "annex-iv"):
            assert plain(text) in shown[name], (name, text)
        [exact] = [one for one in measured if (one["type"], one["slice"]) == ("mae", row["cohort"])]
        assert float(exact["value"]) == row["value"]
        assert [float(exact["confidenceInterval"][end]) for end in ("lowerBound", "upperBound")] == [row["low"], row["high"]]
    header = yaml.safe_load(shown["model-card.md"].split("---\n")[1])
    [result] = header["model-index"][0]["results"]
    whole = {row["metric"]: row["value"] for row in dossier.report.stored["rows"] if row["cohort"] == "overall"}
    assert {one["type"]: one["value"] for one in result["metrics"]} == whole
    for check in dossier.decision.checks:
        text = figure(check.value, check.low, check.high)
        assert text in shown["scorecard.html"]
        assert plain(text) in shown["model-card.md"]
        assert plain(text) in shown["annex-iv"]


def test_a_change_in_the_report_changes_every_document(make_dossier, shown):
    """No document has a figure of its own: one other figure in the report, and all of them show it."""
    other = make_dossier({"overall": (2.625, 126), "LSTAT=(8, 16]": (1.875, 60)})
    before, after = shown | machine(make_dossier()), texts(other) | machine(other)
    for name in ("model-card.md", "model-card.html", "scorecard.html", "scorecard.pdf", "annex-iv", "bom"):
        assert "2.625" in after[name], name
        assert before[name] != after[name], name


def test_pdf_and_page_of_the_scorecard_say_the_same(make_dossier):
    """Every heading, sentence and cell of the content is in both forms."""
    dossier = make_dossier()
    document = scorecard.document(dossier)
    page = " ".join(re.sub(r"<[^>]+>", " ", web.render(document, "scorecard")).split())
    unescape = {"&lt;": "<", "&gt;": ">", "&amp;": "&", "&#39;": "'", "&#34;": '"'}
    for entity, sign in unescape.items():
        page = page.replace(entity, sign)
    squeezed = [re.sub(r"[\s…]", "", text) for text in (page, pdf_text(pdf.render(document, dossier.registered)))]
    for section in document.sections:
        said = [section.title]
        for part in section.parts:
            if isinstance(part, Text | Heading):
                said.append(part.text)
            elif isinstance(part, Bullets):
                said += part.items
            elif isinstance(part, Table):
                said += [cell for row in (part.header, *part.rows) for cell in row]
            elif isinstance(part, Tiles):
                said += [tile.value for tile in part.items]
        for text in said:
            assert all(re.sub(r"[\s…]", "", text) in whole for whole in squeezed), text


def test_what_may_not_be_told_is_a_dash_and_little_evidence_is_said(make_dossier, shown):
    """A suppressed cohort is named, without size or figure; nothing that is not known passes for a number."""
    assert "| LSTAT=tiny | – | insufficient evidence" in shown["model-card.md"]
    assert "| LSTAT=tiny | – | insufficient evidence" in shown["annex-iv"]
    for name in ("scorecard.html", "scorecard.pdf"):
        assert "Insufficient evidence for 1 of 3 groups: LSTAT=tiny." in shown[name]
        assert "? insufficient evidence" in shown[name]
    assert "LSTAT=tiny" not in [
        one["slice"] for one in bom.document(make_dossier())["metadata"]["component"]["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    ]
    for name, text in (shown | machine(make_dossier())).items():
        assert not re.search(r"\b(nan|None|inf)\b", text), name


def test_worst_cohorts_come_first_with_targets_beside_figures(make_dossier):
    """The scorecard begins with those it serves worst, says who is clearly worse, and has a target beside each figure."""
    sections = {section.title: section for section in scorecard.document(make_dossier()).sections}
    [groups] = [part for part in sections["For whom it is worse"].parts if isinstance(part, Table)]
    assert groups.rows == (
        ("LSTAT=(16, ...]", "41", "3.500 [3.250, 3.750]", "■ clearly worse"),
        ("LSTAT above 8 up to 16", "60", "1.875 [1.625, 2.125]", "● not clearly worse"),
    )
    targets = [part for part in sections["How good it is"].parts if isinstance(part, Table)][1]
    assert ("typical error (mae), for everyone", "2.250 [2.000, 2.500]", "at most 4, with its whole range", "✓ kept") in targets.rows
    assert targets.rows[0][3] == "? insufficient evidence"


def test_what_people_have_to_write_is_asked_for(make_dossier, shown):
    """Each empty part is named in the documents; what people wrote is quoted in all of them."""
    empty = texts(make_dossier(human=dict.fromkeys(("intended_use", "risks", "risk_acceptance", "declaration"), "")))
    for name in ("model-card.md", "model-card.html", "annex-iv"):
        assert plain("Promotion waits for it") in empty[name], name
    for name in ("scorecard.html", "scorecard.pdf"):
        for part in ("What it is for, and what not", "Risks", "Who accepts the risks that remain", "Declaration"):
            assert f"{part}: not stated yet" in empty[name], (name, part)
    for name in ("model-card.md", "model-card.html", "scorecard.html", "scorecard.pdf", "annex-iv"):
        assert "The owner accepts what remains." in shown[name], name
        assert "not stated yet" not in shown[name] or name == "annex-iv"


def test_nothing_claims_that_the_law_is_met(make_dossier, shown):
    """No document says "compliant"."""
    for name, text in (shown | machine(make_dossier())).items():
        assert "complian" not in text.lower(), name


def hostile(make_dossier):
    """A dossier in which every name and note is an attempt."""
    cohorts = {"overall": (2.25, 126)} | {payload: (2.5 + place / 8, 40) for place, payload in enumerate(PAYLOADS)}
    text = " ".join(PAYLOADS)
    made = make_dossier(cohorts, human=dict.fromkeys(("intended_use", "risks", "risk_acceptance", "declaration"), text), notes=text, missing=PAYLOADS)
    columns = tuple(
        column.model_copy(update={"name": column.name + PAYLOADS[place % 7], "description": text, "why": text})
        for place, column in enumerate(made.dataset.columns)
    )
    dataset = made.dataset.model_copy(update={"title": PAYLOADS[0], "description": text, "columns": columns})
    case = made.case.model_copy(update={"purpose": text, "features": PAYLOADS})
    findings = tuple({"kind": "rule", "severity": "warn", "column": None, "message": payload, "fix": payload} for payload in PAYLOADS)
    served = tuple(month | {"drifted_columns": list(PAYLOADS)} for month in made.served)
    alternatives = tuple(replace(one, name=payload) for one, payload in zip(made.alternatives * 3, PAYLOADS, strict=False))
    return replace(made, dataset=dataset, case=case, findings=findings, served=served, alternatives=alternatives, source=PAYLOADS[0])


def test_hostile_names_and_notes_are_text(make_dossier):
    """Nothing that comes from data or people becomes markup in a page or in Markdown, and every document is still made."""
    dossier = hostile(make_dossier)
    shown = texts(dossier)
    for name in ("model-card.html", "scorecard.html", "data-card.html"):
        page = Elements(shown[name])
        assert not page.found & {"script", "img", "iframe", "object", "form", "base"}, name
        assert not [attribute for attribute in page.attributes if attribute.startswith("on") or attribute in ("style", "srcdoc")], name
        assert "default-src &#39;none&#39;" in shown[name], name
        shown[name].encode("utf-8")
    for name in ("model-card.md", "data-card.md", "annex-iv"):
        body = shown[name].split("---\n", 2)[2] if name == "model-card.md" else shown[name]
        assert "<" not in body, name
        page = Elements(MarkdownIt("commonmark").enable("table").render(body))
        assert page.found <= {"h1", "h2", "h3", "p", "em", "strong", "ul", "li", "table", "thead", "tbody", "tr", "th", "td"}, (name, page.found)
        assert "\n# heading" not in body, name
    assert "window.ran" in shown["scorecard.pdf"]
    assert yaml.safe_load(shown["model-card.md"].split("---\n")[1])["library_name"] == "sklearn"


@pytest.mark.parametrize(
    "name",
    [
        lambda place: f"group {place}",
        lambda place: f"race=A long name of a group, sex=Female, region=North-West {place}" * 2,
        lambda place: "W" * 200 + str(place),
    ],
)
def test_the_pdf_of_twenty_cohorts_is_three_pages_at_most(make_dossier, many_cohorts, name):
    """However long names and notes are, and however many targets there are; what was left out is said."""
    long = "A very long note that goes on. " * 200
    cohorts = many_cohorts(20, name)
    dossier = make_dossier(cohorts, notes=long, human=dict.fromkeys(("intended_use", "risks", "risk_acceptance", "declaration"), long), missing=(long,))
    review = dossier.reviews[0]
    reviews = tuple(replace(review, reviewer=f"{place} " + "R" * 200, conditions=long, expires="2027-01-01") for place in range(9))
    dossier = replace(dossier, reviews=reviews, dataset=dossier.dataset, alternatives=dossier.alternatives * 10)
    data = pdf.render(scorecard.document(dossier), dossier.registered)
    assert pages(data) <= 3
    text = pdf_text(data)
    worst = max((value, n) for value, n in list(cohorts.values())[1:])
    assert figure(worst[0], worst[0] - 0.25, worst[0] + 0.25) in text
    assert "These are the 12 worst of 20 groups" in text
    assert "more targets" in text


def test_the_same_evidence_makes_the_same_bytes(make_dossier, shown):
    """Documents hold no time but those of the record."""
    one, other = make_dossier(), make_dossier()
    assert shown | machine(one) == texts(other) | machine(other)
    assert pdf.render(scorecard.document(one), one.registered) == pdf.render(scorecard.document(other), other.registered)


def test_characters_that_the_font_lacks_are_shown_as_squares(make_dossier):
    """A group named in Chinese or with an emoji does not stop the PDF; the page has the name itself."""
    dossier = make_dossier({"overall": (2.25, 126), "地区=北 🎈": (3.5, 41), "ålder=öst": (3.25, 41)})
    text = pdf_text(pdf.render(scorecard.document(dossier), dossier.registered))
    assert "□□=□ □" in text
    assert "ålder=öst" in text
    assert "地区=北 🎈" in web.render(scorecard.document(dossier), "scorecard")


def test_card_of_hugging_face_names_its_library_and_task(make_dossier):
    """The header has what the hub reads: library, task, tags and a model index with the dataset and metrics."""
    fields = yaml.safe_load(model_card.header(make_dossier()).strip("-\n"))
    assert (fields["library_name"], fields["pipeline_tag"]) == ("sklearn", "tabular-regression")
    [result] = fields["model-index"][0]["results"]
    assert result["dataset"] == {"type": "boston", "name": "Boston housing, 1970", "split": "test"}
    assert fields["metrics"] == [one["type"] for one in result["metrics"]]


def test_card_has_the_sections_of_mitchell_et_al(make_dossier):
    """In the order of the paper."""
    found = re.findall(r"^## (.*)$", model_card.to_markdown(make_dossier()), re.MULTILINE)
    assert found[:9] == [
        "Model details",
        "Intended use",
        "Factors",
        "Metrics",
        "Evaluation data",
        "Training data",
        "Quantitative analyses",
        "Ethical considerations",
        "Caveats and recommendations",
    ]


def test_pack_has_each_point_of_annex_iv_filled_or_asked_for(make_dossier):
    """Nine headings; each point has something below it, and what a person wrote replaces the question."""
    document = pack.document(make_dossier(), {})
    assert [section.title[0] for section in document.sections] == list("123456789")
    for section in document.sections:
        for part, following in zip(section.parts, (*section.parts[1:], None), strict=True):
            assert not isinstance(part, Heading) or (following is not None and not isinstance(following, Heading)), part
    asked = markdown.render(document)
    assert "written/1b.txt" in asked
    answered = markdown.render(pack.document(make_dossier(), {"1(b)": "It reads a table from <b>a queue</b>."}))
    assert "written/1b.txt" not in answered
    assert "It reads a table from &lt;b&gt;a queue&lt;/b&gt;." in answered


def test_crosswalk_covers_all_evidence_and_names_only_points_there_are():
    """Each object of the manifest is in it, and every point of Annex IV that is named is one of Annex IV."""
    walk = pack.load_crosswalk()
    assert {*OBJECTS, "snapshots"} <= {one.item for one in walk.evidence}
    assert {point for one in walk.evidence for point in one.annex_iv} <= set(pack.names())
    assert all(re.fullmatch(r"(GOVERN|MAP|MEASURE|MANAGE) \d\.\d{1,2}", name) for one in walk.evidence for name in one.nist_ai_rmf)
    assert all(re.fullmatch(r"A\.\d{1,2}\.\d(\.\d)?|\d{1,2}\.\d(\.\d)?", name) for one in walk.evidence for name in one.iso_42001)
    table = markdown.render(pack.crosswalk())
    assert all(f"| {one.item} |" in table for one in walk.evidence)


def test_count_of_the_scorecard_is_that_of_the_report(make_dossier):
    """Rows are those of the cohort, with separators."""
    dossier = make_dossier({"overall": (2.25, 12_345), "a=b": (2.5, 6_789)})
    assert count(12_345) in texts(dossier)["scorecard.pdf"]
    assert count(6_789) in texts(dossier)["scorecard.html"]

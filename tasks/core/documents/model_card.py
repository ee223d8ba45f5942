"""The model card of a registered version: Markdown with the header that Hugging Face reads, and HTML."""

import yaml

from tasks.core.card import CardFacts, card_document
from tasks.core.documents import markdown, web
from tasks.core.documents.content import Document
from tasks.core.dossier import Dossier

TASKS = {"binary": "tabular-classification", "regression": "tabular-regression"}


def facts(dossier: Dossier) -> CardFacts:
    """What the card reports of a registered version."""
    evidence = dossier.evidence
    named = {name: value for name, value in evidence.items() if isinstance(value, str) and value.startswith("sha256:")}
    return CardFacts(
        candidate=dossier.candidate,
        period=dossier.period,
        rows=dossier.rows,
        report=dossier.report.frame(),
        decision=dossier.decision,
        findings=[f"{finding['message']} {finding['fix']}".strip() for finding in dossier.findings],
        digests={
            "evidence": dossier.digest,
            **evidence["snapshots"],
            **named,
            "code": evidence.get("code", "unknown"),
            "lock": evidence.get("lock", "unknown"),
        },
        emissions=dossier.energy,
        alternatives=[{"name": one.name, **vars(one.figure)} | {"name": one.name} for one in dossier.alternatives],
        decided=dossier.decided,
        version=dossier.version,
        author=str(evidence.get("author", "")),
        registered=dossier.registered,
        status=dossier.status,
        spec=dossier.spec,
        dataset=dossier.dataset,
        human=dossier.human,
        comparison=dossier.comparison.get("comparison", ()),
        reviews=dossier.reviews,
    )


def document(dossier: Dossier) -> Document:
    """The card's content."""
    return card_document(dossier.case, facts(dossier))


def header(dossier: Dossier) -> str:
    """The YAML header by which Hugging Face's hub indexes a card: the task, and each metric on all test rows."""
    case = dossier.case
    measured = [dossier.overall(metric) for metric in dossier.metrics]
    task = TASKS[case.task]
    result = {
        "task": {"type": task, "name": case.target.column},
        "dataset": {"type": case.dataset, "name": dossier.dataset.title, "split": "test"},
        "metrics": [
            {"type": one.metric, "name": f"{one.metric} on all test rows: {one.shown}, 95 % interval", "value": one.value} for one in measured if one.known
        ],
    }
    fields = {
        "library_name": "sklearn",
        "pipeline_tag": task,
        "tags": ["sklearn", "skops", task, "equipoise", case.case],
        "metrics": [one.metric for one in measured if one.known],
        "model-index": [{"name": f"{case.case} version {dossier.version}", "results": [result]}],
    }
    return f"---\n{yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, width=1000)}---\n"


def to_markdown(dossier: Dossier) -> str:
    """The card for export, with its header."""
    return f"{header(dossier)}\n{markdown.render(document(dossier))}"


def to_html(dossier: Dossier) -> str:
    """The card as one HTML file."""
    return web.render(document(dossier), "model card")

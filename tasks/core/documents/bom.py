"""The ML-BOM: what a version is made of, as CycloneDX 1.6 JSON with a model card, its data, and every installed package.

Format: https://cyclonedx.org/docs/1.6/json/.
"""

import re
import uuid
from typing import Any
from urllib.parse import quote

from tasks.core.card import human_parts
from tasks.core.catalogue import RiskFlag
from tasks.core.documents.words import steps
from tasks.core.dossier import Dossier, Figure

MODEL = "model"


def document(dossier: Dossier) -> dict[str, Any]:
    """The bill of materials, JSON-ready, the same for the same evidence."""
    packages = [_package(name, version) for name, version in dossier.environment.get("packages", {}).items()]
    data = [_data(dossier, what, digest) for what, digest in dossier.evidence["snapshots"].items()]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, dossier.digest)}",
        "version": 1,
        "metadata": {
            "timestamp": dossier.registered,
            "tools": {"components": [{"type": "application", "name": "equipoise"}]},
            "component": _model(dossier, [one["bom-ref"] for one in data]),
            "properties": [
                {"name": "equipoise:evidence", "value": dossier.digest},
                {"name": "equipoise:code", "value": str(dossier.evidence.get("code", "unknown"))},
                {"name": "equipoise:lock", "value": str(dossier.evidence.get("lock", "unknown"))},
                {"name": "equipoise:python", "value": str(dossier.environment.get("python", "unknown"))},
                {"name": "equipoise:platform", "value": str(dossier.environment.get("platform", "unknown"))},
            ],
        },
        "components": [*data, *packages],
        "dependencies": [{"ref": MODEL, "dependsOn": [one["bom-ref"] for one in (*data, *packages)]}],
    }


def _package(name: str, version: str) -> dict[str, Any]:
    """A Python package under its normalised name."""
    plain = re.sub(r"[-_.]+", "-", name).lower()
    purl = f"pkg:pypi/{quote(plain, safe='')}@{quote(version, safe='')}"
    return {"type": "library", "bom-ref": purl, "name": plain, "version": version, "purl": purl}


def _data(dossier: Dossier, what: str, digest: str) -> dict[str, Any]:
    flagged = dossier.dataset.flagged(*RiskFlag)
    contents: dict[str, Any] = {"type": "dataset", "name": f"{dossier.dataset.name}: {what}"}
    if flagged and what.startswith("features"):
        contents["sensitiveData"] = [f"{name}: {', '.join(sorted(dossier.dataset.column(name).flags))}" for name in flagged]
    return {
        "type": "data",
        "bom-ref": f"data-{what.replace(' ', '-')}",
        "name": f"{dossier.dataset.name} {what}",
        "version": dossier.dataset.version or "0",
        "description": dossier.dataset.title,
        "hashes": [_hash(digest)],
        "data": [contents],
    }


def _hash(digest: str) -> dict[str, str]:
    return {"alg": "SHA-256", "content": digest.removeprefix("sha256:")}


def _model(dossier: Dossier, data: list[str]) -> dict[str, Any]:
    return {
        "type": "machine-learning-model",
        "bom-ref": MODEL,
        "name": dossier.case.case,
        "version": str(dossier.version),
        "description": dossier.case.purpose,
        "hashes": [_hash(dossier.evidence["model"])],
        "modelCard": {
            "modelParameters": {
                "approach": {"type": "supervised"},
                "task": "classification" if dossier.case.task == "binary" else "regression",
                "architectureFamily": dossier.spec.estimator.kind,
                "modelArchitecture": dossier.candidate,
                "datasets": [{"ref": ref} for ref in data],
                "inputs": [{"format": f"table with the columns {', '.join(dossier.case.features)}"}],
                "outputs": [{"format": "y_pred and y_score" if dossier.case.task == "binary" else "y_pred"}],
            },
            "quantitativeAnalysis": {"performanceMetrics": [_metric(one) for metric in dossier.metrics for one in dossier.figures(metric) if one.known]},
            "considerations": _considerations(dossier),
            "properties": [
                {"name": f"equipoise:status:{name}", "value": value} for name, value in (("production", dossier.status), ("gate", dossier.decision.outcome))
            ],
        },
    }


def _metric(one: Figure) -> dict[str, Any]:
    found: dict[str, Any] = {"type": one.metric, "value": repr(one.value), "slice": one.cohort}
    if one.low is not None and one.high is not None:
        found["confidenceInterval"] = {"lowerBound": repr(one.low), "upperBound": repr(one.high)}
    return found


def _considerations(dossier: Dossier) -> dict[str, Any]:
    case, primary = dossier.case, dossier.case.metrics.primary
    human = human_parts(case, dossier.human)
    unclear = [one.cohort for one in dossier.unclear(primary)]
    done = "; ".join(steps(dossier.spec)) or "none"
    harmed = [one for one in dossier.ranked(primary) if dossier.worse(one)]
    found: dict[str, Any] = {
        "useCases": [human["intended_use"].strip() or "Not stated yet."],
        "technicalLimitations": [f"Insufficient evidence for: {', '.join(unclear)}." if unclear else "Every cohort had rows enough to be judged."],
        "ethicalConsiderations": [{"name": human["risks"].strip() or "Not stated yet.", "mitigationStrategy": done}],
        "fairnessAssessments": [
            {"groupAtRisk": one.cohort, "harms": f"{primary} {one.shown}, clearly worse than all rows together", "mitigationStrategy": done} for one in harmed
        ],
    }
    if dossier.emissions.get("kwh") is not None:
        named = {"kwh": "energy of the training, kWh", "kg": "emissions of the training, kg CO2-equivalent", "method": "how they were come by"}
        found["environmentalConsiderations"] = {"properties": [{"name": what, "value": str(dossier.emissions[key])} for key, what in named.items()]}
    return found

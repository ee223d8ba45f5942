"""OpenLineage events of a training: which snapshots went in, which model version came out.

Format: https://openlineage.io/spec/2-0-2/OpenLineage.json.
"""

import uuid
from typing import Any

from tasks.core.dossier import Dossier, began

PRODUCER = "urn:equipoise:pipeline"
SPEC = "https://openlineage.io/spec"
NAMESPACE = "equipoise"


def events(dossier: Dossier) -> list[dict[str, Any]]:
    """START and COMPLETE of the training, JSON-ready, the same for the same evidence."""
    run = {"runId": str(uuid.uuid5(uuid.NAMESPACE_URL, dossier.digest)), "facets": {"processing_engine": _engine(dossier)}}
    job = {
        "namespace": NAMESPACE,
        "name": f"train.{dossier.case.case}",
        "facets": {
            "documentation": _facet("1-0-0/DocumentationJobFacet.json#/$defs/DocumentationJobFacet", description=dossier.case.purpose),
            "jobType": _facet("2-0-3/JobTypeJobFacet.json#/$defs/JobTypeJobFacet", processingType="BATCH", integration="EQUIPOISE", jobType="TRAINING"),
        },
    }
    common = {
        "producer": PRODUCER,
        "schemaURL": f"{SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent",
        "run": run,
        "job": job,
        "inputs": [_input(dossier, what, digest) for what, digest in dossier.evidence["snapshots"].items()],
    }
    return [
        common | {"eventType": "START", "eventTime": began(dossier), "outputs": []},
        common | {"eventType": "COMPLETE", "eventTime": dossier.registered, "outputs": [_output(dossier)]},
    ]


def _facet(schema: str, **values: Any) -> dict[str, Any]:
    return {"_producer": PRODUCER, "_schemaURL": f"{SPEC}/facets/{schema}", **values}


def _engine(dossier: Dossier) -> dict[str, Any]:
    version = str(dossier.environment.get("packages", {}).get("scikit-learn", "unknown"))
    return _facet("1-1-0/ProcessingEngineRunFacet.json#/$defs/ProcessingEngineRunFacet", name="scikit-learn", version=version)


def _version(digest: str) -> dict[str, Any]:
    return _facet("1-0-0/DatasetVersionDatasetFacet.json#/$defs/DatasetVersionDatasetFacet", datasetVersion=digest)


def _input(dossier: Dossier, what: str, digest: str) -> dict[str, Any]:
    wanted = what.startswith("labels")
    fields = [{"name": one.name, "type": one.type, "description": one.description} for one in dossier.dataset.columns if one.label == wanted]
    schema = _facet("1-1-1/SchemaDatasetFacet.json#/$defs/SchemaDatasetFacet", fields=fields)
    return {"namespace": NAMESPACE, "name": f"{dossier.dataset.name}.{what.replace(' ', '.')}", "facets": {"version": _version(digest), "schema": schema}}


def _output(dossier: Dossier) -> dict[str, Any]:
    """The model version, by the digest of its bytes."""
    told = f"Model {dossier.case.case} version {dossier.version}, evidence {dossier.digest}"
    documentation = _facet("1-0-0/DocumentationDatasetFacet.json#/$defs/DocumentationDatasetFacet", description=told)
    return {
        "namespace": NAMESPACE,
        "name": f"model.{dossier.case.case}",
        "facets": {"version": _version(str(dossier.version)), "documentation": documentation},
        "outputFacets": {},
    }

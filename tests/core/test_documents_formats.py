"""What other programs read is what their formats ask for: Croissant, CycloneDX and OpenLineage."""

import json
import logging
import uuid
from dataclasses import replace

import jsonschema
import pytest

from tasks.core.documents import bom, croissant, lineage

FACET = {
    "type": "object",
    "required": ["_producer", "_schemaURL"],
    "properties": {"_producer": {"type": "string", "format": "uri"}, "_schemaURL": {"type": "string", "format": "uri"}},
}
FACETS = {"type": "object", "additionalProperties": FACET}
DATASET = {
    "type": "object",
    "required": ["namespace", "name"],
    "properties": {
        "namespace": {"type": "string"},
        "name": {"type": "string"},
        "facets": FACETS
        | {
            "properties": {
                "version": {"required": ["datasetVersion"], "properties": {"datasetVersion": {"type": "string"}}},
                "documentation": {"required": ["description"]},
                "schema": {
                    "properties": {"fields": {"type": "array", "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}}}
                },
            }
        },
    },
}
RUN_EVENT = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["run", "job", "eventTime", "producer", "schemaURL"],
    "properties": {
        "eventType": {"enum": ["START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"]},
        "eventTime": {"type": "string", "format": "date-time"},
        "producer": {"type": "string", "format": "uri"},
        "schemaURL": {"type": "string", "format": "uri"},
        "run": {
            "type": "object",
            "required": ["runId"],
            "properties": {"runId": {"type": "string", "format": "uuid"}, "facets": FACETS | {"properties": {"processing_engine": {"required": ["version"]}}}},
        },
        "job": {
            "type": "object",
            "required": ["namespace", "name"],
            "properties": {
                "namespace": {"type": "string"},
                "name": {"type": "string"},
                "facets": FACETS | {"properties": {"jobType": {"required": ["processingType", "integration"]}, "documentation": {"required": ["description"]}}},
            },
        },
        "inputs": {"type": "array", "items": DATASET},
        "outputs": {"type": "array", "items": DATASET},
    },
    "additionalProperties": False,
}
"""A RunEvent as OpenLineage 2-0-2 has it, and of the facets used here what their schemas require."""

NAMES = ("a b", "x/y#z", "<b>", 'q"uote', "ümlaut", "percent%20", "new\nline")


def oddly_named(dossier):
    """The same with columns whose names no identifier would have."""
    columns = dossier.dataset.columns
    odd = (*(column.model_copy(update={"name": name}) for column, name in zip(columns, NAMES, strict=False)), *columns[len(NAMES) :])
    return replace(dossier, dataset=dossier.dataset.model_copy(update={"columns": odd}))


@pytest.mark.parametrize("change", [lambda dossier: dossier, oddly_named])
def test_croissant_is_read_by_its_own_library(make_dossier, change, caplog):
    """mlcroissant finds no error and warns of nothing but what the catalogue does not state; it reads the responsible-AI fields."""
    import mlcroissant

    dossier = change(make_dossier())
    with caplog.at_level(logging.CRITICAL, logger="absl"):
        found = mlcroissant.Dataset(jsonld=json.loads(json.dumps(croissant.document(dossier)))).metadata
    assert not found.ctx.issues.errors
    assert sorted(warning.split('"')[1].rpartition("/")[2] for warning in found.ctx.issues.warnings) == ["citeAs", "license"]
    assert [one.split(":")[0] for one in found.personal_sensitive_information] == ["B", "LSTAT"]
    assert "theory of prejudice" in found.data_limitations[0]
    assert found.data_use_cases == [dossier.case.purpose]
    assert {one.sha256 for one in found.distribution} == {digest.removeprefix("sha256:") for digest in dossier.evidence["snapshots"].values()}
    features, labels = found.record_sets
    assert [field.name for field in labels.fields] == ["row_id", "MEDV"]
    assert [field.name for field in features.fields] == ["row_id", *(column.name for column in dossier.dataset.columns if not column.label)]


def test_bill_of_materials_keeps_its_strict_schema(make_dossier):
    """CycloneDX 1.6 with nothing beyond it; packages by their normalised names, the model by the digest of its bytes."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    dossier = make_dossier()
    found = bom.document(dossier)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(found)) is None
    assert {one.get("purl") for one in found["components"] if one["type"] == "library"} == {
        "pkg:pypi/numpy@2.1.0",
        "pkg:pypi/scikit-learn@1.9.0",
        "pkg:pypi/odd@1.0%2Blocal",
    }
    model = found["metadata"]["component"]
    assert (model["type"], model["hashes"][0]["content"]) == ("machine-learning-model", dossier.evidence["model"].removeprefix("sha256:"))
    assert [one["groupAtRisk"] for one in model["modelCard"]["considerations"]["fairnessAssessments"]] == ["LSTAT=(16, ...]"]
    references = {model["bom-ref"], *(one["bom-ref"] for one in found["components"])}
    assert {one for entry in found["dependencies"] for one in (entry["ref"], *entry["dependsOn"])} <= references


def test_lineage_events_keep_the_published_schema(make_dossier):
    """START, then COMPLETE of one run; snapshots go in by digest, the version comes out."""
    dossier = make_dossier()
    found = lineage.events(dossier)
    for event in found:
        jsonschema.Draft202012Validator(RUN_EVENT, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER).validate(event)
    start, complete = found
    assert (start["eventType"], complete["eventType"]) == ("START", "COMPLETE")
    assert (start["eventTime"], complete["eventTime"]) == ("2026-11-19T08:59:30+00:00", dossier.registered)
    assert start["run"] == complete["run"]
    assert uuid.UUID(start["run"]["runId"]).version == 5
    assert [one["facets"]["version"]["datasetVersion"] for one in complete["inputs"]] == list(dossier.evidence["snapshots"].values())
    [made] = complete["outputs"]
    assert (made["name"], made["facets"]["version"]["datasetVersion"]) == ("model.boston", "3")

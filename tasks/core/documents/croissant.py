"""The data card as Croissant 1.0 JSON-LD with the responsible-AI vocabulary, so that tools find, read and check the snapshots.

Formats: https://docs.mlcommons.org/croissant/docs/croissant-spec.html and croissant-rai-spec.html.
"""

from typing import Any
from urllib.parse import quote

from tasks.core.catalogue import ROW_ID
from tasks.core.documents.data_card import SENSITIVE, preparation
from tasks.core.dossier import Dossier

CONFORMS = ["http://mlcommons.org/croissant/1.0", "http://mlcommons.org/croissant/RAI/1.0"]
TYPES = {"integer": "sc:Integer", "number": "sc:Float", "string": "sc:Text", "boolean": "sc:Boolean", "date": "sc:Date", "timestamp": "sc:DateTime"}
OWN = ["citeAs", "column", "equivalentProperty", "extract", "field", "fileProperty", "fileObject", "fileSet", "format", "includes", "isLiveDataset"]
OWN += ["jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex", "repeated", "replace", "samplingRate", "separator"]
OWN += ["source", "subField", "transform"]
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    **{name: f"cr:{name}" for name in OWN},
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
}
"""The context of the published examples."""


def document(dossier: Dossier) -> dict[str, Any]:
    """The dataset as it was used, JSON-ready. Files are the store's objects, under their paths below the state folder."""
    dataset, case = dossier.dataset, dossier.case
    flagged = [column for column in dataset.columns if column.flags & set(SENSITIVE)]
    biases = [f"{column.name} ({', '.join(sorted(column.flags))}): {column.why}" for column in flagged]
    found = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS,
        "name": dataset.name,
        "description": dataset.description or dataset.title,
        "version": dataset.version or "0",
        "datePublished": dossier.registered[:10],
        "distribution": [_file(what, digest) for what, digest in dossier.evidence["snapshots"].items()],
        "recordSet": [_records(dossier, what) for what in dossier.evidence["snapshots"]],
        "rai:dataBiases": biases or ["The catalogue flags no column."],
        "rai:personalSensitiveInformation": [f"{column.name}: {', '.join(sorted(column.flags))}" for column in flagged]
        or ["None is flagged in the catalogue."],
        "rai:dataUseCases": [case.purpose],
        "rai:dataLimitations": [dataset.description or "Not stated."],
        "rai:dataPreprocessingProtocol": list(preparation(dossier)),
        "rai:dataCollection": f"Read from {dossier.source}.",
        "rai:dataReleaseMaintenancePlan": "A snapshot never changes; corrected data is a new snapshot.",
    }
    if dossier.part("risks"):
        found["rai:dataSocialImpact"] = dossier.part("risks")
    return found


def _file(what: str, digest: str) -> dict[str, Any]:
    name = digest.removeprefix("sha256:")
    return {
        "@type": "cr:FileObject",
        "@id": _id(what),
        "name": what,
        "description": f"The snapshot of {what}.",
        "contentUrl": f"store/objects/{name[:2]}/{name}",
        "encodingFormat": "application/x-parquet",
        "sha256": name,
    }


def _records(dossier: Dossier, what: str) -> dict[str, Any]:
    """A record set for each snapshot: the labels, or everything else, beside the row's identity."""
    wanted = what.startswith("labels")
    columns = [(column.name, column.description, TYPES[column.type]) for column in dossier.dataset.columns if column.label == wanted]
    return {
        "@type": "cr:RecordSet",
        "@id": f"records-{_id(what)}",
        "name": f"records of {what}",
        "key": {"@id": f"records-{_id(what)}/{ROW_ID}"},
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"records-{_id(what)}/{quote(name, safe='')}",
                "name": name,
                "description": description,
                "dataType": kind,
                "source": {"fileObject": {"@id": _id(what)}, "extract": {"column": name}},
            }
            for name, description, kind in ((ROW_ID, "A row's identity within its period.", "sc:Text"), *columns)
        ],
    }


def _id(what: str) -> str:
    return what.replace(" ", "-")

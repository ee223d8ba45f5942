"""Reads a catalogue document as an Open Data Contract Standard (ODCS) v3 data contract, and says where it is wrong.

Three nets, from the friendliest to the strictest: keys the standard does not know (with the nearest one it does), the
pydantic model of the package `open-data-contract-standard`, and the JSON schema in that package.
"""

import functools
import importlib
import importlib.resources
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

from open_data_contract_standard.model import OpenDataContractStandard
from pydantic import BaseModel, ValidationError

from tasks.core.errors import CaseError, nearest

REFERENCE = "docs/catalogue.md describes the catalogue."


def read_contract(document: Mapping[str, Any], where: str) -> OpenDataContractStandard:
    """The contract in `document`; `where` is how messages name the file.

    Raises: CaseError that names the file, the place in it, the value and what to do.
    """
    version = document.get("apiVersion")
    if not (isinstance(version, str) and version.startswith("v3.")):
        raise CaseError(f"`apiVersion` is {version!r}, and only version 3 of the standard is read.", where=where, fix="Write `apiVersion: v3.1.0`.")
    _refuse_unknown_keys(document, OpenDataContractStandard, document, (), where)
    try:
        contract = OpenDataContractStandard.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        raise CaseError(f"`{place(document, first['loc'])}`: {first['msg']} (given: {_clip(repr(first['input']))}).", where=where, fix=REFERENCE) from error
    return contract


def check_schema(document: Mapping[str, Any], where: str) -> None:
    """Hold the document against the standard's own JSON schema: the last net, whose messages are the least friendly.

    Raises: CaseError with the most telling violation.
    """
    errors = list(_validator().iter_errors(document))
    if errors:
        # one wrong value makes its neighbours "unevaluated" too; that follows from the fault and does not explain it
        telling = [error for error in errors if error.validator != "unevaluatedProperties"]
        best = importlib.import_module("jsonschema").exceptions.best_match(telling or errors)
        subject = f"`{place(document, best.absolute_path)}`: " if best.absolute_path else ""
        raise CaseError(f"{subject}{_clip(best.message)}.", where=where, fix=f"The standard's JSON schema refuses it. {REFERENCE}")


def place(document: object, path: Iterable[str | int]) -> str:
    """A path in the document as people read it: columns by name instead of by number.

    >>> place({"schema": [{"properties": [{"name": "age"}]}]}, ("schema", 0, "properties", 0, "logicalType"))
    'schema[0].properties[age].logicalType'
    """
    words, value = "", document
    for part in path:
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, Sequence) and not isinstance(value, str) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            value = None
        if isinstance(part, int):
            label = value.get("name") or value.get("property") if isinstance(value, Mapping) else None
            words += f"[{label or part}]"
        else:
            words += f".{part}" if words else str(part)
    return words


def _refuse_unknown_keys(value: object, model: type[BaseModel], document: object, path: tuple[str | int, ...], where: str) -> None:
    if isinstance(value, list):
        for index, item in enumerate(value):
            _refuse_unknown_keys(item, model, document, (*path, index), where)
        return
    if not isinstance(value, Mapping):
        return  # pydantic says what is wrong with it
    known = {field.alias or name: field for name, field in model.model_fields.items()}
    for key, inner in value.items():
        if key not in known:
            raise CaseError(f"`{place(document, (*path, key))}` is not a key of the standard.", where=where, fix=nearest(str(key), known))
        models = _models_in(known[key].annotation)
        if len(models) == 1:  # a free mapping has none; `team` may be either of two, and the JSON schema judges it
            _refuse_unknown_keys(inner, models[0], document, (*path, key), where)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]


@functools.cache
def _validator() -> Any:
    """The JSON schema shipped inside the package, compiled once. jsonschema has no type information, hence the plain import."""
    schema = json.loads(importlib.resources.files("open_data_contract_standard").joinpath("schema.json").read_text(encoding="utf-8"))
    jsonschema = importlib.import_module("jsonschema")
    return jsonschema.validators.validator_for(schema)(schema)


def _clip(text: str, limit: int = 160) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."

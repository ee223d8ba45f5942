"""Reads cases and catalogue entries from YAML, strictly: no duplicate keys, no aliases, no surprises of YAML 1.1."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from tasks.core.case import Case, Cohorts
from tasks.core.catalogue import Dataset, dataset_from_contract
from tasks.core.digests import digest_of
from tasks.core.errors import CaseError, nearest
from tasks.core.people import People
from tasks.core.strict import NAME

MAX_BYTES = 1_000_000
DEEPEST = 50
DEFAULT_SUPPORT = 20
PEOPLE = "reviewers.yaml"


_SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is ten times as fast; not every build of PyYAML has it


class _StrictLoader(_SafeLoader):  # type: ignore[misc, valid-type]  # chosen when this is imported
    """SafeLoader that refuses duplicate keys, and reads `no`, `on` and `1:30` as the strings they look like."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, list | dict):
                raise yaml.constructor.ConstructorError(None, None, "a key is a list or a mapping", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key `{key}` is given twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


# YAML 1.2's booleans only, and no base-60 integers: `no`, `on`, `y` and `12:30` stay strings.
_StrictLoader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if tag not in {"tag:yaml.org,2002:bool", "tag:yaml.org,2002:int"}]
    for letter, resolvers in _SafeLoader.yaml_implicit_resolvers.items()
}
_StrictLoader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_StrictLoader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?[0-9]+$"), list("-+0123456789"))


def read_yaml(path: Path, *, shown: str) -> dict[str, Any]:
    """The mapping in a YAML file. `shown` is how messages name it."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CaseError(f"cannot be read: {error.strerror}.", where=shown) from error
    if len(data) > MAX_BYTES:
        raise CaseError(f"is {len(data):,} bytes; at most {MAX_BYTES:,} are read.", where=shown)
    try:
        text = data.decode("utf-8")
        _refuse_aliases_and_depth(text, shown)
        document = yaml.load(text, Loader=_StrictLoader)  # noqa: S506  # a SafeLoader: builds plain values only
    except UnicodeDecodeError as error:
        raise CaseError(f"is not UTF-8 text (byte {error.start}).", where=shown, fix="Save it as UTF-8.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise CaseError(f"{getattr(error, 'problem', None) or error}{line}.", where=shown, fix="Mend the YAML there.") from error
    if not isinstance(document, dict):
        raise CaseError("is empty." if document is None else "holds no mapping of keys to values.", where=shown)
    return document


def _refuse_aliases_and_depth(text: str, shown: str) -> None:
    """Both are seen in the stream of events, before anything is built of them: building goes as deep as the text does."""
    depth = 0
    for event in yaml.parse(text, Loader=_SafeLoader):
        if isinstance(event, yaml.events.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "aliases (*name) are not read; write the value out", event.start_mark)
        depth += isinstance(event, yaml.events.CollectionStartEvent) - isinstance(event, yaml.events.CollectionEndEvent)
        if depth > DEEPEST:
            raise CaseError("is nested too deeply.", where=shown)


def load_case(name: str, project: Path) -> Case:
    """The case `configs/<name>.yaml`.

    Raises: CaseError that names the file, the key, the value and the nearest right key.
    """
    path = _named(name, project / "configs", "case")
    shown = f"configs/{path.name}"
    document = read_yaml(path, shown=shown)
    if isinstance(document.get("cohorts"), str):
        document["cohorts"] = load_cohorts(_named(document["cohorts"], project / "configs" / "cohorts", "cohort file"))
    try:
        case = Case.model_validate(document)
    except ValidationError as error:
        raise CaseError(_explain(error), where=shown, fix="docs/cases.md lists every key.") from error
    if case.case != name:
        raise CaseError(f"`case` is `{case.case}`, but the file is called {path.name}.", where=shown, fix="Give both the same name.")
    return case


def load_cohorts(path: Path) -> Cohorts:
    """A file of named cohorts: the mapping that is otherwise written under a case's `cohorts`."""
    try:
        return Cohorts.model_validate(read_yaml(path, shown=str(path)))
    except ValidationError as error:
        raise CaseError(_explain(error, Cohorts), where=str(path), fix="docs/cases.md lists every key of `cohorts`.") from error


def cohorts_asked(by: Sequence[Sequence[str]], where: Mapping[str, str], cohorts: str | Path | None = None, min_support: int | None = None) -> dict[str, Any]:
    """What to evaluate, of a file of named cohorts and of what is asked besides; what is asked stands before what the file says."""
    if cohorts is None:
        return {"by": [list(entry) for entry in by], "where": dict(where), "min_support": min_support or DEFAULT_SUPPORT}
    file = load_cohorts(Path(cohorts))
    from tasks.core.cohorts import groupings

    named = groupings([*file.by, *by])
    bins = {column: edges for column, edges in file.bins.items() if any(column in entry for entry in named)}
    return {"by": [list(entry) for entry in named], "where": {**file.where, **where}, "bins": bins, "min_support": min_support or file.min_support}


def load_people(project: Path) -> People:
    """Who may do what: `configs/reviewers.yaml`. Without the file nobody is named."""
    path = project / "configs" / PEOPLE
    if not path.is_file():
        return People()
    try:
        return People.model_validate(read_yaml(path, shown=f"configs/{PEOPLE}"))
    except ValidationError as error:
        raise CaseError(_explain(error, People), where=f"configs/{PEOPLE}", fix="docs/governance.md lists every key.") from error


def load_dataset(name: str, project: Path) -> Dataset:
    """The catalogue entry `catalog/<name>.yaml`."""
    path = _named(name, project / "catalog", "dataset")
    return dataset_from_contract(read_yaml(path, shown=f"catalog/{path.name}"), name)


def case_names(project: Path) -> list[str]:
    """The cases that have a file, by name."""
    return sorted(path.stem for path in (project / "configs").glob("*.yaml") if NAME.fullmatch(path.stem) and path.name != PEOPLE)


def case_digest(case: Case) -> str:
    """SHA-256 of the case's canonical JSON: formatting and comments do not change it."""
    return digest_of(case.model_dump(mode="json"))


def _named(name: str, folder: Path, what: str) -> Path:
    if not NAME.fullmatch(name):
        raise CaseError(f"{name!r} is not the name of a {what}: lower-case letters, digits, '-' and '_', starting with a letter.")
    path = folder / f"{name}.yaml"
    if not path.is_file():
        known = [found.stem for found in folder.glob("*.yaml")]
        raise CaseError(f"There is no {what} `{name}`: no file {folder.name}/{name}.yaml.", fix=nearest(name, known))
    return path


def _explain(error: ValidationError, model: type[BaseModel] = Case) -> str:
    parts = []
    for problem in error.errors():
        location = list(problem["loc"])
        key = ".".join(str(part) for part in location)
        if problem["type"] == "extra_forbidden":
            parts.append(f"`{key}` is not a key. {nearest(str(location[-1]), _keys_at(location[:-1], model))}")
        elif problem["type"] == "missing":
            parts.append(f"`{key}` is missing.")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            secret = location[-1:] == ["key"]  # whoever pastes a private key there by mistake must not see it in a log
            given = "" if secret or isinstance(problem["input"], dict | list) else f" (given: {problem['input']!r})"
            parts.append(f"`{key}`: {message}{given}." if key else f"{message}.")
    return " ".join(parts)


def _keys_at(location: list[Any], model: type[BaseModel]) -> set[str]:
    """The keys that a model knows at a place: follows field types through unions, lists and mappings."""
    models = [model]
    for part in location:
        found: list[type[BaseModel]] = []
        for model in models:
            fields = {field.alias or key: field for key, field in model.model_fields.items()}
            if isinstance(part, str) and part in fields:
                found += _models_in(fields[part].annotation)
        models = found or models
    return {field.alias or key for model in models for key, field in model.model_fields.items()}


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]

"""The documents say what the code does: every key, command, flag and file they name is there, and the other way round."""

import re
from typing import get_args

import pytest
import typer
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from flows.cli import app
from tasks.core.building import METHODS
from tasks.core.case import Case
from tasks.core.catalogue import COLUMN_PROPERTIES, COLUMN_TYPES, SERVER_PROPERTIES, RiskFlag
from tasks.core.mitigation.arguments import Maker
from tasks.core.rules import COLUMN_METRICS, TABLE_METRICS
from tasks.io.home import PROJECT

DOCS = [PROJECT / "README.md", *sorted((PROJECT / "docs").rglob("*.md"))]


def models(annotation):
    """The models that an annotation names, through unions, tuples and mappings."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in models(part)]


def default(field):
    """A field's default as YAML would have it; a dash where it must be given."""
    if field.is_required():
        return "–"
    value = field.default
    if value is PydanticUndefined:
        return "see below" if models(field.annotation) else "none"
    return "none" if value is None or value in ((), "") else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def named(model):
    """The keys of a model as YAML has them, with their fields."""
    return [(field.alias or key, field) for key, field in model.model_fields.items()]


def sections():
    """The reference of the case file: a table for each part, from the model itself."""
    found, queue = [], [("The case", Case)]
    while queue:
        title, model = queue.pop(0)
        rows = [f"| `{key}` | {default(field)} | {field.description} |" for key, field in named(model)]
        found += [f"## {title}\n\n| key | default | meaning |\n|---|---|---|\n" + "\n".join(rows) + "\n"]
        prefix = "" if model is Case else title.split("`")[1] + "."
        queue += [(f"`{prefix}{key}`", part) for key, field in named(model) for part in models(field.annotation)]
    return found


def test_every_key_of_a_case_is_documented():
    """docs/cases.md lists each key with its default and its meaning, as the model has them."""
    text = (PROJECT / "docs/cases.md").read_text()
    missing = [line for section in sections() for line in section.splitlines() if line and line not in text]
    assert missing == []


def test_no_key_is_documented_that_is_not_there():
    """Each table row of docs/cases.md that names a key is a key of the model."""
    known = {line for section in sections() for line in section.splitlines()}
    rows = [line for line in (PROJECT / "docs/cases.md").read_text().splitlines() if line.startswith("| `")]
    assert [row for row in rows if row not in known] == []


def methods():
    """The table of methods that a candidate may name, from the methods themselves."""
    lines = ["| method | key | tasks | needs cohorts | constraint | params |", "|---|---|---|---|---|---|"]
    for name, method in METHODS.items():
        maker = method if isinstance(method, Maker) else Maker(name, method, {"estimator": None, "constraint": None})
        cls = maker.step
        params = ", ".join(f"`{one}`" for one in maker.parameters) + (" and `columns`" if maker.takes_columns else "")
        constraints = ", ".join(dict.fromkeys(one for allowed in cls.constraints.values() for one in allowed)) or "–"
        lines.append(f"| `{name}` | {cls.role} | {', '.join(cls.tasks)} | {'yes' if cls.aimed else '–'} | {constraints} | {params or '–'} |")
    return lines


def test_every_method_is_documented():
    """docs/mitigation.md has a row for each method, with its place, tasks, constraints and parameters, and no other."""
    text = (PROJECT / "docs/mitigation.md").read_text(encoding="utf-8")
    assert "\n".join(methods()) in text
    for name in METHODS:
        assert f"**{name}**" in text, f"{name} is not explained"


@pytest.mark.parametrize("flag", list(RiskFlag))
def test_every_risk_flag_is_documented(flag):
    """docs/catalogue.md explains each flag."""
    assert f"`{flag.value}`" in (PROJECT / "docs/catalogue.md").read_text()


@pytest.mark.parametrize("key", [*COLUMN_PROPERTIES, *SERVER_PROPERTIES, *COLUMN_METRICS, *TABLE_METRICS, *COLUMN_TYPES])
def test_every_catalogue_key_is_documented(key):
    """docs/catalogue.md names each custom property, quality metric and column type that an entry may use."""
    assert re.search(rf"\b{key}\b", (PROJECT / "docs/catalogue.md").read_text(encoding="utf-8"))


def test_every_command_is_in_the_readme():
    """A command nobody can find does not exist."""
    readme = (PROJECT / "README.md").read_text()
    commands = typer.main.get_command(app).commands
    assert [name for name in commands if f"equipoise {name}" not in readme and name != "up"] == []
    assert "make serve" in readme


def test_links_lead_somewhere():
    """Each relative link in a document names a file that exists."""
    broken = [
        f"{path.relative_to(PROJECT)}: {target}"
        for path in DOCS
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text())
        if not (path.parent / target).exists()
    ]
    assert broken == []


def test_makefile_targets_named_in_documents_exist():
    """Each `make` command that a document gives is a target."""
    targets = set(re.findall(r"^([a-z]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    named = {word for path in DOCS for word in re.findall(r"(?:^|`)make ([a-z]+)", path.read_text(), re.MULTILINE)}
    assert named <= targets

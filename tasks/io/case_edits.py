"""Adds candidates to a case file as text, so that its comments and its form stay as they are."""

import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tasks.core.candidate_spec import CandidateSpec, Estimator
from tasks.core.case import Case
from tasks.core.errors import CaseError, EquipoiseError, UnavailableError, nearest
from tasks.core.guide import Remedy
from tasks.io.documents import load_case, load_dataset
from tasks.io.files import write_text


@dataclass(frozen=True)
class Edited:
    """What was written into a case file. `already` names the candidates that were there and did not need to be."""

    added: tuple[str, ...]
    already: tuple[str, ...]


def open_case(name: str, project: Path, by: Sequence[str]) -> Case:
    """The case, once it is sure that a remedy of it can aim at these columns: there is one, each is the dataset's, and none is the target.

    Raises: CaseError otherwise.
    """
    case, where = load_case(name, project), f"configs/{name}.yaml"
    if not by:
        raise CaseError("candidates need cohort columns to aim at, and none are given.", where=where, fix="Add for example --by sex.")
    if len(set(by)) < len(by):
        raise CaseError(f"{', '.join(by)} names a column twice.", where=where, fix="Name each column once in --by.")
    columns = load_dataset(case.dataset, project).names
    for column in by:
        if column not in columns:
            raise CaseError(f"`{column}` is not a column of {case.dataset}.", where=where, fix=nearest(column, columns))
        if column == case.target.column:
            raise CaseError(f"`{column}` is the target, and a step cannot aim at it.", where=where, fix="Name cohort columns in --by.")
    return case


def add_candidates(name: str, project: Path, remedies: Sequence[Remedy], by: Sequence[str], why: str) -> Edited:
    """Write one candidate for each remedy at the end of `candidates` in configs/<name>.yaml, with the first candidate's estimator.

    A candidate that the case has already, under whatever name, is not written again. `why` becomes a comment above them. The
    file is replaced in one step, and only when the new text loads as the old case with these candidates; otherwise nothing changes.
    `open_case` has looked at `by`.

    Raises: CaseError for a remedy that does not fit the case's task, or a file whose candidates are not a list with one dash each.
    """
    case = load_case(name, project)
    shown, path = f"configs/{name}.yaml", project / "configs" / f"{name}.yaml"
    specs: list[CandidateSpec] = []
    already: list[str] = []
    for remedy in remedies:
        if case.task not in remedy.tasks:
            raise CaseError(f"{remedy.method.name} is not for {case.task} tasks.", where=shown, fix="Ask the guide for this case's task.")
        spec = _spec(_free_name(f"guided_{remedy.method.name}", [one.name for one in (*case.candidates, *specs)]), case.candidates[0].estimator, remedy, by)
        same = next((one.name for one in (*case.candidates, *specs) if one.model_copy(update={"name": spec.name}) == spec), None)
        if same is None:
            specs.append(spec)
        else:
            already.append(same)
    if specs:
        text = _read(path, shown)
        edited = _inserted(text, specs, why, shown)
        _check(name, project, edited, case.model_copy(update={"candidates": (*case.candidates, *specs)}), shown)
        write_text(path, edited)
    return Edited(tuple(spec.name for spec in specs), tuple(already))


def _spec(name: str, estimator: Estimator, remedy: Remedy, by: Sequence[str]) -> CandidateSpec:
    stage = remedy.method.stage
    step = {"method": remedy.method.name, "by": list(by), "params": remedy.move.params} | ({"constraint": remedy.move.constraint} if stage != "pre" else {})
    return CandidateSpec.model_validate({"name": name, "estimator": estimator, stage: step if stage == "in" else [step]})


def _lines(spec: CandidateSpec, indent: str) -> list[str]:
    """A candidate as lines of YAML: each key on its own, its value in braces, defaults left out."""
    given = spec.model_dump(mode="json", exclude_defaults=True)
    return [f"{indent}{'  ' if place else '- '}{key}: {_flow(value)}" for place, (key, value) in enumerate(given.items())]


def _flow(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**9)
    return text.removesuffix("\n").removesuffix("\n...")


def _free_name(name: str, taken: Sequence[str]) -> str:
    number = 2
    free = name
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    return free


def _read(path: Path, shown: str) -> str:
    try:
        return path.read_bytes().decode("utf-8")  # as it is: line ends too
    except OSError as error:
        raise UnavailableError(f"cannot be read: {error.strerror}.", where=shown) from error


def _inserted(text: str, specs: Sequence[CandidateSpec], why: str, shown: str) -> str:
    """The text with the candidates after the last one, and after the comments that stand inside it."""
    root: Any = yaml.compose(text, Loader=yaml.SafeLoader)  # a mapping: it has been read as a case
    block = next(value for key, value in root.value if key.value == "candidates")
    if block.flow_style:
        raise CaseError("`candidates` is written in brackets, where nothing can be added without changing its form.", where=shown, fix=_DASHES)
    lines = text.splitlines(keepends=True)
    indent = " " * block.start_mark.column
    end = _last_line(block) + 1
    for place in range(end, len(lines)):
        deeper = re.match(rf"{indent} +#", lines[place])
        if lines[place].strip() and not deeper:
            break
        end = place + 1 if deeper else end
    newline = "\r\n" if "\r\n" in text else "\n"
    if not lines[end - 1].endswith(("\n", "\r")):
        lines[end - 1] += newline
    new = [f"{indent}# {' '.join(why.split())}", *(line for spec in specs for line in _lines(spec, indent))]
    return "".join([*lines[:end], *(line + newline for line in new), *lines[end:]])


def _last_line(node: Any) -> int:
    """The line, from 0, on which the last value below a node ends; a block's own end mark lies beyond the comments that follow it."""
    if isinstance(node, yaml.ScalarNode) or node.flow_style:
        line: int = node.end_mark.line
        return line - 1 if node.end_mark.column == 0 and line > node.start_mark.line else line
    children = [child for pair in node.value for child in (pair if isinstance(pair, tuple) else (pair,))]
    return max(_last_line(child) for child in children)


def _check(name: str, project: Path, text: str, wanted: Case, shown: str) -> None:
    """Raise CaseError unless the text loads as the case wanted. It is read in a copy of configs/, by the reader of all cases."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(project / "configs", Path(folder) / "configs")  # what a case refers to is there too
        write_text(Path(folder) / "configs" / f"{name}.yaml", text)
        try:
            found = load_case(name, Path(folder))
        except EquipoiseError as error:
            raise CaseError(f"the candidates do not fit into the file ({error.message}); nothing is changed.", where=shown, fix=_DASHES) from error
    if found != wanted:
        raise CaseError("the candidates do not fit into the file as it is written; nothing is changed.", where=shown, fix=_DASHES)


_DASHES = "Write `candidates` as a list with one dash each, at one indent."

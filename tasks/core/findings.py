"""What the catalogue says of a use of data, and of the data itself. Findings are values; the caller acts on them."""

import datetime as dt
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import Any, Literal

import numpy as np
import pandas as pd

from tasks.core.candidate_spec import REST
from tasks.core.case import Case, Use, Waiver
from tasks.core.catalogue import ROW_ID, Column, Dataset, RiskFlag
from tasks.core.cohorts import condition_columns
from tasks.core.dtypes import fault
from tasks.core.errors import CaseError, nearest

PREDICTED = ("y_true", "y_pred", "y_score", "weight")
"""Columns of the predictions table that a cohort's condition may read beside the dataset's own."""

Severity = Literal["block", "warn"]
Kind = Literal[
    "flagged_feature",
    "forbidden_use",
    "unknown_column",
    "expired_waiver",
    "needless_waiver",
    "target",
    "condition",
    "empty",
    "missing_column",
    "undeclared_column",
    "all_null",
    "type",
    "labels",
    "rule",
    "suspected_proxy",
]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found: what, how grave, about which column, and what to do. `block` stops a run, `warn` is recorded."""

    kind: Kind
    severity: Severity
    column: str | None
    message: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.message} {self.fix}".strip()

    def to_dict(self) -> dict[str, str | None]:
        """JSON-ready."""
        return asdict(self)


def blocks(findings: Iterable[Finding]) -> bool:
    """Whether any of them blocks."""
    return any(finding.severity == "block" for finding in findings)


def check_use(case: Case, dataset: Dataset, today: dt.date) -> tuple[Finding, ...]:
    """What speaks against the case's use of the dataset's columns on the day `today`, before any data is read."""
    return (*_features(case, dataset, today), *_waivers(case, dataset), *_target(case, dataset), *_evaluation(case, dataset), *_others(case, dataset))


def _features(case: Case, dataset: Dataset, today: dt.date) -> Iterable[Finding]:
    for name in case.features:
        column = dataset.find(name)
        if column is None:
            yield _unknown(case, dataset, name, "`features`")
            continue
        if column.trainable:
            continue
        ways = f"Drop it from `features` in {_file(case)}"
        subject = f"Column `{name}` is {_described(column)} in {dataset.file}, and {_file(case)} trains on it"
        if RiskFlag.PROHIBITED in column.flags:
            yield Finding("flagged_feature", "block", name, f"{subject}; no waiver lifts `prohibited`.", f"{ways}.")
        elif column.label:
            yield Finding("forbidden_use", "block", name, f"{subject}; it is not there yet when the model is asked.", f"{ways}.")
        else:
            ways += ", or record a waiver there (column, who, why, until)."
            given = [waiver for waiver in case.waivers if waiver.column == name]
            latest = max(given, key=lambda waiver: waiver.until, default=None)
            if latest is None:
                yield Finding("flagged_feature" if column.flags else "forbidden_use", "block", name, f"{subject} without a waiver.", ways)
            elif latest.until < today:
                yield Finding("expired_waiver", "block", name, f"{subject}; the waiver by {latest.who} ended on {latest.until}.", f"{ways} Or have it renewed.")


def _waivers(case: Case, dataset: Dataset) -> Iterable[Finding]:
    """Waivers that do nothing: someone may believe that they do."""
    for waiver in case.waivers:
        reason, fix = _needless(waiver, case, dataset)
        if reason:
            yield Finding("needless_waiver", "warn", waiver.column, f"The waiver for `{waiver.column}` in {_file(case)} has no effect: {reason}.", fix)


def _needless(waiver: Waiver, case: Case, dataset: Dataset) -> tuple[str, str]:
    column = dataset.find(waiver.column)
    if column is None:
        return f"{dataset.file} has no such column", nearest(waiver.column, dataset.names)
    if waiver.column not in case.features:
        return "it is not a feature", "Remove the waiver."
    if column.trainable:
        return "the column is not flagged and may be trained on", "Remove the waiver."
    if RiskFlag.PROHIBITED in column.flags or column.label:
        return "no waiver lifts `prohibited`" if not column.label else "a label is no feature", "Remove the waiver and the feature."
    return "", ""


def _target(case: Case, dataset: Dataset) -> Iterable[Finding]:
    name, column = case.target.column, dataset.find(case.target.column)
    if column is None:
        yield _unknown(case, dataset, name, "`target`")
        return
    if not column.label:
        known = ", ".join(f"`{label}`" for label in dataset.labels) or "none"
        fix = f"Add the custom property `label: true` to it, or choose a label column ({known})."
        yield Finding("target", "block", name, f"The target `{name}` of {_file(case)} is not a label in {dataset.file}.", fix)
    if column.flags:
        fix = "Choose another target; a waiver speaks of features only."
        yield Finding("target", "block", name, f"The target `{name}` of {_file(case)} is {_described(column)} in {dataset.file}.", fix)
    elif "train" not in column.uses:
        yield _forbidden(case, dataset, column, "the target", "train")


def _evaluation(case: Case, dataset: Dataset) -> Iterable[Finding]:
    """Columns that name cohorts, cut them, or that mitigations aim at."""
    conditions: dict[str, str] = {}
    for title, text in case.cohorts.where.items():
        try:
            read = condition_columns({title: text}, (*dataset.names, *PREDICTED))
        except CaseError as error:
            yield Finding("condition", "block", None, f"The cohort `{title}` of {_file(case)}: {error.message}", error.fix or "")
            continue
        conditions |= {name: f"the cohort `{title}`" for name in read if name not in PREDICTED}
    aimed = {name: f"the candidate `{spec.name}`" for spec in case.candidates for name in spec.by}
    for spec in case.candidates:
        stated = {title: text for title, text in spec.cohorts.items() if text != REST}
        try:
            aimed |= dict.fromkeys(condition_columns(stated, dataset.names), f"the candidate `{spec.name}`")
        except CaseError as error:
            yield Finding("condition", "block", None, f"The cohorts of `{spec.name}` in {_file(case)}: {error.message}", error.fix or "")
    groups = dict.fromkeys(case.cohort_columns, "`cohorts.by`")
    for name, where in {**dict.fromkeys(case.cohorts.bins, "`cohorts.bins`"), **conditions, **aimed, **groups}.items():
        column = dataset.find(name)
        if column is None:
            yield _unknown(case, dataset, name, where)
            continue
        if "evaluate" not in column.uses:
            yield _forbidden(case, dataset, column, where, "evaluate")
        if RiskFlag.PROHIBITED in column.flags and name in aimed:
            message = f"Column `{name}` is prohibited in {dataset.file}, and {aimed[name]} in {_file(case)} reads it while fitting."
            yield Finding("forbidden_use", "block", name, message, "Aim its steps at another column, or drop the candidate.")
        if name in groups and RiskFlag.PII in column.flags:
            message = f"Column `{name}` is flagged pii in {dataset.file}, and `cohorts.by` in {_file(case)} would print its values in reports."
            yield Finding("forbidden_use", "block", name, message, "Drop it from `cohorts.by`.")
        elif name in groups and "report" not in column.uses:
            message = f"Column `{name}` may not be reported by {dataset.file}, and `cohorts.by` in {_file(case)} prints its values in reports."
            yield Finding("forbidden_use", "warn", name, message, "Drop it from `cohorts.by`, or add `report` to its uses.")


def _others(case: Case, dataset: Dataset) -> Iterable[Finding]:
    """Columns named elsewhere in the case: they need only exist."""
    simulation = case.periods.simulate
    drifting = [name for drift in simulation.drifts if not isinstance(drift.columns, str) for name in drift.columns] if simulation else []
    named: list[tuple[str | None, str]] = [(name, "`periods.simulate.drifts`") for name in drifting]
    named += [(case.periods.column, "`periods.column`"), (case.split.column, "`split.column`")]
    for name, where in dict(named).items():
        if name is not None and dataset.find(name) is None:
            yield _unknown(case, dataset, name, where)
    if simulation and dataset.key_columns:
        message = f"{_file(case)} resamples rows of {dataset.name}, so its key ({', '.join(dataset.key_columns)}) will not stay unique."
        yield Finding("rule", "warn", dataset.key_columns[0], message, f"Declare no `primaryKey` in {dataset.file} for a table that months are made from.")


def _unknown(case: Case, dataset: Dataset, name: str, where: str) -> Finding:
    fix = f"{nearest(name, dataset.names)} Otherwise declare it in {dataset.file}."
    return Finding("unknown_column", "block", name, f"{_file(case)} names the column `{name}` in {where}, and {dataset.file} does not know it.", fix)


def _forbidden(case: Case, dataset: Dataset, column: Column, where: str, use: Use) -> Finding:
    allowed = ", ".join(column.uses) or "none"
    subject = f"{where[0].upper()}{where[1:]} in {_file(case)}"
    message = f"{subject} uses column `{column.name}` to {use}, and {dataset.file} does not allow that (allowed: {allowed})."
    return Finding("forbidden_use", "block", column.name, message, f"Drop it there, or ask the owner of {dataset.file} to add `{use}` to its uses.")


def _described(column: Column) -> str:
    if column.flags:
        return "flagged " + ", ".join(f"`{flag}`" for flag in sorted(column.flags))
    return "a label" if column.label else f"for {', '.join(column.uses) or 'no use'} only"


def _file(case: Case) -> str:
    return f"configs/{case.case}.yaml"


def check_frame(dataset: Dataset, frame: pd.DataFrame) -> tuple[Finding, ...]:
    """Whether a table has the columns and types that the catalogue declares.

    `row_id` is Equipoise's own and not looked for. A label column may be absent or empty: labels may come later.
    """
    named = check_names(dataset, frame.columns)
    if frame.empty:
        return Finding("empty", "block", None, f"The data of {dataset.name} has no rows.", "Check the source and the period."), *named
    return *named, *check_values(dataset, frame)


def check_names(dataset: Dataset, names: Iterable[Any]) -> tuple[Finding, ...]:
    """Whether a table with columns of these names has those that the catalogue declares, and no other."""
    present = [str(name) for name in names]
    missing = [column for column in dataset.columns if column.name not in present and not column.label]
    undeclared = [name for name in dict.fromkeys(present) if name != ROW_ID and dataset.find(name) is None]
    found = [_absent(dataset, column, undeclared) for column in missing]
    found += [_undeclared(dataset, name) for name in undeclared]
    for name in dict.fromkeys(name for name in present if present.count(name) > 1):
        message = f"The data has {present.count(name)} columns called `{name}`."
        found.append(Finding("undeclared_column", "block", name, message, "Give each column of the source a name of its own."))
    return tuple(found)


def check_values(dataset: Dataset, frame: pd.DataFrame) -> tuple[Finding, ...]:
    """Whether the values of each column that is there once are of the type that the catalogue declares. The frame has rows."""
    present = [str(name) for name in frame.columns]
    return tuple(found for column in dataset.columns if present.count(column.name) == 1 for found in _column(dataset, column, frame[column.name]))


def _column(dataset: Dataset, column: Column, values: "pd.Series[Any]") -> list[Finding]:
    if values.isna().all():
        if column.label:
            return []
        message = f"Column `{column.name}` has no value in any of {len(values):,} rows."
        return [Finding("all_null", "block", column.name, message, f"Mend the source, or take the column out of {dataset.file} and out of use.")]
    problem = fault(values, column.type)
    if problem is None:
        return []
    message = f"Column `{column.name}` is declared {column.type} in {dataset.file}, and {problem}."
    return [Finding("type", "block", column.name, message, "Mend the source, or declare the type it has.")]


def _absent(dataset: Dataset, column: Column, undeclared: list[str]) -> Finding:
    message = f"Column `{column.name}` is declared in {dataset.file} and missing from the data."
    close = get_close_matches(column.name, undeclared, n=1)
    renamed = f" The data has `{close[0]}`: was it renamed?" if close else ""
    return Finding("missing_column", "block", column.name, message, f"Mend the source, or take it out of {dataset.file}.{renamed}")


def _undeclared(dataset: Dataset, name: str) -> Finding:
    message = f"The data has a column `{name}` that {dataset.file} does not know."
    fix = f"Declare it with its type and risks, or leave it out of the source. {nearest(name, dataset.names)}"
    return Finding("undeclared_column", "block", name, message, fix)


def check_target(case: Case, labels: "pd.Series[Any]") -> tuple[Finding, ...]:
    """Whether a label column, as it came, can be learned from.

    A missing label is a row without one in a binary case, and a fault in a regression; infinity is a fault anywhere.
    """
    name, count = case.target.column, len(labels)

    def block(message: str, fix: str) -> Finding:
        return Finding("labels", "block", name, message, fix)

    missing = int(labels.isna().sum())
    if missing == count:
        return (block(f"The target `{name}` has no value in any of {count:,} rows.", "Wait for the labels, or check the source."),)
    known = labels.dropna()
    if case.target.positive is not None:
        texts = known.astype(str)
        share = float((texts == str(case.target.positive)).mean())
        if share == 0:
            fix = nearest(str(case.target.positive), texts.unique()) if texts.nunique() <= 20 else "Check `target.positive`."
            return (block(f"No label of `{name}` is the positive class `{case.target.positive}`.", fix),)
        if share == 1:
            message = f"All {len(known):,} labels of `{name}` are `{case.target.positive}`: there is one class only."
            return (block(message, "Take rows of the other class too."),)
        return ()
    problem = fault(known, "number", finite=False)
    if problem is not None:
        return (block(f"The target `{name}` must hold numbers, and {problem}.", "Mend the source, or choose another target."),)
    numbers = known.astype(float).to_numpy()
    infinite = int(np.isinf(numbers).sum())
    if infinite:
        return (block(f"The target `{name}` is infinite in {infinite:,} of {count:,} rows.", "Mend the source."),)
    if case.target.above is not None:
        late = int((numbers > case.target.above).sum())
        if late in (0, len(numbers)):
            message = f"{'No' if late == 0 else 'Every'} label of `{name}` is above {case.target.above:g}: there is one class only."
            return (block(message, "Take more rows, or choose another `target.above`."),)
        return ()
    if missing:
        return (block(f"The target `{name}` is missing in {missing:,} of {count:,} rows.", "Mend the source, or leave those rows out of it."),)
    if np.ptp(numbers) == 0:
        return (block(f"The target `{name}` is the same in all {count:,} rows.", "There is nothing to learn; check the source."),)
    return ()

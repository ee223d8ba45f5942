"""Step: hold a case, its catalogue entry and its snapshots against each other, and refuse risky use."""

import datetime as dt
from collections.abc import Sequence

import pandas as pd

from tasks.core.catalogue import ROW_ID
from tasks.core.errors import CaseError
from tasks.core.findings import Finding, blocks, check_frame, check_names, check_target, check_use, check_values
from tasks.core.proxies import check_proxies
from tasks.core.rules import Rule
from tasks.io.expectations import rule_findings, run_rules
from tasks.io.manifests import Manifest
from tasks.io.scored import readable
from tasks.io.workbench import Workbench
from tasks.step import say, step

ROW_COUNT = "expect_table_row_count_to_be_between"


@step("check the use of columns")
def check_columns(bench: Workbench) -> list[Finding]:
    """What the catalogue says of the case's features, cohorts, target and waivers, today."""
    return list(check_use(bench.case, bench.dataset, dt.datetime.now(dt.UTC).date()))


@step("check a snapshot", task_run_name="check {period}")
def check_snapshot(bench: Workbench, period: str, *, for_training: bool) -> list[Finding]:
    """Columns, types and the catalogue's rules on a period's rows; for training, which needs every part, the target and suspected proxies too."""
    source, _ = bench.newest("features", period)
    labels = bench.revisions("labels", period)[-1:]
    if not for_training and len(bench.store.parts(source.digest)) > 1:
        return _column_by_column(bench, source, labels)
    whole = _rows(bench, source, labels, every=for_training)
    findings = list(check_frame(bench.dataset, whole))
    if blocks(findings):
        return findings  # rules and proxies cannot be judged on a table that is not what its entry says
    findings += rule_findings(bench.dataset, run_rules(bench.dataset, whole))
    if for_training:
        if bench.case.target.column in whole:
            findings += check_target(bench.case, whole[bench.case.target.column])
        findings += check_proxies(bench.case, bench.dataset, whole)
    return findings


def _rows(bench: Workbench, source: Manifest, labels: Sequence[Manifest], columns: Sequence[str] | None = None, *, every: bool = False) -> pd.DataFrame:
    """A period's rows with their labels, all columns or these beside the row ids. every: a part that cannot be read is an error."""
    wanted = None if columns is None else [ROW_ID, *columns]
    whole = bench.store.get_frame(source.digest, wanted) if every else pd.concat(readable(bench, source.digest, wanted), ignore_index=True)
    for manifest in labels:
        if columns is None or set(columns) & set(manifest.schema):
            whole = whole.merge(bench.store.get_frame(manifest.digest, wanted), on=ROW_ID, how="left", validate="one_to_one")
    return whole


def _column_by_column(bench: Workbench, source: Manifest, labels: Sequence[Manifest]) -> list[Finding]:
    """The same findings of a period of many parts, which is never held whole: each column is read by itself, or with those that a rule
    names beside it. A rule of the table that is not about its number of rows reads all of it.
    """
    dataset = bench.dataset
    present = [*source.schema, *(name for manifest in labels for name in manifest.schema if name != ROW_ID)]
    findings = list(check_names(dataset, present))
    for name in dict.fromkeys(name for name in present if name != ROW_ID):
        findings += check_values(dataset, _rows(bench, source, labels, [name]))
    if blocks(findings):
        return findings
    together: dict[tuple[str, ...] | None, list[Rule]] = {}
    for rule in dataset.rules:
        together.setdefault(rule.columns if rule.columns or rule.expectation == ROW_COUNT else None, []).append(rule)
    for columns, rules in together.items():
        frame = _rows(bench, source, labels, columns)
        findings += rule_findings(dataset, run_rules(dataset.model_copy(update={"rules": tuple(rules)}), frame))
    return findings


def check_case(bench: Workbench, period: str | None) -> tuple[list[Finding], str]:
    """All that `equipoise check` looks at: the use of columns, and a snapshot (the training window's unless a period is given).

    Returns: the findings, and what was looked at in words.
    """
    findings = check_columns.fn(bench)
    periods = [period] if period else bench.window()[-1:] if len(bench.periods("labels")) >= bench.case.periods.train else []
    for found in periods:
        findings += check_snapshot.fn(bench, found, for_training=True)
    return findings, f"the use of columns, and the rows of {', '.join(periods)}" if periods else "the use of columns only; there is no snapshot yet"


def refuse_blocked(bench: Workbench, findings: Sequence[Finding]) -> None:
    """Say what was found, and stop when a finding blocks. Raises: CaseError with every blocking finding and its way out."""
    blocking = [finding for finding in findings if finding.severity == "block"]
    say(f"catalogue check: {len(findings)} findings, {len(blocking)} blocking")
    if blocking:
        raise CaseError(
            f"{len(blocking)} finding(s) block `{bench.case.case}`:" + "".join(f"\n  - {finding}" for finding in blocking),
            fix=f"\nSee all findings with: equipoise check {bench.case.case}",
        )

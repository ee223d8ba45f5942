"""Step: hold a case, its catalogue entry and its snapshots against each other, and refuse risky use."""

import datetime as dt
from collections.abc import Sequence

import pandas as pd

from tasks.core.errors import CaseError
from tasks.core.findings import Finding, blocks, check_frame, check_target, check_use
from tasks.core.proxies import check_proxies
from tasks.io.expectations import rule_findings, run_rules
from tasks.io.scored import readable
from tasks.io.workbench import Workbench
from tasks.step import say, step


@step("check the use of columns")
def check_columns(bench: Workbench) -> list[Finding]:
    """What the catalogue says of the case's features, cohorts, target and waivers, today."""
    return list(check_use(bench.case, bench.dataset, dt.datetime.now(dt.UTC).date()))


@step("check a snapshot", task_run_name="check {period}")
def check_snapshot(bench: Workbench, period: str, *, for_training: bool) -> list[Finding]:
    """Columns, types and the catalogue's rules on a period's rows; for training, which needs every part, the target and suspected proxies too."""
    source, _ = bench.newest("features", period)
    whole = bench.store.get_frame(source.digest) if for_training else pd.concat(readable(bench, source.digest), ignore_index=True)
    if bench.revisions("labels", period):
        whole = whole.merge(bench.snapshot("labels", period)[1], on="row_id", how="left", validate="one_to_one")
    findings = list(check_frame(bench.dataset, whole))
    if blocks(findings):
        return findings  # rules and proxies cannot be judged on a table that is not what its entry says
    findings += rule_findings(bench.dataset, run_rules(bench.dataset, whole))
    if for_training:
        if bench.case.target.column in whole:
            findings += check_target(bench.case, whole[bench.case.target.column])
        findings += check_proxies(bench.case, bench.dataset, whole)
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

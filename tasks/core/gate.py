"""The gate: limits in, a decision out. It compares intervals, and silence never passes."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import pandas as pd

from tasks.core.case import Limit
from tasks.core.metrics import SUMMARIES

Outcome = Literal["passed", "failed", "insufficient evidence"]


class Evidence(Protocol):
    """What the gate reads of a cohort report."""

    def frame(self) -> pd.DataFrame: ...
    def gaps(self) -> pd.DataFrame: ...
    def cohorts_of(self, grouping: Sequence[str]) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class Check:
    """One limit applied to one figure."""

    limit: str
    subject: str
    value: float | None
    low: float | None
    high: float | None
    outcome: Outcome
    reason: str


@dataclass(frozen=True)
class Decision:
    """Every check made. It passes only when each one passed, and at least one was made."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        return bool(self.checks) and all(check.outcome == "passed" for check in self.checks)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it does not pass; empty when it does."""
        return tuple(check.reason for check in self.checks if check.outcome != "passed") or (() if self.checks else ("no limit was checked",))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"passed": self.passed, "checks": [vars(check) for check in self.checks]}


def decide(report: Evidence, limits: Iterable[Limit]) -> Decision:
    """Hold a report against limits. A figure that is missing, undefined or under its support is insufficient evidence."""
    rows = {(row["cohort"], row["metric"]): row for row in report.frame().to_dict("records")}
    gaps = {(row["grouping"], row["metric"]): row for row in report.gaps().to_dict("records")}
    checks: list[Check] = []
    for limit in limits:
        if limit.gap is not None:
            grouping = ", ".join(limit.gap)
            measured = SUMMARIES.get(limit.metric, (limit.metric,))
            silent = [name for name in report.cohorts_of(limit.gap) if any(rows.get((name, one), {}).get("verdict") != "ok" for one in measured)]
            checks.append(_check(limit, f"{limit.metric} gap by {grouping}", _gap_figures(gaps.get((grouping, limit.metric)), silent)))
        elif limit.every is not None:
            members = report.cohorts_of(limit.every)
            if not members:
                checks.append(_check(limit, f"{limit.metric} by {', '.join(limit.every)}", None))
            checks += [_check(limit, f"{limit.metric} for {name}", rows.get((name, limit.metric))) for name in members]
        else:
            name = limit.cohort or "overall"
            checks.append(_check(limit, f"{limit.metric} for {name}", rows.get((name, limit.metric))))
    return Decision(tuple(checks))


def worst_excess(decision: Decision) -> int:
    """How many checks did not pass: what the choice of a candidate minimises before its metric counts."""
    return sum(check.outcome != "passed" for check in decision.checks)


def _gap_figures(row: Mapping[Hashable, Any] | None, silent: Sequence[str]) -> Mapping[Hashable, Any] | None:
    """A gap's row in the shape of a cohort's: its figure is the difference. It leaves out cohorts that have too little
    evidence; so that none of them passes by silence, it is then insufficient itself."""
    if row is None:
        return None
    verdict = f"insufficient ({', '.join(silent[:3])}{', ...' if len(silent) > 3 else ''})" if silent else row["verdict"]
    return {**row, "value": row["difference"], "verdict": verdict}


def _check(limit: Limit, subject: str, row: Mapping[Hashable, Any] | None) -> Check:
    sign, bound = ("<=", limit.at_most) if limit.at_most is not None else (">=", limit.at_least)
    assert bound is not None  # Limit's own validator saw to it
    stated = f"{subject} {sign} {bound:g} ({'must be shown' if limit.must_show == 'better' else 'must not be shown broken'})"
    if row is None:
        return Check(stated, subject, None, None, None, "insufficient evidence", f"{subject}: no such figure in the report")
    value, low, high = (None if pd.isna(row[key]) else float(row[key]) for key in ("value", "low", "high"))
    if row["verdict"] != "ok" or value is None or low is None or high is None:
        return Check(stated, subject, value, low, high, "insufficient evidence", f"{subject}: {row['verdict']}, so the limit {sign} {bound:g} cannot be judged")
    upper = limit.at_most is not None
    wholly_within = high <= bound if upper else low >= bound
    wholly_beyond = low > bound if upper else high < bound
    figures = f"{subject} is {value:.4g} [{low:.4g}, {high:.4g}], limit {sign} {bound:g}"
    if wholly_beyond:
        return Check(stated, subject, value, low, high, "failed", figures)
    if wholly_within or limit.must_show == "no_worse":
        return Check(stated, subject, value, low, high, "passed", figures)
    return Check(stated, subject, value, low, high, "insufficient evidence", f"{figures}: the interval reaches beyond the limit")

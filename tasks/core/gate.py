"""The gate: limits in, a decision out. It compares intervals, and silence never passes."""

import datetime as dt
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import pandas as pd

from tasks.core.limits import COMPATIBILITY, FACTS, Limit
from tasks.core.metrics import SUMMARIES

Outcome = Literal["passed", "failed", "insufficient evidence"]
Row = Mapping[Hashable, Any]


class Evidence(Protocol):
    """What the gate reads of a cohort report."""

    def frame(self) -> pd.DataFrame: ...
    def gaps(self) -> pd.DataFrame: ...
    def cohorts_of(self, grouping: Sequence[str]) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class Measured:
    """A fact (see tasks.core.limits.FACTS) at the time of the gate: exact, unless limits are given; None where it is not known,
    with the reason in `note`.
    """

    value: float | None
    note: str = ""


@dataclass(frozen=True)
class Against:
    """A comparison with another model on the same rows: the rows of tasks.core.comparison, or why the limit does not apply."""

    name: str
    rows: Sequence[Mapping[str, Any]] = ()
    min_support: int = 1
    absent: str = ""


@dataclass(frozen=True)
class Check:
    """One limit applied to one figure. `margin` is how far the deciding end of the interval is inside the bound (negative: beyond)."""

    limit: str
    subject: str
    value: float | None
    low: float | None
    high: float | None
    outcome: Outcome
    reason: str
    margin: float | None = None


@dataclass(frozen=True)
class Decision:
    """Every check made. It passes only when each one passed, and at least one was made."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        return bool(self.checks) and all(check.outcome == "passed" for check in self.checks)

    @property
    def outcome(self) -> Outcome:
        """failed when any limit is broken; otherwise insufficient evidence when any, or all, could not be judged."""
        found = {check.outcome for check in self.checks} or {"insufficient evidence"}
        return "failed" if "failed" in found else "insufficient evidence" if "insufficient evidence" in found else "passed"

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it does not pass; empty when it does."""
        return tuple(check.reason for check in self.checks if check.outcome != "passed") or (() if self.checks else ("no limit was checked",))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"passed": self.passed, "checks": [vars(check) for check in self.checks]}


def decide(
    report: Evidence,
    limits: Iterable[Limit],
    *,
    against: Mapping[str, Against] | None = None,
    facts: Mapping[str, Measured] | None = None,
    today: dt.date | None = None,
) -> Decision:
    """Hold a report against limits. A figure that is missing, undefined or under its support is insufficient evidence.

    against: by the name a limit gives it, the comparison with that model. facts: what is known beside the report. A limit on a
    comparison or fact that is not given is left out: choosing between candidates has neither. today: the day that waivers are
    held against; without it none counts.
    """
    reader = _Reader(report)
    checks: list[Check] = []
    for limit in limits:
        if limit.against is not None:
            found = None if against is None else against.get(limit.against)
            made = [] if found is None else [_compared(limit, found, name) for name in reader.members(limit)]
        elif limit.fact is not None and limit.fact != "support":
            known = None if facts is None else facts.get(limit.fact)
            made = [] if known is None else [_fact(limit, known)]
        else:
            made = reader.checks(limit)
        checks += [_waived(limit, check, today) for check in made]
    return Decision(tuple(checks))


def worst_excess(decision: Decision) -> int:
    """How many checks did not pass: what the choice of a candidate minimises before its metric counts."""
    return sum(check.outcome != "passed" for check in decision.checks)


class _Reader:
    """Finds the figures that limits speak of in a report."""

    def __init__(self, report: Evidence) -> None:
        self.report = report
        self.rows: dict[tuple[Any, Any], Row] = {(row["cohort"], row["metric"]): row for row in report.frame().to_dict("records")}
        self.gaps: dict[tuple[Any, Any], Row] = {(row["grouping"], row["metric"]): row for row in report.gaps().to_dict("records")}

    def members(self, limit: Limit) -> tuple[str, ...]:
        """The cohorts that a limit looks at; one that nobody knows stands for an empty grouping."""
        if limit.every is None:
            return (limit.cohort or "overall",)
        return self.report.cohorts_of(limit.every) or (", ".join(limit.every),)

    def checks(self, limit: Limit) -> list[Check]:
        if limit.fact == "support":
            return [_check(limit, f"rows for {name}", self._size(name)) for name in self.members(limit)]
        if limit.gap is not None or limit.ratio is not None:
            return [_check(limit, f"{limit.metric} {'gap' if limit.gap else 'ratio'} by {', '.join(limit.gap or limit.ratio or ())}", self._gap(limit))]
        return [_check(limit, f"{limit.metric} for {name}", self.rows.get((name, limit.metric))) for name in self.members(limit)]

    def _size(self, cohort: str) -> Row | None:
        n = next((row["n"] for (name, _), row in self.rows.items() if name == cohort), None)
        return None if n is None or pd.isna(n) else {"value": n, "low": n, "high": n, "verdict": "ok"}

    def _gap(self, limit: Limit) -> Row | None:
        """A gap's row in the shape of a cohort's: its figure is the difference, or the ratio. It leaves out cohorts that have too
        little evidence; so that none of them passes by silence, it is then insufficient itself.
        """
        grouping = limit.gap or limit.ratio or ()
        row = self.gaps.get((", ".join(grouping), limit.metric))
        if row is None:
            return None
        measured = SUMMARIES.get(str(limit.metric), (limit.metric,))
        silent = [name for name in self.report.cohorts_of(grouping) if any(self.rows.get((name, one), {}).get("verdict") != "ok" for one in measured)]
        verdict = f"insufficient ({', '.join(silent[:3])}{', ...' if len(silent) > 3 else ''})" if silent else row["verdict"]
        if limit.ratio is not None:
            return {"value": row["ratio"], "low": row["ratio_low"], "high": row["ratio_high"], "verdict": verdict}
        return {**row, "value": row["difference"], "verdict": verdict}


def _compared(limit: Limit, found: Against, cohort: str) -> Check:
    subject = f"{limit.metric} against {found.name} for {cohort}"
    if found.absent:
        return Check(_stated(limit, subject), subject, None, None, None, "passed", f"{subject}: {found.absent}, so the limit does not apply")
    metric = str(limit.metric)
    share = metric in COMPATIBILITY
    row = next((row for row in found.rows if row["cohort"] == cohort and (share or row["metric"] == metric)), None)
    if row is None:
        return _check(limit, subject, None)
    value, low, high = (metric, f"{metric}_low", f"{metric}_high") if share else ("delta", "low", "high")
    few = row["support"] is None or row["support"] < found.min_support
    verdict = "insufficient" if few else "undefined" if row[value] is None else "ok"
    return _check(limit, subject, {"value": row[value], "low": row[low], "high": row[high], "verdict": verdict})


def _fact(limit: Limit, known: Measured) -> Check:
    subject = f"{limit.fact}: {FACTS[str(limit.fact)]}" + (f" ({known.note})" if known.note and known.value is not None else "")
    if known.value is None:
        return _check(limit, subject, {"value": None, "low": None, "high": None, "verdict": known.note or "not known"})
    return _check(limit, subject, {"value": known.value, "low": known.value, "high": known.value, "verdict": "ok"})


def _stated(limit: Limit, subject: str) -> str:
    sign, bound = limit.bound
    return f"{subject} {sign} {bound:g} ({'must be shown' if limit.must_show == 'better' else 'must not be shown broken'})"


def _check(limit: Limit, subject: str, row: Row | None) -> Check:
    stated, (sign, bound) = _stated(limit, subject), limit.bound
    if row is None:
        return Check(stated, subject, None, None, None, "insufficient evidence", f"{subject}: no such figure in the report")
    figures: list[float | None] = [None if pd.isna(row[key]) else float(row[key]) for key in ("value", "low", "high")]
    value, low, high = figures
    if row["verdict"] != "ok" or value is None or low is None or high is None:
        return Check(stated, subject, value, low, high, "insufficient evidence", f"{subject}: {row['verdict']}, so the limit {sign} {bound:g} cannot be judged")
    upper = limit.at_most is not None
    surely, possibly = (bound - high, bound - low) if upper else (low - bound, high - bound)
    margin = surely if limit.must_show == "better" else possibly
    interval = f" [{low:.4g}, {high:.4g}]" if low < high else ""
    reason = f"{subject} is {value:.4g}{interval}, limit {sign} {bound:g}"
    if possibly < 0:
        return Check(stated, subject, value, low, high, "failed", reason, margin)
    if surely >= 0 or limit.must_show == "no_worse":
        return Check(stated, subject, value, low, high, "passed", reason, margin)
    return Check(stated, subject, value, low, high, "insufficient evidence", f"{reason}: the interval reaches beyond the limit", margin)


def _waived(limit: Limit, check: Check, today: dt.date | None) -> Check:
    """Too little evidence passes where somebody answers for it, until the day they named; a broken limit never does."""
    waiver = limit.waiver
    if waiver is None or check.outcome != "insufficient evidence" or today is None:
        return check
    if waiver.until < today:
        return Check(**{**vars(check), "reason": f"{check.reason}; the waiver of {waiver.who} ended on {waiver.until}"})
    return Check(**{**vars(check), "outcome": "passed", "reason": f"{check.reason}; waived by {waiver.who} until {waiver.until}: {waiver.why}"})

"""Alerts: what was found in production that somebody may want to act on."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tasks.core.case import shift_period
from tasks.core.findings import Finding
from tasks.core.operations import FindingKind, Severity

RANK: dict[Severity, int] = {"warning": 0, "critical": 1}
NAMED = 5
"""Columns that a reason names; the rest is counted."""


@dataclass(frozen=True)
class Alert:
    """Something found about a version in a period. `subject` tells two alerts of one kind apart (a metric and its cohort; empty
    where the kind says it all), `reason` is a sentence for people.
    """

    kind: FindingKind
    severity: Severity
    period: str
    reason: str
    subject: str = ""


def drift_alerts(month: Mapping[str, Any]) -> tuple[Alert, ...]:
    """The alert of a period that drifted, or whose predictions did: critical when both have, a warning otherwise. Whether the period has is
    what the case's `drift.share` says of its features; predictions do not count in it, and what they do is not silent for that.

    month: what the record says of a served period: `period`, `drifted`, `drifted_columns`, `share` of the features, and `prediction` with its
    `effect`, `limit` and `drifted`, or None.

    >>> month = {"period": "2024-05", "drifted": True, "drifted_columns": ["B", "NOX"], "share": 0.25, "prediction": None}
    >>> drift_alerts(month)[0].reason
    'B, NOX drifted: 25 % of the features.'
    """
    columns, prediction = [str(name) for name in month["drifted_columns"]], month.get("prediction")
    moved = f"by {prediction['effect']:.3g} where {prediction['limit']:g} is the limit" if prediction and prediction["drifted"] else ""
    if not month["drifted"] and not moved:
        return ()
    named = ", ".join(columns[:NAMED]) + (f" and {len(columns) - NAMED} more" if len(columns) > NAMED else "")
    share = f"{named} drifted: {month['share']:.0%} of the features".replace("%", " %")
    if not month["drifted"]:
        beside = f"{share}, less than the case calls drift." if columns else "No feature did."
        return (Alert("drift", "warning", str(month["period"]), f"The predictions drifted, {moved}. {beside}"),)
    if not moved:
        return (Alert("drift", "warning", str(month["period"]), f"{share}."),)
    return (Alert("drift", "critical", str(month["period"]), f"{share}. The predictions moved with them, {moved}."),)


def staleness_alerts(newest: str, today: dt.date, stale_days: int | None, idle: int | None = None) -> tuple[Alert, ...]:
    """The alert of a case whose newest scored period ended more than `stale_days` ago: critical beyond twice as many.

    idle: a version that has scored nothing after `newest`; None where it scored that one.

    >>> [alert] = staleness_alerts("2024-05", dt.date(2024, 7, 20), 45)
    >>> alert.severity, alert.reason
    ('warning', 'The newest scored period, 2024-05, ended 50 days ago; 45 are allowed.')
    """
    ended = dt.date.fromisoformat(f"{shift_period(newest, 1)}-01") - dt.timedelta(days=1)
    age = (today - ended).days
    if stale_days is None or age <= stale_days:
        return ()
    which = f"The newest scored period, {newest}," if idle is None else f"Version {idle} has scored no period after {newest}, which"
    reason = f"{which} ended {age} days ago; {stale_days} are allowed."
    return (Alert("staleness", "critical" if age > 2 * stale_days else "warning", newest, reason),)


def period_alert(kind: Literal["refused", "labels"], period: str, error: Exception) -> Alert:
    """The alert of one period by itself: its rows were refused and not scored, which is critical, or its labels cannot be used. Its subject names
    the period, since it says nothing of any other.

    >>> period_alert("labels", "2024-05", ValueError("They are corrupt.")).subject
    'labels 2024-05'
    """
    what: tuple[Severity, str] = ("critical", "was not scored") if kind == "refused" else ("warning", "could not be held against its labels")
    return Alert("data quality", what[0], period, f"{period} {what[1]}: {error}", f"{kind} {period}")


def gathered(alerts: Sequence[Alert]) -> tuple[Alert, ...]:
    """One alert for each kind: the gravest severity, and a reason that tells the first of that severity and counts the rest. A month in which
    every cohort got worse is one incident, and not forty.

    >>> [one] = gathered([Alert("performance", "warning", "2024-05", "A."), Alert("performance", "critical", "2024-05", "B.")])
    >>> one.severity, one.reason
    ('critical', 'B. And 1 more.')
    """
    found = []
    for kind in dict.fromkeys(alert.kind for alert in alerts):
        own = [alert for alert in alerts if alert.kind == kind]
        first = max(own, key=lambda alert: RANK[alert.severity])
        more = f" And {len(own) - 1} more." if len(own) > 1 else ""
        found.append(Alert(kind, first.severity, max(alert.period for alert in own), first.reason.rstrip(".") + "." + more))
    return tuple(found)


UNLIKE = 0.05
"""A guard's alert is raised where more than this share of the rows of a period is beyond what fitting saw in a column."""


def quality_alerts(period: str, rows: int, counts: Mapping[str, Mapping[str, int]], findings: Sequence[Finding], left_out: Sequence[str]) -> tuple[Alert, ...]:
    """What is wrong with a period's data: no rows, parts that could not be read and findings that would block a training are critical; rules that
    do not hold, and columns with many rows beyond what fitting saw, are warnings. There is one alert a column, whatever is wrong with it.

    counts: rows by guard and column. left_out: what could not be read, in words.
    """
    told: dict[str, list[tuple[Severity, str]]] = {"parts": [("critical", f"{len(left_out)} part(s) could not be read: {left_out[0]}")]} if left_out else {}
    if not rows:
        told["rows"] = [("critical", "The period has no rows: nothing was scored, and nothing measured.")]
    for guard, columns in counts.items():
        for column, count in columns.items():
            if count > UNLIKE * rows:
                told.setdefault(column, []).append(("warning", f"`{column}` is {guard}, for the model, in {count:,} of {rows:,} rows."))
    for one in findings:
        if one.kind == "rule" or one.severity == "block":
            told.setdefault(one.column or "rows", []).append(("critical" if one.severity == "block" else "warning", str(one)))
    return tuple(
        Alert("data quality", max((severity for severity, _ in said), key=RANK.__getitem__), period, " ".join(reason for _, reason in said), subject)
        for subject, said in told.items()
    )

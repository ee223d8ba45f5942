"""Is production as good as what was accepted? Each metric of each cohort is held against its figure at acceptance, month after month.

    accepted  the figure on the test rows that the reviewers saw, with its own interval
    since     all labelled periods of the version together, by a confidence sequence (tasks.core.sequential)
    recent    all from some later period on, by a sequence that begins there: what a loss after a long quiet time shows in
    latest    the period looked at alone, at the part of the level that this look may spend

Periods are in the order in which they were looked at first, whatever their dates: only a sequence that grows at its end may be looked at
again and again, and each beginning keeps its part of the level. A period whose labels were corrected keeps its place, with the labels that
stand.

A figure is `worse` when the whole of `since`, `recent` or `latest` is on the worse side of the whole accepted interval. The chance of any
false `worse`, in any metric or cohort, in any month of the version's life, is at most ALPHA: half of it is shared by the metrics of all
rows together, half by those of cohorts, and each figure's share falls in four, for the four above; `recent` gives each beginning a
part of its own. The same limits are held against the gate's, so that these are no further tests: a limit is broken when the figure is
surely beyond it, since acceptance or in the period looked at.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import accumulate
from typing import Any, Literal, Protocol

import numpy as np
import pandas as pd

from tasks.core import gaps
from tasks.core.alerts import Alert
from tasks.core.cumulative import UNJUDGED, Bounds, Floats, Row, Sums, bounds
from tasks.core.documents.content import figure
from tasks.core.gate import Check, decide
from tasks.core.limits import Limit
from tasks.core.metrics import SUMMARIES, get_metric
from tasks.core.report import COLUMNS
from tasks.core.sequential import spent

Verdict = Literal["as accepted", "worse", "changed", "insufficient evidence"]
Key = tuple[str, str]
"""A cohort and a metric."""

ALPHA = 0.05


class Accepted(Protocol):
    """What is read of the report on the test rows: tasks.core.evidence.StoredReport."""

    def frame(self) -> pd.DataFrame: ...
    def cohorts_of(self, grouping: Sequence[str]) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class Judged:
    """One metric of one cohort; None where there are too few rows. `changed` is said of metrics of which no direction is better. Only where
    `recent` alone shows a loss is it given, with the first period (`start`, in the order of the looks) from which it does.
    """

    metric: str
    cohort: str
    accepted: Bounds | None
    since: Bounds | None
    latest: Bounds | None
    verdict: Verdict
    recent: Bounds | None = None
    start: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)

    def words(self, period: str) -> str:
        """The three figures, for people."""
        told = {"since acceptance": self.since, f"from the labels of {self.start} on": self.recent, f"in {period}": self.latest, "accepted": self.accepted}
        return ", ".join(f"{figure(one.value, one.low, one.high)} {when}" for when, one in told.items() if one is not None)


@dataclass(frozen=True)
class Watched:
    """What a month's labels say. The verdict is `worse` with any alert, and that of the primary metric on all rows otherwise."""

    judged: tuple[Judged, ...]
    alerts: tuple[Alert, ...]
    verdict: Verdict


def watch(
    accepted: Accepted, looks: Sequence[tuple[str, Sequence[Row]]], *, look: int, task: str, primary: str, limits: Iterable[Limit], min_support: int
) -> Watched:
    """Hold the period looked at last, and all that were looked at before, against what was accepted.

    looks: in the order of the record a period and the rows of its published cohort report (cohort, metric, value, low, high, support); of a
    period that was looked at again the last rows count. look: the number of this look, which no other look at labels of the version has.
    """
    reference = _keyed(accepted.frame().to_dict("records"))
    found = {name: _keyed(rows) for name, rows in dict(looks).items()}  # each period where it was first, with its last rows
    period, place = looks[-1][0], list(found).index(looks[-1][0])
    keys = [key for key in reference if key[1] not in UNJUDGED]
    level = _levels(keys) / 4
    before = [Sums.of(task, key[1], reference[key]) for key in keys]
    centres = [one.centre for one in before]
    months = [[Sums.of(task, key[1], rows.get(key)) for key in keys] for rows in found.values()]
    since = list(accumulate(reversed(months), lambda later, one: [two + more for two, more in zip(one, later, strict=True)]))[::-1]
    sides = (
        bounds(before, level, min_support),
        bounds(since[0], level, min_support, centres),
        bounds(months[place], spent(1.0, look) * level, min_support),
    )
    judged = [
        Judged(metric, cohort, *three, _verdict(get_metric(metric, task).better, *three))
        for (cohort, metric), three in zip(keys, zip(*sides, strict=True), strict=True)
    ]
    for start, name in list(enumerate(found))[1:]:
        for number, recent in enumerate(bounds(since[start], spent(1.0, start) * level, min_support, centres)):
            one = judged[number]
            if one.verdict == "as accepted" and (verdict := _verdict(get_metric(one.metric, task).better, one.accepted, recent)) in ("worse", "changed"):
                judged[number] = replace(one, verdict=verdict, recent=recent, start=name)
    strangers = [key for key in found[period] if key not in reference and key[1] not in UNJUDGED]
    judged += [Judged(metric, cohort, None, None, None, "insufficient evidence") for cohort, metric in strangers]
    alerts = tuple(_alerts(judged, _broken(list(limits), judged, accepted, period), period))
    overall: Verdict = next((one.verdict for one in judged if (one.metric, one.cohort) == (primary, "overall")), "insufficient evidence")
    return Watched(tuple(judged), alerts, "worse" if alerts else overall)


def _keyed(rows: Iterable[Mapping[Any, Any]]) -> dict[Key, Row]:
    return {(str(row["cohort"]), str(row["metric"])): row for row in rows}


def _levels(keys: Sequence[Key]) -> Floats:
    """What either side of each figure's limits may spend (N,)."""
    overall = np.array([cohort == "overall" for cohort, _ in keys], dtype=bool)
    parts = 2 if overall.any() and not overall.all() else 1
    return np.asarray(ALPHA / 2 / parts / np.where(overall, overall.sum(), (~overall).sum()))


def _verdict(better: str, accepted: Bounds | None, *production: Bounds | None) -> Verdict:
    found = [one for one in production if one is not None]
    if accepted is None or not found:
        return "insufficient evidence"
    least, most = accepted.low, accepted.high
    if better == "zero":  # as far from 0 as was accepted, on either side
        least, most = min(least, -most), max(most, -least)
    beyond = any((one.low > most and better != "higher") or (one.high < least and better != "lower") for one in found)
    return "as accepted" if not beyond else "changed" if better == "none" else "worse"


def _broken(limits: Sequence[Limit], judged: Sequence[Judged], accepted: Accepted, period: str) -> Iterator[tuple[Limit, Check, str]]:
    """The checks of limits on metrics that are surely not kept, since acceptance or in the period looked at, each once."""
    known = set[str]()
    for when, name in (("since acceptance", "since"), (f"in {period}", "latest")):
        rows = {(one.cohort, one.metric): bound for one in judged if (bound := getattr(one, name)) is not None}
        for limit in limits:
            if limit.metric is None or limit.against is not None:
                continue
            for check in decide(_Seen(rows, limit, accepted), [limit]).checks:
                if check.outcome == "failed" and check.limit not in known:
                    known.add(check.limit)
                    yield limit, check, when


@dataclass(frozen=True)
class _Seen:
    """The figures with limits that one limit of the gate speaks of, as the gate reads a report. Cohorts without are left out of groupings,
    since they cannot mend what is broken between the others.
    """

    rows: Mapping[Key, Bounds]
    limit: Limit
    accepted: Accepted

    def frame(self) -> pd.DataFrame:
        """One row for each figure."""
        rows = [
            (cohort, "overall" if cohort == "overall" else "group", metric, one.value, one.low, one.high, one.rows, one.rows, "ok")
            for (cohort, metric), one in self.rows.items()
        ]
        return pd.DataFrame(rows, columns=list(COLUMNS))

    def cohorts_of(self, grouping: Sequence[str]) -> tuple[str, ...]:
        """Cohorts of a grouping with limits for every metric that is measured."""
        return tuple(name for name in self.accepted.cohorts_of(grouping) if all((name, metric) in self.rows for metric in self._measured))

    def gaps(self) -> pd.DataFrame:
        """The limit's own gap. All limits of cohorts hold together, so those of their differences and ratios do too."""
        grouping = self.limit.gap or self.limit.ratio
        names = self.cohorts_of(grouping or ())
        if grouping is None or len(names) < 2:
            return pd.DataFrame(columns=list(gaps.COLUMNS))
        parts = [self._gap(", ".join(grouping), metric, names) for metric in self._measured]
        row = gaps.summary(str(self.limit.metric), parts)
        if self.limit.metric == "bounded_group_loss":  # the largest value of a cohort, not a difference
            of = [self.rows[name, metric] for name in names for metric in self._measured]
            row |= {"difference": max(one.value for one in of), "low": max(one.low for one in of), "high": max(one.high for one in of)}
        return pd.DataFrame([row], columns=list(gaps.COLUMNS))

    @property
    def _measured(self) -> tuple[str, ...]:
        return SUMMARIES.get(str(self.limit.metric), (str(self.limit.metric),))

    def _gap(self, grouping: str, metric: str, names: Sequence[str]) -> dict[str, object]:
        found = [self.rows[name, metric] for name in names]
        value, low, high = (np.array([getattr(one, side) for one in found]) for side in ("value", "low", "high"))
        apart = np.where(np.eye(len(found), dtype=bool), -np.inf, low[:, None] - high[None, :])
        row: dict[str, object] = dict.fromkeys(gaps.COLUMNS, float("nan"))
        row |= {"metric": metric, "grouping": grouping, "worst": None, "best": None, "verdict": "ok"}
        row |= {"difference": np.ptp(value), "low": max(float(apart.max()), 0.0), "high": float(high.max() - low.min())}
        if (low < 0).any() or not value.max() > 0:
            return row
        with np.errstate(divide="ignore"):
            most = np.where(np.eye(len(found), dtype=bool), np.inf, high[:, None] / low[None, :])
        return row | {"ratio": value.min() / value.max(), "ratio_low": low.min() / high.max(), "ratio_high": min(float(most.min()), 1.0)}


def _alerts(judged: Iterable[Judged], broken: Iterable[tuple[Limit, Check, str]], period: str) -> Iterator[Alert]:
    """Broken limits first; what is worse and breaks no limit after them."""
    told = set[str]()
    for limit, check, when in broken:
        if check.subject not in told:
            told.add(check.subject)
            overall = limit.gap is None and limit.ratio is None and check.subject.endswith(" for overall")
            yield Alert("performance" if overall else "cohort gap", "critical", period, f"{check.reason}, {when}", check.subject)
    for one in judged:
        subject = f"{one.metric} for {one.cohort}"
        if one.verdict == "worse" and subject not in told:
            reason = f"{subject} is worse than accepted: {one.words(period)}"
            yield Alert("performance" if one.cohort == "overall" else "cohort gap", "warning", period, reason, subject)

"""The dossier: all that documents may say about one registered version. Every number in a document comes from here.

It is a value made from the version's evidence, the ledger's events and what people have written; nothing in it is typed twice.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from tasks.core.candidate_spec import CandidateSpec
from tasks.core.case import Case
from tasks.core.catalogue import Dataset
from tasks.core.documents.content import figure
from tasks.core.errors import DataError
from tasks.core.evidence import StoredReport
from tasks.core.gate import Check, Decision
from tasks.core.metrics import get_metric
from tasks.core.review import Event, Review, production_version, registration, retired, reviews_of


@dataclass(frozen=True)
class Figure:
    """One metric on one cohort, as published: what may not be told is None."""

    cohort: str
    kind: str
    metric: str
    value: float | None
    low: float | None
    high: float | None
    n: int | None
    verdict: str

    @property
    def known(self) -> bool:
        """Whether there is evidence enough to show it."""
        return self.verdict == "ok" and self.value is not None

    @property
    def shown(self) -> str:
        """The figure with its interval, or in words why there is none."""
        if self.verdict == "ok":
            return figure(self.value, self.low, self.high)
        return "insufficient evidence" if self.verdict == "insufficient" else self.verdict


@dataclass(frozen=True)
class Alternative:
    """A candidate that was compared, by its primary metric overall on test."""

    name: str
    figure: Figure


@dataclass(frozen=True)
class Dossier:
    """All that documents say.

    `energy` is a sentence, `source` where the data is from, without passwords; `human` maps parts of the card to what people wrote;
    `served` and `drifted` are bodies of the ledger's events, oldest first; `missing` is what stands between the version and production.
    """

    case: Case
    dataset: Dataset
    version: int
    evidence: Mapping[str, Any]
    digest: str
    environment: Mapping[str, Any]
    report: StoredReport
    validation: StoredReport
    alternatives: tuple[Alternative, ...]
    comparison: Mapping[str, Any]
    findings: tuple[Mapping[str, Any], ...]
    emissions: Mapping[str, Any]
    energy: str
    source: str
    decision: Decision
    decided: str
    human: Mapping[str, str]
    missing: tuple[str, ...]
    reviews: tuple[Review, ...]
    registered: str
    promoted: str | None
    in_production: bool
    retired: bool
    served: tuple[Mapping[str, Any], ...]
    drifted: tuple[Mapping[str, Any], ...]

    @property
    def candidate(self) -> str:
        """The chosen candidate's name."""
        return str(self.evidence["candidate"])

    @property
    def spec(self) -> CandidateSpec:
        """The chosen candidate as the case states it."""
        return CandidateSpec.model_validate(self.evidence["spec"])

    @property
    def periods(self) -> tuple[str, ...]:
        """The periods it was trained on."""
        return tuple(self.evidence["periods"])

    @property
    def period(self) -> str:
        """The training window: one period, or the first to the last."""
        return " to ".join(dict.fromkeys((self.periods[0], self.periods[-1])))

    @property
    def rows(self) -> Mapping[str, int]:
        """Rows by split part."""
        held = self.evidence["rows"]
        return {part: int(held[part]) for part in ("train", "validation", "test") if part in held}

    @property
    def metrics(self) -> tuple[str, ...]:
        """The case's metrics that the report holds, the primary one first."""
        held = set(self.report.frame()["metric"])
        return tuple(name for name in self.case.metric_names if name in held)

    @property
    def status(self) -> str:
        """Where the version stands, in a few words."""
        if self.retired:
            return "retired"
        if self.in_production:
            return "in production"
        return "not in production any more" if self.promoted is not None else "not in production"

    def part(self, name: str) -> str:
        """A human part of the card; empty when nobody wrote it."""
        return self.human.get(name, "").strip()

    def figures(self, metric: str) -> tuple[Figure, ...]:
        """A metric on every cohort, in the order of the report."""
        frame = self.report.frame()
        return tuple(read_figure(row) for row in frame[frame["metric"] == metric].to_dict("records"))

    def overall(self, metric: str) -> Figure:
        """A metric on all rows. Raises: DataError when the report does not hold it."""
        found = next((one for one in self.figures(metric) if one.cohort == "overall"), None)
        if found is None:
            raise DataError(f"The report of version {self.version} has no `{metric}` on all rows.")
        return found

    def ranked(self, metric: str) -> tuple[Figure, ...]:
        """The cohorts with enough evidence, worst first. Where neither way is better, the farthest from all rows together come first."""
        known = [one for one in self.figures(metric) if one.known and one.cohort != "overall"]
        return tuple(sorted(known, key=lambda one: (-self.cost(one), one.cohort)))

    def cost(self, one: Figure) -> float:
        """How bad a figure is: larger is worse."""
        better, value = get_metric(one.metric, self.case.task).better, float(one.value or 0.0)
        whole = self.overall(one.metric).value or 0.0
        return {"higher": -value, "lower": value, "zero": abs(value), "none": abs(value - whole)}[better]

    def worse(self, one: Figure) -> bool:
        """Whether a cohort's whole interval is on the worse side of the figure for all rows."""
        better, whole = get_metric(one.metric, self.case.task).better, self.overall(one.metric).value
        if one.low is None or one.high is None or whole is None:
            return False
        nearest_to_zero = 0.0 if one.low <= 0 <= one.high else min(abs(one.low), abs(one.high))
        return {"lower": one.low > whole, "higher": one.high < whole, "zero": nearest_to_zero > abs(whole), "none": False}[better]

    def unclear(self, metric: str) -> tuple[Figure, ...]:
        """The cohorts without enough evidence."""
        return tuple(one for one in self.figures(metric) if not one.known and one.cohort != "overall")

    def kept(self) -> tuple[int, int]:
        """How many checks passed, of how many."""
        return sum(check.outcome == "passed" for check in self.decision.checks), len(self.decision.checks)


def read_figure(row: Mapping[Any, Any]) -> Figure:
    """A row of a stored report."""
    value, low, high = (None if pd.isna(row[key]) else float(row[key]) for key in ("value", "low", "high"))
    return Figure(str(row["cohort"]), str(row["kind"]), str(row["metric"]), value, low, high, None if pd.isna(row["n"]) else int(row["n"]), str(row["verdict"]))


def read_decision(stored: Mapping[str, Any]) -> Decision:
    """A decision from what `Decision.to_dict` gave."""
    return Decision(tuple(Check(**check) for check in stored["checks"]))


def newest_decision(events: Sequence[Event], version: int, digest: str, at_training: Mapping[str, Any]) -> tuple[Decision, str]:
    """The gate's newest decision on this evidence, and when it was made; the one at training where there is none on record."""
    held = [event for event in events if event.kind == "gated" and event.version == version and event.body.get("evidence") == digest]
    if held:
        return read_decision(held[-1].body["decision"]), f"on {held[-1].at[:10]}"
    return read_decision(at_training), "at training"


def history(events: Sequence[Event], version: int) -> dict[str, Any]:
    """The fields of a dossier that the ledger knows.

    Raises: DataError for a version that was never registered.
    """
    registered = registration(events, version)
    if registered is None:
        raise DataError(f"There is no registered version {version}.", fix="Look at: equipoise status")
    own = [event for event in events if event.version == version]
    return {
        "registered": registered.at,
        "reviews": reviews_of(events, version),
        "promoted": next((event.at for event in reversed(own) if event.kind == "promoted"), None),
        "in_production": production_version(events) == version,
        "retired": retired(events, version),
        "served": tuple(sorted((event.body for event in own if event.kind == "served"), key=lambda body: str(body["period"]))),
        "drifted": tuple(
            {"period": event.body["period"], "columns": event.body["drifted_columns"]} for event in own if event.kind == "served" and event.body["drifted"]
        ),
    }


def began(dossier: Dossier) -> str:
    """When the training began: its registration less the seconds that it took, ISO 8601."""
    return (dt.datetime.fromisoformat(dossier.registered) - dt.timedelta(seconds=float(dossier.emissions.get("seconds") or 0.0))).isoformat(timespec="seconds")

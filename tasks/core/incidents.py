"""Incidents: what the record says was found, what the case's rules ask for it, and what has been done about it.

An incident is identified by its key: version, kind and, where one was given, subject. All that one look at a period found of a kind is
one incident. Three kinds of ledger entries tell its life:

    incident   {key, kind, severity, subject, period, reason, actions, page}   opens it; again with the same key when it becomes critical
    responded  {incident, action, result}                                      incident: the sequence number of the entry above
    resolved   {key, period}                                                   a later look found nothing

What is wrong with one period by itself (its subject names it: `refused 2024-05`, `labels 2024-05`) says nothing of the others, and no look at
another one ends it: it is over when the record has that period (`served`, `monitored`) after the incident.

A notification has besides, for each channel that was told, an entry `responded` with `channel`; it is done when there is one without.
"""

import datetime as dt
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from tasks.core.alerts import RANK, Alert, drift_alerts, gathered, staleness_alerts
from tasks.core.operations import Action, FindingKind, Rule, Severity
from tasks.core.review import Event, EventKind, production_version, registration, served_in_turn

INCIDENT, RETRAIN = "equipoise.incident", "equipoise.retrain"
"""Prefect's events: an incident was entered; training was asked for."""
ORDER: tuple[Action, ...] = ("stop", "rollback", "retrain", "notify")
"""Actions as they are done: what limits the harm first, and the notification last, so that it can say what was done."""

Look = tuple[str, Collection[FindingKind], Sequence[Alert]]
"""The newest period looked at, the kinds that the look covers wholly, and what was found."""
OF_SERVED: tuple[FindingKind, ...] = ("drift",)
OF_ROWS: tuple[FindingKind, ...] = ("data quality",)
OF_LABELS: tuple[FindingKind, ...] = ("performance", "cohort gap")
OF_AGE: tuple[FindingKind, ...] = ("staleness",)
ENDED_BY: Mapping[str, EventKind] = {"refused": "served", "labels": "monitored"}
"""What puts an end to an incident of one period by itself, by the first word of its subject."""


@dataclass(frozen=True)
class Incident:
    """An entry of kind `incident`. `page` is the link to look at, or empty."""

    sequence: int
    at: str
    case: str
    version: int
    key: str
    kind: FindingKind
    severity: Severity
    subject: str
    period: str
    reason: str
    actions: tuple[Action, ...]
    page: str

    @property
    def id(self) -> uuid.UUID:
        """The same for the same entry, wherever and however often it is told."""
        return uuid.uuid5(uuid.NAMESPACE_URL, f"equipoise.incident/{self.case}/{self.sequence}/{self.at}")

    @property
    def ended_by(self) -> EventKind | None:
        """The kind of entry that ends an incident of one period by itself; None for one that ends when a look finds nothing."""
        word, _, period = self.subject.partition(" ")
        return ENDED_BY.get(word) if self.kind == "data quality" and period == self.period else None

    @property
    def facts(self) -> dict[str, Any]:
        """What those who are told get to know, JSON."""
        named = ("case", "version", "kind", "severity", "subject", "period", "reason", "page")
        return {"incident": self.sequence, **{name: getattr(self, name) for name in named}, "actions": list(self.actions)}


def incident_of(event: Event) -> Incident:
    """The incident in an event of kind `incident`."""
    body = event.body
    assert event.version is not None  # what is found is found about a version
    actions = tuple(cast(Iterable[Action], body["actions"]))
    told = {name: str(body[name]) for name in ("key", "subject", "period", "reason", "page")}
    return Incident(event.sequence, event.at, event.case, event.version, kind=body["kind"], severity=body["severity"], actions=actions, **told)


def key_of(version: int, alert: Alert) -> str:
    """What tells one incident from another.

    >>> key_of(3, Alert("cohort gap", "warning", "2024-05", "The gap of recall widened.", subject="recall by sex"))
    'v3 cohort gap: recall by sex'
    """
    return f"v{version} {alert.kind}" + (f": {alert.subject}" if alert.subject else "")


def asked(alert: Alert, rules: Sequence[Rule]) -> tuple[Action, ...]:
    """All that the rules ask for an alert: those of its kind whose severity it reaches."""
    wanted = {action for rule in rules if rule.when == alert.kind and RANK[alert.severity] >= RANK[rule.severity] for action in rule.then}
    return tuple(action for action in ORDER if action in wanted)


def news(
    events: Sequence[Event], version: int, period: str, kinds: Collection[FindingKind], alerts: Sequence[Alert], rules: Sequence[Rule]
) -> tuple[list[dict[str, Any]], list[str]]:
    """What a look at a version adds to the record: bodies of incidents to open (without their page), and keys to resolve.

    An alert of an open incident is silent, unless it is critical and the incident was a warning: then it is said once more, with `notify`
    and what was not asked before. An open incident of a kind looked at is resolved when no alert of it was raised for its period or a
    later one. What was said of a later period stands, so the same look twice adds nothing.

    period: the newest one looked at. kinds: those that this look covers wholly; what is wrong with one period by itself is in none.
    """
    opened, closed = _told(events, version)
    worst: dict[str, Alert] = {}
    for alert in alerts:
        key = key_of(version, alert)
        if key not in worst or (RANK[alert.severity], alert.period) > (RANK[worst[key].severity], worst[key].period):
            worst[key] = alert
    entries = []
    for key, alert in worst.items():
        before = opened.get(key, [])
        if alert.period < (before[-1].period if before else closed.get(key, "")):
            continue
        if before and RANK[alert.severity] <= RANK[before[-1].severity]:
            continue
        taken = {action for one in before for action in one.actions if action != "notify"}
        actions = [action for action in asked(alert, rules) if action not in taken]
        entries.append({"key": key, **vars(alert), "actions": actions})
    lasting = {key: told[-1] for key, told in opened.items() if key not in worst and told[-1].ended_by is None}
    return entries, [key for key, last in lasting.items() if last.kind in kinds and period >= last.period]


def mended(events: Sequence[Event], version: int) -> list[tuple[str, str]]:
    """Keys, and periods, of open incidents of one period by itself that the record has been given since."""
    given = {(event.kind, event.body["period"]): event.sequence for event in events if event.version == version and event.kind in ENDED_BY.values()}
    found = open_incidents(events, version)
    return [(one.key, one.period) for one in found if one.ended_by is not None and given.get((one.ended_by, one.period), 0) > one.sequence]


def looks_on_record(events: Sequence[Event], version: int) -> list[Look]:
    """The looks at a version that the record itself holds, by period: drift of each period served, alerts of data quality where its entry has
    `alerts`, and what its labels said once they came. Of a period that was corrected the newest counts.
    """
    own = [event for event in events if event.version == version]
    served, monitored = ({str(event.body["period"]): event.body for event in own if event.kind == kind} for kind in ("served", "monitored"))
    measured = {period: body for period, body in served.items() if body.get("rows") != 0}
    looks: list[Look] = [(period, OF_SERVED, drift_alerts(body)) for period, body in measured.items()]
    looks += [(period, OF_ROWS, gathered([Alert(**told) for told in body["alerts"]])) for period, body in served.items() if "alerts" in body]
    looks += [(period, OF_LABELS, gathered([Alert(**told) for told in body["alerts"]])) for period, body in monitored.items()]
    return sorted(looks, key=lambda look: look[0])


def looks_at_age(events: Sequence[Event], version: int, today: dt.date, stale_days: int) -> list[Look]:
    """The look at how old the newest period is that a version has scored. One that has scored none yet counts from the newest that was scored
    before it, and each from its training at least: a version that never scores anything is noticed as well.
    """
    served = [event for event in events if event.kind == "served"]
    own = {str(event.body["period"]) for event in served if event.version == version}
    registered = registration(events, version)
    known = own | set(registered.body["periods"] if registered else ())
    newest = max(known if own else known | {str(event.body["period"]) for event in served}, default="")
    if not newest:
        return []
    return [(newest, OF_AGE, staleness_alerts(newest, today, stale_days, None if newest in own else version))]


def open_incidents(events: Sequence[Event], version: int) -> tuple[Incident, ...]:
    """The incidents of a version that are not resolved, oldest first, each as it was said last."""
    return tuple(told[-1] for told in _told(events, version)[0].values())


def unanswered(events: Sequence[Event]) -> list[tuple[Incident, Action]]:
    """What is still to be done, in order: the actions of open incidents, and notifications, even where the incident was resolved
    before anybody was told.
    """
    found = [incident_of(event) for event in events if event.kind == "incident"]
    current = {one.key for version in {one.version for one in found} for one in open_incidents(events, version)}
    since = {event.body["key"]: event.sequence for event in events if event.kind == "resolved"}
    return [
        (one, action)
        for one in found
        for action in ORDER
        if action in one.actions and answer(events, one, action) is None
        if action == "notify" or (one.key in current and one.sequence > since.get(one.key, 0))
    ]


def answer(events: Sequence[Event], incident: Incident, action: Action) -> Event | None:
    """The entry that says an action is done."""
    return next((event for event in _responses(events, incident, action) if "channel" not in event.body), None)


def told_channels(events: Sequence[Event], incident: Incident) -> frozenset[str]:
    """Names of the channels that have been notified of an incident."""
    return frozenset(str(event.body["channel"]) for event in _responses(events, incident, "notify") if "channel" in event.body)


def results(events: Sequence[Event], incident: Incident) -> list[str]:
    """What was done about an incident, in words."""
    return [str(done.body["result"]) for action in ORDER if (done := answer(events, incident, action)) is not None]


def stopped(events: Sequence[Event]) -> Event | None:
    """The entry that stopped scoring, unless it was resumed since."""
    last = next((event for event in reversed(events) if event.kind in ("stopped", "resumed")), None)
    return last if last is not None and last.kind == "stopped" else None


def not_serving(events: Sequence[Event], version: int) -> str:
    """Why there is no stopping a version: it is not in production. Empty when it is."""
    production = production_version(events)
    return "" if production == version else f"version {version} is no longer in production" + (f", version {production} is" if production else "")


def no_return(events: Sequence[Event], version: int) -> str:
    """Why production cannot go back from a version. Empty when it can."""
    return not_serving(events, version) or ("" if len(served_in_turn(events)) > 1 else "no other version was in production before")


def no_training(events: Sequence[Event], incident: Incident, period: str) -> str:
    """Why an incident needs no training, or no other, on the window that ends with a period. Empty when it does."""
    made = next((event.version for event in reversed(events) if event.kind == "registered" and event.sequence > incident.sequence), None)
    if made is not None:
        return f"version {made} was trained since"
    if (production := production_version(events) or 0) > incident.version:
        return f"version {production} is in production since"
    asked = (event.body for event in events if event.kind == "responded" and event.body["action"] == "retrain" and event.body.get("period") == period)
    first = next(asked, None)
    return "" if first is None else f"training on labels up to {period} was asked for already, for incident {first['incident']}"


def trained_up_to(events: Sequence[Event]) -> str:
    """The newest period that any version was trained on; empty when there is none. Training on no newer one gives nothing new."""
    return max((str(event.body["periods"][-1]) for event in events if event.kind == "registered"), default="")


def _told(events: Sequence[Event], version: int) -> tuple[dict[str, list[Incident]], dict[str, str]]:
    """Of a version: the entries of each open incident by key, and the period in which each key was last resolved."""
    opened: dict[str, list[Incident]] = {}
    closed: dict[str, str] = {}
    for event in events:
        if event.version == version and event.kind == "incident":
            opened.setdefault(event.body["key"], []).append(incident_of(event))
        elif event.version == version and event.kind == "resolved":
            opened.pop(event.body["key"], None)
            closed[event.body["key"]] = event.body["period"]
    return opened, closed


def _responses(events: Sequence[Event], incident: Incident, action: Action) -> list[Event]:
    return [event for event in events if event.kind == "responded" and (event.body["incident"], event.body["action"]) == (incident.sequence, action)]

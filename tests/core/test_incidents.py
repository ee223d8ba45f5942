"""Incidents: one for what was found once, silent while it lasts, resolved by a later look, and answered once."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.alerts import Alert, drift_alerts, period_alert, quality_alerts, staleness_alerts
from tasks.core.findings import Finding
from tasks.core.incidents import (
    answer,
    asked,
    incident_of,
    looks_at_age,
    mended,
    news,
    no_return,
    no_training,
    open_incidents,
    results,
    stopped,
    told_channels,
    trained_up_to,
    unanswered,
)
from tasks.core.operations import RULES, Rule
from tasks.core.review import Event

KINDS = ("drift", "performance", "cohort gap")


class Record:
    """A ledger of values: looks at version 1 and what else happens, entered as `tasks.alerts` enters them."""

    def __init__(self, rules=RULES):
        self.events, self.rules = [], rules

    def add(self, kind, body, version=1):
        self.events.append(Event(len(self.events) + 1, "2026-01-01T00:00:00+00:00", "loans", kind, version, body))
        return self.events[-1]

    def mend(self):
        """What the record itself has ended: keys."""
        over = mended(self.events, 1)
        for key, period in over:
            self.add("resolved", {"key": key, "period": period})
        return [key for key, _ in over]

    def look(self, period, *alerts, kinds=KINDS, version=1):
        """What a look adds: keys opened, and keys resolved."""
        entries, over = news(self.events, version, period, kinds, alerts, self.rules)
        for body in entries:
            self.add("incident", {**body, "page": ""}, version)
        for key in over:
            self.add("resolved", {"key": key, "period": period}, version)
        return [entry["key"] for entry in entries], over

    def answer(self, incident, action, **more):
        self.add("responded", {"incident": incident.sequence, "action": action, "result": f"{action} was done", **more}, incident.version)

    @property
    def due(self):
        return [(incident.sequence, action) for incident, action in unanswered(self.events)]


def drift(period, severity="warning"):
    return Alert("drift", severity, period, f"It drifted in {period}.")


def worse(subject, period="2024-02", severity="warning"):
    return Alert("performance", severity, period, f"{subject} is worse.", subject=subject)


def test_an_incident_is_said_once_while_it_lasts():
    """The first alert opens it, later ones are silent, a look without one resolves it, and the next alert opens another."""
    record = Record()
    assert record.look("2024-02", drift("2024-02")) == (["v1 drift"], [])
    assert record.look("2024-03", drift("2024-03")) == ([], [])
    assert [one.period for one in open_incidents(record.events, 1)] == ["2024-02"]
    assert record.look("2024-04") == ([], ["v1 drift"])
    assert open_incidents(record.events, 1) == ()
    assert record.look("2024-05", drift("2024-05")) == (["v1 drift"], [])


def test_kinds_subjects_and_versions_are_told_apart():
    """Each metric and cohort has its own incident; a look at one kind or version resolves no other."""
    record = Record()
    record.look("2024-02", drift("2024-02"), worse("mae"), worse("mae, region=Ost"))
    record.look("2024-02", drift("2024-02"), version=2)
    assert record.look("2024-03", worse("mae", "2024-03"), kinds=("performance",)) == ([], ["v1 performance: mae, region=Ost"])
    assert [one.key for one in open_incidents(record.events, 1)] == ["v1 drift", "v1 performance: mae"]
    assert [one.key for one in open_incidents(record.events, 2)] == ["v2 drift"]


def test_what_becomes_critical_is_said_once_more():
    """With the notification again and what the rules ask besides, but nothing that was asked before; after that it is silent."""
    rules = (Rule(when="performance", then=("notify", "retrain")), Rule(when="performance", severity="critical", then=("rollback",)))
    record = Record(rules)
    record.look("2024-02", worse("mae"))
    assert record.look("2024-03", worse("mae", "2024-03", "critical")) == (["v1 performance: mae"], [])
    assert [incident_of(event).actions for event in record.events] == [("retrain", "notify"), ("rollback", "notify")]
    assert record.look("2024-04", worse("mae", "2024-04"), worse("mae", "2024-04", "critical")) == ([], [])
    assert record.look("2024-05", worse("mae", "2024-05")) == ([], [])
    assert [one.severity for one in open_incidents(record.events, 1)] == ["critical"]


def test_an_old_look_changes_nothing_that_was_said_later():
    """A period scored again does not open what is over, nor resolve what was found later; a corrected period does both."""
    record = Record()
    record.look("2024-02", drift("2024-02"))
    record.look("2024-04")
    assert record.look("2024-02", drift("2024-02")) == ([], [])
    record.look("2024-05", drift("2024-05"))
    assert record.look("2024-03") == ([], [])
    assert record.look("2024-05") == ([], ["v1 drift"])
    assert record.look("2024-05", drift("2024-05")) == (["v1 drift"], [])


alerts_of = st.lists(
    st.builds(
        lambda kind, severity, subject: (kind, severity, subject), st.sampled_from(KINDS), st.sampled_from(["warning", "critical"]), st.sampled_from(["", "a"])
    ),
    max_size=4,
)


@given(st.lists(st.tuples(st.integers(1, 6), alerts_of), max_size=8))
def test_the_same_look_twice_adds_nothing(looks):
    """However looks follow each other: repeating the last adds nothing, and what is open is what the newest looks found."""
    record = Record()
    for month, found in looks:
        period = f"2024-{month:02}"
        alerts = [Alert(kind, severity, period, "Something.", subject=subject) for kind, severity, subject in found]
        record.look(period, *alerts)
        assert record.look(period, *alerts) == ([], [])
        keys = [one.key for one in open_incidents(record.events, 1)]
        assert len(keys) == len(set(keys))
    ordered = Record()
    for month, (_, found) in enumerate(looks, start=1):
        alerts = [Alert(kind, severity, f"2024-{month:02}", "Something.", subject=subject) for kind, severity, subject in found]
        ordered.look(f"2024-{month:02}", *alerts)
        assert {(one.kind, one.subject) for one in open_incidents(ordered.events, 1)} == {(kind, subject) for kind, _, subject in found}


def test_what_is_wrong_with_one_period_by_itself_says_nothing_of_others():
    """A refused month ends no incident of an earlier one, is said once however often it is refused, and is over when that month is scored
    after it, by no other and by no older entry; labels that cannot be used, when they are held.
    """
    record = Record()
    refused, unlike = period_alert("refused", "2024-04", ValueError("corrupt.")), Alert("data quality", "warning", "2024-03", "Many are beyond.")
    record.add("served", {"period": "2024-04"})
    record.look("2024-03", unlike, kinds=("data quality",))
    for opened in (["v1 data quality: refused 2024-04"], []):
        assert record.look("2024-04", refused, kinds=()) == (opened, [])
        assert record.mend() == []
    assert record.look("2024-05", kinds=("data quality",)) == ([], ["v1 data quality"])
    record.add("served", {"period": "2024-05"})
    record.add("served", {"period": "2024-04"}, version=2)
    record.add("monitored", {"period": "2024-04"})
    assert record.mend() == []
    assert record.look("2024-03", period_alert("refused", "2024-03", ValueError("too.")), kinds=()) == (["v1 data quality: refused 2024-03"], [])
    assert record.look("2024-04", period_alert("labels", "2024-04", ValueError("late.")), kinds=()) == (["v1 data quality: labels 2024-04"], [])
    record.add("served", {"period": "2024-04"})
    assert record.mend() == ["v1 data quality: refused 2024-04"]
    record.add("monitored", {"period": "2024-04"})
    assert record.mend() == ["v1 data quality: labels 2024-04"]
    assert [one.key for one in open_incidents(record.events, 1)] == ["v1 data quality: refused 2024-03"]
    assert record.look("2024-04", refused, kinds=()) == (["v1 data quality: refused 2024-04"], [])
    assert record.mend() == []


def test_rules_that_fit_are_added_up():
    """All that the rules of the kind say whose severity is reached, each once, and nothing else; drift alone does not retrain."""
    rules = (
        Rule(when="drift", then=("notify",)),
        Rule(when="drift", severity="critical", then=("stop", "notify")),
        Rule(when="staleness", then=("rollback",)),
    )
    assert asked(drift("2024-02"), rules) == ("notify",)
    assert asked(drift("2024-02", "critical"), rules) == ("stop", "notify")
    assert asked(worse("mae"), rules) == ()
    assert asked(drift("2024-02", "critical"), RULES) == ("notify",)
    assert asked(worse("mae"), RULES) == ("retrain", "notify")


def test_actions_are_unanswered_until_they_are_done():
    """In the order in which they are done; a channel that was told is not yet an answer; what is over needs no action but the telling."""
    record = Record((Rule(when="performance", then=("notify", "retrain", "rollback", "stop")), Rule(when="drift", then=("notify",))))
    record.look("2024-02", worse("mae"), drift("2024-02"))
    first, second = open_incidents(record.events, 1)
    assert record.due == [(1, "stop"), (1, "rollback"), (1, "retrain"), (1, "notify"), (2, "notify")]
    record.answer(first, "stop")
    record.answer(first, "notify", channel="webhook a")
    assert record.due == [(1, "rollback"), (1, "retrain"), (1, "notify"), (2, "notify")]
    assert told_channels(record.events, first) == {"webhook a"}
    assert told_channels(record.events, second) == frozenset()
    assert results(record.events, first) == ["stop was done"]
    record.look("2024-03", drift("2024-03"))
    assert record.due == [(1, "notify"), (2, "notify")]
    record.answer(first, "notify")
    record.answer(second, "notify")
    assert record.due == []
    record.look("2024-04", worse("mae", "2024-04"))  # again, an incident of its own
    [again] = [one for one in open_incidents(record.events, 1) if one.kind == "performance"]
    assert record.due == [(again.sequence, action) for action in ("stop", "rollback", "retrain", "notify")]
    assert answer(record.events, again, "stop") is None


def test_an_incident_has_the_same_id_wherever_it_is_told():
    """The id follows from the entry, and two entries have two."""
    record = Record()
    record.look("2024-02", worse("mae"), drift("2024-02"))
    first, second = (incident_of(event) for event in record.events)
    assert first.id == incident_of(record.events[0]).id != second.id
    assert first.facts == {
        **{"incident": 1, "case": "loans", "version": 1, "kind": "performance", "severity": "warning", "subject": "mae", "period": "2024-02"},
        **{"reason": "mae is worse.", "page": "", "actions": ["retrain", "notify"]},
    }


def test_stopped_until_resumed():
    """The last word counts."""
    record = Record()
    assert stopped(record.events) is None
    stop = record.add("stopped", {"incident": 1, "why": "x", "by": "rule"})
    record.look("2024-02", drift("2024-02"))
    assert stopped(record.events) == stop
    record.add("resumed", {"why": "mended", "by": "ada"})
    assert stopped(record.events) is None


def test_there_must_be_a_version_to_go_back_to():
    """Production goes back only from the version the incident is about, and only where another was there before."""
    record = Record()
    assert no_return(record.events, 1) == "version 1 is no longer in production"
    record.add("promoted", {}, 1)
    assert no_return(record.events, 1) == "no other version was in production before"
    record.add("promoted", {}, 2)
    assert no_return(record.events, 2) == ""
    assert no_return(record.events, 1) == "version 1 is no longer in production, version 2 is"


def test_training_is_asked_for_once_for_each_window():
    """Not where it was asked for already, nor where a version was trained or went into production since the incident."""
    record = Record()
    record.add("registered", {"periods": ["2024-01", "2024-02"]}, 1)
    record.add("registered", {"periods": ["2024-02", "2024-03"]}, 2)
    assert trained_up_to(record.events) == "2024-03"
    record.add("promoted", {}, 1)
    record.look("2024-03", worse("mae", "2024-03"), worse("rmse", "2024-03"))
    first, second = open_incidents(record.events, 1)
    assert no_training(record.events, first, "2024-04") == ""
    record.answer(first, "retrain", period="2024-04")
    assert no_training(record.events, second, "2024-04") == "training on labels up to 2024-04 was asked for already, for incident 4"
    assert no_training(record.events, second, "2024-05") == ""
    record.add("promoted", {}, 2)
    assert no_training(record.events, second, "2024-05") == "version 2 is in production since"
    record.add("registered", {"periods": ["2024-03", "2024-04"]}, 3)
    assert no_training(record.events, second, "2024-05") == "version 3 was trained since"


@pytest.mark.parametrize(("today", "severity"), [(dt.date(2024, 2, 29), None), (dt.date(2024, 4, 14), None), (dt.date(2024, 4, 15), "warning")])
def test_staleness_counts_from_the_end_of_the_newest_period(today, severity):
    """February 2024 ended on the 29th; 45 days after it are allowed."""
    found = staleness_alerts("2024-02", today, 45)
    assert [alert.severity for alert in found] == ([severity] if severity else [])


def test_staleness_beyond_twice_the_days_is_critical_and_off_unless_asked_for():
    """90 days are twice 45."""
    assert [alert.severity for alert in staleness_alerts("2024-02", dt.date(2024, 5, 30), 45)] == ["critical"]
    assert staleness_alerts("2024-02", dt.date(2030, 1, 1), None) == ()


@pytest.mark.parametrize(
    ("drifted", "prediction", "severity"),
    [(False, None, None), (False, False, None), (False, True, "warning"), (True, None, "warning"), (True, False, "warning"), (True, True, "critical")],
)
def test_drift_is_critical_when_the_predictions_move_too(drifted, prediction, severity):
    """A period that has not drifted raises nothing, unless its predictions have; the reason names five columns and counts the rest."""
    moved = None if prediction is None else {"effect": 0.51234, "limit": 0.1, "drifted": prediction}
    month = {"period": "2024-02", "drifted": drifted, "drifted_columns": list("abcdefg"), "share": 0.7, "prediction": moved}
    found = drift_alerts(month)
    assert [(alert.severity, alert.period) for alert in found] == ([(severity, "2024-02")] if severity else [])
    if drifted:
        assert found[0].reason.startswith("a, b, c, d, e and 2 more drifted: 70 % of the features.")
        assert ("by 0.512 where 0.1 is the limit" in found[0].reason) == (severity == "critical")


def test_predictions_that_drift_by_themselves_are_told():
    """With the features that moved beside them, which are fewer than the case calls drift; or with none."""
    month = {"period": "2024-02", "drifted": False, "drifted_columns": [], "share": 0.0, "prediction": {"effect": 0.6, "limit": 0.1, "drifted": True}}
    [alone] = drift_alerts(month)
    [beside] = drift_alerts({**month, "drifted_columns": ["income"], "share": 0.05})
    assert alone.reason == "The predictions drifted, by 0.6 where 0.1 is the limit. No feature did."
    assert beside.reason == "The predictions drifted, by 0.6 where 0.1 is the limit. income drifted: 5 % of the features, less than the case calls drift."


def test_the_age_counts_from_the_newest_period_that_is_known():
    """Of a version that has scored nothing: what was scored before it, or its training; a backfill makes it no older."""
    record, today = Record(), dt.date(2024, 7, 20)
    assert looks_at_age(record.events, 1, today, 45) == []
    record.add("registered", {"periods": ["2024-02", "2024-03"]})
    [(newest, kinds, [alert])] = looks_at_age(record.events, 1, today, 45)
    assert (newest, kinds, alert.severity) == ("2024-03", ("staleness",), "critical")
    assert alert.reason == "Version 1 has scored no period after 2024-03, which ended 111 days ago; 45 are allowed."
    record.add("served", {"period": "2024-01"})
    assert looks_at_age(record.events, 1, today, 45)[0][0] == "2024-03"
    record.add("served", {"period": "2024-05"})
    record.add("registered", {"periods": ["2024-04"]}, version=2)
    [(newest, _, [alert])] = looks_at_age(record.events, 1, today, 45)
    assert (newest, alert.reason) == ("2024-05", "The newest scored period, 2024-05, ended 50 days ago; 45 are allowed.")
    [(newest, _, [alert])] = looks_at_age(record.events, 2, today, 45)
    assert (newest, alert.severity) == ("2024-05", "warning")
    assert looks_at_age(record.events, 2, dt.date(2024, 6, 10), 45) == [("2024-05", ("staleness",), ())]


def test_the_data_of_a_period_raise_one_alert_a_column():
    """Parts that are lost and findings that block are critical; rules and many rows beyond what fitting saw are warnings; few rows are silent."""
    findings = [
        Finding("rule", "warn", "income", "Column `income` breaks a rule."),
        Finding("all_null", "block", "region", "Column `region` has no value."),
        Finding("suspected_proxy", "warn", "amount", "It may stand for something else."),
    ]
    counts = {"outside": {"income": 40, "amount": 3}, "unseen": {"region": 100}}
    found = quality_alerts("2024-05", 100, counts, findings, ["part 3 of 9 is corrupt"])
    assert {alert.subject: alert.severity for alert in found} == {"parts": "critical", "income": "warning", "region": "critical"}
    [income] = [alert for alert in found if alert.subject == "income"]
    assert income.reason == "`income` is outside, for the model, in 40 of 100 rows. Column `income` breaks a rule."
    assert quality_alerts("2024-05", 100, {"outside": {"amount": 3}}, [], []) == ()

"""Production beside what was accepted: verdicts, broken limits and alerts."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from tasks.core.evaluation import evaluate
from tasks.core.evidence import StoredReport, stored_report
from tasks.core.intervals import Z
from tasks.core.limits import Limit
from tasks.core.suppression import publish
from tasks.core.watch import ALPHA, watch

MONTHS = 10
METRICS = ["balanced_accuracy", "accuracy", "recall", "false_positive_rate", "selection_rate", "roc_auc"]


def month(generator, n=4000, right=None):
    """Answers that are right with a probability that may differ by region."""
    right = {"a": 0.8, "b": 0.8} | (right or {})
    region = generator.choice(["a", "b"], n)
    true = generator.integers(0, 2, n)
    hit = generator.random(n) < np.vectorize(right.get)(region)
    said = np.where(hit, true, 1 - true)
    return pd.DataFrame({"y_true": true, "y_pred": said, "y_score": np.clip(0.5 + 0.3 * (said - 0.5) + generator.normal(0, 0.1, n), 0, 1), "region": region})


def report(table, metrics=METRICS, task="binary"):
    return publish(evaluate(table, task=task, by=["region"], metrics=metrics))


def rows(table, **asked):
    return report(table, **asked).frame().to_dict("records")


def accepted(table, **asked):
    return StoredReport.of(stored_report(report(table, **asked)))


def judged(reference, periods, limits=(), **more):
    named = [(f"{2023 + place // 12}-{place % 12 + 1:02d}", month) for place, month in enumerate(periods)]
    asked = {"look": len(periods), "task": "binary", "primary": "balanced_accuracy", "min_support": 20} | more
    return watch(reference, named, limits=[Limit(**limit) for limit in limits], **asked)


def verdicts(found):
    return {(one.metric, one.cohort): one.verdict for one in found.judged}


@pytest.fixture(scope="module")
def reference():
    return accepted(month(np.random.default_rng(1)))


def test_what_is_as_good_is_as_accepted_whatever_limits_are_only_just_kept(reference):
    """A year of months like the test rows: nothing is worse, and a limit that the figure may or may not keep raises no alert."""
    generator = np.random.default_rng(2)
    months = [rows(month(generator)) for _ in range(12)]
    found = judged(reference, months, [{"metric": "accuracy", "at_least": 0.8}, {"metric": "recall", "gap": ("region",), "at_most": 0.01}])
    assert set(verdicts(found).values()) == {"as accepted"}
    assert (found.alerts, found.verdict) == ((), "as accepted")
    overall = next(one for one in found.judged if (one.metric, one.cohort) == ("accuracy", "overall"))
    assert overall.since.rows == 48_000
    assert all(0 <= bound.low <= bound.high <= 1 for one in found.judged for bound in (one.accepted, one.since, one.latest))
    assert overall.since.high - overall.since.low < overall.latest.high - overall.latest.low


def test_a_loss_in_one_cohort_is_said_of_it_and_breaks_the_limits_it_breaks(reference):
    """Region b falls to 0.6: it is worse, a is not; the limits that are surely broken are critical, and each thing is said once."""
    months = [rows(month(np.random.default_rng(3), right={"b": 0.6}))]
    limits = [
        {"metric": "recall", "gap": ("region",), "at_most": 0.05, "must_show": "no_worse"},
        {"metric": "accuracy", "every": ("region",), "at_least": 0.75},
        {"metric": "accuracy", "at_least": 0.5},
        {"metric": "equalized_odds", "gap": ("region",), "at_most": 0.05},
        {"metric": "disparate_impact", "ratio": ("region",), "at_least": 0.5},
    ]
    found = judged(reference, months, limits)
    assert verdicts(found)["accuracy", "region=b"] == "worse"
    assert verdicts(found)["accuracy", "region=a"] == "as accepted"
    critical = {alert.subject: alert.kind for alert in found.alerts if alert.severity == "critical"}
    assert critical == dict.fromkeys(["recall gap by region", "accuracy for region=b", "equalized_odds gap by region"], "cohort gap")
    subjects = [alert.subject for alert in found.alerts]
    assert len(subjects) == len(set(subjects))
    warned = {alert.subject: alert.kind for alert in found.alerts if alert.severity == "warning"}
    assert warned["accuracy for overall"] == "performance"
    assert warned["recall for region=b"] == "cohort gap"
    assert found.verdict == "worse"
    assert all("2023-01" in alert.reason or "since acceptance" in alert.reason for alert in found.alerts)


def test_a_sudden_loss_after_a_quiet_year_is_seen_in_its_month(reference):
    """Twelve quiet months hide it from the mean since acceptance; the newest month alone shows it."""
    generator = np.random.default_rng(4)
    months = [rows(month(generator)) for _ in range(12)] + [rows(month(generator, right={"a": 0.7, "b": 0.7}))]
    overall = next(one for one in judged(reference, months).judged if (one.metric, one.cohort) == ("accuracy", "overall"))
    assert overall.verdict == "worse"
    assert overall.since.high > overall.accepted.low
    assert overall.latest.high < overall.accepted.low


def test_a_lasting_loss_after_a_quiet_time_is_found_with_its_beginning(reference):
    """A loss too small for one month to show, after a year without: the months from some one on show it, and that one is named."""
    generator = np.random.default_rng(14)
    months = [rows(month(generator, n=1500)) for _ in range(12)] + [rows(month(generator, n=1500, right={"a": 0.74, "b": 0.74})) for _ in range(5)]
    overall = next(one for one in judged(reference, months).judged if (one.metric, one.cohort) == ("accuracy", "overall"))
    assert overall.verdict == "worse"
    assert overall.since.high > overall.accepted.low
    assert overall.latest.high > overall.accepted.low
    assert overall.recent.high < overall.accepted.low
    assert "2023-10" <= overall.start <= "2024-03"


def told(found, names=None):
    """All that is judged, with other names for the periods that a sequence begins with."""
    return [one.to_dict() | {"start": (names or {}).get(one.start, one.start)} for one in found.judged]


def test_periods_stand_in_the_order_in_which_they_were_looked_at(reference):
    """Labels of April and May came, then those of March, July and June: the same figures as of five months in a row. A sequence begins where
    the first labels are and every later one keeps its part of the level, whatever dates the periods have.
    """
    generator = np.random.default_rng(21)
    months = [rows(month(generator, n=1500, right=dict.fromkeys("ab", right))) for right in (0.85, 0.85, 0.8, 0.72, 0.72)]
    dates, in_turn = ["2023-04", "2023-05", "2023-03", "2023-07", "2023-06"], [f"2023-0{place}" for place in range(1, 6)]
    asked = {"task": "binary", "primary": "accuracy", "limits": [], "min_support": 20}
    for number in range(1, 6):
        late = watch(reference, list(zip(dates, months, strict=True))[:number], look=number, **asked)
        assert told(late, dict(zip(dates, in_turn, strict=True))) == told(judged(reference, months[:number], primary="accuracy"))
    overall = next(one for one in late.judged if (one.metric, one.cohort) == ("accuracy", "overall"))
    assert (overall.verdict, overall.start, overall.since.rows) == ("worse", "2023-03", 7500)
    assert "from the labels of 2023-03 on" in next(alert.reason for alert in late.alerts if alert.subject == "accuracy for overall")


def test_a_corrected_period_keeps_its_place_and_the_look_spends_a_level_of_its_own(reference):
    """What stands is as if the first labels had never been, but for the newest look, which is the third."""
    generator = np.random.default_rng(22)
    wrong, right, later = (rows(month(generator, right=dict.fromkeys("ab", share))) for share in (0.3, 0.8, 0.8))
    asked = {"task": "binary", "primary": "accuracy", "limits": [], "min_support": 20}
    corrected = watch(reference, [("2023-01", wrong), ("2023-02", later), ("2023-01", right)], look=3, **asked)
    stands = watch(reference, [("2023-01", right), ("2023-02", later)], look=3, **asked)
    assert [one.since for one in corrected.judged] == [one.since for one in stands.judged]
    assert set(verdicts(corrected).values()) == {"as accepted"}
    first = watch(reference, [("2023-01", right)], look=1, **asked)
    wide, narrow = (next(one.latest for one in found.judged if one.metric == "accuracy") for found in (corrected, first))
    assert wide.value == narrow.value
    assert wide.low < narrow.low


def test_labels_in_any_order_raise_no_more_false_alarms_than_are_allowed(monkeypatch):
    """Models that are as good as accepted, months of unlike size whose labels come shuffled, of which one is looked at twice. Each cohort
    stands for a life, and gets the whole level for the three views of production, on the side where a loss is.
    """
    monkeypatch.setattr("tasks.core.watch._levels", lambda keys: np.full(len(keys), 4 * ALPHA / 3))  # each view gets a quarter of it
    generator, lives, rows_of = np.random.default_rng(23), 250, 10**6
    cohorts = [f"life={number}" for number in range(lives)]

    def stated(values, error):
        return [
            {"cohort": name, "metric": "mae", "value": value, "low": value - Z * error, "high": value + Z * error, "support": rows_of}
            for name, value in zip(cohorts, values, strict=True)
        ]

    known = SimpleNamespace(frame=lambda: pd.DataFrame(stated(np.ones(lives), 1e-9)), cohorts_of=lambda _: ())
    errors = generator.uniform(0.01, 0.1, MONTHS)
    months = {f"2024-{place:02d}": stated(1 + error * generator.normal(size=lives), error) for place, error in enumerate(errors)}
    order = [*generator.permutation(list(months)).tolist(), "2024-03"]
    alarmed = set()
    for look in range(1, len(order) + 1):
        seen = [(name, months[name]) for name in order[:look]]
        found = watch(known, seen, look=look, task="regression", primary="mae", limits=[], min_support=20)
        alarmed |= {one.cohort for one in found.judged if one.verdict == "worse"}
    assert 0 < len(alarmed) <= ALPHA * lives


def test_too_few_rows_and_new_cohorts_are_insufficient_evidence_and_no_alarm(reference):
    """A month of sixty rows, all wrong in a cohort that acceptance never saw: no alarm for what cannot be told."""
    table = month(np.random.default_rng(5), n=60)
    table.loc[:24, ["region", "y_pred"]] = ["c", 0]
    found = judged(reference, [rows(table)], [{"metric": "accuracy", "every": ("region",), "at_least": 0.75}], min_support=60)
    assert verdicts(found)["accuracy", "region=c"] == "insufficient evidence"
    assert verdicts(found)["recall", "overall"] == "insufficient evidence"
    assert found.alerts == ()


def test_a_metric_without_a_direction_changes_and_alarms_nobody():
    """More answers of yes are neither better nor worse; the calibration error, which depends on the number of rows, is not judged."""
    generator = np.random.default_rng(6)
    metrics = ["selection_rate", "expected_calibration_error"]
    found = judged(accepted(month(generator), metrics=metrics), [rows(month(generator).assign(y_pred=1), metrics=metrics)], primary="selection_rate")
    assert verdicts(found)["selection_rate", "overall"] == "changed"
    assert found.alerts == ()
    assert {one.metric for one in found.judged} == {"selection_rate"}


@pytest.mark.parametrize(("shift", "verdict"), [(0.0, "as accepted"), (-0.4, "worse"), (0.4, "worse")])
def test_errors_are_worse_when_larger_and_bias_when_further_from_zero(shift, verdict):
    """Regression: MAE and RMSE by size, the mean error on either side of zero."""
    generator = np.random.default_rng(8)

    def drawn(by):
        n = 3000
        true = generator.normal(10, 3, n)
        return pd.DataFrame({"y_true": true, "y_pred": true + generator.normal(by, 0.5, n), "region": generator.choice(["a", "b"], n)})

    metrics = ["mae", "rmse", "mean_error", "r2"]
    reference = accepted(drawn(0.0), metrics=metrics, task="regression")
    found = judged(reference, [rows(drawn(shift), metrics=metrics, task="regression")], [{"metric": "mae", "at_most": 5.0}], task="regression", primary="mae")
    assert {verdicts(found)[metric, "overall"] for metric in metrics} == {verdict}
    assert {alert.severity for alert in found.alerts} == ({"warning"} if shift else set())


def test_hidden_cohorts_stay_hidden(reference):
    """A cohort of fewer than ten rows has no figures in the report, and none comes back by way of the sums."""
    table = month(np.random.default_rng(9))
    table.loc[:5, "region"] = "few"
    shown = accepted(table)
    found = judged(shown, [rows(table)])
    assert {one.since for one in found.judged if one.cohort == "region=few"} == {None}
    assert {one.accepted for one in found.judged if one.cohort == "region=few"} == {None}


def test_more_cohorts_make_each_harder_to_accuse(reference):
    """The level is shared: the same figure has wider limits among more of them."""
    generator = np.random.default_rng(10)
    table, now = month(generator), month(generator)
    few = next(one for one in judged(accepted(table, metrics=["accuracy"]), [rows(now, metrics=["accuracy"])], primary="accuracy").judged)
    many = next(one for one in judged(reference, [rows(now)]).judged if (one.metric, one.cohort) == ("accuracy", "overall"))
    assert few.since.low > many.since.low
    assert few.since.high < many.since.high

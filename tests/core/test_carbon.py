"""Carbon in figures: what the record adds up to, the budget, and the best moment to begin."""

import datetime as dt
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.carbon import (
    PerThousand,
    Slot,
    Waited,
    best_start,
    budget,
    expected_seconds,
    metered_body,
    read_forecast,
    status_rows,
    trend,
    was_metered,
)
from tasks.core.errors import DataError
from tasks.core.review import Event

NOON = dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)


def run(at, flow="infer", kg=0.002, kwh=0.004, rows=1000, seconds=30.0, flow_run=None):
    """A metered run as the ledger has it."""
    figures = {"kg": kg, "kwh": kwh, "seconds": seconds, "covered_seconds": seconds, "method": "estimated", "country": "USA"}
    body = metered_body(flow, figures | {"intensity_kg_per_kwh": 0.5, "note": ""}, rows=rows, flow_run=flow_run)
    return Event(1, f"{at}T06:00:00+00:00", "loans", "metered", None, body)


SERVED = Event(1, "2026-01-01T00:00:00+00:00", "loans", "served", 1, {"rows": 5})
RUNS = [
    SERVED,
    run("2025-12-31", "train", kg=1.0, kwh=2.0, rows=None, seconds=100.0),
    run("2026-01-02"),
    run("2026-01-03", rows=3000, kg=0.010),
    run("2026-02-01", kg=None, kwh=None, rows=700),
    run("2026-02-03", kg=0.003, rows=500, flow_run="a"),
]


def slots(*values, begin=NOON, minutes=30):
    """Slots one after the other."""
    step = dt.timedelta(minutes=minutes)
    return tuple(Slot(begin + number * step, begin + (number + 1) * step, float(value)) for number, value in enumerate(values))


def test_totals_count_what_is_missing_and_never_take_it_for_nothing():
    """By flow and month, over the runs whose figures are known; per 1,000 predictions over their rows. Worked by hand."""
    found = trend(RUNS)
    assert (found.overall.runs, found.overall.known, found.overall.missing) == (5, 4, 1)
    assert found.overall.kg == pytest.approx(1.015)
    assert found.flows["train"].kg == 1.0
    assert (found.flows["infer"].kg, found.flows["infer"].seconds) == (pytest.approx(0.015), 120.0)
    assert {month: (total.runs, total.missing) for month, total in found.months.items()} == {"2025-12": (1, 0), "2026-01": (2, 0), "2026-02": (2, 1)}
    assert found.predictions == (PerThousand("2026-01", 4000, pytest.approx(0.003), 0), PerThousand("2026-02", 500, pytest.approx(0.006), 1))
    nothing = trend([SERVED, run("2026-01-01", kg=None, kwh=None)])
    assert (nothing.overall.kg, nothing.overall.kwh, nothing.overall.missing) == (None, None, 1)
    assert nothing.predictions == (PerThousand("2026-01", 0, None, 1),)


def test_a_run_is_given_per_thousand_predictions_only_where_it_made_some():
    """kg / rows x 1,000 of infer; training has rows as well and makes no predictions."""
    assert run("2026-01-01").body["per_thousand_kg"] == pytest.approx(0.002)
    assert [run("2026-01-01", "train").body["per_thousand_kg"], run("2026-01-01", rows=0).body["per_thousand_kg"]] == [None, None]
    assert run("2026-01-01", kg=None).body["per_thousand_kg"] is None
    assert was_metered(RUNS, "a")
    assert not was_metered(RUNS, "b")
    waited = metered_body("infer", run("2026-01-01").body, waited=Waited(12.5, 90.0, "cleaner"))
    assert (waited["waited_seconds"], waited["declared_g_per_kwh"]) == (12.5, 90.0)


def test_the_budget_is_the_calendar_years():
    """Last year's runs do not count; the pace is linear in days: 0.015 kg in 73 of 365 days make 0.075."""
    used = budget(RUNS, 0.1, dt.date(2026, 3, 14))
    assert (used.year, used.missing) == (2026, 1)
    assert used.spent_kg == pytest.approx(0.015)
    assert used.share == pytest.approx(0.15)
    assert used.projected_kg == pytest.approx(0.075)
    assert budget([run("2028-12-31", kg=0.5)], 1.0, dt.date(2028, 12, 31)).projected_kg == 0.5  # a leap year's last day


def test_status_says_it_in_three_rows():
    """Emissions by flow, scoring per 1,000 predictions with the month before, the budget with where it leads; gaps are said."""
    told = dict(status_rows(RUNS, 0.05, dt.date(2026, 3, 14)))
    assert told["carbon"] == "1.01 kg CO2e in 5 runs (infer 15 g CO2e, train 1 kg CO2e); 1 run without figures, not counted"
    assert told["carbon per 1,000 predictions"] == "6 g CO2e in 2026-02, 3 g CO2e in 2026-01; 1 run without figures, not counted"
    assert told["carbon budget"].startswith("15 g CO2e of 50 g CO2e in 2026 (30.0%), 75 g CO2e by the year's end at this pace: on course to go over it")
    assert "over it" in dict(status_rows(RUNS, 0.01, dt.date(2026, 3, 14)))["carbon budget"]
    assert [what for what, _ in status_rows(RUNS, None, dt.date(2026, 3, 14))] == ["carbon", "carbon per 1,000 predictions"]
    assert status_rows([SERVED], 2.0, dt.date(2026, 3, 14)) == [("carbon", "nothing metered yet; budget 2 kg CO2e a year")]


def test_the_length_of_a_run_is_expected_from_the_last_ones():
    """The median of the last five of the same flow."""
    runs = [run("2026-01-01", seconds=float(seconds)) for seconds in (9000, 10, 20, 30, 40, 900)]
    assert expected_seconds(runs, "infer") == 30.0
    assert expected_seconds(runs, "train") == 0.0


@pytest.mark.parametrize(
    ("values", "minutes", "hours", "wait", "mean"),
    [
        ([300, 200, 100, 250], 0, 3, 60, 100.0),  # a moment: the lowest slot
        ([300, 200, 100, 250], 30, 3, 60, 100.0),  # the whole of it
        ([300, 200, 100, 250], 60, 3, 30, 150.0),  # the cleanest hour begins with the second slot
        ([300, 100, 250, 90, 90], 45, 3, 90, 90.0),
        ([300, 200, 100], 30, 0.5, 30, 200.0),  # the window ends before the lowest slot
        ([300, 200], 30, 0.25, 15, 250.0),  # as late as the window allows
        ([300, 100, 100, 400], 45, 4, 30, 100.0),  # of equals the earliest
        ([100, 100, 100], 30, 4, 0, 100.0),
        ([100, 200, 300], 30, 4, 0, 100.0),
    ],
)
def test_the_best_start_has_the_lowest_mean_that_is_reachable(values, minutes, hours, wait, mean):
    """Worked by hand: half-hour slots from now on, a run of so many minutes, a window of so many hours."""
    found = best_start(slots(*values), NOON, hours, minutes * 60)
    assert (found.at - NOON, found.g_per_kwh) == (dt.timedelta(minutes=wait), pytest.approx(mean))


@pytest.mark.parametrize(
    ("forecast", "reason"),
    [
        ((), "empty"),
        (slots(300, 10, begin=NOON - dt.timedelta(hours=1)), "stale: it ended at 2026-05-01T12:00:00"),
        (slots(10, begin=NOON + dt.timedelta(minutes=5)), "does not cover a run that begins now"),
        (slots(300, 10, minutes=20), "does not cover a run that begins now"),
        (slots(300) + slots(10, 10, 10, begin=NOON + dt.timedelta(minutes=40)), "does not cover a run that begins now"),
    ],
)
def test_a_forecast_that_does_not_say_how_it_is_now_gives_no_reason_to_wait(forecast, reason):
    """Empty, past, only later, too short for the run, with a gap: the run begins now, and the reason is given."""
    found = best_start(forecast, NOON, 3, 45 * 60)
    assert (found.at, found.g_per_kwh) == (NOON, None)
    assert reason in found.reason


@given(st.lists(st.integers(0, 800), min_size=4, max_size=12), st.integers(0, 90), st.integers(1, 150))
def test_no_other_minute_is_better(values, minutes, window):
    """Held against every minute of the window: none has a lower mean, and none as low comes before."""
    forecast = slots(*values)
    found = best_start(forecast, NOON, window / 60, minutes * 60)

    def mean(start):
        """Minute by minute."""
        taken = [values[place // 30] if place // 30 < len(values) else None for place in range(start, start + max(minutes, 1))]
        return None if None in taken else sum(taken) / len(taken)

    if mean(0) is None:
        assert (found.at, found.g_per_kwh) == (NOON, None)
        return
    means = {minute: value for minute in range(window + 1) if (value := mean(minute)) is not None}
    assert found.g_per_kwh <= min(means.values()) + 1e-6
    begun = (found.at - NOON) / dt.timedelta(minutes=1)
    assert 0 <= begun <= window
    assert all(value > found.g_per_kwh + 1e-6 for minute, value in means.items() if minute < begun)


def entry(**changed):
    """An entry of a forecast, changed."""
    return {"from": "2026-05-01T14:00:00+02:00", "to": "2026-05-01T12:30:00Z", "g_per_kwh": 120} | changed


def test_a_forecast_is_read_in_order_whatever_its_zones():
    """Entries may come in any order and zone."""
    later = entry(**{"from": "2026-05-01T12:30:00Z", "to": "2026-05-01T13:00:00Z", "g_per_kwh": 80.5})
    assert read_forecast(json.dumps([later, entry()])) == slots(120, 80.5)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('[{"from": 1, "from": 2}]', "a key twice"),
        ("{}", "not a JSON list"),
        ("[]", "not a JSON list"),
        ("[3]", "entry 1 is not {from, to, g_per_kwh}"),
        (json.dumps([entry(), entry(extra=1)]), "entry 2 is not {from, to, g_per_kwh}"),
        (json.dumps([entry(**{"from": "2026-05-01T12:00:00"})]), "entry 1: `from` is not a moment in ISO 8601 with a zone"),
        (json.dumps([entry(to="0001-01-01T00:00:00+14:00")]), "entry 1: `to` is not a moment"),
        (json.dumps([entry(to=12)]), "entry 1: `to` is not a moment"),
        (json.dumps([entry(to="2026-05-01T12:00:00Z")]), "entry 1: `to` is not after `from`"),
        (json.dumps([entry(g_per_kwh=True)]), "`g_per_kwh` is not a number"),
        (json.dumps([entry(g_per_kwh="12")]), "`g_per_kwh` is not a number"),
        (json.dumps([entry(g_per_kwh=-1)]), "`g_per_kwh` is not a number"),
        (json.dumps([entry(g_per_kwh=10**400)]), "`g_per_kwh` is not a number"),
        (json.dumps([entry(g_per_kwh=float("nan"))]), "NaN is no number"),
        (json.dumps([entry(), entry()]), "entries overlap"),
        (json.dumps([entry()] * 10_001), "10,000 are read at most"),
    ],
    ids=range(18),
)
def test_a_forecast_that_is_none_is_said(text, told):
    """Each fault is named with its entry; nothing is guessed."""
    with pytest.raises(DataError) as refused:
        read_forecast(text)
    assert told in str(refused.value)

"""Forecasts of the grid's intensity, and the best moment to begin."""

import datetime as dt
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.cleaner_power import Slot, best_start, read_forecast
from tasks.core.errors import DataError

NOON = dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)


def slots(*values, begin=NOON, minutes=30):
    """Slots one after the other."""
    step = dt.timedelta(minutes=minutes)
    return tuple(Slot(begin + number * step, begin + (number + 1) * step, float(value)) for number, value in enumerate(values))


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

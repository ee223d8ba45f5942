"""Carbon in figures: what the record adds up to, and the budget."""

import datetime as dt

import pytest

from tasks.core.carbon import (
    PerThousand,
    Waited,
    budget,
    expected_seconds,
    metered_body,
    status_rows,
    trend,
    was_metered,
)
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

"""Emissions: what a flow cost, or why that is not known."""

import os
import signal
import threading
import time
from types import SimpleNamespace

import pytest

from tasks.core.errors import CaseError
from tasks.io import emissions
from tasks.io.emissions import EmissionsResult, together, track, warm_up
from tasks.io.home import QUIET

os.environ.update(QUIET)


@pytest.fixture(scope="module")
def warm():
    warm_up().join()


class Tracker:
    """Stands for a CodeCarbon tracker on hardware this machine may not have."""

    def __init__(self, kwh=0.5, kg=0.25, mode="intel_rapl"):
        self.final_emissions_data = SimpleNamespace(emissions=kg, energy_consumed=kwh, duration=0.01)
        self._hardware = [SimpleNamespace(_mode=mode)]
        self.stopped = threading.Event()

    def stop(self):
        self.stopped.set()


def test_a_flow_is_estimated_with_the_intensity_of_its_country(warm, tmp_path, monkeypatch):
    """Energy and emissions of a block are above zero, in the published ratio of the country's grid, and nothing is written.

    The grid of the United States emitted 369.473 g/kWh in 2023 (Our World in Data).
    """
    monkeypatch.chdir(tmp_path)
    with track("USA", "train") as meter:
        time.sleep(0.3)
    result = meter.result
    assert result.method in ("estimated", "measured")
    assert 0 < result.kwh < 1
    assert result.kg == pytest.approx(result.kwh * 0.369473, rel=1e-6)
    assert result.intensity_kg_per_kwh == pytest.approx(0.369473)
    assert 0.25 <= result.covered_seconds <= result.seconds < 5
    assert result.country == "USA"
    assert "RAPL" in result.note
    assert list(tmp_path.iterdir()) == []


def test_the_handlers_of_signals_are_left_alone(warm):
    """SIGTERM and SIGINT do after tracking what they did before."""
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with track("FRA", "train"):
        assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_nothing_is_printed(warm, capfd):
    """CodeCarbon's log lines do not reach the terminal."""
    with track("DEU", "train"):
        pass
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("given", "fix"), [("GER", r"`DEU` \(Germany\)"), ("usa", "`USA`"), ("JPX", "`JPN`"), ("", "There are: ")])
def test_a_country_that_is_none_is_answered_with_the_nearest(given, fix):
    """A wrong country code is an error of the case that names the nearest right one."""
    with pytest.raises(CaseError, match=f"{given!r} is not a country.*{fix}"), track(given, "train"):
        pytest.fail("the flow must not start")


@pytest.mark.parametrize("where", ["__init__", "start", "_do_measurements"])
def test_a_tracker_that_cannot_start_does_not_fail_the_flow(where, monkeypatch):
    """When CodeCarbon breaks the flow goes on, its figures are missing rather than 0, and the note says why."""
    import codecarbon

    def broken(self, *args, **kwargs):
        raise RuntimeError("no such sensor")

    monkeypatch.setattr(codecarbon.OfflineEmissionsTracker, where, broken)
    with track("USA", "train") as meter:
        done = True
    assert done
    result = meter.result
    assert (result.kg, result.kwh, result.covered_seconds, result.method) == (None, None, 0.0, "unavailable")
    assert "RuntimeError: no such sensor" in result.note
    assert str(result).startswith("unavailable. No figures: RuntimeError")


def test_a_flow_that_fails_has_its_figures_and_its_error(warm):
    """An exception in the block comes through, and what was spent until then is known."""
    meters = []

    def flow():
        with track("USA", "train") as meter:
            meters.append(meter)
            time.sleep(0.1)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        flow()
    assert meters[0].result.kwh > 0


def test_a_counter_makes_it_measured(monkeypatch):
    """With a processor that counts its energy the figures are called measured, and the note names the counter."""
    monkeypatch.setattr(emissions, "_started", lambda country, name: (Tracker(), ""))
    with track("USA", "train") as meter:
        pass
    assert (meter.result.method, meter.result.kg, meter.result.kwh, meter.result.intensity_kg_per_kwh) == ("measured", 0.25, 0.5, 0.5)
    assert "read from RAPL" in meter.result.note


@pytest.mark.parametrize("kwh", [0.0, float("nan")])
def test_no_energy_is_missing_and_not_zero(kwh, monkeypatch):
    """A tracker that saw nothing gives no figures: 0 kWh would be a claim."""
    monkeypatch.setattr(emissions, "_started", lambda country, name: (Tracker(kwh=kwh), ""))
    with track("USA", "train") as meter:
        pass
    assert (meter.result.kg, meter.result.kwh, meter.result.method) == (None, None, "unavailable")


def test_the_part_that_is_missed_is_said(monkeypatch):
    """A tracker that covered less than the flow says how many seconds it missed."""

    def slow(country, name):
        time.sleep(0.7)
        return Tracker(mode="cpu_load"), ""

    monkeypatch.setattr(emissions, "_started", slow)
    with track("USA", "train") as meter:
        time.sleep(0.9)
    assert meter.result.method == "estimated"
    assert meter.result.seconds > 0.9 > meter.result.covered_seconds
    assert "s are not covered: the tracker was starting" in meter.result.note


def test_a_flow_that_ends_before_the_tracker_is_ready_stops_it_later(monkeypatch):
    """A short flow does not wait for the tracker; the tracker is stopped when it comes."""
    late = Tracker()

    def slow(country, name):
        time.sleep(0.6)
        return late, ""

    monkeypatch.setattr(emissions, "_started", slow)
    with track("USA", "train") as meter:
        pass
    assert meter.result.seconds < 0.6
    assert meter.result.method == "unavailable"
    assert "ended before the tracker was ready" in meter.result.note
    assert late.stopped.wait(5)


def test_a_short_flow_waits_for_the_tracker(monkeypatch):
    """A flow that may be over in a moment begins when the tracker has started, so that it has figures; the wait is not its own."""

    def slow(country, name):
        time.sleep(0.6)
        return Tracker(), ""

    monkeypatch.setattr(emissions, "_started", slow)
    with track("USA", "promote", short=True) as meter:
        pass
    assert meter.result.kwh == 0.5
    assert meter.result.seconds < 0.5
    assert "not covered" not in meter.result.note


def test_without_a_country_there_is_energy_alone(warm):
    """What belongs to no case has no grid: its energy is known, its emissions are missing, and the note says why."""
    with track(None, "evaluate") as meter:
        time.sleep(0.2)
        assert meter.kg() is None
    result = meter.result
    assert result.kwh > 0
    assert (result.kg, result.country, result.intensity_kg_per_kwh) == (None, "", None)
    assert result.note.endswith("Emissions are not known: no country was given.")


def test_stretches_of_work_are_added():
    """Energy, emissions and seconds add; the way they were come by is the weaker one, and what one lacks all lack."""
    one = EmissionsResult(1.0, 2.0, 3.0, 2.5, "measured", "USA", 0.5, "A note.")
    other = EmissionsResult(0.5, 1.0, 1.0, 1.0, "estimated", "USA", 0.5, "Another.")
    both = together([one, other])
    assert (both.kg, both.kwh, both.seconds, both.covered_seconds, both.method) == (1.5, 3.0, 4.0, 3.5, "estimated")
    assert both.note == "Another. The waits between 2 stretches of work are not counted."
    missing = together([one, EmissionsResult(None, None, 1.0, 0.0, "unavailable", "USA", 0.5, "No figures.")])
    assert (missing.kg, missing.kwh, missing.seconds, missing.method) == (None, None, 4.0, "unavailable")


def test_a_result_reads_as_a_sentence():
    """The text that cards and tags show has kilograms, kilowatt-hours, seconds, country and method."""
    result = EmissionsResult(1.5e-6, 4.06e-6, 3.0, 2.5, "estimated", "USA", 0.369473, "A note.")
    assert str(result) == "1.5e-06 kg CO2e from 4.06e-06 kWh in 2.5 s on the grid of USA, estimated. A note."

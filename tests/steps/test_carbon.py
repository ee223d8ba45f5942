"""The steps of carbon: what is entered, and a wait that begins on cleaner power or at once, and never fails a run."""

import datetime as dt
import functools
import http.server
import json
import threading
import time

import pytest

from tasks import carbon
from tasks.carbon import record_energy, wait_for_cleaner_power
from tasks.core.carbon import Waited
from tasks.io.emissions import EmissionsResult
from tasks.io.workbench import Workbench

SPENT = EmissionsResult(0.002, 0.004, 12.0, 11.0, "estimated", "USA", 0.5, "Modelled.")
UNKNOWN = EmissionsResult(None, None, 12.0, 0.0, "unavailable", "USA", 0.5, "No figures.")


@pytest.fixture
def said(monkeypatch):
    """What the steps say."""
    words = []
    monkeypatch.setattr(carbon, "say", words.append)
    return words


def bench(project, forecast=None, hours=0.01):
    """The case loans, with a window where a forecast is named."""
    if forecast is not None:
        path = project / "configs/loans.yaml"
        text = path.read_text(encoding="utf-8")
        [line] = [line for line in text.splitlines() if line.startswith("carbon:")]
        path.write_text(text.replace(line, f"carbon: {{country: DEU, window: {{forecast: '{forecast}', hours: {hours}}}}}"), encoding="utf-8")
    return Workbench.open("loans")


def declare(path, *values, seconds=1.2):
    """Slots of so many seconds from now on, and a last one of an hour."""
    now = dt.datetime.now(dt.UTC)
    edges = [now + dt.timedelta(seconds=number * seconds) for number in range(len(values))] + [now + dt.timedelta(hours=1)]
    found = [{"from": one.isoformat(), "to": other.isoformat(), "g_per_kwh": value} for one, other, value in zip(edges, edges[1:], values, strict=False)]
    path.write_text(json.dumps(found), encoding="utf-8")


def test_energy_is_entered_as_it_is_known(project):
    """Figures and their method, the predictions they were for, and the wait before; what is not known is entered as not known."""
    made = bench(project)
    entered = record_energy.fn(made, "infer", SPENT, 500, Waited(3.5, 90.0, "cleaner"))
    assert made.ledger.events("loans") == [entered]
    assert made.ledger.errands("loans") == [(entered, "evidently")]
    assert (entered.kind, entered.version) == ("metered", None)
    assert entered.body == {
        "flow": "infer",
        **{"kg": 0.002, "kwh": 0.004, "seconds": 12.0, "covered_seconds": 11.0, "method": "estimated", "country": "USA"},
        **{"intensity_kg_per_kwh": 0.5, "note": "Modelled.", "rows": 500, "per_thousand_kg": 0.004, "flow_run": None},
        **{"waited_seconds": 3.5, "declared_g_per_kwh": 90.0},
    }
    body = record_energy.fn(made, "train", UNKNOWN, 500).body
    assert [body[name] for name in ("kg", "kwh", "per_thousand_kg", "waited_seconds", "declared_g_per_kwh")] == [None] * 5


def test_a_flow_run_is_metered_once(project, monkeypatch):
    """The same Prefect run again enters nothing, also where another entry comes in between; another run is another entry."""
    made = bench(project)
    append, crowd = made.ledger.append, [1, 2]

    def crowded(case, kind, version, body, **more):
        """Somebody else's entry first."""
        if kind == "metered" and crowd:
            append("other", "refused", crowd.pop(), {})
        return append(case, kind, version, body, **more)

    monkeypatch.setattr(made.ledger, "append", crowded)
    monkeypatch.setattr(carbon.runtime, "flow_run", type("Run", (), {"id": "one"}))
    assert record_energy.fn(made, "infer", SPENT, 500).body["flow_run"] == "one"
    assert record_energy.fn(made, "infer", SPENT, 500) is None
    monkeypatch.setattr(carbon.runtime, "flow_run", type("Run", (), {"id": "two"}))
    assert record_energy.fn(made, "infer", SPENT, 500).body["flow_run"] == "two"
    assert [event.kind for event in made.ledger.events()] == ["refused", "refused", "metered", "metered"]


def test_without_a_window_nothing_waits(project, said):
    """Off by default: no file is read, nothing is said."""
    assert wait_for_cleaner_power.fn(bench(project), "infer") is None
    assert said == []


def test_a_run_waits_for_cleaner_power_and_says_so(project, said, monkeypatch):
    """It begins when the cleaner slot does, having said what it waits for and how it goes on."""
    monkeypatch.setattr(carbon, "PROGRESS", 0.5)
    made = bench(project, "power.json")
    declare(project / "power.json", 300, 90, 200)
    began = time.monotonic()
    waited = wait_for_cleaner_power.fn(made, "infer")
    assert 0.8 < waited.seconds <= time.monotonic() - began < 3
    assert waited.g_per_kwh == 90.0
    assert said[0].startswith("waiting 1 s for cleaner power: 90 g/kWh are declared from ")
    assert any(words.endswith("s left") for words in said[1:])


def test_a_server_s_forecast_is_waited_for_as_a_file_s(project, said, monkeypatch, tmp_path_factory):
    """A real HTTP server on the loopback; where it has gone, the run begins at once and its record says why."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    folder = tmp_path_factory.mktemp("pages")
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        made = bench(project, f"http://127.0.0.1:{server.server_port}/power.json?key=s3cret")
        declare(folder / "power.json", 300, 90, 200, seconds=1.0)
        assert wait_for_cleaner_power.fn(made, "infer").g_per_kwh == 90.0
        server.shutdown()
        thread.join()
    waited = wait_for_cleaner_power.fn(made, "infer")
    assert (waited.seconds, waited.g_per_kwh) == (0.0, None)
    assert "power.json: cannot be had: " in waited.reason
    assert "s3cret" not in "".join(said)


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files and logs nothing."""

    def log_message(self, *_):
        """Keeps quiet."""


def test_what_declares_nothing_better_begins_at_once(project, said):
    """No file, a broken one, a stale one, and one that only rises: no wait, and the reason is kept."""
    made = bench(project, "power.json")
    for text, told in ((None, "is not a file"), ("[{}]", "entry 1"), (json.dumps([PAST]), "stale"), ("rising", "no start within")):
        if text == "rising":
            declare(project / "power.json", 90, 200)
        elif text is not None:
            (project / "power.json").write_text(text, encoding="utf-8")
        began = time.monotonic()
        waited = wait_for_cleaner_power.fn(made, "infer")
        assert time.monotonic() - began < 1
        assert waited.seconds == 0.0
        assert told in waited.reason
        assert said.pop().startswith("no wait for cleaner power: ")


PAST = {"from": "2020-01-01T00:00:00Z", "to": "2020-01-02T00:00:00Z", "g_per_kwh": 1}


def test_a_wait_can_be_interrupted(project, monkeypatch):
    """What comes while it sleeps, a cancellation or a timeout, ends it within a slice."""

    def interrupted(seconds):
        assert seconds <= carbon.SLICE
        raise KeyboardInterrupt

    made = bench(project, "power.json", hours=1)
    declare(project / "power.json", 300, 90, seconds=1200)
    monkeypatch.setattr(carbon.time, "sleep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        wait_for_cleaner_power.fn(made, "infer")

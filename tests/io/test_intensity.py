"""A forecast of carbon intensity: from a file of the project, from a server, and every way in which there is none."""

import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tasks.core.errors import DataError, EquipoiseError, UnavailableError
from tasks.io import intensity
from tasks.io.intensity import forecast

ENTRY = {"from": "2026-05-01T12:00:00Z", "to": "2026-05-01T12:30:00Z", "g_per_kwh": 120}
GOOD = json.dumps([ENTRY]).encode()


class Pages(BaseHTTPRequestHandler):
    """/good answers, /gone does not, /away leads to /good, /large and /slow never end."""

    def do_GET(self):
        path, _, asked = self.path.partition("?")
        self.server.asked.append(asked)
        self.send_response({"/gone": 404, "/away": 302}.get(path, 200), "Not\there" if path == "/gone" else None)
        if path == "/away":
            self.send_header("Location", "/good")
        self.end_headers()
        try:
            if path == "/good":
                self.wfile.write(GOOD)
            while path in ("/large", "/slow") and not self.server.over.wait(0.2 if path == "/slow" else 0):
                self.wfile.write(b" " * (1 if path == "/slow" else 1 << 20))
        except OSError:
            pass  # whoever asked has gone

    def log_message(self, *_):
        """Keeps quiet."""


@pytest.fixture(scope="module")
def server():
    """Pages on the loopback."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as served:
        served.asked, served.over = [], threading.Event()
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield served
        served.over.set()
        served.shutdown()
        thread.join()


@pytest.fixture
def address(server, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return f"http://127.0.0.1:{server.server_port}"


def test_a_file_of_the_project_and_a_server_say_the_same(tmp_path, address, server):
    """One slot, read alike from both; the whole address is asked for."""
    (tmp_path / "power").mkdir()
    (tmp_path / "power/today.json").write_bytes(GOOD)
    [slot] = forecast("power/today.json", tmp_path)
    assert (slot.start.isoformat(), slot.g_per_kwh) == ("2026-05-01T12:00:00+00:00", 120.0)
    assert forecast(f"{address}/good?zone=DE&key=s3cret", tmp_path) == (slot,)
    assert server.asked[-1] == "zone=DE&key=s3cret"


def test_only_a_file_within_the_project_is_read(tmp_path):
    """A path or a link that leads out, a folder, a pipe that nobody writes to, and nothing at all."""
    root = tmp_path / "project"
    root.mkdir()
    (tmp_path / "outside.json").write_bytes(GOOD)
    (root / "link.json").symlink_to(tmp_path / "outside.json")
    for place in ("../outside.json", "link.json", str(tmp_path / "outside.json"), "/etc/hostname"):
        with pytest.raises(UnavailableError, match="lies outside the project"):
            forecast(place, root)
    os.mkfifo(root / "pipe")
    for place in ("pipe", ".", "gone.json", "gone\0.json", "x" * 5000):
        with pytest.raises(UnavailableError):
            forecast(place, root)


def test_what_is_too_large_or_not_a_forecast_is_named(tmp_path):
    """The file and the fault are in the message."""
    for data, told in ((b" " * (intensity.MOST_BYTES + 1), "is larger than 2,097,152 bytes"), (b"\xff", "is not UTF-8"), (b"[{}]", "entry 1 is not")):
        (tmp_path / "f.json").write_bytes(data)
        with pytest.raises(DataError, match=rf"f\.json: {told}"):
            forecast("f.json", tmp_path)


def test_a_server_that_gives_none_is_named_without_its_key(address, tmp_path, monkeypatch):
    """Not there, led elsewhere, without end, too slow, refused: said within the time there is, and no key of the query is shown."""
    monkeypatch.setattr(intensity, "PATIENCE", 0.6)
    for path, told in (("gone", "answers 404"), ("away", "answers 302"), ("large", "is larger than"), ("slow", "was not there within 0.6 s")):
        began = time.monotonic()
        with pytest.raises(EquipoiseError, match=told) as refused:
            forecast(f"{address}/{path}?key=s3cret", tmp_path)
        assert str(refused.value).startswith(f"{address}/{path}: ")
        assert "s3cret" not in str(refused.value)
        assert time.monotonic() - began < 5
    for wrong in ("http://127.0.0.1:9/x", "http://", "http://[::1/x", "http://127.0.0.1:99999/x", "http://127.0.0.1:1/a b"):
        with pytest.raises(UnavailableError):
            forecast(wrong, tmp_path)

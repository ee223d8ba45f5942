"""Lineage events reach the file or the URL that was named, once, and nothing else."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tasks.core.errors import CaseError, UnavailableError
from tasks.io.lineage import deliver

EVENTS = [{"eventType": "START", "name": "ü"}, {"eventType": "COMPLETE"}]


@pytest.fixture
def server():
    """A server on loopback that keeps what it gets and answers as told."""
    got, answer = [], {"code": 201, "headers": {}}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            got.append((self.path, self.headers["Content-Type"], json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.send_response(answer["code"])
            for name, value in answer["headers"].items():
                self.send_header(name, value)
            self.end_headers()

        def do_GET(self):
            got.append((self.path, "GET", None))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    found = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=found.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{found.server_port}", got, answer
    found.shutdown()
    found.server_close()
    thread.join()


def test_events_are_posted_in_order(server):
    """Each event is one POST of JSON."""
    url, got, _ = server
    deliver(EVENTS, f"{url}/api/v1/lineage")
    assert got == [("/api/v1/lineage", "application/json", event) for event in EVENTS]


def test_a_refusal_is_said_and_not_retried(server):
    """The first event that is not taken ends it."""
    url, got, answer = server
    answer["code"] = 503
    with pytest.raises(UnavailableError, match=r"/lineage: did not take the START event: Service Unavailable"):
        deliver(EVENTS, f"{url}/lineage")
    assert len(got) == 1


def test_a_refusal_names_no_password(server):
    """Neither a password nor a query of the address is repeated."""
    url, _, answer = server
    answer["code"] = 401
    with pytest.raises(UnavailableError) as raised:
        deliver(EVENTS, f"{url}/lineage?key=secret")
    assert "secret" not in str(raised.value)


def test_a_redirect_is_not_followed(server):
    """A server cannot send the events on."""
    url, got, answer = server
    answer |= {"code": 302, "headers": {"Location": f"{url}/elsewhere"}}
    with pytest.raises(UnavailableError):
        deliver(EVENTS, f"{url}/lineage")
    assert [path for path, _, _ in got] == ["/lineage"]


def test_nobody_there_and_another_scheme_are_said(tmp_path):
    """A closed port and a scheme that is no web address are the user's to mend."""
    with pytest.raises(UnavailableError, match="did not take the START event"):
        deliver(EVENTS, "http://127.0.0.1:9/lineage")
    with pytest.raises(CaseError, match="`ftp` is not an address"):
        deliver(EVENTS, "ftp://127.0.0.1/lineage")


def test_a_file_gets_one_event_a_line(tmp_path):
    """Written anew each time, as JSON lines."""
    path = tmp_path / "events.jsonl"
    for _ in range(2):
        deliver(EVENTS, str(path))
    assert [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] == EVENTS

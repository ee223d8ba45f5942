"""A local HTTP server that receives notifications: it verifies signatures as docs/actions.md tells a receiver to, and fails when asked."""

import json
import re
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tasks.io.home import PROJECT

SECRET = "of the receiver"  # noqa: S105  # of a test


class Receiver(ThreadingHTTPServer):
    """What came is in `got`, as (path, headers, body); `answers` are given in turn, and 200 after them."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got, self.answers, self.slow = [], [], 0.0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def bodies(self):
        return [json.loads(body) for _, _, body in self.got]


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, dict(self.headers), body))
        time.sleep(self.server.slow)
        status = self.server.answers.pop(0) if self.server.answers else 200
        if status == 200 and self.path.startswith("/signed") and not genuine(self.headers, body, SECRET):
            status = 401
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def documented():
    """The function by which docs/actions.md tells a receiver to verify a message."""
    [code] = re.findall(r"```python\n(.*?)```", (PROJECT / "docs/actions.md").read_text(encoding="utf-8"), re.DOTALL)
    names = {}
    exec(code, names)  # noqa: S102  # our own document
    return names["genuine"]


genuine = documented()


@contextmanager
def receiving():
    """A receiver that listens while the block runs."""
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()

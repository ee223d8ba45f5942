"""Where the servers of `equipoise up` answer: noted in the home while they run, so that commands can talk to them and link to them."""

import contextlib
import json
import os
import urllib.request
from collections.abc import Mapping
from urllib.parse import urlsplit

from tasks.io.home import Home

USUAL = {"prefect": "http://127.0.0.1:4200", "mlflow": "http://127.0.0.1:5000", "evidently": "http://127.0.0.1:8000"}


def note(home: Home, addresses: Mapping[str, str]) -> None:
    """Write down where this process's servers answer."""
    home.root.mkdir(parents=True, exist_ok=True)
    temporary = home.root / f".servers.{os.getpid()}.json"
    temporary.write_text(json.dumps({"pid": os.getpid(), **addresses}), encoding="utf-8")
    temporary.replace(home.root / "servers.json")


def forget(home: Home) -> None:
    """Remove the note."""
    (home.root / "servers.json").unlink(missing_ok=True)


def page(home: Home, name: str) -> str:
    """The address of a server's pages: as noted, or where it usually is."""
    return _noted(home).get(name, USUAL[name]).rstrip("/")


def version_page(home: Home, case: str, version: int) -> str:
    """Where MLflow shows a version of a case."""
    return f"{page(home, 'mlflow')}/#/models/{case}/versions/{version}?workflowType=machine_learning"


def running_prefect(home: Home) -> str | None:
    """The API of the Prefect server that `equipoise up` runs for this home, if it answers."""
    address = _noted(home).get("prefect")
    if address is None:
        return None
    with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/api/health", timeout=2) as answer:  # noqa: S310  # our own loopback address
        if answer.status == 200:
            return f"{address}/api"
    return None


def without_user(url: str) -> str:
    """The address as it may be shown: without a user and a password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _noted(home: Home) -> dict[str, str]:
    """The note of a process that still runs."""
    try:
        found = json.loads((home.root / "servers.json").read_text(encoding="utf-8"))
        os.kill(int(found.pop("pid")), 0)
    except (OSError, ValueError, KeyError):
        return {}
    return {name: address for name, address in found.items() if isinstance(address, str) and address.startswith("http://127.0.0.1:")}

"""Reads a declared carbon intensity, from a file of the project or from an address the case names."""

import threading
import urllib.error
import urllib.request
from concurrent.futures import Future
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from tasks.core.cleaner_power import Slot, read_forecast
from tasks.core.errors import DataError, UnavailableError

MOST_BYTES = 2 << 20
PATIENCE = 10.0
"""Seconds until the whole forecast must be there."""


def forecast(place: str, root: Path) -> tuple[Slot, ...]:
    """The slots of the forecast at `place`: an http(s) address, or a file below `root`.

    Raises: UnavailableError for what cannot be had; DataError for what is too large, not UTF-8 or not a forecast.
    """
    remote = place.startswith(("http://", "https://"))
    shown = _shown(place) if remote else place
    data = _downloaded(place, shown) if remote else _of_file(place, root)
    if len(data) > MOST_BYTES:
        raise DataError(f"is larger than {MOST_BYTES:,} bytes.", where=shown)
    try:
        return read_forecast(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise DataError("is not UTF-8.", where=shown) from None
    except DataError as error:
        raise DataError(error.message, where=shown) from None


def _of_file(place: str, root: Path) -> bytes:
    """The bytes of a file of the project, which a link must not lead out of, and one more than the most where there are more."""
    try:
        path = (root / place).resolve()
        if not path.is_relative_to(root.resolve()):
            raise UnavailableError("lies outside the project.", where=place, fix="Name a file below the project's root.")
        if not path.is_file():  # reading a pipe would wait for ever
            raise UnavailableError("is not a file of the project.", where=place)
        with path.open("rb") as file:
            return file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise UnavailableError(f"cannot be read: {getattr(error, 'strerror', None) or error}.", where=place) from error


def _downloaded(address: str, shown: str) -> bytes:
    """The bytes of the answer, cut as a file's. In a thread: a name that does not resolve, or a server that sends a byte now and then, would
    hold the run up for longer than any timeout of a socket.
    """
    answer: Future[bytes] = Future()

    def work() -> None:
        try:
            answer.set_result(_get(address))
        except Exception as error:  # noqa: BLE001 - told to whoever waits
            answer.set_exception(error)

    threading.Thread(target=work, name="carbon forecast", daemon=True).start()
    try:
        return answer.result(PATIENCE)
    except TimeoutError:
        raise UnavailableError(f"was not there within {PATIENCE:g} s.", where=shown) from None
    except urllib.error.HTTPError as error:
        raise UnavailableError(f"answers {error.code} {error.reason}.", where=shown) from None
    except (OSError, HTTPException, ValueError) as error:
        raise UnavailableError(f"cannot be had: {getattr(error, 'reason', None) or error}.", where=shown) from None


def _get(address: str) -> bytes:
    request = urllib.request.Request(address, headers={"Accept": "application/json"})  # noqa: S310 (http and https only)
    try:
        with urllib.request.build_opener(_Stay).open(request, timeout=PATIENCE) as answer:
            return bytes(answer.read(MOST_BYTES + 1))
    except urllib.error.HTTPError as error:
        error.close()
        raise


def _shown(address: str) -> str:
    """The address without a user, a password and a query, which may hold a key."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return "the forecast's address"
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows nothing: where a redirect leads, nobody named."""

    def redirect_request(self, *_: object) -> None:
        return None

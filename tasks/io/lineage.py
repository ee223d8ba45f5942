"""OpenLineage events to a file, or to the one URL that the user names. Nothing is retried, and no redirect is followed."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tasks.core.errors import CaseError, UnavailableError
from tasks.io.files import write_text

SECONDS = 10.0


class _Stay(urllib.request.HTTPRedirectHandler):
    """Events go where the user said, and nowhere that a server says."""

    def redirect_request(self, *_redirection: Any) -> None:
        return None


def lines(events: Sequence[Mapping[str, Any]]) -> str:
    """Events as JSON, one a line."""
    return "".join(json.dumps(event, ensure_ascii=False, allow_nan=False) + "\n" for event in events)


def deliver(events: Sequence[Mapping[str, Any]], target: str) -> None:
    """Write the events to a file, or POST each to an http(s) URL, in order, once.

    Raises: CaseError for another kind of URL, UnavailableError when the file cannot be written or the server does not take an event.
    """
    scheme = urlsplit(target).scheme
    if "://" not in target:
        write_text(Path(target), lines(events))
        return
    if scheme not in ("http", "https"):
        raise CaseError(f"`{scheme}` is not an address that events are sent to.", where="--openlineage", fix="Give a file, or a URL that starts with http.")
    opener = urllib.request.build_opener(_Stay)
    for event in events:
        body = json.dumps(event, allow_nan=False).encode()
        request = urllib.request.Request(target, data=body, headers={"Content-Type": "application/json"}, method="POST")  # noqa: S310  # http(s), as seen above
        try:
            with opener.open(request, timeout=SECONDS):
                pass
        except (urllib.error.URLError, TimeoutError, OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            if isinstance(error, urllib.error.HTTPError):
                error.close()
            raise UnavailableError(
                f"did not take the {event['eventType']} event: {reason}.", where=_shown(target), fix="Check the address, or write to a file."
            ) from error


def _shown(url: str) -> str:
    """The address without a password or query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"

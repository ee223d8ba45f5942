"""Notification channels: a Prefect block, an Apprise URL, a signed webhook. What cannot be told is an error that names the channel.

Secrets come from the environment or from the block, and are in no message: errors of the libraries, which may hold an address with its
password, are not passed on.

A webhook is posted JSON, with these headers:

    X-Equipoise-Timestamp   seconds since 1970, when it was sent
    X-Equipoise-Signature   sha256=<hex HMAC-SHA256 of `<timestamp>.<body>` under the channel's secret>
    Idempotency-Key         the incident's id: the same for each try, so that a receiver can tell a repetition
"""

import contextlib
import hashlib
import hmac
import http.client
import logging
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tasks.core.digests import canonical_json, digest_bytes
from tasks.core.errors import CaseError, UnavailableError
from tasks.core.operations import Channel, Severity

TIMEOUT = 10.0
"""Seconds that a receiver may keep silent."""
PAUSES = (1.0, 3.0, 9.0)
"""Seconds before each new try of what may pass: no connection, an answer of 5xx or 429."""
KINDS: dict[Severity, str] = {"warning": "warning", "critical": "failure"}
"""Apprise's names for how bad it is."""

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True)
class Notice:
    """What is told. `id` is the same each time the same is told; `look` has links by what they show; `facts` is JSON for machines."""

    id: str
    title: str
    text: str
    severity: Severity
    look: Mapping[str, str]
    then: str
    facts: Mapping[str, Any]

    @property
    def body(self) -> str:
        """The text for a chat or a mail."""
        return "\n".join((_calm(self.text), *(f"{name}: {url}" for name, url in self.look.items()), f"Next: {self.then}"))


def channel_name(channel: Channel) -> str:
    """What messages and the record call a channel; of a webhook's URL only the host, and a few digits of its digest."""
    if channel.block is not None:
        return f"block {channel.block}"
    if channel.apprise is not None:
        return f"apprise {channel.apprise}"
    assert channel.webhook is not None  # a channel is one of the three
    host = re.match(r"https?://(?:[^/?#]*@)?([^/?#:]+)", channel.webhook)
    return f"webhook {f'{host[1]} ' if host else ''}({digest_bytes(channel.webhook.encode())[7:13]})"


def deliver(channel: Channel, notice: Notice) -> None:
    """Tell a channel once.

    Raises: CaseError for what the case or the environment has wrong, UnavailableError for a channel that did not take it.
    """
    if channel.block is not None:
        _block(channel, notice)
    elif channel.apprise is not None:
        _apprise(channel, notice)
    else:
        _webhook(channel, notice)


def signature(key: str, timestamp: str, body: bytes) -> str:
    """The header that a receiver computes again, and compares in constant time.

    >>> signature("secret", "1700000000", b"{}")[:15]
    'sha256=b8569b78'
    """
    return "sha256=" + hmac.new(key.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def _block(channel: Channel, notice: Notice) -> None:
    import prefect.blocks.notifications  # noqa: F401  # makes the types of blocks known
    from prefect.blocks.abstract import NotificationBlock
    from prefect.blocks.core import Block

    assert channel.block is not None
    try:
        block = Block.load(channel.block)
    except ValueError:
        raise CaseError(
            "Prefect has no such block.", where=channel_name(channel), fix="Save it on Prefect's page Blocks, or mend `monitoring.notify`."
        ) from None
    except Exception as error:  # noqa: BLE001  # of any library below, which may hold a secret: only its type is passed on
        raise _untold(channel, type(error).__name__) from None
    if not isinstance(block, NotificationBlock):
        raise CaseError(f"A {type(block).__name__} sends no notifications.", where=channel_name(channel), fix="Name a notification block.")
    with _silent("apprise"), _silent("httpx"):
        try:
            with block.raise_on_failure():
                block.notify(notice.body, _calm(notice.title))  # type: ignore[unused-coroutine]  # outside an event loop it is none
        except Exception as error:  # noqa: BLE001
            raise _untold(channel, type(error).__name__) from None


def _apprise(channel: Channel, notice: Notice) -> None:
    from apprise import Apprise, AppriseAsset, NotifyFormat

    assert channel.apprise is not None
    with _silent("apprise"):
        client = Apprise(asset=AppriseAsset(app_id="Equipoise", app_desc="Equipoise", app_url=""))
        if not client.add(_from_environment(channel, channel.apprise)):
            raise CaseError("That variable holds no URL that Apprise knows.", where=channel_name(channel), fix="Set it as Apprise's documentation says.")
        if not client.notify(body=notice.body, title=_calm(notice.title), notify_type=KINDS[notice.severity], body_format=NotifyFormat.TEXT):
            raise _untold(channel, "it was not taken")


def _webhook(channel: Channel, notice: Notice) -> None:
    assert channel.webhook is not None
    assert channel.secret is not None  # the case's reader sees to it
    url, key = _from_environment(channel, channel.webhook), _from_environment(channel, channel.secret)
    if not url.lower().startswith(("http://", "https://")):
        raise _no_url(channel)
    body = canonical_json({"id": notice.id, "title": notice.title, "text": notice.text, "look": dict(notice.look), "then": notice.then, **notice.facts})
    why = ""
    for pause in (0.0, *PAUSES):
        time.sleep(pause)
        timestamp = str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Equipoise",
            "X-Equipoise-Timestamp": timestamp,
            "X-Equipoise-Signature": signature(key, timestamp, body),
            "Idempotency-Key": notice.id,
        }
        try:
            with _opener.open(urllib.request.Request(url, data=body, headers=headers, method="POST"), timeout=TIMEOUT):  # noqa: S310  # http(s) only, see above
                return
        except urllib.error.HTTPError as error:
            error.close()
            why = f"it answered {error.code}" + (", and redirects are not followed" if 300 <= error.code < 400 else "")
            if error.code < 500 and error.code != http.client.TOO_MANY_REQUESTS:
                break
        except (ValueError, http.client.InvalidURL):
            raise _no_url(channel) from None
        except (OSError, http.client.HTTPException) as error:
            why = f"no connection ({type(getattr(error, 'reason', error)).__name__})"
    raise _untold(channel, why)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer: what is signed goes to the address that the case names, and to no other."""

    def redirect_request(self, *_: Any) -> None:
        return None


_opener = urllib.request.build_opener(_NoRedirects)


def _from_environment(channel: Channel, text: str) -> str:
    """The text with the values of the environment variables it names."""

    def value(match: re.Match[str]) -> str:
        found = os.environ.get(match[1])
        if not found:
            raise CaseError(f"The environment variable {match[1]} is not set.", where=channel_name(channel), fix="Set it where the worker runs.")
        return found

    return _REFERENCE.sub(value, text)


def _no_url(channel: Channel) -> CaseError:
    return CaseError("That is not an http(s) URL without a user.", where=channel_name(channel), fix="Mend the URL.")


def _untold(channel: Channel, why: str) -> UnavailableError:
    return UnavailableError(f"The notification was not delivered: {why}.", where=channel_name(channel), fix="Mend the channel; the next run tries again.")


def _calm(text: str) -> str:
    """Names from data on one line, and without the marks by which chats call everybody: a zero-width space follows each."""
    return re.sub(r"([@<])", "\\1\u200b", " ".join(text.split()))


@contextlib.contextmanager
def _silent(name: str) -> Iterator[None]:
    """A library's log is off: its lines have addresses with their passwords."""
    log = logging.getLogger(name)
    before = log.disabled
    log.disabled = True
    try:
        yield
    finally:
        log.disabled = before

"""Notifications reach real receivers, once for each try that makes sense, and no secret is in any message."""

import json
import logging
import re
import socket

import pytest
import yaml

from tasks.core.errors import CaseError, UnavailableError
from tasks.core.operations import Channel, Monitoring
from tasks.io import channels
from tasks.io.channels import Notice, channel_name, deliver
from tasks.io.home import PROJECT
from tests.io.receiver import SECRET, receiving

NOTICE = Notice(
    id="5b0f",
    title="loans version 1 in 2024-02: drift, warning",
    text="2 of 3 features drifted, <!channel> @everyone said.",
    severity="warning",
    look={"What was found": "http://127.0.0.1:8000/projects/1"},
    then="equipoise status loans",
    facts={"incident": 7, "case": "loans"},
)


@pytest.fixture
def receiver(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(channels, "PAUSES", (0.01, 0.02, 0.03))
    monkeypatch.setenv("HOOK_KEY", SECRET)
    with receiving() as server:
        yield server


def webhook(url):
    return Channel(webhook=url, secret="${HOOK_KEY}")  # noqa: S106  # a reference to one


def test_a_webhook_is_signed_and_tried_again_while_it_may_pass(receiver):
    """Twice 503, then the receiver, which verifies the signature, takes it: the same body and key, each time signed anew."""
    receiver.answers = [503, 503]
    deliver(webhook(f"{receiver.url}/signed"), NOTICE)
    assert len(receiver.got) == 3
    assert {headers["Idempotency-Key"] for _, headers, _ in receiver.got} == {"5b0f"}
    assert len({body for _, _, body in receiver.got}) == 1
    assert receiver.bodies[-1] == {
        **{"id": "5b0f", "title": NOTICE.title, "text": NOTICE.text, "look": dict(NOTICE.look), "then": NOTICE.then},
        **{"incident": 7, "case": "loans"},
    }


@pytest.mark.parametrize(
    ("answer", "tries", "said"),
    [(400, 1, "it answered 400."), (404, 1, "404"), (302, 1, "302, and redirects are not followed"), (429, 4, "429"), (500, 4, "500")],
)
def test_what_will_not_pass_is_not_tried_again(receiver, answer, tries, said):
    """4xx and redirects end it at once; 429 and 5xx after four tries. The error names the host, and neither path nor query."""
    receiver.answers = [answer] * 10
    with pytest.raises(UnavailableError) as caught:
        deliver(webhook(f"{receiver.url}/signed/tok3n?key=tok3n"), NOTICE)
    assert len(receiver.got) == tries
    assert said in str(caught.value)
    assert "webhook 127.0.0.1 (" in str(caught.value)
    assert "tok3n" not in str(caught.value)


def test_a_wrong_key_is_refused_by_the_receiver(receiver, monkeypatch):
    """The receiver of the documentation answers 401 to what another key signed."""
    monkeypatch.setenv("HOOK_KEY", "another")
    with pytest.raises(UnavailableError, match="it answered 401"):
        deliver(webhook(f"{receiver.url}/signed"), NOTICE)


def test_nobody_there_is_said(receiver, monkeypatch):
    """No connection: tried again, then an error without the address's secret part."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and nobody listens
        monkeypatch.setenv("HOOK", f"http://127.0.0.1:{taken.getsockname()[1]}/tok3n")
        with pytest.raises(UnavailableError, match=r"webhook \(.{6}\): The notification was not delivered: no connection \(ConnectionRefusedError\)"):
            deliver(webhook("${HOOK}"), NOTICE)


@pytest.mark.parametrize("value", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://user:tok3n@127.0.0.1/x", "http://[::1/x", "https://"])
def test_only_http_is_spoken(monkeypatch, value):
    """What a variable holds is held to the same rule as what the case says."""
    monkeypatch.setenv("HOOK", value)
    monkeypatch.setenv("HOOK_KEY", SECRET)
    monkeypatch.setattr(channels, "PAUSES", ())
    with pytest.raises((CaseError, UnavailableError)) as caught:
        deliver(webhook("${HOOK}"), NOTICE)
    assert "tok3n" not in str(caught.value)


def test_a_variable_that_is_not_set_is_named(monkeypatch):
    """Neither the key of a webhook nor an Apprise URL is guessed."""
    monkeypatch.delenv("HOOK_KEY", raising=False)
    for channel in (webhook("https://example.org/x"), Channel(apprise="${HOOK_KEY}")):
        with pytest.raises(CaseError, match="HOOK_KEY is not set"):
            deliver(channel, NOTICE)


def test_apprise_delivers_to_a_real_server(receiver, monkeypatch, caplog):
    """Through its json:// service: title, sentence, link and next step; names from data call nobody, and no log line has the address."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("TEAM_CHAT", f"json://user:tok3n@127.0.0.1:{receiver.server_port}/room")
    deliver(Channel(apprise="${TEAM_CHAT}"), NOTICE)
    [body] = receiver.bodies
    assert body["title"] == NOTICE.title
    assert body["type"] == "warning"
    lines = body["message"].splitlines()
    assert lines[1:] == ["What was found: http://127.0.0.1:8000/projects/1", "Next: equipoise status loans"]
    assert "@everyone" not in body["message"]
    assert "<!channel" not in body["message"]
    assert lines[0].replace("\u200b", "") == NOTICE.text
    receiver.answers = [500]
    with pytest.raises(UnavailableError) as caught:
        deliver(Channel(apprise="${TEAM_CHAT}"), NOTICE)
    assert str(caught.value).startswith("apprise ${TEAM_CHAT}: The notification was not delivered")
    assert "tok3n" not in caplog.text + str(caught.value)
    monkeypatch.setenv("TEAM_CHAT", "tok3n:no:such")
    with pytest.raises(CaseError, match="no URL that Apprise knows"):
        deliver(Channel(apprise="${TEAM_CHAT}"), NOTICE)
    assert "tok3n" not in caplog.text


def test_a_saved_block_delivers(receiver, prefect, caplog):
    """A Prefect block of the server is loaded by its name and notifies; one that fails, is missing or of another kind is said."""
    from prefect.blocks.notifications import CustomWebhookNotificationBlock
    from prefect.blocks.system import Secret

    caplog.set_level(logging.DEBUG, logger="httpx")
    block = CustomWebhookNotificationBlock(name="team", url=f"{receiver.url}/tok3n", json_data={"text": "{{subject}}\n{{body}}"})
    block.save("team", overwrite=True)
    deliver(Channel(block="custom-webhook/team"), NOTICE)
    [body] = receiver.bodies
    assert body["text"].splitlines()[0] == NOTICE.title
    assert body["text"].splitlines()[-1] == "Next: equipoise status loans"
    receiver.answers = [500]
    with pytest.raises(UnavailableError) as caught:
        deliver(Channel(block="custom-webhook/team"), NOTICE)
    assert str(caught.value).startswith("block custom-webhook/team: The notification was not delivered: HTTPStatusError.")
    assert "tok3n" not in json.dumps(caplog.messages) + str(caught.value)
    with pytest.raises(CaseError, match="Prefect has no such block"):
        deliver(Channel(block="custom-webhook/nobody"), NOTICE)
    Secret(value="x").save("team", overwrite=True)
    with pytest.raises(CaseError, match="A Secret sends no notifications"):
        deliver(Channel(block="secret/team"), NOTICE)


def test_channels_have_names_without_secrets():
    """Of a webhook the host and a digest: two of one host are told apart, and a user in the URL is not shown."""
    one, two = (channel_name(webhook(f"https://bot:tok3n@hooks.example.org/{name}?key=tok3n")) for name in "ab")
    assert one != two
    assert one.startswith("webhook hooks.example.org (")
    assert "tok3n" not in one + two
    assert channel_name(Channel(block="slack-webhook/team")) == "block slack-webhook/team"
    assert channel_name(Channel(apprise="${TEAM_CHAT}")) == "apprise ${TEAM_CHAT}"


def test_the_documented_sections_are_read():
    """Rules and channels as docs/actions.md shows them are what a case takes."""
    blocks = re.findall(r"```yaml\n(monitoring:.*?)```", (PROJECT / "docs/actions.md").read_text(encoding="utf-8"), re.DOTALL)
    rules, notify = (Monitoring.model_validate(yaml.safe_load(block)["monitoring"]) for block in blocks)
    assert [rule.when for rule in rules.rules] == ["drift", "performance", "performance", "data quality"]
    assert [channel_name(channel).split(" (")[0] for channel in notify.notify] == [
        "block slack-webhook/team",
        "apprise ${TEAM_MAIL}",
        "webhook ops.example.org",
    ]

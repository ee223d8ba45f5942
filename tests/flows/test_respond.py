"""From an alert to what is done about it: one incident, one event, one answer of each kind, whatever stops in between."""

import datetime as dt
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

import pytest
import typer
import yaml
from typer.testing import CliRunner

from flows import cli_operations
from tasks.alerts import announce, raise_alerts, raise_recorded, raise_refused, raise_staleness
from tasks.core.alerts import Alert
from tasks.core.building import build
from tasks.core.case import shift_period
from tasks.core.digests import digest_bytes
from tasks.core.errors import AccessError, DataError, IntegrityError, UnavailableError
from tasks.core.incidents import INCIDENT, RETRAIN, incident_of
from tasks.core.review import production_version
from tasks.io import channels
from tasks.io.models import dump
from tasks.io.workbench import Workbench
from tasks.responses import refuse_stopped, resume_scoring
from tests.conftest import enrol, loans
from tests.io.receiver import SECRET, receiving

pytestmark = pytest.mark.usefixtures("prefect", "home")


def worse(period="2024-02", severity="warning", subject="accuracy"):
    return Alert("performance", severity, period, f"{subject} fell.", subject=subject)


def monitoring(project, *notify, rules):
    """Write the case's `monitoring`, and open the case."""
    path = project / "configs/loans.yaml"
    case = yaml.safe_load(path.read_text(encoding="utf-8"))
    case["monitoring"] = {"notify": [{"webhook": url, "secret": "${HOOK_KEY}"} for url in notify], "rules": rules}
    path.write_text(yaml.safe_dump(case, sort_keys=False), encoding="utf-8")
    return Workbench.open("loans")


def serving(bench, version=1):
    """The record of a version in production; nothing here loads its model."""
    bench.ledger.append("loans", "registered", version, {"periods": ["2024-01"]})
    bench.ledger.append("loans", "promoted", version, {"previous": None})


def in_production(bench, versions):
    """Models in MLflow and their entries, as training and promotion leave them, without the seconds that those take."""
    frame, kinds = loans(), {"amount": "numeric", "income": "numeric"}
    fitted = build(bench.case.candidates[0], bench.case, bench.kinds).fit(frame, (frame["repaid"] == "yes").to_numpy().astype(int))
    for _ in range(versions):
        model, run = dump(fitted), bench.runs.start_parent("loans")
        version = bench.registry.register("loans", run_id=run, model_bytes=model, inputs=kinds, task="binary", description="# Card")
        bench.ledger.append("loans", "registered", version, {"periods": ["2024-01"], "model": digest_bytes(model), "evidence": "sha256:" + "0" * 64})
        bench.ledger.append("loans", "promoted", version, {"previous": version - 1 or None})


def entered(bench, kind):
    return [event.body for event in bench.ledger.events("loans") if event.kind == kind]


def emitted(names, ours, patience=30):
    """The events of these names that the Prefect server has kept, which it does every few seconds: waits until there is one of each."""
    from prefect.client.orchestration import get_client

    until = time.monotonic() + patience
    while True:
        with get_client(sync_client=True) as client:
            events = client.request("POST", "/events/filter", json={"filter": {"event": {"name": names}}, "limit": 50}).json()["events"]
        found = [event for event in events if ours(event["payload"])]
        if {event["event"] for event in found} == set(names) or time.monotonic() > until:
            return found
        time.sleep(0.2)


@pytest.fixture
def receiver(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(channels, "PAUSES", (0.01, 0.02))
    monkeypatch.setenv("HOOK_KEY", SECRET)
    with receiving() as server:
        yield server


def test_an_incident_is_answered_once(project, receiver):
    """An alert opens an incident; Prefect gets its event; scoring is stopped, training is asked for on the newest labelled window, and the
    channel is told last, with what was done. The same look and another run add nothing, and a resumed case scores again.
    """
    from flows.respond import respond
    from flows.snapshot import snapshot

    bench = monitoring(project, f"{receiver.url}/signed", rules=[{"when": "performance", "then": ["notify", "retrain", "stop"]}])
    serving(bench)
    snapshot("loans")
    for _ in range(2):
        raise_alerts(bench, 1, "2024-02", ["performance"], [worse()], page="http://127.0.0.1:8000/projects/x")
        announce(bench)
    [incident] = [incident_of(event) for event in bench.ledger.events("loans") if event.kind == "incident"]
    done = respond("loans")["done"]
    assert [(one["action"], one["result"]) for one in done[:2]] == [
        ("stop", "scoring is stopped"),
        ("retrain", "training was asked for, on labels up to 2024-03"),
    ]
    assert respond("loans")["done"] == []
    assert [body["flow"] for body in entered(bench, "metered")] == ["snapshot", "respond"]  # a run with nothing to do enters no energy
    assert bench.ledger.errands("loans") == []
    assert len(bench.workspace.runs("loans")) == 2  # a page for the energy of each

    [(path, headers, _)] = receiver.got
    assert (path, headers["Idempotency-Key"]) == ("/signed", str(incident.id))
    [body] = receiver.bodies
    assert body["title"] == "loans version 1 in 2024-02: performance of accuracy, warning"
    assert body["text"] == "accuracy fell. Done: scoring is stopped. Done: training was asked for, on labels up to 2024-03."
    assert body["look"]["What was found"] == "http://127.0.0.1:8000/projects/x"
    assert body["look"]["The version"].endswith("/#/models/loans/versions/1?workflowType=machine_learning")
    assert body["then"] == "equipoise resume loans --why TEXT, once it is mended"
    assert {name: body[name] for name in incident.facts} == incident.facts

    events = {event["event"]: event for event in emitted([INCIDENT, RETRAIN], lambda payload: payload["incident"] == incident.sequence)}
    assert events[INCIDENT]["id"] == str(incident.id)
    assert events[INCIDENT]["payload"] == incident.facts
    assert events[INCIDENT]["resource"]["prefect.resource.id"] == "equipoise.case.loans"
    assert (events[RETRAIN]["payload"]["case"], events[RETRAIN]["payload"]["period"]) == ("loans", "2024-03")

    with pytest.raises(DataError, match=rf"was stopped on .* for incident {incident.sequence}: accuracy fell\. .*equipoise resume loans --why TEXT"):
        refuse_stopped(bench)
    enrol(project)  # from here on an operator is named: whoever runs the tests
    with pytest.raises(AccessError, match="'mallory' may not promote"):
        resume_scoring.fn(bench, "It is mended.", "mallory")
    with pytest.raises(DataError, match="for a reason"):
        resume_scoring.fn(bench, " ")
    app = typer.Typer()
    app.command()(cli_operations.resume)
    app.command()(cli_operations.respond)
    said = CliRunner().invoke(app, ["resume", "loans", "--why", "It is mended."])
    assert said.exit_code == 0, said.output
    assert entered(bench, "resumed") == [{"stopped": entered(bench, "responded")[0]["incident"] + 1, "why": "It is mended.", "by": "operator"}]
    refuse_stopped(bench)
    with pytest.raises(DataError, match="is not stopped"):
        resume_scoring.fn(bench, "Again.")
    assert "no incident could be answered" in CliRunner().invoke(app, ["respond", "loans"]).output.replace("\n", " ")


def test_what_cannot_be_done_waits_and_the_rest_is_done(project, receiver):
    """One channel is down: the other is told, and the run fails and names the channel, not its address. The next run tells that channel only.
    Training waits for labels that no version was trained on.
    """
    from flows.respond import respond
    from flows.snapshot import snapshot

    bench = monitoring(project, f"{receiver.url}/signed/a", f"{receiver.url}/signed/b", rules=[{"when": "performance", "then": ["notify", "retrain"]}])
    serving(bench)
    raise_alerts(bench, 1, "2024-02", ["performance"], [worse()])
    receiver.answers = [403]
    with pytest.raises(
        UnavailableError, match=r"incident 3, notify: webhook 127\.0\.0\.1 \(.{6}\): The notification was not delivered: it answered 403"
    ) as caught:
        respond("loans")
    assert "signed" not in str(caught.value)
    assert [one["action"] for one in respond("loans")["done"]] == ["notify"]
    assert respond("loans")["done"] == []
    snapshot("loans")
    assert [one["result"] for one in respond("loans")["done"]] == ["training was asked for, on labels up to 2024-03"]
    assert [path for path, _, _ in receiver.got] == ["/signed/a", "/signed/b", "/signed/a"]
    assert len({headers["Idempotency-Key"] for _, headers, _ in receiver.got}) == 1


def test_two_responders_answer_once(project, receiver):
    """While one tells a slow channel the other finds the work taken: one message, one answer."""
    from flows.respond import respond

    bench = monitoring(project, f"{receiver.url}/signed", rules=[{"when": "drift", "then": ["notify"]}])
    serving(bench)
    raise_alerts(bench, 1, "2024-02", ["drift"], [Alert("drift", "warning", "2024-02", "It drifted.")])
    receiver.slow = 1.0
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _: respond("loans")["done"], range(2)))
    assert sorted(map(len, results)) == [0, 1]
    assert len(receiver.got) == 1
    assert [body["action"] for body in entered(bench, "responded") if "channel" not in body] == ["notify"]


def test_of_many_looks_at_once_one_opens_the_incident(project):
    """Eight processes' ledgers, one look each at the same moment: one incident, and one that becomes critical."""
    bench = monitoring(project, rules=[{"when": "performance", "then": ["notify"]}])
    serving(bench)
    start = threading.Barrier(8)

    def look(severity):
        own = Workbench.open("loans")
        start.wait()
        try:
            return raise_alerts.fn(own, 1, "2024-02", ["performance"], [worse(severity=severity)])
        finally:
            own.ledger.close()

    for severity in ("warning", "critical"):
        with ThreadPoolExecutor(8) as pool:
            opened = [sequence for found in pool.map(look, [severity] * 8) for sequence in found]
        assert len(opened) == 1
    assert [body["severity"] for body in entered(bench, "incident")] == ["warning", "critical"]


def test_what_is_on_record_is_raised_once_whatever_stopped_the_run(project):
    """Periods were served, and labels held against them, and the process died before their alerts: the next look raises them, the one
    after nothing. A corrected period is judged by its newest revision.
    """
    bench = monitoring(project, rules=[{"when": "drift", "then": ["notify"]}])
    month = {"rows": 600, "drifted_columns": ["amount"], "share": 0.5, "prediction": None}
    for number, drifted in enumerate((False, True, True, False, True), start=2):
        bench.ledger.append("loans", "served", 1, {**month, "period": f"2024-0{number}", "drifted": drifted})
    for _ in range(2):
        raise_recorded(bench, 1)
    assert [(body["period"], body["reason"]) for body in entered(bench, "incident")] == [
        ("2024-03", "amount drifted: 50 % of the features."),
        ("2024-06", "amount drifted: 50 % of the features."),
    ]
    assert [body["period"] for body in entered(bench, "resolved")] == ["2024-05"]
    assert entered(bench, "incident")[0]["page"].endswith(f"/reports/{bench.workspace.run('loans', '2024-03', 1)}")
    bench.ledger.append("loans", "served", 1, {**month, "period": "2024-06", "drifted": False, "revision": 2})
    for _ in range(2):
        raise_recorded(bench, 1)
    assert [body["period"] for body in entered(bench, "resolved")] == ["2024-05", "2024-06"]
    assert len(entered(bench, "incident")) == 2
    bench.ledger.append("loans", "monitored", 1, {"period": "2024-02", "alerts": [asdict(worse())]})
    for _ in range(2):
        raise_recorded(bench, 1)
    assert [body["key"] for body in entered(bench, "incident")] == ["v1 drift", "v1 drift", "v1 performance"]
    bench.ledger.append("loans", "monitored", 1, {"period": "2024-03", "alerts": []})
    unlike = Alert("data quality", "warning", "2024-07", "amount is outside in 90 of 600 rows.", "amount outside")
    bench.ledger.append("loans", "served", 1, {**month, "period": "2024-07", "drifted": False, "alerts": [asdict(unlike)]})
    for _ in range(2):
        raise_recorded(bench, 1)
    assert [body["key"] for body in entered(bench, "resolved")] == ["v1 drift", "v1 drift", "v1 performance"]
    assert [body["key"] for body in entered(bench, "incident")][3:] == ["v1 data quality"]


def test_an_event_that_a_crash_swallowed_is_emitted_under_the_same_id(project, monkeypatch):
    """Prefect is down, then the process dies after Prefect took the event: the record still has it to emit, and Prefect has one."""
    bench = monitoring(project, rules=[{"when": "drift", "then": ["notify"]}])
    raise_alerts(bench, 1, "2024-02", ["drift"], [Alert("drift", "warning", "2024-02", "It drifted.", subject=uuid.uuid4().hex)])
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}), pytest.raises(UnavailableError, match="Prefect took no event"):
        announce.fn(bench)
    with monkeypatch.context() as patch:
        patch.setattr(type(bench.ledger), "done", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            announce.fn(bench)
    assert len(bench.ledger.errands("loans")) == 1
    announce.fn(bench)
    assert bench.ledger.errands("loans") == []
    [incident] = entered(bench, "incident")
    assert len(emitted([INCIDENT], lambda payload: payload["subject"] == incident["subject"])) == 1


def test_a_rule_rolls_back_once_and_only_from_the_version_it_is_about(project, monkeypatch):
    """Production goes back by the rule, whoever the worker is; of a second incident nothing is rolled back further; and where no version
    was there before, that is the answer.
    """
    from flows.respond import respond

    enrol(project)
    bench = monitoring(project, rules=[{"when": "performance", "severity": "critical", "then": ["rollback"]}])
    in_production(bench, 2)
    monkeypatch.setenv("EQUIPOISE_USER", "worker")  # nobody of configs/reviewers.yaml
    raise_alerts(bench, 2, "2024-02", ["performance"], [worse(severity="critical"), worse(severity="critical", subject="recall")])
    raise_alerts(bench, 1, "2024-02", ["performance"], [worse(severity="critical")])
    results = [one["result"] for one in respond("loans")["done"]]
    assert results == [
        "production went back to version 1 from version 2",
        "version 2 is no longer in production, version 1 is",
        "no other version was in production before",
    ]
    events = bench.ledger.events("loans")
    [back] = [event for event in events if event.kind == "rolled back"]
    assert (production_version(events), back.body["by"]) == (1, "rule")
    assert back.body["why"].endswith("accuracy fell.")
    assert bench.registry.alias("loans", "production") == 1
    assert respond("loans")["done"] == []


def test_a_refused_correction_is_raised_once_until_that_month_is_scored(project):
    """May was served; its correction is refused, again and again, while other months are looked at and other refusals come and go: one
    incident each, whatever is looked at in between and in however many processes, and over once it is scored.
    """
    bench = monitoring(project, rules=[{"when": "data quality", "then": ["notify"]}])
    serving(bench)
    month = {"rows": 600, "drifted": False, "drifted_columns": [], "share": 0.0, "prediction": None}
    unlike = asdict(Alert("data quality", "warning", "2024-03", "amount is outside in 90 of 600 rows.", "amount"))
    for number, alerts in ((2, []), (3, [unlike]), (5, [])):
        bench.ledger.append("loans", "served", 1, {**month, "period": f"2024-0{number}", "alerts": alerts})
    error = IntegrityError("part 2 of 3 is corrupt.")

    def refused():
        return [body["key"] for body in entered(bench, "incident") if body["subject"].startswith("refused")]

    for _ in range(3):
        raise_refused(bench, 1, "2024-05", error)
        raise_recorded(bench, 1)
    assert refused() == ["v1 data quality: refused 2024-05"]
    raise_refused(bench, 1, "2024-04", error)
    assert refused() == ["v1 data quality: refused 2024-05", "v1 data quality: refused 2024-04"]
    assert [body["key"] for body in entered(bench, "resolved")] == ["v1 data quality"]  # of March, by May's whole and clean rows
    bench.ledger.append("loans", "served", 1, {**month, "period": "2024-05", "revision": 2, "alerts": []})
    for _ in range(2):
        raise_recorded(bench, 1)
    assert [body["key"] for body in entered(bench, "resolved")] == ["v1 data quality", "v1 data quality: refused 2024-05"]
    start = threading.Barrier(4)

    def refuse(_):
        own = Workbench.open("loans")
        start.wait()
        try:
            return raise_refused.fn(own, 1, "2024-02", error)
        finally:
            own.ledger.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(refuse, range(4)))
    assert refused()[2:] == ["v1 data quality: refused 2024-02"]
    assert len(entered(bench, "resolved")) == 2
    assert bench.ledger.errands("loans") == []


def test_staleness_is_found_though_nothing_is_ever_scored(project):
    """The schedule of `infer` is dead: the daily `respond` finds it by the clock and tells it once; the next period that is scored ends it. A
    case that does not ask is not told.
    """
    from flows.respond import respond

    bench = monitoring(project, rules=[{"when": "staleness", "then": ["notify"]}])
    serving(bench)
    raise_staleness(bench, 1)
    assert respond("loans")["done"] == []
    path = project / "configs/loans.yaml"
    case = yaml.safe_load(path.read_text(encoding="utf-8"))
    case["monitoring"]["stale_days"] = 45
    path.write_text(yaml.safe_dump(case, sort_keys=False), encoding="utf-8")
    bench = Workbench.open("loans")
    assert [one["action"] for one in respond("loans")["done"]] == ["notify"]
    assert respond("loans")["done"] == []
    [body] = entered(bench, "incident")
    assert (body["kind"], body["severity"], body["period"]) == ("staleness", "critical", "2024-01")
    assert body["reason"].startswith("Version 1 has scored no period after 2024-01, which ended ")
    bench.ledger.append("loans", "served", 1, {"period": "2024-02"})
    assert respond("loans")["done"] == []
    assert entered(bench, "resolved") == []
    last = shift_period(f"{dt.datetime.now(dt.UTC):%Y-%m}", -1)
    bench.ledger.append("loans", "served", 1, {"period": last})
    for _ in range(2):
        raise_staleness(bench, 1)
    assert entered(bench, "resolved") == [{"key": "v1 staleness", "period": last}]
    assert len(entered(bench, "incident")) == 1


def test_a_channel_that_is_down_is_tried_again_with_one_artifact(project, receiver):
    """Each try finds the artifact that the first one left, and leaves no other; one that would say more is left beside it."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

    from flows.respond import respond

    bench = monitoring(project, f"{receiver.url}/signed", rules=[{"when": "drift", "then": ["notify"]}])
    serving(bench)
    subject = uuid.uuid4().hex
    raise_alerts(bench, 1, "2024-02", ["drift"], [Alert("drift", "warning", "2024-02", "It drifted.", subject=subject)])
    receiver.answers = [403, 403]
    for _ in range(2):
        with pytest.raises(UnavailableError, match="was not delivered"):
            respond("loans")
    assert [one["action"] for one in respond("loans")["done"]] == ["notify"]
    with get_client(sync_client=True) as client:
        kept = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["loans-incident-3"])), limit=200)
    assert len([artifact for artifact in kept if subject in artifact.data]) == 1
    assert len(receiver.got) == 3

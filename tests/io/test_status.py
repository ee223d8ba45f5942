"""Status says what there is, what is due and why, and the one command that helps now."""

import datetime as dt

import pandas as pd
import pytest
import yaml

from tasks.core.alerts import Alert, period_alert
from tasks.core.case import revision_key, shift_period
from tasks.core.errors import IntegrityError
from tasks.core.incidents import key_of
from tasks.io.manifests import Manifest
from tasks.io.performances import ERRANDS
from tasks.io.status import status_of
from tasks.io.workbench import Workbench

pytestmark = pytest.mark.usefixtures("home")

EARLY, LATE = "2024-06-01T00:00:00+00:00", "2999-01-01T00:00:00+00:00"


@pytest.fixture
def bench(project):
    """`loans` with version 1 in production, by the record alone; it was trained on January 2024. Staleness is looked for."""
    path = project / "configs/loans.yaml"
    case = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump(case | {"monitoring": {"stale_days": 45}}, sort_keys=False), encoding="utf-8")
    bench = Workbench.open("loans")
    bench.ledger.append("loans", "registered", 1, {"candidate": "logistic", "periods": ["2024-01"], "decision": {"checks": []}})
    bench.ledger.append("loans", "promoted", 1, {"previous": None})
    take(bench, "2024-01")
    return bench


def take(bench, period, revision=1, kind="features", created=EARLY):
    """A snapshot on record, of other bytes than any other. Returns: its digest."""
    digest = bench.store.put_frame(pd.DataFrame({"row_id": [f"{kind} {period} {revision}"]}))
    bench.store.record(Manifest("loans", kind, revision_key(period, revision), digest, 1, {}, "test", created))
    return digest


def serve(bench, period, revision=1, version=1, **more):
    """A period on record as scored."""
    month = {"rows": 600, "drifted": False, "drifted_columns": [], "share": 0.0, "prediction": None, "missing_parts": []}
    errands = more.pop("errands", ())
    body = {**month, "period": period, "revision": revision, "predictions": f"predictions {period} {revision}", **more}
    bench.ledger.append("loans", "served", version, body, errands=errands)


def found(bench, alert):
    """An incident on record, for which the rules ask nothing."""
    bench.ledger.append("loans", "incident", 1, {"key": key_of(1, alert), **vars(alert), "actions": [], "page": ""})


def told(bench, what):
    return dict(status_of(bench).rows).get(what)


def test_what_is_due_and_why(bench):
    """A month that came late, in the middle; one that was corrected; one that lacks a part; labels that are not held against it as they are.
    The advice follows: score, then hold, then take the next snapshot. What is left to show elsewhere is shown by the flow that can.
    """
    for month in ("2024-02", "2024-03", "2024-04"):
        take(bench, month)
    serve(bench, "2024-03")
    assert told(bench, "due") == "score 2024-02 (new), 2024-04 (new)"
    assert status_of(bench).advice == "equipoise infer loans"
    serve(bench, "2024-02")
    serve(bench, "2024-04", missing_parts=["part 2 of 3"])
    take(bench, "2024-02", revision=2)
    labels = take(bench, "2024-03", kind="labels")
    take(bench, "2024-01", kind="labels")
    assert told(bench, "due") == "score 2024-02 (corrected, revision 2), 2024-04 (partial); hold 2024-03 against the labels"
    serve(bench, "2024-02", revision=2)
    serve(bench, "2024-04")
    assert (told(bench, "due"), status_of(bench).advice) == ("hold 2024-03 against the labels", "equipoise monitor loans")
    held = {"period": "2024-03", "labels": labels, "predictions": "predictions 2024-03 1", "alerts": [], "verdict": "as accepted", "rows": 600}
    entry = bench.ledger.append("loans", "monitored", 1, held, errands=[*ERRANDS, "evidently"])
    assert (told(bench, "due"), status_of(bench).advice) == ("nothing", "equipoise infer loans")
    bench.ledger.done(entry, "evidently")
    assert status_of(bench).advice == "equipoise monitor loans"
    for what in ERRANDS:
        bench.ledger.done(entry, what)
    assert (told(bench, "due"), status_of(bench).advice) == ("nothing", "equipoise snapshot loans")
    take(bench, "2024-03", revision=2, kind="labels")
    assert told(bench, "due") == "hold 2024-03 against the labels"


def test_what_was_refused_is_mended_before_it_is_tried_again(bench):
    """The advice says what is wrong and not the command that fails again, until a correction was taken; months before it are scored."""
    take(bench, "2024-02")
    take(bench, "2024-03")
    found(bench, period_alert("refused", "2024-03", IntegrityError("part 2 is corrupt.")))
    assert status_of(bench).advice == "equipoise infer loans"
    serve(bench, "2024-02")
    number = bench.ledger.head() - 1
    assert status_of(bench).advice == f"mend what incident {number} tells (2024-03 was not scored: part 2 is corrupt), then: equipoise infer loans"
    take(bench, "2024-03", revision=2, created=LATE)
    assert status_of(bench).advice == "equipoise infer loans"
    serve(bench, "2024-03", revision=2)
    take(bench, "2024-02", kind="labels")
    found(bench, period_alert("labels", "2024-02", IntegrityError("is corrupt.")))
    assert status_of(bench).advice.startswith("mend what incident 6 tells (2024-02 could not be held against its labels: is corrupt)")
    take(bench, "2024-03", kind="labels")
    assert status_of(bench).advice == "equipoise monitor loans"


def test_drifted_columns_and_predictions_are_named_whatever_the_verdict(bench):
    """The verdict is the case's; what drifted below its share is told beside it."""
    moved = {"effect": 0.6, "limit": 0.1, "drifted": True}
    serve(bench, "2024-02", drifted_columns=["amount"], share=0.05)
    assert (told(bench, "drift"), told(bench, "drifted columns")) == ("none seen", "in 2024-02, less than the case calls drift; last: amount")
    serve(bench, "2024-03", prediction=moved)
    serve(bench, "2024-04", drifted=True, drifted_columns=["amount", "income"], share=1.0, prediction=moved)
    assert told(bench, "drift") == "in 2024-04; last: amount, income, the predictions"
    assert told(bench, "drifted columns") == "in 2024-02, 2024-03, less than the case calls drift; last: the predictions"


def test_staleness_is_told_without_any_run(bench):
    """By the clock, of a version that scored nothing since its training, and of one whose newest period is old; not of last month."""
    assert told(bench, "staleness").startswith("critical: Version 1 has scored no period after 2024-01, which ended ")
    serve(bench, "2024-02")
    assert told(bench, "staleness").startswith("critical: The newest scored period, 2024-02, ended ")
    serve(bench, shift_period(f"{dt.datetime.now(dt.UTC):%Y-%m}", -1))
    assert told(bench, "staleness") is None


def test_incidents_and_what_is_unanswered_come_first(bench):
    """A rule's action that is still to be done is the advice, whatever is due."""
    take(bench, "2024-02")
    alert = Alert("performance", "warning", "2024-02", "It is worse.")
    bench.ledger.append("loans", "incident", 1, {"key": key_of(1, alert), **vars(alert), "actions": ["notify"], "page": ""})
    assert told(bench, "unanswered") == "notify for incident 3"
    assert status_of(bench).advice == "equipoise respond loans"

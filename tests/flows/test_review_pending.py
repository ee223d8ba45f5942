"""A review written in MLflow's UI: tags of the version, taken up by the flow or the command line, and counted once it is signed."""

import contextvars
import threading
import time

import pytest

from tasks.core.errors import AccessError, DataError
from tasks.core.review import reviews_of
from tasks.io.keys import load_key
from tasks.io.pending import pending_review, signer
from tasks.io.workbench import Workbench
from tasks.promotion import signed, statement
from tests.conftest import enrol, review
from tests.flows.test_cli import in_process

pytestmark = [pytest.mark.usefixtures("prefect", "home"), pytest.mark.timeout(300)]


@pytest.fixture
def bench(project, version_1):
    """Version 1 of the documented case, registered; ada may review."""
    enrol(project)
    return Workbench.open("loans")


def ask(bench, **tags):
    """What a reviewer writes on the version's page in MLflow."""
    given = {"verdict": "approve", "reviewer": "ada", "notes": "Every cohort is *fine*."} | tags
    bench.registry.set_tags("loans", 1, {f"review.{name}": value for name, value in given.items()})


def reviews(bench):
    return reviews_of(bench.ledger.events("loans"), 1)


def test_a_paused_run_takes_the_signature_of_what_the_tags_say(bench):
    """The run says on the version whom it waits for; another's signature is refused and asked for again; the right one enters the review."""
    from prefect.client.orchestration import get_client
    from prefect.flow_runs import resume_flow_run

    from flows.review import review as flow

    ask(bench, conditions="Looked at again in May.", expires="2999-12-31")
    ask(bench, **{"verdict": "Approve "})
    ended = []
    context = contextvars.copy_context()  # Prefect keeps the address of its server there
    running = threading.Thread(target=lambda: ended.append(context.run(flow, "loans", 1)), daemon=True)
    running.start()
    with get_client(sync_client=True) as client:

        def paused(pauses):
            """The run, once it has been paused so many times."""
            deadline = time.monotonic() + 120
            while time.monotonic() < deadline and running.is_alive():
                for run in client.read_flow_runs():
                    if run.name == "review loans 1" and run.state.is_paused() and run.state.state_details.pause_key == str(pauses):
                        return run
                time.sleep(0.1)
            raise AssertionError(f"not paused {pauses} times, but {ended}")

        run = paused(1)
        assert bench.registry.version("loans", 1).tags["equipoise.review"] == "waiting for ada's signature: equipoise review loans 1 --pending"
        asked = statement(bench, 1, **pending_review(bench, 1).told)
        assert (asked.conditions, asked.expires) == ("Looked at again in May.", "2999-12-31")
        rejected = statement(bench, 1, **pending_review(bench, 1).told | {"verdict": "reject"})
        resume_flow_run(run.id, run_input={"signature": signed(rejected, load_key("ada", "")).signature})
        run = paused(2)
        assert "the signature is not ada's for what the review says" in bench.registry.version("loans", 1).tags["equipoise.review"]
        assert reviews(bench) == ()
        resume_flow_run(run.id, run_input={"signature": f" {signed(asked, load_key('ada', '')).signature}\n"})
        running.join(60)
        assert [one["review"] for one in ended] == ["approved by ada"]
        assert client.read_flow_run(run.id).state.is_completed()
    [entered] = reviews(bench)
    assert entered.statement == asked.statement
    assert bench.registry.version("loans", 1).tags["equipoise.review"] == "approved by ada"
    assert flow("loans", 1)["review"] == "approved by ada"  # the same again waits for nobody
    assert len(reviews(bench)) == 1
    [metered] = [event.body for event in bench.ledger.events("loans") if event.kind == "metered" and event.body["flow"] == "review"]
    assert metered["kwh"] > 0
    assert metered["seconds"] < 5  # of work: the pauses took longer, since Prefect looks every two seconds
    assert metered["note"].endswith("The waits between 3 stretches of work are not counted.")


def test_the_command_line_signs_what_waits(bench):
    """`--pending` shows the verdict of the tags, signs it with the local key and enters it; `--print-signature` enters nothing."""
    ask(bench, verdict="reject", notes="Ost is worse.")
    printed = in_process("review", "loans", "1", "--pending", "--print-signature")
    assert printed.returncode == 0, printed.stdout + printed.stderr
    asked = statement(bench, 1, **pending_review(bench, 1).told)
    assert signed(asked, load_key("ada", "")).signature in printed.stdout.splitlines()
    assert reviews(bench) == ()
    done = in_process("review", "loans", "1", "--pending")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "You sign: reject by ada: Ost is worse." in done.stdout
    assert "rejected by ada" in done.stdout
    [entered] = reviews(bench)
    assert entered.statement == asked.statement
    enrol(bench.home.project, "otto", roles=["operator"])
    with pytest.raises(AccessError, match="'otto' may not review"):  # a rejection would stand in the way as an approval would help
        review("loans", 1, reviewer="otto", verdict="reject")
    assert len(reviews(bench)) == 1
    mixed = in_process("review", "loans", "1", "--pending", "--approve")
    assert mixed.returncode == 2


@pytest.mark.parametrize(
    ("tags", "told"),
    [
        ({"verdict": ""}, "No review waits there: review.verdict not set."),
        ({"verdict": "", "reviewer": ""}, "review.verdict and review.reviewer not set"),
        ({"verdict": "ok"}, "The tag review.verdict is 'ok'. Write approve or reject."),
        ({"expires": "soon"}, "The tag review.expires is 'soon'. Write YYYY-MM-DD"),
    ],
)
def test_tags_that_make_no_sense_are_named(project, tags, told):
    """What is missing or wrong is said with the version and the tag; nothing waits."""
    bench = Workbench.open("loans")
    run_id = bench.runs.start_parent("loans")
    bench.registry.register("loans", run_id=run_id, model_bytes=b"model", inputs={"a": "numeric"}, task="binary", description="# Card")
    ask(bench, **tags)
    with pytest.raises(DataError) as refused:
        pending_review(bench, 1)
    assert str(refused.value).startswith("loans version 1 in MLflow: ")
    assert told in str(refused.value)


def test_nobody_waits_for_somebody_who_may_not_review(project):
    """A name in a tag that has no role or no key is refused before anything waits."""
    enrol(project)
    bench = Workbench.open("loans")
    assert signer(bench, "ada").name == "ada"
    for name in ("operator", "mallory"):
        with pytest.raises(AccessError, match=f"'{name}' may not review. ada may."):
            signer(bench, name)

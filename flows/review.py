"""Flow: take up a review that waits in MLflow's tags, and enter it once its reviewer's signature is given."""

from dataclasses import replace
from typing import Any

from prefect import flow
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from pydantic import Field

from tasks.carbon import record_energy
from tasks.core.card import plain
from tasks.core.review import Review, unsigned
from tasks.core.strict import Name
from tasks.io.emissions import EmissionsResult, together, track
from tasks.io.pending import entered, pending_review, signer, wait_on
from tasks.io.workbench import Workbench
from tasks.promotion import statement, write_review
from tasks.step import say

PATIENCE = 7 * 24 * 3600
"""Seconds that a run waits for a signature."""


class Signature(RunInput):
    """What the paused run asks for."""

    signature: str = Field(description="What `equipoise review CASE VERSION --pending --print-signature` prints.")


@flow(name="review", flow_run_name="review {case} {version}", timeout_seconds=PATIENCE + 24 * 3600)
def review(case: Name = "boston", version: int = 1) -> dict[str, Any]:
    """Wait for the signature of the verdict in the version's tags, then enter the review. A signature of anything else is asked for again.

    What is signed is what the tags, the card and the evidence say when the signature comes. A review that was entered meanwhile on the
    command line ends the run at the next input.
    """
    bench, spent = Workbench.open(case), list[EmissionsResult]()
    given: Signature | None = None
    while True:
        with track(country=bench.case.carbon.country, name="review", short=True) as meter:
            made, why = _taken(bench, version, given)
        assert meter.result is not None
        spent.append(meter.result)
        if why is None:
            break
        form = Signature.with_initial_data(description=_asking(made, why))
        given = pause_flow_run(wait_for_input=form, timeout=PATIENCE, poll_interval=2)
    if given is not None:
        record_energy(bench, "review", together(spent))
    return {"case": case, "version": version, "review": made.words, "evidence": made.evidence}


def _taken(bench: Workbench, version: int, given: Signature | None) -> tuple[Review, str | None]:
    """Enter the review that the tags ask for now, where what was given signs it. Returns: the review, and None once it is in the record; until
    then why what was given is not taken, empty before anything was.
    """
    asked, why = pending_review(bench, version), ""
    person, made = signer(bench, asked.reviewer), statement(bench, version, **asked.told)
    if entered(bench, made):
        say(f"{made.case} version {version} {made.words}: already in the record")
        return made, None
    if given is not None:
        complete = replace(made, signature=given.signature.strip())
        why = unsigned(complete, person) or ""
        if not why:
            write_review(bench, complete)
            return made, None
    wait_on(bench, made, why)
    say(f"waiting for {made.reviewer}'s signature" + (f": {why}" if why else ""))
    return made, why


def _asking(made: Review, why: str) -> str:
    """What the form of the paused run shows, Markdown."""
    parts = [
        *([f"**Not taken:** {plain(why)}."] if why else []),
        f"**{plain(made.reviewer)}** is asked to sign: *{made.verdict}* {made.case} version {made.version}.",
        f"Notes: {plain(made.notes) or 'none'}",
        *([f"Conditions: {plain(made.conditions)}"] if made.conditions else []),
        *([f"Holds to {made.expires}"] if made.expires else []),
        f"Evidence `{made.evidence}`, card `{made.card}`.",
        f"On the machine with the key: `equipoise review {made.case} {made.version} --pending --print-signature`",
    ]
    return "\n\n".join(parts)

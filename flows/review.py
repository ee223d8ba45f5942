"""Flow: take up a review that waits in MLflow's tags, and enter it once its reviewer's signature is given."""

from dataclasses import replace
from typing import Any

from prefect import flow
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from pydantic import Field

from tasks.core.card import plain
from tasks.core.review import Review, unsigned
from tasks.core.strict import Name
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
    bench, why = Workbench.open(case), ""
    while True:
        asked = pending_review(bench, version)
        person, made = signer(bench, asked.reviewer), statement(bench, version, **asked.told)
        if entered(bench, made):
            say(f"{case} version {version} {made.words}: already in the record")
            break
        wait_on(bench, made, why)
        say(f"waiting for {made.reviewer}'s signature" + (f": {why}" if why else ""))
        given = pause_flow_run(wait_for_input=Signature.with_initial_data(description=_asking(made, why)), timeout=PATIENCE, poll_interval=2)
        asked = pending_review(bench, version)
        made = statement(bench, version, **asked.told)
        if entered(bench, made):
            continue
        complete = replace(made, signature=given.signature.strip())
        why = unsigned(complete, person) or ""
        if not why:
            write_review(bench, complete)
            break
    return {"case": case, "version": version, "review": made.words, "evidence": made.evidence}


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

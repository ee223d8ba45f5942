"""The commands of operations: respond, resume."""

from typing import Annotated

import typer

from flows import terminal


def respond(case: terminal.CaseName) -> None:
    """Do what the case's rules ask for about incidents, and has not been done yet."""
    with terminal.session(f"Responses for {case}", case=case, libraries=()):
        from flows.respond import respond as flow

        result = flow(case)
    terminal.closing(
        made=", ".join(f"{one['action']} for incident {one['incident']}" for one in result["done"]) or "nothing: no incident could be answered",
        look=f"equipoise ledger {case}",
        then=f"equipoise status {case}",
    )


def resume(
    case: terminal.CaseName,
    why: Annotated[str, typer.Option(metavar="TEXT", help="Why scoring may go on, for the record.")],
    by: Annotated[str, typer.Option(metavar="NAME", help="Who says so: somebody who may promote; your account unless given.")] = "",
) -> None:
    """Take up scoring again that a rule has stopped."""
    with terminal.session(f"Scoring of {case}"):
        from tasks.io.workbench import Workbench
        from tasks.responses import resume_scoring

        entry = resume_scoring.fn(Workbench.open(case), why, by)
    terminal.closing(made=f"scoring of {case} is taken up again after entry {entry}", look=f"equipoise ledger {case}", then=f"equipoise infer {case}")

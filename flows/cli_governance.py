"""The commands of governance: keys, gate, review, ledger, rollback, retire."""

import datetime as dt
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from flows import terminal, terminal_governance
from flows.terminal import VersionNumber
from tasks.io import warmup

keys = typer.Typer(no_args_is_help=True, help="Keys that reviews are signed with.")

EXIT = {"passed": 0, "failed": 2, "insufficient evidence": 3}


@keys.command("new")
def new_key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The reviewer's name: lower-case letters, digits, '-' and '_'.")],
    role: Annotated[str, typer.Option(metavar="ROLE", help="The role in the lines to add to configs/reviewers.yaml.")] = "reviewer",
    protected: Annotated[bool, typer.Option("--passphrase/--no-passphrase", help="Protect the key with a passphrase, asked for here.")] = True,
) -> None:
    """Make an Ed25519 key to sign reviews with, and show the lines that let it count."""
    from tasks.core.signing import public_text
    from tasks.io.home import Home
    from tasks.io.keys import make_key

    path, key = make_key(name, _passphrase(f"New passphrase for {name}", confirm=True) if protected else "")
    project = Home.from_environment().project
    people = project / "configs" / "reviewers.yaml"
    terminal.line(("" if people.is_file() else "people:\n") + f"  - name: {name}\n    roles: [{role}]\n    key: {public_text(key)}")
    terminal.closing(
        made=f"{path} (yours alone: never copy or commit it)",
        look=str(people),
        then=f"add the lines above to {people}" + ("" if people.is_file() else " (a new file)") + ", then: equipoise review CASE VERSION",
    )


def gate(case: terminal.CaseName, version: VersionNumber) -> None:
    """Hold a version against every limit: exit 0 passed, 2 failed, 3 insufficient evidence."""
    with terminal.session(f"Gate of {case} version {version}"):
        from tasks.io.workbench import Workbench
        from tasks.promotion import gate_version

        gated = gate_version.fn(Workbench.open(case), version)
    outcome = gated.decision.outcome
    terminal_governance.gate(gated.decision, gated.compared_with)
    terminal.closing(
        made=f"{outcome}: {len(gated.decision.reasons)} of {len(gated.decision.checks)} checks not passed" if outcome != "passed" else "passed: every check",
        look=f"equipoise review {case} {version}",
        then=f"equipoise promote {case} {version}" if not gated.missing else "; ".join(gated.missing),
    )
    raise typer.Exit(EXIT[outcome])


def review(
    case: terminal.CaseName,
    version: VersionNumber,
    approve: Annotated[
        bool | None, typer.Option("--approve/--reject", help="Your verdict; without one, what you would sign is shown.", show_default=False)
    ] = None,
    reviewer: Annotated[str, typer.Option(metavar="NAME", help="Who you are in configs/reviewers.yaml; your key has the same name.")] = "",
    notes: Annotated[str, typer.Option(metavar="TEXT", help="What you looked at, and why you decide so.")] = "",
    conditions: Annotated[str, typer.Option(metavar="TEXT", help="What must hold for your approval to stand.")] = "",
    expires: Annotated[str | None, typer.Option(metavar="YYYY-MM-DD", help="The last day your approval holds.")] = None,
    pending: Annotated[bool, typer.Option("--pending", help="Sign what waits in the version's tags `review.*` in MLflow.")] = False,
    print_signature: Annotated[
        bool, typer.Option("--print-signature", help="With --pending: only print the signature, for the paused run's form in Prefect.")
    ] = False,
) -> None:
    """Show what a reviewer signs: card, gate, comparison with production, drift. With a verdict: sign it and enter it into the record."""
    until = _date(expires)
    if pending and (approve is not None or reviewer or notes or conditions or until):
        raise typer.BadParameter("takes everything from the version's tags in MLflow", param_hint="--pending")
    if print_signature and not pending:
        raise typer.BadParameter("goes with --pending", param_hint="--print-signature")
    with terminal.session(f"Review of {case} version {version}"):
        from tasks.io.reviewing import review_view
        from tasks.io.workbench import Workbench

        bench = Workbench.open(case)
        shown = review_view(bench, version) if pending or approve is None else None  # a verdict holds the gate itself
        if pending:
            from tasks.io.pending import pending_review

            asked = pending_review(bench, version)
            approve, reviewer, notes, conditions, until = asked.verdict == "approve", asked.reviewer, asked.notes, asked.conditions, asked.expires
            terminal_governance.review(shown)
            terminal.line(f"You sign: {asked.verdict} by {reviewer}: {notes or 'no notes'}" + "".join(f"; {text}" for text in (conditions, expires) if text))
        if approve is not None and not print_signature:
            entered = _enter(bench, version, approve=approve, reviewer=reviewer, notes=notes, conditions=conditions, expires=until)
        if print_signature:
            terminal.line(_signed(bench, version, approve=approve, reviewer=reviewer, notes=notes, conditions=conditions, expires=until).signature)
    if print_signature:
        terminal.closing(
            made="a signature, and no entry yet", look="the paused run `review` in Prefect", then="resume that run with the line above as its signature"
        )
        return
    if approve is None:
        terminal_governance.review(shown)
        terminal.closing(
            made="nothing: this only looks",
            look=f"the card above, or version {version} in MLflow",
            then=f'equipoise review {case} {version} --approve --reviewer NAME --notes "WHY"   (or --reject)',
        )
        return
    terminal.closing(
        made=f"a review of {case} version {version}: {'approved' if approve else 'rejected'} by {reviewer}, evidence {entered.evidence[7:19]}",
        look=f"equipoise ledger {case}",
        then=f"equipoise promote {case} {version}" if approve else f"equipoise train {case}",
    )


def _enter(bench: Any, version: int, **verdict: Any) -> Any:
    """The signed review, once it is in the record."""
    from tasks.promotion import write_review

    made = _signed(bench, version, **verdict)
    write_review.fn(bench, made)
    return made


def _signed(bench: Any, version: int, *, approve: bool | None, reviewer: str, notes: str, conditions: str, expires: dt.date | None) -> Any:
    """The review with the signature of the reviewer's key on this machine."""
    from tasks.io.keys import load_key, needs_passphrase
    from tasks.promotion import signed, statement

    made = statement(bench, version, verdict="approve" if approve else "reject", reviewer=reviewer, notes=notes, conditions=conditions, expires=expires)
    key = load_key(made.reviewer, _passphrase(f"Passphrase of {made.reviewer}'s key") if needs_passphrase(made.reviewer) else "")
    return signed(made, key)


def ledger(
    what: Annotated[str, typer.Argument(metavar="CASE|verify|head", help="A case's history; `verify` checks all; `head` prints the last entry's digest.")],
    pin: Annotated[Path | None, typer.Option(metavar="FILE", help="verify: a head kept elsewhere, that must still be there.")] = None,
) -> None:
    """Tell a case's history in words, check the whole ledger, or print its head to be kept elsewhere."""
    with terminal.session(None) as home:
        from tasks.core.errors import CaseError
        from tasks.io.audit import audit
        from tasks.io.ledger import Ledger
        from tasks.io.registry import Registry
        from tasks.io.workbench import Workbench

        book = Ledger(home.ledger_url)
        if what == "head":
            terminal.line(book.pin())
            return
        if what == "verify":
            try:
                text = None if pin is None else pin.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise CaseError(
                    f"cannot be read: {getattr(error, 'strerror', 'not text')}.", where=str(pin), fix="Give the file that `equipoise ledger head` was kept in."
                ) from error
            lines = audit(home, book, Registry(home.mlflow_url, home.artifacts), text)
        else:
            Workbench.open(what)
            events = book.events(what)
    if what != "verify":
        terminal_governance.history(what, events)
        terminal.closing(made="nothing: this only looks", look=f"equipoise status {what}", then="equipoise ledger verify")
        return
    terminal_governance.audit(lines)
    bad = [line for line in lines if line.good is False]
    terminal.closing(
        made="nothing: this only looks",
        look=home.ledger_url.split("@")[-1],
        then="equipoise ledger head > FILE kept elsewhere" if not bad else f"look into: {bad[0].what}",
    )
    if bad:
        raise typer.Exit(2)


def rollback(case: terminal.CaseName, why: Annotated[str, typer.Option(metavar="TEXT", help="Why, for the record.")] = "") -> None:
    """Return to the version that was in production before."""
    with terminal.session(f"Rollback of {case}"):
        from tasks.io.workbench import Workbench
        from tasks.promotion import roll_back

        left, back = roll_back.fn(Workbench.open(case), why)
    terminal.closing(
        made=f"{case} version {back} is in production again, instead of version {left}", look=f"equipoise ledger {case}", then=f"equipoise infer {case}"
    )


def retire(case: terminal.CaseName, version: VersionNumber, why: Annotated[str, typer.Option(metavar="TEXT", help="Why, for the record.")] = "") -> None:
    """Take a version out of use for good: it is never served again."""
    with terminal.session(f"Retirement of {case} version {version}"):
        from tasks.io.workbench import Workbench
        from tasks.promotion import retire_version

        retire_version.fn(Workbench.open(case), version, why)
    terminal.closing(made=f"{case} version {version} is retired", look=f"equipoise ledger {case}", then=f"equipoise status {case}")


def promote(case: terminal.CaseName, version: VersionNumber) -> None:
    """Let a version into production when nothing is missing; otherwise list what is, and exit 2."""
    with terminal.session(f"Promotion of {case} version {version}", case=case, libraries=warmup.REGISTRY):
        from flows.promote import promote as flow

        result = flow(case, version)
    if not result.promoted:
        terminal.closing(
            made="nothing: " + "; ".join(result.missing), look=f"equipoise gate {case} {version}", then="supply what is missing, then promote again"
        )
        raise typer.Exit(2)
    terminal.closing(made=f"{case} version {version} is in production", look="the alias `production` in MLflow", then=f"equipoise infer {case}")


def _passphrase(prompt: str, *, confirm: bool = False) -> str:
    """From EQUIPOISE_KEY_PASSPHRASE, or asked for without showing it."""
    given = os.environ.get("EQUIPOISE_KEY_PASSPHRASE")
    return given if given is not None else str(typer.prompt(prompt, hide_input=True, confirmation_prompt=confirm))


def _date(text: str | None) -> dt.date | None:
    if text is None:
        return None
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a date: write YYYY-MM-DD", param_hint="--expires") from None


def prune(
    remove: Annotated[bool, typer.Option("--remove", help="Remove them; without it they are only counted.", show_default=False)] = False,
) -> None:
    """Find stored objects that no record refers to any more, and remove them."""
    with terminal.session(None) as home:
        from tasks.io import retention
        from tasks.io.ledger import Ledger
        from tasks.io.store import Store

        paths = retention.unreferenced(Store(home.store), Ledger(home.ledger_url))
        size = sum(path.stat().st_size for path in paths if path.exists())
        if remove:
            retention.remove(paths)
    terminal.closing(
        made=f"{len(paths)} objects of {size / 1e6:,.1f} MB " + ("removed" if remove else "are referred to by nothing")
        if paths
        else "nothing: all is referred to",
        look=str(home.store),
        then="equipoise prune --remove" if paths and not remove else "equipoise ledger verify",
    )

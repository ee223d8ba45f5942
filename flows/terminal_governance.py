"""What the commands of governance show."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flows import terminal

if TYPE_CHECKING:  # `equipoise --help` imports nothing heavy
    from tasks.core.gate import Decision
    from tasks.core.review import Event

MARKS = {"passed": "✓ passed", "failed": "✗ failed", "insufficient evidence": "? insufficient evidence"}


def gate(decision: "Decision", compared_with: int | None) -> None:
    """Every limit with its figure, interval, margin and verdict."""
    title = "The gate" + (f" (production is version {compared_with})" if compared_with else "")
    table = terminal.table(title, "limit", "figure", "95 % interval", "margin", "verdict")
    for check in decision.checks:
        interval = "–" if check.low is None or check.high is None else "exact" if check.low == check.high else f"{check.low:.4g} to {check.high:.4g}"
        figure = "–" if check.value is None else f"{check.value:.4g}"
        terminal.add(table, check.limit, figure, interval, "–" if check.margin is None else f"{check.margin:+.4g}", MARKS[check.outcome])
    terminal.show(table)
    for reason in decision.reasons:
        terminal.warn(reason)


def review(view: Any) -> None:
    """All that a reviewer signs."""
    from rich.markdown import Markdown

    terminal.show(Markdown(view.card))
    for part in view.parts:
        terminal.line(f"{part}: {view.parts[part] or '(empty: promotion waits for it)'}")
    gate(view.gated.decision, view.gated.compared_with)
    if view.compared:
        terminal.changes(view.compared, f"version {view.gated.compared_with} in production")
    else:
        terminal.line("Comparison with production: " + view.uncompared)
    terminal.line(f"Drift since training: {view.drift}")
    for missing in view.gated.missing:
        terminal.warn(missing)
    terminal.line(f"You sign: evidence {view.gated.evidence}, card {view.gated.card}")


def history(case: str, events: Sequence["Event"]) -> None:
    """A case's ledger in words."""
    from tasks.core.history import told

    table = terminal.table(f"Ledger of {case}", "entry", "when (UTC)", "what happened")
    table.columns[2].justify = "left"
    for event in events:
        terminal.add(table, event.sequence, event.at[:19].replace("T", " "), told(event))
    terminal.show(table)


def audit(lines: Sequence[Any]) -> None:
    """What a check of the ledger found."""
    table = terminal.table("The ledger", "what", "", "found")
    for line in lines:
        terminal.add(table, line.what, {True: "✓", False: "✗ WRONG", None: "?"}[line.good], line.found)
    terminal.show(table)

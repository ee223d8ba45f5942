"""What a reviewer is shown before signing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tasks.io.gatehouse import Gated, against_production, card_parts, drift_since_training, hold_gate
from tasks.io.workbench import Workbench


@dataclass(frozen=True)
class View:
    """The card with its human parts, the gate, the comparison with production (or why there is none), and drift in a sentence."""

    card: str
    parts: dict[str, str]
    gated: Gated
    compared: Sequence[dict[str, Any]]
    uncompared: str
    drift: str


def review_view(bench: Workbench, version: int) -> View:
    """Everything that a review of the version is about, now."""
    events = bench.ledger.events(bench.case.case)
    gated = hold_gate(bench, events, version)
    evidence = bench.archive.evidence(gated.evidence)
    beside = against_production(bench, events, evidence, version)
    rows = [dict(row) for row in beside.rows if row["metric"] == bench.case.metrics.primary]
    drift = drift_since_training(bench, evidence)
    share = "not known" if drift.value is None else f"{drift.value:.0%} of the features"
    return View(
        card=bench.store.get(evidence["card"]).decode(),
        parts=card_parts(bench, version),
        gated=gated,
        compared=rows,
        uncompared=beside.absent or "no row that production has not learned from",
        drift=f"{share} ({drift.note})",
    )

"""Holds the gate again as it stood when an entry of the ledger was written, as far as the evidence alone tells."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tasks.core.case import Case
from tasks.core.dossier import read_decision
from tasks.core.evidence import StoredReport
from tasks.core.gate import Decision, decide
from tasks.core.proof import Proven, compare_decisions
from tasks.core.review import Event
from tasks.io.archive import Archive

LEFT_OUT = "it rests on what was in production or had drifted that day, or the case's limits were changed after training"


def gate_again(archive: Archive, case: Case, evidence: Mapping[str, Any], events: Sequence[Event]) -> Iterator[Proven]:
    """The checks of each entry, made again with the limits of the pinned case, and whether its outcome follows from them."""
    report = archive.report(evidence)
    for event in events:
        what = f"entry {event.sequence} ({event.kind})"
        recorded = read_decision(event.body["decision"])
        yield from compare_decisions(what, event.body["decision"]["checks"], _on_day(archive, case, evidence, report, event), left_out=LEFT_OUT)
        follows = event.body["outcome"] == recorded.outcome and (event.kind != "promoted" or recorded.passed)
        why = "" if follows else f"the entry says {event.body['outcome']}, and its checks say {recorded.outcome}"
        yield Proven("gate", f"{what}: outcome", "same" if follows else "different", why)


def _on_day(archive: Archive, case: Case, evidence: Mapping[str, Any], report: StoredReport, event: Event) -> Decision:
    """The limits on figures, on the baseline, and on those facts that the evidence holds, on the day of an entry."""
    day = dt.date.fromisoformat(event.at[:10])
    return decide(
        report,
        case.limits,
        against={"baseline": archive.against_baseline(evidence, case.cohorts.min_support)},
        facts=archive.facts(evidence, day),
        today=day,
    )

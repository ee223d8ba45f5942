"""Holds the gate again as it stood when an entry of the ledger was written, as far as the evidence alone tells."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tasks.core.case import Case, shift_period
from tasks.core.dossier import read_decision
from tasks.core.evidence import StoredReport
from tasks.core.gate import Against, Decision, Measured, decide
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
    findings, emissions, compared = (archive.store.get_json(evidence[name]) for name in ("findings", "emissions", "comparison"))
    rows, newest = compared.get("comparison", []), max(evidence["periods"])
    ended = dt.date.fromisoformat(f"{shift_period(newest, 1)}-01")
    kinds = [finding["kind"] for finding in findings]
    waived = [waiver.column for waiver in case.waivers]
    return decide(
        report,
        case.limits,
        against={"baseline": Against("the baseline", rows, case.cohorts.min_support, "" if rows else "the baseline itself was chosen")},
        facts={
            "suspected_proxies": Measured(kinds.count("suspected_proxy")),
            "failed_rules": Measured(kinds.count("rule")),
            "waivers": Measured(len(waived), ", ".join(waived)),
            "emissions_kg": Measured(emissions["kg"], "" if emissions["kg"] is not None else emissions["note"]),
            "data_age_days": Measured((day - ended).days, f"data to {newest}"),
        },
        today=day,
    )

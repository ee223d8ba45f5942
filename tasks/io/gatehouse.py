"""The gate as it stands today: a version's stored evidence held against the case's limits, production and the newest data."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tasks.core.comparison import compare
from tasks.core.digests import finite
from tasks.core.errors import DataError
from tasks.core.evidence import card_digest
from tasks.core.gate import Against, Decision, Measured, decide
from tasks.core.review import CARD_PARTS, Event, Grounds, production_version, registration, what_is_missing
from tasks.io.documents import load_people
from tasks.io.references import reference
from tasks.io.workbench import Workbench

SHOWN = "equipoise.in_production_since_entry"
"""Tag of a version: the ledger's entry that the alias `production` followed last."""


@dataclass(frozen=True)
class Gated:
    """The gate's decision on a version, and all that stands between the version and production."""

    version: int
    decision: Decision
    missing: tuple[str, ...]
    evidence: str
    card: str
    compared_with: int | None

    @property
    def body(self) -> dict[str, Any]:
        """What the ledger keeps of it."""
        return {
            "evidence": self.evidence,
            "card": self.card,
            "compared_with": self.compared_with,
            "outcome": self.decision.outcome,
            "decision": finite(self.decision.to_dict()),
        }


def hold_gate(bench: Workbench, events: Sequence[Event], version: int) -> Gated:
    """Hold a registered version against everything, now. The limits are those the case has today.

    Raises: DataError for a version that is not registered; IntegrityError when its evidence is not what was recorded.
    """
    registered = registration(events, version)
    if registered is None:
        raise unknown_version(bench, events, version)
    archive, digest, today = bench.archive, registered.body["evidence"], dt.datetime.now(dt.UTC).date()
    evidence = archive.evidence(digest)
    production = production_version(events)
    decision = decide(
        archive.report(evidence),
        bench.case.limits,
        against=_against(bench, events, evidence, version),
        facts=_facts(bench, evidence, today),
        today=today,
    )
    parts = card_parts(bench, version)
    card = card_digest(evidence["card"], parts)
    grounds = Grounds(digest, card, registered.body["author"], load_people(bench.home.project), bench.case.review, today)
    missing = what_is_missing(events, version, decision.reasons, parts, grounds)
    return Gated(version, decision, tuple(missing), digest, card, production if production != version else None)


def show_production(bench: Workbench, change: Event) -> None:
    """Let MLflow show what the ledger has recorded: the alias, and on the version the entry that it stands for."""
    assert change.version is not None
    bench.registry.set_alias(bench.case.case, "production", change.version)
    bench.registry.set_tags(bench.case.case, change.version, {SHOWN: str(change.sequence)})


def was_shown(bench: Workbench, change: Event) -> bool:
    """Whether the alias has followed an entry. Where it has not, a crash came between, and the alias was not moved by hand."""
    assert change.version is not None
    return bench.registry.version(bench.case.case, change.version).tags.get(SHOWN) == str(change.sequence)


def card_parts(bench: Workbench, version: int) -> dict[str, str]:
    """The card's human parts, from the version's tags in MLflow, where a person may fill them."""
    tags = bench.registry.version(bench.case.case, version).tags
    return {part: tags.get(f"card.{part}", "") for part in CARD_PARTS}


def unknown_version(bench: Workbench, events: Sequence[Event], version: int) -> DataError:
    """The error for a version that is not in the record."""
    known = [str(event.version) for event in events if event.kind == "registered"]
    return DataError(
        f"`{bench.case.case}` has no registered version {version}. " + (f"There are: {', '.join(known)}." if known else "There is none."),
        fix=f"Run: equipoise train {bench.case.case}" if not known else "Look at: equipoise status",
    )


def no_production(case: str) -> DataError:
    """The error for a case of which nothing is in production."""
    return DataError(f"`{case}` has no model in production yet.", fix=f"Run: equipoise train {case}, then review and promote the version it made.")


def against_production(bench: Workbench, events: Sequence[Event], evidence: dict[str, Any], version: int) -> Against:
    """The version beside what is in production, on the version's test rows that production has not learned from."""
    production = production_version(events)
    if production is None or production == version:
        return Against("production", absent="nothing else is in production")
    name, archive = f"version {production} in production", bench.archive
    registered = registration(events, production)
    assert registered is not None  # only a registered version is promoted
    theirs = archive.evidence(registered.body["evidence"])
    frame, target = archive.part_rows(evidence, "test")
    parts = archive.parts(theirs)
    unseen = ~frame["row_id"].isin(parts.index[parts != "test"])
    if not unseen.any():
        return Against(name)  # no row to compare on: too little evidence
    frame, target = frame[unseen].reset_index(drop=True), target[unseen].reset_index(drop=True)
    tables = {name: archive.predict(theirs, frame, target), "this": archive.predict(evidence, frame, target)}
    compared = compare(tables, baseline=name, **bench.case.asked).published().reports["this"]
    return Against(name, compared.to_dict()["comparison"], bench.case.cohorts.min_support)


def _against(bench: Workbench, events: Sequence[Event], evidence: dict[str, Any], version: int) -> dict[str, Against]:
    """The comparisons that the case's limits ask for."""
    asked, found = {limit.against for limit in bench.case.limits}, dict[str, Against]()
    if "baseline" in asked:
        found["baseline"] = bench.archive.against_baseline(evidence, bench.case.cohorts.min_support)
    if "production" in asked:
        found["production"] = against_production(bench, events, evidence, version)
    return found


def _facts(bench: Workbench, evidence: dict[str, Any], today: dt.date) -> dict[str, Measured]:
    """The facts that limits may bound, as far as the case's do."""
    asked = {limit.fact for limit in bench.case.limits}
    drift = drift_since_training(bench, evidence) if "drift_share" in asked else Measured(None, "not measured")
    return bench.archive.facts(evidence, today) | {"drift_share": drift}


def drift_since_training(bench: Workbench, evidence: dict[str, Any]) -> Measured:
    """How much has moved between the rows the model is accepted on and the newest snapshot."""
    newest = bench.periods()[-1]
    if newest in evidence["periods"]:
        return Measured(0.0, f"no snapshot is newer than {newest}")
    _, frame = bench.snapshot("features", newest)
    kinds = {name: kind for name, kind in bench.kinds.items() if name in bench.case.features}
    if frame.empty:
        return Measured(None, f"{newest} has no rows")
    report = reference(bench.store, evidence["reference"], kinds).compare(frame, bench.case.drift)
    return Measured(report.share, f"{newest}: {', '.join(report.drifted_columns) or 'none'}")

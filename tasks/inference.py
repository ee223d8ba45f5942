"""Step: find what is in production by the record, and score a period with it exactly once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Literal

from prefect import runtime

from tasks.core.candidates import Candidate
from tasks.core.case import revision_key
from tasks.core.errors import CaseError, DataError, UnavailableError
from tasks.core.review import Event, last_change, production_version, registration
from tasks.core.scoring import Scores
from tasks.io.gatehouse import hold_gate, no_production, show_production, was_shown
from tasks.io.manifests import Digest, Manifest
from tasks.io.models import load
from tasks.io.performances import is_due, served, served_periods, served_whole
from tasks.io.workbench import Workbench
from tasks.step import now, say, step

ERRANDS = ("evidently", "artifacts", "mlflow")
"""Where an entry `served` has yet to be shown: Evidently's page, artifacts in Prefect, a run in MLflow."""


@dataclass(frozen=True)
class Production:
    """The version that serves, loaded after its digest was verified."""

    version: int
    evidence: str
    candidate: Candidate
    kinds: Mapping[str, Literal["numeric", "categorical"]]
    reference: str
    periods: tuple[str, ...]
    notice: str | None


@dataclass(frozen=True)
class Asked:
    """A range of periods that a person asked for; false where nobody did."""

    first: str | None = None
    last: str | None = None

    def __bool__(self) -> bool:
        return bool(self.first or self.last)

    def covers(self, period: str) -> bool:
        """Whether a period is in the range that was asked for."""
        return bool(self) and (self.first or period) <= period <= (self.last or period)


@dataclass(frozen=True)
class Due:
    """A period to score: its newest snapshot of features, and which revision of the period that is, from 1."""

    period: str
    revision: int
    source: Manifest

    def key(self, version: int) -> str:
        """Under which key the store keeps what a version makes of it."""
        return revision_key(f"v{version}-{self.period}", self.revision)


@step("find what is in production")
def find_production(bench: Workbench) -> Production:
    """The version the record promoted last. MLflow's alias is a view: moved by hand to a version that may serve, the move is
    adopted and recorded; moved to any other, it is refused with the reason and the last good version serves on.

    Raises: DataError when nothing may serve, IntegrityError when the model's bytes are not those registered.
    """
    case, events = bench.case.case, bench.ledger.events(bench.case.case)
    recorded = production_version(events)
    try:
        recorded, notice = _beside_alias(bench, events, recorded)
    except UnavailableError as error:
        if recorded is None:
            raise
        notice = f"MLflow is not there, so its alias was not looked at: version {recorded} serves, as the record says. {error.message}"
    if recorded is None:
        raise no_production(case)
    if notice:
        say(notice)
    body = _registered(events, recorded).body
    return Production(recorded, body["evidence"], _fetched(bench, recorded, body["model"]), body["inputs"], body["reference"], tuple(body["periods"]), notice)


def _beside_alias(bench: Workbench, events: list[Event], recorded: int | None) -> tuple[int | None, str | None]:
    """The version that serves once MLflow's alias has been looked at, and what there is to say of the alias; it then says the same."""
    case, ledger, registry = bench.case.case, bench.ledger, bench.registry
    change, alias, notice = last_change(events), registry.alias(case, "production"), None
    if alias is not None and alias != recorded and (change is None or was_shown(bench, change)):
        gated = hold_gate(bench, events, alias) if registration(events, alias) else None
        missing = ["it was not registered by Equipoise"] if gated is None else list(gated.missing)
        if gated is not None and not missing:
            change = ledger.append(case, "promoted", alias, {"previous": recorded, "adopted": True, **gated.body})
            notice, recorded = f"The alias was moved by hand to version {alias}, which is approved: adopted.", alias
        else:
            notice = f"The alias `production` was set by hand to version {alias}, which may not serve: {'; '.join(missing)}."
            ledger.append(case, "refused", alias, {"missing": missing, "by": "inference"})
            registry.set_tags(case, alias, {"equipoise.refused": notice})
            if recorded is None:
                raise DataError(
                    f"{notice} No other version was ever promoted.", fix=f"Run: equipoise review {case} {alias}, then: equipoise promote {case} {alias}"
                )
            notice += f" Version {recorded} serves on, and the alias points to it again."
    if change is not None and (alias != recorded or not was_shown(bench, change)):
        show_production(bench, change)  # a crash came between ledger and alias, or somebody took the alias away
    return recorded, notice


def _fetched(bench: Workbench, version: int, digest: str) -> Candidate:
    """The model from MLflow; while MLflow is not there, the same bytes from the store."""
    try:
        return load(bench.registry.fetch_model(bench.case.case, version, digest))
    except UnavailableError:
        return load(bench.store.get(digest))


def asked_range(period: str | None, first: str | None, last: str | None) -> Asked:
    """What was asked to be scored. Raises: CaseError for a period beside a range, or a range that ends before it begins."""
    if period is not None and (first or last):
        raise CaseError(f"{period} was asked for, and a range as well.", fix="Give a period, or the ends of a range.")
    if first and last and first > last:
        raise CaseError(f"The range ends with {last}, before it begins with {first}.", fix="Give the earlier period first.")
    return Asked(period or first, period or last)


def due_periods(bench: Workbench, production: Production, asked: Asked = Asked()) -> list[Due]:
    """Periods to score, oldest first: those after the training window that this version has not served as they are now; or, where
    something was asked for, all of it that has a snapshot.

    A period is due again when its snapshot was corrected (a further revision), or when a part of it could not be read. Raises:
    DataError where nothing that was asked for has a snapshot.
    """
    taken = bench.periods()
    wanted = [period for period in taken if (asked.covers(period) if asked else period > max(production.periods))]
    if asked and not wanted:
        bench.newest("features", asked.first or asked.last or "")
    whole = served_whole(bench, production.version)
    newest = {period: bench.newest("features", period) for period in wanted}
    return [Due(period, revision, source) for period, (source, revision) in newest.items() if is_due(whole, period, revision)]


def served_months(bench: Workbench, version: int) -> list[dict[str, Any]]:
    """What the record says last of each period a version has served, oldest first."""
    return list(served_periods(bench, version).values())


def alarms_before(bench: Workbench, version: int, due: Due, predictions: Digest) -> list[bool]:
    """Which looks at what a version served before these predictions raised an alarm of drift, in the order of the record. A correction is
    a look like any other: it has spent its share of the false alarms that are allowed.
    """
    looked = (due.period, due.revision, predictions)
    earlier = takewhile(lambda body: (body["period"], body.get("revision", 1), body["predictions"]) != looked, served(bench, version))
    return [bool(body.get("alarm", body["drifted"])) for body in earlier]


@step("keep the predictions", task_run_name="keep the predictions of {due.period}")
def keep_predictions(bench: Workbench, production: Production, due: Due, scores: Scores) -> Manifest:
    """Put the predictions of a period on record, once. Predictions that lack parts have a key of their own, and leave the period's to whole
    ones; so have those that other settings of the case make of a period whose run ended before its entry.
    """
    key = due.key(production.version) + (f"-partial-{scores.predictions[7:19]}" if scores.left_out else "")
    known = bench.store.find(bench.case.case, "predictions", key)
    if known is not None and known.digest != scores.predictions:
        key += f"-{scores.predictions[7:19]}"
        known = bench.store.find(bench.case.case, "predictions", key)
    manifest = bench.store.record(
        Manifest(
            stream=bench.case.case,
            kind="predictions",
            key=key,
            digest=scores.predictions,
            rows=scores.rows,
            schema=scores.columns,
            source=f"version {production.version} on {due.source.digest}",
            created=now(),
            parent=due.source.digest,
        )
    )
    if scores.strangers:
        named = ", ".join(f"{group} ({count:,})" for group, count in scores.strangers.items())
        say(f"{due.period}: rows of cohorts that fitting did not show take the documented fallback: {named}")
    told = f", {scores.abstained:,} without an answer" if scores.abstained else ""
    told += f", {len(scores.left_out)} part(s) left out" if scores.left_out else ""
    say(f"scored {due.period}: {scores.rows:,} rows with version {production.version}{told}" + (" (already stored)" if known is not None else ""))
    return manifest


def is_served(bench: Workbench, production: Production, due: Due) -> bool:
    """Whether the record has the period as its snapshot is now: another process may have been faster."""
    return not is_due(served_whole(bench, production.version), due.period, due.revision)


@step("record as served")
def record_served(bench: Workbench, production: Production, due: Due, predictions: Manifest, month: Mapping[str, Any]) -> bool:
    """Enter the period into the ledger, once for each version, snapshot and predictions; where it has to be shown is entered in the same
    breath. Returns whether it is new.
    """
    body = {**month, "revision": due.revision, "snapshot": due.source.digest, "predictions": predictions.digest, "flow_run": runtime.flow_run.id}

    def there(events: Sequence[Event]) -> bool:
        own = [event.body for event in events if event.kind == "served" and event.version == production.version]
        return any((one["period"], one["predictions"], one.get("revision", 1)) == (due.period, predictions.digest, due.revision) for one in own)

    return bench.ledger.append_unless(bench.case.case, "served", production.version, body, there, errands=ERRANDS) is not None


def _registered(events: list[Event], version: int) -> Event:
    found = registration(events, version)
    assert found is not None  # only a registered version is promoted or adopted
    return found

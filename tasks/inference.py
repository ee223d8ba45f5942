"""Step: find what is in production by the record, and score a period with it exactly once."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Literal

import pandas as pd

from tasks.core.candidates import Candidate
from tasks.core.errors import DataError
from tasks.core.review import Event, last_change, production_version, registration
from tasks.core.schema import check_schema
from tasks.io.gatehouse import hold_gate, show_production, was_shown
from tasks.io.models import load
from tasks.io.store import Manifest
from tasks.io.workbench import Workbench
from tasks.step import now, say, step


@dataclass(frozen=True)
class Production:
    """The version that serves, loaded after its digest was verified."""

    version: int
    candidate: Candidate
    kinds: Mapping[str, Literal["numeric", "categorical"]]
    reference: str
    periods: tuple[str, ...]
    notice: str | None


@dataclass(frozen=True)
class Scored:
    """A scored period: the manifest of its predictions, and its rows with `prediction` beside them."""

    period: str
    manifest: Manifest
    frame: pd.DataFrame
    fresh: bool


@step("find what is in production")
def find_production(bench: Workbench) -> Production:
    """The version the record promoted last. MLflow's alias is a view: moved by hand to a version that may serve, the move is
    adopted and recorded; moved to any other, it is refused with the reason and the last good version serves on.

    Raises: DataError when nothing may serve, IntegrityError when the model's bytes are not those registered.
    """
    case, ledger, registry = bench.case.case, bench.ledger, bench.registry
    events = ledger.events(case)
    change, alias, notice = last_change(events), registry.alias(case, "production"), None
    recorded = production_version(events)
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
    if recorded is None or change is None:
        raise DataError(f"`{case}` has no model in production yet.", fix=f"Run: equipoise train {case}, then review and promote the version it made.")
    if alias != recorded or not was_shown(bench, change):
        show_production(bench, change)  # a crash came between ledger and alias, or somebody took the alias away
    if notice:
        say(notice)
    body = _registered(events, recorded).body
    candidate = load(registry.fetch_model(case, recorded, body["model"]))
    return Production(recorded, candidate, body["inputs"], body["reference"], tuple(body["periods"]), notice)


def due_periods(bench: Workbench, production: Production, period: str | None) -> list[str]:
    """The one period asked for, or every one after the training window that this version has not served, oldest first."""
    if period is not None:
        return [period]
    done = {month["period"] for month in served_months(bench, production.version)}
    return [taken for taken in bench.periods() if taken > max(production.periods) and taken not in done]


def served_months(bench: Workbench, version: int) -> list[dict[str, Any]]:
    """What the record says of each period a version has served, oldest first."""
    served = [event.body for event in bench.ledger.events(bench.case.case) if event.kind == "served" and event.version == version]
    return sorted(served, key=lambda body: str(body["period"]))


def alarms_before(bench: Workbench, version: int, period: str) -> list[bool]:
    """Which periods that a version served before this one raised an alarm of drift, in the order they were served."""
    served = [event.body for event in bench.ledger.events(bench.case.case) if event.kind == "served" and event.version == version]
    earlier = takewhile(lambda body: body["period"] != period, served)
    return [bool(body.get("alarm", body["drifted"])) for body in earlier]


@step("score", task_run_name="score {period}")
def score_period(bench: Workbench, production: Production, period: str) -> Scored:
    """Verify the snapshot, check its schema against the model's, and store one prediction for each row, once.

    Raises: DataError naming missing, extra, renamed or retyped columns before anything is scored.
    """
    source, frame = bench.snapshot("features", period)
    known = {column.name for column in bench.dataset.columns} | {"row_id"}
    check_schema(production.kinds, frame, known, where=f"snapshot {period} of {bench.case.case}")
    predictions = pd.DataFrame({"row_id": frame["row_id"], "y_pred": production.candidate.predict(frame)})
    score = production.candidate.predict_score(frame)
    if score is not None:
        predictions["y_score"] = score
    if strangers := production.candidate.unseen(frame):
        named = ", ".join(f"{group} ({count:,})" for group, count in strangers.items())
        say(f"{period}: rows of cohorts that fitting did not show take the documented fallback: {named}")
    key = f"v{production.version}-{period}"
    existed = bench.store.find(bench.case.case, "predictions", key) is not None
    manifest = bench.store.record(
        Manifest(
            stream=bench.case.case,
            kind="predictions",
            key=key,
            digest=bench.store.put_frame(predictions),
            rows=len(predictions),
            schema={column: str(dtype) for column, dtype in predictions.dtypes.items()},
            source=f"version {production.version} on {source.digest}",
            seed=None,
            created=now(),
            parent=source.digest,
        )
    )
    say(f"scored {period}: {len(predictions):,} rows with version {production.version}" + (" (already stored)" if existed else ""))
    return Scored(period, manifest, with_prediction(frame, predictions), not existed)


def with_prediction(frame: pd.DataFrame, predictions: pd.DataFrame) -> pd.DataFrame:
    """The rows with the column `prediction`: the score where there is one, the predicted value otherwise."""
    return frame.assign(prediction=predictions["y_score" if "y_score" in predictions else "y_pred"].to_numpy())


@step("record as served")
def record_served(bench: Workbench, production: Production, scored: Scored, summary: Mapping[str, Any]) -> bool:
    """Enter the period into the ledger, once for each version and snapshot. Returns whether it is new."""
    if any(month["period"] == scored.period for month in served_months(bench, production.version)):
        return False
    bench.ledger.append(bench.case.case, "served", production.version, {**summary, "predictions": scored.manifest.digest})
    return True


def _registered(events: list[Event], version: int) -> Event:
    found = registration(events, version)
    assert found is not None  # only a registered version is promoted or adopted
    return found


@step("join predictions with labels")
def labelled_predictions(bench: Workbench, production: Production, period: str | None) -> tuple[str, pd.DataFrame]:
    """The predictions table of a served period whose labels have come: the newest one unless a period is given.

    Raises: DataError when the period was not served, or has no labels yet.
    """
    served = {month["period"]: month["predictions"] for month in served_months(bench, production.version)}
    labelled = [found for found in bench.periods("labels") if found in served]
    if period is None and not labelled:
        raise DataError(
            f"No period that version {production.version} of `{bench.case.case}` has scored has labels yet.", fix=f"Run: equipoise infer {bench.case.case}"
        )
    chosen = period or labelled[-1]
    if chosen not in served:
        raise DataError(
            f"Version {production.version} of `{bench.case.case}` has not scored {chosen}.", fix=f"Run: equipoise infer {bench.case.case} --period {chosen}"
        )
    frame, target, _ = bench.labelled(chosen)
    return chosen, frame.assign(y_true=target).merge(bench.store.get_frame(served[chosen]), on="row_id", validate="one_to_one")

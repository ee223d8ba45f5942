"""What labels said of a version, period by period: the record's entries of kind `monitored`, and the store's objects that they name."""

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

import pandas as pd

from tasks.core.case import revision_key
from tasks.core.report import records
from tasks.core.review import Event
from tasks.io.manifests import Manifest
from tasks.io.workbench import Workbench

PERFORMANCE, ESTIMATE = "performance", "estimate"
ERRANDS = ("evaluation page", "evaluation")
"""What is left to do of a `monitored` entry: artifacts in Prefect, and a run in MLflow."""
COLUMNS = (
    *("period", "cohort", "metric", "value", "low", "high", "rows", "accepted", "accepted_low", "accepted_high"),
    *("since", "since_low", "since_high", "verdict", "estimate", "estimate_low", "estimate_high", "inside"),
)


def served(bench: Workbench, version: int) -> list[dict[str, Any]]:
    """Every entry of a version's service, in the order of the record."""
    return [event.body for event in bench.ledger.events(bench.case.case) if event.kind == "served" and event.version == version]


def served_periods(bench: Workbench, version: int) -> dict[str, dict[str, Any]]:
    """The record's last word on each period that a version served, oldest period first."""
    last = {str(body["period"]): body for body in served(bench, version)}
    return {period: last[period] for period in sorted(last)}


def served_whole(bench: Workbench, version: int) -> dict[str, dict[str, Any]]:
    """The last entry of each period that lacks no part of it."""
    return {str(body["period"]): body for body in served(bench, version) if not body.get("missing_parts")}


def is_due(whole: Mapping[str, Mapping[str, Any]], period: str, revision: int) -> bool:
    """Whether a period has yet to be scored as its snapshot is now, by its revision; `whole`: what `served_whole` tells of a version."""
    return period not in whole or whole[period].get("revision", 1) != revision


def monitored(bench: Workbench, version: int) -> list[Event]:
    """Every entry that says how good a version was on the labels of a period, in the order of the record."""
    return [event for event in bench.ledger.events(bench.case.case) if event.kind == "monitored" and event.version == version]


def newest_by_period(events: Sequence[Event]) -> dict[str, Event]:
    """The last entry of each period, oldest period first: labels may have been corrected or have become more."""
    newest = {str(event.body["period"]): event for event in events}
    return {period: newest[period] for period in sorted(newest)}


def is_monitored(events: Sequence[Event], version: int, period: str, labels: str, predictions: str) -> bool:
    """Whether the record's last word on a period holds these predictions against these labels, named by digest."""
    own = (one.body for one in reversed(events) if one.kind == "monitored" and (one.version, one.body["period"]) == (version, period))
    last = next(own, None)
    return last is not None and (last["labels"], last["predictions"]) == (labels, predictions)


def awaiting(bench: Workbench, version: int) -> dict[str, Manifest]:
    """The newest labels of each period that a version served and that is not on record with them as they are, oldest period first."""
    entries, come = monitored(bench, version), set(bench.periods("labels"))
    newest = {period: (body, bench.newest("labels", period)[0]) for period, body in served_periods(bench, version).items() if period in come}
    return {period: labels for period, (body, labels) in newest.items() if not is_monitored(entries, version, period, labels.digest, body["predictions"])}


def performance_of(bench: Workbench, version: int, period: str, labels: str, predictions: str) -> tuple[Manifest | None, str]:
    """What the store has of a period with these labels and predictions, or None; and the key that it has or would have."""
    for revision in count(1):
        key = revision_key(f"v{version}-{period}", revision)
        found = bench.store.find(bench.case.case, PERFORMANCE, key)
        if found is None or (found.parent, found.extra.get("predictions")) == (labels, predictions):
            break
    return found, key


def estimate_key(version: int, period: str, predictions: str) -> str:
    """Under which key the store keeps what was estimated of predictions, named by digest: they may lack parts, and come to be whole."""
    return f"v{version}-{period}-{predictions[7:19]}"


def estimates_of(bench: Workbench, version: int, period: str, predictions: str) -> pd.DataFrame | None:
    """The estimates that were made of a period's predictions before its labels came (columns of tasks.core.estimation), or None."""
    found = bench.store.find(bench.case.case, ESTIMATE, estimate_key(version, period, predictions))
    return pd.DataFrame(bench.store.get_json(found.digest)["rows"]) if found else None


def keep(bench: Workbench, kind: str, key: str, digest: str, *, rows: int, source: str, created: str, parent: str, predictions: str | None = None) -> Manifest:
    """Put what the store has of a period on record, once. Returns: the manifest that stands."""
    extra = {"predictions": predictions} if predictions else {}
    return bench.store.record(Manifest(bench.case.case, kind, key, digest, rows, {}, source, created, parent=parent, extra=extra))


def history(bench: Workbench, version: int) -> pd.DataFrame:
    """One row for each served period, cohort and metric, with columns COLUMNS: the figure on that period's labels with its 95 % interval,
    what was accepted, all periods since acceptance, and the estimate made before labels came. Periods without labels have estimates
    only; what is not known is NaN.
    """
    entries = newest_by_period(monitored(bench, version))
    rows: list[dict[str, Any]] = []
    for period, last in served_periods(bench, version).items():
        if period in entries:
            rows += _rows_with_labels(period, bench.store.get_json(entries[period].body["performance"]))
        elif (estimates := estimates_of(bench, version, period, last["predictions"])) is not None:
            rows += [{"period": period, **_named(one, "estimate"), "rows": one["n"]} for one in records(estimates)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _rows_with_labels(period: str, body: Mapping[str, Any]) -> list[dict[str, Any]]:
    judged = {(one["cohort"], one["metric"]): one for one in body["judged"]}
    estimated = {(one["cohort"], one["metric"]): one for one in body["estimates"] or ()}
    rows = []
    for row in body["report"]["rows"]:
        key = row["cohort"], row["metric"]
        found = {"period": period, **{name: row[name] for name in ("cohort", "metric", "value", "low", "high")}, "rows": row["support"]}
        one = judged.get(key, {"verdict": None})
        for side in ("accepted", "since"):
            found |= {name: value for name, value in _named(one.get(side) or {}, side).items() if value is not None}
        guess = estimated.get(key)
        rows.append(found | {"verdict": one["verdict"]} | (_named(guess, "estimate") | {"inside": guess["inside"]} if guess else {}))
    return rows


def _named(one: Mapping[str, Any], side: str) -> dict[str, Any]:
    """A figure's value and limits under the names of one side, with the cohort and metric where they are told."""
    names = {"value": side, "low": f"{side}_low", "high": f"{side}_high"}
    return {name: one[name] for name in ("cohort", "metric") if name in one} | {new: one.get(old) for old, new in names.items()}

"""Step: compare registered versions on rows that none of them has learned from."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from tasks.core.comparison import Comparison, compare
from tasks.core.digests import canonical_json
from tasks.core.errors import DataError
from tasks.core.predictions import predictions_table
from tasks.core.review import Event, production_version, registration
from tasks.io.models import load
from tasks.io.workbench import Workbench
from tasks.step import say, step

Windows = Mapping[int, tuple[pd.DataFrame, pd.Series, pd.Series]]  # of each version: rows, target, part of the split
LATER = "Compare on a later labelled month: --period YYYY-MM"


@dataclass(frozen=True)
class Versions:
    """Versions to compare, the baseline first, with what the ledger says of each."""

    registered: Mapping[int, Event]

    @property
    def baseline(self) -> int:
        """The version that the others are held against."""
        return next(iter(self.registered))


@step("choose versions to compare")
def versions_to_compare(bench: Workbench, asked: Sequence[int]) -> Versions:
    """Those asked for; otherwise production (or the first version) and the newest. The baseline is production if it is among
    them, else the first asked for.

    Raises: DataError for a version that is not registered, and for fewer than two.
    """
    case = bench.case.case
    events = bench.ledger.events(case)
    known = [event.version for event in events if event.kind == "registered" and event.version is not None]
    production = production_version(events)
    wanted = list(dict.fromkeys(asked)) or list(dict.fromkeys([production or min(known), max(known)] if known else []))
    if strangers := [version for version in wanted if version not in known]:
        raise DataError(f"`{case}` has no version {strangers[0]}; there are {', '.join(map(str, known)) or 'none'}.", fix=f"Run: equipoise status {case}")
    if len(wanted) < 2:
        raise DataError(f"`{case}` has {len(known)} registered version(s): a comparison needs two.", fix=f"Run: equipoise train {case} --period YYYY-MM")
    if production in wanted:
        wanted = [production, *(version for version in wanted if version != production)]
    found = {}
    for version in wanted:
        event = registration(events, version)
        assert event is not None
        found[version] = event
    return Versions(found)


def code_of(bench: Workbench, versions: Versions) -> dict[str, str]:
    """The commit that each version was made with, `+changes` when files differed from it, by `version N`."""
    return {f"version {version}": str(bench.archive.evidence(event.body["evidence"])["code"]) for version, event in versions.registered.items()}


@step("choose rows to compare on")
def unseen_rows(bench: Workbench, versions: Versions, windows: Windows) -> tuple[pd.DataFrame, pd.Series]:
    """Rows and target of the newest window's test part that no version was fitted or chosen on. `windows` by version.

    Raises: DataError when there are none, and when a version was split in another way than the case now says.
    """
    split = canonical_json({**bench.case.split.model_dump(), "seed": bench.case.seed})
    for version, event in versions.registered.items():
        if canonical_json(json.loads(bench.store.get(event.body["evidence"]))["split"]) != split:
            raise DataError(f"Version {version} of `{bench.case.case}` was trained on another split than the case has now.", fix=LATER)
    newest = max(windows)
    frame, target, part = windows[newest]
    learned = [rows["row_id"][parts != "test"] for rows, _, parts in windows.values()]
    unseen = (part == "test") & ~frame["row_id"].isin(pd.concat(learned))
    if not unseen.any():
        raise DataError(f"Every test row of version {newest} of `{bench.case.case}` was used to fit or choose one of the others.", fix=LATER)
    say(f"comparing on {int(unseen.sum()):,} test rows of version {newest} that no version has learned from")
    return frame[unseen].reset_index(drop=True), target[unseen].reset_index(drop=True)


@step("read a labelled period")
def later_rows(bench: Workbench, period: str, windows: Windows) -> tuple[pd.DataFrame, pd.Series]:
    """Rows and target of a labelled period, none of which a version was trained on.

    Raises: DataError for a period without labels, and for rows that are in a training window.
    """
    frame, target, _ = bench.labelled(period)
    for version, (rows, _, _) in windows.items():
        if frame["row_id"].isin(rows["row_id"]).any():
            raise DataError(f"{period} is part of what version {version} of `{bench.case.case}` was trained on.", fix="Give a later labelled month.")
    if frame.empty:
        raise DataError(f"No row of {period} of `{bench.case.case}` has a label yet.", fix=f"Run: equipoise snapshot {bench.case.case}")
    return frame, target


@step("let versions predict")
def predict_with_versions(bench: Workbench, versions: Versions, frame: pd.DataFrame, target: pd.Series) -> dict[str, pd.DataFrame]:
    """One predictions table a version, of the same rows, by `version N`; each model's digest is verified before it is loaded."""
    return {
        f"version {version}": predictions_table(load(bench.registry.fetch_model(bench.case.case, version, event.body["model"])), frame, target)
        for version, event in versions.registered.items()
    }


@step("compare versions")
def compare_versions(bench: Workbench, versions: Versions, tables: Mapping[str, pd.DataFrame]) -> Comparison:
    """The case's metrics on its cohorts, each version beside the baseline, as may be published."""
    case = bench.case
    found = compare(
        tables,
        baseline=f"version {versions.baseline}",
        **case.asked,
    )
    return found.published()

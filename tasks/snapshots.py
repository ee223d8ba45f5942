"""Step: take immutable snapshots of a dataset's periods, and read them back."""

import datetime as dt
from collections.abc import Collection, Sequence
from zoneinfo import ZoneInfo

import pandas as pd

from tasks.core.case import revision_key, shift_period
from tasks.core.catalogue import RiskFlag
from tasks.core.errors import DataError, nearest
from tasks.core.simulation import simulate
from tasks.io.manifests import Manifest
from tasks.io.sources import months_of, read_parts, read_source, shown, with_row_ids
from tasks.io.workbench import Workbench
from tasks.step import now, say, step


@step("take snapshots")
def take_snapshots(bench: Workbench, period: str | None = None, *, revise: bool = False) -> tuple[list[Manifest], int]:
    """Record the features of one period, or of all that the source holds, and the labels that come with them.

    Labels come `labels_after` periods later than features: those of that earlier period are taken. The month that is not over yet is
    left out. revise: where the source now says something else than the newest snapshot of a period, take a further revision beside it.

    Returns: the features' manifests, oldest first, and of how many periods something is new. Raises: ConflictError when the source says something
    else and `revise` is not given.
    """
    months, later = _months(bench, period), bench.case.periods.labels_after
    label_columns = bench.dataset.labels
    taken, fresh = [], set[str]()
    for name, frame in months.items():
        if period in (None, name):
            features = frame.drop(columns=[column for column in label_columns if column in frame])
            manifest, new = _record(bench, "features", name, features, revise=revise)
            taken.append(manifest)
            fresh |= {name} if new else set()
        if shift_period(name, later) == period or (period is None and shift_period(name, later) in months):
            labels = frame[["row_id", *(column for column in label_columns if column in frame)]]
            fresh |= {name} if _record(bench, "labels", name, labels, revise=revise)[1] else set()
    return taken, len(fresh)


def _record(bench: Workbench, kind: str, period: str, table: pd.DataFrame, *, revise: bool) -> tuple[Manifest, bool]:
    """Put a period's features or labels on record, once. Returns: the manifest, and whether it is new."""
    (digest, _), before = bench.store.put_parts([table]), bench.revisions(kind, period)
    revision = len(before) + 1 if revise and before and digest != before[-1].digest else max(len(before), 1)
    parent = bench.store.find(bench.stream, kind, shift_period(period, -1)) if revision == 1 else before[-1]
    manifest = bench.store.record(
        Manifest(
            stream=bench.stream,
            kind=kind,
            key=revision_key(period, revision),
            digest=digest,
            rows=len(table),
            schema={column: str(dtype) for column, dtype in table.dtypes.items()},
            source=shown(bench.dataset.source),
            seed=bench.case.periods.simulate.seed if bench.case.periods.simulate else None,
            created=now(),
            parent=parent.digest if parent else None,
        )
    )
    new = revision > len(before)
    how = "already there, unchanged" if not new else "taken" if revision == 1 else f"taken as revision {revision}: the source now says something else"
    say(f"snapshot {period}, {kind}: {len(table):,} rows, {how} ({manifest.digest[7:19]})")
    return manifest, new


def _months(bench: Workbench, period: str | None) -> dict[str, pd.DataFrame]:
    """The source's rows by period, each with its row ids: of one period and of the one whose labels come with it, or of all."""
    case, dataset = bench.case, bench.dataset
    simulation = case.periods.simulate
    wanted = None if period is None else {period, shift_period(period, -case.periods.labels_after)}
    if simulation is None:
        months = _ended(_split(bench, wanted), case.periods.timezone, period)
        keys = dataset.key_columns or None
    else:
        base = read_source(dataset.source, root=bench.home.project)
        # A resampled month repeats rows, so the table's own key no longer identifies one.
        periods = {shift_period(simulation.first, offset): offset + 1 for offset in range(simulation.months)}
        _must_know(period, periods)
        months = {
            name: simulate(base, simulation, month, features=case.features, target=case.target.column)
            for name, month in periods.items()
            if wanted is None or name in wanted
        }
        keys = None
    _must_know(period, months)
    risky = set(dataset.flagged(RiskFlag.PII, RiskFlag.SENSITIVE, RiskFlag.PROHIBITED)) & set(keys or ())
    return {name: with_row_ids(frame, keys, name, pseudonyms=bool(risky)) for name, frame in sorted(months.items()) if wanted is None or name in wanted}


def _split(bench: Workbench, wanted: Collection[str] | None) -> dict[str, pd.DataFrame]:
    """The source's rows by month, all months or those that are wanted; of the others no rows. Of a source in parts one is read at a time."""
    column, timezone = str(bench.case.periods.column), bench.case.periods.timezone
    months: dict[str, list[pd.DataFrame]] = {}
    heads = []  # without rows: a column has the type that holds the values of every part, however the rows are cut into parts
    for part in read_parts(bench.dataset.source, root=bench.home.project):
        heads.append(part.iloc[:0])
        for name, rows in months_of(part, column, timezone).items():
            months.setdefault(name, []).append(rows if wanted is None or name in wanted else heads[-1])
    return {name: found[0] if len(heads) == 1 else pd.concat([*found, *heads], ignore_index=True) for name, found in sorted(months.items())}


def _ended(months: dict[str, pd.DataFrame], timezone: str, period: str | None) -> dict[str, pd.DataFrame]:
    """The months without the present one: more of its rows will come. Raises: DataError when it is the one asked for."""
    present = f"{dt.datetime.now(ZoneInfo(timezone)):%Y-%m}"
    if period == present:
        raise DataError(f"{present} is not over yet.", fix=f"Take it from {shift_period(present, 1)}-01 on.")
    return {name: frame for name, frame in months.items() if name != present}


def _must_know(period: str | None, periods: Sequence[str] | dict[str, object]) -> None:
    if period is not None and period not in periods:
        raise DataError(f"The source holds no rows for {period}.", fix=nearest(period, periods))

"""Step: take immutable snapshots of a dataset's periods, and read them back."""

from collections.abc import Sequence

import pandas as pd

from tasks.core.case import shift_period
from tasks.core.catalogue import RiskFlag
from tasks.core.errors import DataError, nearest
from tasks.core.simulation import simulate
from tasks.io.sources import months_of, read_source, shown, with_row_ids
from tasks.io.store import Manifest
from tasks.io.workbench import Workbench
from tasks.step import now, say, step


@step("take snapshots")
def take_snapshots(bench: Workbench, period: str | None = None) -> tuple[list[Manifest], int]:
    """Record features and labels of one period, or of all that the source holds.

    Returns: the features' manifests, oldest first, and how many of them are new.
    """
    months = _months(bench, period)
    label_columns = bench.dataset.labels
    taken, fresh = [], 0
    for name, frame in months.items():
        features = frame.drop(columns=[column for column in label_columns if column in frame])
        labels = frame[["row_id", *(column for column in label_columns if column in frame)]]
        existed = bench.store.find(bench.stream, "features", name) is not None
        parent = bench.store.find(bench.stream, "features", shift_period(name, -1))
        manifests = [
            bench.store.record(
                Manifest(
                    stream=bench.stream,
                    kind=kind,
                    key=name,
                    digest=bench.store.put_frame(table),
                    rows=len(table),
                    schema={column: str(dtype) for column, dtype in table.dtypes.items()},
                    source=shown(bench.dataset.source),
                    seed=bench.case.periods.simulate.seed if bench.case.periods.simulate else None,
                    created=now(),
                    parent=parent.digest if parent else None,
                )
            )
            for kind, table in (("features", features), ("labels", labels))
        ]
        taken.append(manifests[0])
        fresh += not existed
        say(f"snapshot {name}: {len(frame):,} rows, {'taken' if not existed else 'already there, unchanged'} ({manifests[0].digest[7:19]})")
    return taken, fresh


def _months(bench: Workbench, period: str | None) -> dict[str, pd.DataFrame]:
    """The source's rows by period, each with its row ids."""
    case, dataset = bench.case, bench.dataset
    base = read_source(dataset.source, root=bench.home.project)
    simulation = case.periods.simulate
    if simulation is None:
        months = months_of(base, str(case.periods.column), case.periods.timezone)
        keys = dataset.key_columns or None
    else:
        # A resampled month repeats rows, so the table's own key no longer identifies one.
        periods = {shift_period(simulation.first, offset): offset + 1 for offset in range(simulation.months)}
        _must_know(period, periods)
        months = {
            name: simulate(base, simulation, month, features=case.features, target=case.target.column)
            for name, month in periods.items()
            if period in (None, name)
        }
        keys = None
    _must_know(period, months)
    risky = set(dataset.flagged(RiskFlag.PII, RiskFlag.SENSITIVE, RiskFlag.PROHIBITED)) & set(keys or ())
    return {name: with_row_ids(frame, keys, name, pseudonyms=bool(risky)) for name, frame in sorted(months.items()) if period in (None, name)}


def _must_know(period: str | None, periods: Sequence[str] | dict[str, object]) -> None:
    if period is not None and period not in periods:
        raise DataError(f"The source holds no rows for {period}.", fix=nearest(period, periods))

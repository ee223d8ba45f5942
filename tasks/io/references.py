"""What drift is measured against, kept ready: a version's reference is summarised once, and read once in a process.

The summaries are kept in the store (kind `summary`), below the digest that the version's evidence names: a fresh process reads them and not
the rows. Only the many values of a large reference that hardly repeat are not: to read them back takes longer than to sort the rows again
(1.9 s against 0.9 s for 1,000,000 rows of 20 columns), and those of cohorts take as much space again for each grouping.
"""

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from threading import Lock

import numpy as np
import pandas as pd

from tasks.core import drift_kept
from tasks.core.case import Cohorts, Drift
from tasks.core.digests import digest_of
from tasks.core.drift import DriftReport, compare
from tasks.core.drift_by_cohort import ByCohort, by_cohort
from tasks.core.drift_summary import Kind, Summary, summarise
from tasks.core.online import ALPHA
from tasks.core.schema import check_schema
from tasks.io.manifests import Manifest
from tasks.io.pages import ROWS, sample
from tasks.io.store import Store

KEPT = 2
"""How many references a process keeps: a summary of all distinct values may be as large as the table."""
FEW = 2_000_000
"""Summaries of up to so many values, 32 MB, are kept in the store whatever they are."""
MOST = 100_000_000
"""Cohorts of a period are looked at while their summaries hold at most so many values, 0.8 GB: where values do not repeat, each grouping holds
all that all rows have."""
REPEATED = 4
"""Larger ones are where there are so many times fewer values to keep than the table has."""


@dataclass(frozen=True)
class Current:
    """A period as drift is measured on it: the summary of all rows, the few rows that a page draws, and its cohorts where they are asked
    for.
    """

    summary: Summary
    drawn: pd.DataFrame
    cohorts: ByCohort | None = None


@dataclass(frozen=True)
class Reference:
    """A reference: the columns that are compared, the summary of all rows, the few rows that a page draws, and the summaries of cohorts.

    prediction: the one of `kinds` that is not a feature. looked_at: the cohorts of the case, where they are asked for.
    """

    kinds: Mapping[str, Kind]
    prediction: str | None
    summary: Summary
    drawn: pd.DataFrame
    looked_at: Cohorts | None = None
    cohorts: ByCohort | None = None

    @staticmethod
    def of(frame: pd.DataFrame, features: Mapping[str, Kind], prediction: tuple[str, Kind] | None = None, cohorts: Cohorts | None = None) -> "Reference":
        """The reference of a frame, which may hold further columns. Raises: DataError when a column is not what it is declared to be."""
        kinds = _all(features, prediction)
        check_schema(kinds, frame, known={str(name) for name in frame.columns}, where="reference")
        groups = by_cohort(frame, kinds, cohorts) if cohorts else None
        return Reference(kinds, prediction[0] if prediction else None, summarise(frame, kinds), sample(frame, kinds), cohorts, groups)

    def current(self, rows: pd.DataFrame | Iterable[pd.DataFrame], *, cohorts: bool = True) -> Current:
        """A period's rows, all of them, as this reference is compared with them; in one frame, or in parts, of which one at a time is held.

        A column without any value is a change of its missing rate. cohorts: whether they are looked at, while they hold up to `MOST` values. Raises
        DataError before anything is measured when the rows do not fit the reference.
        """
        summaries, groups, held, size = list[Summary](), list[ByCohort](), _Held(self.kinds), 0
        last: pd.DataFrame | None = None
        for frame in [rows] if isinstance(rows, pd.DataFrame) else rows:
            last = frame
            if frame.empty:
                continue
            self._check(frame)
            summaries.append(summarise(frame, self.kinds))
            held.add(frame)
            if cohorts and self.looked_at and size <= MOST:
                groups.append(by_cohort(frame, self.kinds, self.looked_at))
                size += groups[-1].size
        if not summaries:
            self._check(pd.DataFrame() if last is None else last)
        return Current(Summary.joined(summaries), held.drawn, ByCohort.joined(groups) if groups and size <= MOST else None)

    def _check(self, frame: pd.DataFrame) -> None:
        empty = {name for name in self.kinds if name in frame and len(frame) and frame[name].isna().all()}
        expected = {name: kind for name, kind in self.kinds.items() if name not in empty}
        check_schema(expected, frame, known={str(name) for name in frame.columns}, where="current data")

    def compare(self, current: pd.DataFrame | Current, settings: Drift, level: float = ALPHA) -> DriftReport:
        """The verdict on a period. Raises DataError as `current`."""
        found = current if isinstance(current, Current) else self.current(current)
        return compare(self.summary, found.summary, settings, prediction=self.prediction, level=level)


class _Held:
    """A bounded sample of rows that come in parts, the same rows as of one frame where there is one part: those with the smallest of
    seeded random numbers, and for each column that has a value anywhere a row with one.
    """

    def __init__(self, kinds: Mapping[str, Kind]) -> None:
        self.kinds, self.parts = kinds, 0
        self.frame, self.keys = pd.DataFrame(), np.empty(0)
        self.known: dict[str, pd.DataFrame] = {}

    def add(self, frame: pd.DataFrame) -> None:
        own, keys = frame[list(self.kinds)], np.random.default_rng((0, self.parts)).random(len(frame))
        if not self.parts:
            self.only = sample(own, self.kinds)
        for name in self.kinds.keys() - self.known.keys():
            if len(found := np.flatnonzero(own[name].notna())):
                self.known[name] = own.iloc[found[:1]]
        chosen = np.sort(np.argsort(keys, kind="stable")[:ROWS])
        self.frame = pd.concat([self.frame, own.iloc[chosen]], ignore_index=True) if self.parts else own.iloc[chosen]
        self.keys = np.append(self.keys, keys[chosen])
        kept = np.sort(np.argsort(self.keys, kind="stable")[:ROWS])
        self.frame, self.keys, self.parts = self.frame.iloc[kept], self.keys[kept], self.parts + 1

    @property
    def drawn(self) -> pd.DataFrame:
        if self.parts == 1:
            return self.only
        lost = [row for name, row in self.known.items() if self.frame[name].isna().all()]
        return pd.concat([self.frame, *lost], ignore_index=True)


_kept: dict[tuple[object, ...], Reference] = {}
_lock = Lock()


def reference(
    store: Store,
    digest: str,
    features: Mapping[str, Kind],
    prediction: tuple[str, Kind] | None = None,
    *,
    cohorts: Cohorts | None = None,
    stream: str | None = None,
) -> Reference:
    """The reference of a stored frame; of a digest that was asked for before, the one that is kept.

    stream: the case under which the store keeps its summaries; they are not looked for unless it is given.
    """
    asked = (digest, *features.items(), prediction, cohorts.model_dump_json() if cohorts else None)
    with _lock:
        if asked not in _kept:
            made = _read(store, digest, features, prediction, cohorts, stream)
            while len(_kept) >= KEPT:
                del _kept[next(iter(_kept))]
            _kept[asked] = made
        return _kept[asked]


def _read(
    store: Store, digest: str, features: Mapping[str, Kind], prediction: tuple[str, Kind] | None, cohorts: Cohorts | None, stream: str | None
) -> Reference:
    kinds = _all(features, prediction)
    asked = [drift_kept.VERSION, digest, list(kinds.items()), cohorts.model_dump(mode="json") if cohorts else None]
    key = digest_of(asked).removeprefix("sha256:")
    if stream and (manifest := store.find(stream, "summary", key)):
        summaries = drift_kept.unpack(store.get(manifest.digest))
        if summaries is not None:
            drawn = store.get_frame(str(manifest.extra["drawn"]))
            return Reference(kinds, prediction[0] if prediction else None, summaries[0], drawn, cohorts, summaries[1])
    found = Reference.of(store.get_frame(digest), features, prediction, cohorts)
    if stream and found.summary.size + (found.cohorts.size if found.cohorts else 0) <= max(FEW, found.summary.rows * len(kinds) // REPEATED):
        store.record(
            Manifest(
                stream=stream,
                kind="summary",
                key=key,
                digest=store.put(drift_kept.pack(found.summary, found.cohorts)),
                rows=found.summary.rows,
                schema=dict(kinds),
                source=f"reference {digest}",
                created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
                parent=digest,
                extra={"drawn": store.put_frame(found.drawn)},
            )
        )
    return found


def _all(features: Mapping[str, Kind], prediction: tuple[str, Kind] | None) -> dict[str, Kind]:
    return dict(features) | ({prediction[0]: prediction[1]} if prediction else {})

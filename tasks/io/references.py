"""What drift is measured against, kept ready: a version's reference is read and summarised once in a process."""

from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock

import pandas as pd

from tasks.core.case import Drift
from tasks.core.drift import DriftReport, compare
from tasks.core.drift_summary import Kind, Summary, summarise
from tasks.core.online import ALPHA
from tasks.core.schema import check_schema
from tasks.io.pages import sample
from tasks.io.store import Store

KEPT = 2
"""How many references a process keeps: a summary of all distinct values may be as large as the table."""


@dataclass(frozen=True)
class Reference:
    """A reference: the columns that are compared, the summary of all rows, and the few rows that a page draws.

    prediction: the one of `kinds` that is not a feature.
    """

    kinds: Mapping[str, Kind]
    prediction: str | None
    summary: Summary
    drawn: pd.DataFrame

    @staticmethod
    def of(frame: pd.DataFrame, features: Mapping[str, Kind], prediction: tuple[str, Kind] | None = None) -> "Reference":
        """The reference of a frame, which may hold further columns. Raises: DataError when a column is not what it is declared to be."""
        kinds = dict(features) | ({prediction[0]: prediction[1]} if prediction else {})
        _check(kinds, frame, "reference")
        return Reference(kinds, prediction[0] if prediction else None, summarise(frame, kinds), sample(frame, kinds))

    def compare(self, current: pd.DataFrame, settings: Drift, level: float = ALPHA) -> DriftReport:
        """The verdict on a period's rows, all of them. Raises DataError before anything is measured when they do not fit the reference."""
        _check(self.kinds, current, "current data")
        return compare(self.summary, summarise(current, self.kinds), settings, prediction=self.prediction, level=level)


_kept: dict[tuple[object, ...], Reference] = {}
_lock = Lock()


def reference(store: Store, digest: str, features: Mapping[str, Kind], prediction: tuple[str, Kind] | None = None) -> Reference:
    """The reference of a stored frame; of a digest that was asked for before, the one that is kept."""
    asked = (digest, *features.items(), prediction)
    with _lock:
        if asked not in _kept:
            made = Reference.of(store.get_frame(digest), features, prediction)
            while len(_kept) >= KEPT:
                del _kept[next(iter(_kept))]
            _kept[asked] = made
        return _kept[asked]


def _check(kinds: Mapping[str, Kind], frame: pd.DataFrame, where: str) -> None:
    check_schema(kinds, frame, known={str(name) for name in frame.columns}, where=where)

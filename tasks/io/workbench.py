"""Opens what a case works with: its files, its stores and its servers' adapters, each made when first used."""

from functools import cached_property
from itertools import count, takewhile
from typing import TYPE_CHECKING, Literal

import pandas as pd

from tasks.core.case import PERIOD, Case, revision_key, shift_period
from tasks.core.catalogue import Dataset
from tasks.core.errors import DataError
from tasks.core.outcome import labelled_rows
from tasks.io.archive import Archive
from tasks.io.documents import load_case, load_dataset
from tasks.io.home import Home, quiet_environment
from tasks.io.ledger import Ledger
from tasks.io.manifests import Manifest
from tasks.io.store import Store

if TYPE_CHECKING:
    from tasks.io.registry import Registry
    from tasks.io.runs import Runs
    from tasks.io.workspace import Workspace


class Workbench:
    """A case with its dataset and the adapters it needs.

    No dataclass: into those that a step is given Prefect looks for results of other steps, here into every key of the case and its entry.
    """

    def __init__(self, home: Home, case: Case, dataset: Dataset) -> None:
        self.home, self.case, self.dataset = home, case, dataset

    @classmethod
    def open(cls, case: str) -> "Workbench":
        """Read the case and its catalogue entry from the project, and the home from the environment."""
        home = Home.from_environment()
        quiet_environment(home)
        loaded = load_case(case, home.project)
        return cls(home, loaded, load_dataset(loaded.dataset, home.project))

    @property
    def stream(self) -> str:
        """Whose snapshots these are: the dataset's, or, when months are simulated, the case's own."""
        return f"{self.case.case}-simulated" if self.case.periods.simulate else self.case.dataset

    @property
    def kinds(self) -> dict[str, Literal["numeric", "categorical"]]:
        """How each column is treated: integers and numbers as numeric, everything else as categories."""
        return {column.name: "numeric" if column.type in ("integer", "number") else "categorical" for column in self.dataset.columns}

    @cached_property
    def store(self) -> Store:
        return Store(self.home.store)

    @cached_property
    def ledger(self) -> Ledger:
        self.home.root.mkdir(parents=True, exist_ok=True)
        return Ledger(self.home.ledger_url)

    @cached_property
    def archive(self) -> Archive:
        return Archive(self.store)

    @cached_property
    def runs(self) -> "Runs":
        from tasks.io.runs import Runs

        return Runs(self.home.mlflow_url, self.home.artifacts)

    @cached_property
    def registry(self) -> "Registry":
        from tasks.io.registry import Registry

        return Registry(self.home.mlflow_url, self.home.artifacts)

    @cached_property
    def workspace(self) -> "Workspace":
        from tasks.io.workspace import Workspace

        return Workspace(self.home.evidently)

    def revisions(self, kind: str, period: str) -> list[Manifest]:
        """Every snapshot of a period's features or labels, the first one first: those after it corrected it, and none replaced another."""
        return list(takewhile(bool, (self.store.find(self.stream, kind, revision_key(period, number)) for number in count(1))))  # type: ignore[arg-type]

    def newest(self, kind: str, period: str) -> tuple[Manifest, int]:
        """The newest snapshot of a period, and its number, from 1. Raises: DataError when none was taken."""
        found = self.revisions(kind, period)
        if not found:
            taken = self.periods(kind)
            held = f"There are {taken[0]} to {taken[-1]}." if taken else "None has been taken."
            raise DataError(f"There is no {kind} snapshot of {period} for `{self.case.case}`. {held}", fix=f"Run: equipoise snapshot {self.case.case}")
        return found[-1], len(found)

    def snapshot(self, kind: str, period: str) -> tuple[Manifest, pd.DataFrame]:
        """The newest features or labels of a period, their digest verified.

        Raises: DataError when that snapshot was never taken, IntegrityError when its bytes have changed.
        """
        manifest, _ = self.newest(kind, period)
        return manifest, self.store.get_frame(manifest.digest)

    def labelled(self, period: str) -> tuple[pd.DataFrame, "pd.Series[float]", dict[str, str]]:
        """The rows of a period that have a label, features and labels joined by row id; their target (0 and 1, as int64, for a
        binary case); and the digests of the snapshots.
        """
        (features_manifest, features), (labels_manifest, labels) = self.snapshot("features", period), self.snapshot("labels", period)
        frame, target = labelled_rows(self.case, features, labels)
        return frame, target, {f"features {period}": features_manifest.digest, f"labels {period}": labels_manifest.digest}

    def periods(self, kind: str = "features") -> list[str]:
        """The periods whose snapshots have been taken, oldest first."""
        return [manifest.key for manifest in self.store.list(self.stream, kind) if PERIOD.fullmatch(manifest.key)]

    def window(self, last: str | None = None) -> list[str]:
        """The periods of one training window: the first ones there are, or those that end with `last`.

        Raises: DataError when one of them has no snapshot.
        """
        taken, length = self.periods("labels"), self.case.periods.train
        wanted = taken[:length] if last is None else [shift_period(last, offset - length + 1) for offset in range(length)]
        missing = [period for period in wanted if period not in taken]
        if missing or len(wanted) < length:
            raise DataError(
                f"A training window of `{self.case.case}` is {length} labelled period(s); missing: {', '.join(missing) or 'all but ' + str(len(wanted))}.",
                fix=f"Run: equipoise snapshot {self.case.case}",
            )
        return wanted

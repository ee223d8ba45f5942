"""Opens what a case works with: its files, its stores and its servers' adapters, each made when first used."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from tasks.core.case import Case
from tasks.core.catalogue import Dataset
from tasks.io.documents import load_case, load_dataset
from tasks.io.home import Home
from tasks.io.ledger import Ledger
from tasks.io.store import Store

if TYPE_CHECKING:
    from tasks.io.registry import Registry
    from tasks.io.runs import Runs
    from tasks.io.workspace import Workspace


@dataclass(frozen=True)
class Workbench:
    """A case with its dataset and the adapters it needs."""

    home: Home
    case: Case
    dataset: Dataset

    @classmethod
    def open(cls, case: str) -> "Workbench":
        """Read the case and its catalogue entry from the project, and the home from the environment."""
        home = Home.from_environment()
        loaded = load_case(case, home.project)
        return cls(home, loaded, load_dataset(loaded.dataset, home.project))

    @property
    def stream(self) -> str:
        """Whose snapshots these are: the dataset's, or, when months are simulated, the case's own."""
        return f"{self.case.case}-simulated" if self.case.periods.simulate else self.case.dataset

    @cached_property
    def store(self) -> Store:
        return Store(self.home.store)

    @cached_property
    def ledger(self) -> Ledger:
        self.home.root.mkdir(parents=True, exist_ok=True)
        return Ledger(self.home.ledger_url)

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

"""A version and what is made again of it: the pinned case and rows, the model, its predictions and its report."""

import zipfile
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from typing import Any

import pandas as pd

from tasks.core.candidates import Candidate
from tasks.core.case import Case
from tasks.core.errors import IntegrityError
from tasks.core.evaluation import CohortReport, evaluate
from tasks.core.predictions import predictions_table
from tasks.core.review import Event
from tasks.io.archive import Archive
from tasks.io.foreign import Foreign

MOST_BYTES = 4 << 30  # of a model, unpacked


@dataclass(frozen=True)
class Again:
    """A version and what is made again of it, each once."""

    archive: Archive
    evidence: dict[str, Any]
    registered: Event

    def stored(self, name: str) -> Any:
        """A JSON object of the evidence."""
        return self.archive.store.get_json(self.evidence[name])

    @cached_property
    def case(self) -> Case:
        return self.archive.case(self.evidence)

    @cached_property
    def window(self) -> tuple[pd.DataFrame, "pd.Series[Any]"]:
        """Every labelled row of the training window, in its order, and the target."""
        return self.archive.rows(self.evidence)

    @cached_property
    def model(self) -> Candidate | Foreign:
        """The model, loaded from the trusted list. Raises: IntegrityError, also for one that would unpack to more than MOST_BYTES."""
        data = self.archive.store.get(self.evidence["model"])
        try:
            with zipfile.ZipFile(BytesIO(data)) as packed:
                size = sum(member.file_size for member in packed.infolist())
        except (zipfile.BadZipFile, OSError, ValueError) as error:
            raise IntegrityError(f"the model's {len(data):,} bytes are not a whole file ({error}).") from error
        if size > MOST_BYTES:
            raise IntegrityError(f"the model's {len(data):,} bytes would unpack to {size:,}; at most {MOST_BYTES:,} are.")
        return self.archive.model(self.evidence)

    def predictions(self, part: str) -> pd.DataFrame:
        """The model's predictions table of a part of the split."""
        frame, target = self.window
        chosen = (frame["row_id"].map(self.archive.parts(self.evidence)) == part).to_numpy()
        return predictions_table(self.model, frame[chosen].reset_index(drop=True), target[chosen].reset_index(drop=True))

    @cached_property
    def test(self) -> pd.DataFrame:
        return self.predictions("test")

    @cached_property
    def test_report(self) -> CohortReport:
        """On test, before anything is left out for publication."""
        return evaluate(self.test, **self.case.asked)

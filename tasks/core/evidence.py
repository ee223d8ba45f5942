"""Evidence: one manifest of digests for each version. Its own digest is the version's identity in reviews, ledger and proof.

The manifest is canonical JSON. Whatever it names by digest is an object in the store, so that years later the version can be
checked, and its figures computed again, without a server.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from tasks.core.digests import digest_of
from tasks.core.errors import IntegrityError
from tasks.core.gaps import COLUMNS as GAPS
from tasks.core.report import COLUMNS as ROWS
from tasks.core.report import CohortReport

FORMAT = 1

OBJECTS: dict[str, str] = {
    "case": "the case as it was, canonical JSON",
    "catalogue": "the dataset's catalogue entry, canonical JSON",
    "environment": "Python, platform and installed packages, canonical JSON",
    "parts": "which row was fitted on, chosen on and reported on: a table of row_id and part",
    "model": "the model's bytes",
    "reference": "what drift is measured against: a table",
    "predictions": "row_id, y_true, y_pred and y_score on the test rows: a table",
    "report": "the cohort report on the test rows, as published",
    "validation": "the cohort report on the validation rows, as published",
    "comparison": "the chosen candidate beside the baseline on the test rows, as published",
    "findings": "what the catalogue check said",
    "emissions": "energy and emissions of the training",
    "decision": "the limits held against the report, at training",
    "card": "the model card, Markdown",
}
"""Objects that each manifest names, beside `snapshots` and `reports` (of every candidate), which map names to digests."""


def manifest(*, snapshots: Mapping[str, str], reports: Mapping[str, str], objects: Mapping[str, str], **facts: Any) -> dict[str, Any]:
    """The manifest of a version. `facts` are plain values: code commit, digest of the lock file, split, seed, candidate, author.

    Raises: KeyError for an object that is missing; silence must not pass for evidence.
    """
    return {"format": FORMAT, **facts, "snapshots": dict(snapshots), "reports": dict(reports), **{name: objects[name] for name in OBJECTS}}


def digests(evidence: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every object of a manifest: what it is, and its digest."""
    for group in ("snapshots", "reports"):
        yield from ((f"{group[:-1]} {name}", digest) for name, digest in evidence.get(group, {}).items())
    yield from ((name, evidence[name]) for name in OBJECTS if name in evidence)
    yield from ((f"code {name}", digest) for name, digest in evidence.get("code_files", {}).items())


def card_digest(card: str, parts: Mapping[str, str]) -> str:
    """What a reviewer signs of the card: the digest of the card as made together with its human parts as they read now."""
    return digest_of({"card": card, "parts": dict(parts)})


def stored_report(report: CohortReport) -> dict[str, Any]:
    """A published report as it goes into the store: its JSON, and which cohorts belong to which grouping."""
    return {**report.to_dict(), "groupings": report.groupings()}


@dataclass(frozen=True)
class StoredReport:
    """A cohort report as it was stored, for the gate to read."""

    stored: Mapping[str, Any]

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> "StoredReport":
        """Raises: IntegrityError when the object is not a stored report."""
        if not all(isinstance(stored.get(part), list) for part in ("rows", "gaps", "groupings")):
            raise IntegrityError("the stored report has no rows, gaps or groupings.", fix="Restore the store from a backup, or train again.")
        return cls(stored)

    def frame(self) -> pd.DataFrame:
        """One row for each cohort and metric."""
        return pd.DataFrame(self.stored["rows"], columns=list(ROWS))

    def gaps(self) -> pd.DataFrame:
        """One row for each grouping and metric."""
        return pd.DataFrame(self.stored["gaps"], columns=list(GAPS))

    def cohorts_of(self, grouping: Sequence[str]) -> tuple[str, ...]:
        """Names of the cohorts of a grouping, columns in any order; none if it was not asked for."""
        return next((tuple(one["cohorts"]) for one in self.stored["groupings"] if set(one["by"]) == set(grouping)), ())

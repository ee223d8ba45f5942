"""The archive: what a version was made of, read back from the store by its evidence alone. It asks no server."""

import datetime as dt
from collections.abc import Mapping
from typing import Any, Literal

import pandas as pd

from tasks.core.candidates import Candidate
from tasks.core.case import Case, shift_period
from tasks.core.catalogue import Dataset
from tasks.core.errors import IntegrityError
from tasks.core.evidence import FORMAT, StoredReport
from tasks.core.gate import Against, Measured
from tasks.core.outcome import labelled_rows
from tasks.core.predictions import predictions_table
from tasks.io.models import load
from tasks.io.store import Store


class Archive:
    """Evidence and what it names, every object verified when it is read."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def evidence(self, digest: str) -> dict[str, Any]:
        """The manifest of a version. Raises: IntegrityError for one of another format."""
        found = self.store.get_json(digest)
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise IntegrityError(
                f"is evidence of format {found.get('format') if isinstance(found, dict) else None}, and {FORMAT} is read.",
                where=str(self.store.path(digest)),
                fix="Train again, or use the release that made it.",
            )
        return found

    def case(self, evidence: Mapping[str, Any]) -> Case:
        """The case as it was at training."""
        return Case.model_validate(self.store.get_json(evidence["case"]))

    def dataset(self, evidence: Mapping[str, Any]) -> Dataset:
        """The catalogue entry as it was at training."""
        return Dataset.model_validate(self.store.get_json(evidence["catalogue"]))

    def model(self, evidence: Mapping[str, Any]) -> Candidate:
        """The fitted candidate."""
        return load(self.store.get(evidence["model"]))

    def report(self, evidence: Mapping[str, Any]) -> StoredReport:
        """The cohort report on the test rows, as published."""
        return StoredReport.of(self.store.get_json(evidence["report"]))

    def parts(self, evidence: Mapping[str, Any]) -> "pd.Series[str]":
        """train, validation or test by row id."""
        table = self.store.get_frame(evidence["parts"])
        return table.set_index("row_id")["part"]

    def rows(self, evidence: Mapping[str, Any]) -> tuple[pd.DataFrame, "pd.Series[Any]"]:
        """Features and target of every labelled row of the training window, in its order."""
        case, snapshots = self.case(evidence), evidence["snapshots"]
        frames, targets = [], []
        for period in evidence["periods"]:
            features, labels = (self.store.get_frame(snapshots[f"{kind} {period}"]) for kind in ("features", "labels"))
            frame, target = labelled_rows(case, features, labels)
            frames.append(frame)
            targets.append(target)
        return pd.concat(frames, ignore_index=True), pd.concat(targets, ignore_index=True)

    def part_rows(self, evidence: Mapping[str, Any], part: Literal["train", "validation", "test"]) -> tuple[pd.DataFrame, "pd.Series[Any]"]:
        """Features and target of the rows of one part, in the window's order; those of test are in the order of the predictions."""
        frame, target = self.rows(evidence)
        inside = (frame["row_id"].map(self.parts(evidence)) == part).to_numpy()
        return frame[inside].reset_index(drop=True), target[inside].reset_index(drop=True)

    def facts(self, evidence: Mapping[str, Any], day: dt.date) -> dict[str, Measured]:
        """The facts that limits may bound (tasks.core.limits.FACTS) as far as the evidence tells them, on a day."""
        findings, emissions = self.store.get_json(evidence["findings"]), self.store.get_json(evidence["emissions"])
        newest = max(evidence["periods"])
        ended = dt.date.fromisoformat(f"{shift_period(newest, 1)}-01")
        waived = [waiver.column for waiver in self.case(evidence).waivers]
        kinds = [finding["kind"] for finding in findings]
        return {
            "suspected_proxies": Measured(kinds.count("suspected_proxy")),
            "failed_rules": Measured(kinds.count("rule")),
            "waivers": Measured(len(waived), ", ".join(waived)),
            "emissions_kg": Measured(emissions["kg"], "" if emissions["kg"] is not None else emissions["note"]),
            "data_age_days": Measured((day - ended).days, f"data to {newest}"),
        }

    def against_baseline(self, evidence: Mapping[str, Any], min_support: int) -> Against:
        """The version beside the case's first candidate, as compared at training."""
        rows = self.store.get_json(evidence["comparison"]).get("comparison", [])
        return Against("the baseline", rows, min_support, "" if rows else "the baseline itself was chosen")

    def predict(self, evidence: Mapping[str, Any], frame: pd.DataFrame, target: "pd.Series[Any]") -> pd.DataFrame:
        """The version's predictions table of any rows."""
        return predictions_table(self.model(evidence), frame, target)

"""Step: load a training window, split it, fit candidates and let each predict on what it has not seen."""

import time
from dataclasses import dataclass

import pandas as pd

from tasks.core.candidates import Candidate, build, predictions_table
from tasks.core.case import CandidateSpec
from tasks.core.errors import DataError
from tasks.core.splits import split
from tasks.io.workbench import Workbench
from tasks.step import say, step


@dataclass(frozen=True)
class Window:
    """Labelled rows of one or more periods, and the part of the split each belongs to."""

    periods: tuple[str, ...]
    frame: pd.DataFrame
    target: pd.Series
    part: pd.Series
    digests: dict[str, str]

    @property
    def counts(self) -> dict[str, int]:
        """Rows of each part."""
        return {part: int((self.part == part).sum()) for part in ("train", "validation", "test")}

    def rows(self, part: str) -> tuple[pd.DataFrame, pd.Series]:
        """Features and target of one part."""
        chosen = self.part == part
        return self.frame[chosen], self.target[chosen]


@dataclass(frozen=True)
class Fitted:
    """A fitted candidate with its predictions tables."""

    name: str
    candidate: Candidate
    seconds: float
    validation: pd.DataFrame
    test: pd.DataFrame


@step("load the training window")
def load_window(bench: Workbench, last: str | None = None) -> Window:
    """Join features and labels of the window by row id, drop rows without a label, and split.

    last: the window's last period; the first window there is unless given.
    """
    periods = bench.window(last)
    frames, targets, digests = zip(*(bench.labelled(period) for period in periods), strict=True)
    frame, target = pd.concat(frames, ignore_index=True), pd.concat(targets, ignore_index=True)
    if frame.empty:
        raise DataError(
            f"No row of {periods[0]} to {periods[-1]} has a label in `{bench.case.target.column}`.", fix="Take the snapshots again once labels are there."
        )
    part = split(frame, target, bench.case.split, bench.case.seed)
    window = Window(tuple(periods), frame, target, part, {name: digest for found in digests for name, digest in found.items()})
    say(f"training window {periods[0]} to {periods[-1]}: " + ", ".join(f"{count:,} {name}" for name, count in window.counts.items()))
    return window


@step("fit a candidate", task_run_name="fit {spec.name}")
def fit_candidate(bench: Workbench, window: Window, spec: CandidateSpec) -> Fitted:
    """Fit on train; thresholds, where a mitigation has any, on validation; predict validation and test."""
    started = time.perf_counter()
    candidate = build(spec, bench.case, bench.kinds)
    candidate.fit(*window.rows("train"), validation=window.rows("validation"))
    seconds = time.perf_counter() - started
    say(f"fitted {spec.name} in {seconds:.1f} s")
    tables = (predictions_table(candidate, *window.rows(part)) for part in ("validation", "test"))
    return Fitted(spec.name, candidate, seconds, *tables)


def reference_of(window: Window, candidate: Candidate) -> pd.DataFrame:
    """What drift is measured against: inputs and `prediction` on the rows that no candidate was fitted on."""
    frame = window.frame[window.part != "train"].reset_index(drop=True)
    score = candidate.predict_score(frame)
    return frame[list(candidate.inputs)].assign(prediction=candidate.predict(frame) if score is None else score)

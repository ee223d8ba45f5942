"""Step: load a training window, split it, fit candidates and let each predict on what it has not seen."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tasks.core.building import build
from tasks.core.candidate_spec import CandidateSpec
from tasks.core.candidates import Candidate
from tasks.core.case import Case
from tasks.core.errors import DataError
from tasks.core.evaluation import CohortReport
from tasks.core.predictions import predictions_table
from tasks.core.review import production_version, registration
from tasks.core.searching import Found, Ground, search
from tasks.core.splits import split
from tasks.core.sweep import Trial, objectives
from tasks.io.models import load
from tasks.io.workbench import Workbench
from tasks.step import say, step

MOST = 8  # processes of a sweep: each holds the rows


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

    @property
    def parts(self) -> pd.DataFrame:
        """row_id and part of every row."""
        return pd.DataFrame({"row_id": self.frame["row_id"], "part": self.part.astype(str)})

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


@dataclass(frozen=True)
class Old:
    """The model that new ones are held against: its answers and probabilities on train, its labels and answers on validation."""

    name: str
    train: np.ndarray
    validation: np.ndarray


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
def fit_candidate(bench: Workbench, window: Window, spec: CandidateSpec, old: Old | None = None) -> Fitted:
    """Fit on train; steps on scores on validation; predict validation and test. `old` is the model to stay compatible with."""
    started = time.perf_counter()
    candidate = build(spec, bench.case, bench.kinds)
    candidate.fit(*window.rows("train"), validation=window.rows("validation"), previous=None if old is None else old.train)
    seconds = time.perf_counter() - started
    say(f"fitted {spec.name} in {seconds:.1f} s" + "".join(f"; {note}" for note in candidate.notes))
    tables = (predictions_table(candidate, *window.rows(part)) for part in ("validation", "test"))
    return Fitted(spec.name, candidate, seconds, *tables)


@step("ask the old model")
def ask_old_model(bench: Workbench, window: Window, baseline: Fitted) -> Old | None:
    """What is in production, or the case's baseline where nothing is, on train and validation. None for regression."""
    if bench.case.task != "binary":
        return None
    events = bench.ledger.events(bench.case.case)
    version, model, name = production_version(events), baseline.candidate, baseline.name
    registered = None if version is None else registration(events, version)
    if registered is not None and version is not None and set(registered.body["inputs"]) <= set(window.frame.columns):
        model, name = load(bench.registry.fetch_model(bench.case.case, version, registered.body["model"])), f"version {version}"
    (train, _), (validation, labels) = window.rows("train"), window.rows("validation")
    answers, score = model.predict(train), model.predict_score(train)
    told = np.column_stack([answers, answers if score is None else score])  # a model without probabilities is as sure as it can be
    return Old(name, told, np.column_stack([labels, model.predict(validation)]).astype(float))


@step("search the sweep")
def search_sweep(bench: Workbench, window: Window, specs: Sequence[CandidateSpec], old: Old | None, kilograms: Callable[[], float | None]) -> list[Found]:
    """The candidates of the case's sweep within its budget, on all cores. kilograms: what the flow has emitted so far."""
    sweep, begun = bench.case.sweep, time.monotonic()
    assert sweep is not None  # what made the candidates

    def spent() -> str | None:
        if sweep.minutes is not None and time.monotonic() - begun > sweep.minutes * 60:
            return f"the budget of {sweep.minutes:g} minutes was used up"
        kg = kilograms() if sweep.kg_co2e is not None else None
        return f"the budget of {sweep.kg_co2e:g} kg of CO2-equivalent was used up" if kg is not None and kg > (sweep.kg_co2e or 0) else None

    told = {} if old is None else {"previous": old.train, "reference": old.validation}
    ground = Ground(bench.case, bench.kinds, window.rows("train"), window.rows("validation"), **told)
    workers = min(os.cpu_count() or 1, MOST, len(specs))
    say(f"sweep of {len(specs)} candidates in {workers} processes")
    return search(ground, specs, workers=workers, spent=spent, said=say)


def judged(case: Case, fitted: Fitted, report: CohortReport, old: Old | None) -> Trial:
    """One of the case's own candidates as the sweep judges its trials."""
    spec = next(spec for spec in case.candidates if spec.name == fitted.name)
    answers = fitted.validation["y_pred"].to_numpy(dtype=float)
    return Trial(spec, "finished", objectives(case, report, answers, None if old is None else old.validation, fitted.seconds))


@step("predict the test rows", task_run_name="test {found.trial.spec.name}")
def finish(window: Window, found: Found) -> Fitted:
    """A candidate of a sweep as a fitted one: its predictions on validation and test."""
    assert found.candidate is not None
    tables = (predictions_table(found.candidate, *window.rows(part)) for part in ("validation", "test"))
    return Fitted(found.trial.spec.name, found.candidate, found.trial.objectives["seconds"][0], *tables)


def reference_of(window: Window, candidate: Candidate) -> pd.DataFrame:
    """What drift is measured against: inputs and `prediction` on the rows that no candidate was fitted on."""
    frame = window.frame[window.part != "train"].reset_index(drop=True)
    score = candidate.predict_score(frame)
    return frame[list(candidate.inputs)].assign(prediction=candidate.predict(frame) if score is None else score)

"""Scoring a batch of rows: what the model answers, and what the case asks for beside it.

    row_id       of each row, in their order
    y_pred       the answer; null where the model abstains
    y_score      the probability of the positive class as the model gives it, where it gives one
    probability  the same, calibrated (`scoring.calibrate`)
    low, high    the prediction interval (`scoring.interval`)
    abstained    whether the model abstains (`scoring.abstain_below`)
    reasons      what of the row is beyond what fitting saw: "carrier: unseen; distance: outside 80 to 4,983"; there where a guard is `flag`

A row's figures depend on nothing but the row, so that however a table is cut, wherever its parts are scored, the same rows give the
same bytes (for linear models: cut at the same places, since a matrix product may round otherwise in its last rows).
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.core.calibration import Calibrator, calibrator
from tasks.core.candidates import Candidate
from tasks.core.conformal import Interval, split_conformal
from tasks.core.encoding import Kind
from tasks.core.errors import CaseError, DataError
from tasks.core.guards import Counts, Guards, flagging
from tasks.core.operations import Scoring
from tasks.core.schema import check_schema

Floats = NDArray[np.float64]


class Model(Protocol):
    """What scores: a fitted candidate, or a model that was trained elsewhere."""

    @property
    def task(self) -> str: ...
    @property
    def inputs(self) -> Mapping[str, Kind]: ...
    def predict(self, frame: pd.DataFrame) -> NDArray[Any]: ...
    def predict_score(self, frame: pd.DataFrame) -> Floats | None: ...
    def unseen(self, frame: pd.DataFrame) -> dict[str, int]: ...


@dataclass(frozen=True)
class Kit:
    """What scoring with a version needs beside the model, from the rows of its evidence. scores: whether the model gives a score."""

    guards: Guards
    scores: bool
    interval: Interval | None = None
    calibrator: Calibrator | None = None

    def to_json(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "guards": self.guards.to_json(),
            "scores": self.scores,
            "interval": asdict(self.interval) if self.interval else None,
            "calibrator": asdict(self.calibrator) if self.calibrator else None,
        }

    @staticmethod
    def of_json(stored: Mapping[str, Any]) -> "Kit":
        """The reverse of `to_json`."""
        curve = stored["calibrator"]
        return Kit(
            Guards.of_json(stored["guards"]),
            bool(stored["scores"]),
            Interval(**stored["interval"]) if stored["interval"] else None,
            Calibrator(**{**curve, "curve": tuple(map(tuple, curve["curve"]))}) if curve else None,
        )


@dataclass(frozen=True)
class Batch:
    """Scored rows. rows: the table that is kept. counts: rows beyond what fitting saw, by guard and column. strangers: rows of each cohort
    that fitting did not show.
    """

    rows: pd.DataFrame
    counts: Counts
    strangers: dict[str, int]

    @property
    def abstained(self) -> int:
        """Rows without an answer."""
        return int(self.rows["abstained"].sum()) if "abstained" in self.rows else 0


@dataclass(frozen=True)
class Scores:
    """A scored snapshot.

    predictions, rows, columns: digest, size and dtypes of the table of predictions. counts: rows beyond what fitting saw, by guard and
    column. strangers: rows of each cohort that fitting did not show. abstained: rows without an answer. left_out: parts that could
    not be read. kit: the digest of what was used beside the model.
    """

    predictions: str
    rows: int
    columns: dict[str, str]
    counts: Counts
    strangers: dict[str, int]
    abstained: int
    left_out: tuple[str, ...]
    kit: str


def make_kit(model: Model, frame: pd.DataFrame, target: NDArray[Any], part: NDArray[Any], settings: Scoring) -> Kit:
    """The kit of a version, from every labelled row of its training window: features, target, and `train`, `validation` or `test`.

    Raises: DataError for too few validation rows; CaseError where the settings need a score and the model gives none.
    """
    kit = Kit(Guards.of(frame[part == "train"], model.inputs), predicted(model, frame.iloc[:1])[1] is not None)
    if not kit.scores and (settings.calibrate or settings.abstain_below) is not None:
        raise CaseError(
            "the model gives answers without a score.",
            where="scoring.calibrate" if settings.calibrate else "scoring.abstain_below",
            fix="Leave it out of the case, or serve a model with probabilities.",
        )
    if settings.interval is None and settings.calibrate is None:
        return kit
    rows = {name: part == name for name in ("validation", "test")}
    for name, chosen in rows.items():
        if not chosen.any():
            raise DataError(f"the version has no {name} rows.", where="scoring", fix=f"Give `split.{name}` a share of the rows, and train again.")
    found = {name: (*predicted(model, frame[chosen]), target[chosen]) for name, chosen in rows.items()}
    if settings.interval is not None:
        errors = {name: np.asarray(y - answers, dtype=np.float64) for name, (answers, _, y) in found.items()}
        return replace(kit, interval=split_conformal(settings.interval, errors["validation"], errors["test"]))
    assert settings.calibrate is not None  # or there would be nothing to do
    pairs = {name: (score, y) for name, (_, score, y) in found.items() if score is not None}
    return replace(kit, calibrator=calibrator(settings.calibrate, pairs["validation"], pairs["test"]))


def predicted(model: Model, frame: pd.DataFrame) -> tuple[NDArray[Any], Floats | None]:
    """Answers and scores of rows, from one pass where the model can."""
    return model.answers(frame) if isinstance(model, Candidate) else (model.predict(frame), model.predict_score(frame))


def score_batch(model: Model, kit: Kit, settings: Scoring, frame: pd.DataFrame) -> Batch:
    """Score rows that `fits` has checked, with the kit that was made for these settings."""
    if len(frame):
        answers, score = predicted(model, frame)
    else:
        answers, score = np.zeros(0, np.float64 if model.task == "regression" else np.int64), np.zeros(0) if kit.scores else None
    columns: dict[str, Any] = {"row_id": frame["row_id"], "y_pred": answers}
    probability = score
    if score is not None:
        columns["y_score"] = score
        if kit.calibrator is not None:
            columns["probability"] = probability = kit.calibrator.apply(score)
    if kit.interval is not None:
        columns["low"], columns["high"] = kit.interval.around(answers)
    if settings.abstain_below is not None and probability is not None:
        abstained = np.maximum(probability, 1 - probability) < settings.abstain_below
        columns["y_pred"] = pd.arrays.IntegerArray(np.asarray(answers, dtype=np.int64), abstained)
        columns["abstained"] = abstained
    beyond = kit.guards.beyond(frame)
    if guards := flagging(settings):
        columns["reasons"] = beyond.reasons(guards).array
    strangers = model.unseen(frame) if len(frame) else {}
    return Batch(pd.DataFrame(columns, index=frame.index), beyond.counts, strangers)


def fits(kinds: Mapping[str, Kind], frame: pd.DataFrame, known: Iterable[str], where: str) -> None:
    """Refuse rows whose columns are not what the model was accepted on, as check_schema does, but for columns without a value and for no
    rows: that may be so in a part of a period.
    """
    empty = {name for name in kinds if name in frame.columns and frame.columns.is_unique and not frame[name].notna().any()}
    if len(frame):
        check_schema({name: kind for name, kind in kinds.items() if name not in empty}, frame, {*known, *empty}, where=where)

"""Fitted candidates as bytes and back."""

import functools
import io
import json
import os
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression

from tasks.core.building import METHODS, build
from tasks.core.candidate_spec import CandidateSpec
from tasks.core.candidates import Candidate
from tasks.core.errors import IntegrityError
from tasks.io.documents import load_case
from tasks.io.models import dump, load

ROOT = Path(__file__).resolve().parents[2]
CASES = {name: load_case(name, ROOT) for name in ("boston", "adult", "flights")}
ROWS = 1500
CANARY, CANARY_LABEL, CANARY_TEXT = 123454321.25, 987656789.75, "canary-5f1e"


@functools.cache
def raw(name: str) -> tuple[pd.DataFrame, np.ndarray]:
    """Some rows of the shipped data and their labels."""
    if name == "boston":
        frame = pd.read_csv(ROOT / "data/raw/boston/boston.csv")
        return frame, frame["MEDV"].to_numpy()
    frame = pd.read_parquet(ROOT / f"data/raw/{name}/{name}.parquet")
    if name == "flights":
        frame = frame[frame["arr_delay"].notna()]
    frame = frame.sample(ROWS, random_state=0).reset_index(drop=True)
    return frame, (frame["income"] == ">50K" if name == "adult" else frame["arr_delay"] > 15).astype(int).to_numpy()


def kinds(frame: pd.DataFrame) -> Any:
    """Each column's kind, by its type."""
    return {name: "numeric" if pd.api.types.is_numeric_dtype(frame[name]) else "categorical" for name in frame}


SMALL: dict[str, dict[str, Any]] = {"hist_gradient_boosting": {"max_iter": 4}, "random_forest": {"n_estimators": 5}, "lightgbm": {"n_estimators": 3}}
BY = {"boston": "LSTAT", "adult": "sex", "flights": "origin"}
COHORTS = {"adult": {"married": "relationship IN ('Husband', 'Wife')", "others": "rest"}, "boston": {"poor": "LSTAT > 12", "others": "rest"}}
NUMERIC = {"adult": ["hours-per-week", "capital-gain"], "boston": ["CRIM", "NOX"]}
STEPS: dict[str, dict[str, Any]] = {  # what a method needs beyond its name, to be quick or to fit the data
    "exponentiated_gradient": {"params": {"max_iter": 2}},
    "grid_search": {"params": {"grid_size": 4}},
    "prototype_representation": {"params": {"n_prototypes": 3, "max_iter": 3}},
    "sequential_selector": {"params": {"n_features_to_select": 2, "cv": 2}},
    "recursive_selector": {"params": {"n_features_to_select": 3, "step": 0.5}},
    "simple_imputer": {"params": {"strategy": "most_frequent"}},
    "decoupled": {"params": {"min_rows": 500}},
    "calibrated_equalized_odds": {"params": {"cost": "fnr"}},
    "cluster_centroids": {"params": {"sampling_strategy": 0.9}},
}


def combinations() -> list[tuple[str, str, str | None]]:
    """Every estimator alone on every case; every method on adult and on boston where its task allows, with a quick estimator."""
    estimators = {
        "regression": ["linear", "ridge", "hist_gradient_boosting", "random_forest", "lightgbm"],
        "binary": ["logistic", "hist_gradient_boosting", "random_forest", "lightgbm"],
    }
    alone = [(name, kind, None) for name, case in CASES.items() for kind in estimators[case.task]]
    tasks = {method: getattr(made, "step", made).tasks for method, made in METHODS.items()}
    chosen = [("adult", "logistic", method) for method in METHODS if "binary" in tasks[method] and method != "calibrated_equalized_odds"]
    chosen.append(("flights", "logistic", "calibrated_equalized_odds"))  # adult's women cannot bear the cost of its men
    text = {"one_hot_encoder", "ordinal_encoder", "target_encoder"}  # and boston has none
    chosen += [("boston", "hist_gradient_boosting", method) for method in METHODS if "regression" in tasks[method] and method not in text]
    return [*alone, *chosen]


def stated(name: str, method: str) -> dict[str, Any]:
    """A candidate's keys for one step, aimed at one of the case's cohort columns."""
    cls: Any = getattr(METHODS[method], "step", METHODS[method])
    task = CASES[name].task
    step = {"method": method, **STEPS.get(method, {}), **({"by": [BY[name]]} if cls.aimed else {})}
    if cls.constraints.get(task):
        step["constraint"] = "bounded_group_loss" if task == "regression" else "demographic_parity"
        if task == "regression" and method == "exponentiated_gradient":
            step["params"] = {**step.get("params", {}), "upper_bound": 0.05}
    before = [{"method": "cohort_calibration", "by": [BY[name]]}] if method == "calibrated_equalized_odds" else []
    return {cls.role: step if cls.role == "in" else [*before, step]}


def make_candidate(name: str, kind: str, method: str | None, **more: Any) -> Candidate:
    """A small candidate of that kind for the case."""
    case = CASES[name]
    if method == "smoten":
        case = case.model_copy(update={"features": ("workclass", "occupation")})
    spec = {"name": "x", "estimator": {"kind": kind, "params": SMALL.get(kind, {})}, **(stated(name, method) if method else {}), **more}
    return build(CandidateSpec.model_validate(spec), case, kinds(raw(name)[0]))


def fitted(name: str, kind: str, method: str | None) -> Candidate:
    """Fitted on the even rows of the case's data, with the odd ones for validation."""
    frame, y = raw(name)
    return make_candidate(name, kind, method).fit(frame[::2], y[::2], validation=(frame[1::2], y[1::2]))


@pytest.mark.parametrize(("name", "index"), [(name, index) for name, case in CASES.items() for index in range(len(case.candidates))])
def test_the_shipped_candidates_save_and_load(name: str, index: int) -> None:
    """The candidates of the three cases, as their files state them, are built, and those quick to fit come back the same."""
    case, (frame, y) = CASES[name], raw(name)
    candidate = build(case.candidates[index], case, kinds(frame))
    if not case.candidates[index].mitigated:
        candidate.fit(frame, y)
        assert load(dump(candidate)).predict(frame).tobytes() == candidate.predict(frame).tobytes()


def contents(data: bytes) -> tuple[bytes, int]:
    """All the file's members uncompressed, and the length of its longest array or list."""
    parts, longest = [], 0
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for member in archive.namelist():
            parts.append(archive.read(member))
            if member.endswith(".npy"):
                longest = max(longest, np.load(io.BytesIO(parts[-1]), allow_pickle=False).shape[0] if np.load(io.BytesIO(parts[-1])).ndim else 0)
            elif member.endswith(".json"):
                longest = max(longest, longest_list(json.loads(parts[-1])))
    return b"\n".join(parts), longest


def longest_list(node: Any) -> int:
    """The length of the longest list anywhere in a JSON value."""
    children = list(node.values()) if isinstance(node, dict) else node if isinstance(node, list) else []
    return max([len(node) if isinstance(node, list) else 0, *map(longest_list, children)])


def keeps_rows(candidate: Candidate, rows: int) -> list[str]:
    """What of the training rows is found in the saved candidate."""
    content, longest = contents(dump(candidate))
    needles = {"text": CANARY_TEXT.encode()}
    for value in (CANARY, CANARY_LABEL):
        needles |= {f"{value} as {form}": struct.pack(form, value) for form in ("<d", "<f")} | {f"{value} as text": repr(value).encode()}
    return [name for name, needle in needles.items() if needle in content] + (["a vector of all rows"] if longest >= rows else [])


def with_canaries(name: str) -> tuple[pd.DataFrame, np.ndarray]:
    """The case's data with one row whose values are found nowhere else: a number, a category and, in regression, the label."""
    frame, y = (part.copy() for part in raw(name))
    number, text = {"boston": ("CRIM", None), "adult": ("capital-gain", "occupation"), "flights": ("distance", "dest")}[name]
    frame[number] = frame[number].astype(float)
    frame.loc[8, number] = CANARY
    if text:
        frame[text] = frame[text].astype(object)
        frame.loc[8, text] = CANARY_TEXT
    else:
        y[8] = CANARY_LABEL
    return frame, y


@pytest.mark.parametrize(("name", "kind", "method"), combinations())
def test_a_saved_candidate_predicts_the_same_and_keeps_no_training_row(name: str, kind: str, method: str | None) -> None:
    """Every estimator, and every method, loads back with the same answers and scores bit for bit, and
    a planted row's number, category and label are nowhere in the saved bytes, nor anything as long as the training rows."""
    frame, y = with_canaries(name)
    candidate = make_candidate(name, kind, method)
    told = np.column_stack([y[::2], np.where(y[::2] == 1, 0.9, 0.1)])
    candidate.fit(frame[::2], y[::2], validation=(frame[1::2], y[1::2]), previous=told)
    assert keeps_rows(candidate, len(frame[::2])) == []
    again = load(dump(candidate))
    assert again.predict(frame).tobytes() == candidate.predict(frame).tobytes()
    if CASES[name].task == "binary":
        assert again.predict_score(frame).tobytes() == candidate.predict_score(frame).tobytes()  # type: ignore[union-attr]
    assert again.inputs == candidate.inputs
    assert again.unseen(frame) == candidate.unseen(frame)


@pytest.mark.filterwarnings("ignore:Some inputs do not have OOB scores")  # few trees, for speed
@pytest.mark.parametrize("name", ["boston", "adult"])
def test_a_forest_s_own_record_of_its_rows_is_dropped(name: str) -> None:
    """Out-of-bag answers and class weights, which a forest keeps for each row when asked for them, do not reach the file."""
    frame, y = raw(name)
    candidate = make_candidate(name, "random_forest", "reweighing")
    extra = {"class_weight": "balanced"} if name == "adult" else {}
    candidate.set_params(model__step__oob_score=True, model__step__n_estimators=40, **{f"model__step__{k}": v for k, v in extra.items()})
    assert keeps_rows(candidate.fit(frame[::2], y[::2]), len(frame[::2])) == []


def test_the_search_for_kept_rows_finds_them() -> None:
    """A candidate that did keep its rows, labels or groups would be caught."""
    (frame, y), candidate = with_canaries("boston"), fitted("boston", "linear", None)
    candidate.kept_ = frame["CRIM"].to_numpy()
    assert any(found.startswith(str(CANARY)) for found in keeps_rows(candidate, len(frame)))
    candidate.kept_ = float(y[8])
    assert f"{CANARY_LABEL} as text" in keeps_rows(candidate, len(frame))
    candidate.kept_ = ["group a"] * len(frame)
    assert keeps_rows(candidate, len(frame)) == ["a vector of all rows"]


def test_truncated_or_foreign_bytes_are_refused() -> None:
    """A file cut short anywhere, empty, or of another format is refused with what to do, and nothing else is raised."""
    data = dump(fitted("boston", "linear", None))
    for piece in (b"", b"not a model", data[:10], data[: len(data) // 2], data[:-1], data[-200:]):
        with pytest.raises(IntegrityError, match=r"not a whole skops file.*train it again"):
            load(piece)


def test_flipped_bytes_never_load_as_another_model() -> None:
    """Wherever one byte is flipped, the file is refused or still predicts exactly the same."""
    candidate, (frame, _) = fitted("boston", "linear", None), raw("boston")
    data, answers, refused = dump(candidate), candidate.predict(frame), 0
    for position in range(0, len(data), max(1, len(data) // 80)):
        flipped = bytearray(data)
        flipped[position] ^= 0x10
        try:
            assert np.array_equal(load(bytes(flipped)).predict(frame), answers)
        except IntegrityError:
            refused += 1
    assert refused > 40


def test_types_that_are_not_ours_are_refused_by_name() -> None:
    """A file that asks for a function or a class outside our list is refused, the stranger is named, and nothing of it runs."""
    candidate = fitted("boston", "linear", None)
    candidate.extra_ = functools.partial(os.mkdir, "/nonexistent/made-by-a-model")
    with pytest.raises(IntegrityError, match=r"types that are not ours to load: .*mkdir"):
        load(dump(candidate))


def test_a_file_without_a_candidate_is_refused() -> None:
    """An estimator that is safe to load and is no candidate of ours does not pass for one."""
    with pytest.raises(IntegrityError, match="the file holds a LogisticRegression, not a candidate"):
        load(skops.io.dumps(LogisticRegression()))

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
import yaml
from sklearn.linear_model import LogisticRegression

from tasks.core.candidates import REMEDIES, Candidate, build
from tasks.core.case import Case
from tasks.core.errors import IntegrityError
from tasks.io.models import dump, load

ROOT = Path(__file__).resolve().parents[2]
CASES = {name: Case.model_validate(yaml.safe_load((ROOT / "configs" / f"{name}.yaml").read_text("utf-8"))) for name in ("boston", "adult", "flights")}
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


def combinations() -> list[tuple[str, str, str | None]]:
    """Every estimator with every remedy that its case's task allows, none included."""
    estimators = {
        "regression": ["linear", "ridge", "hist_gradient_boosting", "random_forest"],
        "binary": ["logistic", "hist_gradient_boosting", "random_forest"],
    }
    by_task = {name: CASES[name].task for name in CASES}
    methods = [None, *REMEDIES]
    return [(n, e, m) for n, task in by_task.items() for e in estimators[task] for m in methods if m is None or task in REMEDIES[m].tasks]


def make_candidate(name: str, kind: str, method: str | None) -> Candidate:
    """A small candidate of that kind for the case, aimed at one of its cohort columns."""
    case = CASES[name]
    small = {"hist_gradient_boosting": {"max_iter": 4}, "random_forest": {"n_estimators": 5}}.get(kind, {})
    update: dict[str, Any] = {"estimator": case.candidates[0].estimator.model_copy(update={"kind": kind, "params": small}), "mitigation": None}
    if method:
        aimed = next(spec.mitigation for spec in case.candidates if spec.mitigation)
        bounded = case.task == "regression"
        params = {"max_iter": 2, **({"upper_bound": 0.05} if bounded else {})} if method == "exponentiated_gradient" else {}
        constraint = {"exponentiated_gradient": "bounded_group_loss" if bounded else "demographic_parity", "threshold_optimizer": "demographic_parity"}.get(
            method
        )
        by = {"boston": ("LSTAT",), "adult": ("sex",), "flights": ("origin",)}[name]
        update["mitigation"] = aimed.model_copy(update={"method": method, "by": by, "constraint": constraint, "params": params})
    return build(case.candidates[0].model_copy(update=update), case, kinds(raw(name)[0]))


def fitted(name: str, kind: str, method: str | None) -> Candidate:
    """Fitted on the even rows of the case's data, with the odd ones for validation."""
    frame, y = raw(name)
    return make_candidate(name, kind, method).fit(frame[::2], y[::2], validation=(frame[1::2], y[1::2]))


@pytest.mark.parametrize(("name", "index"), [(name, index) for name, case in CASES.items() for index in range(len(case.candidates))])
def test_the_shipped_candidates_save_and_load(name: str, index: int) -> None:
    """The candidates of the three cases, as their files state them, are built, and those quick to fit come back the same."""
    case, (frame, y) = CASES[name], raw(name)
    candidate = build(case.candidates[index], case, kinds(frame))
    if case.candidates[index].mitigation is None:
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
    """Every estimator with every remedy, on each case's data, loads back with the same answers and scores bit for bit, and
    a planted row's number, category and label are nowhere in the saved bytes, nor anything as long as the training rows."""
    frame, y = with_canaries(name)
    candidate = make_candidate(name, kind, method).fit(frame[::2], y[::2], validation=(frame[1::2], y[1::2]))
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
    candidate.set_params(model__estimator__oob_score=True, model__estimator__n_estimators=40, **{f"model__estimator__{k}": v for k, v in extra.items()})
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

"""Scoring a snapshot part by part: the same bytes wherever it runs, guards before anything is scored, corrupt parts named."""

import json
import os
import pickle
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import skops.io
from prefect import flow
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from threadpoolctl import threadpool_info, threadpool_limits

from tasks.core.building import build
from tasks.core.case import Case
from tasks.core.catalogue import Dataset
from tasks.core.errors import CaseError, DataError, IntegrityError, UnavailableError
from tasks.core.evidence import FORMAT
from tasks.io.engines import mapped
from tasks.io.foreign import foreign
from tasks.io.home import Home
from tasks.io.kits import find_kit, get_kit
from tasks.io.models import dump
from tasks.io.workbench import Workbench
from tasks.scoring import score
from tasks.step import step

pytestmark = pytest.mark.usefixtures("prefect")
FEATURES = {"age": "numeric", "dose": "numeric", "ward": "categorical"}


def patients(rows, seed, first=0):
    """Rows of patients: two numbers, one of them with gaps, and a ward."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"row_id": [f"p{first + place:07d}" for place in range(rows)], "age": rng.integers(20, 80, rows).astype(float)})
    frame["dose"] = np.where(rng.random(rows) < 0.1, np.nan, rng.gamma(3, 2, rows))
    return frame.assign(ward=rng.choice(["north", "south", "west"], rows))


def outcome(frame, task, seed=9):
    """What is predicted: days in hospital, or whether they are many."""
    days = frame["age"] / 10 + frame["dose"].fillna(5) + 3 * (frame["ward"] == "west") + np.random.default_rng(seed).normal(size=len(frame))
    return days if task == "regression" else (days > 13).astype(int)


@dataclass
class Site:
    """A workbench whose version 1 has evidence in the store, and the model in it."""

    bench: Workbench
    evidence: str
    model: object

    def asking(self, **scoring):
        """The same with other settings of scoring."""
        case = self.bench.case.model_copy(update={"scoring": type(self.bench.case.scoring)(**scoring)})
        return Site(Workbench(self.bench.home, case, self.bench.dataset), self.evidence, self.model)

    def score(self, source, **more):
        """Score a snapshot inside a flow."""

        @flow(name="a test")
        def run():
            return score(self.bench, version=1, evidence=self.evidence, source=source, where="2024-02 of stays", **more)

        return run()

    def parts(self, frame, rows):
        """Keep a frame as parts of so many rows."""
        return self.bench.store.put_parts([frame], rows)[0]


def make_site(root, task="regression", estimator="hist_gradient_boosting", **scoring):
    """A version of 1,000 rows: 500 fitted on, 250 for validation, 250 for test."""
    columns = [
        {"name": name, "type": "number" if kind == "numeric" else "string", "description": name, "classification": "internal"}
        for name, kind in FEATURES.items()
    ]
    dataset = Dataset.model_validate(
        {"name": "stays", "title": "Stays", "description": "Stays", "version": "1", "columns": columns, "source": {"kind": "file", "location": "stays.csv"}}
    )
    case = Case.model_validate(
        {
            "case": "stays",
            "purpose": "a test",
            "dataset": "stays",
            "task": task,
            "target": {"column": "days"} if task == "regression" else {"column": "days", "positive": "1"},
            "features": list(FEATURES),
            "periods": {"column": "when"},
            "candidates": [{"name": "first", "estimator": {"kind": estimator, "params": {"max_iter": 20} if "hist" in estimator else {}}}],
            "metrics": {"primary": "mae" if task == "regression" else "accuracy"},
            "limits": [{"metric": "mae", "at_most": 9}] if task == "regression" else [{"metric": "accuracy", "at_least": 0.5}],
            "carbon": {"country": "USA"},
            "scoring": scoring,
        }
    )
    bench = Workbench(Home(root=root, project=root), case, dataset)
    frame = patients(1000, 1)
    days, part = outcome(frame, task), np.repeat(["train", "validation", "test"], [500, 250, 250])
    train = part == "train"
    model = build(case.candidates[0], case, FEATURES).fit(frame[train], days[train])
    store = bench.store
    evidence = {
        "format": FORMAT,
        "case": store.put_json(case.model_dump(mode="json", exclude_none=True, by_alias=True)),
        "periods": ["2024-01"],
        "snapshots": {
            "features 2024-01": store.put_frame(frame),
            "labels 2024-01": store.put_frame(frame[["row_id"]].assign(days=days if task == "regression" else days.astype(str))),
        },
        "parts": store.put_frame(pd.DataFrame({"row_id": frame["row_id"], "part": part})),
        "model": store.put(dump(model)),
    }
    return Site(bench, store.put_json(evidence), model)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """One regression version for tests that only read it."""
    return make_site(tmp_path_factory.mktemp("stays"))


@pytest.fixture(scope="module")
def later(site):
    """A later period of 2,500 rows, and its digest as six parts."""
    frame = patients(2500, 2)
    return frame, site.parts(frame, 450)


@pytest.fixture(scope="module")
def binary(tmp_path_factory):
    """One binary version."""
    return make_site(tmp_path_factory.mktemp("binary"), "binary")


def test_predictions_are_the_models_own(site, later):
    """Parts scored one by one give the model's predictions of all rows."""
    frame, source = later
    found = site.score(source)
    table = site.bench.store.get_frame(found.predictions)
    assert list(table.columns) == ["row_id", "y_pred", "reasons"] == list(found.columns)
    np.testing.assert_array_equal(table["y_pred"], site.model.predict(frame))
    assert table["row_id"].tolist() == frame["row_id"].tolist()
    assert found.rows == 2500
    assert len(site.bench.store.parts(found.predictions)) == 6


@pytest.mark.parametrize("engine", ["threads", "processes", "dask", "ray"])
@pytest.mark.filterwarnings("default")  # the engines' own
def test_the_same_bytes_from_every_engine(site, later, engine):
    """Threads, processes, a local Dask cluster and a local Ray cluster leave the digest that one process leaves, and the same counts."""
    pytest.importorskip({"dask": "prefect_dask", "ray": "prefect_ray"}.get(engine, "prefect"))
    workers = 1 if engine == "processes" else 2  # each imports all that scoring takes, which is what this costs
    here, there = site.score(later[1]), site.asking(engine=engine, workers=workers).score(later[1])
    assert (there.predictions, there.counts, there.columns, there.kit) == (here.predictions, here.counts, here.columns, here.kit)


def test_a_large_period_is_scored_by_threads_unless_the_case_says_otherwise(site, later, monkeypatch):
    """Beyond the rows of one part, parts are tasks of their own on Prefect's threads, which share the cores; the bytes are those of one after
    the other.
    """
    from tasks import scoring

    asked = []

    def seen(engine, workers, ask, pieces, job, *more):
        asked.append((engine, workers, len(pieces), job.threads))
        return mapped(engine, workers, ask, pieces, job, *more)

    monkeypatch.setattr(scoring, "mapped", seen)
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    here = site.score(later[1])
    assert asked == []
    monkeypatch.setattr(scoring, "ROWS_IN_PART", 2499)
    there = site.score(later[1])
    assert asked == [("threads", 2, 6, 2)]
    assert (there.predictions, there.counts) == (here.predictions, here.counts)
    monkeypatch.setattr(scoring, "ROWS_IN_PART", 2500)
    site.score(later[1])
    assert len(asked) == 1


@flow(name="a test of engines")
def spread(engine, ask, pieces):
    """What a step says of each piece, on an engine."""
    return mapped(engine, 2, ask, pieces)


def blas():
    """How many threads each library of linear algebra has in this process."""
    return {one["filepath"]: one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}


def set_blas(limits):
    """Set them, from a thread that ends: threadpoolctl heeds the first living one that does."""
    setting = threading.Thread(target=threadpool_limits, args=(limits,))
    setting.start()
    setting.join()


def test_threads_leave_blas_as_it_was():
    """Two parts that limit BLAS, the one while the other does, keep to one thread, and leave the process those that it had."""
    began, ended = (threading.Event(), threading.Event()), threading.Event()

    @step("keep to one thread")
    def limited(place):
        if place == 1:
            began[0].wait(20)
        with threadpool_limits(1):
            began[place].set()
            began[1].wait(20)
            found = set(blas().values())
            if place == 1:
                ended.wait(20)
        ended.set()
        return found

    before = blas()
    set_blas(dict.fromkeys(before, 2))
    try:
        assert spread("threads", limited, [0, 1]) == [{1}, {1}]
        assert set(blas().values()) == {2}
    finally:
        set_blas(before)


@pytest.mark.parametrize("engine", ["processes", "dask"])
@pytest.mark.filterwarnings("default")  # the engines' own
def test_a_lost_worker_is_named(engine):
    """A worker killed with -9, as the system does where memory runs out, is a system that is not there, and the error says which."""
    config = pytest.importorskip("dask.config")

    @step("end")
    def ending(place):
        os.kill(os.getpid(), signal.SIGKILL)

    with (
        config.set({"distributed.scheduler.allowed-failures": 0}),
        pytest.raises(UnavailableError, match=rf"A worker of the engine `{engine}` ended before its part was done.*memory"),
    ):
        spread(engine, ending, [1])


def test_rows_beyond_what_fitting_saw_say_so(site):
    """A flagged guard says which value of a row is beyond and how; a counted one counts; other rows say nothing."""
    frame = patients(6, 3).assign(age=[30.0, 140.0, 30, 30, None, 30], dose=5.0, ward=["north", "east", "east", "south", "west", None])
    found = site.score(site.parts(frame, 4))
    reasons = site.bench.store.get_frame(found.predictions)["reasons"].tolist()
    assert reasons == ["", "age: outside 20 to 79; ward: unseen", "ward: unseen", "", "age: missing", "ward: missing"]
    assert found.counts == {"unseen": {"ward": 2}, "outside": {"age": 1}, "missing": {"age": 1, "ward": 1}}
    counted = site.asking(unseen="score", outside="score", missing="score").score(site.parts(frame, 4))
    assert "reasons" not in counted.columns
    assert counted.counts == found.counts


def test_a_guard_refuses_the_period_before_anything_is_scored(site):
    """The refusal names columns, counts and the first rows of all parts; no predictions are left in the store."""
    frame = patients(9, 4).assign(dose=5.0, ward=["north"] * 5 + ["east"] * 4)
    source, refusing = site.parts(frame, 2), site.asking(unseen="refuse")
    assert refusing.score(site.parts(frame[:5], 2)).rows == 5
    kept = set(site.bench.store.root.rglob("objects/*/*"))
    with pytest.raises(DataError, match=r"`ward` holds a category that no row fitted on has, in 4 of 9 rows \(first: p0000005, p0000006, p0000007\)") as caught:
        refusing.score(source)
    assert str(caught.value).startswith("2024-02 of stays: Nothing was scored")
    assert "set `scoring.unseen` of the case to flag" in str(caught.value)
    assert set(site.bench.store.root.rglob("objects/*/*")) == kept


def test_a_corrupt_part_among_a_hundred_is_named(site):
    """With one byte of part 37 changed nothing is scored, or the other 99 are, as the case says; what is named is the part."""
    frame = patients(300, 5)
    source = site.parts(frame, 3)
    digest = site.bench.store.parts(source)[36][0]
    path = site.bench.store.path(digest)
    whole = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(whole[:200] + bytes([whole[200] ^ 1]) + whole[201:])
    with pytest.raises(IntegrityError, match=rf"{path.name}.*part 37 of 100 of 2024-02 of stays is corrupt.*Nothing was scored") as caught:
        site.asking(engine="threads").score(source)
    found = site.asking(corrupt_part="skip", unseen="refuse").score(source)
    assert len(found.left_out) == 1
    assert found.left_out[0].startswith(f"part 37 of 100 of 2024-02 of stays ({path}) is corrupt")
    rows = site.bench.store.get_frame(found.predictions)["row_id"].tolist()
    assert rows == frame.drop(index=range(108, 111))["row_id"].tolist()
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301  # as an error comes back from another process
    assert (str(again), again.where) == (str(caught.value), caught.value.where)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="no file here that opens and cannot be read")
def test_a_part_that_the_disk_does_not_give_is_left_out(site):
    """A place of a disk that is bad (read error 5, as /proc/self/mem gives it) is a corrupt part like any."""
    frame = patients(4, 15)
    source = site.parts(frame, 2)
    path = site.bench.store.path(site.bench.store.parts(source)[1][0])
    path.unlink()
    path.symlink_to("/proc/self/mem")
    found = site.asking(corrupt_part="skip").score(source)
    assert found.rows == 2
    assert found.left_out[0].startswith(f"part 2 of 2 of 2024-02 of stays ({path}) is damaged: the disk does not give its bytes (Input/output error)")


def test_a_period_of_which_no_part_can_be_read_is_refused(site):
    """Skipping all parts is no scoring."""
    source = site.bench.store.put_frame(patients(3, 6))
    site.bench.store.path(source).unlink()
    with pytest.raises(IntegrityError, match=r"no part of it can be read: 2024-02 of stays .* is on record but not in the store"):
        site.asking(corrupt_part="skip").score(source)


@pytest.mark.parametrize("task", ["regression", "binary"])
@pytest.mark.parametrize("rows", [0, 1])
def test_no_rows_and_one_row(site, binary, task, rows):
    """Nothing and one row are scored like any number: the same columns and types."""
    chosen = (site if task == "regression" else binary).asking(
        **({"interval": 0.9} if task == "regression" else {"abstain_below": 0.6, "calibrate": "sigmoid"})
    )
    many = chosen.score(chosen.bench.store.put_frame(patients(50, 7)))
    found = chosen.score(chosen.bench.store.put_frame(patients(50, 7).iloc[:rows]))
    table = chosen.bench.store.get_frame(found.predictions)
    assert found.rows == len(table) == rows
    assert found.columns == many.columns == {str(name): str(dtype) for name, dtype in table.dtypes.items()}
    assert table.equals(chosen.bench.store.get_frame(many.predictions).iloc[:rows])


def test_a_column_without_a_value_is_flagged(site):
    """All nulls in a part, or in a period: scored as missing, and each row says so."""
    frame = patients(8, 8).assign(dose=5.0)
    frame.loc[4:, ["age", "ward"]] = None
    found = site.score(site.parts(frame, 4))
    assert found.counts["missing"] == {"age": 4, "ward": 4}
    np.testing.assert_array_equal(site.bench.store.get_frame(found.predictions)["y_pred"], site.model.predict(frame))
    assert site.score(site.bench.store.put_frame(frame.iloc[4:])).counts["missing"] == {"age": 4, "ward": 4}


def test_a_million_new_categories_stay_fast(site):
    """A column that turned into an identifier costs seconds, not minutes, and every row is flagged."""
    rows = 1_000_000
    frame = patients(rows, 9).assign(ward=[f"w{place}" for place in range(rows)])
    source = site.bench.store.put_frame(frame)
    begun = time.perf_counter()
    found = site.score(source)
    assert found.counts["unseen"] == {"ward": rows}
    assert time.perf_counter() - begun < 30  # about 3 on a quiet machine


def test_columns_that_do_not_fit_are_named_with_their_part(site):
    """A part whose column changed its type stops the scoring."""
    store = site.bench.store
    parts = [(store.put_frame(frame), 3) for frame in (patients(3, 1), patients(3, 2).assign(age=["young", "old", "old"]))]
    with pytest.raises(DataError, match=r"part 2 of 2 of 2024-02 of stays: .*column `age` should hold numbers and holds text"):
        site.score(store.join_parts(parts))
    with pytest.raises(DataError, match=r"column `ward` is missing"):
        site.score(store.put_frame(patients(3, 1).drop(columns="ward")))


def test_intervals_hold_what_they_promise(site):
    """The half-width is the 226th smallest of 250 errors for 0.9, the share of test rows inside is on record, and new rows are inside as often."""
    asked = site.asking(interval=0.9)
    frame = patients(4000, 11)
    found = asked.score(asked.bench.store.put_frame(frame))
    table = asked.bench.store.get_frame(found.predictions)
    kit = get_kit(asked.bench.store, found.kit)
    seen, days = patients(1000, 1), outcome(patients(1000, 1), "regression")
    errors = np.sort(np.abs(days - site.model.predict(seen))[500:750])
    assert kit.interval.half == errors[225]
    assert (kit.interval.rows, kit.interval.tested) == (250, 250)
    assert kit.interval.covered == (np.abs(days - site.model.predict(seen))[750:] <= errors[225]).sum()
    inside = ((table["low"] <= outcome(frame, "regression", 12)) & (outcome(frame, "regression", 12) <= table["high"])).mean()
    assert inside == pytest.approx(0.9, abs=0.04)
    with pytest.raises(DataError, match=r"scoring\.interval: an interval that covers 0\.999 needs 999 validation rows, and there are 250"):
        site.asking(interval=0.999).score(found.predictions)


@pytest.mark.parametrize("kind", ["isotonic", "sigmoid"])
def test_probabilities_are_calibrated_and_unsure_rows_abstain(binary, kind):
    """`probability` keeps the order of the scores, the kit has its measures before and after, and rows below the confidence have no answer."""
    asked = binary.asking(calibrate=kind, abstain_below=0.8)
    frame = patients(3000, 13)
    found = asked.score(asked.bench.store.put_frame(frame))
    table = asked.bench.store.get_frame(found.predictions)
    assert list(table.columns) == ["row_id", "y_pred", "y_score", "probability", "abstained", "reasons"]
    np.testing.assert_array_equal(table["y_score"], binary.model.predict_score(frame))
    ordered = table.sort_values("y_score")
    assert ordered["probability"].is_monotonic_increasing
    sure = np.maximum(table["probability"], 1 - table["probability"]) >= 0.8
    assert table["abstained"].equals(~sure.rename("abstained"))
    assert table["y_pred"].isna().equals(table["abstained"].rename("y_pred"))
    np.testing.assert_array_equal(table["y_pred"][sure].astype(int), binary.model.predict(frame)[sure])
    assert found.abstained == (~sure).sum() > 0
    kit = get_kit(asked.bench.store, found.kit)
    assert set(kit.calibrator.before) == set(kit.calibrator.after) == {"log_loss", "expected_calibration_error"}
    assert kit.calibrator.rows == 250


def test_a_kit_is_made_once_for_what_is_asked(site, later):
    """The kit is on record for the version and its settings; another engine needs no other kit, and an interval does."""
    asked, store = site.asking(interval=0.8), site.bench.store
    assert find_kit(store, "stays", 1, asked.bench.case.scoring) is None
    asked.score(later[1])
    digest = find_kit(store, "stays", 1, asked.bench.case.scoring)
    assert digest == find_kit(store, "stays", 1, site.asking(interval=0.8, engine="dask", unseen="refuse").bench.case.scoring)
    assert get_kit(store, digest).to_json() == json.loads(store.get(digest))
    assert find_kit(store, "stays", 1, site.bench.case.scoring) != digest


def test_abstaining_needs_a_score(tmp_path):
    """A model without probabilities cannot abstain, and that is said before anything is scored."""

    class Answers:
        """A model that was trained elsewhere and gives answers only."""

        task, inputs = "binary", FEATURES

        def predict(self, frame):
            return np.zeros(len(frame), dtype=np.int64)

        def predict_score(self, frame):
            return None

    elsewhere = make_site(tmp_path, "binary", abstain_below=0.9)
    with pytest.raises(CaseError, match=r"scoring\.abstain_below: the model gives answers without a score"):
        elsewhere.score(elsewhere.bench.store.put_frame(patients(5, 1)), model=Answers())


def test_a_model_that_was_trained_elsewhere_is_scored_like_any(tmp_path):
    """A registered .skops file gets guards, calibrated probabilities and parts; its predictions are its own."""
    site = make_site(tmp_path, "binary", calibrate="isotonic")
    store, frame, seen = site.bench.store, patients(40, 14), patients(1000, 1)
    pipeline = make_pipeline(SimpleImputer(), LogisticRegression()).fit(seen[["age", "dose"]][:500], outcome(seen, "binary")[:500])
    model = foreign(skops.io.dumps(pipeline), "skops", task="binary", target=1, features=["age", "dose"], kinds=FEATURES)
    evidence = store.put_json({**store.get_json(site.evidence), "model": store.put(dump(model))})
    found = Site(site.bench, evidence, model).score(site.parts(frame, 25))
    table = store.get_frame(found.predictions)
    np.testing.assert_array_equal(table["y_score"], pipeline.predict_proba(frame[["age", "dose"]])[:, 1])
    assert list(get_kit(store, found.kit).guards.columns) == ["age", "dose"]
    assert table["probability"].between(0, 1).all()

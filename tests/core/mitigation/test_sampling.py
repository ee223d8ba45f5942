"""Rebalancing."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from imblearn import over_sampling, under_sampling
from sklearn.base import clone

from tasks.core.errors import CaseError, DataError
from tasks.core.mitigation.base import Sampler
from tasks.core.mitigation.sampling import METHODS

TEXT = ["job", "region"]


def make_rows(n: int = 400, share: float = 0.25, gaps: bool = False) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """A frame of numbers and text, a matrix, and labels of which a quarter are 1, overlapping with the rest."""
    rng = np.random.default_rng(8)
    y = (rng.random(n) < share).astype(np.int64)
    frame = pd.DataFrame(
        {
            "age": rng.normal(40 + 5 * y, 9),
            "job": pd.Series(rng.choice(["clerk", "cook", "smith"], n), dtype="str"),
            "gain": rng.gamma(2, 30, n) * (1 + y),
            "region": pd.Series(np.where(rng.random(n) < 0.3 + 0.4 * y, "east", "west"), dtype="str"),
        }
    )
    if gaps:
        frame.loc[::7, "gain"] = np.nan
    return frame, rng.normal(size=(n, 4)) + 0.7 * y[:, None], y


def make(method: str, **params: Any) -> Sampler:
    """The step of that name."""
    step = METHODS[method]((), 3, params)
    assert isinstance(step, Sampler)
    return step


def rows_for(method: str) -> tuple[Any, np.ndarray]:
    """What the step reads, and labels."""
    frame, matrix, y = make_rows()
    if METHODS[method].step.reads == "matrix":
        return matrix, y
    return (frame[TEXT] if method == "smoten" else frame), y


PEERS: list[tuple[str, dict[str, Any], Any]] = [
    ("smote", {}, over_sampling.SMOTE(random_state=3)),
    ("smote", {"sampling_strategy": 0.6, "k_neighbors": 3}, over_sampling.SMOTE(sampling_strategy=0.6, k_neighbors=3, random_state=3)),
    ("smote", {"sampling_strategy": {"0": 350, "1": 320}}, over_sampling.SMOTE(sampling_strategy={0: 350, 1: 320}, random_state=3)),
    ("smotenc", {}, over_sampling.SMOTENC(TEXT, random_state=3)),
    ("smotenc", {"k_neighbors": 2, "sampling_strategy": 0.9}, over_sampling.SMOTENC(TEXT, k_neighbors=2, sampling_strategy=0.9, random_state=3)),
    ("smoten", {}, over_sampling.SMOTEN(random_state=3)),
    (
        "smoten",
        {"k_neighbors": 7, "sampling_strategy": {0: 330, 1: 310}},
        over_sampling.SMOTEN(k_neighbors=7, sampling_strategy={0: 330, 1: 310}, random_state=3),
    ),
    ("random_over_sampler", {}, over_sampling.RandomOverSampler(random_state=3)),
    ("random_over_sampler", {"sampling_strategy": 1}, over_sampling.RandomOverSampler(sampling_strategy=1.0, random_state=3)),
    ("random_under_sampler", {}, under_sampling.RandomUnderSampler(random_state=3)),
    (
        "random_under_sampler",
        {"sampling_strategy": 0.5, "replacement": True},
        under_sampling.RandomUnderSampler(sampling_strategy=0.5, replacement=True, random_state=3),
    ),
    ("random_under_sampler", {"sampling_strategy": {0: 150, 1: 80}}, under_sampling.RandomUnderSampler(sampling_strategy={0: 150, 1: 80}, random_state=3)),
    ("tomek_links", {}, under_sampling.TomekLinks()),
    ("tomek_links", {"sampling_strategy": [0, 1]}, under_sampling.TomekLinks(sampling_strategy=[0, 1])),
    ("edited_nearest_neighbours", {}, under_sampling.EditedNearestNeighbours()),
    (
        "edited_nearest_neighbours",
        {"kind_sel": "mode", "n_neighbors": 5, "sampling_strategy": "all"},
        under_sampling.EditedNearestNeighbours(kind_sel="mode", n_neighbors=5, sampling_strategy="all"),
    ),
    ("cluster_centroids", {}, under_sampling.ClusterCentroids(random_state=3)),
    ("cluster_centroids", {"voting": "hard", "sampling_strategy": 0.7}, under_sampling.ClusterCentroids(voting="hard", sampling_strategy=0.7, random_state=3)),
]


@pytest.mark.parametrize(("method", "params", "peer"), PEERS, ids=[f"{method}-{'-'.join(params)}" for method, params, _ in PEERS])
def test_the_rows_are_imbalanced_learn_s(method: str, params: dict[str, Any], peer: Any) -> None:
    """With the same seed the same rows and labels come out, in the same order, number for number."""
    X, y = rows_for(method)
    rows, labels = make(method, **params).fit_resample(X, y)
    expected, expected_labels = peer.fit_resample(X, y)
    if isinstance(X, pd.DataFrame):
        pd.testing.assert_frame_equal(rows, expected.reset_index(drop=True), check_exact=True)
        assert rows.index.equals(pd.RangeIndex(len(rows)))
    else:
        np.testing.assert_array_equal(rows, expected)
    np.testing.assert_array_equal(labels, expected_labels)
    assert labels.dtype == np.int64


@pytest.mark.parametrize("method", METHODS)
def test_every_row_that_comes_out_has_a_row_it_comes_from(method: str) -> None:
    """The row named has the same label; where rows are copied it is the same row; the rows that went in are left alone."""
    X, y = rows_for(method)
    before = X.copy()
    step = make(method)
    rows, labels = step.fit_resample(X, y)
    assert step.sample_indices_.shape == (len(labels),)
    np.testing.assert_array_equal(y[step.sample_indices_], labels)
    assert np.array_equal(np.asarray(X), np.asarray(before))
    if method in ("random_over_sampler", "random_under_sampler", "tomek_links", "edited_nearest_neighbours"):
        np.testing.assert_array_equal(np.asarray(rows), np.asarray(X)[step.sample_indices_])
    elif method != "cluster_centroids":
        np.testing.assert_array_equal(step.sample_indices_[: len(y)], np.arange(len(y)))
        np.testing.assert_array_equal(np.asarray(rows)[: len(y)], np.asarray(X))


def test_a_smote_row_lies_between_its_seed_and_a_near_row_of_the_class() -> None:
    """Each made-up row is on the way from the row named to one of that row's five nearest of the class."""
    _, X, y = make_rows()
    step = make("smote")
    rows, _ = step.fit_resample(X, y)
    members = X[y == 1]
    for made, seed in zip(rows[len(y) :], X[step.sample_indices_[len(y) :]], strict=True):
        near = members[np.argsort(((members - seed) ** 2).sum(axis=1))[1:6]]
        ways = near - seed
        share = ((made - seed) * ways).sum(axis=1) / (ways**2).sum(axis=1)
        off = np.abs(made - seed - share[:, None] * ways).max(axis=1)
        assert ((off < 1e-9) & (share >= 0) & (share < 1)).any()


def test_a_smotenc_row_s_numbers_lie_between_its_seed_and_another() -> None:
    """The numbers of a made-up row are on the way from the row named to another of its class, and its words are words of the class."""
    frame, _, y = make_rows()
    step = make("smotenc")
    rows, _ = step.fit_resample(frame, y)
    numbers = frame[["age", "gain"]].to_numpy()
    members = numbers[y == 1]
    for made, seed in zip(rows[["age", "gain"]].to_numpy()[len(y) :], numbers[step.sample_indices_[len(y) :]], strict=True):
        ways = members - seed
        with np.errstate(invalid="ignore"):
            share = ((made - seed) * ways).sum(axis=1) / (ways**2).sum(axis=1)
        assert (np.abs(made - seed - share[:, None] * ways).max(axis=1) < 1e-9).any()
    assert set(rows["job"]) == set(frame["job"])


def test_a_centroid_s_row_is_the_nearest_of_its_class() -> None:
    """No row of the class is nearer to a centroid than the row that is named for it."""
    _, X, y = make_rows()
    step = make("cluster_centroids")
    rows, labels = step.fit_resample(X, y)
    for made, label, index in zip(rows, labels, step.sample_indices_, strict=True):
        if label == 0:
            distances = np.linalg.norm(X[y == 0] - made, axis=1)
            np.testing.assert_allclose(np.linalg.norm(X[index] - made), distances.min())


@pytest.mark.parametrize("method", METHODS)
def test_a_step_repeats_itself(method: str) -> None:
    """A clone gives the same rows, and where rows are drawn another seed gives others."""
    X, y = rows_for(method)
    step = make(method)
    rows, _ = step.fit_resample(X, y)
    again, _ = clone(step).fit_resample(X, y)
    np.testing.assert_array_equal(np.asarray(again), np.asarray(rows))
    if "seed" in step.get_params():
        other, _ = clone(step).set_params(seed=4).fit_resample(X, y)
        assert not np.array_equal(np.asarray(other), np.asarray(rows))


def test_copied_rows_keep_gaps_and_types() -> None:
    """Rows with gaps are drawn as they are, and each column keeps its type."""
    frame, _, y = make_rows(gaps=True)
    for method in ("random_over_sampler", "random_under_sampler"):
        rows, _ = make(method).fit_resample(frame, y)
        assert rows["gain"].isna().any()
        assert rows.dtypes.equals(frame.dtypes)


@pytest.mark.parametrize("method", ["random_over_sampler", "smote"])
def test_a_cohort_that_is_balanced_already_stays(method: str) -> None:
    """A ratio that is met already adds nothing, where the library would raise."""
    frame, X, _ = make_rows()
    y = np.arange(400) % 2
    given = X if method == "smote" else frame
    rows, labels = make(method, sampling_strategy=1.0).fit_resample(given, y)
    np.testing.assert_array_equal(np.asarray(rows), np.asarray(given))
    np.testing.assert_array_equal(labels, y)


def test_counts_that_cannot_be_had_are_refused() -> None:
    """Fewer rows by adding, more by taking away, classes that are not 0 and 1, and no number at all: each is named."""
    _, X, y = make_rows()
    zeros, ones = (y == 0).sum(), (y == 1).sum()
    with pytest.raises(DataError, match=rf"class 1 has {ones} rows, and `sampling_strategy` asks for 10, where rows are only added.*random_under_sampler"):
        make("smote", sampling_strategy={1: 10}).fit_resample(X, y)
    with pytest.raises(DataError, match=rf"class 1 has {ones} rows, and `sampling_strategy` asks for {int(zeros * 0.1)}"):
        make("smote", sampling_strategy=0.1).fit_resample(X, y)
    with pytest.raises(DataError, match=rf"class 0 has {zeros} rows, and `sampling_strategy` asks for {int(ones / 0.1):,}, where rows are only taken away"):
        make("cluster_centroids", sampling_strategy=0.1).fit_resample(X, y)
    with pytest.raises(CaseError, match=r"names class `yes`, and the classes are 0 and 1"):
        make("smote", sampling_strategy={"yes": 10}).fit_resample(X, y)
    with pytest.raises(CaseError, match=r"asks for 0\.5 rows of class 1\. Give a whole number"):
        make("smote", sampling_strategy={1: 0.5}).fit_resample(X, y)
    with pytest.raises(CaseError, match=r"names class `2`"):
        make("tomek_links", sampling_strategy=[2]).fit_resample(X, y)


@pytest.mark.parametrize("method", METHODS)
def test_a_class_that_is_missing_is_named(method: str) -> None:
    """A cohort with one class cannot be rebalanced, and the error says which is missing."""
    X, y = rows_for(method)
    with pytest.raises(DataError, match=r"there is no row of class 1 among 400\. Aim it at a cohort with both classes"):
        make(method).fit_resample(X, np.zeros_like(y))


@pytest.mark.parametrize("method", ["smote", "smotenc", "smoten"])
def test_more_neighbours_than_the_class_has_rows_are_refused(method: str) -> None:
    """The class, its count, k and the greatest k that works are in the error; with that k it works."""
    X, y = rows_for(method)
    y = (np.cumsum(y) <= 4).astype(np.int64) * y
    with pytest.raises(DataError, match=r"class 1 has 4 rows, and `k_neighbors` is 5\. Lower `params.k_neighbors` to at most 3"):
        make(method).fit_resample(X, y)
    _, labels = make(method, k_neighbors=3).fit_resample(X, y)
    assert (labels == 1).sum() == (labels == 0).sum()
    with pytest.raises(DataError, match=r"class 1 has 1 rows.*Use random_over_sampler"):
        make(method).fit_resample(X, (np.cumsum(y) <= 1).astype(np.int64) * y)
    if method == "smote":
        with pytest.raises(DataError, match=r"there are 3 rows, and `n_neighbors` is 3\. Lower `params.n_neighbors` to at most 2"):
            make("edited_nearest_neighbours").fit_resample(X[:3], np.array([0, 1, 0]))


def test_columns_that_a_step_cannot_read_are_named() -> None:
    """smotenc needs numbers without gaps and words, smoten words alone; labels other than 0 and 1 are refused."""
    frame, X, y = make_rows(gaps=True)
    with pytest.raises(DataError, match=r"column `gain` has no value in 58 rows\. Put an imputer before it"):
        make("smotenc").fit_resample(frame, y)
    with pytest.raises(CaseError, match=r"no categorical column\. Use smote"):
        make("smotenc").fit_resample(frame[["age"]], y)
    with pytest.raises(CaseError, match=r"no numeric column\. Use smoten"):
        make("smotenc").fit_resample(frame[TEXT], y)
    with pytest.raises(CaseError, match=r"column `age` holds numbers\. Use smotenc"):
        make("smoten").fit_resample(frame, y)
    with pytest.raises(CaseError, match=r"labels 0 and 1, and there are others\. Use it for a binary task; for regression, reweighing"):
        make("smote").fit_resample(X, y + 0.25)


def test_wrong_parameters_are_refused_before_any_row_is_read() -> None:
    """A misspelt or impossible parameter is named with the right one; every method lists what it takes and the task it serves."""
    with pytest.raises(CaseError, match=r"smote has no parameter `k_neighbours`\. Did you mean `k_neighbors`"):
        make("smote", k_neighbours=3)
    with pytest.raises(CaseError, match=r"'k_neighbors' parameter of Smote must be an int in the range \[1, inf\)"):
        make("smote", k_neighbors=0)
    with pytest.raises(CaseError, match=r"'sampling_strategy' parameter of TomekLinks"):
        make("tomek_links", sampling_strategy=0.5)
    with pytest.raises(CaseError, match=r"smote takes no `columns`"):
        METHODS["smote"](("age",), 0, {})
    assert METHODS["random_under_sampler"].parameters == ("sampling_strategy", "replacement")
    assert all(maker.step.tasks == ("binary",) for maker in METHODS.values())

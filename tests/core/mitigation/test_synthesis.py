"""Synthesis of rows from a Gaussian copula."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.base import clone

from tasks.core.errors import CaseError, DataError
from tasks.core.mitigation.base import Sampler
from tasks.core.mitigation.synthesis import METHODS


def make_rows(n: int = 3000, share: float = 0.3) -> tuple[pd.DataFrame, np.ndarray]:
    """Two skewed numbers that go together, whole numbers with many zeros, one column with gaps, and words that follow the numbers."""
    rng = np.random.default_rng(6)
    y = (rng.random(n) < share).astype(np.int64)
    normal = rng.multivariate_normal([0, 0], [[1, 0.7], [0.7, 1]], n)
    frame = pd.DataFrame(
        {
            "income": np.exp(normal[:, 0] + y),
            "spent": normal[:, 1] ** 3,
            "children": np.floor(np.maximum(0.0, 1.5 * normal[:, 0])),
            "score": np.where(rng.random(n) < 0.1 + 0.3 * (normal[:, 0] > 0), np.nan, rng.gamma(2, 3, n)),
            "level": pd.Series(np.array(["low", "middle", "high"])[np.digitize(normal[:, 0] + rng.normal(0, 0.5, n), [-0.5, 1])], dtype="str"),
            "home": pd.Series(np.where(normal[:, 1] + rng.normal(0, 1, n) > 0, "own", "rent"), dtype="str"),
        }
    )
    return frame, y


def make(**params: Any) -> Sampler:
    """The step, seeded."""
    step = METHODS["gaussian_copula"]((), 5, params)
    assert isinstance(step, Sampler)
    return step


NUMBERS = ["income", "spent", "children", "score"]


@pytest.fixture(scope="module")
def replaced() -> tuple[pd.DataFrame, np.ndarray, pd.DataFrame, np.ndarray]:
    """Rows and labels, and as many made up in their place."""
    frame, y = make_rows()
    rows, labels = make(mode="replace", rows=1.0).fit_resample(frame, y)
    return frame, y, rows, labels


def test_each_class_keeps_its_margins(replaced: Any) -> None:
    """In each class, numbers are distributed as they were (Kolmogorov-Smirnov under .05), words and gaps as often to within 3 points."""
    frame, y, rows, labels = replaced
    for label in (0, 1):
        old, new = frame[y == label], rows[labels == label]
        for name in NUMBERS:
            assert stats.ks_2samp(old[name].dropna(), new[name].dropna()).statistic < 0.05
        for name in ("level", "home"):
            shares = old[name].value_counts(normalize=True)
            assert (new[name].value_counts(normalize=True) - shares).abs().max() < 0.04
        assert abs(old["score"].isna().mean() - new["score"].isna().mean()) < 0.04


def test_columns_go_together_as_they_did(replaced: Any) -> None:
    """Rank correlations of numbers, means of numbers by word, words by word, and gaps by number keep their strength to within .08."""
    frame, y, rows, labels = replaced
    for label in (0, 1):
        old, new = frame[y == label], rows[labels == label]
        difference = old[NUMBERS].corr(method="spearman") - new[NUMBERS].corr(method="spearman")
        assert difference.abs().max(axis=None) < 0.08
        ranks = [part.groupby("level")["income"].mean().rank().to_dict() for part in (old, new)]
        assert ranks[0] == ranks[1] == {"low": 1.0, "middle": 2.0, "high": 3.0}
        for first, second in (("level", "home"), ("home", "spent")):
            codes = [part.assign(second=part[second].rank(method="dense") if second == "spent" else part[second] == "own") for part in (old, new)]
            by_word = [part.groupby(first)["second"].mean() for part in codes]
            spread = [part.max() - part.min() for part in by_word]
            assert abs(spread[0] - spread[1]) < 0.15 * (spread[0] if second == "spent" else 1)
        gaps = [stats.spearmanr(part["income"], part["score"].isna()).statistic for part in (old, new)]
        assert abs(gaps[0] - gaps[1]) < 0.08


def test_no_row_s_own_value_comes_back(replaced: Any) -> None:
    """Numbers lie between a class's inner quantiles, whole numbers stay whole, types and columns stay, and no made-up row is a training row."""
    frame, y, rows, labels = replaced
    for label in (0, 1):
        old, new = frame[y == label], rows[labels == label]
        for name in ("income", "spent"):
            ordered = np.sort(old[name])
            assert ordered[4] <= new[name].min()
            assert new[name].max() <= ordered[-5]
            assert not set(new[name]) & set(old[name])
    assert (rows["children"] == np.rint(rows["children"])).all()
    assert rows.dtypes.equals(frame.dtypes)
    assert not {name for name in vars(make(rows=5)) if name.endswith("_")}


@pytest.mark.parametrize(
    ("mode", "rows", "expected"),
    [
        ("append", "parity", (700, 700)),
        ("replace", "parity", (700, 700)),
        ("append", 50, (750, 350)),
        ("append", 0.5, (1050, 450)),
        ("append", {"1": 25}, (700, 325)),
        ("replace", {0: 40, 1: 2.0}, (40, 600)),
        ("append", 0, (700, 300)),
    ],
)
def test_counts_are_what_is_asked_for(mode: str, rows: Any, expected: tuple[int, int]) -> None:
    """Whole numbers, ratios and parity give exact counts of each class; with append the rows there were come first, unchanged."""
    frame, _ = make_rows(1000)
    y = (np.arange(1000) < 300).astype(np.int64)
    step = make(mode=mode, rows=rows)
    new, labels = step.fit_resample(frame, y)
    assert np.bincount(labels).tolist() == list(expected)
    assert len(new) == len(step.sample_indices_) == sum(expected)
    np.testing.assert_array_equal(y[step.sample_indices_], labels)
    if mode == "append":
        pd.testing.assert_frame_equal(new.iloc[:1000], frame)
        np.testing.assert_array_equal(step.sample_indices_[:1000], np.arange(1000))


def test_a_made_up_row_belongs_with_a_row_like_it() -> None:
    """The row named for a made-up one is like it: of its class, most often with its words, and near it in its numbers."""
    frame, y = make_rows()
    step = make()
    rows, labels = step.fit_resample(frame, y)
    made, like = rows.iloc[len(y) :].reset_index(drop=True), frame.iloc[step.sample_indices_[len(y) :]].reset_index(drop=True)
    assert (labels[len(y) :] == 1).all()
    assert (made["level"] == like["level"]).mean() > 0.9
    assert (made["home"] == like["home"]).mean() > 0.9
    assert stats.spearmanr(made["income"], like["income"]).statistic > 0.85


def test_the_seed_decides_every_draw() -> None:
    """The same seed gives the same rows, a clone too; another seed gives others; the rows that went in are left alone."""
    frame, y = make_rows(600)
    before = frame.copy()
    step = make()
    first, _ = step.fit_resample(frame, y)
    pd.testing.assert_frame_equal(clone(step).fit_resample(frame, y)[0], first)
    assert not clone(step).set_params(seed=6).fit_resample(frame, y)[0].equals(first)
    pd.testing.assert_frame_equal(frame, before)


def test_columns_of_one_value_or_none_stay_so() -> None:
    """A constant is drawn as itself, and a column without a value in a class stays without one there."""
    frame, y = make_rows(600)
    frame = frame.assign(one=7.0, word=pd.Series(["same"] * 600, dtype="str"), empty=np.where(y == 1, np.nan, 1.5))
    rows, labels = make(mode="replace", rows=200).fit_resample(frame, y)
    assert (rows["one"] == 7).all()
    assert (rows["word"] == "same").all()
    assert rows["empty"][labels == 1].isna().all()
    assert (rows["empty"][labels == 0] == 1.5).all()


def test_what_cannot_be_made_is_said() -> None:
    """A missing or tiny class, a class that is none, no rows left of one, and misspelt parameters: each is named, with a way out."""
    frame, y = make_rows(600)
    with pytest.raises(DataError, match=r"there is no row of class 1 among 600"):
        make().fit_resample(frame, np.zeros_like(y))
    with pytest.raises(DataError, match=r"class 1 has 15 rows, and a copula needs at least 20\. Use random_over_sampler"):
        make().fit_resample(frame, (np.arange(600) < 15).astype(np.int64))
    with pytest.raises(CaseError, match=r"`rows` names class `a`, and the classes are 0 and 1"):
        make(rows={"a": 3}).fit_resample(frame, y)
    with pytest.raises(CaseError, match=r"`rows` asks for -3 rows of class 1"):
        make(rows={1: -3}).fit_resample(frame, y)
    with pytest.raises(CaseError, match=r"`mode: replace` would leave a class without rows"):
        make(mode="replace", rows={1: 30}).fit_resample(frame, y)
    with pytest.raises(CaseError, match=r"'mode' parameter of GaussianCopula"):
        make(mode="add")
    with pytest.raises(CaseError, match=r"gaussian_copula has no parameter `row`\. Did you mean `rows`"):
        make(row=3)

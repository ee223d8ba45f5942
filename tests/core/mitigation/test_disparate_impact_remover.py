"""Disparate impact remover."""

import numpy as np
import pytest
from scipy.stats import ks_2samp, spearmanr

from tasks.core.errors import DataError
from tasks.core.mitigation.disparate_impact_remover import DisparateImpactRemover
from tasks.core.mitigation.quantiles import profile


def make_rows(n: int = 3000) -> tuple[np.ndarray, np.ndarray]:
    """A normal and a skewed feature whose shape differs by group, one of few values, and an indicator."""
    rng = np.random.default_rng(3)
    groups = rng.choice(["a", "b", "c"], n, p=[0.5, 0.3, 0.2]).astype(object)
    place = np.searchsorted(["a", "b", "c"], groups.astype(str))
    normal = rng.normal(loc=2.0 * place, scale=1.0 + place)
    skewed = rng.exponential(1.0 + place) * (rng.random(n) < 0.4)  # mostly zeros, as capital gains are
    return np.column_stack([normal, skewed, rng.integers(0, 5, n) + place, rng.random(n) < 0.2 + 0.2 * place]).astype(float), groups


def repaired(level: float = 1.0) -> np.ndarray:
    """The rows after a repair of that level."""
    X, groups = make_rows()
    return DisparateImpactRemover(level).fit(X, groups=groups).transform(X, groups=groups)


def test_full_repair_gives_every_group_the_same_quantiles() -> None:
    """Quantile for quantile the groups agree after a full repair, to a part's width, and a two-sample test tells them apart no longer."""
    X, groups = make_rows()
    new = repaired()
    assert ks_2samp(X[groups == "a", 0], X[groups == "c", 0]).statistic > 0.5
    at = np.linspace(0.1, 0.9, 17)
    quantiles = np.array([np.quantile(new[groups == group, 0], at) for group in "abc"])
    assert np.ptp(quantiles, axis=0).max() < 0.03 * new[:, 0].std()
    for other in "bc":
        assert ks_2samp(new[groups == "a", 0], new[groups == other, 0]).statistic < 0.02


def test_group_quantiles_meet_exactly_where_they_are_kept() -> None:
    """A group's kept quantiles are all moved to the median over the groups of theirs, the same numbers for every group."""
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=(400, 1)), rng.gamma(2, 3, size=(400, 1)), rng.uniform(5, 9, size=(400, 1))])
    groups = np.repeat(np.array(["a", "b", "c"], dtype=object), 400)
    model = DisparateImpactRemover(n_quantiles=20).fit(X, groups=groups)
    kept = [profile(X[groups == group], 20) for group in "abc"]
    moved = [model.transform(part, groups=np.full(20, group, dtype=object)) for part, group in zip(kept, "abc", strict=True)]
    for part in moved:
        np.testing.assert_allclose(part, np.median(kept, axis=0), rtol=1e-12)


def test_order_within_a_group_is_kept() -> None:
    """No two rows of a group change places in any column, and equal values stay equal."""
    X, groups = make_rows()
    new = repaired()
    for group in "abc":
        for column in range(3):
            before, after = X[groups == group, column], new[groups == group, column]
            order = np.argsort(before, kind="stable")
            assert (np.diff(after[order]) >= 0).all()
            assert (after[order][1:] == after[order][:-1])[before[order][1:] == before[order][:-1]].all()
    inner = groups == "a"
    assert spearmanr(X[inner, 0], new[inner, 0]).statistic > 0.999


def test_repair_goes_the_share_of_the_way() -> None:
    """Level 0 changes nothing, and level .3 goes three tenths of the way to the full repair."""
    X, _ = make_rows()
    np.testing.assert_array_equal(repaired(0.0), X)
    np.testing.assert_allclose(repaired(0.3), X + 0.3 * (repaired() - X), atol=1e-12)


def test_a_column_of_two_values_stays() -> None:
    """An indicator has no quantiles to move."""
    X, _ = make_rows()
    np.testing.assert_array_equal(repaired()[:, 3], X[:, 3])
    assert not np.array_equal(repaired()[:, 2], X[:, 2])


def test_unseen_and_small_groups_are_ranked_among_all() -> None:
    """A row of a group that training did not show, or showed 19 times, is mapped as all rows together are, rank for rank."""
    X, groups = make_rows()
    small = groups.copy()
    small[np.flatnonzero(groups == "c")[19:]] = "b"
    model = DisparateImpactRemover().fit(X, groups=small)
    assert model.known_groups == ("a", "b")
    assert model.pooled_ == ["c"]
    new = model.transform(X, groups=np.full(len(X), "z", dtype=object))
    np.testing.assert_array_equal(new, model.transform(X, groups=np.full(len(X), "c", dtype=object)))
    at = np.linspace(0.1, 0.9, 9)
    target = np.median([np.quantile(X[small == group, 0], at) for group in "ab"], axis=0)
    np.testing.assert_allclose(np.quantile(new[:, 0], at), target, atol=0.05 * X[:, 0].std())


def test_parts_hold_ten_rows_or_more() -> None:
    """No group's profile has more parts than a tenth of its rows."""
    X, groups = make_rows(100)
    model = DisparateImpactRemover().fit(X, groups=groups)
    assert [len(part) for part in model.profiles_] == [min(100, int((groups == group).sum()) // 10) for group in model.groups_] + [10]


def test_one_group_is_refused() -> None:
    """With one group there is nothing to even out."""
    with pytest.raises(DataError, match="not two groups with at least 20 training rows each: only `a`"):
        DisparateImpactRemover().fit(np.ones((30, 1)), groups=np.array(["a"] * 30, dtype=object))

"""Drift statistics from summaries are scipy's on all rows, summaries of parts add, and a quiet stream raises no alarms."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial import distance

from tasks.core.drift_measures import (
    EMPTY,
    Pair,
    categorical_psi,
    categories_p_value,
    chi_square,
    jensenshannon,
    missing_p_value,
    one_sided,
    pooled,
    psi,
    table,
    wasserstein,
)
from tasks.core.drift_summary import Categories, Numbers, summarise
from tasks.core.online import ALPHA, level

numbers = st.lists(st.one_of(st.integers(-5, 5).map(float), st.floats(-1e6, 1e6, width=32)), min_size=2, max_size=60)
words = st.lists(st.sampled_from(["a", "b", "ü", "<b>", ""]), min_size=1, max_size=60)


@settings(deadline=None)
@given(numbers, numbers)
def test_numeric_statistics_are_scipy_s(one, two):
    """D, its asymptotic p-value and the Wasserstein distance, ties and single values included."""
    reference, current = (Numbers.of(pd.Series(values, dtype="float64")) for values in (one, two))
    pair = Pair(reference, current)
    theirs = stats.ks_2samp(one, two, method="asymp")
    assert pair.largest_gap == pytest.approx(theirs.statistic, abs=1e-9)
    assert pair.p_value == pytest.approx(theirs.pvalue, abs=1e-9)
    assert pair.distance == pytest.approx(stats.wasserstein_distance(one, two), rel=1e-9, abs=1e-9)
    assert reference.spread == pytest.approx(np.std(one), rel=1e-6, abs=1e-6)
    if np.std(one) > 0.01:
        assert wasserstein(pair) == pytest.approx(stats.wasserstein_distance(one, two) / np.std(one), rel=1e-6)


@pytest.mark.parametrize("shift", [0.0, 0.01, 0.7, 50.0])
@pytest.mark.parametrize("decimals", [1, 2, 9])
def test_large_columns_are_measured_without_looking_at_every_value(shift, decimals):
    """Sides of unequal length, with many ties and with none, close together and apart."""
    rng = np.random.default_rng(3)
    one, two = np.round(rng.normal(size=7001), decimals), np.round(rng.normal(shift, 1.1, 3000), decimals)
    for before, after in ((one, two), (two, one), (one, one), (np.zeros(500), two), (one, np.append(two, [-99.0, 99.0]))):
        pair = Pair(*(Numbers.of(pd.Series(values)) for values in (before, after)))
        assert pair.largest_gap == pytest.approx(stats.ks_2samp(before, after, method="asymp").statistic, abs=1e-12)
        assert pair.distance == pytest.approx(stats.wasserstein_distance(before, after), rel=1e-9, abs=1e-12)


@settings(deadline=None)
@given(words, words)
def test_categorical_statistics_are_scipy_s(one, two):
    """The Jensen-Shannon distance, chi-square's p-value and Cramer's V."""
    counts = table(*(Categories.of(pd.Series(values, dtype=object)) for values in (one, two)))
    assert jensenshannon(counts) == pytest.approx(distance.jensenshannon(*counts), abs=1e-7)  # the root of a difference near 0
    if counts.shape[1] > 1:
        theirs = stats.chi2_contingency(counts, correction=False)
        assert chi_square(counts)[1] == pytest.approx(theirs.pvalue, abs=1e-9)
        assert chi_square(counts)[0] == pytest.approx(np.sqrt(theirs.statistic / counts.sum()), abs=1e-9)
    else:
        assert chi_square(counts) == (0.0, 1.0)


@pytest.mark.parametrize(("missing", "rows"), [((0, 3), (400, 400)), ((3, 0), (12, 5000)), ((500, 12), (500, 20)), ((40, 80), (400, 500))])
def test_the_missing_rate_s_p_value_is_scipy_s(missing, rows):
    """Fisher's exact where fewer than five are expected of either kind on a side, chi-square otherwise."""
    counts = [missing, (rows[0] - missing[0], rows[1] - missing[1])]
    few = stats.contingency.expected_freq(counts).min() < 5
    expected = stats.fisher_exact(np.transpose(counts)).pvalue if few else stats.chi2_contingency(counts, correction=False).pvalue
    assert missing_p_value(missing, rows) == pytest.approx(expected, abs=1e-9)
    assert missing_p_value((0, 0), rows) == missing_p_value(rows, rows) == 1.0


@pytest.mark.parametrize("shift", [0.02, 0.05, 0.1, 0.4])
def test_a_p_value_too_small_to_matter_is_not_summed_over_all_rows(shift):
    """It is Massart's bound there, and never below scipy's; both are smaller than 1e-14."""
    rng = np.random.default_rng(4)
    one, two = rng.normal(size=40_000), rng.normal(shift, 1, 39_000)
    theirs = stats.ks_2samp(one, two, method="asymp").pvalue
    ours = Pair(Numbers.of_values(one), Numbers.of_values(two)).p_value
    assert ours == pytest.approx(theirs, abs=1e-14)
    assert ours >= theirs * (1 - 1e-9)


@pytest.mark.parametrize("rows", [10_001, 75_000, 400_000])
@pytest.mark.parametrize("scaled", [2.3, 3.0, 6.0, 12.0])
def test_the_sum_over_many_rows_is_scipy_s(rows, scaled):
    """Of the p-values that are neither certain nor chance, to 1e-9 of them."""
    gap = (scaled / rows) ** 0.5
    assert 2 * one_sided(float(rows), gap) == pytest.approx(stats.distributions.kstwo.sf(gap, rows), rel=1e-7, abs=1e-12)


def test_rare_categories_are_put_together():
    """Until both sides expect five rows of each, the next category joining where need be; a table without rare ones is left as it is."""
    assert pooled(np.array([[50.0, 40, 10], [50, 35, 15]])).tolist() == [[50, 40, 10], [50, 35, 15]]
    assert pooled(np.array([[500.0, 30, 20, 40], [50, 3, 2, 5]])).tolist() == [[90, 500], [10, 50]]
    assert pooled(np.array([[500.0, 3, 80], [50, 1, 8]])).tolist() == [[83, 500], [9, 50]]
    assert pooled(np.array([[9.0, 1], [8, 2]])).tolist() == [[10], [10]]
    assert pooled(np.array([[4.0], [3]])).tolist() == [[4], [3]]


def test_a_period_of_new_categories_only_is_not_taken_for_chance():
    """Of 200,000 rows each in a category of its own, every category is rare on the reference's side; that none of its own is there shows.
    Where all rows of both sides are in categories of their own, nothing can be told.
    """
    old, new = Categories({"a": 300, "b": 200}, 0), Categories({f"n{place}": 1 for place in range(200_000)}, 0)
    assert categories_p_value(table(old, new)) < 1e-12
    assert categories_p_value(table(new, old)) < 1e-12
    apart = [Categories({f"{side}{place}": 1 for place in range(500)}, 0) for side in ("x", "y")]
    assert categories_p_value(table(*apart)) == 1.0
    rng = np.random.default_rng(8)
    sides = [rng.multinomial(rows, np.full(900, 1 / 900), 1500).astype(float) for rows in (2000, 150)]
    tables = [np.array(pair)[:, np.array(pair).sum(axis=0) > 0] for pair in zip(*sides, strict=True)]
    assert all(pooled(counts).shape[1] == 1 for counts in tables[:50])
    assert np.mean([categories_p_value(counts) <= 0.05 for counts in tables]) <= 0.06


def test_the_p_value_of_many_rare_categories_holds():
    """Two hundred categories, most with less than a row in the smaller side: without pooling one in 25 falls below 0.001."""
    rng = np.random.default_rng(5)
    shares = 1 / np.arange(1, 201) ** 1.2
    sides = [rng.multinomial(rows, shares / shares.sum(), 2000).astype(float) for rows in (5000, 200)]
    tables = [np.array(pair)[:, np.array(pair).sum(axis=0) > 0] for pair in zip(*sides, strict=True)]
    for least, most in ((0.05, 0.065), (0.001, 0.003)):
        assert np.mean([chi_square(pooled(counts))[1] <= least for counts in tables]) <= most
    assert np.mean([chi_square(counts)[1] <= 0.001 for counts in tables]) > 0.02


def test_the_stability_index_is_its_definition():
    """Over the deciles of the reference, and over categories; a bin that one side lacks counts as a small share."""
    rng = np.random.default_rng(1)
    one, two = rng.normal(size=5000), rng.normal(0.5, 1.0, 4000)
    reference, current = (Numbers.of(pd.Series(values)) for values in (one, two))
    edges = np.sort(one)[np.ceil(np.arange(1, 10) / 10 * 5000).astype(int) - 1]
    shares = [np.bincount(np.searchsorted(edges, values, side="left"), minlength=10) / len(values) for values in (one, two)]
    expected = sum((a - b) * np.log(a / b) for a, b in zip(*shares, strict=True))
    assert psi(Pair(reference, current)) == pytest.approx(expected, rel=1e-9)
    counts = table(Categories({"a": 50, "b": 50}, 0), Categories({"a": 100}, 0))
    assert categorical_psi(counts) == pytest.approx((0.5 - 1) * np.log(0.5 / 1) + (0.5 - EMPTY) * np.log(0.5 / EMPTY))


@settings(deadline=None)
@given(st.lists(st.tuples(st.one_of(st.none(), st.integers(0, 4)), st.sampled_from(["x", "y", None])), min_size=2, max_size=40), st.data())
def test_summaries_of_parts_add_to_that_of_the_whole(rows, data):
    """However the rows are cut, values, counts and missing ones are the same."""
    frame = pd.DataFrame(rows, columns=["n", "c"]).astype({"n": "float64", "c": object})
    cut = data.draw(st.integers(1, len(rows) - 1))
    kinds = {"n": "numeric", "c": "categorical"}
    whole, added = summarise(frame, kinds), summarise(frame[:cut], kinds) + summarise(frame[cut:], kinds)
    assert (added.rows, added.columns["c"].counts, added.columns["c"].missing) == (whole.rows, whole.columns["c"].counts, whole.columns["c"].missing)
    mine, theirs = added.columns["n"], whole.columns["n"]
    assert mine.values.tolist() == theirs.values.tolist()
    assert mine.counts.tolist() == theirs.counts.tolist()
    assert mine.missing == theirs.missing


def test_a_quiet_stream_raises_an_alarm_in_at_most_alpha_of_all_years():
    """Twelve tests a year of nothing: the chance of any alarm is at most 5 %; and once there was one, the next is easier."""
    rng = np.random.default_rng(2)
    alarmed = 0
    for _ in range(4000):
        alarms = []
        for p_value in rng.random(12):
            alarms.append(bool(p_value <= level(alarms)))
        alarmed += any(alarms)
    assert alarmed / 4000 <= ALPHA
    assert level([False, True]) > level([False, False])
    assert sum(level([False] * month) for month in range(10_000)) <= ALPHA / 2 + 1e-9

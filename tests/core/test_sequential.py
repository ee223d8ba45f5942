"""Confidence sequences: the evidence against numerical integration, false alarms and power by simulation over sixty looks."""

import numpy as np
import pytest
from scipy import integrate, stats

from tasks.core.cumulative import RATES, Sums, bounds
from tasks.core.metrics import BY_TASK
from tasks.core.sequential import (
    PLANNED,
    mean_interval,
    mean_sequence,
    mixture_quantile,
    rate_evidence,
    rate_interval,
    rate_sequence,
    spent,
)
from tasks.core.watch import ALPHA

LEVEL = 0.05
PERIODS = 60


def months(generator, rate, n, lives=2000):
    """Successes and rows so far (lives, PERIODS); `rate` may differ by period."""
    return generator.binomial(n, rate, (lives, PERIODS)).cumsum(axis=1), n * np.arange(1, PERIODS + 1)


def ever(alarms):
    """Share of lives with any alarm."""
    return float(alarms.any(axis=1).mean())


@pytest.mark.parametrize(("k", "n", "bound", "centre", "weight"), [(55, 100, 0.7, 0.7, 20.0), (3, 40, 0.2, 0.1, 8.0), (970, 1000, 0.98, 0.985, 60.0)])
def test_evidence_is_the_integral_it_claims_to_be(k, n, bound, centre, weight):
    """Beta-binomial: the likelihood ratio integrated numerically over the cut-off beta distribution."""
    mean = min(centre, bound)
    prior = stats.beta(weight * mean, weight * (1 - mean))

    def integrand(p):
        return prior.pdf(p) * np.exp(stats.binom.logpmf(k, n, p) - stats.binom.logpmf(k, n, bound))

    value = integrate.quad(integrand, 0, bound, points=[k / n] if k / n < bound else None, limit=200)[0] / prior.cdf(bound)
    assert float(rate_evidence(k, n, bound, centre, weight)) == pytest.approx(np.log(value), abs=1e-6)


def test_the_normal_boundary_is_where_the_mixture_reaches_its_mark():
    """At z * sqrt(V + rho) the half-normal mixture of exp(lambda S - lambda**2 V / 2), integrated numerically, is 1/level."""
    variance, rho = 7.0, 2.0
    for level in (0.05, 0.001):
        total = float(mixture_quantile(variance / rho, level)) * np.sqrt(variance + rho)
        value = integrate.quad(lambda step, total=total: 2 * stats.norm.pdf(step, 0, rho**-0.5) * np.exp(step * total - step**2 * variance / 2), 0, np.inf)[0]
        assert value == pytest.approx(1 / level, rel=1e-6)


def test_the_parts_of_all_looks_add_up_to_the_level():
    """A convergent series: however long one looks, no more than the level is spent."""
    assert sum(spent(LEVEL, look) for look in range(1, 200_000)) == pytest.approx(LEVEL, rel=1e-4)


@pytest.mark.parametrize(("rate", "n"), [(0.7, 100), (0.95, 40), (0.5, 2000), (0.02, 200)])
def test_a_rate_as_promised_raises_an_alarm_at_any_of_sixty_looks_no_more_often_than_allowed(rate, n):
    """Peeking each month for five years: alarms in at most the level's share of lives, on either side."""
    k, rows = months(np.random.default_rng(7), rate, n)
    weight = PLANNED * n / 6
    for successes, bound in ((k, rate), (rows - k, 1 - rate)):
        assert ever(rate_evidence(successes, rows, bound, bound, weight) >= -np.log(LEVEL)) <= LEVEL


def test_years_that_were_better_than_promised_do_not_make_false_alarms():
    """The rate was 0.8 for a year where 0.7 was promised, and then falls to just that: nothing is broken, and nothing is said to be."""
    rate = np.where(np.arange(PERIODS) < 12, 0.8, 0.7)
    k, rows = months(np.random.default_rng(3), rate, 200)
    assert ever(rate_evidence(k, rows, 0.7, 0.7, 200.0) >= -np.log(LEVEL)) <= LEVEL


def test_limits_of_a_rate_are_where_the_evidence_reaches_its_mark():
    """The limits invert the evidence, on both sides; no rows give no limits; all or none give one side."""
    k, n, first = np.array([0, 9, 140, 60, 0]), np.array([0, 10, 200, 60, 50]), np.array([10, 10, 50, 20, 25])
    low, high = rate_sequence(k, n, LEVEL, 0.7, first)
    assert (low[0], high[0], high[3], low[4]) == (0, 1, 1, 0)
    planned = -2 * np.log(2 * LEVEL)
    weight = PLANNED * first / (planned + np.log1p(planned))
    inner = slice(1, 3)
    assert rate_evidence(k[inner], n[inner], high[inner], 0.7, weight[inner]) == pytest.approx(-np.log(LEVEL), abs=1e-6)
    assert rate_evidence((n - k)[inner], n[inner], 1 - low[inner], 0.3, weight[inner]) == pytest.approx(-np.log(LEVEL), abs=1e-6)
    once = rate_interval(k[1:], n[1:], LEVEL)
    assert np.all(low[1:] <= once[0] + 1e-12)
    assert np.all(high[1:] >= once[1] - 1e-12)


def test_rows_looked_at_once_have_the_exact_interval():
    """Clopper and Pearson as scipy has it."""
    for k, n in ((0, 20), (7, 20), (20, 20)):
        expected = stats.binomtest(k, n).proportion_ci(0.95, "exact")
        assert tuple(float(end) for end in rate_interval(k, n, 0.025)) == pytest.approx(tuple(expected), abs=1e-9)


@pytest.mark.parametrize("rows", [30, 300])
def test_a_mean_of_skewed_errors_raises_no_more_false_alarms_than_allowed(rows):
    """Absolute errors are skewed: exponential ones, a few or many a month, over sixty looks."""
    drawn = np.random.default_rng(5).exponential(1.0, (1000, PERIODS, rows))
    value, error = drawn.mean(axis=2), drawn.std(axis=2, ddof=1) / np.sqrt(rows)
    count = np.arange(1, PERIODS + 1)
    mean, variance = value.cumsum(axis=1) / count, (error**2).cumsum(axis=1)
    low, high = mean_sequence(mean, np.sqrt(variance) / count, rows * count, variance / variance[:, :1], LEVEL)
    assert ever(low > 1) <= LEVEL  # what an alarm of a loss rests on
    assert ever(high < 1) <= 1.6 * LEVEL  # the side on which skewness tells against a normal approximation


def _alarms(generator, accepted, rate, n, tested=3000, lives=500):
    """The whole rule for one metric: the accepted figure from so many test rows, all months, those from a later one on, and the newest one,
    each at its share.
    """
    level = ALPHA / 2 / 4
    low = rate_interval(generator.binomial(tested, accepted, (lives, 1)), tested, level)[0]
    k, _ = months(generator, rate, n, lives)
    alone = np.array([spent(level, look) for look in range(1, PERIODS + 1)])
    found = rate_interval(np.diff(k, axis=1, prepend=0), n, alone)[1] < low
    for start in range(PERIODS):
        part = spent(level, start) if start else level
        planned = -2 * np.log(2 * part)
        since = k[:, start:] - (k[:, [start - 1]] if start else 0)
        evidence = rate_evidence(since, n * np.arange(1, PERIODS - start + 1), low, accepted, PLANNED * n / (planned + np.log1p(planned)))
        found[:, start:] |= evidence >= -np.log(part)
    return found


def test_production_that_is_as_good_is_not_called_worse():
    """Five years of monthly looks, with an accepted figure that is itself uncertain: false alarms in at most 5 % of lives."""
    generator = np.random.default_rng(11)
    for accepted, n in ((0.7, 500), (0.9, 100)):
        assert ever(_alarms(generator, accepted, accepted, n)) <= ALPHA


def test_losses_are_found():
    """A loss from the first month on is found within the year; after two quiet years, a large one in its first month, a small one that lasts
    within half a year.
    """
    generator = np.random.default_rng(13)
    assert float(_alarms(generator, 0.7, 0.65, 1000)[:, :12].any(axis=1).mean()) >= 0.9
    for after, within in ((0.6, 1), (0.64, 6)):
        found = _alarms(generator, 0.7, np.where(np.arange(PERIODS) < 24, 0.7, after), 2000)
        assert ever(found[:, :24]) <= ALPHA
        assert float(found[:, 24 : 24 + within].any(axis=1).mean()) >= 0.9


def test_metrics_that_are_counted_are_those_that_reports_count():
    """Exactly the metrics that a report gives as a share of counted rows are summed as counts; F1 is one in disguise."""
    counted = {name for (task, name), metric in BY_TASK.items() if task == "binary" and metric.estimate.__qualname__.startswith("rate.")}
    assert counted | {"f1"} == RATES


def test_sums_of_months_are_those_of_all_rows():
    """Rates, MAE, RMSE and F1 of three months from their reports are those of all their rows together, and standard errors nearly so."""
    import pandas as pd

    from tasks.core.evaluation import evaluate

    generator = np.random.default_rng(2)
    table = pd.DataFrame({"y_true": generator.normal(size=900), "month": np.repeat([0, 1, 2], [200, 300, 400])})
    table["y_pred"] = table["y_true"] + generator.normal(size=900)
    binary = table.assign(y_true=(table["y_true"] > 0).astype(int), y_pred=(table["y_pred"] > 0).astype(int))
    for task, rows, metrics in (("regression", table, ["mae", "rmse"]), ("binary", binary, ["recall", "precision", "accuracy"])):
        whole = evaluate(rows, task=task, metrics=metrics).frame()
        parts = [evaluate(part, task=task, metrics=metrics).frame().to_dict("records") for _, part in rows.groupby("month")]
        for place, expected in enumerate(whole.to_dict("records")):
            one, two, three = (Sums.of(task, expected["metric"], part[place]) for part in parts)
            summed = one + (two + three)
            again = (Sums.of(task, expected["metric"], None) + one) + two + three
            assert [vars(again)[name] for name in ("n", "first", "first_variance")] == [vars(summed)[name] for name in ("n", "first", "first_variance")]
            assert (again.value, again.growth) == pytest.approx((summed.value, summed.growth))
            [found] = bounds([summed], np.array([0.025]), 1)
            assert found.value == pytest.approx(expected["value"], abs=1e-12)
            assert found.rows == expected["support"]
            if task == "regression":
                assert found.high - found.low == pytest.approx(expected["high"] - expected["low"], rel=0.05)
    [f1] = bounds([Sums.of("binary", "f1", {"value": 0.8, "support": 90, "low": 0.7, "high": 0.9})], np.array([0.025]), 1)
    assert f1.value == pytest.approx(0.8)


def test_what_has_no_spread_or_no_rows_has_no_limits():
    """Where the error is 0 or not known there is no sequence: nothing may be concluded."""
    assert np.isnan(mean_sequence(1.0, 0.0, 100, 1.0, LEVEL)[0])
    assert np.isnan(mean_interval(1.0, np.nan, 100, LEVEL)[1])
    assert np.isnan(mean_interval(1.0, 0.1, 1, LEVEL)[1])
    assert bounds([Sums.of("regression", "mae", None)], np.array([0.01]), 0) == [None]

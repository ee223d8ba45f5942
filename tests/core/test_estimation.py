"""Estimates of performance without labels: right where only the mix of rows has changed, and never more certain than they may be."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from tasks.core.errors import DataError
from tasks.core.estimation import Calibrated, Losses, bounded, scored
from tasks.core.evaluation import evaluate
from tasks.core.suppression import publish
from tasks.io.documents import load_case
from tasks.io.home import PROJECT


@pytest.fixture(scope="module")
def binary():
    """adult's case with one grouping."""
    case = load_case("adult", PROJECT)
    return case.model_copy(update={"cohorts": case.cohorts.model_copy(update={"by": (("sex",),), "where": {}})})


@pytest.fixture(scope="module")
def regression():
    case = load_case("boston", PROJECT)
    return case.model_copy(update={"cohorts": case.cohorts.model_copy(update={"by": (("region",),), "bins": {}, "min_support": 20})})


def people(seed, n, shift=0.0, men=0.5):
    """Scores that are overconfident, differently for either sex; `shift` moves who comes, not what happens to them."""
    generator = np.random.default_rng(seed)
    sex = np.where(generator.random(n) < men, "Male", "Female")
    odds = generator.normal(shift, 1.5, n)
    true = (generator.random(n) < expit(odds + np.where(sex == "Male", 0.7, -0.7))).astype(int)
    score = expit(1.8 * odds - 0.4)
    return pd.DataFrame({"y_true": true, "y_pred": (score > 0.5).astype(int), "y_score": score, "sex": sex})


def truth(case, table):
    return publish(evaluate(table, **case.asked)).frame()


@pytest.mark.parametrize(("shift", "men"), [(0.0, 0.5), (1.0, 0.5), (-0.8, 0.2)])
def test_estimates_follow_a_change_in_who_comes(binary, shift, men):
    """Another mix of rows changes every metric; the estimate made without labels is near each, overall and for either sex, and its
    intervals hold the truth about as often as they say.
    """
    inside, errors = [], []
    for seed in range(12):
        estimator = Calibrated.fit(binary, people(100 + seed, 6000))
        table = people(seed, 3000, shift, men)
        found = scored(estimator.estimate(binary, table.drop(columns="y_true")), truth(binary, table))
        assert {(one["metric"], one["cohort"]) for one in found} >= {(metric, "sex=Male") for metric in ("accuracy", "recall", "precision", "roc_auc")}
        inside += [one["inside"] for one in found]
        errors += [abs(one["error"]) for one in found]
    assert np.mean(inside) >= 0.9
    assert np.median(errors) < 0.012


def test_what_needs_no_label_is_exact(binary):
    """The share of answers of yes is counted, not estimated: no width and no error."""
    estimator, table = Calibrated.fit(binary, people(1, 3000)), people(2, 2000)
    rows = estimator.estimate(binary, table.drop(columns="y_true"))
    rate = rows[(rows["metric"] == "selection_rate") & (rows["cohort"] == "overall")].iloc[0]
    assert (rate["value"], rate["high"] - rate["low"], rate["n"]) == (pytest.approx(table["y_pred"].mean()), pytest.approx(0, abs=1e-9), 2000)
    assert all(one["inside"] for one in scored(rows[rows["metric"] == "selection_rate"], truth(binary, table)))


def test_expected_figures_are_those_worked_by_hand(binary):
    """Two answers of each kind with known chances: accuracy is the mean chance of being right."""
    estimator = Calibrated.fit(binary, people(1, 3000))
    table = people(3, 500)
    chance = estimator.curves.transform(table["y_score"].to_numpy(), groups=np.array([f"sex={sex}" for sex in table["sex"]], dtype=object))
    said = table["y_pred"].to_numpy()
    rows = estimator.estimate(binary, table).set_index(["metric", "cohort"])["value"]
    assert rows["accuracy", "overall"] == pytest.approx(np.where(said == 1, chance, 1 - chance).mean(), abs=1e-8)
    assert rows["recall", "overall"] == pytest.approx(chance[said == 1].sum() / chance.sum(), abs=1e-8)
    assert rows["precision", "overall"] == pytest.approx(chance[said == 1].mean(), abs=1e-8)


def test_few_rows_of_validation_make_wide_intervals_and_small_cohorts_are_left_out(binary):
    """What is known from fewer rows is known less well; a cohort of nine rows is not shown."""
    table = people(4, 2000)
    table.loc[:8, "sex"] = "Other"
    widths = []
    for size in (300, 6000):
        rows = Calibrated.fit(binary, people(5, size)).estimate(binary, table)
        assert "sex=Other" not in set(rows["cohort"])
        one = rows[(rows["metric"] == "recall") & (rows["cohort"] == "overall")].iloc[0]
        widths.append(one["high"] - one["low"])
    assert widths[0] > 1.5 * widths[1]


def test_a_change_in_what_happens_is_not_seen(binary):
    """What the document warns of: where the labels mean something else, given the features, the estimate stays where it was."""
    table = people(6, 4000)
    turned = table.assign(y_true=1 - table["y_true"])
    rows = scored(Calibrated.fit(binary, people(7, 4000)).estimate(binary, table), truth(binary, turned))
    accuracy = next(one for one in rows if (one["metric"], one["cohort"]) == ("accuracy", "overall"))
    assert accuracy["error"] > 0.3
    assert not accuracy["inside"]


def houses(seed, n, shift=0.0):
    """Errors grow with `size`; `shift` brings larger ones."""
    generator = np.random.default_rng(seed)
    size, region = generator.gamma(3 + shift, 1.0, n), generator.choice(["north", "south"], n)
    predicted = 10 + 2 * size
    return pd.DataFrame({"y_true": predicted + generator.normal(0, 0.3 + 0.4 * size, n), "y_pred": predicted, "size": size, "region": region})


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_losses_follow_a_change_in_who_comes(regression, shift):
    """Regression: MAE and RMSE of months with larger houses are told from the houses alone."""
    inside = []
    for seed in range(4):
        estimator = Losses.fit(houses(50 + seed, 1500), {"size": "numeric", "region": "categorical"}, 0)
        table = houses(seed, 800, shift)
        found = scored(estimator.estimate(regression, table.drop(columns="y_true")), truth(regression, table))
        assert {one["metric"] for one in found} == {"mae", "rmse"}
        assert {one["cohort"] for one in found} == {"overall", "region=north", "region=south"}
        inside += [one["inside"] for one in found]
    assert np.mean(inside) >= 0.85


def test_the_same_rows_give_the_same_estimate_and_strange_ones_do_not_stop_it(regression):
    """Fits are seeded; a category that validation did not have, and a missing number, are like missing values."""
    kinds = {"size": "numeric", "region": "categorical"}
    table = houses(1, 400)
    one, two = (Losses.fit(houses(2, 500), kinds, 3).estimate(regression, table) for _ in range(2))
    pd.testing.assert_frame_equal(one, two)
    table.loc[:50, "region"] = "moon"
    table.loc[60:80, "size"] = np.nan
    assert Losses.fit(houses(2, 500), kinds, 3).estimate(regression, table)["value"].notna().all()


def test_what_cannot_be_estimated_is_refused_with_the_reason(binary, regression):
    """No score, one label, or a handful of validation rows: nothing is made up."""
    with pytest.raises(DataError, match="no scores"):
        Calibrated.fit(binary, people(1, 100).drop(columns="y_score"))
    with pytest.raises(DataError, match="one class only"):
        Calibrated.fit(binary, people(1, 100).assign(y_true=1))
    with pytest.raises(DataError, match="too few"):
        Losses.fit(houses(1, 20), {"size": "numeric"}, 0)


def test_large_tables_are_sampled():
    """An estimate of millions of rows is made of a seeded sample, the same however the rows come in parts."""
    table = pd.DataFrame({"x": np.arange(5000)})
    whole = bounded([table], 1, 300)
    assert len(whole) == 300
    assert whole.equals(bounded([table.iloc[:10], table.iloc[10:700], table.iloc[700:]], 1, 300))
    assert whole["x"].is_monotonic_increasing
    assert 1500 < whole["x"].mean() < 3500
    assert bounded([table.iloc[:10], table.iloc[10:20]], 1, 300).equals(table.iloc[:20])

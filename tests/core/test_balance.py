"""Balance of data: every measure against values worked by hand or by scipy."""

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon

from tasks.core.balance import MEASURES, balance, inequality
from tasks.core.errors import CaseError, DataError
from tasks.core.evaluation import evaluate
from tasks.core.measures import COLUMNS, FIGURES


def by_hand() -> pd.DataFrame:
    """12 rows: a has 6 with 3 of class 1, b has 4 with 1, c has 2 with none."""
    return pd.DataFrame({"g": ["a"] * 6 + ["b"] * 4 + ["c"] * 2, "y_true": [1, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0]})


def one(frame: pd.DataFrame, measure: str, cohort: str | None = None, other: str | None = None, of: str | None = None) -> Any:
    """The one row of this measure."""
    keep = frame.measure == measure
    for name, value in (("cohort", cohort), ("other", other), ("of", of)):
        keep &= frame[name].isna() if value is None else frame[name] == value
    (row,) = frame[keep & (frame.grouping != "")].itertuples()
    return row


def test_shares_and_associations_worked_by_hand() -> None:
    """Cohort and class shares, PMI, normalised PMI, Jaccard and Sorensen-Dice of a table small enough to count."""
    frame = balance(by_hand(), by=["g"], k=0)
    assert one(frame, "cohort_share", "g=b").value == pytest.approx(4 / 12)
    share = one(frame, "class_share", "g=b", of="1")
    limits = stats.binomtest(1, 4).proportion_ci(method="wilson")
    assert (share.value, share.low, share.high, share.n) == pytest.approx((1 / 4, limits.low, limits.high, 4))
    # P(a, 1) = 3/12, P(a) = 6/12, P(1) = 4/12
    assert one(frame, "pmi", "g=a", of="1").value == pytest.approx(np.log((3 / 12) / (6 / 12 * 4 / 12)))
    assert one(frame, "normalised_pmi", "g=a", of="1").value == pytest.approx(np.log(1.5) / np.log(4))
    assert one(frame, "jaccard", "g=a", of="1").value == pytest.approx(3 / 7)  # 3 in both, 6 + 4 - 3 in either
    assert one(frame, "sorensen_dice", "g=a", of="1").value == pytest.approx(6 / 10)
    assert one(frame, "pmi", "g=c", of="1").value == -np.inf
    assert one(frame, "normalised_pmi", "g=c", of="1").value == -1


def test_differences_worked_by_hand() -> None:
    """Statistical parity and the differences of associations between two cohorts."""
    frame = balance(by_hand(), by=["g"], k=0)
    pair = {"cohort": "g=a", "other": "g=b", "of": "1"}
    assert one(frame, "statistical_parity", **pair).value == pytest.approx(1 / 2 - 1 / 4)
    assert one(frame, "pmi_difference", **pair).value == pytest.approx(np.log(2))
    assert one(frame, "jaccard_difference", **pair).value == pytest.approx(3 / 7 - 1 / 7)
    assert one(frame, "sorensen_dice_difference", **pair).value == pytest.approx(6 / 10 - 2 / 8)
    assert one(frame, "normalised_pmi_difference", **pair).value == pytest.approx(np.log(1.5) / np.log(4) - np.log(0.75) / np.log(12))
    assert one(frame, "pmi_difference", "g=a", "g=c", "1").value == np.inf
    assert one(frame, "statistical_parity", **pair).n == 10


def test_distances_are_scipys() -> None:
    """Log-likelihood ratio, chi-square, KL, Jensen-Shannon, Wasserstein and total variation of random tables agree with scipy."""
    random = np.random.default_rng(0)
    for _ in range(5):
        values = np.array([0, 1, 4])
        frame = pd.DataFrame({"g": random.choice(["a", "b"], 300), "y_true": random.choice(values, 300, p=random.dirichlet([3, 3, 3]))})
        counts = pd.crosstab(frame.g, frame.y_true).reindex(columns=values, fill_value=0).to_numpy(dtype=float)
        p, q = counts / counts.sum(axis=1, keepdims=True)
        found = balance(frame, by=["g"])
        chi, ratio = (stats.chi2_contingency(counts, correction=False, lambda_=kind) for kind in ("pearson", "log-likelihood"))
        for name, test in (("chi_square", chi), ("log_likelihood_ratio", ratio)):
            row = one(found, name, "g=a", "g=b")
            assert (row.value, row.p_value) == pytest.approx((test.statistic, test.pvalue))
        assert one(found, "kl_divergence", "g=a", "g=b").value == pytest.approx(stats.entropy(p, q))
        assert one(found, "kl_divergence", "g=b", "g=a").value == pytest.approx(stats.entropy(q, p))
        assert one(found, "js_divergence", "g=a", "g=b").value == pytest.approx(jensenshannon(p, q) ** 2)
        expected = stats.wasserstein_distance(frame.y_true[frame.g == "a"], frame.y_true[frame.g == "b"])
        assert one(found, "wasserstein", "g=a", "g=b").value == pytest.approx(expected)
        assert one(found, "total_variation", "g=a", "g=b").value == pytest.approx(np.abs(p - q).sum() / 2)


def test_text_labels_are_as_far_apart_as_their_total_variation() -> None:
    """Without a line to lie on, classes are at distance 1, and Wasserstein is total variation."""
    frame = by_hand().assign(y_true=lambda f: f.y_true.map({0: "no", 1: "yes"}))
    assert one(balance(frame, by=["g"], k=0), "wasserstein", "g=a", "g=b").value == pytest.approx(1 / 4)


def test_a_class_that_one_cohort_lacks() -> None:
    """KL is infinite one way and finite the other; Jensen-Shannon stays within ln 2; disjoint cohorts reach it."""
    frame = balance(by_hand(), by=["g"], k=0)
    assert one(frame, "kl_divergence", "g=a", "g=c").value == np.inf
    assert one(frame, "kl_divergence", "g=c", "g=a").value == pytest.approx(np.log(2))
    apart = balance(pd.DataFrame({"g": ["a", "b"], "y_true": [0, 1]}), by=["g"], k=0)
    assert one(apart, "js_divergence", "g=a", "g=b").value == pytest.approx(np.log(2))
    assert one(apart, "total_variation", "g=a", "g=b").value == 1


def test_inequality_worked_by_hand() -> None:
    """Theil L and T and Atkinson's index of cohort sizes 6, 4, 2, of class shares with a zero, and of equal amounts."""
    frame = balance(by_hand(), by=["g"], k=0)
    x = [1.5, 1.0, 0.5]
    assert one(frame, "theil_t").value == pytest.approx((1.5 * np.log(1.5) + 0.5 * np.log(0.5)) / 3)
    assert one(frame, "theil_l").value == pytest.approx(-np.log(np.prod(x)) / 3)
    assert one(frame, "atkinson").value == pytest.approx(1 - stats.gmean(x))
    # shares of class 1 are 1/2, 1/4 and 0; their mean is 1/4
    assert one(frame, "theil_t_class", of="1").value == pytest.approx(2 * np.log(2) / 3)
    assert one(frame, "theil_l_class", of="1").value == np.inf
    assert one(frame, "atkinson_class", of="1").value == 1
    assert inequality(np.array([0.1, 0.1, 0.1])) == pytest.approx({"theil_l": 0, "theil_t": 0, "atkinson": 0}, abs=1e-15)


def test_missing_values_are_counted_by_column_and_cohort() -> None:
    """NaN and null are missing in every cohort and overall; rows without a label leave the label measures; a missing group is a cohort."""
    frame = by_hand().assign(x=[np.nan, 1, 1, 1, 1, 1, np.nan, np.nan, 1, 1, 1, 1], y_true=lambda f: f.y_true.astype("Int64"))
    frame.loc[0, "y_true"] = pd.NA
    frame.loc[11, "g"] = None
    for table in (frame, pl.from_pandas(frame, nan_to_null=False)):
        found = balance(table, by=["g"], columns=["x", "y_true"], k=0)
        assert one(found, "missing_share", "g=b", of="x").value == pytest.approx(2 / 4)
        assert one(found, "missing_share", "g=a", of="y_true").value == pytest.approx(1 / 6)
        assert one(found, "class_share", "g=a", of="1").value == pytest.approx(2 / 5)
        assert one(found, "cohort_share", "g=missing").value == pytest.approx(1 / 12)
        overall = found[(found.cohort == "overall") & (found.measure == "missing_share")].set_index("of").value
        assert overall.to_dict() == pytest.approx({"x": 3 / 12, "y_true": 1 / 12})


def test_one_shape_with_every_measure_of_the_table() -> None:
    """The frame has its columns and types, holds every measure of the table within its range, and names no other."""
    random = np.random.default_rng(1)
    frame = pd.DataFrame({"g": random.choice(["a", "b", "c"], 400), "h": random.integers(0, 90, 400), "y_true": random.choice(["x", "y", "z"], 400)})
    found = balance(frame, by=["g", ["g", "h"]], bins={"h": [30, 60]})
    assert tuple(found.columns) == COLUMNS
    assert set(found.measure) == set(MEASURES)
    assert set(found.grouping) == {"", "g", "g, h"}
    assert "g=a, h=(30, 60]" in set(found.cohort)
    for name, rows in found.groupby("measure"):
        measure = MEASURES[str(name)]
        assert rows.value.between(measure.low - 1e-12, measure.high + 1e-12).all()
        assert rows.cohort.isna().all() == measure.scope.startswith("grouping")
        assert rows.other.notna().all() == measure.scope.startswith("pair")
        assert rows.of.notna().all() == ("and" in measure.scope)


def test_equal_cohorts_are_balanced() -> None:
    """Where cohorts have the same sizes and classes every measure takes the value that its table calls balanced."""
    frame = pd.DataFrame({"g": ["a"] * 4 + ["b"] * 4, "y_true": [0, 0, 1, 1] * 2})
    found = balance(frame, by=["g"], k=0)
    for name, rows in found[found.grouping == "g"].groupby("measure"):
        if MEASURES[str(name)].balanced is not None:
            np.testing.assert_allclose(rows.value, MEASURES[str(name)].balanced, atol=1e-12, err_msg=str(name))


def test_numbers_are_binned_or_refused() -> None:
    """A label of many values is refused with a way out, and binned when asked; unknown names are pointed out."""
    frame = pd.DataFrame({"g": ["a", "b"] * 150, "y_true": np.linspace(0, 1, 300)})
    with pytest.raises(DataError, match="300 classes"):
        balance(frame, by=["g"])
    assert one(balance(frame, by=["g"], bins={"y_true": 2}), "total_variation", "g=a", "g=b").value < 0.02
    with pytest.raises(CaseError, match="Did you mean `y_true`"):
        balance(frame, by=["g"], bins={"y_tru": 2})
    with pytest.raises(DataError, match="Did you mean `g`"):
        balance(frame, by=["G"])
    with pytest.raises(DataError, match="301 cohorts"):
        balance(pd.DataFrame({"g": range(301), "y_true": 1}), by=["g"])


def weighted(seed: int = 0, rows: int = 600) -> pd.DataFrame:
    """Cohorts of two columns, three classes, missing values, and whole weights."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({"g": random.choice(["a", "b", "c"], rows), "h": random.choice(["u", "v"], rows), "y_true": random.choice([0, 1, 5], rows)})
    return frame.assign(x=np.where(random.random(rows) < 0.2, np.nan, 1.0), weight=random.integers(1, 5, rows))


def test_whole_weights_are_rows_again() -> None:
    """Every measure but the two tests takes the value of a table with each row as many times; n stays the number of rows."""
    frame = weighted()
    again = frame.loc[frame.index.repeat(frame.weight)].drop(columns="weight")
    found, expected = (balance(one, by=["g", ["g", "h"]], columns=["x"]) for one in (frame, again))
    assert found[["measure", "cohort", "other", "of"]].equals(expected[["measure", "cohort", "other", "of"]])
    kept = ~found.measure.isin(["chi_square", "log_likelihood_ratio"])
    np.testing.assert_allclose(found.value[kept], expected.value[kept], atol=1e-12, rtol=1e-12)
    assert one(found, "missing_share", "g=a", of="x").n == (frame.g == "a").sum()


def test_equal_weights_change_nothing() -> None:
    """Rows of the same weight give to the bit what rows without weights give; tenfold weights are the same weights."""
    frame = weighted()
    plain = balance(frame.drop(columns="weight"), by=["g"], columns=["x"])
    pd.testing.assert_frame_equal(balance(frame.assign(weight=0.7), by=["g"], columns=["x"]), plain, check_exact=True)
    ten = balance(frame.assign(weight=frame.weight * 10), by=["g"], columns=["x"])
    pd.testing.assert_frame_equal(ten, balance(frame, by=["g"], columns=["x"]), rtol=1e-9)


def test_weighted_limits_and_tests_take_effective_rows() -> None:
    """Limits are the engine's for the same share; a cohort whose rows all weigh the same is worth its rows in both tests."""
    frame = weighted(1).assign(y_true=lambda f: (f.y_true == 1).astype(int))
    found = balance(frame, by=["g"])
    rows = evaluate(frame.assign(y_pred=frame.y_true), task="binary", by=["g"], metrics=["base_rate"]).frame().set_index("cohort")
    for cohort in ("g=a", "g=b", "g=c"):
        share = one(found, "class_share", cohort, of="1")
        assert (share.value, share.low, share.high) == pytest.approx(tuple(rows.loc[cohort, ["value", "low", "high"]]))
    uneven = frame.assign(weight=frame.g.map({"a": 1, "b": 7, "c": 2}))
    for name in ("chi_square", "log_likelihood_ratio"):
        plain = one(balance(frame.drop(columns="weight"), by=["g"]), name, "g=a", "g=b")
        heavy = one(balance(uneven, by=["g"]), name, "g=a", "g=b")
        assert (heavy.value, heavy.p_value) == pytest.approx((plain.value, plain.p_value))


def test_weighted_tests_keep_their_level() -> None:
    """Under weights of chance at most one chi-square in twenty calls equal cohorts different (40 tables: 7 at most)."""
    random = np.random.default_rng(3)
    false = 0
    for _ in range(40):
        frame = pd.DataFrame({"g": random.choice(["a", "b"], 400), "y_true": random.integers(0, 2, 400), "weight": random.lognormal(0, 0.8, 400)})
        false += one(balance(frame, by=["g"], columns=["y_true"]), "chi_square", "g=a", "g=b").p_value < 0.05
    assert false <= 7


@pytest.mark.parametrize(("weight", "words"), [(-1, "outside"), (np.nan, "no value"), (0, "0 in every row")])
def test_weights_that_cannot_be_are_refused(weight: float, words: str) -> None:
    """A negative or missing weight is refused, and so are weights that leave nothing."""
    with pytest.raises(DataError, match=words):
        balance(by_hand().assign(weight=[weight, *([0 if weight == 0 else 1] * 11)]), by=["g"])


def test_small_cohorts_are_hidden_with_what_gives_them_away() -> None:
    """A cohort of four rows has no figures, nor the next smallest, nor their pairs, nor what sums the grouping up, nor parts of either."""
    frame = pd.DataFrame({"g": ["a"] * 60 + ["b"] * 40 + ["few"] * 4, "h": ["u", "v"] * 52, "y_true": [0, 1, 1, 0] * 26})
    found = balance(frame, by=["g", "h", ["g", "h"]])
    gone = found[found.verdict == "insufficient"]
    assert gone[list(FIGURES)].isna().all(axis=None)
    assert set(gone[gone.grouping == "g"].cohort.dropna()) == {"g=a", "g=b", "g=few"}  # a in pairs only
    alone = found[(found.grouping == "g") & found.other.isna() & found.cohort.notna()]
    assert set(alone[alone.verdict == "insufficient"].cohort) == {"g=b", "g=few"}
    assert found[(found.grouping == "g") & found.cohort.isna()].verdict.eq("insufficient").all()
    assert found[(found.grouping == "g") & (found.measure == "theil_t")].value.isna().all()
    assert not (found[found.grouping == "h"].verdict == "insufficient").any()
    fine = found[(found.grouping == "g, h") & (found.measure == "cohort_share")].set_index("cohort").verdict
    assert fine.eq("insufficient").to_dict() == {f"g={g}, h={h}": g != "a" for g in ("a", "b", "few") for h in "uv"}


def test_unlabelled_rows_do_not_make_a_cohort_large() -> None:
    """Where fewer than ten rows have a label, shares of classes are hidden and shares of rows are not."""
    frame = pd.DataFrame({"g": ["a"] * 50 + ["b"] * 50 + ["c"] * 40, "y_true": pd.array([0, 1] * 70, dtype="Int64")})
    frame.loc[105:, "y_true"] = pd.NA
    found = balance(frame, by=["g"])
    assert one(found, "cohort_share", "g=c").value == pytest.approx(40 / 140)
    assert one(found, "missing_share", "g=c", of="y_true").value == pytest.approx(35 / 40)
    assert {one(found, "class_share", f"g={name}", of="1").verdict for name in "ac"} == {"insufficient"}

"""Balance of data: every measure against values worked by hand or by scipy."""

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon

from tasks.core.balance import COLUMNS, MEASURES, balance, inequality
from tasks.core.errors import CaseError, DataError


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
    frame = balance(by_hand(), by=["g"])
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
    frame = balance(by_hand(), by=["g"])
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
    assert one(balance(frame, by=["g"]), "wasserstein", "g=a", "g=b").value == pytest.approx(1 / 4)


def test_a_class_that_one_cohort_lacks() -> None:
    """KL is infinite one way and finite the other; Jensen-Shannon stays within ln 2; disjoint cohorts reach it."""
    frame = balance(by_hand(), by=["g"])
    assert one(frame, "kl_divergence", "g=a", "g=c").value == np.inf
    assert one(frame, "kl_divergence", "g=c", "g=a").value == pytest.approx(np.log(2))
    apart = balance(pd.DataFrame({"g": ["a", "b"], "y_true": [0, 1]}), by=["g"])
    assert one(apart, "js_divergence", "g=a", "g=b").value == pytest.approx(np.log(2))
    assert one(apart, "total_variation", "g=a", "g=b").value == 1


def test_inequality_worked_by_hand() -> None:
    """Theil L and T and Atkinson's index of cohort sizes 6, 4, 2, of class shares with a zero, and of equal amounts."""
    frame = balance(by_hand(), by=["g"])
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
        found = balance(table, by=["g"], columns=["x", "y_true"])
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
    found = balance(frame, by=["g"])
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

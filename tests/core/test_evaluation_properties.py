"""Properties of the engine, and metrics against scikit-learn on random tables of every kind."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from tasks.core.evaluation import evaluate

# Without NUL: pandas ends a text there when it groups or makes categories, so that "" and NUL become one group before we see them.
TEXT = st.one_of(st.sampled_from([None, "a", "b", "é", "missing", "x=1, y", "nan"]), st.text(st.characters(exclude_characters="\0"), max_size=1))
METRICS = ["accuracy", "precision", "recall", "f1", "roc_auc", "average_precision", "log_loss", "brier", "balanced_accuracy"]
KINDS = {
    "pandas": lambda frame: frame,
    "nullable": lambda frame: frame.convert_dtypes(),
    "categories": lambda frame: frame.astype({"group": "category"}),
    "polars": pl.from_pandas,
    "arrow": lambda frame: pa.Table.from_pandas(frame, preserve_index=False),
}


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    """Small tables with single-row groups, absent classes, tied and extreme scores, and odd group names."""
    n = draw(st.integers(1, 18))
    rows = st.tuples(st.integers(0, 1), st.integers(0, 1), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.5000001, 0.9, 1.0]), TEXT)
    frame = pd.DataFrame(draw(st.lists(rows, min_size=n, max_size=n)), columns=["y_true", "y_pred", "y_score", "group"])
    frame["group"] = frame["group"].astype(object)
    if draw(st.booleans()):
        frame["weight"] = draw(st.lists(st.floats(0.01, 100), min_size=n, max_size=n))
    return frame


def expected(metric: str, part: pd.DataFrame) -> float:
    """scikit-learn's value, NaN where a denominator is empty."""
    y, p, s, w = part.y_true, part.y_pred, part.y_score, part.get("weight")
    match metric:
        case "accuracy":
            return float(sk.accuracy_score(y, p, sample_weight=w))
        case "precision":
            return float(sk.precision_score(y, p, sample_weight=w, zero_division=np.nan))
        case "recall":
            return float(sk.recall_score(y, p, sample_weight=w, zero_division=np.nan))
        case "f1":
            return float(sk.f1_score(y, p, sample_weight=w, zero_division=np.nan))
        case "log_loss":
            return float(sk.log_loss(y, s, sample_weight=w, labels=[0, 1]))
        case "brier":
            return float(sk.brier_score_loss(y, s, sample_weight=w, labels=[0, 1]))
        case "average_precision":
            return float(sk.average_precision_score(y, s, sample_weight=w)) if y.any() else np.nan
        case "roc_auc":
            return float(sk.roc_auc_score(y, s, sample_weight=w)) if y.nunique() == 2 else np.nan
    return float(sk.balanced_accuracy_score(y, p, sample_weight=w)) if y.nunique() == 2 else np.nan


@settings(max_examples=25, deadline=None)
@given(frame=tables(), kind=st.sampled_from(list(KINDS)))
def test_any_table_of_any_kind_agrees_with_sklearn(frame: pd.DataFrame, kind: str) -> None:
    """On any table, in any of the kinds of input, each cohort's values are scikit-learn's, and lie within their interval."""
    report = evaluate(KINDS[kind](frame), task="binary", by=["group"], metrics=METRICS, min_support=1)
    rows = report.frame().set_index(["cohort", "metric"])
    both = frame.group.isna().any() and (frame.group == "missing").any()
    parts = {"overall": frame}
    for name, part in frame.groupby("group", dropna=False):
        label = "missing" if name is None or name != name else f"'{name}'" if both and name == "missing" else name
        parts[f"group={label}"] = part
    assert set(rows.index.get_level_values("cohort")) == set(parts)
    for name, part in parts.items():
        for metric in METRICS:
            row = rows.loc[(name, metric)]
            assert row["value"] == pytest.approx(expected(metric, part), rel=1e-9, abs=1e-12, nan_ok=True), (name, metric)
            assert row["n"] == len(part)
            assert (row["verdict"] == "undefined") == np.isnan(row["value"])
            if not np.isnan(row["low"]):
                assert row["low"] - 1e-12 <= row["value"] <= row["high"] + 1e-12


@settings(max_examples=20, deadline=None)
@given(frame=tables(), seed=st.integers(0, 1000))
def test_names_and_order_do_not_change_gaps(frame: pd.DataFrame, seed: int) -> None:
    """Shuffling the rows or renaming the cohorts never changes a gap."""
    frame = frame.fillna({"group": "none"})
    gaps = evaluate(frame, task="binary", by=["group"], metrics=METRICS, min_support=1).gaps()
    renamed = frame.assign(group="z" + frame.group.astype(str)).sample(frac=1, random_state=seed)
    again = evaluate(renamed, task="binary", by=["group"], metrics=METRICS, min_support=1).gaps()
    for column in ("difference", "ratio", "low", "high", "p_value"):
        np.testing.assert_allclose(gaps[column], again[column], atol=1e-9, rtol=1e-7)


def delong(scores: np.ndarray, y: np.ndarray) -> float:
    """DeLong's variance of the AUC by its definition: every positive against every negative."""
    positive, negative = scores[y == 1], scores[y == 0]
    psi = (positive[:, None] > negative[None, :]) + 0.5 * (positive[:, None] == negative[None, :])
    return float(psi.mean(axis=1).var(ddof=1) / len(positive) + psi.mean(axis=0).var(ddof=1) / len(negative))


def test_auc_error_is_delongs() -> None:
    """The standard error of each cohort's AUC is DeLong's, computed pair by pair."""
    random = np.random.default_rng(0)
    y = random.integers(0, 2, 300)
    frame = pd.DataFrame(
        {"y_true": y, "y_pred": y, "y_score": np.round(np.clip(random.normal(0.4 + 0.2 * y, 0.2), 0, 1), 2), "g": random.choice(["a", "b"], 300)}
    )
    report = evaluate(frame, task="binary", by=["g"], metrics=["roc_auc"])
    errors = dict(zip(report.stats.names, report.stats.curves().auc_error, strict=True))
    for name, part in {"overall": frame, "g=a": frame[frame.g == "a"], "g=b": frame[frame.g == "b"]}.items():
        assert errors[name] ** 2 == pytest.approx(delong(part.y_score.to_numpy(), part.y_true.to_numpy()), rel=1e-9)


def test_fairness_summaries_equal_fairlearns() -> None:
    """Demographic parity and equalized odds, difference and ratio, are fairlearn's; disparate impact is the ratio's name."""
    import fairlearn.metrics as fm

    random = np.random.default_rng(4)
    y = random.integers(0, 2, 3000)
    g = random.choice(["a", "b", "c"], 3000)
    p = np.where(random.random(3000) < np.where(g == "a", 0.8, 0.65), y, 1 - y)
    frame = pd.DataFrame({"y_true": y, "y_pred": p, "g": g})
    names = ["demographic_parity", "equalized_odds", "equal_opportunity", "predictive_parity", "disparate_impact"]
    gaps = evaluate(frame, task="binary", by=["g"], metrics=names).gaps().set_index("metric")
    for name, peer in (("demographic_parity", "demographic_parity"), ("equalized_odds", "equalized_odds"), ("equal_opportunity", "equal_opportunity")):
        for end in ("difference", "ratio"):
            function = getattr(fm, f"{peer}_{end}")
            assert gaps.loc[name, end] == pytest.approx(function(y, p, sensitive_features=g), abs=1e-12)
    assert gaps.loc["disparate_impact", "ratio"] == gaps.loc["demographic_parity", "ratio"]
    assert gaps.loc["predictive_parity", "difference"] == gaps.loc["precision", "difference"]


def test_bounded_group_loss_and_calibration_are_the_largest_of_a_cohort() -> None:
    """They give the worst cohort's own figure, not a difference."""
    frame = pd.DataFrame({"y_true": [0.0] * 100, "y_pred": [1.0] * 50 + [3.0] * 50, "g": ["a"] * 50 + ["b"] * 50})
    row = evaluate(frame, task="regression", by=["g"], metrics=["bounded_group_loss"]).gaps().set_index("metric").loc["bounded_group_loss"]
    assert (row["difference"], row["worst"], row["best"]) == (9.0, "g=b", "g=a")


def test_entropy_indices_by_hand() -> None:
    """Generalized entropy and Theil index of four benefits 1, 2, 0, 1, worked by hand."""
    frame = pd.DataFrame({"y_true": [1, 0, 1, 0], "y_pred": [1, 1, 0, 0]})
    rows = evaluate(frame, task="binary", metrics=["generalized_entropy", "theil_index"]).frame().set_index("metric")
    assert rows.loc["generalized_entropy", "value"] == pytest.approx(0.25)  # ((1 + 4 + 0 + 1) / 4 / 1 - 1) / 2
    assert rows.loc["theil_index", "value"] == pytest.approx(2 * np.log(2) / 4)


def test_expected_calibration_error_by_hand() -> None:
    """Two bins, worked by hand: 0.15 off on two rows, 0.45 off on two."""
    frame = pd.DataFrame({"y_true": [0, 0, 1, 0], "y_pred": 0, "y_score": [0.1, 0.2, 0.95, 0.95]})
    # bin (0, 0.1]: |0 - 0.1| on 1 row; bin (0.1, 0.2]: |0 - 0.2| on 1; bin (0.9, 1]: |0.5 - 0.95| on 2
    found = evaluate(frame, task="binary", metrics=["expected_calibration_error"]).frame().value[0]
    assert found == pytest.approx((0.1 + 0.2 + 0.45 * 2) / 4)

"""Gaps between a condition and the rest, ratios with intervals, and conditions that give each other away."""

import numpy as np
import pandas as pd
import pytest

from tasks.core.cells import merge
from tasks.core.errors import CaseError
from tasks.core.evaluation import evaluate, make_plan, report_of, summarise
from tasks.core.gaps import ratio_limits
from tasks.core.intervals import wilson
from tasks.core.predictions import Source
from tasks.core.suppression import publish

METRICS = ["accuracy", "recall", "roc_auc", "log_loss", "expected_calibration_error"]


def table(n: int, seed: int = 0, *, weighted: bool = False) -> pd.DataFrame:
    """Predictions with a score, a group and a number to cut by."""
    rng = np.random.default_rng(seed)
    score = rng.random(n)
    frame = pd.DataFrame(
        {"y_true": (rng.random(n) < score).astype(int), "y_pred": (score > 0.4).astype(int), "y_score": score, "x": rng.random(n), "id": np.arange(n)}
    )
    return frame.assign(weight=rng.integers(1, 4, n).astype(float)) if weighted else frame


@pytest.mark.parametrize("weighted", [False, True])
def test_a_condition_is_compared_with_the_rows_outside_it(weighted: bool) -> None:
    """The gap of a condition is the difference between the values on its rows and on all the others, each as evaluated alone."""
    frame = table(3000, weighted=weighted)
    frame.loc[::7, "x"] = np.nan  # a row whose condition is unknown is outside
    gaps = evaluate(frame, task="binary", where={"low": "x < 0.3"}, metrics=METRICS).gaps().set_index("metric")
    inside = frame["x"] < 0.3
    sides = [evaluate(part, task="binary", metrics=METRICS).frame().set_index("metric")["value"] for part in (frame[inside], frame[~inside])]
    for metric in METRICS:
        row = gaps.loc[metric]
        assert row["grouping"] == "low"
        assert row["difference"] == pytest.approx(abs(sides[0][metric] - sides[1][metric]), abs=1e-12)
        assert {row["worst"], row["best"]} == {"low", "not low"}
        assert row["low"] <= row["difference"] <= row["high"]


def test_a_condition_without_a_rest_has_no_gap() -> None:
    """A condition that all rows meet is undefined beside a rest of none, and one of a few rows is insufficient."""
    gaps = evaluate(table(500), task="binary", where={"all": "x >= 0", "few": "id < 5", "most": "id >= 5"}, metrics=["accuracy"]).gaps()
    assert gaps.set_index("grouping")["verdict"].to_dict() == {"all": "undefined", "few": "insufficient", "most": "insufficient"}


def test_the_rest_is_the_same_from_parts() -> None:
    """Gaps of conditions are the same whether rows were folded whole or in parts."""
    frame = table(1000)
    plan, metrics = make_plan(Source(frame), task="binary", where={"low": "x < 0.3"}, metrics=METRICS)
    parts = merge([summarise(Source(part.reset_index(drop=True)), plan) for part in (frame[:333], frame[333:400], frame[400:])])
    pd.testing.assert_frame_equal(report_of(parts, metrics).gaps(), report_of(summarise(Source(frame), plan), metrics).gaps())


def test_a_condition_may_not_take_a_groupings_name() -> None:
    """A condition named as a grouping would be taken for it in the table of gaps, so it is refused."""
    with pytest.raises(CaseError, match="reads as another cohort"):
        evaluate(table(50).assign(g="a"), task="binary", by=["g"], where={"g": "x < 0.5"}, metrics=["accuracy"])


def test_summaries_hold_for_conditions_too() -> None:
    """Demographic parity of a condition is the selection rate's gap between its rows and the rest."""
    gaps = evaluate(table(2000), task="binary", where={"low": "x < 0.3"}, metrics=["demographic_parity"]).gaps().set_index("metric")
    assert gaps.loc["demographic_parity", "difference"] == gaps.loc["selection_rate", "difference"]
    assert gaps.loc["demographic_parity", "ratio_low"] == gaps.loc["selection_rate", "ratio_low"]


@pytest.mark.parametrize(("n", "one", "two"), [(50, 0.3, 0.5), (200, 0.3, 0.5), (2000, 0.1, 0.12), (200, 0.9, 0.95)])
def test_ratio_limits_cover_the_true_ratio(n: int, one: float, two: float) -> None:
    """Of 20,000 simulated pairs of rates, 94 to 96.5 % of the ratio's intervals hold the true ratio."""
    rng = np.random.default_rng(3)
    sides = []
    for rate in (one, two):
        share = rng.binomial(n, rate, 20_000) / n
        sides.append([share, *wilson(share, np.full(20_000, float(n)))])
    low, high = ratio_limits(*sides)
    covered = float(((low <= one / two) & (one / two <= high)).mean())
    assert 0.94 <= covered <= 0.965


def test_a_gaps_ratio_has_limits_around_it() -> None:
    """The ratio lies within its limits, and they within [0, 1]; without a positive highest value there is neither."""
    frame = table(600).assign(g=lambda rows: np.where(rows["id"] % 2 == 0, "a", "b"))
    row = evaluate(frame, task="binary", by=["g"], metrics=["selection_rate"]).gaps().iloc[0]
    assert 0 <= row["ratio_low"] <= row["ratio"] <= row["ratio_high"] <= 1
    never = evaluate(frame.assign(y_pred=0), task="binary", by=["g"], metrics=["selection_rate"]).gaps().iloc[0]
    assert np.isnan(never["ratio"])
    assert np.isnan(never["ratio_low"])


def test_a_condition_just_inside_another_is_not_published_beside_it() -> None:
    """Two published conditions never differ by fewer than ten rows, since their difference would describe those."""
    where = {"a": "id < 1000", "b": "id < 1005", "c": "id < 1100", "d": "id < 1109", "e": "id < 1118", "apart": "id > 900"}
    shown = publish(evaluate(table(3000), task="binary", where=where, metrics=["accuracy"])).frame().set_index("cohort")["n"].notna()
    assert shown.to_dict() == {"overall": True, "a": False, "b": True, "c": False, "d": False, "e": True, "apart": True}


def test_a_summary_of_two_gaps_has_the_larger_of_each_limit() -> None:
    """Where both gaps are alike either may be the larger: the truth is above the upper limit in at most one run of twenty."""
    rng, above, runs = np.random.default_rng(5), 0, 150
    for _ in range(runs):
        y, group = rng.random(1200) < 0.5, np.repeat(["a", "b"], 600)
        p = rng.random(1200) < np.where(group == "a", np.where(y, 0.6, 0.3), np.where(y, 0.7, 0.4))  # both gaps are 0.1
        table = pd.DataFrame({"y_true": y.astype(int), "y_pred": p.astype(int), "group": group})
        gaps = evaluate(table, task="binary", by=["group"], metrics=["equalized_odds"]).gaps().set_index("metric")
        row = gaps.loc["equalized_odds"]
        above += row["high"] < 0.1
        assert row["low"] <= row["difference"] <= row["high"]
    assert above <= 0.05 * runs

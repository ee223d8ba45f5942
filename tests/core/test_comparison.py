"""Comparisons of models on the same rows."""

import numpy as np
import pandas as pd
import pytest

from tasks.core.comparison import COLUMNS, compare
from tasks.core.errors import CaseError, DataError
from tasks.core.evaluation import evaluate


def pair(n: int = 500, seed: int = 0, task: str = "binary") -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two models' predictions for the same rows; the second is the first with noise."""
    random = np.random.default_rng(seed)
    y = random.integers(0, 2, n)
    old = pd.DataFrame({"row_id": [f"r{place}" for place in range(n)], "y_true": y, "sex": random.choice(["f", "m"], n), "age": random.integers(20, 80, n)})
    if task == "regression":
        old["y_true"] = random.normal(10, 3, n)
        old["y_pred"] = old.y_true + random.normal(0, 1, n)
        return old, old.assign(y_pred=old.y_pred + random.normal(0.3, 0.6, n))
    score = np.clip(random.normal(0.4 + 0.2 * y, 0.2), 0, 1)
    new = np.clip(score + random.normal(0, 0.1, n), 0, 1)
    old = old.assign(y_pred=(score > 0.5).astype(int), y_score=score)
    return old, old.assign(y_pred=(new > 0.5).astype(int), y_score=new)


def test_the_table_has_one_shape_and_plain_differences() -> None:
    """One row for each cohort and metric; the delta is the difference of two evaluations."""
    old, new = pair()
    arguments = {"task": "binary", "by": ["sex"], "where": {"Old": "age > 60"}}
    report = evaluate(new, baseline=old, **arguments)
    table = report.comparison()
    assert tuple(table.columns) == COLUMNS
    one, two = evaluate(new, **arguments).frame(), evaluate(old, **arguments).frame()
    assert list(table.cohort) == list(one.cohort)
    assert list(table.metric) == list(one.metric)
    np.testing.assert_allclose(table.delta, one.value - two.value, atol=1e-12)
    assert (table.low <= table.delta).all()
    assert (table.delta <= table.high).all()
    assert len(report.to_dict()["comparison"]) == len(table)


def test_rows_are_matched_by_row_id() -> None:
    """A baseline in another order is compared row by row all the same."""
    old, new = pair()
    arguments = {"task": "binary", "by": ["sex"]}
    straight = evaluate(new, baseline=old, **arguments).comparison()
    pd.testing.assert_frame_equal(straight, evaluate(new, baseline=old.sample(frac=1, random_state=1), **arguments).comparison())


def test_rows_that_do_not_match_are_refused() -> None:
    """Other rows, fewer rows or other labels are no comparison."""
    old, new = pair()
    with pytest.raises(DataError, match="row_id 'r7' is not in baseline"):
        evaluate(new, task="binary", baseline=old[old.row_id != "r7"])
    with pytest.raises(DataError, match="499 here, 500"):
        evaluate(new.drop(columns="row_id"), task="binary", baseline=old.drop(columns="row_id")[1:])
    with pytest.raises(DataError, match="y_true differs in row 0"):
        evaluate(new, task="binary", baseline=old.assign(y_true=1 - old.y_true))
    with pytest.raises(DataError, match="not unique"):
        evaluate(new, task="binary", baseline=old.assign(row_id="r1"))


def test_a_model_against_itself_shows_nothing() -> None:
    """The same predictions: every delta 0 with certainty, no evidence, BTC and BEC 1."""
    old, _ = pair()
    table = evaluate(old, task="binary", by=["sex"], baseline=old).comparison()
    assert (table.delta == 0).all()
    assert (table.verdict == "no evidence").all()
    assert (table.btc == 1).all()
    assert (table.bec == 1).all()


def test_compatibility_by_hand() -> None:
    """BTC and BEC of ten rows worked by hand, per cohort and per class, with the rows that newly fail."""
    y = [1, 1, 1, 1, 1, 0, 0, 0, 0, 0]
    h1 = [1, 1, 1, 0, 0, 0, 0, 0, 1, 1]  # right on rows 0-2 and 5-7
    h2 = [1, 1, 0, 1, 0, 0, 0, 0, 1, 0]  # right on rows 0, 1, 3 and 5, 6, 7, 9
    old = pd.DataFrame({"row_id": list("abcdefghij"), "y_true": y, "y_pred": h1})
    found = compare({"h1": old, "h2": old.assign(y_pred=h2)}, baseline="h1", task="binary", metrics=["accuracy"], min_support=1)
    row = found.frame().set_index("model").loc["h2"]
    assert row.btc == pytest.approx(5 / 6)  # rows 0, 1, 5, 6, 7 of 0, 1, 2, 5, 6, 7
    assert row.bec == pytest.approx(2 / 4)  # rows 4, 8 of 3, 4, 8, 9
    assert list(found.newly_failing("h2").row) == ["c"]
    classes = found.by_class("h2").set_index("class")
    assert classes.loc[1, "btc"] == pytest.approx(2 / 3)
    assert classes.loc[0, "btc"] == 1
    assert classes.loc[0, "overlap"] == pytest.approx(1 / 2)  # row 8 of 8, 9
    with pytest.raises(CaseError, match="no model `h3`"):
        found.newly_failing("h3")


@pytest.mark.parametrize(
    ("task", "metrics"),
    [
        ("binary", ["accuracy", "recall", "precision", "f1", "roc_auc", "average_precision", "log_loss", "brier"]),
        ("regression", ["mae", "rmse", "r2", "median_ae"]),
    ],
)
def test_paired_intervals_are_as_wide_as_resampling_says(task: str, metrics: list[str]) -> None:
    """Half the width of each paired interval is near 1.96 standard errors of the delta under resampling of whole rows."""
    old, new = pair(800, 3, task)
    table = evaluate(new, task=task, baseline=old, metrics=metrics).comparison().set_index("metric")
    random = np.random.default_rng(0)
    draws = []
    for _ in range(120):
        rows = random.integers(0, len(old), len(old))
        one, two = (
            evaluate(frame.iloc[rows].drop(columns="row_id"), task=task, metrics=metrics, intervals=False).frame().set_index("metric").value
            for frame in (new, old)
        )
        draws.append(one - two)
    error = pd.DataFrame(draws).std()
    for metric in metrics:
        ratio = (table.loc[metric, "high"] - table.loc[metric, "low"]) / 2 / 1.96 / error[metric]
        assert 0.75 < ratio < (2.2 if metric == "median_ae" else 1.35), (metric, ratio)


def test_words_follow_the_metrics_direction() -> None:
    """Lower is better for an error and higher for accuracy; a metric without direction only changes."""
    y = np.array([0, 1] * 200)
    old = pd.DataFrame({"y_true": y, "y_pred": 1 - y})
    words = evaluate(
        old.assign(y_pred=np.where(np.arange(400) < 380, y, 1)), task="binary", baseline=old, metrics=["accuracy", "false_positive_rate"]
    ).comparison()
    assert list(words.verdict) == ["better", "better"]
    worse = evaluate(old, task="binary", baseline=old.assign(y_pred=y), metrics=["accuracy", "false_positive_rate"]).comparison()
    assert list(worse.verdict) == ["worse", "worse"]
    fewer = evaluate(old.assign(y_pred=0), task="binary", baseline=old, metrics=["selection_rate"]).comparison()
    assert list(fewer.verdict) == ["changed"]


def test_multiclass_models_compare() -> None:
    """Multiclass predictions compare by every metric, per class too."""
    random = np.random.default_rng(0)
    y = random.choice(list("abc"), 300)
    old = pd.DataFrame({"y_true": y, "y_pred": np.where(random.random(300) < 0.7, y, "a")})
    new = old.assign(y_pred=np.where(random.random(300) < 0.9, y, "b"))
    table = evaluate(new, task="multiclass", baseline=old).comparison().set_index("metric")
    assert table.loc["accuracy", "verdict"] == "better"
    assert table.loc["macro_f1", "low"] > 0
    assert list(compare({"old": old, "new": new}, baseline="old", task="multiclass").newly_failing("new").columns) == ["row", "y_true", "baseline", "model"]

"""The evaluation engine against scikit-learn, fairlearn, published tables and worked examples."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn import metrics as sk

from tasks.core.cohorts import crossings
from tasks.core.errors import CaseError, DataError
from tasks.core.evaluation import COLUMNS, evaluate
from tasks.core.gaps import COLUMNS as GAP_COLUMNS

ADULT = Path("data/raw/adult/adult.parquet")


def table(n: int = 400, seed: int = 0, weighted: bool = False) -> pd.DataFrame:
    """Random binary predictions with two columns to slice by, one of them with missing values."""
    random = np.random.default_rng(seed)
    y = random.integers(0, 2, n)
    score = np.clip(np.round(random.normal(0.4 + 0.2 * y, 0.2), 2), 0, 1)
    frame = pd.DataFrame({"y_true": y, "y_pred": (score > 0.5).astype(int), "y_score": score})
    frame["sex"] = random.choice(["Female", "Male"], n)
    frame["race"] = random.choice(np.array(["Café", "ひと", None], dtype=object), n, p=[0.5, 0.3, 0.2])
    frame["age"] = random.integers(18, 90, n)
    if weighted:
        frame["weight"] = random.uniform(0.1, 3, n)
    return frame


def values(report, metric: str) -> dict[str, float]:
    """A metric's values by cohort."""
    frame = report.frame()
    return frame[frame.metric == metric].set_index("cohort")["value"].to_dict()


SKLEARN = {
    "accuracy": lambda f, w: sk.accuracy_score(f.y_true, f.y_pred, sample_weight=w),
    "balanced_accuracy": lambda f, w: sk.balanced_accuracy_score(f.y_true, f.y_pred, sample_weight=w),
    "precision": lambda f, w: sk.precision_score(f.y_true, f.y_pred, sample_weight=w, zero_division=np.nan),
    "recall": lambda f, w: sk.recall_score(f.y_true, f.y_pred, sample_weight=w, zero_division=np.nan),
    "specificity": lambda f, w: sk.recall_score(f.y_true, f.y_pred, sample_weight=w, pos_label=0, zero_division=np.nan),
    "f1": lambda f, w: sk.f1_score(f.y_true, f.y_pred, sample_weight=w, zero_division=np.nan),
    "roc_auc": lambda f, w: sk.roc_auc_score(f.y_true, f.y_score, sample_weight=w),
    "average_precision": lambda f, w: sk.average_precision_score(f.y_true, f.y_score, sample_weight=w),
    "log_loss": lambda f, w: sk.log_loss(f.y_true, f.y_score, sample_weight=w, labels=[0, 1]),
    "brier": lambda f, w: sk.brier_score_loss(f.y_true, f.y_score, sample_weight=w),
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("metric", SKLEARN)
def test_binary_metrics_equal_sklearn_in_every_cohort(metric: str, weighted: bool) -> None:
    """Each binary metric equals scikit-learn's on the rows of each group, intersection and condition."""
    frame = table(weighted=weighted)
    report = evaluate(frame, task="binary", by=[["race"], ["race", "sex"]], where={"Old women": "age > 60 AND sex = 'Female'"}, metrics=[metric])
    parts = {"overall": frame, "Old women": frame.query("age > 60 and sex == 'Female'")}
    for race, rows in frame.groupby("race", dropna=False):
        parts[f"race={'missing' if race != race else race}"] = rows
        for sex, both in rows.groupby("sex"):
            parts[f"race={'missing' if race != race else race}, sex={sex}"] = both
    found = values(report, metric)
    assert set(found) == set(parts)
    for name, part in parts.items():
        assert found[name] == pytest.approx(SKLEARN[metric](part, part.weight if weighted else None), rel=1e-12, abs=1e-12), name


REGRESSION = {
    "mae": lambda f, w: sk.mean_absolute_error(f.y_true, f.y_pred, sample_weight=w),
    "mse": lambda f, w: sk.mean_squared_error(f.y_true, f.y_pred, sample_weight=w),
    "rmse": lambda f, w: sk.root_mean_squared_error(f.y_true, f.y_pred, sample_weight=w),
    "r2": lambda f, w: sk.r2_score(f.y_true, f.y_pred, sample_weight=w),
    "median_ae": lambda f, w: sk.median_absolute_error(f.y_true, f.y_pred, sample_weight=w),
    "mape": lambda f, w: sk.mean_absolute_percentage_error(f.y_true, f.y_pred, sample_weight=w),
    "mean_error": lambda f, w: np.average(f.y_pred - f.y_true, weights=w),
    "mean_prediction": lambda f, w: np.average(f.y_pred, weights=w),
    "overprediction": lambda f, w: np.average(np.maximum(f.y_pred - f.y_true, 0), weights=w),
    "underprediction": lambda f, w: np.average(np.maximum(f.y_true - f.y_pred, 0), weights=w),
    "pinball_loss": lambda f, w: sk.mean_pinball_loss(f.y_true, f.y_pred, sample_weight=w),
    "pinball_loss@0.9": lambda f, w: sk.mean_pinball_loss(f.y_true, f.y_pred, sample_weight=w, alpha=0.9),
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("metric", REGRESSION)
def test_regression_metrics_equal_sklearn_in_every_cohort(metric: str, weighted: bool) -> None:
    """Each regression metric equals scikit-learn's on the rows of each group and interval."""
    random = np.random.default_rng(1)
    frame = table(301, 1, weighted).assign(y_true=random.normal(20, 9, 301), noise=random.normal(0, 4, 301))
    frame["y_pred"] = frame.y_true * 0.8 + frame.noise
    report = evaluate(frame, task="regression", by=[["sex"], ["age", "sex"]], bins={"age": [40, 60]}, metrics=[metric])
    cut = pd.cut(frame.age, [-np.inf, 40, 60, np.inf]).map(
        {pd.Interval(-np.inf, 40): "(-inf, 40]", pd.Interval(40, 60): "(40, 60]", pd.Interval(60, np.inf): "(60, inf)"}
    )
    parts = {"overall": frame} | {f"sex={sex}": rows for sex, rows in frame.groupby("sex")}
    parts |= {f"age={age}, sex={sex}": rows for (age, sex), rows in frame.groupby([cut, "sex"], observed=True)}
    found = values(report, metric)
    assert set(found) == set(parts)
    for name, part in parts.items():
        assert found[name] == pytest.approx(REGRESSION[metric](part, part.weight if weighted else None), rel=1e-9), name


def test_fairlearn_agrees_on_every_rate() -> None:
    """Rates, differences and ratios equal those of fairlearn's MetricFrame."""
    import fairlearn.metrics as fm

    frame = table(3000)
    functions = {"false_positive_rate": fm.false_positive_rate, "false_negative_rate": fm.false_negative_rate, "selection_rate": fm.selection_rate}
    peer = fm.MetricFrame(metrics=functions, y_true=frame.y_true, y_pred=frame.y_pred, sensitive_features=frame[["sex"]])
    report = evaluate(frame, task="binary", by=["sex"], metrics=list(functions))
    gaps = report.gaps().set_index("metric")
    for metric in functions:
        found = values(report, metric)
        assert found["overall"] == pytest.approx(peer.overall[metric], abs=1e-12)
        assert all(found[f"sex={sex}"] == pytest.approx(peer.by_group[metric][sex], abs=1e-12) for sex in ("Female", "Male"))
        assert gaps.loc[metric, "difference"] == pytest.approx(peer.difference()[metric], abs=1e-12)
        assert gaps.loc[metric, "ratio"] == pytest.approx(peer.ratio()[metric], abs=1e-12)


def test_published_rates_of_adult() -> None:
    """The published >50K rates of the adult census table: 23.928 % of all, 30.38 % of men, 10.93 % of women."""
    frame = pd.read_parquet(ADULT)
    frame["y_true"] = frame.income.str.strip().str.rstrip(".").eq(">50K").astype(int)
    report = evaluate(frame.assign(y_pred=frame.y_true), task="binary", by=["sex"], metrics=["base_rate"])
    found = values(report, "base_rate")
    assert round(found["overall"] * 100, 3) == 23.928
    assert round(found["sex=Male"] * 100, 2) == 30.38
    assert round(found["sex=Female"] * 100, 2) == 10.93


def test_gender_shades() -> None:
    """The Gender Shades accuracies of Microsoft's classifier, 1,000 rows a group, and their largest gap of 20.8 points."""
    published = {("darker", "male"): 940, ("darker", "female"): 792, ("lighter", "male"): 1000, ("lighter", "female"): 983}
    rows = [(skin, sex, 1, int(row < right)) for (skin, sex), right in published.items() for row in range(1000)]
    frame = pd.DataFrame(rows, columns=["skin", "sex", "y_true", "y_pred"])
    report = evaluate(frame, task="binary", by=[["skin", "sex"]], metrics=["accuracy"])
    found = values(report, "accuracy")
    for (skin, sex), right in published.items():
        assert found[f"skin={skin}, sex={sex}"] == right / 1000
    gap = report.gaps().iloc[0]
    assert gap.difference == pytest.approx(0.208)
    assert (gap.worst, gap.best) == ("skin=darker, sex=female", "skin=lighter, sex=male")
    assert 0.15 < gap.low < gap.high < 0.27
    assert gap.p_value < 1e-10


def test_shape_is_always_the_same() -> None:
    """One cohort or many: the same columns, one row for each cohort and metric."""
    frame = table()
    for by in ([], ["sex"], crossings(["sex", "race"])):
        report = evaluate(frame, task="binary", by=by, metrics=["accuracy", "recall"])
        assert tuple(report.frame().columns) == COLUMNS
        assert tuple(report.gaps().columns) == GAP_COLUMNS
        assert len(report.frame()) % 2 == 0
    kinds = evaluate(frame, task="binary", by=crossings(["sex", "race"]), where={"Old": "age > 60"}).frame().groupby("cohort", sort=False)["kind"].first()
    assert kinds[["overall", "sex=Male", "sex=Male, race=Café", "Old"]].tolist() == ["overall", "group", "intersection", "filter"]


@pytest.mark.parametrize(
    "convert",
    [pl.from_pandas, pa.Table.from_pandas, lambda f: f.astype({"sex": "category", "y_true": "Int64", "age": "Float32"}), lambda f: f.astype({"sex": object})],
)
def test_every_kind_of_table_gives_the_same_report(convert) -> None:
    """pandas, polars, Arrow, categoricals and nullable types: one and the same report."""
    frame = table()
    arguments = {"task": "binary", "by": crossings(["sex", "race"]), "where": {"Old": "age > 60"}}
    expected, found = evaluate(frame, **arguments), evaluate(convert(frame), **arguments)
    pd.testing.assert_frame_equal(expected.frame(), found.frame())
    pd.testing.assert_frame_equal(expected.gaps(), found.gaps())


@pytest.mark.parametrize("name", ["p.parquet", "p.csv", "p.arrow", "parts"])
def test_files_give_the_same_report(tmp_path: Path, name: str) -> None:
    """A Parquet, CSV or Arrow file and a folder of parts read as the table they hold."""
    frame = table()
    path = tmp_path / name
    if name == "parts":
        path.mkdir()
        frame[:150].to_parquet(path / "1.parquet")
        frame[150:].to_parquet(path / "2.parquet")
    elif name.endswith("csv"):
        frame.to_csv(path, index=False)
    elif name.endswith("arrow"):
        frame.to_feather(path)
    else:
        frame.to_parquet(path)
    arguments = {"task": "binary", "by": ["sex", "race"]}
    pd.testing.assert_frame_equal(evaluate(frame, **arguments).frame(), evaluate(path, **arguments).frame())


def test_support_is_each_metrics_own_denominator() -> None:
    """Support counts a metric's own denominator, in rows: ten positives are not a hundred."""
    frame = pd.DataFrame({"y_true": [1] * 10 + [0] * 90, "y_pred": [1] * 5 + [0] * 95})
    found = evaluate(frame, task="binary", metrics=["accuracy", "recall", "precision", "balanced_accuracy", "f1"]).frame().set_index("metric")
    assert found["support"].to_dict() == {"accuracy": 100, "recall": 10, "precision": 5, "balanced_accuracy": 10, "f1": 10}
    assert (found["n"] == 100).all()
    assert found["verdict"].to_dict() == {
        "accuracy": "ok",
        "recall": "insufficient",
        "precision": "insufficient",
        "balanced_accuracy": "insufficient",
        "f1": "insufficient",
    }


def test_nothing_to_divide_by_is_undefined() -> None:
    """A rate without rows in its denominator is undefined, never 0 or 1, and takes no part in a gap."""
    frame = pd.DataFrame({"y_true": [0] * 50 + [1] * 50, "y_pred": [0] * 100, "g": ["a"] * 50 + ["b"] * 50})
    report = evaluate(frame, task="binary", by=["g"], metrics=["recall", "precision"])
    rows = report.frame().set_index(["metric", "cohort"])
    assert rows.loc[("recall", "g=a"), "verdict"] == "undefined"
    assert math.isnan(rows.loc[("recall", "g=a"), "value"])
    assert rows.loc[("precision", "overall"), "verdict"] == "undefined"
    assert list(report.gaps().verdict) == ["undefined", "undefined"]


def test_insufficient_cohorts_take_no_part_in_gaps() -> None:
    """A tiny cohort with an extreme value does not make the gap."""
    frame = pd.DataFrame({"g": ["a"] * 100 + ["b"] * 100 + ["c"] * 3})
    frame["y_true"] = 1
    frame["y_pred"] = [1] * 90 + [0] * 10 + [1] * 80 + [0] * 20 + [0] * 3
    gap = evaluate(frame, task="binary", by=["g"], metrics=["recall"]).gaps().iloc[0]
    assert (gap.difference, gap.worst, gap.best) == (pytest.approx(0.1), "g=b", "g=a")


BAD = {
    "y_pred outside the labels": (lambda f: f.assign(y_pred=2), "y_pred"),
    "a score above one": (lambda f: f.assign(y_score=1.5), r"\[0, 1\]"),
    "a missing score": (lambda f: f.assign(y_score=np.nan), "no value"),
    "a missing label": (lambda f: f.assign(y_true=f.y_true.where(f.index > 3)), "no value in row 0"),
    "labels as text": (lambda f: f.assign(y_true="yes"), "'yes'"),
    "a negative weight": (lambda f: f.assign(weight=-1.0), "weight"),
    "an infinite weight": (lambda f: f.assign(weight=np.inf), "weight"),
    "no y_true": (lambda f: f.rename(columns={"y_true": "y_ture"}), "y_ture"),
    "no rows": (lambda f: f[:0], "no rows"),
    "no grouping column": (lambda f: f.rename(columns={"sex": "Sex"}), "Sex"),
    "a column twice": (lambda f: pd.concat([f, f[["age"]]], axis=1), "two columns"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_tables_are_refused_by_name(name: str) -> None:
    """What is wrong with a table is said, with the column and the value."""
    spoil, message = BAD[name]
    with pytest.raises(DataError, match=message):
        evaluate(spoil(table()), task="binary", by=["sex"])


def test_too_many_groups_are_refused_with_a_way_out() -> None:
    """A column of identifiers is no grouping."""
    frame = pd.DataFrame({"id": np.arange(150_000).astype(str), "y_true": 0, "y_pred": 0})
    with pytest.raises(DataError, match=r"150,000 distinct groups.*Bin"):
        evaluate(frame, task="binary", by=["id"])


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("agee > 40", "Did you mean `age`"),
        ("age > avg(age)", "own values"),
        ("row_number() over () > age", "own values"),
        ("age > (SELECT 1)", "own values"),
        ("read_csv('/etc/passwd')", "not a condition"),
        ("age >", "not a condition"),
        ("age > 40; DROP TABLE x", "not a condition"),
        ("1 = 1", "own values"),
        ("age", "not true or false"),
        ("sex > 40", "cannot be told"),
    ],
)
def test_conditions_that_are_none_are_refused(where: str, message: str) -> None:
    """Unsafe or unknown expressions are a clear error that names the condition."""
    with pytest.raises(CaseError, match=message):
        evaluate(table(), task="binary", where={"named": where})


def test_metric_names_are_checked() -> None:
    """An unknown metric, or one of another task, points to the nearest."""
    with pytest.raises(CaseError, match="Did you mean `recall`"):
        evaluate(table(), task="binary", metrics=["recal"])
    with pytest.raises(CaseError, match="for binary tasks"):
        evaluate(table(), task="binary", metrics=["r2"])
    with pytest.raises(DataError, match="y_score"):
        evaluate(table().drop(columns="y_score"), task="binary", metrics=["roc_auc"])
    with pytest.raises(CaseError, match="task"):
        evaluate(table(), task="ranking")


def test_report_is_plain_json() -> None:
    """to_dict holds nothing that JSON cannot: undefined values are null."""
    import json

    report = evaluate(table(60), task="binary", by=[["sex", "race"]], where={"None": "age > 500"})
    text = json.dumps(report.to_dict(), allow_nan=False)
    assert json.loads(text)["rows"][0].keys() == set(COLUMNS)


def test_row_order_does_not_matter() -> None:
    """Shuffling the rows changes no digit of the report."""
    frame = table(500, weighted=True)
    arguments = {"task": "binary", "by": crossings(["sex", "race"]), "where": {"Old": "age > 60"}, "metrics": ["accuracy", "recall", "log_loss", "brier"]}
    one = evaluate(frame, **arguments).to_dict()
    assert one == evaluate(frame.sample(frac=1, random_state=3), **arguments).to_dict()


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    """A file that is not there, empty, without rows, broken or of another kind is named in the error."""
    import pickle

    with pytest.raises(DataError, match="is not there"):
        evaluate(tmp_path / "none.parquet", task="binary")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(DataError, match=r"empty.csv: is an empty file"):
        evaluate(tmp_path / "empty.csv", task="binary")
    (tmp_path / "head.csv").write_text("y_true,y_pred\n")
    with pytest.raises(DataError, match="no rows"):
        evaluate(tmp_path / "head.csv", task="binary")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(DataError, match="cannot be read"):
        evaluate(tmp_path / "broken.parquet", task="binary")
    (tmp_path / "model.pickle").write_bytes(pickle.dumps({}))
    with pytest.raises(DataError, match="unknown ending"):
        evaluate(tmp_path / "model.pickle", task="binary")
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match="empty folder"):
        evaluate(tmp_path / "folder", task="binary")
    with pytest.raises(DataError, match="not a predictions table"):
        evaluate([1, 2, 3], task="binary")


def test_summaries_and_reports_travel() -> None:
    """Summaries and reports can be sent between processes; a report carries no rows."""
    import pickle

    from tasks.core.evaluation import make_plan, report_of, summarise
    from tasks.core.predictions import Source

    source = Source(table(5000))
    plan, metrics = make_plan(source, task="binary", by=["sex"])
    there = pickle.loads(pickle.dumps(summarise(source, plan)))  # noqa: S301 our own bytes
    report = report_of(there, metrics)
    pd.testing.assert_frame_equal(report.frame(), evaluate(table(5000), task="binary", by=["sex"]).frame())
    assert len(pickle.dumps(report)) < 40_000


def test_r2_does_not_drown_in_a_large_mean() -> None:
    """R2 of labels of a million and a spread of one agrees with scikit-learn, with an interval of a sane width."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"y_true": random.normal(1e6, 1, 2000)})
    frame["y_pred"] = frame.y_true + random.normal(0, 0.5, 2000)
    row = evaluate(frame, task="regression", metrics=["r2"]).frame().iloc[0]
    assert row.value == pytest.approx(sk.r2_score(frame.y_true, frame.y_pred), rel=1e-9)
    assert 0.7 < row.low < row.high < 0.8


def test_a_constant_label_has_no_r2() -> None:
    """R2 is undefined where the label is constant, whatever the constant."""
    for constant in (0.0, 0.1, 1e9):
        frame = pd.DataFrame({"y_true": [constant] * 30, "y_pred": np.arange(30.0)})
        assert evaluate(frame, task="regression", metrics=["r2"]).frame().verdict[0] == "undefined"

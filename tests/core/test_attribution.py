"""Attribution: gains that are there are found, gains that are not there are not, and a leak is caught."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tasks.core import intervals
from tasks.core.attribution import COLUMNS, Attribution, attribute, corrected
from tasks.core.building import build
from tasks.core.case import Case
from tasks.core.errors import CaseError, DataError
from tasks.core.evaluation import evaluate
from tasks.core.gate import decide
from tasks.core.refits import Refit, check_no_leak, control_in_words, control_of, draw, figures, mitigated, refit
from tasks.core.splits import split

KINDS: dict[str, Any] = {"size": "numeric", "age": "numeric", "team": "categorical", "coin": "categorical", "day": "numeric"}
LINEAR = {"kind": "linear"}
LOGISTIC = {"kind": "logistic"}


def make_case(task: str = "binary", candidates: list[dict[str, Any]] | None = None, **other: Any) -> Case:
    """A case on the rows of `make_rows`; its candidates after the baseline `plain`."""
    estimator = LOGISTIC if task == "binary" else LINEAR
    primary = "balanced_accuracy" if task == "binary" else "mae"
    stated = {
        "case": "teams",
        "purpose": "a test",
        "dataset": "teams",
        "task": task,
        "target": {"column": "y", "positive": 1} if task == "binary" else {"column": "y"},
        "features": ["size", "age"],
        "seed": 3,
        "periods": {"column": "when"},
        "split": {"kind": "random", "validation": 0.25, "test": 0.25},
        "candidates": [{"name": "plain", "estimator": estimator}, *(candidates or [])],
        "cohorts": {"by": [["team"]], "min_support": 10},
        "metrics": {"primary": primary, "also": ["accuracy", "selection_rate"] if task == "binary" else ["mean_error"]},
        "limits": [{"metric": primary, "gap": ["team"], "at_most": 0.5}],
        "carbon": {"country": "USA"},
    }
    return Case.model_validate(stated | other)


def make_rows(task: str = "binary", rows: int = 400, seed: int = 0, apart: float = 0.0) -> tuple[pd.DataFrame, pd.Series]:
    """Rows of two teams. Without `apart` the team says nothing; with it, B's outcomes are so much lower for the same features."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "row_id": [f"r{place:05d}" for place in range(rows)],
            "size": random.normal(size=rows),
            "age": random.normal(size=rows),
            "team": random.choice(["A", "B"], rows),
            "coin": random.choice(["heads", "tails"], rows),
            "day": np.arange(rows),
        }
    )
    outcome = frame["size"] + random.normal(size=rows) + apart * np.where(frame["team"] == "B", -1.0, 1.0)
    return frame, (outcome > 0).astype(int) if task == "binary" else outcome


def run(case: Case, frame: pd.DataFrame, target: pd.Series) -> Attribution:
    """The whole way, seed by seed."""
    made = []
    for seed in range(case.seed, case.seed + 5):
        parts, overlap = draw(frame, target, case, seed)
        made.append(refit(case, KINDS, parts, seed=seed, overlap=overlap))
    return attribute(case, made)


def verdicts(found: Attribution, candidate: str, against: str, metric: str) -> dict[str, str]:
    """Verdicts by cohort."""
    table = found.table
    chosen = table[(table["candidate"] == candidate) & (table["against"] == against) & (table["metric"] == metric)]
    return dict(zip(chosen["cohort"], chosen["verdict"], strict=True))


# The statistic


def test_corrected_t_is_nadeau_and_bengio_s() -> None:
    """Limits and p-value are those of Student's t with the variance s^2 (1/J + n2/n1); without overlap, scipy's one-sample test."""
    deltas = np.random.default_rng(0).normal(0.3, 1, (7, 4))
    mean, low, high, p_value = corrected(deltas, 0.5)
    error = deltas.std(axis=0, ddof=1) * np.sqrt(1 / 7 + 0.5)
    np.testing.assert_allclose(mean, deltas.mean(axis=0))
    np.testing.assert_allclose(np.array([low, high]), stats.t.interval(0.95, 6, mean, error), rtol=1e-9)
    np.testing.assert_allclose(p_value, 2 * stats.t.sf(np.abs(mean) / error, 6), rtol=1e-9)
    np.testing.assert_allclose(corrected(deltas, 0.0)[3], stats.ttest_1samp(deltas, 0).pvalue, rtol=1e-9)


def test_differences_that_are_all_alike_are_not_certainty() -> None:
    """Five times one row of thirty is no evidence; five times half of them is; and five times nothing is nothing, for certain."""
    alike = np.array([[1 / 30, 0.5, 0.0]] * 5)
    _, low, high, p_value = corrected(alike, 0.5, grain=1 / 30)
    assert p_value[0] > 0.01
    assert p_value[1] < 1e-5
    assert (low[2], high[2], p_value[2]) == (0, 0, 1)


@pytest.mark.parametrize("kind", ["splits", "halves"])
def test_two_equally_good_models_are_told_apart_no_more_often_than_stated(kind: str) -> None:
    """Two features that say equally much, one for each model: on any one table one of them is luckier in every split, which a
    naive test takes for a gain. Ours finds one, or any among ten cohorts, in about 5 % of tables or fewer.
    """
    random = np.random.default_rng(1)
    tables, rows, seeds, cohorts = 300, 400, 5, 10
    single, naive, any_of = 0, 0, 0
    for _ in range(tables):
        x = random.normal(size=(rows, 2))
        y = x.sum(axis=1) + random.normal(size=rows)
        members = random.random((cohorts, rows)) < 0.4
        members[0] = True
        fixed = random.permutation(rows)
        deltas = []
        for _ in range(seeds):
            order = random.permutation(rows) if kind == "splits" else fixed
            train, test = order[: rows // 2], order[rows * 3 // 4 :]
            if kind == "halves":
                train, test = random.permutation(train)[: len(train) // 2], random.permutation(test)[: len(test) // 2]
            slope = (x[train] * y[train, None]).sum(axis=0) / (x[train] ** 2).sum(axis=0)
            loss = np.abs(y[test, None] - slope * x[test])
            inside = members[:, test]
            deltas.append(inside @ (loss[:, 1] - loss[:, 0]) / inside.sum(axis=1))
        p_values = corrected(np.array(deltas), 0.5 if kind == "splits" else 1.0)[3]
        single += p_values[0] < 0.05
        any_of += intervals.holm(p_values).min() < 0.05
        naive += corrected(np.array(deltas), 0.0)[3][0] < 0.05
    assert single / tables < 0.05 + 3 * np.sqrt(0.05 * 0.95 / tables)
    assert any_of / tables < 0.05 + 3 * np.sqrt(0.05 * 0.95 / tables)
    assert naive / tables > 0.15


# Gains that are there, and that are not


def test_step_that_changes_nothing_changes_no_figure() -> None:
    """Scaling columns in front of boosted trees, which read only the order of values: no delta, no evidence."""
    boosted = {"kind": "hist_gradient_boosting", "params": {"max_iter": 5}}
    case = make_case("regression", [{"name": "scaled", "estimator": boosted, "pre": [{"method": "standard_scaler"}]}])
    table = run(case, *make_rows("regression", 200)).table
    beside = table[table["against"] == "baseline"]
    assert (beside["delta"].abs() < 1e-9).all()
    assert set(beside["verdict"]) == {"no evidence"}


def test_mitigation_that_does_nothing_is_seldom_found_to_do_something() -> None:
    """Weighing by a coin moves figures a little by chance: of six tables, in each of which they move, at most one calls it help or harm."""
    weighed = {"name": "weighed", "estimator": LINEAR, "pre": [{"method": "reweighing", "by": ["coin"]}]}
    case = make_case("regression", [weighed], metrics={"primary": "mae"}, limits=[{"metric": "mae", "at_most": 5}])
    found = []
    for table in range(6):
        frame, target = make_rows("regression", 240, seed=table)
        changes = run(case, frame, target).table
        beside = changes[changes["against"] == "baseline"]
        assert (beside["delta"].abs() > 0).any()
        found.append(bool((beside["verdict"] != "no evidence").any()))
    assert sum(found) <= 1


def test_gain_that_a_shift_alone_gives_is_told_from_one_that_it_does_not() -> None:
    """Team B lies below A at the same size. Mapping quantiles by team helps beside the pooled baseline, and not beside one
    correction a team, which does as much. Where the teams' slopes differ, a model for each helps beside both.
    """
    frame, target = make_rows("regression", 600, apart=1.5)
    candidates = [
        {"name": "mapped", "estimator": LINEAR, "post": [{"method": "quantile_mapping", "by": ["team"]}]},
        {"name": "apart", "estimator": LINEAR, "in": {"method": "cohort_models", "by": ["team"]}},
    ]
    case = make_case("regression", candidates)
    found = run(case, frame, target)
    assert verdicts(found, "mapped", "baseline", "mae")["overall"] == "helped"
    assert verdicts(found, "mapped", "baseline", "mean_error") == {"overall": "no evidence", "team=A": "helped", "team=B": "helped"}
    assert "helped" not in verdicts(found, "mapped", "control", "mae").values()
    assert found.own("mapped") == []
    crossed = target + 2 * frame["age"] * np.where(frame["team"] == "B", -1, 1)
    found = run(case, frame, crossed)
    for against in ("baseline", "control"):
        assert verdicts(found, "apart", against, "mae") == {"overall": "helped", "team=A": "helped", "team=B": "helped", "gap by team": "no evidence"}
    assert found.of("apart", "control", "helped")[0] == "mae of overall"
    assert found.counts("apart", "control")["helped"] >= 3
    assert found.own("apart")[:3] == ["mae of overall", "mae of team=A", "mae of team=B"]


def test_harm_is_called_harm_and_a_share_of_answers_neither() -> None:
    """Predicting a team's rate alone, the features made worthless, hurts; what changes without a better direction has changed."""
    frame, target = make_rows(rows=600, apart=0.0)
    target = ((target == 1) & (np.arange(600) % 3 > 0)).astype(int)  # a third answered 1
    spoiled = {"name": "often", "estimator": LOGISTIC, "post": [{"method": "cohort_thresholds", "by": ["team"], "params": {"costs": {"false_negative": 50}}}]}
    stated = spoiled["post"][0]["params"]["costs"]  # type: ignore[index]  # the structure above
    stated["false_positive"] = 1
    found = run(make_case(candidates=[spoiled]), frame, target)
    assert verdicts(found, "often", "baseline", "accuracy")["overall"] == "hurt"
    assert verdicts(found, "often", "baseline", "selection_rate")["overall"] == "changed"


def test_same_seeds_give_the_same_table() -> None:
    """Splits, fits and figures come from the case's seed and those after it, and from nothing else."""
    aimed = {"name": "drawn", "estimator": LOGISTIC, "pre": [{"method": "random_over_sampler"}]}
    rows = make_rows(rows=200, apart=0.5)
    one, two = (run(make_case(candidates=[aimed]), *rows) for _ in range(2))
    pd.testing.assert_frame_equal(one.table, two.table)
    assert tuple(one.table.columns) == COLUMNS
    assert one.seeds == (3, 4, 5, 6, 7)


# What is held against what


def test_control_has_the_best_thresholds_for_the_primary_metric() -> None:
    """Of all pairs of thresholds the control's have the best balanced accuracy on validation; for another metric the best accuracy."""
    weighed = {"name": "weighed", "estimator": LOGISTIC, "pre": [{"method": "reweighing", "by": ["team"]}]}
    frame, target = make_rows(rows=400, apart=0.7)
    target = target * (np.arange(400) % 2)  # few positives, so that the two metrics want different thresholds
    for primary in ("balanced_accuracy", "roc_auc"):
        case = make_case(candidates=[weighed], metrics={"primary": primary})
        parts, _ = draw(frame, target, case, 3)
        rows, labels = parts["validation"]
        control = build(control_of(case.candidates[1], case, labels), case, KINDS).fit(*parts["train"], validation=parts["validation"])
        plain = build(case.candidates[0], case, KINDS).fit(*parts["train"])
        scores, truth = plain.predict_score(rows), labels.to_numpy()
        np.testing.assert_array_equal(control.predict_score(rows), scores)
        weight = np.where(truth == 1, 1 / truth.mean(), 1 / (1 - truth.mean())) if primary == "balanced_accuracy" else np.ones(len(truth))
        best = 0.0
        for team in ("A", "B"):
            mine = (rows["team"] == team).to_numpy()
            best += max(float((weight * ((scores > cut) == truth))[mine].sum()) for cut in [-1, *scores[mine]])
        assert float((weight * (control.predict(rows) == truth)).sum()) == pytest.approx(best)


def test_control_of_a_regression_has_no_mean_error_by_cohort_on_validation() -> None:
    """It is corrected by the columns aimed at, by the candidate's own cohorts, or as a whole where nothing is aimed at."""
    frame, target = make_rows("regression", 300, apart=1.0)
    steps: dict[str, dict[str, Any]] = {
        "columns": {"pre": [{"method": "reweighing", "by": ["team"]}]},
        "conditions": {"cohorts": {"beta": "team = 'B'", "others": "rest"}, "pre": [{"method": "random_over_sampler", "each": True}]},
        "nothing": {"pre": [{"method": "robust_scaler"}]},
    }
    case = make_case("regression", [{"name": name, "estimator": LINEAR, **stated} for name, stated in steps.items()])
    parts, _ = draw(frame, target, case, 3)
    rows, labels = parts["validation"]
    for spec in mitigated(case):
        control = build(control_of(spec, case, labels), case, KINDS).fit(*parts["train"], validation=parts["validation"])
        error = pd.Series(control.predict(rows) - labels.to_numpy(), index=rows.index)
        assert abs(error.mean()) < 1e-9
        by_team = error.groupby(rows["team"]).mean().abs().max()
        assert by_team > 0.1 if spec.name == "nothing" else by_team < 1e-9
    words = [control_in_words(spec, case) for spec in mitigated(case)]
    assert words == [f"linear with bias corrections {aim}" for aim in ("by team", "by beta, others", "for all rows together")]


def test_backward_compatible_candidate_is_compatible_with_the_case_s_baseline() -> None:
    """It is fitted beside the first candidate's answers of the same split; as the first itself it has none, and is refused."""
    compatible = {"name": "steady", "estimator": LOGISTIC, "in": {"method": "backward_compatible"}}
    frame, target = make_rows(rows=200)
    assert set(run(make_case(candidates=[compatible]), frame, target).table["candidate"]) == {"steady"}
    alone = make_case().model_copy(update={"candidates": make_case(candidates=[compatible]).candidates[1:]})
    with pytest.raises(CaseError, match=r"candidate steady.*seed 3.*there is none"):
        run(alone, frame, target)


def test_seed_draws_a_split_or_of_rows_in_time_halves_of_it() -> None:
    """Each seed splits anew, its overlap rows of test over rows of train; by time the parts stay, and each seed takes half of each."""
    frame, target = make_rows(rows=200)
    parts, overlap = draw(frame, target, make_case(), 8)
    stated = split(frame, target, make_case().split, 8)
    assert {name: list(rows.index) for name, (rows, _) in parts.items()} == {name: list(np.flatnonzero(stated == name)) for name in parts}
    assert overlap == 0.5
    by_time = make_case(split={"kind": "time", "column": "day", "validation": 0.25, "test": 0.25})
    one, two = (draw(frame, target, by_time, seed) for seed in (3, 4))
    assert one[1] == 1
    assert {name: len(rows) for name, (rows, _) in one[0].items()} == {"train": 50, "validation": 25, "test": 25}
    for parts, _ in (one, two):
        assert all(rows["day"].is_monotonic_increasing for rows, _ in parts.values())
        assert parts["train"][0]["day"].max() < 100 <= parts["validation"][0]["day"].min()
        assert parts["validation"][0]["day"].max() < 150 <= parts["test"][0]["day"].min()
    assert set(one[0]["test"][0]["day"]) != set(two[0]["test"][0]["day"])


def test_too_few_seeds_and_nothing_to_attribute_are_refused() -> None:
    """Four seeds are too few; a case of plain estimators has nothing to attribute."""
    weighed = {"name": "weighed", "estimator": LOGISTIC, "pre": [{"method": "reweighing", "by": ["team"]}]}
    with pytest.raises(CaseError, match=r"--seeds: 4 seeds are too few.*at least 5"):
        mitigated(make_case(candidates=[weighed]), 4)
    with pytest.raises(CaseError, match="no candidate has steps"):
        mitigated(make_case())
    with pytest.raises(CaseError, match="4 seeds"):
        changed(synthetic([0.9] * 4), synthetic([0.7] * 4))


# Support, suppression and gaps


def synthetic(values: list[float], ok: bool = True, metric: str = "accuracy", kind: str = "overall", support: float = 100) -> list[pd.DataFrame]:
    """Figures of one cohort and metric, one value a seed."""
    index = pd.MultiIndex.from_tuples([("overall", metric)], names=["cohort", "metric"])
    return [pd.DataFrame({"kind": [kind], "value": [value], "support": [support], "ok": [ok]}, index=index) for value in values]


def changed(new: list[pd.DataFrame], old: list[pd.DataFrame], task: str = "binary") -> dict[str, Any]:
    """The row that these figures of a candidate and its baseline make."""
    step = {"pre": [{"method": "reweighing", "by": ["team"]}]}
    case = make_case(task, [{"name": "one", "estimator": LOGISTIC if task == "binary" else LINEAR, **step}])
    sides = [{"one": {"candidate": a, "baseline": b, "control": b}} for a, b in zip(new, old, strict=True)]
    refits = [Refit(seed, 0.5, {"train": 200, "validation": 100, "test": 100}, one) for seed, one in enumerate(sides)]
    return attribute(case, refits).to_dict()["rows"][0]


def test_cohort_under_support_in_any_seed_is_no_evidence() -> None:
    """The same clear gain: helped with support in all seeds, no evidence and no p-value when one seed has too little."""
    new, old = synthetic([0.90, 0.91, 0.90, 0.92, 0.91]), synthetic([0.70, 0.71, 0.71, 0.71, 0.70])
    assert changed(new, old)["verdict"] == "helped"
    assert changed(old, new)["verdict"] == "hurt"
    weak = changed([*new[:4], *synthetic([0.91], ok=False, support=8)], old)
    assert (weak["verdict"], weak["p_value"], weak["support"]) == ("no evidence", None, 8)
    assert weak["delta"] == pytest.approx(0.202)


def test_figure_that_a_seed_may_not_publish_is_not_shown() -> None:
    """Where one seed's figure is hidden, or the cohort not there at all, every figure of the row is left out."""
    new, old = synthetic([0.90, 0.91, 0.90, 0.92, 0.91]), synthetic([0.70] * 5)
    hidden = changed([*new[:4], *synthetic([np.nan], ok=False, support=np.nan)], old)
    absent = changed([*new[:4], new[4].iloc[:0]], old)
    for row in (hidden, absent):
        assert {row[name] for name in ("value", "reference", "delta", "low", "high", "p_value", "support")} == {None}
        assert row["verdict"] == "no evidence"


def test_cohorts_below_ten_rows_are_hidden_to_the_end() -> None:
    """Three people of team C, whose figures evaluation may not publish, appear in the table without a figure."""
    frame, target = make_rows("regression", 200)
    frame.loc[:11, "team"] = "C"
    case = make_case("regression", [{"name": "scaled", "estimator": LINEAR, "pre": [{"method": "robust_scaler"}]}])
    table = run(case, frame, target).table
    assert table[table["cohort"] == "team=C"][["value", "reference", "delta", "low", "high", "p_value", "support"]].isna().all().all()
    assert (table[table["cohort"] == "team=C"]["verdict"] == "no evidence").all()
    assert (table[table["cohort"] == "gap by team"]["verdict"] == "no evidence").all()


def test_metric_that_aims_at_0_is_judged_by_its_distance() -> None:
    """From a mean error of -2 to one of -1 is help, though the figure rises; `figures` gives the distance."""
    frame, target = make_rows("regression", 100)
    case = make_case("regression", [{"name": "scaled", "estimator": LINEAR, "pre": [{"method": "robust_scaler"}]}])

    def off(by: float) -> float:
        report = evaluate(frame.assign(y_true=target, y_pred=target + by), task="regression", by=[["team"]], metrics=["mae", "mean_error"])
        return float(figures(report, case).loc[("overall", "mean_error"), "value"])

    assert off(-2.0) == pytest.approx(2)
    new, old = ([synthetic([off(by + 0.01 * seed)], metric="mean_error")[0] for seed in range(5)] for by in (-1.0, -2.0))
    assert changed(new, old, "regression")["verdict"] == "helped"


def test_gap_row_is_the_difference_that_the_gate_judges() -> None:
    """The row `gap by team` holds the gate's figure, a smaller one is help, and there is evidence only where the gate has some."""
    frame, target = make_rows(rows=300, apart=0.5)
    case = make_case(candidates=[{"name": "scaled", "estimator": LOGISTIC, "pre": [{"method": "robust_scaler"}]}])
    for support, enough in ((10, True), (200, False)):
        table = frame.assign(y_true=target, y_pred=(frame["size"] > 0).astype(int))
        report = evaluate(table, task="binary", by=[["team"]], metrics=case.metric_names, min_support=support)
        row = figures(report, case).loc[("gap by team", "balanced_accuracy")]
        check = decide(report, case.limits).checks[0]
        assert row["ok"] == enough == (check.outcome != "insufficient evidence")
        if enough:
            assert row["value"] == pytest.approx(check.value)
    new, old = (synthetic([value + 0.01 * seed % 2 for seed in range(5)], metric="accuracy", kind="gap") for value in (0.1, 0.4))
    assert changed(new, old)["verdict"] == "helped"


# Leaks


def test_rows_in_two_parts_are_caught() -> None:
    """One shared row id is named with its parts; without ids a row that is alike in every column is; rows in one part may repeat."""
    frame, target = make_rows(rows=40)
    parts = {name: (frame.iloc[rows], target.iloc[rows]) for name, rows in (("train", slice(0, 20)), ("validation", slice(20, 30)), ("test", slice(30, 40)))}
    check_no_leak(parts)
    leaked = parts | {"test": (frame.iloc[29:40], target.iloc[29:40])}
    with pytest.raises(DataError, match="1 of 11 test rows are validation rows too, row_id 'r00029' among them"):
        check_no_leak(leaked)
    bare = {name: (rows.drop(columns="row_id"), labels) for name, (rows, labels) in leaked.items()}
    with pytest.raises(DataError, match="1 of 11 test rows are validation rows too, row 29 among them"):
        check_no_leak(bare)
    check_no_leak({"train": (pd.concat([frame.iloc[:5]] * 2), target), "test": (frame.iloc[5:], target)})


def test_leak_on_purpose_is_caught_and_would_have_looked_better_than_it_is() -> None:
    """Thresholds for twenty teams on scores that say nothing are right half of the time. Chosen on the rows they are reported on,
    they seem far better; ours refuses those rows, and reports what is true.
    """
    aimed = {"name": "tuned", "estimator": LOGISTIC, "post": [{"method": "cohort_thresholds", "by": ["team"], "params": {"min_rows": 10}}]}
    case = make_case(candidates=[aimed], metrics={"primary": "accuracy"}, limits=[{"metric": "accuracy", "at_least": 0.5}])
    random = np.random.default_rng(4)
    honest, leaked = [], []
    for seed in range(4):
        frame, _ = make_rows(rows=2000, seed=seed)
        frame["team"] = random.choice([f"T{number:02d}" for number in range(20)], len(frame))
        target = pd.Series(random.integers(0, 2, len(frame)))
        parts, overlap = draw(frame, target, case, seed)
        measured = refit(case, KINDS, parts, seed=seed, overlap=overlap)
        honest.append(measured.figures["tuned"]["candidate"].loc[("overall", "accuracy"), "value"])
        cheating = parts | {"validation": parts["test"]}
        with pytest.raises(DataError, match="500 of 500 test rows are validation rows too"):
            refit(case, KINDS, cheating, seed=seed, overlap=overlap)
        model = build(case.candidates[1], case, KINDS).fit(*parts["train"], validation=parts["test"])
        leaked.append(float((model.predict(parts["test"][0]) == parts["test"][1]).mean()))
    error = 0.5 / np.sqrt(4 * 500)  # of the mean of four shares of 500 rows
    assert abs(np.mean(honest) - 0.5) < 4 * error
    assert np.mean(leaked) - 0.5 > 5 * error

"""Drift of cohorts is that of their rows alone, corrected over all of them; summaries by cohort add; small cohorts are not shown."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.spatial import distance

from tasks.core import drift_kept
from tasks.core.case import Cohorts, Drift
from tasks.core.cohort_drift import OTHERS, CohortsDrift, compare_cohorts
from tasks.core.drift import compare
from tasks.core.drift_by_cohort import MOST, REST, ByCohort, by_cohort
from tasks.core.drift_summary import summarise
from tasks.core.online import ALPHA

KINDS = {"pay": "numeric", "city": "categorical"}
COHORTS = Cohorts(by=(("sex",), ("sex", "age")), bins={"age": (40,)}, where={"rich": "pay > 1", "lost": "nowhere = 1"})


def people(rows=1200, seed=0, women=0.5):
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "sex": random.choice(["f", "m"], rows, p=[women, 1 - women]),
            "age": random.integers(20, 70, rows),
            "pay": random.normal(0, 1, rows),
            "city": random.choice(["Ulm", "Bonn"], rows),
        }
    )


def found(current, reference=None, cohorts=COHORTS, level=ALPHA, min_support=20):
    reference = people() if reference is None else reference
    return compare_cohorts(by_cohort(reference, KINDS, cohorts), by_cohort(current, KINDS, cohorts), Drift(limit=0.3), min_support=min_support, level=level)


def test_each_cohort_is_compared_with_itself():
    """Effect and p-value of a column in a cohort are those of its rows alone; what reads a column that is not there is left out."""
    current, reference = people(seed=1), people()
    report = found(current)
    assert [one.cohort for one in report.cohorts] == [
        *("sex=f", "sex=m"),
        *("sex=f, age=(-inf, 40]", "sex=f, age=(40, inf)", "sex=m, age=(-inf, 40]", "sex=m, age=(40, inf)"),
        "rich",
    ]
    masks = {"sex=m, age=(40, inf)": "sex == 'm' and age > 40", "rich": "pay > 1", "sex=f": "sex == 'f'"}
    for one in report.cohorts:
        if one.cohort in masks:
            before, now = reference.query(masks[one.cohort]), current.query(masks[one.cohort])
            alone = compare(summarise(before[[*KINDS]]), summarise(now[[*KINDS]]), Drift(limit=0.3))
            assert one.rows == (len(before), len(now))
            assert [(column.effect, column.p_value) for column in one.columns] == [(column.effect, column.p_value) for column in alone.columns]


def test_a_move_in_one_cohort_is_named_there():
    """The women's pay rises by a standard deviation: drift for them at any age, for nobody else."""
    current = people(seed=1)
    current.loc[current["sex"] == "f", "pay"] += 1
    report = found(current)
    assert set(report.drifted) - {"rich"} == {"sex=f", "sex=f, age=(-inf, 40]", "sex=f, age=(40, inf)"}
    assert report.cohorts[0].drifted_columns == ("pay",)


def test_verdicts_are_corrected_over_all_columns_of_all_cohorts():
    """Holm over seven cohorts of two columns, at the period's level."""
    report = found(people(seed=1), level=0.01)
    tests = [(column.p_value, column.q_value) for one in report.cohorts for column in one.columns]
    p_value, q_value = min(tests)
    assert q_value == pytest.approx(min(len(tests) * p_value * ALPHA / 0.01, 1))
    assert len(tests) == 14


def test_the_mix_of_cohorts_is_chi_square_s():
    """A grouping's shares have moved: the distance and p-value are scipy's, and a mix that stands still is not named."""
    report = found(people(seed=1, women=0.8))
    sex = report.mix[0]
    sizes = [frame["sex"].value_counts().reindex(["f", "m"]).to_numpy(dtype=float) for frame in (people(), people(seed=1, women=0.8))]
    assert sex.distance == pytest.approx(distance.jensenshannon(*sizes))
    assert sex.p_value == pytest.approx(stats.chi2_contingency(sizes, correction=False).pvalue)
    assert sex.shares["sex=f"] == (sizes[0][0] / 1200, sizes[1][0] / 1200)
    assert {one.grouping: one.drifted for one in report.mix} == {"sex": True, "sex, age": True, "rich": False}
    assert set(report.mix[2].shares) == {"rich", REST}
    assert not any(one.drifted for one in found(people(seed=1)).mix)


def test_cohorts_of_few_rows_are_not_shown():
    """Neither their drift nor their share; where there is one, a second one goes with it, so that the remainder gives nothing away."""
    current = people(seed=1)
    current.loc[current.index < 3, "sex"] = "x"
    report = found(current, people().assign(sex=lambda frame: frame["sex"].where(frame.index > 2, "x")))
    assert not any("=x" in one.cohort for one in report.cohorts)
    assert report.few >= 2
    assert set(report.mix[0].shares) == {OTHERS, max(("sex=f", "sex=m"), key=lambda name: report.mix[0].shares.get(name, (0, 0)))}
    assert sum(now for _, now in report.mix[0].shares.values()) == pytest.approx(1)


def test_no_case_makes_cohorts_of_fewer_than_ten_rows_visible():
    """Whatever its `min_support`."""
    reference = people(12, women=0.5).assign(sex=["f"] * 9 + ["m"] * 3)
    assert found(reference, reference, Cohorts(by=(("sex",),)), min_support=1).cohorts == ()


def test_a_grouping_of_too_many_cohorts_is_left_out():
    """And named; the others stand."""
    many = people().assign(age=lambda frame: frame.index)
    report = found(many, many, Cohorts(by=(("age",), ("sex",))))
    assert report.left_out == ("age",)
    assert [one.cohort for one in report.cohorts] == ["sex=f", "sex=m"]
    halves = [by_cohort(part, KINDS, Cohorts(by=(("age",),))) for part in (many[: MOST // 2 + 50], many[-MOST // 2 - 50 :])]
    assert not halves[0].blocks["age"].too_many
    assert ByCohort.joined(halves).blocks["age"].too_many


def test_summaries_of_parts_add_and_are_kept():
    """Three parts, one of which lacks a cohort and has missing values, give the summary of the whole; as bytes and back, too."""
    frame = people(900).assign(pay=lambda one: one["pay"].round(1).where(one.index % 7 > 0), city=lambda one: one["city"].where(one.index % 11 > 0))
    parts = [frame[frame["sex"] == "f"], frame[frame["sex"] == "m"][:100], frame[frame["sex"] == "m"][100:]]
    whole, added = by_cohort(frame, KINDS, COHORTS), ByCohort.joined([by_cohort(part, KINDS, COHORTS) for part in parts])
    summary, kept = drift_kept.unpack(drift_kept.pack(summarise(frame, KINDS), whole))
    for other in (added, kept):
        report = compare_cohorts(whole, other, Drift(), min_support=10)
        assert all((column.effect, column.p_value) == (0.0, 1.0) for one in report.cohorts for column in one.columns)
        assert all(one.rows[0] == one.rows[1] for one in report.cohorts)
        assert {name: dict(block.sizes) for name, block in other.blocks.items()} == {name: dict(block.sizes) for name, block in whole.blocks.items()}
    assert summary.rows == 900
    assert summary.columns["city"] == summarise(frame, KINDS).columns["city"]


def test_a_report_comes_back_from_json_as_it_was():
    """To the last digit."""
    report = found(people(seed=1, women=0.7))
    assert CohortsDrift.from_dict(json.loads(json.dumps(report.to_dict(), allow_nan=False))) == report


def test_a_condition_may_name_a_column_that_reads_as_a_pattern() -> None:
    """Its rows are those of that column; of a frame without it the condition is left out."""
    frame = pd.DataFrame({"*": [1, 2, 2], "age": [30.0, 40.0, 50.0]})
    cohorts = Cohorts(where={"Two": '"*" = 2'})
    assert by_cohort(frame, {"age": "numeric"}, cohorts).blocks["Two"].sizes == {"Two": 2, REST: 1}
    assert by_cohort(frame.drop(columns="*"), {"age": "numeric"}, cohorts).blocks == {}

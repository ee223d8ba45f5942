"""Drift verdicts: an effect beyond its limit that is not chance, corrected over columns and periods."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy import stats

from tasks.core.case import Drift
from tasks.core.drift import COLUMNS, DriftReport, compare, looks_before, summarise
from tasks.core.errors import DataError
from tasks.core.online import ALPHA, level

KINDS = {"age": "numeric", "pay": "numeric", "city": "categorical", "prediction": "numeric"}


def people(rows=400, seed=0, **moved):
    """A table; `moved` adds to a numeric column, or gives the share of one city."""
    random = np.random.default_rng(seed)
    shares = moved.pop("city", (0.5, 0.3, 0.2))
    frame = pd.DataFrame(
        {
            "age": random.normal(40, 10, rows),
            "pay": random.normal(0, 1, rows),
            "city": random.choice(["Ulm", "Köln", "Bonn"], rows, p=shares),
            "prediction": random.random(rows),
        }
    )
    return frame.assign(**{name: frame[name] + step for name, step in moved.items()})


def verdict(current, reference=None, level=ALPHA, **settings):
    reference = people() if reference is None else reference
    kinds = {name: kind for name, kind in KINDS.items() if name in reference}
    return compare(summarise(reference, kinds), summarise(current, kinds), Drift(**settings), prediction="prediction", level=level)


def test_an_effect_that_may_be_chance_is_no_drift():
    """Eight rows can lie far from the reference by chance: beyond the limit, and not drift."""
    report = verdict(people(8, seed=5), limit=0.01)
    assert all(column.effect > 0.01 for column in report.columns)
    assert (report.drifted_columns, report.alarm) == ((), False)


def test_significance_without_an_effect_is_no_drift():
    """A shift of a twentieth of a standard deviation is certain in 100,000 rows, and below the limit. It is an alarm of the test."""
    report = verdict(people(100_000, seed=1, age=0.5), people(100_000), limit=0.1)
    age = report.columns[0]
    assert age.q_value < 1e-6
    assert 0.03 < age.effect < 0.07
    assert (report.drifted_columns, report.drifted, report.alarm) == ((), False, True)


def test_both_together_are_drift():
    """Ten years at a spread of ten are an effect of about one, and no chance in 400 rows."""
    report = verdict(people(seed=1, age=10), limit=0.4)
    assert report.drifted_columns == ("age",)
    assert report.columns[0].effect == pytest.approx(1, abs=0.15)
    assert report.drifted


def test_an_effect_at_its_limit_is_no_drift():
    """Only above the limit."""
    current = people(seed=1, age=10)
    effect = verdict(current).columns[0].effect
    assert verdict(current, limits={"age": effect, "pay": 9.0, "city": 9.0}).drifted_columns == ()
    assert verdict(current, limits={"age": np.nextafter(effect, 0), "pay": 9.0, "city": 9.0}).drifted_columns == ("age",)


def test_p_values_are_corrected_over_the_columns():
    """Holm: the smallest of four p-values counts four times; what is drift alone may be chance among four columns."""
    current = people(seed=1, age=1.75)
    four = verdict(current, limit=0.01)
    p_values = [column.p_value for column in (*four.columns, four.prediction)]
    assert p_values[0] == min(p_values) == pytest.approx(stats.ks_2samp(people()["age"], current["age"], method="asymp").pvalue)
    assert four.columns[0].q_value == pytest.approx(4 * p_values[0])
    alone = verdict(current[["age"]], people()[["age"]], limit=0.01)
    assert (alone.drifted_columns, four.drifted_columns) == (("age",), ())


def test_the_level_of_the_period_decides():
    """The q-value is scaled by the level, so that 0.05 is the border at any level."""
    current = people(seed=9, age=1.25)
    strict = level([False] * 3)
    loose, tight = verdict(current, limit=0.1), verdict(current, limit=0.1, level=strict)
    assert tight.columns[0].q_value == pytest.approx(loose.columns[0].q_value * ALPHA / strict)
    assert (loose.drifted_columns, tight.drifted_columns) == (("age",), ())
    assert (tight.level, tight.alarm, loose.alarm) == (strict, False, True)


@pytest.mark.parametrize(("settings", "expected"), [({"numeric": "ks"}, 0.0), ({"numeric": "psi"}, 0.0), ({}, 0.0)])
def test_every_numeric_effect_finds_the_shift_and_no_other(settings, expected):
    """D, the stability index and the Wasserstein distance name the same column."""
    report = verdict(people(2000, seed=1, pay=1), people(2000), limit=0.2, **settings)
    assert report.drifted_columns == ("pay",)
    assert verdict(people(), people(), **settings).columns[0].effect == expected


@pytest.mark.parametrize("method", ["jensenshannon", "psi", "chisquare"])
def test_every_categorical_effect_finds_the_mix(method):
    """The distance, the index and Cramer's V name the column whose shares have moved."""
    report = verdict(people(2000, seed=1, city=(0.1, 0.1, 0.8)), people(2000), categorical=method, limit=0.2)
    assert report.drifted_columns == ("city",)


def test_what_a_column_lacks_and_has_new_is_told():
    """The share of rows without a value, how many categories the reference does not have, and the share of all rows in them."""
    current = people(seed=1)
    current["age"] = current["age"].where(current.index % 4 > 0)
    current["city"] = current["city"].where(current.index % 2 > 0).replace("Bonn", "Trier")
    age, _, city = verdict(current).columns
    assert (age.missing_rate, age.new_categories, age.drifted) == (0.25, 0, True)
    assert (city.missing_rate, city.new_categories, city.drifted) == (0.5, 1, True)
    assert (age.new_category_rate, city.new_category_rate) == (0.0, (current["city"] == "Trier").mean())
    assert 0.05 < city.new_category_rate < 0.15


def absent(rows, share):
    """People of whom the first `share` has no age."""
    found = people(rows, seed=1)
    return found.assign(age=found["age"].where(found.index >= round(share * rows)))


@pytest.mark.parametrize("reverse", [False, True])
def test_a_change_of_the_missing_rate_is_drift(reverse):
    """A tenth of the ages gone, or there again: the values have not moved, and the row says what has, with the test of two proportions."""
    sides = (absent(400, 0.1), people())
    current, reference = reversed(sides) if reverse else sides
    report = verdict(current, reference, limit=0.4)
    age = report.columns[0]
    assert (age.method, age.limit, report.drifted_columns, report.drifted) == ("missing rate", 0.05, ("age",), True)
    assert age.effect == pytest.approx(0.1)
    assert age.p_value == pytest.approx(stats.chi2_contingency([[40, 0], [360, 400]], correction=False).pvalue)
    assert age.q_value == pytest.approx(5 * age.p_value)  # the three others, the ages themselves and their missing rate
    assert (age.missing_before, age.missing_rate) == ((0.1, 0.0) if reverse else (0.0, 0.1))
    assert age.value_effect == age.moved_values < 0.2


def test_a_missing_rate_needs_an_effect_and_a_test_as_well():
    """Two in a hundred thousand more is certain and nothing; two of ten more is much and may be chance; and a shift stays a shift."""
    many = verdict(absent(100_000, 0.02), people(100_000))
    few = verdict(absent(10, 0.2), people(10, seed=2))
    assert many.columns[0].q_value > 0.05 or many.columns[0].method == "wasserstein"
    assert many.alarm
    assert (many.drifted_columns, few.drifted_columns) == ((), ())
    both = absent(400, 0.2)
    both = verdict(both.assign(age=both["age"] + 10), limit=0.4)
    assert (both.columns[0].method, both.columns[0].drifted) == ("wasserstein", True)


def test_a_column_that_lost_all_its_values_has_drifted():
    """There is nothing to measure of its values; that they are gone is what is said."""
    age = verdict(people().assign(age=np.nan)).columns[0]
    assert (age.method, age.effect, age.drifted, age.missing_rate, age.moved_values) == ("missing rate", 1.0, True, 1.0, None)
    same = verdict(people().assign(age=np.nan), people().assign(age=np.nan)).columns[0]
    assert (same.effect, same.p_value, same.drifted) == (0.0, 1.0, False)


def test_reports_of_before_are_read():
    """A stored report without the fields that came later."""
    kept = verdict(people(seed=1)).to_dict()
    for column in (*kept["columns"], kept["prediction"]):
        del column["missing_before"], column["value_effect"], column["new_category_rate"]
    old = DriftReport.from_dict(kept)
    assert (old.columns[0].missing_before, old.columns[0].new_category_rate) == (None, None)


def test_the_prediction_stands_beside_the_features():
    """A drifted prediction neither enters the share nor the names of drifted features; its test is an alarm like the others."""
    report = verdict(people(seed=1, prediction=3), limit=0.5, share=0.01)
    assert report.prediction is not None
    assert report.prediction.drifted
    assert (report.drifted, report.share, report.drifted_columns, report.alarm) == (False, 0.0, (), True)
    assert "prediction" not in [column.column for column in report.columns]


@pytest.mark.parametrize(("share", "drifted"), [(0.3, True), (1 / 3, True), (0.34, False)])
def test_a_period_drifts_from_its_share_on(share, drifted):
    """One of three features is a share of exactly one third, and that is enough for a limit of one third."""
    report = verdict(people(seed=1, age=10), limit=0.4, share=share)
    assert report.share == 1 / 3
    assert report.drifted is drifted


def test_a_limit_of_a_column_that_the_model_does_not_read_says_nothing():
    """Names are checked where the case is loaded (tests/io/test_documents.py); a model may read fewer features, and the gate no predictions."""
    assert verdict(people(seed=1), limits={"shoe": 9.0}) == verdict(people(seed=1))


@pytest.mark.parametrize(
    ("current", "said"),
    [(people()[:0], "`age` has no row"), (people().assign(age=np.inf), "`age` cannot be compared")],
)
def test_what_cannot_be_measured_is_an_error(current, said):
    """It is neither drift nor its absence."""
    with pytest.raises(DataError, match=said):
        verdict(current)


def test_a_column_that_is_not_there_or_of_another_kind_is_an_error():
    """Both are named; the schema check comes before and says more."""
    reference = summarise(people(), KINDS)
    for current, said in ((people().drop(columns="age"), "missing"), (people().assign(age="old"), "not of the kind")):
        kinds = {name: "categorical" if current[name].dtype == "str" else kind for name, kind in KINDS.items() if name in current}
        with pytest.raises(DataError, match=f"`age` is {said}"):
            compare(reference, summarise(current, kinds), Drift())


def test_the_reason_says_what_drifted_by_which_rule():
    """It can be read without the table: effect, limit, corrected p-value, level and share."""
    report = verdict(people(seed=1, pay=1), limit=0.4, level=level([]))
    pay = report.columns[1]
    assert 0 < pay.q_value < 1e-12
    shown = f"pay (wasserstein {pay.effect:.3g}, limit 0.4, corrected p < 1e-12)"
    assert report.reason == f"1 of 3 features drifted at level 0.015, a share of 0.33 (limit 0.1): {shown}."


def test_the_frame_has_one_row_for_each_column():
    """Features first, in their order, then the prediction."""
    frame = verdict(people(seed=1)).frame()
    expected = ["column", "kind", "method", "effect", "limit", "p_value", "q_value", "drifted", "missing_rate", "new_categories"]
    assert list(frame.columns) == list(COLUMNS) == expected
    assert frame["column"].tolist() == ["age", "pay", "city", "prediction"]


def test_two_tables_compare_by_the_usual_limits():
    """What is asked of nobody but two tables: every column a feature, the limits those of a case that sets none."""
    reference, current = summarise(people()), summarise(people(seed=1, pay=1))
    assert compare(reference, current) == compare(reference, current, Drift())
    assert compare(reference, current).drifted_columns == ("pay",)


def test_a_report_comes_back_from_json_as_it_was():
    """To the last digit, with and without a prediction."""
    for report in (verdict(people(seed=1, age=10)), verdict(people()[["age"]], people()[["age"]])):
        assert DriftReport.from_dict(json.loads(json.dumps(report.to_dict(), allow_nan=False))) == report


@hypothesis_settings(deadline=None, max_examples=30)
@given(st.floats(0, 2), st.floats(0.01, 1), st.floats(0.01, 1), st.floats(0.01, 1))
def test_raising_a_limit_or_lowering_the_level_never_makes_drift(shift, limit, more, share):
    """What does not drift under one limit and level does not drift under stricter ones."""
    current = people(100, seed=1, age=10 * shift, pay=shift / 2)
    low, high, late = (verdict(current, limit=one, share=share, level=two) for one, two in ((limit, ALPHA), (limit + more, ALPHA), (limit, 0.001)))
    for stricter in (high, late):
        assert set(stricter.drifted_columns) <= set(low.drifted_columns)
        assert low.drifted or not stricter.drifted


def test_the_looks_before_are_told():
    """How many there were, and which raised an alarm; of many the last one."""
    assert looks_before([("2024-02", False)]) == "Of 1 look before, none found more than chance."
    many = [(f"2024-{month:02d}", month > 3) for month in range(1, 13)]
    assert looks_before(many) == "Of 12 looks before, 9 found more than chance, the last in 2024-12."

"""The gate compares intervals, and silence never passes."""

import datetime as dt

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.case import Limit
from tasks.core.gate import Against, Measured, decide, worst_excess


class Report:
    """A report with one metric: overall, two cohorts of `sex`, and their gap."""

    def __init__(self, value=0.5, low=0.4, high=0.6, verdict="ok", cohort="overall"):
        self.row = {
            "cohort": cohort,
            "kind": "overall",
            "metric": "recall",
            "value": value,
            "low": low,
            "high": high,
            "n": 100,
            "support": 100,
            "verdict": verdict,
        }

    def frame(self):
        rows = [self.row]
        if self.row["cohort"] == "overall":
            rows += [{**self.row, "cohort": f"sex={sex}", "kind": "group"} for sex in ("F", "M")]
        return pd.DataFrame(rows)

    def gaps(self):
        gap = {
            "metric": "recall",
            "grouping": "sex",
            "difference": self.row["value"],
            "low": self.row["low"],
            "high": self.row["high"],
            "ratio": self.row["value"],
            "ratio_low": self.row["low"],
            "ratio_high": self.row["high"],
            "verdict": self.row["verdict"],
        }
        return pd.DataFrame([gap])

    def cohorts_of(self, grouping):
        return ("sex=F", "sex=M") if tuple(grouping) == ("sex",) else ()


def outcome(report, **limit):
    decision = decide(report, [Limit(metric="recall", **limit)])
    return [check.outcome for check in decision.checks]


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ({"at_least": 0.3}, "passed"),  # all of 0.4 to 0.6 is above
        ({"at_least": 0.5}, "insufficient evidence"),  # reaches below 0.5
        ({"at_least": 0.7}, "failed"),  # all of it is below
        ({"at_most": 0.7}, "passed"),
        ({"at_most": 0.5}, "insufficient evidence"),
        ({"at_most": 0.3}, "failed"),
        ({"at_least": 0.5, "must_show": "no_worse"}, "passed"),
        ({"at_least": 0.7, "must_show": "no_worse"}, "failed"),
        ({"at_most": 0.45, "must_show": "no_worse"}, "passed"),
    ],
)
def test_limit_reads_the_interval(limit, expected):
    """An interval of 0.4 to 0.6 passes, fails or is insufficient by where all of it lies."""
    assert outcome(Report(), **limit) == [expected]
    assert outcome(Report(), gap=("sex",), **limit) == [expected]
    assert outcome(Report(), ratio=("sex",), **limit) == [expected]
    assert outcome(Report(), every=("sex",), **limit) == [expected, expected]


@pytest.mark.parametrize("verdict", ["insufficient", "undefined"])
@pytest.mark.parametrize("must_show", ["better", "no_worse"])
def test_small_cohort_never_passes(verdict, must_show):
    """A cohort under its minimum support is insufficient evidence, whatever its figure."""
    assert outcome(Report(verdict=verdict), at_least=0.0, must_show=must_show) == ["insufficient evidence"]


@pytest.mark.parametrize("figures", [{"value": float("nan")}, {"low": float("nan")}, {"high": float("nan")}])
def test_missing_figure_never_passes(figures):
    """A value or an interval that is not there is insufficient evidence, not zero."""
    assert outcome(Report(**figures), at_least=0.0, must_show="no_worse") == ["insufficient evidence"]


@pytest.mark.parametrize("limit", [{"cohort": "sex=X"}, {"every": ("race",)}, {"gap": ("race",)}])
def test_figure_that_is_not_in_the_report_never_passes(limit):
    """A limit on a cohort or grouping that the report lacks is checked, and not passed."""
    assert outcome(Report(), at_least=0.0, **limit) == ["insufficient evidence"]


def test_gap_does_not_pass_over_a_cohort_that_is_too_small():
    """A gap that leaves a small cohort out is insufficient evidence, and the reason names the cohort."""

    class Silent(Report):
        def frame(self):
            frame = super().frame()
            frame.loc[frame["cohort"] == "sex=M", "verdict"] = "insufficient"
            return frame

    decision = decide(Silent(), [Limit(metric="recall", gap=("sex",), at_most=0.9, must_show="no_worse")])
    assert [check.outcome for check in decision.checks] == ["insufficient evidence"]
    assert "sex=M" in decision.reasons[0]


def test_no_limits_is_no_pass():
    """A gate without a check has shown nothing."""
    decision = decide(Report(), [])
    assert not decision.passed
    assert decision.reasons == ("no limit was checked",)


def test_reasons_name_figure_interval_and_bound():
    """A reader learns from the reason what was found and what was allowed."""
    decision = decide(Report(), [Limit(metric="recall", at_least=0.7)])
    assert decision.reasons == ("recall for overall is 0.5 [0.4, 0.6], limit >= 0.7",)
    assert decision.checks[0].margin == pytest.approx(-0.3)  # the lower end decides: it must be shown
    assert decide(Report(), [Limit(metric="recall", at_least=0.7, must_show="no_worse")]).checks[0].margin == pytest.approx(-0.1)
    assert worst_excess(decision) == 1


@given(
    value=st.floats(0, 1),
    margin=st.floats(0, 0.5),
    bound=st.floats(0, 1),
    relaxed=st.floats(0, 1),
    must_show=st.sampled_from(["better", "no_worse"]),
)
def test_relaxing_a_limit_never_turns_a_pass_into_a_fail(value, margin, bound, relaxed, must_show):
    """Whatever passes a bound passes every easier one."""
    report = Report(value=value, low=value - margin, high=value + margin)
    if outcome(report, at_most=bound, must_show=must_show) == ["passed"]:
        assert outcome(report, at_most=bound + relaxed, must_show=must_show) == ["passed"]


def test_a_fairness_summary_may_be_a_limit():
    """The gap of a summary is judged by its interval, and stays insufficient while a cohort lacks evidence for one of its metrics."""
    from tasks.core.evaluation import evaluate

    table = pd.DataFrame({"y_true": [0, 1] * 600, "y_pred": [0, 1, 1, 1] * 300, "sex": ["F", "F", "M"] * 400})
    limit = Limit(metric="equalized_odds", gap=("sex",), at_most=0.2, must_show="no_worse")
    asked = {"task": "binary", "by": ["sex"], "metrics": ["equalized_odds"]}
    assert [check.outcome for check in decide(evaluate(table, **asked), [limit]).checks] == ["passed"]
    few = pd.concat([table, table.head(4).assign(sex="X")])
    assert [check.outcome for check in decide(evaluate(few, **asked), [limit]).checks] == ["insufficient evidence"]


def test_the_gap_between_a_condition_and_the_rest_may_be_a_limit():
    """`gap: [Late]` bounds the difference between a named condition's rows and all others."""
    from tasks.core.evaluation import evaluate

    table = pd.DataFrame({"y_true": [0, 1] * 600, "y_pred": [0, 1] * 300 + [0, 0] * 300, "hour": range(1200)})
    report = evaluate(table, task="binary", where={"Late": "hour >= 600"}, metrics=["accuracy"])
    limit = Limit(metric="accuracy", gap=("Late",), at_most=0.1)
    (check,) = decide(report, [limit]).checks
    assert check.outcome == "failed"
    assert check.value == 0.5


COMPARED = [
    {"cohort": "overall", "metric": "recall", "delta": 0.02, "low": -0.01, "high": 0.05, "support": 100}
    | {"btc": 0.97, "btc_low": 0.93, "btc_high": 0.99, "bec": 0.5, "bec_low": 0.3, "bec_high": 0.7},
    {"cohort": "sex=F", "metric": "recall", "delta": -0.2, "low": -0.3, "high": -0.1, "support": 100}
    | {"btc": None, "btc_low": None, "btc_high": None, "bec": None, "bec_low": None, "bec_high": None},
    {"cohort": "sex=M", "metric": "recall", "delta": 0.1, "low": 0.05, "high": 0.15, "support": 3}
    | {"btc": 1.0, "btc_low": 0.9, "btc_high": 1.0, "bec": 1.0, "bec_low": 0.9, "bec_high": 1.0},
]


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ({"metric": "recall", "at_least": -0.02}, ["passed"]),  # the whole interval of the delta is above
        ({"metric": "recall", "at_least": 0.0}, ["insufficient evidence"]),
        ({"metric": "recall", "at_least": 0.0, "must_show": "no_worse"}, ["passed"]),
        ({"metric": "recall", "every": ("sex",), "at_least": 0.0, "must_show": "no_worse"}, ["failed", "insufficient evidence"]),  # three rows show nothing
        ({"metric": "btc", "at_least": 0.9}, ["passed"]),
        ({"metric": "btc", "at_least": 0.95}, ["insufficient evidence"]),
        ({"metric": "btc", "cohort": "sex=F", "at_least": 0.1}, ["insufficient evidence"]),  # not published
        ({"metric": "bec", "at_most": 0.2}, ["failed"]),
        ({"metric": "accuracy", "at_least": 0.0}, ["insufficient evidence"]),  # not compared
    ],
)
def test_limits_against_production_read_the_paired_interval(limit, expected):
    """Deltas, BTC and BEC of the rows of a comparison, with too few rows as too little evidence."""
    against = {"production": Against("version 1", COMPARED, min_support=20)}
    decision = decide(Report(), [Limit(against="production", **limit)], against=against)
    assert [check.outcome for check in decision.checks] == expected


def test_a_limit_against_nothing_does_not_apply():
    """A first version has nothing to be held against: said, and passed; while choosing, the limit is left out."""
    limit = Limit(metric="btc", against="production", at_least=0.9)
    decision = decide(Report(), [limit], against={"production": Against("production", absent="nothing else is in production")})
    assert decision.passed
    assert "nothing else is in production, so the limit does not apply" in decision.checks[0].reason
    assert decide(Report(), [limit]).checks == ()


@pytest.mark.parametrize(
    ("fact", "limit", "expected"),
    [
        (Measured(0.2), {"at_most": 0.3}, "passed"),
        (Measured(0.4), {"at_most": 0.3}, "failed"),
        (Measured(None, "CodeCarbon was not there"), {"at_most": 0.3}, "insufficient evidence"),
    ],
)
def test_facts_are_exact_and_an_unknown_one_never_passes(fact, limit, expected):
    """What is counted has no interval; what is not known is insufficient evidence with the reason."""
    decision = decide(Report(), [Limit(fact="emissions_kg", **limit)], facts={"emissions_kg": fact})
    assert [check.outcome for check in decision.checks] == [expected]
    assert fact.note in decision.checks[0].reason


def test_support_of_every_cohort_may_be_bounded():
    """`fact: support` counts rows; a cohort whose size may not be told is insufficient."""
    assert [check.outcome for check in decide(Report(), [Limit(fact="support", every=("sex",), at_least=100)]).checks] == ["passed", "passed"]
    assert [check.outcome for check in decide(Report(), [Limit(fact="support", at_least=101)]).checks] == ["failed"]

    class Hidden(Report):
        def frame(self):
            return super().frame().assign(n=None)

    assert [check.outcome for check in decide(Hidden(), [Limit(fact="support", at_least=1)]).checks] == ["insufficient evidence"]


def test_a_waiver_lets_too_little_evidence_pass_until_its_day_and_nothing_else():
    """Insufficient evidence passes with a named waiver that still holds; a broken limit never does."""
    waiver = {"who": "Ada", "why": "too few rows until May", "until": "2026-05-31"}
    unclear, broken = Limit(metric="recall", at_least=0.5, waiver=waiver), Limit(metric="recall", at_least=0.9, waiver=waiver)
    assert decide(Report(), [unclear], today=dt.date(2026, 5, 31)).passed
    late = decide(Report(), [unclear], today=dt.date(2026, 6, 1))
    assert late.outcome == "insufficient evidence"
    assert "the waiver of Ada ended on 2026-05-31" in late.reasons[0]
    assert not decide(Report(), [unclear]).passed
    assert decide(Report(), [broken], today=dt.date(2026, 5, 1)).outcome == "failed"


def test_failed_outweighs_insufficient():
    """The outcome of the whole gate: one broken limit is a failure, whatever else is unclear."""
    unclear, broken, kept = (Limit(metric="recall", at_least=bound) for bound in (0.5, 0.9, 0.1))
    assert decide(Report(), [unclear, broken, kept]).outcome == "failed"
    assert decide(Report(), [unclear, kept]).outcome == "insufficient evidence"
    assert decide(Report(), [kept]).outcome == "passed"
    assert decide(Report(), []).outcome == "insufficient evidence"


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ({"at_most": 1}, "exactly one of `metric` and `fact`"),
        ({"metric": "mae", "fact": "support", "at_most": 1}, "exactly one of `metric` and `fact`"),
        ({"metric": "mae"}, "exactly one of `at_most` and `at_least`"),
        ({"metric": "btc", "at_least": 0.9}, "add `against: production`"),
        ({"metric": "mae", "gap": ["sex"], "against": "production", "at_most": 1}, "`against` goes with `cohort` or `every`"),
        ({"fact": "emissions_kg", "every": ["sex"], "at_most": 1}, "`fact: emissions_kg` goes with a bound alone"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(limit, message):
    """Each contradiction is named."""
    with pytest.raises(ValueError, match=message):
        Limit(**limit)

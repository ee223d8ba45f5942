"""A sweep: the product of listed steps, what is stopped early, the front, the budget, and one process or two."""

import numpy as np
import pandas as pd
import pytest

from tasks.core.candidate_spec import CandidateSpec
from tasks.core.case import Case
from tasks.core.errors import CaseError
from tasks.core.fitting import SECONDS
from tasks.core.searching import Ground, search, try_group
from tasks.core.sweep import Trial, front, groups, hopeless, needs_old_model, price, product, table

KINDS = {"x": "numeric", "job": "categorical", "sex": "categorical"}
SWEEP = {
    "estimator": [{"kind": "logistic"}, {"kind": "hist_gradient_boosting", "params": {"max_iter": 5}}],
    "pre": [[], [{"method": "reweighing", "by": ["sex"]}]],
    "post": [[], [{"method": "cohort_thresholds", "by": ["sex"]}]],
}


def case(sweep=SWEEP, **more):
    """A binary case with one candidate, the plain logistic, and a sweep."""
    return Case.model_validate(
        {
            "case": "loans",
            "purpose": "a test",
            "dataset": "loans",
            "task": "binary",
            "target": {"column": "y", "positive": 1},
            "features": ["x", "job"],
            "seed": 3,
            "periods": {"column": "when"},
            "candidates": [{"name": "baseline", "estimator": {"kind": "logistic"}}],
            "sweep": sweep,
            "cohorts": {"by": [["sex"]]},
            "metrics": {"primary": "accuracy"},
            "limits": [{"metric": "recall", "gap": ["sex"], "at_most": 0.2}],
            "carbon": {"country": "USA"},
            **more,
        }
    )


def ground(rows=600, **more):
    """Rows to fit and to judge on."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=rows), "job": rng.choice(["a", "b"], rows), "sex": rng.choice(["F", "M"], rows)})
    y = pd.Series((frame["x"] + (frame["sex"] == "M") + rng.normal(size=rows) > 0.5).astype(int))
    half = rows // 2
    return Ground(case(**more), KINDS, (frame[:half], y[:half]), (frame[half:], y[half:]))


def run(where, specs, workers=1, spent=lambda: None):
    """The search, and what it said."""
    said = []
    return search(where, specs, workers=workers, spent=spent, said=said.append), said


def test_the_product_is_every_combination_once_under_a_name_of_its_own():
    """Two estimators, two lists before and two after are eight; the one that the case has already is left out; names say what they are."""
    found = product(case())
    assert [spec.name for spec in found] == [
        "logistic-cohort_thresholds",
        "logistic-reweighing",
        "logistic-reweighing-cohort_thresholds",
        "hist_gradient_boosting",
        "hist_gradient_boosting-cohort_thresholds",
        "hist_gradient_boosting-reweighing",
        "hist_gradient_boosting-reweighing-cohort_thresholds",
    ]
    strengths = [{"method": "backward_compatible", "params": {"strength": strength}} for strength in (0.5, 1.0)]
    more = product(case(SWEEP | {"estimator": [{"kind": "logistic"}], "pre": [[]], "post": [[]], "in": strengths}))
    assert [spec.name for spec in more] == ["logistic-backward_compatible", "logistic-backward_compatible-2"]
    assert len(product(case(SWEEP | {"candidates": 3}))) == 3
    assert needs_old_model(case(), True)
    assert not needs_old_model(case(), False)


def test_a_case_without_a_sweep_says_how_to_write_one():
    """`--sweep` on a case that lists nothing is answered with where to write it."""
    with pytest.raises(CaseError, match=r"configs/loans\.yaml: there is no `sweep`.*docs/mitigation\.md"):
        product(case(None))


def test_what_begins_alike_goes_together():
    """Candidates that share their first step are one group, since what they share is fitted once by one process."""
    found = [[spec.name for spec in group] for group in groups(product(case()))]
    assert sorted(map(len, found)) == [1, 2, 4]
    assert [name for name in found[0] if name.startswith("logistic")] == ["logistic-reweighing", "logistic-reweighing-cohort_thresholds"]


def test_a_shared_beginning_is_fitted_once(monkeypatch):
    """Two candidates that differ after fitting alone fit their estimator once between them, and its seconds count for both."""
    from sklearn.linear_model import LogisticRegression

    fits = []
    plain = LogisticRegression.fit

    def counted(self, X, y, sample_weight=None):
        fits.append(1)
        return plain(self, X, y, sample_weight)

    monkeypatch.setattr(LogisticRegression, "fit", counted)
    specs = [spec for spec in product(case()) if spec.name.startswith("logistic-reweighing")]
    found = try_group(ground(), specs)
    assert len(fits) == 1
    assert [one.trial.outcome for one in found] == ["finished", "finished"]
    assert SECONDS == "seconds"
    assert all(one.trial.objectives["seconds"][0] > 0 for one in found)


def test_two_processes_find_what_one_finds():
    """Reports and predictions are the same, and in the order asked, whether candidates are fitted here or by two processes."""
    where, specs = ground(), product(case())
    (one, _), (two, said) = run(where, specs), run(where, specs, workers=2)
    assert [found.trial.spec.name for found in two] == [spec.name for spec in specs]
    for mine, theirs in zip(one, two, strict=True):
        pd.testing.assert_frame_equal(mine.report.frame(), theirs.report.frame())
        np.testing.assert_array_equal(mine.candidate.predict(where.validation[0]), theirs.candidate.predict(where.validation[0]))
    assert said[-1] == "7 of 7 candidates fitted"


def test_what_cannot_be_fitted_is_refused_and_the_rest_goes_on():
    """A combination that makes no sense is a row with its reason, not the end of the sweep."""
    sweep = SWEEP | {"in": [None, {"method": "exponentiated_gradient", "by": ["sex"], "constraint": "demographic_parity", "params": {"max_iter": 2}}]}
    found, _ = run(ground(sweep=sweep), product(case(sweep)))
    refused = {one.trial.spec.name: one.trial.reason for one in found if one.trial.outcome == "refused"}
    assert refused
    assert all("reweighing" in name and "exponentiated_gradient" in name for name in refused)
    assert all("takes no weights" in reason for reason in refused.values())
    assert len(refused) < len(found)


def test_a_budget_that_is_used_up_stops_what_has_not_begun():
    """After the first group the budget is gone: the others are told as not begun, with the budget's words."""
    asked = []

    def spent():
        asked.append(1)
        return None if len(asked) == 1 else "the budget of 1 minutes was used up"

    found, _ = run(ground(), product(case()), spent=spent)
    outcomes = {one.trial.spec.name: one.trial for one in found}
    assert sum(trial.outcome == "finished" for trial in outcomes.values()) == 4  # the largest group goes first
    assert {trial.reason for trial in outcomes.values() if trial.outcome == "not begun"} == {"the budget of 1 minutes was used up"}


def trial(name, performance, worst, gap, outcome="finished", seconds=1.0):
    """A trial with intervals of 0.01 on either side."""
    values = {"performance": performance, "worst_cohort": worst, "gap": gap}
    known = {what: (value, value - 0.01, value + 0.01) for what, value in values.items()}
    spec = CandidateSpec.model_validate({"name": name, "estimator": {"kind": "logistic"}})
    return Trial(spec, outcome, known | {"seconds": (seconds, seconds, seconds)})


def test_only_what_is_clearly_beaten_in_everything_is_stopped():
    """Worse by more than both intervals in all three is out; worse within the intervals, or better in one, is not."""
    best, close, fairer, worst = trial("best", 0.9, 0.8, 0.05), trial("close", 0.89, 0.79, 0.06), trial("fairer", 0.8, 0.7, 0.01), trial("worst", 0.8, 0.7, 0.2)
    assert hopeless(case(), [best, close, fairer, worst]) == {"worst": "best is clearly better in performance, worst_cohort, gap on a sample"}


def test_the_front_is_what_nothing_else_beats():
    """By hand: the best, the fairest and the quickest are on it; what another equals or beats in everything is not; nor what was stopped."""
    found = [trial("best", 0.9, 0.8, 0.1), trial("fairest", 0.8, 0.7, 0.01), trial("quick", 0.7, 0.6, 0.2, seconds=0.1), trial("beaten", 0.85, 0.75, 0.12)]
    found.append(trial("stopped", 0.99, 0.99, 0.0, outcome="stopped early"))
    assert front(case(), found) == {"best", "fairest", "quick"}
    frame = table(case(), found, 1e-6)
    assert frame["candidate"].tolist() == ["best", "fairest", "quick", "stopped", "beaten"]
    assert frame.set_index("candidate").loc["best", "kg_co2e"] == pytest.approx(1e-6)
    assert "gives up 0.1 of accuracy against best" in price(case(), found, "fairest")
    assert "no other of 4 has a better accuracy" in price(case(), found, "best")


def test_a_sample_is_drawn_only_from_many_rows():
    """Under 8,000 training rows all are fitted at once; from there on a quarter comes first, the same rows each time."""
    assert ground().sample() is None
    big = ground(rows=16_000)
    sample = big.sample()
    assert len(sample.train[0]) == 2000
    assert sample.train[0].index.equals(big.sample().train[0].index)
    found, said = run(big, [spec for spec in product(case()) if "boosting" not in spec.name])
    assert any("on a sample" in line for line in said)
    assert {one.trial.outcome for one in found} <= {"finished", "stopped early"}

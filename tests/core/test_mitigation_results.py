"""What docs/mitigation-results.md says of the mitigation steps: the quick part done again, the rest read from its tables."""

import re

import numpy as np
import pytest

from tasks.core.catalogue import RiskFlag
from tasks.core.proxies import check_proxies
from tasks.io.documents import load_dataset
from tasks.io.home import PROJECT
from tests.benchmarks import bench_results as bench
from tests.benchmarks import results_adult as adult
from tests.benchmarks import results_boston as boston
from tests.benchmarks import results_promises as promises
from tests.benchmarks import results_rebalancing as rebalanced

# Accuracy on all as the published notebooks have it, and as wide around it as seeds of the sampler and readings of numbers move it.
PUBLISHED = {
    rebalanced.AS_TEXT: (0.785, 0.81),
    "all, to parity": (0.82, 0.84),
    "married, 24,463 a class": (0.835, 0.86),
    "both, married 24,463 a class": (0.78, 0.81),
}


def page(section):
    """The cells of a section's table in the page, row by row, the heading left out."""
    text = bench.PAGE.read_text(encoding="utf-8")
    content = re.search(rf"(?s)<!-- {section} -->\n(.*?)<!-- end of {section} -->", text)[1]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in content.splitlines() if line.startswith("|")]
    assert rows[0] == list(bench.SECTIONS[section][1])
    return rows[2:]


def first(cell):
    """The number that a cell begins with."""
    return float(re.match(r"[+−]?[\d.]+(e−\d+)?", cell)[0].replace("−", "-"))


def test_rebalancing_gives_the_published_accuracies():
    """With five trees: .79 as it is and numbers read as text, .82 to .83 all evened out, .85 the married alone, .79 to .80 both."""
    pytest.importorskip("lightgbm")
    found = rebalanced.rebalancing_models(rebalanced.smote, only=(rebalanced.AS_TEXT, "all, to parity"))
    found |= rebalanced.rebalancing_models(rebalanced.drawn, only=("married, 24,463 a class", "both, married 24,463 a class"))
    for name, (low, high) in PUBLISHED.items():
        assert low <= adult.accuracy(found[name]) <= high, name


def test_the_page_has_the_published_accuracies_for_each_cohort():
    """The page's table tells all three cohorts of each model, its overall accuracies are the published ones, and deltas carry intervals."""
    rows = page("rebalancing")
    assert [row[1] for row in rows] == ["overall", "Married", "Not married"] * (len(rows) // 3)
    overall = {row[0]: first(row[3]) for row in rows if row[1] == "overall"}
    assert all(low <= overall[name] <= high for name, (low, high) in PUBLISHED.items())
    assert all(" to " in cell for row in rows for cell in (row[4], row[6], row[8]) if row[0] != rebalanced.PLAIN)
    assert {row[0]: row[1] for row in page("libraries")}[rebalanced.AS_TEXT] == ".79"


@pytest.mark.parametrize("data", [promises.german, lambda: (adult.part("train")["sex"].to_numpy(dtype=object), adult.earns(adult.part("train")).to_numpy())])
def test_reweighing_leaves_no_weighted_mean_difference(data):
    """Under its weights the groups' shares of positives differ by less than 1e-12, and by more than a tenth without."""
    before, after = promises.mean_differences(*data())
    assert before > 0.1
    assert after < 1e-12


def test_constraints_are_met_on_the_rows_they_were_fitted_on():
    """Thresholds meet equalized odds exactly on validation, the mixture demographic parity within eps of the whole on train."""
    before, after = promises.threshold_optimizer("equalized_odds", ("sex",))
    assert before > 0.2
    assert after < 1e-9
    before, after = promises.exponentiated_gradient("demographic_parity", ("sex",), max_iter=10)
    assert before > 0.15
    assert after <= 2 * promises.EPS


@pytest.mark.parametrize("by", ["LSTAT", "B"])
def test_bias_correction_leaves_no_mean_error_on_validation(by):
    """Each cohort's mean error on validation is 0 after the correction."""
    before, after = boston.bias(by, boston.LINEAR)
    assert before > 0.1
    assert after < 1e-9


def test_every_promise_in_the_page_is_kept():
    """No figure after a step is above what the step promises."""
    rows = page("promises")
    assert {row[0].strip("`") for row in rows} == {"reweighing", "threshold_optimizer", "exponentiated_gradient", "cohort_bias_correction"}
    assert all(first(row[4]) <= first(row[5]) < first(row[3]) for row in rows)


def test_three_cheap_remedies_halve_the_odds_difference_on_test():
    """On test rows three remedies cut the sexes' equalized odds difference by half or more, for under two points of accuracy."""
    cheap = ("reject_option", "threshold_optimizer, recall", "disparate_impact_remover")
    models = {name: test for name, (_, test) in adult.fairness_models("logistic", 11, only=cheap).items()}
    plain = models.pop(adult.PLAIN)
    assert adult.odds_difference(plain) > 0.1
    assert set(models) == set(cheap)
    for name, test in models.items():
        assert adult.halved(plain, test), name
        share, low, high = adult.cut(plain, test)
        assert low < share < high
        assert low > 0.25, name
        assert share == pytest.approx(1 - adult.odds_difference(test) / adult.odds_difference(plain))
    held = {row[0]: row[-1] for row in page("fairness")}
    assert all(held[f"logistic, {name}"].endswith("yes") for name in cheap)
    assert sum(cell.endswith("yes") for cell in held.values()) >= 3


def test_boston_looks_at_its_people_and_does_not_predict_from_them():
    """LSTAT and B are sensitive and no features; the check suspects that the features together tell LSTAT, as the page says."""
    dataset = load_dataset("boston", PROJECT)
    assert set(dataset.flagged(RiskFlag.SENSITIVE)) == {"B", "LSTAT"}
    assert not {"B", "LSTAT"} & set(boston.case().features)
    findings = check_proxies(boston.case(), dataset, boston.tracts())
    assert ["LSTAT" in finding.message and "All features together" in finding.message for finding in findings] == [True]
    assert [row[:2] for row in page("proxies") if row[3] == "yes"] == [["LSTAT", "all features together"]]


def test_the_page_has_the_gaps_of_every_remedy_on_boston():
    """The rows of the linear models are in the page as they come out now; each gap has its interval."""
    rows = page("boston")
    now = [[shown(row) for shown in bench.SECTIONS["boston"][1].values()] for row in boston.boston({"linear": boston.LINEAR}, quick=True)]
    assert len(now) == 6
    assert [row for row in now if row not in rows] == []
    assert {name for row in rows for name in [row[0].partition(", ")[2]]} >= set(boston.levelling(boston.LINEAR))
    assert all(re.fullmatch(r"[\d.]+ \([\d.]+ to [\d.]+\)", cell) for row in rows for cell in row[3:])


def test_a_stronger_penalty_keeps_more_of_what_the_old_model_told_rightly():
    """Backward trust compatibility rises with the strength for half a point of accuracy at most; strength 0 is plain fitting."""
    rows = list(adult.retrained(2_000, "strict_imitation", (0, 2, 16), adult.LOGISTIC))
    assert np.all(np.diff([row["btc"] for row in rows]) > 0.003)
    assert max(row["accuracy"] for row in rows) - min(row["accuracy"] for row in rows) < 0.005
    plain = adult.told(adult.fitted({"estimator": adult.LOGISTIC}, adult.case(*adult.WIDE), adult.part("train")), adult.part("test"))
    assert rows[0]["accuracy"] == adult.accuracy(plain)


def test_the_page_s_curve_rises_to_more_compatibility():
    """For each old model and penalty the table begins with plain fitting, and the strongest penalty is more compatible."""
    rows = page("backward")
    for old in dict.fromkeys(row[0] for row in rows):
        for penalty in ("new_error", "strict_imitation"):
            line = [row for row in rows if row[:2] == [old, penalty]]
            assert [first(row[2]) for row in line] == list(adult.STRENGTHS)
            assert first(line[-1][5]) > first(line[0][5]) + 0.005
    assert bench.PICTURE.name in bench.PAGE.read_text(encoding="utf-8")


def test_tables_are_written_between_their_markers_and_nowhere_else():
    """Each section's markers are in the page once; writing changes what is between them only, and a page without them is refused."""
    text = bench.PAGE.read_text(encoding="utf-8")
    for section in bench.SECTIONS:
        new = bench.written(text, section, "| new |")
        assert new.replace("| new |", "") == re.sub(rf"(?s)(<!-- {section} -->\n).*?(\n<!-- end of {section} -->)", r"\1\2", text)
    with pytest.raises(SystemExit, match="boston 0 times"):
        bench.written("nothing", "boston", "| new |")

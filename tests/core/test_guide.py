"""The fairness guide: the tree, the questionnaire and the mapping lead where their sources lead, and every name is the same everywhere."""

import json
from typing import get_args

import pytest
import yaml
from pydantic import ValidationError

from tasks.core.building import METHODS
from tasks.core.candidate_spec import InMethod, PostMethod, PreMethod
from tasks.core.case import Limit
from tasks.core.errors import CaseError
from tasks.core.guide import advise, describe, next_question, proposals, remedies
from tasks.core.guide_data import Guide, load_guide
from tasks.core.metrics import BY_TASK, METRICS

GUIDE = load_guide()
GROUPS = {"who": "groups", "standard": "no", "base_rates": "alike"}
TRUSTED = {"task": "binary", "labels": "trusted", **GROUPS}
RATES = {**TRUSTED, "harm": "rates"}
ALLOCATION = {**TRUSTED, "harm": "allocation"}


def names(answers):
    return [one.metric.name for one in advise(answers).fitting]


def paths(known=None):
    """Every complete set of answers that the questions allow."""
    known = known or {}
    question = next_question(known)
    if question is None:
        yield known
        return
    for answer in question.answers:
        yield from paths(known | {question.id: answer.id})


# The leaves of the 2022 tree: answers on the way, and the metrics it names.
TREE = [
    ({"task": "binary", "who": "individuals", "similarity": "yes"}, ["fairness_through_awareness"]),
    ({"task": "binary", "who": "individuals", "similarity": "no"}, []),
    ({"task": "binary", "who": "groups", "standard": "yes", "base_rates": "alike"}, ["statistical_parity"]),
    ({"task": "binary", "labels": "none", "explanatory": "yes", **GROUPS}, ["conditional_statistical_parity"]),
    ({"task": "binary", "labels": "none", "explanatory": "no", **GROUPS}, ["statistical_parity"]),
    ({**RATES, "focus": "both"}, ["overall_accuracy_equality"]),
    ({**RATES, "focus": "recall", "threshold": "fixed", "errors": "false_negatives"}, ["equal_opportunity"]),
    ({**RATES, "focus": "recall", "threshold": "fixed", "errors": "false_positives"}, ["predictive_equality"]),
    ({**RATES, "focus": "recall", "threshold": "fixed", "errors": "both"}, ["equalized_odds"]),
    ({**RATES, "focus": "recall", "threshold": "floating", "errors": "false_negatives"}, ["balance_for_positive_class"]),
    ({**RATES, "focus": "recall", "threshold": "floating", "errors": "false_positives"}, ["balance_for_negative_class"]),
    ({**RATES, "focus": "recall", "threshold": "floating", "errors": "both"}, ["overall_balance"]),
    ({**RATES, "focus": "precision", "threshold": "fixed", "errors": "false_negatives"}, ["negative_predictive_parity"]),
    ({**RATES, "focus": "precision", "threshold": "fixed", "errors": "false_positives"}, ["predictive_parity"]),
    ({**RATES, "focus": "precision", "threshold": "fixed", "errors": "both"}, ["conditional_use_accuracy_equality"]),
    ({**RATES, "focus": "precision", "threshold": "floating"}, ["calibration", "well_calibration"]),
]

# The questionnaire's table: what a positive decision does, whether it is rationed, and the metrics on decisions and on scores.
TABLE = [
    ("assistive", "rationed", ["negative_predictive_parity"], None),
    ("assistive", "not_rationed", ["equal_opportunity"], ["balance_for_positive_class"]),
    ("punitive", "rationed", ["predictive_parity"], ["calibration", "well_calibration"]),
    ("punitive", "not_rationed", ["predictive_equality"], ["balance_for_negative_class"]),
    ("neither", "rationed", ["conditional_use_accuracy_equality"], None),
    ("neither", "not_rationed", ["equalized_odds"], ["overall_balance"]),
]
CELLS = [
    ({**ALLOCATION, "intervention": intervention, "resource": resource, "threshold": threshold}, wanted)
    for intervention, resource, fixed, floating in TABLE
    for threshold, wanted in (("fixed", fixed), ("floating", floating))
    if wanted is not None
]

# What EqualityAI's mapping lists for each metric, by its own names for methods.
LISTED = {
    "statistical_parity": {"reductions", "fairness constraints", "resampling", "reweighing", "disparate impact remover"},
    "conditional_statistical_parity": {"disparate impact remover"},
    "equal_opportunity": {"reductions", "fairness without disparate mistreatment", "constrained empirical risk minimisation"},
    "equalized_odds": {"reductions", "penalised unfairness"},
    "predictive_equality": {"fairness without disparate mistreatment"},
    "predictive_parity": {"fairness without disparate mistreatment"},
    "negative_predictive_parity": {"fairness without disparate mistreatment"},
    "balance_for_positive_class": {"reductions", "constrained empirical risk minimisation"},
    "balance_for_negative_class": {"reductions"},
    "overall_balance": {"reductions"},
    "overall_accuracy_equality": {"reductions"},
    "fairness_through_awareness": {"fairness through awareness"},
    "conditional_use_accuracy_equality": set(),
    "calibration": set(),
    "well_calibration": set(),
}
STAGE_LISTED = {"resampling": "pre", "reweighing": "pre", "disparate impact remover": "pre"}  # all others work in fitting


@pytest.mark.parametrize(("answers", "wanted"), TREE)
def test_each_path_of_the_tree_ends_where_it_ended(answers, wanted):
    """The tree's answers lead to the tree's metric, and to no other."""
    assert names(answers) == wanted


@pytest.mark.parametrize(("answers", "wanted"), CELLS)
def test_each_cell_of_the_questionnaire_names_its_metrics(answers, wanted):
    """What a decision does and whether it is rationed lead to the table's metric, on decisions and on scores."""
    assert names(answers) == wanted


@pytest.mark.parametrize("intervention", ["assistive", "neither"])
def test_rationed_scores_take_the_trees_answer_where_the_table_has_none(intervention):
    """For rationed scores that are not punitive the table is silent, and the tree's floating precision holds."""
    assert names({**ALLOCATION, "intervention": intervention, "resource": "rationed", "threshold": "floating"}) == ["calibration", "well_calibration"]


@pytest.mark.parametrize(("answers", "wanted"), [case for case in CELLS if case[0]["threshold"] == "fixed"])
@pytest.mark.parametrize(("explanatory", "first"), [("no", "statistical_parity"), ("yes", "conditional_statistical_parity")])
def test_doubtful_labels_add_statistical_parity_to_the_table(answers, wanted, explanatory, first):
    """Where labels are subjective, a proxy or biased, (conditional) statistical parity comes first, the table's metric after it, with a remark."""
    advice = advise({**answers, "labels": "doubtful", "explanatory": explanatory})
    assert [one.metric.name for one in advice.fitting] == [first, *wanted]
    assert "as wrong as those are" in advice.remarks[0]


@pytest.mark.parametrize(
    ("answers", "wanted"),
    [
        ({"standard": "yes"}, ["mean_prediction_parity"]),
        ({"labels": "none", "explanatory": "no"}, ["mean_prediction_parity"]),
        ({"labels": "none", "explanatory": "yes"}, ["conditional_mean_prediction_parity"]),
        ({"labels": "trusted", "deviation": "direction"}, ["mean_error_parity"]),
        ({"labels": "trusted", "deviation": "size"}, ["error_parity"]),
        ({"labels": "trusted", "deviation": "worst"}, ["bounded_group_loss"]),
        ({"labels": "doubtful", "explanatory": "no", "deviation": "size"}, ["mean_prediction_parity", "error_parity"]),
    ],
)
def test_regression_has_its_own_leaves(answers, wanted):
    """A number is led to equal mean predictions, mean errors, sizes of error, or a bound on each group's loss."""
    assert names({**GROUPS, "task": "regression", **answers}) == wanted


def test_the_harm_of_worse_service_is_every_error_alike():
    """`quality` implies that recall and precision matter alike, and says so on the path."""
    advice = advise({**TRUSTED, "harm": "quality"})
    assert [one.metric.name for one in advice.fitting] == ["overall_accuracy_equality"]
    assert [(step.question, step.implied_by) for step in advice.path if step.implied_by] == [("focus", "harm")]
    assert "the harm is worse service; so recall and precision matter alike" in advice.because


def test_every_path_ends_in_advice_and_every_metric_is_reached():
    """No set of answers leads nowhere: each names a metric or says why none can be, and each metric of the mapping is on some path."""
    reached = set()
    for answers in paths():
        advice = advise(answers)
        assert advice.fitting or advice.remarks, answers
        assert all(one.why and advice.task in one.metric.tasks for one in advice.fitting)
        json.dumps(advice.to_dict(["sex"]), allow_nan=False)
        reached |= {one.metric.name for one in advice.fitting}
    assert reached == {one.name for one in GUIDE.metrics}


def test_questionnaire_and_tree_agree():
    """Whoever answers about use and whoever answers about rates, alike, is told the same."""
    sense = {"rationed": "precision", "not_rationed": "recall", "assistive": "false_negatives", "punitive": "false_positives", "neither": "both"}
    for answers in paths():
        if answers.get("harm") == "allocation":
            asked = {**answers, "harm": "rates", "focus": sense[answers["resource"]], "errors": sense[answers["intervention"]]}
            if (asked["focus"], asked["threshold"]) == ("precision", "floating"):
                del asked["errors"]
            assert names(answers) == names({name: value for name, value in asked.items() if name not in ("resource", "intervention")})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labls": "trusted"}, r"'labls' is not a question of the guide\. Did you mean `labels`\?"),
        ({"labels": "trustd"}, r"'trustd' is not an answer to `labels`\. Did you mean `trusted`\?"),
        ({"labels": "zzz"}, r"Answer `trusted`, `doubtful` or `none`\."),
        ({"labels": True}, r"True is not an answer to `labels`"),
        ({"labels": ["trusted"]}, r"\['trusted'\] is not an answer to `labels`"),
        ({"labels": {"trusted": None}}, r"is not an answer to `labels`"),
        ({"labels": None}, r"None is not an answer to `labels`"),
        ({1: "x"}, r"1 is not a question"),
        ({"\x1b[31m" + "x" * 10_000: "x"}, r"'\\x1b\[31m"),
        ({"similarity": "yes"}, r"`similarity` is answered, and these answers do not lead to it\. Remove it"),
        ({"focus": "precision"}, r"`focus` is answered, and these answers do not lead to it \(its answer is `recall`, from the others\)"),
    ],
)
def test_a_wrong_answer_is_refused_with_the_way_out(change, message):
    """Unknown questions and answers, answers of another kind, and answers that nobody asked for are errors, short and without raw control characters."""
    answers = {**ALLOCATION, "intervention": "assistive", "resource": "not_rationed", "threshold": "fixed"}
    with pytest.raises(CaseError, match=message) as caught:
        advise(answers | change, where="mine.yaml")
    assert str(caught.value).startswith("mine.yaml: ")
    assert len(str(caught.value)) < 400
    assert "\x1b" not in str(caught.value)


def test_a_missing_answer_says_which_question_and_what_may_be_answered():
    """An answers file that stops half-way is told the next question and its allowed answers."""
    answers = {"task": "binary", "who": "groups", "standard": "no"}
    with pytest.raises(CaseError, match=r"`labels` is not answered: Can the recorded outcomes be trusted\? Answer `trusted`, `doubtful` or `none`\."):
        advise(answers)
    assert next_question(answers).id == "labels"


def test_impossibility_depends_on_base_rates():
    """Calibration against balance is stated where base rates differ, with an if where that is not known, and not at all where they are alike."""
    leaf = {**RATES, "focus": "precision", "threshold": "floating"}
    for base_rates, wanted in (("differ", ["base rates differ"]), ("unknown", ["if base rates differ"]), ("alike", [])):
        found = advise({**leaf, "base_rates": base_rates})
        assert [when for when, _ in found.impossible] == wanted
        assert all(one.source == "kleinberg_2017" for _, one in found.impossible)


@pytest.mark.parametrize(
    ("metric", "sources"),
    [
        ("predictive_parity", {"chouldechova_2017"}),
        ("equalized_odds", {"kleinberg_2017", "chouldechova_2017", "barocas_2019"}),
        ("statistical_parity", {"barocas_2019"}),
        ("overall_accuracy_equality", set()),
        ("mean_error_parity", {"ours"}),
    ],
)
def test_each_metric_has_the_impossibilities_that_name_it(metric, sources):
    """What a metric excludes is the published result about it."""
    assert {one.source for one in GUIDE.impossibilities if metric in one.metrics} == sources


def rates(recall, false_positive_rate, base_rate):
    """Precision and selection rate that follow from the error rates, by counting."""
    selected = recall * base_rate + false_positive_rate * (1 - base_rate)
    return recall * base_rate / selected, selected


def test_the_stated_impossibilities_hold_in_numbers():
    """With equal error rates and base rates of 0.2 and 0.5, precision and selection rate differ, save where the statement says they need not."""
    (low, fewer), (high, more) = rates(0.8, 0.1, 0.2), rates(0.8, 0.1, 0.5)
    assert low == pytest.approx(2 / 3)
    assert high == pytest.approx(8 / 9)
    assert (fewer, more) == pytest.approx((0.24, 0.45))
    assert rates(0.8, 0.0, 0.2)[0] == rates(0.8, 0.0, 0.5)[0] == 1  # "unless one kind of error never happens"
    assert rates(0.3, 0.3, 0.2)[1] == pytest.approx(rates(0.3, 0.3, 0.5)[1])  # "where recall equals the false positive rate"


@pytest.mark.parametrize("metric", LISTED)
def test_the_mapping_lists_what_equalityai_lists(metric):
    """For each of its metrics the methods listed there are marked, at their stage, and no others are."""
    listed = [(GUIDE.method(move.method).listed_as, GUIDE.method(move.method).stage) for move in GUIDE.metric(metric).moves if move.listed]
    assert {name for name, _ in listed} == LISTED[metric]
    assert all(stage == STAGE_LISTED.get(name, "in") for name, stage in listed)


def test_only_equalityais_metrics_have_listed_methods():
    """What is ours alone is not passed off as listed there."""
    assert {one.name for one in GUIDE.metrics if any(move.listed for move in one.moves)} == {name for name, methods in LISTED.items() if methods}
    assert not set(LISTED) - {one.name for one in GUIDE.metrics}


def test_the_mapping_goes_on_where_equalityai_stops():
    """Each group metric has a method after fitting or is told to have none, and no metric is left without any method of ours."""
    without_post = {one.name for one in GUIDE.metrics if not any(GUIDE.method(move.method).stage == "post" for move in one.moves)}
    assert without_post == {
        "conditional_statistical_parity",
        "fairness_through_awareness",
        "mean_prediction_parity",
        "conditional_mean_prediction_parity",
        "bounded_group_loss",
    }
    for one in GUIDE.metrics:
        assert any(GUIDE.method(move.method).ours for move in one.moves), one.name


def test_the_methods_are_those_of_issue_4():
    """The mapping names every method that Equipoise has or is to have, and each moves something."""
    ours = {one.name for one in GUIDE.methods if one.ours}
    assert ours == {
        *("reweighing", "disparate_impact_remover", "correlation_remover", "resampling", "prototype_representation", "rebalance"),
        *("exponentiated_gradient", "grid_search", "decoupled"),
        *("threshold_optimizer", "reject_option", "calibrated_equalized_odds", "cohort_calibration", "cohort_thresholds"),
        *("cohort_bias_correction", "quantile_mapping"),
    }
    assert {move.method for one in GUIDE.metrics for move in one.moves} == {one.name for one in GUIDE.methods}


def test_every_case_method_is_in_the_mapping():
    """Whatever method a case can name, the guide tells what it moves, under the same name."""
    fairness = {*get_args(InMethod), *get_args(PostMethod)} | {
        "reweighing",
        "resampling",
        "disparate_impact_remover",
        "correlation_remover",
        "prototype_representation",
    }
    assert fairness - {"cohort_models", "backward_compatible", "joint_thresholds"} <= {one.name for one in GUIDE.methods if one.ours}


@pytest.mark.parametrize("metric", [one.name for one in GUIDE.metrics])
def test_every_measurement_and_limit_is_equipoises_own(metric):
    """What a metric is measured as exists for its task, as a figure or as a summary; its limits are valid in a case and bound figures, since
    the gate knows no gap of a summary's cohorts."""
    chosen = GUIDE.metric(metric)
    for task in chosen.tasks:
        described = describe(chosen, task, ["sex"])
        for reading in described["measured"]:
            assert (reading["read"] == "summary") == bool(BY_TASK[task, reading["metric"]].summary_of)
        for limit in described["limits"]:
            assert not BY_TASK[task, limit["metric"]].summary_of
            Limit.model_validate(limit | {"at_most": 1.0 if limit["at_most"] is None else limit["at_most"]})


def test_what_cannot_be_measured_is_still_so():
    """The guide says what is missing only while it is: once the table of metrics has the mean score by outcome, these entries must go."""
    silent = {one.name for one in GUIDE.metrics if not one.measured}
    assert silent == {
        "fairness_through_awareness",
        *("balance_for_positive_class", "balance_for_negative_class", "overall_balance"),
    }
    assert not {"mean_score_positive", "mean_score_negative"} & set(METRICS)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("equal_opportunity", "equal_opportunity"),
        ("recall", "equal_opportunity"),
        ("true_positive_rate_parity", "equal_opportunity"),
        ("Demographic-Parity", "statistical_parity"),
        ("demographic parity difference", "statistical_parity"),
        ("selection_rate", "statistical_parity"),
        ("false_positive_rate", "predictive_equality"),
        ("equalized_odds_difference", "equalized_odds"),
        ("precision", "predictive_parity"),
        ("accuracy", "overall_accuracy_equality"),
        ("mae", "error_parity"),
        ("calibration_within_groups", "well_calibration"),
    ],
)
def test_a_metric_answers_to_its_other_names(name, wanted):
    """Equipoise's, fairlearn's and the literature's names lead to the same entry, however they are written."""
    assert GUIDE.metric(name).name == wanted


def test_every_fairness_summary_of_equipoise_is_a_name_in_the_guide():
    """Whoever knows a summary from a report finds it here."""
    for name in {metric.name for metric in BY_TASK.values() if metric.summary_of}:
        assert GUIDE.metric(name)


@pytest.mark.parametrize(("name", "fix"), [("equal_oportunity", "Did you mean `equal_opportunity`?"), ("zzz", "There are: balance_for_negative_class")])
def test_an_unknown_metric_is_answered_with_the_nearest(name, fix):
    """A misspelled metric names the right one; a strange one lists them."""
    with pytest.raises(CaseError) as caught:
        remedies(name)
    assert fix in str(caught.value)


@pytest.mark.parametrize(("metric", "task"), [(one.name, task) for one in GUIDE.metrics for task in one.tasks])
def test_proposals_exist_fit_and_differ(metric, task):
    """At most four, for the task, each with a method and constraint that the case's schema and the method itself accept."""
    found = proposals([metric], task)
    assert len(found) <= 4
    assert len({(one.method.name, one.move.constraint) for one in found}) == len(found)
    for one in found:
        method = METHODS[one.method.name]
        remedy = getattr(method, "step", method)
        assert task in remedy.tasks
        assert (one.move.constraint in remedy.constraints[task]) if remedy.constraints else one.move.constraint is None


def test_proposals_take_turns_between_metrics():
    """Each of two metrics gets its most direct method before either gets a second, and a method comes twice only when no other is left."""
    found = [(one.method.name, one.move.constraint) for one in proposals(["statistical_parity", "equal_opportunity"], "binary")]
    assert found[:2] == [("reweighing", None), ("exponentiated_gradient", "true_positive_rate_parity")]
    assert len({method for method, _ in found}) == len(found) == 4
    assert proposals([], "binary") == ()


def test_the_mapping_says_what_a_case_can_name():
    """A method is available when the case's schema has its name and its constraint; EqualityAI's own others never are, and point to ours."""
    known = {*get_args(PreMethod), *get_args(InMethod), *get_args(PostMethod)}
    for one in GUIDE.metrics:
        for remedy in remedies(one.name):
            shown = remedy.to_dict()
            assert not shown["in_equipoise"] or shown["method"] in known
            assert remedy.method.ours or not shown["in_equipoise"]
            assert shown["sources"]
    assert remedies("equalized_odds")[0].to_dict()["in_equipoise"] is True


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["rules"][0].update(metrics=["equal_opportunty"]), "there is no metric equal_opportunty"),
        (lambda d: d["metrics"][0]["moves"][0].update(method="reweighting"), "there is no method reweighting"),
        (lambda d: d["metrics"][0].update(sources=["nobody_1999"]), "there is no source nobody_1999"),
        (lambda d: d["rules"][0]["when"].update(similarity="perhaps"), "there is no answer similarity: perhaps"),
        (lambda d: d["questions"][2].update(when=[{"harm": ["rates"]}]), "there is no question before harm"),
        (lambda d: d["metrics"][1]["also"].append("recall"), "a metric is named twice: recall"),
        (lambda d: d["metrics"][0].update(colour="red"), "Extra inputs are not permitted"),
        (lambda d: d["metrics"][0].update(measured=[]), "is neither measured nor said not to be"),
    ],
)
def test_a_guide_that_contradicts_itself_does_not_load(change, message):
    """Tree and mapping cannot drift apart: a name that one has and the other lacks is refused when the data is read."""
    from tasks.core import guide_data

    document = yaml.safe_load(guide_data.files("tasks.core").joinpath("assets/guide.yaml").read_text(encoding="utf-8"))
    change(document)
    with pytest.raises(ValidationError, match=message):
        Guide.model_validate(document)

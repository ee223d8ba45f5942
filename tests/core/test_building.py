"""From what a case states to a candidate: every method by name, and what is refused before anything is fitted."""

import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from sklearn.base import clone

from tasks.core.building import METHODS, build
from tasks.core.candidate_spec import InMethod, PostMethod, PreMethod
from tasks.core.candidates import Candidate
from tasks.core.case import Case
from tasks.core.errors import CaseError
from tasks.core.mitigation.base import Adjuster, Decider, Sampler, Step, Transformer, Weigher
from tasks.core.mitigation.stages import ALL
from tasks.core.sweep import product

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs/mitigation.md").read_text(encoding="utf-8")
KINDS: dict[str, Any] = {"age": "numeric", "job": "categorical", "rel": "categorical", "sex": "categorical"}
COHORTS = {"married": "rel = 'Wife'", "others": "rest"}
NONE = {"method": "none"}


def make(spec: dict[str, Any], task: str = "binary") -> Candidate:
    """The candidate `first` of a case named `loans`."""
    case = make_case(spec, task)
    return build(case.candidates[0], case, KINDS)


def make_case(spec: dict[str, Any], task: str = "binary", **more: Any) -> Case:
    """The case `loans` with one candidate."""
    metric = "accuracy" if task == "binary" else "mean_absolute_error"
    return Case.model_validate(
        {
            "case": "loans",
            "purpose": "a test",
            "dataset": "loans",
            "task": task,
            "target": {"column": "y", "positive": 1} if task == "binary" else {"column": "y"},
            "features": ["age", "job"],
            "seed": 5,
            "periods": {"column": "when"},
            "candidates": [{"name": "first", "estimator": {"kind": "hist_gradient_boosting"}, **spec}],
            "metrics": {"primary": metric},
            "limits": [{"metric": metric, "at_least": 0.5}],
            "cohorts": {"bins": {"age": [30, 50]}},
            "carbon": {"country": "USA"},
            **more,
        }
    )


def class_of(name: str) -> type[Step]:
    """The class behind a method's name."""
    method: Any = METHODS[name]
    return getattr(method, "step", method)  # type: ignore[no-any-return]


def stated(name: str, task: str) -> dict[str, Any]:
    """A candidate's keys for one method."""
    cls = class_of(name)
    step: dict[str, Any] = {"method": name, **({"by": ["sex"]} if cls.aimed else {})}
    if allowed := cls.constraints.get(task):
        step["constraint"] = allowed[0]
        if allowed[0] == "bounded_group_loss":
            step["params"] = {"upper_bound": 0.1} if name == "exponentiated_gradient" else {}
    return {cls.role: step if cls.role == "in" else [step]}


def test_every_method_that_a_case_may_name_is_there_and_no_other() -> None:
    """The names that the YAML allows before, in and after fitting are the methods, each where it stands."""
    named = {"pre": get_args(PreMethod), "in": get_args(InMethod), "post": get_args(PostMethod)}
    for role, names in named.items():
        assert {name for name in METHODS if class_of(name).role == role} == set(names)
    assert sum(map(len, named.values())) == len(METHODS)


@pytest.mark.parametrize(("name", "task"), [(name, task) for name in METHODS for task in ("binary", "regression") if task in class_of(name).tasks])
def test_every_method_is_built_from_its_name(name: str, task: str) -> None:
    """With its defaults each method is built for its tasks, takes the case's seed, and can be cloned."""
    candidate = make(stated(name, task), task)
    steps = [*(step for stage in candidate.pre for step in stage.steps.values()), candidate.model.step, *(aimed.step for aimed in candidate.post)]
    step: Any = next(step for step in steps if isinstance(step, class_of(name)))
    assert step.get_params(deep=False).get("seed", 5) == 5
    assert repr(clone(candidate)) == repr(candidate)
    kind = {"pre": (Transformer, Sampler, Weigher), "in": Step, "post": (Adjuster, Decider)}[class_of(name).role]
    assert isinstance(step, kind)  # type: ignore[arg-type]


def test_steps_are_aimed_as_stated() -> None:
    """All rows, each cohort by the same kind, or each by its own, in the order of the candidate's cohorts."""
    over, under = {"method": "random_over_sampler"}, {"method": "random_under_sampler"}
    candidate = make({"cohorts": COHORTS, "pre": [over, {**over, "each": True}, {"cohorts": {"others": under, "married": NONE}}]})
    blanket, each, kinds = candidate.pre
    assert [stage.targeted for stage in candidate.pre] == [False, True, True]
    assert list(blanket.steps) == [ALL]
    assert list(each.steps) == list(kinds.steps) == ["married", "others"]
    assert kinds.name == "none | random_under_sampler"
    assert kinds.steps["married"] is None


def test_reweighing_leaves_the_estimator_its_own_encoding() -> None:
    """A step that weighs changes nothing of what the estimator reads, so that the effect measured is that of the weights; others make it dense."""
    assert make({"pre": [{"method": "reweighing", "by": ["sex"]}]}).form == make({}).form == "tree"
    logistic = {"estimator": {"kind": "logistic"}}
    assert make({**logistic, "pre": [{"method": "reweighing", "by": ["sex"]}]}).form == make(logistic).form == "sparse"
    assert make({"pre": [{"method": "random_over_sampler"}]}).form == "tree"
    assert make({"pre": [{"method": "smote"}]}).form == "dense"


@pytest.mark.parametrize("number", range(8))
def test_what_the_document_shows_can_be_built(number: int) -> None:
    """Every candidate written in docs/mitigation.md, and every one its sweep stands for, is built; the six combinations are six."""
    shown = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL)]
    assert len(shown) == 8
    kinds: dict[str, Any] = {**KINDS, "relationship": "categorical", "hours-per-week": "numeric"}
    if isinstance(shown[number], list):
        case = make_case(shown[number][0])
        built = [build(case.candidates[0], case, kinds)]
        assert case.candidates[0].mitigated
        assert (number in (2, 4, 6)) <= (case.candidates[0].during is not None)
    else:
        case = make_case({}, **shown[number])
        built = [build(spec, case, kinds) for spec in product(case)]
        assert len(built) == 2 * 3 * 2 * 2 - 1  # the case has boosting alone already
    assert all(isinstance(candidate, Candidate) for candidate in built)


def test_inputs_are_what_prediction_reads() -> None:
    """Columns that conditions or steps read are inputs only where prediction tells cohorts apart; bins come from the case."""
    features = {"age": "numeric", "job": "categorical"}
    assert make({"cohorts": COHORTS, "pre": [{"method": "random_over_sampler", "each": True}]}).inputs == features
    assert make({"cohorts": COHORTS, "pre": [{"method": "standard_scaler", "each": True}]}).inputs == {**features, "rel": "categorical"}
    assert make({"cohorts": COHORTS, "in": {"method": "cohort_models"}}).inputs == {**features, "rel": "categorical"}
    assert make({"cohorts": COHORTS, "in": {"method": "decoupled", "by": ["sex"]}}).inputs == {**features, "sex": "categorical"}
    assert make({"cohorts": COHORTS, "post": [{"method": "joint_thresholds"}]}).inputs == {**features, "rel": "categorical"}
    assert make({"in": {"method": "backward_compatible"}}).inputs == features
    assert make({"post": [{"method": "cohort_calibration", "by": ["age"]}]}).bins == {"age": (30, 50)}


THRESHOLDS = {"method": "threshold_optimizer", "by": ["sex"], "constraint": "equalized_odds"}
SCALED, OVER, SMOTE = {"method": "standard_scaler"}, {"method": "random_over_sampler"}, {"method": "smote"}
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"pre": [SMOTE, SCALED]}, "standard_scaler works on columns as they are, and stands after smote.*Put standard_scaler first"),
    ({"pre": [{"method": "reweighing", "by": ["sex"]}, SCALED]}, "standard_scaler works on columns as they are, and stands after reweighing.*first"),
    (
        {"cohorts": COHORTS, "pre": [{"cohorts": {"married": SMOTE, "others": OVER}}]},
        r"smote \| random_over_sampler: these do not go together.*rows after encoding and rows before encoding.*Give two steps.*`none`",
    ),
    (
        {"cohorts": COHORTS, "pre": [{"cohorts": {"married": SCALED, "others": OVER}}]},
        "these do not go together.*columns before encoding and rows before encoding",
    ),
    ({"cohorts": COHORTS, "pre": [{"cohorts": {"married": NONE, "others": NONE}}]}, r"none \| none: nothing is done in any cohort.*Remove the step"),
    (
        {
            "cohorts": COHORTS,
            "pre": [{"cohorts": {"married": {"method": "reweighing", "by": ["sex"]}, "others": {"method": "reweighing", "by": ["job"]}}}],
        },
        "they aim by different columns.*the same `by`",
    ),
    (
        {"cohorts": COHORTS, "pre": [{"cohorts": {"married": {"method": "smote", "params": {"neighbours": 3}}, "others": NONE}}]},
        "cohort married, step smote: smote has no parameter `neighbours`",
    ),
    ({"post": [THRESHOLDS, {"method": "cohort_calibration", "by": ["sex"]}]}, "threshold_optimizer answers 0 or 1, and a step stands after it.*last"),
    ({"in": {"method": "cohort_models"}}, "step cohort_models: it needs cohorts to aim at.*`by`, or give the candidate `cohorts`"),
    ({"pre": [{"method": "reweighing"}]}, "step reweighing: it needs cohorts to aim at"),
    ({"post": [{"method": "joint_thresholds"}]}, "step joint_thresholds: it needs cohorts to aim at"),
    ({"pre": [{**SCALED, "by": ["sex"]}]}, "step standard_scaler: it aims at no cohorts, and `by` is given.*`each: true`"),
    ({"in": {"method": "backward_compatible", "by": ["sex"]}}, "step backward_compatible: it aims at no cohorts, and `by` is given"),
    ({"cohorts": {"old": "agee > 3", "others": "rest"}, **{"in": {"method": "cohort_models"}}}, "cohorts: .*unknown column `agee`.*`age`"),
    ({"cohorts": {"old": "SUM(age) > 3", "others": "rest"}, **{"in": {"method": "cohort_models"}}}, "cohorts: .*not a condition on each row's own values"),
    ({"in": {"method": "decoupled", "by": ["sex"], "params": {"folds": 1}}}, "step decoupled: The 'folds' parameter of Decoupled must be an int.*1"),
    ({"in": {"method": "decoupled", "by": ["sex"], "params": {"smal": "merge"}}}, "decoupled has no parameter `smal`.*`small`"),
    ({"in": {"method": "backward_compatible", "params": {"strength": -1}}}, "'strength' parameter of BackwardCompatible"),
    ({"post": [{"method": "joint_thresholds", "by": ["sex"], "params": {"loss": "parity"}}]}, "'loss' parameter of JointThresholds"),
    ({"pre": [{"method": "smote", "columns": ["age"]}]}, "smote takes no `columns`"),
]


@pytest.mark.parametrize(("spec", "says"), REFUSED)
def test_what_cannot_stand_there_is_refused_before_any_fit(spec: dict[str, Any], says: str) -> None:
    """A step out of place, without cohorts or with what it does not take is named with the case, the candidate and the way out."""
    with pytest.raises(CaseError, match=f"(?s)^case loans, candidate first.*{says}"):
        make(spec)


@pytest.mark.parametrize("name", [name for name in METHODS if "regression" not in class_of(name).tasks])
def test_a_method_for_binary_tasks_is_refused_in_a_regression(name: str) -> None:
    """Each such method is named with those that fit, and none of the offered is another such."""
    with pytest.raises(CaseError, match=f"^case loans, candidate first, step {name}: it is for binary tasks, and the task is regression") as caught:
        make(stated(name, "binary"), "regression")
    offered = str(caught.value).split("one of: ")[1].rstrip(".").split(", ")
    assert all("regression" in class_of(other).tasks and class_of(other).role == class_of(name).role for other in offered)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"cohorts": {"all": "age > 1"}}, "one cohort alone tells nothing apart"),
        ({"cohorts": {"a": "rest", "b": "rest"}}, "only one cohort can be `rest`"),
        ({"pre": [{**OVER, "each": True}]}, "random_over_sampler is for each cohort, and the candidate names no `cohorts`"),
        ({"cohorts": COHORTS, "pre": [{"cohorts": {"married": OVER, "other": OVER}}]}, "a step for each cohort names .*'other'.* are .*'others'"),
    ],
)
def test_cohorts_that_do_not_fit_the_steps_are_refused_as_the_case_is_read(spec: dict[str, Any], says: str) -> None:
    """One cohort, two rests, steps for each of no cohorts, and steps for other cohorts than the candidate's are refused in the YAML."""
    with pytest.raises(ValueError, match=says):
        make(spec)

"""From what a case states to a candidate: estimators and methods by name, checked before anything is fitted."""

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor, RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.utils._param_validation import InvalidParameterError

from tasks.core.candidate_spec import REST, CandidateSpec, CohortStep, InStep, PostStep, PreStep, Targeted
from tasks.core.candidates import Aimed, Candidate
from tasks.core.case import Case
from tasks.core.cohorts import condition_columns
from tasks.core.encoding import Form, Kind
from tasks.core.errors import CaseError, EquipoiseError, nearest
from tasks.core.mitigation import (
    backward,
    calibrated_equalized_odds,
    cohort_calibration,
    cohort_models,
    cohort_predictions,
    cohort_thresholds,
    columns,
    correlation_remover,
    decoupled,
    disparate_impact_remover,
    exponentiated_gradient,
    grid_search,
    joint_thresholds,
    prototype_representation,
    reject_option,
    resampling,
    reweighing,
    sampling,
    selection,
    synthesis,
    threshold_optimizer,
)
from tasks.core.mitigation.arguments import Maker
from tasks.core.mitigation.base import Decider, Sampler, Step, Transformer, Weigher
from tasks.core.mitigation.stages import ALL, Stage

# What fits which task, the matrix it reads, and defaults of ours where the library's do not serve.
ESTIMATORS: dict[str, tuple[dict[str, Any], Form, dict[str, Any]]] = {
    "linear": ({"regression": LinearRegression}, "dense", {}),
    "ridge": ({"regression": Ridge}, "sparse", {}),
    "logistic": ({"binary": LogisticRegression}, "sparse", {"max_iter": 1000}),  # 100 rounds often end before convergence
    "hist_gradient_boosting": ({"binary": HistGradientBoostingClassifier, "regression": HistGradientBoostingRegressor}, "tree", {}),
    "random_forest": (  # a leaf of one row would keep that row's label in the saved model
        {"binary": RandomForestClassifier, "regression": RandomForestRegressor},
        "dense",
        {"min_samples_leaf": 5},
    ),
    "lightgbm": (  # bundled, columns that are standardised lose values, and models points
        {"binary": "LGBMClassifier", "regression": "LGBMRegressor"},
        "dense",
        {"verbose": -1, "n_jobs": 1, "enable_bundle": False},
    ),
}
_ROOMS = (
    columns,
    selection,
    sampling,
    synthesis,
    reweighing,
    resampling,
    disparate_impact_remover,
    correlation_remover,
    prototype_representation,
    exponentiated_gradient,
    grid_search,
    cohort_models,
    decoupled,
    backward,
    threshold_optimizer,
    reject_option,
    joint_thresholds,
    calibrated_equalized_odds,
    cohort_calibration,
    cohort_thresholds,
    cohort_predictions,
)
METHODS: dict[str, Maker | type[Step]] = {name: method for room in _ROOMS for name, method in room.METHODS.items()}
OURS = {"random_state": "the case's `seed` sets it", "categorical_features": "the catalogue's types set it", "seed": "the case's `seed` sets it"}
CHANGES: dict[type[Step], str] = {Transformer: "columns", Sampler: "rows", Weigher: "weights"}
ON = {"frame": " before encoding", "matrix": " after encoding"}
_Spec = PreStep | CohortStep | InStep | PostStep


def build(spec: CandidateSpec, case: Case, kinds: Mapping[str, Kind]) -> Candidate:
    """The unfitted candidate that `spec` describes. `kinds` gives each column's kind, from the catalogue.

    Raises CaseError for an estimator or method that does not fit the task or its place, an unknown or wrong parameter, or a
    column that `kinds` does not have.
    """
    place = f"case {case.case}, candidate {spec.name}"
    for name in (*case.features, *spec.by):
        if name not in kinds:
            raise CaseError(f"column `{name}` is not in the catalogue of {case.dataset}.", where=place, fix=nearest(name, kinds))
    features = {name: kinds[name] for name in case.features}
    try:
        conditions = condition_columns({name: text for name, text in spec.cohorts.items() if text != REST}, kinds)
    except EquipoiseError as error:
        raise CaseError(error.message, where=f"{place}, cohorts", fix=error.fix) from error
    pre = [_stage(step, spec, case, place) for step in spec.pre]
    if (pair := next(((one.name, two.name) for one, two in pairwise(pre) if (one.reads, two.reads) == ("matrix", "frame")), None)) is not None:
        encoded, late = pair
        raise CaseError(
            f"{late} works on columns as they are, and stands after {encoded}, which comes when they are encoded.", where=place, fix=f"Put {late} first."
        )
    form: Form = "dense" if any(stage.reads == "matrix" and not stage.weighs for stage in pre) else ESTIMATORS[spec.estimator.kind][1]
    estimator = _estimator(spec, case, place)
    most = min(254, estimator.max_bins - 1) if form == "tree" else 254
    post = [_post(step, spec, case, place) for step in spec.post]
    if (early := next((one.name for one in post[:-1] if isinstance(one.step, Decider)), None)) is not None:
        raise CaseError(f"{early} answers 0 or 1, and a step stands after it.", where=place, fix=f"Put {early} last.")
    named = dict.fromkeys((*spec.by, *conditions))
    return Candidate(
        place=place,
        task=case.task,
        kinds=features,
        aims={name: kinds[name] for name in named},
        bins={name: tuple(case.cohorts.bins[name]) for name in spec.by if name in case.cohorts.bins},
        cohorts=dict(spec.cohorts),
        form=form,
        most=most,
        pre=pre,
        model=_model(spec, case, estimator, place),
        post=post,
    )


def _stage(step: PreStep | Targeted, spec: CandidateSpec, case: Case, place: str) -> Stage:
    """A `pre` step where it stands."""
    if isinstance(step, PreStep):
        made = _made(step, spec, case, place)
        return Stage(step.method, dict.fromkeys(spec.cohorts, made) if step.each else {ALL: made}, step.by)
    stated = {name: step.cohorts[name] for name in spec.cohorts}
    parts = {name: None if part.method == "none" else _made(part, spec, case, f"{place}, cohort {name}") for name, part in stated.items()}
    known = [part for part in parts.values() if part is not None]
    words = " | ".join(part.method for part in stated.values())
    if not known:
        raise CaseError(f"{words}: nothing is done in any cohort.", where=place, fix="Remove the step.")
    kinds = {next(does for kind, does in CHANGES.items() if isinstance(part, kind)) + ON[part.reads] for part in known}
    if len(kinds) > 1:
        raise CaseError(
            f"{words}: these do not go together in one step, for they change {' and '.join(sorted(kinds))}.",
            where=place,
            fix="Give two steps, each with `none` for the other's cohort.",
        )
    aims = {part.by for part in step.cohorts.values() if part.by}
    if len(aims) > 1:
        raise CaseError(f"{words}: they aim by different columns.", where=place, fix="Give the same `by` to each.")
    return Stage(words, parts, next(iter(aims), ()))


def _model(spec: CandidateSpec, case: Case, estimator: Any, place: str) -> Aimed:
    if spec.during is None:
        return Aimed(f"estimator {spec.estimator.kind}", estimator)
    return Aimed(spec.during.method, _made(spec.during, spec, case, place, estimator=estimator), spec.during.by)


def _post(step: PostStep, spec: CandidateSpec, case: Case, place: str) -> Aimed:
    return Aimed(step.method, _made(step, spec, case, place), step.by)


def _made(step: _Spec, spec: CandidateSpec, case: Case, place: str, **given: Any) -> Step:
    """The step that a case states, its parameters checked."""
    place = f"{place}, step {step.method}"
    method = METHODS[step.method]
    cls = method.step if isinstance(method, Maker) else method
    if case.task not in cls.tasks:
        fitting = [name for name, other in METHODS.items() if (other.step if isinstance(other, Maker) else other).role == cls.role]
        fitting = [name for name in fitting if case.task in _class(name).tasks]
        raise CaseError(f"it is for {' and '.join(cls.tasks)} tasks, and the task is {case.task}.", where=place, fix=_offer("method", fitting))
    if cls.aimed and not (step.by or spec.cohorts):
        raise CaseError("it needs cohorts to aim at.", where=place, fix="Name columns in `by`, or give the candidate `cohorts`.")
    if step.by and not cls.aimed:
        raise CaseError(
            "it aims at no cohorts, and `by` is given.", where=place, fix="Remove `by`; or name the `cohorts` in the candidate and write `each: true`."
        )
    asked, allowed = getattr(step, "constraint", None), cls.constraints.get(case.task, ())
    if allowed and asked not in allowed:
        problem = f"`constraint: {asked}` does not fit a {case.task} task." if asked else "it needs a `constraint`."
        raise CaseError(problem, where=place, fix=_offer("constraint", allowed))
    if asked and not allowed:
        raise CaseError(f"it takes no constraint, and `{asked}` is given.", where=place, fix="Remove `constraint`.")
    try:
        maker = method if isinstance(method, Maker) else Maker(step.method, method, {**given, **({"constraint": asked} if asked else {})})
        return maker(getattr(step, "columns", ()), case.seed, {name: value for name, value in step.params.items() if not _ours("params", name, place)})
    except EquipoiseError as error:
        raise type(error)(error.message, where=place, fix=error.fix) from error


def _class(name: str) -> type[Step]:
    method = METHODS[name]
    return method.step if isinstance(method, Maker) else method


def _estimator(spec: CandidateSpec, case: Case, place: str) -> Any:
    classes, _, defaults = ESTIMATORS[spec.estimator.kind]
    if case.task not in classes:
        fitting = [kind for kind, (tasks, _, _) in ESTIMATORS.items() if case.task in tasks]
        raise CaseError(
            f"estimator.kind `{spec.estimator.kind}` is for {' and '.join(classes)} tasks, and the task is {case.task}.",
            where=place,
            fix=_offer("estimator.kind", fitting),
        )
    cls = _lightgbm(classes[case.task], place) if spec.estimator.kind == "lightgbm" else classes[case.task]
    ours: dict[str, Any] = {"random_state": case.seed} if "random_state" in cls().get_params() else {}
    if "categorical_features" in cls().get_params():
        ours["categorical_features"] = None  # the candidate sets it when it knows the columns
    known = cls().get_params()
    for name in spec.estimator.params:
        if not _ours("estimator.params", name, place) and name not in known:
            raise CaseError(f"estimator.params has no `{name}`.", where=place, fix=nearest(name, known))
    return _valid(cls(**{**defaults, **spec.estimator.params, **ours}), place)


def _lightgbm(name: str, place: str) -> Any:
    try:
        import lightgbm
    except ImportError as error:
        raise CaseError(
            "`estimator: {kind: lightgbm}` needs the extra `lightgbm`.", where=place, fix="Install it: pip install 'equipoise[lightgbm]'"
        ) from error
    return getattr(lightgbm, name)


def _ours(part: str, name: str, place: str) -> bool:
    if name in OURS:
        raise CaseError(f"{part}.{name} cannot be set: {OURS[name]}.", where=place, fix=f"Remove `{name}`.")
    return False


def _valid(estimator: Any, place: str) -> Any:
    """The estimator, its parameters checked now rather than at the first fit, where it can."""
    try:
        if hasattr(estimator, "_parameter_constraints"):
            estimator._validate_params()
    except InvalidParameterError as error:
        raise CaseError(f"{error}", where=place, fix="Change it in `params`.") from error
    return estimator


def _offer(key: str, names: Iterable[str]) -> str:
    return f"Set `{key}` to one of: {', '.join(names)}."

"""A candidate, as a case states it: an estimator, and steps before, in and after fitting it.

- name: aimed
  estimator: {kind: logistic}
  cohorts: {married: "relationship IN ('Husband', 'Wife')", others: rest}
  pre:
    - {method: robust_scaler, columns: [age]}
    - {method: random_over_sampler, each: true}
    - cohorts: {married: {method: smotenc}, others: {method: none}}
  in: {method: exponentiated_gradient, by: [sex], constraint: equalized_odds}
  post: [{method: cohort_calibration, by: [sex]}]
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from tasks.core.strict import Name, Strict

REST = "rest"

PreMethod = Literal[
    "simple_imputer",
    "iterative_imputer",
    "knn_imputer",
    "one_hot_encoder",
    "ordinal_encoder",
    "target_encoder",
    "standard_scaler",
    "min_max_scaler",
    "quantile_transformer",
    "robust_scaler",
    "power_transformer",
    "normalizer",
    "correlated_features",
    "sequential_selector",
    "recursive_selector",
    "smote",
    "smotenc",
    "smoten",
    "random_over_sampler",
    "random_under_sampler",
    "tomek_links",
    "edited_nearest_neighbours",
    "cluster_centroids",
    "gaussian_copula",
    "reweighing",
    "resampling",
    "disparate_impact_remover",
    "correlation_remover",
    "prototype_representation",
]
InMethod = Literal["exponentiated_gradient", "grid_search", "cohort_models", "decoupled", "backward_compatible"]
PostMethod = Literal[
    "threshold_optimizer",
    "reject_option",
    "joint_thresholds",
    "calibrated_equalized_odds",
    "cohort_calibration",
    "cohort_thresholds",
    "cohort_bias_correction",
    "quantile_mapping",
]
METHOD = "Which method; the table of methods says what each does."
BY = "Cohort columns it aims at, binned as in `cohorts.bins`; the candidate's own `cohorts` unless given."
CONSTRAINT = "What is equalised, for methods that take a constraint."
PARAMS = "Further arguments of the method."


class Estimator(Strict):
    """A scikit-learn estimator by its short name."""

    kind: Literal["linear", "ridge", "logistic", "hist_gradient_boosting", "random_forest", "lightgbm", "given"] = Field(
        description="Which estimator; lightgbm needs the extra of that name."
    )
    params: dict[str, Any] = Field(default_factory=dict, description="Constructor arguments of that estimator.")


class PreStep(Strict):
    """A step on rows, columns or weights, before the estimator is fitted."""

    method: PreMethod = Field(description=METHOD)
    by: tuple[str, ...] = Field((), description=BY)
    columns: tuple[str, ...] = Field((), description="Columns it works on; all of the right kind unless given.")
    each: bool = Field(False, description="Fitted on each of the candidate's `cohorts` by itself, with that cohort's rows as context.")
    params: dict[str, Any] = Field(default_factory=dict, description=PARAMS)


class CohortStep(Strict):
    """What is done to one cohort."""

    method: PreMethod | Literal["none"] = Field(description="Which method; none leaves the cohort as it is.")
    by: tuple[str, ...] = Field((), description=BY)
    columns: tuple[str, ...] = Field((), description="Columns it works on; all of the right kind unless given.")
    params: dict[str, Any] = Field(default_factory=dict, description=PARAMS)


class Targeted(Strict):
    """A step of its own kind for each of the candidate's cohorts."""

    cohorts: dict[str, CohortStep] = Field(description="A step for each of the candidate's `cohorts`.")


class InStep(Strict):
    """A step in the place of plain fitting."""

    method: InMethod = Field(description=METHOD)
    by: tuple[str, ...] = Field((), description=BY)
    constraint: str | None = Field(None, description=CONSTRAINT)
    params: dict[str, Any] = Field(default_factory=dict, description=PARAMS)


class PostStep(Strict):
    """A step on scores, or from scores to answers; fitted on validation rows."""

    method: PostMethod = Field(description=METHOD)
    by: tuple[str, ...] = Field((), description=BY)
    constraint: str | None = Field(None, description=CONSTRAINT)
    params: dict[str, Any] = Field(default_factory=dict, description=PARAMS)


def _conditions(value: dict[str, str]) -> dict[str, str]:
    if sum(condition == REST for condition in value.values()) > 1:
        raise ValueError("only one cohort can be `rest`")
    if len(value) == 1:
        raise ValueError("one cohort alone tells nothing apart: name another, such as `others: rest`")
    return value


ALIASED = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, serialize_by_alias=True, validate_by_name=True, validate_by_alias=True)


class CandidateSpec(Strict):
    """An estimator with or without steps. The first candidate of a case is its baseline."""

    model_config = ALIASED

    name: Name = Field(description="The candidate's name, unique in the case.")
    estimator: Estimator = Field(description="What is fitted.")
    cohorts: Annotated[dict[str, str], AfterValidator(_conditions)] = Field(
        default_factory=dict, description="Cohorts to aim at, by name: SQL conditions that no row meets two of; `rest` is all other rows."
    )
    pre: tuple[PreStep | Targeted, ...] = Field((), description="Steps before fitting, in order.")
    during: InStep | None = Field(None, alias="in", description="A step in the place of plain fitting.")
    post: tuple[PostStep, ...] = Field((), description="Steps after fitting, in order, on scores.")

    @model_validator(mode="after")
    def _aimed(self) -> "CandidateSpec":
        for step in self.pre:
            if isinstance(step, Targeted):
                if set(step.cohorts) != set(self.cohorts):
                    raise ValueError(f"pre: a step for each cohort names {sorted(step.cohorts)}, and the candidate's `cohorts` are {sorted(self.cohorts)}")
            elif step.each and not self.cohorts:
                raise ValueError(f"pre: {step.method} is for each cohort, and the candidate names no `cohorts`")
        return self

    @property
    def mitigated(self) -> bool:
        """Whether it is more than an estimator."""
        return bool(self.pre or self.during or self.post)

    def steps(self) -> Iterator[PreStep | CohortStep | InStep | PostStep]:
        """Every step, those for single cohorts among them."""
        for step in self.pre:
            yield from step.cohorts.values() if isinstance(step, Targeted) else (step,)
        if self.during is not None:
            yield self.during
        yield from self.post

    @property
    def by(self) -> tuple[str, ...]:
        """Columns that its steps aim by."""
        return tuple(dict.fromkeys(column for step in self.steps() for column in step.by))


class SweepGap(Strict):
    """The gap that a sweep weighs beside performance."""

    metric: str = Field(description="The metric compared.")
    by: tuple[str, ...] = Field(min_length=1, description="A grouping of `cohorts.by`, or a condition of `cohorts.where`.")


class Sweep(Strict):
    """What `train --sweep` tries besides the candidates: every estimator with every list of steps."""

    model_config = ALIASED

    estimator: tuple[Estimator, ...] = Field(min_length=1, description="Estimators to try.")
    cohorts: dict[str, str] = Field(default_factory=dict, description="Cohorts that steps aim at, as in a candidate.")
    pre: tuple[tuple[PreStep | Targeted, ...], ...] = Field(((),), min_length=1, description="Lists of steps before fitting; [] is none.")
    during: tuple[InStep | None, ...] = Field((None,), alias="in", min_length=1, description="Steps in the place of plain fitting; null is none.")
    post: tuple[tuple[PostStep, ...], ...] = Field(((),), min_length=1, description="Lists of steps after fitting; [] is none.")
    gap: SweepGap | None = Field(None, description="The gap weighed beside performance; that of the first limit on a gap unless given.")
    candidates: int = Field(200, ge=1, description="Budget: at most so many candidates, in the order of the product.")
    minutes: float | None = Field(None, gt=0, description="Budget: no fit begins after so many minutes.")
    kg_co2e: float | None = Field(None, gt=0, description="Budget: no fit begins after so many kilograms of CO2-equivalent.")

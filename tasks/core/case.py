"""A case: one use of data for one purpose, as `configs/<case>.yaml` states it.

One strict, frozen model. Unknown keys are refused; what a key means is its `description`, from which the
reference in docs/cases.md is checked.
"""

import datetime as dt
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from tasks.core.candidate_spec import CandidateSpec, Sweep
from tasks.core.errors import nearest
from tasks.core.limits import Limit, ReviewRules
from tasks.core.operations import Monitoring, Scoring
from tasks.core.strict import Country, Name, Strict

PERIOD = re.compile(r"(\d{4})-(0[1-9]|1[0-2])")

Task = Literal["binary", "regression"]
Use = Literal["train", "evaluate", "report"]


def _period(value: str) -> str:
    if not PERIOD.fullmatch(value):
        raise ValueError(f"{value!r} is not a period: write YYYY-MM")
    return value


Period = Annotated[str, AfterValidator(_period), WithJsonSchema({"type": "string", "pattern": f"^{PERIOD.pattern}$"})]
"""The pattern is what Prefect's page checks before a run."""


class Target(Strict):
    """What is predicted."""

    column: str = Field(description="The label column.")
    positive: str | int | bool | None = Field(None, description="Binary: the value that counts as the positive class.")
    above: float | None = Field(None, description="Binary: a numeric label above this counts as positive. A missing label stays missing.")


class DeclaredDrift(Strict):
    """A change that simulated months undergo from one month on."""

    columns: list[str] | str = Field(description='Column names, or "k random" for k numeric features chosen by the seed.')
    kind: Literal["mean_shift", "scale", "category_mix", "missingness", "concept"] = Field(description="What changes.")
    size: float = Field(
        gt=0,
        description="mean_shift, concept: standard deviations of the column or target; scale: factor on the spread; "
        "category_mix, missingness: share of rows affected, 0 to 1.",
    )
    first: int = Field(ge=2, description="The first month that shows it, counted from 1.")


class Simulation(Strict):
    """Months made from the dataset's one table by seeded resampling."""

    first: Period = Field(description="The first month, YYYY-MM. It is the table itself, so that no row is on both sides of a split.")
    months: int = Field(ge=1, le=240, description="How many months, the first included.")
    rows: int | None = Field(
        None, ge=1, description="Rows in each month; the table's own count unless given. Fewer than it has also draws the first month from it, without repeats."
    )
    jitter: float = Field(0.05, ge=0, le=1, description="Noise on numeric columns, in standard deviations, kept within the observed range and type.")
    seed: int = Field(0, ge=0, description="Seed of the resampling; each month derives its own.")
    drifts: tuple[DeclaredDrift, ...] = Field((), description="Declared changes.")


class Periods(Strict):
    """How the dataset falls into months: by a date column, or by simulation. Exactly one of the two."""

    column: str | None = Field(None, description="The column whose date says which month a row belongs to.")
    timezone: str = Field("UTC", description="IANA zone in which dates that carry an offset are read.")
    simulate: Simulation | None = Field(None, description="Make months from a table that has no dates.")
    train: int = Field(1, ge=1, description="How many periods make one training window.")
    labels_after: int = Field(0, ge=0, le=24, description="How many periods later a period's labels come: they are snapshot with that period's features.")

    @model_validator(mode="after")
    def _one(self) -> "Periods":
        if (self.column is None) == (self.simulate is None):
            raise ValueError("give exactly one of `column` and `simulate`")
        return self


class Split(Strict):
    """Which rows are fitted on, chosen on and reported on."""

    kind: Literal["random", "stratified", "group", "time"] = Field("random", description="How rows are assigned.")
    column: str | None = Field(None, description="group: the column whose values stay together; time: the column that orders the rows.")
    validation: float = Field(0.2, gt=0, lt=1, description="Share of rows for choosing models and thresholds.")
    test: float = Field(0.2, gt=0, lt=1, description="Share of rows for the reported figures.")

    @model_validator(mode="after")
    def _sane(self) -> "Split":
        if self.validation + self.test >= 1:
            raise ValueError("validation and test leave no rows to train on")
        if (self.kind in ("group", "time")) != (self.column is not None):
            raise ValueError("`column` goes with kind group or time, and with no other")
        return self


class Cohorts(Strict):
    """Who the model is looked at for. Columns need not be features."""

    by: tuple[tuple[str, ...], ...] = Field((), description="Groupings; each is one column or several crossed.")
    where: dict[str, str] = Field(default_factory=dict, description="Named SQL conditions on raw columns.")
    bins: dict[str, tuple[float, ...]] = Field(default_factory=dict, description="Inner edges that cut a numeric column into intervals (low, high].")
    min_support: int = Field(20, ge=1, description="Fewest rows in a metric's denominator; below it the verdict is insufficient evidence.")


class Metrics(Strict):
    """What is measured. Names are those of tasks.core.metrics."""

    primary: str = Field(description="The metric by which a candidate is chosen on validation, after the limits.")
    also: tuple[str, ...] = Field((), description="Further metrics to report.")


class Waiver(Strict):
    """A named person's dated, expiring permission to use a flagged column as a feature."""

    column: str = Field(description="The flagged column.")
    who: str = Field(min_length=1, description="Who gave it.")
    why: str = Field(min_length=1, description="Why it is right here.")
    until: dt.date = Field(description="The last day it holds.")


class Checks(Strict):
    """What the catalogue check looks for beyond the catalogue itself."""

    proxy_limit: float = Field(0.8, gt=0, le=1, description="Cross-validated AUC or R2 above which a feature is a suspected proxy of a sensitive column.")
    proxies: Literal["block", "warn"] = Field("warn", description="Whether a suspected proxy blocks.")


class Drift(Strict):
    """When a column has drifted from the reference the model was accepted on: the effect size and the test must both say so."""

    numeric: Literal["wasserstein", "psi", "ks"] = Field(
        "wasserstein", description="Effect size of numeric columns: Wasserstein distance over the reference's standard deviation, PSI, or D of K-S."
    )
    categorical: Literal["jensenshannon", "psi", "chisquare"] = Field(
        "jensenshannon", description="Effect size of categorical columns: Jensen-Shannon distance, PSI, or Cramér's V of chi-square."
    )
    limit: float = Field(0.1, gt=0, description="An effect size above it is drift, where the corrected p-value is at most 0.05 as well.")
    limits: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict, description="Limits of single features, and of `prediction`; above 0.")
    missing: float = Field(
        0.05, gt=0, le=1, description="Numeric columns: a change of the share of missing values above it is drift too, where its p-value says so as well."
    )
    share: float = Field(0.1, gt=0, le=1, description="Share of drifted features from which the period counts as drifted.")


class Schedule(Strict):
    """When the case is scored."""

    cron: str = Field("0 6 * * *", description="Cron expression of the infer deployment: how often it looks for periods that are due.")
    timezone: str = Field("UTC", description="IANA name of the schedule's time zone.")


class CarbonWindow(Strict):
    """Scoring and training may wait for cleaner power."""

    forecast: str = Field(description="A file (from the project's root) or http(s) URL with the declared intensities: a JSON list of {from, to, g_per_kwh}.")
    hours: float = Field(gt=0, le=24, description="How long a run may wait at most.")


class Carbon(Strict):
    """Where the energy comes from, and how much of it may be used."""

    country: Country = Field(description="ISO 3166 code of three letters; sets the grid's carbon intensity.")
    budget_kg: float | None = Field(
        None, gt=0, description="Kilograms of CO2-equivalent that the case may cause in a calendar year; `status` holds what it caused against it."
    )
    window: CarbonWindow | None = Field(None, description="Wait for the lowest declared carbon intensity; runs begin at once unless given.")


class Card(Strict):
    """The human parts of the model card. Promotion waits while one is empty."""

    intended_use: str = Field("", description="What the model is for, and what it is not for.")
    risks: str = Field("", description="What can go wrong, for whom, and what is done about it.")
    risk_acceptance: str = Field("", description="Who accepts the risks that remain, and why.")
    declaration: str = Field("", description="Who answers for this use of the model, in their own words.")


class Case(Strict):
    """One use of data for one purpose."""

    case: Name = Field(description="The case's name, the same as the file's.")
    purpose: str = Field(min_length=1, description="What the predictions are used for.")
    dataset: Name = Field(description="The catalogue entry: catalog/<dataset>.yaml.")
    task: Task = Field(description="binary or regression.")
    target: Target = Field(description="What is predicted.")
    features: tuple[str, ...] = Field(min_length=1, description="Columns the model may see.")
    seed: int = Field(0, ge=0, description="Seed of the split and of every fit.")
    periods: Periods = Field(description="How the data falls into months.")
    split: Split = Field(default_factory=Split, description="Which rows are fitted on, chosen on and reported on.")
    candidates: tuple[CandidateSpec, ...] = Field(min_length=1, description="What is fitted; the first is the baseline.")
    sweep: Sweep | None = Field(None, description="What `equipoise train --sweep` tries besides the candidates.")
    cohorts: Cohorts = Field(
        default_factory=Cohorts, description="Who the model is looked at for; or the name of a shared file, configs/cohorts/<name>.yaml, that says it."
    )
    metrics: Metrics = Field(description="What is measured.")
    limits: tuple[Limit, ...] = Field(min_length=1, description="The gate: what must hold before promotion.")
    review: ReviewRules = Field(default_factory=ReviewRules, description="Whose word a promotion needs.")
    checks: Checks = Field(default_factory=Checks, description="How the catalogue check judges.")
    waivers: tuple[Waiver, ...] = Field((), description="Permissions to use flagged columns.")
    drift: Drift = Field(default_factory=Drift, description="When a period has drifted.")
    scoring: Scoring = Field(default_factory=Scoring, description="How a period is scored.")
    monitoring: Monitoring = Field(default_factory=Monitoring, description="What is done about what is found in production.")
    schedule: Schedule = Field(default_factory=Schedule, description="When the case is scored.")
    carbon: Carbon = Field(description="Where the energy comes from.")
    card: Card = Field(default_factory=Card, description="Human parts of the model card.")

    @model_validator(mode="after")
    def _coherent(self) -> "Case":
        if len(set(self.features)) != len(self.features):
            raise ValueError("features: a column is named twice")
        if self.target.column in self.features:
            raise ValueError(f"features: the target `{self.target.column}` cannot be a feature")
        names = [candidate.name for candidate in self.candidates]
        if len(set(names)) != len(names):
            raise ValueError("candidates: a name is used twice")
        if self.task == "binary" and (self.target.positive is None) == (self.target.above is None):
            raise ValueError("target: a binary case gives exactly one of `positive` and `above`")
        if self.task == "binary" and self.scoring.interval is not None:
            raise ValueError("scoring: `interval` is for regression")
        if self.task == "regression" and (self.scoring.calibrate is not None or self.scoring.abstain_below is not None):
            raise ValueError("scoring: `calibrate` and `abstain_below` are for binary cases")
        if self.task == "regression" and not (self.target.positive is None and self.target.above is None):
            raise ValueError("target: `positive` and `above` are for binary cases")
        for column in self.drift.limits:
            if column not in (*self.features, "prediction"):
                hint = nearest(column, (*self.features, "prediction")).removesuffix(".")
                raise ValueError(f"drift.limits: `{column}` is neither a feature nor `prediction` ({hint[0].lower()}{hint[1:]})")
        swept = [step for steps in (*self.sweep.pre, self.sweep.during, *self.sweep.post) for step in steps] if self.sweep else []
        if "given" in {one.kind for one in (*(candidate.estimator for candidate in self.candidates), *(self.sweep.estimator if self.sweep else ()))}:
            raise ValueError("candidates: an estimator `given` is what `equipoise register` brings; name another kind")
        if any(self.target.column in candidate.by for candidate in self.candidates) or any(self.target.column in getattr(step, "by", ()) for step in swept):
            raise ValueError("candidates: a step cannot aim at the target")
        return self

    @property
    def metric_names(self) -> tuple[str, ...]:
        """The primary metric first, then the others, each once, with those the limits need."""
        return tuple(dict.fromkeys((self.metrics.primary, *self.metrics.also, *(limit.measured for limit in self.limits if limit.measured))))

    @property
    def asked(self) -> dict[str, Any]:
        """The case's metrics on the case's cohorts, as tasks.core.evaluation.evaluate and tasks.core.comparison.compare take them."""
        cohorts = {"by": [list(grouping) for grouping in self.cohorts.by], "where": self.cohorts.where, "bins": self.cohorts.bins}
        return {"task": self.task, **cohorts, "metrics": list(self.metric_names), "min_support": self.cohorts.min_support, "seed": self.seed}

    @property
    def cohort_columns(self) -> tuple[str, ...]:
        """Columns that name cohorts by `by`, in order; conditions in `where` may use any column besides."""
        return tuple(dict.fromkeys(column for grouping in self.cohorts.by for column in grouping))

    @property
    def inputs(self) -> tuple[str, ...]:
        """Columns a fitted candidate reads: the features, and the columns its mitigations aim at."""
        aimed = (column for spec in self.candidates for column in spec.by)
        return tuple(dict.fromkeys((*self.features, *aimed)))


def revision_key(key: str, revision: int) -> str:
    """Under which key a revision of a period is kept; the first one has the period's own.

    >>> revision_key("2024-05", 1), revision_key("v3-2024-05", 2)
    ('2024-05', 'v3-2024-05-r2')
    """
    return key if revision == 1 else f"{key}-r{revision}"


def shift_period(period: str, months: int) -> str:
    """The period so many months later.

    >>> shift_period("2024-11", 3)
    '2025-02'
    """
    year, month = map(int, period.split("-"))
    years, zero_based = divmod(month - 1 + months, 12)
    return f"{year + years:04d}-{zero_based + 1:02d}"

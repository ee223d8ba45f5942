"""Limits: what the gate holds a version against, as a case states it."""

import datetime as dt
from typing import Literal

from pydantic import Field, model_validator

from tasks.core.strict import Strict

Fact = Literal["support", "suspected_proxies", "waivers", "failed_rules", "drift_share", "emissions_kg", "data_age_days"]

FACTS: dict[str, str] = {
    "support": "rows of the test split (of each cohort of `every`, or of `cohort`)",
    "suspected_proxies": "features that the catalogue check suspects to stand in for a sensitive column",
    "waivers": "flagged columns that a waiver lets in",
    "failed_rules": "rules of the catalogue that the training rows broke",
    "drift_share": "share of features that drifted between the model's reference and the newest snapshot",
    "emissions_kg": "kilograms of CO2-equivalent that training emitted",
    "data_age_days": "days since the end of the newest period the model was trained on",
}
"""What can be bounded beside metrics, and what each counts."""

COMPATIBILITY = ("btc", "bec")
"""Shares that exist only against another model: see tasks.core.comparison."""


class LimitWaiver(Strict):
    """A named person's dated permission to pass with too little evidence. It never lets a broken limit pass."""

    who: str = Field(min_length=1, description="Who gave it.")
    why: str = Field(min_length=1, description="Why it is right here.")
    until: dt.date = Field(description="The last day it holds.")


class Limit(Strict):
    """One bound a model must keep on the test split before it may be promoted."""

    metric: str | None = Field(None, description="The metric bounded; `btc` and `bec` go with `against`.")
    fact: Fact | None = Field(None, description="Instead of a metric: " + "; ".join(f"`{name}`: {what}" for name, what in FACTS.items()) + ".")
    at_most: float | None = Field(None, description="Upper bound.")
    at_least: float | None = Field(None, description="Lower bound.")
    cohort: str | None = Field(None, description="One cohort by name; overall unless given.")
    every: tuple[str, ...] | None = Field(None, description="Every cohort of this grouping must keep the bound.")
    gap: tuple[str, ...] | None = Field(None, description="The bound is on the largest difference within this grouping.")
    ratio: tuple[str, ...] | None = Field(None, description="The bound is on the ratio of the smallest to the largest value within this grouping.")
    against: Literal["production", "baseline"] | None = Field(
        None,
        description="The bound is on the difference to this model on the same rows: what is in production, or the case's first candidate. "
        "Where there is none, or it is this version, the limit does not apply.",
    )
    must_show: Literal["better", "no_worse"] = Field(
        "better",
        description="better: the whole interval keeps the bound; no_worse: the interval is not wholly beyond it.",
    )
    waiver: LimitWaiver | None = Field(None, description="Lets too little evidence pass until a day.")

    @model_validator(mode="after")
    def _one(self) -> "Limit":
        if (self.metric is None) == (self.fact is None):
            raise ValueError("give exactly one of `metric` and `fact`")
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError("give exactly one of `at_most` and `at_least`")
        if sum(part is not None for part in (self.cohort, self.every, self.gap, self.ratio)) > 1:
            raise ValueError("give at most one of `cohort`, `every`, `gap` and `ratio`")
        if self.against is not None and (self.gap is not None or self.ratio is not None):
            raise ValueError("`against` goes with `cohort` or `every`, not with `gap` or `ratio`")
        if self.metric in COMPATIBILITY and self.against is None:
            raise ValueError(f"`{self.metric}` says how far a model agrees with another: add `against: production`")
        if self.fact is not None and (self.against or self.gap or self.ratio or (self.fact != "support" and (self.cohort or self.every))):
            raise ValueError(f"`fact: {self.fact}` goes with a bound" + (", and `cohort` or `every`" if self.fact == "support" else " alone"))
        return self

    @property
    def bound(self) -> tuple[str, float]:
        """The sign and the bound: ("<=", 4.0)."""
        bound = self.at_most if self.at_most is not None else self.at_least
        assert bound is not None  # the validator saw to it
        return ("<=" if self.at_most is not None else ">="), bound

    @property
    def measured(self) -> str | None:
        """The metric that a cohort report must hold for this limit; None for facts and compatibility."""
        return None if self.metric in COMPATIBILITY else self.metric


class ReviewRules(Strict):
    """Whose word a promotion needs."""

    approvals: dict[str, int] = Field({"reviewer": 1}, description="How many signed approvals are needed of each role of configs/reviewers.yaml.")
    valid_days: int = Field(180, ge=1, description="Days after which an approval no longer counts; a reviewer may set fewer.")
    simulated: bool = Field(False, description="Let a review that no person signed count, as the demo's does. Never for real use.")

    @model_validator(mode="after")
    def _some(self) -> "ReviewRules":
        if not self.approvals or min(self.approvals.values()) < 1:
            raise ValueError("`approvals` names at least one role, and at least 1 for each")
        return self

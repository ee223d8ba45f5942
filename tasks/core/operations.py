"""How a case is run once a model serves: how periods are scored, what is done about findings, who is told."""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from tasks.core.strict import Strict

Engine = Literal["threads", "processes", "dask", "ray"]
Guard = Literal["refuse", "flag", "score"]
FindingKind = Literal["drift", "performance", "cohort gap", "data quality", "staleness"]
Severity = Literal["warning", "critical"]
Action = Literal["notify", "retrain", "rollback", "stop"]

_REFERENCE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}")


def _secret(value: str) -> str:
    if not _REFERENCE.fullmatch(value):
        raise ValueError("a secret is not written into a file: name an environment variable, ${NAME}")
    return value


Secret = Annotated[str, AfterValidator(_secret)]


class Scoring(Strict):
    """How a period is scored, and which of its rows are not scored as they come."""

    engine: Engine | None = Field(
        None, description="Where the parts of a period are scored: threads, processes, dask or ray. Threads unless given, from 1,048,577 rows."
    )
    workers: int = Field(2, ge=1, description="Parts scored at once.")
    unseen: Guard = Field(
        "flag", description="Categories that fitting did not see. refuse: the period is not scored; flag: its rows say so; score: they are counted."
    )
    outside: Guard = Field("flag", description="Numbers beyond the range of the rows fitted on, handled as `unseen`.")
    missing: Guard = Field("flag", description="Values missing in a column that had all of them in the rows fitted on, handled as `unseen`.")
    corrupt_part: Literal["refuse", "skip"] = Field(
        "refuse",
        description="A part of a period whose bytes have changed or cannot be read. refuse: nothing is scored; skip: the rest is, and the period is "
        "marked partial.",
    )
    interval: float | None = Field(
        None, ge=0.5, le=0.999, description="Regression: coverage of the prediction interval (`low`, `high`) that each row gets, by split conformal."
    )
    calibrate: Literal["isotonic", "sigmoid"] | None = Field(
        None, description="Binary: each row gets `probability`, its score calibrated on the validation rows."
    )
    abstain_below: float | None = Field(
        None, gt=0.5, lt=1, description="Binary: rows whose more probable class has a lower probability get no `y_pred`, and are counted."
    )


class Rule(Strict):
    """What is done when something is found."""

    when: FindingKind = Field(description="drift, performance, cohort gap, data quality or staleness.")
    severity: Severity = Field("warning", description="The least severity that counts.")
    then: tuple[Action, ...] = Field(min_length=1, description="notify, retrain, rollback, stop: each once for an incident.")


RULES = (
    Rule(when="drift", then=("notify",)),
    Rule(when="performance", then=("notify", "retrain")),
    Rule(when="cohort gap", then=("notify", "retrain")),
    Rule(when="data quality", then=("notify",)),
    Rule(when="staleness", then=("notify",)),
)


class Channel(Strict):
    """Where notifications go: exactly one of `block`, `apprise` and `webhook`."""

    block: str | None = Field(None, pattern=r"^[a-z0-9-]+/[a-z0-9-]+$", description="A Prefect notification block: type/name, such as slack-webhook/team.")
    apprise: Secret | None = Field(None, description="The environment variable that holds an Apprise URL, as ${NAME}.")
    webhook: str | None = Field(None, description="An http(s) URL that is posted JSON; it may hold ${NAME}.")
    secret: Secret | None = Field(None, description="webhook: the environment variable that holds the key of its HMAC-SHA256 signature, as ${NAME}.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(one is not None for one in (self.block, self.apprise, self.webhook)) != 1:
            raise ValueError("give exactly one of `block`, `apprise` and `webhook`")
        if (self.secret is not None) != (self.webhook is not None):
            raise ValueError("`secret` signs what a `webhook` is posted, and is needed for it")
        if self.webhook is not None and not self.webhook.startswith(("http://", "https://", "${")):
            raise ValueError(f"webhook: {self.webhook!r} is not an http(s) URL")
        return self


class Monitoring(Strict):
    """What is found in production, and what is done about it."""

    stale_days: int | None = Field(None, ge=1, description="Staleness: a finding when the newest scored period ended longer ago.")
    rules: tuple[Rule, ...] = Field(RULES, description="What is done about each finding: all that the rules that fit it say, and nothing else.")
    notify: tuple[Channel, ...] = Field((), description="Where notifications go; Prefect's own page unless given.")

"""Refits: a case's mitigated candidates, fitted again on rows as a seed draws them, beside the same estimators without their steps.

A candidate is held against its pooled baseline, the same estimator without steps, and against a control, the same estimator
with nothing but thresholds (of a regression: bias corrections) tuned by the cohorts that the candidate aims at. All are fitted
on train; thresholds are chosen on validation; the figures are of test, and no row is in two of the three.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.core.building import build
from tasks.core.candidate_spec import REST, CandidateSpec, PostStep
from tasks.core.case import Case, Split
from tasks.core.encoding import Kind
from tasks.core.errors import CaseError, DataError, EquipoiseError
from tasks.core.evaluation import evaluate
from tasks.core.fitting import Cache
from tasks.core.metrics import SUMMARIES
from tasks.core.predictions import predictions_table
from tasks.core.report import CohortReport
from tasks.core.splits import PARTS, TEST, TRAIN, VALIDATION, split
from tasks.core.suppression import publish

SEEDS = 5  # fewer leave so few degrees of freedom that hardly any gain could be told from none
AGAINST = BASELINE, CONTROL = ("baseline", "control")
GAP = "gap by "

Part = tuple[pd.DataFrame, "pd.Series[Any]"]


def mitigated(case: Case, seeds: int = SEEDS) -> tuple[CandidateSpec, ...]:
    """The candidates to be attributed: those with steps. Raises CaseError when there are none, and for fewer than 5 seeds."""
    if seeds < SEEDS:
        raise CaseError(f"{seeds} seeds are too few to tell a gain from luck.", where="--seeds", fix=f"Give at least {SEEDS}.")
    found = tuple(spec for spec in case.candidates if spec.mitigated)
    if not found:
        raise CaseError(
            "no candidate has steps, so there is nothing to attribute.", where=f"case {case.case}, candidates", fix="Give one `pre`, `in` or `post`."
        )
    return found


def baseline_of(spec: CandidateSpec) -> CandidateSpec:
    """The same estimator without steps."""
    return CandidateSpec(name=spec.name, estimator=spec.estimator)


def control_of(spec: CandidateSpec, case: Case, labels: "pd.Series[Any]") -> CandidateSpec:
    """The same estimator with thresholds alone, by the columns that the candidate aims at, else by its own `cohorts`, else one
    for all rows. `labels` are those of the validation rows.

    Thresholds have the best balanced accuracy where that is the case's primary metric, and the fewest wrong answers otherwise.
    A regression has no thresholds: its predictions are corrected by the cohorts' mean errors.
    """
    everybody = {"nobody": _never(case.features[0]), "everybody": REST}
    cohorts = {} if spec.by else spec.cohorts or everybody
    if case.task == "regression":
        step = PostStep(method="cohort_bias_correction", by=spec.by)
    else:
        share = float(np.mean(labels))  # of balanced accuracy, a positive row counts 1 / (2 n share) and a negative 1 / (2 n (1 - share))
        costs = {"costs": {"false_positive": share, "false_negative": 1 - share}} if case.metrics.primary == "balanced_accuracy" else {}
        step = PostStep(method="cohort_thresholds", by=spec.by, params=costs)
    return CandidateSpec(name=spec.name, estimator=spec.estimator, cohorts=cohorts, post=(step,))


def _never(column: str) -> str:
    name = '"' + column.replace('"', '""') + '"'
    return f"{name} IS NULL AND {name} IS NOT NULL"


def control_in_words(spec: CandidateSpec, case: Case) -> str:
    """What the control of a candidate is, for example "logistic with thresholds by sex, for balanced_accuracy"."""
    tuned = "bias corrections" if case.task == "regression" else "thresholds"
    aim = f"by {', '.join(spec.by or spec.cohorts)}" if spec.by or spec.cohorts else "for all rows together"
    purpose = "" if case.task == "regression" else f", for {'balanced_accuracy' if case.metrics.primary == 'balanced_accuracy' else 'accuracy'}"
    return f"{spec.estimator.kind} with {tuned} {aim}{purpose}"


def draw(frame: pd.DataFrame, target: "pd.Series[Any]", case: Case, seed: int) -> tuple[dict[str, Part], float]:
    """Train, validation and test as a seed has them, and the overlap o by which the seeds' figures are alike."""
    by_time = case.split.kind == "time"
    part = split(frame, target, case.split, case.seed if by_time else seed)
    parts = {name: (frame[part == name], target[part == name]) for name in PARTS}
    if by_time:
        half = Split(kind="random", validation=0.25, test=0.25)
        kept = {name: split(rows, None, half, seed) == TRAIN for name, (rows, _) in parts.items()}
        parts = {name: (rows[kept[name]], labels[kept[name]]) for name, (rows, labels) in parts.items()}
        return parts, 1.0
    return parts, len(parts[TEST][0]) / len(parts[TRAIN][0])


def check_no_leak(parts: Mapping[str, Part]) -> None:
    """Raise DataError when two parts share a row: one `row_id`, or where a part has none, one row alike in every column."""
    with_ids = all("row_id" in rows.columns for rows, _ in parts.values())
    seen: dict[Any, str] = {}
    for name, (rows, _) in parts.items():
        keys = rows["row_id"] if with_ids else pd.util.hash_pandas_object(rows, index=False)
        shared = keys[keys.isin(list(seen))]
        if len(shared):
            first = f"row_id {shared.iloc[0]!r}" if with_ids else f"row {shared.index[0]!r}"
            raise DataError(
                f"{len(shared)} of {len(keys)} {name} rows are {seen[shared.iloc[0]]} rows too, {first} among them: figures would look better than they are.",
                where="split",
                fix="Choose on rows that are neither fitted nor reported on.",
            )
        seen |= dict.fromkeys(keys.tolist(), name)


@dataclass(frozen=True)
class Refit:
    """What one seed gave: for each candidate, the figures of it and of what it is held against (see `figures`)."""

    seed: int
    overlap: float
    rows: Mapping[str, int]
    figures: Mapping[str, Mapping[str, pd.DataFrame]]


def refit(case: Case, kinds: Mapping[str, Kind], parts: Mapping[str, Part], *, seed: int, overlap: float) -> Refit:
    """Fit the case's mitigated candidates, their baselines and controls on train; choose on validation; measure on test.

    What several of them share is fitted once. Raises DataError when parts share rows, and what fitting raises, with the seed.
    """
    check_no_leak(parts)
    seeded = case.model_copy(update={"seed": seed})
    shared: Cache = {}
    known: dict[str, pd.DataFrame] = {}

    @cache
    def old() -> NDArray[Any]:
        """What backward compatible candidates are compatible with: the case's baseline, its answers and probabilities on train."""
        model = fit(case.candidates[0])
        return np.column_stack([model.predict(parts[TRAIN][0]), model.predict_score(parts[TRAIN][0])])

    def fit(spec: CandidateSpec) -> Any:
        compatible = spec.during is not None and spec.during.method == "backward_compatible" and spec is not case.candidates[0]
        return build(spec, seeded, kinds).fit(*parts[TRAIN], validation=parts[VALIDATION], previous=old() if compatible else None, cache=shared)

    def measured(spec: CandidateSpec) -> pd.DataFrame:
        key = spec.model_dump_json(exclude={"name"})
        if key not in known:
            known[key] = figures(_evaluated(case, predictions_table(fit(spec), *parts[TEST])), case)
        return known[key]

    found = {}
    try:
        for spec in mitigated(case):
            control = control_of(spec, case, parts[VALIDATION][1])
            found[spec.name] = {"candidate": measured(spec), BASELINE: measured(baseline_of(spec)), CONTROL: measured(control)}
    except EquipoiseError as error:
        raise type(error)(error.message, where=f"{error.where or f'case {case.case}'}, seed {seed}", fix=error.fix) from error
    return Refit(seed, overlap, {name: len(rows) for name, (rows, _) in parts.items()}, found)


def _evaluated(case: Case, predictions: pd.DataFrame) -> CohortReport:
    return evaluate(
        predictions,
        task=case.task,
        by=case.cohorts.by,
        where=case.cohorts.where,
        bins=case.cohorts.bins,
        metrics=case.metric_names,
        min_support=case.cohorts.min_support,
        intervals=False,
    )


def figures(report: CohortReport, case: Case) -> pd.DataFrame:
    """Figures that may be published, by (cohort, metric): kind, value, support, and whether there is enough evidence (`ok`).

    Of a metric that aims at 0 the value is its distance from 0. The difference that a gap limit bounds has a row of its own,
    the cohort being `gap by <grouping>`; as in the gate there is evidence only if each cohort of the grouping has enough.
    """
    report = publish(report)
    aims_at_0 = [metric.name for metric in report.metrics if metric.better == "zero"]
    rows = report.frame()
    rows["value"] = rows["value"].where(~rows["metric"].isin(aims_at_0), rows["value"].abs())
    rows = rows.assign(support=rows["support"].astype("float64"), ok=rows["verdict"] == "ok")
    limits = dict.fromkeys((str(limit.metric), limit.gap) for limit in case.limits if limit.gap)
    differences = {(gap["grouping"], gap["metric"]): gap for gap in report.gaps().to_dict("records")} if limits else {}
    gaps = []
    for metric, grouping in limits:
        name = ", ".join(grouping)
        parts = rows[rows["cohort"].isin(report.cohorts_of(grouping)) & rows["metric"].isin(SUMMARIES.get(metric, (metric,)))]
        gap = differences[name, metric]
        told = {"value": gap["difference"], "support": parts["support"].min(skipna=False), "ok": bool(parts["ok"].all()) and gap["verdict"] == "ok"}
        gaps.append({"cohort": GAP + name, "metric": metric, "kind": "gap"} | told)
    columns = ["kind", "value", "support", "ok"]
    found = [pd.DataFrame(part).set_index(["cohort", "metric"])[columns] for part in (rows, gaps) if len(part)]
    return pd.concat(found)

"""A sweep: what is tried, what is not worth finishing, and which of the finished ones no other beats.

Everything here is judged on validation rows.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product as crossed
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.core.building import ESTIMATORS
from tasks.core.candidate_spec import CandidateSpec, SweepGap, Targeted
from tasks.core.case import Case
from tasks.core.errors import CaseError
from tasks.core.metrics import get_metric
from tasks.core.report import CohortReport

Outcome = Literal["finished", "stopped early", "refused", "not begun"]
OBJECTIVES = ("performance", "worst_cohort", "gap", "btc", "seconds")
LONGEST = 60  # characters of a name, before a number that tells two apart
SAMPLE = 4  # one in so many training rows is fitted first
FEWEST = 8000  # training rows below which all are fitted at once


@dataclass(frozen=True)
class Trial:
    """One candidate of a sweep. `objectives` maps names of OBJECTIVES to (value, low, high); those not known are not there."""

    spec: CandidateSpec
    outcome: Outcome
    objectives: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    reason: str = ""


def product(case: Case) -> tuple[CandidateSpec, ...]:
    """The candidates that the case's sweep stands for, each once, those that the case already has left out.

    Raises: CaseError for a case without a sweep.
    """
    if case.sweep is None:
        raise CaseError("there is no `sweep`.", where=f"configs/{case.case}.yaml", fix="Write what to try under `sweep`; docs/mitigation.md shows how.")
    sweep, known, found = case.sweep, [_what(spec) for spec in case.candidates], []
    names = {spec.name for spec in case.candidates}
    each: Any = crossed(sweep.estimator, sweep.pre, sweep.during, sweep.post)
    for estimator, pre, during, post in each:
        aimed = any(isinstance(step, Targeted) or step.each for step in pre) or any(not step.by for step in (*post, *([during] if during else [])))
        stated: dict[str, Any] = {"name": "x", "estimator": estimator, "cohorts": sweep.cohorts if aimed else {}, "pre": pre, "in": during, "post": post}
        spec = CandidateSpec.model_validate(stated)
        if _what(spec) in known:
            continue
        known.append(_what(spec))
        name = _name(spec, names)
        names.add(name)
        found.append(spec.model_copy(update={"name": name}))
    return tuple(found[: sweep.candidates])


def _what(spec: CandidateSpec) -> str:
    return spec.model_dump_json(exclude={"name"})


def _name(spec: CandidateSpec, taken: set[str]) -> str:
    """The methods' names joined, cut to what a name may hold, with a number where that is taken."""
    parts: list[str] = [spec.estimator.kind]
    for step in spec.pre:
        parts.append("-".join(part.method for part in step.cohorts.values()) if isinstance(step, Targeted) else step.method)
    parts += [spec.during.method] if spec.during else []
    parts += [step.method for step in spec.post]
    stem = re.sub(r"[^a-z0-9_-]", "", "-".join(parts))[:LONGEST].rstrip("-_")
    name, number = stem, 2
    while name in taken:
        name, number = f"{stem}-{number}", number + 1
    return name


def needs_old_model(case: Case, sweep: bool) -> bool:
    """Whether candidates are fitted, or judged, by what the model before them answers."""
    return sweep or any(spec.during is not None and spec.during.method == "backward_compatible" for spec in case.candidates)


def groups(specs: Sequence[CandidateSpec]) -> list[list[CandidateSpec]]:
    """Candidates that begin with the same step (or none, and read the same encoding), together: what they share is fitted once
    by whoever takes the group.
    """
    found: dict[str, list[CandidateSpec]] = {}
    for spec in specs:
        first = spec.pre[0].model_dump_json() if spec.pre else f"encoded {ESTIMATORS[spec.estimator.kind][1]}"
        found.setdefault(f"{sorted(spec.cohorts.items())} {first}", []).append(spec)
    return sorted(found.values(), key=len, reverse=True)


def gap_of(case: Case) -> SweepGap | None:
    """The gap that the case's sweep weighs."""
    if case.sweep is not None and case.sweep.gap is not None:
        return case.sweep.gap
    limit = next((limit for limit in case.limits if limit.gap is not None), None)
    return None if limit is None or limit.gap is None else SweepGap(metric=limit.metric, by=limit.gap)


def objectives(
    case: Case, report: CohortReport, answers: NDArray[np.float64], reference: NDArray[np.float64] | None, seconds: float
) -> dict[str, tuple[float, float, float]]:
    """What a candidate is worth on validation, each as (value, low, high).

    performance: the primary metric overall; worst_cohort: its worst value among cohorts with enough evidence; gap: the
    difference of `gap_of`; btc: of the rows (columns of `reference`: label, answer) that the reference model tells rightly, the
    share that `answers` tell rightly too; seconds: of fitting, which energy goes with.
    """
    better = get_metric(case.metrics.primary, case.task).better
    rows = report.frame()
    rows = rows[(rows["metric"] == case.metrics.primary) & (rows["verdict"] == "ok")]
    found: dict[str, tuple[float, float, float]] = {"seconds": (seconds, seconds, seconds)}
    overall: Any = rows[rows["kind"] == "overall"]
    others: Any = rows[rows["kind"] != "overall"]
    if len(overall):
        found["performance"] = _three(overall.iloc[0])
    if len(others):
        badness = {"higher": -others["value"], "lower": others["value"]}.get(better, others["value"].abs())
        found["worst_cohort"] = _three(others.loc[badness.idxmax()])
    wanted = gap_of(case)
    if wanted is not None:
        gaps = report.gaps()
        gap: Any = gaps[(gaps["metric"] == wanted.metric) & (gaps["grouping"] == ", ".join(wanted.by)) & (gaps["verdict"] == "ok")]
        if len(gap):
            found["gap"] = _three(gap.iloc[0].rename({"difference": "value"}))
    if reference is not None and case.task == "binary":
        right = reference[:, 0] == reference[:, 1]
        if right.any():
            kept = float((answers[right] == reference[right, 0]).mean())
            found["btc"] = (kept, kept, kept)
    return found


def _three(row: Any) -> tuple[float, float, float]:
    return float(row["value"]), float(row["low"]), float(row["high"])


def _signs(case: Case) -> dict[str, int]:
    """1 where more is better, -1 where less is."""
    sign = {"higher": 1, "lower": -1}.get(get_metric(case.metrics.primary, case.task).better, -1)
    return {"performance": sign, "worst_cohort": sign, "gap": -1, "btc": 1, "seconds": -1}


def hopeless(case: Case, trials: Sequence[Trial]) -> dict[str, str]:
    """Trials on a sample that another beats in performance, worst cohort and gap, each by more than both intervals: name and reason."""
    signs, found = _signs(case), {}
    for one in trials:
        for other in trials:
            shared = [name for name in ("performance", "worst_cohort", "gap") if name in one.objectives and name in other.objectives]
            if shared and other is not one and all(_clear(other.objectives[name], one.objectives[name], signs[name]) for name in shared):
                found[one.spec.name] = f"{other.spec.name} is clearly better in {', '.join(shared)} on a sample"
                break
    return found


def _clear(one: tuple[float, float, float], two: tuple[float, float, float], sign: int) -> bool:
    return one[1] > two[2] if sign > 0 else one[2] < two[1]


def front(case: Case, trials: Sequence[Trial]) -> set[str]:
    """Names of the finished trials that no other is at least as good as in every objective and better in one: the Pareto front."""
    signs = _signs(case)
    finished = [trial for trial in trials if trial.outcome == "finished"]
    shared = [name for name in OBJECTIVES if finished and all(name in trial.objectives for trial in finished)]
    worth = np.array([[signs[name] * _told(name, trial) for name in shared] for trial in finished]).reshape(len(finished), len(shared))
    beaten = [bool(np.any((worth >= row).all(axis=1) & (worth > row).any(axis=1))) for row in worth]
    return {trial.spec.name for trial, lost in zip(finished, beaten, strict=True) if not lost}


def _told(name: str, trial: Trial) -> float:
    """An objective as the front compares it: times by powers of two, since they vary from run to run."""
    value = trial.objectives[name][0]
    return float(np.round(np.log2(max(value, 0.01)))) if name == "seconds" else value


def table(case: Case, trials: Sequence[Trial], kg_per_second: float | None) -> pd.DataFrame:
    """One row a trial: candidate, outcome, front, each objective with its limits, kg_co2e and reason; the front first, by performance."""
    best, rows = front(case, trials), []
    for trial in trials:
        row: dict[str, object] = {"candidate": trial.spec.name, "outcome": trial.outcome, "front": trial.spec.name in best}
        for name in OBJECTIVES:
            value, low, high = trial.objectives.get(name, (float("nan"),) * 3)
            row |= {name: value} if name in ("seconds", "btc") else {name: value, f"{name}_low": low, f"{name}_high": high}
        seconds = trial.objectives.get("seconds")
        row["kg_co2e"] = float("nan") if seconds is None or kg_per_second is None else seconds[0] * kg_per_second
        rows.append(row | {"reason": trial.reason})
    frame = pd.DataFrame(rows)
    order = -_signs(case)["performance"] * frame["performance"].fillna(np.nan)
    return (
        frame.assign(_order=order)
        .sort_values(["front", "_order"], ascending=[False, True], kind="stable", na_position="last")
        .drop(columns="_order")
        .reset_index(drop=True)
    )


def price(case: Case, trials: Sequence[Trial], chosen: str) -> str:
    """What the choice cost in performance, in words."""
    finished = {trial.spec.name: trial.objectives["performance"][0] for trial in trials if trial.outcome == "finished" and "performance" in trial.objectives}
    sign = _signs(case)["performance"]
    best = max(finished, key=lambda name: sign * finished[name])
    lost = sign * (finished[best] - finished[chosen])
    if best == chosen or lost <= 0:
        return f"no other of {len(finished)} has a better {case.metrics.primary}"
    return f"it gives up {lost:.4g} of {case.metrics.primary} against {best}, which does not keep as many limits"

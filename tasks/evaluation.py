"""Step: evaluate predictions on every cohort, and choose among candidates."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from tasks.core.case import Case
from tasks.core.evaluation import CohortReport, evaluate
from tasks.core.gate import Decision, decide, worst_excess
from tasks.core.metrics import get_metric
from tasks.step import say, step


@dataclass(frozen=True)
class Choice:
    """The candidate chosen on validation, and why."""

    name: str
    reason: str


@step("evaluate on every cohort", task_run_name="evaluate {what}")
def evaluate_predictions(case: Case, predictions: pd.DataFrame, what: str) -> CohortReport:  # noqa: ARG001  # names the task run
    """The case's metrics on the case's cohorts. `what` names the evaluation in Prefect's UI."""
    return evaluate(
        predictions,
        task=case.task,
        by=[list(grouping) for grouping in case.cohorts.by],
        where=case.cohorts.where,
        bins=case.cohorts.bins,
        metrics=list(case.metric_names),
        min_support=case.cohorts.min_support,
        seed=case.seed,
    )


@step("hold against the limits")
def hold_against_limits(case: Case, report: CohortReport) -> Decision:
    """The gate's decision on a report."""
    decision = decide(report, case.limits)
    say(f"gate: {'passed' if decision.passed else 'not passed'}, {len(decision.checks)} checks" + "".join(f"\n  - {reason}" for reason in decision.reasons))
    return decision


@step("choose on validation")
def choose(case: Case, reports: Mapping[str, CohortReport]) -> Choice:
    """The candidate with the fewest limits not kept on validation, and among those the best primary metric."""
    better = get_metric(case.metrics.primary, case.task).better
    ranked = []
    for place, (name, report) in enumerate(reports.items()):
        rows = report.frame()
        value = float(rows[(rows["cohort"] == "overall") & (rows["metric"] == case.metrics.primary)]["value"].iloc[0])
        cost = {"higher": -value, "lower": value}.get(better, abs(value))
        short = worst_excess(decide(report, case.limits))
        ranked.append((short, cost, place, name, value))
    short, _, _, name, value = min(ranked)
    kept = "every limit kept" if not short else f"all but {short} of the checks passed"
    reason = f"the best of {len(ranked)} on validation: {kept}, {case.metrics.primary} {value:.4g}"
    say(f"chose {name}: {reason}")
    return Choice(name, reason)

"""Step: evaluate predictions on every cohort, whole or in parts, and choose among candidates."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from tasks.core.case import Case
from tasks.core.cells import Plan, Summary
from tasks.core.comparison import compare
from tasks.core.evaluation import CohortReport, evaluate, make_plan, report_of
from tasks.core.examination import Examination, examine
from tasks.core.gate import Decision, decide, worst_excess
from tasks.core.metrics import get_metric
from tasks.core.planning import Metrics
from tasks.core.predictions import Source, open_dataset
from tasks.core.streaming import fold_stream, is_large, stream_plan
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
        **case.asked,
    )


@step("evaluate predictions", task_run_name="evaluate {predictions}")
def examine_predictions(predictions: str, *, errors: bool, **asked: Any) -> Examination:
    """Evaluate a table from anywhere; with `errors` search it for error slices. `asked` is what evaluate takes."""
    return examine(evaluate(predictions, **asked), predictions, errors=errors)


@step("plan the parts")
def plan_parts(predictions: str, *, min_support: int, **asked: Any) -> tuple[list[str], Plan, Metrics]:  # noqa: ARG001  # of the report, not the parts
    """The files of a folder, and the one plan to fold each with."""
    files = [str(file) for file in open_dataset(predictions).files]
    plan, metrics = stream_plan(predictions, **asked) if is_large(predictions) else make_plan(Source(predictions), **asked)
    return files, plan, metrics


@step("fold a part", task_run_name="fold {part}")
def fold_part(part: str, plan: Plan) -> Summary:
    """The summary of one file. It may run on another machine that sees the same files."""
    return fold_stream(part, plan)


@step("examine what was folded")
def examine_folded(summary: Summary, metrics: Metrics, predictions: str, *, errors: bool, min_support: int) -> Examination:
    """As `examine_predictions`, of parts folded elsewhere and added up."""
    return examine(report_of(summary, metrics, min_support=min_support), predictions, errors=errors)


@step("hold against the limits")
def hold_against_limits(case: Case, report: CohortReport) -> Decision:
    """The gate's decision on a report."""
    decision = decide(report, case.limits)
    say(f"gate: {'passed' if decision.passed else 'not passed'}, {len(decision.checks)} checks" + "".join(f"\n  - {reason}" for reason in decision.reasons))
    return decision


@step("compare with the baseline")
def beside_baseline(case: Case, baseline: pd.DataFrame, chosen: pd.DataFrame) -> dict[str, Any]:
    """The chosen candidate beside the case's first one on the test rows, as may be published; `rows` is empty where they are the same."""
    if baseline is chosen:
        return {"baseline": case.candidates[0].name, "rows": []}
    return compare({"baseline": baseline, "chosen": chosen}, baseline="baseline", **case.asked).published().reports["chosen"].to_dict()


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

"""Great Expectations: runs a dataset's quality rules on a table and brings back verdicts and counts, never values.

The context lives in memory and in this call only: no files, no analytics, no progress bars.
"""

import logging
import os
import warnings
from dataclasses import asdict, dataclass
from typing import Any, Literal

import pandas as pd

from tasks.core.catalogue import Dataset
from tasks.core.errors import CaseError, nearest
from tasks.core.findings import Finding
from tasks.core.rules import Rule


@dataclass(frozen=True, slots=True)
class RuleResult:
    """What became of one rule.

    verdict: passed; failed; absent, when a column it reads is not in the table; broken, when it could not be run.
    checked: rows looked at (for a column, those with a value, unless the rule counts nulls). exceptions: rows that break
    the rule; None where the rule is not about rows. note: what a broken rule ran into.
    """

    rule: Rule
    verdict: Literal["passed", "failed", "absent", "broken"]
    checked: int
    exceptions: int | None = None
    note: str = ""

    @property
    def passed(self) -> bool:
        """Whether it ran and held."""
        return self.verdict == "passed"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**asdict(self), "rule": self.rule.model_dump(mode="json")}


def run_rules(dataset: Dataset, frame: pd.DataFrame) -> tuple[RuleResult, ...]:
    """A result for each rule of the dataset, in its order.

    Raises: CaseError for an expectation that Great Expectations does not have, or arguments that it does not take.
    """
    runnable = [index for index, rule in enumerate(dataset.rules) if set(rule.columns) <= set(frame.columns)]
    raw = _validate(dataset, frame, runnable) if runnable and frame.columns.is_unique else {}
    return tuple(_result(rule, raw.get(index), frame) for index, rule in enumerate(dataset.rules))


def rule_findings(dataset: Dataset, results: tuple[RuleResult, ...]) -> tuple[Finding, ...]:
    """A finding for each rule that failed, graver when the rule is an error; a rule that could not be run blocks.

    An absent column is `check_frame`'s to find, or a label that comes later.
    """
    return tuple(_finding(dataset, result) for result in results if result.verdict in ("failed", "broken"))


def _finding(dataset: Dataset, result: RuleResult) -> Finding:
    rule = result.rule
    subject = f"Column `{rule.column}`" if rule.column else "The table"
    if result.verdict == "broken":
        message = f'{subject}: the rule "{rule.description}" ({rule.expectation}) could not be run: {result.note}.'
        return Finding("rule", "block", rule.column, message, f"See that the column has its declared type, and the rule its arguments in {dataset.file}.")
    counts = f" in {result.exceptions:,} of {result.checked:,} rows" if result.exceptions is not None else f" ({result.checked:,} rows)"
    message = f'{subject} breaks the rule "{rule.description}"{counts}{_stated(rule)}.'
    if rule.severity == "error":
        return Finding("rule", "block", rule.column, message, f"Mend the source, or change the rule in {dataset.file} if the world has changed.")
    return Finding("rule", "warn", rule.column, message, "Look at where these rows came from.")


def _stated(rule: Rule) -> str:
    """The rule's bounds, where they are short enough to read."""
    parts = [f"{name}: {rule.kwargs[name]}" for name in ("min_value", "max_value", "mostly") if name in rule.kwargs]
    return f" ({', '.join(parts)})" if parts else ""


def _result(rule: Rule, raw: Any, frame: pd.DataFrame) -> RuleResult:
    if raw is None:
        return RuleResult(rule, "absent", 0)
    found = raw.result or {}
    note = _exception(raw.exception_info)
    if note:
        return RuleResult(rule, "broken", len(frame), note=note)
    missing = found.get("missing_count", 0) or 0
    exceptions = found.get("unexpected_count")
    checked = found.get("element_count", len(frame)) - missing
    return RuleResult(rule, "passed" if raw.success else "failed", checked, exceptions)


def _exception(info: Any) -> str:
    """The kind of exception alone: its text may quote values. Great Expectations keeps one record, or one for each metric."""
    records = [info] if info and "raised_exception" in info else list((info or {}).values())
    for record in records:
        if record.get("raised_exception"):
            last = (record.get("exception_traceback") or "").strip().splitlines()[-1:] or [""]
            return last[0].split(":")[0].rsplit(".", 1)[-1] or "an exception"
    return ""


def _validate(dataset: Dataset, frame: pd.DataFrame, indices: list[int]) -> dict[int, Any]:
    """Great Expectations' own results, by the rule's index."""
    gx = _load()
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    # The suite is not added to the context, which costs a fifth of the time and, on a second run, an exception.
    suite = gx.ExpectationSuite(name=dataset.name, expectations=[_expectation(dataset, dataset.rules[index], index) for index in indices])
    asset = context.data_sources.add_pandas(name=dataset.name).add_dataframe_asset(name=dataset.name)
    batch = asset.add_batch_definition_whole_dataframe(dataset.name).get_batch({"dataframe": frame})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas and GX disagree on details of dtypes; verdicts and exceptions are what counts
        outcome = batch.validate(suite, result_format={"result_format": "BASIC", "partial_unexpected_count": 0})
    return {result.expectation_config.meta["index"]: result for result in outcome.results}


def _expectation(dataset: Dataset, rule: Rule, index: int) -> Any:
    from great_expectations.expectations.registry import list_registered_expectation_implementations

    known = list_registered_expectation_implementations()
    subject = f"A quality rule of {f'column `{rule.column}`' if rule.column else 'the table'}"
    if rule.expectation not in known:
        message = f"{subject} names `{rule.expectation}`, which Great Expectations does not have."
        raise CaseError(message, where=dataset.file, fix=nearest(rule.expectation, known))
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    kwargs = rule.kwargs if rule.column is None else {**rule.kwargs, "column": rule.column}
    try:
        return ExpectationConfiguration(type=rule.expectation, kwargs=kwargs, meta={"index": index}).to_domain_obj()
    except (TypeError, ValueError) as error:  # pydantic's validation errors are ValueErrors
        words = " ".join(str(error).split()[:40])
        raise CaseError(f"{subject} gives `{rule.expectation}` arguments it does not take: {words}", where=dataset.file, fix="Mend its `kwargs`.") from error


def _load() -> Any:
    """The package, imported on first use (3 to 7 s) with its analytics off."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # its own imports of modules that Python has deprecated
        import great_expectations
    # This one sets its own level when imported, and tells of a temporary folder for each context.
    logging.getLogger("great_expectations.data_context.types.base").setLevel(logging.WARNING)
    return great_expectations

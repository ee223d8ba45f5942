"""Tables larger than memory: read in batches, folded batch by batch, added up.

Counts and sums are exact, whatever the batches. Measures that need rows in order are computed from histograms whose edges
are quantiles of the first batch: roc_auc and average_precision come with a bound on what that can cost, by which their
intervals are widened, and median_ae is the upper edge of its bin.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds

from tasks.core.cells import Plan, Summary
from tasks.core.cohorts import condition_columns, groupings
from tasks.core.declared import parse_costs, parse_prevalence
from tasks.core.errors import DataError
from tasks.core.folding import read, summarise
from tasks.core.labels import find_classes
from tasks.core.planning import Metrics, make_plan
from tasks.core.predictions import Source, open_dataset
from tasks.core.ranking import histogram_edges, key_of

BATCH = 2**18  # rows folded at a time: each takes some 400 bytes while it is folded
BINS = 1024  # of the histograms that stand for ordered rows
IN_MEMORY = 4_000_000  # a file of up to so many rows is read whole, and its ranking measures are exact


def is_large(path: str | Path) -> bool:
    """Whether a file or folder is evaluated in batches."""
    return bool(open_dataset(path).count_rows() > IN_MEMORY)


def batches(dataset: ds.Dataset, columns: Sequence[str], name: str) -> Iterator[Source]:
    """The dataset in tables of at most BATCH rows; short record batches are joined."""
    held: list[pa.RecordBatch] = []
    count = first = 0
    for batch in dataset.to_batches(columns=list(columns), batch_size=BATCH, batch_readahead=2, fragment_readahead=1):
        if held and count + batch.num_rows > BATCH:
            yield Source(pa.Table.from_batches(held), f"{name}, rows from {first:,}")
            first, count, held = first + count, 0, []
        if batch.num_rows:
            held.append(batch)
            count += batch.num_rows
    if held:
        yield Source(pa.Table.from_batches(held), f"{name}, rows from {first:,}" if first else name)


def stream_plan(
    path: str | Path,
    *,
    task: str,
    by: Sequence[str | Sequence[str]] = (),
    where: Mapping[str, str] | None = None,
    metrics: Sequence[str] | None = None,
    intervals: bool = True,
    bins: Mapping[str, Sequence[float] | int] | None = None,
    costs: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    prevalence: Mapping[str, Mapping[Any, float]] | None = None,
) -> tuple[Plan, Metrics]:
    """One plan for every part of a dataset. Fold each part with it, here or on another machine, and add the summaries."""
    dataset, name = open_dataset(path), str(path)
    more = [cost.where for cost in parse_costs(costs) if cost.where is not None]
    columns = needed(dataset, by, where, more, prevalence or ())
    sample = next(batches(dataset, columns, name), None)
    if sample is None:
        raise DataError("has no rows.", where=name, fix="Evaluate a table with at least one prediction.")
    found = None
    if task in ("multiclass", "multilabel"):
        labels = [column for column in columns if column in ("y_true", "y_pred") or column.startswith("y_score_")]
        found = tuple(sorted({label for part in batches(dataset, labels, name) for label in find_classes(part, task)}))
    plan, chosen = make_plan(sample, task=task, by=by, where=where, metrics=metrics, intervals=intervals, bins=bins, classes=found, costs=costs)
    if prevalence:
        counted = [*prevalence, *(["weight"] if "weight" in dataset.schema.names else [])]
        plan = replace(plan, prevalence=parse_prevalence(prevalence, batches(dataset, counted, name)))
    rows = read(sample, plan)
    return replace(plan, cuts=tuple((key, histogram_edges(key_of(rows, key), BINS)) for key in plan.ranked)), chosen


def needed(
    dataset: ds.Dataset, by: Sequence[str | Sequence[str]], where: Mapping[str, str] | None, conditions: Sequence[str] = (), columns: Iterable[str] = ()
) -> list[str]:
    """Columns that an evaluation reads: those of predictions, groupings, conditions, and any `columns` besides."""
    names = dataset.schema.names
    own = [name for name in names if name in ("y_true", "y_pred", "weight") or name == "y_score" or name.startswith("y_score_")]
    texts = dict(where or {}) | {f"costs.{place}": text for place, text in enumerate(conditions)}
    wanted = [*own, *(column for entry in groupings(by) for column in entry), *condition_columns(texts, [*names, "error"]), *(columns or ())]
    return [name for name in dict.fromkeys(wanted) if name in names]


def fold_stream(path: str | Path, plan: Plan) -> Summary:
    """The summary of a whole dataset, read in batches."""
    texts = [column for entry in plan.sets for column in entry if column not in plan.bins]
    dataset = open_dataset(path, dictionaries=texts)
    total: Summary | None = None
    conditions = [cost.where for cost in plan.costs if cost.where is not None]
    columns = needed(dataset, plan.by, plan.where, conditions, [plan.prevalence.column] if plan.prevalence else [])
    for part in batches(dataset, columns, str(path)):
        summary = summarise(part, plan)
        total = summary if total is None else total + summary
    assert total is not None  # Source refused an empty table when the plan was made
    return total

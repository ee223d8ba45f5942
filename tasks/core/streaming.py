"""Tables larger than memory: read in batches, folded batch by batch, added up.

Counts and sums are exact, whatever the batches. Measures that need rows in order are computed from histograms whose edges
are quantiles of the first batch: roc_auc and average_precision come with a bound on what that can cost, by which their
intervals are widened, and median_ae is the upper edge of its bin.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds

from tasks.core.cells import Plan, Summary
from tasks.core.cohorts import condition_columns, groupings
from tasks.core.folding import read, summarise
from tasks.core.labels import find_classes
from tasks.core.planning import Metrics, make_plan
from tasks.core.predictions import Source, open_dataset
from tasks.core.ranking import histogram_edges, key_of

BATCH = 2**20  # rows folded at a time
BINS = 1024  # of the histograms that stand for ordered rows
IN_MEMORY = 4_000_000  # a file of up to so many rows is read whole, and its ranking measures are exact


def is_large(path: str | Path) -> bool:
    """Whether a file or folder is evaluated in batches."""
    return bool(open_dataset(path).count_rows() > IN_MEMORY)


def batches(dataset: ds.Dataset, columns: Sequence[str], name: str, rows: int = BATCH) -> Iterator[Source]:
    """The dataset in tables of about so many rows."""
    held: list[pa.RecordBatch] = []
    count = first = 0
    for batch in dataset.to_batches(columns=list(columns), batch_size=rows, batch_readahead=2, fragment_readahead=1):
        held.append(batch)
        count += batch.num_rows
        if count >= rows:
            yield Source(pa.Table.from_batches(held), f"{name}, rows from {first:,}")
            first, count, held = first + count, 0, []
    if count:
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
) -> tuple[Plan, Metrics]:
    """One plan for every part of a dataset. Fold each part with it, here or on another machine, and add the summaries."""
    dataset, name = open_dataset(path), str(path)
    columns = needed(dataset, by, where)
    sample = next(batches(dataset, columns, name))
    found = None
    if task in ("multiclass", "multilabel"):
        labels = [column for column in columns if column in ("y_true", "y_pred") or column.startswith("y_score_")]
        found = tuple(sorted({label for part in batches(dataset, labels, name) for label in find_classes(part, task)}))
    plan, chosen = make_plan(sample, task=task, by=by, where=where, metrics=metrics, intervals=intervals, bins=bins, classes=found)
    rows = read(sample, plan)
    return replace(plan, cuts=tuple((key, histogram_edges(key_of(rows, key), BINS)) for key in plan.ranked)), chosen


def needed(dataset: ds.Dataset, by: Sequence[str | Sequence[str]], where: Mapping[str, str] | None) -> list[str]:
    """Columns that an evaluation reads."""
    names = dataset.schema.names
    own = [name for name in names if name in ("y_true", "y_pred", "weight") or name == "y_score" or name.startswith("y_score_")]
    wanted = [*own, *(column for entry in groupings(by) for column in entry), *condition_columns(dict(where or {}), [*names, "error"])]
    return [name for name in dict.fromkeys(wanted) if name in names]


def fold_stream(path: str | Path, plan: Plan) -> Summary:
    """The summary of a whole dataset, read in batches."""
    texts = [column for entry in plan.sets for column in entry if column not in plan.bins]
    dataset = open_dataset(path, dictionaries=texts)
    total: Summary | None = None
    for part in batches(dataset, needed(dataset, plan.by, plan.where), str(path)):
        summary = summarise(part, plan)
        total = summary if total is None else total + summary
    assert total is not None  # Source refused an empty table when the plan was made
    return total

"""A reference's summaries as bytes and back: what was summarised once need not be again.

NumPy's own format without pickles: the numbers of all columns one after the other, and a table of contents as JSON. The same summaries
give the same bytes.
"""

import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from tasks.core.drift_by_cohort import Block, ByCohort
from tasks.core.drift_summary import Categories, Numbers, Summary

VERSION = 1
"""Of the format and of what a summary is; another version is not read."""


def pack(summary: Summary, cohorts: ByCohort | None = None) -> bytes:
    """The summaries as bytes."""
    values: list[Any] = [np.empty(0)]
    counts: list[Any] = [np.empty(0, dtype=np.int64)]

    def told(one: Summary) -> dict[str, Any]:
        columns: list[list[Any]] = []
        for name, column in one.columns.items():
            if isinstance(column, Numbers):
                values.append(column.values)
                counts.append(column.counts)
                columns.append([name, column.missing, column.values.size])
            else:
                columns.append([name, column.missing, list(column.counts.items())])
        return {"rows": one.rows, "columns": columns}

    contents: dict[str, Any] = {"version": VERSION, "all": told(summary), "blocks": None}
    if cohorts is not None:
        contents["blocks"] = [
            [name, dict(block.sizes), [[cohort, told(one)] for cohort, one in block.summaries.items()], block.condition, block.too_many]
            for name, block in cohorts.blocks.items()
        ]
    buffer = io.BytesIO()
    text = np.frombuffer(json.dumps(contents, ensure_ascii=False).encode("utf-8", "surrogatepass"), dtype=np.uint8)
    np.savez(buffer, contents=text, values=np.concatenate(values), counts=np.concatenate(counts))
    return buffer.getvalue()


def unpack(data: bytes) -> tuple[Summary, ByCohort | None] | None:
    """What `pack` was given; None for bytes of another version."""
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        contents = json.loads(arrays["contents"].tobytes().decode("utf-8", "surrogatepass"))
        values, counts = arrays["values"], arrays["counts"]
    if contents["version"] != VERSION:
        return None
    place = 0

    def read(kept: Mapping[str, Any]) -> Summary:
        nonlocal place
        columns: dict[str, Numbers | Categories] = {}
        for name, missing, held in kept["columns"]:
            if isinstance(held, int):
                columns[name] = Numbers(values[place : place + held], counts[place : place + held], missing)
                place += held
            else:
                columns[name] = Categories(dict(held), missing)
        return Summary(columns, kept["rows"])

    summary = read(contents["all"])
    if contents["blocks"] is None:
        return summary, None
    blocks = {
        name: Block(sizes, {cohort: read(one) for cohort, one in summaries}, condition, too_many)
        for name, sizes, summaries, condition, too_many in contents["blocks"]
    }
    return summary, ByCohort(blocks)

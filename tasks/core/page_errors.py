"""Sections of the evaluation page that say where errors are: slices, a tree, heatmaps.

Nothing is said of fewer than ten rows, nor what would give their figures away by subtraction.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from tasks.core.page_figures import Scale, columns_of, figure, interval, number, percent, probability, rows_of, signed, step, whole
from tasks.core.suppression import K

Row = dict[str, Any]
Cell = tuple[str, str]

ERRORS = ("value", "error_rate", "error")  # what the mean error of some rows may be called
RATES = {"false_positive_rate": "false positive rate", "false_negative_rate": "false negative rate"}


def slice_list(table: Any) -> list[Row]:
    """Error slices in the order they come in, each with its condition and a drawing of its effect."""
    rows = [row for row in rows_of(table) if (number(row["n"]) or 0) >= K]
    scale = Scale([0.0, *(row[key] for row in rows for key in ("effect", "low", "high"))])
    return [
        {
            "condition": str(row["condition"]),
            "n": whole(row["n"]),
            "value": figure(row["value"]),
            "overall": figure(row["overall"]),
            "effect": signed(row["effect"]),
            "interval": interval(row["low"], row["high"], signed),
            "p_value": probability(row["p_value"]),
            "confirmed": bool(row["confirmed"]),
            "marks": scale.marks(row["effect"], row["low"], row["high"], 0.0),
        }
        for row in rows
    ]


def error_tree(table: Any) -> list[Row]:
    """The nodes of an error tree without parents, each holding its `children`.

    Rows have node, parent (none for a root), condition, n, one of value, error_rate or error, and where known coverage and
    false positive and negative rates; parents come before their children. Below a node with a child of fewer than ten rows
    there is nothing: the other child would give it away.
    """
    rows = rows_of(table)
    error = next(iter(columns_of(rows, ERRORS)), None)
    top = max((number(row[error]) or 0.0 for row in rows), default=0.0) if error else 0.0
    nodes = {row["node"]: _node(row, error, top) for row in rows}
    roots: list[Row] = []
    for row in rows:
        node, parent = nodes[row["node"]], None if _text(row["parent"]) == "" else nodes.get(row["parent"])
        (roots if parent is None else parent["children"]).append(node)
        above = parent["condition"] if parent else ""
        node["label"] = node["condition"].removeprefix(f"{above} AND ") if above else node["condition"]
    for node in nodes.values():
        if any(child["small"] for child in node["children"]):
            node["children"] = []
    return [] if any(root["small"] for root in roots) else roots


def _node(row: Row, error: str | None, top: float) -> Row:
    value = row[error] if error else None
    figures = [(word, figure(row[key])) for key, word in RATES.items() if number(row.get(key)) is not None]
    if number(row.get("coverage")) is not None:
        figures.insert(0, ("of all errors", percent(row["coverage"])))
    return {
        "condition": _text(row["condition"]),
        "n": whole(row["n"]),
        "small": (number(row["n"]) or 0) < K,
        "error": figure(value),
        "shade": step(value, top),
        "figures": figures,
        "children": [],
    }


def _text(value: Any) -> str:
    """A label; nothing for None, NaN and NA."""
    return "" if pd.isna(value) else str(value)


def heat_tables(heatmaps: Any) -> list[Row]:
    """Heatmaps over one or two features: cells of mean error, darker for more.

    `heatmaps` maps the names of features, one as a text or two as a pair, to tables; a table alone is one whose features
    have no names. Rows have row and column (the labels of a cell; no column for one feature), n and value.
    """
    if heatmaps is None:
        return []
    named = heatmaps.items() if isinstance(heatmaps, Mapping) else [(("", ""), heatmaps)]
    found = [_heatmap((name, "") if isinstance(name, str) else tuple(name), rows_of(table)) for name, table in named]
    return [one for one in found if one["lines"]]


def _heatmap(names: tuple[str, ...], rows: Sequence[Row]) -> Row:
    error = next(iter(columns_of(rows, ERRORS)), "value")
    crossed = any(_text(row.get("column")) for row in rows)
    cells = {(_text(row["row"]), _text(row.get("column"))): row for row in rows}
    down, across = ([*dict.fromkeys(cell[place] for cell in cells)] for place in (0, 1))
    shown = _shown({cell: number(row["n"]) or 0.0 for cell, row in cells.items()}, crossed)
    top = max((number(cells[cell][error]) or 0.0 for cell in shown), default=0.0)
    return {
        "down": names[0],
        "across": names[1] if crossed and len(names) > 1 else "",
        "labels": [label if crossed else "error" for label in across],
        "lines": [{"label": label, "cells": [_heat(cells.get((label, other)), (label, other) in shown, error, top) for other in across]} for label in down],
        "top": figure(top),
    }


def _shown(n: Mapping[Cell, float], crossed: bool) -> set[Cell]:
    """The cells that may be seen: of every line, and of the whole, none hidden or at least two that hold ten rows together."""
    lines = [list(n)]
    if crossed:
        lines += [[cell for cell in n if cell[place] == label] for place in (0, 1) for label in dict.fromkeys(cell[place] for cell in n)]
    hidden = {cell for cell, count in n.items() if 0 < count < K}
    before = -1
    while len(hidden) > before:
        before = len(hidden)
        for line in lines:
            secret = [cell for cell in line if cell in hidden]
            seen = [cell for cell in line if cell not in hidden and n[cell] > 0]
            if secret and seen and (len(secret) < 2 or sum(n[cell] for cell in secret) < K):
                hidden.add(min(seen, key=lambda cell: n[cell]))
    return {cell for cell, count in n.items() if count > 0} - hidden


def _heat(row: Row | None, shown: bool, error: str, top: float) -> Row:
    if row is None or not number(row["n"]):
        return {"text": "", "n": "no rows", "shade": None}
    if not shown:
        return {"text": "", "n": "not published", "shade": None}
    return {"text": figure(row[error]), "n": f"{whole(row['n'])} rows", "shade": step(row[error], top)}

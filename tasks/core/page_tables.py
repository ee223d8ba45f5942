"""Sections of the evaluation page with a drawing or matrix for each cohort: calibration curves and confusion matrices."""

from collections.abc import Iterable, Sequence
from typing import Any

from tasks.core.page_figures import figure, interval, number, percent, rows_of, step, whole

Row = dict[str, Any]

SHOWN = 12  # cohorts whose calibration curve and confusion matrix are drawn: the whole table and the largest others
SIDE, EDGE = 200.0, 8.0  # of a calibration curve, in pixels


def _largest(rows: Sequence[Row]) -> tuple[dict[str, list[Row]], int]:
    """Rows by cohort, of the whole table and the largest others; and how many cohorts there are."""
    by_cohort: dict[str, list[Row]] = {}
    for row in rows:
        by_cohort.setdefault(str(row["cohort"]), []).append(row)
    size = {name: sum(number(row["n"]) or 0.0 for row in own) for name, own in by_cohort.items()}
    kept = sorted(by_cohort, key=lambda name: (name != "overall", -size[name]))[:SHOWN]
    return {name: by_cohort[name] for name in kept}, len(by_cohort)


def calibration_curves(table: Any) -> Row | None:
    """A calibration curve for each cohort: share of positives against mean score, with intervals and a histogram of rows."""
    chosen, count = _largest(rows_of(table))
    if not chosen:
        return None
    return {"curves": [_curve(name, own) for name, own in chosen.items()], "cohorts": count, "side": SIDE}


def _curve(name: str, rows: Sequence[Row]) -> Row:
    held = [number(row["n"]) or 0.0 for row in rows]
    width = (SIDE - 2 * EDGE) / max(len(rows), 1)
    points = [
        {"x": _place(row["score"]), "y": _place(row["positive"], up=True), "low": _place(row["low"], up=True), "high": _place(row["high"], up=True)}
        for row in rows
        if number(row["score"]) is not None and number(row["positive"]) is not None
    ]
    return {
        "cohort": name,
        "n": whole(sum(held)),
        "points": points,
        "line": " ".join(f"{point['x']},{point['y']}" for point in points),
        "bars": [
            {"x": round(EDGE + place * width + 1, 1), "width": round(width - 2, 1), "height": round(34 * n / (max(held) or 1), 1)}
            for place, n in enumerate(held)
        ],
        "rows": [
            [row["bin"], whole(row["n"]), figure(row["score"]), figure(row["positive"]), interval(row["low"], row["high"])]
            for row in rows
            if number(row["n"]) != 0
        ],
    }


def _place(value: Any, *, up: bool = False) -> float | None:
    found = number(value)
    if found is None:
        return None
    share = min(max(found, 0.0), 1.0)
    return round(EDGE + (1 - share if up else share) * (SIDE - 2 * EDGE), 1)


def confusion_matrices(table: Any) -> Row | None:
    """A confusion matrix for each cohort: rows by true and predicted class, and their share of the true class."""
    chosen, count = _largest(rows_of(table))
    if not chosen:
        return None
    return {"matrices": [_matrix(name, own) for name, own in chosen.items()], "cohorts": count}


def _matrix(name: str, rows: Sequence[Row]) -> Row:
    classes = _ordered(str(row["true"]) for row in rows)
    told = _ordered(str(row["predicted"]) for row in rows)
    counts = {(str(row["true"]), str(row["predicted"])): number(row["n"]) for row in rows}
    lines = []
    for true in classes:
        own = [counts.get((true, predicted)) for predicted in told]
        total = None if None in own else sum(one or 0.0 for one in own)
        cells = [
            {
                "n": whole(n),
                "share": percent(n / total) if n is not None and total else "",
                "right": true == predicted,
                "shade": step(n, total) if total else None,
            }
            for n, predicted in zip(own, told, strict=True)
        ]
        lines.append({"label": true, "cells": cells})
    return {"cohort": name, "classes": told, "lines": lines}


def _ordered(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))

"""Sections of the evaluation page that read the report: its summary, cohorts by metrics, and gaps.

A cohort stands out on a metric where it has support and its own 95 % interval does not reach the value of the whole table.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.core.metrics import METRICS
from tasks.core.page_figures import Scale, figure, interval, number, probability, signed, whole

Row = dict[str, Any]

CLEAR = 0.05
STANDOUTS = 5  # gaps named in the summary
VERDICTS = ("ok", "insufficient", "undefined")
STANDINGS = ("", "better", "worse", "higher", "lower")
CHANGES = ("no evidence", "better", "worse", "changed")


def better_of(metric: str) -> str:
    """Which way is better: higher, lower, zero or none; none for a metric that is not ours."""
    known = METRICS.get(metric.partition("@")[0].partition("[")[0])
    return known.better if known else "none"


def is_share(metric: str) -> bool:
    """Whether values lie between 0 and 1, so that gaps share one scale."""
    known = METRICS.get(metric.partition("@")[0].partition("[")[0])
    return known is not None and known.low >= 0 and known.high <= 1


class Cohorts:
    """Cohorts by metrics: what the table in the document shows, and what its script sorts and filters."""

    def __init__(self, report: Mapping[str, Any]) -> None:
        rows: Sequence[Row] = report["rows"]
        self.names = list(dict.fromkeys(str(row["cohort"]) for row in rows))
        self.metrics = list(dict.fromkeys(str(row["metric"]) for row in rows))
        self.found = {(str(row["cohort"]), str(row["metric"])): row for row in rows}
        self.first = {name: next(self.found[name, metric] for metric in self.metrics if (name, metric) in self.found) for name in self.names}
        compared: Sequence[Row] = report.get("comparison") or []
        self.changes = {(str(row["cohort"]), str(row["metric"])): row for row in compared}

    def kinds(self) -> list[str]:
        """Kinds of cohorts there are."""
        return list(dict.fromkeys(str(row["kind"]) for row in self.first.values()))

    def standing(self, name: str, metric: str) -> str:
        """How a cohort stands out from the whole table: better, worse, higher, lower, or nothing."""
        row, whole_table = self.found.get((name, metric)), self.found.get(("overall", metric))
        if row is None or whole_table is None or name == "overall" or row["verdict"] != "ok":
            return ""
        value, low, high, centre = (number(one) for one in (row["value"], row["low"], row["high"], whole_table["value"]))
        if value is None or low is None or high is None or centre is None or low <= centre <= high:
            return ""
        up, better = value > centre, better_of(metric)
        if better == "none":
            return "higher" if up else "lower"
        good = abs(value) < abs(centre) if better == "zero" else up == (better == "higher")
        return "better" if good else "worse"

    def table(self) -> list[Row]:
        """One entry a cohort, with a cell for each metric."""
        return [
            {
                "name": name,
                "kind": self.first[name]["kind"],
                "n": whole(self.first[name]["n"]),
                "cells": [self._cell(name, metric) for metric in self.metrics],
            }
            for name in self.names
        ]

    def _cell(self, name: str, metric: str) -> Row:
        row = self.found.get((name, metric), {})
        standing, centre = self.standing(name, metric), number(self.found.get(("overall", metric), {}).get("value"))
        change = self.changes.get((name, metric))
        moved = change is not None and change["verdict"] != "no evidence"
        return {
            "value": figure(row.get("value")),
            "interval": interval(row.get("low"), row.get("high")) if number(row.get("low")) is not None else "",
            "verdict": "" if row.get("verdict") == "ok" else row.get("verdict", "undefined"),
            "standing": standing,
            "arrow": "" if not standing or centre is None else arrow(number(row["value"]) or 0.0, centre),
            "change": {"word": change["verdict"], "delta": signed(change["delta"]), "arrow": arrow(change["delta"], 0)} if change and moved else None,
        }

    def data(self) -> Row:
        """The same as arrays by metric and cohort, for the script."""

        def grid(rows: Mapping[tuple[str, str], Row], column: str) -> list[list[float | None]]:
            return [[number(rows.get((name, metric), {}).get(column)) for name in self.names] for metric in self.metrics]

        def words(rows: Mapping[tuple[str, str], Row], among: Sequence[str]) -> list[list[int]]:
            verdicts = [[rows.get((name, metric), {}).get("verdict") for name in self.names] for metric in self.metrics]
            return [[among.index(word) if word in among else len(among) - 1 for word in line] for line in verdicts]

        found: Row = {
            "metrics": self.metrics,
            "cohorts": self.names,
            "kinds": [self.first[name]["kind"] for name in self.names],
            "n": [number(self.first[name]["n"]) for name in self.names],
            **{column: grid(self.found, column) for column in ("value", "low", "high", "support")},
            "verdict": words(self.found, VERDICTS),
            "standing": [[STANDINGS.index(self.standing(name, metric)) for name in self.names] for metric in self.metrics],
            "words": {"verdict": VERDICTS, "standing": STANDINGS, "change": CHANGES},
            "change": None,
        }
        if self.changes:
            found["change"] = {column: grid(self.changes, column) for column in ("baseline", "delta", "low", "high", "btc", "bec")}
            known = {key: row if row["verdict"] in CHANGES else row | {"verdict": CHANGES[0]} for key, row in self.changes.items()}
            found["change"]["verdict"] = words(known, CHANGES)
        return found


def arrow(value: Any, centre: float) -> str:
    """Up or down; nothing where there is no value."""
    found = number(value)
    return "" if found is None or found == centre else "▲" if found > centre else "▼"


def gap_table(gaps: Sequence[Row]) -> tuple[list[Row], str]:
    """Gaps with a drawing each, clear ones first, then by how far apart the cohorts are in proportion; and the scale of most.

    Shares are drawn on one scale, every other metric on its own, which its rows name.
    """
    scales = {"": Scale([row[key] for row in gaps if is_share(str(row["metric"])) for key in ("difference", "high")], low=0.0)}
    for metric in dict.fromkeys(str(row["metric"]) for row in gaps):
        if not is_share(metric):
            scales[metric] = Scale([row[key] for row in gaps if row["metric"] == metric for key in ("difference", "high")], low=0.0)
    found = []
    for row in sorted(gaps, key=_urgency):
        scale = scales.get(str(row["metric"]), scales[""])
        found.append(
            {
                **{key: row[key] for key in ("metric", "grouping", "worst", "best", "verdict")},
                **{f"sort_{key}": number(row[key]) for key in ("difference", "ratio", "p_value")},
                "difference": figure(row["difference"]),
                "interval": interval(row["low"], row["high"]),
                "ratio": figure(row["ratio"]),
                "p_value": probability(row["p_value"]),
                "marks": scale.marks(row["difference"], row["low"], row["high"]),
                "scale": "" if scale is scales[""] else f"0 to {figure(scale.high)}",
                "is_clear": _is_clear(row),
            }
        )
    return found, f"0 to {figure(scales[''].high)}"


def _is_clear(row: Row) -> bool:
    p_value = number(row["p_value"])
    return row["verdict"] == "ok" and p_value is not None and p_value <= CLEAR


def _urgency(row: Row) -> tuple[bool, bool, float]:
    ratio = number(row["ratio"])
    return row["verdict"] != "ok", not _is_clear(row), 2.0 if ratio is None else ratio


def summary(cohorts: Cohorts, gaps: Sequence[Row]) -> Row:
    """What a reader should know first."""
    rows = cohorts.found.values()
    withheld = sum(number(row["n"]) is None for row in cohorts.first.values())
    named: dict[str, Row] = {}
    told: set[tuple[frozenset[str], str]] = set()
    for row in sorted(filter(_is_clear, gaps), key=_urgency):
        metric, same = str(row["metric"]), (frozenset((str(row["worst"]), str(row["best"]))), figure(row["difference"]))
        if metric in cohorts.metrics and metric not in named and same not in told:  # recall and false_negative_rate tell one thing
            named[metric] = row
            told.add(same)
    changes = [str(row["verdict"]) for row in cohorts.changes.values()]
    return {
        "rows": whole(cohorts.first.get("overall", {}).get("n")),
        "cohorts": f"{len(cohorts.names):,}",
        "metrics": f"{len(cohorts.metrics):,}",
        "withheld": withheld,
        "weak": f"{sum(row['verdict'] != 'ok' for row in rows):,}",
        "figures": f"{len(cohorts.found):,}",
        "overall": [
            {"metric": metric, "value": figure(one["value"]), "interval": interval(one["low"], one["high"])}
            for metric in cohorts.metrics
            if (one := cohorts.found.get(("overall", metric))) is not None
        ],
        "gaps": [
            {
                "metric": metric,
                **{key: row[key] for key in ("grouping", "worst", "best")},
                "directed": better_of(metric) != "none",
                "difference": figure(row["difference"]),
                "interval": interval(row["low"], row["high"]),
                "p_value": probability(row["p_value"]),
            }
            for metric, row in list(named.items())[:STANDOUTS]
        ],
        "changes": {word: f"{changes.count(word):,}" for word in CHANGES if word in changes} if changes else None,
    }


def glossary(names: Sequence[str]) -> list[Row]:
    """The metrics of ours among these names: formula, direction, source."""
    ways = {"higher": "higher is better", "lower": "lower is better", "zero": "nearer to 0 is better", "none": "neither"}
    bases = {name: METRICS.get(name.partition("@")[0].partition("[")[0]) for name in dict.fromkeys(names)}
    return [{"name": name, "formula": one.formula, "better": ways[one.better], "source": one.source} for name, one in bases.items() if one is not None]

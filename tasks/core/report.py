"""The cohort report: estimates of every metric on every cohort, laid out as the same tables always."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.core import gaps
from tasks.core.estimates import Estimate
from tasks.core.metrics import Metric
from tasks.core.stats import Stats

COLUMNS = ("cohort", "kind", "metric", "value", "low", "high", "n", "support", "verdict")


@dataclass(frozen=True)
class _Sides:
    """Cohorts to measure gaps between: by metric, their estimates and which have enough evidence."""

    grouping: str
    names: list[str]
    parts: list[Estimate]
    enough: list[NDArray[np.bool_]]

    def of(self, place: int) -> tuple[Any, Any, Any, Any]:
        """Value, limits, and whether there is enough, for the metric at a place."""
        one = self.parts[place]
        return one.value, one.low, one.high, self.enough[place]


@dataclass(frozen=True)
class CohortReport:
    """Estimates by metric; arrays inside are by cohort, in the order of `stats`.

    A value without rows in its denominator is NaN and `undefined`; one with fewer than `min_support` is `insufficient`:
    it is shown with its interval, takes no part in gaps, and no limit may pass on it. `outside` holds what the rows outside
    each condition give, which its gap is measured against. In a published report (see
    tasks.core.suppression) the figures of `hidden` cohorts, and values on fewer than `published` rows, are left out.
    """

    task: str
    metrics: tuple[Metric, ...]
    summaries: tuple[Metric, ...]
    stats: Stats
    estimates: tuple[Estimate, ...]
    min_support: int
    outside: tuple[Estimate, ...] = ()
    compared: pd.DataFrame | None = None
    hidden: NDArray[np.bool_] | None = None
    published: int = 0

    def shown(self, estimate: Estimate) -> NDArray[np.bool_]:
        """Which cohorts' figures may be seen (N,)."""
        if self.hidden is None:
            return np.ones(len(estimate.value), dtype=bool)
        return ~self.hidden & ~((estimate.support < self.published) & (estimate.support > 0))

    def verdict(self, estimate: Estimate) -> NDArray[np.object_]:
        """ok, insufficient or undefined, for each cohort."""
        few = (estimate.support < self.min_support) | ~self.shown(estimate)
        words = np.where(~self.shown(estimate), "insufficient", np.where(np.isnan(estimate.value), "undefined", np.where(few, "insufficient", "ok")))
        return words.astype(object)

    def frame(self) -> pd.DataFrame:
        """One row for each cohort and metric: cohort, kind, metric, value, low, high, n, support, verdict."""
        stats, count = self.stats, len(self.metrics)
        shown = [self.shown(one) for one in self.estimates]
        figures = {
            name: _interleaved([np.where(seen, getattr(one, name), np.nan) for one, seen in zip(self.estimates, shown, strict=True)])
            for name in ("value", "low", "high", "support")
        }
        sizes = stats.n if self.hidden is None else np.where(self.hidden, np.nan, stats.n)
        kind: Any = np.int64 if self.hidden is None else "Int64"
        return pd.DataFrame(
            {
                "cohort": np.repeat(np.array(stats.names, dtype=object), count),
                "kind": np.repeat(np.array(stats.kinds, dtype=object), count),
                "metric": np.tile(np.array([metric.name for metric in self.metrics], dtype=object), len(stats.names)),
                "value": figures["value"],
                "low": figures["low"],
                "high": figures["high"],
                "n": pd.Series(np.repeat(sizes, count)).astype(kind),
                "support": pd.Series(figures["support"]).astype(kind),
                "verdict": _interleaved([self.verdict(one) for one in self.estimates]),
            },
            columns=list(COLUMNS),
        )

    def cohorts_of(self, grouping: Sequence[str]) -> tuple[str, ...]:
        """Names of the cohorts of a grouping, columns in any order; none if it was not asked for."""
        return next((tuple(block.names) for block in self.stats.blocks if block.grouping and set(block.grouping) == set(grouping)), ())

    def groupings(self) -> list[dict[str, Any]]:
        """Each grouping's columns (`by`) and its `cohorts`, JSON-ready: names alone do not tell where a value ends."""
        return [{"by": list(block.grouping), "cohorts": list(block.names)} for block in self.stats.blocks if block.grouping]

    def gaps(self) -> pd.DataFrame:
        """One row for each metric and grouping, then one for each fairness summary and grouping; see tasks.core.gaps.

        A condition is a grouping of two: the rows that it holds for, and the rest.
        """
        sides = self._sides()
        table = gaps.table(
            [gaps.gap(metric.name, side.grouping, metric.better, side.names, *side.of(place)) for side in sides for place, metric in self._placed()]
        )
        if not self.summaries:
            return table
        known: dict[tuple[Any, Any], dict[str, object]] = {(row["grouping"], row["metric"]): row for row in _rows(table)}
        more = []
        for side in sides:
            for metric in self.summaries:
                if metric.name in ("calibration_within_groups", "bounded_group_loss"):
                    place, of = next((place, one) for place, one in self._placed() if one.name == metric.summary_of[0])
                    more.append(gaps.largest(metric.name, side.grouping, of.better, side.names, *side.of(place)))
                else:
                    more.append(gaps.summary(metric.name, [known[side.grouping, part] for part in metric.summary_of]))
        return pd.DataFrame([*known.values(), *more], columns=list(gaps.COLUMNS))

    def _placed(self) -> list[tuple[int, Metric]]:
        return list(enumerate(self.metrics))

    def _sides(self) -> list["_Sides"]:
        """Every set of cohorts between which gaps are measured."""
        found = []
        for block, place in zip(self.stats.blocks, self.stats.spread(), strict=True):
            if block.grouping:
                parts = [Estimate(one.value[place], one.low[place], one.high[place], one.support[place]) for one in self.estimates]
                enough = [self.verdict(one)[place] == "ok" for one in self.estimates]
                found.append(_Sides(", ".join(block.grouping), block.names, parts, enough))
            elif block.kind == "filter" and self.outside:
                found += [self._against_rest(name, place.start + offset, offset) for offset, name in enumerate(block.names)]
        return found

    def _against_rest(self, name: str, inside: int, outside: int) -> "_Sides":
        parts, enough = [], []
        for one, rest in zip(self.estimates, self.outside, strict=True):
            both = [(one, inside), (rest, outside)]
            parts.append(Estimate(*(np.array([getattr(part, field)[at] for part, at in both]) for field in ("value", "low", "high", "support"))))
            few = bool(rest.support[outside] < max(self.min_support, self.published))
            enough.append(np.array([self.verdict(one)[inside] == "ok", not few and self.verdict(one)[inside] == "ok"]))
        return _Sides(name, [name, f"not {name}"], parts, enough)

    def named(self, part: str) -> dict[str, float]:
        """Figures by the names MLflow shows: `test/mae`, and `test/mae/LSTAT=(8, 16]`. Only those with enough evidence."""
        rows = self.frame()
        return {
            f"{part}/{row['metric']}" + ("" if row["cohort"] == "overall" else f"/{row['cohort']}"): float(row["value"])
            for row in rows[rows["verdict"] == "ok"].to_dict("records")
        }

    def comparison(self) -> pd.DataFrame:
        """Deltas to the baseline by cohort and metric; see tasks.core.comparison. Empty without a baseline."""
        if self.compared is None:
            return pd.DataFrame()
        if self.hidden is None:
            return self.compared
        figures = [name for name in self.compared.columns if name not in ("cohort", "kind", "metric", "verdict")]
        visible = {
            (name, metric.name)
            for metric, one in zip(self.metrics, self.estimates, strict=True)
            for name, seen in zip(self.stats.names, self.shown(one), strict=True)
            if seen
        }
        unseen = [key not in visible for key in zip(self.compared["cohort"], self.compared["metric"], strict=True)]
        table = self.compared.astype(dict.fromkeys(figures, "float64"))
        table.loc[unseen, figures] = np.nan
        table.loc[unseen, "verdict"] = "no evidence"
        return table

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: `rows`, `gaps` and, with a baseline, `comparison`. What is not known is None."""
        found = {"rows": records(self.frame()), "gaps": records(self.gaps())}
        if self.compared is not None:
            found["comparison"] = records(self.comparison())
        return found


def _interleaved(arrays: list[Any]) -> NDArray[Any]:
    """Arrays by metric (each by cohort) as one, cohort by cohort."""
    return np.stack(arrays, axis=1).ravel()


def _rows(frame: pd.DataFrame) -> list[dict[str, object]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """A frame's rows as plain dictionaries; NaN, NA and infinity become None."""
    columns = {name: [_plain(value) for value in frame[name].tolist()] for name in frame.columns}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _plain(value: Any) -> Any:
    return None if value is pd.NA or (isinstance(value, float) and not np.isfinite(value)) else value

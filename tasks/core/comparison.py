"""Comparison: models on the same rows, cohort by cohort, with paired intervals.

`delta` is the model minus the baseline; its interval takes into account that both were measured on the same rows. BTC is
the share of rows the baseline told rightly that the model tells rightly too, BEC that of the rows it told wrongly that the
model tells wrongly too (Bansal et al., 2019; Srivastava et al., 2020): with BTC below 1 something has newly broken.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from tasks.core import intervals
from tasks.core.cells import Plan
from tasks.core.errors import CaseError, DataError, nearest
from tasks.core.estimates import Estimate
from tasks.core.folding import Slices, fold, read
from tasks.core.influence import View, influence
from tasks.core.labels import SCORE
from tasks.core.metrics import Metric
from tasks.core.planning import MIN_SUPPORT, make_plan, report_on
from tasks.core.predictions import Source
from tasks.core.ranking import unpack
from tasks.core.report import CohortReport, records
from tasks.core.stats import Stats
from tasks.core.suppression import publish
from tasks.core.targets import Rows

Floats = NDArray[np.float64]

SHARES = ("btc", "btc_low", "btc_high", "bec", "bec_low", "bec_high")
COLUMNS = ("cohort", "kind", "metric", "value", "baseline", "delta", "low", "high", "p_value", "n", "support", "verdict", *SHARES)


@dataclass(frozen=True)
class Side:
    """One model, folded: its rows, the cell of each row in every set, and its statistics."""

    rows: Rows
    members: tuple[NDArray[np.integer], ...]
    masks: NDArray[np.uint64]
    stats: Stats

    @staticmethod
    def of(source: Source, plan: Plan, slices: Slices | None = None) -> tuple["Side", Slices]:
        """Fold a model's rows; cohorts are those of `slices` where given, so that both sides look at the same rows."""
        rows = read(source, plan)
        slices = Slices.of(source, rows, plan) if slices is None else slices
        summary, members = fold(rows, slices, plan)
        return Side(rows, members, slices.masks, Stats.of(summary)), slices


def aligned(source: Source, other: Any, name: str = "baseline") -> Source:
    """The other model's predictions in the rows of `source`: by row_id where both have it, else in the same order.

    A DataError where the rows, or their labels, are not the same.
    """
    theirs = Source(other, name)
    columns = [column for column in theirs.names if column == "y_pred" or column == "y_score" or column.startswith(SCORE)]
    theirs.require(["y_pred"])
    order = None
    if "row_id" in source.names and "row_id" in theirs.names:
        mine, found = (pd.Index(one.column("row_id").to_pylist()) for one in (source, theirs))
        if not mine.is_unique or not found.is_unique:
            raise DataError("`row_id` is not unique.", where=source.name if not mine.is_unique else name, fix="Give each row an id of its own.")
        order = found.get_indexer(mine)
        if (order < 0).any() or len(found) != len(mine):
            example = mine[order < 0][0] if (order < 0).any() else found.difference(mine)[0]
            lacking = name if (order < 0).any() else source.name
            raise DataError(f"the rows do not match: row_id {example!r} is not in {lacking}.", where=name, fix="Compare predictions for the same rows.")
    elif theirs.rows != source.rows:
        raise DataError(
            f"the rows do not match: {theirs.rows:,} here, {source.rows:,} in {source.name}.", where=name, fix="Compare predictions for the same rows."
        )
    taken = {column: theirs.column(column) if order is None else theirs.column(column).take(pa.array(order)) for column in columns}
    if "y_true" in theirs.names:
        labels = theirs.column("y_true") if order is None else theirs.column("y_true").take(pa.array(order))
        same = np.array([one == two for one, two in zip(source.column("y_true").to_pylist(), labels.to_pylist(), strict=True)], dtype=bool)
        if not same.all():
            row = int(np.flatnonzero(~same)[0])
            raise DataError(
                f"the rows do not match: y_true differs in row {row}.",
                where=name,
                fix="Compare predictions for the same rows, in the same order or with row_id.",
            )
    return source.overlaid(taken)


def deltas(report: CohortReport, new: Side, old: Side, baseline: Sequence[Estimate]) -> pd.DataFrame:
    """The comparison table, one row for each cohort and metric, with columns `COLUMNS`."""
    stats = report.stats
    size, spread = len(stats.names), stats.spread()
    views = [pair for block in range(len(stats.blocks)) for pair in _views(stats, block, spread[block], new, old)]
    shares = compatibility(report.task, views, size)
    tables = []
    for metric, one, two in zip(report.metrics, report.estimates, baseline, strict=True):
        correlation = np.zeros(size)
        for mine, theirs in views:
            correlation[mine.place] = _correlation(influence(metric, one, mine), influence(metric, two, theirs), mine)
        delta, low, high = intervals.paired_difference((two.value, two.low, two.high), (one.value, one.low, one.high), correlation)
        with np.errstate(divide="ignore", invalid="ignore"):
            error = np.where(delta > 0, delta - low, high - delta) / intervals.Z
            p_value = np.where(delta == 0, 1.0, intervals.two_sided(delta / error))
        support = np.minimum(one.support, two.support)
        tables.append(
            pd.DataFrame(
                {"cohort": stats.names, "kind": stats.kinds, "metric": metric.name, "value": one.value, "baseline": two.value, "delta": delta}
                | {"low": low, "high": high, "p_value": p_value, "n": stats.n.astype(np.int64), "support": support.astype(np.int64)}
                | {"verdict": _words(metric, one.value, two.value, low, high, support >= report.min_support)}
                | shares,
                columns=list(COLUMNS),
            )
        )
    table = pd.concat(tables, ignore_index=True).reset_index(names="place")
    table["place"] = table["place"] % size
    table = table.sort_values("place", kind="stable").drop(columns="place").reset_index(drop=True)
    table["p_value"] = intervals.holm(table["p_value"].to_numpy(dtype=np.float64))
    return table


def _words(metric: Metric, new: Floats, old: Floats, low: Floats, high: Floats, enough: NDArray[np.bool_]) -> NDArray[np.object_]:
    """better or worse where the interval of the delta is clear of 0 and there is support; no evidence otherwise. A metric
    without a better direction has only `changed`.
    """
    sign = {"higher": np.ones_like(new), "lower": -np.ones_like(new), "zero": -np.sign(new + old), "none": np.zeros_like(new)}[metric.better]
    clear = enough & ((low > 0) | (high < 0))
    up = np.where(low > 0, 1.0, -1.0) * sign
    return np.where(~clear, "no evidence", np.where(sign == 0, "changed", np.where(up > 0, "better", "worse"))).astype(object)


def _views(stats: Stats, number: int, place: slice, new: Side, old: Side) -> list[tuple[View, View]]:
    """Both models' rows as one block of cohorts sees them; conditions overlap, so each has a view of its own."""
    block = stats.blocks[number]
    if block.source >= 0:
        cohort = block.index[new.members[block.source]]
        return [(View(new.rows, None, cohort, len(block.names), place, stats), View(old.rows, None, cohort, len(block.names), place, old.stats))]
    found = []
    for offset, bits in enumerate(new.masks):
        kept = np.flatnonzero(unpack(bits, new.rows.n))
        where = slice(place.start + offset, place.start + offset + 1)
        cohort = np.zeros(len(kept), dtype=np.int64)
        found.append((View(new.rows, kept, cohort, 1, where, stats), View(old.rows, kept, cohort, 1, where, old.stats)))
    return found


def _correlation(one: Floats, two: Floats, view: View) -> Floats:
    weight = np.ones(len(one)) if view.rows.weight is None else view.of(view.rows.weight) ** 2

    def total(values: Floats) -> Floats:
        return np.asarray(np.bincount(view.cohort, weight * values, minlength=view.size))

    with np.errstate(divide="ignore", invalid="ignore"):
        found = total(one * two) / np.sqrt(total(one * one) * total(two * two))
    found = np.clip(np.nan_to_num(found), -1, 1)
    return np.where(found > 1 - 1e-9, 1.0, found)  # the same rows told the same way: the difference is certain


def compatibility(task: str, views: Sequence[tuple[View, View]], size: int) -> dict[str, Floats]:
    """BTC = |both right| / |baseline right| and BEC = |both wrong| / |baseline wrong| by cohort, with Wilson's limits (`SHARES`);
    NaN for regression.
    """
    found = {name: np.full(size, np.nan) for name in SHARES}
    if task == "regression":
        return found
    for mine, theirs in views:
        new, old = right(mine.rows), right(theirs.rows)
        new, old = (new, old) if mine.kept is None else (new[mine.kept], old[mine.kept])
        for name, both, whole in (("btc", new & old, old), ("bec", ~new & ~old, ~old)):
            n = np.bincount(mine.cohort, whole, minlength=mine.size).astype(np.float64)
            with np.errstate(divide="ignore", invalid="ignore"):
                share = np.bincount(mine.cohort, both, minlength=mine.size) / n
            low, high = intervals.wilson(share, n)
            for key, values in ((name, share), (f"{name}_low", low), (f"{name}_high", high)):
                found[key][mine.place] = values
    return found


def right(rows: Rows) -> NDArray[np.bool_]:
    """Which rows are told rightly (n,)."""
    return np.asarray(rows.p == rows.y)


@dataclass(frozen=True)
class Comparison:
    """Any number of models on the same rows. `reports` by model; those other than the baseline carry their deltas to it."""

    baseline: str
    reports: Mapping[str, CohortReport]
    sides: Mapping[str, Side]
    ids: tuple[Any, ...]

    def frame(self) -> pd.DataFrame:
        """One row for each model, cohort and metric: model, then the columns of a cohort report and the deltas."""
        tables = []
        for name, report in self.reports.items():
            table = report.frame()
            if report.compared is not None:
                columns = ["delta", "low", "high", "p_value", "verdict", *SHARES]
                more = (
                    report.comparison().set_index(["cohort", "metric"])[columns].rename(columns={"low": "delta_low", "high": "delta_high", "verdict": "change"})
                )
                table = table.merge(more, left_on=["cohort", "metric"], right_index=True, how="left", sort=False)
            tables.append(table.assign(model=name))
        found = pd.concat(tables, ignore_index=True)
        return found[["model", *(column for column in found.columns if column != "model")]]

    def published(self) -> "Comparison":
        """The comparison as it may be published; see tasks.core.suppression."""
        return replace(self, reports={name: publish(report) for name, report in self.reports.items()})

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: `baseline`, `rows` as in `frame`; of a classification, `classes` as in `by_class`, and the ids of the rows
        of each model that `newly_fail`.
        """
        found: dict[str, Any] = {"baseline": self.baseline, "rows": records(self.frame())}
        others = [name for name in self.reports if name != self.baseline]
        if self.reports[self.baseline].task == "regression":
            return found
        classes = [{"model": name, **row} for name in others for row in records(self.by_class(name))]
        return found | {"classes": classes, "newly_failing": {name: self.newly_failing(name)["row"].tolist() for name in others}}

    def newly_failing(self, model: str) -> pd.DataFrame:
        """The rows that the baseline tells rightly and the model wrongly: row, y_true, baseline, model."""
        mine, theirs = self._pair(model)
        rows = np.flatnonzero(right(theirs.rows) & ~right(mine.rows))
        names = self.reports[model].stats.summary.plan.classes

        def told(values: NDArray[Any]) -> list[Any]:
            return [names[int(value)] if names else value for value in values[rows].tolist()]

        return pd.DataFrame({"row": [self.ids[row] for row in rows], "y_true": told(mine.rows.y), "baseline": told(theirs.rows.p), "model": told(mine.rows.p)})

    def by_class(self, model: str) -> pd.DataFrame:
        """BTC, BEC and error overlap (|both wrong| / |either wrong|) for each cohort and true class of `n` rows; class None is
        all. Published, without the figures of hidden cohorts and of classes with fewer rows than are published.
        """
        mine, theirs = self._pair(model)
        stats, report = mine.stats, self.reports[model]
        hidden = np.zeros(len(stats.names), dtype=bool) if report.hidden is None else report.hidden
        names = stats.summary.plan.classes or (0, 1)
        rows = []
        for block, place in enumerate(stats.spread()):
            for view, _ in _views(stats, block, place, mine, theirs):
                kept = slice(None) if view.kept is None else view.kept
                new, old, true = right(mine.rows)[kept], right(theirs.rows)[kept], mine.rows.y[kept]
                for index, label in [(None, None), *enumerate(names)]:
                    chosen = np.ones(len(new), dtype=bool) if index is None else true == index
                    count = [np.bincount(view.cohort[chosen & part], minlength=view.size) for part in (new & old, old, ~new & ~old, ~old, ~new | ~old)]
                    sizes = np.bincount(view.cohort[chosen], minlength=view.size)
                    for offset, n in enumerate(sizes.tolist()):
                        seen = not hidden[view.place][offset] and n >= report.published
                        shares = [_share(count[part][offset], count[whole][offset]) for part, whole in ((0, 1), (2, 3), (2, 4))]
                        row = {"cohort": stats.names[view.place][offset], "class": label, "n": n if seen else None}
                        rows.append(row | dict(zip(("btc", "bec", "overlap"), shares if seen else [float("nan")] * 3, strict=True)))
        return pd.DataFrame(rows, columns=["cohort", "class", "n", "btc", "bec", "overlap"]).astype({"class": object, "n": "Int64"})

    def _pair(self, model: str) -> tuple[Side, Side]:
        if model not in self.sides:
            raise CaseError(f"there is no model `{model}`.", where="compare", fix=nearest(model, self.sides))
        if self.reports[model].task == "regression":
            raise CaseError("right and wrong are told apart in classification only.", where="compare", fix="Look at the deltas instead.")
        return self.sides[model], self.sides[self.baseline]


def _share(part: int, whole: int) -> float:
    return float(part / whole) if whole else float("nan")


def compare(
    models: Mapping[str, Any],
    *,
    baseline: str,
    task: str,
    by: Sequence[str | Sequence[str]] = (),
    where: Mapping[str, str] | None = None,
    metrics: Sequence[str] | None = None,
    seed: int = 0,
    bins: Mapping[str, Sequence[float] | int] | None = None,
    min_support: int = MIN_SUPPORT,
) -> Comparison:
    """Compare models on the same rows. `models` maps names to predictions tables; cohort columns are read from the
    baseline's, and conditions on predictions too. The other arguments are those of `evaluate`.
    """
    if baseline not in models:
        raise CaseError(f"there is no model `{baseline}`.", where="baseline", fix=nearest(baseline, models))
    source = Source(models[baseline], baseline)
    plan, chosen = make_plan(source, task=task, by=by, where=where, metrics=metrics, bins=bins)
    old, slices = Side.of(source, plan)
    first = report_on(old.stats, chosen, seed=seed, min_support=min_support)
    sides, reports = {baseline: old}, {baseline: first}
    for name in models:
        if name == baseline:
            continue
        new, _ = Side.of(aligned(source, models[name], name), plan, slices)
        report = report_on(new.stats, chosen, seed=seed, min_support=min_support)
        sides[name], reports[name] = new, replace(report, compared=deltas(report, new, old, first.estimates))
    ids = tuple(source.column("row_id").to_pylist()) if "row_id" in source.names else tuple(range(source.rows))
    return Comparison(baseline, {name: reports[name] for name in models}, sides, ids)

"""How good the model is on rows whose labels have not come yet. These are estimates, and are called so wherever they are shown.

    binary      confidence-based: scores are calibrated on the validation rows; a calibrated probability says how probable each answer
                is to be right, and the expected confusion matrix gives the metrics. The idea is that of NannyML's CBPE.
    regression  direct loss: two regressions, fitted on the validation rows, tell the absolute and the squared error of a row from its
                features and its prediction; their means are MAE and MSE. The idea is that of NannyML's DLE.

Both see what a change in the mix of rows does to the metrics. Neither sees a change in what the labels are, given the features: of that
only labels tell. Intervals hold the chance in the labels to come and in the validation rows, and no more.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.model_selection import KFold

from tasks.core.case import Case
from tasks.core.errors import DataError
from tasks.core.evaluation import CohortReport, evaluate
from tasks.core.fitting import threads
from tasks.core.intervals import Z
from tasks.core.mitigation.cohort_calibration import CohortCalibration
from tasks.core.mitigation.groups import label_groups
from tasks.core.report import records
from tasks.core.suppression import K, publish
from tasks.core.targets import FN, FP, TN, TP

Floats = NDArray[np.float64]
Kind = Literal["numeric", "categorical"]

COLUMNS = ("cohort", "kind", "metric", "value", "low", "high", "n")
MOST = 200_000
"""Rows that an estimate is fitted on, or made of, at most: a seeded sample of more."""
BENT = 1000
"""Validation rows from which calibration curves may bend as they like (isotonic); with fewer they are Platt's."""

EXACT = 1e-9
"""What sums of probabilities may be off by rounding: of what needs no label, the estimate is the truth."""

_Shares = Callable[[Floats], Floats]


def _share(inside: tuple[int, ...], among: tuple[int, ...]) -> _Shares:
    return lambda of: np.asarray(of[..., inside].sum(axis=-1) / of[..., among].sum(axis=-1))


_ALL, _ONES, _ZEROS = (TN, FP, FN, TP), (FN, TP), (TN, FP)
_recall, _specificity = _share((TP,), _ONES), _share((TN,), _ZEROS)
BINARY: Mapping[str, _Shares] = {
    "accuracy": _share((TN, TP), _ALL),
    "balanced_accuracy": lambda of: (_recall(of) + _specificity(of)) / 2,
    "precision": _share((TP,), (FP, TP)),
    "recall": _recall,
    "specificity": _specificity,
    "f1": lambda of: np.asarray(2 * of[..., TP] / (2 * of[..., TP] + of[..., FP] + of[..., FN])),
    "false_positive_rate": _share((FP,), _ZEROS),
    "false_negative_rate": _share((FN,), _ONES),
    "false_discovery_rate": _share((FP,), (FP, TP)),
    "selection_rate": _share((FP, TP), _ALL),
    "base_rate": _share(_ONES, _ALL),
}
"""What an expected confusion matrix (N, 4) gives."""
REGRESSION = ("mae", "mse", "rmse")


@dataclass(frozen=True)
class Calibrated:
    """From scores to probabilities, by cohort where validation has rows enough; and, by cohort, what validation has of each outcome in
    expectation: sums of probabilities and of their squares, each by outcome (TN, FP, FN, TP).
    """

    curves: CohortCalibration
    seen: Mapping[str, tuple[Floats, Floats]]

    @staticmethod
    def fit(case: Case, validation: pd.DataFrame) -> "Calibrated":
        """validation: y_true, y_pred, y_score and raw columns. Raises: DataError without a score, and when all labels are equal."""
        if "y_score" not in validation:
            raise DataError("The model gives no scores, so that nothing can be estimated from them.")
        sample = bounded([validation], case.seed)
        curves = CohortCalibration("isotonic" if len(sample) >= BENT else "platt")
        curves.fit(sample["y_score"].to_numpy(dtype=np.float64), sample["y_true"].to_numpy(dtype=np.float64), groups=_groups(case, sample))
        made = Calibrated(curves, {})
        stats = made._expected(case, sample, ["accuracy"]).stats
        return Calibrated(curves, {name: (stats.weights[place], stats.squares[place]) for place, name in enumerate(stats.names)})

    def estimate(self, case: Case, rows: pd.DataFrame) -> pd.DataFrame:
        """Metrics of rows with y_pred, y_score and raw columns on the case's cohorts, with columns COLUMNS."""
        asked = [name for name in case.metric_names if name in BINARY or name == "roc_auc"]
        found = publish(self._expected(case, rows, asked or ["accuracy"]), 2 * K)  # every row is there twice
        weights, squares = found.stats.weights, found.stats.squares
        nothing = np.zeros(4), np.zeros(4)
        before, before_squares = (np.stack([self.seen.get(name, nothing)[place] for name in found.stats.names]) for place in (0, 1))
        error = {name: _confusion_error(BINARY[name], weights, squares, before, before_squares) for name in asked if name in BINARY}
        if "roc_auc" in asked:
            area = found.estimates[[metric.name for metric in found.metrics].index("roc_auc")].value
            error["roc_auc"] = np.sqrt(_area_variance(area, weights) + _area_variance(area, before))
        return _laid_out(found, error, weights.sum(axis=1), case.cohorts.min_support)

    def _expected(self, case: Case, rows: pd.DataFrame, metrics: list[str]) -> CohortReport:
        """Each row twice, as the one class and as the other, weighted by their probabilities: the engine adds up the rest."""
        chance = np.clip(self.curves.transform(rows["y_score"].to_numpy(dtype=np.float64), groups=_groups(case, rows)), 1e-9, 1 - 1e-9)
        twice = pd.concat([rows.assign(y_true=1, weight=chance), rows.assign(y_true=0, weight=1 - chance)], ignore_index=True)
        return evaluate(twice, **case.asked | {"metrics": metrics, "intervals": False})


def _groups(case: Case, rows: pd.DataFrame) -> NDArray[np.object_]:
    """The crossing of all columns that the case's groupings name (n,)."""
    columns = dict.fromkeys(case.cohort_columns, "categorical")
    return label_groups(rows, columns, case.cohorts.bins) if columns else np.full(len(rows), "overall", dtype=object)


def _confusion_error(metric: _Shares, weights: Floats, squares: Floats, before: Floats, before_squares: Floats) -> Floats:
    """The standard error (N,): by the delta method, of labels that fall by chance, here and on validation (`before`). For each answer, the
    curve may be off by as much as the share of true ones among the validation rows with that answer.
    """
    variance = np.zeros(len(weights))
    for zero, one in ((TN, FN), (FP, TP)):  # by answer
        size, known = weights[:, zero] + weights[:, one], before[:, zero] + before[:, one]
        step = np.zeros(4)
        step[one], step[zero] = 1.0, -1.0
        reach = np.maximum(size, 1e-9) * 1e-4
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = (metric(weights + reach[:, None] * step) - metric(weights - reach[:, None] * step)) / (2 * reach)
            share = np.where(known > 0, (before[:, one] - before_squares[:, one]) / known**2, 0.25)  # never given: may be anything
            spread = np.maximum(weights[:, one] - squares[:, one], 0)  # the sum of p (1 - p)
            variance += np.where(size > 0, slope**2 * (spread + size**2 * share), 0.0)
    return np.asarray(np.sqrt(variance))


def _area_variance(area: Floats, weights: Floats) -> Floats:
    """Hanley and McNeil (1982), with the rows of either class that are expected."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ones, zeros = weights[:, FN] + weights[:, TP], weights[:, TN] + weights[:, FP]
        one, two = area / (2 - area), 2 * area**2 / (1 + area)
        return np.asarray((area * (1 - area) + (ones - 1) * (one - area**2) + (zeros - 1) * (two - area**2)) / (ones * zeros))


@dataclass(frozen=True)
class Losses:
    """Regressions of a row's absolute and squared error on its features and its prediction; `spread` is, for each, the standard deviation
    of what they miss (out of fold) over the mean error, and `rows` the validation rows.
    """

    kinds: Mapping[str, Kind]
    categories: Mapping[str, tuple[str, ...]]
    absolute: Any
    squared: Any
    spread: tuple[float, float]
    rows: int

    @staticmethod
    def fit(validation: pd.DataFrame, kinds: Mapping[str, Kind], seed: int, spread: tuple[float, float] | None = None) -> "Losses":
        """validation: the model's inputs (`kinds`), y_true and y_pred. spread: what an earlier fit of the same found; to find it takes three
        times as long as the rest. Raises: DataError for fewer than 30 rows.
        """
        if len(validation) < 30:
            raise DataError(f"{len(validation)} validation rows are too few to estimate errors from.")
        sample = bounded([validation], seed, MOST // 4)
        categories = {
            name: tuple(sorted(sample[name].dropna().astype(str).unique())[:255]) for name, kind in kinds.items() if kind == "categorical" and name in sample
        }
        made = Losses(kinds, categories, None, None, (0.0, 0.0), len(sample))
        matrix, off = made._matrix(sample), (sample["y_pred"] - sample["y_true"]).to_numpy(dtype=np.float64)
        with threads(len(sample)):
            losses = np.abs(off), off**2
            absolute, squared = (_regressor(seed).fit(matrix, loss) for loss in losses)
            spread = spread or (_spread(matrix, losses[0], seed), _spread(matrix, losses[1], seed))
        return Losses(kinds, categories, absolute, squared, spread, len(sample))

    def estimate(self, case: Case, rows: pd.DataFrame) -> pd.DataFrame:
        """Metrics of rows with the model's inputs and y_pred on the case's cohorts, with columns COLUMNS."""
        asked = [name for name in case.metric_names if name in REGRESSION]
        if not asked:
            return pd.DataFrame(columns=list(COLUMNS))
        matrix = self._matrix(rows)
        with threads(len(rows)):
            absolute, squared = (np.maximum(model.predict(matrix), 0) for model in (self.absolute, self.squared))
        parts = []
        for names, size, spread in ((["mae"], absolute, self.spread[0]), (["mse", "rmse"], np.sqrt(squared), self.spread[1])):
            if wanted := [name for name in asked if name in names]:  # rows that are wrong by just what is expected: the engine adds up the rest
                table = rows.assign(y_true=rows["y_pred"] - size)
                found = publish(evaluate(table, **case.asked | {"metrics": wanted, "intervals": False}))
                with np.errstate(divide="ignore"):
                    relative = spread * np.sqrt(1 / found.stats.n + 1 / self.rows)
                error = {metric.name: one.value * relative for metric, one in zip(found.metrics, found.estimates, strict=True)}
                if "rmse" in error:
                    error["rmse"] = error["rmse"] / 2  # of a root, by the delta method
                parts.append(_laid_out(found, error, found.stats.n, case.cohorts.min_support))
        return pd.concat(parts, ignore_index=True)

    def _matrix(self, rows: pd.DataFrame) -> Floats:
        """Features and prediction as numbers (n, columns); a category that fitting did not show is missing."""
        columns = [rows["y_pred"].to_numpy(dtype=np.float64)]
        for name, kind in self.kinds.items():
            if kind == "numeric":
                columns.append(pd.to_numeric(rows[name]).to_numpy(dtype=np.float64, na_value=np.nan))
            else:
                values = rows[name].astype("string").to_numpy(dtype=object)
                codes = pd.Index(self.categories[name], dtype=object).get_indexer(pd.Index(values, dtype=object)).astype(np.float64)
                columns.append(np.where(codes < 0, np.nan, codes))
        return np.column_stack(columns)


def bounded(frames: Iterable[pd.DataFrame], seed: int, most: int = MOST) -> pd.DataFrame:
    """All rows of the frames, or a seeded sample of so many of them, in their order; however they are cut into frames, the same rows."""
    generator = np.random.default_rng(seed)
    kept, keys = pd.DataFrame(), np.zeros(0)
    for frame in frames:
        kept, keys = (pd.concat([kept, frame], ignore_index=True) if len(kept) else frame), np.append(keys, generator.random(len(frame)))
        if len(keys) > most:
            least = np.sort(np.argpartition(keys, most)[:most])
            kept, keys = kept.iloc[least], keys[least]
    return kept.reset_index(drop=True)


def _regressor(seed: int) -> HistGradientBoostingRegressor:
    return HistGradientBoostingRegressor(max_iter=50, learning_rate=0.1, max_leaf_nodes=15, early_stopping=False, random_state=seed)


def _spread(matrix: Floats, loss: Floats, seed: int) -> float:
    """The standard deviation of what a regression of the loss misses out of fold, over the mean loss."""
    missed = np.empty(len(loss))
    for inside, outside in KFold(3, shuffle=True, random_state=seed).split(matrix):
        missed[outside] = loss[outside] - np.maximum(_regressor(seed).fit(matrix[inside], loss[inside]).predict(matrix[outside]), 0)
    mean = float(loss.mean())
    return float(np.sqrt(np.mean(missed**2))) / mean if mean > 0 else 0.0


def _laid_out(found: CohortReport, error: Mapping[str, Floats], n: Floats, min_support: int) -> pd.DataFrame:
    """Estimates of cohorts with enough rows, with intervals at 95 % within the metric's range."""
    rows = []
    for metric, one in zip(found.metrics, found.estimates, strict=True):
        if metric.name not in error:
            continue
        shown = found.shown(one) & (n >= min_support - 1e-6) & ~np.isnan(one.value)
        for place in np.flatnonzero(shown):
            value, off = float(one.value[place]), float(np.nan_to_num(Z * error[metric.name][place], nan=np.inf))
            ends = max(value - off, metric.low), min(value + off, metric.high)
            rows.append((found.stats.names[place], found.stats.kinds[place], metric.name, value, *ends, round(float(n[place]))))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def scored(estimates: pd.DataFrame, truth: pd.DataFrame) -> list[dict[str, Any]]:
    """Each estimate beside the figure that labels gave: `truth`, `error` (estimate minus truth), and whether the truth lay `inside`.

    truth: a published cohort report's frame. Estimates whose figure is not known are left out.
    """
    known = truth[truth["verdict"] == "ok"][["cohort", "metric", "value"]].rename(columns={"value": "truth"})
    both = estimates.merge(known, on=["cohort", "metric"])
    inside = both["truth"].between(both["low"] - EXACT, both["high"] + EXACT)
    return records(both.assign(error=both["value"] - both["truth"], inside=inside))

"""Gaps: for each metric and grouping the largest difference between its cohorts, with an interval and a p-value.

Only cohorts with enough support take part. The difference is highest minus lowest, the ratio lowest over highest, as in
fairlearn. With two cohorts the interval is Newcombe's (MOVER on the cohorts' own limits). With more, the cohorts that may
truly be the highest or the lowest are found, their limits widened so that all pairs of them hold together, and the
interval is [largest lower limit, largest upper limit] over those pairs. It never falls below 0. The ratio's limits are
the smallest lower and the smallest upper one over the same pairs, each by MOVER for ratios. The p-value is that of Tukey's
range over all cohorts, then Holm's over all gaps.

Fairness summaries are read from gaps: the gap of one metric, or the larger of two, with the larger of each of their limits. Those that bound each cohort's own
figure (calibration within groups, bounded group loss) give the largest value as their difference, without a p-value.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.core.intervals import Z, holm, range_factor, range_p_value
from tasks.core.metrics import Better

Floats = NDArray[np.float64]

COLUMNS = ("metric", "grouping", "difference", "ratio", "worst", "best", "low", "high", "ratio_low", "ratio_high", "p_value", "verdict")
PLAUSIBLE = 0.7  # by simulation: intervals keep at least their level, and nearly exactly it where cohorts are well apart
PAIRS = 256  # of more cohorts than twice this, only so many of the highest and of the lowest are compared pair by pair


def gap(
    metric: str, grouping: str, better: Better, names: Sequence[str], value: Floats, low: Floats, high: Floats, enough: NDArray[np.bool_]
) -> dict[str, object]:
    """One row of the table of gaps."""
    row: dict[str, object] = dict.fromkeys(COLUMNS, float("nan")) | {"metric": metric, "grouping": grouping, "worst": None, "best": None}
    known = np.flatnonzero(enough & ~np.isnan(value))
    if len(known) < 2:
        return row | {"verdict": "insufficient" if (~np.isnan(value)).sum() >= 2 else "undefined"}
    order = known[np.argsort(value[known], kind="stable")]
    bottom, top = int(order[0]), int(order[-1])
    difference = float(value[top] - value[bottom])
    worst, best = (bottom, top) if better in ("higher", "none") else (top, bottom)
    if better == "zero":
        away = known[np.argsort(np.abs(value[known]), kind="stable")]
        worst, best = int(away[-1]), int(away[0])
    ratio = float(value[bottom] / value[top]) if value[bottom] >= 0 and value[top] > 0 else float("nan")
    interval = _interval(value, low, high, order)
    return row | {"difference": difference, "ratio": ratio, "worst": names[worst], "best": names[best], "verdict": "ok"} | interval


def _interval(value: Floats, low: Floats, high: Floats, order: NDArray[np.intp]) -> dict[str, float]:
    """Limits and p-value of the range of values, cohorts in rising order of value."""
    count = len(order)
    upper, lower = (order, order) if count <= 2 * PAIRS else (order[-PAIRS:], order[:PAIRS])
    difference = value[upper][:, None] - value[lower][None, :]
    below = np.hypot((value - low)[upper][:, None], (high - value)[lower][None, :])
    above = np.hypot((high - value)[upper][:, None], (value - low)[lower][None, :])
    apart = upper[:, None] != lower[None, :]
    with np.errstate(divide="ignore", invalid="ignore"):
        score = np.where(apart & (difference > 0), difference / below * Z, np.nan)
    furthest = 0.0 if np.isnan(score).all() else float(np.nanmax(score))
    # Cohorts that may truly be the highest or the lowest; only they need hold together.
    reach = PLAUSIBLE * range_factor(count)
    top = (upper == order[-1]) | (difference[-1, 0] - difference[:, 0] < reach * np.hypot((value - low)[order[-1]], (high - value)[upper]))
    bottom = (lower == order[0]) | (difference[-1, 0] - difference[-1, :] < reach * np.hypot((high - value)[order[0]], (value - low)[lower]))
    factor = range_factor(len({*upper[top].tolist(), *lower[bottom].tolist()}))
    pairs = apart & top[:, None] & bottom[None, :]
    lows = np.where(pairs, difference - factor * below, np.nan)
    highs = np.where(pairs, difference + factor * above, np.nan)
    if np.isnan(lows).all() or np.isnan(highs).all():
        return dict.fromkeys(("low", "high", "ratio_low", "ratio_high", "p_value"), float("nan"))
    found = {"low": max(float(np.nanmax(lows)), 0.0), "high": float(np.nanmax(highs)), "p_value": range_p_value(furthest, count)}
    wide = value, value - factor * (value - low), value + factor * (high - value)
    least, most = ratio_limits([part[lower][None, :] for part in wide], [part[upper][:, None] for part in wide])
    if (value[order] < 0).any() or not (value[order[-1]] > 0):
        return found | {"ratio_low": float("nan"), "ratio_high": float("nan")}
    return found | {"ratio_low": float(np.nanmin(np.where(pairs, least, np.nan))), "ratio_high": min(float(np.nanmin(np.where(pairs, most, np.nan))), 1.0)}


def ratio_limits(one: Sequence[Floats], two: Sequence[Floats]) -> tuple[Floats, Floats]:
    """Limits of one / two, independent and not negative, each (value, low, high): MOVER-R, equations 9 and 10 of Donner and
    Zou (Closed-form confidence intervals for functions of the normal mean and standard deviation, 2012). No upper limit
    (infinity) where two may be 0.
    """
    (a, la, ha), (b, lb, hb) = ((value, np.maximum(low, 0.0), high) for value, low, high in (one, two))
    with np.errstate(divide="ignore", invalid="ignore"):
        below = a * b - np.sqrt(np.maximum((a * b) ** 2 - la * hb * (2 * a - la) * (2 * b - hb), 0))
        above = a * b + np.sqrt(np.maximum((a * b) ** 2 - ha * lb * (2 * a - ha) * (2 * b - lb), 0))
        low = np.where(hb * (2 * b - hb) != 0, below / (hb * (2 * b - hb)), la / hb)
        high = np.where(lb > 0, above / (lb * (2 * b - lb)), np.inf)
    return np.maximum(low, 0.0), high


def table(rows: list[dict[str, object]]) -> pd.DataFrame:
    """Rows as a frame, p-values corrected over all of them by Holm's method."""
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    frame["p_value"] = holm(frame["p_value"].to_numpy(dtype=np.float64))
    return frame


def summary(name: str, parts: Sequence[dict[str, object]]) -> dict[str, object]:
    """A fairness summary from the gaps of its metrics in one grouping: the larger difference, the smaller ratio. Either gap may truly
    be the larger, so that each limit of the summary is the larger of theirs (of ratios, the smaller).
    """
    weak = next((part for part in parts if part["verdict"] != "ok"), None)
    if weak is not None:
        return weak | {"metric": name}
    widest = max(parts, key=lambda part: float(str(part["difference"])))
    limits = {key: max(float(str(part[key])) for part in parts) for key in ("low", "high")}
    ratios = {key: [float(str(part[key])) for part in parts] for key in ("ratio", "ratio_low", "ratio_high")}
    return widest | {"metric": name} | limits | {key: float("nan") if np.isnan(found).any() else min(found) for key, found in ratios.items()}


def largest(
    metric: str, grouping: str, better: Better, names: Sequence[str], value: Floats, low: Floats, high: Floats, enough: NDArray[np.bool_]
) -> dict[str, object]:
    """A summary that is the largest value of a cohort (`better` is lower), its limits widened to hold for all cohorts together."""
    assert better == "lower"
    row: dict[str, object] = dict.fromkeys(COLUMNS, float("nan")) | {"metric": metric, "grouping": grouping, "worst": None, "best": None}
    known = np.flatnonzero(enough & ~np.isnan(value))
    if not len(known):
        return row | {"verdict": "insufficient" if (~np.isnan(value)).any() else "undefined"}
    factor = range_factor(len(known))
    worst, best = int(known[np.argmax(value[known])]), int(known[np.argmin(value[known])])
    limits = {"low": float(np.max((value - factor * (value - low))[known])), "high": float(np.max((value + factor * (high - value))[known]))}
    return row | {"difference": float(value[worst]), "worst": names[worst], "best": names[best], "verdict": "ok"} | limits

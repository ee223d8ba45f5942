"""Honest attribution: what the steps of a candidate change, and whether that is more than luck or a moved threshold.

Each candidate with steps is held against its pooled **baseline**, the same estimator without steps, and against a **control**,
the same estimator with nothing but thresholds (of a regression: bias corrections) tuned by the cohorts that the candidate aims
at. What it gains on the baseline and not on the control, thresholds alone would have given.

All are fitted again for each of J seeds, on train; thresholds are chosen on validation; the figures are of test. For every
cohort and metric, d_j is the candidate's figure less the other's for seed j, on the same rows. Test parts of different seeds
share rows, and so do training parts, so that the d_j are alike and their mean is less certain than s^2 / J. Nadeau and Bengio
(Inference for the generalization error, 2003) widen it: (mean of d_j) / sqrt(s^2 (1 / J + o)) has Student's distribution with
J - 1 degrees of freedom, o being rows of test over rows of train.

A seed draws the split anew. Rows split by time have one split only; for them a seed draws half of the rows of each part and
keeps their order in time. Estimates from random halves vary about that from all rows as the latter varies about the truth
(McCarthy, Replication: an approach to the analysis of data from complex surveys, 1966), so that o is 1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from tasks.core import intervals
from tasks.core.case import Case
from tasks.core.metrics import get_metric
from tasks.core.refits import AGAINST, BASELINE, CONTROL, Refit, control_in_words, mitigated
from tasks.core.report import records

COLUMNS = ("candidate", "against", "cohort", "kind", "metric", "value", "reference", "delta", "low", "high", "p_value", "support", "verdict")
ROUNDING = 1e-9  # fits that are the same but for rounding have changed nothing
VERDICTS = ("helped", "hurt", "changed", "no evidence")

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Attribution:
    """The table, one row for each candidate, `against`, cohort and metric, with columns `COLUMNS`; and where it is from.

    `value` and `reference` are means over seeds of the candidate's figure and the other's, `delta` is their difference with its
    95 % interval, `support` the least of any seed. `p_value` is corrected by Holm's method over all cohorts and metrics of a
    candidate against one other, and the verdict follows it: helped, hurt, changed (a metric without a better direction), or no
    evidence, also wherever a seed has less than the minimum support. A figure that a seed may not publish is not shown.
    `split` counts rows of each part in the first seed; `held` says in words what each candidate is held against.
    """

    seeds: tuple[int, ...]
    split: Mapping[str, int]
    held: Mapping[str, Mapping[str, str]]
    table: pd.DataFrame

    def of(self, candidate: str, against: str, verdict: str) -> list[str]:
        """The figures with a verdict, in words, for example "recall of sex=Female"."""
        rows = self._rows(candidate, against)
        return [f"{row['metric']} {'' if row['kind'] == 'gap' else 'of '}{row['cohort']}" for row in records(rows[rows["verdict"] == verdict])]

    def own(self, candidate: str) -> list[str]:
        """What helped beside both: gains that the steps give and thresholds alone would not."""
        beside = [self.of(candidate, against, "helped") for against in AGAINST]
        return [figure for figure in beside[0] if figure in beside[1]]

    def counts(self, candidate: str, against: str) -> dict[str, int]:
        """How many figures have each verdict; `clear alone` are those without evidence whose own interval is clear of 0, and
        which the number of figures looked at leaves in doubt. More seeds may tell.
        """
        rows = self._rows(candidate, against)
        doubtful = (rows["verdict"] == VERDICTS[-1]) & rows["p_value"].notna() & ((rows["low"] > 0) | (rows["high"] < 0))
        return {verdict: int((rows["verdict"] == verdict).sum()) for verdict in VERDICTS} | {"clear alone": int(doubtful.sum())}

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: `seeds`; `split`, rows of each part; `candidates` with what each is held against, its `counts` of verdicts
        and its `own` gains; `rows`, the table.
        """
        candidates = [
            {"name": name, **words, "counts": {against: self.counts(name, against) for against in words}, "own": self.own(name)}
            for name, words in self.held.items()
        ]
        return {"seeds": list(self.seeds), "split": dict(self.split), "candidates": candidates, "rows": records(self.table)}

    def _rows(self, candidate: str, against: str) -> pd.DataFrame:
        return self.table[(self.table["candidate"] == candidate) & (self.table["against"] == against)]


def attribute(case: Case, refits: Sequence[Refit]) -> Attribution:
    """Put the seeds together. Raises CaseError for fewer than 5."""
    specs = mitigated(case, len(refits))
    overlap = float(np.mean([one.overlap for one in refits]))
    tables = []
    for spec in specs:
        new = [one.figures[spec.name]["candidate"] for one in refits]
        for against in AGAINST:
            table = _changes(new, [one.figures[spec.name][against] for one in refits], overlap, case.task)
            tables.append(table.assign(candidate=spec.name, against=against)[list(COLUMNS)])
    words = {spec.name: {BASELINE: f"{spec.estimator.kind} without steps", CONTROL: control_in_words(spec, case)} for spec in specs}
    return Attribution(tuple(one.seed for one in refits), refits[0].rows, words, pd.concat(tables, ignore_index=True))


def _changes(new: Sequence[pd.DataFrame], old: Sequence[pd.DataFrame], overlap: float, task: str) -> pd.DataFrame:
    """One candidate against one other: figures (J seeds of F rows each) to a table of F rows."""
    index = pd.MultiIndex.from_tuples(dict.fromkeys(key for one in new for key in one.index), names=["cohort", "metric"])

    def arrays(side: Sequence[pd.DataFrame], column: str) -> Floats:
        return np.array([one[column].reindex(index).to_numpy(dtype=np.float64) for one in side])

    value, reference = arrays(new, "value"), arrays(old, "value")
    support = np.minimum(arrays(new, "support"), arrays(old, "support")).min(axis=0)
    enough = ((arrays(new, "ok") == 1) & (arrays(old, "ok") == 1)).all(axis=0)
    seen = ~np.isnan(value).any(axis=0) & ~np.isnan(reference).any(axis=0)
    metrics = [get_metric(name, task) for name in index.get_level_values("metric")]
    width = np.array([metric.high - metric.low for metric in metrics])
    with np.errstate(divide="ignore", invalid="ignore"):
        grain = np.where(np.isfinite(width), width / support, 0.0)
    delta = np.where(np.isclose(value, reference, rtol=ROUNDING, atol=ROUNDING), 0.0, value - reference)
    mean, low, high, p_value = corrected(delta, overlap, grain)
    p_value = intervals.holm(np.where(enough & seen, p_value, np.nan))
    kind = pd.concat([one["kind"] for one in new])
    kind = kind[~kind.index.duplicated()].reindex(index)
    up = np.array([{"higher": 1, "lower": -1, "zero": -1, "none": 0}[metric.better] for metric in metrics])
    up = np.where(kind == "gap", -1, up) * np.sign(mean)
    clear = p_value < 1 - intervals.LEVEL
    verdict = np.where(~clear, "no evidence", np.where(up == 0, "changed", np.where(up > 0, "helped", "hurt")))
    shown = partial(np.where, seen)
    found = {"kind": kind.to_numpy(), "value": shown(value.mean(axis=0), np.nan), "reference": shown(reference.mean(axis=0), np.nan)}
    found |= {"delta": shown(mean, np.nan), "low": shown(low, np.nan), "high": shown(high, np.nan), "p_value": p_value}
    found |= {"support": pd.Series(shown(support, np.nan)).astype("Int64").array, "verdict": verdict}
    return pd.DataFrame(found, index=index).reset_index()


def corrected(deltas: Floats, overlap: float, grain: Floats | float = 0.0) -> tuple[Floats, Floats, Floats, Floats]:
    """Mean, 95 % limits and p-value of differences over resampled rows: the corrected resampled t of Nadeau and Bengio.

    deltas: (J, F), those of J seeds for F figures. overlap: o above, 0 for rows that no two seeds share. grain: by how much one
    row changes a figure (F,). Five alike differences of a few rows are chance, not certainty, so that s^2 is at least that of
    rounding to the grain, grain^2 / 12; but where no seed shows any difference it is 0.

    >>> mean, low, high, p_value = corrected(np.array([[0.1], [0.3], [0.2], [0.2], [0.2]]), 0.5)
    >>> [round(float(part[0]), 3) for part in (mean, low, high, p_value)]
    [0.2, 0.036, 0.364, 0.028]
    """
    seeds = len(deltas)
    mean = deltas.mean(axis=0)
    spread = np.where((deltas == 0).all(axis=0), 0.0, np.maximum(deltas.var(axis=0, ddof=1), np.square(grain) / 12))
    variance = spread * (1 / seeds + overlap)
    low, high = intervals.student(mean, variance, np.full(mean.shape, float(seeds)))
    with np.errstate(divide="ignore", invalid="ignore"):
        p_value = np.where(mean == 0, 1.0, 2 * special.stdtr(seeds - 1, -np.abs(mean) / np.sqrt(variance)))
    return mean, low, high, p_value

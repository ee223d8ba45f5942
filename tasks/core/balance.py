"""The data side of cohorts: how classes, rows and missing values are shared out among them.

    balance(table, by=["sex", ["sex", "race"]])  # measure, grouping, cohort, other, of, value, low, high, p_value, n

One row is one measure of `MEASURES`: of a cohort, of a pair of cohorts (`cohort` and `other`), or of a grouping (neither).
`of` is the class it speaks of, or the column whose values are missing. A and B are cohorts, y a class, P shares of the rows
with a label, m the number of classes or cohorts. Logarithms are natural. Limits are Wilson's, at 95 %; p-values are
asymptotic and not corrected for the number of pairs.

A column `weight` says how much each row counts, beside the others: shares are weighted, limits take the effective number of
rows, and the two tests the counts O that as many effective rows, Kish's for each cohort, would have; `n` is rows. Cohorts of
fewer than `k` rows, or of fewer rows with a label, are shown without figures, as `insufficient`, and so are cohorts and
measures of a grouping that would give them away by subtraction (tasks.core.hiding); with k = 0 all are shown.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from scipy import special

from tasks.core.errors import DataError
from tasks.core.grouped import Bins, Cohorts, encoded, hidden_cohorts, read_cohorts
from tasks.core.measures import COLUMNS as COLUMNS
from tasks.core.measures import Measure, Rows, one_table, published, rows, shares
from tasks.core.predictions import Source
from tasks.core.suppression import K
from tasks.core.weighted import Tally, kish, read_weight

Floats = NDArray[np.float64]

MAX_CLASSES = 100
INF = float("inf")

CHURCH, JACCARD, DICE = "Church and Hanks 1990", "Jaccard 1912", "Dice 1945, Sørensen 1948"
THEIL, ATKINSON = "Theil 1967", "Atkinson 1970"

_TABLE = (
    Measure("cohort_share", "cohort", "rows of A / rows", 0, 1, None, "share"),
    Measure("missing_share", "cohort and column", "rows of A without a value / rows of A", 0, 1, None, "share"),
    Measure("class_share", "cohort and class", "P(y | A)", 0, 1, None, "share"),
    Measure("pmi", "cohort and class", "ln(P(A, y) / (P(A) P(y)))", -INF, INF, 0, CHURCH),
    Measure("normalised_pmi", "cohort and class", "pmi / -ln P(A, y); -1 where P(A, y) = 0, undefined where it is 1", -1, 1, 0, "Bouma 2009"),
    Measure("jaccard", "cohort and class", "P(A, y) / (P(A) + P(y) - P(A, y))", 0, 1, None, JACCARD),
    Measure("sorensen_dice", "cohort and class", "2 P(A, y) / (P(A) + P(y))", 0, 1, None, DICE),
    Measure("statistical_parity", "pair and class", "P(y | A) - P(y | B)", -1, 1, 0, "Dwork et al. 2012"),
    Measure("pmi_difference", "pair and class", "pmi(A, y) - pmi(B, y) = ln(P(y | A) / P(y | B))", -INF, INF, 0, CHURCH),
    Measure("normalised_pmi_difference", "pair and class", "normalised_pmi(A, y) - normalised_pmi(B, y)", -2, 2, 0, "Bouma 2009"),
    Measure("jaccard_difference", "pair and class", "jaccard(A, y) - jaccard(B, y)", -1, 1, 0, JACCARD),
    Measure("sorensen_dice_difference", "pair and class", "sorensen_dice(A, y) - sorensen_dice(B, y)", -1, 1, 0, DICE),
    Measure("log_likelihood_ratio", "pair", "2 sum of O ln(O / E) over the table of A, B and classes", 0, INF, 0, "Dunning 1993"),
    Measure("chi_square", "pair", "sum of (O - E)^2 / E over the table of A, B and classes", 0, INF, 0, "Pearson 1900"),
    Measure("kl_divergence", "pair", "sum over y of P(y | A) ln(P(y | A) / P(y | B)); given both ways", 0, INF, 0, "Kullback and Leibler 1951"),
    Measure("js_divergence", "pair", "KL(A, M) / 2 + KL(B, M) / 2 with M their mean", 0, float(np.log(2)), 0, "Lin 1991"),
    Measure("total_variation", "pair", "sum over y of |P(y | A) - P(y | B)| / 2", 0, 1, 0, "Levin et al. 2009"),
    Measure("wasserstein", "pair", "integral of |F_A - F_B| for numbers; total variation for other labels (distance 0 or 1)", 0, INF, 0, "Kantorovich 1942"),
    Measure("theil_l", "grouping", "mean over cohorts of ln(M / x), x their rows, M the mean of x", 0, INF, 0, THEIL),
    Measure("theil_t", "grouping", "mean over cohorts of (x / M) ln(x / M); at most ln m", 0, INF, 0, THEIL),
    Measure("atkinson", "grouping", "1 - geometric mean of x / M (aversion 1)", 0, 1, 0, ATKINSON),
    Measure("theil_l_class", "grouping and class", "theil_l with x = P(y | A)", 0, INF, 0, THEIL),
    Measure("theil_t_class", "grouping and class", "theil_t with x = P(y | A); at most ln m", 0, INF, 0, THEIL),
    Measure("atkinson_class", "grouping and class", "atkinson with x = P(y | A)", 0, 1, 0, ATKINSON),
)
MEASURES: Mapping[str, Measure] = {measure.name: measure for measure in _TABLE}


def balance(
    table: Any,
    *,
    by: Sequence[str | Sequence[str]],
    label: str = "y_true",
    bins: Bins | None = None,
    columns: Sequence[str] | None = None,
    k: int = K,
) -> pd.DataFrame:
    """Every measure for the groupings `by`, and shares for the whole table, one row each, columns exactly as in `COLUMNS`.

    `bins` gives inner edges of numeric columns, the label among them, or a number of quantile bins; `columns` are those
    whose missing values are counted, all unless given. Rows without a label count for cohort and missing shares only. For
    `k` see above.

    Raises: DataError where the label has more than 100 classes, a grouping more than 300 cohorts, or a weight is none.
    """
    source = Source(table, "table")
    named = list(source.names if columns is None else columns)
    source.require(named)
    cohorts = read_cohorts(source, by, bins, label)
    codes, classes = encoded(source, label, bins or {})
    if len(classes) > MAX_CLASSES:
        raise DataError(f"`{label}` has {len(classes):,} classes; at most {MAX_CLASSES} can be compared.", fix=f"Bin it: bins={{'{label}': 4}}.")
    places = _places(source, label, classes) if label not in (bins or {}) else None
    weight = read_weight(source)
    absent = {name: np.asarray(source.column(name).is_null(nan_is_null=True)) for name in named}
    small = hidden_cohorts(cohorts, k)
    unlabelled = hidden_cohorts(cohorts, k, codes >= 0, small)
    found = []
    for one, few, fewer in zip(cohorts, small, unlabelled, strict=True):
        size = Tally.of(one.member, (len(one.names),), weight)
        counts = _labelled(one, codes, classes, weight)
        known = [_classes(one.names, counts, classes)]
        if one.columns:
            known += _associations(one.names, counts, classes) + _pairs(one.names, counts, places) + _inequalities(counts, classes)
        found.append(published([*_rows(one, size, absent, weight), *(_sizes(size) if one.columns else [])], one.grouping, one.names, few))
        found.append(published(known, one.grouping, one.names, fewer))
    return one_table(found)


def _places(source: Source, label: str, classes: Sequence[str]) -> Floats | None:
    """Where the classes lie on a line, if they are numbers."""
    kind = source.column(label).type
    if pa.types.is_boolean(kind):
        return np.array([float(name == "True") for name in classes])
    return np.array([float(name) for name in classes]) if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind) else None


def _labelled(one: Cohorts, codes: NDArray[np.int64], classes: Sequence[str], weight: Floats | None) -> Tally:
    """Rows with a label by cohort and class."""
    known = codes >= 0
    cell = one.member[known] * max(len(classes), 1) + codes[known]
    return Tally.of(cell, (len(one.names), len(classes)), None if weight is None else weight[known])


def _rows(one: Cohorts, size: Tally, absent: Mapping[str, NDArray[np.bool_]], weight: Floats | None) -> list[Rows]:
    """Shares of rows and of missing values."""
    found = [shares("cohort_share", size.of_whole(size.sum()), cohort=one.names)]
    for column, gone in absent.items():
        part = Tally.of(one.member[gone], (len(one.names),), None if weight is None else weight[gone])
        found.append(shares("missing_share", part.of_whole(size), cohort=one.names, of=[column] * len(one.names)))
    return found


def _classes(names: list[str], counts: Tally, classes: list[str]) -> Rows:
    """Shares of classes."""
    whole = counts.sum().repeat(len(classes))
    return shares("class_share", counts.of_whole(whole), cohort=np.repeat(names, len(classes)), of=classes * len(names))


def _associations(names: list[str], tally: Tally, classes: list[str]) -> list[Rows]:
    """Association of each cohort with each class, and its difference between each two cohorts."""
    counts = tally.weight
    total = counts.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        joint, cohort, of = counts / total, counts.sum(axis=1, keepdims=True) / total, counts.sum(axis=0, keepdims=True) / total
        pmi = np.where(cohort > 0, np.log(joint / (cohort * of)), np.nan)
        normal = np.where(joint > 0, pmi / -np.log(np.where(joint < 1, joint, np.nan)), np.where(cohort > 0, -1.0, np.nan))
        values = {
            "pmi": pmi,
            "normalised_pmi": normal,
            "jaccard": joint / (cohort + of - joint),
            "sorensen_dice": 2 * joint / (cohort + of),
        }
        parity = joint / cohort
    n = tally.n.sum(axis=1)
    each = {"cohort": np.repeat(names, len(classes)), "of": classes * len(names)}
    found = [rows(name, value, np.repeat(n, len(classes)), **each) for name, value in values.items()]
    one, two = np.triu_indices(len(names), 1)
    labels = np.array(names, dtype=object)
    pair = {"cohort": np.repeat(labels[one], len(classes)), "other": np.repeat(labels[two], len(classes)), "of": classes * len(one)}
    both = np.repeat(n[one] + n[two], len(classes))
    for name, value in {"statistical_parity": parity, **{f"{name}_difference": value for name, value in values.items()}}.items():
        with np.errstate(invalid="ignore"):  # two infinities have no difference
            found.append(rows(name, value[one] - value[two], both, **pair))
    return found


def _pairs(names: list[str], tally: Tally, places: Floats | None) -> list[Rows]:
    """How far the label distributions of each two cohorts are apart. NaN where one of them has no label."""
    one, two = np.triu_indices(len(names), 1)
    n = tally.n.sum(axis=1)
    total = tally.weight.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        p, q = (tally.weight / total)[one], (tally.weight / total)[two]
        middle = (p + q) / 2
        variation = np.abs(p - q).sum(axis=1) / 2
        steps = np.abs(np.cumsum(p - q, axis=1)[:, :-1])
        worth = tally.weight / total * kish(total, tally.squares.sum(axis=1, keepdims=True))  # effective rows
    values = {
        "js_divergence": (special.rel_entr(p, middle) + special.rel_entr(q, middle)).sum(axis=1) / 2,
        "total_variation": variation,
        "wasserstein": variation if places is None else (steps * np.diff(places)).sum(axis=1),
    }
    labels = np.array(names, dtype=object)
    pair, both = {"cohort": labels[one], "other": labels[two]}, n[one] + n[two]
    found = [rows(name, value, both, p_value=tail, **pair) for name, (value, tail) in _tests(worth[one], worth[two]).items()]
    found += [rows(name, value, both, **pair) for name, value in values.items()]
    found.append(rows("kl_divergence", special.rel_entr(p, q).sum(axis=1), both, **pair))
    found.append(rows("kl_divergence", special.rel_entr(q, p).sum(axis=1), both, cohort=labels[two], other=labels[one]))
    return found


def _tests(a: Floats, b: Floats) -> dict[str, tuple[Floats, Floats]]:
    """Log-likelihood ratio and chi-square of counts by pair and class, with their upper tails; NaN where one side has no rows."""
    with np.errstate(divide="ignore", invalid="ignore"):
        pooled = (a + b) / (a.sum(axis=1) + b.sum(axis=1))[:, None]
        expected = [side.sum(axis=1, keepdims=True) * pooled for side in (a, b)]
        pearson = sum(np.where(e > 0, (o - e) ** 2 / e, np.where(np.isnan(e), e, 0.0)).sum(axis=1) for o, e in zip((a, b), expected, strict=True))
    both = (a.sum(axis=1) > 0) & (b.sum(axis=1) > 0)
    ratio = 2 * sum(special.rel_entr(o, e).sum(axis=1) for o, e in zip((a, b), expected, strict=True))
    freedom = np.maximum((a + b > 0).sum(axis=1) - 1, 0)
    values = {"log_likelihood_ratio": np.where(both, ratio, np.nan), "chi_square": np.where(both, pearson, np.nan)}
    return {name: (value, _tail(value, freedom)) for name, value in values.items()}


def _tail(value: Floats, freedom: NDArray[np.int64]) -> Floats:
    """The upper tail of chi-square; NaN where all rows are of one class."""
    return np.where(freedom > 0, special.chdtrc(np.maximum(freedom, 1), value), np.nan)


def _sizes(size: Tally) -> list[Rows]:
    """Inequality among cohorts of their rows."""
    return [rows(name, [value], [size.n.sum()]) for name, value in inequality(size.weight).items()]


def _inequalities(tally: Tally, classes: list[str]) -> list[Rows]:
    """Inequality among cohorts of the share of each class in them (cohorts with a label only)."""
    known = tally.weight[tally.weight.sum(axis=1) > 0]
    found = []
    for place, name in enumerate(classes):
        values = inequality(known[:, place] / known.sum(axis=1))
        found += [rows(f"{measure}_class", [value], [tally.n.sum()], of=[name]) for measure, value in values.items()]
    return found


def inequality(x: Floats) -> dict[str, float]:
    """Theil L, Theil T and Atkinson's index (aversion 1) of amounts x >= 0.

    >>> {name: round(value, 6) for name, value in inequality(np.array([1.0, 3.0])).items()}
    {'theil_l': 0.143841, 'theil_t': 0.130812, 'atkinson': 0.133975}
    """
    if not len(x) or not x.sum() > 0:
        return dict.fromkeys(("theil_l", "theil_t", "atkinson"), float("nan"))
    share = x / x.mean()
    with np.errstate(divide="ignore"):
        logs = np.log(share)
    theil_l = max(float(-logs.mean()), 0.0)
    return {"theil_l": theil_l, "theil_t": max(float(special.xlogy(share, share).mean()), 0.0), "atkinson": float(-np.expm1(-theil_l))}

"""The data side of cohorts: how classes, rows and missing values are shared out among them.

    balance(table, by=["sex", ["sex", "race"]])  # measure, grouping, cohort, other, of, value, low, high, p_value, n

One row is one measure of `MEASURES`: of a cohort, of a pair of cohorts (`cohort` and `other`), or of a grouping (neither).
`of` is the class it speaks of, or the column whose values are missing. A and B are cohorts, y a class, P shares of the rows
with a label, k the number of classes or cohorts. Logarithms are natural. Limits are Wilson's, at 95 %; p-values are
asymptotic and not corrected for the number of pairs. Rows count once each: weights are not used.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from scipy import special

from tasks.core.cohorts import check_edges, cohort_name, encode, groupings, numeric, quantile_edges
from tasks.core.errors import CaseError, DataError, nearest
from tasks.core.intervals import wilson
from tasks.core.predictions import Source

Floats = NDArray[np.float64]

COLUMNS = ("measure", "grouping", "cohort", "other", "of", "value", "low", "high", "p_value", "n")
MAX_CLASSES, MAX_COHORTS = 100, 300
INF = float("inf")


@dataclass(frozen=True)
class Measure:
    """One measure: what it is of, its formula, where its values lie, what no imbalance gives, and where its definition is from."""

    name: str
    scope: Literal["cohort", "cohort and class", "cohort and column", "pair", "pair and class", "grouping", "grouping and class"]
    formula: str
    low: float
    high: float
    balanced: float | None
    source: str


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
    Measure("theil_l", "grouping", "mean over cohorts of ln(m / x), x their rows, m the mean of x", 0, INF, 0, THEIL),
    Measure("theil_t", "grouping", "mean over cohorts of (x / m) ln(x / m); at most ln k", 0, INF, 0, THEIL),
    Measure("atkinson", "grouping", "1 - geometric mean of x / m (aversion 1)", 0, 1, 0, ATKINSON),
    Measure("theil_l_class", "grouping and class", "theil_l with x = P(y | A)", 0, INF, 0, THEIL),
    Measure("theil_t_class", "grouping and class", "theil_t with x = P(y | A); at most ln k", 0, INF, 0, THEIL),
    Measure("atkinson_class", "grouping and class", "atkinson with x = P(y | A)", 0, 1, 0, ATKINSON),
)
MEASURES: Mapping[str, Measure] = {measure.name: measure for measure in _TABLE}


def balance(
    table: Any,
    *,
    by: Sequence[str | Sequence[str]],
    label: str = "y_true",
    bins: Mapping[str, Sequence[float] | int] | None = None,
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Every measure for the groupings `by`, and shares for the whole table, one row each, columns exactly as in `COLUMNS`.

    `bins` gives inner edges of numeric columns, the label among them, or a number of quantile bins; `columns` are those
    whose missing values are counted, all unless given. Rows without a label count for cohort and missing shares only.

    Raises: DataError where the label has more than 100 classes or a grouping more than 300 cohorts.
    """
    source = Source(table, "table")
    grouped = groupings(by)
    named = list(source.names if columns is None else columns)
    source.require([label, *named, *(name for entry in grouped for name in entry)])
    cut = dict(bins or {})
    for name in cut:
        if name not in {label, *(part for entry in grouped for part in entry)}:
            raise CaseError(f"`{name}` is binned but is neither the label nor in a grouping.", where="bins", fix=nearest(name, source.names))
    codes, classes = _encoded(source, label, cut)
    if len(classes) > MAX_CLASSES:
        raise DataError(f"`{label}` has {len(classes):,} classes; at most {MAX_CLASSES} can be compared.", fix=f"Bin it: bins={{'{label}': 4}}.")
    places = _places(source, label, classes) if label not in cut else None
    absent = {name: np.asarray(source.column(name).is_null(nan_is_null=True)) for name in named}
    rows = _cohorts("", ["overall"], np.zeros(source.rows, dtype=np.int64), codes, classes, absent)
    for entry in grouped:
        member, names = _members(source, entry, cut)
        if len(names) > MAX_COHORTS:
            raise DataError(f"`{', '.join(entry)}` has {len(names):,} cohorts; at most {MAX_COHORTS} can be compared pair by pair.", fix="Bin or group them.")
        grouping = ", ".join(entry)
        rows += _cohorts(grouping, names, member, codes, classes, absent)
        counts = _table(member, codes, len(names), len(classes))
        rows += _associations(grouping, names, counts, classes)
        rows += _pairs(grouping, names, counts, places)
        rows += _inequalities(grouping, np.bincount(member, minlength=len(names)).astype(np.float64), counts, classes)
    frame = pd.concat(rows, ignore_index=True)
    return frame.astype({"n": "int64"} | dict.fromkeys(("value", "low", "high", "p_value"), "float64"))


def _encoded(source: Source, name: str, bins: Mapping[str, Sequence[float] | int]) -> tuple[NDArray[np.int64], list[str]]:
    """Codes of a column's known values in order of their labels, -1 where missing."""
    array, edges = source.column(name), bins.get(name)
    if isinstance(edges, int):
        edges = quantile_edges(numeric(array, name, "binned"), edges, name)
    found = encode(array, name, check_edges(edges, name) if edges is not None else None)
    known = [label for label in found.labels if label is not None]
    order = known if edges is not None else sorted(known, key=_in_order)
    place = {label: index for index, label in enumerate(order)}
    table = np.array([-1 if label is None else place[label] for label in found.labels], dtype=np.int64)
    return table[found.codes], order


def _in_order(label: str) -> tuple[float, str]:
    try:
        return float(label), label
    except ValueError:
        return INF, label


def _places(source: Source, label: str, classes: Sequence[str]) -> Floats | None:
    """Where the classes lie on a line, if they are numbers."""
    kind = source.column(label).type
    if pa.types.is_boolean(kind):
        return np.array([float(name == "True") for name in classes])
    return np.array([float(name) for name in classes]) if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind) else None


def _members(source: Source, entry: Sequence[str], bins: Mapping[str, Sequence[float] | int]) -> tuple[NDArray[np.int64], list[str]]:
    """The cohort of each row, and the cohorts' names; a missing value is a group of its own."""
    joint = np.zeros(source.rows, dtype=np.int64)
    groups: list[list[str | None]] = []
    for name in entry:
        codes, labels = _encoded(source, name, bins)
        joint = joint * (len(labels) + 1) + np.where(codes < 0, len(labels), codes)
        groups.append([*labels, None])
    present, member = np.unique(joint, return_inverse=True)
    cells = np.stack(np.unravel_index(present, [len(group) for group in groups]), axis=1)
    return member, [cohort_name(entry, [group[place] for group, place in zip(groups, cell, strict=True)]) for cell in cells.tolist()]


def _table(member: NDArray[np.int64], codes: NDArray[np.int64], cohorts: int, classes: int) -> Floats:
    """Rows by cohort and class."""
    known = codes >= 0
    counts = np.bincount(member[known] * max(classes, 1) + codes[known], minlength=cohorts * classes)
    return counts.reshape(cohorts, classes).astype(np.float64)


def _rows(measure: str, grouping: str, values: Any, n: Any, **more: Any) -> pd.DataFrame:
    """Rows of one measure; what is not given is None, or NaN."""
    values = np.asarray(values, dtype=np.float64).ravel()
    found: dict[str, Any] = {"measure": measure, "grouping": grouping, "value": values, "n": np.asarray(n, dtype=np.int64).ravel()}
    for name in ("cohort", "other", "of"):
        found[name] = pd.Series(list(more[name]) if name in more else [None] * len(values), dtype=object)
    for name in ("low", "high", "p_value"):
        found[name] = np.asarray(more[name]).ravel() if name in more else np.full(len(values), np.nan)
    return pd.DataFrame(found, columns=list(COLUMNS))


def _shares(measure: str, grouping: str, part: Floats, whole: Floats, **more: Any) -> pd.DataFrame:
    with np.errstate(divide="ignore", invalid="ignore"):
        share = part / whole
    low, high = wilson(share, whole)
    return _rows(measure, grouping, share, whole, low=low, high=high, **more)


def _cohorts(
    grouping: str, names: list[str], member: NDArray[np.int64], codes: NDArray[np.int64], classes: list[str], absent: dict[str, NDArray[np.bool_]]
) -> list[pd.DataFrame]:
    """Shares of rows, classes and missing values."""
    size = np.bincount(member, minlength=len(names)).astype(np.float64)
    counts = _table(member, codes, len(names), len(classes))
    known = np.repeat(counts.sum(axis=1), len(classes))
    found = [
        _shares("cohort_share", grouping, size, np.full(len(names), float(len(member))), cohort=names),
        _shares("class_share", grouping, counts.ravel(), known, cohort=np.repeat(names, len(classes)), of=classes * len(names)),
    ]
    for column, gone in absent.items():
        part = np.bincount(member[gone], minlength=len(names)).astype(np.float64)
        found.append(_shares("missing_share", grouping, part, size, cohort=names, of=[column] * len(names)))
    return found


def _associations(grouping: str, names: list[str], counts: Floats, classes: list[str]) -> list[pd.DataFrame]:
    """Association of each cohort with each class, and its difference between each two cohorts."""
    total = counts.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        joint, cohort, of = counts / total, counts.sum(axis=1, keepdims=True) / total, counts.sum(axis=0, keepdims=True) / total
        pmi = np.where(cohort > 0, np.log(joint / (cohort * of)), np.nan)
        normal = np.where(joint > 0, pmi / -np.log(np.where(joint < 1, joint, np.nan)), np.where(cohort > 0, -1.0, np.nan))
        measures = {
            "pmi": pmi,
            "normalised_pmi": normal,
            "jaccard": joint / (cohort + of - joint),
            "sorensen_dice": 2 * joint / (cohort + of),
        }
        shares = joint / cohort
    n = np.repeat(counts.sum(axis=1), len(classes))
    found = [_rows(name, grouping, value, n, cohort=np.repeat(names, len(classes)), of=classes * len(names)) for name, value in measures.items()]
    one, two = np.triu_indices(len(names), 1)
    labels = np.array(names, dtype=object)
    pair = {"cohort": np.repeat(labels[one], len(classes)), "other": np.repeat(labels[two], len(classes)), "of": classes * len(one)}
    both = np.repeat(counts[one].sum(axis=1) + counts[two].sum(axis=1), len(classes))
    for name, value in {"statistical_parity": shares, **{f"{name}_difference": value for name, value in measures.items()}}.items():
        with np.errstate(invalid="ignore"):  # two infinities have no difference
            found.append(_rows(name, grouping, value[one] - value[two], both, **pair))
    return found


def _pairs(grouping: str, names: list[str], counts: Floats, places: Floats | None) -> list[pd.DataFrame]:
    """How far the label distributions of each two cohorts are apart. NaN where one of them has no label."""
    one, two = np.triu_indices(len(names), 1)
    a, b = counts[one], counts[two]
    rows = a.sum(axis=1) + b.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        p, q = a / a.sum(axis=1, keepdims=True), b / b.sum(axis=1, keepdims=True)
        pooled = (a + b) / rows[:, None]
        expected = [side.sum(axis=1, keepdims=True) * pooled for side in (a, b)]
        pearson = sum(np.where(e > 0, (o - e) ** 2 / e, np.where(np.isnan(e), e, 0.0)).sum(axis=1) for o, e in zip((a, b), expected, strict=True))
        middle = (p + q) / 2
        variation = np.abs(p - q).sum(axis=1) / 2
        steps = np.abs(np.cumsum(p - q, axis=1)[:, :-1])
    both = (a.sum(axis=1) > 0) & (b.sum(axis=1) > 0)
    ratio = np.where(both, 2 * sum(special.rel_entr(o, e).sum(axis=1) for o, e in zip((a, b), expected, strict=True)), np.nan)
    pearson = np.where(both, pearson, np.nan)
    freedom = np.maximum((a + b > 0).sum(axis=1) - 1, 0)
    values = {
        "js_divergence": (special.rel_entr(p, middle) + special.rel_entr(q, middle)).sum(axis=1) / 2,
        "total_variation": variation,
        "wasserstein": variation if places is None else (steps * np.diff(places)).sum(axis=1),
    }
    labels = np.array(names, dtype=object)
    pair = {"cohort": labels[one], "other": labels[two]}
    tests = {"log_likelihood_ratio": ratio, "chi_square": pearson}
    found = [_rows(name, grouping, value, rows, p_value=_tail(value, freedom), **pair) for name, value in tests.items()]
    found += [_rows(name, grouping, value, rows, **pair) for name, value in values.items()]
    found.append(_rows("kl_divergence", grouping, special.rel_entr(p, q).sum(axis=1), rows, **pair))
    found.append(_rows("kl_divergence", grouping, special.rel_entr(q, p).sum(axis=1), rows, cohort=labels[two], other=labels[one]))
    return found


def _tail(value: Floats, freedom: NDArray[np.int64]) -> Floats:
    """The upper tail of chi-square; NaN where all rows are of one class."""
    return np.where(freedom > 0, special.chdtrc(np.maximum(freedom, 1), value), np.nan)


def _inequalities(grouping: str, size: Floats, counts: Floats, classes: list[str]) -> list[pd.DataFrame]:
    """Inequality among cohorts: of their rows, and of the share of each class in them (cohorts with a label only)."""
    total = [int(size.sum())]
    found = [_rows(name, grouping, [value], total) for name, value in inequality(size).items()]
    known = counts[counts.sum(axis=1) > 0]
    for place, name in enumerate(classes):
        measures = inequality(known[:, place] / known.sum(axis=1))
        found += [_rows(f"{measure}_class", grouping, [value], [int(counts.sum())], of=[name]) for measure, value in measures.items()]
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

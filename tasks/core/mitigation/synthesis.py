"""Synthesis: new rows drawn from a Gaussian copula of each class."""

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from sklearn.metrics import pairwise_distances_argmin
from sklearn.utils._param_validation import Interval, RealNotInt, StrOptions

from tasks.core.encoding import RARE
from tasks.core.errors import CaseError, DataError
from tasks.core.mitigation.arguments import Maker
from tasks.core.mitigation.base import Floats, Sampler
from tasks.core.mitigation.rebalancing import class_counts

SOURCES = 2**13
"""Rows of a class, at most, among which a made-up row's nearest is looked for."""
ROUNDS = 50


class GaussianCopula(Sampler):
    """Makes up rows of each class with the class's own margins and, between its columns, its rank correlations.

    A column is taken for a standard normal variable cut by the column's distribution function: numbers are read off at
    quantiles, a category covers an interval of its share. Each value's score is the mean of the normal over the value's
    interval; the normals' correlation is estimated as cov(s_i, s_j) / (var(s_i) var(s_j)), exact between a cut and an uncut
    column and near it between two cut ones, then made a correlation matrix by clipping its eigenvalues. Nelsen, An
    Introduction to Copulas, 2006; Patki, Wedge and Veeramachaneni, The Synthetic Data Vault, 2016, which puts categories in
    the order of their shares: here they stand in the order of their means on the first component of all columns
    (Escofier, 1979), which keeps more of what goes together. Gaps in a column of numbers are a category
    of their own, correlated like the others.

    Numbers are drawn between `quantiles` quantiles, at most one for each ten rows of the class: none beyond the first or
    the last, so that a single extreme row is never drawn again; whole numbers stay whole. What goes together between two
    columns in ways that no order can express is lost: `smotenc` keeps more of it.

    `rows`: how many to make: a whole number for each class; a ratio to the rows that the class has; a mapping of either,
    {0: ..., 1: ...}, none of a class left out; or "parity", as many as bring both classes to the larger one's count.
    `mode`: they are put after the rows there are (`append`) or in their place (`replace`). A made-up row belongs to the
    cohorts of the row of its class that is nearest to it in scores, among at most 8,192 of them. Nothing is kept of the rows.
    """

    tasks = ("binary",)
    reads = "frame"
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "rows": [StrOptions({"parity"}), Interval(Integral, 0, None, closed="left"), Interval(RealNotInt, 0, None, closed="neither"), Mapping],
        "mode": [StrOptions({"append", "replace"})],
        "quantiles": [Interval(Integral, 2, None, closed="left")],
        "seed": ["random_state"],
    }

    def __init__(self, rows: str | int | float | dict[Any, int | float] = "parity", mode: str = "append", quantiles: int = 200, seed: int = 0) -> None:
        self.rows = rows
        self.mode = mode
        self.quantiles = quantiles
        self.seed = seed

    def fit_resample(self, X: pd.DataFrame, y: Any) -> tuple[pd.DataFrame, NDArray[np.int64]]:
        """The rows that come out, their labels, and `sample_indices_`. Raises DataError for a class that is missing or has under 20 rows."""
        self._validate_params()
        counts = class_counts(np.asarray(y))
        y = np.asarray(y).astype(np.int64)
        random = np.random.default_rng(self.seed)
        frames, labels, indices = ([X], [y], [np.arange(len(y))]) if self.mode == "append" else ([], [], [])
        for label, rows in self._wanted(counts).items():
            members = np.flatnonzero(y == label)
            if rows == 0:
                continue
            if len(members) < 2 * RARE:
                raise DataError(
                    f"class {label} has {len(members)} rows, and a copula needs at least {2 * RARE}.", fix="Use random_over_sampler, or bring more data."
                )
            frame, like = _drawn(X.iloc[members], rows, self.quantiles, random)
            frames.append(frame)
            labels.append(np.full(rows, label))
            indices.append(members[like])
        self.sample_indices_ = np.concatenate(indices)
        return pd.concat(frames, ignore_index=True), np.concatenate(labels)

    def _wanted(self, counts: dict[int, int]) -> dict[int, int]:
        """Rows to make of each class."""
        most = max(counts.values())
        if self.rows == "parity":
            return {label: most - (count if self.mode == "append" else 0) for label, count in counts.items()}
        asked: Mapping[Any, Any] = self.rows if isinstance(self.rows, Mapping) else dict.fromkeys(counts, self.rows)
        wanted = dict.fromkeys(counts, 0)
        for label, rows in asked.items():
            if str(label) not in ("0", "1"):
                raise CaseError(f"`rows` names class `{label}`, and the classes are 0 and 1.", fix="Write 0 for the negative class, 1 for the positive.")
            if not isinstance(rows, Real) or isinstance(rows, bool) or rows < 0:
                raise CaseError(f"`rows` asks for {rows!r} rows of class {label}.", fix="Give a whole number, or a ratio such as 0.5.")
            wanted[int(label)] = int(rows) if isinstance(rows, Integral) else round(float(rows) * counts[int(label)])
        if self.mode == "replace" and not all(wanted.values()):
            raise CaseError("`mode: replace` would leave a class without rows.", fix="Ask for `rows` of both classes.")
        return wanted


def _drawn(X: pd.DataFrame, rows: int, quantiles: int, random: np.random.Generator) -> tuple[pd.DataFrame, NDArray[np.intp]]:
    """Rows made up after those of one class, and for each the place of the row nearest to it."""
    component = _component(X, random)
    margins = {
        str(name): _Numbers(X[name], quantiles) if pd.api.types.is_numeric_dtype(X[name]) else _Names(X[name].to_numpy(dtype=object), component)
        for name in X.columns
    }
    scores = np.column_stack([column for margin in margins.values() for column in margin.scores])
    roots = _root(_correlation(scores))
    normal = random.standard_normal((rows, len(roots))) @ roots.T
    made, found, place = {}, [], 0
    for name, margin in margins.items():
        width = len(margin.scores)
        made[name], new = margin.drawn(normal[:, place : place + width])
        found += new
        place += width
    among = random.permutation(len(X))[:SOURCES]
    like = among[pairwise_distances_argmin(np.nan_to_num(np.column_stack(found)), np.nan_to_num(scores[among]))]
    return pd.DataFrame({name: pd.Series(values, dtype=X[name].dtype) for name, values in made.items()}), like


def _interval_means(counts: NDArray[Any]) -> Floats:
    """The mean of a standard normal variable over intervals that hold these shares of it, from the left; shape (n_intervals,)."""
    edges = ndtri(np.concatenate([[0.0], np.cumsum(counts) / np.sum(counts)]).clip(0, 1))
    density = np.exp(-(edges**2) / 2) / np.sqrt(2 * np.pi)
    return np.asarray((density[:-1] - density[1:]) * np.sum(counts) / counts)


def _component(X: pd.DataFrame, random: np.random.Generator) -> Floats:
    """Each row's place on the first component of the columns, numbers by rank and categories alike (n_rows,): power iteration,
    in which a row's next place is the sum over columns of what the column tells of its place."""
    columns: list[tuple[NDArray[Any], NDArray[Any] | None]] = []
    for name in X.columns:
        if pd.api.types.is_numeric_dtype(X[name]):
            ranks = X[name].rank()
            spread = float(ranks.std(ddof=0))
            columns.append((((ranks - ranks.mean()) / (spread if spread > 0 else 1.0)).fillna(0.0).to_numpy(dtype=np.float64), None))
        else:
            codes = pd.factorize(X[name].to_numpy(dtype=object))[0]
            columns.append((codes, np.bincount(codes)))
    places = random.standard_normal(len(X))
    for _ in range(ROUNDS):
        told = [values * (values @ places) / len(X) if counts is None else (np.bincount(values, weights=places) / counts)[values] for values, counts in columns]
        places = np.sum(told, axis=0)
        places = (places - places.mean()) / max(float(places.std()), 1e-12)
    return np.asarray(places)


class _Names:
    """The margin of a column of text: `scores` of the rows, and names by intervals, in the order of their mean `places`."""

    def __init__(self, column: NDArray[Any], places: Floats) -> None:
        codes, names = pd.factorize(column, sort=True)
        counts = np.bincount(codes)
        order = np.argsort(np.bincount(codes, weights=places) / counts, kind="stable")
        self.names = np.asarray(names, dtype=object)[order]
        self.means = _interval_means(counts[order])
        self.edges = np.cumsum(counts[order])[:-1] / len(codes)
        self.scores = [self.means[np.argsort(order)[codes]]]

    def drawn(self, normal: Floats) -> tuple[NDArray[Any], list[Floats]]:
        """A name and its score for each normal number, shape (n, 1)."""
        places = np.searchsorted(self.edges, ndtr(normal[:, 0]), side="right")
        return self.names[places], [self.means[places]]


class _Numbers:
    """The margin of a column of numbers: `scores` of the rows, NaN for a gap, then scores of "is a gap" where there are any; and quantiles."""

    def __init__(self, column: "pd.Series[Any]", quantiles: int) -> None:
        values = column.to_numpy(dtype=np.float64)
        gap = np.isnan(values)
        known = values[~gap]
        different, back, counts = np.unique(known, return_inverse=True, return_counts=True)
        scores = np.full(len(values), np.nan)
        scores[~gap] = _interval_means(counts)[back.ravel()] if len(known) else 0.0
        self.scores = [scores]
        self.gaps = _Names(np.where(gap, "gap", "value"), gap.astype(np.float64)) if 0 < gap.sum() < len(gap) else None
        if self.gaps:
            self.scores += self.gaps.scores
        many = min(quantiles, len(known) // RARE)
        self.levels = (np.arange(max(many, 1)) + 0.5) / max(many, 1)
        self.whole = bool((different == np.rint(different)).all())
        self.values = np.quantile(known, self.levels) if many else np.full(1, np.nan)

    def drawn(self, normal: Floats) -> tuple[Floats, list[Floats]]:
        """A number, or NaN, and its scores for each row of normal numbers, shape (n, 1) or (n, 2)."""
        values = np.interp(ndtr(normal[:, 0]), self.levels, self.values)
        values = np.rint(values) if self.whole else values
        if self.gaps is None:
            return values, [normal[:, 0]]
        words, scores = self.gaps.drawn(normal[:, 1:])
        gap = words == "gap"
        return np.where(gap, np.nan, values), [np.where(gap, np.nan, normal[:, 0]), *scores]


def _correlation(scores: Floats) -> Floats:
    """The normals' correlation matrix, from scores (n_rows, n_columns) over the rows where both are known."""
    known = ~np.isnan(scores)
    filled = np.where(known, scores, 0.0)  # scores have mean 0
    both = np.maximum(known.T.astype(np.float64) @ known, 1.0)
    variance = (filled**2).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    scale = np.outer(variance, variance)
    estimate = np.divide(filled.T @ filled / both, scale, out=np.zeros_like(scale), where=scale > 0).clip(-0.999, 0.999)
    np.fill_diagonal(estimate, 1.0)
    return np.asarray(estimate)


def _root(correlation: Floats) -> Floats:
    """A matrix R with R R' the correlation matrix nearest to this one: eigenvalues below 0 become 0, then the diagonal 1."""
    values, vectors = np.linalg.eigh(correlation)
    root = vectors * np.sqrt(values.clip(1e-9))
    return np.asarray(root / np.linalg.norm(root, axis=1, keepdims=True))


METHODS = {"gaussian_copula": Maker("gaussian_copula", GaussianCopula)}

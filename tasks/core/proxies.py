"""Suspected proxies: features from which a sensitive column can be told.

Each feature alone, then all features together, is asked to predict each sensitive column, in three folds of rows that
the predicting model has not seen. A sensitive column of classes is scored by the area under the ROC curve (0.5 is
chance, 1 is certainty): of the class that is told best from the rest, so that a feature which gives away one group
counts. Classes with fewer than 50 rows and under 1 % of the rows are taken as one, and not asked for if still so few. A
numeric sensitive column with more than 10 distinct values is scored by R2 (0 and below is nothing, 1 is everything).

One feature is read by a decision tree, all together by a forest, both of fixed small size and seeded; categories are
encoded by what they tell of the sensitive column, within the folds. Above 5,000 rows a seeded sample of 5,000 is used.
Rows without the sensitive value are left out. A low score is no proof that there is no proxy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api import types

from tasks.core.case import Case
from tasks.core.catalogue import Dataset, RiskFlag
from tasks.core.findings import Finding

ROWS = 5_000
FOLDS = 3
FEW = 10
"""A numeric column with up to so many distinct values is read as classes."""
RARE_ROWS, RARE_SHARE = 50, 0.01
FEWEST = 100
"""With fewer rows nothing is said."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """How well a sensitive column can be told from a feature, or from all of them together when `feature` is None.

    `score` is the mean over folds of `measure`; `group` is the class told best; `n` is the number of rows used.
    """

    sensitive: str
    feature: str | None
    score: float
    measure: Literal["auc", "r2"]
    n: int
    group: str | None = None


def score_proxies(frame: pd.DataFrame, features: Sequence[str], sensitive: Sequence[str], seed: int) -> list[Proxy]:
    """A score for each sensitive column and each feature, the strongest first; columns absent from `frame` are left out.

    A feature that is itself the sensitive column (under a waiver) is not asked to predict itself.
    """
    found: list[Proxy] = []
    for name in sensitive:
        if name not in frame:
            continue
        rows = frame[frame[name].notna()]
        if len(rows) > ROWS:
            rows = rows.sample(ROWS, random_state=seed)
        usable = [feature for feature in features if feature != name and feature in rows and rows[feature].notna().any()]
        if len(rows) < FEWEST or not usable:
            continue
        found += _scores(rows, usable, name, seed)
    return sorted(found, key=lambda proxy: -proxy.score)


def suspected_proxies(frame: pd.DataFrame, features: Sequence[str], sensitive: Sequence[str], limit: float, seed: int) -> list[Proxy]:
    """The proxies whose score is above `limit`, the strongest first."""
    return [proxy for proxy in score_proxies(frame, features, sensitive, seed) if proxy.score > limit]


def check_proxies(case: Case, dataset: Dataset, frame: pd.DataFrame) -> tuple[Finding, ...]:
    """Findings on suspected proxies of the dataset's sensitive columns among the case's features, by the case's limit."""
    suspects = suspected_proxies(frame, case.features, dataset.flagged(RiskFlag.SENSITIVE), case.checks.proxy_limit, case.seed)
    return tuple(_finding(proxy, case, dataset) for proxy in suspects)


def _finding(proxy: Proxy, case: Case, dataset: Dataset) -> Finding:
    measure = "AUC" if proxy.measure == "auc" else "R2"
    what = f"`{proxy.sensitive}`" + (f" (best: {proxy.group})" if proxy.group is not None else "")
    figures = f"cross-validated {measure} {proxy.score:.2f} > {case.checks.proxy_limit:g}, {proxy.n:,} rows"
    if proxy.feature is None:
        message = f"All features together tell the sensitive column {what}: {figures}."
        fix = f"Look at errors by `{proxy.sensitive}`, and try candidates with a mitigation `by: [{proxy.sensitive}]`."
        return Finding("suspected_proxy", case.checks.proxies, proxy.sensitive, message, fix)
    message = f"Feature `{proxy.feature}` tells the sensitive column {what}: {figures}."
    fix = f"Drop it from configs/{case.case}.yaml, or flag it `proxy` in {dataset.file} and record a waiver."
    return Finding("suspected_proxy", case.checks.proxies, proxy.feature, message, fix)


def _scores(rows: pd.DataFrame, features: list[str], name: str, seed: int) -> list[Proxy]:
    """Scores of one sensitive column."""
    from sklearn.model_selection import KFold, StratifiedKFold

    values = rows[name]
    numeric = types.is_numeric_dtype(values.dtype) and not types.is_bool_dtype(values.dtype) and values.nunique() > FEW
    if numeric:
        target = values.to_numpy(dtype=np.float64)
        if not np.isfinite(target).all():
            return []  # the type check has said so
        groups: list[str] = []
        folds = list(KFold(FOLDS, shuffle=True, random_state=seed).split(target))
    else:
        target, groups = _classes(values)
        counts = np.bincount(target)
        common = ~_rare(counts)
        if len(groups) < 2 or counts.min() < FOLDS:
            return []
        folds = list(StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(target, target))
    asked: list[list[str]] = [[feature] for feature in features]
    if len(features) > 1:
        asked.append(features)
    scores: list[list[Any]] = [[] for _ in asked]
    for train, test in folds:
        coded = [_coded(rows[feature], target, train, test, numeric, seed) for feature in features]
        for index, chosen in enumerate(asked):
            blocks = [coded[features.index(feature)] for feature in chosen]
            fitted = _model(numeric, len(chosen) > 1, len(train), seed).fit(np.hstack([block[0] for block in blocks]), target[train])
            inputs = np.hstack([block[1] for block in blocks])
            scores[index].append(fitted.score(inputs, target[test]) if numeric else _areas(target[test], fitted.predict_proba(inputs)))
    found = []
    for chosen, of_folds in zip(asked, scores, strict=True):
        mean = np.mean(of_folds, axis=0)
        best = None if numeric else int(np.argmax(np.where(common, mean, 0)))
        score = float(mean) if best is None else float(mean[best])
        feature = chosen[0] if len(chosen) == 1 else None
        found.append(Proxy(name, feature, score, "r2" if numeric else "auc", len(rows), None if best is None else groups[best]))
    return found


def _classes(values: "pd.Series[Any]") -> tuple[NDArray[np.int64], list[str]]:
    """Class numbers and names. Rare classes are taken as one; where that one is a handful of rows, it joins the commonest class."""
    texts = values.astype(str)
    counts = texts.value_counts()
    rare = counts.index[_rare(np.asarray(counts, dtype=np.int64))]
    together = f"{len(rare)} rare classes" if int(counts[rare].sum()) >= FOLDS else str(counts.index[0])
    codes, names = pd.factorize(texts.where(~texts.isin(rare), together), sort=True)
    return codes.astype(np.int64), [str(name) for name in names]


def _rare(counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    return np.asarray((counts < RARE_ROWS) & (counts < RARE_SHARE * counts.sum()))


def _coded(
    values: "pd.Series[Any]", target: NDArray[Any], train: NDArray[np.int64], test: NDArray[np.int64], numeric: bool, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A feature as numbers for the train and the test rows, shape (n, 1) or (n, classes): numbers as they are, missing as NaN; others by
    their target encoding, learned on the train rows with folds of its own."""
    if types.is_numeric_dtype(values.dtype):
        numbers = values.to_numpy(dtype=np.float64, na_value=np.nan).reshape(-1, 1)
        numbers = np.where(np.isfinite(numbers), numbers, np.nan)
        return numbers[train], numbers[test]
    from sklearn.model_selection import KFold
    from sklearn.preprocessing import TargetEncoder

    kind = "continuous" if numeric else ("binary" if len(np.unique(target)) == 2 else "multiclass")
    texts = values.astype(object).where(values.notna(), "").astype(str).to_numpy(dtype=object).reshape(-1, 1)
    encoder = TargetEncoder(target_type=kind, cv=KFold(FOLDS, shuffle=True, random_state=seed))
    fitted = encoder.fit_transform(texts[train], target[train])
    return np.asarray(fitted, dtype=np.float64), np.asarray(encoder.transform(texts[test]), dtype=np.float64)


def _model(numeric: bool, many: bool, rows: int, seed: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    if many:
        forest = RandomForestRegressor if numeric else RandomForestClassifier
        return forest(n_estimators=30, min_samples_leaf=5, max_features="sqrt", random_state=seed, n_jobs=1)
    tree = DecisionTreeRegressor if numeric else DecisionTreeClassifier
    return tree(max_leaf_nodes=16, min_samples_leaf=max(5, rows // 40), random_state=seed)


def _areas(truth: NDArray[np.int64], probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """The area under the ROC curve of each class against the rest, shape (classes,), by ranks (Mann-Whitney), ties counted half."""
    from scipy.stats import rankdata

    of_class = truth[:, None] == np.arange(probabilities.shape[1])
    inside = of_class.sum(axis=0)
    ranks = rankdata(probabilities, axis=0)
    return np.asarray(((ranks * of_class).sum(axis=0) - inside * (inside + 1) / 2) / (inside * (len(truth) - inside)))

"""Boston for bench_results: suspected proxies, and what the steps do to the errors of a model of home values."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from tasks.core.building import build
from tasks.core.candidate_spec import CandidateSpec
from tasks.core.candidates import Candidate
from tasks.core.case import Case
from tasks.core.catalogue import RiskFlag
from tasks.core.comparison import compare
from tasks.core.mitigation.groups import label_groups
from tasks.core.predictions import predictions_table
from tasks.core.proxies import score_proxies
from tasks.io.documents import load_case, load_dataset
from tasks.io.home import PROJECT
from tests.benchmarks.results_adult import PLAIN, beside

Row = dict[str, Any]
Spec = Mapping[str, Any]

FOLDS = 5
SLOW = ("bounded_group_loss",)
LINEAR = {"kind": "linear"}
BOOSTED = {"kind": "hist_gradient_boosting", "params": {"max_iter": 150, "learning_rate": 0.06, "min_samples_leaf": 10}}


@cache
def tracts() -> pd.DataFrame:
    """The shipped table."""
    return pd.read_csv(PROJECT / "data/raw/boston/boston.csv")


@cache
def case() -> Case:
    """The shipped case."""
    return load_case("boston", PROJECT)


def fitted(spec: Spec, train: pd.DataFrame, validation: pd.DataFrame) -> Candidate:
    """A fitted candidate."""
    candidate = build(CandidateSpec.model_validate({"name": "x", **spec}), case(), dict.fromkeys(tracts(), "numeric"))
    return candidate.fit(train, train["MEDV"], validation=(validation, validation["MEDV"]))


def proxies() -> Iterator[Row]:
    """How well each sensitive column is told from the features together, and from the strongest three alone."""
    found = score_proxies(tracts(), case().features, load_dataset("boston", PROJECT).flagged(RiskFlag.SENSITIVE), case().seed)
    for sensitive in ("LSTAT", "B"):
        mine = [proxy for proxy in found if proxy.sensitive == sensitive]
        alone = [proxy for proxy in mine if proxy.feature][:3]
        for proxy in (*(proxy for proxy in mine if proxy.feature is None), *alone):
            suspected = proxy.score > case().checks.proxy_limit
            yield {"sensitive": sensitive, "told_from": proxy.feature or "all features together", "r2": proxy.score, "suspected": suspected}


def levelling(estimator: Row) -> dict[str, Row]:
    """Every remedy for differences in error between kinds of tract, over one estimator."""
    by: Row = {"by": ["LSTAT"]}
    bounded = {"method": "exponentiated_gradient", **by, "constraint": "bounded_group_loss", "params": {"upper_bound": 0.01, "max_iter": 20}}
    found: dict[str, Row] = {
        PLAIN: {},
        "reweighing": {"pre": [{"method": "reweighing", **by}]},
        "correlation_remover": {"pre": [{"method": "correlation_remover", "by": ["B", "LSTAT"]}]},
        "cohort_bias_correction": {"post": [{"method": "cohort_bias_correction", **by}]},
        "quantile_mapping": {"post": [{"method": "quantile_mapping", **by}]},
        "decoupled": {"in": {"method": "decoupled", **by, "params": {"min_rows": 60}}},
    }
    if estimator is LINEAR:  # over boosting it takes two minutes
        found["bounded_group_loss"] = {"in": bounded}
    return {name: {"estimator": estimator, **steps} for name, steps in found.items()}


def levelled(estimator: Row, only: tuple[str, ...] = ()) -> dict[str, pd.DataFrame]:
    """Predictions for all tracts, each told by a model that was fitted on three of five folds, validated on another, and saw neither."""
    fold = np.random.default_rng(case().seed).permutation(len(tracts())) % FOLDS
    parts = [[tracts()[which] for which in (fold == k, fold == (k + 1) % FOLDS, (fold != k) & (fold != (k + 1) % FOLDS))] for k in range(FOLDS)]
    return {
        name: pd.concat([predictions_table(fitted(spec, train, held), test, test["MEDV"]) for test, held, train in parts], ignore_index=True)
        for name, spec in levelling(estimator).items()
        if not only or name in only
    }


def boston(estimators: Mapping[str, Row] | None = None, quick: bool = False) -> Iterator[Row]:
    """Mean absolute error beside the unmitigated model of the same estimator, and its gaps between kinds of tract."""
    for estimator, made in (estimators or {"linear": LINEAR, "boosted": BOOSTED}).items():
        only = tuple(name for name in levelling(made) if not quick or name not in SLOW)
        report = compare(levelled(made, only), baseline=PLAIN, task="regression", by=[["B"], ["LSTAT"]], bins=case().cohorts.bins, metrics=["mae"])
        overall = report.frame().query("cohort == 'overall'").set_index("model")
        for name, one in report.reports.items():
            gaps = one.gaps().set_index("grouping")
            row: Row = {"estimator": estimator, "model": name}
            row["mae"] = beside(overall.loc[name])
            for grouping in ("B", "LSTAT"):
                row[grouping] = [float(gaps.loc[grouping, column]) for column in ("difference", "low", "high")]
                row[f"{grouping}_worst"] = gaps.loc[grouping, "worst"]
            yield row


def bias(by: str, estimator: Row) -> tuple[float, float]:
    """The largest mean error of a cohort on validation before and after cohort_bias_correction, in thousands of dollars."""
    train, validation = train_test_split(tracts(), test_size=0.25, random_state=case().seed)
    groups = label_groups(validation, {by: "numeric"}, case().cohorts.bins)
    found = []
    for post in ([], [{"method": "cohort_bias_correction", "by": [by]}]):
        error = fitted({"estimator": estimator, "post": post}, train, validation).predict(validation) - validation["MEDV"].to_numpy()
        found.append(max(abs(float(error[groups == name].mean())) for name in set(groups)))
    return found[0], found[1]

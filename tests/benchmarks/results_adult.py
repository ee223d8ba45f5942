"""Adult for bench_results: what the mitigation steps do to a model of income, fitted on its train file and told on its test file."""

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
from tasks.core.comparison import compare
from tasks.core.predictions import predictions_table
from tasks.io.documents import load_case, load_dataset
from tasks.io.home import PROJECT

Row = dict[str, Any]
Spec = Mapping[str, Any]

SEEDS = 5
LOGISTIC = {"kind": "logistic"}
BOOSTED = {"kind": "hist_gradient_boosting", "params": {"max_iter": 120}}
PLAIN = "unmitigated"
WIDE = ("age", "marital-status")  # not the sex, but what it can be told from


@cache
def people() -> pd.DataFrame:
    """The shipped table."""
    return pd.read_parquet(PROJECT / "data/raw/adult/adult.parquet")


@cache
def part(name: str) -> pd.DataFrame:
    """The `train` or `test` file as it was given."""
    return people().query("split == @name").drop(columns="split").reset_index(drop=True)


def earns(frame: pd.DataFrame) -> "pd.Series[int]":
    """Whether each person earns above $50K."""
    return (frame["income"] == ">50K").astype(np.int64)


@cache
def halves(seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The train file as rows to fit on, three quarters of it, and rows to validate on."""
    train, validation = train_test_split(part("train"), test_size=0.25, random_state=seed, stratify=earns(part("train")))
    return train.reset_index(drop=True), validation.reset_index(drop=True)


@cache
def kinds() -> dict[str, Any]:
    """numeric or categorical, for each column that a case may name."""
    names = [name for name in load_dataset("adult", PROJECT).names if name in people() and name not in ("income", "split")]
    return {name: "numeric" if pd.api.types.is_numeric_dtype(people()[name]) else "categorical" for name in names}


def case(*more: str, seed: int = 11) -> Case:
    """The shipped case with these columns as features besides its six."""
    shipped = load_case("adult", PROJECT)
    return shipped.model_copy(update={"features": (*shipped.features, *more), "seed": seed})


def fitted(spec: Spec, of: Case, train: pd.DataFrame, validation: pd.DataFrame | None = None, types: Any = None, **given: Any) -> Candidate:
    """A fitted candidate; `types` stands for the kinds of columns where given."""
    held = None if validation is None else (validation, earns(validation))
    return build(CandidateSpec.model_validate({"name": "x", **spec}), of, types or kinds()).fit(train, earns(train), validation=held, **given)


def told(candidate: Candidate, frame: pd.DataFrame) -> pd.DataFrame:
    """Its predictions table."""
    return predictions_table(candidate, frame, earns(frame))


def accuracy(predictions: pd.DataFrame) -> float:
    """The share told rightly."""
    return float((predictions["y_true"] == predictions["y_pred"]).mean())


def beside(row: Any) -> list[float]:
    """Of a row of a comparison the value, and the difference to the baseline with its limits where it is not the baseline's."""
    return [float(row[name]) for name in ("value", "delta", "delta_low", "delta_high") if not pd.isna(row[name])]


# Differences between the sexes.


def fairer(estimator: Row, eased: bool) -> dict[str, Row]:
    """Every remedy for differences between the sexes, over one estimator; `eased`: also those that fit it some tens of times."""
    sex: Row = {"by": ["sex"]}
    odds = {**sex, "constraint": "equalized_odds"}
    best = {"params": {"objective": "accuracy"}}
    joint = {"method": "joint_thresholds", **sex, "params": {"loss": "demographic_parity"}}
    found: dict[str, Row] = {
        "reweighing": {"pre": [{"method": "reweighing", **sex}]},
        "resampling": {"pre": [{"method": "resampling", **sex}]},
        "correlation_remover": {"pre": [{"method": "correlation_remover", **sex}]},
        "disparate_impact_remover": {"pre": [{"method": "disparate_impact_remover", **sex}]},
        "decoupled": {"in": {"method": "decoupled", **sex}},
        "decoupled + joint_thresholds": {"in": {"method": "decoupled", **sex}, "post": [joint]},
        "cohort_thresholds": {"post": [{"method": "cohort_thresholds", **sex}]},
        "calibrated_equalized_odds": {"post": [{"method": "calibrated_equalized_odds", **sex, "params": {"cost": "fnr"}}]},
        "reject_option": {"post": [{"method": "reject_option", **odds}]},
        "threshold_optimizer, recall": {"post": [{"method": "threshold_optimizer", **sex, "constraint": "true_positive_rate_parity", **best}]},
        "threshold_optimizer": {"post": [{"method": "threshold_optimizer", **odds, **best}]},
    }
    if eased:
        found["grid_search"] = {"in": {"method": "grid_search", **odds}}
        found["exponentiated_gradient"] = {"in": {"method": "exponentiated_gradient", **odds, "params": {"eps": 0.02, "max_iter": 20}}}
    return {name: {"estimator": estimator, **steps} for name, steps in found.items()}


FAIRER = {"logistic": (LOGISTIC, fairer(LOGISTIC, True)), "boosted": (BOOSTED, fairer(BOOSTED, False))}


def fairness_models(estimator: str, seed: int, only: tuple[str, ...] = ()) -> dict[str, tuple[pd.DataFrame, pd.DataFrame]]:
    """Predictions for validation and test rows of the plain model, first, and each remedy; those of `only` where given."""
    plain, remedies = FAIRER[estimator]
    specs = {PLAIN: {"estimator": plain}} | {name: spec for name, spec in remedies.items() if not only or name in only}
    train, validation = halves(seed)
    cache: dict[str, Any] = {}
    models = {name: fitted(spec, case(*WIDE, seed=seed), train, validation, cache=cache) for name, spec in specs.items()}
    return {name: (told(model, validation), told(model, part("test"))) for name, model in models.items()}


def rates(predictions: pd.DataFrame) -> np.ndarray:
    """The share answered 1, (2, 2): women and men, then true label 0 and 1."""
    cell = predictions.groupby(["sex", "y_true"])["y_pred"].mean()
    return cell.to_numpy().reshape(2, 2)


def odds_difference(predictions: pd.DataFrame) -> float:
    """The larger of the sexes' differences in recall and in false positive rate."""
    return float(np.abs(np.subtract(*rates(predictions))).max())


def cut(plain: pd.DataFrame, other: pd.DataFrame, draws: int = 4000) -> list[float]:
    """By how much of itself the odds difference falls, with the 2.5th and 97.5th percentile over test rows drawn again."""
    shares = []
    counts = np.zeros((2, 2, 2, 2))  # sex, label, answers of both
    codes = [(plain["sex"] == "Male").to_numpy().astype(int), plain["y_true"].to_numpy(), plain["y_pred"].to_numpy(), other["y_pred"].to_numpy()]
    np.add.at(counts, tuple(codes), 1)
    random = np.random.default_rng(0)
    again = random.multinomial(len(plain), counts.ravel() / len(plain), draws).reshape(draws, 2, 2, 2, 2)
    for found in (counts[None], again):
        of_plain, of_other = found.sum(axis=4)[..., 1], found.sum(axis=3)[..., 1]
        total = found.sum(axis=(3, 4))
        before, after = (np.abs(np.diff(part / total, axis=1)).max(axis=(1, 2)) for part in (of_plain, of_other))
        shares.append(1 - after / before)
    return [float(shares[0][0]), *np.quantile(shares[1], [0.025, 0.975]).tolist()]


def fairness(estimators: tuple[str, ...] = ("logistic", "boosted")) -> Iterator[Row]:
    """Each remedy beside the unmitigated model: chosen on validation, told on test, and again with other rows to fit and validate on."""
    metrics = ["accuracy", "recall", "false_positive_rate"]
    for estimator in estimators:
        models = fairness_models(estimator, 11)
        others = [fairness_models(estimator, seed) for seed in range(1, SEEDS)]
        plain = models[PLAIN]
        report = compare({name: test for name, (_, test) in models.items()}, baseline=PLAIN, task="binary", by=["sex"], metrics=metrics)
        overall = report.frame().query("cohort == 'overall' and metric == 'accuracy'").set_index("model")
        for name, tables in models.items():
            gaps = report.reports[name].gaps().query("metric != 'accuracy'")  # of recall and of the false positive rate: either may be the larger
            mitigated = name != PLAIN
            yield {
                "estimator": estimator,
                "model": name,
                "validation": [accuracy(tables[0]), odds_difference(tables[0])],
                "accuracy": beside(overall.loc[name]),
                "equalized_odds": [float(gaps[column].max()) for column in ("difference", "low", "high")],
                "cut": cut(plain[1], tables[1]) if mitigated else None,
                "other_seeds": [1 - odds_difference(one[name][1]) / odds_difference(one[PLAIN][1]) for one in others] if mitigated else None,
                "halved": [halved(*pair) for pair in zip(plain, tables, strict=True)] if mitigated else None,
            }


def halved(plain: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether the odds difference falls by half or more while less than two points of accuracy are lost."""
    return odds_difference(other) <= odds_difference(plain) / 2 and accuracy(other) > accuracy(plain) - 0.02


def views() -> Iterator[Row]:
    """What the unmitigated models owe to the columns they may see."""
    train, _ = halves(11)
    for name, more in (("the case's six", ()), ("and age, marital status", WIDE), ("and sex", ("sex",))):
        for estimator, (plain, _) in FAIRER.items():
            test = told(fitted({"estimator": plain}, case(*more), train), part("test"))
            yield {"columns": name, "estimator": estimator, "accuracy": accuracy(test), "equalized_odds": odds_difference(test)}


# Backward compatible retraining.

STRENGTHS = (0, 0.5, 1, 2, 4, 8, 16)
OLD = {"half of the rows": 16_280, "2,000 rows": 2_000}


def retrained(old_rows: int, penalty: str, strengths: tuple[float, ...], estimator: Row = BOOSTED) -> Iterator[Row]:
    """Accuracy and backward trust compatibility on test, of a model of all training rows beside one of the first of them."""
    of, train, test = case(*WIDE), part("train"), part("test")
    old = fitted({"estimator": estimator}, of, train.head(old_rows))
    previous = np.column_stack([old.predict(train), np.asarray(old.predict_score(train))])
    tables = {"old": told(old, test)}
    for strength in strengths:
        step = {"method": "backward_compatible", "params": {"penalty": penalty, "strength": strength}}
        tables[str(strength)] = told(fitted({"estimator": estimator, "in": step}, of, train, previous=previous), test)
    rows = compare(tables, baseline="old", task="binary", metrics=["accuracy"]).frame().set_index("model")
    for strength in strengths:
        row = rows.loc[str(strength)]
        yield {"strength": strength, "accuracy": float(row["value"]), "btc": float(row["btc"]), "old": accuracy(tables["old"])} | {"delta": beside(row)[1:]}


def backward() -> Iterator[Row]:
    """The curve of accuracy against compatibility for each penalty and each old model."""
    for name, rows in OLD.items():
        for penalty in ("new_error", "strict_imitation"):
            yield from ({"old_model": name, "penalty": penalty, **row} for row in retrained(rows, penalty, STRENGTHS))

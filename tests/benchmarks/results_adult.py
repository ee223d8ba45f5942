"""Adult for bench_results: what the mitigation steps do to a model of income, fitted on its train file and told on its test file."""

from collections.abc import Callable, Iterator, Mapping
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
Made = Callable[..., Row]
Rows = tuple[pd.DataFrame, "pd.Series[int]"]

SEEDS = 5
MARRIED = "relationship IN ('Husband', 'Wife')"
COHORTS = {"married": MARRIED, "others": "rest"}
FIVE_TREES = {"kind": "lightgbm", "params": {"n_estimators": 5}}
LOGISTIC = {"kind": "logistic"}
BOOSTED = {"kind": "hist_gradient_boosting", "params": {"max_iter": 120}}
PUBLISHED = {0: 24_463, 1: 24_463}  # rows of each class that the published notebooks bring the married to; parity would be 8,098
PLAIN, AS_TEXT = "as it is", "as it is, numbers read as text"
WIDE = ("age", "marital-status")  # not the sex, but what it can be told from


@cache
def people() -> pd.DataFrame:
    """The shipped table."""
    return pd.read_parquet(PROJECT / "data/raw/adult/adult.parquet")


def part(name: str) -> pd.DataFrame:
    """The `train` or `test` file as it was given."""
    return people().query("split == @name").drop(columns="split").reset_index(drop=True)


def earns(frame: pd.DataFrame) -> "pd.Series[int]":
    """Whether each person earns above $50K."""
    return (frame["income"] == ">50K").astype(np.int64)


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


# Rebalancing: the six models of the Responsible AI Tracker's tour, which uses the Mitigations library, and parity proper.


def smote(strategy: Any = "auto") -> Row:
    """SMOTE for numbers and categories, with the Mitigations library's number of neighbours."""
    return {"method": "smotenc", "params": {"k_neighbors": 4, "sampling_strategy": strategy}}


def drawn(strategy: Any = "auto") -> Row:
    """Rows of the smaller class drawn again."""
    return {"method": "random_over_sampler", "params": {"sampling_strategy": strategy}}


def rebalanced(made: Made) -> dict[str, Row]:
    """LightGBM of five trees after rebalancing everybody, the married, and both cohorts by themselves."""
    steps: dict[str, Row] = {
        "all, to parity": {"pre": [made()]},
        "married, to parity": {"cohorts": COHORTS, "pre": [{"cohorts": {"married": made(), "others": {"method": "none"}}}]},
        "married, 24,463 a class": {"cohorts": COHORTS, "pre": [{"cohorts": {"married": made(PUBLISHED), "others": {"method": "none"}}}]},
        "both, each to parity": {"cohorts": COHORTS, "pre": [{**made(), "each": True}]},
        "both, married 24,463 a class": {"cohorts": COHORTS, "pre": [{"cohorts": {"married": made(PUBLISHED), "others": made()}}]},
    }
    return {name: {"estimator": FIVE_TREES, **step} for name, step in steps.items()}


def rebalancing_models(made: Made, only: tuple[str, ...] = (), seed: int = 0) -> dict[str, pd.DataFrame]:
    """Predictions for the test file, every column a feature; those of `only` where given."""
    every = case(seed=seed).model_copy(update={"features": tuple(kinds())})
    text = dict.fromkeys(kinds(), "categorical")
    specs = {PLAIN: {"estimator": FIVE_TREES}, AS_TEXT: {"estimator": FIVE_TREES}, **rebalanced(made)}
    chosen = {name: spec for name, spec in specs.items() if not only or name in only}
    return {name: told(fitted(spec, every, part("train"), types=text if name == AS_TEXT else None), part("test")) for name, spec in chosen.items()}


def rebalancing() -> Iterator[Row]:
    """For each model and cohort accuracy, recall and precision, beside the model with nothing done to its rows."""
    metrics = ["accuracy", "recall", "precision"]
    where = {"Married": MARRIED, "Not married": f"NOT ({MARRIED})"}
    rows = compare(rebalancing_models(smote), baseline=PLAIN, task="binary", where=where, metrics=metrics).frame()
    for (model, cohort), cells in rows.groupby(["model", "cohort"], sort=False):
        of = cells.set_index("metric")
        yield {"model": model, "cohort": cohort, "n": int(of["n"].iloc[0])} | {
            metric: [float(of.loc[metric, column]) for column in ("value", "delta", "delta_low", "delta_high")] for metric in metrics
        }


def libraries() -> Iterator[Row]:
    """Accuracy on all over seeds: by libraries alone, the same with numbers moved to a mean of 0, by our steps, and by drawing rows again."""
    seeds = range(SEEDS)
    ways: dict[str, list[dict[str, float]]] = {
        "alone": [alone(seed, centred=False) for seed in seeds],
        "centred": [alone(seed, centred=True) for seed in seeds],
        "smote": [{name: accuracy(table) for name, table in rebalancing_models(smote, seed=seed).items()} for seed in seeds],
        "drawn": [{name: accuracy(table) for name, table in rebalancing_models(drawn, seed=seed).items()} for seed in seeds],
    }
    for name in ways["alone"][0]:
        yield {"model": name} | {way: [one[name] for one in found] for way, found in ways.items()}


@cache
def _oversampled(seed: int) -> dict[str, Rows]:
    """The training rows of each model by imbalanced-learn alone."""
    from imblearn.over_sampling import SMOTENC

    frame, y = part("train").drop(columns="income"), earns(part("train"))
    married = frame["relationship"].isin(["Husband", "Wife"])
    text = [name for name, kind in kinds().items() if kind == "categorical"]

    def made(rows: Any, strategy: Any = "auto") -> Rows:
        return SMOTENC(text, sampling_strategy=strategy, k_neighbors=4, random_state=seed).fit_resample(frame[rows], y[rows])

    def joined(one: Rows, two: Rows) -> Rows:
        return pd.concat([one[0], two[0]], ignore_index=True), pd.concat([one[1], two[1]], ignore_index=True)

    even, more, others, left = made(married), made(married, PUBLISHED), made(~married), (frame[~married], y[~married])
    found = [made(slice(None)), joined(even, left), joined(more, left), joined(even, others), joined(more, others)]
    return {PLAIN: (frame, y), AS_TEXT: (frame.astype(str), y), **dict(zip(rebalanced(smote), found, strict=True))}


def alone(seed: int, *, centred: bool) -> dict[str, float]:
    """Accuracy of the published recipe by scikit-learn, imbalanced-learn and LightGBM alone."""
    from lightgbm import LGBMClassifier
    from sklearn.compose import ColumnTransformer
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    found = {}
    for name, (frame, y) in _oversampled(seed).items():
        test = part("test")[list(frame)].astype(frame.dtypes.to_dict())
        text = [column for column in frame if not pd.api.types.is_numeric_dtype(frame[column])]
        numbers = StandardScaler(with_std=False) if centred else "passthrough"
        encoder = ColumnTransformer([("text", OneHotEncoder(handle_unknown="ignore"), text)], remainder=numbers, sparse_threshold=float(name == AS_TEXT))
        model = LGBMClassifier(n_estimators=5, random_state=seed, verbose=-1, n_jobs=1).fit(encoder.fit_transform(frame).astype(float), y)
        found[name] = float((model.predict(encoder.transform(test).astype(float)) == earns(part("test"))).mean())
    return found


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
    specs = {"unmitigated": {"estimator": plain}} | {name: spec for name, spec in remedies.items() if not only or name in only}
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
    for estimator in estimators:
        models = fairness_models(estimator, 11)
        others = [fairness_models(estimator, seed) for seed in range(1, SEEDS)]
        plain = models["unmitigated"]
        report = compare(
            {name: test for name, (_, test) in models.items()},
            baseline="unmitigated",
            task="binary",
            by=["sex"],
            metrics=["accuracy", "recall", "false_positive_rate", "equalized_odds"],
        )
        overall = report.frame().query("cohort == 'overall' and metric == 'accuracy'").set_index("model")
        for name, (validation, test) in models.items():
            gap = report.reports[name].gaps().set_index("metric").loc["equalized_odds"]
            held = odds_difference(validation) <= odds_difference(plain[0]) / 2 and accuracy(validation) > accuracy(plain[0]) - 0.02
            yield {
                "estimator": estimator,
                "model": name,
                "validation": [accuracy(validation), odds_difference(validation)],
                "halves_on_validation": held,
                "accuracy": [float(overall.loc[name, column]) for column in ("value", "delta", "delta_low", "delta_high")],
                "equalized_odds": [float(gap[column]) for column in ("difference", "low", "high")],
                "cut": cut(plain[1], test) if name != "unmitigated" else None,
                "seeds": [odds_difference(one[name][1]) / odds_difference(one["unmitigated"][1]) for one in others],
                "halves_on_test": name != "unmitigated" and halved(plain[1], test),
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
        yield {"strength": strength, "accuracy": float(row["value"]), "btc": float(row["btc"]), "old": accuracy(tables["old"])} | {
            "delta": [float(row[column]) for column in ("delta", "delta_low", "delta_high")]
        }


def backward() -> Iterator[Row]:
    """The curve of accuracy against compatibility for each penalty and each old model."""
    for name, rows in OLD.items():
        for penalty in ("new_error", "strict_imitation"):
            yield from ({"old_model": name, "penalty": penalty, **row} for row in retrained(rows, penalty, STRENGTHS))

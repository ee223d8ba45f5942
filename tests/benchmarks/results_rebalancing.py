"""Rebalancing adult for bench_results: the models of the Responsible AI Tracker's tour, which uses the Mitigations library, by our steps."""

from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd

from tasks.core.comparison import compare
from tests.benchmarks import results_adult as adult

Row = dict[str, Any]
Made = Callable[..., Row]
Rows = tuple[pd.DataFrame, "pd.Series[int]"]

MARRIED = "relationship IN ('Husband', 'Wife')"
COHORTS = {"married": MARRIED, "others": "rest"}
FIVE_TREES = {"kind": "lightgbm", "params": {"n_estimators": 5}}
PUBLISHED = {0: 24_463, 1: 24_463}  # rows of each class that the tour brings the married to; parity would be 8,098
PLAIN, AS_TEXT = "as it is", "as it is, numbers read as text"


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
    every = adult.case(seed=seed).model_copy(update={"features": tuple(adult.kinds())})
    text = dict.fromkeys(adult.kinds(), "categorical")
    specs = {PLAIN: {"estimator": FIVE_TREES}, AS_TEXT: {"estimator": FIVE_TREES}, **rebalanced(made)}
    chosen = {name: spec for name, spec in specs.items() if not only or name in only}
    return {
        name: adult.told(adult.fitted(spec, every, adult.part("train"), types=text if name == AS_TEXT else None), adult.part("test"))
        for name, spec in chosen.items()
    }


def rebalancing() -> Iterator[Row]:
    """For each model and cohort accuracy, recall and precision, beside the model with nothing done to its rows."""
    metrics = ["accuracy", "recall", "precision"]
    where = {"Married": MARRIED, "Not married": f"NOT ({MARRIED})"}
    rows = compare(rebalancing_models(smote), baseline=PLAIN, task="binary", where=where, metrics=metrics).frame()
    for (model, cohort), cells in rows.groupby(["model", "cohort"], sort=False):
        of = cells.set_index("metric")
        yield {"model": model, "cohort": cohort, "n": int(of["n"].iloc[0])} | {metric: adult.beside(of.loc[metric]) for metric in metrics}


def libraries() -> Iterator[Row]:
    """Accuracy on all over seeds: by libraries alone, the same with numbers standardised, by our steps, and by drawing rows again."""
    seeds = range(3)
    by_libraries = [alone(seed) for seed in seeds]
    ours = {
        way: [{name: adult.accuracy(table) for name, table in rebalancing_models(made, seed=seed).items()} for seed in seeds]
        for way, made in (("smote", smote), ("drawn", drawn))
    }
    for name in by_libraries[0]:
        row: Row = {"model": name}
        for place, way in enumerate(("alone", "standardised")):
            row[way] = [one[name][place] for one in by_libraries]
        yield row | {way: [one[name] for one in found] for way, found in ours.items()}


def _oversampled(seed: int) -> dict[str, Rows]:
    """The training rows of each model by imbalanced-learn alone."""
    from imblearn.over_sampling import SMOTENC

    frame, y = adult.part("train").drop(columns="income"), adult.earns(adult.part("train"))
    married = frame["relationship"].isin(["Husband", "Wife"])
    text = [name for name, kind in adult.kinds().items() if kind == "categorical"]

    def made(rows: Any, strategy: Any = "auto") -> Rows:
        return SMOTENC(text, sampling_strategy=strategy, k_neighbors=4, random_state=seed).fit_resample(frame[rows], y[rows])

    def joined(one: Rows, two: Rows) -> Rows:
        return pd.concat([one[0], two[0]], ignore_index=True), pd.concat([one[1], two[1]], ignore_index=True)

    even, more, others, left = made(married), made(married, PUBLISHED), made(~married), (frame[~married], y[~married])
    found = [made(slice(None)), joined(even, left), joined(more, left), joined(even, others), joined(more, others)]
    return {PLAIN: (frame, y), AS_TEXT: (frame.astype(str), y), **dict(zip(rebalanced(smote), found, strict=True))}


def alone(seed: int) -> dict[str, list[float]]:
    """Accuracy of the published recipe by scikit-learn, imbalanced-learn and LightGBM alone, with numbers as they are and standardised."""
    from lightgbm import LGBMClassifier
    from sklearn.compose import ColumnTransformer
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    found = {}
    for name, (frame, y) in _oversampled(seed).items():
        test = adult.part("test")[list(frame)].astype(frame.dtypes.to_dict())
        numbers = [column for column in frame if pd.api.types.is_numeric_dtype(frame[column])]
        text = ("text", OneHotEncoder(handle_unknown="ignore"), [column for column in frame if column not in numbers])
        found[name] = []
        for scaler in ("passthrough", StandardScaler()):
            encoder = ColumnTransformer([("numbers", scaler, numbers), text], sparse_threshold=float(name == AS_TEXT))
            model = LGBMClassifier(n_estimators=5, random_state=seed, verbose=-1, n_jobs=1).fit(encoder.fit_transform(frame).astype(float), y)
            found[name].append(float((model.predict(encoder.transform(test).astype(float)) == adult.earns(adult.part("test"))).mean()))
    return found

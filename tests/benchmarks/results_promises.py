"""For bench_results: what a step promises of the rows it was fitted on, measured there."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from tasks.core.mitigation.groups import label_groups
from tasks.core.mitigation.reweighing import Reweighing
from tests.benchmarks import results_adult as adult
from tests.benchmarks import results_boston as boston

Row = dict[str, Any]
CONSTRAINTS: dict[str, tuple[tuple[int, ...], ...]] = {  # the labels over which each of its rates is taken
    "demographic_parity": ((0, 1),),
    "equalized_odds": ((0,), (1,)),
    "true_positive_rate_parity": ((1,),),
    "false_positive_rate_parity": ((0,),),
}
EPS = 0.02


def german() -> tuple[np.ndarray, np.ndarray]:
    """1,000 applicants with the counts of the German credit data: 190 are 25 or younger, 110 of them good risks, and 590 of the others."""
    return np.repeat(["age=young", "age=old"], [190, 810]).astype(object), np.repeat([1, 0, 1, 0], [110, 80, 590, 220])


def mean_differences(groups: Any, y: Any) -> tuple[float, float]:
    """The widest difference between groups' shares of positives, plain and under reweighing's weights."""
    found = []
    for weights in (np.ones(len(y)), Reweighing().weigh(y, groups=groups)):
        found.append(float(np.ptp([np.average(y[groups == name], weights=weights[groups == name]) for name in set(groups)])))
    return found[0], found[1]


def difference(chance: Any, frame: pd.DataFrame, constraint: str) -> float:
    """The greatest difference between the sexes in the mean chance of answer 1, over the labels of the constraint."""
    y, sex = adult.earns(frame).to_numpy(), frame["sex"].to_numpy()
    rows = [np.isin(y, labels) for labels in CONSTRAINTS[constraint]]
    return max(float(abs(np.subtract(*(chance[mine & (sex == name)].mean() for name in ("Male", "Female"))))) for mine in rows)


def threshold_optimizer(constraint: str, more: tuple[str, ...] = adult.WIDE) -> tuple[float, float]:
    """The difference on the validation rows that thresholds were chosen on, at 0.5 and by their acceptance."""
    train, validation = adult.halves(11)
    step = {"method": "threshold_optimizer", "by": ["sex"], "constraint": constraint, "params": {"objective": "accuracy"}}
    model = adult.fitted({"estimator": adult.LOGISTIC, "post": [step]}, adult.case(*more), train, validation)
    scores = model.predict_score(validation)
    chance = model.post_[-1].step.acceptance(scores, label_groups(validation, {"sex": "categorical"}, {}))
    return difference(np.asarray(scores) > 0.5, validation, constraint), difference(chance, validation, constraint)


def exponentiated_gradient(constraint: str, more: tuple[str, ...] = adult.WIDE, max_iter: int = 20) -> tuple[float, float]:
    """The difference on the training rows, of a plain fit and of the mixture's chance of answering 1."""
    train, _ = adult.halves(11)
    step = {"method": "exponentiated_gradient", "by": ["sex"], "constraint": constraint, "params": {"eps": EPS, "max_iter": max_iter}}
    plain, model = (adult.fitted({"estimator": adult.LOGISTIC, **more_steps}, adult.case(*more), train) for more_steps in ({}, {"in": step}))
    chance = model.model_.expected(model._matrix(train))
    return difference(plain.predict(train), train, constraint), difference(chance, train, constraint)


def promises() -> Iterator[Row]:
    """Before, after and the bound promised, of reweighing, both constrained methods and the bias correction."""
    frame = adult.part("train")
    y = adult.earns(frame).to_numpy()
    data = {f"adult, {' and '.join(by)}": (label_groups(frame, dict.fromkeys(by, "categorical"), {}), y) for by in (["sex"], ["race"], ["sex", "race"])}
    for name, (groups, labels) in {**data, "German credit's counts, age": german()}.items():
        yield _row("reweighing", name, "weighted mean difference", mean_differences(groups, labels), 1e-12)
    for constraint in CONSTRAINTS:
        yield _row("threshold_optimizer", "adult, sex", constraint, threshold_optimizer(constraint), 1e-9)
    for constraint in CONSTRAINTS:  # each group is held to eps from the whole, so that two groups are within twice that
        yield _row("exponentiated_gradient", "adult, sex", constraint, exponentiated_gradient(constraint), 2 * EPS)
    for name, estimator in (("linear", boston.LINEAR), ("boosted", boston.BOOSTED)):
        for by in ("LSTAT", "B"):
            yield _row("cohort_bias_correction", f"boston, {name}, {by}", "largest mean error of a cohort", boston.bias(by, estimator), 1e-9)


def _row(step: str, rows: str, what: str, found: tuple[float, float], bound: float) -> Row:
    return {"step": step, "rows": rows, "what": what, "before": found[0], "after": found[1], "at_most": bound, "kept": found[1] <= bound}

"""The table of metrics: what each is, where it lies, which way is better, what it needs, and where its definition is from.

A new metric is a new row. Formulas are in tasks.core.estimates.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from tasks.core import estimates as of
from tasks.core import estimates_multi as multi
from tasks.core.errors import CaseError, nearest
from tasks.core.stats import Stats
from tasks.core.targets import FN, FP, TN, TP

Better = Literal["higher", "lower", "zero", "none"]


@dataclass(frozen=True)
class Metric:
    """One metric.

    `low` and `high` bound its values; `better` says which way is; `needs` names columns beyond y_true and y_pred (`costs` a
    declaration); `quantities` and `ranked` name what must be summed or kept in order for it; `each_class` stands for one
    metric per class. A fairness summary has `summary_of`: it is no figure of a cohort but of a grouping, read from the gaps
    of those metrics.
    """

    name: str
    tasks: tuple[str, ...]
    formula: str
    low: float
    high: float
    better: Better
    estimate: of.Estimator
    source: str
    needs: tuple[str, ...] = ()
    quantities: tuple[str, ...] = ()
    ranked: tuple[str, ...] = ()
    each_class: bool = False
    summary_of: tuple[str, ...] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        """Metrics travel between processes by name; their formulas are functions, which do not."""
        return _again, (self.name, self.tasks[0], self.ranked)

    def sums(self, intervals: bool) -> tuple[str, ...]:
        """Row quantities to sum: for intervals of means their squares too."""
        if not intervals:
            return tuple(name for name in self.quantities if name not in _SPREAD)
        return (*self.quantities, *(f"{name}**2" for name in self.quantities if name in _SQUARED))


def _summary(name: str, tasks: tuple[str, ...], formula: str, high: float, of_metrics: tuple[str, ...], source: str, needs: tuple[str, ...] = ()) -> Metric:
    return Metric(name, tasks, formula, 0, high, "lower", _no_estimate, source, needs, summary_of=of_metrics)


def _no_estimate(_stats: Stats, _context: of.Context) -> of.Estimate:
    raise AssertionError("a fairness summary is read from gaps")


_SQUARED = {"log_loss", "brier", "error", "absolute", "squared", "over", "under", "absolute_share", "true", "predicted", "hamming", "jaccard", "cost"}
_SPREAD = {"true_3", "true_4", "squared_true", "squared_true_2"}

ALL, POSITIVE, NEGATIVE = (TN, FP, FN, TP), (FN, TP), (TN, FP)
SKLEARN, FAIRLEARN = "scikit-learn", "fairlearn"
INF = float("inf")

recall, specificity = of.rate((TP,), POSITIVE), of.rate((TN,), NEGATIVE)
B, C, L, R = ("binary",), ("multiclass",), ("multilabel",), ("regression",)
S = ("y_score",)

_TABLE = (
    Metric("accuracy", B, "(TP + TN) / n", 0, 1, "higher", of.rate((TN, TP), ALL), SKLEARN),
    Metric("balanced_accuracy", B, "(TP / (TP + FN) + TN / (TN + FP)) / 2", 0, 1, "higher", of.average(recall, specificity), SKLEARN),
    Metric("precision", B, "TP / (TP + FP)", 0, 1, "higher", of.rate((TP,), (FP, TP)), SKLEARN),
    Metric("recall", B, "TP / (TP + FN)", 0, 1, "higher", recall, SKLEARN),
    Metric("specificity", B, "TN / (TN + FP)", 0, 1, "higher", specificity, SKLEARN),
    Metric("f1", B, "2 TP / (2 TP + FP + FN)", 0, 1, "higher", of.through(of.rate((TP,), (FP, FN, TP)), lambda j: 2 * j / (1 + j)), SKLEARN),
    Metric("false_positive_rate", B, "FP / (FP + TN)", 0, 1, "lower", of.rate((FP,), NEGATIVE), FAIRLEARN),
    Metric("false_negative_rate", B, "FN / (FN + TP)", 0, 1, "lower", of.rate((FN,), POSITIVE), FAIRLEARN),
    Metric("false_discovery_rate", B, "FP / (FP + TP)", 0, 1, "lower", of.rate((FP,), (FP, TP)), "1 - precision"),
    Metric("negative_predictive_value", B, "TN / (TN + FN)", 0, 1, "higher", of.rate((TN,), (TN, FN)), "scikit-learn: precision of class 0"),
    Metric("false_omission_rate", B, "FN / (FN + TN)", 0, 1, "lower", of.rate((FN,), (TN, FN)), "1 - negative_predictive_value"),
    Metric("selection_rate", B, "(TP + FP) / n", 0, 1, "none", of.rate((FP, TP), ALL), FAIRLEARN),
    Metric("base_rate", B, "(TP + FN) / n", 0, 1, "none", of.rate((FN, TP), ALL), "share of y_true = 1"),
    Metric("overprediction", B, "FP / n", 0, 1, "lower", of.rate((FP,), ALL), FAIRLEARN),
    Metric("underprediction", B, "FN / n", 0, 1, "lower", of.rate((FN,), ALL), FAIRLEARN),
    Metric(
        "generalized_entropy",
        B,
        "half the squared variation of y_pred - y_true + 1",
        0,
        INF,
        "lower",
        of.smooth(of.generalized_entropy),
        "Speicher et al. 2018",
    ),
    Metric("theil_index", B, "mean of (b/m) ln(b/m), b = y_pred - y_true + 1", 0, INF, "lower", of.smooth(of.theil_index), "Speicher et al. 2018"),
    Metric("roc_auc", B, "P(score of a positive > score of a negative) + half of ties", 0, 1, "higher", of.auc, SKLEARN, S, (), ("score",)),
    Metric("average_precision", B, "sum of (R_k - R_k-1) P_k over falling scores", 0, 1, "higher", of.average_precision, SKLEARN, S, (), ("score",)),
    Metric("log_loss", B, "mean of -ln(score of the true class)", 0, INF, "lower", of.mean("log_loss"), SKLEARN, S, ("log_loss",)),
    Metric("brier", B, "mean of (y_score - y_true)^2", 0, 1, "lower", of.mean("brier"), SKLEARN, S, ("brier",)),
    Metric(
        "expected_calibration_error",
        B,
        "sum over ten equal bins of |mean y - mean score| * share of rows",
        0,
        1,
        "lower",
        of.calibration_error,
        "Naeini et al. 2015",
        S,
        ("calibration_rows", "calibration_true", "calibration_score"),
    ),
    Metric("expected_cost", B, "mean of the cost declared for each row's outcome", -INF, INF, "lower", of.mean("cost"), "Elkan 2001", ("costs",), ("cost",)),
    Metric("accuracy", C, "rows told rightly / n", 0, 1, "higher", multi.accuracy, SKLEARN),
    Metric("balanced_accuracy", C, "mean over true classes of recall", 0, 1, "higher", multi.averaged("recall", "balanced"), SKLEARN),
    Metric("macro_precision", C, "mean over classes of precision", 0, 1, "higher", multi.averaged("precision", "macro"), SKLEARN),
    Metric("macro_recall", C, "mean over classes of recall", 0, 1, "higher", multi.averaged("recall", "macro"), SKLEARN),
    Metric("macro_f1", C, "mean over classes of F1", 0, 1, "higher", multi.averaged("f1", "macro"), SKLEARN),
    Metric("micro_precision", C, "rows told rightly / n (one label a row)", 0, 1, "higher", multi.accuracy, SKLEARN),
    Metric("micro_recall", C, "rows told rightly / n (one label a row)", 0, 1, "higher", multi.accuracy, SKLEARN),
    Metric("micro_f1", C, "rows told rightly / n (one label a row)", 0, 1, "higher", multi.accuracy, SKLEARN),
    Metric("weighted_precision", C, "mean of precision by true rows", 0, 1, "higher", multi.averaged("precision", "weighted"), SKLEARN),
    Metric("weighted_recall", C, "mean of recall by true rows", 0, 1, "higher", multi.averaged("recall", "weighted"), SKLEARN),
    Metric("weighted_f1", C, "mean of F1 by true rows", 0, 1, "higher", multi.averaged("f1", "weighted"), SKLEARN),
    Metric("precision", C, "precision[class]: told rightly / told so", 0, 1, "higher", multi.accuracy, SKLEARN, each_class=True),
    Metric("recall", C, "recall[class]: told rightly / truly so", 0, 1, "higher", multi.accuracy, SKLEARN, each_class=True),
    Metric("f1", C, "f1[class]: 2 TP / (2 TP + FP + FN)", 0, 1, "higher", multi.accuracy, SKLEARN, each_class=True),
    Metric("roc_auc", C, "mean over classes of one-versus-rest AUC; roc_auc[class] for one", 0, 1, "higher", multi.roc_auc, SKLEARN, S, (), ("score:*",)),
    Metric("log_loss", C, "mean of -ln(score of the true class)", 0, INF, "lower", of.mean("log_loss"), SKLEARN, S, ("log_loss",)),
    Metric("exact_match_ratio", L, "rows with every label right / n", 0, 1, "higher", of.rate((1,), (0, 1)), SKLEARN),
    Metric("hamming_score", L, "mean share of labels told rightly (1 - Hamming loss)", 0, 1, "higher", of.mean("hamming"), SKLEARN, (), ("hamming",)),
    Metric("jaccard", L, "mean of |true and predicted| / |true or predicted|, 1 if both empty", 0, 1, "higher", of.mean("jaccard"), SKLEARN, (), ("jaccard",)),
    Metric("mae", R, "mean of |y_pred - y_true|", 0, INF, "lower", of.mean("absolute"), SKLEARN, (), ("absolute",)),
    Metric("mse", R, "mean of (y_pred - y_true)^2", 0, INF, "lower", of.mean("squared"), SKLEARN, (), ("squared",)),
    Metric("rmse", R, "square root of mse", 0, INF, "lower", of.mean("squared", lambda v: np.sqrt(np.maximum(v, 0))), SKLEARN, (), ("squared",)),
    Metric("median_ae", R, "median of |y_pred - y_true|", 0, INF, "lower", of.median_absolute, SKLEARN, (), (), ("absolute",)),
    Metric(
        "r2",
        R,
        "1 - sum (y_pred - y_true)^2 / sum (y_true - mean y_true)^2",
        -INF,
        1,
        "higher",
        of.r2,
        SKLEARN,
        (),
        ("true", "squared", "true**2", "true_3", "true_4", "squared_true", "squared_true_2"),
    ),
    Metric("mape", R, "mean of |y_pred - y_true| / |y_true|", 0, INF, "lower", of.mean("absolute_share"), SKLEARN, (), ("absolute_share",)),
    Metric("mean_error", R, "mean of y_pred - y_true", -INF, INF, "zero", of.mean("error"), "bias", (), ("error",)),
    Metric("mean_prediction", R, "mean of y_pred", -INF, INF, "none", of.mean("predicted"), FAIRLEARN, (), ("predicted",)),
    Metric("overprediction", R, "mean of max(y_pred - y_true, 0)", 0, INF, "lower", of.mean("over"), FAIRLEARN, (), ("over",)),
    Metric("underprediction", R, "mean of max(y_true - y_pred, 0)", 0, INF, "lower", of.mean("under"), FAIRLEARN, (), ("under",)),
    Metric(
        "pinball_loss",
        R,
        "mean of q max(y - p, 0) + (1 - q) max(p - y, 0); pinball_loss@q, q = 0.5 unless given",
        0,
        INF,
        "lower",
        of.pinball(0.5),
        SKLEARN,
        (),
        ("over", "under"),
    ),
    _summary("demographic_parity", B, "gap of selection_rate", 1, ("selection_rate",), FAIRLEARN),
    _summary("disparate_impact", B, "lowest over highest selection_rate; four fifths is the usual bound on the ratio", 1, ("selection_rate",), "EEOC 1978"),
    _summary("equalized_odds", B, "the larger of the gaps of recall and false_positive_rate", 1, ("recall", "false_positive_rate"), FAIRLEARN),
    _summary("equal_opportunity", B, "gap of recall", 1, ("recall",), "Hardt et al. 2016"),
    _summary("predictive_parity", B, "gap of precision", 1, ("precision",), "Chouldechova 2017"),
    _summary("calibration_within_groups", B, "largest expected_calibration_error of a cohort", 1, ("expected_calibration_error",), "Kleinberg et al. 2017", S),
    _summary("bounded_group_loss", B, "largest log_loss of a cohort", INF, ("log_loss",), "Agarwal et al. 2019", S),
    _summary("bounded_group_loss", R, "largest mse of a cohort", INF, ("mse",), "Agarwal et al. 2019"),
)

BY_TASK: dict[tuple[str, str], Metric] = {(task, metric.name): metric for metric in _TABLE for task in metric.tasks}
METRICS: dict[str, Metric] = {}
SUMMARIES: dict[str, tuple[str, ...]] = {metric.name: metric.summary_of for metric in _TABLE if metric.summary_of}
"""The metrics whose gaps a fairness summary is read from."""
for _metric in _TABLE:  # a name shared by tasks shows the first and all its tasks
    _known = METRICS.get(_metric.name)
    METRICS[_metric.name] = _metric if _known is None else replace(_known, tasks=(*_known.tasks, *_metric.tasks))

TASKS = ("binary", "multiclass", "multilabel", "regression")


def get_metric(name: str, task: str) -> Metric:
    """The metric of that name for that task; a CaseError that points to the nearest one otherwise."""
    if task not in TASKS:
        raise CaseError(f"the task {task!r} is unknown.", where="task", fix=nearest(str(task), TASKS))
    base, _, level = name.partition("@")
    if base == "pinball_loss" and level and task == "regression":
        return replace(BY_TASK[task, base], name=name, estimate=of.pinball(_level(name, level)))
    kind, _, label = name.partition("[")
    if task == "multiclass" and label.endswith("]") and kind in ("precision", "recall", "f1", "roc_auc"):
        row = BY_TASK[task, kind]
        return replace(row, name=name, each_class=False, estimate=multi.of_class(kind, label[:-1]), ranked=row.ranked)
    if (task, name) not in BY_TASK:
        ours = [known for of_task, known in BY_TASK if of_task == task]
        there = f" for {task} tasks" if name in METRICS else ""
        raise CaseError(f"there is no metric `{name}`{there}.", where="metrics", fix=nearest(name, ours))
    return BY_TASK[task, name]


def _level(name: str, text: str) -> float:
    try:
        level = float(text)
    except ValueError:
        level = float("nan")
    if not 0 < level < 1:
        raise CaseError(f"`{name}` has no quantile level between 0 and 1.", where="metrics", fix="Write for example pinball_loss@0.9.")
    return level


def _again(name: str, task: str, ranked: tuple[str, ...]) -> Metric:
    return replace(get_metric(name, task), ranked=ranked)


def metrics_for(task: str, columns: Iterable[str]) -> list[str]:
    """Names of all metrics of a task that these columns suffice for."""
    there = {"y_score" if task == "multiclass" and column.startswith("y_score_") else column for column in columns}
    if task not in TASKS:
        get_metric("accuracy", task)
    return [name for (of_task, name), metric in BY_TASK.items() if of_task == task and set(metric.needs) <= there]


def choose(names: Iterable[str], task: str, classes: tuple[str, ...] = ()) -> tuple[tuple[Metric, ...], tuple[Metric, ...]]:
    """The metrics of these names, those that stand for every class written out; and the fairness summaries, whose own
    metrics are among the first.
    """
    chosen: dict[str, Metric] = {}
    summaries: dict[str, Metric] = {}
    for name in names:
        metric = get_metric(name, task)
        if metric.summary_of:
            summaries[name] = metric
            for part in metric.summary_of:
                chosen.setdefault(part, get_metric(part, task))
            continue
        if "[" in name:
            multi.class_place(name.partition("[")[2][:-1], classes)
        for one in [get_metric(f"{name}[{label}]", task) for label in classes] if metric.each_class else [metric]:
            keys = tuple(f"score:{place}" for place in range(len(classes))) if "score:*" in one.ranked else one.ranked
            chosen.setdefault(one.name, replace(one, ranked=keys))
    return tuple(chosen.values()), tuple(summaries.values())

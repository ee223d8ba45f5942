"""Speed of the evaluation engine beside its peers, and coverage of its intervals, as JSON lines.

    python tests/benchmarks/bench_evaluation.py [--rows 1000000] [--only speed|conditions|folder|coverage]

Each speed line has our time, the peer's, their ratio, the target and the largest difference between the values. Peers run
in the same process, on the same table, one after the other; our figure is the median of several runs, the first left out.
"""

import argparse
import json
import resource
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl

from tasks.core.cohorts import crossings
from tasks.core.evaluation import evaluate

METRICS = ["accuracy", "precision", "recall", "false_positive_rate", "false_negative_rate", "selection_rate", "log_loss"]


def emit(**line: Any) -> None:
    """One line of JSON."""
    print(json.dumps(line), flush=True)  # noqa: T201


def timed(work: Callable[[], Any], runs: int = 5) -> tuple[float, Any]:
    """Median seconds of several runs after a first, and the last result."""
    work()
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), result


def once(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of one run, and its result."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def table(rows: int, seed: int = 0) -> pd.DataFrame:
    """Predictions with three string columns (5 x 10 x 10 groups) and numbers to put conditions on."""
    random = np.random.default_rng(seed)
    y = random.integers(0, 2, rows)
    score = np.clip(random.normal(0.4 + 0.2 * y, 0.2), 0.001, 0.999)
    frame = pd.DataFrame({"y_true": y, "y_pred": (score > 0.5).astype(np.int64), "y_score": score})
    for name, count in (("region", 5), ("trade", 10), ("school", 10)):
        frame[name] = random.choice(np.array([f"{name}-{place}" for place in range(count)]), rows)
    frame["age"] = random.integers(18, 90, rows)
    frame["hours"] = random.normal(38, 9, rows)
    return frame


def fairlearn_frame(frame: pd.DataFrame, bootstraps: int = 0) -> Any:
    """The same seven metrics by fairlearn; log loss takes the scores, so that it needs a frame of its own."""
    import fairlearn.metrics as fm
    from sklearn import metrics as sk

    rates = {
        "accuracy": sk.accuracy_score,
        "precision": sk.precision_score,
        "recall": sk.recall_score,
        "false_positive_rate": fm.false_positive_rate,
        "false_negative_rate": fm.false_negative_rate,
        "selection_rate": fm.selection_rate,
    }
    groups = frame[["region", "trade", "school"]]
    more = {"n_boot": bootstraps, "ci_quantiles": [0.025, 0.975], "random_state": 0} if bootstraps else {}
    one = fm.MetricFrame(metrics=rates, y_true=frame.y_true, y_pred=frame.y_pred, sensitive_features=groups, **more)
    loss = {"log_loss": lambda y, s: sk.log_loss(y, s, labels=[0, 1])}
    two = fm.MetricFrame(metrics=loss, y_true=frame.y_true, y_pred=frame.y_score, sensitive_features=groups, **more)
    return one.by_group.join(two.by_group)


def speed(rows: int) -> None:
    """All groups and intersections of three string columns, without and with intervals, against fairlearn and a polars floor."""
    frame = table(rows)
    by = crossings(["region", "trade", "school"])
    seconds, report = timed(lambda: _used(evaluate(frame, task="binary", by=by, metrics=METRICS, intervals=False)))
    native = pl.from_pandas(frame)
    floor, _ = timed(lambda: native.group_by("region", "trade", "school", "y_true", "y_pred").len())
    converted, _ = timed(
        lambda: pl.from_pandas(frame[["region", "trade", "school", "y_true", "y_pred"]]).group_by("region", "trade", "school", "y_true", "y_pred").len()
    )
    emit(
        work="7 metrics, polars group_by floor",
        rows=rows,
        ours=seconds,
        peer=floor,
        ratio=seconds / floor,
        target="at most 4",
        with_conversion=seconds / converted,
    )
    peer, values = once(lambda: fairlearn_frame(frame))
    found = report.frame()
    found = found[found.cohort.isin(report.cohorts_of(["region", "trade", "school"]))].pivot_table(index="cohort", columns="metric", values="value", sort=False)
    values.index = [", ".join(f"{name}={value}" for name, value in zip(values.index.names, key, strict=True)) for key in values.index]
    apart = float((found[METRICS] - values.loc[found.index, METRICS]).abs().max(axis=None))
    emit(
        work="7 metrics, all groups and intersections, MetricFrame",
        rows=rows,
        ours=seconds,
        peer=peer,
        ratio=peer / seconds,
        target="at least 250",
        difference=apart,
    )
    with_intervals, _ = timed(lambda: _used(evaluate(frame, task="binary", by=by, metrics=METRICS)))
    small = table(rows // 10)
    few, (low, high) = 2, (once(lambda: fairlearn_frame(small))[0], 0.0)
    high = once(lambda: fairlearn_frame(small, few))[0]
    replicate = max(high - low, 0.0) / few  # seconds of one replicate on a tenth of the rows: a lower bound for all rows
    peer = peer + 100 * replicate
    emit(
        work="the same with 95 % intervals, MetricFrame n_boot=100 (extrapolated, a lower bound)",
        rows=rows,
        ours=with_intervals,
        peer=peer,
        ratio=peer / with_intervals,
        target="at least 3000",
    )
    gaps, _ = timed(lambda: evaluate(frame, task="binary", by=by, metrics=METRICS).gaps())
    emit(work="the same with gaps, their intervals and p-values", rows=rows, ours=gaps)
    everything, _ = once(lambda: _used(evaluate(frame, task="binary", by=by)))
    emit(work="all binary metrics with intervals", rows=rows, ours=everything)


def _used(report: Any) -> Any:
    report.frame()
    return report


def conditions(rows: int, count: int = 200) -> None:
    """Overlapping SQL conditions against pandas query and scikit-learn."""
    from sklearn import metrics as sk

    frame = table(rows)
    random = np.random.default_rng(1)
    where = {f"c{place}": f"age > {random.integers(18, 80)} AND hours < {random.integers(25, 60)} AND region <> 'region-{place % 5}'" for place in range(count)}
    chosen = ["accuracy", "precision", "recall", "selection_rate"]
    seconds, report = timed(lambda: _used(evaluate(frame, task="binary", where=where, metrics=chosen, intervals=False)), 3)

    def pandas_way() -> list[list[float]]:
        found = []
        for text in where.values():
            part = frame.query(text.replace("AND", "and").replace("<>", "!="))
            y, p = part.y_true, part.y_pred
            found.append([sk.accuracy_score(y, p), sk.precision_score(y, p), sk.recall_score(y, p), float(p.mean())])
        return found

    peer, values = once(pandas_way)
    rows_found = report.frame()
    mine = rows_found[rows_found.kind == "filter"].value.to_numpy().reshape(count, 4)
    emit(
        work=f"{count} SQL conditions x 4 metrics",
        rows=rows,
        ours=seconds,
        peer=peer,
        ratio=peer / seconds,
        target="at least 80",
        difference=float(np.abs(mine - np.array(values)).max()),
    )


def folder(rows: int) -> None:
    """A folder of Parquet parts in bounded memory."""
    with tempfile.TemporaryDirectory() as place:
        for part in range(20):
            table(rows // 20, part).to_parquet(Path(place) / f"{part:02d}.parquet")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        seconds, _ = once(lambda: _used(evaluate(place, task="binary", by=crossings(["region", "trade", "school"]), where={"old": "age > 60"})))
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    emit(
        work="a folder of Parquet parts, all metrics with intervals", rows=rows, ours=seconds, peak_gb=after / 1e6, before_gb=before / 1e6, target="under 2 GB"
    )


def coverage(simulations: int = 2000) -> None:
    """How often nominal 95 % intervals hold the truth: rates over true rates, gaps of two cohorts, AUC, MAE, paired deltas."""
    from scipy.special import ndtr

    random = np.random.default_rng(7)
    truths = np.arange(0.05, 0.951, 0.05)
    auc = float(ndtr(1 / np.sqrt(2)))
    for n in (50, 200, 2000):
        count = min(simulations, 4_000_000 // n)
        target = "92.5 to 97.5 %" if n == 50 else "93.5 to 96.5 %"
        g = np.repeat([f"g{place}" for place in range(count)], n)

        def held(frame: pd.DataFrame, task: str, metric: str, truth: np.ndarray | float, g: np.ndarray = g) -> float:
            rows = evaluate(frame.assign(g=g), task=task, by=["g"], metrics=[metric], min_support=1).frame()
            rows = rows[rows.kind == "group"].set_index("cohort").loc[[f"g={name}" for name in dict.fromkeys(g)]]
            return float(((rows.low <= truth) & (truth <= rows.high)).mean())

        rates = []
        for truth in truths:
            y = random.random(count * n) < truth
            rates.append(held(pd.DataFrame({"y_true": 1, "y_pred": y.astype(int)}), "binary", "accuracy", truth))
        emit(work="coverage of rates", n=n, simulations=count * len(truths), coverage=float(np.mean(rates)), target=target)
        error = np.abs(random.normal(0, 1, count * n))
        emit(
            work="coverage of MAE",
            n=n,
            simulations=count,
            coverage=held(pd.DataFrame({"y_true": 0.0, "y_pred": error}), "regression", "mae", np.sqrt(2 / np.pi)),
            target=target,
        )
        y = np.tile(np.arange(n) % 2, count)
        score = ndtr(random.normal(y, 1))
        emit(
            work="coverage of AUC",
            n=n,
            simulations=count,
            coverage=held(pd.DataFrame({"y_true": y, "y_pred": y, "y_score": score}), "binary", "roc_auc", auc),
            target=target,
        )
        emit(work="coverage of gaps", n=n, simulations=count, coverage=_gaps(random, n, count, truths), target=target)
        for task, paired in (("binary", _two_classifiers), ("regression", _two_regressions)):
            models = min(count, 3_000_000 // n)
            for metric, found in _deltas(task, n, models, *paired(random, n * models)).items():
                emit(work=f"coverage of paired deltas: {metric}", n=n, simulations=models, coverage=found, target=target)


def _gaps(random: np.random.Generator, n: int, count: int, truths: np.ndarray) -> float:
    """Two cohorts of n rows each, true rates drawn from the grid: whether the gap's interval holds the true difference."""
    from tasks.core import intervals
    from tasks.core.gaps import gap

    true = random.choice(truths, (count, 2))
    value = random.binomial(n, true) / n
    low, high = intervals.wilson(value.ravel(), np.full(count * 2, float(n)))
    held = 0
    for place in range(count):
        pair = slice(2 * place, 2 * place + 2)
        row = gap("accuracy", "g", "higher", ["a", "b"], value[place], low[pair], high[pair], np.ones(2, dtype=bool))
        held += float(str(row["low"])) <= abs(true[place, 0] - true[place, 1]) <= float(str(row["high"]))
    return held / count


def _deltas(task: str, n: int, count: int, new: pd.DataFrame, old: pd.DataFrame, truth: dict[str, float]) -> dict[str, float]:
    """How often the interval of the difference of two models, measured on the same n rows, holds the true difference."""
    g = np.repeat([f"g{place}" for place in range(count)], n)
    report = evaluate(new.assign(g=g), task=task, by=["g"], metrics=list(truth), baseline=old, min_support=1)
    rows = report.comparison()
    rows = rows[rows.kind == "group"]
    return {metric: float(((own.low <= truth[str(metric)]) & (truth[str(metric)] <= own.high)).mean()) for metric, own in rows.groupby("metric", sort=False)}


SHARE, BETTER, WORSE, SHARED = 0.4, 1.3, 1.0, 0.7  # positives; how far each model parts the classes; the correlation of their noise


def _two_classifiers(random: np.random.Generator, rows: int) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, float]]:
    """Two calibrated models that see N(mean * y, 1) with correlated noise, and the true differences of their metrics."""
    from scipy.special import expit, logit

    y = (random.random(rows) < SHARE).astype(np.int64)
    noise = random.multivariate_normal([0, 0], [[1, SHARED], [SHARED, 1]], rows)
    tables = []
    for mean, own in ((BETTER, noise[:, 0]), (WORSE, noise[:, 1])):
        score = expit(mean * (mean * y + own) - mean**2 / 2 + logit(SHARE))
        tables.append(pd.DataFrame({"y_true": y, "y_pred": (score > 0.5).astype(np.int64), "y_score": score}))
    one, two = _true_metrics(BETTER), _true_metrics(WORSE)
    return tables[0], tables[1], {metric: one[metric] - two[metric] for metric in one}


def _true_metrics(mean: float) -> dict[str, float]:
    """Metrics of a calibrated model that sees N(mean * y, 1), by integration over what it sees."""
    from scipy.special import expit, log_expit, logit, ndtr

    x = np.linspace(-12, 14, 200_001)
    positive, negative = (SHARE * np.exp(-((x - mean) ** 2) / 2), (1 - SHARE) * np.exp(-(x**2) / 2))
    positive, negative = positive / positive.sum() * SHARE, negative / negative.sum() * (1 - SHARE)
    odds = mean * x - mean**2 / 2 + logit(SHARE)
    chosen = expit(odds) > 0.5
    above, beyond = positive[::-1].cumsum()[::-1], negative[::-1].cumsum()[::-1]
    return {
        "accuracy": float(positive[chosen].sum() + negative[~chosen].sum()),
        "recall": float(positive[chosen].sum() / SHARE),
        "selection_rate": float(positive[chosen].sum() + negative[chosen].sum()),
        "roc_auc": float(ndtr(mean / np.sqrt(2))),
        "average_precision": float((positive / SHARE * above / (above + beyond)).sum()),
        "log_loss": float(-(positive * log_expit(odds)).sum() - (negative * log_expit(-odds)).sum()),
    }


def _two_regressions(random: np.random.Generator, rows: int) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, float]]:
    """Two models with correlated normal errors of different spread, and the true difference of their MAE."""
    errors = random.multivariate_normal([0, 0], [[1, SHARED * 1.2], [SHARED * 1.2, 1.44]], rows)
    new, old = (pd.DataFrame({"y_true": 0.0, "y_pred": errors[:, place]}) for place in (0, 1))
    return new, old, {"mae": float(np.sqrt(2 / np.pi) * (1 - 1.2))}


def main() -> None:
    """Run the benchmarks asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder-rows", type=int, default=20_000_000)
    parser.add_argument("--only", choices=["speed", "conditions", "folder", "coverage"])
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    for name, work in {
        "folder": lambda: folder(chosen.folder_rows),
        "speed": lambda: speed(chosen.rows),
        "conditions": lambda: conditions(chosen.rows),
        "coverage": coverage,
    }.items():
        if chosen.only in (None, name):
            work()


if __name__ == "__main__":
    main()

"""Speed, false alarms and power of the drift decision, as JSON lines.

    python tests/benchmarks/bench_drift.py [--rows 1000000] [--years 1000] [--only speed|false_alarms|power]

Speed: 15 numeric and 5 categorical columns, both sides of so many rows, beside Evidently's DataDriftPreset on all of them, in the
same process, one after the other, the peer once. The reference is kept, as it is in a process that serves. Ratios only: absolute
times depend on the machine. What is told beside the verdict (20 cohorts and their mix, the domain classifier) has a line of its own. False
alarms and power: 14 columns (10 numeric, of which 3 lack values, 4 categorical of 2 to 40 categories) of 500 rows.

A line that is a promise says whether it is `kept`; when any is not, the exit code is 1. The ratios are promised of a million rows.
"""

import argparse
import json
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

os.environ.setdefault("DO_NOT_TRACK", "true")

import numpy as np
import pandas as pd

from tasks.core.case import Cohorts, Drift
from tasks.core.drift import compare
from tasks.core.drift_summary import Kind, kinds_of, summarise
from tasks.core.online import level

if TYPE_CHECKING:
    from tasks.io.references import Reference

NUMERIC, CATEGORICAL = 15, 5
ROWS, MONTHS, YEARS = 500, 12, 1000
FASTER = {"statistics": 100, "report": 15}
"""How many times faster than the preset, at least; absolute times are no promise."""
EQUAL, FALSE_ALARMS, POWER = 1e-9, 0.05, 0.9


def emit(**line: Any) -> None:
    """One line of JSON."""
    print(json.dumps(line), flush=True)  # noqa: T201


def promise(kept: bool, **line: Any) -> bool:
    """One line of JSON, with whether what it promises is kept: returned as well."""
    emit(**line, kept=bool(kept))
    return bool(kept)


def seconds(work: Callable[[], Any], runs: int) -> float:
    """Median seconds of several runs after a first; of a single run, that run."""
    found = []
    for _ in range(runs + 1 if runs > 1 else 1):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return statistics.median(found[-runs:])


def wide(rows: int, seed: int) -> pd.DataFrame:
    """Numeric columns without ties and text columns of 20 categories; the first of each moves a little with the seed."""
    random = np.random.default_rng(seed)
    names = np.array([f"category {place}" for place in range(20)])
    columns: dict[str, Any] = {f"number {place}": random.normal(seed / 10 if place == 0 else 0, 1, rows) for place in range(NUMERIC)}
    for place in range(CATEGORICAL):
        shares = random.permutation(np.arange(1, 21)) if place == 0 else np.arange(1, 21)
        columns[f"text {place}"] = random.choice(names, rows, p=shares / shares.sum())
    return pd.DataFrame(columns)


def speed(rows: int) -> bool:
    """Our statistics, and our decision with Evidently's page of it, beside Evidently's preset; and whether they are scipy's."""
    from evidently import Report
    from evidently.presets import DataDriftPreset

    from tasks.io.references import Reference
    from tasks.io.workspace import Workspace

    warnings.simplefilter("ignore")
    before, after = wide(rows, 0), wide(rows, 1)
    kinds, case = kinds_of(before), Drift()
    kept = Reference.of(before, kinds)
    workspace = Workspace("unused")
    first = seconds(lambda: Reference.of(before, kinds), 1)
    figures = seconds(lambda: compare(kept.summary, summarise(after, kinds), case), 5)
    page = seconds(lambda: workspace.drift(kept, after, settings=case)[1].dict(), 3)
    preset = seconds(lambda: Report([DataDriftPreset()]).run(after, before).dict(), 1)
    shape = f"{rows:,} x {NUMERIC + CATEGORICAL}"
    kept_promises = [equality(before, after, kept, shape)]
    works = {"statistics": (f"statistics of {shape}, reference kept", figures), "report": (f"decision and Evidently's report of {shape}", page)}
    for asked, (work, ours) in works.items():
        told = {"work": work, "seconds": round(ours, 3), "peer": "DataDriftPreset", "peer_seconds": round(preset, 1), "ratio": round(preset / ours, 1)}
        kept_promises.append(promise(preset / ours >= FASTER[asked], **told, target=FASTER[asked]))
    emit(work=f"a reference of {shape}, once for each version", seconds=round(first, 3))
    beside(before, after, kinds, shape)
    return all(kept_promises)


def equality(before: pd.DataFrame, after: pd.DataFrame, kept: "Reference", shape: str) -> bool:
    """The effects and p-values that decide, by each measure that scipy has, beside scipy's on the same rows."""
    from scipy import stats
    from scipy.spatial.distance import jensenshannon

    apart = []
    for numeric, categorical in (("wasserstein", "jensenshannon"), ("ks", "chisquare")):
        for column in kept.compare(after, Drift(numeric=numeric, categorical=categorical)).columns:
            one, two = before[column.column], after[column.column]
            if column.kind == "numeric":
                theirs = stats.ks_2samp(one, two, method="asymp")
                p_value = theirs.pvalue
                effect = theirs.statistic if numeric == "ks" else stats.wasserstein_distance(one, two) / np.std(one.to_numpy())
            else:
                counts = pd.concat([one.value_counts(), two.value_counts()], axis=1).to_numpy(dtype=float).T
                tested = stats.chi2_contingency(counts, correction=False)
                p_value = tested.pvalue
                effect = np.sqrt(tested.statistic / counts.sum()) if categorical == "chisquare" else jensenshannon(*counts)
            apart += [abs(column.effect - effect), abs(column.p_value - p_value)]
    return promise(max(apart) <= EQUAL, work=f"statistics of {shape} beside scipy's", figures=len(apart), furthest_apart=float(max(apart)), at_most=EQUAL)


def beside(before: pd.DataFrame, after: pd.DataFrame, kinds: dict[str, Kind], shape: str) -> None:
    """What is told beside the verdict: 20 cohorts in three groupings and eight conditions, their mix, and the domain classifier."""
    from tasks.core.cohort_drift import compare_cohorts
    from tasks.core.domain import tell_apart
    from tasks.core.drift_by_cohort import by_cohort

    random = np.random.default_rng(7)
    groups = {"region": ["north", "south", "east", "west"], "sex": ["f", "m"]}
    sides = [side.assign(**{name: random.choice(labels, len(side)) for name, labels in groups.items()}) for side in (before, after)]
    where = {f"condition {place}": f'"number {place}" > {place / 8}' for place in range(6)}
    cohorts = Cohorts(by=(("region",), ("sex",), ("region", "sex")), where=where)
    kept = by_cohort(sides[0], kinds, cohorts)
    each = seconds(lambda: compare_cohorts(kept, by_cohort(sides[1], kinds, cohorts), Drift(), min_support=20), 1)
    told = seconds(lambda: tell_apart(sides[0], sides[1], kinds), 3)
    emit(work=f"drift of 20 cohorts and their mix, {shape}, reference kept", seconds=round(each, 3))
    emit(work=f"domain classifier on a sample of {shape}", seconds=round(told, 3))


def month(random: np.random.Generator) -> pd.DataFrame:
    """500 rows of one unchanging population: normal, skewed, rounded and rare values, and categories down to one row in a thousand."""
    columns: dict[str, Any] = {f"normal {place}": random.normal(size=ROWS) for place in range(5)}
    columns |= {f"skewed {place}": random.lognormal(size=ROWS) for place in range(3)}
    columns |= {"rounded": random.poisson(2, ROWS).astype(float), "flag": (random.random(ROWS) < 0.05).astype(float)}
    for name, share in (("normal 1", 0.002), ("skewed 0", 0.03), ("rounded", 0.4)):  # three columns lack values, at one rate in all months
        columns[name][random.random(ROWS) < share] = np.nan
    for count in (2, 5, 15, 40):
        shares = 1 / np.arange(1, count + 1) ** 1.5
        columns[f"{count} categories"] = pd.Categorical.from_codes(random.choice(count, ROWS, p=shares / shares.sum()), [f"c{one}" for one in range(count)])
    return pd.DataFrame(columns)


KINDS: dict[str, Kind] = kinds_of(month(np.random.default_rng(0)))
ANY = Drift(limit=1e-9, missing=1e-9)  # every effect is beyond its limit, so that the tests alone decide


def false_alarms(years: int) -> bool:
    """Years of twelve months in which nothing moves, each against a reference of its own."""
    random, alarmed, tests = np.random.default_rng(11), 0, 0
    for _ in range(years):
        reference, alarms = summarise(month(random), KINDS), list[bool]()
        for _ in range(MONTHS):
            alarms.append(compare(reference, summarise(month(random), KINDS), ANY, level=level(alarms)).alarm)
        alarmed += any(alarms)
        tests += MONTHS * len(KINDS)
    return promise(
        alarmed / years <= FALSE_ALARMS,
        work=f"{years:,} years of {MONTHS} months without drift, {len(KINDS)} columns, n={ROWS}",
        tests=tests,
        years_with_an_alarm=alarmed / years,
        at_most=FALSE_ALARMS,
    )


def power(months: int) -> bool:
    """One column moves by half a standard deviation in the first month, at the case's default limit."""
    random, found, others = np.random.default_rng(12), 0, 0
    for _ in range(months):
        reference, current = month(random), month(random)
        current["normal 0"] += 0.5
        report = compare(summarise(reference, KINDS), summarise(current, KINDS), Drift(), level=level([]))
        found += "normal 0" in report.drifted_columns
        others += len(set(report.drifted_columns) - {"normal 0"})
    return promise(
        found / months >= POWER,
        work=f"one column of {len(KINDS)} moves by half a standard deviation, n={ROWS}",
        found_in_the_first_month=found / months,
        at_least=POWER,
        others_named=others,
    )


def main() -> int:
    """Print one line for each measurement. Returns 1 when a promise is not kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--years", type=int, default=YEARS, help="of false alarms; half as many months of power")
    parser.add_argument("--only", choices=["speed", "false_alarms", "power"])
    asked = parser.parse_args()
    parts = {"speed": lambda: speed(asked.rows), "false_alarms": lambda: false_alarms(asked.years), "power": lambda: power(asked.years // 2)}
    kept = [work() for name, work in parts.items() if asked.only in (None, name)]
    return int(not all(kept))


if __name__ == "__main__":
    sys.exit(main())

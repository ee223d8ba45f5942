"""Step: estimate how good production is in a period whose labels have not come."""

from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd

from tasks.core.documents.content import figure
from tasks.core.errors import DataError
from tasks.core.estimation import Calibrated, Losses, bounded
from tasks.core.predictions import predictions_table
from tasks.core.report import records
from tasks.io.kits import version_key
from tasks.io.manifests import Manifest
from tasks.io.performances import ESTIMATE, estimate_key, keep
from tasks.io.workbench import Workbench
from tasks.step import now, say, step


@step("estimate performance", task_run_name="estimate {period}")
def estimate_performance(bench: Workbench, production: Any, period: str, rows: Callable[[], Iterable[pd.DataFrame]], predictions: str) -> Manifest | None:
    """How good the version probably was in a period whose labels have not come, kept in the store once. None where nothing can be told: a
    model without scores, or metrics that no estimate is known for.

    production: what tasks.inference.find_production gave. rows: gives the period's rows part by part: the model's inputs, the cohorts'
    columns, y_pred and y_score. predictions: their digest.
    """
    key = estimate_key(production.version, period, predictions)
    if (kept := bench.store.find(bench.case.case, ESTIMATE, key)) is not None:
        return kept
    answered = bounded((frame[frame["y_pred"].notna()] for frame in rows()), bench.case.seed)
    try:
        found = _estimator(bench, production).estimate(bench.case, answered) if len(answered) else None
    except DataError as error:
        say(f"{period}: no estimate of performance. {error.message}")
        return None
    if found is None or found.empty:
        return None
    digest = bench.store.put_json({"period": period, "version": production.version, "estimate": True, "rows": records(found)})
    source = f"version {production.version}, estimated without labels"
    kept = keep(bench, ESTIMATE, key, digest, rows=len(found), source=source, created=now(), parent=production.evidence)
    overall = found[(found["cohort"] == "overall") & (found["metric"] == bench.case.metrics.primary)]
    for one in overall.to_dict("records"):
        say(f"{period}: {one['metric']} is estimated at {figure(one['value'], one['low'], one['high'])}, until labels come")
    return kept


SPREAD = "spread"
_fitted: dict[tuple[str, str], Calibrated | Losses] = {}
"""The estimator that was asked for last: its fit takes up to a second, and a catch-up asks for it each period."""


def _estimator(bench: Workbench, production: Any) -> Calibrated | Losses:
    """What is fitted on the version's validation rows, which its evidence pins."""
    asked = (production.evidence, bench.case.model_dump_json())
    if asked not in _fitted:
        rows = predictions_table(production.candidate, *bench.archive.part_rows(bench.archive.evidence(production.evidence), "validation"))
        made = Calibrated.fit(bench.case, rows) if bench.case.task == "binary" else _losses(bench, production, rows)
        _fitted.clear()
        _fitted[asked] = made
    return _fitted[asked]


def _losses(bench: Workbench, production: Any, rows: pd.DataFrame) -> Losses:
    """Fitted again in each process, as models are not kept twice; how far they miss takes longer to find, and is kept."""
    key = version_key(production.version, [production.evidence, production.kinds, bench.case.seed])
    kept = bench.store.find(bench.case.case, SPREAD, key)
    if kept is not None:
        absolute, squared = bench.store.get_json(kept.digest)
        return Losses.fit(rows, production.kinds, bench.case.seed, spread=(absolute, squared))
    made = Losses.fit(rows, production.kinds, bench.case.seed)
    source = f"evidence of version {production.version}"
    keep(bench, SPREAD, key, bench.store.put_json(list(made.spread)), rows=made.rows, source=source, created=now(), parent=production.evidence)
    return made

"""Flow: score the periods that are due with what is in production, and measure their drift."""

from typing import Any

from prefect import flow

from tasks.checks import check_snapshot
from tasks.drift import announce_drift, drift_summary, measure_drift
from tasks.inference import alarms_before, due_periods, find_production, record_served, score_period
from tasks.io.emissions import track
from tasks.io.workbench import Workbench
from tasks.reports import report_period
from tasks.tracking import log_scoring


@flow(name="infer", flow_run_name="infer {case}")
def infer(case: str = "boston", period: str | None = None) -> dict[str, Any]:
    """Score one period, or all that are due in order. The same period twice changes nothing.

    period: YYYY-MM.
    """
    bench = Workbench.open(case)
    months, fresh = [], []
    with track(country=bench.case.carbon.country, name="infer") as meter:
        production = find_production(bench)
        announce_drift(bench, production.version)  # of a run that was stopped before it could
        for due in due_periods(bench, production, period):
            scored = score_period(bench, production, due)
            findings = check_snapshot(bench, due, for_training=False)
            report, page = measure_drift(
                bench,
                scored.frame,
                version=production.version,
                period=due,
                reference=production.reference,
                kinds=production.kinds,
                predictions=scored.manifest.digest,
                alarms=alarms_before(bench, production.version, due),
            )
            month = {"period": due, "rows": len(scored.frame), **drift_summary(report)}
            if record_served(bench, production, scored, month):
                fresh.append(month)
                report_period(
                    bench, month, version=production.version, drift=report, findings=[str(found) for found in findings], notice=production.notice, page=page
                )
            months.append(month)
            if report.drifted:
                announce_drift(bench, production.version)
    if fresh:
        log_scoring(bench, version=production.version, months=fresh, emissions=meter.result)
    return {
        "case": case,
        "model": {"name": case, "version": production.version},
        "months": months,
        "notice": production.notice,
        "emissions_kg": meter.result.kg,
    }

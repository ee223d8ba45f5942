"""Flow: score the periods that are due with what is in production, measure their drift, and say what was found."""

from dataclasses import asdict
from functools import partial
from typing import Any

from prefect import flow

from tasks.alerts import announce, raise_recorded, raise_refused, raise_staleness
from tasks.carbon import record_energy, wait_for_cleaner_power
from tasks.checks import check_snapshot
from tasks.core.alerts import quality_alerts
from tasks.core.case import Period
from tasks.core.errors import DataError, IntegrityError
from tasks.core.strict import Name
from tasks.drift import drift_summary, measure_drift
from tasks.estimates import estimate_performance
from tasks.inference import (
    Due,
    Production,
    alarms_before,
    asked_range,
    due_periods,
    find_production,
    is_served,
    keep_predictions,
    record_served,
    served_months,
)
from tasks.io.emissions import track
from tasks.io.leases import lease
from tasks.io.performances import served_periods
from tasks.io.scored import scored_parts
from tasks.io.workbench import Workbench
from tasks.reports import report_served, show_progress
from tasks.responses import refuse_stopped, still_serves
from tasks.scoring import score
from tasks.showing import must_be_shown, show_served
from tasks.step import say


@flow(name="infer", flow_run_name="infer {case}", timeout_seconds=36 * 3600)
def infer(case: Name = "boston", period: Period | None = None, first: Period | None = None, last: Period | None = None) -> dict[str, Any]:
    """Score all periods that are due, in order; or one, or a range of them. A period that is on record is not scored twice.

    Later periods wait for one that is refused, but not for a correction of one that was scored before; the run fails then, once the rest is shown.

    period: the one to score, YYYY-MM. first, last: the range to score, which may reach back before the model's training.
    """
    bench, asked = Workbench.open(case), asked_range(period, first, last)
    refuse_stopped(bench)
    production = find_production(bench)
    found = due_periods(bench, production, asked)
    waited = wait_for_cleaner_power(bench, "infer") if found else None
    if waited is not None and waited.seconds:
        refuse_stopped(bench)
        production = find_production(bench)
        found = due_periods(bench, production, asked)
    version, scored = production.version, dict[str, int]()
    refused: DataError | IntegrityError | None = None
    with track(country=bench.case.carbon.country, name="infer") as meter:
        for number, due in enumerate(found, start=1):
            with lease(bench.ledger, case, f"infer {due.period}") as held:
                if not held:
                    say(f"{due.period} is being scored by another run, which goes on from there")
                    break
                if not still_serves(bench, version):
                    say(f"version {version} no longer serves {case}: {due.period} is left to the next run")
                    break
                if is_served(bench, production, due):
                    continue  # by another run, since this one looked
                try:
                    scored |= serve(bench, production, due)
                except (DataError, IntegrityError) as error:
                    refused = refused or error
                    raise_refused(bench, version, due.period, error)
                    if due.period not in served_periods(bench, version):
                        break  # what came before it is shown like any other
            show_progress(case, number, len(found))
    raise_recorded(bench, version)
    raise_staleness(bench, version)
    announce(bench)
    report_served(bench, production.notice)
    if scored:
        record_energy(bench, "infer", meter.result, rows=sum(scored.values()), waited=waited)
    waiting = show_served(bench, unmetered=True)
    if refused is not None:
        raise refused
    must_be_shown(case, waiting)
    return {
        "case": case,
        "model": {"name": case, "version": version},
        "months": [month for month in served_months(bench, version) if month["period"] in scored or asked.covers(month["period"])],
        "notice": production.notice,
        "emissions_kg": meter.result.kg,
    }


def serve(bench: Workbench, production: Production, due: Due) -> dict[str, int]:
    """Score one period and put on record what was found. Returns: its rows by period; empty when it is on record already."""
    version, where = production.version, f"snapshot {due.period} of {bench.case.case}"
    scores = score(bench, version=version, evidence=production.evidence, source=due.source.digest, where=where, model=production.candidate)
    predictions = keep_predictions(bench, production, due, scores)
    rows = partial(scored_parts, bench, due.source.digest, predictions.digest)
    findings = check_snapshot(bench, due.period, for_training=False)
    report, drift = None, None
    if scores.rows:
        report, drift = measure_drift(
            bench,
            rows,
            version=version,
            period=due.period,
            revision=due.revision,
            reference=production.reference,
            kinds=production.kinds,
            predictions=predictions,
            alarms=alarms_before(bench, version, due, predictions.digest),
        )
        estimate_performance(bench, production, due.period, rows, predictions.digest)
    month = {
        **{"period": due.period, "drift": drift, "rows": scores.rows, **drift_summary(report)},
        **{"guards": scores.counts, "abstained": scores.abstained, "missing_parts": list(scores.left_out)},
        "findings": [str(found) for found in findings],
    }
    alerts = quality_alerts(due.period, scores.rows, scores.counts, findings, scores.left_out)
    new = record_served(bench, production, due, predictions, {**month, "alerts": [asdict(alert) for alert in alerts]})
    return {due.period: scores.rows} if new else {}

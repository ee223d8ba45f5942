"""Flow: hold what is in production against the labels that have come."""

from typing import Any

from prefect import flow

from tasks.alerts import announce, raise_alerts, raise_recorded
from tasks.carbon import record_energy
from tasks.core.alerts import period_alert
from tasks.core.case import Period
from tasks.core.errors import DataError, IntegrityError, UnavailableError
from tasks.core.strict import Name
from tasks.core.suppression import publish
from tasks.evaluation import evaluate_predictions
from tasks.io.emissions import track
from tasks.io.leases import lease
from tasks.io.workbench import Workbench
from tasks.monitoring import Performance, due_labels, find_monitored, judge, labelled_predictions, month_of, record_monitored
from tasks.reports import key
from tasks.showing import show_served
from tasks.showing_labels import show_monitored
from tasks.step import say


@flow(name="monitor", flow_run_name="monitor {case}", timeout_seconds=12 * 3600)
def monitor(case: Name = "boston", period: Period | None = None) -> dict[str, Any]:
    """Join predictions with their labels by row id, evaluate every cohort, and say whether production is as good as what was accepted: for
    every served period whose labels have come, or have been corrected since; or for one. Labels of periods that an earlier version
    served are held against what was accepted of that one; they are told, and nothing is done about them.

    A period whose labels or rows cannot be used keeps no other from being looked at; of production it is an alert, unless it was asked for
    by itself; and this run fails and names it.

    period: YYYY-MM.
    """
    bench, months, news, failed = Workbench.open(case), [], 0, list[str]()
    production = find_monitored(bench)
    with lease(bench.ledger, case, "monitor") as held, track(country=bench.case.carbon.country, name="monitor") as meter:
        if not held:
            say("another run monitors this case, and goes on from there")
        for version, due in due_labels(bench, production, period) if held else ():
            try:
                performance = look(bench, version, due)
            except (DataError, IntegrityError) as error:
                failed.append(f"{due} of version {version}: {error}")
                say(f"{due} could not be held against its labels, and waits: {error}")
                if version == production and period is None:
                    raise_alerts(bench, version, due, (), [period_alert("labels", due, error)])
                continue
            if performance is not None:
                news += record_monitored(bench, version, performance) is not None
                months.append(month_of(bench, performance))
        raise_recorded(bench, production)
        announce(bench)
        waiting = show_monitored(bench, key(case, "monitor")) if held else []
    if news:
        record_energy(bench, "monitor", meter.result)
    if held:
        waiting += show_served(bench)
    if failed:
        unshown = f" And not all that is on record could be shown: {'; '.join(waiting)}" * bool(waiting)
        raise DataError(f"Not held against their labels: {'; '.join(failed)}{unshown}", fix=f"What is mended is held by: equipoise monitor {case}")
    if waiting:
        raise UnavailableError(
            f"What is on record could not be shown everywhere: {'; '.join(waiting)}", fix=f"It is shown by the next run: equipoise monitor {case}"
        )
    return {"case": case, "version": production, "months": months, "alerts": [alert for month in months for alert in month["alerts"]]}


def look(bench: Workbench, version: int, period: str) -> Performance | None:
    """What the labels of a period say of a version; None while no row that was scored has both a label and an answer. Raises: DataError or
    IntegrityError where labels, rows or predictions cannot be used.
    """
    labelled = labelled_predictions(bench, version, period)
    if labelled.table.empty:
        say(f"{period}: no row that was scored has both a label and an answer yet")
        return None
    report = publish(evaluate_predictions(bench.case, labelled.table, f"version {version} on {period}"))
    performance: Performance = judge(bench, version, labelled, report)
    return performance

"""Flow: hold what is in production against the labels that have come."""

from typing import Any

from prefect import flow

from tasks.alerts import announce, raise_recorded
from tasks.carbon import record_energy
from tasks.core.case import Period
from tasks.core.errors import UnavailableError
from tasks.core.strict import Name
from tasks.core.suppression import publish
from tasks.evaluation import evaluate_predictions
from tasks.io.emissions import track
from tasks.io.leases import lease
from tasks.io.workbench import Workbench
from tasks.monitoring import due_labels, find_monitored, judge, labelled_predictions, month_of, record_monitored
from tasks.reports import key
from tasks.showing import show_served
from tasks.showing_labels import show_monitored
from tasks.step import say


@flow(name="monitor", flow_run_name="monitor {case}", timeout_seconds=12 * 3600)
def monitor(case: Name = "boston", period: Period | None = None) -> dict[str, Any]:
    """Join predictions with their labels by row id, evaluate every cohort, and say whether production is as good as what was accepted: for
    every served period whose labels have come, or have been corrected since; or for one. Labels of periods that an earlier version
    served are held against what was accepted of that one; they are told, and nothing is done about them.

    period: YYYY-MM.
    """
    bench, months, news = Workbench.open(case), [], 0
    production = find_monitored(bench)
    with lease(bench.ledger, case, "monitor") as held, track(country=bench.case.carbon.country, name="monitor") as meter:
        if not held:
            say("another run monitors this case, and goes on from there")
        for version, due in due_labels(bench, production, period) if held else ():
            labelled = labelled_predictions(bench, version, due)
            if labelled.table.empty:
                say(f"{due}: no row that was scored has both a label and an answer yet")
                continue
            report = publish(evaluate_predictions(bench.case, labelled.table, f"version {version} on {due}"))
            performance = judge(bench, version, labelled, report)
            news += record_monitored(bench, version, performance) is not None
            months.append(month_of(bench, performance))
        raise_recorded(bench, production)
        announce(bench)
        waiting = show_monitored(bench, key(case, "monitor")) if held else []
    if news:
        record_energy(bench, "monitor", meter.result)
    if held:
        waiting += show_served(bench)
    if waiting:
        raise UnavailableError(
            f"What is on record could not be shown everywhere: {'; '.join(waiting)}", fix=f"It is shown by the next run: equipoise monitor {case}"
        )
    return {"case": case, "version": production, "months": months, "alerts": [alert for month in months for alert in month["alerts"]]}

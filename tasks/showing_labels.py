"""Step: show in Prefect and MLflow what the record says of a period's labels: once, and later where they are away."""

from collections.abc import Mapping
from typing import Any

from prefect.artifacts import create_image_artifact, create_link_artifact, create_markdown_artifact, create_table_artifact

from tasks.core.digests import json_bytes
from tasks.core.errors import DataError, IntegrityError, UnavailableError
from tasks.core.evidence import StoredReport
from tasks.core.figures import cohort_chart
from tasks.core.review import Event, registration
from tasks.core.watch_report import report_text
from tasks.io import addresses
from tasks.io.performances import ERRANDS
from tasks.io.runs import SHOWN, entry_tag
from tasks.io.workbench import Workbench
from tasks.step import flow_run, say, step

FIGURES = 2  # a picture for each of the first so many metrics


@step("show what was monitored")
def show_monitored(bench: Workbench, prefix: str) -> list[str]:
    """Do every errand of the case's `monitored` entries: artifacts in Prefect under keys that begin with `prefix`, and a run in MLflow.
    Returns: what still waits and why; empty when all is shown.
    """
    waiting: list[str] = []
    for event, what in bench.ledger.errands(bench.case.case):
        if event.kind != "monitored" or what not in ERRANDS or (what == "evaluation" and waiting):
            continue
        try:
            body = bench.store.get_json(event.body["performance"])
            if what == "evaluation":
                _log(bench, event, body, f"{prefix}-{body['period']}")
            else:
                _report(bench, event, body, f"{prefix}-{body['period']}")
        except UnavailableError as error:
            waiting.append(f"mlflow: {error}")
            say("mlflow is not there: what is on record waits to be shown")
        except (DataError, IntegrityError) as error:
            waiting.append(f"{what} of entry {event.sequence}: {error}")
            say(f"{what} of entry {event.sequence} cannot be shown: {error}")
        else:
            bench.ledger.done(event, what)
    return waiting


def _log(bench: Workbench, event: Event, body: Mapping[str, Any], name: str) -> None:
    """A run in MLflow below the run that trained the version, unless a run already shows this entry; its pictures in Prefect."""
    case, period, tag = bench.case.case, body["period"], entry_tag(event.sequence)
    if bench.runs.showing(case, event.sequence) is not None:
        return
    registered = registration(bench.ledger.events(case), event.version or 0)
    assert registered is not None  # nothing else serves
    frame = StoredReport.of(body["report"]).frame()
    known = {
        f"{period}/{row['metric']}" + ("" if row["cohort"] == "overall" else f"/{row['cohort']}"): float(row["value"])
        for row in frame[frame["verdict"] == "ok"].to_dict("records")
    }
    estimated = {f"{period}/estimate/{one['metric']}": one["value"] for one in body["estimates"] or () if one["cohort"] == "overall"}
    pictures = bench.case.metric_names[:FIGURES]
    run = bench.runs.log_child(
        registered.body["run"],
        f"evaluate {period}",
        metrics=known | estimated,
        tags={"equipoise.version": str(event.version), "equipoise.verdict": body["verdict"], tag: SHOWN, **flow_run()},
        artifacts={
            "reports/cohorts.json": json_bytes(body["report"]),
            "reports/performance.json": json_bytes({name: value for name, value in body.items() if name != "report"}),
            **{f"figures/{metric}.png": cohort_chart(frame, metric, title=f"{case} v{event.version} in {period}") for metric in pictures},
        },
    )
    for metric in pictures:
        where = f"{addresses.page(bench.home, 'mlflow')}/get-artifact?path=figures/{metric}.png&run_uuid={run}"
        create_image_artifact(where, key=f"{name}-{metric.replace('_', '-')}", description=f"{metric} of every cohort of {case} in {period}, from MLflow")


def _report(bench: Workbench, event: Event, body: Mapping[str, Any], name: str) -> None:
    """A labelled period as artifacts: markdown, the table of all cohorts, and a link to the version in MLflow."""
    case, period = bench.case.case, body["period"]
    create_markdown_artifact(report_text(case, body), key=name, description=f"Version {event.version} of {case} on the labels of {period}")
    rows = [
        {"cohort": one["cohort"], "metric": one["metric"], "verdict": one["verdict"]}
        | {f"{side} {what}": (one[side] or {}).get(what) for side in ("accepted", "latest", "since", "recent") for what in ("value", "low", "high")}
        for one in body["judged"]
    ]
    create_table_artifact(rows, key=f"{name}-cohorts", description=f"Every cohort of {case} in {period}, beside what was accepted")
    page = addresses.version_page(bench.home, case, event.version or 0)
    text = f"{case} version {event.version} in MLflow"
    create_link_artifact(page, link_text=text, key=f"{name}-mlflow", description=text)

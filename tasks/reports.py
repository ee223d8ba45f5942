"""Step: leave what was found where people look: Prefect artifacts, and summaries in the home's reports."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_progress_artifact, create_table_artifact

from tasks.core.card import figure, plain, table
from tasks.core.case import revision_key
from tasks.core.comparison import Comparison
from tasks.core.drift import DriftReport, looks_told, p_text
from tasks.core.examination import Examination
from tasks.core.review import Event, turn_of
from tasks.io import addresses
from tasks.io.home import Home
from tasks.io.performances import estimates_of
from tasks.io.runs import Runs
from tasks.io.workbench import Workbench
from tasks.io.workspace import link, project_id
from tasks.step import step


@step("leave the training report")
def report_training(bench: Workbench, training: Mapping[str, Any], frames: Mapping[str, pd.DataFrame]) -> None:
    """Candidates and cohorts as artifacts: a markdown summary, a table, and a link to the version.

    training: what `tasks.tracking.register` returned. frames: each candidate's cohort report on test.
    """
    case, version, chosen = bench.case.case, training["model"]["version"], training["chosen"]
    metrics = list(bench.case.metric_names)
    rows = []
    for name, frame in frames.items():
        overall = frame[frame["cohort"] == "overall"].set_index("metric")
        rows.append([f"{name} (chosen)" if name == chosen else name, *(figure(*overall.loc[metric, ["value", "low", "high"]]) for metric in metrics)])
    reasons = training["gate"]
    parts = [
        f"# {case} version {version}: {plain(chosen)}",
        f"{plain(training['reason'])}.",
        "The gate **passed**." if not reasons else "The gate did **not** pass:\n\n" + "\n".join(f"- {plain(reason)}" for reason in reasons),
        "## On test",
        table(["candidate", *metrics], rows),
        "## Findings of the catalogue check",
        "\n".join(f"- {plain(finding)}" for finding in training["findings"]) or "None.",
    ]
    create_markdown_artifact("\n\n".join(parts), key=key(case, "training"), description=f"What was trained for {case}, and why {chosen} was chosen")
    if training["sweep"]:
        create_table_artifact(training["sweep"], key=key(case, "sweep"), description=f"What the sweep of {case} found on validation")
    create_table_artifact(records(frames[chosen]), key=key(case, "cohorts"), description=f"{chosen} on every cohort, on test")
    _link(key(case, "mlflow"), addresses.version_page(bench.home, case, version), f"{case} version {version} in MLflow")


def show_progress(case: str, done: int, of: int) -> None:
    """How many of the periods that were due are scored, in Prefect's page; nothing for a single one."""
    if of > 1:
        create_progress_artifact(100.0 * done / of, key=key(case, "progress"), description=f"{done} of {of} periods of {case} scored")


@step("leave the reports of what was served")
def report_served(bench: Workbench, notice: str | None = None) -> None:
    """For each served period that the record still has to leave in Prefect: a markdown summary, the drift table, and links to Evidently and
    to the version in MLflow.
    """
    for event, what in bench.ledger.errands(bench.case.case):
        if what == "artifacts":
            _report_period(bench, event, notice)
            bench.ledger.done(event, what)


def _report_period(bench: Workbench, event: Event, notice: str | None) -> None:
    case, body = bench.case.case, event.body
    period, version = body["period"], event.version
    name = revision_key(period, body["revision"])
    if body["drift"] is None:
        create_markdown_artifact(
            f"# {case} {period}: no rows\n\nVersion {version} had nothing to score, and no drift was measured. Where rows are missing, mend the source and "
            f"run `equipoise snapshot {case} --revise`: the period is scored again then.",
            key=key(case, "inference", name),
            description=f"{case} {period}",
        )
        return
    measured = bench.store.get_json(body["drift"])
    drift = DriftReport.from_dict(measured["report"])
    shares = drift.frame().assign(new_category_rate=[one.new_category_rate for one in drift.shown])
    parts = [
        f"# {case} {period}: {'drifted' if drift.drifted else 'no drift'}",
        f"{body['rows']:,} rows scored with version {version}. {plain(drift.reason)} {plain(looks_told(measured))}",
        *(["**The snapshot was corrected after it had been scored; this is its revision {}.**".format(body["revision"])] if body["revision"] > 1 else []),
        *([f"**{plain(notice)}**"] if notice else []),
        table(
            ["column", "method", "effect", "limit", "corrected p", "missing", "new categories", "rows in them", "verdict"],
            (
                [
                    *(one.column, one.method, f"{one.effect:.3g}", f"{one.limit:g}", p_text(one.q_value)),
                    *(f"{one.missing_rate:.1%}", one.new_categories, _share(one.new_category_rate), "drifted" if one.drifted else "ok"),
                ]
                for one in drift.shown
            ),
        ),
        *_estimated(bench, event),
        "## Rows that are not as the model knows them",
        table(["column", "is", "rows"], [[name, guard, f"{rows:,}"] for guard, columns in body["guards"].items() for name, rows in columns.items()])
        if body["guards"]
        else "None.",
        "## Findings of the catalogue check",
        "\n".join(f"- {plain(finding)}" for finding in body["findings"]) or "None.",
    ]
    create_markdown_artifact("\n\n".join(parts), key=key(case, "inference", name), description=f"{case} {period}")
    create_table_artifact(records(shares), key=key(case, "drift", name), description=f"Drift of {case} in {period}")
    run = bench.workspace.run(case, period, version or 0, revision=turn_of(bench.ledger.events(case), event))
    page = link(project_id(case), addresses.page(bench.home, "evidently"), run)
    _link(key(case, "evidently", name), page, f"{case} {period} in Evidently")
    _link(key(case, "mlflow"), addresses.version_page(bench.home, case, version or 0), f"{case} version {version} in MLflow")


def _estimated(bench: Workbench, event: Event) -> list[str]:
    """How good the version probably was in a period, where something could be told before labels come."""
    found = estimates_of(bench, event.version or 0, event.body["period"], event.body["predictions"])
    if found is None:
        return []
    rows = [[one["metric"], one["cohort"], figure(one["value"], one["low"], one["high"]), f"{one['n']:,}"] for one in found.to_dict("records")]
    return ["## Performance, estimated: no label has been seen", table(["metric", "cohort", "estimate", "rows"], rows)]


@step("leave the comparison")
def report_comparison(bench: Workbench, comparison: Comparison, versions: Sequence[int]) -> None:
    """Versions side by side as a table."""
    what = ", ".join(map(str, versions))
    create_table_artifact(records(comparison.frame()), key=key(bench.case.case, "comparison"), description=f"Versions {what} of {bench.case.case}")


@step("leave the examination report")
def report_examination(found: Examination, predictions: str, experiment: str, run: str) -> None:
    """Gaps as markdown, cohorts and slices as tables, and a link to the run in MLflow."""
    name = Path(predictions).name
    gaps = [
        [row["grouping"], row["metric"], figure(row["difference"], row["low"], row["high"]), row["worst"] or "–", row["verdict"]]
        for row in found.report.gaps().to_dict("records")
    ]
    text = [f"# {plain(name)}", "Gaps between cohorts, with 95 % intervals.", table(["grouping", "metric", "difference", "worst", "verdict"], gaps)]
    create_markdown_artifact("\n\n".join(text), key=key("evaluation", name), description=f"Gaps in {name}")
    create_table_artifact(records(found.report.frame()), key=key("evaluation", name, "cohorts"), description=f"Every cohort of {name}")
    if found.slices is not None:
        create_table_artifact(records(found.slices.frame()), key=key("evaluation", name, "slices"), description=f"Error slices of {name}")
    home = Home.from_environment()
    place = f"experiments/{Runs(home.mlflow_url, home.artifacts).experiment(experiment)}/runs/{run}"
    _link(key("evaluation", name, "mlflow"), f"{addresses.page(home, 'mlflow')}/#/{place}", f"The evaluation of {name} in MLflow")


def _share(rate: float | None) -> str:
    return "–" if rate is None or math.isnan(rate) else f"{rate:.1%}"


def _link(name: str, address: str, text: str) -> None:
    create_link_artifact(address, link_text=text, key=name, description=text)


def key(*parts: str) -> str:
    """An artifact key: lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(parts).lower()).strip("-")


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame for a table artifact. What is missing or infinite becomes null: Prefect would store invalid JSON for infinity."""
    return [
        {name: None if pd.isna(value) or (isinstance(value, float) and math.isinf(value)) else value for name, value in row.items()}
        for row in frame.to_dict("records")
    ]

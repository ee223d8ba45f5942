"""The commands that look at predictions: `evaluate` those of anybody, `compare` registered versions."""

from pathlib import Path
from typing import Annotated

import typer

from flows import terminal
from flows.terminal import CaseName
from tasks.io import warmup


def evaluate(
    predictions: Annotated[Path, typer.Argument(metavar="PREDICTIONS", help="Parquet (a file or a folder of parts), CSV or Arrow with y_true and y_pred.")],
    task: Annotated[str, typer.Option(help="binary, multiclass, multilabel or regression.")],
    by: Annotated[list[str], typer.Option(metavar="COLUMNS", help="A column, or several crossed: --by race --by sex,race")] = [],  # noqa: B006  # Typer copies it
    where: Annotated[list[str], typer.Option(metavar="NAME=CONDITION", help="A named SQL condition on raw columns.")] = [],  # noqa: B006  # as above
    cohorts: Annotated[Path | None, typer.Option(metavar="FILE", help="A file of named cohorts, such as a case's.")] = None,
    metric: Annotated[list[str], typer.Option(metavar="NAME", help="All that the columns suffice for, unless given.")] = [],  # noqa: B006  # as above
    baseline: Annotated[Path | None, typer.Option(metavar="OTHER", help="Other predictions for the same rows, to compare with.")] = None,
    min_support: Annotated[int | None, typer.Option(min=1, help="Fewest rows in a metric's denominator; 20 unless given.")] = None,
    slices: Annotated[bool, typer.Option("--slices", help="Also look for cohorts nobody named, confirmed on other rows, and draw where errors are.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write rows, gaps, comparison and slices as JSON.")] = None,
    html_file: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a page that opens without a network.")] = None,
) -> None:
    """Evaluate predictions from anywhere on every cohort, with counts and intervals."""
    with terminal.session(f"Evaluation of {predictions}"):
        from tasks.core.evaluation import evaluate as evaluate_table
        from tasks.core.examination import examine
        from tasks.io.documents import cohorts_asked
        from tasks.io.files import write_json, write_text

        asked = cohorts_asked([columns.split(",") for columns in by], dict(terminal.named(condition) for condition in where), cohorts, min_support)
        found = examine(evaluate_table(predictions, task=task, metrics=metric or None, baseline=baseline, **asked), predictions, errors=slices)
        report = found.to_dict()
        if json_file:
            write_json(json_file, report)
        if html_file:
            write_text(html_file, found.page(predictions.name))
    for name in dict.fromkeys(row["metric"] for row in report["rows"]):
        terminal.cohorts([row for row in report["rows"] if row["metric"] == name], name)
    terminal.changes(report.get("comparison", []), baseline.name if baseline else "")
    terminal.slices(report.get("slices", []))
    files = " and ".join(str(file) for file in (json_file, html_file) if file)
    terminal.closing(
        made=f"{len(report['rows'])} figures and {len(report['gaps'])} gaps" + (f" in {files}" if files else ""),
        look=files or "the tables above; --json FILE or --html FILE keeps them",
        then="equipoise evaluate --help",
    )


def compare(
    case: CaseName,
    versions: Annotated[list[int] | None, typer.Argument(metavar="VERSION", help="Production and the newest, unless given.", show_default=False)] = None,
    period: Annotated[
        str | None, typer.Option(metavar="YYYY-MM", help="A labelled month to compare on; test rows that no version learned from, unless given.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the table, classes and the rows that newly fail.")] = None,
) -> None:
    """Registered versions side by side on every cohort: what got better, what got worse, what newly fails."""
    with terminal.session(f"Comparison of {case}", case=case, libraries=warmup.REGISTRY):
        from flows.compare import compare as flow
        from tasks.io.files import write_json

        result = flow(case, versions, period)
        if json_file:
            write_json(json_file, result)
    others = [name for name in dict.fromkeys(row["model"] for row in result["rows"]) if name != result["baseline"]]
    for name in others:
        rows = [row | {"verdict": row["change"], "low": row["delta_low"], "high": row["delta_high"]} for row in result["rows"] if row["model"] == name]
        terminal.changes(rows, result["baseline"], name)
        if "newly_failing" in result:
            count = len(result["newly_failing"][name])
            terminal.line(f"{count:,} of {result['rows_compared']:,} rows are told rightly by {result['baseline']} and wrongly by {name}")
    for name, commit in result["code"].items():
        terminal.line(f"{name} was made with commit {commit.removesuffix('+changes')[:12]}" + (" and changes" if commit.endswith("+changes") else ""))
    terminal.closing(
        made=f"{result['baseline']} beside {', '.join(others)} on {result['rows_compared']:,} rows" + (f" in {json_file}" if json_file else ""),
        look="make serve, then the run `compare` in MLflow",
        then=f"equipoise promote {case} VERSION",
    )


def guide(
    answers: Annotated[Path | None, typer.Option(metavar="FILE", help="Answers in YAML; asked one by one unless given.")] = None,
    metric: Annotated[str | None, typer.Option(metavar="NAME", help="Instead of asking: what moves this fairness metric.")] = None,
    write: Annotated[str | None, typer.Option(metavar="CASE", help="Add the candidates that fit to configs/CASE.yaml.")] = None,
    by: Annotated[str, typer.Option(metavar="COLUMNS", help="With --write: the cohort columns to aim at, --by sex,race")] = "",
) -> None:
    """Which fairness metrics fit a use and why, and which methods move them."""
    from flows.guide import guide as body

    body(answers=answers, metric=metric, write=write, by=tuple(column for column in by.split(",") if column))

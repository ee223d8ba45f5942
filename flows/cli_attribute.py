"""The command `attribute`: what the steps of each candidate changed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from flows import terminal
from flows.terminal import CaseName
from tasks.io import warmup

WORDS = {"helped": "▲ helped", "hurt": "▼ hurt", "changed": "◆ changed", "no evidence": "no evidence"}


def attribute(
    case: CaseName,
    period: Annotated[str | None, typer.Option(metavar="YYYY-MM", help="The last month of the training window; the first window, unless given.")] = None,
    seeds: Annotated[int, typer.Option(metavar="COUNT", help="How often rows are split and all is fitted anew; at least 5, and 20 find far more.")] = 5,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also write the whole table as JSON.")] = None,
) -> None:
    """What each candidate's steps changed, beside the same estimator without them and beside thresholds tuned alone."""
    with terminal.session(f"Attribution of {case}", case=case, libraries=warmup.TRAINING):
        from flows.attribute import attribute as flow
        from tasks.io.files import write_json

        result = flow(case, period, seeds)
        if json_file:
            write_json(json_file, result)
    for candidate in result["candidates"]:
        changes(candidate, [row for row in result["rows"] if row["candidate"] == candidate["name"]])
    counts = [found for candidate in result["candidates"] for found in candidate["counts"].values()]
    doubtful = sum(found["clear alone"] for found in counts)
    terminal.closing(
        made=", ".join(f"{sum(found[word] for found in counts)} {word}" for word in WORDS) + (f"; the table in {json_file}" if json_file else ""),
        look="make serve, then the run `attribution` in MLflow",
        then=f"equipoise attribute {case} --seeds {max(20, 2 * seeds)}   ({doubtful} changes are clear alone and not among so many)"
        if doubtful
        else f"equipoise train {case}",
    )


def changes(candidate: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    """One candidate: its deltas to the baseline and to the control, on every cohort and metric."""
    table = terminal.table(
        f"{candidate['name']}: changes, with 95 % intervals", "cohort", "metric", "beside the baseline", "verdict", "beside the control", "verdict"
    )
    table.columns[1].justify = "left"
    beside = {(row["against"], row["cohort"], row["metric"]): row for row in rows}
    for cohort, metric in dict.fromkeys((row["cohort"], row["metric"]) for row in rows):
        baseline, control = beside["baseline", cohort, metric], beside["control", cohort, metric]
        terminal.add(table, cohort, metric, _delta(baseline), WORDS[baseline["verdict"]], _delta(control), WORDS[control["verdict"]])
    terminal.show(table)
    terminal.line(f"baseline: {candidate['baseline']}; control: {candidate['control']}")
    terminal.line(f"gains of the steps themselves, helped beside both: {', '.join(candidate['own']) or 'none is shown'}")


def _delta(row: Mapping[str, Any]) -> str:
    return "–" if row["delta"] is None else f"{row['delta']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f})"

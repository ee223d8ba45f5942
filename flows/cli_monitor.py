"""The command `monitor`: production beside the labels that have come."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from flows import terminal
from flows.terminal import CaseName
from tasks.io import warmup


def monitor(
    case: CaseName,
    period: Annotated[
        str | None, typer.Option(metavar="YYYY-MM", callback=terminal.a_period, help="One period; every one whose labels are new, unless given.")
    ] = None,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Make the case's Evidently project anew from the record, and nothing else.")] = False,
) -> None:
    """Hold production against the labels that have come: is it as good as what was accepted, for whom not?"""
    if rebuild:
        _rebuild(case)
        return
    with terminal.session(f"Monitoring of {case}", case=case, libraries=warmup.REGISTRY):
        from flows.monitor import monitor as flow
        from tasks.core.alerts import Alert, gathered

        result = flow(case, period)
    months(result["months"], result["version"])
    for month in result["months"]:
        for alert in gathered([Alert(**told) for told in month["alerts"]]):
            terminal.warn(f"{alert.period}, {alert.kind}, {alert.severity}: {alert.reason}")
    held = f"{len(result['months'])} periods held against their labels, {len(result['alerts'])} alerts"
    terminal.closing(
        made=held if result["months"] else "nothing: no labels are new",
        look="make serve, then the runs `evaluate` below the version's run in MLflow",
        then=f"equipoise status {case}",
    )


def _rebuild(case: str) -> None:
    """Evidently's pages are a view of the record, and are made from it again."""
    with terminal.session(f"Evidently's project of {case}, from the record", case=case):
        from tasks.io.workbench import Workbench
        from tasks.rebuilding import rebuild

        rebuild.fn(Workbench.open(case))
    terminal.closing(made=f"the project of {case} in Evidently, from the record", look="make serve", then=f"equipoise status {case}")


def months(found: Sequence[Mapping[str, Any]], production: int) -> None:
    """Each period, with the version that served it where that is not in production any more: its rows, the primary metric on its labels, since
    acceptance and as accepted, and the verdict.
    """
    if not found:
        return
    figures = f"{found[0]['metric']} (95 %)", "since acceptance", "accepted"
    shown = terminal.table("Production on its labels", "period", "labelled", *figures, "verdict")
    for month in found:
        own = next((row for row in month["cohorts"] if (row["cohort"], row["metric"]) == ("overall", month["metric"])), None)
        held = (_figure(one) for one in (own, month["since"], month["accepted"]))
        by = f" (v{month['version']})" * (month["version"] != production)
        terminal.add(shown, month["period"] + by, f"{month['labelled']:,} of {month['of']:,}", *held, month["verdict"])
    terminal.show(shown)


def _figure(one: Mapping[str, Any] | None) -> str:
    return "–" if one is None or one["value"] is None else f"{one['value']:.3f} ({one['low']:.3f} to {one['high']:.3f})"

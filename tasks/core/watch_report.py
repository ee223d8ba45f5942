"""What the labels of a period say, for people."""

from collections.abc import Mapping
from typing import Any

from tasks.core.documents.content import figure
from tasks.core.documents.markdown import plain, table


def report_text(case: str, body: Mapping[str, Any]) -> str:
    """What the labels of a period say, in Markdown. body: what the store keeps of it, of kind `performance`."""
    period = body["period"]
    shown = {(one["cohort"], one["metric"]): one for one in body["report"]["rows"]}

    def row(one: Mapping[str, Any], *first: str) -> list[str]:
        current = shown.get((one["cohort"], one["metric"]), {})
        accepted, since = ({} if one[side] is None else one[side] for side in ("accepted", "since"))
        told = (figure(part.get("value"), part.get("low"), part.get("high")) for part in (accepted, current, since))
        return [*first, one["metric"], *told, one["verdict"]]

    columns = ["metric", "accepted", period, "since acceptance", "verdict"]
    cohorts = [one for one in body["judged"] if one["cohort"] != "overall"]
    silent = sum(one["verdict"] == "insufficient evidence" for one in cohorts)
    abstained = f" {body['abstained']:,} of them have no answer and are left out." if body["abstained"] else ""
    parts = [
        f"# {plain(case)} {period}: {body['verdict']}",
        f"{body['labelled']:,} of {body['of']:,} rows that version {body['version']} scored have a label.{abstained}",
        "\n".join(f"- **{alert['severity']}**: {plain(alert['reason'])}" for alert in body["alerts"]) or "Nothing is shown to be worse.",
        "## All rows",
        table(columns, [row(one) for one in body["judged"] if one["cohort"] == "overall"]),
        f"Intervals of {period} are at 95 %; the others hold together, for every metric, cohort and month of the version.",
    ]
    if cohorts:
        parts += ["## Cohorts", f"{silent} of {len(cohorts)} figures are on too few rows to judge. The others:"]
        parts.append(table(["cohort", *columns], [row(one, one["cohort"]) for one in cohorts if one["verdict"] != "insufficient evidence"]))
    for drift in body["label_drift"]["columns"] if body["label_drift"] else ():
        told = f"{plain(drift['column'])} has {'' if drift['drifted'] else 'not '}drifted from the rows of acceptance"
        parts += ["## The label", f"{told}: {drift['method']} {drift['effect']:.3g}, limit {drift['limit']:g}."]
    if body["estimates"]:
        inside = sum(one["inside"] for one in body["estimates"])
        estimated = [
            [one["metric"], figure(one["value"], one["low"], one["high"]), f"{one['truth']:.3f}", f"{one['error']:+.3f}"]
            for one in body["estimates"]
            if one["cohort"] == "overall"
        ]
        parts += [
            "## What had been estimated before labels came",
            f"{inside} of {len(body['estimates'])} figures lay in the interval of their estimate.",
            table(["metric", "estimate", "truth", "error"], estimated),
        ]
    return "\n\n".join(parts)

"""The model card: what a version is for, how good it is and for whom worse, in Markdown made from its evidence.

Sections follow Mitchell et al. 2019, "Model Cards for Model Reporting". Human parts come from the case; nothing is typed twice.
"""

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from tasks.core.case import Case
from tasks.core.gate import Decision

MARKUP = re.compile(r"([\\`*_{}\[\]|#!~])")


@dataclass(frozen=True)
class CardFacts:
    """What the card reports beside the case: figures on the test split, and where they come from."""

    candidate: str
    period: str
    rows: Mapping[str, int]  # split part -> rows
    report: pd.DataFrame  # a cohort report's frame, on test
    decision: Decision
    findings: Sequence[str]
    digests: Mapping[str, str]
    emissions: str
    alternatives: Sequence[Mapping[str, Any]]  # name, metric, value, low, high of every candidate, on test


def plain(text: object) -> str:
    """Text made safe for Markdown and for the HTML that Markdown becomes: no markup in it is live.

    Angle brackets and ampersands become entities, since not every renderer knows them escaped by a backslash.

    >>> plain("<b>|x|")
    '&lt;b&gt;\\\\|x\\\\|'
    """
    return MARKUP.sub(r"\\\1", html.escape(str(text), quote=False)).replace("\n", " ").replace("\r", " ")


def figure(value: object, low: object, high: object) -> str:
    """A value with its interval, or a dash where there is none.

    >>> figure(0.5, 0.25, 0.75)
    '0.500 [0.250, 0.750]'
    """
    numbers = [float("nan") if part is None else float(part) for part in (value, low, high)]  # type: ignore[arg-type]  # whatever float() takes
    if numbers[0] != numbers[0]:
        return "–"
    shown = [f"{number:.3g}" if abs(number) >= 100 else f"{number:.3f}" for number in numbers]
    return shown[0] if numbers[1] != numbers[1] else f"{shown[0]} [{shown[1]}, {shown[2]}]"


def count(n: object) -> str:
    """A number of rows, or a dash where it may not be told.

    >>> count(1234), count(None)
    ('1,234', '–')
    """
    return "–" if pd.isna(n) else f"{n:,}"  # type: ignore[call-overload]  # pandas types isna for arrays and scalars apart


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; every cell is made safe."""
    lines = [" | ".join(header), " | ".join("---" for _ in header), *(" | ".join(plain(cell) for cell in row) for row in rows)]
    return "\n".join(f"| {line} |" for line in lines)


def model_card(case: Case, facts: CardFacts) -> str:
    """The card in Markdown."""
    report = facts.report
    shown = report[report["metric"].isin(case.metric_names)]
    wide: dict[str, dict[str, str]] = {}
    sizes: dict[str, str] = {}
    for row in shown.to_dict("records"):
        cell = (
            figure(row["value"], row["low"], row["high"])
            if row["verdict"] == "ok"
            else f"{row['verdict']} evidence"
            if row["verdict"] == "insufficient"
            else row["verdict"]
        )
        wide.setdefault(row["cohort"], {})[row["metric"]] = cell
        sizes[row["cohort"]] = count(row["n"])
    metrics = [name for name in case.metric_names if any(name in cells for cells in wide.values())]
    parts = [
        f"# Model card: {plain(case.case)}",
        f"Candidate **{plain(facts.candidate)}**, trained on {plain(facts.period)}. {plain(case.purpose)}",
        "## Intended use",
        plain(case.card.intended_use) or "*Not stated yet. Promotion waits for it.*",
        "## Risks",
        plain(case.card.risks) or "*Not stated yet. Promotion waits for it.*",
        "## Data",
        f"Dataset `{case.dataset}`, target `{plain(case.target.column)}`, {len(case.features)} features. "
        + ", ".join(f"{count:,} rows {part}" for part, count in facts.rows.items())
        + ". Fitted on train, chosen on validation, reported on test.",
        "## Figures by cohort, on test, with 95 % intervals",
        table(["cohort", "n", *metrics], ([name, sizes[name], *(cells.get(metric, "–") for metric in metrics)] for name, cells in wide.items())),
        "## The gate",
        table(["limit", "figure", "outcome"], ((check.limit, figure(check.value, check.low, check.high), check.outcome) for check in facts.decision.checks)),
        "## Candidates compared, on test",
        table(["candidate", "metric", "figure"], ((row["name"], row["metric"], figure(row["value"], row["low"], row["high"])) for row in facts.alternatives)),
        "## Findings of the catalogue check",
        "\n".join(f"- {plain(finding)}" for finding in facts.findings) or "None.",
        "## Energy",
        plain(facts.emissions),
        "## Evidence",
        table(["what", "digest"], facts.digests.items()),
    ]
    return "\n\n".join(parts) + "\n"

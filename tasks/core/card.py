"""The model card: what a version is for, how good it is and for whom worse, made from its evidence.

Sections are those of Mitchell et al. 2019, "Model Cards for Model Reporting". Human parts come from the case, or from what a
person has written since; nothing is typed twice.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from tasks.core.candidate_spec import CandidateSpec
from tasks.core.case import Case
from tasks.core.catalogue import Dataset
from tasks.core.documents import markdown
from tasks.core.documents.content import Bullets, Document, Heading, Part, Section, Table, Text, count, figure, rows, stated
from tasks.core.documents.markdown import plain, table
from tasks.core.documents.words import CHANGES, meaning, outcome, steps
from tasks.core.gate import Decision
from tasks.core.review import CARD_PARTS, Review

__all__ = ["CardFacts", "card_document", "count", "figure", "human_parts", "model_card", "plain", "table", "where_to_write"]

HUMAN: dict[str, str] = {
    "intended_use": "Intended use",
    "risks": "Risks",
    "risk_acceptance": "Acceptance of the risks that remain",
    "declaration": "Declaration",
}
"""Headings of the parts that people write."""


@dataclass(frozen=True)
class CardFacts:
    """What the card reports beside the case: figures on the test split, and where they come from. What has a default is known
    only once the version is registered.
    """

    candidate: str
    period: str
    rows: Mapping[str, int]  # split part -> rows
    report: pd.DataFrame  # a cohort report's frame, on test
    decision: Decision
    findings: Sequence[str]
    digests: Mapping[str, str]
    emissions: str
    alternatives: Sequence[Mapping[str, Any]]  # name, metric, value, low, high of every candidate, on test
    decided: str = "at training"
    version: int | None = None
    author: str = ""
    registered: str = ""
    status: str = ""
    spec: CandidateSpec | None = None
    dataset: Dataset | None = None
    human: Mapping[str, str] = field(default_factory=dict)
    comparison: Sequence[Mapping[str, Any]] = ()  # rows of tasks.core.comparison beside the baseline, on test
    reviews: Sequence[Review] = ()


def model_card(case: Case, facts: CardFacts) -> str:
    """The card in Markdown."""
    return markdown.render(card_document(case, facts))


def human_parts(case: Case, written: Mapping[str, str]) -> dict[str, str]:
    """Every part of the card that people write: as the case has it, unless it was written since. Empty where nobody did."""
    ours = {name: text for name, text in case.card.model_dump().items() if isinstance(text, str)}
    return {name: written.get(name, ours.get(name, "")) for name in dict.fromkeys((*CARD_PARTS, *ours))}


def where_to_write(case: Case, part: str) -> str:
    """Where a person writes a part of the card."""
    return f"`card.{part}` of configs/{case.case}.yaml, or the tag `card.{part}` of the version in MLflow"


def card_document(case: Case, facts: CardFacts) -> Document:
    """The card's content."""
    human = human_parts(case, facts.human)
    others = tuple(name for name in human if name not in ("intended_use", "risks"))
    return Document(
        title=f"Model card: {case.case}" + (f", version {facts.version}" if facts.version else ""),
        lead=f"Candidate {facts.candidate}, trained on {facts.period}. {case.purpose}",
        sections=(
            Section("Model details", tuple(_details(case, facts))),
            Section("Intended use", (stated(human["intended_use"], where_to_write(case, "intended_use")),)),
            Section("Factors", tuple(_factors(case, facts))),
            Section("Metrics", tuple(_metrics(case, facts))),
            Section("Evaluation data", (Text(_evaluation(case, facts)),)),
            Section("Training data", tuple(_training(case, facts))),
            Section("Quantitative analyses", tuple(_analyses(case, facts))),
            Section("Ethical considerations", tuple(_ethics(case, facts, human))),
            Section("Caveats and recommendations", tuple(_caveats(case, facts, human, others))),
            Section("Energy", (Text(facts.emissions),)),
            Section("Evidence", (Table(("what", "digest"), rows(facts.digests.items()), widths=(0.3, 0.7)),)),
        ),
    )


def _details(case: Case, facts: CardFacts) -> Iterator[Part]:
    kind = facts.spec.estimator.kind.replace("_", " ") if facts.spec is not None else ""
    told = {
        "Version": f"{facts.version} ({facts.status})" if facts.version else "",
        "Made by": facts.author,
        "Registered": facts.registered,
        "Model": f"{kind} ({facts.candidate}), {case.task}" if kind else f"{facts.candidate}, {case.task}",
        "Predicts": case.target.column,
        "Features": ", ".join(case.features),
        "Licence": "not stated in the case or the catalogue",
    }
    yield Bullets(tuple(f"{name}: {text}" for name, text in told.items() if text))
    for review in facts.reviews:
        said = (f"{review.at[:10]}: {review.words}", review.notes, f"Conditions: {review.conditions}" if review.conditions else "")
        yield Text(". ".join(text.rstrip(".") for text in said if text) + ".")


def _factors(case: Case, facts: CardFacts) -> Iterator[Part]:
    groupings = [" crossed with ".join(grouping) for grouping in case.cohorts.by]
    conditions = [f"{name}: {condition}" for name, condition in case.cohorts.where.items()]
    yield Text("Looked at by these columns and conditions, none of which needs to be a feature.")
    yield Bullets((*groupings, *conditions) or ("all rows together only",))
    if facts.dataset is not None:
        flagged = [column for column in facts.dataset.columns if column.flags]
        if flagged:
            yield Heading("Columns with a risk flag")
            yield Table(
                ("column", "flags", "why"), rows((column.name, ", ".join(sorted(column.flags)), column.why) for column in flagged), widths=(0.2, 0.2, 0.6)
            )


def _metrics(case: Case, facts: CardFacts) -> Iterator[Part]:
    held = set(facts.report["metric"])
    yield Bullets(tuple(f"{name}: {meaning(name)}" for name in case.metric_names if name in held))
    yield Text(f"A figure on fewer than {case.cohorts.min_support} rows is insufficient evidence. Intervals are at 95 %.")
    yield Heading("The gate")
    yield Text(f"The limits, held against the figures on test {facts.decided}.")
    yield Table(
        ("limit", "figure", "outcome"),
        rows((check.limit, figure(check.value, check.low, check.high), outcome(check)) for check in facts.decision.checks),
        frozenset({1}),
        (0.5, 0.25, 0.25),
    )


def _evaluation(case: Case, facts: CardFacts) -> str:
    split = f"a {case.split.kind} split" + (f" by {case.split.column}" if case.split.column else "")
    return (
        f"{facts.rows.get('test', 0):,} rows of {case.dataset} from {facts.period}, kept apart by {split}: "
        "neither fitted on nor chosen by. Every figure here is on these rows."
    )


def _training(case: Case, facts: CardFacts) -> Iterator[Part]:
    sizes = ", ".join(f"{number:,} rows {part}" for part, number in facts.rows.items())
    yield Text(f"Dataset {case.dataset}, target {case.target.column}, {len(case.features)} features. {sizes}. Fitted on train, chosen on validation.")
    if facts.dataset is not None:
        yield Text(facts.dataset.description or "The catalogue does not describe the dataset.")
    yield Heading("Findings of the catalogue check")
    yield Bullets(tuple(facts.findings)) if facts.findings else Text("None.")


def _analyses(case: Case, facts: CardFacts) -> Iterator[Part]:
    shown = facts.report[facts.report["metric"].isin(case.metric_names)]
    wide: dict[str, dict[str, str]] = {}
    sizes: dict[str, str] = {}
    for row in shown.to_dict("records"):
        cell = figure(row["value"], row["low"], row["high"]) if row["verdict"] == "ok" else _without(str(row["verdict"]))
        wide.setdefault(row["cohort"], {})[row["metric"]] = cell
        sizes[row["cohort"]] = count(row["n"])
    metrics = [name for name in case.metric_names if any(name in cells for cells in wide.values())]
    cohorts = rows((name, sizes[name], *(cells.get(metric, "–") for metric in metrics)) for name, cells in wide.items())
    yield Heading("Figures by cohort, on test, with 95 % intervals")
    yield Table(("cohort", "n", *metrics), cohorts, frozenset(range(1, 2 + len(metrics))))
    yield Heading("Candidates compared, on test")
    compared = rows((row["name"], row["metric"], figure(row["value"], row["low"], row["high"])) for row in facts.alternatives)
    yield Table(("candidate", "metric", "figure"), compared, frozenset({2}))
    if facts.comparison:
        primary = [row for row in facts.comparison if row["metric"] == case.metrics.primary]
        yield Heading(f"{case.metrics.primary} beside the baseline, on the same rows")
        yield Table(
            ("cohort", "change", "verdict"),
            rows((row["cohort"], figure(row["delta"], row["low"], row["high"]), CHANGES.get(str(row["verdict"]), row["verdict"])) for row in primary),
            frozenset({1}),
        )


def _without(verdict: str) -> str:
    return "insufficient evidence" if verdict == "insufficient" else verdict


def _ethics(case: Case, facts: CardFacts, human: Mapping[str, str]) -> Iterator[Part]:
    yield stated(human["risks"], where_to_write(case, "risks"))
    done = steps(facts.spec) if facts.spec is not None else ()
    if facts.spec is not None:
        yield Heading("Steps against unequal errors")
        yield Bullets(done) if done else Text("None: the candidate is an estimator without such steps.")
    for waiver in case.waivers:
        yield Text(f"{waiver.column} is used by permission of {waiver.who} until {waiver.until}: {waiver.why}")


def _caveats(case: Case, facts: CardFacts, human: Mapping[str, str], others: Sequence[str]) -> Iterator[Part]:
    first = facts.report[facts.report["metric"] == case.metrics.primary]
    unclear = [str(name) for name in first[first["verdict"] != "ok"]["cohort"]]
    yield Text(
        f"Nothing is known of how good it is for: {', '.join(unclear)}. Too few rows were there to judge by."
        if unclear
        else f"Every cohort had rows enough to judge {case.metrics.primary} by."
    )
    yield Text(f"The figures hold for data like that of {facts.period}; drift is measured each period, and a period that drifted needs a new look.")
    for name in others:
        yield Heading(HUMAN.get(name, name.replace("_", " ").capitalize()))
        yield stated(human[name], where_to_write(case, name))

"""The scorecard: a version in a few pages, for people who read no code. HTML and PDF are made from this one content.

It is bounded by design: the worst cohorts first and no more than fit, long names and notes cut with a sign, whole in the model card.
"""

from collections.abc import Iterator

from tasks.core.card import human_parts
from tasks.core.documents.content import Bar, Bullets, Chart, Document, Part, Section, Table, Text, Tile, Tiles, count, cut, figure, listed, rows, short
from tasks.core.documents.words import group, label, meaning, outcome, steps, subject, target
from tasks.core.dossier import Dossier, Figure

NAME, NOTE, COHORTS, CHECKS, CANDIDATES, REVIEWS, PERIODS = 70, 420, 12, 12, 6, 4, 6
"""Longest name and note in characters, and the most lines of each table."""

RANGE = (
    "A figure comes with a range in brackets: the test rows are a sample, and with 95 % confidence the true figure lies within. "
    "A wide range means that little is known. Insufficient evidence means: too few rows to judge, so nothing is claimed."
)

BOUNDS = (
    "With its whole range: even the far end of the range has to keep the target. Not clearly beyond: the target counts as broken when the "
    "whole range is beyond it."
)


def document(dossier: Dossier) -> Document:
    """The scorecard's content."""
    case = dossier.case
    return Document(
        title=f"Scorecard: {case.case}, version {dossier.version}",
        lead=cut(f"{case.purpose} Trained on {dossier.period}; {dossier.status}.", NOTE),
        sections=(
            Section("At a glance", (_tiles(dossier), Text(RANGE, "quiet"))),
            Section("What it is for", tuple(_purpose(dossier))),
            Section("How good it is", tuple(_quality(dossier))),
            Section("For whom it is worse", tuple(_cohorts(dossier))),
            Section("What was done about it", tuple(_done(dossier))),
            Section("What is watched", tuple(_watched(dossier))),
            Section("Who signed", tuple(_signed(dossier))),
        ),
    )


def _tiles(dossier: Dossier) -> Tiles:
    primary = dossier.case.metrics.primary
    whole, (kept, checks) = dossier.overall(primary), dossier.kept()
    worst = next(iter(dossier.ranked(primary)), None)
    tiles = [
        Tile(label(primary).capitalize(), whole.shown, f"everyone, {count(whole.n)} rows"),
        Tile("Weakest group", worst.shown if worst else "not known", short(group(worst.cohort), 34) if worst else "no group has rows enough"),
        Tile("Targets kept", f"{kept} of {checks}", dossier.decided),
        Tile("Stands", dossier.status, _last_word(dossier)),
    ]
    return Tiles(tuple(tiles))


def _last_word(dossier: Dossier) -> str:
    if not dossier.reviews:
        return "nobody has signed"
    last = dossier.reviews[-1]
    return "only a simulated approval" if last.simulated else cut(last.words, 40)


def _purpose(dossier: Dossier) -> Iterator[Part]:
    yield _written(dossier, "intended_use", "What it is for, and what not")


def _written(dossier: Dossier, part: str, name: str) -> Text:
    text = human_parts(dossier.case, dossier.human).get(part, "").strip()
    if not text:
        return Text(f"{name}: not stated yet. A person has to write it before the model may be used.", "missing")
    return Text(f"{name}: {cut(text, NOTE)}")


def _quality(dossier: Dossier) -> Iterator[Part]:
    figures = [dossier.overall(metric) for metric in dossier.metrics][:8]
    yield Table(
        ("On all test rows", "Figure", "What it says"),
        rows((label(one.metric), one.shown, meaning(one.metric)) for one in figures),
        frozenset({1}),
        (0.3, 0.25, 0.45),
    )
    checks = sorted(dossier.decision.checks, key=lambda check: {"failed": 0, "insufficient evidence": 1, "passed": 2}[check.outcome])
    if not checks:
        yield Text("No target was set, so nothing says whether this is good enough.")
        return
    yield Table(
        ("What must hold", "Figure", "Target", "Result"),
        rows((short(subject(one), 2 * NAME), figure(one.value, one.low, one.high), cut(target(one), NAME), outcome(one)) for one in checks[:CHECKS]),
        frozenset({1}),
        (0.37, 0.21, 0.22, 0.2),
    )
    yield Text(BOUNDS, "quiet")
    if len(checks) > CHECKS:
        kept = sum(check.outcome == "passed" for check in checks[CHECKS:])
        yield Text(f"{len(checks) - CHECKS} more targets, {kept} of them kept, are in the model card. Those not kept come first here.", "quiet")


def _cohorts(dossier: Dossier) -> Iterator[Part]:
    primary = dossier.case.metrics.primary
    ranked, unclear, whole = dossier.ranked(primary), dossier.unclear(primary), dossier.overall(primary)
    shown = ranked[:COHORTS]
    if not ranked:
        yield Text("Not known: no group had rows enough to judge by.")
    elif whole.value is not None:
        bars = tuple(Bar(short(group(one.cohort), 44), float(one.value or 0.0), one.low, one.high, dossier.worse(one)) for one in shown)
        caption = f"{label(primary).capitalize()} with its range, worst first. Dashed line: everyone. Square: clearly worse. Dot: not clearly worse."
        yield Chart(bars, whole.value, caption)
        yield Table(
            ("Group", "Rows", label(primary).capitalize(), "Beside everyone"),
            rows((short(group(one.cohort), NAME), count(one.n), one.shown, _beside(dossier, one)) for one in shown),
            frozenset({1, 2}),
            (0.4, 0.12, 0.26, 0.22),
        )
        if len(ranked) > COHORTS:
            yield Text(f"These are the {COHORTS} worst of {len(ranked)} groups; the others are in the model card.", "quiet")
    if described := _described(dossier):
        yield Text("What the groups go by. " + described + ("" if described.endswith("…") else "."), "quiet")
    if unclear:
        yield Text(
            f"Insufficient evidence for {len(unclear)} of {len(ranked) + len(unclear)} groups: {listed((short(group(one.cohort), 34) for one in unclear), 6)}."
        )


def _described(dossier: Dossier) -> str:
    """The columns that name groups, as the catalogue describes them."""
    known = [dossier.dataset.find(name) for name in dossier.case.cohort_columns[:6]]
    return "; ".join(f"{column.name}: {cut(column.description.partition('. ')[0].rstrip('.'), 180)}" for column in known if column is not None)


def _beside(dossier: Dossier, one: Figure) -> str:
    return "■ clearly worse" if dossier.worse(one) else "● not clearly worse"


def _done(dossier: Dossier) -> Iterator[Part]:
    spec = dossier.spec
    done = [cut(step, 200) for step in steps(spec)]
    if done:
        yield Text("What was done so that errors are shared out more evenly:")
        yield Bullets(tuple(done[:5]))
    else:
        yield Text("No step against unequal errors was taken: among the candidates, one without such steps was chosen.")
    primary = dossier.case.metrics.primary
    alternatives = sorted(dossier.alternatives, key=lambda one: (one.name != dossier.candidate, dossier.cost(one.figure)))
    yield Table(
        ("Candidate", label(primary).capitalize() + ", for everyone"),
        rows((short(one.name, NAME) + (" (chosen)" if one.name == dossier.candidate else ""), one.figure.shown) for one in alternatives[:CANDIDATES]),
        frozenset({1}),
        (0.6, 0.4),
    )
    if len(alternatives) > CANDIDATES:
        yield Text(f"{len(alternatives) - CANDIDATES} more candidates are in the model card.", "quiet")
    changes = [row for row in dossier.comparison.get("comparison", ()) if row["metric"] == primary]
    if changes:
        worse, better = ([_group(str(row["cohort"])) for row in changes if row["verdict"] == verdict] for verdict in ("worse", "better"))
        baseline = dossier.case.candidates[0].name
        yield Text(
            f"Beside the starting point ({baseline}), clearly better for: {listed(better, 5) or 'nobody'}. Clearly worse for: {listed(worse, 5) or 'nobody'}."
        )


def _watched(dossier: Dossier) -> Iterator[Part]:
    drift = dossier.case.drift
    yield Text(
        f"Each period, every input is compared with the data that the model was accepted on. When {drift.share:.0%} of the inputs or more have "
        "moved, the period counts as drifted, people are told and a new training can start."
    )
    if not dossier.served:
        yield Text("It has not been used on any period yet.")
        return
    last = dossier.served[-PERIODS:]
    yield Table(
        ("Period", "Rows", "Inputs moved", "Result"),
        rows(
            (
                one["period"],
                count(one["rows"]),
                listed((short(str(name), 30) for name in one["drifted_columns"]), 4) or "none",
                "! drifted" if one["drifted"] else "✓ as before" if one["rows"] else "no rows",
            )
            for one in last
        ),
        frozenset({1}),
        (0.18, 0.12, 0.5, 0.2),
    )
    if len(dossier.served) > PERIODS:
        yield Text(f"The last {PERIODS} of {len(dossier.served)} periods; {sum(bool(one['drifted']) for one in dossier.served)} of all drifted.", "quiet")


def _signed(dossier: Dossier) -> Iterator[Part]:
    if dossier.reviews:
        yield Table(
            ("When", "Who and what", "In their words"),
            rows((one.at[:10], cut(one.words, NAME), _words(one.notes, one.conditions, one.expires)) for one in dossier.reviews[-REVIEWS:]),
            widths=(0.14, 0.3, 0.56),
        )
        if any(one.simulated for one in dossier.reviews):
            yield Text("A simulated review is part of a demonstration. No person looked at the model for it.")
    else:
        yield Text("Nobody has signed.")
    yield _written(dossier, "risks", "Risks")
    yield _written(dossier, "risk_acceptance", "Who accepts the risks that remain")
    yield _written(dossier, "declaration", "Declaration")
    if dossier.missing and not dossier.in_production:
        yield Text("Still missing before it may be used: " + cut("; ".join(dossier.missing), NOTE))
    yield Text(
        f"Made by {cut(str(dossier.evidence.get('author', '')), 60)}, registered {dossier.registered[:10]}. Evidence {dossier.digest}. "
        "Where a text ends in …, the model card has all of it.",
        "quiet",
    )


def _group(cohort: str) -> str:
    return "everyone together" if cohort == "overall" else short(group(cohort), 34)


def _words(notes: str, conditions: str, expires: str) -> str:
    told = [cut(notes, 200) or "no notes", f"Conditions: {cut(conditions, 120)}" if conditions else "", f"Holds until {expires}" if expires else ""]
    return ". ".join(part.rstrip(".") for part in told if part) + "."

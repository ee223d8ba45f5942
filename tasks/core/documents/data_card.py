"""The data card: what is known of the data that a version was made from, by its catalogue entry and its snapshots."""

from collections.abc import Iterator

from tasks.core.catalogue import RiskFlag
from tasks.core.documents.content import Bullets, Document, Heading, Part, Section, Table, Text, rows
from tasks.core.dossier import Dossier

SENSITIVE = (RiskFlag.SENSITIVE, RiskFlag.PROXY, RiskFlag.PII, RiskFlag.PROHIBITED)
"""Flags that say something about people."""


def document(dossier: Dossier) -> Document:
    """The data card's content."""
    dataset = dossier.dataset
    return Document(
        title=f"Data card: {dataset.title}",
        lead=f"The dataset {dataset.name}, version {dataset.version or 'not stated'}, as it was used for version {dossier.version} of {dossier.case.case}.",
        sections=(
            Section("Overview", tuple(_overview(dossier))),
            Section("Uses", tuple(_uses(dossier))),
            Section("Columns", tuple(_columns(dossier))),
            Section("Sensitive and risky columns", tuple(_risky(dossier))),
            Section("Rules it has to keep", tuple(_rules(dossier))),
            Section("How the rows were prepared", tuple(Text(text) for text in preparation(dossier))),
            Section("What the check found", tuple(_findings(dossier))),
            Section("Snapshots", (Table(("snapshot", "digest"), rows(dossier.evidence["snapshots"].items()), widths=(0.3, 0.7)),)),
        ),
    )


def preparation(dossier: Dossier) -> Iterator[str]:
    """What was done to the rows between the source and a fit, a sentence each."""
    case = dossier.case
    simulated = case.periods.simulate
    if simulated is not None:
        yield (
            f"The months are simulated: {simulated.months} from {simulated.first} on, resampled from the table with seed {simulated.seed} "
            f"and noise of {simulated.jitter:g} standard deviations on numeric columns."
        )
        for drift in simulated.drifts:
            columns = drift.columns if isinstance(drift.columns, str) else ", ".join(drift.columns)
            yield f"From month {drift.first} on, a declared drift: {drift.kind.replace('_', ' ')} of size {drift.size:g} in {columns}."
    else:
        yield f"Rows fall into months by the column {case.periods.column}, read in {case.periods.timezone}."
    sizes = ", ".join(f"{number:,} {part}" for part, number in dossier.rows.items())
    by = f" by {case.split.column}" if case.split.column else ""
    yield f"Rows that have a label were split ({case.split.kind}{by}, seed {case.seed}): {sizes}."
    yield "A row is known by its row_id; features and labels are kept apart, each as a snapshot that never changes."


def _overview(dossier: Dossier) -> Iterator[Part]:
    dataset = dossier.dataset
    yield Text(dataset.description or "The catalogue does not describe the dataset.")
    yield Bullets(
        (
            f"Source: {dossier.source}",
            f"Columns: {len(dataset.columns)}, of which labels: {', '.join(dataset.labels) or 'none'}",
            f"Key: {', '.join(dataset.key_columns) or 'none'}",
            f"Periods used: {dossier.period}, {sum(dossier.rows.values()):,} rows with a label",
            f"Licence: not stated in {dataset.file}",
        )
    )


def _uses(dossier: Dossier) -> Iterator[Part]:
    case = dossier.case
    yield Text(f"Here: {case.purpose}")
    yield Bullets((f"Predicted: {case.target.column}", f"Features: {', '.join(case.features)}", f"Looked at by, without being features: {_looked_at(dossier)}"))


def _looked_at(dossier: Dossier) -> str:
    return ", ".join(name for name in dossier.case.cohort_columns if name not in dossier.case.features) or "none"


def _columns(dossier: Dossier) -> Iterator[Part]:
    yield Table(
        ("column", "type", "class", "may be used to", "what it is"),
        rows((one.name, one.type, one.classification, ", ".join(one.uses), one.description) for one in dossier.dataset.columns),
        widths=(0.14, 0.1, 0.12, 0.16, 0.48),
    )


def _risky(dossier: Dossier) -> Iterator[Part]:
    flagged = [column for column in dossier.dataset.columns if column.flags]
    if not flagged:
        yield Text("The catalogue flags none.")
        return
    yield Table(("column", "flags", "why"), rows((one.name, ", ".join(sorted(one.flags)), one.why) for one in flagged), widths=(0.18, 0.17, 0.65))
    for waiver in dossier.case.waivers:
        yield Text(f"{waiver.column} may be a feature by permission of {waiver.who} until {waiver.until}: {waiver.why}")


def _rules(dossier: Dossier) -> Iterator[Part]:
    if not dossier.dataset.rules:
        yield Text("The catalogue states none.")
        return
    told = ((rule.column or "the table", rule.description or rule.expectation, rule.severity) for rule in dossier.dataset.rules)
    yield Table(("of", "rule", "when broken"), rows(told), widths=(0.2, 0.6, 0.2))


def _findings(dossier: Dossier) -> Iterator[Part]:
    if not dossier.findings:
        yield Text("Nothing.")
        return
    yield Heading("Before the training")
    yield Bullets(tuple(f"{one['message']} {one['fix']}".strip() for one in dossier.findings))

"""Makes a version's dossier from the store and the record; it asks no server."""

from collections.abc import Mapping, Sequence
from dataclasses import fields

from tasks.core.dossier import Alternative, Dossier, history, newest_decision, read_figure
from tasks.core.errors import DataError
from tasks.core.evidence import StoredReport
from tasks.core.review import Event, registration
from tasks.io.archive import Archive
from tasks.io.emissions import EmissionsResult
from tasks.io.sources import shown


def build(archive: Archive, events: Sequence[Event], version: int, human: Mapping[str, str], missing: Sequence[str] = ()) -> Dossier:
    """The dossier of a version.

    events: the case's part of the ledger. human: the parts of the card that people write, as they read now; a part that is not
    given reads as the case had it at training. missing: what stands between the version and production, as the gate says it.

    Raises: DataError for a version that was never registered, IntegrityError when an object of its evidence is gone or changed.
    """
    registered = registration(events, version)
    if registered is None:
        known = ", ".join(str(event.version) for event in events if event.kind == "registered")
        raise DataError(f"There is no registered version {version}.", fix=f"There are: {known}." if known else "Make one with `equipoise train`.")
    digest = registered.body["evidence"]
    evidence = archive.evidence(digest)
    stored = {name: archive.store.get_json(evidence[name]) for name in ("environment", "validation", "comparison", "findings", "emissions", "decision")}
    case, dataset = archive.case(evidence), archive.dataset(evidence)
    decision, decided = newest_decision(events, version, digest, stored["decision"])
    written = {name: text for name, text in case.card.model_dump().items() if isinstance(text, str)}
    return Dossier(
        case=case,
        dataset=dataset,
        version=version,
        evidence=evidence,
        digest=digest,
        environment=stored["environment"],
        report=archive.report(evidence),
        validation=StoredReport.of(stored["validation"]),
        alternatives=_alternatives(archive, evidence["reports"], case.metrics.primary),
        comparison=stored["comparison"],
        findings=tuple(stored["findings"]),
        emissions=stored["emissions"],
        energy=_energy(stored["emissions"]),
        source=shown(dataset.source),
        decision=decision,
        decided=decided,
        human=written | dict(human),
        missing=tuple(missing),
        **history(events, version),
    )


def _alternatives(archive: Archive, reports: Mapping[str, str], metric: str) -> tuple[Alternative, ...]:
    """Every candidate's overall figure on test."""
    found = []
    for name, digest in reports.items():
        frame = StoredReport.of(archive.store.get_json(digest)).frame()
        rows = frame[(frame["cohort"] == "overall") & (frame["metric"] == metric)].to_dict("records")
        found += [Alternative(name, read_figure(row)) for row in rows]
    return tuple(found)


def _energy(stored: Mapping[str, object]) -> str:
    """The sentence of an EmissionsResult as it was stored."""
    known = {field.name: stored.get(field.name) for field in fields(EmissionsResult)}
    return EmissionsResult(**known).sentence  # type: ignore[arg-type]  # as they were stored

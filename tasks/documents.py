"""Step: write the documents of a registered version into a folder, all from one dossier."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from tasks.core.digests import json_bytes
from tasks.core.documents import bom, croissant, data_card, lineage, markdown, model_card, pack, pdf, scorecard, web
from tasks.core.dossier import Dossier
from tasks.core.errors import UnavailableError
from tasks.core.review import CARD_PARTS
from tasks.io.dossiers import build
from tasks.io.gatehouse import card_parts, hold_gate
from tasks.io.lineage import deliver, lines
from tasks.io.workbench import Workbench

NO_PDF = "The PDF of the scorecard needs the extra `pdf`: pip install 'equipoise[pdf]'"
LONGEST = 100_000
"""Most characters of a text that a person wrote for the documentation pack."""


@dataclass(frozen=True)
class Documents:
    """What was written, in the order of reading; the parts of the card that people have yet to write; and what to tell the user."""

    folder: Path
    files: tuple[Path, ...]
    empty: tuple[str, ...]
    notices: tuple[str, ...]


def write_documents(bench: Workbench, version: int, folder: Path | None = None, openlineage: str | None = None) -> Documents:
    """Make every document of a version anew. Without `folder` they go into reports/CASE-vVERSION of the home.

    openlineage: a file or an http(s) URL that gets the events as well.

    Raises: DataError for a version that is not registered, IntegrityError when its evidence is gone or changed, UnavailableError
    when a file cannot be written or the URL does not take the events.
    """
    events = bench.ledger.events(bench.case.case)
    gated = hold_gate(bench, events, version)
    dossier = build(bench.archive, events, version, card_parts(bench, version), gated.missing)
    place = folder or bench.home.reports / f"{bench.case.case}-v{version}"
    made = _made(dossier, _written(place / "annex-iv" / pack.WRITTEN))
    for name, content in made.items():
        _write(place / name, content)
    if openlineage is not None:
        deliver(lineage.events(dossier), openlineage)
    empty = tuple(part for part in CARD_PARTS if not dossier.part(part))
    return Documents(place, tuple(place / name for name in made), empty, () if "scorecard.pdf" in made else (NO_PDF,))


def _made(dossier: Dossier, written: Mapping[str, str]) -> dict[str, str | bytes]:
    """Every document by its file's name."""
    card, data = scorecard.document(dossier), data_card.document(dossier)
    found: dict[str, str | bytes] = {"scorecard.html": web.render(card, "scorecard")}
    if find_spec("fpdf") is not None:
        found["scorecard.pdf"] = pdf.render(card, dossier.registered)
    return found | {
        "model-card.md": model_card.to_markdown(dossier),
        "model-card.html": model_card.to_html(dossier),
        "data-card.md": markdown.render(data),
        "data-card.html": web.render(data, "data card"),
        "croissant.json": json_bytes(croissant.document(dossier)),
        "bom.cdx.json": json_bytes(bom.document(dossier)),
        "lineage.jsonl": lines(lineage.events(dossier)),
        "annex-iv/README.md": markdown.render(pack.document(dossier, written)),
        "annex-iv/crosswalk.md": markdown.render(pack.crosswalk()),
    }


def _written(folder: Path) -> dict[str, str]:
    """What people wrote for the points of the pack. Only files that are asked for by name are read."""
    found = {}
    for point in pack.names():
        path = folder / pack.file_of(point)
        if path.is_file():
            try:
                found[point] = path.read_text(encoding="utf-8", errors="replace")[:LONGEST]
            except OSError as error:
                raise UnavailableError(f"cannot be read: {error.strerror}.", where=str(path), fix="Check your right to read it.") from error
    return found


def _write(path: Path, content: str | bytes) -> None:
    """Write under a temporary name, flush, then rename: a reader sees the old file or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    data = content.encode("utf-8", "replace") if isinstance(content, str) else content
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UnavailableError(f"cannot be written: {error.strerror}.", where=str(path), fix="Choose another folder with --out.") from error

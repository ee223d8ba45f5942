"""The command `documents`: the documents of a registered version."""

from pathlib import Path
from typing import Annotated

import typer

from flows import terminal
from flows.terminal import VersionNumber


def documents(
    case: terminal.CaseName,
    version: VersionNumber,
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Where to; reports/CASE-vVERSION of the state folder, unless given.")] = None,
    openlineage: Annotated[str | None, typer.Option(metavar="URL|FILE", help="Also send the OpenLineage events there; nothing is sent unless given.")] = None,
) -> None:
    """Write a version's documents from its evidence: model card, scorecard, data card, ML-BOM, lineage, and the Annex IV pack."""
    with terminal.session(f"Documents of {case} version {version}"):
        from tasks.documents import write_documents
        from tasks.io.workbench import Workbench

        made = write_documents(Workbench.open(case), version, out, openlineage)
    for path in made.files:
        terminal.line(f"  {path.relative_to(made.folder)}")
    for notice in made.notices:
        terminal.warn(notice)
    if made.empty:
        terminal.warn(f"Nobody has written yet, and promotion waits for: {', '.join(made.empty)}")
    again = f"equipoise documents {case} {version}"
    parts = ", ".join(f"card.{part}" for part in made.empty)
    terminal.closing(
        made=f"{len(made.files)} documents in {made.folder}" + (f"; events to {openlineage}" if openlineage else ""),
        look=str(made.folder / "scorecard.html"),
        then=f"write {parts} as tags of the version in MLflow, then: {again}" if made.empty else f"equipoise review {case} {version}",
    )

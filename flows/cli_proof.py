"""The commands of proof: verify a version, and write it to a bundle that verifies elsewhere."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from flows import terminal
from flows.terminal import VersionNumber

MARKS = {"different": "✗ DIFFERENT", "cannot be checked": "? cannot be checked"}
MOST = 40  # lines of what is not the same: the rest is in the file


def verify(
    case: Annotated[str | None, typer.Argument(metavar="CASE", help="The case: configs/CASE.yaml.", show_default=False)] = None,
    version: Annotated[
        int | None, typer.Argument(metavar="VERSION", min=1, help="The version's number; the one in production unless given.", show_default=False)
    ] = None,
    bundle: Annotated[Path | None, typer.Option(metavar="PATH", help="Instead of a case: a folder or zip that `equipoise bundle` wrote.")] = None,
    pin: Annotated[Path | None, typer.Option(metavar="FILE", help="A head of the ledger kept elsewhere, that must still be there.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also write everything that was looked at as JSON.")] = None,
) -> None:
    """Check every digest and signature of a version and compute its figures again, from the store and the ledger alone; exit 2 when anything is different."""
    from tasks.core.errors import CaseError
    from tasks.io.files import write_json
    from tasks.io.home import Home

    if (case is None) == (bundle is None):
        raise CaseError("What is to be verified?", fix="Give a case, or --bundle PATH.")
    text = _pin(pin)
    if bundle is not None:
        if version is not None:
            raise CaseError("A bundle holds one version.", where=str(version), fix="Leave the version out.")
        from tasks.verification import verify_bundle

        terminal.line(f"Proof of the bundle {bundle}")
        result = verify_bundle(bundle, Home.from_environment().project, text)
    else:
        assert case is not None  # one of the two was given
        with terminal.session(f"Proof of {case}"):
            from tasks.io.workbench import Workbench
            from tasks.verification import verify_version

            result = verify_version(Workbench.open(case), version, text)
    _show(result)
    if json_file is not None:
        write_json(json_file, result.to_dict())
    subject = f"{result.case} version {result.version}" if result.version else result.case
    terminal.closing(
        made=f"{_words(result)}: {subject}" + (f"; everything looked at is in {json_file}" if json_file else ""),
        look="--json FILE for each figure" if json_file is None else str(json_file),
        then=_next(result, bundle),
    )
    if result.verdict == "different":
        raise typer.Exit(2)


def bundle(
    case: terminal.CaseName,
    version: VersionNumber,
    out: Annotated[Path | None, typer.Option(metavar="PATH", help="A zip where it ends in .zip, otherwise a folder; CASE-vVERSION.zip unless given.")] = None,
) -> None:
    """Write a version with all that its proof needs to one folder or zip, which verifies on another machine with no servers."""
    path = out or Path(f"{case}-v{version}.zip")
    with terminal.session(f"Bundle of {case} version {version}"):
        from tasks.io.workbench import Workbench
        from tasks.verification import bundle_version

        bench = Workbench.open(case)
        terminal.warn(f"The bundle will hold the rows of the snapshots that version {version} was trained and tested on: treat it as you treat that data.")
        files = bundle_version(bench, version, path)
    terminal.closing(
        made=f"{path}: {files} files, among them every row of the snapshots: personal data, if {bench.dataset.file} describes any",
        look="README.md in it",
        then=f"equipoise verify --bundle {path} --pin FILE   (FILE: what `equipoise ledger head` prints, sent by another way)",
    )


def _pin(path: Path | None) -> str | None:
    from tasks.core.errors import CaseError

    try:
        return None if path is None else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", "not text")
        raise CaseError(f"cannot be read: {why}.", where=str(path), fix="Give the file that `equipoise ledger head` was kept in.") from error


def _show(result: Any) -> None:
    """How many things of each part are the same; then each that is not, the different ones first."""
    from tasks.core.proof import PARTS, tally

    table = terminal.table("Looked at again", "what", "same", "different", "cannot be checked")
    for part, counts in tally(result.proven).items():
        terminal.add(table, PARTS[part], *(counts[outcome] or "–" for outcome in ("same", "different", "cannot be checked")))
    terminal.show(table)
    rest = sorted((one for one in result.proven if one.outcome != "same"), key=lambda one: one.outcome != "different")
    for one in rest[:MOST]:
        terminal.line(f"{MARKS[one.outcome]}  {_printable(f'{one.what}: {one.detail}')}")
    if len(rest) > MOST:
        terminal.line(f"and {len(rest) - MOST} more: give --json FILE")


def _printable(text: str) -> str:
    """Text that may be a stranger's, without signs that a terminal obeys."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)


def _words(result: Any) -> str:
    counts = Counter(one.outcome for one in result.proven)
    if result.verdict == "different":
        return f"NOT PROVEN, {counts['different']} of {len(result.proven)} things are different"
    return f"proven, {counts['same']} of {len(result.proven)} things are the same and none is different"


def _next(result: Any, bundle: Path | None) -> str:
    if result.verdict == "different":
        return "look into: " + _printable(next(one.what for one in result.proven if one.outcome == "different"))
    return "keep it beside the bundle" if bundle is not None else f"equipoise bundle {result.case} {result.version}"

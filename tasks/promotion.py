"""Step: write a review, and let a version into production when nothing is missing."""

from dataclasses import dataclass
from typing import Literal

from tasks.core.errors import DataError
from tasks.core.review import production_version, registration
from tasks.io.workbench import Workbench
from tasks.step import say, step


@dataclass(frozen=True)
class Promotion:
    """What came of asking for a promotion. A refusal is a result, with everything that is missing."""

    version: int
    promoted: bool
    missing: tuple[str, ...]
    previous: int | None


@step("write a review")
def write_review(
    bench: Workbench,
    version: int,
    *,
    verdict: Literal["approve", "reject"],
    reviewer: str,
    notes: str,
    simulated: bool = False,
) -> None:
    """Bind a person's verdict to the evidence of a version, in the ledger, and show it on the version in MLflow."""
    registered = registration(bench.ledger.events(bench.case.case), version)
    if registered is None:
        raise _unknown(bench, version)
    if not reviewer.strip():
        raise DataError("A review needs the reviewer's name.", fix="Give --reviewer NAME.")
    body = {"verdict": verdict, "reviewer": reviewer.strip(), "notes": notes, "evidence": registered.body["evidence"], "simulated": simulated}
    bench.ledger.append(bench.case.case, "reviewed", version, body)
    shown = f"{'approved' if verdict == 'approve' else 'rejected'} by {reviewer}" + (" (simulated)" if simulated else "")
    bench.registry.set_tags(bench.case.case, version, {"equipoise.review": shown})
    say(f"{bench.case.case} version {version} {shown}")


@step("promote")
def promote_version(bench: Workbench, version: int) -> Promotion:
    """Let a version into production, or refuse with the full list of what is missing. Both are recorded.

    The ledger takes the promotion only if nothing was added since it was read, so of two promoters one wins.
    """
    case, ledger = bench.case.case, bench.ledger
    head = ledger.head()
    events = ledger.events(case)
    registered = registration(events, version)
    if registered is None:
        raise _unknown(bench, version)
    previous = production_version(events)
    if previous == version:
        bench.registry.set_alias(case, "production", version)
        say(f"{case} version {version} is already in production")
        return Promotion(version, True, (), previous)
    missing = bench.obstacles(events, version)
    if missing:
        ledger.append(case, "refused", version, {"missing": missing}, expected=head)
        say(f"{case} version {version} is not promoted:" + "".join(f"\n  - {reason}" for reason in missing))
        return Promotion(version, False, tuple(missing), previous)
    ledger.append(case, "promoted", version, {"previous": previous, "evidence": registered.body["evidence"]}, expected=head)
    bench.registry.set_alias(case, "production", version)
    say(f"{case} version {version} is in production" + (f", after version {previous}" if previous else ""))
    return Promotion(version, True, (), previous)


def _unknown(bench: Workbench, version: int) -> DataError:
    known = [str(event.version) for event in bench.ledger.events(bench.case.case) if event.kind == "registered"]
    return DataError(
        f"`{bench.case.case}` has no registered version {version}. " + (f"There are: {', '.join(known)}." if known else "There is none."),
        fix=f"Run: equipoise train {bench.case.case}" if not known else "Look at: equipoise status",
    )

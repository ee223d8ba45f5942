"""Step: make a case's Evidently project again from the record, when it is damaged or lacks pages."""

from tasks.io.pages_again import DRAW
from tasks.io.workbench import Workbench
from tasks.step import say, step


@step("rebuild Evidently's project")
def rebuild(bench: Workbench) -> int:
    """Make every page that the record speaks of and the project lacks, under the ids they had; a damaged project is moved aside first, and
    kept. Figures and verdicts are those on record: nothing is measured anew. Returns how many pages were made.

    Raises: IntegrityError for a stored object that is missing or corrupt, UnavailableError for a folder that cannot be written.
    """
    case, workspace = bench.case.case, bench.workspace
    if not workspace.is_whole(case) and (aside := workspace.set_aside(case)):
        say(f"the damaged project is kept in {aside}")
    made = 0
    for event in bench.ledger.events(case):
        draw = DRAW.get(event.kind)
        made += draw is not None and draw(bench, event)
    say(f"{made} page(s) made again" if made else "every page is there")
    return made

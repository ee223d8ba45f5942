"""The Evidently workspace: what was found of each period, and a dashboard over time with one project for each case.

tasks.core.drift measures and decides; Evidently draws, and shows these figures and this verdict. Three things it would get wrong
are dealt with here: column names and category values run as script in its pages (they are made safe first), a half-written file
takes the whole project off its list (files appear whole or not at all), and its cost grows with the rows it draws (a bounded
sample is drawn). tasks.io.pages and its neighbours are what the pages show; this module is what is kept.

Layout under the workspace's path, which is Evidently's own:  <project>/metadata.json  dashboard.json  snapshots/<run>.json
Beside them is ours:  <project>/shown.json, which panels were ever put on the dashboard, so that one taken away stays away
A damaged project is moved to:  damaged/<project>.damaged-<n>
"""

import datetime as dt
import json
import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from tasks.core.case import Case, Drift
from tasks.core.cohort_drift import CohortsDrift
from tasks.core.drift import DriftReport
from tasks.core.errors import IntegrityError
from tasks.core.online import ALPHA
from tasks.io import pages, pages_panels
from tasks.io import workspace_files as files
from tasks.io.files import alone
from tasks.io.pages_text import safe_text
from tasks.io.processes import writable
from tasks.io.references import Current, Reference

if TYPE_CHECKING:
    from collections.abc import Callable

    from evidently.core.report import Snapshot

NAMESPACE = uuid.UUID("6a3f5c54-6d0e-5f0a-9a86-6d1f2f5a7c11")


def project_id(case: str) -> str:
    """The project of a case. It follows from the name, so two flows that start together make one project."""
    return str(uuid.uuid5(NAMESPACE, case))


def link(project: str, base_url: str, run: str | None = None) -> str:
    """Where Evidently's UI shows a project's dashboard, or one run of it."""
    return f"{base_url.rstrip('/')}/projects/{project}" + (f"/reports/{run}" if run else "")


@dataclass(frozen=True)
class Recorded:
    """Where a run is kept. `created` is False when it was there already and nothing was changed."""

    project: str
    run: str
    created: bool


class Workspace:
    """Pages of all cases under one folder, in Evidently's own format. There is one run for each version, period and kind, and for each
    revision of it: a second call, at once or later, changes nothing. Recording raises IntegrityError for a damaged file,
    UnavailableError for a folder that cannot be written.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def drift(self, reference: Reference, current: pd.DataFrame, *, settings: Drift, level: float = ALPHA) -> tuple[DriftReport, "Snapshot"]:
        """The verdict on a period's rows, and Evidently's report of it.

        The frame may hold further columns. A missing category is a category of its own; missing numbers have a test of their own.
        Raises DataError before anything is measured when the frame does not hold the columns as they are declared.
        """
        found = reference.current(current)
        report = reference.compare(found, settings, level)
        return report, self.draw(report, reference, found)

    def draw(self, report: DriftReport, reference: Reference, current: Current, beside: pages.Beside | None = None) -> "Snapshot":
        """Evidently's report of a verdict that was reached before. beside: what else the page shows; the summaries are added to it."""
        told = replace(beside or pages.Beside(), reference=reference.summary, current=current.summary)
        return pages.report(current.drawn, reference.drawn, report, told)

    def record(
        self,
        case: str,
        period: str,
        version: str,
        report: DriftReport,
        snapshot: "Snapshot | Callable[[], Snapshot]",
        extra: Mapping[str, str | int | float] | None = None,
        *,
        revision: int = 1,
        cohorts: CohortsDrift | None = None,
    ) -> Recorded:
        """Add a period's drift to the case's project, dated the first day of its month.

        snapshot: the page, or what makes it, which is called only where it is not there yet. revision: of the period, from 1; a later one
        is a run of its own, dated as many minutes later. `extra` is shown beside the run.
        """
        told = {
            "period": period,
            "model version": version,
            "drifted features": ", ".join(map(safe_text, report.drifted_columns)) or "none",
            "verdict": report.reason,
            **{key: str(value) for key, value in (extra or {}).items()},
        }
        name = f"{case} {period}, model version {safe_text(version)}" + (f", revision {revision}" if revision > 1 else "")
        tags = ["drifted" if report.drifted else "no drift"]
        return self._add(
            case, self.run(case, period, version, revision=revision), _first_day(period, revision), (name, tags, told),
            snapshot if callable(snapshot) else lambda: snapshot,
            lambda known: pages_panels.of_drift(case, report, cohorts, known),
        )  # fmt: skip

    def record_quality(self, case: Case, period: str, version: str | int, figures: pd.DataFrame, sample: pd.DataFrame, *, revision: int = 1) -> Recorded:
        """Add how good a version was on a period's labels, dated as the period.

        figures: the published cohort report of all labelled rows, one row for each cohort and metric. sample: labelled rows to draw, of
        which at most `pages.ROWS` are. revision: of the labels, from 1.
        """
        from tasks.io.pages_quality import quality

        primary = case.metrics.primary
        shown = figures[figures["value"].notna()]
        overall = shown[shown["kind"] == "overall"]
        metrics = list(dict.fromkeys(str(name) for name in overall["metric"]))
        cohorts = [str(name) for name in shown[(shown["kind"] != "overall") & (shown["metric"] == primary)]["cohort"]]
        headline = next((f"{row.value:.4g}" for row in overall.itertuples() if row.metric == primary), "not known")
        told = {"period": period, "model version": str(version), primary: headline}
        name = f"{case.case} {period}, quality of model version {safe_text(str(version))}" + (f", revision {revision}" if revision > 1 else "")
        columns = {name: "numeric" for name in ("y_true", "y_pred", "y_score") if name in sample}
        return self._add(
            case.case, self.run(case.case, period, version, "quality", revision), _first_day(period, revision), (name, ["quality"], told),
            lambda: quality(figures, pages.sample(sample, columns), case.task, primary),  # type: ignore[arg-type]
            lambda known: pages_panels.of_quality(primary, metrics, cohorts, known),
        )  # fmt: skip

    def record_carbon(
        self,
        case: str,
        flow: str,
        when: dt.datetime | str,
        kg: float | None,
        kwh: float | None,
        rows: int | None = None,
        per_thousand: float | None = None,
        facts: Mapping[str, object] | None = None,
    ) -> Recorded:
        """Add what a run of a flow used, dated when it ended (UTC). None is not known. facts: shown beside it, such as method and region."""
        from tasks.io.pages_quality import carbon

        ended = dt.datetime.fromisoformat(when) if isinstance(when, str) else when
        at = ended.astimezone(dt.UTC).replace(tzinfo=None) if ended.tzinfo else ended
        figures = {"mg": kg, "mWh": kwh, "mg_per_1000": per_thousand}
        told = {"flow": flow, "ended": f"{at:%Y-%m-%d %H:%M} UTC"}
        return self._add(
            case, _run_of(case, f"carbon/{flow}/{at.isoformat()}"), at, (f"{case}, energy of {safe_text(flow)}", ["carbon"], told),
            lambda: carbon(flow, {name: None if value is None else value * 1e6 for name, value in figures.items()}, {"predictions": rows, **(facts or {})}),
            lambda known: pages_panels.of_carbon([flow], known),
        )  # fmt: skip

    def run(self, case: str, period: str, version: str | int, kind: str = "", revision: int = 1) -> str:
        """The id of a run, whether or not it is there."""
        return _run_of(case, "/".join([str(version), period, *([kind] if kind else []), *([f"r{revision}"] if revision > 1 else [])]))

    def has(self, case: str, run: str) -> bool:
        """Whether a run is there."""
        return (self.path / project_id(case) / "snapshots" / f"{run}.json").exists()

    def set_aside(self, case: str) -> Path | None:
        """Move the case's project out of Evidently's sight, whole, and say where it is now; None where there is none."""
        project = project_id(case)
        home, kept = self.path / project, self.path / "damaged"
        if not home.exists():
            return None
        with writable(self.path):
            kept.mkdir(exist_ok=True)
            place = next(place for number in count(1) if not (place := kept / f"{project}.damaged-{number}").exists())
            home.rename(place)
        return place

    def runs(self, case: str) -> list[str]:
        """Ids of the runs in a case's project."""
        return sorted(path.stem for path in (self.path / project_id(case) / "snapshots").glob("*.json"))

    def is_whole(self, case: str) -> bool:
        """Whether the case's project is there as this release makes it, every file read to its end, which `check` does not take the time for."""
        home = self.path / project_id(case)
        try:
            for path in (home / "metadata.json", home / "dashboard.json", home / "shown.json", *(home / "snapshots").glob("*.json")):
                files.read(path)
        except (IntegrityError, FileNotFoundError):
            return False
        return True

    def check(self, case: str | None = None) -> None:
        """Raise IntegrityError for the first damaged file of a case's project, or of all projects: one would hide its project."""
        projects = [self.path / project_id(case)] if case else sorted(path for path in self.path.glob("*-*-*-*-*") if path.is_dir())
        for home in projects:
            for path in (home / "metadata.json", home / "dashboard.json", home / "shown.json"):
                if path.exists():
                    files.read(path)
            for path in sorted((home / "snapshots").glob("*.json")):
                with path.open("rb") as file:
                    file.seek(0, os.SEEK_END)
                    file.seek(max(file.tell() - 1, 0))
                    if file.read(1) != b"}":
                        raise files.damaged(path)

    def _add(
        self,
        case: str,
        run: str,
        at: dt.datetime,
        told: tuple[str, list[str], Mapping[str, str]],
        snapshot: "Callable[[], Snapshot]",
        panels: "Callable[[pages_panels.Known], pages_panels.Panels]",
    ) -> Recorded:
        """Add a run, and the panels that show it. told: its name, tags and what is shown beside it, which is made safe."""
        from evidently.legacy.utils import NumpyEncoder

        project = project_id(case)
        home = self.path / project
        target = home / "snapshots" / f"{run}.json"
        with writable(self.path):
            self._project(case, home)
            with alone(home):  # of two processes that read the dashboard, the later would undo the earlier
                self._show(home, uuid.UUID(project), panels)
            self.check(case)
            if target.exists():
                return Recorded(project, run, created=False)
            model = snapshot().to_snapshot_model()
            # A naive date: the page reads it as local time, so a zone would show the month before to half the world.
            model.timestamp, (model.name, model.tags, facts) = at, told
            model.metadata = {safe_text(key): safe_text(text, longest=2000) for key, text in facts.items()}
            created = files.create(target, json.dumps(model.dict(), cls=NumpyEncoder))
        return Recorded(project, run, created)

    def _project(self, case: str, home: Path) -> None:
        """Make the case's project where there is none."""
        from evidently.legacy.utils import NumpyEncoder
        from evidently.sdk.models import ProjectModel

        metadata = home / "metadata.json"
        if not metadata.exists():
            (home / "snapshots").mkdir(parents=True, exist_ok=True)
            said = f"Each period against what the model of case {case} was accepted on, its quality once labels have come, and what it cost."
            files.create(metadata, json.dumps(ProjectModel(id=uuid.UUID(home.name), name=case, description=said).dict(), cls=NumpyEncoder, indent=2))

    def _show(self, home: Path, project: uuid.UUID, panels: "Callable[[pages_panels.Known], pages_panels.Panels]") -> None:
        """Bring our panels up to date where they are, add those that were never there, and leave the user's alone."""
        from evidently.legacy.utils import NumpyEncoder

        dashboard, memory = home / "dashboard.json", home / "shown.json"
        before = files.read(dashboard) if dashboard.exists() else {"tabs": [], "panels": []}
        shown: dict[str, Any] = files.read(memory) if memory.exists() else {"panels": [], "lines": {}}
        lines = {family: list(names) for family, names in shown["lines"].items()}

        def known(family: str, names: Sequence[str]) -> Sequence[str]:
            lines[family] = list(dict.fromkeys((*lines.get(family, ()), *names)))
            return lines[family]

        wanted = pages_panels.named(project, panels(known))
        ours = {tab: [json.loads(json.dumps(panel.dict(), cls=NumpyEncoder)) for panel in found] for tab, found in wanted.items()}
        try:
            after, offered = pages_panels.merged(project, before, ours, shown["panels"])
        except (KeyError, TypeError, AttributeError):
            raise files.damaged(dashboard) from None
        if after != before:
            files.replace(dashboard, json.dumps(after))
        if (offered, lines) != (shown["panels"], shown["lines"]):
            files.replace(memory, json.dumps({"panels": offered, "lines": lines}).replace("<", "\\u003c"))  # names of cohorts, should anybody open it as a page


def _run_of(case: str, name: str) -> str:
    return str(uuid.uuid5(uuid.UUID(project_id(case)), name))


def _first_day(period: str, revision: int) -> dt.datetime:
    year, month = map(int, period.split("-"))
    return dt.datetime(year, month, 1) + dt.timedelta(minutes=revision - 1)  # noqa: DTZ001

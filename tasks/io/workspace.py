"""The Evidently workspace: drift reports, and a dashboard over time with one project for each case.

tasks.core.drift measures and decides; Evidently draws, and shows these figures and this verdict. Three things it would get wrong
are dealt with here: column names and category values run as script in its pages (they are made safe first), a half-written file
takes the whole project off its list (files appear whole or not at all), and its cost grows with the rows it draws (a bounded
sample is drawn). tasks.io.pages is what the pages show; this module is what is kept.

Layout under the workspace's path, which is Evidently's own:  <project>/metadata.json  dashboard.json  snapshots/<run>.json
"""

import datetime as dt
import json
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from tasks.core.case import Drift
from tasks.core.drift import DriftReport
from tasks.core.errors import IntegrityError
from tasks.core.online import ALPHA
from tasks.io import pages
from tasks.io.processes import writable
from tasks.io.references import Reference

if TYPE_CHECKING:
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
    """Drift reports of all cases under one folder, in Evidently's own format."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def drift(self, reference: Reference, current: pd.DataFrame, *, settings: Drift, level: float = ALPHA) -> tuple[DriftReport, "Snapshot"]:
        """The verdict on a period's rows, and Evidently's report of it.

        The frame may hold further columns. A missing category is a category of its own; missing numbers are left out.
        Raises DataError before anything is measured when the frame does not hold the columns as they are declared.
        """
        report = reference.compare(current, settings, level)
        return report, self.draw(report, reference, current)

    def draw(self, report: DriftReport, reference: Reference, current: pd.DataFrame) -> "Snapshot":
        """Evidently's report of a verdict that was reached before."""
        return pages.report(pages.sample(current, reference.kinds), reference.drawn, report)

    def record(
        self,
        case: str,
        period: str,
        version: str,
        report: DriftReport,
        snapshot: "Snapshot",
        extra: Mapping[str, str | int | float] | None = None,
    ) -> Recorded:
        """Add a period to the case's project, dated the first day of its month.

        There is one run for each model version and period: a second call, at once or later, changes nothing. `extra` is
        shown beside the run. Raises IntegrityError for a damaged file, UnavailableError for a folder that cannot be written.
        """
        from evidently.legacy.utils import NumpyEncoder

        project = project_id(case)
        home = self.path / project
        target = home / "snapshots" / f"{uuid.uuid5(uuid.UUID(project), f'{version}/{period}')}.json"
        with writable(self.path):
            self._project(case, report)
            self.check(case)
            if target.exists():
                return Recorded(project, target.stem, created=False)
            model = snapshot.to_snapshot_model()
            year, month = map(int, period.split("-"))
            # A naive date: the page reads it as local time, so a zone would show the month before to half the world.
            model.timestamp = dt.datetime(year, month, 1)  # noqa: DTZ001
            model.name = f"{case} {period}, model version {pages.safe_text(version)}"
            model.tags = ["drifted" if report.drifted else "no drift"]
            model.metadata = {
                "period": period,
                "model version": pages.safe_text(version),
                "drifted features": ", ".join(map(pages.safe_text, report.drifted_columns)) or "none",
                "verdict": pages.safe_text(report.reason, longest=2000),
                **{pages.safe_text(key): pages.safe_text(str(value)) for key, value in (extra or {}).items()},
            }
            created = _create(target, json.dumps(model.dict(), cls=NumpyEncoder))
        return Recorded(project, target.stem, created)

    def runs(self, case: str) -> list[str]:
        """Ids of the runs in a case's project."""
        return sorted(path.stem for path in (self.path / project_id(case) / "snapshots").glob("*.json"))

    def check(self, case: str | None = None) -> None:
        """Raise IntegrityError for the first damaged file of a case's project, or of all projects: one would hide its project."""
        projects = [self.path / project_id(case)] if case else sorted(path for path in self.path.glob("*-*-*-*-*") if path.is_dir())
        for home in projects:
            for path in (home / "metadata.json", home / "dashboard.json"):
                if path.exists():
                    _read(path)
            for path in sorted((home / "snapshots").glob("*.json")):
                with path.open("rb") as file:
                    file.seek(0, os.SEEK_END)
                    file.seek(max(file.tell() - 1, 0))
                    if file.read(1) != b"}":
                        raise _damaged(path)

    def _project(self, case: str, report: DriftReport) -> None:
        """Make the case's project and dashboard; later, bring our panels up to date and leave the user's alone."""
        from evidently.legacy.utils import NumpyEncoder
        from evidently.sdk.models import ProjectModel

        project = project_id(case)
        metadata, dashboard = (self.path / project / name for name in ("metadata.json", "dashboard.json"))
        if not metadata.exists():
            (metadata.parent / "snapshots").mkdir(parents=True, exist_ok=True)
            model = ProjectModel(id=uuid.UUID(project), name=case, description=f"Drift of each period from what the model of case {case} was accepted on.")
            _create(metadata, json.dumps(model.dict(), cls=NumpyEncoder, indent=2))
        panels = [json.loads(json.dumps(panel.dict(), cls=NumpyEncoder)) for panel in pages.panels(uuid.UUID(project), case, report)]
        if dashboard.exists():
            before = _read(dashboard)
            try:
                after = _merged(before, panels)
            except (KeyError, TypeError, AttributeError):
                raise _damaged(dashboard) from None
            if after != before:
                _replace(dashboard, json.dumps(after))
        else:
            tab = {"id": str(uuid.uuid5(uuid.UUID(project), "tab")), "title": "Drift", "panels": [panel["id"] for panel in panels]}
            _replace(dashboard, json.dumps({"tabs": [tab], "panels": panels}))


def _merged(dashboard: dict[str, Any], ours: list[dict[str, Any]]) -> dict[str, Any]:
    """The dashboard with our panels as they are now, where they are, and with panels for columns that it does not show yet."""
    current = {panel["id"]: panel for panel in ours}
    panels = [current.get(panel["id"], panel) for panel in dashboard["panels"]]
    shown = _columns(panels)
    new = [panel for panel in ours if _columns([panel]) - shown]
    tabs = [dict(tab) for tab in dashboard["tabs"]]
    if new and tabs:
        tabs[0]["panels"] = [*tabs[0]["panels"], *(panel["id"] for panel in new)]
    return dashboard | {"tabs": tabs, "panels": [*panels, *new]}


def _columns(panels: list[dict[str, Any]]) -> set[str]:
    """The columns whose effect sizes some panels draw."""
    return {value["metric_labels"]["column"] for panel in panels for value in panel["values"] if "column" in value["metric_labels"]}


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise _damaged(path) from None
    if not isinstance(content, dict):
        raise _damaged(path)
    return content


def _damaged(path: Path) -> IntegrityError:
    return IntegrityError(
        "is not a whole JSON file, and Evidently hides a project that has one.",
        where=str(path),
        fix="Move the file away; it is a view of the stored predictions, and inference of the same period draws it again.",
    )


def _create(path: Path, text: str) -> bool:
    """Write a whole file under a name that must be new; False when it is there already. Of two writers, one wins.

    A hard link rather than a rename: it never replaces, and it raises the event by which a running Evidently UI notices.
    """
    temporary = _temporary(path, text)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    return True


def _replace(path: Path, text: str) -> None:
    """Write a whole file, in place of what is there."""
    _temporary(path, text).replace(path)


def _temporary(path: Path, text: str) -> Path:
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return temporary

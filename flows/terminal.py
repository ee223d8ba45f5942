"""What the command line shows: progress as it goes, tables, and the last lines that say what was made and what is next."""

import contextlib
import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tasks.io.home import Home, quiet_environment

CaseName = Annotated[str, typer.Argument(metavar="CASE", help="The case: configs/CASE.yaml.")]

VersionNumber = Annotated[int, typer.Argument(metavar="VERSION", min=1, help="The version's number, as `equipoise status` shows it.")]


def a_period(text: str | None) -> str | None:
    """An option's value when it is a month, YYYY-MM. Raises: typer.BadParameter, which exits 2."""
    if text is None:
        return None
    from tasks.core.case import PERIOD  # only here: the help is to be there at once

    if not PERIOD.fullmatch(text):
        raise typer.BadParameter(f"{text!r} is not a period: write YYYY-MM")
    return text


debug = False

# Text from data is escaped before it is printed: a category named "[red]" is not a colour.
_out = Console(highlight=False)
_err = Console(stderr=True, highlight=False)


def line(text: str) -> None:
    """One line of ordinary output."""
    _out.print(escape(text), soft_wrap=True)


def warn(text: str) -> None:
    """Something that needs a look."""
    _out.print(f"[bold yellow]![/] {escape(text)}", soft_wrap=True)


def fail(text: str) -> None:
    """What went wrong, to standard error."""
    _err.print(f"[bold red]error[/] {escape(text)}", soft_wrap=True)


@contextlib.contextmanager
def session(title: str | None, *, case: str | None = None, libraries: tuple[str, ...] | None = None) -> Iterator[Home]:
    """What a command that does work runs in: telemetry off, our progress shown, the libraries' chatter not.

    It comes before any heavy import, since the libraries read the environment when they are imported.
    case: a case whose files are read first, so that a mistake in them is said before anything slow begins.
    libraries: for a command that runs a flow, what to get ready beside Prefect.
    """
    home = Home.from_environment()
    quiet_environment(home)
    _use_running_server(home)
    if title:
        line(title)
    handler = _Progress()
    log = logging.getLogger("equipoise")
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(handler)
    for noisy in ("great_expectations", "alembic", "mlflow", "evidently", "codecarbon"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    try:
        if case is not None:
            from tasks.io.workbench import Workbench

            Workbench.open(case)
        with contextlib.nullcontext() if libraries is None else _direct_runs(home, libraries):
            yield home
    finally:
        log.removeHandler(handler)


class _Progress(logging.Handler):
    """Each message on a line, with the seconds since the command began."""

    def __init__(self) -> None:
        super().__init__()
        self.began = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        line(f"{time.monotonic() - self.began:6.1f} s  {record.getMessage()}")
        sys.stdout.flush()


@contextlib.contextmanager
def _direct_runs(home: Home, libraries: tuple[str, ...]) -> Iterator[None]:
    """Flows run in this process: their errors are shown once, by the command line, and not by Prefect's own console.

    They need no heartbeat: only automations of deployments read it, and its thread delays each flow's end by up to a second.
    """
    if not debug:
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    from tasks.io.warmup import warm_up

    line("   getting ready: " + ", ".join(["Prefect", *dict.fromkeys(library.split(".")[0] for library in libraries)]))
    warm_up(home, libraries)
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield


def _use_running_server(home: Home) -> None:
    """Talk to the Prefect server that `equipoise up` runs, when it runs."""
    from tasks.io.addresses import running_prefect

    if "PREFECT_API_URL" not in os.environ and (url := running_prefect(home)):
        os.environ["PREFECT_API_URL"] = url


def named(condition: str) -> tuple[str, str]:
    """NAME=CONDITION in two. Raises: CaseError when there is no name."""
    from tasks.core.errors import CaseError

    name, equals, rest = condition.partition("=")
    if not (equals and name.strip() and rest.strip()):
        raise CaseError(f"{condition!r} has no name.", where="--where", fix="Write NAME=CONDITION: --where \"Married=relationship IN ('Wife', 'Husband')\"")
    return name.strip(), rest.strip()


def closing(*, made: str, look: str, then: str) -> None:
    """The last lines of every command."""
    _out.print()
    for word, text in (("Made", made), ("Look", look), ("Next", then)):
        _out.print(f"[bold]{word}[/]  {escape(text)}", soft_wrap=True)


def table(title: str, *columns: str) -> Table:
    """An empty table; its first column is on the left, figures on the right."""
    made = Table(title=title, title_justify="left", title_style="bold")
    for number, column in enumerate(columns):
        made.add_column(escape(column), overflow="fold", justify="left" if number == 0 else "right")
    return made


def add(made: Table, *cells: object) -> None:
    """One row, every cell escaped."""
    made.add_row(*(escape(str(cell)) for cell in cells))


def show(what: Any) -> None:
    """Print a table, or whatever rich can."""
    _out.print(what)


def months(found: Sequence[Mapping[str, Any]]) -> None:
    """Scored periods and their drift."""
    if not found:
        return
    shown = table("Months", "period", "rows", "verdict", "share", "drifted features", "prediction")
    for month in found:
        prediction = month["prediction"]
        answer = "–" if prediction is None else f"{'drifted' if prediction['drifted'] else 'ok'} {prediction.get('effect', prediction.get('score')):.2f}"
        add(
            shown,
            month["period"],
            f"{month['rows']:,}",
            "DRIFTED" if month["drifted"] else "ok" if month["rows"] else "no rows",
            f"{month['share']:.2f}" if month["rows"] else "–",
            ", ".join(month["drifted_columns"]) or "–",
            answer,
        )
    show(shown)


def candidates(result: Mapping[str, Any]) -> None:
    """Candidates and their overall metrics on test."""
    names = list(result["candidates"][0]["metrics"])
    shown = table("Candidates, on test", "candidate", *names)
    for one in result["candidates"]:
        name = f"{one['name']} (chosen)" if one["name"] == result["chosen"] else one["name"]
        add(shown, name, *(f"{one['metrics'][metric]:.3f}" if metric in one["metrics"] else "–" for metric in names))
    show(shown)


def cohorts(rows: Sequence[Mapping[str, Any]], title: str) -> None:
    """One metric on every cohort."""
    shown = table(title, "cohort", "value", "95 % interval", "n", "verdict")
    for row in rows:
        interval = "–" if row["low"] is None or row["high"] is None else f"{row['low']:.3f} to {row['high']:.3f}"
        add(
            shown, row["cohort"], "–" if row["value"] is None else f"{row['value']:.3f}", interval, "–" if row["n"] is None else f"{row['n']:,}", row["verdict"]
        )
    show(shown)


def sweep(rows: Sequence[Mapping[str, Any]], chosen: str) -> None:
    """What a sweep found on validation, the front first."""
    if not rows:
        return
    title = "Sweep, on validation; * on the front: no other is better in everything"
    shown = table(title, "candidate", "performance", "worst cohort", "gap", "BTC", "kg CO2e", "")
    for row in rows:
        name = f"{'* ' if row['front'] else '  '}{row['candidate']}" + (" (chosen)" if row["candidate"] == chosen else "")
        figures = ("–" if row[key] is None else f"{row[key]:.3g}" for key in ("performance", "worst_cohort", "gap", "btc", "kg_co2e"))
        add(shown, name, *figures, "" if row["outcome"] == "finished" else f"{row['outcome']}: {row['reason']}")
    show(shown)


ARROWS = {"better": "▲ better", "worse": "▼ worse", "changed": "◆ changed", "no evidence": "no evidence"}


def changes(rows: Sequence[Mapping[str, Any]], baseline: str, model: str = "this") -> None:
    """Deltas to a baseline on every cohort, in words as well as signs, then how much of what was right stays right."""

    def signed(value: float | None, sign: str = "+") -> str:
        return "–" if value is None else f"{value:{sign}.3f}"

    for metric in dict.fromkeys(row["metric"] for row in rows):
        shown = table(f"{metric}: {model}, compared with {baseline}", "cohort", "value", "delta", "95 % interval", "verdict")
        for row in (row for row in rows if row["metric"] == metric):
            interval = "–" if row["low"] is None else f"{signed(row['low'])} to {signed(row['high'])}"
            add(shown, row["cohort"], signed(row["value"], ""), signed(row["delta"]), interval, ARROWS[row["verdict"]])
        show(shown)
    shares = {row["cohort"]: (row["btc"], row["bec"]) for row in rows if not row["btc"] is row["bec"] is None}
    if shares:
        shown = table("Of what was right, the share still right (BTC); of what was wrong, still wrong (BEC)", "cohort", "BTC", "BEC")
        for cohort, (btc, bec) in shares.items():
            add(shown, cohort, signed(btc, ""), signed(bec, ""))
        show(shown)


def slices(found: Sequence[Mapping[str, Any]]) -> None:
    """Error slices; each condition can be pasted into a case's `cohorts.where`."""
    if not found:
        return
    shown = table("Error slices: conditions that can be pasted into cohorts.where", "condition", "n", "errors", "95 % interval of the effect", "confirmed")
    for one in found:
        add(shown, one["condition"], f"{one['n']:,}", f"{one['value']:.3f}", f"{one['low']:.3f} to {one['high']:.3f}", "yes" if one["confirmed"] else "no")
    show(shown)


def findings(found: Sequence[Any]) -> None:
    """Findings of the catalogue check, those that block first."""
    for finding in sorted(found, key=lambda finding: finding.severity != "block"):
        _out.print(
            f"[bold red]BLOCKS[/]  {escape(str(finding))}" if finding.severity == "block" else f"[yellow]warns[/]   {escape(str(finding))}", soft_wrap=True
        )


def status(case: str, rows: Sequence[tuple[str, str]]) -> None:
    """What there is of a case."""
    shown = table(f"Status of {case}", "what", "state")
    shown.columns[1].justify = "left"
    for row in rows:
        add(shown, *row)
    show(shown)


def story(summary: Mapping[str, Any]) -> None:
    """The end of the demo: candidates, months, and what it cost."""
    candidates(summary)
    chosen = next(one for one in summary["candidates"] if one["name"] == summary["chosen"])
    cohorts([row for row in chosen["cohorts"] if row["metric"] == summary["primary"]], f"{summary['primary']} of {chosen['name']} on every cohort, on test")
    months(summary["months"])
    kilograms = summary["emissions_kg"]
    line(f"Emissions: {'not known' if kilograms is None else f'{kilograms * 1000:.3g} g of CO2-equivalent (see MLflow for how it was measured)'}")
    for missing in summary["missing"]:
        warn(f"Not promoted: {missing}")

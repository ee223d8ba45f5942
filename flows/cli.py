"""The command line. Each command ends by saying what it made, where to look and what to run next."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from flows import cli_attribute, cli_documents, cli_evaluation, cli_governance, cli_monitor, cli_operations, cli_proof, cli_register, terminal
from tasks.core.errors import EquipoiseError
from tasks.io import warmup

app = typer.Typer(
    name="equipoise",
    help="A model reaches production only on evidence, per cohort, and a person's word.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

PeriodOption = Annotated[
    str | None, typer.Option(metavar="YYYY-MM", callback=terminal.a_period, help="One period; all there are, or all that are due, unless given.")
]


@app.callback()
def _options(debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False) -> None:
    terminal.debug = debug


@app.command()
def demo(
    case: Annotated[str, typer.Option(metavar="CASE", help="boston, adult, flights, or a case of your own.")] = "boston",
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also write the summary as JSON.")] = None,
) -> None:
    """Run a case's whole story: snapshot, check, train, review (simulated), promote, score every month."""
    with terminal.session(f"The story of {case}", case=case, libraries=warmup.SCORING) as home:
        from flows.lifecycle import lifecycle
        from tasks.io.files import write_json

        summary = lifecycle(case)
        path = json_file or home.reports / f"{case}-demo.json"
        write_json(path, summary)
    terminal.story(summary)
    terminal.closing(
        made=f"{case} version {summary['model']['version']}, {len(summary['months'])} scored months; summary in {path}",
        look="make serve  (Prefect, MLflow and Evidently, on this machine only)",
        then=f"equipoise status {case}",
    )
    if summary["missing"]:
        raise typer.Exit(2)


@app.command()
def snapshot(
    case: terminal.CaseName,
    period: PeriodOption = None,
    revise: Annotated[bool, typer.Option("--revise", help="Where the source now says something else of a period, take a further revision of it.")] = False,
) -> None:
    """Take immutable snapshots of a case's periods."""
    with terminal.session(f"Snapshots of {case}", case=case, libraries=("codecarbon",)) as home:
        from flows.snapshot import snapshot as flow

        result = flow(case, period, revise)
    terminal.closing(
        made=f"{result['new']} new snapshots; {len(result['periods'])} in all, {result['periods'][0]} to {result['periods'][-1]}",
        look=str(home.store),
        then=f"equipoise check {case}",
    )


@app.command()
def check(case: terminal.CaseName, period: PeriodOption = None) -> None:
    """Hold a case against its catalogue entry and its snapshots; exits 2 when a finding blocks."""
    with terminal.session(f"Catalogue check of {case}"):
        from tasks.checks import check_case
        from tasks.io.workbench import Workbench

        bench = Workbench.open(case)
        findings, checked = check_case(bench, period)
    terminal.findings(findings)
    blocking = sum(finding.severity == "block" for finding in findings)
    terminal.closing(
        made=f"{len(findings)} findings, {blocking} blocking; checked {checked}",
        look=f"{bench.dataset.file} and configs/{case}.yaml",
        then=f"equipoise train {case}" if not blocking else "mend what blocks, then check again",
    )
    if blocking:
        raise typer.Exit(2)


@app.command()
def train(
    case: terminal.CaseName,
    period: PeriodOption = None,
    sweep: Annotated[bool, typer.Option("--sweep", help="Also try what the case's `sweep` lists, within its budget.")] = False,
) -> None:
    """Fit every candidate of a case, evaluate each on every cohort, and register the one chosen on validation."""
    with terminal.session(f"Training {case}", case=case, libraries=warmup.TRAINING):
        from flows.train import train as flow

        result = flow(case, period, sweep)
    version = result["model"]["version"]
    terminal.sweep(result["sweep"], result["chosen"])
    terminal.candidates(result)
    terminal.closing(
        made=f"{case} version {version}: {result['chosen']}, {result['reason']}",
        look="make serve, then the model's page in MLflow",
        then=f"equipoise review {case} {version}",
    )


@app.command()
def infer(
    case: terminal.CaseName,
    period: PeriodOption = None,
    first: Annotated[str | None, typer.Option("--from", metavar="YYYY-MM", callback=terminal.a_period, help="The first period of a range.")] = None,
    last: Annotated[str | None, typer.Option("--to", metavar="YYYY-MM", callback=terminal.a_period, help="The last period of a range.")] = None,
) -> None:
    """Score a period, a range, or all that are due, with what is in production, and measure drift."""
    with terminal.session(f"Inference of {case}", case=case, libraries=warmup.SCORING):
        from flows.infer import infer as flow

        result = flow(case, period, first, last)
    terminal.months(result["months"])
    if result["notice"]:
        terminal.warn(result["notice"])
    terminal.closing(
        made=f"{len(result['months'])} periods scored with version {result['model']['version']}" if result["months"] else "nothing: no period is due",
        look="make serve, then the case's project in Evidently",
        then=f"equipoise status {case}",
    )


app.add_typer(cli_governance.keys, name="keys")
for command in (
    cli_monitor.monitor,
    cli_operations.respond,
    cli_operations.resume,
    cli_governance.gate,
    cli_governance.review,
    cli_governance.promote,
    cli_governance.rollback,
    cli_governance.retire,
    cli_governance.ledger,
    cli_governance.prune,
    cli_proof.verify,
    cli_proof.bundle,
    cli_documents.documents,
    cli_register.register,
    cli_evaluation.evaluate,
    cli_evaluation.compare,
    cli_evaluation.guide,
    cli_attribute.attribute,
):
    app.command()(command)


@app.command()
def status(case: terminal.CaseName) -> None:
    """Snapshots, versions, production, last inference and drift, in one table."""
    with terminal.session(None):
        from tasks.io.status import status_of
        from tasks.io.workbench import Workbench

        found = status_of(Workbench.open(case))
    terminal.status(case, found.rows)
    terminal.closing(made="nothing: this only looks", look="make serve", then=found.advice)


@app.command()
def up() -> None:
    """Start Prefect, MLflow and Evidently on loopback with the deployments of prefect.yaml; Ctrl-C stops them all."""
    with terminal.session("Servers") as home:
        from tasks.io.addresses import forget, note
        from tasks.io.servers import Services, serve

        def ready(services: Services) -> None:
            note(home, services.addresses)
            for name, address in services.addresses.items():
                terminal.line(f"{name:<10} {address}")
            settings = " ".join(f"{name}={value}" for name, value in services.environment.items() if name == "PREFECT_API_URL")
            terminal.closing(
                made="three servers and a worker with the deployments of prefect.yaml, on this machine only",
                look=", ".join(services.addresses.values()),
                then=f"in another terminal: {settings} prefect deployment run 'infer/boston'   (Ctrl-C here stops everything)",
            )

        try:
            serve(home, progress=terminal.line, ready=ready)
        finally:
            forget(home)


def main() -> Any:
    """Run the command line: 2 is the user's mistake, 1 is a fault of ours; tracebacks only with --debug."""
    try:
        return app()
    except EquipoiseError as error:
        if terminal.debug:
            raise
        terminal.fail(str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        terminal.fail("Stopped.")
        sys.exit(130)
    except Exception as error:  # the last stop before the user: say it is our fault, not theirs
        if terminal.debug:
            raise
        terminal.fail(f"This is a fault in Equipoise: {type(error).__name__}: {error}\nRun it again with --debug for the traceback: equipoise --debug ...")
        sys.exit(1)


if __name__ == "__main__":
    main()

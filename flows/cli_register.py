"""The command that registers a model trained elsewhere."""

from pathlib import Path
from typing import Annotated

import typer

from flows import terminal
from tasks.io import warmup


def register(
    case: terminal.CaseName,
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A .skops file of a scikit-learn estimator or Pipeline, or an .onnx file.")],
    code: Annotated[Path | None, typer.Option(metavar="FILE", help="The notebook or program that made it, kept with the version.")] = None,
    period: Annotated[str | None, typer.Option(metavar="YYYY-MM", help="The last period of the window it is tested on; the first window unless given.")] = None,
) -> None:
    """Evaluate a model trained anywhere on the case's test rows and cohorts, and register it like any candidate."""
    with terminal.session(f"Registering {model.name} for {case}", case=case, libraries=warmup.TRAINING):
        from flows.register import register as flow

        result = flow(case, str(model), None if code is None else str(code), period)
    version = result["model"]["version"]
    terminal.candidates(result)
    terminal.closing(
        made=f"{case} version {version}: {result['chosen']}, {result['reason']}",
        look="make serve, then the model's page in MLflow",
        then=f"equipoise review {case} {version}",
    )

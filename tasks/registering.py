"""Step: read a model that was trained elsewhere, with the file that made it, and let it predict."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from tasks.core.candidate_spec import CandidateSpec
from tasks.core.case import Case
from tasks.core.digests import digest_bytes
from tasks.core.errors import CaseError, DataError, EquipoiseError
from tasks.core.metrics import get_metric
from tasks.core.predictions import predictions_table
from tasks.core.strict import NAME
from tasks.io.foreign import Foreign, foreign
from tasks.io.workbench import Workbench
from tasks.step import say, step

MOST_MODEL, MOST_CODE = 2_000_000_000, 20_000_000
"""Bytes of a model's file and of a file of code."""


@dataclass(frozen=True)
class Given:
    """A model of a file, the candidate it stands as, and the file of code it came from, by name (none or one)."""

    model: Foreign
    spec: CandidateSpec
    code: dict[str, bytes]

    @property
    def identity(self) -> dict[str, str]:
        """What makes two such models the same: the digests of the files."""
        return {"model": str(self.spec.estimator.params["digest"]), **{f"code/{name}": digest_bytes(data) for name, data in self.code.items()}}


@step("read the model")
def read_model(bench: Workbench, model: str, code: str | None) -> Given:
    """The model of a .skops or .onnx file, checked against the case, and the file of code.

    Raises: DataError for a file that is not there, too large or no model of this case; IntegrityError for types that are not loaded.
    """
    case, path = bench.case, Path(model)
    format_ = path.suffix.lstrip(".").lower()
    if format_ not in ("skops", "onnx"):
        raise CaseError(f"ends in {path.suffix or 'nothing'}.", where=model, fix="Give a .skops or an .onnx file; a pickle can run anything and is not read.")
    data = _read(path, MOST_MODEL)
    target = None if case.target.above is not None else case.target.positive
    try:
        found = foreign(data, format_, task=case.task, target=target, features=case.features, kinds=bench.kinds)  # type: ignore[arg-type]  # one of the two
    except EquipoiseError as error:
        raise type(error)(error.message, where=model, fix=error.fix) from error
    name, taken = re.sub(r"[^a-z0-9]+", "-", path.stem.lower()).strip("-")[:50], {spec.name for spec in case.candidates}
    if not NAME.fullmatch(name) or name in taken:
        name = f"given-{name}".strip("-")
    spec = CandidateSpec.model_validate({"name": name, "estimator": {"kind": "given", "params": {"file": path.name, "digest": digest_bytes(data)}}})
    say(f"{path.name}: a model of {', '.join(found.inputs)}")
    return Given(found, spec, {Path(code).name: _read(Path(code), MOST_CODE)} if code else {})


@step("let the model predict", task_run_name="ask {what}")
def ask_model(case: Case, given: Given, frame: pd.DataFrame, target: "pd.Series[Any]", what: str) -> pd.DataFrame:  # noqa: ARG001  # names the task run
    """Its predictions table of the rows. Raises: DataError for a model without probabilities where the case's metrics need them."""
    table = predictions_table(given.model, frame, target)
    needing = [name for name in case.metric_names if "y_score" in get_metric(name, case.task).needs]
    if needing and "y_score" not in table:
        fix = "Give it probabilities (CalibratedClassifierCV does), or measure something else."
        raise DataError(f"gives no probabilities, and {', '.join(needing)} of the case need them.", where=given.spec.name, fix=fix)
    return table


def _read(path: Path, most: int) -> bytes:
    try:
        size = path.stat().st_size
        if size > most:
            raise DataError(f"is {size:,} bytes; at most {most:,} are read.", where=str(path), fix="Give a smaller file.")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}.", where=str(path), fix="Check the path.") from error

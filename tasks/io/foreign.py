"""Models that were trained elsewhere: a .skops or .onnx file, asked for predictions as a candidate is.

The file's own bytes are kept inside what is registered, so that scoring and `equipoise verify` load what was evaluated. A .skops file
is opened through the list of types in `tasks.io.models`, never unpickled. An .onnx file is run by onnxruntime on one thread, so
that the same rows give the same bits.

    task        .skops                                .onnx
    binary      classes 0 and 1, or the target's      a label (integers or text), probabilities, or one score in [0, 1]
                own two values
    regression  predict                               one number a row

Classes 0 and 1 are the case's: 1 is the positive class.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.core.errors import DataError, EquipoiseError, IntegrityError, UnavailableError

Format = Literal["skops", "onnx"]
NAMES = "feature_names"
"""ONNX metadata that names the columns of a model with one matrix for input: a JSON list."""

_TYPES: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
}


@dataclass(frozen=True, eq=False)
class Foreign:
    """A file's model with the interface of a candidate. `positive` is the class that the case counts as 1; None for regression."""

    file: NDArray[np.uint8]
    format: Format
    task: str
    kinds: Mapping[str, Any]
    positive: Any

    def __getstate__(self) -> dict[str, Any]:
        """What is stored: the fields, not the model opened from them."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def inputs(self) -> dict[str, Any]:
        """Each column it reads and its kind."""
        return dict(self.kinds)

    @property
    def features(self) -> tuple[str, ...]:
        """The columns it reads, in order."""
        return tuple(self.kinds)

    def predict(self, frame: pd.DataFrame) -> NDArray[Any]:
        """0 or 1 (int64) for a binary task, float64 for regression; shape (n_rows,). Raises: DataError for rows it does not take."""
        return self._asked(frame)[0]

    def predict_score(self, frame: pd.DataFrame) -> NDArray[np.float64] | None:
        """The probability of the positive class, shape (n_rows,); None for regression, and where the model gives none."""
        return self._asked(frame)[1]

    def unseen(self, frame: pd.DataFrame) -> dict[str, int]:  # noqa: ARG002  # as a candidate
        """Nothing: what such a model does with categories it has not seen is its own affair."""
        return {}

    @cached_property
    def _model(self) -> "Skops | Onnx":
        return opened(self.file.tobytes(), self.format)

    def _asked(self, frame: pd.DataFrame) -> tuple[NDArray[Any], NDArray[np.float64] | None]:
        if missing := [name for name in self.kinds if name not in frame.columns]:
            raise DataError(f"The model reads {', '.join(f'`{name}`' for name in missing)}, which the rows do not have.", fix="Mend the source.")
        try:
            answers, score = self._model.answers(frame, self.task, self.positive)
        except EquipoiseError:
            raise
        except Exception as error:  # each library raises errors of its own
            said = (str(error) or type(error).__name__).splitlines()[0]
            raise DataError(
                f"The model does not take these rows: {said}.", fix="Give it the steps that clean its rows, such as a Pipeline with an imputer."
            ) from error
        if len(answers) != len(frame):
            raise DataError(f"The model gives {len(answers)} answers for {len(frame)} rows.", fix="Export it with one answer a row.")
        return answers, score


class Skops:
    """A scikit-learn estimator or Pipeline from a .skops file."""

    def __init__(self, data: bytes) -> None:
        from sklearn.base import BaseEstimator

        from tasks.io.models import read_skops

        model = read_skops(data)
        if not (isinstance(model, BaseEstimator) and hasattr(model, "predict")):
            raise DataError(f"holds a {type(model).__name__}, not an estimator.", fix="Save a scikit-learn estimator or Pipeline.")
        names = getattr(model, "feature_names_in_", None)
        if names is None:
            raise DataError("holds a model that does not say which columns it reads.", fix="Fit it on a DataFrame, and save it again.")
        self.model, self.columns = model, [str(name) for name in names]

    def positive(self, task: str, target: Any) -> Any:
        """The class that the case counts as 1. Raises: DataError for a model of another task, or of other classes."""
        from sklearn.base import is_classifier, is_regressor

        if not (is_classifier if task == "binary" else is_regressor)(self.model):
            raise DataError(f"holds a {type(self.model).__name__}, and the case's task is {task}.", fix="Train a model of that task.")
        if task != "binary":
            return None
        classes = [one.item() if hasattr(one, "item") else one for one in self.model.classes_]
        if len(classes) == 2 and set(classes) <= {0, 1}:
            return classes[classes.index(1)]
        if len(classes) == 2 and target in classes:
            return target
        raise DataError(f"tells the classes {', '.join(map(repr, classes))}, not 0 and 1 or the target's own.", fix="Train it on the case's target.")

    def answers(self, frame: pd.DataFrame, task: str, positive: Any) -> tuple[NDArray[Any], NDArray[np.float64] | None]:
        """Answers and scores of the rows."""
        rows = frame[self.columns]
        if task != "binary":
            return np.asarray(self.model.predict(rows), dtype=np.float64).ravel(), None
        answers = (np.asarray(self.model.predict(rows)) == positive).astype(np.int64)
        if not hasattr(self.model, "predict_proba"):
            return answers, None
        place = list(self.model.classes_).index(positive)
        return answers, np.asarray(self.model.predict_proba(rows), dtype=np.float64)[:, place]


class Onnx:
    """A model from an .onnx file: an input for each column, or one matrix whose columns its metadata names."""

    def __init__(self, data: bytes) -> None:
        try:
            import onnxruntime
        except ModuleNotFoundError:
            raise UnavailableError("An .onnx file needs onnxruntime.", fix="Install it: pip install 'equipoise[onnx]'") from None
        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # sums over threads end in other bits
        options.log_severity_level = 3
        try:
            self.session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
            named = self.session.get_modelmeta().custom_metadata_map.get(NAMES)
            self.matrix = named is not None
            self.columns = [str(name) for name in json.loads(named)] if named else [one.name for one in self.session.get_inputs()]
        except Exception as error:  # any fault of the parser is a fault of the bytes
            raise IntegrityError(f"cannot be read as ONNX ({str(error).splitlines()[0]}).", fix="Export the model again.") from error
        inputs = self.session.get_inputs()
        for one in inputs:
            if one.type not in _TYPES:
                raise DataError(f"has the input `{one.name}` of type {one.type}.", fix=f"Inputs are one of: {', '.join(_TYPES)}.")
            if not self.matrix and len(one.shape) > 1 and one.shape[-1] != 1:
                raise DataError(
                    f"has the input `{one.name}` of shape {one.shape}, and does not name its columns.",
                    fix=f"Export an input for each column, or name them: onnx.helper.set_model_props(model, {{'{NAMES}': '[\"A\", \"B\"]'}})",
                )
        if self.matrix and len(inputs) != 1:
            raise DataError(f"names `{NAMES}` and has {len(inputs)} inputs.", fix="Leave the names out, or export one matrix.")

    def positive(self, task: str, target: Any) -> Any:
        """The class that the case counts as 1. Raises: DataError for a model without an output that the task needs."""
        kinds = [one.type for one in self.session.get_outputs()]
        numbers = any(kind in ("tensor(float)", "tensor(double)") for kind in kinds)
        if task != "binary":
            if not numbers:
                raise DataError(f"has the outputs {', '.join(kinds)}, and none is a number.", fix="Export a regression model.")
            return None
        if any("string" in kind for kind in kinds):
            if not isinstance(target, str):
                raise DataError("answers in text, and the case's target is not text.", fix="Export a model of 0 and 1.")
            return target
        if numbers or any(kind in ("tensor(int64)", "tensor(bool)") or kind.startswith("seq(map(") for kind in kinds):
            return 1
        raise DataError(f"has the outputs {', '.join(kinds)}, none of them a label or a probability.", fix="Export a classifier.")

    def answers(self, frame: pd.DataFrame, task: str, positive: Any) -> tuple[NDArray[Any], NDArray[np.float64] | None]:
        """Answers and scores of the rows."""
        outputs = list(zip(self.session.get_outputs(), self.session.run(None, self._feeds(frame)), strict=True))
        floats = [np.asarray(value) for kind, value in outputs if kind.type in ("tensor(float)", "tensor(double)")]
        if task != "binary":
            return floats[0].astype(np.float64).reshape(len(frame), -1)[:, 0], None
        labels = [np.asarray(value).ravel() for kind, value in outputs if kind.type in ("tensor(int64)", "tensor(string)", "tensor(bool)")]
        score = self._score([value for kind, value in outputs if kind.type.startswith("seq(map(")], floats, positive, len(frame))
        if labels:
            return (labels[0] == positive).astype(np.int64), score
        if score is None:
            raise DataError("The model gives neither a label nor a probability.", fix="Export a classifier.")
        return (score > 0.5).astype(np.int64), score

    def _score(self, maps: Sequence[Any], floats: Sequence[NDArray[Any]], positive: Any, rows: int) -> NDArray[np.float64] | None:
        """The probability of the positive class: from a map by class, or from a matrix of one column or of the classes 0 and 1."""
        if maps:
            return np.array([row[positive] for row in maps[0]], dtype=np.float64)
        if not floats:
            return None
        table = floats[0].astype(np.float64).reshape(rows, -1)
        if table.shape[1] == 1:
            return table[:, 0]
        if table.shape[1] == 2 and positive == 1:
            return table[:, 1]
        raise DataError(f"The model gives {table.shape[1]} probabilities a row without naming their classes.", fix="Export them as a map (ZipMap), or 0 and 1.")

    def _feeds(self, frame: pd.DataFrame) -> dict[str, NDArray[Any]]:
        inputs = self.session.get_inputs()
        if self.matrix:
            return {inputs[0].name: frame[self.columns].to_numpy(dtype=_TYPES[inputs[0].type], na_value=np.nan)}
        return {one.name: _column(frame[one.name], _TYPES[one.type]).reshape((-1, 1) if len(one.shape) > 1 else (-1,)) for one in inputs}


def _column(values: "pd.Series[Any]", kind: Any) -> NDArray[Any]:
    """A column as the model takes it. Missing text is the empty string, a missing number NaN."""
    if kind is np.object_:
        return np.array(["" if pd.isna(value) else str(value) for value in values], dtype=object)
    return values.to_numpy(dtype=kind, na_value=np.nan) if values.isna().any() else values.to_numpy(dtype=kind)


def opened(data: bytes, format_: Format) -> Skops | Onnx:
    """The model in a file's bytes. Raises: IntegrityError, DataError for what is no such model; UnavailableError without onnxruntime."""
    return Skops(data) if format_ == "skops" else Onnx(data)


def foreign(data: bytes, format_: Format, *, task: str, target: Any, features: Sequence[str], kinds: Mapping[str, Any]) -> Foreign:
    """The model of a file for a case. target: the value of the target that counts as 1; None where the target is a number.

    Raises: DataError for a model of another task or classes, or that reads a column which is not among the case's features.
    """
    model = opened(data, format_)
    if strangers := [name for name in model.columns if name not in features]:
        named = ", ".join(f"`{name}`" for name in strangers)
        raise DataError(f"reads {named}, not among the case's features.", fix=f"Train it on the features of the case only: {', '.join(features)}.")
    positive = model.positive(task, target)
    return Foreign(np.frombuffer(data, dtype=np.uint8), format_, task, {name: kinds[name] for name in model.columns}, positive)

"""The predictions table: any table of predictions, seen as Arrow columns with what an evaluation checks about them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
from numpy.typing import NDArray

from tasks.core.cohorts import numeric
from tasks.core.errors import DataError, nearest

Floats = NDArray[np.float64]


class Source:
    """One table in memory, from pandas, polars, Arrow or a path. Columns become Arrow arrays when asked for."""

    def __init__(self, table: Any, name: str = "predictions") -> None:
        if isinstance(table, (str, Path)):
            name, table = str(table), open_dataset(table).to_table()
        elif isinstance(table, pl.LazyFrame):
            table = table.collect()
        elif isinstance(table, pa.RecordBatch):
            table = pa.Table.from_batches([table])
        elif not isinstance(table, (pd.DataFrame, pl.DataFrame, pa.Table)):
            raise DataError(f"{type(table).__name__} is not a predictions table.", fix="Give a pandas or polars DataFrame, an Arrow table, or a path.")
        self.table, self.name = table, name
        self.names = [str(column) for column in (table.column_names if isinstance(table, pa.Table) else table.columns)]
        self.rows = table.num_rows if isinstance(table, pa.Table) else len(table)
        if len(set(self.names)) < len(self.names):
            twice = next(column for column in self.names if self.names.count(column) > 1)
            raise DataError(f"has two columns named `{twice}`.", where=name, fix="Rename one of them.")
        if self.rows == 0:
            raise DataError("has no rows.", where=name, fix="Evaluate a table with at least one prediction.")

    def require(self, columns: Sequence[str]) -> None:
        """A DataError for the first of these columns that is not there."""
        for column in columns:
            if column not in self.names:
                raise DataError(f"has no column `{column}`.", where=self.name, fix=nearest(column, self.names))

    def column(self, name: str) -> pa.Array:
        """A column as one Arrow array."""
        self.require([name])
        if isinstance(self.table, pa.Table):
            array = self.table.column(name)
        elif isinstance(self.table, pl.DataFrame):
            array = self.table.get_column(name).to_arrow()
        else:
            array = _from_pandas(self.table.iloc[:, self.names.index(name)])
        if isinstance(array, pa.ChunkedArray):
            if pa.types.is_dictionary(array.type):
                array = array.unify_dictionaries()
            array = array.combine_chunks()
            if isinstance(array, pa.ChunkedArray):  # older Arrow keeps one chunk in its wrapper
                array = array.chunk(0)
        return array

    def overlaid(self, columns: dict[str, pa.Array]) -> "Source":
        """The same rows with these columns instead of, or beside, its own."""
        kept = {name: self.column(name) for name in self.names if name not in columns}
        return Source(pa.table(kept | columns), self.name)

    def polars(self, columns: Sequence[str]) -> pl.DataFrame:
        """These columns as a polars frame."""
        self.require(columns)
        if isinstance(self.table, pl.DataFrame):
            return pl.DataFrame([self.table.get_column(name) for name in columns])  # `select` takes `*` and `^a$` for patterns
        return pl.DataFrame({column: pl.from_arrow(self.column(column)) for column in columns})


def _from_pandas(series: pd.Series) -> pa.Array:
    try:
        return pa.array(series, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):  # values of several types in one column
        return pa.array([None if value is None or value is pd.NA or value != value else str(value) for value in series], type=pa.large_string())


def open_dataset(path: str | Path, dictionaries: Sequence[str] = ()) -> ds.Dataset:
    """A Parquet, CSV or Arrow file, or a folder of parts, as a dataset that can be read in batches; text columns named in
    `dictionaries` stay encoded as Parquet has them.
    """
    place = Path(path)
    if not place.exists():
        raise DataError("is not there.", where=str(path), fix="Check the path.")
    sample = next((part for part in sorted(place.rglob("*")) if part.is_file() and not part.name.startswith((".", "_"))), None) if place.is_dir() else place
    if sample is None:
        raise DataError("is an empty folder.", where=str(path), fix="Give a folder of Parquet parts.")
    if sample.stat().st_size == 0:
        raise DataError("is an empty file.", where=str(sample), fix="Write the predictions again.")
    kinds: dict[str, Any] = {".parquet": "parquet", ".arrow": "ipc", ".feather": "ipc", ".ipc": "ipc", ".csv": _csv()}
    if sample.suffix.lower() not in kinds:
        raise DataError(f"has an unknown ending `{sample.suffix}`.", where=str(sample), fix="Give .parquet, .csv or .arrow.")
    kind = kinds[sample.suffix.lower()]
    try:
        return ds.dataset(str(place), format=ds.ParquetFileFormat(dictionary_columns=set(dictionaries)) if kind == "parquet" else kind)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"cannot be read: {str(error).splitlines()[0]}.", where=str(path), fix="Write the file again.") from error


def _csv() -> Any:
    import pyarrow.csv as csv

    return ds.CsvFileFormat(convert_options=csv.ConvertOptions(strings_can_be_null=True, null_values=["", "NA", "NaN", "nan", "null"]))


def classes_01(array: pa.Array, column: str, where: str) -> NDArray[np.uint8]:
    """Labels of a binary task as 0 and 1 (n,)."""
    kind = array.type
    if not (pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_floating(kind)):
        values = (array.dictionary if pa.types.is_dictionary(kind) else array.unique()).to_pylist()[:4]
        raise DataError(
            f"`{column}` holds {', '.join(map(repr, values))}, not 0 and 1.", where=where, fix="Write 1 for the positive class and 0 for the other."
        )
    _complete(array, column, where)
    if pa.types.is_boolean(kind):
        array = array.cast(pa.uint8())
    values = array.to_numpy(zero_copy_only=False)
    ones = values == 1
    if not np.all(ones | (values == 0)):
        row = int(np.flatnonzero(~(ones | (values == 0)))[0])
        raise DataError(f"`{column}` holds {values[row]} in row {row}, not 0 or 1.", where=where, fix="Write 1 for the positive class and 0 for the other.")
    labels: NDArray[np.uint8] = ones.view(np.uint8)
    return labels


def numbers(array: pa.Array, column: str, where: str, low: float = -np.inf, high: float = np.inf) -> Floats:
    """A complete numeric column as float64 (n,), every value finite and within [low, high]."""
    values = numeric(array, column, "measured")
    smallest, largest = float(values.min()), float(values.max())  # NaN if any is
    if smallest >= low and largest <= high and np.isfinite(smallest) and np.isfinite(largest):
        return values
    _complete(array, column, where)
    bad = ~((values >= low) & (values <= high) & np.isfinite(values))
    row = int(np.flatnonzero(bad)[0])
    if np.isnan(values[row]):
        raise DataError(f"`{column}` has no value in row {row}.", where=where, fix="Leave out rows that were not predicted or not labelled.")
    bound = f"outside [{low:g}, {high:g}]" if np.isfinite(low) or np.isfinite(high) else "not finite"
    raise DataError(f"`{column}` holds {values[row]} in row {row}, {bound}.", where=where, fix="Mend the value, or leave the row out.")


def _complete(array: pa.Array, column: str, where: str) -> None:
    if array.null_count:
        row = int(np.flatnonzero(array.is_null(nan_is_null=True).to_numpy(zero_copy_only=False))[0])
        raise DataError(f"`{column}` has no value in row {row}.", where=where, fix="Leave out rows that were not predicted or not labelled.")


@dataclass(frozen=True)
class Score:
    """Probabilities of the positive class (n,), and the smallest probability told apart from 0 in the type they came in."""

    values: Floats
    epsilon: float


def score(array: pa.Array, column: str, where: str) -> Score:
    """A column of probabilities, each in [0, 1]."""
    single = pa.types.is_floating(array.type) and array.type.bit_width == 32
    return Score(numbers(array, column, where, 0.0, 1.0), float(np.finfo(np.float32 if single else np.float64).eps))


def predictions_table(candidate: Any, frame: pd.DataFrame, target: "pd.Series[Any]") -> pd.DataFrame:
    """The one interchange of the house: y_true, y_pred, y_score where there is one, and the raw columns."""
    columns: dict[str, Any] = {"y_true": target.to_numpy(), "y_pred": candidate.predict(frame)}
    score = candidate.predict_score(frame)
    if score is not None:
        columns["y_score"] = score
    return pd.concat([pd.DataFrame(columns, index=frame.index), frame], axis=1)


def kept_predictions(table: pd.DataFrame) -> pd.DataFrame:
    """What is kept of a predictions table as evidence: rows by id with label, answer and score; the raw columns are in the snapshot."""
    return table[[column for column in ("row_id", "y_true", "y_pred", "y_score") if column in table]].reset_index(drop=True)

"""Months made from one table: seeded resampling, jitter, and declared drifts.

Month 1 is the table itself, so that no row stands on both sides of a split. Each later month is a bootstrap of the table
with jitter on its numeric columns. From its first month on, a declared drift changes what it names:

    mean_shift    x + size * sd(x)
    scale         mean(x) + size * (x - mean(x))
    category_mix  a share `size` of the rows that have a value gets the category that is rarest in the table
    missingness   a share `size` of the rows that have a value loses it
    concept       numeric target: y + size * sd(y) * z(x). Other targets: of the rows with z(x) > 0, a share
                  min(1, size * sd(y)) gets the next class in sorted order; with two classes that swaps them, and
                  sd(y) = sqrt((1 - sum of squared class shares) / 2), which is sqrt(p (1 - p)) for two

mean and sd (population, of finite values) are the table's; z(x) = (x - mean(x)) / sd(x), for a column that is not numeric of
the indicator of its commonest value. A missing x has z = 0, a missing value stays missing.

Whole numbers stay whole: a change of 0.3 becomes 1 with probability 0.3 and 0 otherwise, which keeps its mean. Each random
draw has a generator of its own, keyed by (seed, month, purpose, column), so that adding months, drifts or columns never changes
what was there before.
"""

from __future__ import annotations  # pandas.Series takes its type argument in annotations only

import re
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types

from tasks.core.case import DeclaredDrift, Simulation
from tasks.core.errors import CaseError, DataError, nearest

FEW = 10
"""Up to so many distinct values a numeric column can also be read as categories; "k random" draws from those with more."""

_RANDOM = re.compile(r"([1-9]\d*) random")
_ROWS, _JITTER, _DRIFT, _CHOICE = range(4)

Floats = npt.NDArray[np.float64]


def simulate(base: pd.DataFrame, simulation: Simulation, month: int, *, features: Sequence[str], target: str) -> pd.DataFrame:
    """The table of one month, counted from 1.

    Month 1 is the table, or a seeded subset without replacement, in the table's order, where `simulation.rows` is smaller. The result
    has a fresh index and no `row_id`: a resampled row is a new row.

    Raises: CaseError for a month out of range or a drift that cannot be applied, DataError for an empty table.
    """
    if not 1 <= month <= simulation.months:
        raise CaseError(f"There is no month {month}: the simulation makes {simulation.months}.", where="periods.simulate")
    if base.empty:
        raise DataError("The table to simulate from has no rows.", fix="Check the dataset's source.")
    base = base.drop(columns="row_id", errors="ignore").reset_index(drop=True)
    plan = drifting_columns(simulation, base, features)
    _check(simulation, plan, base, target)

    count, generator = len(base), _generator(simulation, month, _ROWS)
    if month == 1:
        if simulation.rows is None or simulation.rows >= count:
            return base.copy()
        chosen = np.sort(generator.choice(count, simulation.rows, replace=False))
        return base.take(chosen).reset_index(drop=True)

    frame = base.take(generator.integers(0, count, simulation.rows or count)).reset_index(drop=True)
    if simulation.jitter > 0:
        for column in base.columns:
            if _is_numeric(base[column]) and base[column].nunique() > 2:
                frame[column] = _jittered(frame[column], base[column], simulation.jitter, _generator(simulation, month, _JITTER, column))
    for position, (drift, columns) in enumerate(zip(simulation.drifts, plan, strict=True)):
        for column in columns if month >= drift.first else ():
            changed = target if drift.kind == "concept" else column
            frame[changed] = _drifted(frame, base, drift, column, target, _generator(simulation, month, _DRIFT, column, position))
    return frame


def drifting_columns(simulation: Simulation, base: pd.DataFrame, features: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """The columns that each declared drift names, in the order of `simulation.drifts`.

    "k random" stands for k of the numeric features with more than 10 distinct values, drawn by the simulation's seed and given by name;
    the order of `features` does not matter.

    Raises: CaseError for a column that the table does not have, or for more random columns than there are.
    """
    plan = []
    for position, drift in enumerate(simulation.drifts):
        names, where = drift.columns, _where(position)
        if isinstance(names, str):
            match = _RANDOM.fullmatch(names)
            if match is None:
                raise CaseError(f'`columns: {names}` is neither a list of columns nor "k random".', where=where, fix=f"Write [{names}] or 2 random.")
            _known(features, base, where)
            fit = sorted({name for name in features if _is_numeric(base[name]) and base[name].nunique() > FEW})
            wanted = int(match[1])
            if wanted > len(fit):
                raise CaseError(
                    f"asks for {wanted} random columns, but only {len(fit)} features are numeric with more than {FEW} distinct values.", where=where
                )
            drawn = _generator(simulation, 0, _CHOICE, position=position).choice(len(fit), wanted, replace=False)
            names = [fit[index] for index in sorted(drawn)]
        _known(names, base, where)
        plan.append(tuple(names))
    return tuple(plan)


def _check(simulation: Simulation, plan: Sequence[Sequence[str]], base: pd.DataFrame, target: str) -> None:
    """Refuse drifts that make no sense for their columns, in whatever month they begin."""
    for position, (drift, columns) in enumerate(zip(simulation.drifts, plan, strict=True)):
        where = _where(position)
        if drift.kind in ("category_mix", "missingness") and drift.size > 1:
            raise CaseError(f"The size of {drift.kind} is a share of rows, and {drift.size:g} is above 1.", where=where)
        if drift.kind == "concept":
            _known([target], base, where)
        for column in columns:
            values = base[column]
            if drift.kind in ("mean_shift", "scale") and not (_is_numeric(values) and values.nunique() > 2):
                raise CaseError(
                    f"Column `{column}` ({values.dtype}) cannot undergo {drift.kind}, which needs numbers with more than two distinct values.",
                    where=where,
                    fix="Use category_mix or missingness, or name another column.",
                )
            if drift.kind == "category_mix" and not (_is_category(values) or (_is_numeric(values) and values.nunique() <= FEW)):
                raise CaseError(
                    f"Column `{column}` ({values.dtype}) cannot undergo category_mix, which needs categories or at most {FEW} distinct numbers.",
                    where=where,
                    fix="Use mean_shift or scale, or name another column.",
                )
            if drift.kind == "category_mix" and values.nunique() < 2:
                raise CaseError(f"Column `{column}` has fewer than two categories, so their mix cannot change.", where=where)
            if drift.kind == "concept" and column == target:
                raise CaseError(f"`{column}` is the target; concept names a column whose relation to it changes.", where=where)


def _drifted(frame: pd.DataFrame, base: pd.DataFrame, drift: DeclaredDrift, column: str, target: str, generator: np.random.Generator) -> pd.Series[Any]:
    """The column that the drift changes (for concept, the target) with the change made."""
    values = frame[column]
    if drift.kind == "mean_shift":
        _, spread = _moments(base[column])
        return _moved(values, base[column], np.full(len(values), drift.size * spread), generator)
    if drift.kind == "scale":
        mean, _ = _moments(base[column])
        numbers = _floats(values)
        return _moved(values, base[column], (drift.size - 1) * (np.where(np.isfinite(numbers), numbers, mean) - mean), generator)
    if drift.kind == "concept":
        return _reversed_relation(frame[target], base[target], _standardised(values, base[column]), drift.size, generator)
    present = np.flatnonzero(values.notna())
    affected = np.isin(np.arange(len(values)), generator.choice(present, round(drift.size * len(present)), replace=False))
    if drift.kind == "category_mix":
        return values.mask(affected, _by_count(base[column])[-1])
    # numpy's integers and booleans have no missing value, so here, as in a file that comes with gaps, they become floats and objects
    return values.mask(affected)


def _reversed_relation(labels: pd.Series[Any], base: pd.Series[Any], z: Floats, size: float, generator: np.random.Generator) -> pd.Series[Any]:
    """The target with its relation to a column changed by `size` standard deviations of the target (see the module's formula)."""
    if _is_numeric(base) and base.nunique() > 2:
        _, spread = _moments(base)
        return _moved(labels, base, size * spread * z, generator)
    classes = sorted(_by_count(base), key=str)
    following = dict(zip(classes, [*classes[1:], *classes[:1]], strict=True))
    shares = base.value_counts(normalize=True).to_numpy(dtype=float)
    share = min(1.0, size * float(np.sqrt((1 - np.sum(shares**2)) / 2)))
    eligible = np.flatnonzero((z > 0) & labels.notna().to_numpy())
    flipped = generator.choice(eligible, round(share * len(eligible)), replace=False)
    result = labels.copy()
    result.iloc[flipped] = [following[value] for value in labels.iloc[flipped]]
    return result


def _jittered(values: pd.Series[Any], base: pd.Series[Any], jitter: float, generator: np.random.Generator) -> pd.Series[Any]:
    """The column with normal noise of `jitter` standard deviations, clipped to the range seen in the table."""
    seen = _floats(base)
    seen = seen[np.isfinite(seen)]
    if not seen.size:
        return values
    noise = generator.normal(0.0, jitter * float(seen.std()), len(values))
    return _moved(values, base, noise, generator, low=float(seen.min()), high=float(seen.max()))


def _moved(
    values: pd.Series[Any], base: pd.Series[Any], change: Floats, generator: np.random.Generator, low: float = -np.inf, high: float = np.inf
) -> pd.Series[Any]:
    """`values + change` in the column's own type and within [low, high]; what is missing or infinite stays as it is."""
    numbers, seen = _floats(values), _floats(base)
    finite, seen = np.isfinite(numbers), seen[np.isfinite(seen)]
    if np.all(seen == np.rint(seen)):
        change = np.floor(change + generator.random(len(change)))
    moved = np.clip(numbers + change, low, high)
    if types.is_integer_dtype(values.dtype):
        bounds = np.iinfo(getattr(values.dtype, "numpy_dtype", values.dtype))
        if np.any(finite & ((moved < bounds.min) | (moved > bounds.max))):
            raise CaseError(f"Column `{values.name}` ({values.dtype}) cannot hold the drifted values.", where="periods.simulate.drifts", fix="Lower the size.")
        # the step, not the sum, is taken from floats: integers above 2**53 keep their last digits
        step = np.where(finite, moved - numbers, 0.0).astype(np.int64)
        replaced = pd.Series(values.fillna(0).to_numpy(dtype=np.int64) + step, index=values.index).astype(values.dtype)
    else:
        replaced = pd.Series(moved, index=values.index).astype(values.dtype)
    return values.where(~finite, replaced)


def _standardised(values: pd.Series[Any], base: pd.Series[Any]) -> Floats:
    """z(x): numbers in standard deviations from the table's mean; of other columns, the indicator of the commonest value. Missing is 0."""
    if not _is_numeric(base):
        commonest = _by_count(base)[0] if base.notna().any() else None
        base, values = ((side == commonest).fillna(False).astype("float64").where(side.notna()) for side in (base, values))
    mean, spread = _moments(base)
    numbers = _floats(values)
    return np.where(np.isfinite(numbers), numbers - mean, 0.0) / spread if spread > 0 else np.zeros(len(values))


def _moments(values: pd.Series[Any]) -> tuple[float, float]:
    """Mean and population standard deviation of the finite values; zeros where there are none."""
    numbers = _floats(values)
    numbers = numbers[np.isfinite(numbers)]
    return (float(numbers.mean()), float(numbers.std())) if numbers.size else (0.0, 0.0)


def _by_count(values: pd.Series[Any]) -> list[Any]:
    """The distinct values, commonest first; equal counts in sorted order."""
    counts = values.value_counts()
    return [value for _, _, value in sorted((-count, str(value), value) for value, count in counts.items() if count)]


def _floats(values: pd.Series[Any]) -> Floats:
    return values.to_numpy(dtype=np.float64, na_value=np.nan)


def _is_numeric(values: pd.Series[Any]) -> bool:
    return types.is_numeric_dtype(values.dtype) and not types.is_bool_dtype(values.dtype) and not types.is_complex_dtype(values.dtype)


def _is_category(values: pd.Series[Any]) -> bool:
    dtype = values.dtype
    return isinstance(dtype, pd.CategoricalDtype) or types.is_bool_dtype(dtype) or types.is_object_dtype(dtype) or types.is_string_dtype(dtype)


def _known(names: Sequence[str], base: pd.DataFrame, where: str) -> None:
    for name in names:
        if name not in base.columns:
            raise CaseError(f"The table has no column `{name}`.", where=where, fix=nearest(name, map(str, base.columns)))


def _generator(simulation: Simulation, month: int, purpose: int, column: str = "", position: int = 0) -> np.random.Generator:
    return np.random.default_rng([simulation.seed, month, purpose, zlib.crc32(column.encode()), position])


def _where(position: int) -> str:
    return f"periods.simulate.drifts[{position}]"

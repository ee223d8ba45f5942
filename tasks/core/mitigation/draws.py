"""Lots that depend on the row and the seed alone.

Some remedies randomise: within a group, a share of the rows near a threshold is accepted. Drawing that share from a
generator would let a row's answer depend on the batch it arrives in. Here each row's lot is a hash of its own values,
so the same row always gets the same answer, alone or among a million, and two people alike in every input are treated
alike. The price: rows that are equal in every input share one lot, so a group's rates come near the fitted ones only as
far as its rows differ.
"""

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Keys = NDArray[np.uint64]


def row_keys(columns: Iterable[NDArray[Any]]) -> Keys:
    """One 64-bit key for each row from its values in every column: float64 or str arrays of shape (n_rows,).

    Independent of the other rows, of their order, and of the versions of the libraries.
    """
    key: Keys | None = None
    for column in columns:
        bits = _float_bits(column) if column.dtype.kind == "f" else _text_bits(column)
        key = _mix(bits if key is None else key * np.uint64(3) ^ bits)
    if key is None:
        raise ValueError("row keys need at least one column")
    return key


def lots(keys: Keys, seed: int) -> NDArray[np.float64]:
    """A number in [0, 1) for each key, evenly spread; another seed gives other numbers."""
    salt = _mix(np.full(1, seed, dtype=np.uint64))
    return np.asarray((_mix(keys ^ salt) >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def _float_bits(column: NDArray[np.float64]) -> Keys:
    canonical = np.where(np.isnan(column), np.nan, column + 0.0)  # one NaN, one zero
    return canonical.astype(np.float64).view(np.uint64)


def _text_bits(column: NDArray[np.object_]) -> Keys:
    codes, values = pd.factorize(column)
    hashes = [int.from_bytes(blake2b(str(value).encode(), digest_size=8).digest(), "little") for value in values]
    return np.array(hashes, dtype=np.uint64)[codes]


def _mix(bits: Keys) -> Keys:
    """SplitMix64's finaliser (Steele, Lea and Flood 2014): every input bit sways every output bit. Arrays wrap silently."""
    mixed = bits + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))

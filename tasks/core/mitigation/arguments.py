"""What a case writes under a step, turned into the step: names and values of its parameters, and the columns it is to work on."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd
from sklearn.utils._param_validation import InvalidParameterError

from tasks.core.errors import CaseError, nearest
from tasks.core.mitigation.base import Step

Kind = Literal["numeric", "categorical"]
HOLDS: dict[Kind, str] = {"numeric": "numbers", "categorical": "text"}


@dataclass(frozen=True)
class Maker:
    """Makes one method's step: `maker(columns, seed, params)`.

    Raises CaseError for `columns` where the method takes none, a parameter it does not have, and a value out of range.
    """

    method: str
    step: type[Step]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Arguments that the method's name stands for."""
    offered: tuple[str, ...] = ()
    """Parameters that the step takes in a `params` of its own; empty where it takes them as arguments."""

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names that `params` may have."""
        return self.offered or tuple(name for name in self._arguments if name not in {"columns", "seed", *self.fixed})

    @property
    def takes_columns(self) -> bool:
        """Whether it can be given `columns`; other steps work on all there are."""
        return "columns" in self._arguments

    @property
    def _arguments(self) -> tuple[str, ...]:
        return tuple(inspect.signature(self.step).parameters)

    def __call__(self, columns: tuple[str, ...], seed: int, params: Mapping[str, Any]) -> Step:
        """The step, its parameters checked. Lists become tuples, as YAML has no tuples and scikit-learn asks for them."""
        if columns and not self.takes_columns:
            raise CaseError(f"{self.method} takes no `columns`: it works on all of them.", fix="Remove `columns`.")
        for name in params:
            if name not in self.parameters:
                raise CaseError(f"{self.method} has no parameter `{name}`.", fix=nearest(name, self.parameters))
        given = {name: _tuples(value) for name, value in params.items()}
        ours = {name: value for name, value in (("columns", tuple(columns)), ("seed", seed)) if name in self._arguments}
        step = self.step(**self.fixed, **ours, **({"params": given} if self.offered else given))
        try:
            step._validate_params()
        except InvalidParameterError as error:
            raise CaseError(f"{error}", fix="Change it in `params`.") from error
        return step


Make = Callable[[tuple[str, ...], int, Mapping[str, Any]], Step]


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def kinds_of(frame: pd.DataFrame) -> dict[str, Kind]:
    """Each column's kind: numbers, or text."""
    return {str(name): "numeric" if pd.api.types.is_numeric_dtype(frame[name]) else "categorical" for name in frame.columns}


def chosen(frame: pd.DataFrame, columns: tuple[str, ...], reads: tuple[Kind, ...], method: str, otherwise: str) -> dict[str, Kind]:
    """The columns that a step works on and their kinds, in order: those named, or all of the kinds that it reads.

    Raises CaseError for a column that is not there or of another kind (`otherwise` says what to do then), and for none at all.
    """
    kinds = kinds_of(frame)
    for name in columns:
        if name not in kinds:
            raise CaseError(f"`columns` names `{name}`, which is not among the columns that {method} sees.", fix=nearest(name, kinds))
        if kinds[name] not in reads:
            raise CaseError(f"column `{name}` holds {HOLDS[kinds[name]]}, and {method} reads {HOLDS[reads[0]]}.", fix=otherwise)
    found = {name: kinds[name] for name in columns or kinds if kinds[name] in reads}
    if not found:
        raise CaseError(f"{method} reads {' and '.join(HOLDS[kind] for kind in reads)}, and there is no such column.", fix="Remove the step.")
    return found

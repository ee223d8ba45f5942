"""What an evaluation is told about the world: what errors cost, and how common cohorts really are.

Costs are per outcome of a binary task, and may differ by cohort: a list of cost matrices, of which the first whose
condition holds is a row's. Prevalence gives a cohort's rows the weight that makes its share of the table the declared one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.core.cohorts import encode, memberships, parse_conditions
from tasks.core.errors import CaseError, DataError, nearest
from tasks.core.predictions import Source, numbers

Floats = NDArray[np.float64]
OUTCOMES = ("true_negative", "false_positive", "false_negative", "true_positive")


@dataclass(frozen=True)
class Cost:
    """A cost for each outcome, for the rows where the condition holds; for all rows without one."""

    where: str | None
    by_outcome: tuple[float, float, float, float]


@dataclass(frozen=True)
class Prevalence:
    """Factors on the weights of one column's groups."""

    column: str
    factors: tuple[tuple[str | None, float], ...]


def parse_costs(costs: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None) -> tuple[Cost, ...]:
    """Costs as given: one mapping of outcomes (those left out cost 0), or several with `where`, the last of them for all others."""
    entries = [costs] if isinstance(costs, Mapping) else list(costs or ())
    parsed = []
    for place, entry in enumerate(entries):
        for key, value in entry.items():
            if key not in (*OUTCOMES, "where"):
                raise CaseError(f"there is no outcome `{key}`.", where=f"costs.{place}", fix=nearest(str(key), [*OUTCOMES, "where"]))
            if key != "where" and not np.isfinite(float(value)):
                raise CaseError(f"the cost of {key} is {value}.", where=f"costs.{place}", fix="Give a finite number.")
        tn, fp, fn, tp = (float(entry.get(outcome, 0)) for outcome in OUTCOMES)
        parsed.append(Cost(entry.get("where"), (tn, fp, fn, tp)))
    if parsed and (parsed[-1].where is not None or any(cost.where is None for cost in parsed[:-1])):
        raise CaseError("exactly the last cost matrix must go without `where`.", where="costs", fix="End with the matrix of all other rows.")
    return tuple(parsed)


def row_costs(source: Source, outcome: NDArray[np.integer], costs: Sequence[Cost]) -> Floats:
    """What each row cost (n,)."""
    table = np.array([cost.by_outcome for cost in costs])
    conditions = parse_conditions({f"costs.{place}": cost.where for place, cost in enumerate(costs) if cost.where is not None}, source.names)
    which = np.full(source.rows, len(costs) - 1)
    if conditions:
        columns = list(dict.fromkeys(column for expression in conditions.values() for column in expression.meta.root_names()))
        held = memberships(source.polars(columns), conditions)
        for place in reversed(range(len(held))):
            which[held[place].to_numpy()] = place
    return np.asarray(table[which, outcome])


def parse_prevalence(prevalence: Mapping[str, Mapping[Any, float]] | None, sources: Iterable[Source]) -> Prevalence | None:
    """Factors that give the groups of one column their declared shares, {"sex": {"Female": 0.51, "Male": 0.49}}; the
    present shares are those of all `sources` together.
    """
    if not prevalence:
        return None
    if len(prevalence) != 1:
        raise CaseError("prevalence is declared for one column.", where="prevalence", fix="Make one column of those you mean.")
    ((column, given),) = prevalence.items()
    shares = {None if label is None else str(label): float(share) for label, share in given.items()}
    if any(not share > 0 for share in shares.values()) or abs(sum(shares.values()) - 1) > 1e-6:
        raise CaseError(f"the shares add up to {sum(shares.values()):g}.", where=f"prevalence.{column}", fix="Give positive shares that add up to 1.")
    found: dict[str | None, float] = {}
    for source in sources:
        codes = encode(source.column(column), column)
        weight = numbers(source.column("weight"), "weight", source.name, low=0.0) if "weight" in source.names else None
        for label, total in zip(codes.labels, np.bincount(codes.codes, weight, minlength=len(codes.labels)), strict=True):
            found[label] = found.get(label, 0.0) + float(total)
    unknown = next((label for label, total in found.items() if total > 0 and label not in shares), "")
    if unknown != "":
        raise CaseError(f"no share is declared for {column}={unknown}.", where=f"prevalence.{column}", fix="Declare every group that occurs.")
    absent = next((label for label in shares if not found.get(label)), "")
    if absent != "":
        raise DataError(f"`{column}` has no rows for {absent!r}, whose share is declared.", fix="Declare only groups that occur.")
    everything = sum(found.values())
    return Prevalence(column, tuple((label, share * everything / found[label]) for label, share in sorted(shares.items(), key=lambda item: str(item[0]))))


def reweighted(source: Source, weight: Floats | None, prevalence: Prevalence) -> Floats:
    """Row weights (n,) under the declared prevalence."""
    codes = encode(source.column(prevalence.column), prevalence.column)
    factors = dict(prevalence.factors)
    by_code = np.array([factors.get(label, 0.0) for label in codes.labels])[codes.codes]
    return np.asarray(by_code if weight is None else by_code * weight)

"""Where a `pre` step stands in a candidate: on all rows, or on each cohort's rows by themselves.

This is the targeted table of Microsoft's Mitigations library: one kind with all data as context (`ALL` alone), one kind with
each cohort's data as context, or a kind for each cohort. A step itself knows nothing of it.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone

from tasks.core.encoding import kinds_of
from tasks.core.errors import CaseError, DataError
from tasks.core.mitigation.base import Floats, Labels, Sampler, Step, Transformer, Weigher, requested

ALL = "*"
By = tuple[str, ...]  # columns that cohorts are told apart by; () for the candidate's own cohorts


class Batch(NamedTuple):
    """Rows on their way through a candidate: `X` a frame or a matrix (n, d), labels `y` (n,), cohort labels (n,) by what they
    are told apart by, the training row that each is or was made from (n,), and weights (n,) once a step has weighed rows.
    """

    X: Any
    y: NDArray[Any]
    labels: dict[By, Labels]
    source: NDArray[np.integer]
    weight: Floats | None = None

    def resampled(self, X: Any, y: NDArray[Any], index: NDArray[np.integer]) -> "Batch":
        """New rows, each made from the row at its index, and in its cohorts."""
        if self.weight is not None:
            raise CaseError("it draws rows that another step has weighed.", fix="Put the step that weighs after it.")
        return Batch(X, y, {by: labels[index] for by, labels in self.labels.items()}, self.source[index])


class Stage(BaseEstimator):  # type: ignore[misc]  # scikit-learn carries no types
    """A step under its name. `steps` has one for `ALL` rows, or one for each of the candidate's cohorts (None: nothing is
    done there). `by` is what the steps' own groups are told apart by.

    At prediction a row of no known cohort is treated as those of the cohort with most training rows, `fallback_`.
    """

    def __init__(self, name: str, steps: dict[str, Step | None], by: By = ()) -> None:
        self.name = name
        self.steps = steps
        self.by = by

    @property
    def targeted(self) -> bool:
        """Whether each cohort has a step of its own."""
        return ALL not in self.steps

    @property
    def reads(self) -> str:
        """frame or matrix: what its steps work on."""
        return next((step.reads for step in self.steps.values() if step is not None), "frame")

    @property
    def known_groups(self) -> tuple[str, ...] | None:
        """The candidate's cohorts that prediction tells apart, once fitted; None where it tells none apart."""
        return tuple(self.fitted_) if self.targeted and any(step is not None for step in self.fitted_.values()) else None

    @property
    def weighs(self) -> bool:
        """Whether it changes nothing but weights."""
        return all(isinstance(step, Weigher) for step in self.steps.values() if step is not None)

    def aims(self, *, predicting: bool) -> set[By]:
        """What it needs rows told apart by, to be fitted or to predict."""
        known = [step for step in self.steps.values() if step is not None]
        if predicting:
            known = [step for step in known if isinstance(step, Transformer)]
        asked = {self.by} if any("groups" in requested(step, "transform" if predicting else "fit") for step in known) else set()
        return asked | ({()} if self.targeted and known else set())

    def fit_apply(self, batch: Batch) -> tuple["Stage", Batch]:
        """A fitted copy, and the training rows as they leave it."""
        made = clone(self)
        made.fitted_ = {}
        parts: list[tuple[NDArray[np.intp], Any]] = []
        for name, step, rows in self._cohorts(batch.labels, len(batch.y)):
            if not len(rows):
                raise DataError(f"cohort `{name}` has no training rows.", fix="Change its condition, or leave it out of the candidate.")
            fit = None if step is None else clone(step)
            try:
                parts.append((rows, _fit(fit, _take(batch.X, rows), batch.y[rows], self._groups(batch.labels, rows))))
            except (CaseError, DataError) as error:
                raise error if name == ALL else type(error)(f"in cohort `{name}`: {error.message}", fix=error.fix) from error
            except ValueError as error:
                raise error if name == ALL else CaseError(f"in cohort `{name}` scikit-learn refused: {error}", fix="Change the `params`.") from error
            made.fitted_[name] = fit if isinstance(fit, Transformer) else None
        if len({step.get_support().tobytes() for step in made.fitted_.values() if hasattr(step, "get_support")}) > 1:
            raise _unlike("keep different columns")
        made.fallback_ = max(((len(rows), name) for name, _, rows in self._cohorts(batch.labels, len(batch.y))))[1]
        kinds = {type(result) for _, result in parts if result is not None}
        if kinds == {_Weights}:
            weight = np.ones(len(batch.y))
            for rows, result in parts:
                weight[rows] = 1.0 if result is None else result.values
            return made, batch._replace(weight=weight if batch.weight is None else batch.weight * weight)
        if kinds == {_Drawn}:
            drawn = [_Drawn(_take(batch.X, rows), batch.y[rows], np.arange(len(rows))) if result is None else result for rows, result in parts]
            X = pd.concat([one.X for one in drawn], ignore_index=True) if isinstance(batch.X, pd.DataFrame) else np.concatenate([one.X for one in drawn])
            index = np.concatenate([rows[one.source] for (rows, _), one in zip(parts, drawn, strict=True)])
            return made, batch.resampled(X, np.concatenate([one.y for one in drawn]), index)
        return made, batch._replace(X=_joined([(rows, _take(batch.X, rows) if result is None else result.X) for rows, result in parts], batch.X))

    def transform(self, X: Any, labels: Mapping[By, Labels]) -> Any:
        """Rows to predict, as the estimator was fitted on them."""
        if all(step is None for step in self.fitted_.values()):
            return X
        parts = []
        for _, step, rows in self._cohorts(labels, len(X), known=self.fitted_, fallback=self.fallback_):
            if len(rows):
                part = _take(X, rows)
                parts.append((rows, part if step is None else step.transform(part, **_asked(step, "transform", self._groups(labels, rows)))))
        return _joined(parts, X)

    def _cohorts(
        self, labels: Mapping[By, Labels], n: int, known: Mapping[str, Step | None] | None = None, fallback: str | None = None
    ) -> list[tuple[str, Step | None, NDArray[np.intp]]]:
        """Each cohort's name, step and rows."""
        steps = self.steps if known is None else known
        if not self.targeted:
            return [(ALL, steps[ALL], np.arange(n))]
        mine = labels[()]
        if fallback is not None:
            mine = np.where(np.isin(mine.astype(str), list(steps)), mine, fallback)
        return [(name, step, np.flatnonzero(mine == name)) for name, step in steps.items()]

    def _groups(self, labels: Mapping[By, Labels], rows: NDArray[np.intp]) -> Labels | None:
        return labels[self.by][rows] if self.by in labels else None


class _Weights(NamedTuple):
    values: Floats


class _Drawn(NamedTuple):
    X: Any
    y: NDArray[Any]
    source: NDArray[np.integer]


class _Changed(NamedTuple):
    X: Any


def _fit(step: Step | None, X: Any, y: NDArray[Any], groups: Labels | None) -> _Weights | _Drawn | _Changed | None:
    """Fit a step on some rows, and what becomes of them."""
    if step is None:
        return None
    asked = _asked(step, "fit", groups)
    if isinstance(step, Weigher):
        return _Weights(step.weigh(y, **asked))
    if isinstance(step, Sampler):
        new, labels = step.fit_resample(X, y, **asked)
        return _Drawn(new, labels, step.sample_indices_)
    if asked or not hasattr(step, "fit_transform"):
        step.fit(X, y, **asked)
        return _Changed(step.transform(X, **_asked(step, "transform", groups)))
    return _Changed(step.fit_transform(X, y))


def _asked(step: Step, method: str, groups: Labels | None) -> dict[str, Any]:
    return {"groups": groups} if "groups" in requested(step, method) else {}


def _take(X: Any, rows: NDArray[np.intp]) -> Any:
    if len(rows) == X.shape[0]:
        return X
    return X.iloc[rows].reset_index(drop=True) if isinstance(X, pd.DataFrame) else X[rows]


def _joined(parts: list[tuple[NDArray[np.intp], Any]], X: Any) -> Any:
    """The parts of a table, each row in its old place."""
    if len(parts) == 1:
        return parts[0][1]
    order = np.argsort(np.concatenate([rows for rows, _ in parts]))
    if isinstance(X, pd.DataFrame):
        first, *others = [list(kinds_of(part).items()) for _, part in parts]
        if (other := next((one for one in others if one != first), None)) is not None:
            names = sorted({name for name, _ in {*first} ^ {*other}})
            raise _unlike(f"come out with different columns ({', '.join(names[:3])})")
        return pd.concat([part for _, part in parts], ignore_index=True).iloc[order].reset_index(drop=True)
    widths = {part.shape[1] for _, part in parts}
    if len(widths) > 1:
        raise _unlike(f"come out with {' and '.join(map(str, sorted(widths)))} columns")
    return np.concatenate([part for _, part in parts])[order]


def _unlike(problem: str) -> DataError:
    return DataError(f"its cohorts {problem}, and a model reads one set of them.", fix="Use a step that keeps the columns, or aim it at all rows.")

"""Candidates: an estimator with or without a remedy, fitted on and predicting from raw rows."""

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor, RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.utils._param_validation import InvalidParameterError
from sklearn.utils.validation import check_consistent_length, check_is_fitted
from threadpoolctl import threadpool_limits

from tasks.core.case import CandidateSpec, Case
from tasks.core.encoding import Encoder, Form, Kind, tidy
from tasks.core.errors import CaseError, DataError, EquipoiseError, nearest
from tasks.core.mitigation.base import Plain, Rows
from tasks.core.mitigation.correlation_remover import CorrelationRemover
from tasks.core.mitigation.draws import row_keys
from tasks.core.mitigation.exponentiated_gradient import ExponentiatedGradient
from tasks.core.mitigation.groups import label_groups
from tasks.core.mitigation.reweighing import Reweighing
from tasks.core.mitigation.threshold_optimizer import ThresholdOptimizer

# What fits which task, the matrix it reads, and defaults of ours where scikit-learn's do not serve.
ESTIMATORS: dict[str, tuple[dict[str, Any], Form, dict[str, Any]]] = {
    "linear": ({"regression": LinearRegression}, "dense", {}),
    "ridge": ({"regression": Ridge}, "sparse", {}),
    "logistic": ({"binary": LogisticRegression}, "sparse", {"max_iter": 1000}),  # 100 rounds often end before convergence
    "hist_gradient_boosting": ({"binary": HistGradientBoostingClassifier, "regression": HistGradientBoostingRegressor}, "tree", {}),
    "random_forest": (  # a leaf of one row would keep that row's label in the saved model
        {"binary": RandomForestClassifier, "regression": RandomForestRegressor},
        "dense",
        {"min_samples_leaf": 5},
    ),
}
REMEDIES: dict[str, type[Plain]] = {
    "reweighing": Reweighing,
    "correlation_remover": CorrelationRemover,
    "exponentiated_gradient": ExponentiatedGradient,
    "threshold_optimizer": ThresholdOptimizer,
}
THREADS_FROM = 100_000  # rows: below, threads save a second at most, and cost many when the cores are shared with other work
OURS = {"random_state": "the case's `seed` sets it", "categorical_features": "the catalogue's types set it"}


class Candidate(BaseEstimator):  # type: ignore[misc]  # scikit-learn carries no types
    """Encoder, remedy and estimator as one scikit-learn estimator over the raw frame; made by `build`.

    It reads the columns of `inputs` and ignores all others. What it keeps after fitting are coefficients, trees,
    medians, categories and thresholds: no row of the training data.
    """

    def __init__(
        self,
        place: str,
        task: str,
        kinds: dict[str, Kind],
        aims: dict[str, Kind],
        bins: dict[str, tuple[float, ...]],
        encoder: Encoder,
        model: Plain,
        step: str | None = None,
    ) -> None:
        self.place = place
        self.task = task
        self.kinds = kinds
        self.aims = aims
        self.bins = bins
        self.encoder = encoder
        self.model = model
        self.step = step

    @property
    def features(self) -> tuple[str, ...]:
        """The columns it is trained on, in order."""
        return tuple(self.kinds)

    @property
    def inputs(self) -> dict[str, Kind]:
        """Each column that prediction needs and its kind, in order: the features, then any columns that name groups.

        A remedy that works before or during fitting needs its group columns for fitting only; they are not inputs.
        """
        return {**self.kinds, **{name: kind for name, kind in self.aims.items() if self.model.reads_groups and name not in self.kinds}}

    def fit(self, frame: pd.DataFrame, y: ArrayLike, *, validation: tuple[pd.DataFrame, ArrayLike] | None = None) -> "Candidate":
        """Fit on training rows; `validation` rows serve remedies that choose thresholds, and nothing else reads them.

        y: 0 or 1 for a binary task, finite floats for regression, shape (n_rows,). Raises DataError for rows or labels
        that cannot be fitted, CaseError for parameters that scikit-learn refuses.
        """
        check_consistent_length(frame, y)
        check_consistent_length(*(validation or ()))
        try:
            labels = self._labels(y)
            encoder = clone(self.encoder).fit(tidy(frame, self.kinds))
            with _threads(len(frame)):
                model = clone(self.model).fit(self._rows(frame, encoder, groups=bool(self.aims)), labels)
            if hasattr(model, "choose"):
                if validation is None:
                    raise DataError("it chooses on validation rows, and there are none.", fix="Give `split.validation` a share of the rows.")
                model.choose(self._rows(validation[0], encoder, groups=True), self._labels(validation[1]))
        except EquipoiseError as error:
            raise type(error)(error.message, where=self._where, fix=error.fix) from error
        except ValueError as error:
            raise CaseError(f"scikit-learn refused to fit: {error}", where=self._where, fix="Change the `params`.") from error
        self.encoder_, self.model_ = encoder, model
        return self

    def predict(self, frame: pd.DataFrame) -> NDArray[Any]:
        """0 or 1 (int64) for a binary task, float64 for regression; shape (n_rows,). Raises DataError for columns that do not fit."""
        rows = self._read(frame)
        with _threads(len(frame)):
            return np.asarray(self.model_.predict(rows))

    def predict_score(self, frame: pd.DataFrame) -> NDArray[np.float64] | None:
        """The probability of the positive class, shape (n_rows,); None for regression."""
        rows = self._read(frame)
        with _threads(len(frame)):
            scores: NDArray[np.float64] | None = self.model_.predict_score(rows)
        return scores

    def unseen(self, frame: pd.DataFrame) -> dict[str, int]:
        """Rows for each group label that fitting did not show and that takes the remedy's fallback; empty when all are known."""
        check_is_fitted(self)
        known = self.model_.known_groups
        if known is None:
            return {}
        groups, counts = np.unique(label_groups(frame, self.aims, self.bins).astype(str), return_counts=True)
        return {str(group): int(count) for group, count in zip(groups, counts, strict=True) if group not in known}

    def _read(self, frame: pd.DataFrame) -> Rows:
        check_is_fitted(self)
        try:
            return self._rows(frame, self.encoder_, groups=self.model.reads_groups)
        except EquipoiseError as error:
            raise type(error)(error.message, where=self._where, fix=error.fix) from error

    def _rows(self, frame: pd.DataFrame, encoder: Encoder, *, groups: bool) -> Rows:
        columns = tidy(frame, self.kinds)
        rows = Rows(encoder.transform(columns))
        if groups:
            rows = rows._replace(groups=label_groups(frame, self.aims, self.bins))
        return rows._replace(keys=row_keys([*columns.values(), *([rows.groups] if groups else [])])) if self.model.draws else rows

    def _labels(self, y: ArrayLike) -> NDArray[Any]:
        labels = np.asarray(y, dtype=np.float64)
        if not labels.size:
            raise DataError("there are no rows to fit.", fix="Check the snapshot and the split.")
        if not np.isfinite(labels).all():
            raise DataError(
                f"{int((~np.isfinite(labels)).sum())} of {labels.size} labels are missing or infinite.", fix="Leave rows without a finite label out."
            )
        if self.task == "regression":
            return labels
        values = set(labels.tolist())
        if not values <= {0.0, 1.0}:
            raise DataError(f"binary labels are 0 and 1, and these are {sorted(values)[:5]}.", fix="Check `target` in the case.")
        if len(values) < 2:
            raise DataError(f"every label is {int(labels[0])}: there is one class only.", fix="Check `target` in the case, or bring rows of both classes.")
        return labels.astype(np.int64)

    @property
    def _where(self) -> str:
        return f"{self.place}, step {self.step}" if self.step else self.place


@contextmanager
def _threads(rows: int) -> Iterator[None]:
    """One thread for small work; for large work as many as OpenMP is set to. BLAS, which has little to do here, keeps to one."""
    with threadpool_limits(1, user_api="blas"), threadpool_limits(1 if rows < THREADS_FROM else None, user_api="openmp"):
        yield


def build(spec: CandidateSpec, case: Case, kinds: Mapping[str, Kind]) -> Candidate:
    """The unfitted candidate that `spec` describes. `kinds` gives each column's kind, from the catalogue.

    Raises CaseError for an estimator or remedy that does not fit the task, an unknown or wrong parameter, or a column
    that `kinds` does not have.
    """
    place = f"case {case.case}, candidate {spec.name}"
    aimed = spec.mitigation.by if spec.mitigation else ()
    for name in (*case.features, *aimed):
        if name not in kinds:
            raise CaseError(f"column `{name}` is not in the catalogue of {case.dataset}.", where=place, fix=nearest(name, kinds))
    features = {name: kinds[name] for name in case.features}
    remedy = REMEDIES[spec.mitigation.method] if spec.mitigation else Plain
    if case.task not in remedy.tasks:
        raise CaseError(
            f"{spec.mitigation.method if spec.mitigation else ''} is for {' and '.join(remedy.tasks)} tasks, and the task is {case.task}.",
            where=place,
            fix=_offer("mitigation.method", [name for name, other in REMEDIES.items() if case.task in other.tasks]),
        )
    form: Form = "dense" if remedy.dense else ESTIMATORS[spec.estimator.kind][1]
    estimator = _estimator(spec, case, features, form, place)
    most = min(254, estimator.max_bins - 1) if form == "tree" else 254
    return Candidate(
        place=place,
        task=case.task,
        kinds=features,
        aims={name: kinds[name] for name in aimed},
        bins={name: tuple(case.cohorts.bins[name]) for name in aimed if name in case.cohorts.bins},
        encoder=Encoder(features, form, most),
        model=_remedy(spec, case, remedy, estimator, place),
        step=f"mitigation {spec.mitigation.method}" if spec.mitigation else None,
    )


def _estimator(spec: CandidateSpec, case: Case, features: dict[str, Kind], form: Form, place: str) -> Any:
    classes, _, defaults = ESTIMATORS[spec.estimator.kind]
    if case.task not in classes:
        fitting = [kind for kind, (tasks, _, _) in ESTIMATORS.items() if case.task in tasks]
        raise CaseError(
            f"estimator.kind `{spec.estimator.kind}` is for {' and '.join(classes)} tasks, and the task is {case.task}.",
            where=place,
            fix=_offer("estimator.kind", fitting),
        )
    cls = classes[case.task]
    ours: dict[str, Any] = {"random_state": case.seed} if "random_state" in cls().get_params() else {}
    if issubclass(cls, (HistGradientBoostingClassifier, HistGradientBoostingRegressor)):
        coded = [index for index, kind in enumerate(features.values()) if kind == "categorical"]
        ours["categorical_features"] = coded if coded and form == "tree" else None
    _known("estimator", spec.estimator.params, cls().get_params(), place)
    return _valid(cls(**{**defaults, **spec.estimator.params, **ours}), place)


def _remedy(spec: CandidateSpec, case: Case, remedy: type[Plain], estimator: Any, place: str) -> Plain:
    if spec.mitigation is None:
        return Plain(estimator)
    asked, allowed = spec.mitigation.constraint, remedy.constraints.get(case.task, ())
    place = f"{place}, step mitigation {spec.mitigation.method}"
    if allowed and asked not in allowed:
        problem = f"`constraint: {asked}` does not fit a {case.task} task." if asked else "it needs a `constraint`."
        raise CaseError(problem, where=place, fix=_offer("constraint", allowed))
    if asked and not allowed:
        raise CaseError(f"it takes no constraint, and `{asked}` is given.", where=place, fix="Remove `constraint`.")
    params = dict(spec.mitigation.params)
    known = set(inspect.signature(remedy).parameters) - {"estimator", "constraint", "seed"}
    if remedy is ExponentiatedGradient:
        bounded = asked == "bounded_group_loss"
        known -= set() if bounded else {"upper_bound"}
        if bounded and params.get("upper_bound") is None:
            raise CaseError("`bounded_group_loss` needs `upper_bound` in `params`.", where=place, fix="Write the greatest loss allowed, between 0 and 1.")
    _known("mitigation", params, known, place)
    given = {"constraint": asked} if asked else {}
    seed = {"seed": case.seed} if "seed" in inspect.signature(remedy).parameters else {}
    return _valid(remedy(estimator, **given, **params, **seed), place)  # type: ignore[no-any-return]  # _valid hands back what it was given


def _known(part: str, params: Mapping[str, Any], known: Any, place: str) -> None:
    for name in params:
        if name in OURS:
            raise CaseError(f"{part}.params.{name} cannot be set: {OURS[name]}.", where=place, fix=f"Remove `{name}`.")
        if name not in known:
            raise CaseError(f"{part}.params has no `{name}`.", where=place, fix=nearest(name, known))


def _valid(estimator: Any, place: str) -> Any:
    """The estimator, its parameters checked now rather than at the first fit."""
    try:
        estimator._validate_params()
    except InvalidParameterError as error:
        raise CaseError(f"{error}", where=place, fix="Change it in `params`.") from error
    return estimator


def _offer(key: str, names: Any) -> str:
    return f"Set `{key}` to one of: {', '.join(names)}."


def predictions_table(candidate: Candidate, frame: pd.DataFrame, target: "pd.Series[Any]") -> pd.DataFrame:
    """The one interchange of the house: y_true, y_pred, y_score where there is one, and the raw columns."""
    columns: dict[str, Any] = {"y_true": target.to_numpy(), "y_pred": candidate.predict(frame)}
    score = candidate.predict_score(frame)
    if score is not None:
        columns["y_score"] = score
    return pd.concat([pd.DataFrame(columns, index=frame.index), frame], axis=1)

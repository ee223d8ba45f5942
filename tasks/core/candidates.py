"""Candidates: an estimator with the steps before, in and after it, fitted on and predicting from raw rows."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.utils.validation import check_consistent_length, check_is_fitted, has_fit_parameter

from tasks.core.candidate_spec import REST
from tasks.core.cohorts import condition_columns
from tasks.core.encoding import Encoder, Form, Kind, Vocabulary, columns_of, kinds_of, tidy
from tasks.core.errors import CaseError, DataError, EquipoiseError
from tasks.core.fitting import Cache, once, threads
from tasks.core.mitigation.base import Adjuster, Decider, Floats, Labels, decision, described, fitted, positive_score, requested
from tasks.core.mitigation.draws import row_keys
from tasks.core.mitigation.groups import label_cohorts, label_groups
from tasks.core.mitigation.stages import Batch, By, Stage
from tasks.core.tree_tables import raw_sums


class Aimed(BaseEstimator):  # type: ignore[misc]  # scikit-learn carries no types
    """An `in` or `post` step, or the bare estimator, under its name, with what its groups are told apart by."""

    def __init__(self, name: str, step: Any, by: By = ()) -> None:
        self.name = name
        self.step = step
        self.by = by


def both(estimator: Any, matrix: Any, predict: dict[str, Any], predict_proba: dict[str, Any]) -> tuple[NDArray[Any], Floats | None]:
    """An estimator's answers and its probability of class 1 (None for a regressor), computed once where the one follows from the other.

    predict, predict_proba: the metadata that the estimator requests for each.
    """
    from sklearn.ensemble import RandomForestClassifier

    if (raw := boosted(estimator, matrix)) is not None:
        return ((raw > 0).astype(np.int64), np.asarray(expit(raw))) if is_classifier(estimator) else (estimator._loss.link.inverse(raw), None)
    if type(estimator) is RandomForestClassifier and list(estimator.classes_) == [0, 1]:
        probabilities = estimator.predict_proba(matrix)
        return np.argmax(probabilities, axis=1).astype(np.int64), probabilities[:, 1]
    return decision(estimator, matrix, **predict), positive_score(estimator, matrix, **predict_proba)


def boosted(estimator: Any, matrix: Any) -> Floats | None:
    """The raw predictions of histogram boosting, shape (n,); None for another estimator."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    if type(estimator) is HistGradientBoostingRegressor or (type(estimator) is HistGradientBoostingClassifier and list(estimator.classes_) == [0, 1]):
        return raw_sums(estimator, matrix)
    return None


class Candidate(BaseEstimator):  # type: ignore[misc]  # scikit-learn carries no types
    """A candidate as one scikit-learn estimator over the raw frame; made by tasks.core.building.

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
        cohorts: dict[str, str],
        form: Form,
        most: int,
        pre: list[Stage],
        model: Aimed,
        post: list[Aimed],
    ) -> None:
        self.place = place
        self.task = task
        self.kinds = kinds
        self.aims = aims
        self.bins = bins
        self.cohorts = cohorts
        self.form = form
        self.most = most
        self.pre = pre
        self.model = model
        self.post = post

    @property
    def features(self) -> tuple[str, ...]:
        """The columns it is trained on, in order."""
        return tuple(self.kinds)

    @property
    def inputs(self) -> dict[str, Kind]:
        """Each column that prediction needs and its kind, in order: the features, then any columns that tell cohorts apart.

        A step that works while fitting alone needs its cohort columns for fitting only; they are not inputs.
        """
        needed = self._aims(predicting=True)
        own = condition_columns({name: text for name, text in self.cohorts.items() if text != REST}, self.aims) if () in needed else []
        named = {*(column for by in needed for column in by), *own}
        return {**self.kinds, **{name: kind for name, kind in self.aims.items() if name in named and name not in self.kinds}}

    def fit(
        self,
        frame: pd.DataFrame,
        y: ArrayLike,
        *,
        validation: tuple[pd.DataFrame, ArrayLike] | None = None,
        previous: ArrayLike | None = None,
        cache: Cache | None = None,
    ) -> "Candidate":
        """Fit on training rows; `validation` rows serve steps after fitting, and nothing else reads them.

        y: 0 or 1 for a binary task, finite floats for regression, shape (n_rows,). previous: for steps that ask for them, the
        answers of the model to stay compatible with and its probabilities of 1, shape (n_rows, 2). cache: what candidates
        fitted on the same rows, and beside the same previous model, share; an identical beginning is fitted once. Raises
        DataError for rows or labels that cannot be fitted, CaseError for parameters that scikit-learn refuses.
        """
        check_consistent_length(frame, y, previous)
        check_consistent_length(*(validation or ()))
        made = clone(self)
        made._fit(frame, y, validation, previous, {} if cache is None else cache)
        self.__dict__ |= {name: value for name, value in vars(made).items() if name.endswith("_")}  # all, or after an error nothing
        return self

    def _fit(self, frame: pd.DataFrame, y: ArrayLike, validation: tuple[pd.DataFrame, ArrayLike] | None, previous: ArrayLike | None, cache: Cache) -> None:
        with self._at(""), threads(len(frame)):
            key, batch = self._prepare(frame, self._labels(y), cache)
        with self._at(self.model.name), threads(len(frame)):
            key += described(self.model) + self._told_apart({self.model.by} if "groups" in requested(self.model.step, "fit") else set())
            self.model_ = once(cache, key, lambda: self._fit_model(batch, previous))
        self.post_: list[Aimed] = []
        for aimed in self.post:
            with self._at(aimed.name):
                self._fit_post(aimed, validation)

    def _prepare(self, frame: pd.DataFrame, y: NDArray[Any], cache: Cache) -> tuple[str, Batch]:
        """The training rows as the estimator reads them, and what stands for how they came to be."""
        labels = {by: self._groups(frame, by, fitting=True) for by in self._aims(predicting=False)}
        columns = tidy(frame, self.kinds)
        batch = Batch(columns, y, labels, np.arange(len(y)))
        raw = [stage for stage in self.pre if stage.reads == "frame"]
        key = json.dumps(self.kinds)
        self.vocabulary_ = Vocabulary(self.kinds).fit(columns) if raw else None
        if self.vocabulary_ is not None:
            batch = batch._replace(X=pd.DataFrame(self.vocabulary_.transform(columns)))
        self.pre_: list[Stage] = []
        for stage in raw:
            key, batch = self._fit_stage(stage, key, batch, labels, cache)
        columns = columns_of(batch.X)
        encoder = Encoder(kinds_of(columns) if raw else self.kinds, self.form, self.most)
        key += described(encoder)
        self.encoder_, X = once(cache, key, lambda: (encoder.fit(columns), encoder.transform(columns)))
        batch = batch._replace(X=X)
        for stage in self.pre[len(raw) :]:
            key, batch = self._fit_stage(stage, key, batch, labels, cache)
        return key, batch

    def _fit_stage(self, stage: Stage, key: str, batch: Batch, labels: dict[By, Labels], cache: Cache) -> tuple[str, Batch]:
        key += described(stage) + self._told_apart(stage.aims(predicting=False))
        with self._at(stage.name):
            made, left = once(cache, key, lambda: stage.fit_apply(batch))
        self.pre_.append(made)
        return key, left._replace(labels={by: found[left.source] for by, found in labels.items()})  # another candidate's may be in the cache

    def _told_apart(self, aims: set[By]) -> str:
        """What the groups of `aims` are, in words: equal for equal groups."""
        return json.dumps([[by, {name: self.bins.get(name) for name in by}] if by else list(self.cohorts.items()) for by in sorted(aims)])

    def _fit_model(self, batch: Batch, previous: ArrayLike | None) -> Any:
        estimator, asked = self._told_codes(self.model.step), requested(self.model.step, "fit")
        given: dict[str, Any] = {"groups": batch.labels[self.model.by]} if "groups" in asked else {}
        if "previous" in asked:
            if previous is None:
                raise CaseError("it stays compatible with another model, and there is none.", fix="Put it after the baseline, or promote a version first.")
            given["previous"] = np.asarray(previous)[batch.source]
        if batch.weight is not None:
            if not has_fit_parameter(estimator, "sample_weight"):
                raise CaseError(
                    f"a step before it weighs rows, and {type(estimator).__name__} takes no weights.",
                    fix="Remove the step that weighs (reweighing), or use another estimator or `in` step.",
                )
            given["sample_weight"] = batch.weight
        return fitted(estimator, batch.X, batch.y, **given)

    def _told_codes(self, step: Any) -> Any:
        """The step, its histogram boosting told which columns hold codes of categories: those that steps on columns left as they are."""
        codes = [place for place, kind in enumerate(self.encoder_.kinds.values()) if kind == "categorical" and self.form == "tree"]
        names = [name for name in step.get_params() if name.split("__")[-1] == "categorical_features"]
        return clone(step).set_params(**dict.fromkeys(names, codes or None)) if names else step

    def _fit_post(self, aimed: Aimed, validation: tuple[pd.DataFrame, ArrayLike] | None) -> None:
        if validation is None:
            raise DataError("it is fitted on validation rows, and there are none.", fix="Give `split.validation` a share of the rows.")
        frame, y = validation
        made = Aimed(aimed.name, clone(aimed.step), aimed.by)
        given = {"groups": self._groups(frame, aimed.by, fitting=True)} if "groups" in requested(aimed.step, "fit") else {}
        made.step.fit(self._scores(frame), self._labels(y), **given)
        self.post_.append(made)

    def predict(self, frame: pd.DataFrame) -> NDArray[Any]:
        """0 or 1 (int64) for a binary task, float64 for regression; shape (n_rows,). Raises DataError for columns that do not fit."""
        check_is_fitted(self, "model_")
        with self._at(""), threads(len(frame)):
            if not self.post_:
                X = self._matrix(frame)
                return decision(self.model_, X, **self._metadata(self.model_, "predict", frame, self.model.by))
            return self._decided(self._scores(frame), frame)

    def predict_score(self, frame: pd.DataFrame) -> Floats | None:
        """The probability of the positive class, shape (n_rows,); None for regression."""
        check_is_fitted(self, "model_")
        if self.task == "regression":
            return None
        with self._at(""), threads(len(frame)):
            return self._scores(frame)

    def answers(self, frame: pd.DataFrame) -> tuple[NDArray[Any], Floats | None]:
        """What `predict` and `predict_score` give, to the last bit, from one pass over the rows."""
        check_is_fitted(self, "model_")
        with self._at(""), threads(len(frame)):
            if self.post_:
                scores = self._scores(frame)
                return self._decided(scores, frame), None if self.task == "regression" else scores
            metadata = (self._metadata(self.model_, method, frame, self.model.by) for method in ("predict", "predict_proba"))
            return both(self.model_, self._matrix(frame), *metadata)

    @property
    def notes(self) -> tuple[str, ...]:
        """What fitted steps have to say to whoever reads the results, such as a bound that was not met."""
        return tuple(note for step in (self.model_, *(one.step for one in self.post_)) if (note := getattr(step, "note_", "")))

    def unseen(self, frame: pd.DataFrame) -> dict[str, int]:
        """Rows for each cohort that fitting did not show and that takes a step's fallback; empty when all are known."""
        check_is_fitted(self, "model_")
        found: dict[str, int] = {}
        steps = [(step, stage.by) for stage in self.pre_ for step in stage.fitted_.values() if step is not None]
        for step, by in [*steps, *((stage, ()) for stage in self.pre_), (self.model_, self.model.by), *((one.step, one.by) for one in self.post_)]:
            known = getattr(step, "known_groups", None)
            if known is not None and by in self._aims(predicting=True):
                groups, counts = np.unique(self._groups(frame, by).astype(str), return_counts=True)
                found |= {str(group): int(count) for group, count in zip(groups, counts, strict=True) if group not in known}
        return found

    def _scores(self, frame: pd.DataFrame) -> Floats:
        """Probabilities, or a regression's predictions, as far as the steps on scores have been fitted."""
        X = self._matrix(frame)
        scores: Any
        if (raw := boosted(self.model_, X)) is not None:
            scores = expit(raw) if is_classifier(self.model_) else self.model_._loss.link.inverse(raw)
        else:
            scores = positive_score(self.model_, X, **self._metadata(self.model_, "predict_proba", frame, self.model.by))
        if scores is None:
            scores = decision(self.model_, X, **self._metadata(self.model_, "predict", frame, self.model.by))
        for aimed in self.post_:
            if isinstance(aimed.step, Adjuster):
                scores = aimed.step.transform(scores, **self._metadata(aimed.step, "transform", frame, aimed.by))
        return np.asarray(scores, dtype=np.float64)

    def _decided(self, scores: Floats, frame: pd.DataFrame) -> NDArray[Any]:
        """Answers from what the steps after the model made of its scores."""
        last = self.post_[-1]
        if isinstance(last.step, Decider):
            return np.asarray(last.step.predict(scores, **self._metadata(last.step, "predict", frame, last.by)))
        return scores if self.task == "regression" else (scores > 0.5).astype(np.int64)

    def _matrix(self, frame: pd.DataFrame) -> Any:
        """Raw rows as the estimator reads them."""
        if not len(frame):
            raise DataError("there are no rows to predict.", fix="Look at the snapshot: a period without rows has no predictions.")
        labels = {by: self._groups(frame, by) for stage in self.pre_ for by in stage.aims(predicting=True)}
        columns = tidy(frame, self.kinds)
        X: Any = columns if self.vocabulary_ is None else pd.DataFrame(self.vocabulary_.transform(columns))
        for stage in self.pre_:
            if stage.reads == "frame":
                X = stage.transform(X, labels)
        X = self.encoder_.transform(columns_of(X))
        for stage in self.pre_:
            if stage.reads == "matrix":
                X = stage.transform(X, labels)
        return X

    def _metadata(self, step: Any, method: str, frame: pd.DataFrame, by: By) -> dict[str, Any]:
        """What a step requests to predict: its groups, and keys to draw lots from."""
        asked = requested(step, method)
        found: dict[str, Any] = {"groups": self._groups(frame, by)} if "groups" in asked else {}
        if "keys" in asked:
            found["keys"] = row_keys([*tidy(frame, self.kinds).values(), *found.values()])
        return found

    def _groups(self, frame: pd.DataFrame, by: By, *, fitting: bool = False) -> Labels:
        if by:
            return label_groups(frame, {name: self.aims[name] for name in by}, self.bins)
        return label_cohorts(frame, self.cohorts, fitting=fitting)

    def _aims(self, *, predicting: bool) -> set[By]:
        """All that rows are told apart by, to be fitted or to predict."""
        found = {by for stage in self.pre for by in stage.aims(predicting=predicting)}
        methods = ("predict", "predict_proba", "transform") if predicting else ("fit",)
        for aimed in [self.model, *self.post] if predicting else [self.model]:
            if any("groups" in requested(aimed.step, method) for method in methods if hasattr(type(aimed.step), method)):
                found.add(aimed.by)
        return found

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

    @contextmanager
    def _at(self, step: str) -> Iterator[None]:
        """Errors inside name the case, the candidate and the step."""
        where = f"{self.place}, step {step}" if step else self.place
        try:
            yield
        except EquipoiseError as error:
            if (error.where or "").startswith(self.place):
                raise
            raise type(error)(error.message, where=where, fix=error.fix) from error
        except ValueError as error:
            raise CaseError(f"scikit-learn refused: {error}", where=where, fix="Change the `params`.") from error

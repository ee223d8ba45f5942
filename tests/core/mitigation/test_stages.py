"""Where a `pre` step stands: its cohorts, its order, what it leaves for the next, and what candidates share."""

from collections import Counter
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

from tasks.core.building import build
from tasks.core.candidates import Candidate
from tasks.core.case import Case
from tasks.core.encoding import Encoder
from tasks.core.errors import CaseError, DataError
from tasks.core.mitigation.base import Sampler, Step, Transformer, Weigher
from tasks.core.mitigation.stages import ALL, Batch, Stage

COHORT = np.array(["b", "a", "b", "b", "a"], dtype=object)


class Centre(Transformer):
    """Takes the mean of the rows it was fitted on from each column."""

    reads = "frame"

    def fit(self, X: pd.DataFrame, y: Any = None) -> "Centre":
        self.mean_ = X.mean()
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X - self.mean_


class Renamed(Centre):
    """Gives its columns other names."""

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.add_suffix("!")


class Twice(Sampler):
    """Each row of label 1 comes twice, the second ones last."""

    reads = "frame"

    def fit_resample(self, X: pd.DataFrame, y: np.ndarray) -> tuple[pd.DataFrame, np.ndarray]:
        self.sample_indices_ = np.concatenate([np.arange(len(y)), np.flatnonzero(y == 1)])
        return X.iloc[self.sample_indices_].reset_index(drop=True), y[self.sample_indices_]


class ByCount(Weigher):
    """Weighs each row by how many rows it sees."""

    def weigh(self, y: np.ndarray) -> np.ndarray:
        return np.full(len(y), float(len(y)))


class Fussy(Centre):
    """Refuses what it is given, in its own words or in scikit-learn's."""

    def __init__(self, error: type[Exception]) -> None:
        self.error = error

    def fit(self, X: pd.DataFrame, y: Any = None) -> "Fussy":
        raise self.error("too few rows")


def batch(weight: np.ndarray | None = None) -> Batch:
    """Five rows in two cohorts, with the same groups told apart by a column."""
    frame = pd.DataFrame({"x": [1.0, 20.0, 3.0, 5.0, 40.0]})
    return Batch(frame, np.array([1, 0, 0, 1, 1]), {(): COHORT, ("sex",): COHORT[::-1]}, np.arange(5), weight)


def applied(steps: dict[str, Step | None]) -> tuple[Stage, Batch]:
    """A stage fitted on the five rows, and what it leaves."""
    return Stage("it", steps).fit_apply(batch())


def test_each_cohort_has_its_own_step_and_rows_keep_their_places() -> None:
    """Each cohort's rows are changed by the step fitted on them, and come out where they were; the given rows stay as they are."""
    given = batch()
    stage, left = Stage("it", {"a": Centre(), "b": Centre()}).fit_apply(given)
    assert left.X["x"].tolist() == [-2.0, -10.0, 0.0, 2.0, 10.0]
    assert given.X["x"].tolist() == [1.0, 20.0, 3.0, 5.0, 40.0]
    new = pd.DataFrame({"x": [3.0, 30.0, 3.0]}, index=[7, 7, 9])
    assert stage.transform(new, {(): np.array(["b", "a", "a"], dtype=object)})["x"].tolist() == [0.0, 0.0, -27.0]
    assert stage.transform(new.iloc[:1], {(): np.array(["a"], dtype=object)})["x"].tolist() == [-27.0]
    everyone, left = Stage("it", {ALL: Centre()}).fit_apply(given)
    assert left.X["x"].tolist() == [-12.8, 6.199999999999999, -10.8, -8.8, 26.2]
    assert everyone.known_groups is None


def test_a_cohort_without_a_step_stays_as_it_is() -> None:
    """None does nothing to its cohort's columns, rows and weights."""
    assert applied({"a": None, "b": Centre()})[1].X["x"].tolist() == [-2.0, 20.0, 0.0, 2.0, 40.0]
    left = applied({"a": None, "b": Twice()})[1]
    assert left.source.tolist() == [1, 4, 0, 2, 3, 0, 3]
    assert applied({"a": ByCount(), "b": None})[1].weight.tolist() == [1.0, 2.0, 1.0, 1.0, 2.0]  # type: ignore[union-attr]


def test_the_largest_cohort_is_the_fallback() -> None:
    """A row of a cohort that training did not have is changed as those of the largest."""
    stage, _ = applied({"a": Centre(), "b": Centre()})
    assert stage.fallback_ == "b"
    assert stage.known_groups == ("a", "b")
    labels = {(): np.array(["a", "no cohort"], dtype=object)}
    assert stage.transform(pd.DataFrame({"x": [30.0, 30.0]}), labels)["x"].tolist() == [0.0, 27.0]
    rows, _ = applied({"a": Twice(), "b": None})
    assert rows.known_groups is None
    new = pd.DataFrame({"x": [1.0]})
    assert rows.transform(new, {}) is new


def test_new_rows_stay_in_the_cohorts_of_the_rows_they_come_from() -> None:
    """Every way of telling rows apart follows the rows drawn, and so does what row of training each is."""
    left = applied({ALL: Twice()})[1]
    assert left.source.tolist() == [0, 1, 2, 3, 4, 0, 3, 4]
    assert left.labels[()].tolist() == COHORT[left.source].tolist()
    assert left.labels["sex",].tolist() == COHORT[::-1][left.source].tolist()
    again = Stage("it", {ALL: Twice()}).fit_apply(left)[1]
    assert again.source.tolist() == [0, 1, 2, 3, 4, 0, 3, 4, 0, 3, 4, 0, 3, 4]
    assert again.y.tolist() == [batch().y[row] for row in again.source]


def test_weights_multiply_and_are_not_drawn_from() -> None:
    """A second step that weighs multiplies; a step that draws rows after it is refused."""
    weighed = Stage("it", {ALL: ByCount()}).fit_apply(batch(weight=np.array([1.0, 2.0, 3.0, 4.0, 5.0])))[1]
    assert weighed.weight.tolist() == [5.0, 10.0, 15.0, 20.0, 25.0]  # type: ignore[union-attr]
    with pytest.raises(CaseError, match=r"draws rows that another step has weighed.*Put the step that weighs after it"):
        Stage("it", {ALL: Twice()}).fit_apply(weighed)


@pytest.mark.parametrize(
    ("steps", "error", "says"),
    [
        ({"a": Centre(), "b": Centre(), "c": Centre()}, DataError, "cohort `c` has no training rows"),
        ({"a": Centre(), "b": Renamed()}, DataError, r"come out with different columns \(x, x!\)"),
        ({"a": Fussy(DataError), "b": Centre()}, DataError, "in cohort `a`: too few rows"),
        ({"a": Fussy(ValueError), "b": Centre()}, CaseError, "in cohort `a` scikit-learn refused: too few rows"),
        ({ALL: Fussy(ValueError)}, ValueError, "^too few rows"),
    ],
)
def test_what_goes_wrong_in_a_cohort_names_it(steps: dict[str, Step | None], error: type[Exception], says: str) -> None:
    """A cohort without rows, cohorts that no longer match, and a step's own refusal say which cohort it is."""
    with pytest.raises(error, match=says):
        applied(steps)


def test_a_stage_is_an_estimator() -> None:
    """Parameters come back, clones are alike and unfitted, and fitting leaves the stage itself alone."""
    stage = Stage("it", {"a": Fussy(DataError), "b": None}, ("sex",))
    assert repr(clone(stage)) == repr(stage)
    assert set(stage.get_params(deep=False)) == {"name", "steps", "by"}
    mine = Stage("it", {ALL: Centre()})
    made, _ = mine.fit_apply(batch())
    assert not hasattr(mine, "fitted_")
    assert made is not mine


class Counting(LogisticRegression):  # type: ignore[misc]
    """Counts how often each kind is fitted."""

    fits: ClassVar[Counter[str]] = Counter()

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "Counting":
        self.fits[f"model C={self.C}"] += 1
        return super().fit(X, y, sample_weight)  # type: ignore[no-any-return]


class CountingCentre(Transformer):
    """Counts how often it is fitted."""

    reads = "frame"

    def fit(self, X: pd.DataFrame, y: Any = None) -> "CountingCentre":
        Counting.fits["centre"] += 1
        self.mean_ = float(X["amount"].mean())
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(amount=X["amount"] - self.mean_)


REST = {"small": "amount < 10", "large": "rest"}
SPECS: dict[str, dict[str, Any]] = {
    "plain": {},
    "regularised": {"estimator": {"kind": "logistic", "params": {"C": 0.1}}},
    "over": {"pre": [{"method": "random_over_sampler"}]},
    "over, models by sex": {"pre": [{"method": "random_over_sampler"}], "in": {"method": "cohort_models", "by": ["sex"]}},
    "over, models": {"pre": [{"method": "random_over_sampler"}], "cohorts": REST, "in": {"method": "cohort_models"}},
    "thresholds": {"post": [{"method": "cohort_thresholds", "by": ["sex"]}]},
    "each": {"cohorts": REST, "pre": [{"method": "standard_scaler", "each": True}]},
    "each elsewhere": {"cohorts": {"small": "amount < 12", "large": "rest"}, "pre": [{"method": "standard_scaler", "each": True}]},
    "one": {"cohorts": REST, "pre": [{"cohorts": {"small": {"method": "random_over_sampler"}, "large": {"method": "none"}}}]},
    "one, written the other way round": {"cohorts": REST, "pre": [{"cohorts": {"large": {"method": "none"}, "small": {"method": "random_over_sampler"}}}]},
    "compatible": {"in": {"method": "backward_compatible"}},
    "over, compatible": {"pre": [{"method": "random_over_sampler"}], "in": {"method": "backward_compatible"}},
}


def candidates() -> dict[str, Candidate]:
    """Candidates of one case, some of which begin alike; all with the counting estimator and, first, the counting step."""
    made = {}
    for name, spec in SPECS.items():
        case = Case.model_validate(
            {
                "case": "loans",
                "purpose": "a test",
                "dataset": "loans",
                "task": "binary",
                "target": {"column": "y", "positive": 1},
                "features": ["amount", "job"],
                "periods": {"column": "when"},
                "candidates": [{"name": "first", "estimator": {"kind": "logistic"}, **spec}],
                "metrics": {"primary": "accuracy"},
                "limits": [{"metric": "accuracy", "at_least": 0.5}],
                "carbon": {"country": "USA"},
            }
        )
        candidate = build(case.candidates[0], case, {"amount": "numeric", "job": "categorical", "sex": "categorical"})
        candidate.set_params(pre=[Stage("centre", {ALL: CountingCentre()}), *candidate.pre])
        inner = "model__step__estimator" if "in" in spec else "model__step"
        candidate.set_params(**{inner: Counting(C=spec.get("estimator", {}).get("params", {}).get("C", 1.0))})
        made[name] = candidate
    return made


def rows() -> tuple[pd.DataFrame, np.ndarray]:
    """Loans."""
    rng = np.random.default_rng(4)
    frame = pd.DataFrame({"amount": rng.gamma(4, 3, 300), "job": rng.choice(["x", "y"], 300), "sex": rng.choice(["F", "M"], 300)})
    return frame, (rng.random(300) < 1 / (1 + np.exp((frame["amount"] - 9) / 3))).astype(int).to_numpy()


def test_candidates_that_share_a_cache_fit_nothing_twice_and_predict_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """What begins alike is fitted once, however it goes on and whatever else the candidates aim at; answers are those without a cache."""
    frame, y = rows()
    previous = np.column_stack([y, np.where(y == 1, 0.8, 0.3)])
    given: dict[str, Any] = {"validation": (frame[::-1], y[::-1])}
    alone = {name: candidate.fit(frame, y, previous=previous, **given) for name, candidate in candidates().items()}
    fit = Encoder.fit

    def counted(encoder: Encoder, columns: Any) -> Encoder:
        Counting.fits["encoder"] += 1
        return fit(encoder, columns)

    monkeypatch.setattr(Encoder, "fit", counted)
    cache: dict[str, Any] = {}
    for again in (False, True):
        Counting.fits.clear()
        for name, candidate in candidates().items():  # the first ones, such as a baseline, need no previous model
            told = previous if "compatible" in name else None
            candidate.fit(frame, y, previous=told, cache=cache, **given)
            np.testing.assert_array_equal(candidate.predict_score(frame), alone[name].predict_score(frame))
            np.testing.assert_array_equal(candidate.predict(frame), alone[name].predict(frame))
        if again:
            assert not Counting.fits
        else:
            assert Counting.fits["centre"] == 1
            assert Counting.fits["encoder"] == 5  # plain, over, each, each elsewhere, one
            assert Counting.fits["model C=0.1"] == 1
            assert Counting.fits["model C=1.0"] == 1 + 1 + 3 + 3 + 1 + 1 + 1 + 1 + 1  # plain with thresholds, over, two times cohorts and pooled, ...

"""Candidates: built from a case, fitted on raw rows."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from tasks.core.building import METHODS, build
from tasks.core.candidates import Candidate
from tasks.core.case import Case
from tasks.core.errors import CaseError, DataError

KINDS: dict[str, Any] = {"größe": "numeric", "job": "categorical", "sex": "categorical", "lstat": "numeric"}
FIT: dict[str, list[str]] = {
    "binary": ["logistic", "hist_gradient_boosting", "random_forest"],
    "regression": ["linear", "ridge", "hist_gradient_boosting", "random_forest"],
}
SMALL: dict[str, dict[str, Any]] = {"hist_gradient_boosting": {"max_iter": 4}, "random_forest": {"n_estimators": 6}}
PARITY = {"method": "exponentiated_gradient", "by": ["sex"], "constraint": "equalized_odds", "params": {"max_iter": 2}}
BOUNDED = {"method": "exponentiated_gradient", "by": ["sex"], "constraint": "bounded_group_loss", "params": {"max_iter": 2, "upper_bound": 0.1}}
THRESHOLDS = {"method": "threshold_optimizer", "by": ["sex", "lstat"], "constraint": "true_positive_rate_parity"}
DECORRELATED = {"method": "correlation_remover", "by": ["sex"]}
MITIGATIONS: dict[str, list[dict[str, Any] | None]] = {
    "binary": [None, {"method": "reweighing", "by": ["lstat"]}, DECORRELATED, PARITY, BOUNDED, THRESHOLDS],
    "regression": [None, {"method": "reweighing", "by": ["sex"]}, DECORRELATED, BOUNDED],
}
EVERY = [(task, kind, remedy) for task in FIT for kind in FIT[task] for remedy in MITIGATIONS[task]]


def steps(mitigation: dict[str, Any] | None) -> dict[str, Any]:
    """One step under the key where it stands."""
    if mitigation is None:
        return {}
    method = METHODS[mitigation["method"]]
    role = getattr(method, "step", method).role
    return {role: mitigation if role == "in" else [mitigation]}


def make_case(task: str = "binary", kind: str | None = None, mitigation: dict[str, Any] | None = None, params: dict[str, Any] | None = None) -> Case:
    """A case named `loans` with one candidate, `first`."""
    kind = kind or FIT[task][0]
    estimator = {"kind": kind, "params": SMALL.get(kind, {}) if params is None else params}
    return Case.model_validate(
        {
            "case": "loans",
            "purpose": "a test",
            "dataset": "loans",
            "task": task,
            "target": {"column": "y", "positive": 1} if task == "binary" else {"column": "y"},
            "features": ["größe", "job"],
            "seed": 3,
            "periods": {"column": "when"},
            "candidates": [{"name": "first", "estimator": estimator, **steps(mitigation)}],
            "cohorts": {"bins": {"lstat": [8]}},
            "metrics": {"primary": "accuracy"},
            "limits": [{"metric": "accuracy", "at_least": 0.5}],
            "carbon": {"country": "USA"},
        }
    )


def make_candidate(*args: Any, **kwargs: Any) -> Candidate:
    """The one candidate of `make_case`."""
    case = make_case(*args, **kwargs)
    return build(case.candidates[0], case, KINDS)


def make_rows(task: str = "binary", rows: int = 400, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """Raw rows with a column nobody asked for, and labels."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "row_id": [f"r{i}" for i in range(rows)],
            "größe": rng.normal(170, 10, rows),
            "job": rng.choice(["Bäcker", "lawyer", "?"], rows),
            "sex": rng.choice(["F", "M"], rows),
            "lstat": rng.uniform(0, 16, rows),
        }
    )
    signal = (frame["größe"] - 170) / 10 + 0.8 * (frame["job"] == "lawyer") + 0.4 * (frame["sex"] == "M") + rng.normal(size=rows)
    return frame, (signal > 0.4).astype(int).to_numpy() if task == "binary" else 20 + 5 * signal.to_numpy()


def fitted(candidate: Candidate, task: str = "binary") -> Candidate:
    """Fitted on one sample, with another for validation."""
    return candidate.fit(*make_rows(task), validation=make_rows(task, seed=1))


@pytest.mark.parametrize(("task", "kind", "mitigation"), EVERY)
def test_every_estimator_and_remedy_fits_predicts_and_repeats(task: str, kind: str, mitigation: dict[str, Any] | None) -> None:
    """Each combination answers 0 and 1 with scores, or floats; a clone fitted again gives the same; order and extra columns do not matter."""
    candidate = make_candidate(task, kind, mitigation)
    frame, _ = make_rows(task, seed=2)
    model = fitted(candidate, task)
    answers, scores = model.predict(frame), model.predict_score(frame)
    if task == "binary":
        assert answers.dtype == np.int64
        assert set(answers) == {0, 1}
        assert scores is not None
        assert scores.min() >= 0
        assert scores.max() <= 1
    else:
        assert answers.dtype == np.float64
        assert scores is None
    np.testing.assert_array_equal(model.answers(frame)[0], answers, strict=True)
    np.testing.assert_array_equal(model.answers(frame)[1], scores)
    again = fitted(clone(model), task)
    np.testing.assert_array_equal(again.predict(frame), answers)
    shuffled = frame[[*reversed(list(model.inputs))]].iloc[::-1]
    np.testing.assert_allclose(model.predict(shuffled)[::-1], answers, rtol=1e-12)


def test_logistic_is_scikit_learn_s_own_pipeline() -> None:
    """A plain logistic candidate scores as scikit-learn's standardised, one-hot pipeline does."""
    frame, y = make_rows()
    from sklearn.compose import make_column_transformer

    columns = make_column_transformer((StandardScaler(), ["größe"]), (OneHotEncoder(), ["job"]))
    reference = make_pipeline(columns, LogisticRegression(tol=1e-8)).fit(frame, y)
    model = make_candidate(params={"tol": 1e-8}).fit(frame, y)
    np.testing.assert_allclose(model.predict_score(frame), reference.predict_proba(frame)[:, 1], atol=1e-6)
    np.testing.assert_array_equal(model.predict(frame), reference.predict(frame))


def test_linear_is_least_squares() -> None:
    """A plain linear candidate predicts what least squares on the raw numbers and categories predicts."""
    frame, y = make_rows("regression")
    design = pd.get_dummies(frame[["größe", "job"]], dtype=float).to_numpy()
    reference = LinearRegression().fit(design, y).predict(design)
    np.testing.assert_allclose(make_candidate("regression").fit(frame, y).predict(frame), reference, rtol=1e-9)


def test_inputs_are_the_features_and_the_groups_that_prediction_reads() -> None:
    """Groups are inputs where answers depend on them, and only needed for fitting where they do not."""
    features = {"größe": "numeric", "job": "categorical"}
    assert make_candidate().inputs == features
    assert make_candidate(mitigation=PARITY).inputs == features
    assert make_candidate(mitigation=THRESHOLDS).inputs == {**features, "sex": "categorical", "lstat": "numeric"}
    assert make_candidate(mitigation=DECORRELATED).features == ("größe", "job")
    frame, _ = make_rows()
    assert len(fitted(make_candidate(mitigation=PARITY)).predict(frame[["größe", "job"]])) == len(frame)


def test_unseen_groups_are_counted_and_answered() -> None:
    """A group that fitting did not show is named with its rows, and gets an answer by the fallback."""
    model, (frame, _) = fitted(make_candidate(mitigation=THRESHOLDS)), make_rows(seed=2)
    assert model.unseen(frame) == {}
    frame.loc[:4, "sex"] = "X"
    frame.loc[:4, "lstat"] = 3.0
    frame.loc[5, "lstat"] = np.nan
    assert model.unseen(frame) == {"sex=X, lstat=(-inf, 8]": 5, f"sex={frame['sex'][5]}, lstat=missing": 1}
    assert set(model.predict(frame)) == {0, 1}
    assert fitted(make_candidate()).unseen(frame) == {}


def test_unseen_categories_and_missing_values_are_answered() -> None:
    """Rows with a category or a gap that training never showed get finite answers from every encoding."""
    rows = pd.DataFrame({"größe": [170.0, np.nan], "job": ["astronaut", None]})
    for task, kinds in FIT.items():
        for kind in kinds:
            assert np.isfinite(fitted(make_candidate(task, kind), task).predict(rows)).all()


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("regression", "logistic"), "estimator.kind `logistic` is for binary tasks, and the task is regression.*linear, ridge"),
        (("binary", "linear"), "estimator.kind `linear` is for regression tasks"),
        (("binary", "logistic", None, {"max_itr": 5}), "estimator.params has no `max_itr`.*`max_iter`"),
        (("binary", "logistic", None, {"max_iter": -5}), "'max_iter' parameter of LogisticRegression must be an int.*-5"),
        (("binary", "logistic", None, {"random_state": 1}), "random_state cannot be set: the case's `seed` sets it"),
        (("binary", "hist_gradient_boosting", None, {"categorical_features": [0]}), "categorical_features cannot be set"),
        (("regression", None, THRESHOLDS), "step threshold_optimizer: it is for binary tasks.*cohort_bias_correction, quantile_mapping"),
        (("regression", None, {**BOUNDED, "constraint": "equalized_odds"}), "`constraint: equalized_odds` does not fit a regression task.*bounded_group_loss"),
        (("binary", None, {**THRESHOLDS, "constraint": "bounded_group_loss"}), "`constraint: bounded_group_loss` does not fit.*demographic_parity"),
        (("binary", None, {"method": "threshold_optimizer", "by": ["sex"]}), "it needs a `constraint`.*equalized_odds"),
        (("binary", None, {"method": "cohort_models", "by": ["sex"], "constraint": "equalized_odds"}), "takes no constraint, and `equalized_odds` is given"),
        (("binary", None, {**DECORRELATED, "params": {"alfa": 1.0}}), "correlation_remover has no parameter `alfa`.*`alpha`"),
        (("binary", None, {**DECORRELATED, "params": {"alpha": 1.5}}), "'alpha' parameter of CorrelationRemover must be a float.*1.5"),
        (("binary", None, {**PARITY, "params": {"eps": 0}}), "'eps' parameter of ExponentiatedGradient"),
        (("binary", None, {**THRESHOLDS, "params": {"objective": "speed"}}), "'objective' parameter of ThresholdOptimizer"),
        (("binary", None, {**THRESHOLDS, "params": {"seed": 1}}), r"params\.seed cannot be set: the case\'s `seed` sets it"),
        (("binary", None, {"method": "reweighing", "by": ["gender"]}), "column `gender` is not in the catalogue of loans"),
    ],
)
def test_what_cannot_be_is_refused_before_any_fit(args: tuple[Any, ...], says: str) -> None:
    """A wrong task, parameter, value, constraint or column is named with the case, the candidate and what fits."""
    with pytest.raises(CaseError, match=f"(?s)^case loans, candidate first.*{says}"):
        make_candidate(*args)


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ([0, 1, np.nan, np.inf], "2 of 4 labels are missing or infinite"),
        ([0, 0, 0, 0], "every label is 0: there is one class only"),
        ([0, 1, 2, 1], r"binary labels are 0 and 1, and these are \[0.0, 1.0, 2.0\]"),
    ],
)
def test_labels_that_cannot_be_fitted_are_refused(labels: list[float], says: str) -> None:
    """Missing, infinite, single-class and foreign labels stop the fit and name the candidate."""
    with pytest.raises(DataError, match=f"^case loans, candidate first: {says}"):
        make_candidate().fit(make_rows(rows=4)[0], np.array(labels))


def test_rows_that_cannot_be_fitted_are_refused() -> None:
    """No rows, no validation rows for thresholds, a feature that is all gaps, a group with one class: each is named with its step."""
    frame, y = make_rows()
    with pytest.raises(DataError, match="candidate first: there are no rows"):
        make_candidate().fit(frame.iloc[:0], y[:0])
    with pytest.raises(DataError, match=r"candidate first, step threshold_optimizer: it is fitted on validation rows.*split.validation"):
        make_candidate(mitigation=THRESHOLDS).fit(frame, y)
    with pytest.raises(DataError, match="candidate first: feature `größe` has no value"):
        make_candidate().fit(frame.assign(größe=np.nan), y)
    one_sided = np.where(frame["sex"] == "F", 0, y)
    with pytest.raises(DataError, match="step exponentiated_gradient: group `sex=F` has no training row with label 1"):
        make_candidate(mitigation=PARITY).fit(frame, one_sided)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        make_candidate().fit(frame, y[:-1])


def test_what_scikit_learn_refuses_at_the_fit_is_a_case_error() -> None:
    """Parameters that are each valid and clash are reported with the case and the candidate, not as a traceback."""
    with pytest.raises(CaseError, match=r"case loans, candidate first, step estimator logistic: scikit-learn refused: .*lbfgs.*`params`"):
        fitted(make_candidate(params={"solver": "lbfgs", "l1_ratio": 1.0}))


def test_rows_that_do_not_fit_the_model_are_refused() -> None:
    """A missing or retyped column at prediction is named, and an unfitted candidate does not predict."""
    model, (frame, _) = fitted(make_candidate(mitigation=THRESHOLDS)), make_rows()
    with pytest.raises(DataError, match=r"case loans, candidate first.*column `job` is not in the data"):
        model.predict(frame.drop(columns="job"))
    with pytest.raises(DataError, match="column `sex` is not in the data"):
        model.predict(frame.drop(columns="sex"))
    with pytest.raises(DataError, match="column `größe` should be numeric"):
        model.predict_score(frame.assign(größe=frame["größe"].astype(str)))
    with pytest.raises(NotFittedError):
        make_candidate().predict(frame)


def test_a_failed_fit_leaves_the_fitted_model_as_it_was() -> None:
    """A refit that is refused does not leave half a model behind."""
    model, (frame, y) = fitted(make_candidate()), make_rows()
    before = model.predict_score(frame)
    with pytest.raises(DataError):
        model.fit(frame.assign(größe=np.nan), y)
    np.testing.assert_array_equal(model.predict_score(frame), before)


def test_no_rows_are_refused_in_our_words() -> None:
    """A batch without rows is said to be one; scikit-learn would speak of samples."""
    candidate = fitted(make_candidate())
    with pytest.raises(DataError, match="there are no rows to predict"):
        candidate.predict(make_rows()[0].iloc[:0])

"""What every fairness step promises: scikit-learn's contract, the metadata it asks for, and files that hold no rows."""

import io
import struct
import warnings
import zipfile
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.utils.estimator_checks import check_estimator

from tasks.core.mitigation import (
    calibrated_equalized_odds,
    cohort_calibration,
    cohort_predictions,
    cohort_thresholds,
    correlation_remover,
    disparate_impact_remover,
    exponentiated_gradient,
    grid_search,
    prototype_representation,
    reject_option,
    resampling,
    reweighing,
    threshold_optimizer,
)
from tasks.core.mitigation.base import Adjuster, Decider, Sampler, Transformer, Weigher, requested
from tasks.core.mitigation.draws import row_keys

MODULES = (
    *(calibrated_equalized_odds, cohort_calibration, cohort_predictions, cohort_thresholds, correlation_remover, disparate_impact_remover),
    *(exponentiated_gradient, grid_search, prototype_representation, reject_option, resampling, reweighing, threshold_optimizer),
)
METHODS = {name: cls for module in MODULES for name, cls in module.METHODS.items()}
ARGUMENTS: dict[str, tuple[dict[str, Any], ...]] = {
    "exponentiated_gradient": (
        {"estimator": LogisticRegression(), "constraint": "demographic_parity", "max_iter": 2, "nu": 1e-6},
        {"estimator": LinearRegression(), "constraint": "bounded_group_loss", "upper_bound": 0.02, "max_iter": 2, "nu": 1e-6},
    ),
    "grid_search": ({"estimator": RandomForestClassifier(3, min_samples_leaf=10, random_state=0), "constraint": "demographic_parity", "grid_size": 3},),
    "prototype_representation": ({"n_prototypes": 3, "max_iter": 10},),
    "reject_option": ({"constraint": "demographic_parity", "limit": 0.2},),
    "threshold_optimizer": ({"constraint": "equalized_odds"},),
    "calibrated_equalized_odds": ({"cost": "weighted"},),
    "cohort_calibration": ({"kind": "isotonic"}, {"kind": "platt"}),
    "resampling": ({"kind": "uniform"}, {"kind": "preferential"}),
}
STEPS = [pytest.param(name, given, id=f"{name}-{index}") for name in METHODS for index, given in enumerate(ARGUMENTS.get(name, ({},)))]
FITTED = [step for step in STEPS if not issubclass(METHODS[str(step.values[0])], (Sampler, Weigher))]
CANARY, CANARY_LABEL, CANARY_GROUP = 41.123456789, 777.123456789, "canary-5f1e"


def make_rows(n: int = 240, *, canary: bool = False) -> dict[str, np.ndarray]:
    """Features, labels of both kinds, scores, groups, keys; with a canary one row that nothing else is like."""
    rng = np.random.default_rng(11)
    groups = rng.choice(["a", "b"], n).astype(object)
    X = rng.normal(size=(n, 4)) + np.outer(groups == "a", [0.3, 0.3, 0.0, 0.0])
    value = X.sum(axis=1) + rng.normal(size=n)
    y = value.copy()
    if canary:
        X[7], y[7] = CANARY, CANARY_LABEL
    scores = 1 / (1 + np.exp(-value / 2 - rng.normal(size=n)))
    return {"X": X, "binary": (value > 0).astype(int), "real": y, "scores": scores, "predicted": value * 0.5 + 1, "groups": groups, "keys": row_keys(X.T)}


def regressive(step: Any) -> bool:
    """Whether it serves regression here."""
    return step.tasks == ("regression",) or isinstance(getattr(step, "estimator", None), LinearRegression)


def first(step: Any, rows: dict[str, np.ndarray]) -> np.ndarray:
    """What its first argument is: features, probabilities or predictions."""
    return rows[("predicted" if regressive(step) else "scores") if isinstance(step, (Adjuster, Decider)) else "X"]


def fit(step: Any, rows: dict[str, np.ndarray]) -> Any:
    """Fitted with the metadata that it asks for."""
    return step.fit(first(step, rows), rows["real" if regressive(step) else "binary"], **{name: rows[name] for name in requested(step, "fit")})


def outcome(step: Any, rows: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Everything that it answers on these rows."""
    methods = [name for name in ("transform", "predict", "predict_proba") if hasattr(step, name)]
    return [getattr(step, name)(first(step, rows), **{key: rows[key] for key in requested(step, name)}) for name in methods]


@pytest.mark.parametrize(("name", "given"), STEPS)
def test_parameters_stay_as_given_and_clones_are_alike(name: str, given: dict[str, Any]) -> None:
    """Constructor arguments come back as they went in, the parameter checks accept them, and a clone has the same."""
    step = METHODS[name](**given)
    step._validate_params()
    for key, value in given.items():
        assert step.get_params(deep=False)[key] is value
    assert repr(clone(step)) == repr(step)
    assert set(step._parameter_constraints) == set(step.get_params(deep=False))
    assert step.set_params(**given) is step


@pytest.mark.parametrize(("name", "given"), FITTED)
def test_a_fit_repeats_changes_nothing_given_and_is_asked_for(name: str, given: dict[str, Any]) -> None:
    """Unfitted it says so; fitted twice, or as a clone, it answers the same; its inputs stay as they were."""
    rows = make_rows()
    before = {key: values.copy() for key, values in rows.items()}
    with pytest.raises(NotFittedError):
        outcome(METHODS[name](**given), rows)
    step = fit(METHODS[name](**given), rows)
    answers = outcome(step, rows)
    for again in (outcome(fit(clone(step), rows), rows), outcome(fit(step, rows), rows)):
        for one, other in zip(answers, again, strict=True):
            np.testing.assert_array_equal(one, other)
    for key, values in rows.items():
        np.testing.assert_array_equal(values, before[key])


@pytest.mark.parametrize(("name", "given"), STEPS)
def test_it_asks_for_groups_to_fit_and_says_whether_to_predict(name: str, given: dict[str, Any]) -> None:
    """Every step is aimed; those that ask for groups at prediction name the ones they know, and the others none."""
    step = METHODS[name](**given)
    assert step.aimed
    assert "groups" in requested(step, "fit")
    assert name in type(step).__module__ or type(step).__module__.endswith("cohort_predictions")
    if isinstance(step, (Sampler, Weigher)):
        return
    fit(step, make_rows())
    later = requested(step, "predict" if isinstance(step, Decider) else "transform")
    assert step.known_groups == (("a", "b") if "groups" in later else None)


def content(step: Any) -> bytes:
    """All that a file of the step holds, uncompressed."""
    with zipfile.ZipFile(io.BytesIO(skops.io.dumps(step))) as archive:
        return b"\n".join(archive.read(member) for member in archive.namelist())


@pytest.mark.parametrize(("name", "given"), FITTED)
def test_it_saves_and_loads_bit_for_bit(name: str, given: dict[str, Any]) -> None:
    """Its file asks for no type but scikit-learn's and the step itself (and trees), and the loaded step answers the same bytes."""
    rows = make_rows()
    step = fit(METHODS[name](**given), rows)
    data = skops.io.dumps(step)
    kind = f"{type(step).__module__}.{type(step).__name__}"
    trusted = skops.io.get_untrusted_types(data=data)
    assert set(trusted) - {"sklearn.tree._tree.Tree"} == {kind}
    again = skops.io.loads(data, trusted=trusted)
    for one, other in zip(outcome(step, rows), outcome(again, rows), strict=True):
        assert one.tobytes() == other.tobytes()
        assert one.dtype == other.dtype


@pytest.mark.parametrize(("name", "given"), FITTED)
def test_its_file_holds_no_row(name: str, given: dict[str, Any]) -> None:
    """Neither the numbers nor the group of a row that nothing else is like are found in the file."""
    rows = make_rows(canary=True)
    small = rows["groups"].copy()
    small[7] = CANARY_GROUP
    labels = (rows["X"], rows["real"], rows["scores"], rows["predicted"])
    assert all(len(np.unique(values)) > 200 for values in labels)
    data = content(fit(METHODS[name](**given), rows))
    for value in (CANARY, CANARY_LABEL):
        for needle in (struct.pack("<d", value), struct.pack("<f", value), repr(value).encode()):
            assert needle not in data
    if name in ("correlation_remover", "disparate_impact_remover", "cohort_bias_correction", "quantile_mapping"):
        step = fit(METHODS[name](**given), {**rows, "groups": small})
        assert CANARY_GROUP in step.pooled_


def made_up(X: Any) -> np.ndarray:
    """A group for each row by its own values, so that scikit-learn's checks, which give none, have two of them."""
    try:
        return np.where(row_keys(np.asarray(X.toarray() if hasattr(X, "toarray") else X, dtype=float).T) & np.uint64(1), "a", "b").astype(object)
    except (TypeError, ValueError):  # what is no matrix is for the step to refuse
        return np.array(["a"], dtype=object)


class GroupedRemover(correlation_remover.CorrelationRemover):
    """With groups of its own making, of any size."""

    least = 1

    def fit(self, X, y=None):  # type: ignore[no-untyped-def,override]
        return super().fit(X, y, groups=made_up(X))

    def transform(self, X):  # type: ignore[no-untyped-def,override]
        return super().transform(X, groups=made_up(X))


class GroupedRepair(disparate_impact_remover.DisparateImpactRemover):
    """With groups of its own making, of any size."""

    least = 1

    def fit(self, X, y=None):  # type: ignore[no-untyped-def,override]
        return super().fit(X, y, groups=made_up(X))

    def transform(self, X):  # type: ignore[no-untyped-def,override]
        return super().transform(X, groups=made_up(X))


class GroupedPrototypes(prototype_representation.PrototypeRepresentation):
    """With groups of its own making, and labels of 0 and 1 of any others."""

    least = 1

    def fit(self, X, y):  # type: ignore[no-untyped-def,override]
        labels = None if y is None else (np.asarray(y).ravel() > np.asarray(y).min()).astype(int)
        return super().fit(X, labels, groups=made_up(X))


class GroupedGradient(exponentiated_gradient.ExponentiatedGradient):
    """With groups of its own making."""

    def fit(self, X, y):  # type: ignore[no-untyped-def,override]
        return super().fit(X, y, groups=made_up(X))


class GroupedGrid(grid_search.GridSearch):
    """With groups of its own making."""

    def fit(self, X, y):  # type: ignore[no-untyped-def,override]
        return super().fit(X, y, groups=made_up(X))


ONE_ROW = {"check_fit2d_1sample": "one row is one group or one class, which DataError says in our words"}
ONE_CLASS = {"check_classifiers_one_label": "one class is refused by DataError, which is no ValueError"}


@pytest.mark.parametrize(
    ("step", "fails"),
    [
        (GroupedRemover(), ONE_ROW),
        (GroupedRepair(), ONE_ROW),
        (GroupedPrototypes(max_iter=20), ONE_ROW),
        (GroupedGradient(LogisticRegression(), "demographic_parity", max_iter=1, nu=1e-6), {**ONE_ROW, **ONE_CLASS}),
        (GroupedGrid(LinearRegression(), "bounded_group_loss", grid_size=2), ONE_ROW),
    ],
    ids=lambda value: type(value).__name__,
)
def test_scikit_learn_s_estimator_checks_pass(step: Any, fails: dict[str, str]) -> None:
    """All of scikit-learn's checks pass but those listed, each for its reason."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the checks fit unscaled data and few rounds
        results = check_estimator(step, expected_failed_checks=fails, on_skip=None, on_fail=None)
    assert [(result["check_name"], result["exception"]) for result in results if result["status"] == "failed"] == []
    assert {result["check_name"] for result in results if result["status"] == "xfail"} == set(fails)


def test_every_method_is_of_its_kind() -> None:
    """Names in a case and the kind of step each is: 14 methods before, in and after fitting."""
    kinds = {
        Weigher: {"reweighing"},
        Sampler: {"resampling"},
        Transformer: {"correlation_remover", "disparate_impact_remover", "prototype_representation"},
        Adjuster: {"calibrated_equalized_odds", "cohort_calibration", "cohort_bias_correction", "quantile_mapping"},
        Decider: {"threshold_optimizer", "reject_option", "cohort_thresholds"},
    }
    for kind, names in kinds.items():
        assert {name for name, cls in METHODS.items() if issubclass(cls, kind)} == names
    assert {name for name, cls in METHODS.items() if cls.role == "in"} == {"exponentiated_gradient", "grid_search"}
    assert len(METHODS) == 14

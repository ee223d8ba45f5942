"""The six combinations of the targeted table, beside the same done by hand with pandas, scikit-learn and imbalanced-learn."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from imblearn.over_sampling import RandomOverSampler
from imblearn.under_sampling import RandomUnderSampler
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.experimental import enable_iterative_imputer  # noqa: F401  # the import that makes the next one possible
from sklearn.impute import IterativeImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, RobustScaler, StandardScaler

from tasks.core.building import build
from tasks.core.candidates import Candidate
from tasks.core.case import Case
from tasks.core.errors import CaseError, DataError

KINDS: dict[str, Any] = {"age": "numeric", "pay": "numeric", "job": "categorical", "rel": "categorical", "sex": "categorical"}
FEATURES = ["age", "pay", "job"]
SEED = 3
COHORTS = {"married": "rel IN ('Husband', 'Wife')", "others": "rest"}
LOGISTIC = {"kind": "logistic", "params": {"tol": 1e-8}}
HANDS = LogisticRegression(max_iter=1000, tol=1e-8)


def make(spec: dict[str, Any], task: str = "binary") -> Candidate:
    """The candidate `first` of a case named `loans`."""
    metric = "accuracy" if task == "binary" else "mean_absolute_error"
    case = Case.model_validate(
        {
            "case": "loans",
            "purpose": "a test",
            "dataset": "loans",
            "task": task,
            "target": {"column": "y", "positive": 1} if task == "binary" else {"column": "y"},
            "features": FEATURES,
            "seed": SEED,
            "periods": {"column": "when"},
            "candidates": [{"name": "first", "estimator": LOGISTIC, **spec}],
            "metrics": {"primary": metric},
            "limits": [{"metric": metric, "at_least": 0.5}],
            "carbon": {"country": "USA"},
        }
    )
    return build(case.candidates[0], case, KINDS)


def make_rows(rows: int = 500, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """Rows whose married are older and say yes more often; some relations and some ages are missing."""
    rng = np.random.default_rng(seed)
    relation = rng.choice(["Husband", "Wife", "Single", "Own-child"], rows, p=[0.3, 0.1, 0.35, 0.25])
    married = np.isin(relation, ["Husband", "Wife"])
    frame = pd.DataFrame(
        {
            "age": rng.normal(40, 9, rows) + 12 * married,
            "pay": rng.gamma(3, 2, rows),
            "job": rng.choice(["clerk", "nurse", "smith"], rows, p=[0.5, 0.3, 0.2]),
            "rel": relation,
            "sex": rng.choice(["Female", "Male"], rows),
        }
    )
    signal = (frame["age"] - 45) / 9 + (frame["job"] == "nurse") - 0.2 * frame["pay"] * np.where(married, -1, 1) + rng.normal(size=rows)
    frame.loc[rng.random(rows) < 0.15, "age"] = np.nan
    frame.loc[rng.random(rows) < 0.05, "rel"] = None
    return frame, (signal > 0.3).astype(int).to_numpy()


TRAIN, Y = make_rows()
NEW, _ = make_rows(300, seed=1)


def married(frame: pd.DataFrame) -> np.ndarray:
    """Who is in the first cohort; whoever's relation is missing is not."""
    return frame["rel"].isin(["Husband", "Wife"]).to_numpy()


def parts(frame: pd.DataFrame) -> list[np.ndarray]:
    """Rows of each cohort."""
    return [np.flatnonzero(married(frame)), np.flatnonzero(~married(frame))]


def encoder() -> Any:
    """Standardised numbers and one-hot categories."""
    return make_column_transformer((StandardScaler(), ["age", "pay"]), (OneHotEncoder(), ["job"]))


def by_hand(train: pd.DataFrame, y: np.ndarray, new: pd.DataFrame, *, models: bool) -> np.ndarray:
    """Scores of one model, or of a model for each cohort, on features encoded over all rows."""
    encode = encoder().fit(train)
    X, given = encode.transform(train), encode.transform(new)
    if not models:
        return HANDS.fit(X, y).predict_proba(given)[:, 1]
    scores = np.empty(len(new))
    for mine, theirs in zip(parts(train), parts(new), strict=True):
        scores[theirs] = HANDS.fit(X[mine], y[mine]).predict_proba(given[theirs])[:, 1]
    return scores


def filled(imputers: list[Any], columns: list[list[str]], each: bool) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training and new rows with each imputer fitted on its cohort's training rows, or one on all."""
    train, new = TRAIN.copy(), NEW.copy()
    places = zip(parts(TRAIN), parts(NEW), strict=True) if each else [(np.arange(len(TRAIN)), np.arange(len(NEW)))]
    for (mine, theirs), imputer, names in zip(places, imputers, columns, strict=True):
        train.loc[mine, names] = imputer.fit_transform(TRAIN.loc[mine, names])
        new.loc[theirs, names] = imputer.transform(NEW.loc[theirs, names])
    return train, new


MEAN = {"method": "simple_imputer", "columns": ["age"], "params": {"strategy": "mean"}}
REGRESSED = {"method": "iterative_imputer", "columns": ["age", "pay"], "params": {"max_iter": 20}}
IMPUTED: dict[str, tuple[list[dict[str, Any]], Callable[[], tuple[pd.DataFrame, pd.DataFrame]]]] = {
    "blanket": ([MEAN], lambda: filled([SimpleImputer()], [["age"]], each=False)),
    "same kind for each": ([{**MEAN, "each": True}], lambda: filled([SimpleImputer(), SimpleImputer()], [["age"], ["age"]], each=True)),
    "a kind for each": (
        [{"cohorts": {"married": MEAN, "others": REGRESSED}}],
        lambda: filled([SimpleImputer(), IterativeImputer(max_iter=20, random_state=SEED)], [["age"], ["age", "pay"]], each=True),
    ),
}


@pytest.mark.parametrize("models", [False, True], ids=["one model", "a model for each"])
@pytest.mark.parametrize("shape", IMPUTED)
def test_columns_are_changed_as_by_hand(shape: str, models: bool) -> None:
    """Gaps filled over all rows, in each cohort by its own mean, or in each by another method, give the scores of the same by hand."""
    pre, prepared = IMPUTED[shape]
    model = make({"cohorts": COHORTS, "pre": pre, **({"in": {"method": "cohort_models"}} if models else {})}).fit(TRAIN, Y)
    train, new = prepared()
    np.testing.assert_allclose(model.predict_score(NEW), by_hand(train, Y, new, models=models), atol=1e-6)


def drawn(samplers: list[Any]) -> np.ndarray:
    """Numbers of the training rows that come out, each sampler given the labels of its cohort's rows, or one those of all."""
    places = parts(TRAIN) if len(samplers) > 1 else [np.arange(len(TRAIN))]
    found = []
    for mine, sampler in zip(places, samplers, strict=True):
        if sampler is not None:
            sampler.fit_resample(np.arange(len(mine)).reshape(-1, 1), Y[mine])
        found.append(mine if sampler is None else mine[sampler.sample_indices_])
    return np.concatenate(found)


OVER, UNDER = {"method": "random_over_sampler"}, {"method": "random_under_sampler"}
FILLED = TRAIN.fillna({"age": TRAIN["age"].mean()})
DRAWN: dict[str, tuple[dict[str, Any], Callable[[], np.ndarray]]] = {
    "blanket": (OVER, lambda: drawn([RandomOverSampler(random_state=SEED)])),
    "same kind for each": ({**OVER, "each": True}, lambda: drawn([RandomOverSampler(random_state=SEED), RandomOverSampler(random_state=SEED)])),
    "a kind for each": (
        {"cohorts": {"married": OVER, "others": UNDER}},
        lambda: drawn([RandomOverSampler(random_state=SEED), RandomUnderSampler(random_state=SEED)]),
    ),
    "one cohort alone": ({"cohorts": {"married": {"method": "none"}, "others": OVER}}, lambda: drawn([None, RandomOverSampler(random_state=SEED)])),
}


@pytest.mark.parametrize("models", [False, True], ids=["one model", "a model for each"])
@pytest.mark.parametrize("shape", DRAWN)
def test_rows_are_drawn_as_by_hand(shape: str, models: bool) -> None:
    """Rows drawn over all, in each cohort, in each another way, or in one cohort alone, give the scores of the same by hand, and new rows stay."""
    step, rows = DRAWN[shape]
    model = make({"cohorts": COHORTS, "pre": [step], **({"in": {"method": "cohort_models"}} if models else {})}).fit(FILLED, Y)
    chosen = rows()
    new = NEW.fillna({"age": TRAIN["age"].mean()})
    expected = by_hand(FILLED.iloc[chosen].reset_index(drop=True), Y[chosen], new, models=models)
    np.testing.assert_allclose(model.predict_score(new), expected, atol=1e-6)


def test_a_scaler_for_each_cohort_takes_its_means() -> None:
    """Each cohort's numbers are measured from its own mean in its own standard deviation; a second kind serves the second cohort."""
    new = NEW.fillna({"age": 40.0})
    train, given = FILLED.copy(), new.copy()
    for scalers, step in (
        ((StandardScaler(), StandardScaler()), {"method": "standard_scaler", "each": True}),
        ((StandardScaler(), RobustScaler()), {"cohorts": {"married": {"method": "standard_scaler"}, "others": {"method": "robust_scaler"}}}),
    ):
        for scaler, mine, theirs in zip(scalers, parts(FILLED), parts(new), strict=True):
            train.loc[mine, ["age", "pay"]] = scaler.fit_transform(FILLED.loc[mine, ["age", "pay"]])
            given.loc[theirs, ["age", "pay"]] = scaler.transform(new.loc[theirs, ["age", "pay"]])
        model = make({"cohorts": COHORTS, "pre": [step]}).fit(FILLED, Y)
        np.testing.assert_allclose(model.predict_score(new), by_hand(train, Y, given, models=False), atol=1e-6)


def test_weights_within_each_cohort() -> None:
    """Reweighing for each cohort gives P(sex) P(y) / P(sex, y) of that cohort's rows, and none to a cohort left out."""
    frame = FILLED.assign(y=Y, n=1.0)
    for step, aimed in (
        ({"method": "reweighing", "by": ["sex"], "each": True}, [True, True]),
        ({"cohorts": {"married": {"method": "reweighing", "by": ["sex"]}, "others": {"method": "none"}}}, [True, False]),
    ):
        weight = np.ones(len(frame))
        for mine, wanted in zip(parts(frame), aimed, strict=True):
            part = frame.iloc[mine]
            of = {by: part.groupby(list(by))["n"].transform("sum") for by in (("sex",), ("y",), ("sex", "y"))}
            weight[mine] = of["sex",] * of["y",] / (of["sex", "y"] * len(part)) if wanted else 1.0
        X = encoder().fit_transform(FILLED)
        expected = HANDS.fit(X, Y, sample_weight=weight).predict_proba(X)[:, 1]
        np.testing.assert_allclose(make({"cohorts": COHORTS, "pre": [step]}).fit(FILLED, Y).predict_score(FILLED), expected, atol=1e-6)


def test_histogram_boosting_keeps_its_categories_after_steps_on_rows_and_columns() -> None:
    """Columns of text that earlier steps leave as they are reach histogram boosting as categories, not as numbers in an order."""
    estimator = {"kind": "hist_gradient_boosting", "params": {"max_iter": 20}}
    model = make({"estimator": estimator, "pre": [OVER, {"method": "standard_scaler", "columns": ["pay"]}]}).fit(FILLED, Y)
    chosen = drawn([RandomOverSampler(random_state=SEED)])
    coded = FILLED[FEATURES].assign(job=OrdinalEncoder().fit_transform(FILLED[["job"]]) + 1)
    boosted = HistGradientBoostingClassifier(max_iter=20, categorical_features=[2], random_state=SEED).fit(coded.iloc[chosen].to_numpy(), Y[chosen])
    np.testing.assert_allclose(model.predict_score(FILLED), boosted.predict_proba(coded.to_numpy())[:, 1], rtol=1e-6)
    encoded = make({"estimator": estimator, "pre": [{"method": "ordinal_encoder"}]}).fit(FILLED, Y)
    assert encoded.model_.is_categorical_ is None


def test_a_missing_value_counts_as_the_rest() -> None:
    """A condition that cannot be told for a row, fitting or predicting, leaves the row to the rest."""
    model = make({"cohorts": COHORTS, "in": {"method": "cohort_models"}}).fit(FILLED, Y)
    unknown, single = (FILLED.iloc[:40].assign(rel=value) for value in (None, "Single"))
    np.testing.assert_array_equal(model.predict_score(unknown), model.predict_score(single))
    assert model.unseen(unknown) == {}
    negated = make({"cohorts": {"others": "NOT (rel IN ('Husband', 'Wife'))", "married": "rest"}, "in": {"method": "cohort_models"}}).fit(FILLED, Y)
    wed = FILLED.iloc[:40].assign(rel="Wife")
    np.testing.assert_array_equal(negated.predict_score(unknown), negated.predict_score(wed))


def test_rows_of_no_cohort_take_the_documented_fallback() -> None:
    """At prediction a row in no cohort is changed as the largest cohort is and answered by the model of all rows; it is counted."""
    apart = {"husbands": "rel = 'Husband'", "singles": "rel = 'Single'"}
    held = FILLED["rel"].isin(["Husband", "Single"]).to_numpy()
    frame, y = FILLED[held], Y[held]
    strangers = FILLED[(FILLED["rel"] == "Own-child").to_numpy()]
    scaled = make({"cohorts": apart, "pre": [{"method": "standard_scaler", "each": True}]}).fit(frame, y)
    largest = frame["rel"].value_counts().index[0]
    assert scaled.unseen(strangers) == {"no cohort": len(strangers)}
    assert scaled.unseen(frame) == {}
    np.testing.assert_array_equal(scaled.predict_score(strangers), scaled.predict_score(strangers.assign(rel=largest)))
    assert len(set(scaled.predict_score(strangers.assign(rel="Husband")) - scaled.predict_score(strangers.assign(rel="Single")))) > 1
    models = make({"cohorts": apart, "in": {"method": "cohort_models"}}).fit(frame, y)
    encode = encoder().fit(frame)
    expected = HANDS.fit(encode.transform(frame), y).predict_proba(encode.transform(strangers))[:, 1]
    np.testing.assert_allclose(models.predict_score(strangers), expected, atol=1e-6)
    assert models.unseen(strangers) == {"no cohort": len(strangers)}


def test_a_row_that_meets_two_conditions_at_prediction_is_of_the_first() -> None:
    """Overlaps are refused in training rows; a new row in both cohorts is answered as one of the first."""
    cohorts = {"young": "age < 40", "rich": "pay > 9 AND age >= 40 OR pay > 60", "others": "rest"}
    model = make({"cohorts": cohorts, "in": {"method": "cohort_models"}}).fit(FILLED, Y)
    both = FILLED.iloc[:1].assign(age=20.0, pay=70.0)
    encode = encoder().fit(FILLED)
    young = (FILLED["age"] < 40).to_numpy()
    expected = HANDS.fit(encode.transform(FILLED[young]), Y[young]).predict_proba(encode.transform(both))[:, 1]
    np.testing.assert_allclose(model.predict_score(both), expected, atol=1e-6)


def test_rows_keep_their_places() -> None:
    """Predictions follow the rows, whatever their order and whichever cohorts are among them."""
    spec = {"cohorts": COHORTS, "pre": [{**MEAN, "each": True}, {"method": "robust_scaler", "each": True}], "in": {"method": "cohort_models"}}
    model = make(spec).fit(TRAIN, Y)
    scores = model.predict_score(NEW)
    assert scores is not None
    for order in (np.random.default_rng(0).permutation(len(NEW)), np.flatnonzero(married(NEW)), np.flatnonzero(~married(NEW)), [5]):
        np.testing.assert_allclose(model.predict_score(NEW.iloc[order]), scores[order], rtol=1e-12)


ONE_SIDED = np.where(married(TRAIN), Y, 0)
MODELS = {"in": {"method": "cohort_models"}}
FITS: dict[str, tuple[dict[str, Any], np.ndarray, type[Exception], str]] = {
    "overlapping": (
        {"cohorts": {"a": "rel IN ('Husband', 'Wife')", "b": "rel = 'Wife'", "c": "rest"}, **MODELS},
        Y,
        CaseError,
        f"cohorts overlap: {int((TRAIN['rel'] == 'Wife').sum())} of 500 rows are in both `a` and `b`.*no row meets two",
    ),
    "uncovered": (
        {"cohorts": {"a": "rel = 'Husband'", "b": "rel = 'Wife'"}, **MODELS},
        Y,
        CaseError,
        f"cohorts leave rows out: {int((~married(TRAIN)).sum())} of 500 are in none of a, b.*`others: rest`",
    ),
    "no rows": (
        {"cohorts": {"a": "rel = 'Queen'", "b": "rest"}, "pre": [{"method": "standard_scaler", "each": True}]},
        Y,
        DataError,
        "step standard_scaler: cohort `a` has no training rows.*leave it out",
    ),
    "one class, models": (
        {"cohorts": COHORTS, **MODELS},
        ONE_SIDED,
        DataError,
        rf"step cohort_models: cohort `others` has {int((~married(TRAIN)).sum())} training rows, each with label 0.*`method: decoupled`",
    ),
    "one class, sampler": (
        {"cohorts": COHORTS, "pre": [{**OVER, "each": True}]},
        ONE_SIDED,
        DataError,
        "step random_over_sampler: in cohort `others`: there is no row of class 1.*merge cohorts",
    ),
    "few of a class": (
        {"cohorts": COHORTS, "pre": [MEAN, {"cohorts": {"married": {"method": "none"}, "others": {"method": "smotenc", "params": {"k_neighbors": 200}}}}]},
        Y,
        DataError,
        r"step none \| smotenc: in cohort `others`: class 1 has \d+ rows.*Lower `params.k_neighbors` to at most \d+",
    ),
    "other columns": (
        {"cohorts": COHORTS, "pre": [{"cohorts": {"married": {"method": "one_hot_encoder"}, "others": {"method": "none"}}}]},
        Y,
        DataError,
        r"step one_hot_encoder \| none: its cohorts come out with different columns \(job, job=clerk, job=nurse\).*aim it at all rows",
    ),
    "other kinds of columns": (
        {"cohorts": COHORTS, "pre": [{"cohorts": {"married": {"method": "ordinal_encoder"}, "others": {"method": "none"}}}]},
        Y,
        DataError,
        r"its cohorts come out with different columns \(job\)",
    ),
    "as many other columns": (
        {"cohorts": COHORTS, "pre": [MEAN, {"method": "recursive_selector", "each": True, "params": {"n_features_to_select": 3}}]},
        Y,
        DataError,
        "step recursive_selector: its cohorts keep different columns.*aim it at all rows",
    ),
    "another number of columns": (
        {"cohorts": COHORTS, "pre": [MEAN, {"cohorts": {"married": {"method": "recursive_selector"}, "others": {"method": "none"}}}]},
        Y,
        DataError,
        r"its cohorts come out with \d and \d columns, and a model reads one set",
    ),
    "weights that are not taken": (
        {"pre": [{"method": "reweighing", "by": ["sex"]}], "in": {"method": "exponentiated_gradient", "by": ["sex"], "constraint": "equalized_odds"}},
        Y,
        CaseError,
        r"step exponentiated_gradient: a step before it weighs rows, and ExponentiatedGradient takes no weights.*Remove the step that weighs",
    ),
    "drawn after weighing": (
        {"pre": [MEAN, {"method": "reweighing", "by": ["sex"]}, {"method": "smote"}]},
        Y,
        CaseError,
        "step smote: it draws rows that another step has weighed.*Put the step that weighs after it",
    ),
    "no previous model": (
        {"in": {"method": "backward_compatible"}},
        Y,
        CaseError,
        "step backward_compatible: it stays compatible with another model, and there is none.*after the baseline",
    ),
    "scikit-learn's no": (
        {"cohorts": COHORTS, "pre": [{"method": "simple_imputer", "columns": ["job"], "params": {"strategy": "mean"}, "each": True}]},
        Y,
        CaseError,
        "step simple_imputer: in cohort `married`: column `job` holds text",
    ),
}


@pytest.mark.parametrize("name", FITS)
def test_what_the_rows_do_not_allow_is_refused(name: str) -> None:
    """Each refusal names the case, the candidate and the step, gives the counts, and says the way out."""
    spec, y, error, says = FITS[name]
    with pytest.raises(error, match=f"(?s)^case loans, candidate first.*{says}"):
        make(spec).fit(TRAIN, y)


def test_a_column_of_several_types_is_refused_by_name() -> None:
    """A column that a condition reads and that mixes numbers with text is no traceback."""
    mixed = TRAIN.assign(rel=pd.Series([1, "Wife"] * 250, dtype=object))
    with pytest.raises(DataError, match=r"^case loans, candidate first: one of the columns rel holds values of several types.*one type"):
        make({"cohorts": COHORTS, **MODELS}).fit(mixed, Y)

"""Imputers, encoders, scalers and normalisers on chosen columns."""

import io
import zipfile
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.preprocessing import (
    Normalizer,
    OrdinalEncoder,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)
from sklearn.utils.estimator_checks import parametrize_with_checks

from tasks.core.errors import CaseError, DataError
from tasks.core.mitigation.base import Step
from tasks.core.mitigation.centroids import CentroidImputer
from tasks.core.mitigation.columns import IMPUTERS, METHODS, OnColumns

NUMBERS, TEXT = ["age", "gain"], ["job", "region"]


def make_frame(n: int = 400, gaps: float = 0.0) -> tuple[pd.DataFrame, np.ndarray]:
    """Two columns of numbers and two of text, mixed, and 0/1 labels that follow age and job."""
    rng = np.random.default_rng(4)
    frame = pd.DataFrame(
        {
            "age": rng.normal(40, 9, n),
            "job": pd.Series(rng.choice(["clerk", "cook", "smith"], n, p=[0.5, 0.3, 0.2]), dtype="str"),
            "gain": rng.gamma(2, 300, n),
            "region": pd.Series(rng.choice(["east", "west"], n), dtype="str"),
        }
    )
    y = (rng.random(n) < 0.2 + 0.4 * (frame["job"] == "smith") + 0.3 * (frame["age"] > 45)).astype(np.int64).to_numpy()
    for name in frame:
        frame.loc[rng.random(n) < gaps, name] = "missing" if name in TEXT else np.nan
    return frame, y


def make(method: str, columns: tuple[str, ...] = (), /, **params: Any) -> OnColumns:
    """The step of that name."""
    step = METHODS[method](columns, 0, params)
    assert isinstance(step, OnColumns)
    return step


def data_for(method: str) -> tuple[pd.DataFrame, np.ndarray]:
    """Rows with gaps for an imputer, without for the others."""
    return make_frame(gaps=0.1 if method in IMPUTERS else 0.0)


PEERS = [
    ("simple_imputer", {"strategy": "median"}, SimpleImputer(strategy="median")),
    ("simple_imputer", {"strategy": "constant", "fill_value": -1.5}, SimpleImputer(strategy="constant", fill_value=-1.5)),
    ("iterative_imputer", {"max_iter": 5}, IterativeImputer(max_iter=5, random_state=0)),
    ("standard_scaler", {}, StandardScaler()),
    ("robust_scaler", {"quantile_range": [10.0, 90.0]}, RobustScaler(quantile_range=(10.0, 90.0))),
    ("power_transformer", {"method": "box-cox"}, PowerTransformer("box-cox")),
    ("normalizer", {"norm": "l1"}, Normalizer("l1")),
]


@pytest.mark.parametrize(("method", "params", "peer"), PEERS, ids=[f"{method}-{'-'.join(map(str, params))}" for method, params, _ in PEERS])
def test_numbers_come_out_as_scikit_learn_s_do(method: str, params: dict[str, Any], peer: Any) -> None:
    """Columns of numbers come out as from scikit-learn's class with the same parameters; text passes by, and places stay."""
    frame, y = data_for(method)
    new = make(method, **params).fit_transform(frame, y)
    np.testing.assert_array_equal(new[NUMBERS], peer.fit_transform(frame[NUMBERS].to_numpy()))
    assert list(new) == list(frame)
    pd.testing.assert_frame_equal(new[TEXT], frame[TEXT])


def test_a_range_ends_at_the_means_of_the_ten_outermost_values() -> None:
    """min_max_scaler is scikit-learn's formula between those means, so that no row's value is kept; values beyond come out beyond."""
    frame, y = make_frame()
    new = make("min_max_scaler", feature_range=[-1, 1]).fit_transform(frame, y)
    for name in NUMBERS:
        ordered = np.sort(frame[name])
        low, high = ordered[:10].mean(), ordered[-10:].mean()
        np.testing.assert_allclose(new[name], 2 * (frame[name] - low) / (high - low) - 1, rtol=1e-12, atol=1e-12)
    clipped = make("min_max_scaler", clip=True).fit_transform(frame, y)[NUMBERS]
    assert (clipped.min().min(), clipped.max().max()) == (0.0, 1.0)


def test_only_the_named_columns_are_worked_on() -> None:
    """With `columns` given, every other column is the very one that came in."""
    frame, y = make_frame()
    new = make("standard_scaler", ("gain",)).fit_transform(frame, y)
    np.testing.assert_array_equal(new[["gain"]], StandardScaler().fit_transform(frame[["gain"]]))
    pd.testing.assert_frame_equal(new.drop(columns="gain"), frame.drop(columns="gain"))


def test_text_is_filled_by_its_commonest_value_or_a_word() -> None:
    """The word "missing" is the gap of a text column: most_frequent fills text and numbers, a word fills text, and a number numbers."""
    frame, y = make_frame(gaps=0.1)
    new = make("simple_imputer", strategy="most_frequent").fit_transform(frame, y)
    known = frame["job"][frame["job"] != "missing"]
    assert (new["job"] == frame["job"].where(frame["job"] != "missing", known.mode()[0])).all()
    assert new["job"].dtype == frame["job"].dtype
    assert not new[NUMBERS].isna().any().any()
    new = make("simple_imputer", strategy="constant", fill_value="unknown").fit_transform(frame, y)
    assert (new["region"] == frame["region"].replace("missing", "unknown")).all()
    assert new["age"].equals(frame["age"])


@pytest.mark.parametrize("method", IMPUTERS)
def test_an_indicator_stands_beside_a_column_that_had_gaps(method: str) -> None:
    """With add_indicator, a column that had gaps in training is followed by 0/1 for "was a gap", also for rows that come later."""
    frame, y = make_frame(gaps=0.1)
    frame["age"] = frame["age"].fillna(1.0)
    step = make(method, add_indicator=True).fit(frame, y)
    new = step.transform(frame.iloc[::-1])
    assert list(new) == ["age", "job", "gain", "gain=missing", "region"]
    assert new["gain=missing"].tolist() == frame["gain"].isna().iloc[::-1].astype(float).tolist()
    assert step.transform(frame.fillna({"gain": 0.0}))["gain=missing"].eq(0).all()


def test_centroids_fill_much_as_the_nearest_rows_do() -> None:
    """Where rows lie in tight clusters, most gaps are filled to within a cluster's spread as scikit-learn's KNNImputer fills them, and all as well."""
    rng = np.random.default_rng(0)
    lies = rng.integers(0, 8, 800)
    X = rng.normal(0, 50, (8, 4))[lies] + rng.normal(0, 1, (800, 4))
    holes = (rng.random(X.shape) < 0.1) & (np.arange(4) > 0)
    gappy = np.where(holes, np.nan, X)
    ours, theirs = CentroidImputer().fit_transform(gappy), KNNImputer().fit_transform(gappy)
    assert np.median(np.abs(ours - theirs)[holes]) < 1.0
    assert np.abs(ours - X)[holes].mean() < min(1.5, np.abs(theirs - X)[holes].mean())
    np.testing.assert_array_equal(ours[~holes], gappy[~holes])


@pytest.mark.parametrize("weights", ["uniform", "distance"])
def test_centroids_by_hand(weights: str) -> None:
    """Two groups, of ten and twenty rows: the nearest one fills a gap; asked for more rows than it has, both do, by their rows."""
    X = np.concatenate([np.tile([0.0, 1.0], (10, 1)), np.tile([10.0, 4.0], (30, 1))])
    asked = np.array([[1.0, np.nan], [10.0, np.nan], [np.nan, np.nan]])
    near = CentroidImputer(weights=weights).fit(X).transform(asked)
    np.testing.assert_allclose(near[:, 1], [1.0, 4.0, 3.25])
    both = CentroidImputer(n_neighbors=11, weights=weights).fit(X).transform(asked)
    mixed = (10 * 1.0 + 30 * 4.0) / 40 if weights == "uniform" else (10 * 1.0 / 1 + 30 * 4.0 / 9) / (10 / 1 + 30 / 9)
    np.testing.assert_allclose(both[0, 1], mixed)
    np.testing.assert_allclose(near[2], [7.5, 3.25])


def test_a_centroid_stands_for_ten_rows() -> None:
    """No mean is kept of fewer than ten values, however the gaps fall."""
    rng = np.random.default_rng(2)
    X = np.where(rng.random((500, 3)) < [0.0, 0.3, 0.9], np.nan, rng.normal(size=(500, 3)))
    imputer = CentroidImputer().fit(X)
    assert ((imputer.rows_ >= 10) == ~np.isnan(imputer.centroids_)).all()
    assert len(imputer.centroids_) > 10
    np.testing.assert_array_equal(imputer.rows_.sum(axis=0), (~np.isnan(X)).sum(axis=0))


@parametrize_with_checks(
    [CentroidImputer()],
    expected_failed_checks=lambda _: {"check_fit2d_1sample": "one row cannot be imputed from; the error is a DataError that says so"},
)
def test_the_imputer_keeps_scikit_learn_s_contract(estimator: Any, check: Any) -> None:
    """Each of scikit-learn's own checks of a transformer passes."""
    check(estimator)


def test_categories_become_named_columns() -> None:
    """One-hot columns stand in their column's place, are named column=category, and have pandas' values; an unseen category has none."""
    frame, y = make_frame()
    step = make("one_hot_encoder", ("job",)).fit(frame, y)
    new = step.transform(frame)
    assert list(new) == ["age", "job=clerk", "job=cook", "job=smith", "gain", "region"]
    dummies = pd.get_dummies(frame["job"], prefix="job", prefix_sep="=", dtype=float)
    pd.testing.assert_frame_equal(new[list(dummies)], dummies, check_column_type=False)
    assert step.transform(frame.assign(job="pilot")).filter(like="job=").eq(0).all(axis=None)


def test_infrequent_categories_take_the_unseen_ones_in() -> None:
    """Where rare categories are pooled, an unseen one is counted with them."""
    frame, y = make_frame()
    step = make("one_hot_encoder", ("job",), max_categories=2).fit(frame, y)
    new = step.transform(frame.assign(job="pilot"))
    assert list(new.filter(like="job=")) == ["job=clerk", "job=infrequent"]
    assert new["job=infrequent"].eq(1).all()
    assert step.transform(frame)["job=infrequent"].tolist() == (frame["job"] != "clerk").astype(float).tolist()


def test_ordinal_codes_are_scikit_learn_s_and_an_unseen_category_is_a_gap() -> None:
    """Codes follow the alphabet, or the order given; a category that training did not show becomes NaN."""
    frame, y = make_frame()
    step = make("ordinal_encoder").fit(frame, y)
    np.testing.assert_array_equal(step.transform(frame)[TEXT], OrdinalEncoder().fit_transform(frame[TEXT].astype(object)))
    assert step.transform(frame.assign(job="pilot"))["job"].isna().all()
    ordered = make("ordinal_encoder", ("job",), categories=[["smith", "clerk", "cook"]]).fit_transform(frame, y)
    assert ordered["job"].tolist() == frame["job"].map({"smith": 0.0, "clerk": 1.0, "cook": 2.0}).tolist()


@pytest.mark.parametrize("binary", [True, False])
def test_target_encoding_is_cross_fitted_on_training_rows(binary: bool) -> None:
    """Training rows are encoded by the other folds, as scikit-learn does it; later rows by all of them; an unseen category by the mean."""
    frame, y = make_frame()
    labels = y if binary else np.round(frame["age"].to_numpy())
    split = (StratifiedKFold if binary else KFold)(4, shuffle=True, random_state=0)
    peer = TargetEncoder(target_type="binary" if binary else "continuous", cv=split)
    step = make("target_encoder", cv=4)
    crossed = step.fit_transform(frame, labels)
    np.testing.assert_array_equal(crossed[TEXT], peer.fit_transform(frame[TEXT].astype(object), labels))
    later = step.transform(frame)
    np.testing.assert_array_equal(later[TEXT], peer.transform(frame[TEXT].astype(object)))
    assert not np.array_equal(crossed["job"], later["job"])
    np.testing.assert_allclose(step.transform(frame.assign(job="pilot"))["job"], labels.mean())


def test_a_category_of_few_rows_does_not_tell_their_labels() -> None:
    """A category of under ten training rows is encoded as an unseen one is; scikit-learn's encoding of one row is its label."""
    frame, _ = make_frame()
    frame.loc[0, "job"] = "pilot"
    labels = frame["gain"].to_numpy()
    step = make("target_encoder").fit(frame, labels)
    assert np.isclose(TargetEncoder(target_type="continuous").fit(frame[["job"]].to_numpy(object), labels).transform([["pilot"]])[0, 0], labels[0])
    np.testing.assert_allclose(step.transform(frame)["job"][0], labels.mean())


def test_a_gap_passes_through_the_normaliser() -> None:
    """The norm is that of the row's other values, and the gap stays."""
    frame = pd.DataFrame({"a": [3.0, np.nan], "b": [4.0, 4.0], "c": [0.0, 3.0]})
    np.testing.assert_allclose(make("normalizer").fit_transform(frame), [[0.6, 0.8, 0.0], [np.nan, 0.8, 0.6]])


def test_quantiles_are_scikit_learn_s_but_for_the_outermost() -> None:
    """Between the second and the last quantile but one values come out as the library's; beyond, still in their order, from 0 to 1."""
    frame, y = make_frame()
    new = make("quantile_transformer", n_quantiles=20).fit_transform(frame, y)["age"].to_numpy()
    peer = QuantileTransformer(n_quantiles=20).fit_transform(frame[["age"]])[:, 0]
    inner = (peer > 1 / 19) & (peer < 18 / 19)
    np.testing.assert_allclose(new[inner], peer[inner], atol=1e-12)
    assert (np.diff(new[np.argsort(frame["age"])]) >= 0).all()
    assert (new.min(), new.max()) == (0.0, 1.0)


def test_quantiles_are_never_more_than_a_tenth_of_the_values() -> None:
    """The library's thousand quantiles would be the rows themselves: of 400 values 40 quantiles are kept, of 15 none."""
    frame, y = make_frame()
    assert make("quantile_transformer").fit(frame, y).parts_["numeric"].n_quantiles_ == 40
    with pytest.raises(DataError, match=r"has 15 values, and quantiles need at least 20"):
        make("quantile_transformer").fit(frame.iloc[:15], y[:15])


@pytest.mark.parametrize("method", METHODS)
def test_a_step_behaves_as_an_estimator(method: str) -> None:
    """Cloned, it learns the same; fitting twice is fitting once; it refuses before fitting and other columns after; rows are left alone."""
    frame, y = data_for(method)
    before = frame.copy()
    step = make(method)
    with pytest.raises(NotFittedError):
        step.transform(frame)
    assert step.get_params() == {"method": method, "columns": (), "params": {}, "seed": 0}
    assert step.set_params(seed=0).fit(frame, y) is step
    once = step.transform(frame)
    pd.testing.assert_frame_equal(clone(step).fit(frame, y).fit(frame, y).transform(frame), once)
    pd.testing.assert_frame_equal(frame, before)
    assert step.n_features_in_ == 4
    assert step.feature_names_in_.tolist() == list(frame)
    with pytest.raises(ValueError, match="feature names"):
        step.transform(frame[["job", "age", "gain", "region"]])
    with pytest.raises(ValueError, match="feature names"):
        step.transform(frame.drop(columns="age"))


@pytest.mark.parametrize("method", METHODS)
def test_a_saved_step_answers_alike_and_keeps_no_row(method: str) -> None:
    """Loaded back it gives the same bits, and a row planted in training is not in the bytes."""
    frame, y = data_for(method)
    planted = {"age": 61.03125, "gain": 4321.0625}
    frame.loc[7, list(planted)] = list(planted.values())
    step = make(method).fit(frame, y)
    dumped = skops.io.dumps(step)
    again = skops.io.loads(dumped, trusted=skops.io.get_untrusted_types(data=dumped))
    pd.testing.assert_frame_equal(again.transform(frame), step.transform(frame), check_exact=True)
    with zipfile.ZipFile(io.BytesIO(dumped)) as archive:
        content = b"".join(archive.read(name) for name in archive.namelist())
    for value in planted.values():
        assert np.float64(value).tobytes() not in content
        assert str(value).encode() not in content


WRONG: list[tuple[str, tuple[str, ...], dict[str, Any], str]] = [
    ("simple_imputer", (), {"stratgy": "mean"}, r"simple_imputer has no parameter `stratgy`\. Did you mean `strategy`\?"),
    ("one_hot_encoder", (), {"drop": "first"}, r"one_hot_encoder has no parameter `drop`\. There are: categories, max_categories, min_frequency"),
    ("simple_imputer", (), {"strategy": "middle"}, r"The 'strategy' parameter of SimpleImputer must be a str among"),
    ("simple_imputer", (), {"strategy": "constant"}, r"`strategy: constant` needs a `fill_value`"),
    ("knn_imputer", (), {"add_indicator": "yes"}, r"`add_indicator` is true or false, and 'yes' is given"),
    ("ordinal_encoder", (), {"categories": [["a", "b"]]}, r"`categories` has 1 lists, for 0 `columns`\. Name the `columns`"),
    ("target_encoder", (), {"cv": 1}, r"The 'cv' parameter of TargetEncoder"),
]


@pytest.mark.parametrize(("method", "columns", "params", "message"), WRONG)
def test_wrong_parameters_are_refused_before_any_row_is_read(method: str, columns: tuple[str, ...], params: dict[str, Any], message: str) -> None:
    """A misspelt or impossible parameter is named, with the nearest right one."""
    with pytest.raises(CaseError, match=message):
        METHODS[method](columns, 0, params)


def test_columns_that_do_not_fit_are_named() -> None:
    """A column that is not there, of the wrong kind, or none of the right kind: the error says which, and what to do."""
    frame, y = make_frame()
    with pytest.raises(CaseError, match=r"`columns` names `agee`, which is not among.*Did you mean `age`"):
        make("standard_scaler", ("agee",)).fit(frame, y)
    with pytest.raises(CaseError, match=r"column `job` holds text, and standard_scaler reads numbers\. Encode it first, by one_hot_encoder"):
        make("standard_scaler", ("age", "job")).fit(frame, y)
    with pytest.raises(CaseError, match=r"column `job` holds text, and simple_imputer reads numbers\. Write `strategy: most_frequent`"):
        make("simple_imputer", ("job",)).fit(frame, y)
    with pytest.raises(CaseError, match=r"column `age` holds numbers, and target_encoder reads text"):
        make("target_encoder", ("age",)).fit(frame, y)
    with pytest.raises(CaseError, match=r"one_hot_encoder reads text, and there is no such column"):
        make("one_hot_encoder").fit(frame[NUMBERS], y)


def test_data_that_cannot_be_learned_from_is_named() -> None:
    """An empty column, folds without rows, values that Box-Cox cannot take, and names that would clash: each says so."""
    frame, y = make_frame()
    with pytest.raises(DataError, match=r"column `gain` has no value in any training row"):
        make("simple_imputer").fit(frame.assign(gain=np.nan), y)
    with pytest.raises(DataError, match=r"column `job` has no value in any training row"):
        make("simple_imputer", strategy="most_frequent").fit(frame.assign(job="missing"), y)
    with pytest.raises(DataError, match=r"label 1 has 2 rows, for 5 folds\. Lower `params.cv` to at most 2"):
        make("target_encoder").fit(frame, (np.arange(400) < 2).astype(int))
    with pytest.raises(DataError, match=r"column `gain` has values of 0 or below.*yeo-johnson"):
        make("power_transformer", method="box-cox").fit(frame.assign(gain=0.0), y)
    with pytest.raises(DataError, match=r"two columns named `job=cook`"):
        make("one_hot_encoder").fit(frame.assign(**{"job=cook": 1.0}), y)
    with pytest.raises(DataError, match=r"1 of its columns have a value in fewer than 10 of 400 rows"):
        make("knn_imputer").fit(frame.assign(gain=frame["gain"].where(frame.index < 5)), y)


def test_every_method_lists_its_parameters() -> None:
    """What a case may write is there to be shown: names of scikit-learn's, without those that are ours to set."""
    assert METHODS["knn_imputer"].parameters == ("n_neighbors", "weights", "add_indicator")
    assert METHODS["power_transformer"].parameters == ("method", "standardize")
    for maker in METHODS.values():
        assert maker.takes_columns
        assert not {"copy", "random_state", "verbose"} & set(maker.parameters)
        assert isinstance(maker((), 0, {}), Step)

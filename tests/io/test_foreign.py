"""Models of files that were trained elsewhere: they answer as their own libraries do, and only types that are trusted are loaded."""

import json
import pickle

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from tasks.core.errors import DataError, IntegrityError
from tasks.io.foreign import foreign
from tasks.io.models import dump, load
from tests.conftest import loans

FRAME = loans(rows=200)
KINDS = {"amount": "numeric", "income": "numeric", "region": "categorical"}
REPAID = (FRAME["repaid"] == "yes").astype(int)


def given(data, format_="skops", **told):
    return foreign(data, format_, **({"task": "binary", "target": "yes", "features": tuple(KINDS), "kinds": KINDS} | told))


def pipeline(model, columns=("amount", "region")):
    """A model over raw columns, with the steps it needs."""
    steps = [("numbers", make_pipeline(SimpleImputer(), StandardScaler()), [one for one in columns if KINDS[one] == "numeric"])]
    steps += [("words", OneHotEncoder(handle_unknown="ignore"), [one for one in columns if KINDS[one] != "numeric"])]
    return make_pipeline(ColumnTransformer(steps), model)


def again(model):
    """What is registered, stored and loaded."""
    data = dump(model)
    assert dump(load(data)) == data or load(data).file.tobytes() == model.file.tobytes()
    return load(data)


@pytest.mark.parametrize("estimator", [LogisticRegression(), RandomForestClassifier(5, random_state=1), HistGradientBoostingClassifier(max_iter=5)])
@pytest.mark.parametrize("words", [False, True])
def test_a_pipeline_answers_as_scikit_learn_does(estimator, words):
    """Labels and probabilities of the positive class are scikit-learn's own, before and after storing; classes may be the target's words."""
    columns = ("amount", "income") if isinstance(estimator, HistGradientBoostingClassifier) else ("amount", "region")
    model = pipeline(estimator, columns) if "region" in columns else estimator
    model.fit(FRAME[list(columns)], FRAME["repaid"] if words else REPAID)
    found = again(given(skops.io.dumps(model)))
    expected = model.predict(FRAME[list(columns)])
    assert found.inputs == {name: KINDS[name] for name in columns}
    assert found.predict(FRAME).tolist() == (expected == ("yes" if words else 1)).astype(int).tolist()
    np.testing.assert_array_equal(found.predict_score(FRAME), model.predict_proba(FRAME[list(columns)])[:, 1])
    assert found.unseen(FRAME) == {}


def test_regression_and_models_without_probabilities():
    """A regression has no score; nor has a classifier that gives none."""
    line = LinearRegression().fit(FRAME[["income"]], FRAME["amount"])
    found = again(given(skops.io.dumps(line), task="regression", target=None))
    np.testing.assert_array_equal(found.predict(FRAME), line.predict(FRAME[["income"]]))
    assert found.predict_score(FRAME) is None
    ridge = RidgeClassifier().fit(FRAME[["income"]], REPAID)
    assert given(skops.io.dumps(ridge)).predict_score(FRAME) is None


class Stranger(LogisticRegression):
    """A type that neither skops nor we trust."""


@pytest.mark.parametrize(
    ("data", "error", "told"),
    [
        (skops.io.dumps(Stranger().fit(FRAME[["income"]], REPAID)), IntegrityError, "Stranger"),
        (skops.io.dumps(make_pipeline(FunctionTransformer(print), LogisticRegression())), IntegrityError, "print"),
        (pickle.dumps(LogisticRegression()), IntegrityError, "are not a whole skops file"),
        (skops.io.dumps({"a": 1}), DataError, "holds a dict, not an estimator"),
        (skops.io.dumps(LogisticRegression().fit(FRAME[["income"]].to_numpy(), REPAID)), DataError, "does not say which columns it reads"),
        (skops.io.dumps(LinearRegression().fit(FRAME[["income"]], REPAID)), DataError, "the case's task is binary"),
        (skops.io.dumps(LogisticRegression().fit(FRAME[["income"]], FRAME["region"])), DataError, "tells the classes 'Nord', 'Ost', 'Süd'"),
        (skops.io.dumps(LogisticRegression().fit(FRAME[["income"]].rename(columns={"income": "sex"}), REPAID)), DataError, "reads `sex`, not among"),
    ],
)
def test_what_cannot_be_taken_is_named(data, error, told):
    """Types that are not trusted are listed and not loaded; a pickle is not read; columns and classes that do not fit are named."""
    with pytest.raises(error, match=told):
        given(data)


def test_rows_that_it_does_not_take_are_the_users_to_mend():
    """A missing column, or a value that the model refuses, is said as such."""
    found = given(skops.io.dumps(LogisticRegression().fit(FRAME[["income"]], REPAID)))
    with pytest.raises(DataError, match="reads `income`, which the rows do not have"):
        found.predict(FRAME[["amount"]])
    with pytest.raises(DataError, match=r"does not take these rows: Input X contains NaN"):
        found.predict(FRAME.assign(income=np.nan))


class TestOnnx:
    """An .onnx file through onnxruntime."""

    @pytest.fixture(autouse=True)
    def _extra(self):
        pytest.importorskip("onnxruntime")
        pytest.importorskip("skl2onnx")

    @staticmethod
    def exported(model, **options):
        from skl2onnx import to_onnx
        from skl2onnx.common.data_types import FloatTensorType, StringTensorType

        types = [("amount", FloatTensorType([None, 1])), ("region", StringTensorType([None, 1]))]
        return to_onnx(model, initial_types=types, options={id(model): options} if options else None)

    @pytest.mark.parametrize(("words", "zipmap"), [(False, True), (False, False), (True, True)])
    def test_a_classifier_answers_as_what_it_was_made_of(self, words, zipmap):
        """Labels agree but for rows on the edge, probabilities to single precision; twice the same bits."""
        model = pipeline(LogisticRegression()).fit(FRAME[["amount", "region"]], FRAME["repaid"] if words else REPAID)
        data = self.exported(model, **({} if zipmap else {"zipmap": False})).SerializeToString()
        found = again(given(data, "onnx"))
        score = model.predict_proba(FRAME[["amount", "region"]])[:, 1]
        np.testing.assert_allclose(found.predict_score(FRAME), score, atol=1e-5)
        clear = abs(score - 0.5) > 1e-4
        assert (found.predict(FRAME) == (score > 0.5))[clear].all()
        np.testing.assert_array_equal(found.predict_score(FRAME), given(data, "onnx").predict_score(FRAME))
        assert found.inputs == {"amount": "numeric", "region": "categorical"}

    def test_a_matrix_says_what_its_columns_are(self):
        """A model with one matrix for input is taken when its metadata names the columns, in their order."""
        import onnx.helper
        from skl2onnx import to_onnx

        names = ["income", "amount"]
        X = FRAME[names].to_numpy(np.float32) / 10_000
        model = LinearRegression().fit(X, REPAID)
        exported = to_onnx(model, X[:1])
        with pytest.raises(DataError, match="does not name its columns"):
            given(exported.SerializeToString(), "onnx", task="regression", target=None)
        onnx.helper.set_model_props(exported, {"feature_names": json.dumps(names)})
        found = again(given(exported.SerializeToString(), "onnx", task="regression", target=None))
        scaled = FRAME.assign(income=FRAME["income"] / 10_000, amount=FRAME["amount"] / 10_000)
        np.testing.assert_allclose(found.predict(scaled), model.predict(X), atol=1e-5)

    def test_one_score_is_a_probability(self):
        """A network with a single output in [0, 1] answers 1 above a half."""
        import onnx
        from onnx import TensorProto, helper

        nodes = [helper.make_node("Sigmoid", ["income"], ["p"])]
        inputs = [helper.make_tensor_value_info("income", TensorProto.FLOAT, [None, 1])]
        outputs = [helper.make_tensor_value_info("p", TensorProto.FLOAT, [None, 1])]
        model = helper.make_model(helper.make_graph(nodes, "net", inputs, outputs), opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.checker.check_model(model)
        rows = pd.DataFrame({"income": [-2.0, 0.5, 3.0]})
        found = again(given(model.SerializeToString(), "onnx"))
        assert found.predict(rows).tolist() == [0, 1, 1]
        np.testing.assert_allclose(found.predict_score(rows), 1 / (1 + np.exp([2, -0.5, -3])), rtol=1e-6)

    @pytest.mark.parametrize(("data", "told"), [(b"", "cannot be read as ONNX"), (b"no model at all", "cannot be read as ONNX")])
    def test_bytes_that_are_no_model_are_named(self, data, told):
        """A damaged file is refused."""
        with pytest.raises(IntegrityError, match=told):
            given(data, "onnx")

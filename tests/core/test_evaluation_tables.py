"""Confusion matrices, calibration curves and distributions by cohort."""

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix

from tasks.core.errors import CaseError
from tasks.core.evaluation import evaluate
from tasks.core.suppression import publish
from tasks.core.tables import calibration, confusion, distribution


def table(n: int = 900) -> pd.DataFrame:
    """Random binary predictions in two groups."""
    random = np.random.default_rng(3)
    y = random.integers(0, 2, n)
    score = np.clip(random.normal(0.4 + 0.2 * y, 0.2), 0, 1)
    return pd.DataFrame({"y_true": y, "y_pred": (score > 0.5).astype(int), "y_score": score, "sex": random.choice(["f", "m"], n)})


def test_confusion_matrices_are_sklearns() -> None:
    """Rows are true classes and columns predicted ones, in every cohort."""
    frame = table()
    found = confusion(evaluate(frame, task="binary", by=["sex"]))
    for name, part in (("overall", frame), ("sex=f", frame[frame.sex == "f"])):
        matrix = found[found.cohort == name].pivot_table(index="true", columns="predicted", values="n").to_numpy()
        np.testing.assert_array_equal(matrix, confusion_matrix(part.y_true, part.y_pred))
    with pytest.raises(CaseError, match="no confusion matrix"):
        confusion(evaluate(pd.DataFrame({"y_true": [1.0, 2.0], "y_pred": [1.0, 2.0]}), task="regression"))


def test_confusion_matrices_of_classes() -> None:
    """Multiclass matrices carry the class names."""
    frame = pd.DataFrame({"y_true": list("aabc"), "y_pred": list("abbc")})
    found = confusion(evaluate(frame, task="multiclass")).set_index(["true", "predicted"])["n"]
    assert (found["a", "a"], found["a", "b"], found["b", "b"], found["c", "a"]) == (1, 1, 1, 0)


def test_calibration_curves_are_sklearns() -> None:
    """The curve of each cohort is scikit-learn's over the bins that hold rows; n is the distribution of scores."""
    frame = table()
    found = calibration(evaluate(frame, task="binary", by=["sex"]))
    for name, part in (("overall", frame), ("sex=m", frame[frame.sex == "m"])):
        curve = found[(found.cohort == name) & (found.n > 0)]
        true, score = calibration_curve(part.y_true, part.y_score, n_bins=10)
        np.testing.assert_allclose(curve.positive, true)
        np.testing.assert_allclose(curve.score, score)
        assert curve.n.sum() == len(part)
        assert ((curve.low <= curve.positive) & (curve.positive <= curve.high)).all()
    with pytest.raises(CaseError, match="no calibration"):
        calibration(evaluate(frame, task="binary", metrics=["accuracy"]))


def test_distributions_count_every_row() -> None:
    """Distributions hold every row of a cohort once, whatever the task."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"y_true": random.normal(size=500), "y_pred": random.normal(size=500), "g": random.choice(["a", "b"], 500)})
    found = distribution(evaluate(frame, task="regression", by=["g"]))
    sizes = frame.g.value_counts()
    assert found.groupby(["of", "cohort"]).n.sum().to_dict() == {
        (of, cohort): n for of in ("predicted", "error") for cohort, n in (("overall", 500), ("g=a", sizes["a"]), ("g=b", sizes["b"]))
    }
    binary = distribution(evaluate(table(), task="binary"))
    assert binary.set_index("bin").n.to_dict() == {"0": (table().y_pred == 0).sum(), "1": table().y_pred.sum()}


def test_published_tables_hide_small_counts() -> None:
    """A published matrix shows no count below ten, and never hides exactly one."""
    frame = pd.DataFrame({"y_true": [1] * 3 + [0] * 57 + [1] * 40, "y_pred": [0] * 3 + [0] * 57 + [1] * 40, "g": ["a"] * 96 + ["b"] * 4})
    found = confusion(publish(evaluate(frame, task="binary", by=["g"])))
    assert set(found.cohort) == {"overall"}
    assert sorted(found.n.dropna()) == [0, 57]

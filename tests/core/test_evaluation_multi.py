"""Multiclass and multilabel metrics against scikit-learn."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from tasks.core.errors import CaseError, DataError
from tasks.core.evaluation import evaluate

LABELS = ["bird", "cat", "dog"]


def animals(n: int = 600, weighted: bool = False) -> pd.DataFrame:
    """Three classes with scores, and a group to slice by."""
    random = np.random.default_rng(5)
    true = random.integers(0, 3, n)
    raw = random.dirichlet([1, 1, 1], n) + 0.7 * np.eye(3)[true]
    raw /= raw.sum(axis=1, keepdims=True)
    frame = pd.DataFrame({"y_true": np.array(LABELS)[true], "y_pred": np.array(LABELS)[raw.argmax(axis=1)], "zone": random.choice(["n", "s"], n)})
    for place, label in enumerate(LABELS):
        frame[f"y_score_{label}"] = raw[:, place]
    if weighted:
        frame["weight"] = random.uniform(0.5, 2, n)
    return frame


SCORES = [f"y_score_{label}" for label in LABELS]
MULTICLASS = {
    "accuracy": lambda f, w: sk.accuracy_score(f.y_true, f.y_pred, sample_weight=w),
    "balanced_accuracy": lambda f, w: sk.balanced_accuracy_score(f.y_true, f.y_pred, sample_weight=w),
    "log_loss": lambda f, w: sk.log_loss(f.y_true, f[SCORES], sample_weight=w, labels=LABELS),
    "roc_auc[cat]": lambda f, w: sk.roc_auc_score(f.y_true == "cat", f.y_score_cat, sample_weight=w),
    "roc_auc": lambda f, w: np.mean([sk.roc_auc_score(f.y_true == label, f[f"y_score_{label}"], sample_weight=w) for label in LABELS]),
    "precision[cat]": lambda f, w: sk.precision_score(f.y_true, f.y_pred, labels=["cat"], average=None, sample_weight=w)[0],
    "recall[dog]": lambda f, w: sk.recall_score(f.y_true, f.y_pred, labels=["dog"], average=None, sample_weight=w)[0],
    "f1[bird]": lambda f, w: sk.f1_score(f.y_true, f.y_pred, labels=["bird"], average=None, sample_weight=w)[0],
}
for average in ("macro", "micro", "weighted"):
    for kind, function in (("precision", sk.precision_score), ("recall", sk.recall_score), ("f1", sk.f1_score)):
        MULTICLASS[f"{average}_{kind}"] = lambda f, w, average=average, function=function: function(
            f.y_true, f.y_pred, average=average, sample_weight=w, zero_division=0
        )


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("metric", MULTICLASS)
def test_multiclass_metrics_equal_sklearn(metric: str, weighted: bool) -> None:
    """Each multiclass metric equals scikit-learn's on the rows of each cohort, and lies within its interval."""
    frame = animals(weighted=weighted)
    rows = evaluate(frame, task="multiclass", by=["zone"], where={"Not birds": "y_true <> 'bird'"}, metrics=[metric]).frame().set_index("cohort")
    parts = {"overall": frame, "zone=n": frame[frame.zone == "n"], "zone=s": frame[frame.zone == "s"]}
    if "roc_auc" not in metric:
        parts["Not birds"] = frame[frame.y_true != "bird"]
    if metric in ("f1[bird]", "balanced_accuracy"):
        del parts["Not birds"]  # scikit-learn warns, and gives 0 for F1 where the class is only predicted, as here
    for name, part in parts.items():
        assert rows.loc[name, "value"] == pytest.approx(MULTICLASS[metric](part, part.weight if weighted else None), rel=1e-12), name
        assert rows.loc[name, "low"] <= rows.loc[name, "value"] <= rows.loc[name, "high"]


def test_macro_f1_is_the_mean_of_class_f1s() -> None:
    """Macro F1 by hand: classes with F1 of 2/3, 1/2 and 0 average 7/18, not the harmonic mean of averages."""
    frame = pd.DataFrame({"y_true": list("aabbcc"), "y_pred": list("aabaab")})
    # a is told of rows 0, 1, 3 and 4: precision 2/4, recall 1, F1 2/3. b of rows 2 and 5: precision and recall 1/2,
    # F1 1/2. c is never told: F1 0.
    rows = evaluate(frame, task="multiclass", metrics=["macro_f1", "f1"]).frame().set_index("metric")["value"]
    assert rows["macro_f1"] == pytest.approx(7 / 18)
    assert [rows["f1[a]"], rows["f1[b]"], rows["f1[c]"]] == pytest.approx([2 / 3, 1 / 2, 0])


def test_a_class_is_written_out_for_every_class() -> None:
    """Precision of a multiclass task is one row for each class; an unknown class points to the nearest."""
    assert set(evaluate(animals(), task="multiclass", metrics=["precision"]).frame().metric) == {f"precision[{label}]" for label in LABELS}
    with pytest.raises(CaseError, match="Did you mean `bird`"):
        evaluate(animals(), task="multiclass", metrics=["precision[brid]"])


def test_labels_and_scores_are_checked() -> None:
    """A label outside the label set, a missing label and scores that do not add up are refused."""
    with pytest.raises(DataError, match=r"'fish'.*outside the label set"):
        evaluate(animals().assign(y_pred="fish"), task="multiclass", metrics=["accuracy"])
    with pytest.raises(DataError, match="no value in row 0"):
        evaluate(animals().assign(y_true=None), task="multiclass", metrics=["accuracy"])
    with pytest.raises(DataError, match="add up to"):
        evaluate(animals().assign(y_score_cat=0.9), task="multiclass", metrics=["log_loss"])


def posts() -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Random label sets as lists, and the same as indicator matrices."""
    random = np.random.default_rng(2)
    true, predicted = random.random((200, 4)) < 0.4, random.random((200, 4)) < 0.4
    names = np.array(["a", "b", "c", "d"])
    return pd.DataFrame({"y_true": [list(names[row]) for row in true], "y_pred": [list(names[row]) for row in predicted]}), true, predicted


@pytest.mark.parametrize("text", [False, True])
def test_multilabel_metrics_by_their_true_definitions(text: bool, tmp_path: Path) -> None:
    """Exact match ratio, Hamming score and Jaccard equal scikit-learn's, from lists and from divided text."""
    frame, true, predicted = posts()
    table: object = frame
    if text:
        frame.map("|".join).to_csv(tmp_path / "posts.csv", index=False)
        table = pd.read_csv(tmp_path / "posts.csv", keep_default_na=False)
    rows = evaluate(table, task="multilabel").frame().set_index("metric")["value"]
    assert rows["exact_match_ratio"] == pytest.approx(sk.accuracy_score(true, predicted))
    assert rows["hamming_score"] == pytest.approx(1 - sk.hamming_loss(true, predicted))
    assert rows["jaccard"] == pytest.approx(sk.jaccard_score(true, predicted, average="samples", zero_division=1))

"""Declared costs and declared prevalence."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tasks.core import streaming
from tasks.core.errors import CaseError, DataError
from tasks.core.evaluation import evaluate

LOANS = pd.DataFrame(
    {
        "y_true": [0, 0, 1, 1, 0, 0, 1, 1],
        "y_pred": [1, 0, 0, 1, 1, 0, 0, 1],
        "amount": [100, 100, 100, 100, 9000, 9000, 9000, 9000],
        "sex": ["f", "f", "f", "m", "f", "f", "m", "m"],
    }
)
BY_SIZE = [{"where": "amount < 1000", "false_positive": 1, "false_negative": 2}, {"false_positive": 10, "false_negative": 40, "true_positive": -4}]


def test_one_cost_matrix_for_all() -> None:
    """Expected cost is the mean of outcome costs: two false positives at 1 and two false negatives at 5 on eight rows."""
    found = evaluate(LOANS, task="binary", metrics=["expected_cost"], costs={"false_positive": 1, "false_negative": 5}).frame()
    assert found.value[0] == pytest.approx((2 * 1 + 2 * 5) / 8)


def test_costs_that_differ_by_cohort() -> None:
    """Small and large loans cost differently: (1 + 2) / 4 and (10 + 40 - 4) / 4."""
    where = {"small": "amount < 1000", "large": "amount >= 1000"}
    rows = evaluate(LOANS, task="binary", where=where, metrics=["expected_cost"], costs=BY_SIZE).frame().set_index("cohort")["value"]
    assert rows.to_dict() == pytest.approx({"overall": 49 / 8, "small": 3 / 4, "large": 46 / 4})


def test_costs_that_make_no_sense() -> None:
    """No matrix, an unknown outcome, no last resort, an unknown column: refused by name."""
    with pytest.raises(CaseError, match="needs a cost matrix"):
        evaluate(LOANS, task="binary", metrics=["expected_cost"])
    with pytest.raises(CaseError, match="Did you mean `false_positive`"):
        evaluate(LOANS, task="binary", costs={"false_positives": 1})
    with pytest.raises(CaseError, match="without `where`"):
        evaluate(LOANS, task="binary", costs=BY_SIZE[:1])
    with pytest.raises(CaseError, match="Did you mean `amount`"):
        evaluate(LOANS, task="binary", costs=[{"where": "amont < 3"}, {"false_positive": 1}])


def test_prevalence_gives_groups_their_declared_share() -> None:
    """With half of the world women, accuracy is the mean of women's and men's; cohorts' own rates do not move."""
    rows = evaluate(LOANS, task="binary", by=["sex"], metrics=["accuracy"], prevalence={"sex": {"f": 0.5, "m": 0.5}}).frame().set_index("cohort")
    assert rows.loc["sex=f", "value"] == pytest.approx(2 / 5)
    assert rows.loc["sex=m", "value"] == pytest.approx(2 / 3)
    assert rows.loc["overall", "value"] == pytest.approx((2 / 5 + 2 / 3) / 2)
    assert rows.loc["overall", "n"] == 8


def test_prevalence_that_makes_no_sense() -> None:
    """Shares that do not add up, and groups that are undeclared or absent, are refused."""
    for shares, error, message in (
        ({"f": 0.5, "m": 0.4}, CaseError, "add up to 0.9"),
        ({"f": 1.0}, CaseError, "no share is declared for sex=m"),
        ({"f": 0.5, "m": 0.4, "x": 0.1}, DataError, "no rows for 'x'"),
    ):
        with pytest.raises(error, match=message):
            evaluate(LOANS, task="binary", metrics=["accuracy"], prevalence={"sex": shares})


def test_declarations_hold_in_batches_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Costs and prevalence of a file read in batches are those of the whole."""
    frame = pd.concat([LOANS] * 300, ignore_index=True).assign(sex=np.repeat(["f", "f", "m"], 800))
    frame.to_parquet(tmp_path / "p.parquet")
    arguments = {"task": "binary", "by": ["sex"], "metrics": ["expected_cost", "accuracy"], "costs": BY_SIZE, "prevalence": {"sex": {"f": 0.5, "m": 0.5}}}
    expected = evaluate(frame, **arguments).frame()
    monkeypatch.setattr(streaming, "IN_MEMORY", 100)
    monkeypatch.setattr(streaming, "BATCH", 500)
    pd.testing.assert_frame_equal(evaluate(tmp_path / "p.parquet", **arguments).frame(), expected)

"""What leaves the machine: small cohorts are hidden, and cannot be found by subtraction."""

import json

import numpy as np
import pandas as pd

from tasks.core.evaluation import evaluate
from tasks.core.suppression import publish


def people(sizes: dict[tuple[str, str], int]) -> pd.DataFrame:
    """A table with so many rows of each race and sex."""
    rows = [(race, sex, place % 2, (place // 2) % 2) for (race, sex), count in sizes.items() for place in range(count)]
    return pd.DataFrame(rows, columns=["race", "sex", "y_true", "y_pred"])


def shown(report) -> dict[str, int]:
    """Cohorts whose size can be read."""
    frame = report.frame()
    return frame[frame.metric == "accuracy"].dropna(subset=["n"]).set_index("cohort")["n"].to_dict()


def test_a_cohort_below_k_is_not_published_nor_is_its_complement() -> None:
    """A cohort of 4 is hidden, and so is the next smallest, or the total would give it away."""
    frame = people({("a", "f"): 100, ("b", "f"): 50, ("c", "f"): 4})
    report = publish(evaluate(frame, task="binary", by=["race"]))
    assert shown(report) == {"overall": 154, "race=a": 100}
    rows = report.frame()
    hidden = rows[rows.cohort.isin(["race=b", "race=c"])]
    assert hidden[["value", "low", "high", "n", "support"]].isna().all(axis=None)
    assert (hidden.verdict == "insufficient").all()
    assert "race=c" not in json.dumps([row for row in report.to_dict()["rows"] if row["n"] is not None])


def test_crossed_groups_do_not_give_each_other_away() -> None:
    """In every line of a crossed table there are no or at least two hidden cells, k rows together, so no subtraction works."""
    random = np.random.default_rng(0)
    for _ in range(30):
        sizes = {(race, sex): int(random.choice([3, 12, 15, 40, 200])) for race in "abc" for sex in "fmx"}
        report = publish(evaluate(people(sizes), task="binary", by=[["race"], ["sex"], ["race", "sex"]], metrics=["accuracy"]))
        seen = shown(report)
        if "overall" not in seen:
            continue
        for kind, values, other in (("race", "abc", "fmx"), ("sex", "fmx", "abc")):
            for line in values:
                cells = [(line, cross) if kind == "race" else (cross, line) for cross in other]
                hidden = [cell for cell in cells if f"race={cell[0]}, sex={cell[1]}" not in seen]
                if f"{kind}={line}" in seen and hidden:
                    assert len(hidden) > 1
                    assert sum(sizes[cell] for cell in hidden) >= 10
            lines = [line for line in values if f"{kind}={line}" not in seen]
            assert len(lines) != 1
        assert all(seen.get(f"race={race}, sex={sex}", 10) >= 10 for race, sex in sizes)


def test_conditions_that_leave_few_behind_are_hidden() -> None:
    """A condition that all but three rows meet says who the three are; one that names a hidden cohort is hidden too."""
    frame = people({("a", "f"): 100, ("b", "f"): 50, ("c", "f"): 4})
    where = {"Nearly all": "race <> 'c'", "B": "race = 'b'", "C": "race = 'c'", "A": "race = 'a'"}
    assert shown(publish(evaluate(frame, task="binary", by=["race"], where=where))) == {"overall": 154, "race=a": 100, "A": 100}


def test_values_on_few_rows_are_left_out() -> None:
    """Recall on five positives of a large cohort is not published; accuracy is."""
    frame = pd.DataFrame({"y_true": [1] * 5 + [0] * 95, "y_pred": [1, 0] * 50})  # right: rows 0, 2, 4 and the 48 odd rows from 5
    rows = publish(evaluate(frame, task="binary", metrics=["accuracy", "recall"], min_support=1)).frame().set_index("metric")
    assert rows.loc["accuracy", "value"] == 0.51
    assert pd.isna(rows.loc["recall", "value"])
    assert rows.loc["recall", "verdict"] == "insufficient"


def test_hidden_cohorts_take_no_part_in_published_gaps_or_deltas() -> None:
    """Gaps are those of published cohorts, and the comparison hides what the rows hide."""
    frame = people({("a", "f"): 100, ("b", "f"): 50, ("c", "f"): 4})
    report = publish(evaluate(frame, task="binary", by=["race"], baseline=frame.assign(y_pred=1), metrics=["accuracy"], min_support=1))
    assert list(report.gaps().verdict) == ["insufficient"]
    table = report.comparison().set_index("cohort")
    assert table.loc["race=a", "delta"] == 0 or not np.isnan(table.loc["race=a", "delta"])
    assert table.loc["race=b"].drop(["kind", "metric", "verdict"]).isna().all()
    json.dumps(report.to_dict(), allow_nan=False)


def test_nothing_small_nothing_hidden() -> None:
    """Where every cohort is large enough the published figures are the report's."""
    frame = people({("a", "f"): 100, ("b", "m"): 50})
    report = evaluate(frame, task="binary", by=["race"])
    pd.testing.assert_frame_equal(report.frame(), publish(report).frame(), check_dtype=False)
    assert report.to_dict() == publish(report).to_dict()

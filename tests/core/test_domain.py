"""The domain classifier tells two samples apart when they differ, and says that it cannot when they do not."""

import json

import numpy as np
import pandas as pd
import pytest

from tasks.core.domain import FEWEST, Domain, tell_apart

KINDS = {"u": "numeric", "v": "numeric", "city": "categorical"}


def rows(count=400, seed=0, **moved):
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({"u": random.normal(size=count), "v": random.normal(size=count), "city": random.choice(["Ulm", "Köln", "Bonn"], count)})
    return frame.assign(**moved)


def test_samples_of_one_population_are_not_told_apart():
    """The interval holds 0.5 in most pairs, and then no feature is named."""
    found = [tell_apart(rows(seed=seed), rows(seed=100 + seed), KINDS) for seed in range(5)]
    quiet = [one for one in found if one.low <= 0.5 <= one.high]
    assert len(quiet) >= 4
    assert all(one.drivers == () for one in quiet)
    assert all(0.4 < one.auc < 0.6 for one in found)


def test_the_feature_that_moved_drives_it():
    """A shift of one and a half standard deviations: the AUC is near that of the feature alone, Phi(1.5 / sqrt 2) = 0.86."""
    found = tell_apart(rows(1000), rows(1000, seed=1).assign(v=lambda frame: frame["v"] + 1.5), KINDS)
    assert found.auc == pytest.approx(0.856, abs=0.03)
    assert found.low < found.auc < found.high
    assert found.drivers[0].column == "v"


def test_what_holds_between_columns_is_seen():
    """Both columns keep their distributions, and depend on one another: no test of a column sees it."""
    together = rows(1000, seed=1).assign(v=lambda frame: 0.9 * frame["u"] + np.sqrt(1 - 0.81) * frame["v"])
    found = tell_apart(rows(1000), together, KINDS)
    assert found.low > 0.7
    assert {one.column for one in found.drivers[:2]} == {"u", "v"}


@pytest.mark.parametrize("moved", [{"city": "Trier"}, {"v": np.nan}])
def test_new_categories_and_lost_values_are_told(moved):
    """With certainty, and by the column."""
    found = tell_apart(rows(), rows(seed=1, **moved), KINDS)
    assert found.auc > 0.99
    assert [one.column for one in found.drivers] == list(moved)


def test_the_answer_is_the_same_each_time_and_comes_back_from_json():
    """Seeds are fixed, and a large table is sampled: 100,000 rows count as 2,000."""
    before, now = rows(100_000), rows(3000, seed=1)
    found = tell_apart(before, now, KINDS)
    assert found == tell_apart(before, now, KINDS)
    assert found.rows == (2000, 2000)
    assert Domain.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_the_answer_is_the_same_however_many_columns_are_scored_at_once(monkeypatch):
    """One shuffled column at a time, two, or all of them in one call: not a bit differs."""
    before, now = rows(), rows(seed=1).assign(v=lambda frame: frame["v"] + 0.5)
    found = tell_apart(before, now, KINDS)
    assert found.drivers
    for numbers in (1, 2 * 3 * 200, 10**9):  # a fold holds 200 rows of three columns
        monkeypatch.setattr("tasks.core.domain.AT_ONCE", numbers)
        assert tell_apart(before, now, KINDS) == found


def test_a_call_scores_no_more_than_is_held_at_once(monkeypatch):
    """Twenty shuffled columns of thirty rows in calls of at most 4,096 numbers; with 500 columns all of them at once would be 2 GB."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    scored, real = [], HistGradientBoostingClassifier.decision_function
    monkeypatch.setattr(HistGradientBoostingClassifier, "decision_function", lambda model, held: scored.append(held.size) or real(model, held))
    monkeypatch.setattr("tasks.core.domain.AT_ONCE", 4096)
    sides = [pd.DataFrame(np.random.default_rng(seed).normal(size=(60, 20))).add_prefix("c") for seed in range(2)]
    assert tell_apart(*sides, dict.fromkeys(sides[0], "numeric")) is not None
    assert 600 < max(scored) <= 4096
    assert sum(scored) == 4 * 21 * 30 * 20


def test_few_rows_say_nothing():
    """Fewer than thirty on a side."""
    assert tell_apart(rows(), rows(FEWEST - 1), KINDS) is None
    assert tell_apart(rows(), rows(FEWEST), KINDS) is not None

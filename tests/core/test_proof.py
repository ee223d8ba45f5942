"""What is held against what is on record: rows, decisions, predictions, and the ledger's chain outside its database."""

import json

import numpy as np
import pandas as pd
import pytest

from tasks.core.chain import GENESIS, check_chain, events, head, hold_against, shared
from tasks.core.digests import digest_of
from tasks.core.errors import DataError, IntegrityError
from tasks.core.gate import Check, Decision
from tasks.core.proof import Proven, compare_decisions, compare_predictions, compare_rows, tally, verdict

FIELDS = ("cohort", "metric", "value", "n", "verdict")


def row(cohort="overall", value=0.75, n=40, verdict="ok"):
    return {"cohort": cohort, "metric": "accuracy", "value": value, "n": n, "verdict": verdict}


def held(stored, again):
    return compare_rows("figures", stored, again, key=("cohort", "metric"), fields=FIELDS, named=lambda one: f"{one['metric']} for {one['cohort']}")


def test_equal_rows_are_the_same_exactly_in_any_order():
    """Rows belong together by their key."""
    found = held([row(), row("sex=f", None, None, "insufficient")], [row("sex=f", None, None, "insufficient"), row()])
    assert found == [Proven("figures", "accuracy for overall", "same", "exactly"), Proven("figures", "accuracy for sex=f", "same", "exactly")]


def test_a_last_digit_is_the_same_and_said():
    """Sums may differ in their last digits between platforms; the detail says that they did."""
    assert held([row(value=0.1 + 0.2)], [row(value=0.3)]) == [Proven("figures", "accuracy for overall", "same", "to 1e-9")]
    assert held([row(value=0.3)], [row(value=0.3 + 2e-9)])[0].outcome == "different"


@pytest.mark.parametrize(
    ("stored", "detail"),
    [
        (row(value=0.8), "value: 0.8 on record, 0.75 now"),
        (row(n=41), "n: 41 on record, 40 now"),
        (row(verdict="insufficient"), "verdict: insufficient on record, ok now"),
        (row(value=None), "value: nothing on record, 0.75 now"),
        (row(value=True), "value: True on record, 0.75 now"),
        (row(value="0.75"), "value: 0.75 on record, 0.75 now"),
    ],
)
def test_what_differs_is_named_with_both_values(stored, detail):
    """A figure, its count, its verdict, its absence, and a value of another type."""
    assert held([stored], [row()]) == [Proven("figures", "accuracy for overall", "different", detail)]


def test_rows_that_are_missing_added_or_repeated_are_different():
    """No row goes by in silence."""
    assert [one.detail for one in held([row()], [])] == ["is on record, and was not found now"]
    assert [one.detail for one in held([], [row()])] == ["was found now, and is not on record"]
    assert [one.outcome for one in held([row(), row(value=0.9)], [row()])] == ["different"]


def check(limit="accuracy for overall >= 0.7", value=0.75, outcome="passed"):
    return Check(limit, "accuracy for overall", value, 0.7, 0.8, outcome, "a reason", 0.05)


def test_a_decision_made_again_is_told_without_figures():
    """Outcomes and figures are compared; figures of cohorts that are not published do not appear."""
    stored = [vars(check())]
    assert compare_decisions("at training", stored, Decision((check(),)))[0].outcome == "same"
    for other in (check(value=0.123), check(outcome="failed")):
        [found] = compare_decisions("at training", stored, Decision((other,)))
        assert found.outcome == "different"
        assert "0.123" not in found.detail


def test_a_check_on_one_side_only_is_a_difference_unless_there_is_a_reason():
    """What rests on facts of a day cannot be checked; what does not must be there."""
    for stored, again in (([vars(check())], Decision(())), ([], Decision((check(),)))):
        assert compare_decisions("entry 3", stored, again)[0].outcome == "different"
        [found] = compare_decisions("entry 3", stored, again, left_out="drift of that day")
        assert (found.outcome, found.detail) == ("cannot be checked", "drift of that day")


def table(score=(0.1, 0.9, float("nan")), **changed):
    return pd.DataFrame({"row_id": ["a", "b", "c"], "y_true": [0, 1, 1], "y_pred": [0, 1, 0], "y_score": list(score), **changed})


def test_predictions_are_held_row_by_row():
    """Equal, equal to the last digits, and with a count of the rows that are not."""
    assert compare_predictions(table(), table()).detail == "exactly"
    assert compare_predictions(table(), table(score=(np.nextafter(0.1, 1), 0.9, float("nan")))) == Proven("model", "predictions of 3 rows", "same", "to 1e-9")
    assert compare_predictions(table(), table(y_pred=[1, 1, 1])).detail == "2 of 3 rows differ"
    assert compare_predictions(table(), table(row_id=["b", "a", "c"])).detail == "2 of 3 rows differ"
    assert compare_predictions(table(), table().iloc[:2]).detail.startswith("3 rows of row_id")
    assert compare_predictions(table(), table().drop(columns="y_score")).outcome == "different"


def test_the_verdict_is_the_worst_and_nothing_checked_is_not_proven():
    """One difference is enough; what cannot be checked is no failure, but alone it proves nothing."""
    same, unknown, different = (Proven("model", "x", outcome) for outcome in ("same", "cannot be checked", "different"))
    assert verdict([same, unknown, different]) == "different"
    assert verdict([same, unknown]) == "same"
    assert verdict([unknown]) == verdict([]) == "cannot be checked"
    assert tally([same, unknown, same]) == {"model": {"same": 2, "cannot be checked": 1}}


def chain(*cases):
    """A ledger of one entry for each case named."""
    links, previous = [], GENESIS
    for sequence, case in enumerate(cases, start=1):
        body = json.dumps({"told": f"secret of {case}"})
        entry = {"sequence": sequence, "at": "2026-01-01", "case_name": case, "kind": "gated", "version": 1, "body": body, "previous": previous}
        previous = digest_of(entry)
        links.append({**entry, "digest": previous})
    return links


def test_a_shared_chain_holds_and_says_nothing_of_other_cases():
    """Entries of others are a number and two digests, and the chain still holds."""
    links = shared(chain("loans", "adult", "loans"), "loans")
    assert check_chain(links) == 2
    assert "adult" not in json.dumps(links)
    assert [event.sequence for event in events(links)] == [1, 3]
    assert events(links)[0].body == {"told": "secret of loans"}
    assert head(links) == head(chain("loans", "adult", "loans"))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda links: links.pop(0),
        lambda links: links.pop(1),
        lambda links: links.reverse(),
        lambda links: links[0].update(body='{"told": "otherwise"}'),
        lambda links: links[0].update(version=2),
        lambda links: links[1].update(digest="sha256:" + "1" * 64),
        lambda links: links[2].update(sequence=4),
        lambda links: links[2].pop("at"),
        lambda links: links[1].update(note="more"),
        lambda links: links.insert(1, None),
    ],
)
def test_an_entry_changed_dropped_or_moved_breaks_the_chain(spoil):
    """Whatever is done to it, the first wrong entry is named."""
    links = shared(chain("loans", "adult", "loans"), "loans")
    spoil(links)
    with pytest.raises(IntegrityError, match=r"Entry \d of the ledger is not what was written there"):
        check_chain(links)


def test_a_pinned_head_must_still_be_there():
    """A chain written anew, or cut, is told by what was kept elsewhere."""
    links = chain("loans", "adult")
    assert hold_against(chain("loans", "adult", "loans"), head(links) + "\n") == 2
    assert hold_against(links, head([])) == 0
    with pytest.raises(IntegrityError, match="2 entries were pinned, and 1 are there"):
        hold_against(links[:1], head(links))
    with pytest.raises(IntegrityError, match="written anew"):
        hold_against(chain("adult", "adult"), head(links))
    with pytest.raises(DataError, match="is not a pinned head"):
        hold_against(links, "the head")

"""Splits: exact shares, the same rows for the same seed, and nothing on two sides."""

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.core.case import Split
from tasks.core.errors import CaseError, DataError
from tasks.core.splits import moments, split

PARTS = ("train", "validation", "test")


def table(rows: int) -> pd.DataFrame:
    return pd.DataFrame({"row_id": [f"2024-01-{number:06d}" for number in range(rows)], "x": range(rows)})


def counts(parts: pd.Series) -> tuple[int, ...]:
    return tuple(int((parts == part).sum()) for part in PARTS)


shares = st.tuples(st.floats(0.1, 0.4), st.floats(0.1, 0.4))


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(20, 300), share=shares, seed=st.integers(0, 2**32))
def test_random_shares_are_exact_within_one_row(rows: int, share: tuple[float, float], seed: int) -> None:
    """Each part of a random split has its share of the rows, give or take less than a row."""
    spec = Split(kind="random", validation=share[0], test=share[1])
    found = counts(split(table(rows), None, spec, seed))
    exact = (rows * (1 - sum(share)), rows * share[0], rows * share[1])
    assert sum(found) == rows
    assert all(abs(count - want) < 1 for count, want in zip(found, exact, strict=True))


@settings(max_examples=20, deadline=None)
@given(kind=st.sampled_from(["random", "stratified", "group", "time"]), seed=st.integers(0, 2**32), shuffle=st.integers(0, 2**32))
def test_the_order_of_the_table_does_not_matter(kind: str, seed: int, shuffle: int) -> None:
    """With row ids, every kind of split puts a row in the same part however the table is ordered."""
    generator = np.random.default_rng(5)
    frame = table(80).assign(column=generator.integers(0, 9, 80))
    labels = pd.Series(generator.choice(["no", "yes"], 80))
    spec = Split(kind=kind, column="column" if kind in ("group", "time") else None, validation=0.2, test=0.3)  # type: ignore[arg-type]
    order = np.random.default_rng(shuffle).permutation(80)
    straight, shuffled = split(frame, labels, spec, seed), split(frame.iloc[order], labels.iloc[order], spec, seed)
    pd.testing.assert_series_equal(shuffled.sort_index(), straight)


def test_shares_are_rounded_by_the_largest_remainder() -> None:
    """By hand: 10 rows at 0.25 and 0.45 are 3, 2.5 and 4.5 rows; the spare row goes to validation. 506 at a quarter each are 253, 127 and 126."""
    assert counts(split(table(10), None, Split(kind="random", validation=0.25, test=0.45), 0)) == (3, 3, 4)
    assert counts(split(table(506), None, Split(kind="random", validation=0.25, test=0.25), 0)) == (253, 127, 126)


def test_a_split_is_aligned_and_seeded() -> None:
    """The result has the frame's index; the same seed gives the same parts, another seed others; a table without ids is split too."""
    frame = table(100).drop(columns="row_id").set_axis([f"r{number}" for number in range(100)])
    spec = Split(kind="random")
    parts = split(frame, None, spec, 1)
    assert parts.index.equals(frame.index)
    assert counts(parts) == (60, 20, 20)
    assert parts.equals(split(frame, None, spec, 1))
    assert not parts.equals(split(frame, None, spec, 2))


@settings(max_examples=20, deadline=None)
@given(sizes=st.lists(st.integers(10, 90), min_size=1, max_size=4), share=shares, seed=st.integers(0, 1000))
def test_stratified_shares_hold_within_each_label(sizes: list[int], share: tuple[float, float], seed: int) -> None:
    """Each label's rows are divided by the shares, give or take less than a row."""
    labels = pd.Series(np.repeat([f"klasse-ä{number}" for number in range(len(sizes))], sizes))
    parts = split(table(sum(sizes)), labels, Split(kind="stratified", validation=share[0], test=share[1]), seed)
    for label, rows in labels.groupby(labels).groups.items():
        size = len(rows)
        exact = (size * (1 - sum(share)), size * share[0], size * share[1])
        assert all(abs(count - want) < 1 for count, want in zip(counts(parts[rows]), exact, strict=True)), label


def test_a_class_with_too_few_rows_is_named() -> None:
    """A label whose share of a part would be empty is refused by name, with its count."""
    labels = pd.Series(["common"] * 50 + ["rare"] * 2)
    with pytest.raises(DataError, match=r"Class 'rare': The 2 rows are too few") as refused:
        split(table(52), labels, Split(kind="stratified"), 0)
    assert "random split" in str(refused.value)


def test_missing_or_misaligned_labels_are_refused() -> None:
    """A stratified split needs one label for every row."""
    spec = Split(kind="stratified")
    with pytest.raises(DataError, match="1 of 30 labels are missing"):
        split(table(30), pd.Series([None, *"ab" * 14, "a"]), spec, 0)
    with pytest.raises(DataError, match="29 labels for 30 rows"):
        split(table(30), pd.Series(["a"] * 29), spec, 0)
    with pytest.raises(CaseError, match="needs labels"):
        split(table(30), None, spec, 0)


@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(1, 30), min_size=3, max_size=40), share=shares, seed=st.integers(0, 1000))
def test_groups_stay_together_and_parts_are_never_empty(sizes: list[int], share: tuple[float, float], seed: int) -> None:
    """No group is divided, each part gets at least one, and train, validation and test cover the table."""
    frame = table(sum(sizes)).assign(household=np.repeat([f"h{number}" for number in range(len(sizes))], sizes))
    parts = split(frame, None, Split(kind="group", column="household", validation=share[0], test=share[1]), seed)
    assert (parts.groupby(frame["household"]).nunique() == 1).all()
    assert set(parts) == set(PARTS)


def test_many_small_groups_reach_the_shares() -> None:
    """With groups of one row the shares are exact; with larger ones no part is over its share by a whole group."""
    spec = Split(kind="group", column="g", validation=0.25, test=0.25)
    assert counts(split(table(100).assign(g=range(100)), None, spec, 3)) == (50, 25, 25)
    large = counts(split(table(700).assign(g=np.repeat(range(100), 7)), None, spec, 3))
    assert all(count < want + 7 for count, want in zip(large, (350, 175, 175), strict=True))


def test_groups_that_cannot_be_split_are_refused() -> None:
    """Two groups cannot fill three parts, a row without a group belongs nowhere, and an unknown column is named."""
    spec = Split(kind="group", column="g")
    with pytest.raises(DataError, match="2 groups"):
        split(table(10).assign(g=[0, 1] * 5), None, spec, 0)
    with pytest.raises(DataError, match="first in row 3"):
        split(table(10).assign(g=[0, 1, None, 2, 3, 4, 5, 6, 7, 8]), None, spec, 0)
    with pytest.raises(CaseError, match="Did you mean `group`"):
        split(table(10).assign(group=0), None, Split(kind="group", column="gruop"), 0)


def test_time_puts_the_oldest_in_train_and_the_newest_in_test() -> None:
    """No row of train is newer than one of validation, and none of validation newer than one of test, for dates, text and numbers."""
    days = pd.Series(pd.date_range("2024-01-01", periods=40, freq="D")).sample(frac=1, random_state=1).reset_index(drop=True)
    forms = [days, days.dt.strftime("%Y-%m-%dT%H:%M:%SZ"), days.dt.date, days.dt.tz_localize("America/New_York"), days.dt.dayofyear]
    results = []
    for values in forms:
        parts = split(table(40).assign(when=values), None, Split(kind="time", column="when"), 0)
        assert counts(parts) == (24, 8, 8)
        oldest, middle, newest = (days[parts == part] for part in PARTS)
        assert oldest.max() < middle.min()
        assert middle.max() < newest.min()
        results.append(parts)
    assert all(parts.equals(results[0]) for parts in results)


def test_offsets_are_compared_as_moments() -> None:
    """10:00+02:00 is earlier than 09:00Z, whatever the digits say."""
    assert [str(moment) for moment in moments(pd.Series(["2024-05-01T10:00:00+02:00", "2024-05-01T09:00:00Z"]))] == [
        "2024-05-01 08:00:00+00:00",
        "2024-05-01 09:00:00+00:00",
    ]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (["2024-01-01", "31/01/2024"], "'31/01/2024' in row 2"),
        (["2024-01-01", "2024-02-30"], "'2024-02-30' in row 2"),
        (["2024-01-01", "soon"], "not an ISO 8601 date"),
        (["2024-01-01", None], "no date in 1 of 2 rows, first in row 2"),
        (["2024-01-01T10:00:00Z", "2024-01-01T10:00:00"], "with and without a UTC offset"),
        ([20240101, 20240201], "holds numbers (int64)"),
    ],
)
def test_unreadable_dates_are_named_with_their_row(values: list[object], says: str) -> None:
    """What is not a date is refused with the value and the row, never guessed at."""
    with pytest.raises(DataError) as refused:
        moments(pd.Series(values, name="when"))
    assert says in str(refused.value)
    assert "`when`" in str(refused.value)


def test_dates_keep_their_moment_in_every_form() -> None:
    """Date objects, naive text and timestamps give the same moment."""
    expected = pd.Timestamp("2024-03-31")
    for values in ([dt.date(2024, 3, 31)], ["2024-03-31"], [pd.Timestamp("2024-03-31")]):
        assert moments(pd.Series(values)).tolist() == [expected]


def test_too_few_rows_are_refused() -> None:
    """A split that would leave a part empty is refused, with the counts."""
    with pytest.raises(DataError, match="2 rows are too few"):
        split(table(2), None, Split(kind="random"), 0)
    with pytest.raises(DataError, match="too few"):
        split(table(0), pd.Series([], dtype="str"), Split(kind="stratified"), 0)


def test_repeated_row_ids_are_refused() -> None:
    """Two rows with one id cannot be told apart, so they cannot be split."""
    with pytest.raises(DataError, match="'same' occurs again"):
        split(table(10).assign(row_id="same"), None, Split(kind="random"), 0)

"""Simulated months: resampled, jittered, drifted as declared, and the same every time."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial import distance

from tasks.core.case import DeclaredDrift, Simulation
from tasks.core.errors import CaseError, DataError
from tasks.core.simulation import drifting_columns, simulate

RAW = Path(__file__).parents[2] / "data" / "raw"
FEATURES = ("amount", "count", "colour", "flag", "binary")


def table(rows: int = 400, seed: int = 1) -> pd.DataFrame:
    """A table with a column of each type, some values missing, and a target that rises with `amount`."""
    generator = np.random.default_rng(seed)
    amount = generator.normal(10, 3, rows)
    frame = pd.DataFrame(
        {
            "amount": amount,
            "count": generator.integers(0, 50, rows),
            "colour": generator.choice(["red", "green", "blau-grün"], rows, p=[0.6, 0.3, 0.1]),
            "flag": generator.random(rows) < 0.3,
            "binary": generator.integers(0, 2, rows),
            "level": pd.Categorical(generator.choice(["low", "high"], rows), categories=["low", "high", "never"]),
            "gaps": np.where(generator.random(rows) < 0.2, np.nan, generator.normal(size=rows)),
            "nullable": pd.array([None if value < 3 else int(value) for value in generator.integers(0, 30, rows)], dtype="Int64"),
            "y": amount * 2 + generator.normal(size=rows),
        }
    )
    frame.loc[generator.random(rows) < 0.1, "colour"] = None
    return frame


def simulation(*drifts: DeclaredDrift, **settings: object) -> Simulation:
    return Simulation(**{"first": "2024-01", "months": 6, "jitter": 0.05, "seed": 3, "drifts": drifts, **settings})  # type: ignore[arg-type]


def month(base: pd.DataFrame, plan: Simulation, number: int, target: str = "y") -> pd.DataFrame:
    return simulate(base, plan, number, features=FEATURES, target=target)


def drift(kind: str, size: float, *columns: str, first: int = 2) -> DeclaredDrift:
    return DeclaredDrift(columns=list(columns), kind=kind, size=size, first=first)  # type: ignore[arg-type]


def test_the_first_month_is_the_table_itself() -> None:
    """Month 1 holds the table's rows, unchanged and in their order, so that no row stands on both sides of a split."""
    pd.testing.assert_frame_equal(month(table(), simulation(), 1), table())


def test_a_smaller_first_month_is_a_subset_without_repetition() -> None:
    """With fewer rows asked for than there are, month 1 takes some of the table's rows, each at most once, in the table's order."""
    base = table().assign(number=range(400))
    first = month(base, simulation(rows=150), 1)
    assert len(first) == 150
    assert first["number"].is_monotonic_increasing
    assert first["number"].is_unique
    pd.testing.assert_frame_equal(first, base.iloc[first["number"]].reset_index(drop=True))


def test_more_rows_than_the_table_has_leave_the_first_month_whole() -> None:
    """`rows` above the table's count gives later months that many rows, and month 1 the table."""
    plan = simulation(rows=900)
    assert [len(month(table(), plan, number)) for number in (1, 2, 3)] == [400, 900, 900]


def test_row_ids_do_not_outlive_resampling() -> None:
    """No month repeats the ids of the table it was made from."""
    base = table().assign(row_id=[f"r{number}" for number in range(400)])
    assert all("row_id" not in month(base, simulation(), number) for number in (1, 2))


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32), jitter=st.floats(0, 1), number=st.integers(2, 6), data_seed=st.integers(0, 1000))
def test_jitter_keeps_range_type_and_categories(seed: int, jitter: float, number: int, data_seed: int) -> None:
    """Whatever the seed, a later month keeps each column's type, range, whole numbers, categories and two-valued columns."""
    base = table(60, data_seed)
    made = month(base, simulation(seed=seed, jitter=jitter), number)
    assert made.dtypes.to_dict() == base.dtypes.to_dict()
    for column in ("amount", "count", "gaps", "nullable", "y"):
        assert made[column].dropna().between(base[column].min(), base[column].max()).all()
    for column in ("colour", "flag", "binary", "level"):
        assert set(made[column].dropna()) <= set(base[column].dropna())


def test_jitter_moves_numbers_by_its_size() -> None:
    """Jitter of 0.1 adds noise of a tenth of a standard deviation, to whole numbers too: half of the rows of a whole column with sd 5.77 move."""
    base = pd.DataFrame({"x": np.linspace(0, 1, 20_001), "n": np.tile(np.arange(20), 1001)[:20_001], "y": 0.0})
    still, moved = (simulate(base, simulation(jitter=size), 2, features=["x", "n"], target="y") for size in (0.0, 0.1))
    noise = moved["x"] - still["x"]
    inner = still["x"].between(0.2, 0.8)
    assert noise[inner].std() == pytest.approx(0.1 * base["x"].std(ddof=0), rel=0.05)
    steps = (moved["n"] - still["n"])[still["n"].between(4, 15)]
    assert steps.mean() == pytest.approx(0, abs=0.02)
    # noise of variance (0.1 sd)^2, then rounding to either neighbour: E|fractional part| adds between 0 and 1/4 to the variance
    assert (0.1 * base["n"].std(ddof=0)) ** 2 <= steps.var() <= (0.1 * base["n"].std(ddof=0)) ** 2 + 0.25


def test_whole_numbers_kept_as_floats_stay_whole() -> None:
    """A float column that holds whole numbers only, like a tax rate, gets whole numbers after jitter and shift."""
    base = table().assign(tax=np.arange(400.0))
    made = month(base, simulation(drift("mean_shift", 0.3, "tax")), 2)
    assert (made["tax"] == made["tax"].round()).all()
    assert made["tax"].dtype == np.float64


def test_infinity_and_missing_values_stay_what_they_are() -> None:
    """Infinite and missing values are neither moved nor taken into means."""
    base = pd.DataFrame({"x": [1.5, 2.5, 3.5, np.inf, -np.inf, np.nan] * 20, "y": range(120)})
    made = simulate(base, simulation(drift("scale", 0.5, "x"), drift("mean_shift", 1, "x")), 2, features=["x"], target="y")
    finite = made["x"][np.isfinite(made["x"])]
    assert {np.inf, -np.inf} <= set(made["x"])
    assert made["x"].isna().any()
    assert finite.between(1.5, 4.9).all()


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**32), months=st.integers(3, 12))
def test_later_months_and_drifts_never_change_earlier_ones(seed: int, months: int) -> None:
    """A month depends on the seed and its number: not on how many months follow, nor on drifts that begin later."""
    base = table(50)
    short, long = simulation(seed=seed, months=3), simulation(drift("mean_shift", 2, "amount", first=4), seed=seed, months=months)
    for number in (1, 2, 3):
        pd.testing.assert_frame_equal(month(base, short, number), month(base, long, number))


def test_a_drift_leaves_other_columns_alone() -> None:
    """From its first month a declared drift changes the columns it names and no other."""
    plain, drifted = (month(table(), plan, 4) for plan in (simulation(), simulation(drift("mean_shift", 2, "amount", first=4))))
    pd.testing.assert_frame_equal(plain.drop(columns="amount"), drifted.drop(columns="amount"))
    assert (drifted["amount"] - plain["amount"]).to_numpy() == pytest.approx(2 * table()["amount"].std(ddof=0))


def test_months_differ_from_each_other_and_between_seeds() -> None:
    """Two months are two samples, and so is one month under two seeds."""
    base = table()
    assert not month(base, simulation(), 2).equals(month(base, simulation(), 3))
    assert not month(base, simulation(), 2).equals(month(base, simulation(seed=4), 2))


def test_mean_shift_of_whole_numbers_keeps_them_whole_and_the_mean_exact() -> None:
    """A shift of 0.1 standard deviations of an integer column moves its mean by that much, though each row moves by a whole number."""
    base = table(20_000)
    plain, drifted = (month(base, plan, 2) for plan in (simulation(), simulation(drift("mean_shift", 0.1, "count"), drift("mean_shift", 3, "nullable"))))
    steps = drifted["count"] - plain["count"]
    expected = 0.1 * base["count"].std(ddof=0)
    assert drifted["count"].dtype == np.int64
    assert set(steps) == {int(expected), int(expected) + 1}
    assert steps.mean() == pytest.approx(expected, abs=0.02)
    assert drifted["nullable"].dtype == "Int64"
    assert (drifted["nullable"].isna() == plain["nullable"].isna()).all()


def test_scale_multiplies_the_spread_about_the_mean() -> None:
    """scale 2 doubles the standard deviation and keeps the mean of the table."""
    plain, drifted = (month(table(), plan, 2) for plan in (simulation(), simulation(drift("scale", 2, "amount"))))
    mean = table()["amount"].mean()
    assert (drifted["amount"] - mean).to_numpy() == pytest.approx(2 * (plain["amount"] - mean).to_numpy())


def test_category_mix_moves_a_share_to_the_rarest_category() -> None:
    """category_mix 0.4 gives two fifths of the rows that have a category the table's rarest one, and keeps missing ones missing."""
    plain, drifted = (month(table(), plan, 2) for plan in (simulation(), simulation(drift("category_mix", 0.4, "colour"))))
    present = plain["colour"].notna()
    untouched = int((present & (plain["colour"] != "blau-grün")).sum())
    moved = int((drifted["colour"] != plain["colour"])[present].sum())
    assert (drifted["colour"].isna() == ~present).all()
    assert set(drifted["colour"][present & (drifted["colour"] != plain["colour"])]) == {"blau-grün"}
    assert round(0.4 * present.sum()) - (present.sum() - untouched) <= moved <= round(0.4 * present.sum())


@pytest.mark.parametrize("column", ["flag", "binary", "level"])
def test_category_mix_keeps_types(column: str) -> None:
    """category_mix works on booleans, two-valued numbers and categoricals, and a category that never occurs is not chosen."""
    plan = simulation(drift("category_mix", 1, column))
    made = month(table(), plan, 2)
    rarest = table()[column].value_counts().loc[lambda counts: counts > 0].idxmin()
    assert made[column].dtype == table()[column].dtype
    assert set(made[column]) == {rarest}


def test_missingness_removes_a_share_of_the_values() -> None:
    """missingness 0.25 removes a quarter of the values that are there; integers become floats, as in any file with gaps."""
    plain, drifted = (month(table(), plan, 2) for plan in (simulation(), simulation(drift("missingness", 0.25, "amount", "gaps", "count", "colour", "flag"))))
    for column in ("amount", "gaps", "count", "colour", "flag"):
        assert drifted[column].notna().sum() == plain[column].notna().sum() - round(0.25 * plain[column].notna().sum())
    assert drifted["count"].dtype == np.float64
    kept = drifted["count"].dropna()
    assert (kept == plain["count"].loc[kept.index]).all()


def test_concept_changes_the_slope_of_a_numeric_target() -> None:
    """concept 0.5 adds 0.5 sd(y) of target for each sd(x): the least-squares slope rises by exactly that, and x stays as it was."""
    base = table()
    plain, drifted = (month(base, plan, 2) for plan in (simulation(), simulation(drift("concept", 0.5, "amount"))))
    rise = stats.linregress(drifted["amount"], drifted["y"]).slope - stats.linregress(plain["amount"], plain["y"]).slope
    assert rise == pytest.approx(0.5 * base["y"].std(ddof=0) / base["amount"].std(ddof=0))
    pd.testing.assert_frame_equal(plain.drop(columns="y"), drifted.drop(columns="y"))


def test_concept_flips_a_share_of_a_binary_target() -> None:
    """With half the labels positive, sd is 0.5: concept 0.6 swaps 30 % of the labels where x is above its mean, and none elsewhere."""
    base = pd.DataFrame({"x": np.arange(1000.0), "income": [">50K", "<=50K"] * 500})
    plain, drifted = (
        simulate(base, plan, 2, features=["x"], target="income") for plan in (simulation(jitter=0), simulation(drift("concept", 0.6, "x"), jitter=0))
    )
    above = plain["x"] > 499.5
    changed = plain["income"] != drifted["income"]
    assert not changed[~above].any()
    assert changed.sum() == round(0.3 * above.sum())
    assert set(drifted["income"]) == {">50K", "<=50K"}


def test_concept_works_on_a_category_and_keeps_missing_labels() -> None:
    """For a categorical column concept acts where the value is the commonest one; a missing label stays missing."""
    base = table().assign(late=lambda frame: pd.array((frame["y"] > 20).astype("int64"), dtype="Int64"))
    base.loc[:20, "late"] = pd.NA
    plain, drifted = (month(base, plan, 2, "late") for plan in (simulation(), simulation(drift("concept", 2, "colour"))))
    known = plain["late"].notna()
    assert (drifted["late"].notna() == known).all()
    flipped = (plain["late"] != drifted["late"]).fillna(False)
    # sd of a nearly even binary target is nearly 0.5, and 2 sd cover every row of the commonest colour
    assert flipped.sum() >= 0.97 * (known & (plain["colour"] == "red")).sum()
    assert not flipped[plain["colour"] != "red"].any()


def test_random_columns_are_numeric_features_chosen_by_the_seed() -> None:
    """ "k random" draws distinct numeric features with more than 10 distinct values, whatever order the features come in."""
    base, plan = table(), simulation(DeclaredDrift(columns="2 random", kind="mean_shift", size=2, first=2))
    assert drifting_columns(plan, base, FEATURES) == (("amount", "count"),)
    wide = pd.DataFrame({f"c{number}": np.arange(50) for number in range(12)})
    drawn = {drifting_columns(plan.model_copy(update={"seed": seed}), wide, list(wide))[0] for seed in range(40)}
    assert all(len(set(pair)) == 2 for pair in drawn)
    assert len(drawn) > 10
    assert drifting_columns(plan, wide, list(wide)) == drifting_columns(plan, wide, list(wide)[::-1])


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        (drift("mean_shift", 1, "amonut"), "Did you mean `amount`?"),
        (drift("mean_shift", 1, "colour"), "`colour`"),
        (drift("scale", 2, "binary"), "two distinct values"),
        (drift("category_mix", 0.5, "amount"), "at most 10 distinct numbers"),
        (drift("category_mix", 1.5, "colour"), "1.5 is above 1"),
        (drift("missingness", 2, "colour"), "share of rows"),
        (drift("concept", 1, "y"), "is the target"),
        (DeclaredDrift(columns="9 random", kind="mean_shift", size=1, first=2), "asks for 9 random columns, but only 2"),
        (DeclaredDrift(columns="amount", kind="mean_shift", size=1, first=2), "Write [amount]"),
    ],
)
def test_drifts_that_cannot_be_applied_are_refused_in_every_month(declared: DeclaredDrift, says: str) -> None:
    """A drift on an unknown column, or of a kind that does not suit its column, is refused from month 1 on, by name."""
    with pytest.raises(CaseError) as refused:
        month(table(), simulation(drift("mean_shift", 1, "count"), declared), 1)
    assert says in str(refused.value)
    assert "periods.simulate.drifts[1]" in str(refused.value)


def test_a_drift_beyond_a_columns_type_is_refused() -> None:
    """A shift that an 8-bit column cannot hold is refused, not wrapped around."""
    base = pd.DataFrame({"x": np.arange(100, dtype=np.int8), "y": 0})
    with pytest.raises(CaseError, match="int8"):
        simulate(base, simulation(drift("mean_shift", 3, "x")), 2, features=["x"], target="y")


@pytest.mark.parametrize("number", [0, 7, -1])
def test_months_outside_the_simulation_are_refused(number: int) -> None:
    """Only the months that the case declares can be made."""
    with pytest.raises(CaseError, match=f"no month {number}"):
        month(table(), simulation(), number)


def test_an_empty_table_is_refused() -> None:
    """Nothing can be resampled from no rows."""
    with pytest.raises(DataError, match="no rows"):
        month(table().iloc[:0], simulation(), 2)


def test_boston_shows_drift_in_exactly_two_features_from_month_five() -> None:
    """By scipy's Wasserstein distance over the reference's sd, two of eleven features pass 0.4 in months 5 to 8 and none before."""
    base = pd.read_csv(RAW / "boston" / "boston.csv")
    features = ["CRIM", "ZN", "INDUS", "CHAS", "NOX", "RM", "AGE", "DIS", "RAD", "TAX", "PTRATIO"]
    plan = Simulation(
        first="2024-01", months=8, rows=506, jitter=0.05, seed=2024, drifts=(DeclaredDrift(columns="2 random", kind="mean_shift", size=2, first=5),)
    )
    (chosen,) = drifting_columns(plan, base, features)
    for number in range(2, 9):
        made = simulate(base, plan, number, features=features, target="MEDV")
        far = {name for name in features if stats.wasserstein_distance(base[name], made[name]) / np.std(base[name]) > 0.4}
        assert far == (set(chosen) if number >= 5 else set())


def test_adult_shows_its_declared_drifts_and_no_others() -> None:
    """On adult, hours pass 0.25 (Wasserstein over sd) from month 5 and occupation (Jensen-Shannon) from month 6, and nothing else does."""
    base = pd.read_parquet(RAW / "adult" / "adult.parquet")
    numeric, categorical = ["education-num", "capital-gain", "capital-loss", "hours-per-week"], ["workclass", "occupation"]
    plan = Simulation(
        first="2024-01",
        months=8,
        rows=5000,
        jitter=0,
        seed=94,
        drifts=(drift("mean_shift", 1, "hours-per-week", first=5), drift("category_mix", 0.4, "occupation", first=6)),
    )
    made = {number: simulate(base, plan, number, features=[*numeric, *categorical], target="income") for number in range(1, 9)}
    for number in range(2, 9):
        scores = {name: stats.wasserstein_distance(made[1][name], made[number][name]) / np.std(made[1][name]) for name in numeric}
        for name in categorical:
            shares = pd.concat([frame[name].value_counts(normalize=True) for frame in (made[1], made[number])], axis=1).fillna(0)
            scores[name] = distance.jensenshannon(*shares.to_numpy().T)
        expected = ({"hours-per-week"} if number >= 5 else set()) | ({"occupation"} if number >= 6 else set())
        assert {name for name, score in scores.items() if score > 0.25} == expected

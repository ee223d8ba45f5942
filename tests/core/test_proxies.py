"""Suspected proxies are found where they were planted and not where they were not."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from tasks.core.case import Case
from tasks.core.catalogue import Column, Dataset, RiskFlag, Source
from tasks.core.proxies import ROWS, _areas, check_proxies, score_proxies, suspected_proxies

ROOT = Path(__file__).resolve().parents[2]


def planted(rows: int = 600, seed: int = 0) -> pd.DataFrame:
    """Sex, height that goes with it, a job that half of the women and no man has, noise; wealth, and a house that follows it."""
    draw = np.random.default_rng(seed)
    woman = draw.random(rows) < 0.5
    wealth = draw.normal(size=rows)
    return pd.DataFrame(
        {
            "sex": np.where(woman, "F", "M"),
            "height": np.where(woman, 165.0, 178.0) + draw.normal(0, 4, rows),
            "job": np.where(woman & (draw.random(rows) < 0.5), "nurse", draw.choice(["a", "b", "c"], rows)),
            "noise": draw.normal(size=rows),
            "wealth": wealth,
            "house": wealth + draw.normal(0, 0.3, rows),
        }
    )


def scores(frame: pd.DataFrame, features: list[str], sensitive: str) -> dict[str | None, float]:
    return {proxy.feature: proxy.score for proxy in score_proxies(frame, features, [sensitive], 0)}


def test_planted_proxies_of_a_class_are_found() -> None:
    """Normal heights 13 apart with spread 4 tell sex with an area of Phi(13 / (4 sqrt 2)) = 0.989; a job of half of the women with 0.75."""
    found = scores(planted(), ["height", "job", "noise"], "sex")
    assert found["height"] == pytest.approx(0.989, abs=0.02)
    assert found["job"] == pytest.approx(0.75, abs=0.05)
    assert found["noise"] == pytest.approx(0.5, abs=0.1)
    assert found[None] > 0.97


def test_planted_proxies_of_a_number_are_found() -> None:
    """A copy with noise of variance 0.09 explains 1 / 1.09 = 0.92 of a unit normal; noise explains nothing."""
    found = scores(planted(), ["house", "noise"], "wealth")
    assert found["house"] == pytest.approx(0.92, abs=0.07)
    assert found["noise"] < 0.05


def test_only_scores_above_the_limit_are_suspected() -> None:
    """The limit is exclusive, and the strongest comes first."""
    frame = planted()
    suspects = suspected_proxies(frame, ["height", "job", "noise"], ["sex", "wealth"], 0.9, 0)
    assert {(proxy.sensitive, proxy.feature) for proxy in suspects} == {("sex", "height"), ("sex", None)}
    assert suspects[0].score >= suspects[1].score
    assert suspected_proxies(frame, ["height"], ["sex"], suspects[0].score + 0.01, 0) == []


def test_a_proxy_of_one_group_among_many_is_found() -> None:
    """A feature that gives away one small group counts, though it says nothing of the others; rare classes do not break it."""
    draw = np.random.default_rng(1)
    group = draw.choice(["a", "b", "c", "d"], 1500, p=[0.5, 0.35, 0.1, 0.05])
    group[:3] = ["x", "y", "z"]
    frame = pd.DataFrame({"group": group, "mark": np.where(group == "d", "yes", "no"), "noise": draw.normal(size=1500)})
    best = score_proxies(frame, ["mark", "noise"], ["group"], 0)[0]
    assert (best.sensitive, best.group, best.measure) == ("group", "d", "auc")
    assert best.score > 0.95


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame.assign(sex=(frame["sex"] == "F").astype(int)),
        lambda frame: frame.assign(sex=frame["sex"] == "F"),
        lambda frame: frame.assign(sex=frame["sex"].astype("category"), job=frame["job"].astype("category")),
        lambda frame: frame.assign(sex=frame["sex"].where(frame.index % 7 > 0), height=frame["height"].where(frame.index % 5 > 0)),
        lambda frame: frame.assign(height=frame["height"].astype("Float64").where(frame.index % 5 > 0), job=frame["job"].where(frame.index % 3 > 0)),
        lambda frame: frame.assign(height=frame["height"].round().astype("int64"), only=None),
    ],
)
def test_columns_of_any_kind_and_with_gaps_are_read(change: Any) -> None:
    """Classes as numbers, flags or categories, nullable columns and missing values on either side do not stop the search."""
    found = scores(change(planted()), ["height", "job", "noise", "only", "absent"], "sex")
    assert found["height"] > 0.85
    assert found["noise"] < 0.62
    assert set(found) == {"height", "job", "noise", None}


def test_the_same_seed_gives_the_same_scores() -> None:
    """Scores are a function of the rows and the seed; above 5,000 rows a sample of 5,000 is read, and the number says so."""
    frame = planted(6_000)
    one, two = (score_proxies(frame, ["height"], ["sex"], 3) for _ in range(2))
    assert one == two
    assert {proxy.n for proxy in one} == {ROWS}


def test_little_data_says_nothing() -> None:
    """Under 100 rows, with one class, or with no usable feature there is no score rather than a wild one."""
    frame = planted()
    assert score_proxies(frame.head(99), ["height"], ["sex"], 0) == []
    assert score_proxies(frame.assign(sex="F"), ["height"], ["sex"], 0) == []
    assert score_proxies(frame, ["sex"], ["sex", "absent"], 0) == []
    assert score_proxies(frame, ["height"], [], 0) == []


def test_areas_are_those_of_scikit_learn() -> None:
    """The area by ranks is scikit-learn's, ties and all."""
    draw = np.random.default_rng(5)
    truth, probabilities = draw.integers(0, 3, 300), draw.random((300, 3)).round(1)
    expected = [roc_auc_score(truth == number, probabilities[:, number]) for number in range(3)]
    assert _areas(truth, probabilities) == pytest.approx(expected, abs=1e-12)


def entry(sensitive: tuple[str, ...]) -> Dataset:
    columns = tuple(
        Column(
            name=name,
            type="number",
            description=name,
            classification="personal",
            flags=frozenset({RiskFlag.SENSITIVE}) if name in sensitive else frozenset(),
            why="Protected." if name in sensitive else "",
        )
        for name in planted(100).columns
    )
    return Dataset(name="people", title="People", description="", version="1", columns=columns, source=Source(kind="file", location="x", format="csv"))


def use(**checks: Any) -> Case:
    return Case.model_validate(
        {
            "case": "hiring",
            "purpose": "Test.",
            "dataset": "people",
            "task": "regression",
            "target": {"column": "wealth"},
            "features": ["height", "noise"],
            "periods": {"simulate": {"first": "2024-01", "months": 2}},
            "candidates": [{"name": "plain", "estimator": {"kind": "linear"}}],
            "metrics": {"primary": "mae"},
            "limits": [{"metric": "mae", "at_most": 1}],
            "carbon": {"country": "FRA"},
            "checks": checks,
        }
    )


@pytest.mark.parametrize("severity", ["warn", "block"])
def test_findings_follow_the_case(severity: str) -> None:
    """A suspected proxy is named with its score and limit, as gravely as the case asks; all features together are told apart from one."""
    alone, together = sorted(check_proxies(use(proxy_limit=0.9, proxies=severity), entry(("sex",)), planted()), key=lambda finding: str(finding.column))
    assert (alone.kind, alone.severity, alone.column, together.column) == ("suspected_proxy", severity, "height", "sex")
    for word in ("`height`", "`sex`", "AUC 0.9", "> 0.9", "600 rows"):
        assert word in alone.message
    assert "All features together" in together.message


def test_nothing_sensitive_means_nothing_to_tell() -> None:
    """A dataset without sensitive columns has no proxies."""
    assert check_proxies(use(), entry(()), planted()) == ()


def test_the_census_gives_sex_away_through_relationship() -> None:
    """On Adult, husband and wife tell sex: a known proxy is found among harmless columns."""
    adult = pd.read_parquet(ROOT / "data/raw/adult/adult.parquet", columns=["sex", "relationship", "fnlwgt"]).head(3000)
    found = scores(adult, ["relationship", "fnlwgt"], "sex")
    assert found["relationship"] > 0.8
    assert found["fnlwgt"] < 0.6

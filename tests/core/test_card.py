"""The card says what the evidence says, hides what may not be told, and runs nothing."""

from dataclasses import replace

import pandas as pd
import pytest

from tasks.core.card import CardFacts, model_card, plain
from tasks.core.figures import cohort_chart
from tasks.core.gate import Check, Decision
from tasks.io.documents import load_case
from tasks.io.home import PROJECT

REPORT = pd.DataFrame(
    {
        "cohort": ["overall", "LSTAT=(8, 16]", "B=<b>|x|", "B=tiny"],
        "kind": ["overall", "group", "group", "group"],
        "metric": "mae",
        "value": [2.5, 3.25, 4.0, float("nan")],
        "low": [2.0, 3.0, 1.0, float("nan")],
        "high": [3.0, 3.5, 7.0, float("nan")],
        "n": pd.array([1200, 40, 12, None], dtype="Int64"),
        "support": pd.array([1200, 40, 12, None], dtype="Int64"),
        "verdict": ["ok", "ok", "insufficient", "insufficient"],
    }
)


@pytest.fixture
def card():
    facts = CardFacts(
        candidate="linear",
        period="2024-01",
        rows={"train": 10, "validation": 5, "test": 5},
        report=REPORT,
        decision=Decision((Check("mae <= 4", "mae for overall", 2.5, 2.0, 3.0, "passed", "fine"),)),
        findings=["Column <script>alert(1)</script>"],
        digests={"model": "sha256:ab"},
        emissions="Not known.",
        alternatives=[{"name": "linear", "metric": "mae", "value": 2.5, "low": 2.0, "high": 3.0}],
    )
    return model_card(load_case("boston", PROJECT), facts)


def test_figures_come_with_counts_and_intervals(card):
    """Each cohort's row has its count, and its figure with the interval."""
    assert r"| overall | 1,200 | 2.500 \[2.000, 3.000\]" in card
    assert r"| LSTAT=(8, 16\] | 40 | 3.250 \[3.000, 3.500\]" in card


def test_small_cohort_is_named_without_figures(card):
    """Under its support a cohort is insufficient evidence; where even its size may not be told, a dash stands."""
    assert "| 12 | insufficient evidence" in card
    assert "| B=tiny | – | insufficient evidence" in card


def test_nothing_in_the_card_is_live_markup(card):
    """Names from data and from people cannot become HTML or break a table."""
    assert "<script" not in card
    assert "<b>" not in card
    assert r"B=&lt;b&gt;\|x\|" in card


def test_card_asks_for_what_people_have_to_write():
    """Before a version has a number, each part that nobody wrote says where to write it; one written since replaces it."""
    case = load_case("boston", PROJECT)
    bare = case.model_copy(update={"card": type(case.card)()})
    facts = CardFacts("linear", "2024-01", {"test": 5}, REPORT, Decision(()), [], {}, "Not known.", [])
    asked = model_card(bare, facts)
    for part in ("intended_use", "risks", "risk_acceptance", "declaration"):
        assert f"to be written by a person in {plain(f'`card.{part}`')} of configs/boston.yaml" in asked
    written = model_card(bare, replace(facts, human={"risks": "Floods."}))
    assert "Floods." in written
    assert plain("`card.risks`") not in written


def test_chart_is_a_picture_even_with_hidden_and_odd_names():
    """The chart draws with cohorts that have no figures and with names that mean something to matplotlib."""
    rows = pd.concat([REPORT, REPORT.assign(cohort="price=$5_x^{2}$")])
    png = cohort_chart(rows, "mae", title="a $ title")
    assert png.startswith(b"\x89PNG")
    assert len(png) > 5_000

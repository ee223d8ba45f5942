"""Builders of the core's tests: a dossier of the case boston with as many cohorts, and whatever names and notes, as a test wants."""

from dataclasses import replace

import numpy as np
import pytest

from tasks.core.dossier import Alternative, Dossier, read_figure
from tasks.core.evidence import StoredReport
from tasks.core.gate import decide
from tasks.core.review import Review
from tasks.io.documents import load_case, load_dataset
from tasks.io.home import PROJECT

HUMAN = {
    "intended_use": "Flags valuations for a person to look at.",
    "risks": "Errors are larger where few people live.",
    "risk_acceptance": "The owner accepts what remains.",
    "declaration": "I answer for this use.",
}


def sha(text):
    """An invented digest."""
    from tasks.core.digests import digest_of

    return digest_of(text)


def row(cohort, metric, value, *, n=100, half=0.25, kind="group", verdict="ok"):
    """A row of a stored report; a cohort without a value is a suppressed one."""
    known = value is not None
    return {
        "cohort": cohort,
        "kind": kind,
        "metric": metric,
        "value": value,
        "low": value - half if known else None,
        "high": value + half if known else None,
        "n": n if known else None,
        "support": n if known else None,
        "verdict": verdict if known else "insufficient",
    }


def report_of(cohorts, metrics):
    """A stored report: the first metric by cohort, the others the same figures a little off."""
    rows = []
    for name, (value, n) in cohorts.items():
        kind = "overall" if name == "overall" else "group"
        rows += [row(name, metric, None if value is None else value + place / 8, n=n, kind=kind) for place, metric in enumerate(metrics)]
    return StoredReport.of({"rows": rows, "gaps": [], "groupings": [{"by": ["LSTAT"], "cohorts": [name for name in cohorts if name != "overall"]}]})


def build(cohorts=None, *, human=None, notes="Looked at every group.", served=True, names=None, **changes):
    """A dossier of version 3 of boston."""
    case, dataset = load_case("boston", PROJECT), load_dataset("boston", PROJECT)
    cohorts = cohorts or {"overall": (2.25, 126), "LSTAT=(8, 16]": (1.875, 60), "LSTAT=(16, ...]": (3.5, 41), "LSTAT=tiny": (None, None)}
    report = report_of(cohorts, case.metric_names)
    spec = next(one for one in case.candidates if one.name == "reweighed")
    objects = ("case", "catalogue", "environment", "parts", "model", "reference", "predictions", "report", "validation", "comparison", "findings")
    evidence = {
        "format": 1,
        **{name: sha(name) for name in (*objects, "emissions", "decision", "card")},
        "snapshots": {"features 2024-01": sha("features"), "labels 2024-01": sha("labels")},
        "reports": {"linear": sha("linear"), "reweighed": sha("reweighed")},
        "code": "0123abc",
        "lock": sha("lock"),
        "split": {"kind": "random", "seed": 7},
        "candidate": "reweighed",
        "spec": spec.model_dump(mode="json", exclude_none=True),
        "rows": {"train": 252, "validation": 128, "test": 126},
        "periods": ["2024-01"],
        "author": "ada",
    }
    figures = {name: read_figure(row("overall", "mae", value, n=126, kind="overall")) for name, value in (("linear", 3.125), ("reweighed", 2.25))}
    review = Review("boston", 3, "approve", "Grace", notes, "Look again in June.", "2027-01-01", sha("evidence"), sha("card"), "2026-11-20T10:00:00+00:00")
    months = [
        {
            "period": f"2024-0{month}",
            "rows": 506,
            "drifted": month > 4,
            "share": 0.18 if month > 4 else 0.0,
            "drifted_columns": ["INDUS", "NOX"] if month > 4 else [],
        }
        for month in range(2, 9)
    ]
    compared = [
        {"cohort": name, "kind": "group", "metric": "mae", "value": 2.0, "baseline": 3.0, "delta": -1.0, "low": -1.5, "high": -0.5, "verdict": verdict}
        for name, verdict in (("overall", "better"), ("LSTAT=(16, ...]", "worse"))
    ]
    made = Dossier(
        case=case,
        dataset=dataset,
        version=3,
        evidence=evidence,
        digest=sha("evidence"),
        environment={"python": "3.11.9", "platform": "Linux", "machine": "x86_64", "packages": {"numpy": "2.1.0", "scikit_learn": "1.9.0", "odd": "1.0+local"}},
        report=report,
        validation=report,
        alternatives=tuple(Alternative(name, one) for name, one in figures.items()),
        comparison={"comparison": compared},
        findings=({"kind": "suspected_proxy", "severity": "warn", "column": "NOX", "message": "Feature `NOX` tells much of B.", "fix": "Look at it."},),
        emissions={"kg": 0.000125, "kwh": 0.00025, "seconds": 30.0, "country": "USA", "method": "estimated", "note": "Modelled."},
        source="data/raw/boston/boston.csv",
        energy="0.25 Wh and 0.125 g of CO2-equivalent on the grid of USA, estimated. Modelled.",
        decision=decide(report, case.limits),
        decided="at training",
        human=HUMAN if human is None else human,
        missing=("1 of 2 approval(s) by the role `owner`",),
        reviews=(review,),
        registered="2026-11-19T09:00:00+00:00",
        promoted=None,
        in_production=False,
        retired=False,
        served=tuple(months) if served else (),
        drifted=tuple({"period": month["period"], "columns": month["drifted_columns"]} for month in months if month["drifted"]) if served else (),
    )
    return replace(made, **changes)


@pytest.fixture(scope="session")
def make_dossier():
    """Builds a dossier; see `build`."""
    return build


@pytest.fixture
def many_cohorts():
    """Figures of so many cohorts under names of a kind, all rows together first."""

    def made(number, name=lambda place: f"group {place}"):
        generator = np.random.default_rng(1)
        return {"overall": (2.25, 4000)} | {name(place): (float(np.round(2 + generator.random() * 3, 3)), 50 + place) for place in range(number)}

    return made

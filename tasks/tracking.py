"""Step: log a training to MLflow, and register the chosen candidate with its evidence and card."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from tasks.core.candidate_spec import CandidateSpec
from tasks.core.candidates import Candidate
from tasks.core.card import CardFacts, model_card
from tasks.core.digests import canonical_json, digest_bytes, digest_of, finite, json_bytes
from tasks.core.evaluation import CohortReport
from tasks.core.figures import cohort_chart, sweep_chart
from tasks.core.gate import Decision
from tasks.core.report import records as frame_records
from tasks.core.review import production_version
from tasks.core.suppression import publish
from tasks.core.sweep import needs_old_model
from tasks.io.documents import case_digest
from tasks.io.emissions import EmissionsResult
from tasks.io.models import dump
from tasks.io.provenance import code_version, lock_digest
from tasks.io.workbench import Workbench
from tasks.step import flow_run, now, say, step

FIGURES = 2  # a picture for each of the first so many metrics


@dataclass(frozen=True)
class Trained:
    """One fitted candidate and its reports, as they go into the record."""

    name: str
    candidate: Candidate
    seconds: float
    validation: CohortReport
    test: CohortReport

    def published(self) -> "Trained":
        """The same with the figures of cohorts that could name a person left out: what may go to MLflow, Prefect and files."""
        return replace(self, validation=publish(self.validation), test=publish(self.test))


@dataclass(frozen=True)
class Training:
    """All that one training has to show."""

    periods: tuple[str, ...]
    rows: Mapping[str, int]
    digests: Mapping[str, str]
    trained: tuple[Trained, ...]
    chosen: str
    reason: str
    decision: Decision
    findings: tuple[str, ...]
    emissions: EmissionsResult
    reference: pd.DataFrame
    specs: tuple[CandidateSpec, ...]
    sweep: pd.DataFrame | None = None

    @property
    def choice(self) -> Trained:
        return next(one for one in self.trained if one.name == self.chosen)


def identity(bench: Workbench, digests: Mapping[str, str], *, sweep: bool) -> dict[str, Any]:
    """What makes two trainings the same: the case, the catalogue, the snapshots, the code and the locked dependencies; where
    candidates are held against an old model, which; and whether the sweep was searched.
    """
    old = {"old": production_version(bench.ledger.events(bench.case.case))} if needs_old_model(bench.case, sweep) else {}
    return (
        old
        | ({"sweep": True} if sweep else {})
        | {
            "case": case_digest(bench.case),
            "catalogue": digest_of(bench.dataset.record()),
            "snapshots": dict(digests),
            "code": code_version(bench.home.project),
            "lock": lock_digest(bench.home.project),
        }
    )


@step("look for the same training")
def known_training(bench: Workbench, digests: Mapping[str, str], *, sweep: bool) -> dict[str, Any] | None:
    """What an earlier, identical training returned; None when there is none."""
    wanted = digest_of(identity(bench, digests, sweep=sweep))
    for event in reversed(bench.ledger.events(bench.case.case)):
        if event.kind == "registered" and event.body["identity"] == wanted:
            say(f"nothing has changed since version {event.version} was trained: it stands")
            return dict(json.loads(bench.store.get(event.body["summary"])), model={"name": bench.case.case, "version": event.version})
    return None


@step("log to MLflow")
def log_training(bench: Workbench, training: Training) -> str:
    """One parent run, one child run for each candidate. Returns the parent's run id."""
    case, runs = bench.case, bench.runs
    known = identity(bench, training.digests, sweep=training.sweep is not None)
    tags = {
        "equipoise.case": case.case,
        "equipoise.periods": ", ".join(training.periods),
        "equipoise.findings": "\n".join(training.findings) or "none",
        "mlflow.source.git.commit": known["code"].removesuffix("+changes"),
        **{f"equipoise.{what}": value for what, value in known.items() if isinstance(value, str)},
        **{f"equipoise.snapshot.{what.replace(' ', '.')}": digest for what, digest in training.digests.items()},
        **flow_run(),
    }
    datasets = [(case.dataset, digest, f"snapshot {what}", "training") for what, digest in training.digests.items()]
    parent = runs.start_parent(
        case.case,
        tags=tags | _energy_tags(training.emissions) | {"mlflow.runName": f"train {training.periods[-1]}", "equipoise.chosen": training.chosen},
        params={"task": case.task, "target": case.target.column, "features": ", ".join(case.features), "seed": case.seed, "split": case.split.kind},
    )
    for one in training.trained:
        spec = next(spec for spec in training.specs if spec.name == one.name)
        frame = one.test.frame()
        runs.log_child(
            parent,
            one.name,
            params=_flat(spec.model_dump(exclude_none=True, exclude={"name"})),
            metrics={"fit_seconds": one.seconds, **one.test.named("test"), **one.validation.named("validation")},
            tags=tags | {"equipoise.chosen": str(one.name == training.chosen).lower()},
            datasets=datasets,
            artifacts={
                "reports/test.json": json_bytes(one.test.to_dict()),
                "reports/validation.json": json_bytes(one.validation.to_dict()),
                "reports/test.csv": frame.to_csv(index=False).encode(),
                **{f"figures/{metric}.png": cohort_chart(frame, metric, title=f"{case.case}: {one.name} on test") for metric in case.metric_names[:FIGURES]},
            },
        )
    if training.sweep is not None:
        runs.log_child(
            parent,
            "sweep",
            params=_flat({"sweep": case.sweep.model_dump(mode="json", exclude_none=True) if case.sweep else {}}),
            tags=tags,
            artifacts={"sweep.csv": training.sweep.to_csv(index=False).encode(), "sweep.png": sweep_chart(training.sweep, training.chosen, case)},
        )
    runs.log_metrics(parent, {**training.choice.test.named("test"), "emissions_kg": training.emissions.kg, "energy_kwh": training.emissions.kwh})
    runs.finish(parent)
    say(f"logged {len(training.trained)} candidates to MLflow, run {parent}")
    return parent


@step("register the chosen candidate")
def register(bench: Workbench, training: Training, run: str) -> dict[str, Any]:
    """Make a version: model bytes, signature and card in MLflow; evidence in the store; the fact in the ledger.

    Returns: the training's summary, JSON-ready, with the version's number.
    """
    case, store, chosen = bench.case, bench.store, training.choice
    known = identity(bench, training.digests, sweep=training.sweep is not None)
    model = dump(chosen.candidate)
    evidence: dict[str, Any] = {
        **known,
        "split": {**case.split.model_dump(), "seed": case.seed},
        "candidate": chosen.name,
        "model": store.put(model),
        "report": store.put(canonical_json(finite(chosen.test.to_dict()))),
        "reference": store.put_frame(training.reference),
        "decision": digest_of(finite(training.decision.to_dict())),
    }
    card = model_card(
        case,
        CardFacts(
            candidate=chosen.name,
            period=" to ".join(dict.fromkeys((training.periods[0], training.periods[-1]))),
            rows=training.rows,
            report=chosen.test.frame(),
            decision=training.decision,
            findings=training.findings,
            digests={what: value for what, value in evidence.items() if isinstance(value, str) and what != "candidate"},
            emissions=_energy(training.emissions),
            alternatives=_alternatives(case.metrics.primary, training.trained),
        ),
    )
    evidence["card"] = digest_bytes(card.encode())
    digest = store.put(canonical_json(evidence))
    summary = {
        "chosen": chosen.name,
        "reason": training.reason,
        "gate": list(training.decision.reasons),
        "run": run,
        "findings": list(training.findings),
        "candidates": [_candidate(one) for one in training.trained],
        "emissions_kg": training.emissions.kg,
        "sweep": [] if training.sweep is None else frame_records(training.sweep),
    }
    version = bench.registry.register(
        case.case,
        run_id=run,
        model_bytes=model,
        inputs=chosen.candidate.inputs,
        task=case.task,
        description=card,
        tags={
            "equipoise.evidence": digest,
            "equipoise.candidate": chosen.name,
            "equipoise.gate": "passed" if training.decision.passed else "not passed",
            "card.intended_use": case.card.intended_use,
            "card.risks": case.card.risks,
        },
    )
    bench.ledger.append(
        case.case,
        "registered",
        version,
        {
            "identity": digest_of(known),
            "evidence": digest,
            "model": evidence["model"],
            "reference": evidence["reference"],
            "summary": store.put(canonical_json(finite(summary))),
            "run": run,
            "candidate": chosen.name,
            "inputs": chosen.candidate.inputs,
            "periods": list(training.periods),
            "decision": finite(training.decision.to_dict()),
            "at": now(),
        },
    )
    say(f"registered {case.case} version {version} ({chosen.name}), evidence {digest[7:19]}")
    return dict(finite(summary), model={"name": case.case, "version": version})


@step("log the scoring to MLflow")
def log_scoring(bench: Workbench, *, version: int, months: Sequence[Mapping[str, Any]], emissions: EmissionsResult) -> None:
    """A run for the periods scored just now, below the run that trained their version: rows, drift, energy and emissions."""
    periods = [str(month["period"]) for month in months]
    bench.runs.log_child(
        bench.registry.version(bench.case.case, version).run_id,
        f"infer {' to '.join(dict.fromkeys((periods[0], periods[-1])))}",
        metrics={
            "emissions_kg": emissions.kg,
            "energy_kwh": emissions.kwh,
            **{f"{month['period']}/rows": month["rows"] for month in months},
            **{f"{month['period']}/drift_share": month["share"] for month in months},
        },
        tags={"equipoise.version": str(version), **_energy_tags(emissions), **flow_run()},
    )


def _candidate(one: Trained) -> dict[str, Any]:
    """A candidate as the summary shows it: overall metrics, and every cohort row on test."""
    frame = one.test.frame()
    overall = frame[(frame["cohort"] == "overall") & (frame["verdict"] == "ok")]
    return {"name": one.name, "metrics": {row["metric"]: float(row["value"]) for row in overall.to_dict("records")}, "cohorts": one.test.to_dict()["rows"]}


def _alternatives(metric: str, trained: Sequence[Trained]) -> list[dict[str, Any]]:
    """Every candidate's overall figure on test."""
    found = []
    for one in trained:
        frame = one.test.frame()
        row = frame[(frame["cohort"] == "overall") & (frame["metric"] == metric)].iloc[0]
        found.append({"name": one.name, "metric": metric, "value": row["value"], "low": row["low"], "high": row["high"]})
    return found


def _energy(emissions: EmissionsResult) -> str:
    if emissions.kg is None or emissions.kwh is None:
        return f"Not known: {emissions.note}"
    cost = f"{emissions.kwh * 1000:.3g} Wh and {emissions.kg * 1000:.3g} g of CO2-equivalent"
    return f"{cost} on the grid of {emissions.country}, {emissions.method}. {emissions.note}"


def _energy_tags(emissions: EmissionsResult) -> dict[str, str]:
    """How energy was come by, beside its figure."""
    return {"equipoise.emissions_method": emissions.method, "equipoise.emissions_note": emissions.note}


def _flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    """{"estimator": {"kind": "ridge"}} as {"estimator.kind": "ridge"}."""
    flat: dict[str, object] = {}
    for name, value in nested.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat

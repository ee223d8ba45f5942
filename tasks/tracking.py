"""Step: log a training to MLflow, and register the chosen candidate with its evidence and card."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import pandas as pd

from tasks.core.candidate_spec import CandidateSpec
from tasks.core.candidates import Candidate
from tasks.core.card import CardFacts, model_card
from tasks.core.digests import canonical_json, digest_of, finite, json_bytes
from tasks.core.evaluation import CohortReport
from tasks.core.evidence import manifest, stored_report
from tasks.core.figures import cohort_chart, sweep_chart
from tasks.core.findings import Finding
from tasks.core.gate import Decision
from tasks.core.report import records as frame_records
from tasks.core.review import production_version
from tasks.core.suppression import publish
from tasks.core.sweep import needs_old_model
from tasks.io.documents import case_digest, load_people
from tasks.io.emissions import EmissionsResult
from tasks.io.models import dump
from tasks.io.provenance import author, code_diff, code_version, environment, lock_digest
from tasks.io.workbench import Workbench
from tasks.step import flow_run, now, say, step

DIFF = "changes.diff"
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
    findings: tuple[Finding, ...]
    emissions: EmissionsResult
    reference: pd.DataFrame
    parts: pd.DataFrame  # row_id, part
    predictions: pd.DataFrame  # row_id, y_true, y_pred, y_score on the test rows
    comparison: Mapping[str, Any]
    specs: tuple[CandidateSpec, ...]
    sweep: pd.DataFrame | None = None
    given: Mapping[str, str] = field(default_factory=dict)  # what makes a model trained elsewhere the same
    code: Mapping[str, bytes] = field(default_factory=dict)  # files that made it, by name

    @property
    def choice(self) -> Trained:
        return next(one for one in self.trained if one.name == self.chosen)


def identity(bench: Workbench, digests: Mapping[str, str], *, sweep: bool, given: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What makes two trainings the same: the case, the catalogue, the snapshots, the code and the locked dependencies; where
    candidates are held against an old model, which; and whether the sweep was searched.
    """
    old = {"old": production_version(bench.ledger.events(bench.case.case))} if needs_old_model(bench.case, sweep) else {}
    return (
        old
        | ({"sweep": True} if sweep else {})
        | ({"given": dict(given)} if given else {})
        | {
            "case": case_digest(bench.case),
            "catalogue": digest_of(bench.dataset.record()),
            "snapshots": dict(digests),
            "code": code_version(bench.home.project),
            "lock": lock_digest(bench.home.project),
        }
    )


@step("look for the same training")
def known_training(bench: Workbench, digests: Mapping[str, str], *, sweep: bool, given: Mapping[str, str] | None = None) -> dict[str, Any] | None:
    """What an earlier, identical training returned; None when there is none."""
    wanted = digest_of(identity(bench, digests, sweep=sweep, given=given))
    for event in reversed(bench.ledger.events(bench.case.case)):
        if event.kind == "registered" and event.body["identity"] == wanted:
            say(f"nothing has changed since version {event.version} was trained: it stands")
            return dict(json.loads(bench.store.get(event.body["summary"])), model={"name": bench.case.case, "version": event.version})
    return None


def may_register(bench: Workbench) -> str:
    """The name of whoever registers. Raises: AccessError when they may not."""
    return load_people(bench.home.project).authorise("register", author())


@step("log to MLflow")
def log_training(bench: Workbench, training: Training) -> str:
    """One parent run, one child run for each candidate. Returns the parent's run id."""
    case, runs = bench.case, bench.runs
    known = identity(bench, training.digests, sweep=training.sweep is not None, given=training.given)
    tags = {
        "equipoise.case": case.case,
        "equipoise.periods": ", ".join(training.periods),
        "equipoise.findings": "\n".join(map(str, training.findings)) or "none",
        "mlflow.source.git.commit": known["code"].removesuffix("+changes"),
        **{f"equipoise.{what}": value for what, value in known.items() if isinstance(value, str)},
        **{f"equipoise.snapshot.{what.replace(' ', '.')}": digest for what, digest in training.digests.items()},
        **flow_run(),
    }
    datasets = [(case.dataset, digest, f"snapshot {what}", "training") for what, digest in training.digests.items()]
    parent = runs.start_parent(
        case.case,
        tags=tags | training.emissions.tags | {"mlflow.runName": f"train {training.periods[-1]}", "equipoise.chosen": training.chosen},
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
    if files := _code(bench, training):
        runs.log_artifacts(parent, {f"code/{name}": data for name, data in files.items()})
    runs.finish(parent)
    say(f"logged {len(training.trained)} candidates to MLflow, run {parent}")
    return parent


@step("register the chosen candidate")
def register(bench: Workbench, training: Training, run: str) -> dict[str, Any]:
    """Make a version: model bytes, signature and card in MLflow; evidence in the store; the fact in the ledger.

    Returns: the training's summary, JSON-ready, with the version's number.
    """
    may_register(bench)
    case, store, chosen = bench.case, bench.store, training.choice
    known = identity(bench, training.digests, sweep=training.sweep is not None, given=training.given)
    model = dump(chosen.candidate)
    plain = {
        "case": case.model_dump(mode="json"),
        "catalogue": bench.dataset.record(),
        "environment": environment(),
        "report": stored_report(chosen.test),
        "validation": stored_report(chosen.validation),
        "comparison": training.comparison,
        "findings": [finding.to_dict() for finding in training.findings],
        "emissions": asdict(training.emissions),
        "decision": training.decision.to_dict(),
    }
    objects = {name: store.put_json(value) for name, value in plain.items()} | {
        "model": store.put(model),
        "parts": store.put_frame(training.parts),
        "reference": store.put_frame(training.reference),
        "predictions": store.put_frame(training.predictions),
    }
    reports = {one.name: store.put_json(stored_report(one.test)) for one in training.trained}
    card = model_card(
        case,
        CardFacts(
            candidate=chosen.name,
            period=" to ".join(dict.fromkeys((training.periods[0], training.periods[-1]))),
            rows=training.rows,
            report=chosen.test.frame(),
            decision=training.decision,
            findings=[str(finding) for finding in training.findings],
            digests={**training.digests, **objects, "code": known["code"], "lock": known["lock"]},
            emissions=training.emissions.sentence,
            alternatives=_alternatives(case.metrics.primary, training.trained),
            spec=next(spec for spec in training.specs if spec.name == chosen.name),
            dataset=bench.dataset,
            comparison=training.comparison.get("comparison", ()),
        ),
    )
    evidence = manifest(
        snapshots=training.digests,
        reports=reports,
        objects={**objects, "card": store.put(card.encode())},
        code=known["code"],
        lock=known["lock"],
        split={**case.split.model_dump(), "seed": case.seed},
        candidate=chosen.name,
        spec=next(spec for spec in training.specs if spec.name == chosen.name).model_dump(mode="json", exclude_none=True),
        rows=dict(training.rows),
        periods=list(training.periods),
        author=author(),
        code_files={name: store.put(data) for name, data in _code(bench, training).items()},
    )
    links = {f"equipoise.snapshot.{what.replace(' ', '.')}": snapshot for what, snapshot in training.digests.items()} | {"equipoise.code": known["code"]}
    links |= {f"equipoise.code_{'diff' if name == DIFF else 'file'}": f"{name} {evidence['code_files'][name]}" for name in evidence["code_files"]}
    digest = store.put_json(evidence)
    summary = {
        "chosen": chosen.name,
        "reason": training.reason,
        "gate": list(training.decision.reasons),
        "run": run,
        "findings": [str(finding) for finding in training.findings],
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
        evidence=canonical_json(evidence),
        tags={
            "equipoise.evidence": digest,
            "equipoise.candidate": chosen.name,
            "equipoise.gate": "passed" if training.decision.passed else "not passed",
            **{f"card.{part}": text for part, text in case.card},
            **links,
            **flow_run(),
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
            "summary": store.put_json(summary),
            "run": run,
            "candidate": chosen.name,
            "inputs": chosen.candidate.inputs,
            "periods": list(training.periods),
            "decision": finite(training.decision.to_dict()),
            "author": evidence["author"],
            "at": now(),
        },
    )
    say(f"registered {case.case} version {version} ({chosen.name}), evidence {digest[7:19]}")
    return dict(finite(summary), model={"name": case.case, "version": version})


def _code(bench: Workbench, training: Training) -> dict[str, bytes]:
    """The files of code that made a model, by name, and what the checkout has beyond its commit."""
    diff = code_diff(bench.home.project)
    return {**training.code, **({DIFF: diff} if diff else {})}


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


def _flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    """{"estimator": {"kind": "ridge"}} as {"estimator.kind": "ridge"}."""
    flat: dict[str, object] = {}
    for name, value in nested.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat

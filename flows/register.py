"""Flow: evaluate a model that was trained elsewhere on the case's test split and cohorts, and register it like any candidate."""

from typing import Any

from prefect import flow

from tasks.carbon import record_energy
from tasks.checks import check_columns, check_snapshot, refuse_blocked
from tasks.core.case import Period
from tasks.core.predictions import kept_predictions
from tasks.core.strict import Name
from tasks.evaluation import beside_baseline, evaluate_predictions, hold_against_limits
from tasks.io.emissions import track
from tasks.io.workbench import Workbench
from tasks.registering import ask_model, read_model
from tasks.reports import report_training
from tasks.tracking import Trained, Training, known_training, log_training, may_register
from tasks.tracking import register as register_version
from tasks.training import fit_candidate, load_window, reference_of


@flow(name="register", flow_run_name="register {case}", timeout_seconds=24 * 3600)
def register(case: Name, model: str, code: str | None = None, period: Period | None = None) -> dict[str, Any]:
    """Register the model of a file beside the case's baseline, which is fitted for the comparison. The same file twice leaves one version.

    model: a .skops or .onnx file. code: the notebook or program that made it. period: the last of the window it is tested on, YYYY-MM;
    the first window there is unless given. Rows of the window's test part must not have been used to train it: nobody here can see that.
    """
    bench = Workbench.open(case)
    may_register(bench)
    with track(country=bench.case.carbon.country, name="register") as meter:
        given = read_model(bench, model, code)
        window = load_window(bench, period)
        findings = check_columns(bench) + [found for taken in window.periods for found in check_snapshot(bench, taken, for_training=True)]
        refuse_blocked(bench, findings)
        if known := known_training(bench, window.digests, sweep=False, given=given.identity):
            return known
        name, candidate = given.spec.name, given.model
        tables = {part: ask_model(bench.case, given, *window.rows(part), f"{name} on {part}") for part in ("validation", "test")}
        baseline = fit_candidate(bench, window, bench.case.candidates[0])
        reports = {part: evaluate_predictions(bench.case, table, f"{name} on {part}") for part, table in tables.items()}
        besides = {part: evaluate_predictions(bench.case, getattr(baseline, part), f"{baseline.name} on {part}") for part in tables}
        trained = (Trained(baseline.name, baseline.candidate, baseline.seconds, **besides), Trained(name, candidate, 0.0, **reports))
        decision = hold_against_limits(bench.case, reports["test"])
    training = Training(
        periods=window.periods,
        rows=window.counts,
        digests=window.digests,
        trained=tuple(one.published() for one in trained),
        chosen=name,
        reason=f"registered from {given.spec.estimator.params['file']}, trained elsewhere",
        decision=decision,
        findings=tuple(findings),
        emissions=meter.result,
        reference=reference_of(window, candidate),
        parts=window.parts,
        predictions=kept_predictions(tables["test"]),
        comparison=beside_baseline(bench.case, baseline.test, tables["test"]),
        specs=(bench.case.candidates[0], given.spec),
        given=given.identity,
        code=given.code,
    )
    run = log_training(bench, training)
    registered = register_version(bench, training, run)
    record_energy(bench, "register", meter.result)
    report_training(bench, registered, {one.name: one.test.frame() for one in training.trained})
    return registered

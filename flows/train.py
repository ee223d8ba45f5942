"""Flow: check, fit every candidate, evaluate each on every cohort, choose on validation, register with evidence."""

from typing import Any

from prefect import flow

from tasks.checks import check_columns, check_snapshot, refuse_blocked
from tasks.evaluation import choose, evaluate_predictions, hold_against_limits
from tasks.io.emissions import track
from tasks.io.workbench import Workbench
from tasks.reports import report_training
from tasks.tracking import Trained, Training, known_training, log_training, register
from tasks.training import fit_candidate, load_window, reference_of


@flow(name="train", flow_run_name="train {case}")
def train(case: str = "boston", period: str | None = None) -> dict[str, Any]:
    """Train on the window that ends with `period`, or on the first one there is. The same training twice leaves one version.

    period: YYYY-MM.
    """
    bench = Workbench.open(case)
    with track(country=bench.case.carbon.country, name="train") as meter:
        window = load_window(bench, period)
        findings = check_columns(bench) + [found for taken in window.periods for found in check_snapshot(bench, taken, for_training=True)]
        refuse_blocked(bench, findings)
        if known := known_training(bench, window.digests):
            return known
        trained = []
        for spec in bench.case.candidates:
            fitted = fit_candidate(bench, window, spec)
            validation = evaluate_predictions(bench.case, fitted.validation, f"{spec.name} on validation")
            test = evaluate_predictions(bench.case, fitted.test, f"{spec.name} on test")
            trained.append(Trained(spec.name, fitted.candidate, fitted.seconds, validation, test))
        choice = choose(bench.case, {one.name: one.validation for one in trained})
        chosen = next(one for one in trained if one.name == choice.name)
        decision = hold_against_limits(bench.case, chosen.test)
    training = Training(
        periods=window.periods,
        rows=window.counts,
        digests=window.digests,
        trained=tuple(one.published() for one in trained),
        chosen=choice.name,
        reason=choice.reason,
        decision=decision,
        findings=tuple(str(found) for found in findings),
        emissions=meter.result,
        reference=reference_of(window, chosen.candidate),
    )
    run = log_training(bench, training)
    registered = register(bench, training, run)
    report_training(bench, registered, {one.name: one.test.frame() for one in training.trained})
    return registered

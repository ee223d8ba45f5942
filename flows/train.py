"""Flow: check, fit every candidate, evaluate each on every cohort, choose on validation, register with evidence."""

from typing import Any

from prefect import flow

from tasks.carbon import record_energy, wait_for_cleaner_power
from tasks.checks import check_columns, check_snapshot, refuse_blocked
from tasks.core.case import Period
from tasks.core.predictions import kept_predictions
from tasks.core.strict import Name
from tasks.core.sweep import needs_old_model, price, product, table
from tasks.evaluation import beside_baseline, choose, evaluate_predictions, hold_against_limits
from tasks.io.emissions import EmissionsResult, track
from tasks.io.workbench import Workbench
from tasks.reports import report_training
from tasks.tracking import Trained, Training, known_training, log_training, may_register, register
from tasks.training import ask_old_model, finish, fit_candidate, judged, load_window, reference_of, search_sweep


@flow(name="train", flow_run_name="train {case}", timeout_seconds=72 * 3600)
def train(case: Name = "boston", period: Period | None = None, sweep: bool = False) -> dict[str, Any]:
    """Train on the window that ends with `period`, or on the first one there is. The same training twice leaves one version.

    period: YYYY-MM. sweep: also try what the case's `sweep` lists.
    """
    bench = Workbench.open(case)
    may_register(bench)
    planned = product(bench.case) if sweep else ()
    waited = wait_for_cleaner_power(bench, "train")
    with track(country=bench.case.carbon.country, name="train") as meter:
        window = load_window(bench, period)
        findings = check_columns(bench) + [found for taken in window.periods for found in check_snapshot(bench, taken, for_training=True)]
        refuse_blocked(bench, findings)
        if known := known_training(bench, window.digests, sweep=sweep):
            return known
        fitted = [fit_candidate(bench, window, bench.case.candidates[0])]
        old = ask_old_model(bench, window, fitted[0]) if needs_old_model(bench.case, sweep) else None
        fitted += [fit_candidate(bench, window, spec, old) for spec in bench.case.candidates[1:]]
        searched = search_sweep(bench, window, planned, old, meter.kg) if sweep else []
        on_validation = {one.name: evaluate_predictions(bench.case, one.validation, f"{one.name} on validation") for one in fitted}
        trials = [judged(bench.case, one, on_validation[one.name], old) for one in fitted] if sweep else []
        trials += [found.trial for found in searched]
        on_validation |= {found.trial.spec.name: found.report for found in searched if found.report is not None}
        choice = choose(bench.case, on_validation)
        fitted += [finish(window, found) for found in searched if found.trial.spec.name == choice.name]
        tests = [evaluate_predictions(bench.case, one.test, f"{one.name} on test") for one in fitted]
        trained = [Trained(one.name, one.candidate, one.seconds, on_validation[one.name], test) for one, test in zip(fitted, tests, strict=True)]
        chosen = next(one for one in trained if one.name == choice.name)
        decision = hold_against_limits(bench.case, chosen.test)
        chosen_table = next(one.test for one in fitted if one.name == choice.name)
    training = Training(
        periods=window.periods,
        rows=window.counts,
        digests=window.digests,
        trained=tuple(one.published() for one in trained),
        chosen=choice.name,
        reason="; ".join([choice.reason, *([price(bench.case, trials, choice.name)] if sweep else [])]),
        decision=decision,
        findings=tuple(findings),
        emissions=meter.result,
        reference=reference_of(window, chosen.candidate),
        parts=window.parts,
        predictions=kept_predictions(chosen_table),
        comparison=beside_baseline(bench.case, fitted[0].test, chosen_table),
        specs=(*bench.case.candidates, *(found.trial.spec for found in searched)),
        sweep=table(bench.case, trials, _rate(meter.result)) if sweep else None,
    )
    run = log_training(bench, training)
    registered = register(bench, training, run)
    record_energy(bench, "train", meter.result, waited=waited)
    report_training(bench, registered, {one.name: one.test.frame() for one in training.trained})
    return registered


def _rate(emissions: EmissionsResult) -> float | None:
    """Kilograms of CO2-equivalent a second of the flow: what a fit's seconds are priced at."""
    return None if emissions.kg is None or not emissions.covered_seconds else emissions.kg / emissions.covered_seconds

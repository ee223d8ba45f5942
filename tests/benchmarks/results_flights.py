"""Replays the flights of 2013 as a schedule would have: each month its snapshot, its scores, the labels of the month before, the responses.
Prints what docs/flights.md shows.

    python tests/benchmarks/results_flights.py [FOLDER]

Nothing of a later month is in the store when a month is looked at. Takes some minutes.
"""

import os
import sys
import tempfile
from typing import Any

from tasks.io.home import Home, quiet_environment

CASE, TRAINED = "flights", ("2013-01", "2013-02", "2013-03")


def main() -> None:
    """Print a Markdown table of months, and what was done about each incident."""
    folder = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()
    os.environ["EQUIPOISE_HOME"] = folder
    quiet_environment(Home.from_environment())
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=180):
        replay()


def replay() -> None:
    from flows.infer import infer
    from flows.monitor import monitor
    from flows.promote import promote
    from flows.respond import respond
    from flows.snapshot import snapshot
    from flows.train import train
    from tasks.core.case import shift_period
    from tasks.core.history import told
    from tasks.io.performances import history
    from tasks.io.workbench import Workbench
    from tasks.promotion import simulated_review

    last = shift_period(TRAINED[-1], 1)
    for month in (*TRAINED, last):
        snapshot(CASE, month)
    trained = train(CASE)
    bench = Workbench.open(CASE)
    simulated_review(bench, trained["model"]["version"], reviewer="Demo Reviewer", notes="Part of a replay. No person looked at this.")
    assert promote(CASE, trained["model"]["version"]).promoted
    for number in range(9):
        month = shift_period(last, number)
        snapshot(CASE, month)
        infer(CASE)
        if number:
            monitor(CASE)
        respond(CASE)
    version = trained["model"]["version"]
    table(bench, version, history(bench, version))
    for event in bench.ledger.events(CASE):
        if event.kind in ("incident", "resolved", "responded"):
            print(f"- {told(event)}")  # noqa: T201


def table(bench: Any, version: int, rows: Any) -> None:
    """One line a month: the drift, the estimate before labels, what labels said, and the verdict."""
    metric = bench.case.metrics.primary
    own = rows[(rows["cohort"] == "overall") & (rows["metric"] == metric)].set_index("period")
    late = {event.body["period"]: event.body for event in bench.ledger.events(CASE) if event.kind == "monitored" and event.version == version}
    print("| month | features that drifted | domain AUC | " + f"{metric}: estimate | with labels | since acceptance | late share drifted | verdict |")  # noqa: T201
    print("|---|---|---|---|---|---|---|---|")  # noqa: T201
    for event in bench.ledger.events(CASE):
        if event.kind != "served" or event.version != version:
            continue
        body = event.body
        found = bench.store.get_json(body["drift"])
        one = own.loc[body["period"]]
        seen = late.get(body["period"])
        performance = bench.store.get_json(seen["performance"]) if seen else None
        label = performance["label_drift"]["columns"][0] if performance else None
        cells = [
            body["period"],
            ", ".join(body["drifted_columns"]) or "none",
            f"{found['domain']['auc']:.3f}" if found.get("domain") else "–",
            interval(one["estimate"], one["estimate_low"], one["estimate_high"]),
            interval(one["value"], one["low"], one["high"]),
            interval(one["since"], one["since_low"], one["since_high"]),
            f"{label['effect']:.3f}{' (drifted)' if label['drifted'] else ''}" if label else "–",
            seen["verdict"] if seen else "labels have not come",
        ]
        print(f"| {' | '.join(cells)} |")  # noqa: T201


def interval(value: float, low: float, high: float) -> str:
    return "–" if value != value else f"{value:.3f} ({low:.3f} to {high:.3f})"


if __name__ == "__main__":
    main()

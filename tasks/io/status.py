"""What there is of a case, from the store, the ledger and the registry."""

from dataclasses import dataclass

from tasks.core.review import production_version, reviews_of
from tasks.io.workbench import Workbench


@dataclass(frozen=True)
class Status:
    """Rows of (what, state), and the command that makes sense next."""

    rows: tuple[tuple[str, str], ...]
    advice: str


def status_of(bench: Workbench) -> Status:
    """Snapshots, versions with their gate and reviews, production, the last inference and its drift."""
    case = bench.case.case
    events = bench.ledger.events(case)
    taken, labelled = bench.periods("features"), bench.periods("labels")
    registered = [event for event in events if event.kind == "registered"]
    production = production_version(events)
    rows = [("snapshots", f"{len(taken)}: {taken[0]} to {taken[-1]}; labels to {labelled[-1]}" if taken and labelled else "none")]
    for event in registered:
        reviews = reviews_of(events, event.version or 0)
        verdict = f"{reviews[-1].verdict}d by {reviews[-1].reviewer}".replace("rejectd", "rejected") if reviews else "not reviewed"
        short = sum(check["outcome"] != "passed" for check in event.body["decision"]["checks"])
        gate = "gate passed" if not short else f"gate: {short} not passed"
        rows.append((f"version {event.version}", f"{event.body['candidate']}, trained on {', '.join(event.body['periods'])}; {gate}; {verdict}"))
    alias = bench.registry.alias(case, "production") if registered else None
    rows.append(
        ("production", "none" if production is None else f"version {production}" + ("" if alias == production else f" (MLflow's alias says {alias or 'none'})"))
    )
    served = sorted((event.body["period"], event.version, event.body) for event in events if event.kind == "served")
    rows.append(("last inference", f"{served[-1][0]} with version {served[-1][1]}, {served[-1][2]['rows']:,} rows" if served else "none"))
    drifted = sorted({period for period, _, body in served if body["drifted"]})
    rows.append(
        ("drift", f"in {', '.join(drifted)}; last: {', '.join(_columns(served, drifted[-1]))}" if drifted else "none seen" if served else "not measured")
    )
    refused = [event for event in events if event.kind == "refused"]
    if refused:
        rows.append(("last refusal", f"version {refused[-1].version}: {'; '.join(refused[-1].body['missing'])}"))
    return Status(tuple(rows), _advice(case, taken, [event.version or 0 for event in registered], production, bool(drifted)))


def _columns(served: list[tuple[str, int | None, dict[str, object]]], period: str) -> list[str]:
    return [str(column) for found, _, body in served if found == period for column in body["drifted_columns"]]  # type: ignore[attr-defined]


def _advice(case: str, taken: list[str], versions: list[int], production: int | None, drifted: bool) -> str:
    if not taken:
        return f"equipoise snapshot {case}"
    if not versions:
        return f"equipoise train {case}"
    if production is None:
        return f"equipoise review {case} {versions[-1]} --approve --reviewer NAME --notes TEXT, then: equipoise promote {case} {versions[-1]}"
    return f"equipoise train {case} --period {taken[-1]}" if drifted else f"equipoise infer {case}"

"""Step: attribute gains to the steps of candidates, and leave what was found in MLflow and Prefect."""

from collections.abc import Sequence

import pandas as pd
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from tasks.core.attribution import AGAINST, Attribution, attribute
from tasks.core.card import figure, plain, table
from tasks.core.digests import json_bytes
from tasks.core.refits import Refit, draw, mitigated, refit
from tasks.core.report import records
from tasks.io.emissions import EmissionsResult
from tasks.io.workbench import Workbench
from tasks.step import flow_run, say, step


@step("plan the attribution")
def seeds_of(bench: Workbench, count: int) -> list[int]:
    """The case's seed and those after it. Raises: CaseError for fewer than 5, and when no candidate has steps."""
    specs = mitigated(bench.case, count)
    say(f"{len(specs)} candidates with steps ({', '.join(spec.name for spec in specs)}), {count} seeds each")
    return [bench.case.seed + number for number in range(count)]


@step("fit and measure with a seed", task_run_name="seed {seed}")
def measure_with_seed(bench: Workbench, frame: pd.DataFrame, target: pd.Series, seed: int) -> Refit:
    """Split the labelled rows by the seed, fit candidates, baselines and controls on train, and measure each on test."""
    parts, overlap = draw(frame, target, bench.case, seed)
    measured = refit(bench.case, bench.kinds, parts, seed=seed, overlap=overlap)
    say(f"seed {seed}: fitted on {measured.rows['train']:,} rows, measured on {measured.rows['test']:,}")
    return measured


@step("attribute")
def attribute_changes(bench: Workbench, refits: Sequence[Refit]) -> Attribution:
    """What helped, what hurt, and of what there is no evidence."""
    found = attribute(bench.case, refits)
    for name in found.held:
        for against in AGAINST:
            say(f"{name} beside the {against}: {in_words(found, name, against)}")
    return found


def in_words(found: Attribution, candidate: str, against: str) -> str:
    """Counts of verdicts, for example "2 helped, 1 hurt, 45 no evidence (3 of them clear alone)"."""
    counts = found.counts(candidate, against)
    alone = counts.pop("clear alone")
    told = [f"{count} {verdict}" for verdict, count in counts.items() if count or verdict == "no evidence"]
    return ", ".join(told) + (f" ({alone} of them clear alone)" if alone else "")


@step("log the attribution to MLflow")
def log_attribution(bench: Workbench, found: Attribution, periods: Sequence[str], emissions: EmissionsResult) -> str:
    """A run with the deltas of all rows together and of gaps as metrics, and the table as JSON and CSV. Returns its id."""
    main = [row for row in records(found.table) if row["kind"] in ("overall", "gap")]
    return str(
        bench.runs.log_run(
            bench.case.case,
            "attribution",
            params={"periods": f"{periods[0]} to {periods[-1]}", "seeds": ", ".join(map(str, found.seeds))},
            metrics={_name(row): row["delta"] for row in main} | {"emissions_kg": emissions.kg, "energy_kwh": emissions.kwh},
            tags={**flow_run(), **emissions.tags, "equipoise.case": bench.case.case},
            artifacts={"reports/attribution.json": json_bytes(found.to_dict()), "reports/attribution.csv": found.table.to_csv(index=False).encode()},
        )
    )


def _name(row: dict[str, object]) -> str:
    return f"{row['candidate']}/{row['against']}/delta/{row['metric']}" + (f"/{row['cohort']}" if row["kind"] == "gap" else "")


@step("leave the attribution")
def report_attribution(bench: Workbench, found: Attribution, key: str) -> None:
    """What helped and hurt as markdown, and the whole table; under the artifact `key`, and `key`-table."""
    parts = [f"# {bench.case.case}: what each candidate's steps changed", f"Mean changes over {len(found.seeds)} seeds, on test, with 95 % intervals."]
    for name, held in found.held.items():
        parts += [f"## {plain(name)}", f"Gains of the steps themselves, helped beside both: {plain(', '.join(found.own(name)) or 'none is shown')}."]
        for against, words in held.items():
            parts.append(f"Beside the **{against}**, {plain(words)}: {in_words(found, name, against)}.")
            parts += [f"- {verdict}: {plain(', '.join(figures))}" for verdict in ("helped", "hurt", "changed") if (figures := found.of(name, against, verdict))]
    rows = [
        [row["candidate"], row["against"], row["cohort"], row["metric"], figure(row["delta"], row["low"], row["high"]), row["verdict"]]
        for row in records(found.table)
        if row["kind"] in ("overall", "gap")
    ]
    parts += ["## All rows together, and the gaps that limits bound", table(["candidate", "against", "cohort", "metric", "delta", "verdict"], rows)]
    create_markdown_artifact("\n\n".join(parts), key=key, description=f"What each candidate's steps changed in {bench.case.case}")
    create_table_artifact(records(found.table), key=f"{key}-table", description=f"Every cohort and metric of {bench.case.case}, beside baseline and control")

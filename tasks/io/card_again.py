"""Holds a version's card against the objects on record, by writing it again from them."""

from collections.abc import Iterator

from tasks.core.candidate_spec import CandidateSpec
from tasks.core.card import CardFacts, model_card
from tasks.core.dossier import read_decision
from tasks.core.evidence import OBJECTS, StoredReport
from tasks.core.findings import Finding
from tasks.core.proof import Proven, headed_tables
from tasks.core.splits import PARTS
from tasks.io.again import Again
from tasks.io.emissions import EmissionsResult


def card_again(again: Again) -> Iterator[Proven]:
    """The tables of the card written again from the objects on record; those that this release does not write cannot be checked."""
    stored, made = (text.replace("\\", "") for text in (again.archive.store.get(again.evidence["card"]).decode(), model_card(again.case, facts_of(again))))
    ours, theirs = headed_tables(stored), headed_tables(made)
    if not any("cohort" in table[0] for table in ours.values()):
        yield Proven("card", "figures by cohort", "different", "the card has no table of figures by cohort")
    for heading, table in ours.items():
        what = f"table under `{heading}`"
        if heading not in theirs or theirs[heading][0] != table[0]:
            yield Proven("card", what, "cannot be checked", "this release writes another table there")
            continue
        missing = sum(line not in theirs[heading] for line in table)
        apart = missing or len(table) != len(theirs[heading])
        lines = f"{len(table) - 2} rows"
        yield Proven(
            "card",
            what,
            "different" if apart else "same",
            f"{missing} of {lines} are not those of the report on record" if apart else f"{lines}, to the letter",
        )
    told = [line for line in stored.splitlines() if any(map(str.isdigit, line)) and not line.startswith(("#", "|"))]
    other = [line for line in told if line not in set(made.splitlines())]
    why = f"this release words {len(other)} of them otherwise, the first is: {other[0][:80]}" if other else "to the letter"
    yield Proven("card", f"{len(told)} sentences with figures", "cannot be checked" if other else "same", why)


def facts_of(again: Again) -> CardFacts:
    """What the card was made of, as the store has it."""
    evidence, metric = again.evidence, again.case.metrics.primary
    frame = again.archive.report(evidence).frame().astype({"n": "Int64", "support": "Int64"})
    alternatives = []
    for name, digest in evidence["reports"].items():
        rows = StoredReport.of(again.archive.store.get_json(digest)).frame()
        alternatives += [{"name": name, **row} for row in rows[(rows["cohort"] == "overall") & (rows["metric"] == metric)].to_dict("records")]
    return CardFacts(
        candidate=evidence["candidate"],
        period=" to ".join(dict.fromkeys((evidence["periods"][0], evidence["periods"][-1]))),
        rows={part: evidence["rows"][part] for part in PARTS},
        report=frame,
        decision=read_decision(again.stored("decision")),
        findings=[str(Finding(**finding)) for finding in again.stored("findings")],
        digests={**evidence["snapshots"], **{name: evidence[name] for name in (*OBJECTS, "code", "lock") if name != "card"}},
        emissions=EmissionsResult(**again.stored("emissions")).sentence,
        alternatives=alternatives,
        spec=CandidateSpec.model_validate(evidence["spec"]),
        dataset=again.archive.dataset(evidence),
        comparison=again.stored("comparison").get("comparison", ()),
    )

"""The documentation pack: headings of Annex IV of the EU AI Act, filled from the dossier, and a crosswalk to other frameworks.

Where the dossier has nothing, a person is asked to write it, and where. The pack states evidence; it judges nothing.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.resources import files

import yaml
from pydantic import Field

from tasks.core.card import human_parts, where_to_write
from tasks.core.documents.content import Bullets, Document, Heading, Part, Section, Table, Text, count, figure, rows, stated
from tasks.core.documents.data_card import preparation
from tasks.core.documents.words import meaning, outcome, steps
from tasks.core.dossier import Dossier
from tasks.core.strict import Strict

PACKAGES = ("scikit-learn", "fairlearn", "imbalanced-learn", "lightgbm", "numpy", "pandas", "polars", "scipy", "skops")
WRITTEN = "written"
"""The folder of the pack in which people write what the evidence does not hold; it is read again when the pack is made again."""


class Point(Strict):
    """A point of Annex IV."""

    title: str = Field(description="Its heading.")
    parts: dict[str, str] = Field(description="What it asks for, by letter; one without a letter where it has none.")


class Item(Strict):
    """What an item of evidence speaks to."""

    item: str = Field(description="The evidence, by the name it has in the manifest where it has one.")
    where: str = Field(description="The document that shows it.")
    annex_iv: tuple[str, ...] = Field(description="Points of Annex IV.")
    nist_ai_rmf: tuple[str, ...] = Field(description="Subcategories of the NIST AI RMF.")
    iso_42001: tuple[str, ...] = Field(description="Clauses and Annex A controls of ISO/IEC 42001.")


class Crosswalk(Strict):
    """assets/crosswalk.yaml."""

    frameworks: dict[str, str] = Field(description="Titles.")
    points: dict[str, Point] = Field(description="Annex IV.")
    evidence: tuple[Item, ...] = Field(description="Items of evidence.")


@cache
def load_crosswalk() -> Crosswalk:
    """The crosswalk, checked when it is read."""
    return Crosswalk.model_validate(yaml.safe_load((files("tasks.core") / "assets" / "crosswalk.yaml").read_text(encoding="utf-8")))


def names() -> tuple[str, ...]:
    """Every point that is asked for: 1(a), ..., 9."""
    return tuple(_name(point, letter) for point, one in load_crosswalk().points.items() for letter in one.parts)


def document(dossier: Dossier, written: Mapping[str, str]) -> Document:
    """The pack's content. `written` maps points to what people wrote of them, in plain text."""
    walk = load_crosswalk()
    sections = [
        Section(f"{number}. {point.title}", tuple(part for letter, asks in point.parts.items() for part in _point(dossier, number, letter, asks, written)))
        for number, point in walk.points.items()
    ]
    return Document(
        title=f"Documentation of {dossier.case.case}, version {dossier.version}",
        lead="The headings are those of Annex IV of Regulation (EU) 2024/1689. What stands below them is evidence, and what people wrote. "
        f"Whether it is enough is for people to judge. Evidence {dossier.digest}.",
        sections=tuple(sections),
    )


def crosswalk() -> Document:
    """The crosswalk as a table."""
    walk = load_crosswalk()
    header = ("evidence", "where it is shown", *walk.frameworks.values())
    told = ((one.item, one.where, ", ".join(one.annex_iv), ", ".join(one.nist_ai_rmf), ", ".join(one.iso_42001)) for one in walk.evidence)
    return Document(
        title="Crosswalk from evidence to clauses",
        lead="Which clauses an item of evidence speaks to. That it speaks to one does not mean that the clause is met: people judge that.",
        sections=(Section("Evidence and clauses", (Table(header, rows(told)),)),),
    )


def _name(number: str, letter: str) -> str:
    return f"{number}({letter})" if letter else number


def file_of(point: str) -> str:
    """The name of the file in which a person writes of a point.

    >>> file_of("1(a)")
    '1a.txt'
    """
    return point.replace("(", "").replace(")", "") + ".txt"


def _point(dossier: Dossier, number: str, letter: str, asks: str, written: Mapping[str, str]) -> Iterator[Part]:
    name = _name(number, letter)
    yield Heading(f"{name} {asks}" if letter else asks)
    filled = FILLED.get(name)
    if filled is not None:
        yield from filled(dossier)
    text = written.get(name, "").strip()
    if text:
        yield Text(text)
    elif name not in WHOLE:
        rest = "Not stated yet" if filled is None else "What the evidence does not hold is not stated yet"
        yield Text(f"{rest}: to be written by a person in annex-iv/{WRITTEN}/{file_of(name)}.", "missing")


def _purpose(dossier: Dossier) -> Iterator[Part]:
    case = dossier.case
    yield Text(f"{case.case}, version {dossier.version}, registered {dossier.registered} by {dossier.evidence.get('author', 'nobody named')}. {case.purpose}")
    yield _human(dossier, "intended_use")


def _human(dossier: Dossier, part: str) -> Text:
    return stated(human_parts(dossier.case, dossier.human).get(part, ""), where_to_write(dossier.case, part))


def _software(dossier: Dossier) -> Iterator[Part]:
    installed = dossier.environment.get("packages", {})
    yield Text(f"Python {dossier.environment.get('python', 'unknown')}; code {dossier.evidence.get('code', 'unknown')}. Every package is in bom.cdx.json.")
    yield Bullets(tuple(f"{name} {installed[name]}" for name in PACKAGES if name in installed) or ("No package of the model's is on record.",))


def _hardware(dossier: Dossier) -> Iterator[Part]:
    yield Text(f"It was trained on {dossier.environment.get('machine', 'unknown')}, {dossier.environment.get('platform', 'unknown')}.")


def _development(dossier: Dossier) -> Iterator[Part]:
    kind = dossier.spec.estimator.kind.replace("_", " ")
    yield Text(f"The candidate {dossier.candidate}: {kind}, fitted on the training rows. No pre-trained model was used. Candidates compared:")
    yield Bullets(tuple(f"{one.name}: {one.figure.metric} {one.figure.shown}" for one in dossier.alternatives))


def _design(dossier: Dossier) -> Iterator[Part]:
    case = dossier.case
    yield Text(
        f"It predicts {case.target.column} from {', '.join(case.features)}. Among the candidates the one that keeps most limits on validation is chosen, "
        f"and among those the best {case.metrics.primary}."
    )
    yield Bullets(steps(dossier.spec) or ("No step against unequal errors is part of it.",))


def _resources(dossier: Dossier) -> Iterator[Part]:
    yield Text(dossier.energy)


def _data(dossier: Dossier) -> Iterator[Part]:
    yield Text(dossier.dataset.description or "The catalogue does not describe the dataset.")
    yield Bullets((*preparation(dossier), "Columns, flags, rules and digests are in data-card.md and croissant.json."))


def _oversight(dossier: Dossier) -> Iterator[Part]:
    rules = dossier.case.review
    needed = ", ".join(f"{number} by the role {role}" for role, number in rules.approvals.items())
    yield Text(f"No version is put to use without signed approvals: {needed}; each holds {rules.valid_days} days at most.")
    yield Bullets(tuple(f"{one.at[:10]}: {one.words}. {one.notes}" for one in dossier.reviews) or ("Nobody has signed yet.",))


def _planned(_dossier: Dossier) -> Iterator[Part]:
    yield Text(
        "When a period has drifted, a new version may be trained on newer data by the same case. It is held against the case's limits, needs "
        "its own approvals, and changes nothing in production until it is promoted."
    )


def _testing(dossier: Dossier) -> Iterator[Part]:
    tested = f"{dossier.rows.get('test', 0):,} rows that were neither fitted on nor chosen by"
    yield Text(f"Figures are on {tested}, with 95 % intervals, held against the limits {dossier.decided}.")
    yield Table(
        ("limit", "figure", "outcome"),
        rows((check.limit, figure(check.value, check.low, check.high), outcome(check)) for check in dossier.decision.checks),
        frozenset({1}),
    )


def _security(_dossier: Dossier) -> Iterator[Part]:
    yield Text("Data, model and reports are named by their SHA-256 digests and verified when read; the model's file is not loaded as code; reviews are signed.")


def _functioning(dossier: Dossier) -> Iterator[Part]:
    primary = dossier.case.metrics.primary
    yield Table(
        ("cohort", "rows", primary),
        rows((one.cohort, count(one.n), one.shown) for one in (dossier.overall(primary), *dossier.ranked(primary), *dossier.unclear(primary))),
        frozenset({1, 2}),
    )
    yield Text(f"It reads {', '.join(dossier.case.features)}; a table with a column missing, renamed, retyped or empty is refused before it is scored.")
    yield _human(dossier, "risks")


def _appropriateness(dossier: Dossier) -> Iterator[Part]:
    yield Bullets(tuple(f"{name}: {meaning(name)}" for name in dossier.metrics))


def _risks(dossier: Dossier) -> Iterator[Part]:
    yield _human(dossier, "risks")
    yield _human(dossier, "risk_acceptance")
    yield Bullets(tuple(f"{one['message']} {one['fix']}".strip() for one in dossier.findings) or ("The catalogue check found nothing.",))


def _changes(dossier: Dossier) -> Iterator[Part]:
    told = [f"registered {dossier.registered}", *(f"{one.at}: {one.words}" for one in dossier.reviews)]
    told += [f"promoted {dossier.promoted}"] if dossier.promoted else []
    yield Bullets((*told, f"stands: {dossier.status}"))


def _declaration(dossier: Dossier) -> Iterator[Part]:
    yield Text("In the words of who answers for this use. It is no EU declaration of conformity; where one is needed, its copy belongs here.")
    yield _human(dossier, "declaration")


def _monitoring(dossier: Dossier) -> Iterator[Part]:
    drift, schedule = dossier.case.drift, dossier.case.schedule
    yield Text(
        f"In each period (looked for by the schedule {schedule.cron}, {schedule.timezone}) every feature is measured against the data that the "
        "version was accepted on, by "
        f"{drift.numeric} and {drift.categorical}, limit {drift.limit:g}, and by a test corrected over features and periods (level 0.05); "
        f"from a share of {drift.share:g} on the period counts as drifted."
    )
    yield Bullets(
        tuple(f"{one['period']}: {count(one['rows'])} rows, {'drifted' if one['drifted'] else 'no drift'}" for one in dossier.served)
        or ("It has not scored any period yet.",)
    )


FILLED: dict[str, Callable[[Dossier], Iterator[Part]]] = {
    "1(a)": _purpose,
    "1(c)": _software,
    "1(e)": _hardware,
    "2(a)": _development,
    "2(b)": _design,
    "2(c)": _resources,
    "2(d)": _data,
    "2(e)": _oversight,
    "2(f)": _planned,
    "2(g)": _testing,
    "2(h)": _security,
    "3": _functioning,
    "4": _appropriateness,
    "5": _risks,
    "6": _changes,
    "8": _declaration,
    "9": _monitoring,
}
WHOLE = frozenset({"1(a)", "1(c)", "2(a)", "2(d)", "2(g)", "6", "8"})
"""Points for which nothing more is asked of a person than the parts of the card."""

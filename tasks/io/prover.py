"""Proves a version: checks what is on record of it, and makes its figures again from the pinned snapshots and model alone.

It asks no server. What it finds is a list of values (tasks.core.proof); nothing here raises for what is wrong with a version.
"""

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ValidationError

from tasks.core.digests import finite
from tasks.core.errors import DataError, EquipoiseError, IntegrityError, UnavailableError
from tasks.core.evaluation import evaluate
from tasks.core.evidence import OBJECTS, StoredReport, card_digest, digests, stored_report
from tasks.core.gaps import COLUMNS as GAPS
from tasks.core.gate import decide
from tasks.core.people import People
from tasks.core.predictions import kept_predictions
from tasks.core.proof import Outcome, Proven, compare_decisions, compare_predictions, compare_rows
from tasks.core.report import COLUMNS as ROWS
from tasks.core.review import CARD_PARTS, Event, Grounds, missing_approvals, registration, reviews_of, unsigned
from tasks.core.splits import PARTS, split
from tasks.core.suppression import publish
from tasks.io.again import Again
from tasks.io.archive import Archive
from tasks.io.card_again import card_again
from tasks.io.foreign import Foreign, opened
from tasks.io.gate_again import gate_again
from tasks.io.provenance import code_version, environment, lock_digest


def prove(archive: Archive, events: Sequence[Event], people: People, version: int, *, project: Path) -> list[Proven]:
    """Everything about a registered version, each thing the same, different, or why it cannot be checked.

    events: the case's part of a ledger whose chain was checked. people: whose keys count. project: the checkout, for its lock.

    Raises: DataError for a version that is not registered.
    """
    registered = registration(events, version)
    if registered is None:
        known = sorted({event.version for event in events if event.kind == "registered" and event.version is not None})
        raise DataError(f"Version {version} is not registered.", fix=f"There are: {', '.join(map(str, known))}." if known else "There is none.")
    digest = str(registered.body.get("evidence"))
    try:
        found = archive.evidence(digest)
    except (EquipoiseError, RecursionError) as error:
        return [*_tried("record", "entries", lambda: _entries(events, registered)), Proven("objects", "evidence", "different", str(error))]
    again = Again(archive, found, registered)
    return [
        *_tried("record", "entries", lambda: _entries(events, registered)),
        *_tried("record", "registration", lambda: _registered(again)),
        *_tried("objects", "objects", lambda: _objects(again)),
        *_tried("split", "parts of the split", lambda: _split(again)),
        *_tried("model", "model", lambda: _loaded(again), broken="different"),
        *_tried("model", "predictions", lambda: _predicted(again)),
        *_tried("figures", "figures on test", lambda: _figures(again, "test")),
        *_tried("figures", "figures on validation", lambda: _figures(again, "validation")),
        *_tried("figures", "other candidates", lambda: _others(again)),
        *_tried("gate", "decision at training", lambda: _decided(again)),
        *_tried("gate", "gate", lambda: gate_again(archive, again.case, found, _of(events, version, "gated", "promoted"))),
        *_tried("card", "card", lambda: card_again(again)),
        *_tried("reviews", "reviews", lambda: _reviewed(events, version, people)),
        *_tried("reviews", "promotions", lambda: _promoted(events, again, people)),
        *_tried("environment", "environment", lambda: _environment(again, project)),
    ]


def _tried(part: str, what: str, look: Callable[[], Iterable[Proven]], broken: Outcome = "cannot be checked") -> list[Proven]:
    """What a look finds, whatever is wrong with what it looks at. `broken` is what bytes other than those on record make of it: the
    objects themselves are looked at in their own part.
    """
    try:
        return list(look())
    except IntegrityError as error:
        return [Proven(part, what, broken, str(error))]
    except UnavailableError as error:
        return [Proven(part, what, "cannot be checked", str(error))]
    except ValidationError as error:
        return [Proven(part, what, "cannot be checked", f"{error.title} was written by another release: {error.error_count()} of its keys are not read")]
    except Exception as error:  # noqa: BLE001  # a model or table that breaks is a finding, and must not hide what else there is
        return [Proven(part, what, "different", f"cannot be made again: {type(error).__name__}: {error}")]


def _of(events: Sequence[Event], version: int, *kinds: str) -> list[Event]:
    return [event for event in events if event.version == version and event.kind in kinds]


def _entries(events: Sequence[Event], registered: Event) -> Iterator[Proven]:
    """Every entry of the version is of the evidence that it was registered with."""
    digest, version = registered.body["evidence"], registered.version or 0
    times = len(_of(events, version, "registered"))
    yield Proven("record", "registered once", "same" if times == 1 else "different", f"entry {registered.sequence}" if times == 1 else f"{times} times")
    for event in _of(events, version, "gated", "reviewed", "promoted", "rolled back"):
        said = event.body.get("evidence")
        yield Proven("record", f"evidence in entry {event.sequence} ({event.kind})", *_equal(said, digest, "registered"))


def _registered(again: Again) -> Iterator[Proven]:
    """What the entry of the registration says beside the evidence is what the evidence says."""
    body = again.registered.body
    for name in ("model", "reference", "periods", "candidate", "author"):
        yield Proven("record", f"{name} in entry {again.registered.sequence}", *_equal(body[name], again.evidence[name], "in the evidence"))
    yield Proven("record", f"decision in entry {again.registered.sequence}", *_equal(body["decision"], again.stored("decision"), "in the store", told=False))
    yield Proven("record", "case", *_equal(again.case.case, again.registered.case, "in the ledger"))


def _equal(said: Any, known: Any, where: str, *, told: bool = True) -> tuple[Outcome, str]:
    if said == known:
        return "same", ""
    return "different", f"{said} here, {known} {where}" if told else f"is another than {where}"


def _objects(again: Again) -> Iterator[Proven]:
    """Every object of the manifest is there, with its digest."""
    for what, digest in digests(again.evidence):

        def look(what: str = what, digest: str = digest) -> Iterator[Proven]:
            size = len(again.archive.store.get(digest))
            yield Proven("objects", what, "same", f"{size:,} bytes, {digest}")

        yield from _tried("objects", what, look, broken="different")
    for name in sorted(OBJECTS.keys() - again.evidence.keys()):
        yield Proven("objects", name, "different", "is not in the manifest")


def _split(again: Again) -> Iterator[Proven]:
    """The split made again from the pinned case is the one on record, and so are the counts of its parts."""
    frame, target = again.window
    stored = again.archive.store.get_frame(again.evidence["parts"])
    made = split(frame, target, again.case.split, again.case.seed)
    what = f"part of each of {len(frame):,} rows"
    if list(stored["row_id"]) != list(frame["row_id"]):
        yield Proven("split", what, "different", f"{len(stored):,} rows are on record, and they are not those of the snapshots")
        return
    apart = int((stored["part"].to_numpy(dtype=object) != made.to_numpy(dtype=object)).sum())
    yield Proven("split", what, "different" if apart else "same", f"{apart:,} rows are in another part" if apart else "exactly")
    yield Proven("split", "rows of each part", *_equal({str(part): int(count) for part, count in again.evidence["rows"].items()}, _counts(made), "now"))
    yield Proven(
        "split", "how it was split", *_equal(again.evidence["split"], finite({**again.case.split.model_dump(), "seed": again.case.seed}), "in the pinned case")
    )


def _counts(parts: "pd.Series[Any]") -> dict[str, int]:
    return {part: int((parts == part).sum()) for part in PARTS}


def _loaded(again: Again) -> Iterator[Proven]:
    named, model = again.evidence["spec"]["name"], again.model
    if isinstance(model, Foreign):
        opened(model.file.tobytes(), model.format)  # whose types are looked at when it is opened, not before
    yield Proven("model", "model", "same", f"{named}, {len(model.inputs)} inputs, of trusted types only")


def _predicted(again: Again) -> Iterator[Proven]:
    yield compare_predictions(again.archive.store.get_frame(again.evidence["predictions"]), kept_predictions(again.test))


def _figures(again: Again, part: str) -> Iterator[Proven]:
    """Evaluate again and publish: each figure and each gap."""
    name = "report" if part == "test" else part
    stored = again.stored(name)
    StoredReport.of(stored)
    report = again.test_report if part == "test" else evaluate(again.predictions(part), **again.case.asked)
    made = finite(stored_report(publish(report)))
    yield from compare_rows(
        "figures", stored["rows"], made["rows"], key=("cohort", "metric"), fields=ROWS, named=lambda row: f"{row['metric']} for {row['cohort']} on {part}"
    )
    yield from compare_rows(
        "figures",
        stored["gaps"],
        made["gaps"],
        key=("grouping", "metric"),
        fields=GAPS,
        named=lambda row: f"gap of {row['metric']} by {row['grouping']} on {part}",
    )
    yield Proven("figures", f"groupings on {part}", *_equal(stored["groupings"], made["groupings"], "now", told=False))
    if part == "test":
        chosen = again.evidence["reports"].get(again.evidence["candidate"])
        yield Proven("figures", "report of the chosen candidate", *_equal(chosen, again.evidence["report"], "on record as the version's"))


def _others(again: Again) -> Iterator[Proven]:
    """What needs a model that is not kept."""
    chosen = again.evidence["candidate"]
    for name in again.evidence["reports"]:
        if name != chosen:
            yield Proven("figures", f"figures of candidate {name}", "cannot be checked", "only the chosen model is kept; the report has the digest on record")
    first, stored = again.case.candidates[0].name, again.stored("comparison")
    if chosen == first:
        yield Proven("figures", "comparison with the baseline", *_equal(stored, {"baseline": first, "rows": []}, "now", told=False))
    else:
        yield Proven(
            "figures", "comparison with the baseline", "cannot be checked", f"it needs the baseline's model ({first}), and only the chosen one is kept"
        )
    yield Proven("figures", "emissions", "cannot be checked", "they were measured while training, once")


def _decided(again: Again) -> Iterator[Proven]:
    """The limits held again against the figures made again, before anything is left out for publication, as at training."""
    stored = again.stored("decision")
    decision = decide(again.test_report, again.case.limits)
    yield from compare_decisions("at training", stored["checks"], decision)
    yield Proven("gate", "decision at training", *_equal(stored["passed"], decision.passed, "now"))


def _reviewed(events: Sequence[Event], version: int, people: People) -> Iterator[Proven]:
    """Each review is the word of whom it names."""
    for event, review in zip(_of(events, version, "reviewed"), reviews_of(events, version), strict=True):
        what = f"review in entry {event.sequence}, {review.words}"
        person = people.named(review.reviewer)
        if review.simulated:
            yield Proven("reviews", what, "cannot be checked", "simulated: nobody signed it")
        elif (fault := unsigned(review, person)) is not None:
            yield Proven("reviews", what, "different", fault)
        elif person is not None and person.revoked is not None and person.revoked <= dt.date.fromisoformat(event.at[:10]):
            yield Proven("reviews", what, "different", f"the key was revoked on {person.revoked}, before it signed")
        else:
            yield Proven("reviews", what, "same", f"signed with the key {person.key if person else ''}")


def _promoted(events: Sequence[Event], again: Again, people: People) -> Iterator[Proven]:
    """Each promotion had the approvals that the pinned case asks for, on its day, for the evidence and card it names."""
    version = again.registered.version or 0
    card = card_digest(again.evidence["card"], {part: getattr(again.case.card, part) for part in CARD_PARTS})
    for event in _of(events, version, "promoted"):
        what, body = f"in entry {event.sequence}", event.body
        before = [one for one in events if one.sequence < event.sequence]
        day = dt.date.fromisoformat(event.at[:10])
        grounds = Grounds(again.registered.body["evidence"], body["card"], again.registered.body["author"], people, again.case.review, day)
        missing = missing_approvals(before, version, grounds)
        approvals = f"approvals of the promotion {what}"
        if not missing and any(review.simulated for review in reviews_of(before, version)):
            yield Proven("reviews", approvals, "cannot be checked", "it rests on a simulated review, which nobody signed and the case lets count")
        else:
            yield Proven("reviews", approvals, "different" if missing else "same", "; ".join(missing))
        known = body["card"] == card
        why = "" if known else "a person wrote a part of the card after training, in MLflow; only its digest is on record"
        yield Proven("reviews", f"card of the promotion {what}", "same" if known else "cannot be checked", why)


def _environment(again: Again, project: Path) -> Iterator[Proven]:
    """What else could make figures differ. Another environment is no fault of the version."""
    then, now = again.stored("environment"), finite(environment())
    apart = sorted(name for name in then["packages"].keys() | now["packages"].keys() if then["packages"].get(name) != now["packages"].get(name))
    for name, one, other in (
        ("code", again.evidence["code"], code_version(project)),
        ("locked dependencies", again.evidence["lock"], lock_digest(project)),
        *((name, then[name], now[name]) for name in ("python", "platform", "machine")),
    ):
        yield Proven("environment", name, "same", str(one)) if one == other else _elsewhere(name, f"{one} then, {other} here")
    shown = ", ".join(f"{name} {then['packages'].get(name, 'none')} then, {now['packages'].get(name, 'none')} here" for name in apart[:5])
    more = f" and {len(apart) - 5} more" if len(apart) > 5 else ""
    yield _elsewhere("packages", shown + more) if apart else Proven("environment", "packages", "same", f"{len(now['packages'])} packages")


def _elsewhere(what: str, how: str) -> Proven:
    return Proven("environment", what, "cannot be checked", f"{how}: figures may differ for that reason")

"""Step: score a snapshot's rows part by part, here or on an engine, with what the case asks for beside the answers."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
from threadpoolctl import threadpool_limits

from tasks.core.errors import IntegrityError
from tasks.core.guards import Counts, Refusal, refusing, total
from tasks.core.operations import Engine, Scoring
from tasks.core.scoring import Batch, Kit, Model, Scores, fits, score_batch
from tasks.io.engines import mapped
from tasks.io.kits import find_kit, get_kit, put_kit
from tasks.io.manifests import Digest
from tasks.io.models import load
from tasks.io.store import RESTORE, ROWS_IN_PART, Store
from tasks.io.workbench import Workbench
from tasks.step import now, say, step


@dataclass(frozen=True)
class Job:
    """What every part is scored with. model, kit: digests. known: columns that may be there beside the model's. where: names the period in
    messages. engine: where parts are scored beside each other; None where one follows the other, here. threads: how many a part may use of
    this machine's; None for all.
    """

    root: Path
    model: Digest
    kit: Digest
    settings: Scoring
    known: frozenset[str]
    where: str
    engine: Engine | None = None
    threads: int | None = None


@dataclass(frozen=True)
class Piece:
    """A part of the source: its place, from 1, among so many, and its digest."""

    place: int
    of: int
    digest: Digest

    def named(self, job: Job) -> str:
        """How messages name it."""
        return job.where if self.of == 1 else f"part {self.place} of {self.of} of {job.where}"


@dataclass(frozen=True)
class Looked:
    """What the guards that refuse found in a part. broken: why it could not be read, if so."""

    refusal: Refusal = field(default_factory=Refusal)
    rows: int = 0
    broken: str | None = None


@dataclass(frozen=True)
class Answered:
    """A scored part: the digest, rows and dtypes of its predictions, and what was counted. broken: why it could not be read, if so."""

    predictions: Digest = ""
    rows: int = 0
    columns: dict[str, str] = field(default_factory=dict)
    counts: Counts = field(default_factory=dict)
    strangers: dict[str, int] = field(default_factory=dict)
    abstained: int = 0
    broken: str | None = None


def score(bench: Workbench, *, version: int, evidence: Digest, source: Digest, where: str, model: Model | None = None) -> Scores:
    """Score the snapshot of a digest with a version, as `scoring` of the case says; to be called in a flow. Nothing is put on record but
    the version's kit, the first time.

    where: names the snapshot in messages. model: the version's, where it is open already.
    Raises: DataError for rows that do not fit the model, or that a guard refuses; IntegrityError for a part that is corrupt, unless the
    case skips such parts and others are left; as `tasks.core.scoring.make_kit`.
    """
    store, settings = bench.store, bench.case.scoring
    kit = find_kit(store, bench.case.case, version, settings) or prepare(bench, version, evidence, model)
    listed = store.parts(source)
    pieces = [Piece(place, len(listed), digest) for place, (digest, _) in enumerate(listed, 1)]
    known = frozenset({column.name for column in bench.dataset.columns} | {"row_id"})
    engine = _engine(settings, listed)
    threads = None if engine is None else _threads(engine, settings.workers)
    job = Job(store.root, bench.archive.evidence(evidence)["model"], kit, settings, known, where, engine, threads)
    if refusing(settings):
        looked = [one for one in _each(look_at_part, pieces, job, model) if one.broken is None]
        sum((one.refusal for one in looked), Refusal()).check(sum(one.rows for one in looked), where)
    answered: list[Answered] = _each(score_part, pieces, job, model)
    scored = [one for one in answered if one.broken is None]
    left_out = tuple(one.broken for one in answered if one.broken is not None)
    if not scored:
        raise IntegrityError(f"no part of it can be read: {left_out[0]}.", where=where, fix=RESTORE)
    for broken in left_out:
        say(f"left out: {broken}")
    return Scores(
        predictions=store.join_parts([(one.predictions, one.rows) for one in scored]),
        rows=sum(one.rows for one in scored),
        columns=scored[0].columns,
        counts=total(one.counts for one in scored),
        strangers=_strangers(one.strangers for one in scored),
        abstained=sum(one.abstained for one in scored),
        left_out=left_out,
        kit=kit,
    )


@step("prepare scoring", task_run_name="prepare scoring with version {version}")
def prepare(bench: Workbench, version: int, evidence: Digest, model: Model | None) -> Digest:
    """Make a version's kit, once for what the case asks for, and say what was measured. Returns its digest."""
    digest = put_kit(bench.store, bench.case.case, version, bench.case.scoring, evidence=evidence, created=now(), model=model)
    kit = get_kit(bench.store, digest)
    if kit.interval is not None:
        share, low, high = kit.interval.measured
        say(f"intervals of {kit.interval.coverage:.4g}: +/- {kit.interval.half:.4g}; {share:.3f} of the test rows inside ({low:.3f} to {high:.3f})")
    if kit.calibrator is not None:
        told = ", ".join(f"{name} {before:.4f} -> {kit.calibrator.after[name]:.4f}" for name, before in kit.calibrator.before.items())
        say(f"calibrated ({kit.calibrator.kind}), on the test rows: {told}")
    return digest


@step("look before scoring", task_run_name="look at part {piece.place} of {piece.of}")
def look_at_part(piece: Piece, job: Job, model: Model | None = None) -> Looked:
    """What the guards that refuse find in a part."""
    found, kit = _opened(job, model)
    refusal, rows, guards = Refusal(), 0, refusing(job.settings)
    try:
        for frame in _ahead(Store(job.root).batches(piece.digest, ["row_id", *found.inputs])):
            fits(found.inputs, frame, job.known, piece.named(job))
            refusal += Refusal.of(kit.guards, guards, frame)
            rows += len(frame)
    except IntegrityError as error:
        return Looked(broken=_broken(piece, job, error))
    return Looked(refusal, rows)


@step("score", task_run_name="score part {piece.place} of {piece.of}")
def score_part(piece: Piece, job: Job, model: Model | None = None) -> Answered:
    """Verify a part, score it batch by batch, and keep its predictions. It may run on another machine that sees the same store."""
    found, kit = _opened(job, model)
    store, batches = Store(job.root), list[Batch]()
    with nullcontext() if job.threads is None else threadpool_limits(job.threads):
        try:
            for frame in _ahead(store.batches(piece.digest)):
                fits(found.inputs, frame, job.known, piece.named(job))
                batches.append(score_batch(found, kit, job.settings, frame))
        except IntegrityError as error:
            return Answered(broken=_broken(piece, job, error))
        rows = _joined([batch.rows for batch in batches])
        return Answered(
            predictions=store.put_frame(rows),
            rows=len(rows),
            columns={str(name): str(dtype) for name, dtype in rows.dtypes.items()},
            counts=total(batch.counts for batch in batches),
            strangers=_strangers(batch.strangers for batch in batches),
            abstained=sum(batch.abstained for batch in batches),
        )


@step("score here", task_run_name="{ask.name} of {job.where}")
def here(ask: Any, pieces: Sequence[Piece], job: Job, model: Model | None) -> list[Any]:
    """What a step says of each part, in this process and as one task: beside small parts, a task for each would take the most time."""
    return [ask.fn(piece, job, model) for piece in pieces]


def _each(ask: Any, pieces: Sequence[Piece], job: Job, model: Model | None) -> list[Any]:
    """What a step says of each part: here, one after the other, or on the engine."""
    if job.engine is None:
        return here(ask, pieces, job, model)  # type: ignore[no-any-return]
    return mapped(job.engine, job.settings.workers, ask, pieces, job)


def _engine(settings: Scoring, listed: Sequence[tuple[Digest, int]]) -> Engine | None:
    """Where a period's parts are scored: threads unless the case says otherwise; here where there is one part, or all together are as small."""
    if len(listed) == 1:
        return None
    return settings.engine or ("threads" if sum(rows for _, rows in listed) > ROWS_IN_PART else None)


def _threads(engine: Engine, workers: int) -> int:
    """How many threads a part has, so that those scored at once share the cores, or what OpenMP may have of them; a worker of Dask or Ray has
    one.
    """
    stated = os.environ.get("OMP_NUM_THREADS", "")
    cores = int(stated) if stated.isdecimal() else os.cpu_count() or 1
    return max(1, cores // workers) if engine in ("threads", "processes") else 1


def _opened(job: Job, model: Model | None) -> tuple[Model, Kit]:
    if model is not None:
        return model, get_kit(Store(job.root), job.kit)
    return _kept(job.root, job.model, job.kit)


@lru_cache(maxsize=1)
def _kept(root: Path, model: Digest, kit: Digest) -> tuple[Model, Kit]:
    """A model and its kit, opened once in a process that scores many parts."""
    store = Store(root)
    return load(store.get(model)), get_kit(store, kit)


def _broken(piece: Piece, job: Job, error: IntegrityError) -> str:
    """What to say of a part that is left out; where the case leaves none out, the error."""
    if job.settings.corrupt_part == "refuse":
        raise IntegrityError(f"{piece.named(job)} {error.message} Nothing was scored.", where=error.where, fix=error.fix) from error
    return f"{piece.named(job)} ({error.where}) {error.message}"


def _ahead(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """The same frames, each read while the one before it is worked on."""
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, frames, None)
        while (frame := coming.result()) is not None:
            coming = reader.submit(next, frames, None)
            yield frame


def _strangers(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Rows by cohort, added up."""
    found: Counter[str] = Counter()
    for part in parts:
        found.update(part)
    return dict(found)


def _joined(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    return frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)

"""Fits the candidates of a sweep, in this process or in several, and says what each is worth on validation."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from queue import SimpleQueue
from threading import Thread
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.core.building import build
from tasks.core.candidate_spec import CandidateSpec
from tasks.core.candidates import Candidate
from tasks.core.case import Case
from tasks.core.encoding import Kind
from tasks.core.errors import EquipoiseError
from tasks.core.evaluation import evaluate
from tasks.core.fitting import SECONDS, Cache, threads
from tasks.core.predictions import predictions_table
from tasks.core.report import CohortReport
from tasks.core.sweep import FEWEST, SAMPLE, Trial, groups, hopeless, objectives

Rows = tuple[pd.DataFrame, "pd.Series[Any]"]


@dataclass(frozen=True)
class Ground:
    """What every candidate is fitted and judged on. `previous` are the reference model's answers and scores on train, and
    `reference` its labels and answers on validation, where there is one.
    """

    case: Case
    kinds: Mapping[str, Kind]
    train: Rows
    validation: Rows
    previous: NDArray[np.float64] | None = None
    reference: NDArray[np.float64] | None = None

    def sample(self) -> "Ground | None":
        """The same with one in `SAMPLE` training rows, drawn by the case's seed; None where there are too few to draw from."""
        frame, target = self.train
        if len(frame) < FEWEST:
            return None
        drawn = np.sort(np.random.default_rng(self.case.seed).permutation(len(frame))[: len(frame) // SAMPLE])
        previous = None if self.previous is None else self.previous[drawn]
        return Ground(self.case, self.kinds, (frame.iloc[drawn], target.iloc[drawn]), self.validation, previous, self.reference)


@dataclass(frozen=True)
class Found:
    """A trial, and of a finished one the fitted candidate and its report on validation."""

    trial: Trial
    candidate: Candidate | None = None
    report: CohortReport | None = None


def try_group(ground: Ground, specs: Sequence[CandidateSpec]) -> list[Found]:
    """Fit candidates one after the other, sharing what they share, and judge each. One that cannot be is refused with the reason."""
    cache: Cache = {}
    return [_try(ground, spec, cache) for spec in specs]


def _try(ground: Ground, spec: CandidateSpec, cache: Cache) -> Found:
    case, cache[SECONDS] = ground.case, 0.0
    begun = time.perf_counter()
    try:
        candidate = build(spec, case, ground.kinds).fit(*ground.train, validation=ground.validation, previous=ground.previous, cache=cache)
        seconds = max(cache[SECONDS], time.perf_counter() - begun)  # what it shares counts in full for each
        table = predictions_table(candidate, *ground.validation)
    except EquipoiseError as error:
        return Found(Trial(spec, "refused", reason=str(error)))
    report = evaluate(
        table,
        **case.asked,
    )
    worth = objectives(case, report, table["y_pred"].to_numpy(dtype=np.float64), ground.reference, seconds)
    return Found(Trial(spec, "finished", worth), candidate, report)


def search(ground: Ground, specs: Sequence[CandidateSpec], *, workers: int, spent: Callable[[], str | None], said: Callable[[str], None]) -> list[Found]:
    """Every candidate, in the order given: first on a sample of the rows, then on all of them those that were not clearly beaten.

    workers: processes; with 1 everything runs here. spent: says which budget is used up, asked before each group begins.
    said: is told of the progress.
    """
    kept: dict[str, Found] = {}
    sample = ground.sample()
    with _Pool(ground, sample, workers) as pool:
        if sample is not None:
            tried = [found.trial for found in pool.run("sample", specs, spent, said)]
            out = hopeless(ground.case, tried)
            kept |= {spec.name: Found(Trial(spec, "stopped early", reason=out[spec.name])) for spec in specs if spec.name in out}
            kept |= {trial.spec.name: Found(trial) for trial in tried if trial.outcome in ("refused", "not begun")}
            said(f"on a sample: {len(out)} of {len(specs)} stopped early")
        kept |= {found.trial.spec.name: found for found in pool.run("all", [spec for spec in specs if spec.name not in kept], spent, said)}
    return [kept[spec.name] for spec in specs]


class _Pool:
    """Groups of candidates, fitted side by side: one lane here, where everything is imported already, the others in processes that
    are given the rows once.
    """

    def __init__(self, ground: Ground, sample: Ground | None, workers: int) -> None:
        self.grounds = {"all": ground, "sample": sample}
        self.workers = workers
        self.pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> "_Pool":
        if self.workers > 1:  # processes that begin anew: a fork of one with threads may hang
            self.pool = ProcessPoolExecutor(self.workers - 1, mp_context=get_context("spawn"), initializer=_begin, initargs=(self.grounds,))
        return self

    def __exit__(self, *_: object) -> None:
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)

    def run(self, which: str, specs: Sequence[CandidateSpec], spent: Callable[[], str | None], said: Callable[[str], None]) -> Iterator[Found]:
        waiting, count = deque(groups(specs)), 0
        ended: SimpleQueue[list[Found] | BaseException | None] = SimpleQueue()

        def lane(number: int) -> None:
            try:
                while waiting:
                    with suppress(IndexError):  # another lane took the last one
                        group = waiting.popleft()
                        over = spent()
                        ended.put([Found(Trial(spec, "not begun", reason=over)) for spec in group] if over else self._fit(number, which, group))
                ended.put(None)
            except BaseException as error:  # noqa: BLE001  # it is raised again below, by whoever waits
                waiting.clear()
                ended.put(error)

        lanes = [Thread(target=lane, args=(number,), daemon=True) for number in range(self.workers)]
        for one in lanes:
            one.start()
        try:
            for _ in lanes:
                while (found := ended.get()) is not None:
                    if isinstance(found, BaseException):
                        raise found
                    yield from found
                    if any(one.trial.outcome != "not begun" for one in found):
                        count += len(found)
                        said(f"{count} of {len(specs)} candidates fitted" + (" on a sample" if which == "sample" else ""))
        finally:
            waiting.clear()  # whoever stops listening stops the lanes

    def _fit(self, lane: int, which: str, group: Sequence[CandidateSpec]) -> list[Found]:
        if lane and self.pool is not None:
            return self.pool.submit(_work, which, group).result()
        ground = self.grounds[which]
        assert ground is not None
        with threads(0) if self.workers > 1 else nullcontext():
            return try_group(ground, group)


_GROUNDS: dict[str, Ground | None] = {}


def _begin(grounds: dict[str, Ground | None]) -> None:
    _GROUNDS.update(grounds)


def _work(which: str, specs: Sequence[CandidateSpec]) -> list[Found]:
    ground = _GROUNDS[which]
    assert ground is not None
    with threads(0):  # the lanes have the cores between them
        return try_group(ground, specs)

"""Fits the candidates of a sweep, in this process or in several, and says what each is worth on validation."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import get_context
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
from tasks.core.fitting import SECONDS, Cache
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
    """Groups of candidates, run here or by processes that are given the rows once."""

    def __init__(self, ground: Ground, sample: Ground | None, workers: int) -> None:
        self.grounds = {"all": ground, "sample": sample}
        self.workers = workers
        self.pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> "_Pool":
        if self.workers > 1:  # processes that begin anew: a fork of one with threads may hang
            self.pool = ProcessPoolExecutor(self.workers, mp_context=get_context("spawn"), initializer=_begin, initargs=(self.grounds,))
        return self

    def __exit__(self, *_: object) -> None:
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)

    def run(self, which: str, specs: Sequence[CandidateSpec], spent: Callable[[], str | None], said: Callable[[str], None]) -> Iterator[Found]:
        waiting, begun, count = groups(specs), dict[Future[list[Found]], int](), 0
        while waiting or begun:
            if waiting and (over := spent()) is not None:
                yield from (Found(Trial(spec, "not begun", reason=over)) for group in waiting for spec in group)
                waiting = []
            while waiting and len(begun) < self.workers and self.pool is not None:
                group = waiting.pop(0)
                begun[self.pool.submit(_work, which, group)] = len(group)
            done = [try_group(self._ground(which), waiting.pop(0))] if self.pool is None and waiting else []
            if begun:
                ended, _ = wait(begun, return_when=FIRST_COMPLETED)
                done += [future.result() for future in ended]
                for future in ended:
                    del begun[future]
            for found in done:
                count += len(found)
                yield from found
            if done:
                said(f"{count} of {len(specs)} candidates fitted" + (" on a sample" if which == "sample" else ""))

    def _ground(self, which: str) -> Ground:
        ground = self.grounds[which]
        assert ground is not None
        return ground


_GROUNDS: dict[str, Ground | None] = {}


def _begin(grounds: dict[str, Ground | None]) -> None:
    _GROUNDS.update(grounds)


def _work(which: str, specs: Sequence[CandidateSpec]) -> list[Found]:
    ground = _GROUNDS[which]
    assert ground is not None
    return try_group(ground, specs)

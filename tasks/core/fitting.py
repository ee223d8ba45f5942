"""What fits share: an identical beginning is fitted once, and threads are as many as the rows are worth."""

import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController

THREADS_FROM = 100_000  # rows: below, threads save a second at most, and cost many when the cores are shared with other work
SECONDS = "seconds"
"""Where a cache adds up what it took to make what was asked of it."""

Cache = MutableMapping[str, Any]


def once(shared: Cache, key: str, make: Callable[[], Any]) -> Any:
    """What is shared under the key, made if it is not there; under SECONDS the cache adds up what making took, now or before."""
    if key not in shared:
        begun = time.perf_counter()
        shared[key] = make(), time.perf_counter() - begun
    value, seconds = shared[key]
    shared[SECONDS] = shared.get(SECONDS, 0.0) + seconds
    return value


@contextmanager
def threads(rows: int) -> Iterator[None]:
    """One thread for small work; for large work as many as OpenMP is set to. BLAS, which has little to do here, keeps to one."""
    libraries = _libraries()
    with libraries.limit(limits=1, user_api="blas"), libraries.limit(limits=1 if rows < THREADS_FROM else None, user_api="openmp"):
        yield


@cache
def _libraries() -> ThreadpoolController:
    """The libraries that have threads, looked for once: looking takes as long as a small fit."""
    return ThreadpoolController()

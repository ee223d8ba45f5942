"""What all steps share: how a step is declared to Prefect, how it speaks, and what time it is."""

import datetime as dt
import logging
from collections.abc import Callable
from typing import Any

from prefect import runtime, task
from prefect.cache_policies import NO_CACHE

from tasks.core.errors import UnavailableError

_log = logging.getLogger("equipoise")


RETRIES = (1, 4)
"""Seconds before each new try of a step that met a system which is not there."""


def step(name: str, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """A Prefect task that keeps no result and no cache: the store and the ledger are what persists.

    It is tried again where a system did not answer, which may pass; no mistake in a case, in data or in our code does.
    """
    tried_again = {"retries": len(RETRIES), "retry_delay_seconds": list(RETRIES), "retry_condition_fn": _may_pass}
    return task(name=name, cache_policy=NO_CACHE, persist_result=False, **tried_again | options)


def _may_pass(_task: Any, _run: Any, state: Any) -> bool:
    return isinstance(state.data, UnavailableError)


def say(message: str) -> None:
    """Tell the user, in the terminal and in Prefect's log."""
    if not _log.isEnabledFor(logging.INFO):
        _log.setLevel(logging.INFO)  # Prefect gives it the level of its own chatter
    _log.info(message)


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


def flow_run(run: str | None = None) -> dict[str, str]:
    """Which Prefect run this is, or another one by its id, and where its page is."""
    own = str(runtime.flow_run.id)
    return {"prefect.flow_run_id": run or own, "prefect.flow_run_url": str(runtime.flow_run.ui_url).replace(own, run or own)}

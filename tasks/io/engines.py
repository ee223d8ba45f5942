"""Where parts of a table are worked on: Prefect task runners by name. Dask and Ray are optional extras.

Clusters that start here listen on loopback only and have as many single-threaded workers as asked; a cluster that runs
already is used when its own variable names it (`DASK_SCHEDULER_ADDRESS`, `RAY_ADDRESS`).
"""

import inspect
import os
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor
from contextlib import nullcontext
from typing import Any

from threadpoolctl import threadpool_limits

from tasks.core.errors import CaseError, UnavailableError
from tasks.core.operations import Engine

__all__ = ["Engine", "mapped", "task_runner"]


def task_runner(engine: Engine, workers: int = 2) -> Any:
    """The Prefect task runner called so.

    Raises: CaseError when the engine's extra is not installed.
    """
    if engine == "threads":
        from prefect.task_runners import ThreadPoolTaskRunner

        return ThreadPoolTaskRunner(max_workers=workers)
    if engine == "processes":
        from prefect.task_runners import ProcessPoolTaskRunner

        return ProcessPoolTaskRunner(max_workers=workers)
    return _dask(workers) if engine == "dask" else _ray(workers)


def mapped(engine: Engine, workers: int, step: Any, parts: Sequence[Any], *given: Any) -> list[Any]:
    """What a step returns for each part, asked as step(part, *given), on an engine that starts for it; to be called in a flow.

    Raises: what the first part raised that failed; UnavailableError when the engine lost a worker for good.
    """
    # BLAS has one number of threads for a process: a part that limits it finds the limit of another, and, the last to end, would leave that
    # for good. Within a limit around them all they change nothing. (OpenMP's number is each thread's own, and so is limited in the part.)
    limit = threadpool_limits(1) if engine == "threads" else nullcontext()
    with limit, task_runner(engine, min(workers, len(parts))) as runner:
        names = list(inspect.signature(step.fn).parameters)
        futures = [runner.submit(step, dict(zip(names, (part, *given), strict=False))) for part in parts]
        try:
            return [future.result() for future in futures]
        except _losses(engine) as error:
            raise UnavailableError(
                f"A worker of the engine `{engine}` ended before its part was done, as happens where memory runs out.",
                where="engine",
                fix="Give the machine more memory, or the engine fewer workers (`scoring.workers` of the case), and run again.",
            ) from error


def _losses(engine: Engine) -> tuple[type[Exception], ...]:
    """What an engine raises for a part whose worker is gone; Dask and Ray when others that took it over are gone too."""
    if engine == "dask":
        from distributed import KilledWorker

        return (KilledWorker,)
    if engine == "ray":
        from ray.exceptions import NodeDiedError, OutOfMemoryError, WorkerCrashedError

        return NodeDiedError, OutOfMemoryError, WorkerCrashedError
    return (BrokenExecutor,)


def _dask(workers: int) -> Any:
    os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "error")  # read when distributed is imported
    try:
        import dask.config
        from prefect_dask import DaskTaskRunner
    except ImportError as error:
        raise _missing("dask") from error
    if address := os.environ.get("DASK_SCHEDULER_ADDRESS"):
        return DaskTaskRunner(address=address)
    dask.config.set(_busy(dask.config.get("distributed.nanny.pre-spawn-environ")))
    return DaskTaskRunner(cluster_kwargs={"n_workers": workers, "threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": None})


def _busy(environment: dict[str, Any]) -> dict[str, Any]:
    """Settings for workers that live as long as the work. Dask's are for servers: memory goes back to the system at every turn, stacks are
    sampled, and an event loop wakes fifty times a second beside the work. On large parts these took half as long again as the work itself.
    """
    kept = {name: value for name, value in environment.items() if not name.startswith("MALLOC_")}
    return {"distributed.nanny.pre-spawn-environ": kept, "distributed.worker.profile.enabled": False, "distributed.admin.tick.interval": "1s"}


def _ray(workers: int) -> Any:
    try:
        from prefect_ray import RayTaskRunner
    except ImportError as error:
        raise _missing("ray") from error
    if address := os.environ.get("RAY_ADDRESS"):
        return RayTaskRunner(address=address)
    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "error"}
    return RayTaskRunner(init_kwargs={"num_cpus": workers, "_node_ip_address": "127.0.0.1", **quiet})


def _missing(engine: str) -> CaseError:
    return CaseError(f"`engine: {engine}` needs the extra `{engine}`.", where="engine", fix=f"Install it: pip install 'equipoise[{engine}]'")

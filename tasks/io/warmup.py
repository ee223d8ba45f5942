"""Pays the slow first steps once, at the same time: Prefect's temporary server starts beside the imports of the heavy libraries."""

import gc
import importlib
import os
import threading
import warnings

from tasks.io.home import Home

# skops first: it looks for the module of each of 800 names, which takes a second longer for every 2,000 modules there are.
TRAINING = ("skops.io", "mlflow.tracking", "great_expectations", "codecarbon")
SCORING = (*TRAINING, "evidently", "evidently.metrics")
REGISTRY = ("mlflow.tracking", "codecarbon")


def warm_up(home: Home, libraries: tuple[str, ...]) -> None:
    """Start Prefect's temporary server, or see that the one in use lets us in, and import the libraries that the work will need.

    The server is another process and takes 10 s, the imports take as long. They run in the main thread: two threads that import
    packages which import each other can see them half made. What they make stays, a million objects, so that Python need not look
    through them for garbage, now or later: that took a sixth of the time of a flow.
    """
    starting = None
    if "PREFECT_API_URL" not in os.environ:
        from prefect.server.api.server import SubprocessASGIServer  # two seconds, which a running server spares

        starting = threading.Thread(target=SubprocessASGIServer().start, name="prefect server", daemon=True)
        starting.start()
    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecations among the libraries themselves
            for library in libraries:
                importlib.import_module(library)
    finally:
        gc.enable()
    if "mlflow.tracking" in libraries:
        from tasks.io.tracking_store import TrackingStore

        TrackingStore(home.mlflow_url, home.artifacts).prepare()
    if "codecarbon" in libraries:
        from tasks.io.emissions import warm_up as warm_up_tracker

        warm_up_tracker().join()
    if starting is None:
        from tasks.io.access import check_prefect

        check_prefect()
    else:
        starting.join()  # until then `start` believes that it runs
    gc.freeze()

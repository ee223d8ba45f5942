"""Pays the slow first steps once, at the same time: Prefect's temporary server starts beside the imports of the heavy libraries."""

import importlib
import os
import threading
import warnings

from tasks.io.home import Home

LIBRARIES = ("mlflow", "mlflow.tracking", "evidently", "evidently.metrics", "great_expectations", "codecarbon", "skops.io")


def warm_up(home: Home) -> None:
    """Start Prefect's temporary server, unless another is in use; import what training and inference need; make MLflow's tables.

    The server is another process and takes 10 s, the imports take as long. They run in the main thread: two threads that import
    packages which import each other can see them half made.
    """
    from prefect.server.api.server import SubprocessASGIServer

    starting = None
    if "PREFECT_API_URL" not in os.environ:
        starting = threading.Thread(target=SubprocessASGIServer().start, name="prefect server", daemon=True)
        starting.start()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations among the libraries themselves
        for library in LIBRARIES:
            importlib.import_module(library)
    from tasks.io.emissions import warm_up as warm_up_tracker
    from tasks.io.tracking_store import TrackingStore

    tracker = warm_up_tracker()
    TrackingStore(home.mlflow_url, home.artifacts).prepare()
    tracker.join()
    if starting is not None:
        starting.join()  # until then `start` believes that it runs

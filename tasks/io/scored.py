"""A scored period's rows with their predictions, part by part."""

from collections import deque
from collections.abc import Iterator, Sequence

import pandas as pd

from tasks.core.errors import IntegrityError
from tasks.io.manifests import Digest
from tasks.io.workbench import Workbench


def readable(bench: Workbench, source: Digest, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
    """The parts of a snapshot that can be read, in order; only those of `columns` that they have, where given. Raises: IntegrityError when
    none can.
    """
    broken, found = None, False
    for digest, _ in bench.store.parts(source):
        try:
            frame = bench.store.get_frame(digest, columns)
        except IntegrityError as error:
            broken = error
            continue
        found = True
        yield frame
    if broken is not None and not found:
        raise broken


def scored_parts(bench: Workbench, source: Digest, predictions: Digest) -> Iterator[pd.DataFrame]:
    """The rows of each part of a snapshot with their predictions, and with `prediction` beside: the score where there is one, the answer
    otherwise. Parts that could not be read when the period was scored have none, and are left out, also where they have come back since.

    Raises: IntegrityError for predictions that are missing or corrupt, or whose rows are gone.
    """
    answers = deque(part for part, _ in bench.store.parts(predictions))
    for frame in readable(bench, source):
        if not answers:
            return
        joined = frame.merge(bench.store.get_frame(answers[0]), on="row_id", validate="one_to_one")
        if len(joined) == 0 < len(frame):
            continue
        if len(joined) < len(frame):
            break
        answers.popleft()
        yield joined.assign(prediction=joined["y_score" if "y_score" in joined else "y_pred"])
    if answers:
        raise IntegrityError("does not have the rows that were scored: a part has changed since.", where=source, fix="Restore the part from a backup.")

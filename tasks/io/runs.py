"""MLflow runs: one parent for a flow, one child for each candidate.

Everything a run has to say goes in one batch through a client of our own, never through MLflow's global "active run",
so that candidates may be logged from several threads.
"""

import contextlib
import hashlib
import json
import math
import posixpath
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from tasks.core.errors import UnavailableError
from tasks.io.tracking_store import TrackingStore, checked_name

NAMES_FILE = "cohorts.json"
"""Artifact that gives the true name, the key and the value of every metric of a run."""

NOT_LOGGED = "equipoise.not_logged"
"""Tag that names the metrics without a finite value, which MLflow would keep as 1.797e308 or 0."""

_LONGEST_KEY, _LONGEST_PARAM, _LONGEST_TAG, _LONGEST_DIGEST = 250, 6000, 8000, 36
_HASHED = re.compile(r".*-[0-9a-f]{10}")


DataInput = tuple[str, str, str, str]
"""A dataset a run has read: its name, whole digest, source and context (what it was for)."""
SHOWN = "shown"
"""Value of the tag `entry_tag`."""


class Runs:
    """The runs in MLflow at `tracking_uri`; their files below `artifact_root`/<case>."""

    def __init__(self, tracking_uri: str, artifact_root: Path) -> None:
        self.store = TrackingStore(tracking_uri, artifact_root)

    def prepare(self) -> None:
        """Do the slow first steps now; see `TrackingStore.prepare`."""
        self.store.prepare()

    def experiment(self, case: str) -> str:
        """Id of the case's experiment, made on first use with its files below `artifact_root`/<case>."""
        checked_name(case)
        with self.store.talking() as client:
            found = client.get_experiment_by_name(case)
            if found is None:
                # The loser of a race with another process fails here, and finds the winner's below.
                with contextlib.suppress(Exception):
                    client.create_experiment(case, artifact_location=(self.store.artifact_root / case).as_uri())
                found = client.get_experiment_by_name(case)
        if found.lifecycle_stage != "active":
            raise UnavailableError(
                f"The experiment `{case}` has been deleted in MLflow.",
                where=self.store.shown,
                fix=f"Bring it back with `mlflow experiments restore --experiment-id {found.experiment_id}`.",
            )
        return str(found.experiment_id)

    def showing(self, case: str, sequence: int) -> str | None:
        """Id of the run that shows an entry of the case's ledger, or None. A run that was begun for it and not finished, by a process that
        died or lost MLflow on the way, is deleted.
        """
        experiment = self.experiment(case)
        with self.store.talking() as client:
            found = client.search_runs([experiment], f"tags.`{entry_tag(sequence)}` = '{SHOWN}'")
            for half in (run for run in found if run.info.status != "FINISHED"):
                client.delete_run(half.info.run_id)
        return next((str(run.info.run_id) for run in found if run.info.status == "FINISHED"), None)

    def start_parent(self, case: str, *, tags: Mapping[str, str] | None = None, params: Mapping[str, object] | None = None) -> str:
        """Open a run in the case's experiment and return its id. Close it with `finish`."""
        experiment = self.experiment(case)
        with self.store.talking() as client:
            run_id = str(client.create_run(experiment, tags=_tags(tags)).info.run_id)
        self._log(run_id, params=params)
        return run_id

    def log_metrics(self, run_id: str, metrics: Mapping[str, float | None]) -> None:
        """Add metrics to an open run, keyed by `metric_key`; those without a finite value are named in a tag instead."""
        self.store.run(run_id)
        self._log(run_id, metrics=metrics)

    def log_artifacts(self, run_id: str, artifacts: Mapping[str, bytes]) -> None:
        """Add files' contents, by their path in the run, to a run."""
        self.store.run(run_id)
        self._log(run_id, artifacts=artifacts)

    def log_child(self, parent: str, name: str, *, tags: Mapping[str, str] | None = None, **logged: Any) -> str:
        """Record one finished run below `parent` and return its id; as `log_run` otherwise."""
        return self._whole(self.store.run(parent).info.experiment_id, name, {**(tags or {}), "mlflow.parentRunId": parent}, **logged)

    def log_run(self, experiment: str, name: str, *, tags: Mapping[str, str] | None = None, **logged: Any) -> str:
        """Record one finished run in an experiment, made on first use, and return its id. What goes wrong on the way leaves it FAILED.

        `params`, `metrics` (kept as `log_metrics` does), `datasets`, and `artifacts`: files' contents by their path in the run.
        """
        return self._whole(self.experiment(experiment), name, tags or {}, **logged)

    def _whole(
        self,
        experiment: str,
        name: str,
        tags: Mapping[str, str],
        *,
        params: Mapping[str, object] | None = None,
        metrics: Mapping[str, float | None] | None = None,
        datasets: Sequence[DataInput] = (),
        artifacts: Mapping[str, bytes] | None = None,
    ) -> str:
        with self.store.talking() as client:
            run_id = str(client.create_run(experiment, run_name=name, tags=_tags(tags)).info.run_id)
        try:
            self._log(run_id, params=params, metrics=metrics, datasets=datasets, artifacts=artifacts)
        except BaseException:
            with contextlib.suppress(UnavailableError):  # the first failure says more
                self.finish(run_id, "FAILED")
            raise
        self.finish(run_id)
        return run_id

    def _log(
        self,
        run_id: str,
        *,
        params: Mapping[str, object] | None = None,
        metrics: Mapping[str, float | None] | None = None,
        datasets: Sequence[DataInput] = (),
        artifacts: Mapping[str, bytes] | None = None,
    ) -> None:
        now, values = int(time.time() * 1000), {name: None if value is None else float(value) for name, value in (metrics or {}).items()}
        finite = {name: value for name, value in values.items() if value is not None and math.isfinite(value)}
        unlogged = "; ".join(f"{name} ({values[name]})" for name in values if name not in finite)
        files = dict(artifacts or {})
        if any(metric_key(name) != name or name not in finite for name in values):
            files[NAMES_FILE] = _names(values, finite)
        with self.store.talking() as client:
            from mlflow.entities import Metric, Param, RunTag

            client.log_batch(
                run_id,
                metrics=[Metric(metric_key(name), value, now, 0) for name, value in finite.items()],
                params=[Param(metric_key(key), _cut(str(value), _LONGEST_PARAM)) for key, value in (params or {}).items()],
                tags=[RunTag(NOT_LOGGED, _cut(unlogged, _LONGEST_TAG))] if unlogged else [],
            )
            if datasets:
                client.log_inputs(run_id, [_dataset(*entry) for entry in datasets])
            if files:
                with tempfile.TemporaryDirectory(prefix="equipoise-") as folder:
                    for path, content in files.items():
                        _inside(Path(folder), path).write_bytes(content)
                    client.log_artifacts(run_id, folder)

    def finish(self, run_id: str, status: Literal["FINISHED", "FAILED", "KILLED"] = "FINISHED") -> None:
        """Close a run."""
        self.store.run(run_id)
        with self.store.talking() as client:
            client.set_terminated(run_id, status)


def entry_tag(sequence: int) -> str:
    """The tag of a run that shows an entry of the ledger; its value is `SHOWN`."""
    return f"equipoise.entry.{sequence}"


def metric_key(name: str) -> str:
    """The key under which MLflow keeps the metric called `name`; two names never share one.

    MLflow takes letters, digits and `_ - . / : space`, 250 at most. A cohort's name is put into words; a name that
    these words do not give back, or that is too long, ends in ten hex digits of its SHA-256.

    >>> metric_key("mae"), metric_key("recall.sex=Female")
    ('mae', 'recall.sex is Female')
    >>> metric_key("mae.B=(390, inf), LSTAT=(8, 16]")
    'mae.B is 390 to inf and LSTAT is 8 to 16'
    >>> metric_key("recall.age=60+")
    'recall.age is 60_-25c63bed97'
    """
    words = re.sub(r"=\(([^\s,()\[\]]+), ([^\s,()\[\]]+)[\])]", r"=\1 to \2", name).replace(", ", " and ").replace("=", " is ")
    plain = re.sub(r"[^\w.\-/ ]", "_", words)
    if _back(plain) == name and len(plain) <= _LONGEST_KEY and not _HASHED.fullmatch(plain) and _is_path(plain):
        return plain
    stem = re.sub(r"^\.\.|/", "_", plain)[: _LONGEST_KEY - 11]
    return f"{stem}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:10]}"


def _back(words: str) -> str:
    """The name that a key's words stand for: what makes the words safe to use alone."""
    symbols = words.replace(" is ", "=").replace(" and ", ", ")
    return re.sub(r"=(\S+) to (\S+?)(?=, |$)", lambda cut: f"=({cut[1]}, {cut[2]}" + (")" if cut[2] == "inf" else "]"), symbols)


def _is_path(key: str) -> bool:
    # MLflow refuses keys that would name another file than they say: "", "..", "a//b", "/a".
    return posixpath.normpath(key) == key and key != "." and not key.startswith(("..", "/"))


def _names(values: Mapping[str, float | None], finite: Mapping[str, float]) -> bytes:
    rows = [{"name": name, "key": metric_key(name) if name in finite else None, "value": finite.get(name)} for name in values]
    return json.dumps({"metrics": rows}, indent=1, ensure_ascii=False, allow_nan=False).encode()


def _tags(tags: Mapping[str, str] | None) -> dict[str, str]:
    return {key: _cut(str(value), _LONGEST_TAG) for key, value in (tags or {}).items()}


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 40]}… (cut, {len(text)} characters)"


def _dataset(name: str, digest: str, source: str, context: str) -> Any:
    """MLflow keeps 36 characters of a digest and checks none of them: the whole one goes into the source and a tag."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(name=name, digest=digest[:_LONGEST_DIGEST], source_type="local", source=json.dumps({"uri": source, "digest": digest}))
    return DatasetInput(dataset, [InputTag("mlflow.data.context", context), InputTag("equipoise.digest", digest)])


def _inside(folder: Path, name: str) -> Path:
    relative = PurePosixPath(name)
    if relative.is_absolute() or ".." in relative.parts or not relative.parts:
        raise ValueError(f"{name!r} is not a path inside a run")
    path = folder / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    return path

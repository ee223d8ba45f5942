"""MLflow's model registry: versions, their cards, tags and aliases, and the bytes of a model.

A version is an MLflow model folder (MLmodel, model.skops, requirements.txt, card.md, an invented input example) that
declares no flavour MLflow could load: loaders of MLflow import code out of the folder. A model comes back as bytes
whose SHA-256 has been verified, and only `tasks.io.models` makes objects of them.
"""

import contextlib
import datetime as dt
import importlib.metadata
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote, urlsplit

from tasks.core.case import Task
from tasks.core.digests import digest_bytes
from tasks.core.errors import DataError, IntegrityError, UnavailableError
from tasks.io.tracking_store import TrackingStore, checked_name

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

MODEL_FILE = "model.skops"
MODEL_DIGEST = "equipoise.model_digest"
"""Tag with the digest of the model's bytes. Anyone may overwrite a tag: trust the ledger's digest, show this one."""

LONGEST_DESCRIPTION = 5000
"""What MLflow's tables hold of a description on PostgreSQL and MySQL; SQLite holds more."""

Kind = Literal["numeric", "categorical"]
# MLflow's type of a column of each kind, and the value that stands for it in the invented example.
_KINDS: dict[str, tuple[str, object]] = {"numeric": ("double", 0.0), "categorical": ("string", "example")}
_OUTPUTS = {"binary": {"y_pred": "long", "y_score": "double"}, "regression": {"y_pred": "double"}}
_PACKAGES = ("scikit-learn", "skops", "fairlearn", "numpy", "scipy", "pandas")


@dataclass(frozen=True)
class Version:
    """One registered version as MLflow shows it."""

    version: int
    run_id: str | None
    tags: Mapping[str, str]
    description: str
    aliases: tuple[str, ...]
    created: dt.datetime
    source: str


class Registry:
    """The models in MLflow at `tracking_uri`; their files below `artifact_root`."""

    def __init__(self, tracking_uri: str, artifact_root: Path) -> None:
        self.store = TrackingStore(tracking_uri, artifact_root)

    def prepare(self) -> None:
        """Do the slow first steps now; see `TrackingStore.prepare`."""
        self.store.prepare()

    def register(
        self,
        name: str,
        *,
        run_id: str,
        model_bytes: bytes,
        inputs: Mapping[str, Kind],
        task: Task,
        description: str,
        evidence: bytes = b"{}",
        tags: Mapping[str, str] | None = None,
    ) -> int:
        """Store the model the run has made as the next version of `name`, and return its number.

        `inputs` maps the columns the model reads to their kinds; with the task's outputs they become the signature.
        `description` is the card, in Markdown; `evidence` the manifest of digests, canonical JSON.
        """
        checked_name(name)
        digest = digest_bytes(model_bytes)
        all_tags = {key: str(value) for key, value in (tags or {}).items()} | {MODEL_DIGEST: digest}
        run = self.store.run(run_id)
        with self.store.talking() as client:
            from mlflow.entities import LoggedModelOutput

            logged = client.create_logged_model(run.info.experiment_id, name=name, source_run_id=run_id, tags=all_tags, params=run.data.params)
            try:
                with tempfile.TemporaryDirectory(prefix="equipoise-") as folder:
                    _write_folder(Path(folder), logged, model_bytes, inputs, task, description)
                    (Path(folder) / "evidence.json").write_bytes(evidence)
                    client.log_model_artifacts(logged.model_id, folder)
            except BaseException:
                client.finalize_logged_model(logged.model_id, "FAILED")
                raise
            client.finalize_logged_model(logged.model_id, "READY")
            client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
            # Fails when the model is there already, which is what is wanted; any other fault shows again in the next call.
            with contextlib.suppress(Exception):
                client.create_registered_model(name, description=f"Models of the case `{name}`. Each version's description is its model card.")
            # The source is the folder itself: for `models:/ID` MLflow's store asks whatever database its global setting names.
            made = client.create_model_version(
                name, source=logged.artifact_location, run_id=run_id, tags=all_tags, description=_short(description), model_id=logged.model_id
            )
        version = int(made.version)
        if len(description) > LONGEST_DESCRIPTION:
            self.set_description(name, version, description)
        return version

    def fetch_model(self, name: str, version: int, expected_digest: str) -> bytes:
        """The model's bytes, verified against the digest they must have. Nothing is parsed, loaded or run.

        Raises IntegrityError when the file is gone, lies outside `artifact_root` or has another digest.
        """
        place = self._place(self.version(name, version).source or "nowhere", name, version)
        try:
            content = place.read_bytes()
        except FileNotFoundError as error:
            raise IntegrityError(f"{name} version {version}: {place} is not there.", fix="Restore the file from a backup, or train again.") from error
        except OSError as error:
            raise UnavailableError(
                f"{name} version {version}: {place} cannot be read: {error.strerror}.", fix="Mend the file's permissions or its disk."
            ) from error
        found = digest_bytes(content)
        if found != expected_digest:
            raise IntegrityError(
                f"{name} version {version}: {place} has the digest {found}, and {expected_digest} is on record.",
                fix="Do not use it. Restore the file from a backup, or train again.",
            )
        return content

    def versions(self, name: str) -> list[Version]:
        """All versions, oldest first; none when no such model is registered."""
        checked_name(name)
        model = self.store.find(lambda client: client.get_registered_model(name))
        found, token = [], None
        while model is not None:
            with self.store.talking() as client:
                page = client.search_model_versions(f"name = '{name}'", page_token=token)
            # A search leaves the aliases out; the model has them all.
            found += [_version(entry, [alias for alias, number in model.aliases.items() if int(number) == int(entry.version)]) for entry in page]
            token = page.token
            if not token:
                break
        return sorted(found, key=lambda entry: entry.version)

    def version(self, name: str, version: int) -> Version:
        """One version. Raises DataError with the known ones when it is not there."""
        checked_name(name)
        found = self.store.find(lambda client: client.get_model_version(name, str(version)))
        if found is not None:
            return _version(found, found.aliases)
        known = [str(entry.version) for entry in self.versions(name)]
        if not known:
            raise DataError(f"No version of `{name}` is registered.", where=self.store.shown, fix=f"Make one with `equipoise train {name}`.")
        raise DataError(f"`{name}` has no version {version}.", where=self.store.shown, fix=f"Registered: {', '.join(known)}.")

    def alias(self, name: str, alias: str) -> int | None:
        """The version that bears the alias; None when none does."""
        checked_name(name)
        found = self.store.find(lambda client: client.get_model_version_by_alias(name, alias))
        return None if found is None else int(found.version)

    def set_alias(self, name: str, alias: str, version: int) -> None:
        """Give the version the alias, taking it from whichever has it. MLflow cannot compare first: the last writer wins."""
        self.version(name, version)
        with self.store.talking() as client:
            client.set_registered_model_alias(name, alias, str(version))

    def delete_alias(self, name: str, alias: str) -> None:
        """Take the alias away; nothing happens when no version bears it."""
        if self.alias(name, alias) is not None:
            with self.store.talking() as client:
                client.delete_registered_model_alias(name, alias)

    def set_tags(self, name: str, version: int, tags: Mapping[str, str]) -> None:
        """Set tags of a version."""
        self.version(name, version)
        with self.store.talking() as client:
            for key, value in tags.items():
                client.set_model_version_tag(name, str(version), key, str(value))

    def set_description(self, name: str, version: int, description: str) -> None:
        """Replace the card of a version; whole where the database takes it, otherwise cut with a note that says so."""
        self.version(name, version)
        with self.store.talking() as client:
            client.update_model_version(name, str(version), _short(description))
        if len(description) > LONGEST_DESCRIPTION:
            # A database with the shorter column refuses, and the cut card stands.
            with contextlib.suppress(UnavailableError), self.store.talking() as client:
                client.update_model_version(name, str(version), description)

    def _place(self, source: str, name: str, version: int) -> Path:
        """Where the model's file is. A version whose source somebody has pointed elsewhere is refused before it is read."""
        parts = urlsplit(source)
        if parts.scheme in ("", "file"):
            path = Path(unquote(parts.path) if parts.scheme else source).resolve() / MODEL_FILE
            if path.is_relative_to(self.store.artifact_root):
                return path
        raise IntegrityError(
            f"{name} version {version}: its files are said to be at {source}, outside {self.store.artifact_root}.",
            fix="Do not use it. Point EQUIPOISE_HOME at the folder it was registered in, or train again.",
        )


def _signature(inputs: Mapping[str, Kind], task: Task) -> "ModelSignature":
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    return ModelSignature(
        Schema([ColSpec(_KINDS[kind][0], column) for column, kind in inputs.items()]),
        Schema([ColSpec(kind, column) for column, kind in _OUTPUTS[task].items()]),
    )


def _write_folder(folder: Path, logged: Any, content: bytes, inputs: Mapping[str, Kind], task: Task, description: str) -> None:
    """The files of a version. The input example is invented from the kinds: a real row would be somebody's data."""
    from mlflow.models import Model

    example = {"columns": list(inputs), "data": [[_KINDS[kind][1] for kind in inputs.values()]]}
    versions = {package: importlib.metadata.version(package) for package in _PACKAGES}
    (folder / MODEL_FILE).write_bytes(content)
    (folder / "card.md").write_text(description, encoding="utf-8")
    (folder / "input_example.json").write_text(json.dumps(example, ensure_ascii=False), encoding="utf-8")
    (folder / "requirements.txt").write_text("".join(f"{package}=={number}\n" for package, number in versions.items()), encoding="utf-8")
    Model(
        artifact_path=logged.artifact_location,
        model_uuid=logged.model_id,
        model_id=logged.model_id,
        run_id=logged.source_run_id,
        flavors={"equipoise": {"model": MODEL_FILE, "digest": digest_bytes(content), "serialization_format": "skops", "skops_version": versions["skops"]}},
        signature=_signature(inputs, task),
        saved_input_example_info={"artifact_path": "input_example.json", "type": "dataframe", "pandas_orient": "split"},
        model_size_bytes=len(content),
    ).save(folder / "MLmodel")


def _version(entry: Any, aliases: Sequence[str]) -> Version:
    created = dt.datetime.fromtimestamp(entry.creation_timestamp / 1000, tz=dt.UTC)
    return Version(int(entry.version), entry.run_id or None, dict(entry.tags), entry.description or "", tuple(sorted(aliases)), created, entry.source or "")


def _short(description: str) -> str:
    """The description, cut at a line's end with a note when MLflow's tables may not hold it."""
    note = "\n\n*Cut: MLflow holds 5,000 characters. The card as registered is `card.md` among the model's artifacts.*"
    if len(description) <= LONGEST_DESCRIPTION:
        return description
    return description[: LONGEST_DESCRIPTION - len(note)].rpartition("\n")[0] + note

"""Which code and which dependencies are running, and for whom."""

import getpass
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from tasks.core.digests import digest_bytes


def code_version(project: Path) -> str:
    """The git commit of the project, with `+changes` when files differ from it; `unknown` outside a checkout."""
    try:
        commit = _git(project, "rev-parse", "HEAD")
        return commit + ("+changes" if _git(project, "status", "--porcelain") else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def lock_digest(project: Path) -> str:
    """The digest of requirements.lock; `unknown` where there is none."""
    try:
        return digest_bytes((project / "requirements.lock").read_bytes())
    except OSError:
        return "unknown"


def environment() -> dict[str, Any]:
    """Python, the platform, and every installed package with its version, by name."""
    packages = {(found.metadata["Name"] or "").lower(): found.version for found in importlib.metadata.distributions()}
    return {"python": platform.python_version(), "platform": platform.platform(), "machine": platform.machine(), "packages": dict(sorted(packages.items()))}


def author() -> str:
    """Whose work this is: `EQUIPOISE_USER`, or the account of the operating system."""
    return os.environ.get("EQUIPOISE_USER") or getpass.getuser()


def _git(project: Path, *arguments: str) -> str:
    command = ["git", "-C", str(project), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()  # noqa: S603  # a fixed program, no shell

"""Which code and which locked dependencies are running."""

import subprocess
from pathlib import Path

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


def _git(project: Path, *arguments: str) -> str:
    command = ["git", "-C", str(project), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()  # noqa: S603  # a fixed program, no shell

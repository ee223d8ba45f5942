"""Which code and which dependencies are running, and for whom."""

import getpass
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tasks.core.digests import digest_bytes

LONGEST_DIFF = 1_000_000


def code_version(project: Path) -> str:
    """The git commit of the project, with `+changes` when files differ from it; `unknown` outside a checkout."""
    try:
        commit = _git(project, "rev-parse", "HEAD")
        return commit + ("+changes" if _git(project, "status", "--porcelain") else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def code_diff(project: Path) -> bytes | None:
    """What tracked files of the project have that the commit has not, as `git diff` tells it, cut at `LONGEST_DIFF` bytes with a note;
    None where there is nothing to tell.
    """
    try:
        diff = _said(project, "diff", "--no-color", "--no-ext-diff", "--no-textconv", "HEAD")
    except (OSError, subprocess.SubprocessError):
        return None
    if len(diff) > LONGEST_DIFF:
        return diff[:LONGEST_DIFF] + f"\n... cut: {len(diff):,} bytes in all\n".encode()
    return diff or None


def lock_digest(project: Path) -> str:
    """The digest of requirements.lock; `unknown` where there is none."""
    try:
        return digest_bytes((project / "requirements.lock").read_bytes())
    except OSError:
        return "unknown"


def environment() -> dict[str, Any]:
    """Python, the platform, and every installed package with its version, by name."""
    return {"python": platform.python_version(), "platform": platform.platform(), "machine": platform.machine(), "packages": dict(_packages())}


@cache
def _packages() -> Mapping[str, str]:
    """Versions by name, in its order: of what was installed when they were first asked for, since reading them takes half a second."""
    told = (found.metadata for found in importlib.metadata.distributions())
    return dict(sorted({(one["Name"] or "").lower(): one["Version"] for one in told}.items()))


def author() -> str:
    """Whose work this is: `EQUIPOISE_USER`, or the account of the operating system."""
    return os.environ.get("EQUIPOISE_USER") or getpass.getuser()


def _git(project: Path, *arguments: str) -> str:
    return _said(project, *arguments).decode().strip()


def _said(project: Path, *arguments: str) -> bytes:
    return subprocess.run(["git", "-C", str(project), *arguments], capture_output=True, check=True, timeout=10).stdout  # noqa: S603, S607  # a fixed program, no shell

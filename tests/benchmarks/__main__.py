"""Runs every benchmark in this folder, each in a process of its own, one after the other: JSON lines on standard output."""

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent


def main() -> int:
    """The number of benchmarks that failed."""
    failed = 0
    for path in sorted(FOLDER.glob("bench_*.py")):
        failed += subprocess.run([sys.executable, str(path)], check=False, cwd=FOLDER.parents[1]).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())

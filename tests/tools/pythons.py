# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which Pythons this machine has."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Optional


def newest(lowest: tuple[int, int], below: tuple[int, int] = (3, 15)) -> Optional[str]:
    """The newest interpreter from ``lowest`` up to, but not including, ``below``; None when there is none.

    Looks on PATH and where pyenv keeps the versions that are not on PATH.
    """
    found = installed(lowest, below)
    return found[max(found)] if found else None


def installed(lowest: tuple[int, int], below: tuple[int, int] = (3, 15)) -> dict[tuple[int, int], str]:
    """An interpreter for each version in the range that this machine has."""
    names = [f"python3.{minor}" for minor in range(lowest[1], below[1])]
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [path for name in ("python3", *names) if (path := shutil.which(name))]
    candidates += [str(path) for path in sorted(versions.glob("*/bin/python3"))]
    return {version: path for path in candidates if (version := _version(path)) and lowest <= version < below}


def _version(python: str) -> Optional[tuple[int, int]]:
    """(major, minor), or None for one that does not start (pyenv's shims of versions that are not selected)."""
    done = subprocess.run([python, "--version"], capture_output=True, text=True, check=False)
    match = re.match(r"Python (\d+)\.(\d+)", done.stdout)
    return (int(match[1]), int(match[2])) if done.returncode == 0 and match else None

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run a program of the host and read what it says, in bounded time."""

from __future__ import annotations

import subprocess
from typing import Sequence

# Seconds that any one program may take.
PATIENCE = 2.0


def output(argv: Sequence[str], seconds: float = PATIENCE) -> str:
    """What it printed; nothing when it is missing, fails to start or takes too long."""
    try:
        done = subprocess.run(
            list(argv), capture_output=True, text=True, errors="replace", timeout=seconds, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def read(path: str, limit: int = 65536) -> str:
    """The first ``limit`` characters of a file; nothing where it can not be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(limit)
    except (OSError, ValueError):
        return ""

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run a program of the host and read what it says, in bounded time."""

from __future__ import annotations

import subprocess
from typing import Sequence

from . import commands, reading

# Seconds that any one program may take.
PATIENCE = 2.0


def output(argv: Sequence[str], seconds: float = PATIENCE) -> str:
    """What it printed; nothing when it is missing, fails to start or takes too long."""
    try:
        return commands.bounded(argv, seconds).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def read(path: str, limit: int = 65536) -> str:
    """The first ``limit`` bytes of a file; nothing where it cannot be read."""
    try:
        return reading.beginning(path, limit)
    except (OSError, ValueError):
        return ""

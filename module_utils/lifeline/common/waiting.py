# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Waiting for a condition: looked at again and again, and never forever."""

from __future__ import annotations

import time
from typing import Callable, TypeVar

Found = TypeVar("Found")

# How often a condition is looked at again, in seconds, where looking costs little.
POLL_S = 0.05


def until(condition: Callable[[], Found], seconds: float, pause: float = POLL_S) -> Found:
    """The first true answer of ``condition``, or its last one when ``seconds`` have passed. Asks at least once."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found or time.monotonic() >= deadline:
            return found
        time.sleep(pause)

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Processes of the host's units, as the kernel sees them."""

from __future__ import annotations

import os
import re
from typing import Any, Mapping, Optional

from .shell import read

_STATUS = {"State": "state", "VmRSS": "rss_kb", "VmSwap": "swap_kb", "Threads": "threads"}


def of_units(units: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """``{unit: {pid, state, rss_kb, swap_kb, threads, files, files_limit}}`` of the main processes that live.

    ``state`` is the kernel's letter: R, S, D (waits for a device), T (stopped), Z.
    """
    found = {unit: _process(int(state.get("pid") or 0)) for unit, state in units.items()}
    return {unit: process for unit, process in found.items() if process is not None}


def _process(pid: int) -> Optional[dict[str, Any]]:
    status = parse_status(read(f"/proc/{pid}/status")) if pid else {}
    if not status:
        return None
    return {"pid": pid, **status, "files": _open_files(pid), "files_limit": _files_limit(read(f"/proc/{pid}/limits"))}


def parse_status(text: str) -> dict[str, Any]:
    """The fields of /proc/PID/status that say how a process does."""
    found: dict[str, Any] = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        key = _STATUS.get(name)
        if key == "state":
            found[key] = value.strip()[:1]
        elif key and value.split()[:1] and value.split()[0].isdigit():
            found[key] = int(value.split()[0])
    return found


def _open_files(pid: int) -> Optional[int]:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return None


def _files_limit(text: str) -> Optional[int]:
    match = re.search(r"^Max open files\s+(\d+)", text, re.MULTILINE)
    return int(match[1]) if match else None

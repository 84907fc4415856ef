# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What systemd says of a host's units."""

from __future__ import annotations

import subprocess
from typing import Any, Callable, Sequence

from .values import number

UNIT_PROPERTIES = (
    "Id",
    "LoadState",
    "ActiveState",
    "SubState",
    "Result",
    "NRestarts",
    "MainPID",
    "UnitFileState",
    "StatusText",
    "StateChangeTimestamp",
)


def unit_states(units: Sequence[str], run: Callable[..., Any] = subprocess.run) -> dict[str, dict[str, Any]]:
    """systemd's view: ``{unit: {load, active, sub, result, restarts, pid, enabled, status, since}}``.

    ``since`` is when the unit last changed its state, in seconds since 1970. A host without systemd gives no units.
    """
    argv = [
        "systemctl",
        "show",
        "--no-pager",
        "--timestamp=unix",
        "--property=" + ",".join(UNIT_PROPERTIES),
        "--",
        *units,
    ]
    try:
        done = run(argv, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return parse_units(units, done.stdout)


def parse_units(units: Sequence[str], text: str) -> dict[str, dict[str, Any]]:
    """``systemctl show`` prints one block a unit, in the order asked for, blank lines between."""
    states = {}
    for unit, block in zip(units, text.strip().split("\n\n")):
        shown = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        states[unit] = {
            "load": shown.get("LoadState", ""),
            "active": shown.get("ActiveState", ""),
            "sub": shown.get("SubState", ""),
            "result": shown.get("Result", ""),
            "restarts": number(shown.get("NRestarts")),
            "pid": number(shown.get("MainPID")),
            "enabled": shown.get("UnitFileState", ""),
            "status": shown.get("StatusText", "")[:200],
            "since": number(shown.get("StateChangeTimestamp", "").lstrip("@")),
        }
    return states

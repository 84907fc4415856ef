# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What systemd says of a host's units."""

from __future__ import annotations

import os
import subprocess
from typing import Any, Callable, Mapping, Sequence

from ..common import commands
from ..common.values import number

SECONDS = 5.0

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
    "User",
    "Group",
    "ExecMainStatus",
    "TimeoutStartUSec",
    "NeedDaemonReload",
)


def unit_states(units: Sequence[str], run: Callable[..., Any] = commands.bounded) -> dict[str, dict[str, Any]]:
    """systemd's view: ``{unit: {load, active, sub, result, restarts, pid, enabled, status, since, user, group,
    exit_status, start_timeout, reload_needed}}``.

    ``since`` is when the unit last changed its state, in seconds since 1970; ``start_timeout`` as systemd spells it;
    ``reload_needed``: its files changed and systemd has not read them. A host without systemd gives no units.
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
        done = run(argv, SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return parse_units(units, done.stdout)


def silent(units: Sequence[str], states: Mapping[str, Any], systemd: str = "/run/systemd/system") -> bool:
    """Whether systemd runs here and told nothing of the units in time: then nothing is known of them."""
    return bool(units) and not states and os.path.isdir(systemd)


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
            "user": shown.get("User", ""),
            "group": shown.get("Group", ""),
            "exit_status": number(shown.get("ExecMainStatus")),
            "start_timeout": shown.get("TimeoutStartUSec", ""),
            "reload_needed": shown.get("NeedDaemonReload") == "yes",
        }
    return states

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How a host's units are set up: restarts, limits, times, and how much of the system they can touch."""

from __future__ import annotations

import re
from typing import Any, Optional, Sequence

from ...common.shell import output

PROPERTIES = {
    "Id": "id",
    "LoadState": "load",
    "ActiveState": "active",
    "UnitFileState": "enabled",
    "MainPID": "pid",
    "User": "user",
    "NoNewPrivileges": "no_new_privileges",
    "ProtectSystem": "protect_system",
    "LimitNOFILE": "limit_nofile",
    "LimitCORE": "limit_core",
    "Restart": "restart",
    "StartLimitBurst": "start_limit_burst",
    "StartLimitIntervalUSec": "start_limit_interval_s",
    "TimeoutStartUSec": "timeout_start_s",
    "TimeoutStopUSec": "timeout_stop_s",
}
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "month": 2629800.0,
          "y": 31557600.0}  # fmt: skip


def look(units: Sequence[str], seconds: float) -> dict[str, dict[str, Any]]:
    """``{unit: {load, active, enabled, pid, user, no_new_privileges, protect_system, limit_nofile, limit_core, restart,
    start_limit_burst, start_limit_interval_s, timeout_start_s, timeout_stop_s}}`` of those that the host has.

    Patterns such as ``rq-worker@*.service`` stand for the units in memory. A time or limit of -1 is no limit. Nothing
    where systemd takes longer than ``seconds``.
    """
    if not units:
        return {}
    text = output(["systemctl", "show", "--no-pager", "--property=" + ",".join(PROPERTIES), "--", *units], seconds)
    return parse(text)


def parse(text: str) -> dict[str, dict[str, Any]]:
    """The same from what ``systemctl show`` printed."""
    found = {}
    for block in text.strip().split("\n\n"):
        said = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if not said.get("Id") or said.get("LoadState") == "not-found":
            continue
        unit: dict[str, Any] = {}
        for name, key in PROPERTIES.items():
            value = said.get(name, "")
            if key.endswith("_s"):
                unit[key] = seconds(value)
            elif key.startswith("limit_") or key in ("pid", "start_limit_burst"):
                unit[key] = -1 if value == "infinity" else int(value) if value.isdigit() else None
            elif key == "no_new_privileges":
                unit[key] = value == "yes"
            else:
                unit[key] = value
        found[unit["id"]] = unit
    return found


def seconds(text: str) -> Optional[float]:
    """systemd's spans, such as ``1min 30s``; -1 for infinity, None for anything else."""
    if text == "infinity":
        return -1.0
    if text.isdigit():
        return int(text) / 1e6
    parts = re.findall(r"(?<![\d.])([\d.]+)(us|ms|s|min|h|d|w|month|y)\b", text)
    return sum(float(number) * _UNITS[unit] for number, unit in parts) if parts else None


def exposure(unit: str, seconds: float) -> Optional[float]:
    """How much of the system a unit's processes can touch, 0 (nothing) to 10, as systemd-analyze counts it."""
    text = output(["systemd-analyze", "security", "--no-pager", unit], seconds)
    match = re.search(r"exposure level for [^:]*: ([\d.]+)", text)
    return float(match[1]) if match else None

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How much memory a server may fill, from what its host has. All amounts are bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

from ..errors import LifelineError

MIB = 1024**2
SYSTEM_MINIMUM = 128 * MIB
SMALLEST = 32 * MIB

# A container's limit: control groups version 2, then version 1 (with its own mount, and as a hybrid host shows it).
LIMIT_FILES = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def meminfo_total(text: str) -> int:
    """MemTotal of /proc/meminfo. Raises LifelineError when it is not there."""
    for line in text.splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    raise LifelineError("/proc/meminfo names no MemTotal: set redis_server_maxmemory by hand.")


def cgroup_limit(text: str) -> Optional[int]:
    """A control group's limit; None for ``max`` and for version 1's number that stands for no limit."""
    word = text.strip()
    if not word.isdigit() or int(word) >= 2**62:
        return None
    return int(word)


def available(root: str = "/") -> int:
    """What this host, or the container that it is, can give: the smallest of the total and the limits."""
    amounts = [meminfo_total((Path(root) / "proc/meminfo").read_text())]
    for name in LIMIT_FILES:
        path = Path(root) / name.lstrip("/")
        limit = cgroup_limit(path.read_text()) if path.is_file() else None
        if limit is not None:
            amounts.append(limit)
    return min(amounts)


def maxmemory(total: int, share_percent: int = 100, fork_percent: int = 50, buffers: int = 0) -> int:
    """Room for data of one server: its share of the host, less the system's part and its replication buffers,
    such that ``fork_percent`` of the data may be copied while a save or rewrite runs.

    Rounded down to 16 MiB, so that a few pages more or less after a reboot change nothing. Raises LifelineError when
    too little is left to be of use.
    """
    system = max(SYSTEM_MINIMUM, total // 10)
    room = (total - system) * share_percent // 100 - buffers
    data = room * 100 // (100 + fork_percent) // (16 * MIB) * (16 * MIB)
    if data < SMALLEST:
        raise LifelineError(
            f"The host has {total // MIB} MiB of memory, too little for Redis beside the system and "
            f"{buffers // MIB} MiB of replication buffers: give it more, or lower redis_server_repl_backlog_mb."
        )
    return data


def sizing(total: int, share_percent: int = 100, fork_percent: int = 50, buffers: int = 0) -> dict[str, Any]:
    """``maxmemory`` for a role: ``{maxmemory, objection}``, in bytes, with why it is 0 where too little is left."""
    try:
        return {"maxmemory": maxmemory(total, share_percent, fork_percent, buffers), "objection": ""}
    except LifelineError as error:
        return {"maxmemory": 0, "objection": str(error)}

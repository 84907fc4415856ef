# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Memory limits of a process's control groups, version 1 and 2 (kernel documentation, cgroup-v1/memory, cgroup-v2)."""

from __future__ import annotations

import os
from typing import Any, Iterator, NamedTuple, Optional

from ..common.shell import read

# A limit above this is the kernel's way to say that there is none.
NO_LIMIT = 1 << 60


class Mount(NamedTuple):
    """Where a hierarchy is mounted: the group that the mount shows as its root, and the folder."""

    version: int
    root: str
    folder: str


_FILES = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.oom_control"),
    2: ("memory.max", "memory.current", "memory.events"),
}


def memory(pid: int) -> dict[str, Any]:
    """``{limit, used, oom_kills}`` in bytes of the tightest group that a process is in; without ``limit`` where none
    limits it. ``oom_kills``: processes of its groups that the kernel killed for want of memory.
    """
    mounts = parse_mounts(read("/proc/self/mountinfo", 1 << 20))
    groups = parse_groups(read(f"/proc/{pid}/cgroup"))
    tightest: dict[str, Any] = {"oom_kills": 0}
    for mount in mounts:
        if mount.version not in groups:
            continue
        for folder in _folders(mount, groups[mount.version]):
            limit, used, kills = _group(folder, mount.version)
            tightest["oom_kills"] = max(tightest["oom_kills"], kills)
            if limit is not None and limit < tightest.get("limit", NO_LIMIT):
                tightest.update(limit=limit, used=used)
    return tightest


def parse_mounts(text: str) -> list[Mount]:
    """Hierarchies that hold memory limits, of /proc/PID/mountinfo."""
    found = []
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        words, kind = left.split(), right.split()
        if len(words) < 5 or len(kind) < 3:
            continue
        if kind[0] == "cgroup2":
            found.append(Mount(2, words[3], words[4]))
        elif kind[0] == "cgroup" and "memory" in kind[2].split(","):
            found.append(Mount(1, words[3], words[4]))
    return found


def parse_groups(text: str) -> dict[int, str]:
    """``{version: group}`` of /proc/PID/cgroup."""
    found = {}
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if number == "0" and not controllers:
            found[2] = group
        elif "memory" in controllers.split(","):
            found[1] = group
    return found


def _folders(mount: Mount, group: str) -> Iterator[str]:
    """The group's folder and those above it, up to the mount."""
    inside = os.path.relpath(group, mount.root) if group.startswith(mount.root) else group.strip("/")
    names = [name for name in inside.split("/") if name not in ("", ".", "..")]
    for depth in range(len(names), -1, -1):
        yield os.path.join(mount.folder, *names[:depth])


def _group(folder: str, version: int) -> tuple[Optional[int], int, int]:
    """(limit or None, bytes used, processes killed)."""
    limit, used, events = (read(os.path.join(folder, name)) for name in _FILES[version])
    kills = next((line.split()[1] for line in events.splitlines() if line.startswith("oom_kill ")), "0")
    bounded = int(limit) if limit.strip().isdigit() and int(limit) < NO_LIMIT else None
    return bounded, int(used) if used.strip().isdigit() else 0, int(kills) if kills.isdigit() else 0

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The host's own state: processor, memory, pressure, kernel settings, disks."""

from __future__ import annotations

import os
from typing import Any, Iterable, Optional

from .shell import read

# How long the two looks lie apart that rates are told from, in seconds.
SAMPLE_S = 0.3

KERNEL = {
    "overcommit_memory": "/proc/sys/vm/overcommit_memory",
    "somaxconn": "/proc/sys/net/core/somaxconn",
    "thp": "/sys/kernel/mm/transparent_hugepage/enabled",
}


def memory() -> dict[str, Any]:
    """Bytes: ``{total, available, swap_total, swap_free}``."""
    return parse_meminfo(read("/proc/meminfo"))


def parse_meminfo(text: str) -> dict[str, Any]:
    """The same from the text of /proc/meminfo."""
    names = {"MemTotal": "total", "MemAvailable": "available", "SwapTotal": "swap_total", "SwapFree": "swap_free"}
    found = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        words = value.split()
        if name in names and words and words[0].isdigit():
            found[names[name]] = int(words[0]) * 1024
    return found


def load() -> dict[str, Any]:
    """``{cores, one, five, fifteen}``: cores, and the load averages."""
    try:
        one, five, fifteen = os.getloadavg()
    except OSError:
        return {"cores": os.cpu_count()}
    return {"cores": os.cpu_count(), "one": round(one, 2), "five": round(five, 2), "fifteen": round(fifteen, 2)}


def pressure() -> dict[str, Any]:
    """Percent of the last 10 s that some task waited: ``{cpu, memory, io}``, without what the kernel lacks."""
    found = {name: parse_pressure(read(f"/proc/pressure/{name}")) for name in ("cpu", "memory", "io")}
    return {name: value for name, value in found.items() if value is not None}


def parse_pressure(text: str) -> Optional[float]:
    """avg10 of the line ``some`` of /proc/pressure/NAME."""
    for word in text.split():
        if word.startswith("avg10="):
            try:
                return float(word[6:])
            except ValueError:
                return None
    return None


def kernel() -> dict[str, str]:
    """Settings that Redis depends on, as the kernel spells them."""
    return {name: read(path).strip() for name, path in KERNEL.items() if read(path)}


def disks(paths: Iterable[str]) -> dict[str, Any]:
    """``{path: {free, total, inodes_free, inodes_total, read_only}}`` of the filesystems that hold some paths."""
    found = {path: _disk(path) for path in paths if path}
    return {path: disk for path, disk in found.items() if disk is not None}


def _disk(path: str) -> Optional[dict[str, Any]]:
    while not os.path.exists(path) and path not in ("/", ""):
        path = os.path.dirname(path)
    try:
        state = os.statvfs(path)
    except OSError:
        return None
    return {
        "free": state.f_bavail * state.f_frsize,
        "total": state.f_blocks * state.f_frsize,
        "inodes_free": state.f_favail,
        "inodes_total": state.f_files,
        "read_only": bool(state.f_flag & os.ST_RDONLY),
    }


def look(paths: Iterable[str]) -> dict[str, Any]:
    """All of it: ``{memory, load, pressure, kernel, disks}``."""
    return {"memory": memory(), "load": load(), "pressure": pressure(), "kernel": kernel(), "disks": disks(paths)}

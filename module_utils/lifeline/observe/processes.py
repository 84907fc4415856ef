# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Processes of the host's units, as the kernel sees them, and who holds the ports that they want."""

from __future__ import annotations

import os
import re
import time
from typing import Any, Iterable, Mapping, Optional

from ..common.shell import read
from ..common.values import number
from . import cgroup
from .sockets import listeners
from .system import SAMPLE_S

_STATUS = {"State": "state", "VmRSS": "rss_kb", "VmSwap": "swap_kb", "Threads": "threads", "THP_enabled": "thp"}
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def of_units(units: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """``{unit: {pid, state, still, waits_in, rss_kb, swap_kb, threads, thp, cpu_percent, files, files_limit,
    processes_limit, memory}}`` of the main processes that live. Takes ``SAMPLE_S``.

    ``state`` is the kernel's letter: R, S, D (waits for a device), T (stopped), Z; ``still``: the same letter and no
    processor time between two looks. ``waits_in``: the kernel's function, with state D. ``thp``: 1 where the kernel may
    give it huge pages. ``memory``: of its control group (``cgroup.memory``).
    """
    pids = {unit: number(state.get("pid")) for unit, state in units.items()}
    before = {unit: _stat(pid) for unit, pid in pids.items() if pid}
    started = time.monotonic()
    found = {unit: process for unit in before if (process := _process(pids[unit])) is not None}
    if found:
        time.sleep(max(0.0, started + SAMPLE_S - time.monotonic()))
    for unit, process in found.items():
        process.update(_moved(before[unit], _stat(pids[unit]), time.monotonic() - started))
    return found


def _process(pid: int) -> Optional[dict[str, Any]]:
    status = parse_status(read(f"/proc/{pid}/status"))
    if not status:
        return None
    limits = read(f"/proc/{pid}/limits")
    return {
        "pid": pid,
        **status,
        "waits_in": read(f"/proc/{pid}/wchan") if status.get("state") == "D" else "",
        "files": _open_files(pid),
        "files_limit": _limit(limits, "Max open files"),
        "processes_limit": _limit(limits, "Max processes"),
        "memory": cgroup.memory(pid),
    }


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


def _stat(pid: int) -> tuple[str, int]:
    """(state, ticks of processor time) of /proc/PID/stat. The name in it may hold spaces and brackets."""
    words = read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return (words[0], number(words[11]) + number(words[12])) if len(words) > 12 else ("", 0)


def _moved(before: tuple[str, int], after: tuple[str, int], seconds: float) -> dict[str, Any]:
    ticks = max(0, after[1] - before[1])
    return {
        "still": before[0] == after[0] and not ticks,
        "cpu_percent": round(100 * ticks / _TICKS_PER_S / max(seconds, 0.001), 1),
    }


def _open_files(pid: int) -> Optional[int]:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return None


def _limit(text: str, name: str) -> Optional[int]:
    match = re.search(rf"^{name}\s+(\d+)", text, re.MULTILINE)
    return int(match[1]) if match else None


def holders(ports: Iterable[int], units: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Who listens on some TCP ports though he is no main process of a unit: ``{port: {pid, command, unit}}``.

    ``command`` is the program's name without its arguments, which may hold secrets; ``unit`` the control group's last
    name, such as a unit of systemd.
    """
    sockets = {
        inode: port
        for family in ("tcp", "tcp6")
        for inode, port in parse_listeners(read(f"/proc/net/{family}", 1 << 20)).items()
        if port in set(ports)
    }
    expected = [number(state.get("pid")) for state in units.values()]
    ours = {inode for pid in expected if pid for inode in _socket_inodes(pid)}
    strange = {inode: port for inode, port in sockets.items() if inode not in ours}
    return {str(port): holder for port, holder in _owners(strange).items()} if strange else {}


def parse_listeners(text: str) -> dict[str, int]:
    """``{inode: port}`` of the sockets of /proc/net/tcp that listen."""
    return {inode: port for inode, (_, port) in listeners(text).items()}


def _owners(sockets: Mapping[str, int]) -> dict[int, dict[str, Any]]:
    """By port, whose sockets these are. A port whose owner cannot be told still shows that it is taken."""
    found: dict[int, dict[str, Any]] = {port: {"pid": 0, "command": "", "unit": ""} for port in sockets.values()}
    for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        for inode in _socket_inodes(pid) & set(sockets):
            group = read(f"/proc/{pid}/cgroup").strip().rpartition("/")[2]
            found[sockets[inode]] = {"pid": pid, "command": read(f"/proc/{pid}/comm").strip(), "unit": group}
    return found


def _socket_inodes(pid: int) -> set[str]:
    try:
        links = [os.readlink(entry.path) for entry in os.scandir(f"/proc/{pid}/fd")]
    except OSError:
        return set()
    return {link[8:-1] for link in links if link.startswith("socket:[")}

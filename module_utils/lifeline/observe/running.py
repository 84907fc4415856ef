# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Servers of the Redis family that run on a host, and who holds a port there: by /proc alone, without any login."""

from __future__ import annotations

import errno
import itertools
import os
import re
import time
from dataclasses import dataclass, field
from typing import Any, Iterator, Optional

from ..common.shell import read
from .sockets import Place, listeners, overlap

# How long, and at how many processes, one look may go on.
SECONDS = 1.0
MOST_PROCESSES = 20_000
MOST_FILES = 65_536

# A program that serves data, by its name. Debian's redis-server is a link to redis-check-rdb.
SERVER = re.compile(r"(redis|valkey|keydb)-server|redis-check-rdb|dragonfly|kvrocks")
SENTINEL = re.compile(r"(redis|valkey|keydb)-sentinel")

_SENTINEL_WORDS = ("--sentinel", "[sentinel]")
_GONE = (errno.ENOENT, errno.ESRCH)


@dataclass
class Process:
    """One process as the kernel shows it; ``ports``: those that it listens on, in its own network."""

    pid: int
    name: str
    exe: str
    unit: str
    arguments: list[str]
    parent: int
    folder: str
    ports: list[int] = field(default_factory=list)
    same_network: bool = True

    @property
    def sentinel(self) -> bool:
        """Whether it watches servers and holds no data."""
        words = [self.name, *self.arguments]
        return any(SENTINEL.fullmatch(os.path.basename(word)) or word in _SENTINEL_WORDS for word in words)


class Running:
    """One look at a host's processes. ``complete`` turns false where something could not be seen."""

    def __init__(self, root: str = "/", seconds: float = SECONDS) -> None:
        self.proc = os.path.join(root, "proc")
        self.complete = True
        self._end = time.monotonic() + seconds
        self._readable = False
        self.sockets = self._listeners()

    def _listeners(self) -> dict[str, Place]:
        """``{inode: (address, port)}`` of this network's sockets that listen."""
        found: dict[str, Place] = {}
        for family in ("tcp", "tcp6"):
            path = os.path.join(self.proc, "net", family)
            text = read(path, 4 << 20)
            self._readable = self._readable or bool(text)
            if not text and (family == "tcp" or os.path.exists(path)):
                self.complete = False
            found.update(listeners(text))
        return found

    def port(self, number: int, servers: list[Process], address: str = "*") -> dict[str, Any]:
        """``{number, state, pid, name, exe, unit}``: who holds a port on an address (any) of this host.

        ``unknown`` where the kernel does not say, or where a server in a container has the port in a network of its
        own: whether it is handed on from here cannot be told.
        """
        found = {"number": number, "state": "free", "pid": None, "name": "", "exe": "", "unit": ""}
        inodes = {inode for inode, (place, port) in self.sockets.items() if port == number and overlap(place, address)}
        apart = next((one for one in servers if not one.same_network and number in one.ports), None)
        if not inodes and apart is None:
            return {**found, "state": "free" if self._readable and self.complete else "unknown"}
        pid = self._owner(inodes, servers) if inodes else apart.pid if apart else None
        holder = self.process(pid) if pid else None
        if holder:
            found.update(pid=holder.pid, name=holder.name, exe=holder.exe, unit=holder.unit)
        return {**found, "state": "held" if inodes else "unknown"}

    def _owner(self, inodes: set[str], servers: list[Process]) -> Optional[int]:
        """The process that has one of these sockets; servers are asked first, since looking at all costs time."""
        likely = [one.pid for one in servers]
        for pid in [*likely, *(pid for pid in self._pids() if pid not in likely)]:
            if (self._inodes(pid) or set()) & inodes:
                return pid
        return None

    def servers(self) -> list[Process]:
        """Processes that serve data, the oldest first, without the children that write their snapshots."""
        found = {one.pid: one for pid in self._pids() if (one := self._server(pid)) is not None}
        return [one for one in found.values() if one.parent not in found]

    def _server(self, pid: int) -> Optional[Process]:
        names = (read(self._of(pid, "comm")).strip(), os.path.basename(self._link(pid, "exe")))
        one = self.process(pid) if any(SERVER.fullmatch(name) for name in names) else None
        if one is None or one.sentinel:
            return None
        own, ours = self._link(pid, "ns/net"), self._link("self", "ns/net")
        one.same_network = own == ours or not (own and ours)
        inodes = self._inodes(pid)
        if inodes is None:
            self.complete = False
        listening = self.sockets if one.same_network else self._sockets_of(pid)
        one.ports = sorted({port for inode, (_, port) in listening.items() if inode in (inodes or ())})
        return one

    def _sockets_of(self, pid: int) -> dict[str, Place]:
        texts = [read(self._of(pid, f"net/{family}"), 1 << 20) for family in ("tcp", "tcp6")]
        self.complete = self.complete and any(texts)
        return {inode: place for text in texts for inode, place in listeners(text).items()}

    def process(self, pid: int) -> Optional[Process]:
        """What the kernel says of one process; None when it is gone."""
        stat = read(self._of(pid, "stat"))
        if not stat:
            return None
        after = stat.rpartition(")")[2].split()
        return Process(
            pid=pid,
            name=read(self._of(pid, "comm")).strip(),
            exe=self._link(pid, "exe"),
            unit=unit_of(read(self._of(pid, "cgroup"))),
            arguments=[word for word in re.split(r"[\0 ]+", read(self._of(pid, "cmdline"))) if word],
            parent=int(after[1]) if len(after) > 1 and after[1].isdigit() else 0,
            folder=self._link(pid, "cwd"),
        )

    def _pids(self) -> Iterator[int]:
        try:
            pids = sorted(int(name) for name in os.listdir(self.proc) if name.isdigit())
        except OSError:
            pids = []
        # A kernel that hides other people's processes hides the first one too.
        if 1 not in pids or len(pids) > MOST_PROCESSES:
            self.complete = False
        for pid in pids[:MOST_PROCESSES]:
            if time.monotonic() > self._end:
                self.complete = False
                return
            yield pid

    def _inodes(self, pid: int) -> Optional[set[str]]:
        """The sockets that a process has open; None where it is hidden. One that has ended has none."""
        found: set[str] = set()
        try:
            with os.scandir(self._of(pid, "fd")) as entries:
                for entry in itertools.islice(entries, MOST_FILES):
                    link = self._link(pid, f"fd/{entry.name}")
                    if link.startswith("socket:["):
                        found.add(link[8:-1])
        except OSError as error:
            return found if error.errno in _GONE else None
        return found

    def _link(self, pid: object, name: str) -> str:
        try:
            return os.readlink(self._of(pid, name)).removesuffix(" (deleted)")
        except OSError:
            return ""

    def _of(self, pid: object, name: str) -> str:
        return os.path.join(self.proc, str(pid), name)


def unit_of(cgroup: str) -> str:
    """The systemd service that a process belongs to, by /proc/PID/cgroup; empty when it is none's.

    The last one of the path: a container that a service started has groups of its own below it. A user's whole
    session is no service.
    """
    names = re.findall(r"/([^/\n]+\.service)(?=/|$)", cgroup, re.MULTILINE)
    return "" if not names or names[-1].startswith("user@") else str(names[-1])

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What several families of causes ask of a server: is it down, and which log lines still count."""

from __future__ import annotations

from typing import Optional

from ..common.facts import Facts
from .case import Server

# A start that fails is logged this long before systemd gives the unit its last state, in seconds.
LAST_ATTEMPT_S = 30.0

# A server that systemd started again was dead this long at most before, in seconds.
RESTART_S = 120.0

MIB = 1 << 20


def down(server: Server) -> bool:
    """Its process does not run, nobody stopped it on purpose, and nothing answers in its place."""
    return server.node.unit_down and not server.node.stopped_on_purpose and not server.alive


def last_words(server: Server, *patterns: str) -> Optional[Facts]:
    """The first of some groups of log lines that belongs to the last attempt to start, or to the last death, of a
    server that is down. Older lines tell of troubles that may be over, as do those from before it last served."""
    ready = server.logged("ready")
    served, since = ready.number("last") if ready else 0, server.unit.number("since") - LAST_ATTEMPT_S
    for pattern in patterns:
        found = server.logged(pattern)
        if found is not None and found.number("last") >= since and found.number("last") > served:
            return found
    return None


def started_at(server: Server) -> float:
    """When a live server started, in seconds since 1970 by its own host's clock; 0 where that is not known."""
    return server.clock - server.view.number("uptime_s") if server.clock else 0


def end_of_life(server: Server, *patterns: str) -> Optional[Facts]:
    """Log lines about the end of the process: of one that is down, or of the one before that systemd has replaced.

    A person who starts the unit, or who runs ``systemctl reset-failed``, has taken notice: then it is history.
    """
    if down(server):
        return last_words(server, *patterns)
    if not server.alive or not server.unit.count("restarts"):
        return None
    start = started_at(server)
    for pattern in patterns:
        found = server.logged(pattern)
        if found is not None and start - RESTART_S <= found.number("last") <= start + LAST_ATTEMPT_S:
            return found
    return None


def sample(server: Server, found: Optional[Facts], source: str = "log") -> list[str]:
    """The newest line of a group, as evidence."""
    return [f"{server.name} {source}: {found.text('sample')}"] if found else []


def samples(server: Server, *patterns: str) -> list[str]:
    """The newest lines of several groups, as evidence."""
    return [line for pattern in patterns for line in sample(server, last_words(server, pattern))]


def size(number: float) -> str:
    """Bytes as a person reads them."""
    for unit in ("bytes", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.0f} bytes" if unit == "bytes" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} GiB"


def data_folder(server: Server) -> str:
    """Where its data lies."""
    return server.files.text("dir") or server.deep.text("config.dir")


def data_disk(server: Server) -> Facts:
    """The filesystem of its data; empty where its host did not say."""
    return server.host.section("system").sub("disks", data_folder(server)) if server.host else Facts({})


def saving_fails(server: Server) -> list[str]:
    """What a live server says of its failed writes to disk, as evidence; nothing where all is well."""
    if not server.alive:
        return []
    info = server.deep.sub("info")
    said = [
        ("aof_last_write_status", "err" if not server.view.flag("aof_ok", True) else "ok"),
        ("rdb_last_bgsave_status", "err" if not server.view.flag("rdb_ok", True) else "ok"),
        ("aof_last_bgrewrite_status", info.text("aof_last_bgrewrite_status", "ok")),
    ]
    return [f"{server.name}: {name}:{state}" for name, state in said if state == "err"]

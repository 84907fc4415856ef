# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A server's clients: who they are, what they asked that took long, and why a server hangs up on them."""

from __future__ import annotations

import socket as sockets
from contextlib import closing
from typing import Any, Mapping

from ..common.client import reason
from ..common.values import number

# Groups of clients that are named.
SHOWN = 8
# Seconds that a server has to say why it hangs up.
GREETING_S = 0.2


def greeting(socket: str) -> str:
    """Why a server hangs up before it was asked anything; empty when it does not."""
    try:
        with closing(sockets.socket(sockets.AF_UNIX)) as channel:
            channel.settimeout(GREETING_S)
            channel.connect(socket)
            said = channel.recv(200).decode("utf-8", "replace").strip()
    except OSError:
        return ""
    return reason(RuntimeError(said.lstrip("-"))) if said else ""


def holders(reply: Any) -> list[dict[str, Any]]:
    """CLIENT LIST by who: ``[{address, user, name, count, idle_s}]``, the most first; ``idle_s`` is the longest."""
    rows = reply if isinstance(reply, (list, tuple)) else [words(line) for line in str(reply).splitlines()]
    groups: dict[tuple[str, str, str], list[int]] = {}
    for row in rows:
        if isinstance(row, Mapping) and row.get("addr"):
            address = str(row["addr"]).rpartition(":")[0]
            key = (address, str(row.get("user", ""))[:100], str(row.get("name", ""))[:40])
            groups.setdefault(key, []).append(number(row.get("idle")))
    most = sorted(groups.items(), key=lambda item: -len(item[1]))[:SHOWN]
    return [
        {"address": address, "user": user, "name": name, "count": len(idle), "idle_s": max(idle)}
        for (address, user, name), idle in most
    ]


def words(line: str) -> dict[str, str]:
    """``name=value name=value`` as CLIENT LIST and ACL LOG write it."""
    return dict(word.partition("=")[::2] for word in line.split())


def slow_commands(reply: Any) -> list[dict[str, Any]]:
    """SLOWLOG GET: ``[{time, ms, command, address, name}]``; of a command the first word only: the rest is data."""
    found = []
    for row in reply if isinstance(reply, (list, tuple)) else ():
        entry = _slow(row)
        command = entry.get("command")
        first = command.split()[:1] if isinstance(command, str) else list(command or ())[:1]
        found.append(
            {
                "time": number(entry.get("start_time")),
                "ms": number(entry.get("duration")) / 1000,
                "command": str(first[0])[:30].upper() if first else "",
                "address": str(entry.get("client_address", ""))[:60],
                "name": str(entry.get("client_name", ""))[:40],
            }
        )
    return found


def _slow(row: Any) -> Mapping[str, Any]:
    if isinstance(row, Mapping):
        return row
    names = ("id", "start_time", "duration", "command", "client_address", "client_name")
    return dict(zip(names, row)) if isinstance(row, (list, tuple)) else {}

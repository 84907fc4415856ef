# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who is connected to the host's own server and where it listens, as the kernel has it: without asking the server."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ..common.shell import read
from .application_units import peer_address

# A table of 20,000 connections; a longer one is read this far.
TABLE_BYTES = 4 << 20
SHOWN = 8

_ESTABLISHED, _LISTEN = "01", "0A"


def look(port: int) -> dict[str, Any]:
    """``{total, by_address: {address: count}, listening: [address]}`` of a port of this host.

    ``total``: established connections; only the addresses with most of them are named.
    """
    return count("".join(read(f"/proc/net/{table}", TABLE_BYTES) for table in ("tcp", "tcp6")), port)


def count(text: str, port: int) -> dict[str, Any]:
    """The same from the text of /proc/net/tcp and tcp6."""
    mine = f"{port:04X}"
    peers: Counter[str] = Counter()
    listening: set[str] = set()
    for line in text.splitlines():
        fields = line.split()
        if len(fields) <= 3 or fields[1].rpartition(":")[2] != mine:
            continue
        if fields[3] == _ESTABLISHED:
            peers[fields[2].rpartition(":")[0]] += 1
        elif fields[3] == _LISTEN:
            listening.add(_address(fields[1].rpartition(":")[0]))
    shown = {_address(words): number for words, number in peers.most_common(SHOWN)}
    return {"total": sum(peers.values()), "by_address": shown, "listening": sorted(listening)[:SHOWN]}


def _address(words: str) -> str:
    try:
        return peer_address(words)
    except ValueError:
        return "unknown"

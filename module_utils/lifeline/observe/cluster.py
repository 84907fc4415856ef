# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A Redis Cluster as one of its nodes sees it."""

from __future__ import annotations

from typing import Any, Mapping, Optional

from ..common.values import number

SLOTS = 16384
# Slots on the move that are named; a resharding has one or a few open at a time.
OPEN_SHOWN = 20

_COUNTS = ("slots_assigned", "slots_ok", "slots_pfail", "slots_fail", "known_nodes", "size", "current_epoch")


def view(info: Any, nodes: Any) -> dict[str, Any]:
    """``{state, slots_assigned, slots_ok, slots_pfail, slots_fail, known_nodes, size, current_epoch, nodes, open}``.

    From the replies to CLUSTER INFO and CLUSTER NODES, as text or as redis-py parses them. ``nodes``: ``[{id, host,
    port, flags, primary, link, slots}]``, ``slots`` as a count and ``primary`` the id of a replica's. ``open``:
    ``[{slot, way, node}]``, ``way`` being migrating or importing, of the node that was asked.
    """
    words = _words(info)
    found: dict[str, Any] = {"state": words.get("cluster_state", "")}
    found.update({name: number(words.get(f"cluster_{name}")) for name in _COUNTS})
    lines = _lines(nodes)
    rows = [row for row in map(parse_node, lines) if row is not None]
    found["open"] = [entry for row in rows for entry in row.pop("open")][:OPEN_SHOWN]
    found["nodes"] = rows
    return found


def _words(info: Any) -> dict[str, str]:
    if isinstance(info, Mapping):
        return {str(name): str(value) for name, value in info.items()}
    pairs = (line.strip().partition(":") for line in str(info).splitlines())
    return {name: value for name, found, value in pairs if found}


def _lines(nodes: Any) -> list[str]:
    """redis-py makes a dict by address of the reply, of which the slots on the move come apart; so it is asked raw."""
    return nodes.splitlines() if isinstance(nodes, str) else []


def parse_node(line: str) -> Optional[dict[str, Any]]:
    """One line of CLUSTER NODES: ``id ip:port@bus[,name] flags primary ping pong epoch link slot ...``."""
    words = line.split()
    if len(words) < 8:
        return None
    host, _, port = words[1].partition("@")[0].rpartition(":")
    count = 0
    moving = []
    for word in words[8:]:
        if word.startswith("["):
            moving.append(_moving(word))
            continue
        first, _, last = word.partition("-")
        if first.isdigit() and (last or first).isdigit():
            count += int(last or first) - int(first) + 1
    return {
        "id": words[0],
        "host": host,
        "port": number(port),
        "flags": words[2].split(","),
        "primary": "" if words[3] == "-" else words[3],
        "link": words[7],
        "slots": count,
        "open": moving,
    }


def _moving(word: str) -> dict[str, Any]:
    """``[93-<-ID]`` is importing from ID, ``[93->-ID]`` migrating to it."""
    body = word.strip("[]")
    way = "importing" if "-<-" in body else "migrating"
    slot, _, node = body.partition("-<-" if way == "importing" else "->-")
    return {"slot": number(slot, -1), "way": way, "node": node}

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a playbook has to know before it moves a primary: whereto, whether its hosts allow it, and in which batches."""

from __future__ import annotations

import math
from typing import Any, Mapping, Optional, Sequence

from ..diagnose.survey import build
from ..diagnose.topology import AGREED, Node, Topology
from .candidates import candidates


def switch_plan(
    evidence: Sequence[Mapping[str, Any]],
    nodes: Sequence[Mapping[str, Any]],
    sentinels: Sequence[Mapping[str, Any]],
    service: str,
    wanted: str = "",
) -> dict[str, Any]:
    """``{old, target, refusals}`` by names, from all hosts' evidence. ``wanted`` is empty for any other node."""
    topology = build(evidence, nodes, sentinels, service)
    if topology.state != AGREED:
        return {"old": "", "target": "", "refusals": topology.reasons}
    target = wanted or next((node.name for node in candidates(topology)), "")
    if target not in topology.nodes:
        text = f"{target} is no server of this estate" if target else "no replica is fit to be primary"
        return {"old": topology.primary, "target": "", "refusals": [text]}
    moves = target != topology.primary
    refusals = host_refusals(topology, evidence, topology.nodes[target]) if moves else []
    return {"old": topology.primary, "target": target, "refusals": refusals}


def host_refusals(topology: Topology, evidence: Sequence[Mapping[str, Any]], target: Node) -> list[str]:
    """What the hosts themselves say against it: units that a person stopped (R8), disks without room (R13)."""
    found = [f"{node.name} was stopped by hand (R8)" for node in topology.nodes.values() if node.stopped_on_purpose]
    free: Optional[int] = target.files.get("free_bytes")
    used = int(target.view.get("used_memory") or 0)
    if free is not None and free < used:
        found.append(f"{target.name} has {free} bytes of disk free and holds {used} bytes of data (R13)")
    if target.name not in {str(entry.get("host")) for entry in evidence}:
        found.append(f"{target.name}: its host did not answer (R7)")
    return found


def batches(hosts: Sequence[str], sizes: Sequence[Any]) -> list[list[str]]:
    """Hosts in the order given, each in one batch. A size is how many there are in all by then: 1, or "25%".

    Whoever is left after the last size comes in a batch of their own.
    """
    found, done = [], 0
    for size in [*sizes, "100%"]:
        text = str(size).strip()
        count = math.ceil(len(hosts) * float(text[:-1]) / 100) if text.endswith("%") else int(text)
        upto = min(len(hosts), max(count, done))
        if upto > done:
            found.append(list(hosts[done:upto]))
            done = upto
    return found

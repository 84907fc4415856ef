# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An estate without a live primary: the smallest safe step that gives it one, or why there is none. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Mapping, Optional, Sequence

from ..diagnose.history import surplus_between
from ..diagnose.topology import AGREED, DISPUTED, MAX_OFFSET, Node, Topology, number
from .copies import NOBODY, Election, elect, would_load
from .steps import ACT, Accepted, Action, Plan, option, refuse, start_sentinel


def restore_primary(topology: Topology, accepted: Accepted, unfit: Mapping[str, str] = NOBODY) -> Plan:
    """No live primary: the smallest safe step that gives the estate one.

    ``unfit``: servers that do not load what is on their disk, and why.
    """
    old = topology.nodes.get(topology.last_primary or "")
    candidates = good_replicas(topology)
    objection = hands_off(topology, old)
    if objection:
        return refuse(objection)
    if candidates and candidates[0].name == topology.named and _nobody_leads(topology):
        return _lead_again(topology, candidates[0])
    if topology.sentinels and topology.majority and candidates:
        return _fail_over(topology, old, candidates, "sentinel")
    if _nobody_runs(topology):
        return _start_best(topology, accepted, unfit)
    if old is not None and _startable(old) and would_load(old, unfit):
        return _start_primary(old, f"its process is dead, its data is on disk ({_where(old)})")
    return _promote(topology, old, candidates, accepted)


def _nobody_leads(topology: Topology) -> bool:
    """Every server answers, and each follows another one of them, so that no link can ever be up."""
    return all(
        node.alive and node.role == "replica" and node.follows in topology.nodes and not node.link_up
        for node in topology.nodes.values()
    )


def _lead_again(topology: Topology, best: Node) -> Plan:
    """The primary came back as a replica of its own replica. Sentinel would promote another one, that has less."""
    actor = best.name if best.host_answered else next(n.name for n in topology.nodes.values() if n.host_answered)
    why = (
        f"every server follows another one; {best.name}, which the sentinels name, has the newest data (offset "
        f"{best.offset})"
    )
    args = {"mode": "replication", "old_primary": best.name, "confirmed_dead": False}
    return Plan(ACT, f"Make {best.name} the primary again.", actions=[Action("failover", actor, why, args)])


def _promote(topology: Topology, old: Optional[Node], candidates: Sequence[Node], accepted: Accepted) -> Plan:
    """The old primary does not come back and Sentinel cannot act: wake it, or go without it."""
    waking = _wake_sentinels(topology) if candidates else []
    if waking:
        return Plan(ACT, f"Start {len(waking)} sentinel(s), so that they can fail over.", actions=waking)
    if candidates and _all_copies_known(topology, old, accepted):
        return _fail_over(topology, old, candidates, "replication")
    return refuse(_no_way(topology, old, candidates))


def settle(topology: Topology, accepted: Accepted) -> Topology:
    """A dispute that a person has decided, by naming the servers whose writes may be lost; else as it was."""
    if topology.state != DISPUTED or len(topology.claims) < 2:
        return topology
    kept = [name for name in topology.claims if name not in accepted.hosts]
    if len(kept) != 1:
        return topology
    winner, losers = topology.nodes[kept[0]], [topology.nodes[name] for name in topology.claims if name != kept[0]]
    if not all(accepted.covers(node.name, surplus_between(winner.view, node.view)) for node in losers):
        return topology
    return replace(
        topology, state=AGREED, primary=winner.name, last_primary=winner.name, stale=[node.name for node in losers]
    )


def dispute(topology: Topology) -> str:
    """Why two servers that both take writes are left alone, what each holds, and how to decide it."""
    nodes = [topology.nodes[name] for name in topology.claims]
    lines = [
        f"{node.name} (offset {node.view.get('offset')}, {node.view.get('keys')} keys, "
        f"{len(node.view.get('replicas') or [])} replicas, history {str(node.view.get('replid'))[:8]})"
        for node in nodes
    ]
    text = (
        f"Estate {topology.service}: {'; '.join(topology.reasons)}. Nothing is changed, since choosing one drops the "
        f"other's writes: {' and '.join(lines)}. "
    )
    if len(nodes) != 2:
        return f"{text}Decide which one holds the truth, stop the others, then run recover.yml again."
    ways = [
        f"to go on with {kept.name}: {option([lost.name], surplus_between(kept.view, lost.view))}"
        for kept, lost in (nodes, reversed(nodes))
    ]
    return (
        f"{text}Decide which one holds the truth; the other's data is kept as a copy. Then run recover.yml again, "
        f"{'; '.join(ways)}."
    )


def foreign(topology: Topology) -> str:
    """The live primary is not one of ours: who it is, and what to do about it."""
    address = " and ".join(topology.foreign)
    return (
        f"Estate {topology.service} has its primary outside the inventory: {'; '.join(topology.reasons)}. Nothing was "
        f"changed, since a server promoted beside it would be a second primary. If {address} belongs to this estate, "
        "add it to the group of Redis servers in the inventory. If nobody knows it, treat it as an intruder that reads "
        "your data and may change it: keep a copy of a replica's data, find out who sent REPLICAOF (ACL LOG, the "
        "servers' logs), and decide by hand."
    )


def _nobody_runs(topology: Topology) -> bool:
    """Every server is proven dead, as far as hosts answer; what is still starting is not dead."""
    known = [node for node in topology.nodes.values() if node.host_answered]
    return bool(known) and all(node.dead for node in known)


def _start_best(topology: Topology, accepted: Accepted, unfit: Mapping[str, str]) -> Plan:
    """All are down: the best copy is told from the files, and only its server starts as a primary (N8, N9, N16)."""
    beyond = [address for address in _told_to_follow(topology) if address not in accepted.unmeasured]
    if beyond:
        return refuse(_no_way(topology, None, [], _beyond(beyond)))
    chosen: Election = elect(list(topology.nodes.values()), topology.last_primary, accepted, unfit)
    if chosen.winner is None:
        old = topology.nodes.get(topology.last_primary or "")
        return refuse(_no_way(topology, old, [], chosen.refusal))
    node = topology.nodes[chosen.winner.name]
    if not _startable(node):
        return refuse(_no_way(topology, node, [], f"the best copy is {chosen.winner}, {chosen.why}"))
    return _start_primary(node, f"no server runs; {chosen.winner} is {chosen.why}", chosen.loss)


def _wake_sentinels(topology: Topology) -> list[Action]:
    """Sentinels that died where their host answers; with a majority of them, Sentinel decides."""
    dead = [watcher for watcher in topology.sentinels.values() if watcher.startable]
    if (len(topology.watchers_alive) + len(dead)) * 2 <= len(topology.sentinels):
        return []
    return [start_sentinel(watcher) for watcher in dead]


def _told_to_follow(topology: Topology) -> list[str]:
    """Servers outside the inventory that a dead server's own configuration makes the primary."""
    known = {(node.host, str(node.port)) for node in topology.nodes.values()}
    told = [tuple(map(str, node.files.get("replicaof") or ())) for node in topology.nodes.values()]
    return sorted({":".join(pair) for pair in told if len(pair) == 2 and pair not in known})


def _beyond(addresses: Sequence[str]) -> str:
    return (
        f"{' and '.join(addresses)}, which is not in the inventory, may be the primary or hold newer data: add it to "
        f"the inventory, or go on without it: {option(addresses)}"
    )


def hands_off(topology: Topology, old: Optional[Node]) -> str:
    """Why nothing may be done about a missing primary right now; empty where something may.

    Nothing is promoted or started beside a server that lives and may be the primary. One that answers nobody while a
    replica hears from it may hang: that is for the sentinels to decide, who fail over only where most of them miss it.
    """
    watched = bool(topology.sentinels) and topology.majority
    if old is not None and old.lives and old.role == "unknown" and not (old.stuck and watched):
        return (
            f"{old.name}, the primary, is alive: {old.sign}. A failover would make a second primary, so nothing was "
            "changed. Do what the findings say, then run this again."
        )
    others = [node for node in topology.nodes.values() if node.lives and node.role == "unknown" and node is not old]
    if others and topology.named not in topology.nodes:
        said = " and ".join(f"{node.name} ({node.sign})" for node in others)
        return (
            f"{said} is alive and does not say whether it is the primary, so nothing was changed. Do what the findings "
            "say, then run this again."
        )
    if topology.majority and (len(topology.watchers_alive) - len(topology.tilted)) * 2 <= len(topology.sentinels):
        return (
            f"{' and '.join(topology.tilted)} are in TILT, so Sentinel has no majority that acts, and nothing is "
            "changed: wait 30 seconds, then run this again."
        )
    return ""


def good_replicas(topology: Topology) -> list[Node]:
    """Live replicas that may be promoted, most data first."""
    fit = [
        node
        for node in topology.nodes.values()
        if node.alive
        and node.role == "replica"
        and not node.view.get("loading")
        and _priority(node) != 0
        and node.offset < MAX_OFFSET
        and not (node.view.get("primary") or {}).get("syncing")
    ]
    return sorted(fit, key=lambda node: (-node.offset, _priority(node), node.name))


def _priority(node: Node) -> int:
    """replica-priority; Redis' own default where a server did not say."""
    value = node.view.get("priority")
    return value if isinstance(value, int) else 100


def _startable(node: Node) -> bool:
    """Its process is dead (not stopped by a person), its host answers, and what it would load is there."""
    return node.host_answered and node.dead and node.unit_down and not node.stopped_on_purpose and node.has_data


def _all_copies_known(topology: Topology, old: Optional[Node], accepted: Accepted) -> bool:
    """Every replica's offset is known, so the one with most data can be told (refusal R4 otherwise).

    With sentinels that have no majority, the missing ones may have made another primary where they are; so then
    everybody who does not answer has to be given up. An old primary that is not proven dead may still take writes.
    """
    given_up = accepted.unmeasured
    if not all(address in given_up for address in topology.strangers):
        return False
    if topology.sentinels:
        missing = [watcher.name for watcher in topology.sentinels.values() if not watcher.alive]
        missing += [node.name for node in topology.nodes.values() if not node.alive]
        return all(name in given_up for name in missing)
    return all(node.alive or node.name in given_up or (node is old and node.dead) for node in topology.nodes.values())


def _fail_over(topology: Topology, old: Optional[Node], candidates: Sequence[Node], mode: str) -> Plan:
    dead = bool(old and old.dead)
    actor = next((node.name for node in candidates if node.host_answered), candidates[0].name)
    name = old.name if old else " and ".join(topology.strangers) or "the old primary"
    state = "is dead" if dead else "does not answer"
    age = max((candidate.view.get("primary") or {}).get("last_io_s", -1) for candidate in candidates)
    why = f"{name} {state}; {candidates[0].name} has the most data (offset {candidates[0].offset})"
    action = Action(
        "failover",
        actor,
        why,
        {"mode": mode, "confirmed_dead": dead},
    )
    last_word = f" (last heard {age} s before)" if age >= 0 else ""
    loss = f"Writes that {name} accepted and had not sent to {candidates[0].name}{last_word} may be missing."
    return Plan(ACT, f"Fail over from {name} to {candidates[0].name}.", actions=[action], loss=loss)


def _start_primary(node: Node, why: str, loss: str = "") -> Plan:
    aof = bool(node.files.get("aof_configured"))
    args = {"elected": bool(node.files.get("replicaof"))}
    loss = loss if aof else f"{loss} Writes since the last snapshot of {node.name} are gone.".strip()
    summary = f"Start {node.name} as the primary, from its {_where(node)}."
    return Plan(ACT, summary, actions=[Action("start_primary", node.name, why, args)], loss=loss or None)


def _where(node: Node) -> str:
    return "append-only file" if node.files.get("aof_configured") else "last snapshot"


def _no_way(topology: Topology, old: Optional[Node], candidates: Sequence[Node], why: str = "") -> str:
    """Why nothing can be done, reason by reason, and the next step."""
    reasons = [*topology.reasons, *([why] if why else [])]
    if topology.sentinels and not topology.majority:
        reasons.append(
            f"only {len(topology.watchers_alive)} of {len(topology.sentinels)} sentinels answer, so none may fail over"
        )
    for node in topology.nodes.values():
        if old is not None and node.name == old.name:
            reasons.append(_why_not_startable(node))
        elif node.alive and node not in candidates:
            reasons.append(
                f"{node.name} is no candidate ({node.role}, loading={node.view.get('loading')}, "
                f"priority={node.view.get('priority')})"
            )
    if candidates:
        missing = [
            node.name
            for node in topology.nodes.values()
            if not node.alive and (topology.sentinels or node is not old or not node.dead)
        ]
        missing += list(topology.strangers)
        missing += [w.name for w in topology.sentinels.values() if not w.alive and w.name not in missing]
        reasons.append(
            f"newer data may be on {', '.join(missing)}; to give that up and promote {candidates[0].name}: "
            f"{option(missing)}"
        )
    reasons += [found for node in topology.nodes.values() if (found := _data_found(node))]
    return (
        f"Estate {topology.service} has no primary and no safe way to one: {'; '.join(reasons)}. "
        "Bring back one of the hosts named here, then run recover.yml again."
    )


def _data_found(node: Node) -> str:
    """Data of a server that Lifeline does not run: it is started by whatever started it before."""
    if not node.dead or not node.data or node.has_data:
        return ""
    rows = sorted(node.data, key=lambda row: (-number(row.get("size"), 0), str(row.get("path"))))[:3]
    said = ", ".join(f"{row.get('path')} ({number(row.get('size'), 0)} bytes)" for row in rows)
    return f"{node.name} holds data of a server that does not run ({said}): start it the way it was started before"


def _why_not_startable(node: Node) -> str:
    if not node.host_answered:
        return f"{node.name}, the last primary, is on a host that does not answer"
    if node.unit is not None and node.unit.get("load") == "not-found":
        return f"{node.name}, the last primary, has no unit {node.unit.get('name')}"
    if node.stopped_on_purpose:
        return (
            f"{node.name}, the last primary, was stopped by hand: start it, or disable this check by starting the unit"
        )
    if not node.has_data:
        return f"{node.name}, the last primary, has no data on disk to start from"
    if node.unit is None:
        return f"{node.name}, the last primary, has no systemd unit known to this inventory"
    return f"{node.name}, the last primary, is not proven dead: {node.sign} ({node.error})"

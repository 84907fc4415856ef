# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who may become primary, who may not and why, and what that could cost. Pure functions over a topology.

Each refusal is one sentence that ends in the number of the rule behind it (docs/switchover.md lists them).
"""

from __future__ import annotations

from typing import Any, Collection, Mapping, Optional, Sequence

from ..common.facts import version
from ..diagnose.topology import MAX_OFFSET, Node, Topology, Watcher
from .primary import good_replicas

# What a switchover adds to replica-priority of the nodes that are not to be chosen. Nobody's own priority is that high,
# so whoever finds one knows that a run was killed, and what the priority was before.
RAISED = 1_000_000

# A target that is further behind than this would make writers wait too long, in bytes.
MOST_LAG = 1024 * 1024

# What refusals end in that a healthy estate passes through by itself, after a failover or while it saves.
PASSING = ("(R6)", "(R7)", " yet (R9)")

# Below this there is no room for a pause that Sentinel does not take for an outage, in milliseconds.
LEAST_DOWN_AFTER_MS = 2000


def own_priority(value: int) -> int:
    """replica-priority as the operator set it."""
    return value % RAISED if value >= RAISED else value


def raised(topology: Topology) -> dict[str, int]:
    """Nodes whose replica-priority an unfinished run left raised, and what it was before."""
    found = {node.name: int(node.view.get("priority") or 0) for node in topology.nodes.values() if node.alive}
    return {name: own_priority(value) for name, value in found.items() if value >= RAISED}


def to_raise(topology: Topology, target: str) -> dict[str, int]:
    """The priorities that leave Sentinel no other choice than ``target``."""
    return {
        node.name: own_priority(_priority(node)) + RAISED
        for node in topology.nodes.values()
        if node.alive and node.role == "replica" and node.name != target and _priority(node) != 0
    }


def why_not(topology: Topology, node: Node) -> str:
    """Why a node cannot become primary, as a clause; empty when it can."""
    link = node.view.get("primary") or {}
    reasons = (
        (not node.alive, f"{node.name} does not answer ({node.error or 'not asked'})"),
        (node.alive and node.role != "replica", f"{node.name} is no replica"),
        (_priority(node) == 0, f"{node.name} has replica-priority 0"),
        (
            bool(node.view.get("loading")) or bool(link.get("syncing")),
            f"{node.name} is still loading its data (R6)",
        ),
        (node.offset >= MAX_OFFSET, f"{node.name} claims an offset of {node.offset}, which no server can have reached"),
        (_emptied(topology, node), f"{node.name} holds far fewer keys than another copy (R5)"),
    )
    return next((text for wrong, text in reasons if wrong), "")


def why_none(topology: Topology) -> str:
    """One clause a node: why it cannot be promoted."""
    others = [node for node in topology.nodes.values() if node.name != topology.last_primary]
    clauses = [why_not(topology, node) for node in others]
    return "; ".join(filter(None, clauses)) or "it has no replicas"


def candidates(topology: Topology) -> list[Node]:
    """Live replicas that may be promoted, most data first."""
    return [node for node in good_replicas(topology) if not why_not(topology, node)]


def loss_bytes(topology: Topology, candidate: Node) -> Optional[int]:
    """Bytes that another known copy of the same history has and the candidate has not; None when it cannot be told.

    What a dead primary took after its last word to any replica is in nobody's numbers; it is told in seconds.
    """
    most = candidate.offset
    for node in topology.nodes.values():
        if not node.alive or node.name == candidate.name or not node.view.get("keys") or node.offset >= MAX_OFFSET:
            continue
        if candidate.view.get("replid") not in (node.view.get("replid"), node.view.get("replid2")):
            return None
        most = max(most, node.offset)
    return most - candidate.offset


def silent_seconds(candidate: Node) -> int:
    """Seconds since the candidate last heard of its primary, 0 when it does not say."""
    return int((candidate.view.get("primary") or {}).get("link_down_s") or 0)


def unplanned_refusals(
    topology: Topology, best: Node, most_loss: int, force: bool, accepted: Collection[str], by_hand: bool
) -> list[str]:
    """Why ``best`` must not be promoted in place of a dead primary. ``by_hand``: without Sentinel."""
    found = []
    loss = loss_bytes(topology, best)
    if not force and loss is None:
        found.append(f"{best.name} and the other copies have no common history, so what is lost cannot be told (R3)")
    elif not force and loss is not None and loss > most_loss:
        found.append(
            f"{best.name} lacks {loss} bytes that another copy has, more than max_data_loss_bytes={most_loss} (R3)"
        )
    if by_hand:
        old = topology.last_primary
        unknown = [n.name for n in topology.nodes.values() if not n.alive and n.name != old and n.name not in accepted]
        unknown += [address for address in topology.strangers if address not in accepted]
        if unknown:
            found.append(
                f"A newer copy may be on {', '.join(unknown)}, which does not answer; bring it back, or name it in "
                "accept_unreachable if it is permanently lost (R4)"
            )
    return found


def living(topology: Topology) -> list[str]:
    """Servers that live and may be the primary: then nobody is promoted beside them (R7), whoever calls them dead."""
    old = topology.nodes.get(topology.last_primary or "")
    found = [f"{old.name} is alive: {old.sign} (R7)"] if old is not None and old.lives and old.role == "unknown" else []
    found += [
        f"{node.name} is alive and does not say whether it is the primary: {node.sign} (R7)"
        for node in topology.nodes.values()
        if node.lives and node.role == "unknown" and node is not old and topology.named not in topology.nodes
    ]
    return found


def unproven(topology: Topology, confirmed: bool, accepted: Collection[str]) -> list[str]:
    """Without Sentinel nobody else says that a primary is gone: that takes its own host's proof, or a person's word."""
    old = topology.nodes.get(topology.last_primary or "")
    if old is None or old.alive or old.dead or confirmed or old.name in accepted:
        return []
    ways = "bring it back, or name it in accept_unreachable if it is permanently lost"
    return [f"nothing proves that {old.name} is dead: {ways} (R7)"]


def planned_refusals(topology: Topology, target: Node, stable: float, extra: Mapping[str, Any]) -> list[str]:
    """Everything that stands against moving the primary of a healthy estate to ``target`` now.

    ``extra``: ``{busy: [what the primary writes to disk], links: {host:port of a replica: age of its link in s}}``.
    ``stable``: seconds for which the estate must have been whole.
    """
    primary = topology.nodes[str(topology.primary)]
    found = [why_not(topology, target)]
    found += _whole(topology, primary)
    found += _fit(primary, target)
    found += _watchers(topology)
    found += [f"{primary.name} is {what}" + " (R6)" for what in extra.get("busy", ())]
    if stable > 0:
        found += _stable(topology, stable, extra.get("links", {}))
    return [text for text in found if text]


def may_pass(refusals: Sequence[str]) -> bool:
    """Whether there are refusals, and each of them may be gone after a short wait."""
    return bool(refusals) and all(text.endswith(PASSING) for text in refusals)


def _whole(topology: Topology, primary: Node) -> list[str]:
    found = []
    for node in topology.nodes.values():
        if node.name in topology.stale:
            found.append(f"{node.name} says that it is primary too: run recover.yml first (R1)")
        elif not node.alive and str(node.error).startswith("auth"):
            found.append(f"{node.name} does not accept our login: {node.error} (R12)")
        elif not node.alive:
            found.append(f"{node.name} does not answer ({node.error or 'not asked'}): it may hold other data (R4)")
        elif node.name != primary.name and not (node.follows == primary.name and node.link_up):
            found.append(f"{node.name} does not follow {primary.name} with a link that is up (R7)")
    known = {(node.host, node.port) for node in topology.nodes.values()}
    strangers = [link for link in primary.view.get("replicas", ()) if (link["host"], link["port"]) not in known]
    found += [
        f"{primary.name} has a replica at {link['host']}:{link['port']} that the inventory does not know (R15)"
        for link in strangers
    ]
    return found


def _fit(primary: Node, target: Node) -> list[str]:
    found = []
    if version(target.view.get("version")) < version(primary.view.get("version")):
        found.append(
            f"{target.name} runs {target.view.get('version')}, older than {primary.view.get('version')} on "
            f"{primary.name}, whose data it may not read (R11)"
        )
    if target.view.get("flavour") != primary.view.get("flavour"):
        found.append(f"{target.name} is {target.view.get('flavour')}, {primary.name} is not (R11)")
    if target.view.get("replid") != primary.view.get("replid"):
        found.append(f"{target.name} does not share the history of {primary.name} (R3)")
    lag = primary.offset - target.offset
    if lag > MOST_LAG:
        found.append(f"{target.name} is {lag} bytes behind, more than {MOST_LAG}: try again when it has caught up (R3)")
    for node in (primary, target):
        if not (node.view.get("rdb_ok", True) and node.view.get("aof_ok", True)):
            found.append(f"{node.name} failed to write its data to disk: see its log (R13)")
    return found


def _watchers(topology: Topology) -> list[str]:
    """Every sentinel must answer, agree, see everybody and be able to fail over."""
    found = []
    replicas, others = len(topology.nodes) - 1, len(topology.sentinels) - 1
    for watcher in topology.sentinels.values():
        view = watcher.view
        if not watcher.alive or not view.get("known"):
            found.append(
                f"sentinel {watcher.name} does not answer for {topology.service} ({watcher.error or 'unknown'}) (R9)"
            )
            continue
        found += _watcher(watcher, topology, replicas, others)
    budget = down_after_ms(topology)
    if topology.sentinels and not found and budget < LEAST_DOWN_AFTER_MS:
        found.append(
            f"down-after-milliseconds is {budget}, which leaves no room for a pause: set it to "
            f"{LEAST_DOWN_AFTER_MS} at least"
        )
    return found


def _watcher(watcher: Watcher, topology: Topology, replicas: int, others: int) -> list[str]:
    view, name = watcher.view, watcher.name
    checks = (
        (bool(view.get("tilt")), f"sentinel {name} is in TILT: its clock jumped, wait 30 s (R6)"),
        (bool(view.get("failover")), f"sentinel {name} is failing over (R6)"),
        (bool(view.get("down")), f"sentinel {name} takes {topology.primary} for down (R7)"),
        (watcher.names != topology.primary, f"sentinel {name} names {watcher.names} as the primary (R7)"),
        (not view.get("quorum_ok"), f"sentinel {name}: {view.get('quorum_text')} (R9)"),
        (len(view.get("replicas", ())) < replicas, f"sentinel {name} does not see all replicas yet (R9)"),
        (int(view.get("sentinels", 0)) < others, f"sentinel {name} does not see all sentinels yet (R9)"),
    )
    return [text for wrong, text in checks if wrong]


def _stable(topology: Topology, seconds: float, links: Mapping[str, int]) -> list[str]:
    """Nothing may have started, or joined, more recently (R10)."""
    found = []
    for node in topology.nodes.values():
        ages = {"runs": int(node.view.get("uptime_s", 0))}
        if node.name != topology.primary:
            ages["follows its primary"] = links.get(f"{node.host}:{node.port}", 0)
        for what, age in ages.items():
            if age < seconds:
                found.append(f"{node.name} {what} for {age} s only, and {seconds:.0f} s are asked for (R10)")
                break
    return found


def down_after_ms(topology: Topology) -> int:
    """The shortest down-after of the sentinels, in milliseconds; 0 without sentinels."""
    return min((int(one.view.get("down_after_ms", 0)) for one in topology.watchers_alive), default=0)


def _priority(node: Node) -> int:
    value = node.view.get("priority")
    return value if isinstance(value, int) else 100


def _emptied(topology: Topology, node: Node) -> bool:
    """Less than half the keys of another live copy: it lost its data, or never had it.

    Not asked of a replica whose link is up: it has what its primary has, and counts are never taken at one moment.
    """
    if node.link_up:
        return False
    most = max((int(other.view.get("keys") or 0) for other in topology.nodes.values() if other.alive), default=0)
    return int(node.view.get("keys") or 0) * 2 < most

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From all hosts' evidence to one answer: who is the primary, according to whom, and do they agree.

Pure functions over plain data. The inventory says who takes part, never who is primary.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Collection, Mapping, Optional, Sequence

# A topology's state:
EMPTY = "empty"  # every host answered, no server runs and none has data: free to bootstrap
AGREED = "agreed"  # one live primary, and nobody whose word counts says otherwise
NO_PRIMARY = "no_primary"  # there is an estate, but no live node is a primary
CLUSTER = "cluster"  # a Redis Cluster: many primaries, as is right
DISPUTED = "disputed"  # several live primaries, or the sentinels' majority names another node
BLIND = "blind"  # no host could look

# Words of client.reason that a server says which is there.
_REFUSALS = ("auth", "noperm")
_CLOSED = (*_REFUSALS, "maxclients", "dropped", "tls")


@dataclass
class Node:
    """One data node as all vantage points together see it. Offsets are bytes of the replication stream."""

    name: str
    host: str
    port: int
    alive: bool = False
    seen_by: list[str] = field(default_factory=list)
    missed_by: list[str] = field(default_factory=list)
    error: Optional[str] = None
    host_answered: bool = False
    unit: Optional[dict[str, Any]] = None
    files: dict[str, Any] = field(default_factory=dict)
    view: dict[str, Any] = field(default_factory=dict)
    follows: Optional[str] = None
    link_up: bool = False
    managed: bool = False

    @property
    def role(self) -> str:
        """primary, replica or unknown."""
        return {"master": "primary", "slave": "replica"}.get(str(self.view.get("role")), "unknown")

    @property
    def unit_down(self) -> bool:
        """Its own host says that the process does not run."""
        return self.unit is not None and self.unit.get("pid", 0) == 0 and self.unit.get("active") != "active"

    @property
    def stopped_on_purpose(self) -> bool:
        """Stopped cleanly or masked: somebody may be working on it (fault F40)."""
        if self.unit is None or not self.unit_down:
            return False
        stopped = self.unit.get("active") == "inactive" and self.unit.get("result") == "success"
        return stopped or self.unit.get("load") == "masked"

    @property
    def closed(self) -> bool:
        """It runs and lets nobody in, for a reason that no failover mends: full, a login, a certificate."""
        return not self.alive and not self.unit_down and (self.error or "").partition(":")[0] in _CLOSED

    @property
    def has_data(self) -> bool:
        """Whether there is anything to load where its persistence looks first (faults F17, F20)."""
        if self.files.get("aof_configured"):
            aof = self.files.get("aof") or {}
            return bool(aof.get("manifest")) and aof.get("size", 0) > 0
        return bool((self.files.get("rdb") or {}).get("size", 0))

    @property
    def offset(self) -> int:
        return int(self.view.get("offset") or 0)


@dataclass
class Watcher:
    """One sentinel as all vantage points together see it."""

    name: str
    host: str
    port: int
    alive: bool = False
    error: Optional[str] = None
    host_answered: bool = False
    unit: Optional[dict[str, Any]] = None
    view: dict[str, Any] = field(default_factory=dict)
    names: Optional[str] = None

    @property
    def startable(self) -> bool:
        """Its process died (nobody stopped it), and its host answers."""
        unit = self.unit or {}
        return not self.alive and self.host_answered and unit.get("active") == "failed" and unit.get("pid", 0) == 0


@dataclass
class Topology:
    """The estate's answer. ``primary`` is the live one; ``last_primary`` who it was when there is none alive."""

    service: str
    state: str
    primary: Optional[str]
    last_primary: Optional[str]
    claims: list[str]
    stale: list[str]
    silent_hosts: list[str]
    reasons: list[str]
    nodes: dict[str, Node]
    sentinels: dict[str, Watcher]
    quorum: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Plain data for reports and for Ansible; it shares its parts with this."""
        return {
            **vars(self),
            "nodes": {name: dict(vars(node)) for name, node in self.nodes.items()},
            "sentinels": {name: dict(vars(watcher)) for name, watcher in self.sentinels.items()},
        }

    @property
    def endpoint(self) -> Optional[dict[str, Any]]:
        """``{name, host, port}`` of the live primary, or None."""
        if self.primary is None:
            return None
        node = self.nodes[self.primary]
        return {"name": node.name, "host": node.host, "port": node.port}

    @property
    def watchers_alive(self) -> list[Watcher]:
        return [watcher for watcher in self.sentinels.values() if watcher.alive and watcher.view.get("known")]

    @property
    def tilted(self) -> list[str]:
        """Sentinels in TILT: they answer, and act on nothing until their clocks are calm again (fault F36)."""
        return [watcher.name for watcher in self.watchers_alive if watcher.view.get("tilt")]

    @property
    def majority(self) -> bool:
        """Whether more than half of the configured sentinels are alive and know the service."""
        return len(self.watchers_alive) * 2 > len(self.sentinels)


def agreement(topology: Topology) -> str:
    """What there is to say of an estate that is well."""
    if topology.state == CLUSTER:
        return f"all {len([node for node in topology.nodes.values() if node.alive])} nodes of the cluster answer"
    return f"{topology.primary} is the primary, and everybody agrees"


def build(
    evidence: Sequence[Mapping[str, Any]],
    nodes: Sequence[Mapping[str, Any]],
    sentinels: Sequence[Mapping[str, Any]],
    service: str,
    quorum: int = 0,
    unasked: Collection[str] = (),
) -> Topology:
    """Merge the evidence of all hosts that answered.

    ``nodes`` and ``sentinels`` are the inventory's ``[{name, host, port}]``; a host of theirs without evidence is
    silent, unless it was left out (``unasked``). Evidence that is not of this service is ignored.
    """
    mine = {str(entry.get("host")): entry for entry in evidence if entry.get("service") == service}
    names = {_key(node["host"], node["port"]): str(node["name"]) for node in nodes}
    seen, watched = _views(mine, "nodes"), _views(mine, "sentinels")
    merged = {str(node["name"]): _node(node, mine, seen, names) for node in nodes}
    watchers = {str(peer["name"]): _watcher(peer, mine, watched, names) for peer in sentinels}
    expected = list(merged) + [name for name in watchers if name not in merged]
    topology = Topology(
        service=service,
        state=BLIND,
        primary=None,
        last_primary=None,
        claims=[name for name, node in merged.items() if node.alive and node.role == "primary"],
        stale=[],
        silent_hosts=[name for name in expected if name not in mine and name not in unasked],
        reasons=[],
        nodes=merged,
        sentinels=watchers,
        quorum=quorum,
    )
    _decide(topology, looked=any(entry.get("library") for entry in mine.values()), answered=bool(mine))
    return topology


def _key(host: Any, port: Any) -> tuple[str, int]:
    """An address that compares: IPv6 in one spelling, ports as numbers."""
    text = str(host).strip("[]")
    try:
        text = ipaddress.ip_address(text).compressed
    except ValueError:
        text = text.lower()
    try:
        return text, int(port)
    except (TypeError, ValueError):
        return text, 0


# Evidence by host; and by server or sentinel, what each host sees of it, its own host first.
Evidence = Mapping[str, Mapping[str, Any]]
Views = Mapping[str, Sequence[tuple[str, Mapping[str, Any]]]]


def _views(evidence: Evidence, kind: str) -> Views:
    views: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    for host, entry in evidence.items():
        for name, view in (entry.get(kind) or {}).items():
            if view is not None:
                views.setdefault(name, []).insert(0 if host == name else len(evidence), (host, view))
    return views


def _node(node: Mapping[str, Any], evidence: Evidence, views: Views, names: Mapping[Any, str]) -> Node:
    name = str(node["name"])
    merged = Node(name=name, host=str(node["host"]), port=int(node["port"]))
    own = evidence.get(name)
    if own is not None:
        merged.host_answered = True
        merged.managed = own.get("managed") is True
        merged.unit = _unit(own, "server")
        merged.files = dict(own.get("files") or {})
    for host, view in views.get(name, ()):
        (merged.seen_by if view.get("reachable") else merged.missed_by).append(host)
        if view.get("reachable") and not merged.alive:
            merged.alive, merged.view, merged.error = True, dict(view), None
        elif not merged.alive and merged.error is None:
            merged.error = view.get("error")
    primary = merged.view.get("primary")
    if primary:
        merged.follows = names.get(
            _key(primary.get("host"), primary.get("port")), f"{primary.get('host')}:{primary.get('port')}"
        )
        merged.link_up = bool(primary.get("link_up"))
    return merged


def _watcher(peer: Mapping[str, Any], evidence: Evidence, views: Views, names: Mapping[Any, str]) -> Watcher:
    name = str(peer["name"])
    merged = Watcher(name=name, host=str(peer["host"]), port=int(peer["port"]))
    own = evidence.get(name)
    if own is not None:
        merged.host_answered = True
        merged.unit = _unit(own, "sentinel")
    for _host, view in views.get(name, ()):
        if view.get("reachable"):
            merged.alive, merged.view, merged.error = True, dict(view), None
            break
        merged.error = merged.error or view.get("error")
    named = merged.view.get("primary")
    if named:
        merged.names = names.get(_key(named.get("host"), named.get("port")), f"{named.get('host')}:{named.get('port')}")
    return merged


def _unit(entry: Mapping[str, Any], kind: str) -> Optional[dict[str, Any]]:
    """The evidence keeps units under their systemd names; the sentinel's name tells it apart."""
    for unit, state in (entry.get("units") or {}).items():
        if ("sentinel" in unit) == (kind == "sentinel"):
            return {"name": unit, **state}
    return None


def _decide(topology: Topology, looked: bool, answered: bool) -> None:
    topology.last_primary = _last_primary(topology)
    if not answered or (not looked and _anything_installed(topology)):
        topology.reasons.append(
            "no host of the estate answered"
            if not answered
            else "no host of the estate has the Python library redis, so none could look"
        )
        return
    if any(node.view.get("cluster") for node in topology.nodes.values()):
        topology.state = CLUSTER
        return
    shut = [node for node in topology.nodes.values() if node.closed and str(node.error).startswith(_REFUSALS)]
    if shut and not topology.claims:
        said = ", ".join(f"{node.name} ({node.error})" for node in shut)
        topology.reasons.append(f"the login is refused by {said}, and nobody else is a primary")
        return
    if not topology.claims:
        _decide_without_claims(topology)
        return
    chosen = _choose(topology)
    if chosen is None:
        topology.state = DISPUTED
        topology.reasons.append(f"{' and '.join(topology.claims)} all say that they are the primary")
        return
    named = _named_by_majority(topology)
    if named is not None and named != chosen and not _superseded(topology, named, chosen):
        topology.state = DISPUTED
        topology.reasons.append(f"the sentinels' majority names {named}, but {chosen} is the live primary")
        return
    topology.state = AGREED
    topology.primary = topology.last_primary = chosen
    topology.stale = [name for name in topology.claims if name != chosen]


def _decide_without_claims(topology: Topology) -> None:
    untouched = not topology.silent_hosts and not any(
        node.alive or node.managed or node.has_data or (node.unit or {}).get("pid") for node in topology.nodes.values()
    )
    if untouched:
        topology.state = EMPTY
        return
    topology.state = NO_PRIMARY
    down = [f"{node.name} ({_why_down(node)})" for node in topology.nodes.values() if not node.alive]
    topology.reasons.append("no live node is a primary; down: " + (", ".join(down) or "none"))


def _why_down(node: Node) -> str:
    if not node.host_answered:
        return "host does not answer"
    if node.unit_down and node.unit:
        return f"unit {node.unit.get('active')}, result {node.unit.get('result')}"
    return node.error or "no answer"


def _anything_installed(topology: Topology) -> bool:
    return any(node.has_data or node.files for node in topology.nodes.values())


def _choose(topology: Topology) -> Optional[str]:
    """The one claim that counts: the only one, the only one that others vouch for, or the successor of all others."""
    if len(topology.claims) == 1:
        return topology.claims[0]
    backed = _backed(topology)
    if len(backed) == 1:
        return backed[0]
    heirs = _heirs(topology)
    return heirs[0] if len(heirs) == 1 and not backed else None


def _heirs(topology: Topology) -> list[str]:
    """Claims promoted out of the history that every other claim still writes (its replid2 is their replid)."""
    claims = [topology.nodes[name] for name in topology.claims]
    writing = Counter(node.view.get("replid") for node in claims)

    def succeeds(node: Node) -> bool:
        former = node.view.get("replid2")
        return bool(former) and writing[former] - (node.view.get("replid") == former) == len(claims) - 1

    return [node.name for node in claims if succeeds(node)]


def _backed(topology: Topology) -> list[str]:
    """Claims that others vouch for: the sentinels' majority, or (without its word) replicas that really follow."""
    named = _named_by_majority(topology)
    followed = {node.follows for node in topology.nodes.values() if node.link_up}
    return [name for name in topology.claims if (name == named if named is not None else name in followed)]


def _named_by_majority(topology: Topology) -> Optional[str]:
    votes: dict[str, int] = {}
    for watcher in topology.watchers_alive:
        if watcher.names:
            votes[watcher.names] = votes.get(watcher.names, 0) + 1
    for name, count in votes.items():
        if count * 2 > len(topology.sentinels):
            return name
    return None


def _superseded(topology: Topology, named: str, chosen: str) -> bool:
    """The sentinels still name a node that is dead, or that already follows the chosen one: they are behind, not right.

    A live replica that the sentinels hold for the primary never heals by itself (measured N11); it is mended by
    pointing the sentinels at the live primary, so it does not make the data's own answer doubtful.
    """
    node = topology.nodes.get(named)
    if node is None or not node.alive:
        return all(other.follows != named or not other.link_up for other in topology.nodes.values())
    return node.role == "replica" and node.follows == chosen


def _last_primary(topology: Topology) -> Optional[str]:
    """Who was primary: the sentinels' majority, else whom most replicas follow, else the node never told to follow."""
    named = _named_by_majority(topology)
    if named in topology.nodes:
        return named
    followed: dict[str, int] = {}
    for node in topology.nodes.values():
        if node.follows in topology.nodes:
            followed[str(node.follows)] = followed.get(str(node.follows), 0) + 1
    if followed:
        return max(sorted(followed), key=lambda name: followed[name])
    alone = [node.name for node in topology.nodes.values() if node.files and not node.files.get("replicaof")]
    return alone[0] if len(alone) == 1 else None

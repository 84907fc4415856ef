# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From all hosts' evidence to one answer: who is the primary, according to whom, and do they agree.

Pure functions over plain data. The inventory says who takes part, never who is primary.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from dataclasses import replace
from typing import Any, Collection, Mapping, Optional, Sequence

from ..common import ownership
from ..common.facts import Facts
from .liveness import PING_S, Signs, Traces, data, is_answer, judge, traces, void
from .topology import AGREED, BLIND, CLUSTER, DISPUTED, EMPTY, FOREIGN, NO_PRIMARY, Node, Topology, Watcher, number


def build(
    evidence: Sequence[Mapping[str, Any]],
    nodes: Sequence[Mapping[str, Any]],
    sentinels: Sequence[Mapping[str, Any]],
    service: str,
    quorum: int = 0,
    unasked: Collection[str] = (),
    proven: Collection[str] = (),
    witnesses: Optional[Collection[str]] = None,
) -> Topology:
    """Merge the evidence of all hosts that answered.

    ``nodes`` and ``sentinels`` are the inventory's ``[{name, host, port}]``; a host of theirs without evidence is
    silent, unless it was left out (``unasked``). Evidence that is not of this service is ignored. ``proven``: nodes
    that their own hosts have shown to be dead, to whoever looked before. ``witnesses``: the hosts that have a say about
    servers, all by default; of the others only what Lifeline made there counts.
    """
    asked = {str(entry.get("host")): entry for entry in evidence if entry.get("service") == service}
    mine = {host: entry for host, entry in asked.items() if witnesses is None or host in witnesses}
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
        claims=[],
        stale=[],
        silent_hosts=[name for name in expected if name not in mine and name not in unasked],
        reasons=[],
        nodes=merged,
        sentinels=watchers,
        quorum=quorum,
        owned={host: ownership.said(entry) for host, entry in asked.items()},
    )
    _judge(topology, mine, seen, proven)
    topology.claims = [name for name, node in merged.items() if node.takes_part_as_primary]
    topology.strangers = _strangers(topology)
    topology.last_primary = _last_primary(topology)
    _decide(topology, mine, expected)
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


def _called(address: Mapping[str, Any], names: Mapping[Any, str]) -> str:
    """The inventory's name of a server; ``host:port`` where it has none."""
    host, port = address.get("host"), address.get("port")
    return names.get(_key(host, port), f"{host}:{port}")


# What a host shows of a server that is dead.
PROVEN = Traces(looked=True, port="free")

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
        merged.data = [dict(row) for row in data(own)]
    for host, view in views.get(name, ()):
        (merged.seen_by if view.get("reachable") else merged.missed_by).append(host)
        if merged.error is None or is_answer(view.get("error")) > is_answer(merged.error):
            merged.error = view.get("error")
    believed = _believed([view for _host, view in views.get(name, ()) if view.get("reachable")])
    if believed is not None:
        merged.alive, merged.view, merged.error = True, dict(believed), None
    primary = merged.view.get("primary")
    if primary:
        merged.follows = _called(primary, names)
        merged.link_up = bool(primary.get("link_up"))
    return merged


def _believed(views: Sequence[Mapping[str, Any]]) -> Optional[Mapping[str, Any]]:
    """What a server says of itself, as most vantage points heard it, its own host first: no single host's lie about
    its own server counts against what all others have seen."""
    often = Counter(map(_told, views))
    return max(views, key=lambda view: often[_told(view)], default=None)


def _told(view: Mapping[str, Any]) -> tuple[str, str]:
    return str(view.get("role")), str((view.get("primary") or {}).get("host"))


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
        merged.names = _called(named, names)
    return merged


def _unit(entry: Mapping[str, Any], kind: str) -> Optional[dict[str, Any]]:
    """The evidence keeps units under their systemd names; the sentinel's name tells it apart."""
    for unit, state in (entry.get("units") or {}).items():
        if ("sentinel" in unit) == (kind == "sentinel"):
            return {"name": unit, **state}
    return None


def _judge(topology: Topology, evidence: Evidence, views: Views, proven: Collection[str]) -> None:
    """Whether each node lives. A word that the proof of the node's own host and most others contradict is dropped."""
    followers, missed = _followers(topology), _missed(topology)
    accepted = {name for name in _voted(topology) if topology.accepted(name)}
    for node in topology.nodes.values():
        following = [other for other in followers.get(node.name, ()) if other is not node]
        heard = [other.name for other in following if _hears(other, missed)]
        deaf = [other.name for other in following if other.name not in heard]
        signs = _signs(node, evidence.get(node.name), views.get(node.name, ()))
        signs = replace(signs, heard=heard, deaf=deaf, accepted=node.name in accepted)
        verdict = judge(replace(signs, traces=PROVEN) if node.name in proven else signs)
        node.liveness, node.sign = verdict.liveness, verdict.why
        node.refuses = verdict.answered and not node.alive and is_answer(node.error)
        if node.alive and not verdict.answered:
            node.alive, node.view, node.follows, node.link_up = False, {}, None, False


def _followers(topology: Topology) -> dict[str, list[Node]]:
    """By name or address, the live servers that follow it or try to."""
    found: dict[str, list[Node]] = {}
    for node in topology.nodes.values():
        if node.alive and node.role == "replica" and node.follows:
            found.setdefault(node.follows, []).append(node)
    return found


def _voted(topology: Topology) -> set[str]:
    return {watcher.names for watcher in topology.watchers_alive if watcher.names}


def _missed(topology: Topology) -> dict[str, Optional[int]]:
    """For whom most sentinels miss, how long they have, in milliseconds."""
    return {name: topology.missed_ms(name) for name in _voted(topology)}


def _signs(node: Node, own: Optional[Mapping[str, Any]], views: Sequence[tuple[str, Mapping[str, Any]]]) -> Signs:
    answered = {host: "" for host, view in views if view.get("reachable")}
    answered.update(
        {host: str(view["error"]) for host, view in views if host not in answered and is_answer(view.get("error"))}
    )
    if Facts(own or {}).flag("server.reachable"):
        answered.setdefault(node.name, "on its own host only")
    found = traces(own, node.port, node.unit or {}, str(node.files.get("config") or ""))
    found = replace(found, process=found.process or node.name in answered)
    return Signs(answered, [host for host, _view in views if host not in answered], traces=found)


def _hears(node: Node, missed: Mapping[str, Optional[int]]) -> bool:
    """Whether a replica's link is up and it has heard from its primary lately: since the sentinels miss that one, where
    they do. After a power cut a link counts as up for a minute."""
    since = missed.get(str(node.follows))
    limit = PING_S if since is None else min(PING_S, since / 1000 - 1)
    last = number((node.view.get("primary") or {}).get("last_io_s"))
    return node.link_up and 0 <= last <= limit


def _strangers(topology: Topology) -> dict[str, list[str]]:
    missed = _missed(topology)
    found = {
        address: [node.name for node in nodes if _hears(node, missed)]
        for address, nodes in _followers(topology).items()
        if address not in topology.nodes
    }
    named = topology.named
    if named and named not in topology.nodes:
        found.setdefault(named, []).extend(["most sentinels"] if topology.accepted(named) else [])
    return found


def _decide(topology: Topology, evidence: Evidence, expected: Sequence[str]) -> None:
    looked = any(entry.get("library") for entry in evidence.values())
    empty = all(void(evidence.get(name)) for name in expected) and not any(
        node.lives or node.has_data for node in topology.nodes.values()
    )
    if not evidence or not (looked or empty):
        topology.reasons.append(
            "no host of the estate answered"
            if not evidence
            else "no host of the estate has the Python library redis, so none could look"
        )
    elif any(node.view.get("cluster") for node in topology.nodes.values()):
        topology.state = CLUSTER
    elif topology.claims:
        _decide_between_claims(topology)
    elif topology.foreign:
        topology.state = FOREIGN
        topology.reasons.append(f"{_followed(topology)}, which is not in the inventory and answers")
    elif empty:
        topology.state = EMPTY
    else:
        _decide_without_claims(topology)


def _decide_between_claims(topology: Topology) -> None:
    chosen = _choose(topology)
    if chosen is None:
        topology.state = DISPUTED
        topology.reasons.append(_dispute(topology))
        return
    named = topology.named
    if named is not None and named != chosen and not _superseded(topology, named, chosen):
        topology.state = DISPUTED
        topology.reasons.append(f"the sentinels' majority names {named}, but {chosen} is the live primary")
        return
    topology.state = AGREED
    topology.primary = topology.last_primary = chosen
    topology.stale = [name for name in topology.claims if name != chosen]


def _decide_without_claims(topology: Topology) -> None:
    shut = [node for node in topology.nodes.values() if node.shut]
    # Where the sentinels know who the primary was, another one that lets nobody in is none.
    if shut and (topology.named is None or topology.named in {node.name for node in shut}):
        said = ", ".join(f"{node.name} ({node.error})" for node in shut)
        topology.reasons.append(f"the login is refused by {said}, and nobody else is a primary")
        return
    topology.state = NO_PRIMARY
    down = [f"{node.name} ({_why_down(node)})" for node in topology.nodes.values() if not node.alive]
    topology.reasons.append("no live node is a primary; down: " + (", ".join(down) or "none"))


def _followed(topology: Topology) -> str:
    """Who follows whom outside the inventory, as a clause."""
    clauses = []
    for address in topology.foreign:
        followers = [node.name for node in topology.nodes.values() if node.follows == address]
        verb = "follows" if len(followers) == 1 else "follow"
        clauses.append(f"{' and '.join(followers)} {verb} {address}" if followers else f"the sentinels name {address}")
    return " and ".join(clauses)


def _dispute(topology: Topology) -> str:
    if len(topology.claims) > 1:
        return f"{' and '.join(topology.claims)} all say that they are the primary, and nobody else vouches for one"
    return (
        f"{topology.claims[0]} says that it is the primary, but {_followed(topology)}, which is not in the inventory "
        "and answers"
    )


def _why_down(node: Node) -> str:
    if not node.host_answered:
        return "host does not answer"
    if node.unit_down and node.unit:
        return f"unit {node.unit.get('active')}, result {node.unit.get('result')}"
    return node.error or "no answer"


def _choose(topology: Topology) -> Optional[str]:
    """The one claim that counts: the only one, or the only one that others vouch for.

    Nobody becomes the primary by its own word, be it that it succeeds another (its replid2 is the other's history); and
    a live primary outside the inventory is another claim.
    """
    backed = _backed(topology)
    if len(topology.claims) == 1:
        return topology.claims[0] if backed == [topology.named] or not topology.foreign else None
    return backed[0] if len(backed) == 1 else None


def _backed(topology: Topology) -> list[str]:
    """Claims that others vouch for: the sentinels' majority, or (without its word) replicas that really follow."""
    named = topology.named
    followed = {node.follows for node in topology.nodes.values() if node.role == "replica" and node.link_up}
    return [name for name in topology.claims if (name == named if named is not None else name in followed)]


def _superseded(topology: Topology, named: str, chosen: str) -> bool:
    """The sentinels still name a node that is gone, or that already follows the chosen one: they are behind, not right.

    A live replica that the sentinels hold for the primary never heals by itself (measured N11); it is repaired by
    pointing the sentinels at the live primary, so it does not make the data's own answer doubtful.
    """
    node = topology.nodes.get(named)
    return node is None or not node.lives or (node.role == "replica" and node.follows == chosen)


def _last_primary(topology: Topology) -> Optional[str]:
    """Who was primary: the sentinels' majority, else whom most replicas follow, else the node never told to follow."""
    named = topology.named
    if named in topology.nodes:
        return named
    followed: dict[str, int] = {}
    for node in topology.nodes.values():
        if node.follows in topology.nodes:
            followed[str(node.follows)] = followed.get(str(node.follows), 0) + 1
    if followed:
        return max(sorted(followed), key=lambda name: followed[name])
    alone = [node.name for node in topology.nodes.values() if node.files and not node.files.get("replicaof")]
    return alone[0] if len(alone) == 1 and not topology.strangers else None

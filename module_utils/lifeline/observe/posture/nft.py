# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host's nftables rules do with a packet that comes in, told from ``nft -j list ruleset``.

Only what decides about new TCP connections is understood; a rule that matches on anything else makes the answer
``unknown`` unless it would accept what is refused anyway.
"""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass
from typing import Any, Mapping, Optional, Sequence, Union

ACCEPT, DROP, UNKNOWN = "accept", "drop", "unknown"
_DEEP = 16
_VERDICTS = {
    "accept": ACCEPT,
    "drop": DROP,
    "reject": DROP,
    "return": "return",
    "jump": "",
    "goto": "",
    **dict.fromkeys(("xt", "vmap", "queue", "tproxy", "redirect"), UNKNOWN),
}

Address = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]


@dataclass(frozen=True)
class Packet:
    """The first packet of a new TCP connection from another host."""

    source: Address
    port: int


class Ruleset:
    """The rules that look at packets for this host."""

    def __init__(self, listing: Sequence[Any]) -> None:
        self.bases: list[Mapping[str, Any]] = []
        self._rules: dict[tuple[str, str, str], list[Any]] = {}
        self._sets: dict[tuple[str, str, str], Any] = {}
        for entry in listing:
            if not isinstance(entry, Mapping):
                continue
            for kind, item in entry.items():
                if not isinstance(item, Mapping) or item.get("family") not in ("inet", "ip", "ip6"):
                    continue
                family, table = str(item.get("family")), str(item.get("table"))
                if kind == "chain" and item.get("hook") == "input":
                    self.bases.append(item)
                elif kind == "rule":
                    self._rules.setdefault((family, table, str(item.get("chain"))), []).append(item.get("expr") or [])
                elif kind == "set":
                    self._sets[(family, table, str(item.get("name")))] = item.get("elem", [])
        self.bases.sort(key=lambda chain: int(chain.get("prio") or 0))

    def verdict(self, packet: Packet) -> str:
        """accept, drop or unknown: a packet must pass every base chain of its family."""
        said = []
        for chain in self.bases:
            family = str(chain.get("family"))
            if family != "inet" and (family == "ip") != (packet.source.version == 4):
                continue
            said.append(self._chain((family, str(chain.get("table"))), str(chain.get("name")), packet, 0)
                        or str(chain.get("policy", ACCEPT)))  # fmt: skip
        if DROP in said:
            return DROP
        return UNKNOWN if UNKNOWN in said else ACCEPT

    def _chain(self, table: tuple[str, str], name: str, packet: Packet, depth: int) -> Optional[str]:
        """A verdict; None where the chain ends without one."""
        if depth > _DEEP:
            return UNKNOWN
        doubt = False
        for rule in self._rules.get((*table, name), ()):
            said, sure = self._rule(table, rule, packet, depth)
            if said == "return":
                return UNKNOWN if doubt or not sure else None
            if said is None:
                continue
            if not sure:
                doubt = doubt or said != DROP
                continue
            return UNKNOWN if doubt and said != ACCEPT else said
        return UNKNOWN if doubt else None

    def _rule(
        self, table: tuple[str, str], rule: Sequence[Any], packet: Packet, depth: int
    ) -> tuple[Optional[str], bool]:
        """(what it decides, whether it surely matches)."""
        sure = True
        for part in rule:
            if not isinstance(part, Mapping):
                continue
            if "match" in part:
                fits = self._match(table, part["match"], packet)
                if fits is False:
                    break
                sure = sure and fits is True
            elif "limit" in part:
                sure = False
            else:
                said = self._statement(table, part, packet, depth)
                if said is not None:
                    return said, sure and said != UNKNOWN
        return None, True

    def _statement(self, table: tuple[str, str], part: Mapping[str, Any], packet: Packet, depth: int) -> Optional[str]:
        """What a rule's statement decides; None for one that decides nothing."""
        word = next((word for word in _VERDICTS if word in part), None)
        if word in ("jump", "goto"):
            said = self._chain(table, str((part[word] or {}).get("target")), packet, depth + 1)
            return "return" if said is None and word == "goto" else said
        return _VERDICTS[word] if word else None

    def _match(self, table: tuple[str, str], match: Any, packet: Packet) -> Optional[bool]:
        """Whether it fits; None where that is not understood."""
        if not isinstance(match, Mapping):
            return None
        left, right, operator = match.get("left"), match.get("right"), match.get("op", "==")
        value = _value(left, packet)
        if value is None:
            return None
        if value is _NEVER:
            return False
        if value is _INTERFACE:
            # Another host's packets come in anywhere but on the loopback.
            return None if right != "lo" else operator == "!="
        fits = self._within(table, value, right)
        if fits is None:
            return None
        return not fits if operator == "!=" else fits

    def _within(self, table: tuple[str, str], value: Any, right: Any) -> Optional[bool]:
        if isinstance(right, str) and right.startswith("@"):
            named = self._sets.get((*table, right[1:]))
            return None if named is None else self._any(table, value, named)
        if isinstance(right, list):
            return self._any(table, value, right)
        if isinstance(right, Mapping):
            return self._compound(table, value, right)
        return bool(_plain(value) == right or str(_plain(value)) == str(right))

    def _compound(self, table: tuple[str, str], value: Any, right: Mapping[str, Any]) -> Optional[bool]:
        if "set" in right:
            return self._any(table, value, right["set"])
        if "prefix" in right:
            return _in_network(value, right["prefix"])
        if "range" in right:
            return _in_range(value, right["range"])
        return self._within(table, value, (right["elem"] or {}).get("val")) if "elem" in right else None

    def _any(self, table: tuple[str, str], value: Any, items: Any) -> Optional[bool]:
        answers = [self._within(table, value, item) for item in (items if isinstance(items, list) else [items])]
        return True if True in answers else None if None in answers else False


_NEVER = object()
_INTERFACE = object()


def _value(left: Any, packet: Packet) -> Any:
    """What the packet has there; None where the expression is not understood, ``_NEVER`` where it cannot fit."""
    if not isinstance(left, Mapping):
        return None
    payload, meta, state = left.get("payload"), left.get("meta"), left.get("ct")
    if isinstance(payload, Mapping):
        return _header(str(payload.get("protocol")), str(payload.get("field")), packet)
    if isinstance(meta, Mapping):
        six = packet.source.version == 6
        known = {"l4proto": "tcp", "nfproto": "ipv6" if six else "ipv4", "protocol": "ip6" if six else "ip",
                 "iifname": _INTERFACE, "iif": _INTERFACE}  # fmt: skip
        return known.get(str(meta.get("key")))
    return "new" if isinstance(state, Mapping) and state.get("key") == "state" else None


def _header(protocol: str, field: str, packet: Packet) -> Any:
    if (protocol, field) in (("tcp", "dport"), ("th", "dport")):
        return packet.port
    if field == "saddr" and protocol in ("ip", "ip6"):
        return packet.source if (protocol == "ip") == (packet.source.version == 4) else _NEVER
    return _NEVER if protocol in ("udp", "icmp", "icmpv6", "sctp", "dccp", "igmp") else None


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, (ipaddress.IPv4Address, ipaddress.IPv6Address)) else value


def _in_network(value: Any, prefix: Any) -> Optional[bool]:
    try:
        network = ipaddress.ip_network(f"{prefix['addr']}/{prefix['len']}", strict=False)
        return ipaddress.ip_address(str(value)) in network
    except (ValueError, KeyError, TypeError):
        return None


def _in_range(value: Any, bounds: Any) -> Optional[bool]:
    try:
        low, high = bounds
        if isinstance(value, int):
            return int(low) <= value <= int(high)
        mine, first, last = (ipaddress.ip_address(str(one)) for one in (value, low, high))
        return int(first) <= int(mine) <= int(last) if first.version == mine.version else False
    except (ValueError, TypeError):
        return None


def summary(text: str, ports: Sequence[int], members: Sequence[str], strangers: Sequence[str]) -> dict[str, Any]:
    """``{"readable": bool, "ports": {port: {"strangers": verdict, "members": {address: verdict}}}}``.

    ``text`` is nft's JSON; ``strangers`` are addresses that nobody of the estate has.
    """
    try:
        listing = json.loads(text)["nftables"]
        rules = Ruleset(listing)
    except (ValueError, KeyError, TypeError):
        return {"readable": False, "ports": {}}
    found: dict[str, Any] = {}
    for port in ports:
        outside = {rules.verdict(Packet(ipaddress.ip_address(one), port)) for one in strangers}
        worst = next((word for word in (ACCEPT, UNKNOWN, DROP) if word in outside), UNKNOWN)
        found[str(port)] = {"strangers": worst, "members": _members(rules, port, members)}
    return {"readable": True, "ports": found}


def _members(rules: Ruleset, port: int, members: Sequence[str]) -> dict[str, str]:
    found = {}
    for member in members:
        try:
            found[member] = rules.verdict(Packet(ipaddress.ip_address(member), port))
        except ValueError:
            continue
    return found

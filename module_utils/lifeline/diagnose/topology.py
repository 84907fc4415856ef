# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is known of an estate: its servers, its sentinels, who is the primary, and whether everybody agrees.

``survey.build`` makes it out of all hosts' evidence.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Optional

from .liveness import FRESH_MS, Liveness

# A topology's state:
EMPTY = "empty"  # every host looked everywhere: no server runs and nothing holds data, so that it is free to bootstrap
AGREED = "agreed"  # one live primary, and nobody whose word counts says otherwise
NO_PRIMARY = "no_primary"  # there is an estate, but no live node is a primary
FOREIGN = "foreign"  # the live primary is a server that the inventory does not have
CLUSTER = "cluster"  # a Redis Cluster: many primaries, as is right
DISPUTED = "disputed"  # several live primaries, or the sentinels' majority names another node
BLIND = "blind"  # no host could look

# Words of client.reason for a login that is not let in.
_REFUSALS = ("auth", "noperm")

# No server has sent that many bytes of replication stream: an offset beyond it is made up.
MAX_OFFSET = 1 << 53


@dataclass
class Node:
    """One data node as all vantage points together see it. Offsets are bytes of the replication stream.

    ``alive``: it let somebody in, so that its ``view`` is known. Whether it lives at all is in ``liveness`` and
    ``sign``, by ``liveness.judge``; ``refuses``: it answers and lets nobody in. ``data``: what lies on its disks.
    """

    name: str
    host: str
    port: int
    alive: bool = False
    liveness: Liveness = Liveness.UNKNOWN
    sign: str = ""
    refuses: bool = False
    data: list[dict[str, Any]] = field(default_factory=list)
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
    def takes_part_as_primary(self) -> bool:
        """Whether it says that it is one; a managed service may hide its role, and is then what its URL is for."""
        hidden = self.managed and self.role == "unknown" and self.view.get("mode") != "sentinel"
        return self.alive and (self.role == "primary" or hidden)

    @property
    def unit_down(self) -> bool:
        """Its unit does not run; one that is not there says nothing. Whether the server is dead: ``liveness``."""
        unit = self.unit or {}
        there = self.unit is not None and unit.get("load") != "not-found"
        return there and unit.get("pid", 0) == 0 and unit.get("active") != "active"

    @property
    def stopped_on_purpose(self) -> bool:
        """Stopped cleanly or masked: somebody may be working on it (fault F40)."""
        if self.unit is None or not self.unit_down:
            return False
        stopped = self.unit.get("active") == "inactive" and self.unit.get("result") == "success"
        return stopped or self.unit.get("load") == "masked"

    @property
    def lives(self) -> bool:
        """Whether it answers anybody, or is heard by anybody."""
        return self.liveness is Liveness.ALIVE

    @property
    def dead(self) -> bool:
        """Whether it is proven that it does not run."""
        return self.liveness.gone

    @property
    def stuck(self) -> bool:
        """It lives, and serves nobody: only others hear from it, or it answers BUSY for as long as a script runs. The
        sentinels see to that by themselves."""
        return self.lives and not self.alive and (not self.refuses or str(self.error).startswith("busy"))

    @property
    def shut(self) -> bool:
        """It refuses the login of whoever asks."""
        return self.refuses and str(self.error).partition(":")[0] in _REFUSALS

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
    """The estate's answer. ``primary`` is the live one; ``last_primary`` who it was when there is none alive.

    ``owned``: by host that answered, what Lifeline made there. ``strangers``: by address outside the inventory that
    replicas follow or the sentinels name, who hears from it.
    """

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
    strangers: dict[str, list[str]] = field(default_factory=dict)
    owned: dict[str, list[str]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for reports and for Ansible; it shares its parts with this."""
        return {
            **vars(self),
            "nodes": {name: {**vars(node), "liveness": node.liveness.value} for name, node in self.nodes.items()},
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

    @property
    def named(self) -> Optional[str]:
        """Whom more than half of the configured sentinels name as the primary."""
        names = [watcher.names for watcher in self.watchers_alive if watcher.names]
        return next((name for name in names if names.count(name) * 2 > len(self.sentinels)), None)

    def missed_ms(self, name: str) -> Optional[int]:
        """For how long most sentinels have missed a primary, in milliseconds; None where they do not."""
        views = [watcher.view for watcher in self.watchers_alive if watcher.names == name and watcher.view.get("down")]
        missed = [number(view.get("down_after_ms"), 0) + number(view.get("down_ms"), 0) for view in views]
        return min(missed) if len(missed) * 2 > len(self.sentinels) else None

    def accepted(self, name: str) -> bool:
        """Whether most live sentinels have just had an answer from a primary."""
        fresh = [
            watcher
            for watcher in self.watchers_alive
            if watcher.names == name
            and not watcher.view.get("down")
            and 0 <= number(watcher.view.get("last_ok_ms")) <= FRESH_MS
        ]
        return len(fresh) * 2 > len(self.watchers_alive)

    @property
    def foreign(self) -> list[str]:
        """Addresses outside the inventory that somebody hears from: a live primary that is not ours."""
        return [address for address, hearers in self.strangers.items() if hearers]


def number(value: Any, default: int = -1) -> int:
    """A number that a server said; the default where it said none."""
    return int(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else default


def agreement(topology: Topology) -> str:
    """What there is to say of an estate that is well."""
    if topology.state == CLUSTER:
        return f"all {len([node for node in topology.nodes.values() if node.alive])} nodes of the cluster answer"
    return f"{topology.primary} is the primary, and everybody agrees"

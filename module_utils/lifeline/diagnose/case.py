# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a cause looks at: all evidence of one estate, arranged by server, sentinel and host."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Iterable, Mapping, Optional, Sequence

from ..common.facts import Facts, clean_text
from . import survey
from . import topology as topologies

# For how long a refused login counts, in seconds: whoever tries again does so within a minute (RQ waits up to 60 s).
FRESH_S = 60.0


def word(error: str) -> str:
    """The first word of an error, by which ``client.reason`` tells what kind it is."""
    return error.partition(":")[0]


@dataclass
class Host:
    """One host's own evidence. ``observe.host`` says what its sections hold."""

    name: str
    facts: Facts

    def section(self, name: str) -> Facts:
        """One section; empty where it was not looked at."""
        return self.facts.sub(name)

    def logged(self, source: str, pattern: str) -> Optional[Facts]:
        """A group of log lines (``observe.logs``), or None. ``source``: server, sentinel, journal, ... or kernel."""
        group = self.facts.sub("logs", source, "groups", pattern)
        return group if group.count("count") > 0 else None

    def view_of(self, name: str) -> Facts:
        """What this host sees of a server; empty when it did not look."""
        return self.facts.sub("nodes", name)


@dataclass
class Server:
    """One data node: what all say of it together, and what its own host says."""

    name: str
    node: topologies.Node
    host: Optional[Host]

    @property
    def alive(self) -> bool:
        """Whether it answered anybody."""
        return self.node.alive

    @property
    def is_primary(self) -> bool:
        """Whether it says that it is a primary."""
        return self.node.role == "primary"

    @cached_property
    def view(self) -> Facts:
        """Its own words in brief, from whoever reached it (``observe.parse_info``)."""
        return Facts(self.node.view)

    @property
    def error(self) -> str:
        """Why it did not answer; the first word is one of ``client.reason``."""
        return str(self.node.error or "")

    @cached_property
    def deep(self) -> Facts:
        """What it told its own host in detail (``observe.server``); empty when it did not answer there."""
        return self.host.section("server") if self.host else Facts({})

    @cached_property
    def unit(self) -> Facts:
        """Its systemd unit; empty when its host did not answer."""
        return Facts(self.node.unit or {})

    @cached_property
    def process(self) -> Facts:
        """Its process as the kernel sees it; empty when there is none."""
        return self.host.facts.sub("processes", self.unit.text("name")) if self.host else Facts({})

    @cached_property
    def files(self) -> Facts:
        """What lies on its disk (``observe.files``)."""
        return Facts(self.node.files)

    @property
    def clock(self) -> float:
        """When its host was looked at, in seconds since 1970 by that host's clock; 0 where it gave no evidence."""
        return self.host.facts.number("time") if self.host else 0

    def logged(self, pattern: str) -> Optional[Facts]:
        """Lines of its log or of its unit's journal in the window looked at."""
        if self.host is None:
            return None
        return self.host.logged("server", pattern) or self.host.logged("journal", pattern)

    def log_line(self, pattern: str) -> list[str]:
        """The newest such line, as evidence; none where there is none."""
        return [f"{self.name} log: {found.text('sample')}"] if (found := self.logged(pattern)) else []


@dataclass
class Watcher:
    """One sentinel: what it says, and what its own host says."""

    name: str
    node: topologies.Watcher
    host: Optional[Host]

    @property
    def alive(self) -> bool:
        """Whether it answered anybody."""
        return self.node.alive

    @cached_property
    def view(self) -> Facts:
        """What it says of the estate (``observe.parse_sentinel``)."""
        return Facts(self.node.view)

    @property
    def error(self) -> str:
        """Why it did not answer."""
        return str(self.node.error or "")

    @cached_property
    def unit(self) -> Facts:
        """Its systemd unit; empty when its host did not answer."""
        return Facts(self.node.unit or {})

    def logged(self, pattern: str) -> Optional[Facts]:
        """Lines of its log or of the journal."""
        if self.host is None:
            return None
        return self.host.logged("sentinel", pattern) or self.host.logged("sentinel_journal", pattern)


@dataclass
class Case:
    """All that is known of one estate at one moment. Times are seconds since 1970 by each host's own clock."""

    service: str
    topology: topologies.Topology
    hosts: dict[str, Host]
    applications: list[str] = field(default_factory=list)
    unasked: frozenset[str] = frozenset()
    silent: Facts = field(default_factory=lambda: Facts({}))
    fresh_s: float = FRESH_S

    @classmethod
    def build(
        cls,
        evidence: Sequence[Mapping[str, Any]],
        nodes: Sequence[Mapping[str, Any]],
        sentinels: Sequence[Mapping[str, Any]],
        service: str,
        quorum: int = 0,
        applications: Sequence[str] = (),
        unasked: Iterable[str] = (),
        silent: Optional[Facts] = None,
    ) -> Case:
        """From evidence that ``evidence.clean`` has been through.

        ``applications``: names of application hosts. ``unasked``: hosts that nobody asked, so that their silence says
        nothing. ``silent``: by host, why it gave no evidence.
        """
        left_out = frozenset(unasked)
        mine = {str(entry["host"]): entry for entry in evidence if entry.get("service") == service}
        witnesses = {str(member["name"]) for member in (*nodes, *sentinels)}
        return cls(
            service=service,
            topology=survey.build(
                list(mine.values()), nodes, sentinels, service, quorum, left_out, witnesses=witnesses
            ),
            hosts={name: Host(name, Facts(entry)) for name, entry in mine.items()},
            applications=list(applications),
            unasked=left_out,
            silent=silent or Facts({}),
        )

    @cached_property
    def servers(self) -> list[Server]:
        """All data nodes, in the inventory's order."""
        return [Server(name, node, self.hosts.get(name)) for name, node in self.topology.nodes.items()]

    @cached_property
    def watchers(self) -> list[Watcher]:
        """All sentinels, in the inventory's order."""
        return [Watcher(name, node, self.hosts.get(name)) for name, node in self.topology.sentinels.items()]

    @property
    def primary(self) -> Optional[Server]:
        """The live primary that the others agree on."""
        return self.server(self.topology.primary)

    @property
    def last_primary(self) -> Optional[Server]:
        """The live primary, or who it was."""
        return self.server(self.topology.primary or self.topology.last_primary)

    def server(self, name: Optional[str]) -> Optional[Server]:
        """One data node by name."""
        return self._by_name.get(name or "")

    @cached_property
    def _by_name(self) -> dict[str, Server]:
        return {server.name: server for server in self.servers}

    def followers(self, name: str) -> list[Server]:
        """The live servers that follow one, or try to."""
        return self._followers.get(name, [])

    @cached_property
    def _followers(self) -> dict[str, list[Server]]:
        found: dict[str, list[Server]] = {}
        for server in self.servers:
            if server.alive and server.node.follows:
                found.setdefault(server.node.follows, []).append(server)
        return found

    def silence(self, name: str) -> str:
        """Why a host gave no evidence, as evidence."""
        why = self.silent.plain.get(name)
        reason = f" ({clean_text(why)[:160]})" if isinstance(why, str) and why else ""
        return f"{name}: the control node gets no answer from this host{reason}"

    @property
    def application_hosts(self) -> list[Host]:
        """Application hosts that answered."""
        return [self.hosts[name] for name in self.applications if name in self.hosts]

    @property
    def silent_applications(self) -> list[str]:
        """Application hosts that were asked and did not."""
        return [name for name in self.applications if name not in self.hosts and name not in self.unasked]

    @cached_property
    def jobs(self) -> tuple[str, Facts]:
        """(host that looked, what it saw) of RQ's queues (``observe.jobs``).

        The application's own look counts first, since it knows the database, then the primary's, then any server's.
        """
        primary = self.last_primary
        servers = [server.host for server in (primary, *self.servers) if server is not None and server.host is not None]
        for host in (*self.application_hosts, *servers):
            seen = host.section("jobs")
            if seen.flag("reachable"):
                return host.name, seen
        return "", Facts({})

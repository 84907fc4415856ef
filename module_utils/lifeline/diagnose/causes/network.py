# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What lies between the hosts: whoever sees a server while another does not has told where to look.

A server that answers its own host or a peer is not dead, whatever a third one sees.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import Iterator, Sequence

from ...common.facts import Facts
from .. import managed
from ..case import Case, Host, word
from .base import CERTAIN, CRITICAL, EVERYBODY, LIKELY, WARNING, Cause, Match
from .process import APPLICATIONS, SYMPTOMS, grade, reach

# Errors that come from the way to a server rather than from itself.
CUT = ("timeout", "unreachable", "refused")
# Connections with a packet lost, over all ways, that are no accident any more.
LOST = 2


@dataclass(frozen=True)
class Gap:
    """A viewer that does not reach a live target. ``kind``: nodes or sentinels."""

    viewer: str
    target: str
    kind: str
    error: str

    @property
    def line(self) -> str:
        """As evidence."""
        what = "the sentinel on " if self.kind == "sentinels" else ""
        return f"{self.viewer} does not reach {what}{self.target} ({self.error}); others do"


def _gaps(case: Case) -> list[Gap]:
    """Where two hosts disagree about a server or sentinel. Lost packets are another matter."""
    alive = {"nodes": {server.name for server in case.servers if server.alive or server.deep.flag("reachable")}}
    alive["sentinels"] = {watcher.name for watcher in case.watchers if watcher.alive}
    found = []
    for viewer, host in case.hosts.items():
        for kind, living in alive.items():
            for target, view in host.facts.named(kind):
                error = view.text("error")
                if target in living - {viewer} and not view.flag("reachable") and word(error) in CUT:
                    path = host.facts.sub("paths", f"{target} sentinel" if kind == "sentinels" else target)
                    if _closed(path):
                        found.append(Gap(viewer, target, kind, error))
    return found


def _closed(path: Facts) -> bool:
    """Whether nothing comes through to a port. The kernel answers at the other end, so a host that is merely busy, and
    too slow to talk to a server in time, is told apart."""
    return not path or path.count("answered") == 0 or path.count("refused") == path.count("tries")


def _members(case: Case) -> set[str]:
    return {server.name for server in case.servers} | {watcher.name for watcher in case.watchers}


def _isolated(case: Case, gaps: Sequence[Gap]) -> set[str]:
    """Hosts that are there and see nobody else, and that nobody else sees."""
    members = _members(case)
    present = members & set(case.hosts)
    alone = set()
    for name in present:
        others = present - {name}
        out = {gap.target for gap in gaps if gap.viewer == name}
        back = {gap.viewer for gap in gaps if gap.target == name}
        if len(others) > 1 and others <= out and others <= back:
            alone.add(name)
    # Where everybody is alone nobody is isolated from the rest.
    return alone if len(alone) < len(present) else set()


def _between(case: Case, kind: str) -> list[Gap]:
    """Gaps between members of the estate that no isolated host explains."""
    gaps = _gaps(case)
    members, alone = _members(case), _isolated(case, gaps)
    return [gap for gap in gaps if gap.kind == kind and gap.viewer in members and not {gap.viewer, gap.target} & alone]


def _blamed(gaps: Sequence[Gap]) -> list[tuple[str, list[Gap]]]:
    """Gaps by the host that most of them have in common; of a single gap that is the target."""
    left, found = list(gaps), []
    while left:
        shares = Counter(gap.target for gap in left)
        shares.update(gap.viewer for gap in left)
        most = max(shares.values())
        targets = [gap.target for gap in left]
        name = max(sorted(shares), key=lambda host: (shares[host] == most, targets.count(host)))
        found.append((name, [gap for gap in left if name in (gap.viewer, gap.target)]))
        left = [gap for gap in left if name not in (gap.viewer, gap.target)]
    return found


def _host_isolated(case: Case) -> Iterator[Match]:
    gaps = _gaps(case)
    for name in sorted(_isolated(case, gaps)):
        mine = [gap for gap in gaps if name in (gap.viewer, gap.target)]
        server = case.server(name)
        severity, affects = (grade(case, server), reach(case, server)) if server else (WARNING, ())
        lines = (f"{name} answers over SSH and sees only itself", *(gap.line for gap in mine[:4]))
        yield Match(name, lines, affects, severity)


def _clients(case: Case) -> Iterator[Match]:
    gaps = _gaps(case)
    for host in case.application_hosts:
        cut = [gap for gap in gaps if gap.viewer == host.name and gap.kind == "nodes"]
        if host.name not in _members(case) and cut:
            primary = case.last_primary
            worst = CRITICAL if primary is not None and any(gap.target == primary.name for gap in cut) else WARNING
            sentinels = [gap for gap in gaps if gap.viewer == host.name and gap.kind == "sentinels"]
            targets = {gap.target for gap in cut}
            beyond = tuple(sorted(targets)) if targets <= _isolated(case, gaps) else ()
            lines = tuple(gap.line for gap in (*cut, *sentinels)[:6])
            # The rule may be on either side.
            data = {"hosts": [host.name, *sorted(targets)]}
            yield Match(host.name, lines, (), worst, stems_from=beyond, data=data)


def _pairs(case: Case, kind: str) -> Iterator[Match]:
    for name, gaps in _blamed(_between(case, kind)):
        touched = {gap.viewer for gap in gaps} | {gap.target for gap in gaps}
        yield Match(name, tuple(gap.line for gap in gaps[:6]), tuple(sorted(touched)), data={"hosts": sorted(touched)})


def _packet_loss(case: Case) -> Iterator[Match]:
    ways: list[tuple[str, str, int, int]] = []
    for viewer, host in case.hosts.items():
        for target, path in host.facts.named("paths"):
            tries, answered = path.count("tries"), path.count("answered")
            if 0 < answered < tries:
                ways.append((viewer, target.partition(" ")[0], tries - answered, tries))
    if sum(lost for _viewer, _target, lost, _tries in ways) < LOST:
        return
    shares: Counter[str] = Counter()
    for viewer, target, lost, _tries in ways:
        shares.update({viewer: lost, target: lost})
    name = max(sorted(shares), key=lambda host: shares[host])
    lines = [
        f"{viewer} to {target}: {lost} of {tries} connections lost a packet" for viewer, target, lost, tries in ways
    ]
    lines += _flapping(case)
    touched = {member for way in ways for member in way[:2]}
    sure = CERTAIN if sum(lost for _viewer, _target, lost, _tries in ways) >= 2 * LOST else LIKELY
    yield Match(name, tuple(lines[:8]), tuple(sorted(touched)), sure=sure)


def _flapping(case: Case) -> list[str]:
    """What sentinels have logged of members that went and came back."""
    found = [(watcher, watcher.logged("sdown_over")) for watcher in case.watchers]
    return [
        f"{watcher.name}: its sentinel saw somebody come back {group.count('count')} times: {group.text('sample')}"
        for watcher, group in found
        if group
    ][:2]


def _names(case: Case) -> Iterator[Match]:
    for host in case.hosts.values():
        wrong = {name: row.text("error") for name, row in host.facts.named("names") if row.text("error")}
        if not wrong:
            continue
        used = host.section("application").text("host")
        lines = [f"{host.name} cannot resolve {name} ({error})" for name, error in wrong.items()]
        server = case.server(host.name)
        lines += server.log_line("unresolved") if server else []
        critical = used in wrong or (server is not None and server.node.managed)
        yield Match(host.name, tuple(lines[:5]), (EVERYBODY,) if critical else (), CRITICAL if critical else WARNING)


def _names_differ(case: Case) -> Iterator[Match]:
    seen: dict[str, dict[tuple[str, ...], list[str]]] = {}
    for host in case.hosts.values():
        for name, row in host.facts.named("names"):
            addresses = tuple(row.texts("addresses"))
            # A name may stand for its own host by a loopback address.
            if addresses and not any(address.startswith("127.") or address == "::1" for address in addresses):
                seen.setdefault(name, {}).setdefault(addresses, []).append(host.name)
    for name, answers in seen.items():
        if len(answers) > 1:
            lines = [f"{name} is {' and '.join(found)} on {', '.join(hosts)}" for found, hosts in answers.items()]
            yield Match(case.service, tuple(lines))


def _endpoint_down(case: Case) -> Iterator[Match]:
    for host in case.application_hosts:
        endpoint, used = host.section("endpoint"), host.section("application")
        if endpoint and endpoint.text("state.active") != "active" and used.maybe_flag("reachable") is False:
            state = endpoint.sub("state")
            line = (
                f"{host.name} {endpoint.text('unit')}: {state.text('active')}/{state.text('sub')}, "
                f"result {state.text('result')}, {state.text('enabled')}"
            )
            yield Match(host.name, (line, _refusal(host, used)))


def _refusal(host: Host, used: Facts) -> str:
    where = f"{used.text('host')}:{used.count('port')}"
    return f"{host.name}: the application's URL ({where}) does not answer ({used.text('error')})"


def _endpoint_blind(case: Case) -> Iterator[Match]:
    primary = case.primary
    for host in case.application_hosts:
        endpoint, used = host.section("endpoint"), host.section("application")
        if primary is None or endpoint.text("state.active") != "active" or used.maybe_flag("reachable") is not False:
            continue
        if host.view_of(primary.name).flag("reachable") and word(used.text("error")) in (*CUT, "dropped", "tls"):
            status = endpoint.sub("servers", "primaries").plain
            said = ", ".join(f"{name} {state}" for name, state in sorted(status.items())) or "nothing"
            line = f"{host.name}: {endpoint.text('unit')} runs and says of the servers: {said}"
            reached = f"{host.name} reaches the primary {primary.name} directly"
            yield Match(host.name, (line, reached, _refusal(host, used)))


def _managed(case: Case) -> Iterator[Match]:
    for server in case.servers:
        if server.node.managed and not server.alive and word(server.error) in (*CUT, "dropped", "error"):
            place = f"{server.node.host}:{server.node.port}"
            path = server.host.facts.sub("paths", server.name) if server.host else Facts({})
            took = "takes connections" if path.count("answered") else "takes no connection"
            lines = (f"{server.name} ({place}) does not answer the control node ({server.error})", f"its port {took}")
            yield Match(server.name, lines, (EVERYBODY,))


def _astray(case: Case) -> Iterator[Match]:
    for server in case.servers:
        where = managed.elsewhere(server.node) if server.node.managed else ""
        if where:
            yield Match(server.name, (f"{server.name}: {where}",), (EVERYBODY,))


CAUSES = (
    Cause(
        id="host_isolated",
        fault="F27",
        title="A host is cut off from all others",
        severity=WARNING,
        at_risk="If it was the primary: every write that it still takes, once another is promoted.",
        remedy=(
            "Repair the network or firewall of that host (nft list ruleset, ip link); when it is back, look again "
            "before anything is done: an old primary has to follow, its surplus kept as a copy first."
        ),
        avoid="Do not promote by hand on the side with fewer sentinels, and do not restart the host to get it back.",
        detect=_host_isolated,
        explains=(
            *SYMPTOMS,
            "clients_cut_off",
            "packet_loss",
            "sentinel_astray",
            "replica_astray",
            "no_quorum",
            "replica_lagging",
            "replica_stale",
        ),
    ),
    Cause(
        id="clients_cut_off",
        fault="F42",
        title="An application host cannot reach servers that are well",
        severity=WARNING,
        at_risk="Every request and job of that host.",
        remedy=(
            "Compare the firewalls on both sides with what is wanted (provision.yml writes the table again), then the "
            "network between."
        ),
        avoid="Do not fail over: the servers are well, and the next primary has the same rule.",
        detect=_clients,
        explains=APPLICATIONS,
        task="firewall",
    ),
    Cause(
        id="sentinel_cut_off",
        fault="F43",
        title="Sentinels cannot reach each other",
        severity=WARNING,
        at_risk="A failover: sentinels that do not hear each other agree on nothing.",
        remedy="Open the Sentinel port between the hosts: provision.yml writes the firewall's table again.",
        avoid="Do not run SENTINEL RESET: it forgets sentinels and replicas. Data and clients are not affected.",
        detect=partial(_pairs, kind="sentinels"),
        explains=("sentinel_silent", "no_quorum", "sentinel_blind"),
        task="firewall",
    ),
    Cause(
        id="peer_cut_off",
        fault="F43",
        title="A server is cut off from its peers",
        severity=WARNING,
        at_risk="Its copy of the data falls behind; Sentinel may take a live primary to be dead.",
        remedy="Open the Redis port between the hosts: provision.yml writes the firewall's table again.",
        avoid="Do not restart or fail over the server: it is well.",
        detect=partial(_pairs, kind="nodes"),
        explains=("replica_link_down", "server_silent", "clients_cut_off", "replica_lagging", "replica_stale"),
        task="firewall",
    ),
    Cause(
        id="packet_loss",
        fault="F44",
        title="Packets get lost between the hosts",
        severity=WARNING,
        at_risk="Each loss costs a second; Sentinel may fail over back and forth.",
        remedy=(
            "Repair the network (cable, driver, overloaded link, a rule that limits). Until then raise "
            "redis_sentinel_down_after_ms."
        ),
        avoid="Do not fail over for each gap: the next primary is behind the same network.",
        detect=_packet_loss,
        explains=(
            "replica_link_down",
            "replica_lagging",
            "server_silent",
            "sentinel_silent",
            "no_quorum",
            *APPLICATIONS,
        ),
    ),
    Cause(
        id="names_unresolved",
        fault="F45",
        title="A host cannot resolve a name that it needs",
        severity=WARNING,
        at_risk="Connections that are open go on; each new one fails, a replica's or an application's.",
        remedy=(
            "Repair the host's name service (/etc/resolv.conf, /etc/hosts), or give addresses: redis_address, the "
            "URL's host."
        ),
        avoid="Do not restart servers or sentinels now: with a name that does not resolve they do not start.",
        detect=_names,
        explains=(*SYMPTOMS, "endpoint_unreachable", *APPLICATIONS),
    ),
    Cause(
        id="names_differ",
        fault="F45",
        title="A name means different addresses on different hosts",
        severity=WARNING,
        at_risk="Some connect to a server that others do not mean.",
        remedy=(
            "Make the name servers agree (a changed record, a stale /etc/hosts), or give addresses instead of names."
        ),
        avoid="Do not mix names and addresses in one estate: Sentinel takes them for two servers.",
        detect=_names_differ,
    ),
    Cause(
        id="endpoint_down",
        fault="F42",
        title="The application's endpoint does not run",
        severity=CRITICAL,
        at_risk="Every request and job of that host; Redis is well.",
        remedy=(
            "Start it again: systemctl start redis-endpoint, or provision.yml. The journal of the unit says why it "
            "ended."
        ),
        avoid="Do not fail over or restart Redis.",
        detect=_endpoint_down,
        explains=APPLICATIONS,
        task="start_endpoint",
    ),
    Cause(
        id="endpoint_blind",
        fault="F42",
        title="The application's endpoint finds no primary, and there is one",
        severity=CRITICAL,
        at_risk="Every request and job of that host; Redis is well.",
        remedy=(
            "See why its checks fail: the observer's password, the CA or the addresses in its configuration are old. "
            "provision.yml writes it again."
        ),
        avoid=(
            "Do not fail over, and do not point applications at a server's address: after the next failover they write "
            "to a replica."
        ),
        detect=_endpoint_blind,
        explains=tuple(cause for cause in APPLICATIONS if cause != "endpoint_blind"),
        task="start_endpoint",
    ),
    Cause(
        id="url_astray",
        fault="F42",
        title="The URL does not lead to a primary",
        severity=CRITICAL,
        at_risk="Every write of whoever uses this URL.",
        remedy=(
            "Correct the URL, wherever it is used, so that it leads to the primary, or to a name that follows the "
            "primary through a failover."
        ),
        avoid="Do not promote the replica: its primary is in service for whoever knows the right address.",
        detect=_astray,
        explains=("server_silent", "no_primary", "replica_link_down", "application_cut_off"),
    ),
    Cause(
        id="endpoint_unreachable",
        fault="F42",
        title="The managed server does not answer",
        severity=CRITICAL,
        at_risk="Every request and job.",
        remedy=(
            "Look at the provider's status and at its list of allowed addresses; try the URL from an application host. "
            "The provider has to bring it back."
        ),
        avoid="Do not point the applications at a new, empty server before you know what becomes of the data.",
        detect=_managed,
        explains=("server_silent", "no_primary", "application_cut_off"),
    ),
)

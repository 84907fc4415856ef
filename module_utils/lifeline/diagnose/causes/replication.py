# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Primary and replicas: who follows whom, whether there are two of one kind, and whether the copies keep up."""

from __future__ import annotations

from typing import Iterator

from ...common.facts import Facts
from ..case import Case, Server
from ..history import surplus_between
from ..log_evidence import sample, size
from ..topology import DISPUTED, FOREIGN
from .base import CRITICAL, EVERYBODY, INFO, LIKELY, POSSIBLE, WARNING, Cause, Match
from .process import APPLICATIONS, reach

# A replica acknowledges every second; one that has not for this long lags. Redis' own default for min-replicas-max-lag.
LAG_S = 10


def claim_line(case: Case, name: str) -> str:
    """What a node that calls itself primary holds, as evidence."""
    view = case.topology.nodes[name].view
    return (
        f"{name}: role master, offset {view.get('offset')}, {view.get('keys')} keys, "
        f"{len(view.get('replicas') or [])} replicas, history {str(view.get('replid'))[:8]}"
    )


def _split_brain(case: Case) -> Iterator[Match]:
    nodes, claims = case.topology.nodes, case.topology.claims
    if case.topology.state == DISPUTED and len(claims) > 1:
        lines = [*case.topology.reasons, *(claim_line(case, name) for name in claims)]
        lines += [
            diverged
            for loser in claims
            for winner in claims
            if winner != loser and (diverged := _divergence(case, winner, loser))
        ]
        yield Match(case.service, tuple(lines), (EVERYBODY,))
    for name in case.topology.stale:
        winner = str(case.topology.primary)
        lost = surplus_between(nodes[winner].view, nodes[name].view)
        lines = [claim_line(case, name), claim_line(case, winner)]
        lines.append(
            f"how much {name} has that {winner} lacks cannot be told: their histories are not related"
            if lost is None
            else f"{name} has {lost} bytes of writes that {winner} lacks"
        )
        yield Match(name, tuple(lines), (EVERYBODY,), data={} if lost is None else {"lost_bytes": lost})


def _foreign(case: Case) -> Iterator[Match]:
    """Replicas hear from a primary that the inventory does not have. One astray beside an agreed primary is no such."""
    if case.topology.state not in (FOREIGN, DISPUTED):
        return
    for address in case.topology.foreign:
        followers = [server for server in case.servers if server.alive and server.node.follows == address]
        lines = [
            f"{server.name} follows {address}: link {'up' if server.node.link_up else 'down'}, last heard from it "
            f"{server.view.count('primary.last_io_s', -1)} s ago"
            for server in followers
        ]
        lines += [f"{w.name}: its sentinel names {address}" for w in case.watchers if w.node.names == address]
        yield Match(case.service, (*lines, f"{address} is not in the inventory"), (EVERYBODY,))


def _divergence(case: Case, winner: str, loser: str) -> str:
    """Bytes that would be lost, where the histories tell."""
    lost = surplus_between(case.topology.nodes[winner].view, case.topology.nodes[loser].view)
    return f"if {loser} follows {winner}, {lost} bytes of its writes are lost" if lost is not None else ""


def replicas(case: Case) -> list[Server]:
    """Live servers that say they are replicas."""
    return [server for server in case.servers if server.alive and server.node.role == "replica"]


def _astray(case: Case) -> Iterator[Match]:
    primary = case.topology.primary
    for server in replicas(case):
        if primary and server.node.follows != primary:
            line = f"{server.name} follows {server.node.follows or 'nobody'}, the primary is {primary}"
            yield Match(server.name, (line,))


def disconnected(case: Case) -> list[Server]:
    """Replicas that follow a live primary, and have no link to it."""
    primary = case.primary
    return [
        server
        for server in replicas(case)
        if primary is not None and server.node.follows == primary.name and not server.node.link_up
    ]


def link_line(server: Server) -> str:
    """How long a replica's link has been down, as evidence; Redis says -1 where it was never up."""
    seconds = server.view.count("primary.link_down_s")
    since = f"for {seconds} s" if seconds >= 0 else "since it started"
    return f"{server.name}: link to {server.node.follows} down {since}"


def _login_refused(case: Case) -> Iterator[Match]:
    for server in disconnected(case):
        found, linked = server.logged("replica_login"), server.logged("linked")
        over = linked is not None and found is not None and linked.number("last") > found.number("last")
        if found and found.count("recent") and not over:
            lines = [link_line(server), *sample(server, found)]
            primary = case.primary
            errors = primary.deep.sub("info", "errors") if primary else Facts({})
            lines += [
                f"{primary.name if primary else ''}: {errors.count(word)} logins or commands refused with {word}"
                for word in ("WRONGPASS", "NOAUTH", "NOPERM")
                if errors.count(word)
            ]
            hosts = [other.name for other in (primary, server) if other]
            yield Match(server.name, tuple(lines), data={"hosts": hosts})


def _buffer_loop(case: Case) -> Iterator[Match]:
    primary = case.primary
    if primary is None:
        return
    dropped, syncs = primary.logged("replica_buffer"), primary.logged("full_sync")
    if dropped is None or dropped.count("recent") < 2 or not _goes_on(case, primary, dropped):
        return
    copies = syncs.count("recent") if syncs else 0
    lines = [
        *sample(primary, dropped),
        f"{primary.name}: in the last minute {dropped.count('recent')} replicas dropped, {copies} full copies begun",
    ]
    config = primary.deep.sub("config")
    lines += [
        f"{primary.name}: {name} {config.text(name)}"
        for name in ("client-output-buffer-limit", "repl-backlog-size")
        if config.text(name)
    ]
    affects = tuple(server.name for server in case.servers if server is not primary)
    yield Match(primary.name, tuple(lines), affects)


def _goes_on(case: Case, server: Server, found: Facts) -> bool:
    """Whether lines of the last minute are younger than the last step that a recovery took against them."""
    return server.clock - found.number("last") <= case.fresh_s


def _full_sync_storm(case: Case) -> Iterator[Match]:
    """Full copies again and again, for another reason than the output buffer."""
    primary = case.primary
    syncs = primary.logged("full_sync") if primary else None
    if primary is None or syncs is None or not _goes_on(case, primary, syncs):
        return
    if syncs.count("recent") > 2 * max(1, len(case.servers) - 1):
        line = f"{primary.name}: {syncs.count('recent')} full copies begun in the last minute"
        affects = tuple(server.name for server in case.servers if server is not primary)
        yield Match(primary.name, (line, *sample(primary, syncs)), affects, sure=LIKELY)


def _copying(case: Case) -> Iterator[Match]:
    for server in disconnected(case):
        if server.view.flag("primary.syncing"):
            info = server.deep.sub("info")
            left = info.count("master_sync_left_bytes", -1)
            more = f", {size(left)} left" if left >= 0 else ""
            yield Match(server.name, (f"{server.name} copies all data of {server.node.follows}{more}",))


def _stale(case: Case) -> Iterator[Match]:
    for server in disconnected(case):
        serves = server.deep.text("config.replica-serve-stale-data")
        if serves not in ("yes", "no") or server.view.flag("primary.syncing"):
            continue
        what = "answers reads with old data" if serves == "yes" else "refuses reads with MASTERDOWN"
        line = f"{server.name}: replica-serve-stale-data {serves}, so it {what}"
        yield Match(server.name, (link_line(server), line), severity=INFO if serves == "yes" else None, sure=POSSIBLE)


def _lagging(case: Case) -> Iterator[Match]:
    primary = case.primary
    if primary is None:
        return
    end = primary.view.count("offset")
    names = {(server.node.host, server.node.port): server.name for server in case.servers}
    best: dict[str, Facts] = {}  # of one that has come back, the primary lists the dead link as well for a while
    for row in primary.view.rows("replicas"):
        name = names.get((row.text("host"), row.count("port")))
        if name and row.text("state") == "online":
            best[name] = min(best.get(name, row), row, key=lambda link: link.count("lag_s", -1))
    for name, row in best.items():
        lag = row.count("lag_s", -1)
        if lag >= LAG_S:
            behind = max(0, end - row.count("offset"))
            line = f"{primary.name}: {name} acknowledged nothing for {lag} s, and is {size(behind)} behind"
            yield Match(name, (line,), data={"behind_bytes": behind})


def _not_enough(case: Case) -> Iterator[Match]:
    primary = case.primary
    if primary is None:
        return
    config = primary.deep.sub("config")
    wanted, limit = config.count("min-replicas-to-write"), config.count("min-replicas-max-lag")
    good = primary.view.count("good_replicas", -1)
    if wanted and limit and 0 <= good < wanted:
        lines = [
            f"{primary.name}: {good} good replicas, min-replicas-to-write {wanted}, min-replicas-max-lag {limit} s",
            f"{primary.name}: writes are refused with NOREPLICAS",
        ]
        others, task = tuple(server.name for server in case.servers if server is not primary), None
        if wanted > len(others):
            lines.append(f"the estate has {len(others)} replicas, so {wanted} can never be there")
            task, others = "configure_server", ()
        yield Match(primary.name, tuple(lines), reach(case, primary), stems_from=others, task=task)


CAUSES = (
    Cause(
        id="split_brain",
        fault="F27",
        title="More than one primary",
        severity=CRITICAL,
        at_risk="Every write that the losing side accepted since the split.",
        remedy=(
            "Keep a copy of the losing side's data first (BGSAVE, then copy it away), then let it follow the other; "
            "hand the copy over for replay. recover.yml does both where it can tell who lost."
        ),
        avoid=(
            "Do not restart one of them and do not merge by hand: clients may still write to the side that is lost."
        ),
        detect=_split_brain,
        explains=("replica_astray", "sentinel_astray", "no_primary", "replica_link_down", *APPLICATIONS),
        task="follow",
    ),
    Cause(
        id="primary_foreign",
        fault="",
        title="The primary is a server that the inventory does not have",
        severity=CRITICAL,
        at_risk=(
            "All data, if it is an intruder's; nothing, if somebody added a server and not its line in the inventory."
        ),
        remedy=(
            "If it belongs to this estate, add it to the group of Redis servers in the inventory. If nobody knows it, "
            "take it for an intruder: keep a copy of a replica's data, see in ACL LOG and the servers' logs who sent "
            "REPLICAOF, and decide by hand which server holds the truth."
        ),
        avoid="Do not promote a server of the inventory beside it: two primaries diverge.",
        detect=_foreign,
        explains=("split_brain", "replica_astray", "sentinel_astray", "no_primary", *APPLICATIONS),
    ),
    Cause(
        id="replica_astray",
        fault="",
        title="A replica follows the wrong node",
        severity=WARNING,
        at_risk="This copy of the data falls behind, and cannot be promoted.",
        remedy="Let it follow the live primary (recover.yml).",
        avoid="Do not promote it: its data may be old.",
        detect=_astray,
        explains=("replica_link_down",),
        task="follow",
    ),
    Cause(
        id="replica_login_refused",
        fault="F29",
        title="The primary refuses the replica's login",
        severity=WARNING,
        at_risk="This copy of the data falls behind; its tight retries load the primary.",
        remedy=(
            "CONFIG SET masteruser and masterauth to the primary's replica user on all servers, then CONFIG REWRITE: "
            "provision.yml does it."
        ),
        avoid="Do not remove the password and do not open user default: every client could do everything.",
        detect=_login_refused,
        explains=("replica_link_down", "acl_refused"),
        task="renew_logins",
    ),
    Cause(
        id="replica_buffer_loop",
        fault="F28",
        title="The primary drops its replicas again and again: their output buffer is too small",
        severity=WARNING,
        at_risk="No replica keeps up, so none can be promoted; each new copy costs a fork and the network.",
        remedy=(
            "CONFIG SET client-output-buffer-limit for replicas above repl-backlog-size, and a larger backlog, on the "
            "live primary; slow the writer down until they have caught up."
        ),
        avoid="Do not restart the primary: all replicas copy everything again, and it may come back empty.",
        detect=_buffer_loop,
        explains=("replica_link_down", "replica_copying", "replica_lagging", "full_sync_storm"),
        task="configure_server",
    ),
    Cause(
        id="full_sync_storm",
        fault="F28",
        title="Replicas copy all data again and again",
        severity=WARNING,
        at_risk="No replica keeps up, so none can be promoted; each copy costs a fork and the network.",
        remedy=(
            "Look why the links break (network, repl-timeout, memory); raise repl-backlog-size; one replica at a time."
        ),
        avoid="Do not restart the primary: all replicas copy everything again, and it may come back empty.",
        detect=_full_sync_storm,
        explains=("replica_link_down", "replica_copying", "replica_lagging"),
        task="configure_server",
    ),
    Cause(
        id="replica_copying",
        fault="",
        title="A replica copies all data of its primary",
        severity=INFO,
        at_risk="One copy of the data less until it is done.",
        remedy="Wait until it is done.",
        avoid="Do not restart it or the primary: the copy would start from the beginning.",
        detect=_copying,
        explains=("replica_link_down", "not_enough_replicas"),
        task="await_copy",
        like="replica_link_down",
    ),
    Cause(
        id="not_enough_replicas",
        fault="F48",
        title="The primary refuses writes: too few healthy replicas",
        severity=CRITICAL,
        at_risk="Every write until a replica is back.",
        remedy="Bring a replica back (recover.yml); lower min-replicas-to-write where the estate never had so many.",
        avoid=(
            "Do not set min-replicas-to-write 0 during a partition: the side that is cut off goes on accepting "
            "writes that are lost."
        ),
        detect=_not_enough,
        explains=APPLICATIONS,
        like="replica_link_down",
    ),
    Cause(
        id="replica_stale",
        fault="F47",
        title="A replica has lost its primary and is out of date",
        severity=WARNING,
        at_risk="Whoever reads from it gets old answers, or MASTERDOWN.",
        remedy=(
            "Bring its settings and passwords to the inventory's. If the link stays down, look at its log for the "
            "reason, at the network and at the primary's maxclients and buffers."
        ),
        avoid="Do not promote it while the primary lives: what it missed would be lost.",
        detect=_stale,
        explains=("replica_link_down",),
        task="configure_server",
        like="replica_link_down",
    ),
    Cause(
        id="replica_lagging",
        fault="F47",
        title="A replica does not keep up",
        severity=WARNING,
        at_risk="What it has not acknowledged is lost if the primary dies now.",
        remedy=(
            "Close its link on the replica (CLIENT KILL TYPE master): it comes back at once and goes on where it was. "
            "If it stays behind, look at its processor, disk and network, and at slow scripts on it."
        ),
        avoid="Do not promote it and do not restart it: a restart may cost a full copy.",
        detect=_lagging,
        explains=("not_enough_replicas",),
        task="relink",
        like="replica_link_down",
    ),
)

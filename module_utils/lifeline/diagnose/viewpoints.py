# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The estate as each party sees it, for a report: who says what of whom, so that a disagreement can be seen.

Pure, from a case to plain data.
"""

from __future__ import annotations

from typing import Any, Mapping, Optional

from ..common.facts import Facts
from .case import Case, Host, Server, Watcher

# What became of a host in this run:
ANSWERED, SILENT, UNASKED = "answered", "silent", "unasked"


def parties(case: Case) -> dict[str, Any]:
    """``{looked_at, servers, sentinels, applications, jobs, looks}``; times in seconds since 1970, offsets in bytes.

    Every list is in the inventory's order. ``looks``: ``[{host, sees}]``, where ``sees`` has for each server that the
    host asked the error it got, or an empty text where it was answered.
    """
    clocks = [host.facts.number("time") for host in case.hosts.values()]
    lags = _lags(case.primary)
    names = {(server.node.host, server.node.port): server.name for server in case.servers}
    return {
        "looked_at": max(clocks, default=None),
        "servers": [_server(case, server, lags) for server in case.servers],
        "sentinels": [_sentinel(case, watcher) for watcher in case.watchers],
        "applications": [_application(case, name, names) for name in case.applications],
        "jobs": jobs(case),
        "looks": [_looks(case, host) for host in case.hosts.values() if host.facts.flag("library")],
    }


def _host(case: Case, name: str) -> str:
    if name in case.hosts:
        return ANSWERED
    return UNASKED if name in case.unasked else SILENT


# Addresses as the inventory has them.
Address = tuple[str, int]


def _server(case: Case, server: Server, lags: Mapping[Address, int]) -> dict[str, Any]:
    node, primary = server.node, case.primary
    return {
        "name": server.name,
        "address": f"{node.host}:{node.port}",
        "host": _host(case, server.name),
        "alive": node.alive,
        "error": server.error,
        "role": node.role,
        "agreed": primary is not None and primary.name == server.name,
        "last_primary": server.name == case.topology.last_primary,
        "loading": server.view.flag("loading"),
        "offset": node.offset if node.alive else None,
        "behind": max(0, primary.node.offset - node.offset) if primary and node.alive else None,
        "lag_s": lags.get((node.host, node.port)),
        "keys": server.view.count("keys") if node.alive else None,
        "follows": node.follows or "",
        "link_up": node.link_up,
        "link_down_s": server.view.count("primary.link_down_s"),
        "unit": "/".join(word for word in (server.unit.text("active"), server.unit.text("sub")) if word),
        "missed_by": list(node.missed_by) if node.alive else [],
    }


def _lags(primary: Optional[Server]) -> dict[Address, int]:
    """Seconds since each replica last acknowledged, by the primary's word."""
    rows = primary.view.rows("replicas") if primary else []
    return {(row.text("host"), row.count("port")): row.count("lag_s", -1) for row in rows}


def _sentinel(case: Case, watcher: Watcher) -> dict[str, Any]:
    node, view = watcher.node, watcher.view
    return {
        "name": watcher.name,
        "address": f"{node.host}:{node.port}",
        "host": _host(case, watcher.name),
        "alive": watcher.alive,
        "error": watcher.error,
        "known": view.flag("known"),
        "names": node.names or "",
        "holds_down": view.flag("down"),
        "failover": view.flag("failover"),
        "tilt": view.flag("tilt"),
        "quorum": view.text("quorum_text"),
        "quorum_ok": view.flag("quorum_ok"),
    }


def _application(case: Case, name: str, names: Mapping[Address, str]) -> dict[str, Any]:
    host = case.hosts.get(name)
    said = host.section("application") if host else Facts({})
    return {
        "name": name,
        "host": _host(case, name),
        "configured": said.flag("configured"),
        "address": f"{said.text('host')}:{said.count('port')}" if said.flag("configured") else "",
        "reachable": said.flag("reachable"),
        "role": said.text("role"),
        "error": said.text("error"),
        "server": _reached(case, said, names),
    }


def _reached(case: Case, said: Facts, names: Mapping[Address, str]) -> str:
    """Name of the server behind an application's URL; empty where a proxy hides it."""
    through_proxy = case.topology.primary if said.text("role") == "primary" else None
    return names.get((said.text("host"), said.count("port"))) or through_proxy or ""


def _looks(case: Case, host: Host) -> dict[str, Any]:
    views = {server.name: host.view_of(server.name) for server in case.servers}
    return {"host": host.name, "sees": {name: _error(view) for name, view in views.items() if view}}


def _error(view: Facts) -> str:
    return "" if view.flag("reachable") else view.text("error") or "no answer"


def jobs(case: Case) -> dict[str, Any]:
    """What it means to RQ's jobs and to sessions, by one host's look (``observe.jobs``); empty where nobody could look.

    ``{host, role, waiting, running, failed, stuck, overdue, lost, workers, workers_dead, suspended, sessions}`` in
    numbers. ``stuck``: taken by a worker that is gone. ``lost``: what rq_requeue would put back, null where nobody
    counted. ``sessions``: by pattern, how many keys there are.
    """
    host, said = case.jobs
    if not said:
        return {}
    queues = [row for _name, row in said.named("queues")]

    def total(*fields: str) -> int:
        return sum(max(0, row.count(field)) for row in queues for field in fields)

    return {
        "host": host,
        "role": said.text("role"),
        "waiting": total("length"),
        "running": total("started") - total("lease_expired"),
        "failed": total("failed"),
        "stuck": total("lease_expired", "intermediate"),
        "overdue": total("scheduled_overdue"),
        "lost": sum(int(number) for _name, number in said.numbers("lost.sources")) if "lost" in said else None,
        "workers": said.count("workers.live"),
        "workers_dead": said.count("workers.dead"),
        "suspended": "suspended" in said,
        "sessions": {pattern: row.count("keys") for pattern, row in said.named("sessions")},
    }

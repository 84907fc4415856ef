# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the host's own server tells its own host in detail: settings, statistics, slow commands, refusals, clients."""

from __future__ import annotations

from contextlib import closing
from typing import Any, Mapping, Optional

from ..common.client import CONNECTION_ERRORS, Credentials, Endpoint, connect, reason
from ..common.values import number
from . import clients, cluster, details, info

# Settings that hold secrets; they are left out of the evidence whole.
SECRET_SETTINGS = ("requirepass", "masterauth", "primaryauth", "tls-key-file-pass", "tls-client-key-file-pass")

# Share of maxclients from which it is of interest who the clients are.
CLIENTS_SHARE = 0.8


def ways(endpoint: Endpoint, socket: Optional[str]) -> list[Endpoint]:
    """The socket first where there is one, then the port."""
    return [*([Endpoint(endpoint.host, endpoint.port, endpoint.name, socket)] if socket else []), endpoint]


def hopeless(way: Endpoint, why: str) -> bool:
    """Whether no other way can do: nothing lies between a socket and its server, so that a silent one hangs."""
    return bool(way.unix_socket) and why.startswith("timeout")


DETAILS = (("CONFIG", "GET", "*"), ("SLOWLOG", "GET", "10"))


def look(
    endpoint: Endpoint, socket: Optional[str], credentials: Credentials, extra: Optional[Credentials] = None
) -> dict[str, Any]:
    """``{reachable, via, error, info, config, latency, acl_log, slowlog, clients, cluster}``; ``via`` is tcp or unix.

    The socket is tried first: certificates, addresses and firewalls are not in its way, and whether the port answers is
    told by ``estate.node_view``. It counts against maxclients like the port, but says so in plain words where a port
    with TLS just hangs up. ``extra`` logs in for ``DETAILS``.
    """
    errors: list[str] = []
    for way in ways(endpoint, socket):
        via = "unix" if way.unix_socket else "tcp"
        try:
            with closing(connect(way, credentials)) as client:
                return {"reachable": True, "via": via, "error": "; ".join(errors), **_ask(client, way, extra)}
        except CONNECTION_ERRORS as error:
            why = reason(error)
            said = clients.greeting(socket) if socket and via == "unix" and not hopeless(way, why) else ""
            errors.append(f"{via}: {said or why}")
            if hopeless(way, why):
                break
    return {"reachable": False, "via": "", "error": "; ".join(errors)}


def _ask(client: Any, way: Endpoint, extra: Optional[Credentials]) -> dict[str, Any]:
    pipe = client.pipeline(transaction=False)
    info.ask(pipe, info.ALL)
    pipe.execute_command("LATENCY", "LATEST")
    pipe.execute_command("ACL", "LOG", "10")
    *sections, latency, acl_log = pipe.execute(raise_on_error=False)
    said = info.merged(sections)
    config, slow = details.ask(client, way, extra, DETAILS)
    found: dict[str, Any] = {
        "info": {**statistics(said), "errors": info.errors(client)},
        "config": settings(config),
        "latency": events(latency),
        "acl_log": refusals(acl_log),
        "slowlog": clients.slow_commands(slow),
    }
    return {**found, **_more(client, found["info"], found["config"])}


def _more(client: Any, said: Mapping[str, Any], config: Mapping[str, str]) -> dict[str, Any]:
    """What is asked only of a server that it concerns: who its clients are when it is nearly full, and its cluster."""
    pipe = client.pipeline(transaction=False)
    limit = number(config.get("maxclients"))
    full = bool(limit) and number(said.get("connected_clients")) >= limit * CLIENTS_SHARE
    clustered = bool(number(said.get("cluster_enabled")))
    # Two words each, as redis-py then leaves the replies as they are.
    asked = [("CLIENT", "LIST")] * full + [("CLUSTER", "INFO"), ("CLUSTER", "NODES")] * clustered
    for command in asked:
        pipe.execute_command(*command)
    replies = dict(zip(asked, pipe.execute(raise_on_error=False) if asked else ()))
    found: dict[str, Any] = {}
    if full:
        found["clients"] = clients.holders(replies["CLIENT", "LIST"])
    if clustered:
        found["cluster"] = cluster.view(replies["CLUSTER", "INFO"], replies["CLUSTER", "NODES"])
    return found


def statistics(said: Mapping[str, Any]) -> dict[str, Any]:
    """INFO's numbers and words by name, less those per command and per error."""
    plain = {str(name): value for name, value in said.items() if isinstance(value, (int, float, str))}
    return {name: value for name, value in plain.items() if not name.startswith("errorstat_")}


def settings(reply: Any) -> dict[str, str]:
    """CONFIG GET * without the secrets."""
    if isinstance(reply, Mapping):
        pairs = [(str(name), str(value)) for name, value in reply.items()]
    elif isinstance(reply, (list, tuple)):
        pairs = [(str(reply[i]), str(reply[i + 1])) for i in range(0, len(reply) - 1, 2)]
    else:
        return {}
    return {name: value for name, value in pairs if name not in SECRET_SETTINGS}


def events(reply: Any) -> list[dict[str, Any]]:
    """LATENCY LATEST: ``[{event, time, latest_ms, max_ms}]``."""
    rows = reply if isinstance(reply, (list, tuple)) else ()
    return [
        {"event": str(row[0]), "time": number(row[1]), "latest_ms": number(row[2]), "max_ms": number(row[3])}
        for row in rows
        if isinstance(row, (list, tuple)) and len(row) >= 4
    ]


def refusals(reply: Any) -> list[dict[str, Any]]:
    """ACL LOG: ``[{reason, object, user, count, age_s, address, name}]``; the latter two are the client's."""
    found = []
    for row in reply if isinstance(reply, (list, tuple)) else ():
        entry = _pairs(row)
        info = entry.get("client-info", "")
        client = info if isinstance(info, Mapping) else clients.words(str(info))
        if entry:
            found.append(
                {
                    "reason": str(entry.get("reason", ""))[:40],
                    "object": str(entry.get("object", ""))[:100],
                    "user": str(entry.get("username", ""))[:100],
                    "count": number(entry.get("count")),
                    "age_s": _age(entry.get("age-seconds")),
                    "address": str(client.get("addr", "")).rpartition(":")[0][:60],
                    "name": str(client.get("name", ""))[:40],
                }
            )
    return found


def _pairs(row: Any) -> Mapping[str, Any]:
    if isinstance(row, Mapping):
        return {str(name): value for name, value in row.items()}
    if isinstance(row, (list, tuple)):
        return {str(row[i]): row[i + 1] for i in range(0, len(row) - 1, 2)}
    return {}


def _age(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return 0.0

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The host's own server, asked in every way that may work: an estate that Lifeline did not set up may know no login."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any, Mapping, Optional, Sequence

from ...common.client import CONNECTION_ERRORS, Credentials, Endpoint, connect, reason
from ...common.values import number
from ...errors import LifelineError
from ...formats.redis_conf import SECRETS, name_of
from ...rq.keys import Keys
from .. import details, info
from ..server import refusals, statistics
from .secrets import Digests, hidden, users, weak

# Commands whose use is counted: they stop a server, empty it, or change what it is.
WATCHED = ("flushall", "flushdb", "keys", "debug", "shutdown", "config|set", "config|rewrite", "replicaof", "slaveof",
           "module|load", "eval", "evalsha", "acl|setuser")  # fmt: skip
DETAILS = (("CONFIG", "GET", "*"), ("ACL", "LIST"))
QUEUES = 200
WORKERS = 200


def ways(
    endpoint: Endpoint, socket: Optional[str], credentials: Credentials
) -> list[tuple[str, Endpoint, Credentials]]:
    """``[(name, endpoint, credentials)]`` in the order that they are tried in."""
    local = Endpoint(host="127.0.0.1", port=endpoint.port, name=endpoint.name)
    unknown = replace(credentials, user=None, password=None)
    open_ = replace(unknown, tls=False)
    found = [("tcp", endpoint, credentials)]
    if socket:
        found.append(("unix", Endpoint(endpoint.host, endpoint.port, endpoint.name, socket), credentials))
    found.append(("loopback", local, credentials))
    if credentials.password or credentials.tls:
        found += [("anonymous", endpoint, open_), ("anonymous loopback", local, open_)]
    return found


def look(
    endpoint: Endpoint,
    socket: Optional[str],
    credentials: Credentials,
    digests: Digests,
    prefix: str,
    extra: Optional[Credentials] = None,
) -> dict[str, Any]:
    """``{reachable, via, error, info, config, secrets, weak, users, modules, acl_log, calls, jobs, errors}``.

    ``info``: INFO's numbers and words. ``secrets``: digests of the settings that hold one. ``calls``: how often each of
    ``WATCHED`` was used. ``errors``: by what was asked, why there is no answer. ``jobs``: see ``jobs``. ``extra`` logs
    in for ``DETAILS``.
    """
    return ask(ways(endpoint, socket, credentials), digests, prefix, extra)


def ask(
    wanted: Sequence[tuple[str, Endpoint, Credentials]],
    digests: Digests,
    prefix: str,
    extra: Optional[Credentials] = None,
) -> dict[str, Any]:
    """The same, of the first of ``ways`` that answers."""
    failures = []
    for via, where, login in wanted:
        try:
            with closing(connect(where, login)) as client:
                replies = _replies(client, where, extra)
                return {"reachable": True, "via": via, "error": "", **_read(client, replies, digests, prefix)}
        except CONNECTION_ERRORS as error:
            failures.append(f"{via}: {reason(error)}")
    return {"reachable": False, "via": "", "error": "; ".join(failures)[:500]}


def _replies(client: Any, way: Endpoint, extra: Optional[Credentials]) -> list[Any]:
    """Those to INFO, MODULE LIST and ACL LOG, and to ``DETAILS``."""
    pipe = client.pipeline(transaction=False)
    info.ask(pipe, (*info.ALL, "commandstats"))
    pipe.execute_command("MODULE", "LIST")
    pipe.execute_command("ACL", "LOG", "20")
    *sections, modules, acl_log = pipe.execute(raise_on_error=False)
    told = info.merged(sections)
    return [told, modules, acl_log, *details.ask(client, way, extra, DETAILS)]


def _read(client: Any, replies: list[Any], digests: Digests, prefix: str) -> dict[str, Any]:
    told, modules, acl_log, config, acl = replies
    asked = {"config": config, "users": acl, "modules": modules, "acl_log": acl_log}
    found: dict[str, Any] = {
        "info": {**statistics(told), "errors": info.errors(client)},
        "calls": calls(told),
        "errors": {name: reason(reply) for name, reply in asked.items() if isinstance(reply, CONNECTION_ERRORS)},
    }
    values = {name_of(name): value for name, value in pairs(config).items()}
    if values:
        found["config"], found["secrets"] = hidden(values, SECRETS, digests)
        found["weak"] = sorted(name for name in SECRETS if values.get(name) and weak(values[name]))
    if isinstance(acl, (list, tuple)):
        try:
            found["users"] = users("\n".join(str(line) for line in acl), digests)
        except LifelineError as error:
            found["errors"]["users"] = str(error)
    if isinstance(modules, (list, tuple)):
        found["modules"] = [loaded(pairs(row)) for row in modules]
    if isinstance(acl_log, (list, tuple)):
        found["acl_log"] = refusals(acl_log)
    if number(told.get("cluster_enabled")):
        found["cluster"] = cluster(client)
    if found["info"].get("role") == "master":
        found["jobs"] = jobs(client, prefix)
    return found


def pairs(reply: Any) -> dict[str, str]:
    """A flat list or a map of names and values, as text."""
    if isinstance(reply, Mapping):
        return {str(name): str(value) for name, value in reply.items()}
    if isinstance(reply, (list, tuple)):
        return {str(reply[at]): str(reply[at + 1]) for at in range(0, len(reply) - 1, 2)}
    return {}


def loaded(module: Mapping[str, str]) -> dict[str, str]:
    """``{name, path}`` of a module; what is built into the server has no path."""
    return {"name": module.get("name", ""), "path": module.get("path", "")}


def cluster(client: Any) -> dict[str, Any]:
    """``{state, slots_ok, slots_assigned, nodes}`` by the node itself; ``nodes``: ``[{id, host, primary, slots}]``.

    ``primary`` is the id of the node that it follows, empty for a primary.
    """
    try:
        pipe = client.pipeline(transaction=False)
        pipe.execute_command("CLUSTER", "INFO")
        pipe.execute_command("CLUSTER", "NODES")
        info, nodes = pipe.execute(raise_on_error=True)
    except CONNECTION_ERRORS as error:
        return {"error": reason(error)}
    said = (
        info
        if isinstance(info, Mapping)
        else dict(line.strip().split(":", 1) for line in str(info).splitlines() if ":" in line)
    )
    return {
        "state": str(said.get("cluster_state", "")),
        "slots_ok": number(said.get("cluster_slots_ok")),
        "slots_assigned": number(said.get("cluster_slots_assigned")),
        "nodes": cluster_nodes(nodes),
    }


def cluster_nodes(reply: Any) -> list[dict[str, Any]]:
    """Members that are not failed, from CLUSTER NODES' text or from redis-py's form of it."""
    rows = []
    if isinstance(reply, Mapping):
        for address, node in reply.items():
            rows.append((str(node.get("node_id", "")), str(address), str(node.get("flags", "")),
                         str(node.get("master_id", "-")), len(node.get("slots") or ())))  # fmt: skip
    else:
        for line in str(reply).splitlines():
            words = line.split()
            if len(words) >= 8:
                rows.append((words[0], words[1], words[2], words[3], len(words) - 8))
    return [
        {
            "id": name,
            "host": address.partition("@")[0].partition(",")[0].rpartition(":")[0],
            "primary": "" if primary == "-" else primary,
            "slots": slots,
        }
        for name, address, flags, primary, slots in rows
        if not set(flags.split(",")) & {"fail", "noaddr", "handshake"}
    ]


def calls(info: Mapping[str, Any]) -> dict[str, int]:
    """How often each of ``WATCHED`` was called since the server's start or CONFIG RESETSTAT; zeros are left out."""
    found = {}
    for name in WATCHED:
        entry = info.get(f"cmdstat_{name}")
        if isinstance(entry, Mapping) and number(entry.get("calls")):
            found[name] = number(entry.get("calls"))
    return found


def jobs(client: Any, prefix: str) -> dict[str, Any]:
    """``{seen, suspended, workers, silent, oldest_heartbeat_s, leases_expired, error}`` of RQ's keys, in two rounds.

    ``silent``: registered workers whose key is gone. Bounded to ``QUEUES`` queues and ``WORKERS`` workers.
    """
    own = Keys(prefix)
    try:
        pipe = client.pipeline(transaction=False)
        pipe.ttl(own.suspended)
        pipe.smembers(own.workers)
        pipe.smembers(own.queues)
        suspended, workers, queues = pipe.execute(raise_on_error=True)
        keys, names = sorted(map(str, workers))[:WORKERS], sorted(map(str, queues))[:QUEUES]
        pipe = client.pipeline(transaction=False)
        for key in keys:
            pipe.hget(key, "last_heartbeat")
        now = time.time()
        for name in names:
            pipe.zcount(own.registry("wip", own.queue_name(name.encode())), "-inf", now)
        replies = pipe.execute(raise_on_error=True) if keys or names else []
    except CONNECTION_ERRORS as error:
        return {"seen": False, "error": reason(error)}
    beats = replies[: len(keys)]
    ages = [age for age in (_age(str(beat), now) for beat in beats if beat) if age is not None]
    return {
        "seen": True,
        "error": "",
        "suspended": number(suspended, -2) != -2,
        "workers": len(keys),
        "silent": sum(not beat for beat in beats),
        "oldest_heartbeat_s": max(ages, default=0.0),
        "leases_expired": sum(number(count) for count in replies[len(keys) :]),
    }


def _age(text: str, now: float) -> Optional[float]:
    try:
        moment = datetime.strptime(text.rstrip("Z")[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    except ValueError:
        return None
    return round(max(0.0, now - moment.timestamp()), 1)

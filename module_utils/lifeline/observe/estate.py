# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Collect one host's evidence: what it sees of every node and sentinel, and the state of its own units and files.

Nothing here fails because something is down: a dead server is evidence. No secret enters the evidence: replies are
picked field by field, never copied whole.
"""

from __future__ import annotations

import time
from contextlib import closing
from typing import Any, Callable, Iterable, Mapping, Optional, Sequence

from ..common.client import CONNECTION_ERRORS, HAS_REDIS, Credentials, Endpoint, connect, reason
from ..common.values import number
from . import info
from .files import data_files, free_bytes
from .parallel import each
from .platform import platform
from .units import unit_states

EVIDENCE_VERSION = 1

# How many servers one host asks at the same time.
WORKERS = 16

# Where configuration, data and logs go; a host on which one of these is full can be neither configured nor recovered.
DISK_PATHS = ("/etc", "/var/lib", "/var/log")


def collect(
    host: str,
    nodes: Sequence[Endpoint],
    sentinels: Sequence[Endpoint],
    service: str,
    credentials: Credentials,
    units: Sequence[str] = (),
    config_file: Optional[str] = None,
) -> dict[str, Any]:
    """The evidence of one host, as plain data that survives JSON.

    ``{version, host, service, time, took_s, library, platform{}, nodes{}, sentinels{}, units{}, files{}, disk{}}``;
    ``time`` is this host's clock in seconds since 1970, sizes are bytes. Takes no longer than twice the credentials'
    timeouts.
    """
    started = time.monotonic()
    evidence = {**here(host, service, units), "files": data_files(config_file) if config_file else {}}
    if HAS_REDIS:
        evidence.update(views(nodes, sentinels, service, credentials))
    evidence["took_s"] = round(time.monotonic() - started, 3)
    return evidence


def here(host: str, service: str, units: Sequence[str]) -> dict[str, Any]:
    """What takes no server's answer and no disk's but the system's: ``collect`` without files and members."""
    return {
        "version": EVIDENCE_VERSION,
        "host": host,
        "service": service,
        "time": round(time.time(), 3),
        "library": HAS_REDIS,
        "platform": platform(),
        "nodes": {},
        "sentinels": {},
        "units": unit_states(units) if units else {},
        "files": {},
        "disk": {path: free_bytes(path) for path in DISK_PATHS},
    }


def views(
    nodes: Sequence[Endpoint], sentinels: Sequence[Endpoint], service: str, credentials: Credentials
) -> dict[str, dict[str, Any]]:
    """``{nodes, sentinels}``, all asked side by side. One whose name no name server resolves in time is no reason to
    wait longer."""
    patience = credentials.connect_timeout + credentials.command_timeout
    members = [("nodes", node) for node in nodes] + [("sentinels", peer) for peer in sentinels]
    late = f"timeout: nothing within {patience:.0f} s"
    seen = {(kind, peer.name): {**_unseen(peer), "error": late} for kind, peer in members}

    def ask(member: tuple[str, Endpoint]) -> dict[str, Any]:
        kind, peer = member
        return node_view(peer, credentials) if kind == "nodes" else sentinel_view(peer, service, credentials)

    for (kind, peer), view, error in each(members, ask, patience, WORKERS):
        seen[kind, peer.name] = view if error is None else {**_unseen(peer), "error": f"error: {error}"[:200]}
    return {
        "nodes": {node.name: seen["nodes", node.name] for node in nodes},
        "sentinels": {peer.name: seen["sentinels", peer.name] for peer in sentinels},
    }


def node_view(node: Endpoint, credentials: Credentials) -> dict[str, Any]:
    """What one data node says of itself: ``{host, port, reachable, error, ...}`` (see ``parse_info``)."""
    return _ask(node, credentials, lambda client: parse_info(info.of(client, info.VIEW)))


def sentinel_view(peer: Endpoint, service: str, credentials: Credentials) -> dict[str, Any]:
    """What one sentinel says of the service it watches (see ``parse_sentinel``)."""

    def ask(client: Any) -> dict[str, Any]:
        pipe = client.pipeline(transaction=False)
        pipe.execute_command("SENTINEL", "MASTER", service)
        pipe.execute_command("SENTINEL", "REPLICAS", service)
        pipe.execute_command("SENTINEL", "SENTINELS", service)
        pipe.execute_command("SENTINEL", "CKQUORUM", service)
        info.ask(pipe, ("server", "sentinel"))
        *said, server, own = pipe.execute(raise_on_error=False)
        return parse_sentinel([*said, info.merged([server, own])])

    return _ask(peer, credentials, ask)


def _ask(server: Endpoint, credentials: Credentials, question: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    view = _unseen(server)
    try:
        with closing(connect(server, credentials)) as client:
            view.update(question(client))
        view["reachable"] = True
    except CONNECTION_ERRORS as error:
        view["error"] = reason(error)
    return view


def _unseen(server: Endpoint) -> dict[str, Any]:
    return {"host": server.host, "port": server.port, "reachable": False, "error": None}


def parse_info(info: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of INFO that topology and diagnosis use, with defaults for those a version lacks."""
    view: dict[str, Any] = {
        "role": info.get("role", "unknown"),
        "mode": str(info.get("redis_mode") or info.get("server_mode") or ""),
        "version": str(info.get("valkey_version") or info.get("redis_version", "")),
        "flavour": "valkey" if "valkey_version" in info else "redis",
        "run_id": str(info.get("run_id", "")),
        "uptime_s": number(info.get("uptime_in_seconds")),
        "loading": bool(number(info.get("loading"))),
        "cluster": bool(number(info.get("cluster_enabled"))),
        "replid": str(info.get("master_replid", "")),
        "replid2": str(info.get("master_replid2", "")),
        "offset": number(info.get("master_repl_offset")),
        "second_offset": number(info.get("second_repl_offset"), -1),
        "priority": number(info.get("slave_priority"), 100),
        "keys": sum(number(value.get("keys")) for name, value in info.items() if _is_keyspace(name, value)),
        "used_memory": number(info.get("used_memory")),
        "maxmemory": number(info.get("maxmemory")),
        "aof_enabled": bool(number(info.get("aof_enabled"))),
        "aof_ok": info.get("aof_last_write_status", "ok") == "ok",
        "rdb_ok": info.get("rdb_last_bgsave_status", "ok") == "ok",
        "syncs_full": number(info.get("sync_full")),
        "syncs_refused": number(info.get("sync_partial_err")),
        "good_replicas": number(info.get("min_slaves_good_slaves"), -1),
        "replicas": [_replica(value) for name, value in sorted(info.items()) if _is_replica(name, value)],
        "primary": None,
    }
    if view["role"] == "slave":
        view["offset"] = number(info.get("slave_repl_offset"), view["offset"])
        view["primary"] = {
            "host": str(info.get("master_host", "")),
            "port": number(info.get("master_port")),
            "link_up": info.get("master_link_status") == "up",
            "link_down_s": number(info.get("master_link_down_since_seconds"), 0),
            "last_io_s": number(info.get("master_last_io_seconds_ago"), -1),
            "syncing": bool(number(info.get("master_sync_in_progress"))),
        }
    return view


def _is_keyspace(name: str, value: Any) -> bool:
    return name.startswith("db") and name[2:].isdigit() and isinstance(value, Mapping)


def _is_replica(name: str, value: Any) -> bool:
    return name.startswith("slave") and name[5:].isdigit() and isinstance(value, Mapping)


def _replica(value: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "host": str(value.get("ip", "")),
        "port": number(value.get("port")),
        "state": str(value.get("state", "")),
        "offset": number(value.get("offset")),
        "lag_s": number(value.get("lag"), -1),
    }


def parse_sentinel(replies: Sequence[Any]) -> dict[str, Any]:
    """One sentinel's answers to MASTER, REPLICAS, SENTINELS, CKQUORUM and INFO sentinel, in that order.

    An error reply to MASTER means that this sentinel does not know the service: ``known`` is false then, as it is when
    the reply is nothing that a sentinel says.
    """
    master, replicas, sentinels, quorum, info = replies
    for reply in (master, info):
        if isinstance(reply, CONNECTION_ERRORS) and not _unknown_service(reply):
            raise reply
    if not isinstance(master, (Mapping, list, tuple)):
        return {"known": False, **_own_state(info)}
    master_fields = fields(master)
    flags = master_fields.get("flags", "").split(",")
    replica_fields = [fields(entry) for entry in replicas] if isinstance(replicas, (list, tuple)) else []
    peers = [fields(entry) for entry in sentinels] if isinstance(sentinels, (list, tuple)) else []
    return {
        "known": True,
        **_own_state(info),
        "primary": {"host": master_fields.get("ip", ""), "port": number(master_fields.get("port"))},
        "flags": flags,
        "down": "s_down" in flags or "o_down" in flags,
        "down_ms": number(master_fields.get("s-down-time")),
        "last_ok_ms": number(master_fields.get("last-ok-ping-reply"), -1),
        "failover": "failover_in_progress" in flags,
        "epoch": number(master_fields.get("config-epoch")),
        "quorum": number(master_fields.get("quorum")),
        "down_after_ms": number(master_fields.get("down-after-milliseconds")),
        "replicas": [
            {
                "host": entry.get("ip", ""),
                "port": number(entry.get("port")),
                "flags": entry.get("flags", "").split(","),
                "link_up": entry.get("master-link-status") == "ok",
                "link_down_ms": number(entry.get("master-link-down-time")),
                "priority": number(entry.get("slave-priority"), 100),
            }
            for entry in replica_fields
        ],
        "sentinels": len(peers),
        "peers": [
            {
                "host": entry.get("ip", ""),
                "port": number(entry.get("port")),
                "flags": entry.get("flags", "").split(","),
            }
            for entry in peers
        ],
        "quorum_ok": not isinstance(quorum, BaseException),
        "quorum_text": str(quorum)[:200],
    }


def fields(reply: Any) -> dict[str, str]:
    """Sentinel's flat ``[name, value, ...]`` (RESP2) or map (RESP3, or parsed by redis-py) as a dict of text."""
    if isinstance(reply, Mapping):
        return {str(key): _flag_text(value) for key, value in reply.items()}
    flat = list(reply) if isinstance(reply, (list, tuple)) else []
    return {str(flat[i]): str(flat[i + 1]) for i in range(0, len(flat) - 1, 2)}


def _flag_text(value: Any) -> str:
    return ",".join(sorted(map(str, value))) if isinstance(value, (set, frozenset, list, tuple)) else str(value)


def _unknown_service(error: BaseException) -> bool:
    return "no such master" in str(error).lower()


def _own_state(info: Any) -> dict[str, Any]:
    """Of the sentinel itself: whether it is in TILT (and since how many seconds, where it says so), and its age."""
    said: Mapping[str, Any] = info if isinstance(info, Mapping) else {}
    return {
        "tilt": bool(number(said.get("sentinel_tilt"))),
        "tilt_s": number(said.get("sentinel_tilt_since_seconds"), -1),
        "uptime_s": number(said.get("uptime_in_seconds"), -1),
    }


def endpoints(entries: Iterable[Mapping[str, Any]]) -> list[Endpoint]:
    """Endpoints from a module's ``[{name, host, port}]`` option."""
    return [
        Endpoint(host=entry["host"], port=entry["port"], name=entry.get("name") or entry["host"]) for entry in entries
    ]

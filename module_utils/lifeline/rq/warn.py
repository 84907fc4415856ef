# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a person should know beside the numbers: nobody works on a queue, a server that may forget, and the like."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..common.client import CONNECTION_ERRORS
from .keys import Keys, match, text
from .keys import names as members
from .server import Server

NO_TRACE = (
    "Jobs that a lost primary had acknowledged and that no replica had leave no trace in Redis: only the records of "
    "those who enqueued them can tell which they were."
)


def live_workers(server: Server, keys: Keys, patterns: Sequence[str]) -> list[str]:
    """Names of workers whose key is there and who listen to one of these queues."""
    names = members(server.again(lambda: server.client.smembers(keys.workers)))

    def ask() -> list[Any]:
        pipeline = server.client.pipeline(transaction=False)
        for key in names:
            pipeline.hget(key, "queues")
        found: list[Any] = pipeline.execute(raise_on_error=False)
        return found

    return [
        text(keys.worker_name(key))
        for key, queues in zip(names, server.again(ask))
        if isinstance(queues, bytes)
        and any(match(queue, pattern) for queue in queues.split(b",") for pattern in patterns)
    ]


def warnings(server: Server, keys: Keys, queues: Iterable[bytes]) -> list[str]:
    """What keeps requeued jobs from being run, or may lose them again; nothing when the server is gone."""
    try:
        return [*_suspension(server, keys), *_without_workers(server, keys, queues), *_server(server)]
    except CONNECTION_ERRORS:
        return []


def _suspension(server: Server, keys: Keys) -> list[str]:
    if not server.client.exists(keys.suspended):
        return []
    ttl = server.client.ttl(keys.suspended)
    until = f"for {ttl} more seconds" if ttl >= 0 else "until somebody resumes them (rq resume)"
    return [f"Workers are suspended {until}: nothing runs until then."]


def _without_workers(server: Server, keys: Keys, queues: Iterable[bytes]) -> list[str]:
    idle = [text(queue) for queue in queues if not live_workers(server, keys, [text(queue)])]
    return [f"No live worker listens to {', '.join(sorted(idle))}."] if idle else []


def _server(server: Server) -> list[str]:
    found = server.information()
    policy = str(found.get("maxmemory_policy", "noeviction"))
    said = []
    if policy != "noeviction" and int(found.get("maxmemory", 0)):
        said.append(
            f"maxmemory-policy is {policy}: Redis may drop jobs when memory runs short; queues need noeviction."
        )
    if str(found.get("role")) == "master" and not int(found.get("aof_enabled", 0)):
        changes = int(found.get("rdb_changes_since_last_save", 0))
        replicas = int(found.get("connected_slaves", 0))
        if changes and not replicas:
            said.append(f"No AOF and no replica: a restart now would undo the last {changes} writes.")
    return said


def unrecoverable(server: Server) -> list[str]:
    """What no tool can put back, as far as the server's own counters show it; one sentence each."""
    found = server.again(server.information)
    said = [NO_TRACE]
    promoted = int(found.get("second_repl_offset", -1))
    if promoted > 0 and set(str(found.get("master_replid2", "0"))) != {"0"}:
        said.append(
            f"This primary took over from another one at replication offset {promoted}: what that had acknowledged "
            "beyond it is such a loss."
        )
    if not int(found.get("aof_enabled", 0)):
        said.append(
            f"There is no AOF: what this server, up for {int(found.get('uptime_in_seconds', 0))} s, had acknowledged "
            "between its last snapshot and its last start is lost."
        )
    evicted = int(found.get("evicted_keys", 0))
    if evicted:
        said.append(f"{evicted} keys were evicted for want of memory; failed jobs go first under volatile policies.")
    return said

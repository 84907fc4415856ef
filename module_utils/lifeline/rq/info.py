# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What RQ's keys say, read without RQ: its own counters clean up while they count, which changes what is looked at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Optional

from ..client import CONNECTION_ERRORS
from .keys import Keys, matching, text
from .server import Server, target

REGISTRIES = ("failed", "wip", "scheduled", "deferred", "ready", "finished", "canceled")


class Info:
    """One look at the queues of one primary."""

    def __init__(self, server: Server, params: dict[str, Any]) -> None:
        self.server = server
        self.params = params
        self.keys = Keys(params["key_prefix"])
        self.now = server.again(server.seconds)

    def queues(self) -> dict[str, dict[str, int]]:
        """Counts of each queue, in one round trip for all."""
        client = self.server.client
        known = [self.keys.queue_name(key) for key in client.smembers(self.keys.queues)]
        names = matching([name for name in known if name], self.params["queues"] or ["*"])
        pipeline = client.pipeline(transaction=False)
        late = self.now - self.params["grace"]
        for name in names:
            pipeline.llen(self.keys.queue(name))
            pipeline.llen(self.keys.intermediate(name))
            for registry in REGISTRIES:
                pipeline.zcard(self.keys.registry(registry, name))
            pipeline.zcount(self.keys.registry("wip", name), "-inf", late)
            pipeline.zcount(self.keys.registry("scheduled", name), "-inf", late)
            pipeline.scard(self.keys.workers + b":" + name)
        fields = ("length", "intermediate", *("started" if kind == "wip" else kind for kind in REGISTRIES),
                  "abandoned", "scheduled_overdue", "workers")  # fmt: skip
        replies = pipeline.execute(raise_on_error=False)
        width = len(fields)
        return {
            text(name): {
                field: reply if isinstance(reply, int) else -1
                for field, reply in zip(fields, replies[at * width : (at + 1) * width])
            }
            for at, name in enumerate(names)
        }

    def workers(self) -> list[dict[str, Any]]:
        """Registered workers; one whose key is gone is dead."""
        keys = sorted(self.server.client.smembers(self.keys.workers))
        pipeline = self.server.client.pipeline(transaction=False)
        for key in keys:
            pipeline.hmget(key, "hostname", "pid", "version", "state", "queues", "current_job")
            pipeline.ttl(key)
        replies = pipeline.execute(raise_on_error=False)
        names = ("host", "pid", "version", "state", "queues", "current_job")
        found = []
        for at, key in enumerate(keys):
            values, ttl = replies[2 * at : 2 * at + 2]
            live = isinstance(ttl, int) and ttl != -2 and isinstance(values, list)
            shown = dict(zip(names, values)) if live else {}
            found.append(
                {
                    "name": text(key.rpartition(self.keys.prefix + b":worker:")[2]),
                    "live": live,
                    "ttl": ttl if live else None,
                    **{name: text(value) for name, value in shown.items() if value},
                }
            )
        return found

    def suspended(self) -> Optional[dict[str, Any]]:
        """Whether workers are told to pause, and for how long (None: until somebody resumes them)."""
        ttl = self.server.client.ttl(self.keys.suspended)
        return None if ttl == -2 else {"ttl": ttl if ttl >= 0 else None}

    def redis(self) -> dict[str, Any]:
        """What about the server matters to jobs."""
        found = self.server.client.info()
        return {
            "host": self.server.endpoint.host,
            "port": self.server.endpoint.port,
            "role": "master",
            "version": str(found.get("redis_version", "")),
            "replicas": int(found.get("connected_slaves", 0)),
            "aof": bool(found.get("aof_enabled", 0)),
            "maxmemory_policy": str(found.get("maxmemory_policy", "")),
        }

    def everything(self) -> dict[str, Any]:
        """What the module returns."""
        return {
            "queues": self.queues(),
            "workers": self.workers(),
            "suspended": self.suspended(),
            "redis": self.redis(),
        }


def work(params: dict[str, Any], check: bool, make: Callable[..., Server] = Server) -> dict[str, Any]:
    """The module rq_info; it never changes anything, so check mode is the same."""
    del check
    server = make(target(params))
    try:
        return Info(server, params).everything()
    except CONNECTION_ERRORS as error:
        raise server.error(error) from error

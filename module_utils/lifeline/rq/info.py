# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What RQ's keys say, read without RQ: its own counters clean up while they count, which changes what is looked at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Optional

from ..common.client import CONNECTION_ERRORS
from ..errors import LifelineError
from . import explain, lua, options
from .keys import Keys, matching, names, text
from .page import unpack
from .requeue import Run
from .scan import known_queues, lost_jobs, still_lost, waiting
from .selection import moment
from .server import Server, target
from .twice import PUT_BACK
from .walk import REGISTRY
from .warn import unrecoverable

REGISTRIES = ("failed", "wip", "scheduled", "deferred", "ready", "finished", "canceled")
WORKER = ("hostname", "pid", "version", "state", "queues", "current_job", "last_heartbeat")
SHOWN = 100


class Info:
    """One look at the queues of one primary."""

    def __init__(self, server: Server, params: dict[str, Any]) -> None:
        self.server = server
        self.params = params
        self.keys = Keys(params["key_prefix"])
        self.now = server.again(server.seconds)
        self.names = matching(known_queues(server, self.keys), params["queues"] or ["*"])

    def many(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Replies of read commands in one round trip; a refused one's is its exception."""

        def ask() -> list[Any]:
            pipeline = self.server.client.pipeline(transaction=False)
            for command in commands:
                pipeline.execute_command(*command)
            replies: list[Any] = pipeline.execute(raise_on_error=False)
            return replies

        return self.server.again(ask)

    def queues(self) -> dict[str, dict[str, Any]]:
        """Counts of each queue, with commands that take the same time whatever its length."""
        late = self.now - self.params["grace"]
        fields = ("length", "intermediate", *("started" if kind == "wip" else kind for kind in REGISTRIES),
                  "lease_expired", "scheduled_overdue", "next")  # fmt: skip
        commands: list[tuple[Any, ...]] = []
        for name in self.names:
            commands += [("LLEN", self.keys.queue(name)), ("LLEN", self.keys.intermediate(name))]
            commands += [("ZCARD", self.keys.registry(kind, name)) for kind in REGISTRIES]
            commands += [("ZCOUNT", self.keys.registry(kind, name), "-inf", late) for kind in ("wip", "scheduled")]
            commands.append(("LINDEX", self.keys.queue(name), 0))
        replies = self.many(commands)
        width = len(fields)
        rows = [dict(zip(fields, replies[at : at + width])) for at in range(0, len(replies), width)]
        ages = self.ages([row.pop("next") for row in rows])
        return {
            text(name): {
                **{field: count if isinstance(count, int) else -1 for field, count in row.items()},
                "oldest_age": age,
            }
            for name, row, age in zip(self.names, rows, ages)
        }

    def ages(self, heads: Sequence[Any]) -> list[Optional[float]]:
        """Seconds that the jobs at the queues' heads have waited."""
        known = [head if isinstance(head, bytes) else b"" for head in heads]
        stamps = self.many([("HGET", self.keys.job(head), "enqueued_at") for head in known])
        return [self.age(value) if head else None for head, value in zip(known, stamps)]

    def age(self, value: Any) -> Optional[float]:
        """Seconds since a time as RQ stores it."""
        try:
            at = moment(text(value), "enqueued_at") if isinstance(value, bytes) else None
        except LifelineError:
            return None
        return None if at is None else round(max(0.0, self.now - at), 1)

    def rate_limited(self) -> dict[str, dict[str, int]]:
        """RQ 3's limiters: how many jobs hold a slot and how many wait for one."""
        found = names(self.server.again(lambda: self.server.client.smembers(self.keys.prefix + b":rl-keys")))
        base = [self.keys.prefix + b":rl:" + name for name in found]
        commands = [("ZCARD", key + kind) for key in base for kind in (b":allowed", b":rate_limited")]
        replies = [count if isinstance(count, int) else -1 for count in self.many(commands)]
        return {
            text(name): {"allowed": replies[2 * at], "waiting": replies[2 * at + 1]} for at, name in enumerate(found)
        }

    def workers(self) -> list[dict[str, Any]]:
        """Registered workers; one whose key is gone is dead."""
        keys = names(self.server.again(lambda: self.server.client.smembers(self.keys.workers)))
        replies = self.many([command for key in keys for command in (("HMGET", key, *WORKER), ("TTL", key))])
        found = []
        for at, key in enumerate(keys):
            values, ttl = replies[2 * at : 2 * at + 2]
            live = isinstance(ttl, int) and ttl != -2 and isinstance(values, list)
            shown = {name: text(value) for name, value in zip(WORKER, values) if value} if live else {}
            beat = shown.pop("last_heartbeat", None)
            name = text(self.keys.worker_name(key))
            age = self.age(beat.encode()) if beat else None
            found.append({"name": name, "live": live, "ttl": ttl if live else None, "heartbeat_age": age, **shown})
        return found

    def suspended(self) -> Optional[dict[str, Any]]:
        """Whether workers are told to pause, and for how long (None: until somebody resumes them)."""
        ttl = self.server.again(lambda: self.server.client.ttl(self.keys.suspended))
        return None if ttl == -2 else {"ttl": ttl if ttl >= 0 else None}

    def locks(self) -> dict[str, dict[str, int]]:
        """Seconds left of each queue's scheduler lease and maintenance lock."""
        kinds = {"schedulers": b":scheduler-lock:", "maintenance": b":clean_registries:"}
        found: dict[str, dict[str, int]] = {}
        for kind, word in kinds.items():
            replies = self.many([("TTL", self.keys.prefix + word + name) for name in self.names])
            found[kind] = {
                text(name): ttl for name, ttl in zip(self.names, replies) if isinstance(ttl, int) and ttl != -2
            }
        return found

    def lost(self) -> dict[str, Any]:
        """What rq_requeue would put back at once, by the same code, in a sample of each source."""
        if not self.names:
            return {"sources": {}, "queues": {}, "by_exception": {}, "by_function": {}, "left": {}, "notes": {}}
        run = self.run(list(REGISTRY))
        walk, batches = run.walk, run.batches
        walk.plan()
        per_lane = max(1, self.params["sample"] // max(1, sum(not lane.done for lane in walk.lanes)))
        sampled = sum(lane.total > per_lane for lane in walk.lanes)
        for lane in walk.lanes:
            lane.total = min(lane.total, per_lane)
        walk.work(None)
        batches.note_functions()
        tally, top = run.tally, self.params["top"]
        queues: dict[str, dict[str, int]] = {}
        for (source, name), count in tally.taken.items():
            if count:
                queues.setdefault(text(name), {})[source] = count
        return {
            "sources": {source: count for source, count in tally.sources.items() if count},
            "queues": queues,
            "by_exception": dict(tally.errors.most_common(top)),
            "by_function": dict(tally.heads.most_common(top)),
            "left": dict(tally.skipped),
            "left_jobs": tally.left,
            "complete": not sampled,
            "first_failure": self.failure_time(0),
            "last_failure": self.failure_time(-1),
            "notes": explain.notes([source for source, count in tally.sources.items() if count], tally.skipped),
        }

    def run(self, sources: list[str]) -> Run:
        """A requeue that is only thought through."""
        defaults = {name: option.get("default") for name, option in options.requeue().items()}
        chosen = {"queues": [text(name) for name in self.names], "all_jobs": True, "sources": sources}
        own = {**defaults, **self.params, **chosen, "max_jobs": 0, "return_ids": 0, "sample": self.params["sample"]}
        return Run(self.server, own, check=True)

    def failure_time(self, rank: int) -> Optional[str]:
        """When the first (0) or last (-1) job of the failed registries ended, as it says itself."""
        edges = self.many([("ZRANGE", self.keys.registry("failed", name), rank, rank) for name in self.names])
        ids = [edge[0] for edge in edges if isinstance(edge, list) and edge]
        stamps = self.many([("HGET", self.keys.job(job_id), "ended_at") for job_id in ids])
        known = sorted(text(value) for value in stamps if isinstance(value, bytes) and value)
        return (known[0] if rank == 0 else known[-1]) if known else None

    def redis(self) -> dict[str, Any]:
        """What about the server matters to jobs."""
        found = self.server.again(self.server.information)
        offset = int(found.get("master_repl_offset", 0))
        replicas = [found[name] for name in sorted(found) if name.startswith("slave") and isinstance(found[name], dict)]
        return {
            "host": self.server.endpoint.host,
            "port": self.server.endpoint.port,
            "role": "master",
            "version": str(found.get("redis_version", "")),
            "replicas": int(found.get("connected_slaves", 0)),
            "lag_bytes": max((offset - int(replica.get("offset", 0)) for replica in replicas), default=0),
            "aof": bool(found.get("aof_enabled", 0)),
            "maxmemory_policy": str(found.get("maxmemory_policy", "")),
            "evicted_keys": int(found.get("evicted_keys", 0)),
        }

    def orphans(self) -> dict[str, Any]:
        """Jobs that are nowhere, of all queues that are meant; looked at twice, without a wait between."""
        shown = set(self.names)
        meant = [job for job in lost_jobs(self.server, self.keys) if job.origin in shown or not self.params["queues"]]
        found = still_lost(self.server, self.keys, meant)
        counts = Counter(job.status for job in found)
        jobs = [{"id": text(job.job_id), "queue": text(job.origin), "status": job.status} for job in found[:SHOWN]]
        return {"counts": dict(counts), "jobs": jobs, "can_be_put_back": sum(counts[status] for status in PUT_BACK)}

    def integrity(self) -> dict[str, Any]:
        """Entries of queues and registries that no job belongs to, and ids that wait twice."""
        found: dict[str, Any] = {}
        for name in self.names:
            states: Counter[str] = Counter()
            seen: set[int] = set()
            total = 0
            for page in waiting(self.server, self.keys.queue(name)):
                states.update(self.states(page))
                seen.update(map(hash, page))
                total += len(page)
            over = {status: count for status, count in states.items() if status in ("finished", "canceled", "stopped")}
            found[text(name)] = {
                "ghosts": states["missing"],
                "duplicates": total - len(seen),
                "over": over,
                "wrong_type": states["wrong_type"],
            }
        return found

    def states(self, page: Sequence[bytes]) -> Counter[str]:
        """Statuses of some jobs, counted."""
        raw = self.server.again(lambda: self.server.run(lua.STATES, [], [self.keys.prefix, *page], read_only=True))
        found = unpack(raw)
        return Counter({status: int(count) for status, count in found.items()} if isinstance(found, dict) else {})

    def everything(self) -> dict[str, Any]:
        """What the module returns."""
        wanted = self.params["gather"]
        found: dict[str, Any] = {"suspended": self.suspended()}
        for part in ("queues", "workers", "lost", "redis", "orphans", "integrity"):
            if part in wanted:
                found[part] = getattr(self, part)()
        if "queues" in wanted:
            found["rate_limits"] = self.rate_limited()
        if "schedulers" in wanted:
            found.update(self.locks())
        if "redis" in wanted:
            found["unrecoverable"] = unrecoverable(self.server)
        return found


def work(params: dict[str, Any], check: bool, make: Callable[..., Server] = Server) -> dict[str, Any]:
    """The module rq_info; it never changes anything, so check mode is the same."""
    del check
    server = make(target(params))
    try:
        return Info(server, params).everything()
    except CONNECTION_ERRORS as error:
        raise server.error(error) from error

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an outage means to the applications: RQ's queues and workers, and the sessions that are kept in Redis."""

from __future__ import annotations

import fnmatch
import time
from collections import Counter
from contextlib import closing
from typing import Any, Mapping, Sequence

from ..common.client import CONNECTION_ERRORS, Credentials, Endpoint, reason
from ..errors import LifelineError
from ..rq import options
from ..rq.info import Info
from ..rq.server import Server, Target
from .server import hopeless

# What is asked takes the same time whatever the length of a queue; this bounds how many of them are asked about.
QUEUES = 200
NAMES = 20
# Seconds after which a lease that ran out, and a scheduled job that is due, is nobody's any more.
GRACE = 60.0
# Lost jobs that are looked at closer, and only where the counts say that there are any.
LOST_SAMPLE = 200
LOST = ("sources", "queues", "left_jobs", "complete", "by_exception")
# Keys that sessions are estimated from, and the seconds that this may take.
SCAN_COUNT, SCAN_CALLS, SCAN_S = 500, 20, 0.2


class Anyone(Server):
    """Primary or replica: an outage is no reason to know nothing of the queues."""

    def _find(self) -> None:
        if self.target.endpoint:
            self._open(self.target.endpoint)


def look(
    ways: Sequence[Endpoint],
    credentials: Credentials,
    database: int = 0,
    prefix: str = "rq",
    sessions: Sequence[str] = (),
    closer: bool = False,
) -> dict[str, Any]:
    """``{reachable, error, database, role, evicted, policy, suspended, queues, queues_more, workers, schedulers,
    sessions, lost}`` of the first of ``ways`` that answers; reads only.

    ``queues``: by name ``{length, intermediate, failed, started, lease_expired, scheduled, scheduled_overdue, deferred,
    oldest_age, ...}`` (counts; -1 where RQ's key is something else; ages in seconds). ``workers``: see ``crew``.
    ``suspended``: null, or ``{ttl}``, null until somebody resumes them. ``sessions``: by pattern, see ``estimate``.
    ``lost``: with ``closer``, what rq_requeue would put back, of a sample; it runs RQ requeue's read-only script.
    """
    defaults = {name: option.get("default") for name, option in options.info().items()}
    params = {**defaults, "key_prefix": prefix, "grace": GRACE, "sample": LOST_SAMPLE, "ready_timeout": 0.0}
    errors = []
    for way in ways:
        target = Target(credentials, endpoint=way, database=database, ready_seconds=0.0)
        try:
            server = Anyone(target)
            with closing(server.client):
                return {
                    "reachable": True,
                    "error": "",
                    "database": database,
                    **_ask(Info(server, params), sessions, closer),
                }
        except (LifelineError, *CONNECTION_ERRORS) as error:
            errors.append(str(error) if isinstance(error, LifelineError) else reason(error))
            if hopeless(way, reason(error)):
                break
    return {"reachable": False, "error": "; ".join(errors), "database": database}


def _ask(info: Info, sessions: Sequence[str], closer: bool) -> dict[str, Any]:
    more = max(0, len(info.names) - QUEUES)
    info.names = info.names[:QUEUES]
    queues = info.queues()
    server = info.server.information()
    found = {
        "role": {"master": "primary", "slave": "replica"}.get(str(server.get("role")), ""),
        "evicted": int(server.get("evicted_keys", 0)),
        "policy": str(server.get("maxmemory_policy", "")),
        "suspended": info.suspended(),
        "queues": queues,
        "queues_more": more,
        "workers": crew(info.workers()),
        "schedulers": info.locks()["schedulers"],
        "sessions": _sessions(info.server.client, sessions),
    }
    stuck = any(row[kind] > 0 for row in queues.values() for kind in ("failed", "lease_expired", "intermediate"))
    if closer and stuck:
        lost = info.lost()
        found["lost"] = {
            name: lost.get(name) for name in ("sources", "queues", "left_jobs", "complete", "by_exception")
        }
    return found


def crew(workers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """``{live, dead, busy, by_queue, by_host, names_dead, oldest_heartbeat}`` of RQ's registered workers.

    ``dead`` are those whose key is gone. ``by_queue``: how many live workers listen to each queue.
    """
    live = [worker for worker in workers if worker["live"]]
    dead = [str(worker["name"]) for worker in workers if not worker["live"]]
    queues = Counter(name for worker in live for name in str(worker.get("queues", "")).split(",") if name)
    hosts = Counter(str(worker.get("hostname", "")) for worker in live)
    beats = [worker["heartbeat_age"] for worker in live if worker.get("heartbeat_age") is not None]
    return {
        "live": len(live),
        "dead": len(dead),
        "busy": sum(worker.get("state") == "busy" for worker in live),
        "by_queue": dict(queues.most_common(QUEUES)),
        "by_host": dict(hosts.most_common(NAMES)),
        "names_dead": dead[:NAMES],
        "oldest_heartbeat": max(beats, default=None),
    }


def _sessions(client: Any, patterns: Sequence[str]) -> dict[str, Any]:
    if not patterns:
        return {}
    total = int(client.dbsize())
    names: list[bytes] = []
    cursor: Any = 0
    until = time.monotonic() + SCAN_S
    for _call in range(SCAN_CALLS):
        cursor, page = client.scan(cursor=cursor, count=SCAN_COUNT)
        names += page
        if not cursor or time.monotonic() > until:
            break
    return estimate(names, patterns, total, complete=not cursor)


def estimate(names: Sequence[bytes], patterns: Sequence[str], total: int, complete: bool) -> dict[str, Any]:
    """By pattern ``{keys, exact}``: how many of ``total`` keys match, told from those that were seen."""
    seen = [name.decode("utf-8", "replace") for name in set(names)]
    found: dict[str, Any] = {}
    for pattern in patterns:
        matched = sum(fnmatch.fnmatchcase(name, pattern) for name in seen)
        share = matched / len(seen) if seen else 0.0
        found[pattern] = {"keys": matched if complete else round(share * total), "exact": complete}
    return found

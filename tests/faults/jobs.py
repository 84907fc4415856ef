# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Injectors of the family rq. The application's own code puts the jobs there, into a queue that nobody listens to."""

from __future__ import annotations

import time
from collections.abc import Iterator

from base import LEFT, Expect, fault
from lab import Lab, wait_for

QUEUE = "unattended"
ENQUEUE = """
import os, redis, rq, sys
for line in open('/etc/rq/redis.env'):
    name, _, value = line.strip().partition('=')
    if name == 'REDIS_URL':
        url = value.strip('"')
connection = redis.Redis.from_url(url)
queue = rq.Queue(sys.argv[1], connection=connection)
print(queue.enqueue('time.sleep', 0, job_id='lifeline-fault').id)
"""


def enqueue(lab: Lab) -> None:
    """One job that waits in a queue without workers."""
    said = lab.on("app1", "/opt/lab-app/venv/bin/python", "-c", ENQUEUE, QUEUE)
    assert "lifeline-fault" in said, said


def clear(lab: Lab) -> None:
    """Take away all that these injectors put into Redis."""
    primary = lab.primary()
    kinds = ("queue", "wip", "scheduled")
    keys = ["rq:job:lifeline-fault", *(f"rq:{kind}:{QUEUE}" for kind in kinds)]
    lab.redis(primary, "DEL", *keys)
    lab.redis(primary, "SREM", "rq:queues", f"rq:queue:{QUEUE}")


@fault("workers_suspended", quick=True, recovery=LEFT)
def suspended(lab: Lab) -> Iterator[Expect]:
    primary = lab.primary()
    lab.redis(primary, "SET", "rq:suspended", "1")
    yield Expect("redis")
    lab.redis(primary, "DEL", "rq:suspended")


@fault("units_unwell", "worker", quick=True)
def worker_killed(lab: Lab) -> Iterator[Expect]:
    lab.kill_for_good("app1", "rq-worker@1.service")
    yield Expect("app1")
    lab.on("app1", "systemctl", "reset-failed", "rq-worker@1.service")
    lab.on("app1", "systemctl", "start", "rq-worker@1.service")


@fault("workers_gone")
def worker_forgotten(lab: Lab) -> Iterator[Expect]:
    primary = lab.primary()
    lab.redis(primary, "SADD", "rq:workers", "rq:worker:lifeline-gone")
    yield Expect("redis")
    lab.redis(primary, "SREM", "rq:workers", "rq:worker:lifeline-gone")


@fault("queue_unattended", recovery=LEFT)
def nobody_listens(lab: Lab) -> Iterator[Expect]:
    enqueue(lab)
    yield Expect("redis", within=60)
    clear(lab)


@fault("jobs_abandoned", recovery=LEFT)
def lease_ran_out(lab: Lab) -> Iterator[Expect]:
    enqueue(lab)
    primary = lab.primary()
    lab.redis(primary, "LREM", f"rq:queue:{QUEUE}", "1", "lifeline-fault")
    lab.redis(primary, "HSET", "rq:job:lifeline-fault", "status", "started")
    lab.redis(primary, "ZADD", f"rq:wip:{QUEUE}", str(int(time.time()) - 300), "lifeline-fault")
    yield Expect("redis")
    clear(lab)


@fault("scheduler_absent", recovery=LEFT)
def nobody_schedules(lab: Lab) -> Iterator[Expect]:
    enqueue(lab)
    primary = lab.primary()
    lab.redis(primary, "LREM", f"rq:queue:{QUEUE}", "1", "lifeline-fault")
    lab.redis(primary, "HSET", "rq:job:lifeline-fault", "status", "scheduled")
    lab.redis(primary, "ZADD", f"rq:scheduled:{QUEUE}", str(int(time.time()) - 300), "lifeline-fault")
    yield Expect("redis")
    clear(lab)


@fault("data_evicted", "allowed", recovery=LEFT)
def policy_evicts(lab: Lab) -> Iterator[Expect]:
    primary = lab.primary()
    lab.redis(primary, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    yield Expect(primary)
    lab.redis(primary, "CONFIG", "SET", "maxmemory-policy", "noeviction")


@fault("data_evicted", "evicted", recovery=LEFT, destroys=True)
def keys_evicted(lab: Lab) -> Iterator[Expect]:
    """Keys that come and go, until some were evicted: there is room for the application's own, which are newer."""
    primary = lab.primary()
    before = lab.redis(primary, "CONFIG", "GET", "maxmemory").split()[1]
    lab.redis(primary, "CONFIG", "SET", "maxmemory-policy", "volatile-ttl")
    used = int(
        next(line for line in lab.redis(primary, "INFO", "memory").split() if line.startswith("used_memory:"))[12:]
    )
    fill = "for i = 1, 200 do redis.call('SET', KEYS[1] .. i, string.rep('x', 10000), 'EX', 30) end"
    lab.redis(primary, "CONFIG", "SET", "maxmemory", str(used + 1000000))

    def evicted() -> bool:
        lab.redis(primary, "EVAL", fill, "1", "rq:lifeline-fault:")
        return "evicted_keys:0" not in lab.redis(primary, "INFO", "stats")

    wait_for(evicted, "an eviction", 20)
    yield Expect(primary)
    lab.redis(primary, "CONFIG", "SET", "maxmemory", before)
    lab.redis(primary, "CONFIG", "SET", "maxmemory-policy", "noeviction")
    lab.redis(primary, "CONFIG", "RESETSTAT")
    lab.on("app1", "systemctl", "restart", "rq-worker@1", "rq-worker@2")  # one whose key is gone never writes it again

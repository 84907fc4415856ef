# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""With ttl_policy rq, rq_requeue leaves exactly what RQ's own registry.requeue leaves, from RQ 1.10 to 3.0."""

from __future__ import annotations

from typing import Any

import pytest
from rqlab import VERSIONS, ran


def contents(client: Any) -> dict[str, Any]:
    """Every key of RQ's: its value and its TTL. Times of enqueueing are left out, the only thing that may differ."""
    found: dict[str, Any] = {}
    for key in sorted(client.scan_iter("rq:*")):
        kind = client.type(key)
        if kind == b"hash":
            value: Any = {name: text for name, text in client.hgetall(key).items() if name != b"enqueued_at"}
        elif kind == b"list":
            value = client.lrange(key, 0, -1)
        elif kind == b"zset":
            value = client.zrange(key, 0, -1, withscores=True)
        elif kind == b"set":
            value = client.smembers(key)
        else:
            value = client.dump(key)
        found[key.decode()] = value
    return found


def ttls(client: Any) -> dict[str, int]:
    """Seconds left of every key of RQ's."""
    return {key.decode(): client.ttl(key) for key in client.scan_iter("rq:*")}


def jobs_of_many_kinds(rq: Any, client: Any) -> list[str]:
    """Failed jobs with everything that a requeue must not touch, or must."""
    ids = [
        *rq.enqueue(count=2, prefix="plain"),
        *rq.enqueue(prefix="ttl", ttl=600, failure_ttl=900),
        *rq.enqueue(prefix="forever", failure_ttl=-1, job_timeout=-1),
        *rq.enqueue(prefix="meta", meta={"who": "me"}, description="a: b"),
        *rq.enqueue(prefix="parent"),
        *rq.enqueue(prefix="retried", retry=1),
    ]
    rq.enqueue(prefix="child", depends_on="parent00000")
    client.set("test:fail", 1)
    rq.work()
    client.delete("test:fail")
    assert client.zcard("rq:failed:default") == len(ids)
    return ids


@pytest.mark.parametrize("version", VERSIONS)
def test_the_end_is_rqs_own_and_workers_run_every_job_once(version, rqs, server, redis_server, client, module):
    rq = rqs[version].use(server.port)
    ids = jobs_of_many_kinds(rq, client)
    # The same data once more, on a server where RQ does it.
    other = redis_server().client(decode_responses=False)
    for key in client.scan_iter():
        other.restore(key, max(0, client.pttl(key)), client.dump(key))
    rq.use(other.connection_pool.connection_kwargs["port"]).requeue()
    result = module.requeue(ttl_policy="rq")
    assert result["requeued"] == len(ids)
    ours, theirs = contents(client), contents(other)
    assert ours == theirs
    mine, others = ttls(client), ttls(other)
    assert {name: ttl for name, ttl in mine.items() if abs(ttl - others[name]) > 2} == {}
    rq.use(server.port).work()
    rq.work()
    assert ran(client) == dict.fromkeys([*ids, "child00000"], 1)
    assert {rq.status(job_id=job_id) for job_id in ids} == {"finished"}


@pytest.mark.parametrize("rq", ["2.12.0", "3.0.0"], indirect=True)
def test_jobs_go_to_their_own_queue_not_to_the_registrys(rq, client, module):
    ids = rq.enqueue(count=2, queue="default")
    client.set("test:fail", 1)
    rq.work()
    client.rename("rq:failed:default", "rq:failed:elsewhere")
    client.sadd("rq:queues", "rq:queue:elsewhere")
    client.srem("rq:queues", "rq:queue:default")
    assert module.requeue(queues=["elsewhere"])["queues"] == {"default": 2}
    assert client.sismember("rq:queues", "rq:queue:default"), "a queue that was forgotten is known again"
    assert sorted(client.lrange("rq:queue:default", 0, -1)) == sorted(job_id.encode() for job_id in ids)

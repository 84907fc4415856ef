# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Registries with holes, wrong types, odd ids and odd scores: nothing raises a traceback, and nothing is lost."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rqlab import Module, everything
from servers import Servers

IDS = st.one_of(
    st.sampled_from([b"a", b"a:b", b"x" * 300, b"a:" + b"0" * 32, b"*", b"[", b"\xff\xfe", b"\x00", b" ", b'"\\\n']),
    st.binary(min_size=1, max_size=12),
)
STATUSES = st.sampled_from(["failed", "stopped", "queued", "started", "finished", "canceled", "deferred", "scheduled",
                            "ready_to_enqueue", "rate_limited", "", "nonsense"])  # fmt: skip
SCORES = st.one_of(st.sampled_from([-1.0, 0.0, 1e9, 4e9, math.inf, -math.inf]), st.floats(1e9, 2e9))
TEXTS = st.one_of(
    st.just(""), st.just("2026-11-23T03:00:00.000000Z"), st.just("2026-11-23T03:00:00Z"), st.text(max_size=8)
)
HASHES = st.fixed_dictionaries(
    {"status": STATUSES},
    optional={
        "origin": st.sampled_from(["default", "other", "", "ü", "wrong"]),
        "created_at": TEXTS,
        "ended_at": TEXTS,
        "enqueued_at": TEXTS,
        "timeout": st.sampled_from(["180", "-1", "x"]),
        "ttl": st.sampled_from(["600", "-1", "0", "x"]),
        "failure_ttl": st.sampled_from(["600", "-1", "x"]),
        "data": st.binary(max_size=40),
        "exc_info": st.binary(max_size=40),
        "worker_name": TEXTS,
        "dependency_ids": st.sampled_from(["", "[]", '["a"]', "{", '[1, null, {"a": 1}]', "7"]),
        "rate_limit_key": st.sampled_from(["", "api", "bad"]),
        "rate_limit_concurrency": st.sampled_from(["1", "0", "-1", "x"]),
        "lifeline_requeues": st.sampled_from(["1", "x"]),
    },
)
# A job's key may also be of another type altogether, or missing.
JOBS = st.dictionaries(IDS, st.one_of(HASHES, st.just("string"), st.just("list"), st.none()), max_size=12)
REGISTRIES = st.lists(
    st.sampled_from(["failed", "wip", "scheduled", "deferred", "ready", "list", "intermediate"]), max_size=3
)
SOURCES = ["failed", "abandoned", "intermediate", "orphaned", "scheduled_overdue", "deferred_ready", "ready"]


def store(client: Any, jobs: dict[bytes, Any], places: list[list[str]], scores: list[float]) -> None:
    """Write it all."""
    client.flushall()
    client.sadd("rq:queues", "rq:queue:default", "rq:queue:other", "nonsense", b"\xff")
    client.set("rq:queue:wrong", "no list")
    client.set("rq:rl:bad", "no hash")
    for (job_id, job), where, score in zip(jobs.items(), places, scores, strict=False):
        key = b"rq:job:" + job_id
        if isinstance(job, dict):
            client.hset(key, mapping=job)
            client.expire(key, 900)
            client.xadd(b"rq:results:" + job_id, {"type": "2", "exc_string": job.get("exc_info", b"x")})
        elif job == "string":
            client.set(key, "x")
        elif job == "list":
            client.rpush(key, "x")
        for place in where:
            if place == "list":
                client.rpush("rq:queue:default", job_id)
            elif place == "intermediate":
                client.rpush("rq:queue:default:intermediate", job_id)
            else:
                client.zadd(f"rq:{place}:default", {job_id: score})


def held_somewhere(client: Any) -> set[bytes]:
    """Ids that a queue, a registry or a limiter has."""
    found: set[bytes] = set()
    for key in client.scan_iter():
        kind = client.type(key)
        if kind == b"list" and key.startswith(b"rq:queue:"):
            found.update(client.lrange(key, 0, -1))
        elif kind == b"zset":
            found.update(client.zrange(key, 0, -1))
    return found


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One server for all examples."""
    servers = Servers(tmp_path_factory.mktemp("any"), lambda: pytest.fail("no TLS here"))
    yield servers()
    servers.close()


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    jobs=JOBS,
    places=st.lists(REGISTRIES, min_size=12, max_size=12),
    scores=st.lists(SCORES, min_size=12, max_size=12),
    options=st.fixed_dictionaries(
        {},
        optional={
            "position": st.just("front"),
            "failed_after": st.just("2026-11-23T02:00:00Z"),
            "failed_before": st.just("2026-11-23T04:00:00Z"),
            "functions": st.just(["*"]),
            "exception": st.just("."),
            "max_requeues": st.just(1),
            "include_stopped": st.booleans(),
            "include_completed": st.booleans(),
            "allow_missing_parents": st.booleans(),
            "retries": st.just("2"),
            "batch_size": st.sampled_from([1, 2]),
            "dedupe": st.just(True),
        },
    ),
)
def test_nothing_is_lost_and_check_mode_is_exact(shared, jobs, places, scores, options):
    client, module = shared.client(decode_responses=False), Module(shared)
    store(client, jobs, places, scores)
    given_ = {"queues": ["default", "other"], "sources": SOURCES, "grace": 0.001, **options}
    before = everything(client)
    there = held_somewhere(client)
    predicted = module.requeue(check=True, **given_)
    assert everything(client) == before
    done = module.requeue(**given_)
    assert done["requeued"] <= predicted["requeued"], "a job in two registries is put back from one"
    assert (done["requeued"] > 0) == (predicted["requeued"] > 0)
    after = held_somewhere(client)
    gone = {job_id for job_id in there - after if not lease(job_id, after)}
    assert not gone
    # Whatever was put back says so, and the second run finds none of it.
    assert module.requeue(**given_)["requeued"] == 0 or options.get("max_requeues")
    module.info(gather=["queues", "workers", "schedulers", "lost", "redis", "orphans", "integrity"])
    module.hold(queues=["default", "other"])
    module.hold(queues=["default", "other"], state="released")


def lease(job_id: bytes, after: set[bytes]) -> bool:
    """Whether an entry of wip, id:execution, became the id that it stands for."""
    return job_id.rpartition(b":")[0] in after


@given(st.lists(st.tuples(IDS, SCORES), unique_by=lambda pair: pair[0], max_size=30), st.integers(1, 7))
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_pages_visit_every_entry_once_whatever_its_score(shared, entries, size):
    client, module = shared.client(decode_responses=False), Module(shared)
    client.flushall()
    client.sadd("rq:queues", "rq:queue:default")
    for number, (job_id, score) in enumerate(entries):
        values = {"status": "stopped" if number % 3 == 0 else "failed", "origin": "default", "created_at": "x"}
        client.hset(b"rq:job:" + job_id, mapping=values)
        client.zadd("rq:failed:default", {job_id: score})
    order = [name for name in client.zrange("rq:failed:default", 0, -1)]
    meant = [name for name in order if client.hget(b"rq:job:" + name, "status") == b"failed"]
    result = module.requeue(batch_size=size)
    assert result["requeued"] == len(meant)
    assert client.lrange("rq:queue:default", 0, -1) == meant
    assert sum(result["left"].values()) == len(order) - len(meant)

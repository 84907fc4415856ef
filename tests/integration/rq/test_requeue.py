# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""rq_requeue against real servers and real RQ: what it moves, what it leaves, and that workers then run it once."""

from __future__ import annotations

import time
from typing import Any

import pytest


def fail(rq: Any, client: Any, count: int = 5, **options: Any) -> list[str]:
    """Jobs that ran and failed; they succeed from now on."""
    ids = rq.enqueue(count=count, **options)
    client.set("test:fail", 1)
    rq.work(queues=[options.get("queue", "default")], serializer=options.get("serializer"))
    client.delete("test:fail")
    assert client.zcard("rq:failed:" + options.get("queue", "default")) >= count
    return ids


def ran(client: Any) -> dict[str, int]:
    """How often each job did its work."""
    return {name.decode(): int(count) for name, count in client.hgetall("test:ran").items()}


def everything(client: Any) -> dict[bytes, Any]:
    """All keys with their values, for telling whether anything was written."""
    return {key: client.dump(key) for key in client.scan_iter()}


def test_failed_jobs_run_again_once_and_a_second_run_finds_nothing(rq, client, module):
    ids = fail(rq, client, 7)
    result = module.requeue()
    assert result.changed
    assert result["requeued"] == 7
    assert sorted(result["job_ids"]) == sorted(ids)
    assert result["queues"] == {"default": 7}
    assert result["by_exception"] == {"RuntimeError": 7}
    assert result["by_function"] == {"rq_app.work": 7}
    assert result["diff"]["before"] == {"default": {"queued": 0, "failed": 7}}
    assert result["diff"]["after"] == {"default": {"queued": 7, "failed": 0}}
    assert not module.requeue().changed
    rq.work()
    assert ran(client) == dict.fromkeys(ids, 1)
    assert {rq.status(job_id=job_id) for job_id in ids} == {"finished"}
    assert not list(client.scan_iter("rq:lifeline:*"))


def test_check_mode_says_the_same_and_writes_nothing(rq, client, module):
    fail(rq, client, 6)
    before = everything(client)
    result = module.requeue(check=True)
    assert (result["requeued"], result.changed) == (6, True)
    assert everything(client) == before
    assert module.requeue()["diff"] == result["diff"]


def test_order_is_kept_at_both_ends(rq, client, module):
    ids = fail(rq, client, 30)
    order = [name.decode() for name in client.zrange("rq:failed:default", 0, -1)]
    waiting = rq.enqueue(count=1)
    module.requeue(position="front", batch_size=7)
    assert [name.decode() for name in client.lrange("rq:queue:default", 0, -1)] == order + waiting
    assert sorted(order) == sorted(ids)


def test_window(rq, client, module):
    early = fail(rq, client, 3)
    time.sleep(0.01)
    between = time.time()
    time.sleep(0.01)
    late = fail(rq, client, 4)
    result = module.requeue(all_jobs=False, failed_after=str(between))
    assert sorted(result["job_ids"]) == sorted(late)
    assert result["skipped"] == {"filtered": 3}
    assert result["remaining"] == 3
    result = module.requeue(all_jobs=False, failed_before=str(between))
    assert sorted(result["job_ids"]) == sorted(early)


def test_holes_and_jobs_that_a_person_stopped_are_stepped_over(rq, client, module):
    ids = fail(rq, client, 5)
    client.delete("rq:job:" + ids[1])
    client.hset("rq:job:" + ids[3], "status", "stopped")
    result = module.requeue()
    assert result["requeued"] == 3
    assert result["skipped"] == {"missing": 1, "stopped": 1}
    assert {(job["id"], job["reason"]) for job in result["skipped_jobs"]} == {(ids[1], "missing"), (ids[3], "stopped")}
    assert module.requeue(include_stopped=True)["requeued"] == 1


def test_more_than_max_jobs_is_refused_before_anything_is_written(rq, client, module):
    fail(rq, client, 5)
    before = everything(client)
    result = module.requeue(max_jobs=4, fails=True)
    assert "max_jobs=4" in result["msg"]
    assert everything(client) == before
    assert module.requeue(max_jobs=4, on_excess="truncate")["requeued"] == 4
    assert client.zcard("rq:failed:default") == 1


def test_jobs_that_fail_again_during_the_run_are_left(rq, client, module):
    ids = fail(rq, client, 3)
    # As if a worker had taken this one right after its requeueing, and failed.
    client.hset("rq:job:" + ids[0], "enqueued_at", "2999-01-01T00:00:00.000000Z")
    result = module.requeue()
    assert result["requeued"] == 2
    assert result["skipped"] == {"failed_again": 1}


def test_filters_by_id_function_and_error(rq, client, module):
    ids = fail(rq, client, 3)
    others = fail(rq, client, 2, function="other")
    assert module.requeue(all_jobs=False, exception="no such error")["requeued"] == 0
    assert module.requeue(all_jobs=False, job_ids=[ids[0], "nobody"])["job_ids"] == [ids[0]]
    result = module.requeue(all_jobs=False, functions=["*.other"], exception="told to")
    assert sorted(result["job_ids"]) == sorted(others)
    assert module.requeue(all_jobs=False, exclude_functions=["*.work"])["requeued"] == 0
    assert module.requeue()["requeued"] == 2


def test_without_a_filter_everything_must_be_asked_for(module):
    assert "all_jobs: true" in module.requeue(all_jobs=False, fails=True)["msg"]
    assert "['*']" in module.requeue(queues=[], fails=True)["msg"]


def test_a_job_whose_worker_died_is_put_back_when_its_lease_has_run_out(rq, client, module):
    (job_id,) = rq.enqueue(function="die")
    client.set("test:fail", 1)
    with pytest.raises(AssertionError):  # the worker is gone, in the middle of the job
        rq.work(simple=False)
    client.delete("test:fail")
    (entry,) = client.zrange("rq:wip:default", 0, -1)
    assert module.requeue(sources=["abandoned"])["requeued"] == 0, "its lease still runs"
    later = time.time() - 100
    client.zadd("rq:wip:default", {entry: later})
    result = module.requeue(sources=["abandoned"])
    assert result["skipped"] == {"live_lease": 1}, "its worker's key is still there"
    for key in [*client.scan_iter("rq:execution:*"), *client.scan_iter("rq:worker:*")]:
        client.delete(key)
    result = module.requeue(sources=["failed", "abandoned"])
    assert result["requeued"] == 1
    assert result["sources"]["abandoned"] == 1
    assert client.zcard("rq:wip:default") == 0
    assert client.lrange("rq:queue:default", 0, -1) == [job_id.encode()]
    assert client.hget("rq:job:" + job_id, "status") == b"queued"
    assert client.ttl("rq:job:" + job_id) == -1


def test_a_replica_is_refused_and_nodes_find_the_primary(rq, client, module, server, redis_server):
    fail(rq, client, 2)
    replica = redis_server(replica_of=server)
    result = module.requeue(**replica.login(), fails=True)
    assert "is a replica of" in result["msg"]
    assert module.requeue(nodes=[replica.node(), server.node()])["requeued"] == 2


def test_a_key_of_another_type_is_named(client, module):
    client.sadd("rq:queues", "rq:queue:default")
    client.set("rq:failed:default", "x")
    assert "rq:failed:default" in module.requeue(fails=True)["msg"]


def test_sentinels_name_the_primary(rq, client, module, server, redis_server):
    fail(rq, client, 2)
    sentinel = redis_server.sentinel("jobs", server)
    where = {"sentinels": [f"127.0.0.1:{sentinel.port}"], "login_port": 1}
    assert "sentinel_service" in module.requeue(**where, fails=True)["msg"]
    assert "jobs" in module.requeue(**where, sentinel_service="nojobs", ready_timeout=1, fails=True)["msg"]
    assert module.requeue(**where, sentinel_service="jobs")["requeued"] == 2


def test_info_counts_without_changing_anything(rq, client, module):
    fail(rq, client, 3)
    rq.enqueue(count=2)
    before = everything(client)
    result = module.info()
    counts = result["queues"]["default"]
    assert (counts["length"], counts["failed"], counts["started"], counts["abandoned"]) == (2, 3, 0, 0)
    assert result["suspended"] is None
    assert result["redis"]["port"] == module.server.port
    assert everything(client) == before
    assert not result.changed

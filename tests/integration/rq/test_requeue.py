# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""rq_requeue against real servers and real RQ: what it moves, what it leaves, and that workers then run it once."""

from __future__ import annotations

import time

import pytest
from rqlab import DiedError, everything, fail, put, ran


def test_failed_jobs_run_again_once_and_a_second_run_finds_nothing(rq, client, module):
    ids = fail(rq, client, 7)
    result = module.requeue()
    assert result["changed"]
    assert result["requeued"] == 7
    assert sorted(result["job_ids"]) == sorted(ids)
    assert result["queues"] == {"default": 7}
    assert result["by_exception"] == {"RuntimeError": 7}
    assert result["by_function"] == {"rq_app.work": 7}
    assert result["diff"]["before"] == {"default": {"queued": 0, "failed": 7}}
    assert result["diff"]["after"] == {"default": {"queued": 7, "failed": 0}}
    assert not module.requeue()["changed"]
    rq.work()
    assert ran(client) == dict.fromkeys(ids, 1)
    assert {rq.status(job_id=job_id) for job_id in ids} == {"finished"}
    assert not list(client.scan_iter("rq:lifeline:*"))


def test_check_mode_says_the_same_and_writes_nothing(rq, client, module):
    fail(rq, client, 6)
    before = everything(client)
    result = module.requeue(check=True)
    assert (result["requeued"], result["changed"]) == (6, True)
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
    assert result["left"] == {"outside_window": 3}
    assert result["remaining"] == 3
    result = module.requeue(all_jobs=False, failed_before=str(between))
    assert sorted(result["job_ids"]) == sorted(early)


def test_holes_and_jobs_that_a_person_stopped_are_stepped_over(rq, client, module):
    ids = fail(rq, client, 5)
    client.delete("rq:job:" + ids[1])
    client.hset("rq:job:" + ids[3], "status", "stopped")
    result = module.requeue()
    assert result["requeued"] == 3
    assert result["left"] == {"missing": 1, "stopped": 1}
    assert {(job["id"], job["reason"]) for job in result["left_jobs"]} == {(ids[1], "missing"), (ids[3], "stopped")}
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
    assert result["left"] == {"failed_again": 1}


def test_filters_by_id_function_and_error(rq, client, module):
    ids = fail(rq, client, 3)
    others = fail(rq, client, 2, function="other")
    assert module.requeue(all_jobs=False, exception="no such error")["requeued"] == 0
    assert module.requeue(all_jobs=False, job_ids=[ids[0], "nobody"])["job_ids"] == [ids[0]]
    result = module.requeue(all_jobs=False, functions=["*.other"], exception="told to")
    assert sorted(result["job_ids"]) == sorted(others)
    assert module.requeue(all_jobs=False, exclude_functions=["*.work"])["requeued"] == 0
    assert module.requeue()["requeued"] == 2


def test_a_pattern_that_no_queue_matches_is_said(rq, client, module):
    fail(rq, client, 1)
    result = module.requeue(queues=["d*", "['default']", "gone"])
    assert result["requeued"] == 1
    assert [said for said in result["advice"] if "matches" in said] == ["No queue matches ['default']."]


def test_without_anything_to_do_nothing_is_done(client, module):
    for sources in (["failed"], ["failed", "abandoned", "intermediate", "orphaned", "scheduled_overdue", "ready"]):
        result = module.requeue(queues=["*"], sources=sources, grace=0.1)
        assert (result["changed"], result["requeued"], result["left"]) == (False, 0, {})
    assert not list(client.scan_iter())


def test_a_job_that_is_queued_already_is_not_queued_again(rq, client, module):
    (job_id,) = rq.enqueue()
    client.zadd("rq:failed:default", {job_id: 2e9})  # as RQ's requeue leaves it when it is cut off
    result = module.requeue()
    assert (result["requeued"], result["left"]) == (0, {"status_changed": 1})
    assert client.lrange("rq:queue:default", 0, -1) == [job_id.encode()]


def test_without_a_filter_everything_must_be_asked_for(module):
    assert "all_jobs: true" in module.requeue(all_jobs=False, fails=True)["msg"]
    assert "['*']" in module.requeue(queues=[], fails=True)["msg"]


def test_a_job_whose_worker_died_is_put_back_when_its_lease_has_run_out(rq, client, module):
    (job_id,) = rq.enqueue(function="die")
    client.set("test:fail", 1)
    with pytest.raises(DiedError):  # the worker is gone, in the middle of the job
        rq.work(simple=False)
    client.delete("test:fail")
    (entry,) = client.zrange("rq:wip:default", 0, -1)
    assert module.requeue(sources=["abandoned"])["requeued"] == 0, "its lease still runs"
    later = time.time() - 100
    client.zadd("rq:wip:default", {entry: later})
    result = module.requeue(sources=["abandoned"])
    assert result["left"] == {"live_lease": 1}, "its worker's key is still there"
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
    assert (counts["length"], counts["failed"], counts["started"], counts["lease_expired"]) == (2, 3, 0, 0)
    assert result["suspended"] is None
    assert result["redis"]["port"] == module.server.port
    assert everything(client) == before


def test_a_running_lease_of_a_worker_that_is_known_to_be_dead(rq, client, module):
    rq.enqueue(count=2, prefix="j", function="die")
    client.set("test:fail", 1)
    with pytest.raises(DiedError):
        rq.work(simple=False)
    client.delete("test:fail")
    (entry,) = client.zrange("rq:wip:default", 0, -1)
    job_id = entry.decode().partition(":")[0]
    worker = client.hget("rq:job:" + job_id, "worker_name").decode()
    options = {
        "sources": ["abandoned"],
        "all_jobs": False,
        "failed_after": str(time.time() - 60),
        "worker_silence": 0.2,
    }
    assert module.requeue(dead_workers=["another"], **options)["left"] == {"live_lease": 1}
    assert module.requeue(dead_workers=[worker], check=True, **options)["requeued"] == 1
    result = module.requeue(dead_workers=["another", worker], **options)
    assert (result["requeued"], client.zcard("rq:wip:default")) == (1, 0)
    rq.work()
    assert ran(client) == {"j00000": 1, "j00001": 1}


def test_max_jobs_counts_what_two_looks_find(client, module):
    for number in range(3):
        put(client, f"o{number}", "queued", enqueued_at=f"2026-01-01T00:00:0{number}.000000Z")
    put(client, "f", "failed")
    client.zadd("rq:failed:default", {"f": 2e9})
    options = {"sources": ["failed", "orphaned"], **QUICK}
    before = everything(client)
    assert "max_jobs=3" in module.requeue(max_jobs=3, fails=True, **options)["msg"]
    assert everything(client) == before
    assert module.requeue(max_jobs=3, on_excess="truncate", **options)["requeued"] == 3
    assert client.lrange("rq:queue:default", 0, -1) == [b"f", b"o0", b"o1"]
    assert module.requeue(max_jobs=3, **options)["requeued"] == 1


def test_a_window_takes_only_what_was_surely_lost_in_it(client, module):
    put(client, "before", "queued", enqueued_at="2026-11-23T03:00:00.000000Z")
    put(client, "inside", "queued", enqueued_at="2026-11-23T03:10:01.000000Z")
    put(client, "taken before", "queued", enqueued_at="2026-11-23T03:00:00.000000Z")
    put(client, "taken inside", "queued", enqueued_at="2026-11-23T03:10:01.000000Z")
    client.rpush("rq:queue:default:intermediate", "taken before", "taken inside")
    put(client, "ready before", "ready_to_enqueue")
    client.zadd("rq:ready:default", {"ready before": 1000})
    result = module.requeue(
        sources=["intermediate", "orphaned", "ready"], failed_after="2026-11-23T03:10:00Z", all_jobs=False, **QUICK
    )
    assert sorted(result["job_ids"]) == ["inside", "taken inside"]
    assert result["left"] == {"outside_window": 2}
    assert client.lrange("rq:queue:default:intermediate", 0, -1) == [b"taken before"]


def test_of_each_reason_some_jobs_are_named(client, module):
    for number in range(60):
        put(client, f"early{number:02d}", "failed", ended_at="2026-11-23T03:00:00.000000Z")
        put(client, f"stopped{number:02d}", "stopped", ended_at="2026-11-23T03:20:00.000000Z")
        client.zadd("rq:failed:default", {f"early{number:02d}": number, f"stopped{number:02d}": 100 + number})
    result = module.requeue(all_jobs=False, failed_after="2026-11-23T03:10:00Z", batch_size=10)
    assert result["left"] == {"outside_window": 60, "stopped": 60}
    assert [job["reason"] for job in result["left_jobs"]] == ["outside_window"] * 25 + ["stopped"] * 25


QUICK = {"grace": 0.3}


def test_jobs_that_a_worker_took_and_did_not_start_are_next_again(rq, client, module):
    waiting = rq.enqueue(count=3, prefix="j")
    for _ in range(2):
        client.lmove("rq:queue:default", "rq:queue:default:intermediate", "LEFT", "RIGHT")
    before = everything(client)
    assert module.requeue(sources=["intermediate"], check=True, **QUICK)["requeued"] == 2
    assert everything(client) == before
    assert module.requeue(sources=["intermediate"], **QUICK)["requeued"] == 2
    assert [name.decode() for name in client.lrange("rq:queue:default", 0, -1)] == waiting
    assert client.llen("rq:queue:default:intermediate") == 0
    assert not module.requeue(sources=["intermediate"], **QUICK)["changed"]
    rq.work()
    assert ran(client) == dict.fromkeys(waiting, 1)


def test_orphans_are_found_and_put_back_once(rq, client, module):
    queued = rq.enqueue(count=6, prefix="q")
    client.lrem("rq:queue:default", 1, queued[1])  # taken by a worker of two queues, that died then
    failed = fail(rq, client, 2, prefix="f", queue="other")
    client.zrem("rq:failed:other", failed[0])  # RQ's requeue, cut off
    put(client, "wandering", "scheduled")
    client.zadd("rq:scheduler:scheduled_jobs", {"wandering": 1})  # rq-scheduler's
    put(client, "lost", "scheduled")
    client.sadd("rq:job:x:dependents", "lost")
    before = everything(client)
    options = {"queues": ["*"], "sources": ["orphaned"], **QUICK}
    assert module.requeue(check=True, **options)["requeued"] == 2
    assert everything(client) == before
    result = module.requeue(**options)
    assert sorted(result["job_ids"]) == [failed[0], queued[1]]
    assert any("1 jobs say that they are scheduled" in said for said in result["advice"])
    assert module.requeue(**options)["requeued"] == 0
    rq.work(queues=["default", "other"])
    assert ran(client) == dict.fromkeys([*queued, failed[0]], 1)


def test_an_orphan_that_somebody_enqueues_between_the_looks_is_left(client, module, server):
    import threading

    put(client, "a", "queued", enqueued_at="2026-01-01T00:00:00.000000Z")

    def meanwhile() -> None:
        time.sleep(1.2)
        client.hset("rq:job:a", "enqueued_at", "2026-01-01T00:00:01.000000Z")
        client.rpush("rq:queue:default", "a")

    thread = threading.Thread(target=meanwhile)
    thread.start()
    result = module.requeue(sources=["orphaned"], grace=3)
    thread.join()
    assert result["requeued"] == 0
    assert client.lrange("rq:queue:default", 0, -1) == [b"a"]


def test_overdue_jobs_are_left_to_a_live_scheduler(rq, client, module):
    put(client, "late", "scheduled")
    put(client, "front", "scheduled", enqueue_at_front=1)
    put(client, "future", "scheduled")
    client.zadd("rq:scheduled:default", {"late": 1000, "front": 1001, "future": time.time() + 900})
    client.set("rq:scheduler-lock:default", "1", ex=60)
    result = module.requeue(sources=["scheduled_overdue"])
    assert (result["requeued"], result["left"]) == (0, {"scheduler_alive": 2})
    client.delete("rq:scheduler-lock:default")
    assert module.requeue(sources=["scheduled_overdue"])["requeued"] == 2
    assert client.lrange("rq:queue:default", 0, -1) == [b"front", b"late"]
    assert client.zrange("rq:scheduled:default", 0, -1) == [b"future"]
    rq.work()
    assert ran(client) == {"late": 1, "front": 1}


def test_deferred_jobs_whose_parents_finished(rq, client, module):
    (parent,) = rq.enqueue(prefix="p")
    (failing,) = rq.enqueue(prefix="bad", queue="other")
    ready = rq.enqueue(prefix="child", depends_on=parent)
    waits = rq.enqueue(prefix="waits", depends_on=failing)
    client.set("test:fail", 1)
    rq.work(queues=["other"])
    client.delete("test:fail")
    client.hset("rq:job:" + parent, "status", "finished")
    client.lrem("rq:queue:default", 0, parent)
    put(client, "lonely", "deferred")
    client.zadd("rq:deferred:default", {"lonely": 1})
    result = module.requeue(sources=["deferred_ready"])
    assert result["job_ids"] == ready
    assert result["left"] == {"waiting": 1, "missing_parents": 1}
    assert not client.exists("rq:job:" + parent + ":dependents")
    assert module.requeue(sources=["deferred_ready"], allow_missing_parents=True)["job_ids"] == ["lonely"]
    rq.work()
    assert ran(client) == {ready[0]: 1, "lonely": 1}
    assert client.zrange("rq:deferred:default", 0, -1) == [waits[0].encode()]


def test_dependents_of_a_requeued_parent_run(rq, client, module):
    (parent,) = rq.enqueue(prefix="p", failure_ttl=3)
    rq.enqueue(prefix="child", depends_on=parent)
    client.set("test:fail", 1)
    rq.work()
    client.delete("test:fail")
    assert 0 < client.ttl("rq:job:" + parent) <= 3
    assert module.requeue()["requeued"] == 1
    assert client.ttl("rq:job:" + parent) == -1
    assert client.ttl("rq:job:" + parent + ":dependents") == -1
    rq.work()
    rq.work()
    assert ran(client) == {parent: 1, "child00000": 1}


def test_ready_jobs_of_rq_3(client, module):
    put(client, "old", "ready_to_enqueue")
    put(client, "new", "ready_to_enqueue")
    client.zadd("rq:ready:default", {"old": 1000, "new": time.time()})
    result = module.requeue(sources=["ready"])
    assert result["job_ids"] == ["old"]
    assert client.zrange("rq:ready:default", 0, -1) == [b"new"]


@pytest.mark.parametrize("rq", ["3.0.0"], indirect=True)
def test_rate_limited_jobs_go_through_the_limiter(rq, client, module):
    ids = fail(rq, client, 5, rate_limit=["api", 2])
    assert module.requeue()["requeued"] == 5
    assert client.zcard("rq:rl:api:allowed") == 2
    assert client.zcard("rq:rl:api:rate_limited") == 3
    assert client.llen("rq:queue:default") == 2
    rq.work()
    assert ran(client) == dict.fromkeys(ids, 1)


@pytest.mark.parametrize("rq", ["2.12.0"], indirect=True)
def test_json_jobs_keep_their_meta(rq, client, module):
    (job_id,) = fail(rq, client, 1, serializer="json", meta={"who": "me"})
    before = client.hgetall("rq:job:" + job_id)
    result = module.requeue()
    assert result["by_function"] == {"rq_app.work": 1}
    after = client.hgetall("rq:job:" + job_id)
    assert (after[b"meta"], after[b"data"]) == (before[b"meta"], before[b"data"])
    rq.work(serializer="json")
    assert ran(client) == {job_id: 1}


def test_max_requeues_counts(rq, client, module):
    fail(rq, client, 2, prefix="j")
    for expected in (2, 2, 0):
        result = module.requeue(max_requeues=2)
        assert result["requeued"] == expected
        client.set("test:fail", 1)
        rq.work()
    assert result["left"] == {"max_requeues": 2}


def test_entries_without_a_job_can_be_pruned_or_refused(rq, client, module):
    ids = fail(rq, client, 4)
    client.delete("rq:job:" + ids[0])
    assert "missing: fail" in module.requeue(missing="fail", fails=True)["msg"]
    assert client.zcard("rq:failed:default") == 4
    result = module.requeue(missing="prune")
    assert (result["pruned"], result["requeued"]) == (1, 3)
    assert client.zcard("rq:failed:default") == 0


def test_retries_ttl_and_dedupe(rq, client, module):
    (job_id,) = fail(rq, client, 1, failure_ttl=600)
    client.rpush("rq:queue:default", job_id, "other")
    result = module.requeue(retries="2", ttl_policy="rq", dedupe=True)
    assert result["deduped"] == 1
    assert client.lrange("rq:queue:default", 0, -1) == [job_id.encode(), b"other"]
    assert client.hget("rq:job:" + job_id, "retries_left") == b"2"
    assert 590 < client.ttl("rq:job:" + job_id) <= 600


def test_a_rate_is_kept(rq, client, module):
    fail(rq, client, 60)
    result = module.requeue(rate=60)
    assert result["requeued"] == 60
    assert 0.9 <= result["duration"] <= 1.6


def test_a_run_in_pieces_is_the_run_as_a_whole(client, module):
    for number in range(500):
        put(client, f"j{number:03d}", "failed" if number % 5 else "stopped")
        client.zadd("rq:failed:default", {f"j{number:03d}": 2e9 + number})
    client.sadd("rq:queues", "rq:queue:default")
    pieces, options = 0, {"batch_size": 20, "time_limit": 0.000001}
    result = module.requeue(**options)
    while not result["finished"]:
        pieces += 1
        result = module.requeue(**options, resume=result["resume"])
    assert pieces > 10
    assert (result["requeued"], result["left"], result["remaining"]) == (400, {"stopped": 100}, 100)
    assert client.lrange("rq:queue:default", 0, -1) == [f"j{n:03d}".encode() for n in range(500) if n % 5]
    assert not list(client.scan_iter("rq:lifeline:*"))
    assert "resume" in module.requeue(resume={"tally": 1}, fails=True)["msg"]


def test_stopped_workers_must_be_stopped(rq, client, module):
    put(client, "a", "started", worker_name="w")
    client.zadd("rq:wip:default", {"a": time.time() + 60})
    client.sadd("rq:workers", "rq:worker:w")
    client.hset("rq:worker:w", mapping={"queues": "default,other", "last_heartbeat": "2026-01-01T00:00:00.000000Z"})
    assert "workers_stopped" in module.requeue(sources=["abandoned"], grace=0, fails=True)["msg"]
    options = {"sources": ["abandoned"], "grace": 0, "workers_stopped": True}
    assert "w still has a live key" in module.requeue(**options, fails=True)["msg"]
    assert module.requeue(**options, dead_workers=["w"], worker_silence=0.2)["requeued"] == 1


def test_warnings_name_what_keeps_jobs_from_running(rq, client, module):
    fail(rq, client, 1)
    client.set("rq:suspended", 1)
    said = " ".join(module.requeue()["advice"])
    assert "suspended until somebody resumes them" in said
    assert "No live worker listens to default" in said


def test_replicas_must_confirm(rq, client, module, server, redis_server):
    fail(rq, client, 3)
    result = module.requeue(wait_replicas=1, wait_timeout=50, fails=True)
    assert "Only 0 of 1 replicas" in result["msg"]
    assert result["requeued"] == 3
    redis_server(replica_of=server)
    fail(rq, client, 2, queue="other")
    assert module.requeue(queues=["other"], wait_replicas=1, wait_timeout=5000)["replicas_acked"] == 1


def test_the_worker_filter(rq, client, module):
    ids = fail(rq, client, 2)
    client.hset("rq:job:" + ids[0], "worker_name", "w1")
    assert module.requeue(all_jobs=False, worker=["w1", "w2"])["job_ids"] == [ids[0]]


def test_info_tells_what_is_lost_and_what_is_odd(rq, client, module):
    ids = fail(rq, client, 4)
    client.hset("rq:job:" + ids[0], "status", "stopped")
    client.delete("rq:job:" + ids[1])
    put(client, "nowhere", "queued", enqueued_at="2026-01-01T00:00:00.000000Z")
    put(client, "over", "canceled")
    client.rpush("rq:queue:default", "over", "ghost", "over")
    put(client, "late", "scheduled")
    client.zadd("rq:scheduled:default", {"late": 1})
    client.sadd("rq:workers", "rq:worker:dead", "rq:worker:live")
    client.hset("rq:worker:live", mapping={"state": "idle", "queues": "default", "last_heartbeat": "x"})
    before = everything(client)
    result = module.info(gather=["queues", "workers", "schedulers", "lost", "redis", "orphans", "integrity"])
    assert everything(client) == before
    assert result["lost"]["sources"] == {"failed": 2, "scheduled_overdue": 1}
    assert result["lost"]["queues"] == {"default": {"failed": 2, "scheduled_overdue": 1}}
    assert result["lost"]["left"] == {"stopped": 1, "missing": 1}
    assert result["lost"]["by_exception"] == {"RuntimeError": 2}
    assert result["lost"]["complete"]
    assert {worker["name"]: worker["live"] for worker in result["workers"]} == {"dead": False, "live": True}
    assert result["orphans"]["counts"] == {"queued": 1}
    assert result["integrity"]["default"] == {"ghosts": 1, "duplicates": 1, "over": {"canceled": 2}, "wrong_type": 0}
    assert "leave no trace" in result["unrecoverable"][0]
    assert not module.info(sample=1)["lost"]["complete"]

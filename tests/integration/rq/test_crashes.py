# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Clients and servers that die, replies that are lost, primaries that change: every job stays in exactly one place."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
from lifeline.common.client import CONNECTION_ERRORS
from lifeline.rq.server import Server, target
from modules import OLDEST, ROOT, STARTER, Modules, environment, shim
from rqlab import interpreter, put
from servers import wait_for
from wire import Wire

JOBS = 1500


def seed(client: Any, count: int = JOBS) -> list[str]:
    """Failed jobs."""
    ids = [f"j{number:05d}" for number in range(count)]
    pipeline = client.pipeline(transaction=False)
    for number, job_id in enumerate(ids):
        put(pipeline, job_id, "failed", ended_at="2026-11-23T03:00:00.000000Z")
        pipeline.expire("rq:job:" + job_id, 86400)
        pipeline.zadd("rq:failed:default", {job_id: 1.9e9 + number})
    pipeline.execute()
    return ids


def places(client: Any) -> tuple[list[str], list[str]]:
    """Ids in the queue and in the failed registry; each must have the status of its place."""
    queued = [name.decode() for name in client.lrange("rq:queue:default", 0, -1)]
    failed = [name.decode() for name in client.zrange("rq:failed:default", 0, -1)]
    for status, ids in (("queued", queued), ("failed", failed)):
        pipeline = client.pipeline(transaction=False)
        for job_id in ids:
            pipeline.hget("rq:job:" + job_id, "status")
        assert set(pipeline.execute()) <= {status.encode()}
    return queued, failed


def whole(client: Any, ids: list[str]) -> None:
    """Every job is in exactly one place."""
    queued, failed = places(client)
    assert sorted(queued + failed) == ids


def started(server: Any, **options: Any) -> subprocess.Popen[str]:
    """The module in a process of its own, with the options that its batches are small."""
    process = subprocess.Popen(
        [sys.executable, "-c", STARTER, ROOT / "library" / "rq_requeue.py", ROOT / "module_utils", shim()],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin
    chosen = {"queues": ["default"], "all_jobs": True, "batch_size": 10, **server.login(), **options}
    process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": chosen}))
    process.stdin.close()
    process.stdin = None
    return process


def answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What it printed."""
    printed, errors = process.communicate(timeout=60)
    assert printed, errors
    found: dict[str, Any] = json.loads(printed.strip().splitlines()[-1])
    return found


def some_are_back(client: Any, count: int = 50) -> None:
    """Wait until a run is under way."""
    wait_for(lambda: client.llen("rq:queue:default") >= count, "the first jobs to be back", 30)


def test_a_client_that_is_killed_leaves_nothing_half_done(client, server, module):
    ids = seed(client, 2 * JOBS)
    chance = random.Random(3)
    for _ in range(20):
        before = client.llen("rq:queue:default")
        process = started(server, rate=3000)
        some_are_back(client, before + 20)
        time.sleep(chance.random() / 50)  # anywhere in a batch
        process.kill()
        process.communicate()
        whole(client, ids)
    assert client.zcard("rq:failed:default"), "each was killed in the middle"
    module.requeue()
    queued, _ = places(client)
    assert sorted(queued) == ids


@pytest.mark.parametrize("fsync", ["always", "everysec"])
def test_a_server_that_is_killed_leaves_nothing_half_done(fsync, redis_server, tmp_path):
    config = {"appendonly": "yes", "appendfsync": fsync}
    server = redis_server(config=config)
    client = server.client(decode_responses=False)
    ids = seed(client)
    for round_ in range(10):
        process = started(server, rate=3000, ready_timeout=20)
        some_are_back(client, 50 + 100 * round_)
        server.kill()
        server = redis_server(config=config, port=server.port, directory=server.directory)
        client = server.client(decode_responses=False)
        result = answer(process)
        assert not result.get("failed"), result
        queued, _ = places(client)
        assert sorted(queued) == ids
        assert result["requeued"] == JOBS
        # Everything failed again, for the next round.
        client.delete("rq:queue:default")
        seed(client)


@pytest.mark.parametrize("library", [OLDEST[0], "redis==5.0.8", "redis==7.1.0", "newest"])
def test_a_lost_reply_is_looked_up_not_done_again(library, client, server):
    ids = seed(client, 300)
    wire = Wire(server.port)
    python = sys.executable if library == "newest" else environment((library,))
    wire.cut_reply_to(b'"action": "move"', after=3)
    result = Modules(python, library)("rq_requeue", {
        "login_host": "127.0.0.1", "login_port": wire.port, "queues": ["default"], "all_jobs": True, "batch_size": 20
    })  # fmt: skip
    wire.close()
    assert wire.cuts == 1
    assert result["requeued"] == 300
    assert [name.decode() for name in client.lrange("rq:queue:default", 0, -1)] == ids


def test_a_failover_in_mid_run_is_followed_and_counted_right(redis_server):
    primary = redis_server()
    replica = redis_server(replica_of=primary)
    client = primary.client(decode_responses=False)
    wait_for(lambda: replica.client().info("replication")["master_link_status"] == "up", "replication")
    ids = seed(client)
    wait_for(lambda: client.wait(1, 1000) == 1, "the replica")
    sentinel = redis_server.sentinel("jobs", primary)
    wait_for(lambda: sentinel.client().sentinel_master("jobs")["num-slaves"] == 1, "sentinel", 15)
    where = {"sentinels": [f"127.0.0.1:{sentinel.port}"], "sentinel_service": "jobs"}
    process = started(primary, **where, rate=1500, ready_timeout=40)
    some_are_back(client, 300)
    primary.kill()
    result = answer(process)
    assert not result.get("failed"), result
    queued, failed = places(replica.client(decode_responses=False))
    assert (sorted(queued), failed) == (ids, [])
    assert (result["requeued"], result["queues"]) == (JOBS, {"default": JOBS})
    assert result["redis"]["port"] == replica.port


def test_batches_that_no_replica_had_are_moved_again_and_counted_once(redis_server):
    primary = redis_server()
    wire = Wire(primary.port)
    replica = redis_server(config={"replicaof": f"127.0.0.1 {wire.port}"})
    client = primary.client(decode_responses=False)
    wait_for(lambda: replica.client().info("replication")["master_link_status"] == "up", "replication")
    ids = seed(client)
    wait_for(lambda: client.wait(1, 1000) == 1, "the replica")
    process = started(primary, nodes=[primary.node(), replica.node()], rate=1500, ready_timeout=40)
    some_are_back(client, 300)
    wire.block()  # what is moved from now on, no replica has
    before = client.llen("rq:queue:default")
    wait_for(lambda: client.llen("rq:queue:default") > before + 100, "more jobs")
    primary.kill()
    replica.client().replicaof("NO", "ONE")
    result = answer(process)
    assert not result.get("failed"), result
    queued, failed = places(replica.client(decode_responses=False))
    assert (sorted(queued), failed) == (ids, [])
    assert (result["requeued"], result["queues"]) == (JOBS, {"default": JOBS})
    assert any("A failover to" in said for said in result["advice"])


def test_a_planned_failover_in_mid_run(redis_server):
    primary = redis_server()
    replica = redis_server(replica_of=primary)
    client = primary.client(decode_responses=False)
    wait_for(lambda: replica.client().info("replication")["master_link_status"] == "up", "replication")
    ids = seed(client)
    nodes = [primary.node(), replica.node()]
    process = started(primary, nodes=nodes, rate=1500, ready_timeout=30)
    some_are_back(client, 200)
    client.execute_command("FAILOVER", "TO", "127.0.0.1", replica.port, "TIMEOUT", 5000)
    result = answer(process)
    assert not result.get("failed"), result
    queued, _ = places(replica.client(decode_responses=False))
    assert (sorted(queued), result["requeued"]) == (ids, JOBS)


def test_scripts_that_the_server_forgot_are_loaded_again(client, server):
    seed(client, 400)
    process = started(server, rate=400)
    some_are_back(client, 100)
    client.script_flush()
    result = answer(process)
    assert (result.get("msg"), result["requeued"]) == (None, 400)


@pytest.mark.parametrize("flushes", [1, 2, 3])
def test_a_script_that_is_flushed_between_its_loading_and_its_call_is_loaded_again(flushes, client, server):
    there = Server(target({"login_host": "127.0.0.1", "ready_timeout": 5, **server.login()}))
    send, left = there.client.execute_command, [flushes]

    def flushed(*command: Any) -> Any:
        reply = send(*command)
        if command[0] == "SCRIPT LOAD" and left[0]:
            left[0] -= 1
            client.script_flush()
        return reply

    there.client.execute_command = flushed
    if flushes < 3:
        assert there.run("return 'here'", [], []) == b"here"
    else:
        with pytest.raises(CONNECTION_ERRORS, match="matching script"):  # somebody flushes all the time
            there.run("return 'here'", [], [])


def test_a_server_that_starts_late_and_loads_slowly_is_waited_for(redis_server, module):
    server = redis_server(config={"appendonly": "yes"})
    seed(server.client(), 20)
    server.stop()
    # Microseconds for each of 80 commands; it answers LOADING between them.
    slow = {"appendonly": "yes", "key-load-delay": 40000, "loading-process-events-interval-bytes": 1024}
    late = threading.Timer(0.5, lambda: redis_server(port=server.port, directory=server.directory, config=slow))
    late.start()
    began = time.monotonic()
    assert module.requeue(**server.login(), ready_timeout=20)["requeued"] == 20
    assert time.monotonic() - began > 1.5, "it loaded for a second"
    late.join()
    server.stop()
    result = module.requeue(login_port=1, ready_timeout=0.2, fails=True)
    assert "127.0.0.1:1" in result["msg"]
    assert "refused" in result["msg"]


def test_without_memory_nothing_is_changed(client, server, module):
    ids = seed(client, 200)
    client.config_set("maxmemory", 1)
    result = module.requeue(fails=True)
    client.config_set("maxmemory", 0)
    assert "out of memory" in result["msg"]
    assert result["requeued"] == 0
    assert places(client) == ([], ids)
    client.config_set("min-replicas-to-write", 1)
    assert "replicas" in module.requeue(fails=True)["msg"]
    client.config_set("min-replicas-to-write", 0)
    assert places(client) == ([], ids)


def test_three_runs_at_once_beside_two_workers(rqs, client, server, module):
    rqs["2.12.0"].use(server.port).enqueue(count=400, prefix="j")
    ids = sorted(name.decode() for name in client.lrange("rq:queue:default", 0, -1))
    client.delete("rq:queue:default")
    for number, job_id in enumerate(ids):
        client.hset("rq:job:" + job_id, "status", "failed")
        client.zadd("rq:failed:default", {job_id: 1.9e9 + number})
    runs = [threading.Thread(target=module.requeue, kwargs={"batch_size": 7}) for _ in range(3)]
    for run in runs:
        run.start()
    workers = [
        subprocess.Popen(
            [interpreter("2.12.0").parent / "rq", "worker", "--burst", "--quiet", "-w", "rq.SimpleWorker",
             "--url", f"redis://127.0.0.1:{server.port}", "default"],
            cwd=ROOT / "tests" / "tools", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        for _ in range(2)
    ]  # fmt: skip
    for run in runs:
        run.join()
    for worker in workers:
        worker.wait(60)
    rqs["2.12.0"].work()
    assert client.hgetall("test:ran") == {job_id.encode(): b"1" for job_id in ids}


RIGHTS = (
    "~rq:* +ping +hello +client|setname +select +time +role +info +scan +type +exists +hget +hmget "
    "+hset +hdel +hincrby +hgetall +llen +lrange +lpos +lindex +lrem +lpush +rpush +zrange +zrevrange +zrangebyscore "
    "+zrank +zcard +zcount +zscore +zadd +zrem +zincrby +sadd +srem +smembers +sismember +del +expire +expireat +ttl "
    "+persist +get +set +xrevrange +eval +evalsha +evalsha_ro +script|load +wait"
)


def test_tls_an_acl_user_with_least_rights_and_a_unix_socket(redis_server, module, tmp_path):
    path = tmp_path / "redis.sock"
    server = redis_server(
        tls=True,
        users={"default": ("root", "~* &* +@all"), "requeue": ("p w#%\\", RIGHTS)},
        config={"unixsocket": path},
    )
    ids = seed(server.client(), 30)
    login = {**server.login("requeue"), "check_hostname": True}
    assert module.requeue(**login, max_jobs=10, on_excess="truncate", wait_replicas=0)["requeued"] == 10
    found = module.info(**login, gather=["queues", "workers", "schedulers", "lost", "redis", "orphans", "integrity"])
    assert found["lost"]["sources"] == {"failed": 20}
    assert module.hold(**login)["held"] == 20
    socket_login = {"login_unix_socket": str(path), "login_user": "requeue", "login_password": "p w#%\\"}
    every = ["failed", "abandoned", "intermediate", "orphaned", "scheduled_overdue", "deferred_ready", "ready"]
    assert module.requeue(**socket_login, sources=every, grace=0.1, dedupe=True, missing="prune")["requeued"] == 20
    assert sorted(server.client().lrange("rq:queue:default", 0, -1)) == ids
    bad = {**login, "login_password": "wrong", "ready_timeout": 1}
    assert "auth" in module.requeue(**bad, fails=True)["msg"]


def test_other_prefixes_databases_and_urls(rqs, server, module):
    client = server.client(db=3)
    for key, value in (("{rq}:queues", "{rq}:queue:default"),):
        client.sadd(key, value)
    client.hset("{rq}:job:a", mapping={"status": "failed", "origin": "default", "created_at": "x"})
    client.zadd("{rq}:failed:default", {"a": 2e9})
    assert module.requeue(url=f"redis://127.0.0.1:{server.port}/3", key_prefix="{rq}")["requeued"] == 1
    assert client.lrange("{rq}:queue:default", 0, -1) == ["a"]


def test_a_server_or_user_without_read_only_scripts(redis_server, module):
    """As before Redis 7: the same scripts are called by EVALSHA."""
    rights = RIGHTS.replace(" +evalsha_ro", "")
    server = redis_server(users={"default": ("root", "~* &* +@all"), "requeue": ("p", rights)})
    seed(server.client(), 5)
    assert module.requeue(**server.login("requeue"), check=True)["requeued"] == 5
    assert module.requeue(**server.login("requeue"))["requeued"] == 5


def test_a_right_that_is_missing_is_said_before_anything_is_changed(redis_server, module):
    rights = RIGHTS.replace(" +persist", "")
    server = redis_server(users={"default": ("root", "~* &* +@all"), "requeue": ("p", rights)})
    ids = seed(server.client(), 5)
    result = module.requeue(**server.login("requeue"), fails=True)
    assert "persist" in result["msg"].lower()
    assert places(server.client(decode_responses=False)) == ([], ids)

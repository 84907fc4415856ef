# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Real workers that die at each point of a job's way, with one queue and with two: the job is back once, or runs on."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any

import pytest
from rqlab import DiedError, Module, ran
from servers import wait_for
from wire import Wire

EVERY = ["failed", "abandoned", "intermediate", "orphaned"]
ONE, TWO = ["default"], ["default", "other"]
# The method of RQ's worker that the kill hits, before it does anything.
POINTS = {
    "popped": "execute_job",
    "before the horse": "fork_work_horse",
    "in the horse": "perform_job",
}


def kill(rq: Any, queues: list[str], point: str) -> None:
    """A worker takes a job and dies there, with its horse."""
    with pytest.raises(DiedError):
        rq.work(queues=queues, simple=False, dies_in=POINTS[point])


def age(client: Any) -> None:
    """As if two minutes had passed: leases and workers' keys have run out."""
    past = time.time() - 120
    for entry in client.zrange("rq:wip:default", 0, -1):
        client.zadd("rq:wip:default", {entry: past})
    for pattern in ("rq:execution:*", "rq:executions:*", "rq:worker:*"):
        for key in client.scan_iter(pattern):
            client.delete(key)


@pytest.mark.parametrize("rq", ["1.16.2", "2.12.0", "3.0.0"], indirect=True)
@pytest.mark.parametrize("queues", [ONE, TWO], ids=["one queue", "two queues"])
@pytest.mark.parametrize("point", POINTS)
def test_a_job_whose_worker_died(rq, client, module, point, queues):
    retry = {"retry": 1} if point == "in the horse" else {}
    (job_id,) = rq.enqueue(prefix="j", **retry)
    kill(rq, queues, point)
    assert client.llen("rq:queue:default") == 0
    options = {"queues": TWO, "sources": EVERY, "grace": 0.2}
    if client.zcard("rq:wip:default"):
        assert module.requeue(**options)["requeued"] == 0, "its lease still runs"
    age(client)
    before = module.requeue(check=True, **options)
    assert before["requeued"] == 1, before
    result = module.requeue(**options)
    assert (result["requeued"], result["job_ids"][0].partition(":")[0]) == (1, job_id)
    assert client.lrange("rq:queue:default", 0, -1) == [job_id.encode()]
    assert client.zcard("rq:wip:default") == 0
    assert client.llen("rq:queue:default:intermediate") == 0
    assert module.requeue(**options)["requeued"] == 0
    rq.work(queues=queues)
    assert ran(client) == {job_id: 1}
    assert rq.status(job_id=job_id) == "finished"


@pytest.mark.parametrize("rq", ["1.16.2", "3.0.0"], indirect=True)
def test_a_horse_that_outlives_its_worker_is_not_doubled(rq, client, module):
    (job_id,) = rq.enqueue(function="slow", args=[1.5])
    with pytest.raises(DiedError):
        rq.work(simple=False, dies_in="monitor_work_horse")
    wait_for(lambda: client.hget("test:running", job_id), "the horse")
    assert module.requeue(sources=EVERY, grace=0.1)["requeued"] == 0, "its lease still runs"
    wait_for(lambda: rq.status(job_id=job_id) == "finished", "the horse to finish")
    assert module.requeue(sources=EVERY, grace=0.1)["requeued"] == 0
    assert ran(client) == {job_id: 1}


def work_aside(rq: Any) -> threading.Thread:
    """A worker in the background; it may die of the outage."""

    def work() -> None:
        with contextlib.suppress(DiedError):
            rq.work(simple=False, impatient=True)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def left_alone(server: Any, job_id: str) -> None:
    """The job is among the failed, and is not put back unless somebody says so."""
    module = Module(server)
    result = module.requeue()
    assert (result["requeued"], result["left"]) == (0, {"completed": 1})
    assert module.info()["lost"]["left"] == {"completed": 1}
    assert module.requeue(include_completed=True)["job_ids"] == [job_id]


# A client that does not try again, as redis-py was up to 5: it is RQ's part of the traceback that this is about.
@pytest.mark.parametrize("version", ["1.16.2", "2.12.0", "3.0.0"])
def test_a_job_whose_function_had_returned_when_redis_was_lost_is_not_run_again(version, rqs, server):
    client = server.client()
    wire = Wire(server.port)
    (job_id,) = rqs[version].use(wire.port).enqueue(function="doze", args=[0.5])
    worker = work_aside(rqs[version])
    wait_for(lambda: client.hget("test:running", job_id), "the job")
    wire.cut_reply_to(b"last_heartbeat")
    worker.join(60)
    wire.close()
    assert wire.cuts == 1
    left_alone(server, job_id)

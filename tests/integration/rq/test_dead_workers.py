# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A live worker's running job stays where it is, whoever says that the worker is dead."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from lifeline.rq.progress import Progress, waiting_s

MINE = {"name": "w", "hostname": "app1"}


def beat() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@pytest.fixture
def running(client: Any) -> Any:
    """A job that worker ``w`` of app1 runs, and one that failed, as RQ 2 and 3 write them."""
    client.sadd("rq:queues", "rq:queue:default")
    for job, status in (("run", "started"), ("bad", "failed")):
        client.hset(f"rq:job:{job}", mapping={
            "status": status, "origin": "default", "created_at": "x", "data": "x", "enqueued_at": beat(),
            "ended_at": beat() if status == "failed" else "", "worker_name": "w",
        })  # fmt: skip
    client.zadd("rq:wip:default", {f"run:{'a' * 32}": time.time() + 90})
    client.zadd("rq:failed:default", {"bad": time.time() + 9999})
    client.sadd("rq:workers", "rq:worker:w")
    client.hset("rq:worker:w", mapping={
        "hostname": "app1", "pid": "7", "last_heartbeat": beat(), "birth": beat(), "queues": "default",
        "state": "busy", "current_job": "run",
    })  # fmt: skip
    return client


@contextmanager
def beating(client: Any) -> Iterator[None]:
    """As long as this lasts, the worker beats, quicker than RQ's own so that a test need not wait for it."""
    over = threading.Event()

    def live() -> None:
        while not over.wait(0.02):
            client.hset("rq:worker:w", "last_heartbeat", beat())

    heart = threading.Thread(target=live)
    heart.start()
    try:
        yield
    finally:
        over.set()
        heart.join()


def requeue(module: Any, *dead: Any, **more: Any) -> dict[str, Any]:
    options = {"sources": ["failed", "abandoned"], "dead_workers": list(dead), "worker_silence": 0.5, **more}
    found: dict[str, Any] = module.requeue(**options)
    return found


def where(client: Any) -> tuple[int, list[bytes]]:
    return client.zcard("rq:wip:default"), client.lrange("rq:queue:default", 0, -1)


@pytest.mark.parametrize("check", [True, False])
def test_B12_a_beating_heart_is_believed_before_any_host(running: Any, module: Any, check: bool) -> None:
    """Before: whoever was named in dead_workers had its running job put back, which then ran twice.

    Now: its heartbeat is watched, and compared again by the script that moves the job.
    """
    with beating(running):
        found = requeue(module, MINE, check=check)
    assert (found["requeued"], found["left"]) == (1, {"live_lease": 1})
    assert where(running) == ((1, []) if check else (1, [b"bad"]))


def test_B12_another_hosts_word_counts_for_nothing(running: Any, module: Any) -> None:
    began = time.monotonic()
    found = requeue(module, {"name": "w", "hostname": "app2"}, worker_silence=30.0)
    assert (found["requeued"], time.monotonic() - began < 20) == (1, True)
    assert where(running) == (1, [b"bad"])


@pytest.mark.parametrize("said", [MINE, "w"])
def test_B12_a_heart_that_stands_still_is_believed_after_the_silence(running: Any, module: Any, said: Any) -> None:
    began = time.monotonic()
    found = requeue(module, said)
    assert (found["requeued"], found["left"]) == (2, {})
    assert time.monotonic() - began >= 0.5
    assert where(running) == (0, [b"bad", b"run"])


def test_B12_a_worker_without_a_key_is_not_waited_for(running: Any, module: Any) -> None:
    running.delete("rq:worker:w")
    began = time.monotonic()
    assert requeue(module, MINE, worker_silence=30.0)["requeued"] == 2
    assert time.monotonic() - began < 20


def test_B12_the_watch_lasts_over_the_slices_of_a_run(running: Any, module: Any) -> None:
    first = requeue(module, MINE, time_limit=0.0001, batch_size=1)
    assert not first["finished"]
    running.hset("rq:worker:w", "last_heartbeat", beat())  # between two slices
    result = first
    while not result["finished"]:
        result = requeue(module, MINE, time_limit=0.0001, batch_size=1, resume=result["resume"])
    assert (result["requeued"], where(running)) == (1, (1, [b"bad"]))


def test_the_first_slice_ends_before_the_watch_and_says_how_long_that_is(running: Any, module: Any) -> None:
    began = time.monotonic()
    first = requeue(module, MINE, time_limit=60.0, worker_silence=30.0)
    assert (first["finished"], first["requeued"], time.monotonic() - began < 20) == (False, 1, True)
    assert 10 < waiting_s(first) < 30
    assert "watching workers that are said to be dead for another" in Progress("here", 0.0).line(first, 1.0)
    first["resume"]["dead"]["wait_s"] = 0.5
    last = requeue(module, MINE, time_limit=60.0, worker_silence=30.0, resume=first["resume"])
    assert (last["finished"], last["requeued"], where(running)) == (True, 2, (0, [b"bad", b"run"]))


def test_B12_stopped_workers_have_to_be_still_as_well(running: Any, module: Any) -> None:
    with beating(running):
        assert "w still has a live key" in requeue(module, "w", workers_stopped=True, grace=0, fails=True)["msg"]
    assert requeue(module, "w", workers_stopped=True, grace=0)["requeued"] == 2

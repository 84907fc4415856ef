# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""rq_suspend: real workers stop taking jobs and go on; somebody else's suspension stays."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from modules import Modules
from servers import Server


def options(server: Server, **more: Any) -> dict[str, Any]:
    return {**server.login(), **more}


def test_suspended_for_a_while_and_resumed(server: Server, client: Any, run_module: Modules) -> None:
    assert run_module("rq_suspend", options(server), check=True)["changed"]
    assert not client.exists("rq:suspended")
    first = run_module("rq_suspend", options(server, ttl=50))
    assert (first["changed"], first["kept"], first["busy"]) == (True, False, [])
    assert 0 < client.ttl("rq:suspended") <= 50
    again = run_module("rq_suspend", options(server, ttl=500))
    assert not again["changed"] and client.ttl("rq:suspended") > 400
    assert run_module("rq_suspend", options(server, state="resumed"), check=True)["changed"]
    assert client.exists("rq:suspended")
    assert run_module("rq_suspend", options(server, state="resumed"))["changed"]
    assert not client.exists("rq:suspended")
    assert not run_module("rq_suspend", options(server, state="resumed"))["changed"]


def test_somebody_elses_suspension_is_neither_shortened_nor_taken_away(
    server: Server, client: Any, run_module: Modules
) -> None:
    client.set("rq:suspended", 1)  # as `rq suspend` writes it
    found = run_module("rq_suspend", options(server, ttl=50))
    assert (found["changed"], found["kept"], client.ttl("rq:suspended")) == (False, True, -1)
    found = run_module("rq_suspend", options(server, state="resumed"))
    assert (found["changed"], found["kept"], client.get("rq:suspended")) == (False, True, b"1")


def test_busy_workers_are_waited_for_and_named(server: Server, client: Any, run_module: Modules) -> None:
    client.sadd("rq:workers", "rq:worker:w1", "rq:worker:w2", "rq:worker:gone")
    client.hset("rq:worker:w1", mapping={"state": "busy", "hostname": "h", "current_job": "j"})
    client.hset("rq:worker:w2", mapping={"state": "idle", "hostname": "h"})
    refused = run_module("rq_suspend", options(server, drain_timeout=0.5), fails=True)
    assert "still busy: w1" in refused["msg"] and refused["busy"] == ["w1"]
    client.expire("rq:worker:w1", 1)  # its job ends, and so does it
    started = time.monotonic()
    assert run_module("rq_suspend", options(server, drain_timeout=20))["busy"] == []
    assert time.monotonic() - started < 10


def test_a_worker_that_died_with_a_job_is_not_waited_for(server: Server, client: Any, run_module: Modules) -> None:
    client.sadd("rq:workers", "rq:worker:dead", "rq:worker:alive")
    for name, seconds in (("dead", 150), ("alive", 60)):
        beat = datetime.now(UTC) - timedelta(seconds=seconds)
        told = {"state": "busy", "hostname": "h", "current_job": "j", "last_heartbeat": f"{beat:%Y-%m-%dT%H:%M:%S.%fZ}"}
        client.hset(f"rq:worker:{name}", mapping=told)
    assert run_module("rq_suspend", options(server))["busy"] == ["alive"]


@pytest.mark.parametrize("rq", ["1.16.2", "3.0.0"], indirect=True)
def test_rq_itself_sees_the_suspension(rq: Any, server: Server, run_module: Modules) -> None:
    run_module("rq_suspend", options(server))
    job = rq.enqueue()
    assert job
    rq.work()
    assert server.client().llen("rq:queue:default") == 1, "a suspended worker takes nothing"
    run_module("rq_suspend", options(server, state="resumed"))
    rq.work()
    assert server.client().llen("rq:queue:default") == 0

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Two playbooks at once on one estate: real lock files, one a host; all else is scripted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from estates import Estate
from lab import Run, wait_for
from scripted import Scripted

NAMES = ("redis1", "redis2", "redis3")
# A verb, what is asked of it, and what it does first once it has the lock.
VERBS = {
    "recover": (("-e", "redis_recovery_rounds=1"), "redis_role"),
    "scale": ((), "redis_scale"),
    "requeue": (("-e", "requeue_all_jobs=true"), "rq_requeue"),
}
OTHER = {
    "run": "other", "who": "bob on c2", "what": "Provision every estate", "since": 1.0, "renewed": 4e9,
    "process": "another-boot.1:1:1", "unfinished": 0.0, "over": False,
}  # fmt: skip


def run(hosts: Scripted, verb: str, *options: str) -> Run:
    return hosts.playbook(f"playbooks/{verb}.yml", *VERBS[verb][0], *options)


@contextmanager
def at_work(hosts: Scripted, verb: str, *options: str, module: str = "") -> Iterator[Future[Run]]:
    """The verb's run, which waits in a module until the block ends: the first that it runs with the lock in hand."""
    module = module or VERBS[verb][1]
    gate = hosts.hold(module)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(run, hosts, verb, *options)
        try:
            wait_for(lambda: first.done() or bool(hosts.calls(module)), f"{verb} at work", 60)
            assert not first.done(), first.result().output
            yield first
        finally:
            gate.unlink()


def locks(hosts: Scripted) -> dict[str, dict[str, Any]]:
    return {name: json.loads(hosts.lock(name).read_text()) for name in NAMES}


def estate(place: Path) -> Scripted:
    hosts = Scripted(place, Estate().kill("redis2"))
    hosts.lock_for_real()
    return hosts


@pytest.mark.parametrize(("first", "second"), [("scale", "recover"), ("recover", "scale")])
def test_A13_of_two_verbs_at_once_one_works(tmp_path: Path, first: str, second: str) -> None:
    """Before: the lock's own functions were tried, and two runs of recover.yml.

    Now: whole playbooks of different verbs, in both orders: the second is told who works, and does nothing.
    """
    hosts = estate(tmp_path)
    with at_work(hosts, first) as working:
        held = locks(hosts)
        assert not any(lock["over"] for lock in held.values())
        refused = run(hosts, second)
        assert locks(hosts) == held and hosts.calls(VERBS[second][1]) == []
    said = " ".join(refused.output.split())
    assert refused.status == 2 and "Estate redis is being changed by another run" in said
    assert said.count("changed=0") == len(NAMES)
    assert working.result().status in (0, 2), working.result().output
    assert all(lock["over"] for lock in locks(hosts).values())


def test_A13_a_refused_run_leaves_each_lock_to_the_next_as_it_was(tmp_path: Path) -> None:
    """Before: a recovery that one host's lock refused left "broken off" on the others, as if it had begun its work.

    Now: they are as before; what an earlier run left unfinished is still told of.
    """
    hosts = estate(tmp_path)
    left = {**OTHER, "run": "earlier", "unfinished": 5.0, "over": True, "renewed": 6.0}
    for name, said in {"redis1": left, "redis3": OTHER}.items():
        hosts.lock(name).parent.mkdir(mode=0o755)
        hosts.lock(name).write_text(json.dumps(said))
    refused = run(hosts, "recover")
    assert refused.status == 2 and "being changed by another run" in " ".join(refused.output.split())
    found = locks(hosts)
    assert {name: (lock["over"], lock["unfinished"]) for name, lock in found.items()} == {
        "redis1": (True, 5.0), "redis2": (True, 0.0), "redis3": (False, 0.0),
    }  # fmt: skip


def test_A13_a_run_that_takes_long_renews_its_lock_and_stops_where_it_lost_it(tmp_path: Path) -> None:
    """Before: a lock was renewed by nobody: after an hour another control node took it while its run worked.

    Now: it is renewed between the steps; a run whose lock was taken over all the same stops, and says so.
    """
    hosts = estate(tmp_path)
    with at_work(hosts, "recover", "-e", "redis_lock_stale=0.001", module="redis_write_probe") as working:
        held = locks(hosts)
        assert all(lock["renewed"] > lock["since"] for lock in held.values()), held
        hosts.lock("redis3").write_text(json.dumps(OTHER))
    done = working.result()
    assert done.status == 2 and "Another run took the lock of estate redis" in " ".join(done.output.split())
    assert len(hosts.calls("redis_health")) == len(NAMES), "no host was looked at a second time"
    found = locks(hosts)
    assert found["redis3"] == OTHER
    assert all(found[name]["over"] and found[name]["unfinished"] for name in ("redis1", "redis2"))


def test_A13_a_slow_requeue_renews_the_lock_between_its_slices(tmp_path: Path) -> None:
    """Before: one task puts jobs back for as long as it takes, and no step of the run comes before its end.

    Now: the lock is renewed between the slices on the host that works; where it is lost, no slice follows.
    """
    hosts = estate(tmp_path)
    slices = {"changed": True, "finished": False, "resume": "x", "total": 9, "to_look_at": 8, "requeued": 1}
    hosts.answers("redis1", "rq_requeue", json.dumps(slices))
    hosts.answers("redis1", "rq_info", json.dumps({"changed": False, "queues": [], "lost": {}, "redis": {}}))
    with at_work(hosts, "requeue", "-e", "redis_lock_stale=0.001") as working:
        hosts.lock("redis1").write_text(json.dumps(OTHER))
    said = " ".join(working.result().output.split())
    assert working.result().status == 2 and "Another run took the lock of estate redis" in said
    assert len(hosts.calls("rq_requeue")) == 1 and locks(hosts)["redis1"] == OTHER

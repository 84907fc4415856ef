# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""RQ's own troubles, told from what hosts see of its queues and workers."""

from __future__ import annotations

from typing import Any

from estates import Estate

QUEUE = {"length": 0, "intermediate": 0, "failed": 0, "started": 0, "lease_expired": 0, "scheduled": 0,
         "scheduled_overdue": 0, "deferred": 0, "oldest_age": None}  # fmt: skip
CREW = {"live": 2, "dead": 0, "busy": 0, "by_queue": {"default": 2}, "by_host": {"app1": 2}, "names_dead": []}


def rq(queue: Any = None, crew: Any = None, **more: Any) -> Estate:
    """An estate whose application host has looked at one queue."""
    jobs = {"reachable": True, "role": "primary", "policy": "noeviction", "evicted": 0, "suspended": None}
    jobs.update(queues={"default": {**QUEUE, **(queue or {})}}, workers={**CREW, **(crew or {})}, schedulers={})
    return Estate().application(jobs={**jobs, **more})


def severities(estate: Estate) -> dict[str, str]:
    """Root causes and how bad they are."""
    return {cause: found["severity"] for (cause, _where), found in estate.findings(applications=["app1"]).items()}


def test_a_queue_that_is_worked_off_is_well() -> None:
    assert severities(rq({"length": 5000, "oldest_age": 300.0, "failed": 12, "started": 2})) == {}


def test_suspended_workers() -> None:
    waiting = {"length": 5, "oldest_age": 60.0}
    assert severities(rq(waiting, suspended={"ttl": None})) == {"workers_suspended": "warning"}
    assert severities(rq(waiting, suspended={"ttl": 40})) == {"workers_suspended": "info"}


def test_a_queue_without_workers() -> None:
    waiting = {"length": 5, "oldest_age": 60.0}
    assert severities(rq(waiting, {"live": 0, "by_queue": {}})) == {"queue_unattended": "critical"}
    assert severities(rq(waiting, {"by_queue": {"other": 2}})) == {"queue_unattended": "warning"}
    assert severities(rq({"length": 5, "oldest_age": 3.0}, {"by_queue": {}})) == {}, "a worker may be restarting"


def test_workers_that_are_gone() -> None:
    assert severities(rq(crew={"dead": 1, "names_dead": ["w1"]})) == {"workers_gone": "info"}
    assert severities(rq(crew={"live": 0, "dead": 1, "by_queue": {}})) == {"workers_gone": "warning"}


def test_abandoned_jobs() -> None:
    assert severities(rq({"lease_expired": 3, "started": 4})) == {"jobs_abandoned": "warning"}
    assert severities(rq({"started": 4})) == {}


def test_scheduled_jobs() -> None:
    assert severities(rq({"scheduled": 3, "scheduled_overdue": 2})) == {"scheduler_absent": "warning"}
    assert severities(rq({"scheduled": 3, "scheduled_overdue": 2}, schedulers={"default": 50})) == {}
    assert severities(rq({"scheduled": 3})) == {}


def test_eviction() -> None:
    assert severities(rq(policy="allkeys-lru")) == {"data_evicted": "warning"}
    assert severities(rq(policy="volatile-ttl", evicted=9)) == {"data_evicted": "critical"}
    cache = rq(crew={"live": 0, "by_queue": {}}, queues={}, policy="allkeys-lru", evicted=9)
    assert severities(cache) == {}, "a cache without jobs may evict"


def units(*rows: tuple[str, str, str]) -> Estate:
    """Units of the application: (name, kind, action)."""
    found = [
        {"name": name, "kind": kind, "action": action, "healthy": action == "nothing", "reason": "systemd says failed",
         "last": []}
        for name, kind, action in rows
    ]  # fmt: skip
    return Estate().application(services={"units": found, "redis_error": "", "error": ""})


def test_units() -> None:
    one = units(("rq-worker@1.service", "worker", "restart"), ("rq-worker@2.service", "worker", "nothing"))
    assert severities(one) == {"units_unwell": "warning"}
    every = units(("rq-worker@1.service", "worker", "restart"), ("rq-web.service", "web", "nothing"))
    assert severities(every) == {"units_unwell": "critical"}
    assert severities(units(("rq-web.service", "web", "nothing"), ("rq-worker@1.service", "worker", "wait"))) == {}


def test_a_dead_primary_explains_what_the_applications_lack() -> None:
    estate = units(("rq-worker@1.service", "worker", "restart")).kill("redis1")
    assert set(severities(estate)) == {"process_dead"}


def test_the_applications_own_look_counts_first() -> None:
    estate = rq({"lease_expired": 1}).look("redis1", jobs={"reachable": True, "queues": {}, "workers": CREW})
    assert set(severities(estate)) == {"jobs_abandoned"}
    silent = (
        Estate()
        .application(jobs={"reachable": False})
        .look("redis2", jobs=rq({"lease_expired": 1}).evidence["app1"]["jobs"])
    )
    assert set(severities(silent)) == {"jobs_abandoned"}

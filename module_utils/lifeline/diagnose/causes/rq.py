# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""RQ's own troubles: Redis is well, and jobs do not run."""

from __future__ import annotations

from typing import Iterator

from ...common.facts import Facts
from ..case import Case
from .base import CRITICAL, EVERYBODY, INFO, LIKELY, WARNING, Cause, Match

# Seconds that jobs may wait before nobody is said to take them: a worker that restarts takes a few.
UNATTENDED_S = 15


def _queues(jobs: Facts) -> list[tuple[str, Facts]]:
    return list(jobs.named("queues"))


def _in_use(jobs: Facts) -> bool:
    """Whether RQ uses this Redis at all."""
    return bool(_queues(jobs)) or jobs.count("workers.live") > 0 or jobs.count("workers.dead") > 0


def _suspended(case: Case) -> Iterator[Match]:
    seen_by, jobs = case.jobs
    if "suspended" in jobs:
        ttl = jobs.maybe_number("suspended.ttl")
        until = "until somebody resumes them" if ttl is None else f"for another {ttl:.0f} s"
        waiting = sum(max(0, row.count("length")) for _name, row in _queues(jobs))
        line = f"{seen_by}: RQ's workers are suspended {until}; {waiting} jobs wait"
        yield Match(case.service, (line,), (EVERYBODY,), WARNING if ttl is None else INFO)


def _units(case: Case) -> Iterator[Match]:
    for host in case.application_hosts:
        units = host.section("services")
        unwell = [row for row in units.rows("units") if row.text("action") in ("restart", "drain")]
        if not unwell:
            if units.text("error"):
                yield Match(host.name, (f"{host.name}: {units.text('error')}",), severity=WARNING, sure=LIKELY)
            continue
        lines = []
        for row in unwell:
            lines.append(f"{host.name} {row.text('name')}: {row.text('reason')}")
            lines += [f"{host.name} {row.text('name')} journal: {line}" for line in row.texts("last")[-1:]]
        kinds = {kind: _all_unwell(units, kind) for kind in ("web", "worker")}
        severity = CRITICAL if any(kinds.values()) else WARNING
        yield Match(host.name, tuple(lines[:8]), (EVERYBODY,), severity)


def _all_unwell(units: Facts, kind: str) -> bool:
    """Whether all units of one kind are unwell, and there are some."""
    rows = [row for row in units.rows("units") if row.text("kind") == kind]
    return bool(rows) and not any(row.flag("healthy") for row in rows)


def _gone(case: Case) -> Iterator[Match]:
    seen_by, jobs = case.jobs
    dead, live = jobs.count("workers.dead"), jobs.count("workers.live")
    if dead:
        names = ", ".join(jobs.sub("workers").texts("names_dead")[:4])
        line = f"{seen_by}: {dead} registered workers have gone without a word ({names}); {live} are alive"
        yield Match(case.service, (line,), severity=INFO if live else WARNING)


def _unattended(case: Case) -> Iterator[Match]:
    seen_by, jobs = case.jobs
    if "suspended" in jobs:
        return
    listeners = dict(jobs.numbers("workers.by_queue"))
    waiting = [
        (name, row)
        for name, row in _queues(jobs)
        if row.count("length") > 0 and row.number("oldest_age") >= UNATTENDED_S and not listeners.get(name)
    ]
    if waiting:
        live = jobs.count("workers.live")
        lines = [
            f"{seen_by}: {row.count('length')} jobs wait in {name}, the next for {row.number('oldest_age'):.0f} s, and "
            f"no worker listens to it ({live} workers are alive)"
            for name, row in waiting[:5]
        ]
        yield Match(case.service, tuple(lines), severity=WARNING if live else CRITICAL)


def _abandoned(case: Case) -> Iterator[Match]:
    seen_by, jobs = case.jobs
    stuck = [(name, row.count("lease_expired")) for name, row in _queues(jobs) if row.count("lease_expired") > 0]
    if stuck:
        lines = [
            f"{seen_by}: {count} jobs of {name} were begun by workers that let their lease run out"
            for name, count in stuck
        ]
        yield Match(case.service, tuple(lines[:5]), data={"jobs": sum(count for _name, count in stuck)})


def _scheduler(case: Case) -> Iterator[Match]:
    seen_by, jobs = case.jobs
    leases = dict(jobs.numbers("schedulers"))
    overdue = {name: row.count("scheduled_overdue") for name, row in _queues(jobs)}
    lines = [
        f"{seen_by}: {count} jobs of {name} are overdue, and no scheduler holds its lease"
        for name, count in overdue.items()
        if count > 0 and name not in leases
    ]
    if lines:
        yield Match(case.service, tuple(lines[:5]))


def _evicted(case: Case) -> Iterator[Match]:
    seen_by, jobs = case.jobs
    policy, evicted = jobs.text("policy"), jobs.count("evicted")
    if policy in ("", "noeviction") or not _in_use(jobs):
        return
    lines = (f"{seen_by}: maxmemory-policy is {policy}, {evicted} keys were evicted since the server's start",)
    where = case.topology.primary or case.service
    yield Match(where, lines, (EVERYBODY,) if evicted else (), CRITICAL if evicted else WARNING)


CAUSES = (
    Cause(
        id="workers_suspended",
        fault="F54",
        title="RQ's workers are suspended",
        severity=WARNING,
        at_risk="No job runs; queues grow.",
        remedy="If nobody is at work there: rq resume (it deletes the key `suspended` below RQ_KEY_PREFIX).",
        avoid="Do not restart the workers: they are well, and exit at once while they are suspended.",
        detect=_suspended,
        explains=("queue_unattended", "units_unwell", "workers_gone"),
    ),
    Cause(
        id="units_unwell",
        fault="F55",
        title="The application's units lost Redis, or do not run",
        severity=WARNING,
        at_risk="Requests and jobs of that host.",
        remedy=(
            "recover.yml restarts the units that need it, one after the other; a worker that is busy ends its job "
            "first."
        ),
        avoid="Do not requeue everything: jobs of workers that live would run twice.",
        detect=_units,
        explains=("queue_unattended", "workers_gone", "scheduler_absent", "jobs_abandoned"),
    ),
    Cause(
        id="workers_gone",
        fault="F55",
        title="Registered workers are dead",
        severity=WARNING,
        at_risk="The job that each of them had begun.",
        remedy="Start workers where none is left. RQ forgets the dead ones by itself; requeue.yml shows their jobs.",
        avoid="Do not requeue all failed jobs: those that had finished would run twice.",
        detect=_gone,
    ),
    Cause(
        id="queue_unattended",
        fault="F55",
        title="Jobs wait in a queue that no worker listens to",
        severity=CRITICAL,
        at_risk="These jobs wait forever, and the queue grows until the memory is full.",
        remedy=(
            "Start workers for that queue (rq_services_queues, rq_services_worker_count), or correct the queue's name "
            "where jobs are enqueued."
        ),
        avoid="Do not empty the queue, and do not requeue: the jobs are where they belong.",
        detect=_unattended,
    ),
    Cause(
        id="jobs_abandoned",
        fault="F56",
        title="Jobs were begun and abandoned",
        severity=WARNING,
        at_risk="These jobs: RQ moves them to the failed ones some day, where they expire.",
        remedy=(
            "requeue.yml --check shows them; put those back that may run twice (abandoned jobs may have done their "
            "work)."
        ),
        avoid="Do not run `rq requeue --all`: jobs that had been done, or that were stopped by a person, run again.",
        detect=_abandoned,
    ),
    Cause(
        id="scheduler_absent",
        fault="F55",
        title="Scheduled jobs are overdue and no scheduler runs",
        severity=WARNING,
        at_risk="What was to run at a time does not run.",
        remedy=(
            "Start the scheduler (rq_services_scheduler_enabled, or workers with --with-scheduler); it moves what is "
            "overdue."
        ),
        avoid="Do not enqueue the jobs a second time: they run as soon as a scheduler is back.",
        detect=_scheduler,
    ),
    Cause(
        id="data_evicted",
        fault="F57",
        title="Redis may throw jobs away to save memory",
        severity=WARNING,
        at_risk=(
            "Jobs vanish without a trace, with what they were to do; workers and failed jobs first with volatile "
            "policies."
        ),
        remedy=(
            "Set redis_server_maxmemory_policy to noeviction and run provision.yml; keep caches in a server of their "
            "own. What was evicted only its producer knows."
        ),
        avoid="Do not raise maxmemory alone: the next peak evicts again.",
        detect=_evicted,
        explains=("units_unwell", "workers_gone", "jobs_abandoned"),
    ),
)

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One sentence each: why putting back a class of jobs is safe or not, and why some are left."""

from __future__ import annotations

from collections.abc import Iterable

SOURCES = {
    "failed": "The job ran and raised an error: it runs again from its start, so what it did before the error is done "
    "twice unless the function can stand that.",
    "abandoned": "The worker is gone and its lease ran out, but a work horse may outlive its worker: safe once the "
    "workers' whole control groups are stopped, else the job may be running still.",
    "intermediate": "A worker took the job and died before it started it: nothing was done yet, so that it is safe.",
    "orphaned": "The job says that it is queued, but no queue and no registry has it, twice in a row: a worker took it "
    "and died before it started it (safe), or RQ's own requeue was cut off (as safe as failed).",
    "scheduled_overdue": "The job was due and no scheduler is alive to move it: it has not run, so that it is safe.",
    "deferred_ready": "All its parents finished, and nobody enqueued it: it has not run, so that it is safe.",
    "ready": "RQ 3 meant to enqueue it and was cut off: it has not run, so that it is safe.",
}

REASONS = {
    "stopped": "A person stopped it; include_stopped takes it.",
    "completed": "Its function had returned before the worker lost Redis: it would run a second time; "
    "include_completed takes it.",
    "missing": "Its data is gone (expired or evicted): nothing can bring it back; missing: prune removes the entry.",
    "held": "It is kept from expiring already.",
    "status_changed": "It is not any more what its registry says: somebody else has taken care of it, or will.",
    "failed_again": "It was enqueued after this run began, and failed again; another run takes it.",
    "outside_window": "It was not lost in the window that was given, or nobody knows whether it was.",
    "other_error": "It failed for another reason than the error that was asked for.",
    "other_function": "It calls another function than those that were asked for.",
    "other_worker": "Another worker ran it than those that were asked for.",
    "not_named": "Its id is not among those that were given.",
    "max_requeues": "It was requeued that often already.",
    "live_lease": "A worker may still be at it: wait for its lease, or stop the workers and say workers_stopped.",
    "already_queued": "It waits in its queue already.",
    "wrong_type": "A key that it needs is of another type than RQ's.",
    "scheduler_alive": "A scheduler holds this queue's lock and will move it.",
    "not_due": "Its time has not come.",
    "waiting": "A parent has not finished.",
    "missing_parents": "A parent is gone, so that nobody knows whether it finished; allow_missing_parents takes it.",
}


def notes(sources: Iterable[str], reasons: Iterable[str]) -> dict[str, str]:
    """Sentences for the classes that occurred."""
    found = {source: SOURCES[source] for source in sources if source in SOURCES}
    return {**found, **{reason: REASONS[reason] for reason in reasons if reason in REASONS}}

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What rq_info and rq_requeue found and did, as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

# How many jobs of a reason are named.
SHOWN = 10


def lost(info: Mapping[str, Any]) -> list[str]:
    """What is lost, from a result of rq_info: per queue, function and error, and what is better left alone."""
    found = info.get("lost") or {}
    sources: dict[str, int] = found.get("sources") or {}
    total = sum(sources.values())
    place = info.get("redis") or {}
    more = "" if found.get("complete", True) else " at least"
    lines = [f"{total} jobs{more} can be put back at {place.get('host', '?')}:{place.get('port', '?')}{_of(sources)}."]
    for queue, counts in sorted((found.get("queues") or {}).items()):
        lines.append(f"  queue {queue}: {_list(counts)}")
    if found.get("first_failure"):
        lines.append(f"  failed between {found['first_failure']} and {found['last_failure']}")
    lines += _table("by error", found.get("by_exception") or {})
    lines += _table("by function", found.get("by_function") or {})
    lines += _left(found.get("left") or {}, found.get("notes") or {})
    lines += _orphans(info.get("orphans") or {})
    if info.get("suspended"):
        lines.append("Workers are suspended: nothing runs until they are resumed.")
    lines += [f"Permanently lost: {said}" for said in info.get("unrecoverable") or ()]
    return lines


def done(result: Mapping[str, Any], check: bool = False) -> list[str]:
    """What was put back, from a result of rq_requeue, and why it is or is not safe."""
    word = "would be put back" if check else "was put back" if result.get("requeued") == 1 else "were put back"
    seconds = f" in {result.get('duration', 0):.1f} s ({result.get('rate', 0):,} jobs/s)"
    lines = [f"{_jobs(result.get('requeued', 0))} {word}{'' if check else seconds}{_of(result.get('sources') or {})}."]
    notes: Mapping[str, str] = result.get("notes") or {}
    for source in result.get("sources") or {}:
        if source in notes:
            lines.append(f"  {source}: {notes[source]}")
    lines += _left(result.get("left") or {}, notes)
    if result.get("pruned"):
        lines.append(f"  {result['pruned']} entries without a job were removed")
    return lines


def held(result: Mapping[str, Any], check: bool = False) -> list[str]:
    """What rq_hold did, and what was too late for it."""
    would = "would be " if check else ""
    if "released" in result:
        return [f"{_jobs(result['released'])} {would}released: they expire again, an hour from now at the earliest."]
    lines = [f"{_jobs(result.get('held', 0))} {would}held: none expires until it is put back or released."]
    if result.get("unchanged"):
        lines.append(f"  {result['unchanged']:,} were kept already, or never expire")
    if result.get("gone"):
        lines.append(f"  {result['gone']:,} or more were gone before: their data had expired or was evicted")
    return lines


# Of these a recovery says no more than their number: they are somebody else's business, or nobody's any more.
_ELSEWHERE = ("outside_window", "held", "status_changed", "not_due", "missing")


def left_in_window(requeued: Mapping[str, Any], watched: bool = False) -> dict[str, int]:
    """Jobs that a recovery left although the outage lost them, by reason, from a result of rq_requeue.

    ``watched``: every application host has said which of its workers are dead. Who then has a lease is at work.
    """
    elsewhere = (*_ELSEWHERE, "live_lease") if watched else _ELSEWHERE
    return {why: count for why, count in (requeued.get("left") or {}).items() if why not in elsewhere}


def recovered(
    holds: Iterable[Mapping[str, Any]], requeues: Iterable[Mapping[str, Any]], watched: bool = False
) -> dict[str, list[str]]:
    """What a recovery's report says about jobs, ``{lines, gone, todo}``: put back, left, lost for good, to do.

    ``holds`` and ``requeues`` are results of rq_hold and rq_requeue; those of tasks that did not run count for nothing.
    ``watched``: see ``left_in_window``.
    """
    held_by = [result for result in holds if not result.get("skipped")]
    told = [result for result in requeues if not result.get("skipped")]
    runs = [result for result in told if "requeued" in result]
    failures = [result["msg"] for result in told if "requeued" not in result and result.get("msg")]
    lines = [f"Not held: {result['msg']}" for result in held_by if result.get("msg")]
    lines += [f"Not put back: {failure}" for failure in dict.fromkeys(failures)]
    kept = sum(result.get("held", 0) for result in held_by)
    missing = [(run.get("left") or {}).get("missing", 0) for run in runs]
    gone = max([*(result.get("gone", 0) for result in held_by), *missing], default=0)
    if kept:
        lines.append(f"Held: {_jobs(kept)} that failed in this outage, so that none expires.")
    if gone:
        lines.append(f"Gone before that: {gone:,} or more failed jobs, whose data had expired or was evicted.")
    for run in runs:
        lines += _run(run, watched)
    lost = list(dict.fromkeys(f"Permanently lost: {said}" for run in runs for said in run.get("unrecoverable") or ()))
    put_back = sum((run.get("sources") or {}).get("failed", 0) for run in runs)
    unsettled = kept > put_back or any(left_in_window(run, watched) for run in runs)
    todo = [_AGAIN] if failures else [_TODO] if unsettled else []
    return {"lines": lines, "gone": lost, "todo": todo}


_AGAIN = "Run recover.yml again to put back the jobs that were lost in this outage."
_TODO = (
    "Look at the lost jobs that are left (playbooks/requeue.yml); put them back (-e requeue_job_ids=...) or let them "
    "expire (playbooks/hold.yml -e hold_release=true)."
)


def _run(run: Mapping[str, Any], watched: bool) -> list[str]:
    """One rq_requeue of a recovery."""
    lines = []
    if run["requeued"]:
        first, *rest = done(run)
        lines += [f"Requeued: {first}", *rest[: len(run.get("sources") or ())]]
    lines += [line for why, count in left_in_window(run, watched).items() for line in _excluded(why, count, run)]
    outside = (run.get("left") or {}).get("outside_window", 0)
    if outside:
        lines.append(f"Left alone: {_jobs(outside)} lost before this outage, or nobody knows when.")
    return lines


def _excluded(why: str, count: int, requeued: Mapping[str, Any]) -> list[str]:
    note = (requeued.get("notes") or {}).get(why, "")
    ids = [f"{job['id']} ({job['queue']})" for job in requeued.get("left_jobs") or () if job["reason"] == why]
    more = f" and {count - SHOWN:,} more" if count > SHOWN else ""
    return [f"Left alone: {count:,} {why}. {note}", f"    {', '.join(ids[:SHOWN])}{more}"]


def _jobs(count: int) -> str:
    return "1 job" if count == 1 else f"{count:,} jobs"


def _of(counts: Mapping[str, int]) -> str:
    return f": {_list(counts)}" if counts else ""


def _list(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _table(title: str, counts: Mapping[str, int]) -> list[str]:
    return [f"  {title}:", *(f"    {count:>9,}  {name}" for name, count in counts.items())] if counts else []


def _left(counts: Mapping[str, int], notes: Mapping[str, str]) -> list[str]:
    if not counts:
        return []
    return ["  left alone:", *(f"    {count:>9,}  {why}: {notes.get(why, '')}" for why, count in counts.items())]


def _orphans(found: Mapping[str, Any]) -> list[str]:
    counts: Mapping[str, int] = found.get("counts") or {}
    return [f"  in no queue and no registry: {_list(counts)} (source orphaned)"] if counts else []

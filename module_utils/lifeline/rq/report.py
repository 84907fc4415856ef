# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What rq_info and rq_requeue found and did, as lines for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


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
    lines += [f"Gone for good: {said}" for said in info.get("unrecoverable") or ()]
    return lines


def done(result: Mapping[str, Any], check: bool = False) -> list[str]:
    """What was put back, from a result of rq_requeue, and why it is or is not safe."""
    word = "would be put back" if check else "were put back"
    seconds = f" in {result.get('duration', 0):.1f} s ({result.get('rate', 0):,} jobs/s)"
    lines = [f"{result.get('requeued', 0):,} jobs {word}{'' if check else seconds}{_of(result.get('sources') or {})}."]
    notes: Mapping[str, str] = result.get("notes") or {}
    for source in result.get("sources") or {}:
        if source in notes:
            lines.append(f"  {source}: {notes[source]}")
    lines += _left(result.get("left") or {}, notes)
    if result.get("pruned"):
        lines.append(f"  {result['pruned']} entries without a job were removed")
    return lines


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

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What became of steps: which did not help, and what a later run is told of those.

A run remembers, on the control node, each step whose reason was still there after it, with a mark of how the estate
looked then. Where the next run sees the same, the step is left to a person: it would only be taken in vain again.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Mapping, Optional, Sequence

from ..common.facts import Facts
from ..common.records import folder_name, write_all
from ..common.words import moment
from ..diagnose.findings import Finding
from ..diagnose.topology import AGREED, Topology
from .remedies import FOLLOW_WITH, WAITS, remedy, title
from .steps import Action, Plan

# Steps remembered of an estate at the most, and bytes of the file that holds them.
MOST, LIMIT = 100, 1 << 20

# Jobs come and go while an estate stays as it is.
_VOLATILE = ("rq",)


def unhelped(topology: Topology, findings: Sequence[Finding], plan: Plan, tried: Sequence[str]) -> list[str]:
    """Steps taken, as remedy@host, whose reason is still there: its finding, or that the topology asks for it again."""
    asked = {step.step for step in plan.actions}
    for finding in findings:
        task = "follow" if finding.task in FOLLOW_WITH else finding.task
        if finding.severity == "info" or finding.task in WAITS or remedy(finding.task).by_topology:
            continue
        hosts = finding.data.get("hosts") or [finding.data.get("host") or finding.where]
        asked |= {f"{task}@{host}" for host in hosts}
    lost = topology.primary is None
    return [
        step
        for step in dict.fromkeys(tried)
        if step in asked or (lost and remedy(step.partition("@")[0]).makes_primary)
    ]


def mark(topology: Topology, findings: Sequence[Finding], step: str) -> str:
    """How the estate looks, as far as a step's success may hang on it."""
    node = topology.nodes.get(step.partition("@")[2])
    watcher = topology.sentinels.get(step.partition("@")[2])
    units = [
        [str(unit.get(key)) for key in ("load", "active", "result")] for one in (node, watcher) if one
        for unit in [one.unit or {}]
    ]  # fmt: skip
    seen = sorted(
        f"{finding.id}@{finding.where}"
        for finding in findings
        if finding.severity != "info" and finding.family not in _VOLATILE
    )
    told = [step, topology.state, topology.primary, sorted(topology.silent_hosts), units, seen]
    return hashlib.sha256(json.dumps(told).encode("utf-8", "replace")).hexdigest()[:16]


def look_back(plan: Plan, topology: Topology, findings: Sequence[Finding], before: Mapping[str, Facts]) -> None:
    """Leave to a person what an earlier run took in vain while all was as it is now."""
    steps = [*plan.unhelped, *(action.step for action in plan.actions)]
    plan.marks = {step: mark(topology, findings, step) for step in dict.fromkeys(steps)}
    if topology.state != AGREED:
        return  # without a primary nothing is left untried
    for action in list(plan.actions):
        known = before.get(action.step)
        if known is not None and known.text("mark") == plan.marks[action.step]:
            plan.actions.remove(action)
            plan.todo.append(in_vain(action, known.number("at")))


def in_vain(action: Action, at: float) -> str:
    """What is told of a step that an earlier run took in vain."""
    return (
        f'{action.host}: {action.why}. At {moment(at)} recover.yml took the step "{title(action.remedy)}", which did '
        "not help, and nothing has changed since. Repair what its finding says. To try the step again as it is: "
        "-e recover_again=true"
    )


def path(directory: str, service: str) -> Path:
    """Where the steps of an estate are remembered."""
    return Path(directory) / "tried" / f"{folder_name(service)}.json"


def recall(directory: Optional[str], service: str) -> dict[str, Facts]:
    """What an earlier run left, by step; nothing where there is no such file, or one that cannot be read."""
    if not directory:
        return {}
    file = path(directory, service)
    try:
        text = file.read_text("utf-8") if file.stat().st_size <= LIMIT else ""
        rows = Facts(json.loads(text)).rows("steps")
    except (OSError, ValueError, RecursionError):
        return {}
    return {row.text("step"): row for row in rows if row.text("step")}


def remember(directory: str, service: str, taken: Sequence[Mapping[str, Any]], plan: Mapping[str, Any]) -> None:
    """Keep what did not help of the steps taken, and forget what did. Raises LifelineError if it cannot."""
    said = Facts(plan)
    done = {f"{step['remedy']}@{step['host']}": float(step.get("ended") or 0) for step in taken}
    rows = [dict(row.plain) for step, row in recall(directory, service).items() if step not in done]
    marks = said.sub("marks")
    rows += [
        {"step": step, "mark": marks.plain.get(step, ""), "at": done[step]}
        for step in said.texts("unhelped")
        if step in done
    ]
    file = path(directory, service)
    if rows or file.exists():
        text = json.dumps({"version": 1, "steps": rows[-MOST:]}, indent=1) + "\n"
        write_all(file.parent, {file.name: text})

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The plan that was shown is a contract: what it neither showed nor announced waits. Pure."""

from __future__ import annotations

from typing import Iterable, Optional, Sequence

from ..diagnose.topology import AGREED, Topology
from .remedies import REMEDIES, remedy, title
from .steps import ACT, REFUSED, Action, Plan

# What a person says to agree to every kind of step.
EVERY = "all"


def announce(shown: Iterable[str], agreed: Sequence[str] = ()) -> list[str]:
    """Kinds of steps that a plan stands for: those that it shows, what may follow them, what a person has agreed to."""
    if EVERY in agreed:
        return [known.id for known in REMEDIES]
    kinds = list(dict.fromkeys(shown))
    follow = [kind for one in kinds for kind in remedy(one).followers]
    return list(dict.fromkeys([*kinds, *follow, *agreed]))


def keep_to(plan: Plan, topology: Topology, announced: Optional[Sequence[str]], agreed: Sequence[str] = ()) -> None:
    """Let the steps that were not announced wait. ``announced``: of the plan that was shown; None: it is this one."""
    if announced is None:
        shown = [step.remedy for step in plan.actions]
        kinds = announce(shown, agreed)
        # Where a primary serves, another one is never what comes of bringing the rest back.
        spare = topology.state == AGREED and EVERY not in agreed
        plan.announced = [
            kind for kind in kinds if not (spare and remedy(kind).makes_primary) or kind in (*shown, *agreed)
        ]
        return
    plan.announced = list(announced)
    plan.waiting = [step for step in plan.actions if step.remedy not in plan.announced]
    if not plan.waiting:
        return
    plan.actions = [step for step in plan.actions if step.remedy in plan.announced]
    plan.todo += [waits(step) for step in plan.waiting]
    if plan.actions:
        return
    if topology.state != AGREED and plan.verdict == ACT:
        plan.verdict = REFUSED
        plan.refusal = plan.summary = (
            f"Estate {topology.service} has no primary, and the plan that was shown did not hold the next step: "
            f"{title(plan.waiting[0].remedy)} (on {plan.waiting[0].host}). Run recover.yml again to see and to do it."
        )


def waits(step: Action) -> str:
    """What is told of a step that waits, with the command that takes it."""
    return (
        f"{step.host}: {title(step.remedy)} ({step.why}). The plan that was shown did not hold this step, so it was "
        f"not done. Run recover.yml again: its plan shows it. To agree beforehand: -e recover_steps={step.remedy}"
    )

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A Redis that is only a URL: there is no host of ours behind it, so a plan for it has no step on any host. Pure."""

from __future__ import annotations

from typing import Sequence

from ..common.words import address
from ..diagnose.findings import Finding
from ..diagnose.managed import elsewhere
from ..diagnose.topology import Topology
from .steps import DEGRADED, HEALTHY, Plan, refuse

PROVIDER = "this Redis is reached through its URL alone, so that is a step for its provider"


def plan_for_urls(topology: Topology, findings: Sequence[Finding]) -> Plan:
    """What to do about an estate of URLs: never a step, since each would be done to the machine that looks."""
    plan = Plan(HEALTHY, "", findings=list(findings))
    plan.todo = [_for_the_provider(finding) for finding in findings if finding.severity != "info"]
    for node in topology.nodes.values():
        why, advice = elsewhere(node), "Correct the URL, so that it leads to the primary, then run this again"
        if not why and not node.alive:
            why = f"{address(node.host, node.port)} does not answer ({node.error or 'no reason given'})"
            advice = f"Bringing it back is not possible from here: {PROVIDER}"
        if why:
            refused = refuse(f"{node.name}: {why}. {advice}. Nothing was changed.")
            plan.verdict, plan.summary, plan.refusal = refused.verdict, refused.summary, refused.refusal
            return plan
    plan.verdict = DEGRADED if plan.todo else HEALTHY
    where = ", ".join(f"{node.name} at {address(node.host, node.port)}" for node in topology.nodes.values())
    plan.summary = f"{where} answers" + (", but something is left to do." if plan.todo else ", and nothing is wrong.")
    return plan


def _for_the_provider(finding: Finding) -> str:
    repaired = f" {PROVIDER[0].upper()}{PROVIDER[1:]}." if finding.task else ""
    return f"{finding.where}: {finding.title.lower()}.{repaired} {finding.remedy} {finding.avoid}".strip()

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A Redis that is only a URL: there is no host of ours behind it, so a plan for it has no step on any host. Pure."""

from __future__ import annotations

from typing import Sequence

from ..diagnose.topology import Node, Topology
from .steps import DEGRADED, HEALTHY, Finding, Plan, refuse

# What the error of a node begins with whose URL says nothing.
NO_URL = "url:"

PROVIDER = "this Redis is reached through its URL alone, so that is a step for its provider"


def only_urls(topology: Topology) -> bool:
    """Whether all servers of an estate are URLs."""
    return bool(topology.nodes) and all(node.managed for node in topology.nodes.values())


def elsewhere(node: Node) -> str:
    """What a URL leads to that is not a primary, or why it leads nowhere, as a sentence begins; else empty."""
    if (node.error or "").startswith(NO_URL):
        return str(node.error)[len(NO_URL) :].strip().rstrip(".")
    if not node.alive:
        return ""
    if node.view.get("mode") == "sentinel":
        return "this URL is a sentinel's, which holds no data"
    if node.role == "replica":
        primary = node.view.get("primary") or {}
        return f"this URL is a replica's; its primary is {_address(primary.get('host'), primary.get('port'))}"
    return ""


def _address(host: object, port: object) -> str:
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"


def plan_for_urls(topology: Topology, findings: Sequence[Finding]) -> Plan:
    """What to do about an estate of URLs: never a step, since each would be done to the machine that looks."""
    plan = Plan(HEALTHY, "", findings=list(findings))
    plan.todo = [_for_the_provider(finding) for finding in findings if finding.severity != "info"]
    for node in topology.nodes.values():
        why, advice = elsewhere(node), "Correct the URL, so that it leads to the primary, then run this again"
        if not why and not node.alive:
            why = f"{_address(node.host, node.port)} does not answer ({node.error or 'no reason given'})"
            advice = f"Bringing it back is not possible from here: {PROVIDER}"
        if why:
            refused = refuse(f"{node.name}: {why}. {advice}. Nothing was changed.")
            plan.verdict, plan.summary, plan.refusal = refused.verdict, refused.summary, refused.refusal
            return plan
    plan.verdict = DEGRADED if plan.todo else HEALTHY
    where = ", ".join(f"{node.name} at {_address(node.host, node.port)}" for node in topology.nodes.values())
    plan.summary = f"{where} answers" + (", but something is left to do." if plan.todo else ", and nothing is wrong.")
    return plan


def _for_the_provider(finding: Finding) -> str:
    mended = f" {PROVIDER[0].upper()}{PROVIDER[1:]}." if finding.task else ""
    return f"{finding.where}: {finding.title.lower()}.{mended} {finding.remedy} {finding.avoid}".strip()


def refusal(host: str) -> str:
    """Why what needs a host is not done to a URL; for every playbook that changes servers."""
    return (
        f"{host} is a Redis that is only a URL (redis_url): there is no host to set up, scale or switch over, so that "
        f"is for its provider. Nothing was changed. Leave it out with --limit '!{host}'; diagnose.yml, recover.yml, "
        "requeue.yml, hold.yml and compliance.yml work on it."
    )

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From a topology to findings and ordered actions, or to a refusal. Pure functions; nothing here touches a host.

Source of the order and of the refusals: the project's recovery procedures; smallest step first, observe after each.
"""

from __future__ import annotations

from collections import Counter
from typing import Mapping, Sequence

from ..diagnose.findings import Finding
from ..diagnose.history import surplus_between
from ..diagnose.managed import only_urls
from ..diagnose.topology import AGREED, BLIND, CLUSTER, DISPUTED, EMPTY, FOREIGN, Node, Topology, agreement
from .aftermath import look_back, unhelped
from .contract import keep_to
from .copies import files_check, unfit_copies
from .managed import plan_for_urls
from .primary import dispute, foreign, restore_primary
from .remedies import FOLLOW_WITH, WAITS, remedy, title
from .steps import (
    ACT,
    DEGRADED,
    HEALTHY,
    NO_TERMS,
    NOTHING_ACCEPTED,
    Accepted,
    Action,
    Plan,
    Terms,
    bound,
    refuse,
    start_sentinel,
)

# The cause that says of a host that it sees nobody else, and nobody else sees it.
CUT_OFF = "host_isolated"

# How often one run brings a server or sentinel back before it leaves that to a person.
MOST_TRIES = 2


def make_plan(
    topology: Topology,
    findings: Sequence[Finding] = (),
    tried: Sequence[str] = (),
    accepted: Accepted = NOTHING_ACCEPTED,
    terms: Terms = NO_TERMS,
) -> Plan:
    """What to do about a topology and its ``findings`` (worst first); ``tried`` are steps taken, as remedy@host.

    ``accepted``: whose writes a person has said may be lost. ``terms``: what the run has shown and what runs before it
    left.
    """
    if only_urls(topology):
        return plan_for_urls(topology, findings)
    plan = _begin(topology, accepted, unfit_copies(topology.nodes.values(), findings, tried))
    plan.findings = list(findings)
    _repair_causes(plan, topology, set(tried))
    plan.unhelped = unhelped(topology, findings, plan, tried)
    if topology.state == AGREED:
        _leave_cut_off(plan)
        _give_up(plan, Counter(tried))
    plan.todo += [_bring_back(name, terms.silent.get(name, "")) for name in topology.silent_hosts]
    for action in plan.actions:
        action.args = bound(action.args)
    look_back(plan, topology, findings, terms.before)
    keep_to(plan, topology, terms.announced, terms.agreed)
    if topology.state == AGREED and plan.verdict == ACT and not plan.actions:
        plan.verdict = HEALTHY
    if plan.verdict == HEALTHY and plan.todo:
        plan.verdict = DEGRADED
    plan.summary = plan.summary or _summary(topology, plan)
    return plan


def _begin(topology: Topology, accepted: Accepted, unfit: Mapping[str, str]) -> Plan:
    """What the topology alone asks for. ``unfit``: servers that do not load what is on their disk."""
    refusals = {EMPTY: _empty, FOREIGN: foreign, BLIND: _blind, DISPUTED: dispute}
    if topology.state == AGREED:
        return _repair(topology)
    if topology.state == CLUSTER:
        return Plan(HEALTHY, "")
    if topology.state in refusals:
        return refuse(refusals[topology.state](topology))
    return restore_primary(topology, accepted, unfit)


def _empty(topology: Topology) -> str:
    return (
        f"Estate {topology.service} is empty: every host was looked at, no server runs and no data of one lies "
        "there, so there is nothing to recover; run playbooks/provision.yml to set it up."
    )


def _bring_back(name: str, why: str) -> str:
    said = f" Its answer: {why}." if why else ""
    return f"Bring host {name} back, then run recover.yml again to rejoin it.{said}"


def _leave_cut_off(plan: Plan) -> None:
    """On a host that reaches nobody no sentinel can be pointed anywhere; its server is still told whom to follow."""
    alone = {finding.where for finding in plan.findings if finding.id == CUT_OFF}
    plan.actions = [step for step in plan.actions if not remedy(step.remedy).needs_peers or step.host not in alone]


def _give_up(plan: Plan, tried: Mapping[str, int]) -> None:
    """There is a primary that serves: what was tried in vain is not tried forever, but left to a person."""
    for action in list(plan.actions):
        if remedy(action.remedy).brings_back and tried.get(f"{action.remedy}@{action.host}", 0) >= MOST_TRIES:
            plan.actions.remove(action)
            if not any(item.startswith(f"{action.host}:") for item in plan.todo):
                plan.todo.append(
                    f"{action.host}: it was tried {MOST_TRIES} times to {title(action.remedy)}, and {action.why}. "
                    "See its log, repair what that says, then run recover.yml again."
                )


def _repair_causes(plan: Plan, topology: Topology, tried: set[str]) -> None:
    """Add what the findings ask for: remedies where one is safe, the manual step where there is none.

    ``tried``: ``remedy@host`` of steps that this run has taken; what is still there after its step is for a person.
    A refusal stands when nothing can be repaired; what can be repaired may well be why there was no way to a primary.
    """
    repaired = False
    for finding in plan.findings:
        if finding.severity == "info" or remedy(finding.task).by_topology:
            continue
        hosts = [str(host) for host in finding.data.get("hosts") or [finding.data.get("host") or finding.where]]
        if finding.task in WAITS and f"follow@{hosts[0]}" in tried:
            plan.todo.append(_for_a_person(finding))
        elif finding.task in FOLLOW_WITH:
            repaired = _follow_with(plan, topology, hosts[0], finding) or repaired
        elif remedy(finding.task).needs_primary and topology.primary is None and len(topology.nodes) > 1:
            continue  # whom it follows is not known yet; the next look may tell
        else:
            strange = [host for host in hosts if _is_strange(topology, finding.task, host)]
            plan.todo += [_by_hand(finding, host) for host in strange]
            able = [host for host in hosts if host not in strange and _can_be_done(topology, finding.task, host)]
            able = [host for host in able if f"{finding.task}@{host}" not in tried]
            repaired = bool(able) or repaired
            for host in able:
                _add(plan, Action(finding.task, host, finding.title.lower(), dict(finding.data)))
            if not able and not strange:
                plan.todo.append(_for_a_person(finding))
    plan.actions.sort(key=lambda action: remedy(action.remedy).rung)
    if repaired and plan.verdict != ACT:
        plan.verdict, plan.refusal, plan.summary = ACT, None, ""


def _for_a_person(finding: Finding) -> str:
    return f"{finding.where}: {finding.title.lower()}. {finding.remedy} {finding.avoid}".strip()


def _is_strange(topology: Topology, task: str, host: str) -> bool:
    """Whether a remedy would rewrite what Lifeline did not make on a host, or what nobody knows that it made."""
    thing = remedy(task).needs_mark
    return bool(thing) and host not in topology.silent_hosts and thing not in topology.owned.get(host, ())


def _by_hand(finding: Finding, host: str) -> str:
    return (
        f"{host}: {finding.title.lower()}. Lifeline has no mark on this host that it set up its "
        f"{remedy(finding.task).needs_mark}, so it changes nothing there: repair it by hand. {finding.avoid}"
    ).strip()


def _add(plan: Plan, action: Action) -> None:
    """One more step, unless another cause has asked for the same on that host: it would only be done again."""
    if (action.remedy, action.host) not in {(step.remedy, step.host) for step in plan.actions}:
        plan.actions.append(action)


def _can_be_done(topology: Topology, task: str, host: str) -> bool:
    node = topology.nodes.get(host)
    if remedy(task).needs_answer and node is not None and not node.alive:
        return False
    if node is not None and node.managed:
        return False  # it is a URL: a step on that host would be done to the machine that looked
    return bool(task) and host not in topology.silent_hosts


def _follow_with(plan: Plan, topology: Topology, host: str, finding: Finding) -> bool:
    """Bring a server back as a replica in the way that its cause asks for; False without a primary to follow."""
    node, primary = topology.nodes.get(host), topology.nodes.get(str(topology.primary))
    if node is None or primary is None or primary.name == host or not node.host_answered:
        return False
    known = [action for action in plan.actions if (action.remedy, action.host) == ("follow", host)]
    action = known[0] if known else Action("follow", host, finding.title.lower())
    action.args.update(FOLLOW_WITH[finding.task])
    if not known:
        plan.actions.append(action)
    return True


def _blind(topology: Topology) -> str:
    """Why nothing can be said of the estate, and what to do."""
    todo = "Check that the control node reaches its hosts (ansible -m ping)"
    if any(node.shut for node in topology.nodes.values()):
        todo = "Compare redis_password_observer (or redis_password_operator) with the servers' ACL files"
    elif any(node.host_answered for node in topology.nodes.values()):
        todo = "Install the package python3-redis on one of them"
    return f"Estate {topology.service} cannot be looked at: {'; '.join(topology.reasons)}. {todo}, then run this again."


def _repair(topology: Topology) -> Plan:
    """There is a live primary: bring everybody else back to it."""
    if any(watcher.view.get("failover") for watcher in topology.watchers_alive):
        return _let_sentinel_finish(topology)
    plan = Plan(HEALTHY, "")
    primary = topology.nodes[str(topology.primary)]
    for node in topology.nodes.values():
        if node.name == primary.name:
            continue
        if node.name in topology.stale:
            _repair_stale(plan, topology, node)
        elif node.alive and node.follows != primary.name:
            plan.actions.append(Action("follow", node.name, f"follows {node.follows or 'nobody'}"))
        elif node.stopped_on_purpose:
            continue  # its cause says what a person has to do
        elif node.dead and node.unit_down:
            plan.actions.append(
                Action(
                    "follow",
                    node.name,
                    f"its process is dead; starts as a replica of {primary.name}",
                    {
                        "preserve": node.has_data and not node.files.get("replicaof"),
                        "fresh": files_check(node).get("loads") is False,
                    },
                )
            )
        elif node.dead or (node.unit_down and not node.alive):
            plan.todo.append(_not_started(node))
    _repair_sentinels(plan, topology)
    if plan.actions:
        plan.verdict = ACT
    return plan


def _let_sentinel_finish(topology: Topology) -> Plan:
    """Sentinel is moving replicas and its own word; whoever interferes makes a second history (refusal R6)."""
    actor = next(node.name for node in topology.nodes.values() if node.host_answered)
    args = {"mode": "sentinel", "confirmed_dead": False}
    action = Action("failover", actor, f"Sentinel is failing over to {topology.primary}; wait until it is done", args)
    return Plan(ACT, f"Sentinel is failing over to {topology.primary}: let it finish first.", actions=[action])


def _not_started(node: Node) -> str:
    """A server that does not serve and that recovery leaves alone, since it is not proven dead or has no unit here."""
    unit = (node.unit or {}).get("name") or "its unit"
    if node.dead:
        return f"{node.name}: its server does not run, and {unit} is not there. Start it the way it was started before."
    return f"{node.name}: {unit} does not run, but {node.sign}. Find out what that is before you start anything."


def _repair_stale(plan: Plan, topology: Topology, node: Node) -> None:
    """An old primary came back. What only it has is kept as a copy before it follows, so nothing is lost; where the
    sentinels' majority does not stand behind the new one, whatever the new one says of its history."""
    primary = topology.nodes[str(topology.primary)]
    surplus = surplus_between(primary.view, node.view)
    keep = {0: "", None: "; what only it has is kept as a copy first"}.get(
        surplus, f"; its surplus of {surplus} bytes is kept as a copy first"
    )
    args = {"preserve": surplus != 0 or topology.named != primary.name}
    plan.actions.append(Action("follow", node.name, f"an old primary came back{keep}", args))


def _repair_sentinels(plan: Plan, topology: Topology) -> None:
    astray = [w for w in topology.sentinels.values() if w.alive and w.names != topology.primary]
    for watcher in astray:
        if watcher.host_answered and watcher.name not in topology.tilted:
            why = f"names {watcher.names or 'nobody'}, the live primary is {topology.primary}"
            plan.actions.append(Action("repoint_sentinel", watcher.name, why))
    plan.actions += [start_sentinel(watcher) for watcher in topology.sentinels.values() if watcher.startable]


def _summary(topology: Topology, plan: Plan) -> str:
    if plan.verdict == HEALTHY:
        return f"{agreement(topology)}."
    if plan.verdict == DEGRADED:
        return f"{topology.primary} is the primary and in service, but something is left to do."
    one = len(plan.actions) == 1
    if topology.primary and all(remedy(action.remedy).by_topology for action in plan.actions):
        more = "1 more step restores" if one else f"{len(plan.actions)} more steps restore"
        return f"{topology.primary} is the primary; {more} full redundancy."
    what = "1 step repairs" if one else f"{len(plan.actions)} steps repair"
    return f"{what} what is wrong; then all is looked at again."

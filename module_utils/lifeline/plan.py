# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From a topology to findings and ordered actions, or to a refusal. Pure functions; nothing here touches a host.

Source of the order and of the refusals: the project's recovery procedures; smallest step first, observe after each.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping, Optional, Sequence

from .remedies import BY_TOPOLOGY, FOLLOW_WITH, NEED_A_PRIMARY, NEED_AN_ANSWER, rung
from .surplus import surplus_between
from .topology import AGREED, BLIND, CLUSTER, DISPUTED, EMPTY, Node, Topology, Watcher, agreement

HEALTHY = "healthy"  # nothing to do
ACT = "act"  # the actions are safe
REFUSED = "refused"  # nothing will be done; the refusal says why and what to do
DEGRADED = "degraded"  # in service, and what is left needs a person


@dataclass
class Finding:
    """What is wrong and why: a cause of the catalogue (``causes``), or an unknown fault that only its symptom shows.

    ``severity``: critical, warning or info. ``sure``: certain, likely or possible. ``consequences``: what else was seen
    that comes of it, each ``{id, title, where, evidence}``. ``task``: the remedy's task file; empty where a person has
    to do it.
    """

    id: str
    title: str
    where: str
    severity: str
    evidence: list[str] = field(default_factory=list)
    remedy: str = ""
    fault: str = ""
    family: str = ""
    sure: str = "certain"
    unknown: bool = False
    at_risk: str = ""
    avoid: str = ""
    task: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    consequences: list[dict[str, Any]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for reports and for Ansible; it shares its parts with this."""
        return dict(vars(self))


@dataclass
class Action:
    """One step: which remedy, on which host it runs, with what. ``why`` is for people."""

    remedy: str
    host: str
    why: str
    args: dict[str, Any] = field(default_factory=dict)


@dataclass
class Plan:
    """What to do now. After the actions, observe and plan again."""

    verdict: str
    summary: str
    findings: list[Finding] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)
    refusal: Optional[str] = None
    todo: list[str] = field(default_factory=list)
    loss: Optional[str] = None

    def as_dict(self) -> dict[str, Any]:
        """Plain data for reports and for Ansible; it shares its parts with this."""
        return {
            **vars(self),
            "findings": [finding.as_dict() for finding in self.findings],
            "actions": [dict(vars(action)) for action in self.actions],
        }


def outage_began(evidence: Sequence[Mapping[str, Any]]) -> Optional[float]:
    """When the trouble that still shows began, in seconds since 1970 by the hosts' clocks; None when none shows.

    Told by replicas whose link is down, and by systemd for units that do not run.
    """
    moments: list[float] = []
    for entry in evidence:
        if not entry.get("time"):
            continue
        links = [(view.get("primary") or {}) for view in (entry.get("nodes") or {}).values()]
        down = [link.get("link_down_s") for link in links if link.get("link_up") is False]
        moments += [entry["time"] - seconds for seconds in down if seconds is not None and seconds >= 0]
        units = (entry.get("units") or {}).values()
        moments += [unit["since"] for unit in units if unit.get("active", "active") != "active" and unit.get("since")]
    return min(moments, default=None)


def make_plan(topology: Topology, findings: Sequence[Finding] = (), tried: Sequence[str] = ()) -> Plan:
    """What to do about a topology and its ``findings`` (worst first); ``tried`` are steps taken, as remedy@host."""
    if topology.state == AGREED:
        plan = _mend(topology)
    elif topology.state == EMPTY:
        plan = _refuse(
            f"Estate {topology.service} has no running server and no data: there is nothing to recover; "
            "run playbooks/provision.yml to set it up."
        )
    elif topology.state == BLIND:
        plan = _refuse(
            f"Estate {topology.service} cannot be looked at: {'; '.join(topology.reasons)}. "
            "Check that the control node reaches its hosts (ansible -m ping), then run this again."
        )
    elif topology.state == CLUSTER:
        plan = Plan(HEALTHY, "")
    elif topology.state == DISPUTED:
        plan = _refuse(_dispute(topology))
    else:
        plan = _restore_primary(topology)
    plan.findings = list(findings)
    _mend_causes(plan, topology, set(tried))
    plan.todo += [f"Bring host {name} back, then run recover.yml again to rejoin it." for name in topology.silent_hosts]
    if plan.verdict == HEALTHY and plan.todo:
        plan.verdict = DEGRADED
    plan.summary = plan.summary or _summary(topology, plan)
    return plan


def _mend_causes(plan: Plan, topology: Topology, tried: set[str]) -> None:
    """Add what the findings ask for: remedies where one is safe, the manual step where there is none.

    ``tried``: ``remedy@host`` of steps that this run has taken; what is still there after its step is for a person.
    A refusal stands when nothing can be mended; what can be mended may well be why there was no way to a primary.
    """
    mended = False
    for finding in plan.findings:
        if finding.severity == "info" or finding.task in BY_TOPOLOGY:
            continue
        host = str(finding.data.get("host") or finding.where)
        if finding.task in FOLLOW_WITH:
            mended = _follow_with(plan, topology, host, finding) or mended
        elif finding.task in NEED_A_PRIMARY and topology.primary is None and len(topology.nodes) > 1:
            continue  # whom it follows is not known yet; the next look may tell
        elif _can_be_done(topology, finding.task, host) and f"{finding.task}@{host}" not in tried:
            plan.actions.append(Action(finding.task, host, finding.title.lower(), dict(finding.data)))
            mended = True
        else:
            plan.todo.append(f"{finding.where}: {finding.title.lower()}. {finding.remedy} {finding.avoid}".strip())
    plan.actions.sort(key=lambda action: rung(action.remedy))
    if mended and plan.verdict != ACT:
        plan.verdict, plan.refusal = ACT, None
        plan.summary = f"{len(plan.actions)} step(s) mend what is wrong; then the estate is looked at again."


def _can_be_done(topology: Topology, task: str, host: str) -> bool:
    node = topology.nodes.get(host)
    if task in NEED_AN_ANSWER and node is not None and not node.alive:
        return False
    return bool(task) and host not in topology.silent_hosts


def _follow_with(plan: Plan, topology: Topology, host: str, finding: Finding) -> bool:
    """Bring a server back as a replica in the way that its cause asks for; False without a primary to follow."""
    node, primary = topology.nodes.get(host), topology.nodes.get(str(topology.primary))
    if node is None or primary is None or primary.name == host or not node.host_answered:
        return False
    known = [action for action in plan.actions if (action.remedy, action.host) == ("follow", host)]
    args = {"primary_host": primary.host, "primary_port": primary.port, **_unit_args(node)}
    action = known[0] if known else Action("follow", host, finding.title.lower(), args)
    action.args.update(FOLLOW_WITH[finding.task])
    if not known:
        plan.actions.append(action)
    return True


def _restore_primary(topology: Topology) -> Plan:
    """No live primary: the smallest safe step that gives the estate one."""
    old = topology.nodes.get(topology.last_primary or "")
    candidates = good_replicas(topology)
    objection = _hands_off(topology, old)
    if objection:
        return _refuse(objection)
    if topology.sentinels:
        if topology.majority and candidates:
            return _fail_over(topology, old, candidates, "sentinel")
    elif old is not None and _startable(old):
        return _start_primary(topology, old)
    elif candidates and _all_copies_known(topology, old):
        return _fail_over(topology, old, candidates, "replication")
    if old is not None and _startable(old):
        return _start_primary(topology, old)
    return _refuse(_no_way(topology, old, candidates))


def _hands_off(topology: Topology, old: Optional[Node]) -> str:
    """Why nothing may be done about a missing primary right now; empty where something may."""
    if old is not None and old.closed:
        return (
            f"{old.name} runs and lets nobody in ({old.error}): no failover mends that, so nothing is changed. Do what "
            "the findings say, then run this again."
        )
    if topology.majority and (len(topology.watchers_alive) - len(topology.tilted)) * 2 <= len(topology.sentinels):
        return (
            f"{' and '.join(topology.tilted)} are in TILT, so Sentinel has no majority that acts, and nothing is "
            "changed: wait 30 seconds, then run this again."
        )
    return ""


def good_replicas(topology: Topology) -> list[Node]:
    """Live replicas that may be promoted, most data first."""
    fit = [
        node
        for node in topology.nodes.values()
        if node.alive
        and node.role == "replica"
        and not node.view.get("loading")
        and _priority(node) != 0
        and not (node.view.get("primary") or {}).get("syncing")
    ]
    return sorted(fit, key=lambda node: (-node.offset, _priority(node), node.name))


def _priority(node: Node) -> int:
    """replica-priority; Redis' own default where a server did not say."""
    value = node.view.get("priority")
    return value if isinstance(value, int) else 100


def _startable(node: Node) -> bool:
    """Its process is dead (not stopped by a person), its host answers, and what it would load is there."""
    return node.host_answered and node.unit_down and not node.stopped_on_purpose and node.has_data


def _all_copies_known(topology: Topology, old: Optional[Node]) -> bool:
    """Every replica's offset is known, so the one with most data can be told (refusal R4 otherwise)."""
    return all(node.alive for node in topology.nodes.values() if old is None or node.name != old.name)


def _fail_over(topology: Topology, old: Optional[Node], candidates: Sequence[Node], mode: str) -> Plan:
    dead = bool(old and old.host_answered and old.unit_down)
    actor = next((node.name for node in candidates if node.host_answered), candidates[0].name)
    name = old.name if old else "the old primary"
    age = max((candidate.view.get("primary") or {}).get("last_io_s", -1) for candidate in candidates)
    why = f"{name} is dead; {candidates[0].name} has the most data (offset {candidates[0].offset})"
    action = Action(
        "failover",
        actor,
        why,
        {"mode": mode, "old_primary": old.name if old else "", "confirmed_dead": dead},
    )
    last_word = f" (last heard {age} s before)" if age >= 0 else ""
    loss = f"Writes that {name} accepted and had not sent to {candidates[0].name}{last_word} may be missing."
    return Plan(ACT, f"Fail over from {name} to {candidates[0].name}.", actions=[action], loss=loss)


def _start_primary(topology: Topology, old: Node) -> Plan:
    what = "append-only file" if old.files.get("aof_configured") else "last snapshot"
    action = Action("start_primary", old.name, f"its process is dead, its data is on disk ({what})", _unit_args(old))
    loss = None if old.files.get("aof_configured") else f"Writes since the last snapshot of {old.name} are gone."
    return Plan(ACT, f"Start {old.name} again, from its {what}.", actions=[action], loss=loss)


def _unit_args(node: Node) -> dict[str, Any]:
    return {"unit": (node.unit or {}).get("name", ""), "config_file": node.files.get("config", "")}


def _mend(topology: Topology) -> Plan:
    """There is a live primary: bring everybody else back to it."""
    if any(watcher.view.get("failover") for watcher in topology.watchers_alive):
        return _let_sentinel_finish(topology)
    plan = Plan(HEALTHY, "")
    primary = topology.nodes[str(topology.primary)]
    target = {"primary_host": primary.host, "primary_port": primary.port}
    for node in topology.nodes.values():
        if node.name == primary.name:
            continue
        if node.name in topology.stale:
            _mend_stale(plan, primary, node, target)
        elif node.alive and node.follows != primary.name:
            plan.actions.append(
                Action("follow", node.name, f"follows {node.follows or 'nobody'}", {**target, **_unit_args(node)})
            )
        elif node.stopped_on_purpose:
            continue  # its cause says what a person has to do
        elif not node.alive and node.unit_down:
            plan.actions.append(
                Action(
                    "follow",
                    node.name,
                    f"its process is dead; starts as a replica of {primary.name}",
                    {**target, **_unit_args(node), "preserve": node.has_data and not node.files.get("replicaof")},
                )
            )
    _mend_sentinels(plan, topology, target)
    if plan.actions:
        plan.verdict = ACT
    return plan


def _let_sentinel_finish(topology: Topology) -> Plan:
    """Sentinel is moving replicas and its own word; whoever interferes makes a second history (refusal R6)."""
    actor = next(node.name for node in topology.nodes.values() if node.host_answered)
    args = {"mode": "sentinel", "old_primary": "", "confirmed_dead": False}
    action = Action("failover", actor, f"Sentinel is failing over to {topology.primary}; wait until it is done", args)
    return Plan(ACT, f"Sentinel is failing over to {topology.primary}: let it finish first.", actions=[action])


def _mend_stale(plan: Plan, primary: Node, node: Node, target: Mapping[str, Any]) -> None:
    """An old primary came back. Its surplus, if any, is kept as a copy before it follows, so nothing is lost."""
    surplus = surplus_bytes(primary, node)
    keep = {0: "", None: "; what only it has is kept as a copy first"}.get(
        surplus, f"; its surplus of {surplus} bytes is kept as a copy first"
    )
    args = {**target, **_unit_args(node), "preserve": surplus != 0}
    plan.actions.append(Action("follow", node.name, f"an old primary came back{keep}", args))


def surplus_bytes(primary: Node, stale: Node) -> Optional[int]:
    """Bytes of the replication stream that only the stale primary has; None when it can not be told."""
    return surplus_between(primary.view, stale.view)


def _mend_sentinels(plan: Plan, topology: Topology, target: Mapping[str, Any]) -> None:
    astray = [w for w in topology.sentinels.values() if w.alive and w.names != topology.primary]
    for watcher in astray:
        if watcher.host_answered and watcher.name not in topology.tilted:
            why = f"names {watcher.names or 'nobody'}, the live primary is {topology.primary}"
            plan.actions.append(Action("repoint_sentinel", watcher.name, why, dict(target)))
    for watcher in topology.sentinels.values():
        if not watcher.alive and watcher.host_answered and _sentinel_failed(watcher):
            plan.actions.append(
                Action("start_sentinel", watcher.name, "its process is dead", {"unit": (watcher.unit or {})["name"]})
            )


def _sentinel_failed(watcher: Watcher) -> bool:
    unit = watcher.unit or {}
    return unit.get("active") == "failed" and unit.get("pid", 0) == 0


def _refuse(sentence: str) -> Plan:
    return Plan(REFUSED, sentence, refusal=sentence)


def _dispute(topology: Topology) -> str:
    lines = []
    for name in topology.claims:
        view = topology.nodes[name].view
        lines.append(
            f"{name} (offset {view.get('offset')}, {view.get('keys')} keys, {len(view.get('replicas') or [])} "
            "replicas, "
            f"history {str(view.get('replid'))[:8]})"
        )
    return (
        f"Estate {topology.service}: {'; '.join(topology.reasons)}. Nothing is changed, since choosing one "
        "drops the other's "
        f"writes: {' and '.join(lines)}. Decide which one holds the truth, stop the other, then run recover.yml again."
    )


def _no_way(topology: Topology, old: Optional[Node], candidates: Sequence[Node]) -> str:
    """Why nothing can be done, reason by reason, and the next step."""
    reasons = list(topology.reasons)
    if topology.sentinels and not topology.majority:
        reasons.append(
            f"only {len(topology.watchers_alive)} of {len(topology.sentinels)} sentinels answer, so none may fail over"
        )
    for node in topology.nodes.values():
        if old is not None and node.name == old.name:
            reasons.append(_why_not_startable(node))
        elif node.alive and node not in candidates:
            reasons.append(
                f"{node.name} is no candidate ({node.role}, loading={node.view.get('loading')}, "
                f"priority={node.view.get('priority')})"
            )
    if candidates and not topology.sentinels:
        missing = [n.name for n in topology.nodes.values() if not n.alive and (old is None or n.name != old.name)]
        reasons.append(f"a newer copy may be on {', '.join(missing)}, which does not answer")
    return (
        f"Estate {topology.service} has no primary and no safe way to one: {'; '.join(reasons)}. "
        "Bring back one of the hosts named here, then run recover.yml again."
    )


def _why_not_startable(node: Node) -> str:
    if not node.host_answered:
        return f"{node.name}, the last primary, is on a host that does not answer"
    if node.stopped_on_purpose:
        return (
            f"{node.name}, the last primary, was stopped by hand: start it, or disable this check by starting the unit"
        )
    if not node.has_data:
        return f"{node.name}, the last primary, has no data on disk to start from"
    if node.unit is None:
        return f"{node.name}, the last primary, has no systemd unit known to this inventory"
    return f"{node.name}, the last primary, runs but does not answer ({node.error})"


def _summary(topology: Topology, plan: Plan) -> str:
    if plan.verdict == HEALTHY:
        return f"{agreement(topology)}."
    if plan.verdict == DEGRADED:
        return f"{topology.primary} is the primary and in service, but something is left to do."
    return f"{topology.primary} is the primary; {len(plan.actions)} step(s) bring the rest back."

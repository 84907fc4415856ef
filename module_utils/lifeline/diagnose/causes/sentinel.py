# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Sentinel's own troubles. None of them touches the data, and none is a reason to move the primary."""

from __future__ import annotations

from typing import Any, Iterator, Optional

from ...common.facts import Facts
from ..case import Case, Server, Watcher
from ..topology import BLIND, NO_PRIMARY
from .base import CERTAIN, CRITICAL, INFO, LIKELY, WARNING, Cause, Match

# Seconds in which a sentinel that has just started hears of all replicas (INFO every 10 s) and sentinels.
LEARNS_S = 20

# Sentinel promotes no replica whose link was down for longer than this many times down-after before the primary was.
LINK_TIMES = 10

NEVER_RESET = "Do not run SENTINEL RESET: during an outage it permanently forgets replicas and sentinels."


def unit_line(watcher: Watcher) -> str:
    """systemd's word about a sentinel, as evidence."""
    unit = watcher.unit
    return (
        f"{watcher.name} {unit.text('name')}: {unit.text('active')}/{unit.text('sub')}, result {unit.text('result')}, "
        f"unit file {unit.text('load')}"
    )


def not_running(watcher: Watcher) -> bool:
    """Its own host says that its process does not run."""
    return bool(watcher.unit) and not watcher.unit.count("pid") and watcher.unit.text("active") != "active"


def on_purpose(watcher: Watcher) -> bool:
    """Stopped cleanly or masked: somebody may be working on it."""
    unit = watcher.unit
    clean = unit.text("active") == "inactive" and unit.text("result") == "success"
    return not_running(watcher) and (clean or unit.text("load") == "masked")


def knowing(case: Case) -> list[Watcher]:
    """Sentinels that answer and watch the estate."""
    return [watcher for watcher in case.watchers if watcher.alive and watcher.view.flag("known")]


def _no_quorum(case: Case) -> Iterator[Match]:
    total, usable = len(case.watchers), knowing(case)
    if not total or case.topology.state == BLIND:
        return
    refusing = [watcher for watcher in usable if watcher.view.maybe_flag("quorum_ok") is False]
    if len(usable) * 2 > total and len(refusing) * 2 <= len(usable):
        return
    silent = [watcher for watcher in case.watchers if watcher not in usable]
    lines = [f"{len(usable)} of {total} sentinels answer and watch the estate; a failover takes {total // 2 + 1}"]
    lines += [f"{watcher.name}: {watcher.error or 'does not watch the estate'}" for watcher in silent]
    lines += [f"{watcher.name} CKQUORUM: {watcher.view.text('quorum_text')}" for watcher in refusing]
    severity = CRITICAL if case.topology.state == NO_PRIMARY else WARNING
    members = tuple(watcher.name for watcher in case.watchers)
    yield Match(case.service, tuple(lines), tuple(watcher.name for watcher in silent), severity, stems_from=members)


def _dead(case: Case) -> Iterator[Match]:
    for watcher in case.watchers:
        if not watcher.alive and not_running(watcher) and not on_purpose(watcher):
            yield Match(watcher.name, (unit_line(watcher),))


def _stopped(case: Case) -> Iterator[Match]:
    for watcher in case.watchers:
        if not watcher.alive and on_purpose(watcher):
            yield Match(watcher.name, (unit_line(watcher),))


def _unwritable(case: Case) -> Iterator[Match]:
    for watcher in case.watchers:
        said = watcher.logged("sentinel_unwritable")
        file = watcher.host.section("sentinel_config") if watcher.host else Facts({})
        lines = []
        for path, denied in file.named("denied"):
            why = denied.text("error") or f"it is {denied.text('owner')} {denied.text('mode')}"
            lines.append(f"{watcher.name}: {path} cannot be written, {denied.text('blocked_by')}: {why}")
        if said is not None and (not_running(watcher) or _said_by_this_process(watcher, said)):
            lines.append(f"{watcher.name} log: {said.text('sample')}")
        if lines:
            yield Match(watcher.name, tuple(lines))


def _said_by_this_process(watcher: Watcher, said: Facts) -> bool:
    """In the last minute, and not before its start: then what ended the one before it is repaired."""
    return said.count("recent") > 0 and said.number("last") >= watcher.unit.number("since")


def members(case: Case, sentinel: str = "") -> dict[str, Any]:
    """The hosts on which a login is put right: those of all servers, and of one sentinel or all of them."""
    watchers = [sentinel] if sentinel else [watcher.name for watcher in case.watchers]
    return {"hosts": list(dict.fromkeys([*(server.name for server in case.servers), *watchers]))}


def named(case: Case, watcher: Watcher) -> Optional[Server]:
    """The live server that a sentinel names as primary, whatever that is."""
    server = case.server(watcher.node.names)
    return server if server is not None and server.alive else None


def named_primary(case: Case, watcher: Watcher) -> Optional[Server]:
    """The live server that a sentinel names, when it is the primary."""
    server = named(case, watcher)
    return server if server is not None and server.is_primary else None


def flags_line(watcher: Watcher) -> str:
    """What a sentinel holds of the primary, as evidence."""
    return f"{watcher.name} flags {watcher.node.names} {','.join(watcher.view.texts('flags'))}, yet it answers"


def _login_refused(case: Case) -> Iterator[Match]:
    shut_out = [watcher for watcher in knowing(case) if watcher.view.flag("down") and named(case, watcher)]
    refusals, certain = [], False
    hosts = {watcher.node.host for watcher in case.watchers}
    for server in case.servers:
        for row in server.deep.rows("acl_log"):
            if row.number("age_s") <= case.fresh_s and row.text("address") in hosts:
                user = row.text("user")
                certain = certain or "sentinel" in user
                refusals.append(f"{server.name} ACL LOG: {row.text('reason')} refused to user {user}")
    if not shut_out or not refusals:
        return
    told = {watcher.name: flags_line(watcher) for watcher in shut_out}
    sure, seen = CERTAIN if certain else LIKELY, tuple(dict.fromkeys(refusals))
    if len(shut_out) == len(knowing(case)):
        yield Match(case.service, (*told.values(), *seen), tuple(told), sure=sure, data=members(case))
        return
    for name, line in told.items():
        yield Match(name, (line, *seen), sure=sure, data=members(case, name))


def _tilt(case: Case) -> Iterator[Match]:
    for watcher in case.watchers:
        if watcher.alive and watcher.view.flag("tilt"):
            seconds = watcher.view.count("tilt_s", -1)
            since = f" for {seconds} s" if seconds >= 0 else ""
            lines = [f"{watcher.name} has been in TILT{since}: its clock jumped or it was frozen"]
            said = watcher.logged("tilt")
            yield Match(watcher.name, (*lines, *([f"{watcher.name} log: {said.text('sample')}"] if said else [])))


def _astray(case: Case) -> Iterator[Match]:
    primary = case.topology.primary
    wrong = [watcher for watcher in knowing(case) if primary and watcher.node.names != primary]
    served = any(
        host.section("application").flag("reachable") and host.section("application").text("role") == "primary"
        for host in case.application_hosts
    )
    # Applications that ask Sentinel are sent to a replica; one that reaches the primary proves that it does not.
    severity = CRITICAL if len(wrong) * 2 > len(case.watchers) and not served else WARNING
    newest = max((watcher.view.count("epoch") for watcher in knowing(case)), default=0)
    for watcher in wrong:
        epoch = watcher.view.count("epoch")
        age = f"; its config-epoch {epoch} is older than {newest}" if epoch < newest else ""
        line = f"{watcher.name} names {watcher.node.names or 'nobody'}, the live primary is {primary}{age}"
        yield Match(watcher.name, (line,), severity=severity)


def _ignorant(case: Case) -> Iterator[Match]:
    for watcher in case.watchers:
        if watcher.alive and not watcher.view.flag("known"):
            yield Match(watcher.name, (f"{watcher.name} does not know the estate {case.service}",))


def _blind(case: Case) -> Iterator[Match]:
    primary = case.topology.primary
    linked = [server for server in case.servers if server.node.link_up and server.node.follows == primary]
    peers = len(knowing(case)) - 1
    for watcher in knowing(case):
        replicas, sentinels = len(watcher.view.rows("replicas")), watcher.view.count("sentinels", peers)
        missing = [f"{replicas} of {len(linked)} replicas"] if primary and replicas < len(linked) else []
        missing += [f"{sentinels} of {peers} other sentinels"] if sentinels < peers else []
        if missing:
            uptime = watcher.view.count("uptime_s", LEARNS_S)
            line = f"{watcher.name} knows {' and '.join(missing)}; it has run for {uptime} s"
            # One that may not lead without others is not waited for: they may never come.
            learns = uptime < LEARNS_S and watcher.view.maybe_flag("quorum_ok") is not False
            severity = INFO if learns else None
            yield Match(watcher.name, (line,), severity=severity, data=members(case))


def _ghosts(case: Case) -> Iterator[Match]:
    for watcher in knowing(case):
        replicas, sentinels = len(watcher.view.rows("replicas")), watcher.view.count("sentinels")
        extra = [f"{replicas} replicas of {len(case.servers) - 1}"] if replicas > len(case.servers) - 1 else []
        extra += [f"{sentinels} other sentinels of {len(case.watchers) - 1}"] if sentinels >= len(case.watchers) else []
        if extra:
            yield Match(watcher.name, (f"{watcher.name} counts {' and '.join(extra)} in the inventory",))


def _no_good_replica(case: Case) -> Iterator[Match]:
    alive = [server for server in case.servers if server.alive and server.node.role == "replica"]
    lines: list[str] = []
    for server in alive:
        why = "replica-priority is 0" if server.view.count("priority", 100) == 0 else ""
        if not why and case.topology.state == NO_PRIMARY:
            why = _unfit(case, server)
        if not why:
            return
        lines.append(f"{server.name}: {why}")
    if not alive or not case.watchers:
        return
    for watcher in case.watchers:
        said = watcher.logged("no_good_replica")
        if said is not None and said.count("recent"):
            lines.append(f"{watcher.name} log: {said.text('sample')}")
    yield Match(case.service, tuple(lines), severity=CRITICAL if case.topology.state == NO_PRIMARY else WARNING)


def _unfit(case: Case, server: Server) -> str:
    """Why the sentinels' majority would not promote a replica; empty where it would."""
    reasons = []
    for watcher in knowing(case):
        for row in watcher.view.rows("replicas"):
            if (row.text("host"), row.count("port")) == (server.node.host, server.node.port):
                reasons.append(_objection(watcher.view, row))
    objections = [reason for reason in reasons if reason]
    return objections[0] if len(objections) * 2 > len(case.watchers) else ""


def _objection(view: Facts, row: Facts) -> str:
    flags = [flag for flag in row.texts("flags") if flag in ("s_down", "o_down", "disconnected")]
    if flags:
        return f"Sentinel flags it {','.join(flags)}"
    if row.count("priority", 100) == 0:
        return "replica-priority is 0"
    link, limit = row.count("link_down_ms"), LINK_TIMES * view.count("down_after_ms") + view.count("down_ms")
    return f"its link was down for {link} ms, more than {limit}" if view.count("down_after_ms") and link > limit else ""


def _quorum_wrong(case: Case) -> Iterator[Match]:
    wanted, total = case.topology.quorum, len(case.watchers)
    for watcher in knowing(case):
        quorum = watcher.view.count("quorum")
        if quorum > total:
            line = f"{watcher.name}: quorum {quorum} cannot be reached by {total} sentinels"
        elif wanted and quorum and quorum != wanted:
            line = f"{watcher.name}: quorum is {quorum}, the inventory says {wanted}"
        else:
            continue
        yield Match(watcher.name, (line,))


def _too_few(case: Case) -> Iterator[Match]:
    total = len(case.watchers)
    if total and (total < 3 or total % 2 == 0):
        spare = (total - 1) // 2
        line = f"{total} sentinels: a failover takes {total // 2 + 1}, so {spare or 'none'} may be missing"
        yield Match(case.service, (line,))


CAUSES = (
    Cause(
        id="no_quorum",
        fault="F33",
        title="Sentinel has no majority: nobody can fail over",
        severity=WARNING,
        at_risk="The next loss of the primary is not healed by itself.",
        remedy=(
            "Bring sentinels back (systemctl start, network) until CKQUORUM says OK. If the primary is gone as well "
            "and they cannot come back: fence the old primary, then fail over by hand."
        ),
        avoid=(
            "Do not run SENTINEL FAILOVER on the minority side: it answers OK and creates a second primary. "
            f"{NEVER_RESET}"
        ),
        detect=_no_quorum,
        explains=("sentinel_dead", "sentinel_stopped", "sentinel_silent", "sentinel_ignorant"),
    ),
    Cause(
        id="sentinel_conf_unwritable",
        fault="F37",
        title="Sentinel may not write its own file",
        severity=WARNING,
        at_risk="It forgets failovers at its next start, or does not start at all.",
        remedy=(
            "Give the file and its folder back to Sentinel's user (mode 0600 and 0770); ReadWritePaths of the unit "
            "must name the folder. Then start it."
        ),
        avoid=(
            "Do not use chmod 777: the file holds passwords. Do not write the file again: it would name an old primary."
        ),
        detect=_unwritable,
        explains=("sentinel_dead", "sentinel_silent"),
        task="configure_sentinel",
    ),
    Cause(
        id="sentinel_dead",
        fault="F33",
        title="A sentinel's process is dead",
        severity=WARNING,
        at_risk="One vote less; with half of them gone nobody can fail over.",
        remedy="See why in its log, then systemctl reset-failed and start (recover.yml).",
        avoid=f"Do not touch the primary because of it. {NEVER_RESET}",
        detect=_dead,
        explains=("sentinel_silent",),
        task="start_sentinel",
    ),
    Cause(
        id="sentinel_stopped",
        fault="F40",
        title="A sentinel was stopped or masked by a person",
        severity=WARNING,
        at_risk="One vote less; with half of them gone nobody can fail over.",
        remedy="Ask who stopped it; when the work is done, unmask and start it.",
        avoid="Do not start it while somebody works on it.",
        detect=_stopped,
        explains=("sentinel_silent",),
    ),
    Cause(
        id="sentinel_login_refused",
        fault="F30",
        title="The servers refuse Sentinel's login: it considers a healthy primary dead",
        severity=WARNING,
        at_risk="The next loss of the primary is not healed: no replica looks good to Sentinel.",
        remedy=(
            "SENTINEL SET ESTATE auth-user and auth-pass on every sentinel (provision.yml); it clears within seconds. "
            "Where the server was wrong: ACL LOAD, then CLIENT KILL USER default, as Sentinel logs in once a "
            "connection."
        ),
        avoid="Do not fail over and do not restart the primary: it is healthy.",
        detect=_login_refused,
        explains=("sentinel_sees_down", "no_good_replica", "clients_refused"),
        task="renew_logins",
    ),
    Cause(
        id="sentinel_tilt",
        fault="F36",
        title="A sentinel is in TILT: its clock jumped, or it stood still",
        severity=WARNING,
        at_risk="It answers, but takes no part in a failover for 30 s.",
        remedy="Wait 30 s. Then look at the clock (chrony) and at what froze the host.",
        avoid="Do not force a failover or restart sentinels while one is in TILT; wait 30 s.",
        detect=_tilt,
        explains=("sentinel_sees_down",),
    ),
    Cause(
        id="sentinel_astray",
        fault="F34",
        title="A sentinel names the wrong primary",
        severity=WARNING,
        at_risk="Clients that ask it write to a replica and are refused; a failover may promote old data.",
        remedy=(
            "SENTINEL REMOVE, MONITOR the live primary, SET its settings again, on each that is wrong (recover.yml)."
        ),
        avoid=f"{NEVER_RESET} Do not install Sentinel again and do not write its file: that is how it went wrong.",
        detect=_astray,
        explains=("sentinel_blind", "sentinel_sees_down"),
        task="repoint_sentinel",
    ),
    Cause(
        id="sentinel_ignorant",
        fault="F34",
        title="A sentinel does not watch the estate",
        severity=WARNING,
        at_risk="It has no vote in a failover.",
        remedy="SENTINEL MONITOR the live primary and SET its settings: provision.yml does it.",
        avoid="Do not copy another sentinel's file: two sentinels would have one id.",
        detect=_ignorant,
        task="repoint_sentinel",
    ),
    Cause(
        id="no_good_replica",
        fault="F35",
        title="No replica is good enough for Sentinel to promote",
        severity=WARNING,
        at_risk="Sentinel gives up each failover (NOGOODSLAVE), and the estate stays without a primary.",
        remedy=(
            "Priority: CONFIG SET replica-priority 100 on a replica with the data. Link down too long: SENTINEL SET "
            "ESTATE down-after-milliseconds 60000 on all sentinels until they have failed over, then back."
        ),
        avoid="Do not run REPLICAOF NO ONE by hand while sentinels run: they undo it.",
        detect=_no_good_replica,
    ),
    Cause(
        id="sentinel_blind",
        fault="F39",
        title="A sentinel does not see all replicas and sentinels",
        severity=WARNING,
        at_risk="A failover that it leads finds no good replica, or no majority.",
        remedy=(
            "After a start it takes up to 10 s: wait. If it stays: look at the network between sentinels and at the "
            "rights of user sentinel (channel __sentinel__:hello)."
        ),
        avoid=f"Do not fail over before every sentinel sees all replicas. {NEVER_RESET}",
        detect=_blind,
        explains=("no_quorum",),
        task="renew_logins",
    ),
    Cause(
        id="sentinel_quorum_wrong",
        fault="F33",
        title="A sentinel's quorum is not the wanted one",
        severity=WARNING,
        at_risk="Too low: a lone sentinel calls the primary dead; too high: nobody does.",
        remedy="SENTINEL SET ESTATE quorum: provision.yml does it.",
        avoid=NEVER_RESET,
        detect=_quorum_wrong,
        task="configure_sentinel",
    ),
    Cause(
        id="sentinel_ghosts",
        fault="",
        title="A sentinel counts members that the inventory does not have",
        severity=INFO,
        at_risk="Sentinels that are gone count for the majority; replicas that are gone are waited for.",
        remedy="On one sentinel after the other: SENTINEL REMOVE, MONITOR the live primary, SET its settings.",
        avoid=NEVER_RESET,
        detect=_ghosts,
    ),
    Cause(
        id="sentinel_count",
        fault="F33",
        title="The number of sentinels gives little safety",
        severity=INFO,
        at_risk="With fewer than three no sentinel may be missing; an even number is no safer than one less.",
        remedy="Three sentinels, or five, on hosts that do not fail together.",
        avoid="Do not lower the quorum instead.",
        detect=_too_few,
    ),
)

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Sentinels: that there are enough, that they agree, and that they act in time."""

from __future__ import annotations

from ...common.facts import Facts
from .base import (
    ESTATE,
    HIGH,
    MEDIUM,
    SENTINEL,
    Control,
    NotSeenError,
    Outcome,
    Subject,
    failed,
    judged,
    not_applicable,
)

_SENTINEL = "run provision.yml"
SLOWEST_MS = 60000


def quorum(subject: Subject) -> Outcome:
    watchers = subject.case.watchers
    if not watchers:
        return not_applicable("the estate has no sentinel")
    count, hosts = len(watchers), {watcher.node.host for watcher in watchers}
    problems = [] if count >= 3 else [f"there are {count} sentinels, and a failover takes 3"]
    problems += [] if len(hosts) == count else [f"{count} sentinels share {len(hosts)} addresses"]
    for watcher in watchers:
        if not watcher.alive:
            raise NotSeenError(f"the sentinel on {watcher.name} does not answer ({watcher.error})")
        said = watcher.view.count("quorum")
        problems += [f"{watcher.name}: quorum {said}, and the majority of {count} is {count // 2 + 1}"] if (
            said != count // 2 + 1) else []  # fmt: skip
    return judged(problems, f"{count} sentinels on {len(hosts)} hosts, quorum {count // 2 + 1}")


def agreement(subject: Subject) -> Outcome:
    watchers = subject.case.watchers
    if not watchers:
        return not_applicable("the estate has no sentinel")
    problems, answers = [], {}
    for watcher in watchers:
        if not watcher.alive:
            problems.append(f"{watcher.name}: the sentinel does not answer ({watcher.error})")
            continue
        view = watcher.view
        problems += [] if view.flag("quorum_ok") else [f"{watcher.name}: {view.text('quorum_text')}"]
        replicas, others = len(view.rows("replicas")), view.count("sentinels")
        if replicas != len(subject.case.servers) - 1:
            problems.append(f"{watcher.name}: knows {replicas} replicas of {len(subject.case.servers) - 1}")
        if others != len(watchers) - 1:
            problems.append(f"{watcher.name}: knows {others} other sentinels of {len(watchers) - 1}")
        answers[watcher.name] = (view.text("primary.host"), view.count("primary.port"), view.count("epoch"))
    if len(set(answers.values())) > 1:
        problems += [f"{name}: primary {host}:{port}, epoch {epoch}" for name, (host, port, epoch) in answers.items()]
    return judged(problems, f"all {len(answers)} name the same primary, epoch, replicas and sentinels")


def right_primary(subject: Subject) -> Outcome:
    view = _view(subject)
    host, port = view.text("primary.host"), view.count("primary.port")
    server = next((one for one in subject.case.servers if (one.node.host, one.node.port) == (host, port)), None)
    if server is None:
        return failed(f"it names {host}:{port}, which the inventory does not know")
    if not server.alive:
        raise NotSeenError(f"{server.name}, which the sentinel names as primary, does not answer")
    return judged([] if server.is_primary else [f"it names {server.name}, which says that it is a {server.node.role}"],
                  f"{server.name} is primary")  # fmt: skip


def _view(subject: Subject) -> Facts:
    if subject.watcher is None or not subject.watcher.alive:
        raise NotSeenError(f"the sentinel on {subject.name} does not answer")
    return subject.watcher.view


def _monitor_number(subject: Subject, name: str) -> int:
    return subject.sentinel.sub("monitors").sub(subject.case.service).count(name)


def patience(subject: Subject) -> Outcome:
    value = _monitor_number(subject, "down-after-milliseconds")
    most = int(subject.policy.number("rto_seconds", 30) * 1000) - 2000
    problems = [f"{value} ms: a busy disk or network looks like an outage"] if value < 5000 else []
    problems += [f"{value} ms leave no time for the failover (redis_compliance_rto_seconds)"] if value > most else []
    return judged(problems, f"down-after-milliseconds {value}")


def failover_time(subject: Subject) -> Outcome:
    value = _monitor_number(subject, "failover-timeout")
    problem = f"failover-timeout {value}: a failed attempt blocks the next for {value / 500:.0f} s"
    return judged([problem] if value > SLOWEST_MS else [], f"failover-timeout {value}")


def protected(subject: Subject) -> Outcome:
    look = subject.sentinel
    problems = [] if look.flag("deny_scripts_reconfig") else ["deny-scripts-reconfig no: SENTINEL SET may run programs"]
    default = look.sub("users").sub("default").facts
    open_ = default.flag("enabled") and (default.flag("nopass") or not default.texts("digests"))
    problems += ["anybody may log in as default"] if open_ and not look.maybe("secrets").text("requirepass") else []
    problems += [] if look.text("sentinel_pass") else ["sentinels do not log in to each other (sentinel-pass)"]
    return judged(problems, "scripts cannot be set from outside; clients and sentinels must log in")


CONTROLS = (
    Control(
        id="RDS-037",
        title="Three sentinels or more on hosts of their own, with the majority as quorum",
        severity=HIGH,
        scope=ESTATE,
        why="Two cannot outvote a broken third; a smaller quorum fails over on one's word.",
        fix=(
            f"The inventory's group of sentinels, redis_quorum; {_SENTINEL}."
        ),
        reference="redis.io Sentinel",
        check=quorum,
        repairs=True,
    ),
    Control(
        id="RDS-038",
        title="All sentinels can act, and agree with each other and with the inventory",
        severity=HIGH,
        scope=ESTATE,
        why="One that knows too many or too few votes wrongly when it counts.",
        fix=(
            f"{_SENTINEL}; recover.yml where they name different primaries."
        ),
        reference="redis.io Sentinel; measured",
        check=agreement,
        repairs=True,
    ),
    Control(
        id="RDS-039",
        title="Sentinel's primary is a primary",
        severity=HIGH,
        scope=SENTINEL,
        why="Applications are sent to a server that refuses their writes otherwise.",
        fix="recover.yml.",
        reference="measured: fault N11",
        check=right_primary,
    ),
    Control(
        id="RDS-040",
        title="Sentinel waits neither too short nor too long",
        severity=MEDIUM,
        scope=SENTINEL,
        why="Too short moves a healthy primary; too long costs the outage's minutes.",
        fix=(
            f"redis_sentinel_down_after_ms; {_SENTINEL}."
        ),
        reference="measured: fault N10",
        check=patience,
        repairs=True,
    ),
    Control(
        id="RDS-041",
        title="A failed failover is tried again within two minutes",
        severity=MEDIUM,
        scope=SENTINEL,
        why="Sentinel waits twice the timeout before it tries again.",
        fix=(
            f"redis_sentinel_failover_timeout_ms; {_SENTINEL}."
        ),
        reference="sentinel.c",
        check=failover_time,
        repairs=True,
    ),
    Control(
        id="RDS-042",
        title="Sentinel cannot be turned against its host, and asks for a login",
        severity=MEDIUM,
        scope=SENTINEL,
        why="SENTINEL SET with scripts runs programs on the host.",
        fix=(
            f"Role redis_sentinel's ACL file; {_SENTINEL}."
        ),
        reference="redis.io Sentinel",
        check=protected,
        repairs=True,
    ),
)  # fmt: skip

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Drift, monitoring and logs, and the applications that depend on it all."""

from __future__ import annotations

from ...common.facts import Facts
from ...errors import LifelineError
from ...formats.redis_conf import SECRETS, checked, same
from .base import (  # fmt: skip
    ESTATE,
    HIGH,
    LOW,
    MEDIUM,
    SERVER,
    Control,
    NotSeenError,
    Outcome,
    Subject,
    judged,
    manual,
    not_applicable,
    redis_of,
)

LOG_SHARE = 0.75
HEARTBEAT_S = 420
# What the server writes in another form, and what distributions' units set on the command line.
_NOT_COMPARED = ("user", "replicaof", "latency-tracking-info-percentiles", "daemonize", "supervised")


def drift(subject: Subject) -> Outcome:
    look, running = subject.look.sub("config_file"), subject.config.facts
    if not look.flag("readable"):
        raise NotSeenError(f"{subject.name}: {look.text('path') or 'the configuration file'} cannot be read")
    settings = look.sub("settings").facts
    problems = []
    for name in sorted(map(str, settings.plain)):
        if name in _NOT_COMPARED or name not in running:
            continue
        here, there = running.text(name), settings.text(name)
        if not same(name, here, there):
            problems.append(f"{name}: {here or 'empty'} in the server, {there or 'empty'} in its file")
    secrets, known = subject.redis.sub("secrets").facts, look.sub("secrets").facts
    problems += [f"{name}: another password in the server than in its file" for name in sorted(SECRETS)
                 if name in known and secrets.text(name) != known.text(name)]  # fmt: skip
    problems += _follows(subject, look.text("replicaof"))
    compared = subject.intent.text("config_file") == look.text("path")
    if compared:
        problems += _from_inventory(subject, running)
    return judged(problems, f"{len(settings.plain)} settings of the file"
                  + (" and the inventory's are in force" if compared else " are in force"))  # fmt: skip


def _follows(subject: Subject, written: str) -> list[str]:
    info = subject.redis.sub("info")
    if info.text("role") == "master":
        return [f"its file says replicaof {written}, and it is primary"] if written else []
    follows = f"{info.text('master_host')} {info.count('master_port')}"
    return [] if written == follows else [f"it follows {follows}, and its file says {written or 'nobody'}"]


def _from_inventory(subject: Subject, running: Facts) -> list[str]:
    try:
        wanted = checked(dict(subject.intent.sub("settings").plain))
    except LifelineError as error:
        return [f"the inventory's settings: {error}"]
    return [f"{name}: {running.text(name) or 'empty'} in the server, {value or 'empty'} in the inventory"
            for name, value in sorted(wanted.items()) if name in running and name not in SECRETS
            and not same(name, running.text(name), value)]  # fmt: skip


def measured(subject: Subject) -> Outcome:
    config = subject.config
    problems = ["the slow log is off"] if config.number("slowlog-log-slower-than") < 0 else []
    problems += ["the latency monitor is off"] if config.number("latency-monitor-threshold") <= 0 else []
    problems += [f"acllog-max-len {config.count('acllog-max-len')}"] if config.number("acllog-max-len") < 128 else []
    slow, late = config.count("slowlog-log-slower-than"), config.count("latency-monitor-threshold")
    return judged(problems, f"slow from {slow} us, latency from {late} ms, {config.count('acllog-max-len')} refusals")


def logs(subject: Subject) -> Outcome:
    level, space = subject.config.text("loglevel"), subject.look.sub("log_space")
    used = 1 - space.number("free") / max(1.0, space.number("total"))
    problems = [f"loglevel {level}"] if level not in ("notice", "verbose") else []
    problems += [f"the log's filesystem is {used:.0%} full"] if used >= LOG_SHARE else []
    active = sorted(name for name, state in subject.look.sub("services").facts.plain.items() if state == "active")
    named = subject.policy.text("log_shipper")
    if named and named not in active:
        problems.append(f"{named} is not active")
    senders = [name for name in active if name == named or name in _SHIPPERS]
    senders += ["rsyslog"] if subject.look.flag("syslog_forwards") and "rsyslog.service" in active else []
    if problems or senders:
        return judged(problems, f"loglevel {level}, {used:.0%} full, sent on by {', '.join(senders)}")
    return manual("no service is known to send logs to another host: name it in redis_compliance_log_shipper")


_SHIPPERS = frozenset((
    "systemd-journal-upload.service", "promtail.service", "vector.service", "fluent-bit.service", "fluentd.service",
    "td-agent.service", "filebeat.service", "alloy.service", "otelcol.service", "syslog-ng.service", "splunk.service",
    "SplunkForwarder.service",
))  # fmt: skip


def jobs(subject: Subject) -> Outcome:
    applications = subject.case.applications
    if not applications:
        return not_applicable("the inventory has no application host")
    problems: list[str] = []
    for name in applications:
        host = subject.case.hosts.get(name)
        posture = host.facts.sub("posture") if host else Facts({})
        if not posture:
            raise NotSeenError(f"{name} did not answer")
        units = dict(posture.named("units"))
        problems += [f"{name}: {unit} has Restart={said.text('restart')}" for unit, said in units.items()
                     if said.text("restart") != "always"]  # fmt: skip
        problems += _way(subject, name, posture.sub("application"))
    primary = subject.case.primary
    if primary is None:
        raise NotSeenError("the estate has no primary to ask about jobs")
    said = redis_of(primary.host, primary.name).sub("jobs")
    if not said.flag("seen"):
        raise NotSeenError(f"{primary.name}: RQ's keys cannot be read ({said.facts.text('error')})")
    problems += ["workers are told to pause (rq suspend)"] if said.flag("suspended") else []
    problems += [f"{said.count('silent')} registered workers are dead"] if said.count("silent") else []
    beat = said.number("oldest_heartbeat_s")
    problems += [f"a worker's last heartbeat was {beat:.0f} s ago"] if beat >= HEARTBEAT_S else []
    expired = said.count("leases_expired")
    problems += [f"{expired} running jobs are past their timeout: their workers are gone"] if expired else []
    return judged(problems, f"{said.count('workers')} workers, last heartbeat at most {beat:.0f} s ago")


def _way(subject: Subject, name: str, application: Facts) -> list[str]:
    """An application that goes straight to one server of several stays with it when the primary moves."""
    if not application.flag("configured") or len(subject.case.servers) < 2:
        return []
    host = application.text("host")
    direct = [server.name for server in subject.case.servers if server.node.host == host]
    return [f"{name}: its URL names {direct[0]} itself, and stays there after a failover"] if direct else []


CONTROLS = (
    Control(
        id="RDS-043",
        title="Server, file and inventory say the same",
        severity=HIGH,
        scope=SERVER,
        why="What only the running server has is lost at a restart; what only the file has comes as a surprise then.",
        fix="Run provision.yml.",
        reference="measured: fault F38",
        check=drift,
        repairs=True,
    ),
    Control(
        id="RDS-044",
        title="Slow commands, latency and refusals are kept",
        severity=LOW,
        scope=SERVER,
        why="After an outage it is too late to switch them on.",
        fix="redis_server_config; run provision.yml.",
        reference="redis.io latency monitoring",
        check=measured,
        repairs=True,
    ),
    Control(
        id="RDS-045",
        title="Logs say enough, have room, and leave the host",
        severity=MEDIUM,
        scope=SERVER,
        why="The host that failed is the one whose logs are needed.",
        fix="loglevel: run provision.yml; sending: redis_compliance_log_shipper names the unit that does it.",
        reference="DISA V-251190, V-251196, V-251197",
        check=logs,
        repairs=True,
    ),
    Control(
        id="RDS-048",
        title="Workers come back, follow a failover, and leave no job behind",
        severity=MEDIUM,
        scope=ESTATE,
        why="A job whose worker is gone waits for somebody to notice.",
        fix="Roles rq_services and redis_endpoint; jobs left behind: requeue.yml.",
        reference="RQ documentation; measured",
        check=jobs,
        repairs=True,
    ),
)  # fmt: skip

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Replicas: that there are enough, that they keep up, and that one can take over."""

from __future__ import annotations

from .base import ESTATE, HIGH, MEDIUM, SERVER, Control, Outcome, Subject, judged, not_applicable, redis_of

MIB = 1024**2
BACKLOG_SECONDS = 60
_SETTINGS = "run provision.yml"


def _alone(subject: Subject) -> bool:
    return len(subject.case.servers) < 2


def enough_replicas(subject: Subject) -> Outcome:
    if len(subject.case.servers) < 3:
        return not_applicable("the estate has fewer than two replicas, so a lost one would stop all writes")
    wanted, lag = subject.config.count("min-replicas-to-write"), subject.config.count("min-replicas-max-lag")
    problems = ["min-replicas-to-write 0: a primary that is cut off goes on taking writes that nobody will have"]
    problems = problems if wanted < 1 else []
    problems += [f"min-replicas-max-lag {lag}"] if not 0 < lag <= 10 else []
    return judged(problems, f"min-replicas-to-write {wanted}, max-lag {lag}")


def backlog(subject: Subject) -> Outcome:
    if _alone(subject):
        return not_applicable("the estate has no replica")
    size, info = subject.config.count("repl-backlog-size"), subject.redis.sub("info")
    each = max(1, info.count("connected_slaves"))
    needed = int(info.facts.number("instantaneous_output_repl_kbps") * 1024 / each * BACKLOG_SECONDS)
    problems = [f"{size / MIB:.1f} MiB is Redis' default or less"] if size <= MIB else []
    problems += [f"{size / MIB:.1f} MiB, and a minute of writes takes {needed / MIB:.1f} MiB"] if size < needed else []
    return judged(problems, f"{size / MIB:.0f} MiB; a minute of writes takes {needed / MIB:.2f} MiB now")


def replica_buffer(subject: Subject) -> Outcome:
    if _alone(subject):
        return not_applicable("the estate has no replica")
    words = subject.config.text("client-output-buffer-limit").replace("slave", "replica").split()
    hard = next((int(words[at + 1]) for at in range(0, len(words) - 1, 4) if words[at] == "replica"), 0)
    size = subject.config.count("repl-backlog-size")
    problem = f"a replica is cut off at {hard / MIB:.0f} MiB, and the backlog has {size / MIB:.0f} MiB"
    return judged(
        [problem] if 0 < hard <= size else [], f"hard limit {hard / MIB:.0f} MiB, backlog {size / MIB:.0f} MiB"
    )


def read_only(subject: Subject) -> Outcome:
    value = subject.config.text("replica-read-only")
    return judged([f"replica-read-only {value}"] if value != "yes" else [], "replica-read-only yes")


def promotable(subject: Subject) -> Outcome:
    if _alone(subject):
        return not_applicable("the estate has no replica")
    known = {server.name: redis_of(server.host, server.name).sub("config").count("replica-priority")
             for server in subject.case.servers}  # fmt: skip
    can = [name for name, priority in known.items() if priority > 0]
    problems = [] if len(can) > 1 else ["at most one server may ever be primary: all others have replica-priority 0"]
    for name, priority in known.items():
        intent = subject.intents.get(name)
        wanted = intent.maybe_number("priority") if intent is not None else None
        problems += [f"{name}: replica-priority {priority}, and the inventory says {wanted:g}"] if (
            wanted is not None and wanted != priority) else []  # fmt: skip
    return judged(problems, ", ".join(f"{name} {priority}" for name, priority in known.items()))


def cluster(subject: Subject) -> Outcome:
    server = next(iter(subject.case.servers), None)
    if server is None:
        return not_applicable("the estate has no server")
    looks = {one.name: redis_of(one.host, one.name) for one in subject.case.servers}
    if all(look.sub("config").text("cluster-enabled") != "yes" for look in looks.values()):
        return not_applicable("the estate is no cluster")
    problems: list[str] = []
    for name, look in looks.items():
        said = look.sub("cluster")
        if said.text("state") != "ok":
            problems.append(f"{name}: cluster_state {said.text('state')}")
        if said.count("slots_ok") != 16384:
            problems.append(f"{name}: {said.count('slots_ok')} of 16384 slots are served")
    nodes = next(iter(looks.values())).sub("cluster").rows("nodes")
    for primary in (node for node in nodes if not node.text("primary") and node.count("slots")):
        replicas = [node for node in nodes if node.text("primary") == primary.text("id")]
        if not any(node.text("host") != primary.text("host") for node in replicas):
            problems.append(f"{primary.text('host')} has no replica on another host")
    wanted = {
        "cluster-require-full-coverage": "cluster_full_coverage",
        "cluster-replica-validity-factor": "cluster_validity_factor",
    }
    for setting, policy in wanted.items():
        value = subject.policy.text(policy)
        problems += [f"{name}: {setting} {look.sub('config').text(setting)}" for name, look in looks.items()
                     if value and look.sub("config").text(setting) != value]  # fmt: skip
    return judged(problems, f"16384 slots, {len(nodes)} members")


CONTROLS = (
    Control(
        id="RDS-032",
        title="A primary without replicas takes no writes",
        severity=HIGH,
        scope=SERVER,
        why="What it takes while it is cut off is lost when it comes back as a replica.",
        fix=(
            f"redis_server_min_replicas_to_write: 1; {_SETTINGS}."
        ),
        reference="redis.io Sentinel; measured: fault N7",
        check=enough_replicas,
        repairs=True,
    ),
    Control(
        id="RDS-033",
        title="The replication backlog holds a minute of writes",
        severity=MEDIUM,
        scope=SERVER,
        why="A replica that was away longer copies everything again.",
        fix=(
            f"redis_server_repl_backlog_mb; {_SETTINGS}."
        ),
        reference="redis.io administration; redis#11534",
        check=backlog,
        repairs=True,
    ),
    Control(
        id="RDS-034",
        title="A replica's output buffer is larger than the backlog",
        severity=MEDIUM,
        scope=SERVER,
        why="Else it is cut off in the middle of each copy, forever.",
        fix=(
            f"redis_server_repl_backlog_mb; {_SETTINGS}."
        ),
        reference="redis#9166",
        check=replica_buffer,
        repairs=True,
    ),
    Control(
        id="RDS-035",
        title="Replicas take no writes",
        severity=MEDIUM,
        scope=SERVER,
        why="A write to a replica is lost at the next copy.",
        fix=(
            f"redis_server_config; {_SETTINGS}."
        ),
        reference="redis.io replication",
        check=read_only,
        repairs=True,
    ),
    Control(
        id="RDS-036",
        title="A replica may be promoted, and priorities are the inventory's",
        severity=MEDIUM,
        scope=ESTATE,
        why="With priority 0 everywhere there is no failover.",
        fix=(
            f"redis_server_config: replica-priority; {_SETTINGS}."
        ),
        reference="redis.io Sentinel",
        check=promotable,
    ),
    Control(
        id="RDS-047",
        title="A cluster serves all slots, and each primary has a replica elsewhere",
        severity=MEDIUM,
        scope=ESTATE,
        why="One host's end must not take slots with it.",
        fix="redis_compliance_cluster_*; diagnose.yml names the member.",
        reference="redis.io cluster",
        check=cluster,
    ),
)  # fmt: skip

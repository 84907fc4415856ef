# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The host under the servers: kernel, memory, clock, disks, audit."""

from __future__ import annotations

from .base import (
    HIGH,
    HOST,
    LOW,
    MEDIUM,
    SERVER,
    Control,
    NotSeenError,
    Outcome,
    Subject,
    failed,
    judged,
    manual,
    not_applicable,
    passed,
)

OFFSET_MS = 100
SWAPPED = 0.01
CONNTRACK = 0.8
BASELINE_DAYS = 31
CLOCKS = frozenset((
    "chrony.service", "chronyd.service", "systemd-timesyncd.service", "ntpsec.service", "ntp.service", "ntpd.service",
    "openntpd.service",
))  # fmt: skip
_CONTAINER = "the host is a container: its kernel is another host's"
_TUNED = "redis_server_tune_kernel; run provision.yml"


def _contained(subject: Subject) -> bool:
    return subject.look.flag("container")


def overcommit(subject: Subject) -> Outcome:
    value = subject.look.sub("kernel").text("overcommit_memory")
    return judged([f"vm.overcommit_memory is {value}: a save can fail when memory runs short"] if value != "1" else [],
                  "vm.overcommit_memory is 1")  # fmt: skip


def huge_pages(subject: Subject) -> Outcome:
    value, off = subject.look.sub("kernel").text("thp"), subject.config.facts.text("disable-thp", "no") == "yes"
    if "[always]" in value and not off:
        return failed(f"transparent huge pages: {value}, and disable-thp is no")
    return passed(f"transparent huge pages: {value}, disable-thp {'yes' if off else 'no'}")


def connection_queue(subject: Subject) -> Outcome:
    have, wanted = subject.look.sub("kernel").number("somaxconn"), subject.config.number("tcp-backlog")
    return judged([f"net.core.somaxconn {have:.0f} cuts tcp-backlog {wanted:.0f}"] if have < wanted else [],
                  f"net.core.somaxconn {have:.0f}, tcp-backlog {wanted:.0f}")  # fmt: skip


def swap(subject: Subject) -> Outcome:
    process = subject.look.sub("process")
    swapped, resident = process.number("swap_kb"), max(1.0, process.number("rss_kb"))
    problems = [f"{swapped / 1024:.0f} MiB of the server are swapped out"] if swapped / resident >= SWAPPED else []
    if not _contained(subject) and not subject.look.flag("swap"):
        problems.append("there is no swap: a short want of memory ends the server")
    return judged(problems, f"{swapped:.0f} KiB of the server are swapped out")


def clock(subject: Subject) -> Outcome:
    if _contained(subject):
        return not_applicable(_CONTAINER)
    look = subject.look
    active = sorted(name for name, state in look.sub("services").facts.plain.items()
                    if name in CLOCKS and state == "active")  # fmt: skip
    problems = [] if len(active) == 1 else [f"{len(active)} services set the clock: {', '.join(active) or 'none'}"]
    said = look.sub("clock")
    problems += [] if said.flag("synchronized") else ["the kernel's clock is not synchronized"]
    offset = said.number("offset_ms")
    problems += (
        [f"the clock may be off by {offset:.0f} ms"] if said.flag("synchronized") and offset >= OFFSET_MS else []
    )
    return judged(problems, f"{', '.join(active)}, off by less than {offset:.1f} ms")


def filesystem(subject: Subject) -> Outcome:
    mount, space = subject.look.sub("mount"), subject.look.sub("space")
    files = subject.host.section("files") if subject.host else None
    size = (files.sub("rdb").number("size") + files.sub("aof").number("size")) if files else 0.0
    dataset = max(size, subject.redis.sub("info").number("used_memory"))
    options = set(mount.texts("options"))
    problems = [] if mount.flag("own") else [f"data shares the filesystem of {mount.text('point')}"]
    lacking = [word for word in ("nodev", "nosuid", "noexec") if word not in options]
    problems += [f"{mount.text('point')} is mounted without {', '.join(lacking)}"] if lacking else []
    if space.number("free") < 2 * dataset:
        problems.append(
            f"{space.number('free') / 2**20:.0f} MiB free, and a rewrite may take {2 * dataset / 2**20:.0f}"
        )
    return judged(problems, f"{mount.text('point')}, {space.number('free') / 2**30:.1f} GiB free")


def core_dumps(subject: Subject) -> Outcome:
    look = subject.look
    unit = look.text("unit") if subject.server is not None else ""
    limit = look.sub("process").facts.maybe_number("core_limit") if subject.server is not None else 0
    if limit is None:
        raise NotSeenError(f"{subject.name}: the limits of the server's process were not looked at")
    problems = [f"{unit or 'the server'} may write a core dump, which holds all data"] if limit != 0 else []
    if not _contained(subject):
        kernel = look.sub("kernel").facts
        problems += ["fs.suid_dumpable is 1"] if kernel.text("suid_dumpable") == "1" else []
        problems += ["kernel.yama.ptrace_scope is 0"] if kernel.text("ptrace_scope", "1") == "0" else []
        stored = look.maybe("coredump").text("Storage", "external") != "none"
        piped = "systemd-coredump" in kernel.text("core_pattern")
        problems += ["systemd-coredump keeps dumps (Storage is not none)"] if limit != 0 and piped and stored else []
    return judged(problems, "the server writes no core dump")


def audit(subject: Subject) -> Outcome:
    if _contained(subject):
        return not_applicable(_CONTAINER)
    active = subject.look.sub("services").facts.plain.get("auditd.service") == "active"
    watched = subject.look.texts("audit")
    files = subject.look.sub("files").facts
    wanted = [path for what in ("config_dir", "data") if (path := files.sub(what).text("path"))]
    problems = [] if active else ["auditd does not run"]
    problems += [f"no audit rule watches {path}" for path in wanted
                 if not any(path == one or path.startswith(f"{one}/") for one in watched)]  # fmt: skip
    return judged(problems, f"watched: {', '.join(wanted)}")


def journal(subject: Subject) -> Outcome:
    look = subject.look.sub("journal")
    storage = look.text("storage")
    lasting = storage == "persistent" or (storage == "auto" and look.flag("folder"))
    problems = [] if lasting else [f"the journal is gone after a restart (Storage={storage})"]
    problems += ["SystemMaxUse=infinity: the journal may fill the disk"] if look.text("max_use") == "infinity" else []
    return judged(problems, f"Storage={storage}, at most {look.text('max_use') or 'the default share of the disk'}")


def tracked_connections(subject: Subject) -> Outcome:
    kernel = subject.look.sub("kernel").facts
    used, most = kernel.maybe_number("conntrack_count"), kernel.maybe_number("conntrack_max")
    if used is None or not most:
        return not_applicable("the kernel tracks no connections")
    return judged([f"{used:.0f} of {most:.0f} tracked connections"] if used / most >= CONNTRACK else [],
                  f"{used:.0f} of {most:.0f} tracked connections")  # fmt: skip


def baseline(subject: Subject) -> Outcome:
    said = subject.look.maybe("baseline")
    if not said:
        return manual("audit the system with cinc-auditor or goss, and name its JSON in redis_compliance_baseline")
    if not said.flag("found") or not said.text("tool"):
        return failed(f"{said.text('path')} is no report of InSpec, cinc-auditor or goss")
    age = said.number("age_s") / 86400
    problems = (
        [f"{said.count('failed')} of {said.count('total')} checks failed ({said.text('tool')})"]
        if said.count("failed")
        else []
    )
    problems += [f"the report is {age:.0f} days old"] if age > BASELINE_DAYS else []
    return judged(problems, f"{said.count('total')} checks of {said.text('tool')}, {age:.0f} days ago")


CONTROLS = (
    Control(
        id="HST-001",
        title="The kernel lets a fork overcommit memory",
        severity=HIGH,
        scope=HOST,
        why="A save forks the server; without it, saving fails when memory is half full.",
        fix=(
            f"{_TUNED}."
        ),
        reference="redis.io administration",
        check=overcommit,
        repairs=True,
    ),
    Control(
        id="HST-002",
        title="Transparent huge pages are out of the way",
        severity=MEDIUM,
        scope=SERVER,
        why="They make each save slow and large.",
        fix="disable-thp is set by role redis_server; run provision.yml.",
        reference="redis.io administration",
        check=huge_pages,
        repairs=True,
    ),
    Control(
        id="HST-003",
        title="The kernel's queue of new connections is as long as Redis'",
        severity=MEDIUM,
        scope=SERVER,
        why="After a failover all clients come at once.",
        fix=(
            f"redis_server_somaxconn, {_TUNED}."
        ),
        reference="redis.io administration",
        check=connection_queue,
        repairs=True,
    ),
    Control(
        id="HST-004",
        title="There is swap, and the server is not in it",
        severity=MEDIUM,
        scope=SERVER,
        why="Swapped data makes each command wait for the disk; without swap the kernel kills at once.",
        fix="Add swap as large as the memory; lower redis_server_maxmemory.",
        reference="redis.io administration, latency",
        check=swap,
    ),
    Control(
        id="HST-005",
        title="One service keeps the clock right",
        severity=HIGH,
        scope=HOST,
        why="Sentinel's and RQ's timeouts, and every log's story, hang on it.",
        fix="Install chrony or systemd-timesyncd.",
        reference="CIS 2.3; measured: fault F36",
        check=clock,
    ),
    Control(
        id="HST-006",
        title="Data has a filesystem of its own, with room for a rewrite",
        severity=MEDIUM,
        scope=SERVER,
        why="A full root filesystem takes the host down with Redis.",
        fix="Mount one at the data folder with nodev,nosuid,noexec.",
        reference="redis.io persistence; DISA V-251212",
        check=filesystem,
    ),
    Control(
        id="HST-007",
        title="No core dump holds the data",
        severity=MEDIUM,
        scope=HOST,
        why="A dump of the server is a copy of every key and password.",
        fix="Role redis_server's drop-in sets LimitCORE=0; fs.suid_dumpable and kernel.yama.ptrace_scope by sysctl.",
        reference="CIS 1.5.2, 1.5.3; dev-sec sysctl-31",
        check=core_dumps,
    ),
    Control(
        id="HST-008",
        title="Changes to configuration and data are audited",
        severity=MEDIUM,
        scope=HOST,
        why="Who changed it, is the first question after an incident.",
        fix="auditd with -w rules for the configuration and data folders.",
        reference="DISA V-251206; CIS chapter 6",
        check=audit,
    ),
    Control(
        id="HST-009",
        title="The journal survives a restart, within limits",
        severity=MEDIUM,
        scope=HOST,
        why="The last lines before a crash are the ones that tell why.",
        fix="/var/log/journal, SystemMaxUse in journald.conf.",
        reference="CIS chapter 6",
        check=journal,
    ),
    Control(
        id="HST-010",
        title="Connection tracking has room",
        severity=LOW,
        scope=HOST,
        why="A full table refuses new connections without a word to Redis.",
        fix="net.netfilter.nf_conntrack_max by sysctl.",
        reference="measured",
        check=tracked_connections,
    ),
    Control(
        id="HST-011",
        title="The operating system passes its own baseline",
        severity=MEDIUM,
        scope=HOST,
        why="Redis is as safe as its host; tools of their own look after that.",
        fix="Run dev-sec's or CIS' audit with cinc-auditor or goss; report: redis_compliance_baseline.",
        reference="dev-sec; CIS",
        check=baseline,
    ),
)  # fmt: skip

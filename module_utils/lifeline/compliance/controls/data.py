# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Memory, persistence and backups: what a server keeps, and what a crash or a full host costs."""

from __future__ import annotations

from .base import HIGH, MEDIUM, SERVER, Control, Outcome, Subject, failed, judged, manual, not_applicable, passed

MEMORY_SHARE = 0.8
HOUR, DAY = 3600.0, 86400.0
_SETTINGS = "run provision.yml"


def memory_limit(subject: Subject) -> Outcome:
    limit, room = int(subject.config.number("maxmemory")), subject.look.number("memory_available")
    if limit == 0:
        return failed("maxmemory 0: Redis takes all memory, and the kernel kills it")
    share = limit / room
    problem = f"maxmemory is {share:.0%} of the {room / 2**30:.1f} GiB that the host has"
    return judged([problem] if share > MEMORY_SHARE else [], problem)


def eviction(subject: Subject) -> Outcome:
    if not subject.policy.flag("queues", True):
        return not_applicable("the inventory says that this instance holds no queue (redis_compliance_queues)")
    policy = subject.config.text("maxmemory-policy")
    return judged([f"maxmemory-policy {policy} throws queued jobs away"] if policy != "noeviction" else [],
                  f"maxmemory-policy {policy}")  # fmt: skip


def _appends(subject: Subject) -> bool:
    return subject.config.text("appendonly") == "yes"


def _saves(subject: Subject) -> bool:
    return bool(subject.config.text("save").strip())


def persistence(subject: Subject) -> Outcome:
    if subject.config.text("replica-priority") == "0":
        return not_applicable("it is never promoted (replica-priority 0)")
    if _appends(subject) or _saves(subject):
        return passed(f"appendonly {subject.config.text('appendonly')}, save {subject.config.text('save') or 'none'}")
    unit = subject.look.text("unit")
    restart = subject.look.sub("units").sub(unit).text("restart") if unit else "no"
    problem = f"nothing is kept on disk and Restart={restart}: a primary that comes back empty empties its replicas"
    fine = "nothing is kept on disk, and systemd never restarts it"
    return judged([problem] if restart not in ("no", "") else [], fine)


def append_only(subject: Subject) -> Outcome:
    if not _appends(subject):
        return not_applicable("there is no append only file")
    config = subject.config
    problems = [f"appendfsync {config.text('appendfsync')}"] if config.text("appendfsync") == "no" else []
    problems += ["aof-use-rdb-preamble no"] if config.text("aof-use-rdb-preamble") != "yes" else []
    return judged(problems, f"appendfsync {config.text('appendfsync')}, aof-use-rdb-preamble yes")


def stop_writes(subject: Subject) -> Outcome:
    value = subject.config.text("stop-writes-on-bgsave-error")
    return judged([f"stop-writes-on-bgsave-error {value}"] if value != "yes" else [], "stop-writes-on-bgsave-error yes")


def last_save(subject: Subject) -> Outcome:
    if not _appends(subject) and not _saves(subject):
        return not_applicable("nothing is kept on disk")
    info = subject.redis.sub("info")
    problems = [f"{what}: {info.text(name)}" for name, what in (
        ("rdb_last_bgsave_status", "the last save failed"),
        ("aof_last_write_status", "the last write to the append only file failed"),
        ("aof_last_bgrewrite_status", "the last rewrite of the append only file failed"),
    ) if info.text(name) != "ok"]  # fmt: skip
    hours = subject.policy.number("save_age_hours", 24)
    age = subject.now - info.number("rdb_last_save_time")
    if (
        _saves(subject)
        and info.count("rdb_changes_since_last_save") > 0
        and age > hours * HOUR
        and not _appends(subject)
    ):
        problems.append(f"{info.count('rdb_changes_since_last_save')} changes are older than {age / HOUR:.1f} h")
    return judged(problems, f"last save {max(0.0, age) / HOUR:.1f} h ago, all went well")


def append_only_file(subject: Subject) -> Outcome:
    file = subject.look.sub("config_file").sub("settings").facts.text("appendonly", "no")
    running = subject.config.text("appendonly")
    problems = [] if file == running else [f"appendonly is {running} in the server and {file} in its file"]
    if running == "yes" and subject.host is not None and subject.host.section("files"):
        manifest = subject.host.section("files").sub("aof").flag("manifest")
        problems += [] if manifest else ["the append only file has no manifest: a start would load nothing"]
    return judged(problems, f"appendonly {running} in server and file")


def backup(subject: Subject) -> Outcome:
    record = subject.look.sub("records").maybe("backup")
    if not record:
        return manual("no record names a backup: say where it is written down (redis_compliance_backup_record)")
    if not record.flag("found"):
        return failed(f"there is no backup record {record.text('path')}")
    said = record.sub("content")
    hours, days = subject.policy.number("backup_age_hours", 26), subject.policy.number("restore_age_days", 30)
    age, tried = subject.now - said.number("time"), subject.now - said.number("restored_at")
    problems = [f"the last backup is {age / HOUR:.1f} h old"] if age > hours * HOUR else []
    problems += [] if said.text("copied_to") else ["it was not copied off this host"]
    problems += [] if said.flag("verified") else ["redis-check-rdb has not verified it"]
    problems += [f"no restore was tried in the last {days:g} days"] if tried > days * DAY else []
    return judged(problems, f"{age / HOUR:.1f} h old, at {said.text('copied_to')}, restored {tried / DAY:.1f} days ago")


CONTROLS = (
    Control(
        id="RDS-024",
        title="Memory is limited, with room for a fork",
        severity=HIGH,
        scope=SERVER,
        why="Without a limit the kernel ends the server in the middle of a write.",
        fix="redis_server_maxmemory, or empty to compute it; run provision.yml.",
        reference="redis.io administration",
        check=memory_limit,
        repairs=True,
    ),
    Control(
        id="RDS-025",
        title="Queues are never evicted",
        severity=HIGH,
        scope=SERVER,
        why="An evicted job is gone without a trace.",
        fix=(
            f"redis_server_maxmemory_policy; {_SETTINGS}."
        ),
        reference="rq#1955",
        check=eviction,
        repairs=True,
    ),
    Control(
        id="RDS-026",
        title="A primary keeps its data on disk, or is never restarted by itself",
        severity=HIGH,
        scope=SERVER,
        why="An empty primary makes its replicas empty.",
        fix=(
            f"redis_server_appendonly, redis_server_save; {_SETTINGS}."
        ),
        reference="redis.io replication; measured: fault N8",
        check=persistence,
        repairs=True,
    ),
    Control(
        id="RDS-027",
        title="The append only file reaches the disk each second",
        severity=MEDIUM,
        scope=SERVER,
        why="What a power cut costs is what was not on disk.",
        fix=(
            f"redis_server_appendfsync; {_SETTINGS}."
        ),
        reference="redis.io persistence",
        check=append_only,
        repairs=True,
    ),
    Control(
        id="RDS-028",
        title="Writes stop when saving fails",
        severity=HIGH,
        scope=SERVER,
        why="A disk that is full is noticed now, not at the next restart.",
        fix=(
            f"redis_server_config; {_SETTINGS}."
        ),
        reference="redis.conf; measured: fault F07",
        check=stop_writes,
        repairs=True,
    ),
    Control(
        id="RDS-029",
        title="The last save and the append only file went well",
        severity=HIGH,
        scope=SERVER,
        why="A save that failed yesterday is the data of yesterday after the next crash.",
        fix="diagnose.yml says why it failed. Limit: redis_compliance_save_age_hours.",
        reference="redis.io persistence",
        check=last_save,
    ),
    Control(
        id="RDS-030",
        title="The append only file is on in the server and in its file alike",
        severity=HIGH,
        scope=SERVER,
        why="Where they differ, a restart loads the wrong file, or nothing.",
        fix="Run provision.yml.",
        reference="measured: faults F18, F20",
        check=append_only_file,
        repairs=True,
    ),
    Control(
        id="RDS-031",
        title="A backup lies off the host, is sound, and was restored lately",
        severity=HIGH,
        scope=SERVER,
        why="A backup that nobody has restored is a hope.",
        fix="Back up, and keep a record {time, copied_to, verified, restored_at}: redis_compliance_backup_record.",
        reference="redis.io persistence; DISA V-251241",
        check=backup,
    ),
)  # fmt: skip

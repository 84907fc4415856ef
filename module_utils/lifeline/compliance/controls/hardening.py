# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How little the server's process can do, and whether its software is current."""

from __future__ import annotations

from datetime import datetime, timezone

from .base import (  # fmt: skip
    HIGH,
    HOST,
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
)

DAY = 86400.0
EXPOSURE = 2.0
LISTS_DAYS = 7
# Files that Redis keeps for itself beside the clients' connections.
OWN_FILES = 32
# Loading is at least this fast, bytes a second, on storage that is worth the name.
LOADING = 50_000_000
# When the distribution's (long-term) support for a release ends.
SUPPORT = {
    ("debian", "12"): "2028-06-30",
    ("debian", "13"): "2030-06-30",
    ("ubuntu", "22"): "2027-04-30",
    ("ubuntu", "24"): "2029-04-30",
}


def switches(subject: Subject) -> Outcome:
    names = ("enable-debug-command", "enable-module-command", "enable-protected-configs")
    config = subject.config.facts
    known = {name: config.text(name) for name in names if name in config}
    if not known:
        return not_applicable("this version has no such settings (they came with 7.0)")
    return judged([f"{name} {value}" for name, value in known.items() if value != "no"], "all three are no")


def modules(subject: Subject) -> Outcome:
    loaded = [row for row in subject.redis.rows("modules") if row.text("path")]
    allowed = set(subject.policy.texts("modules"))
    return judged([f"module {row.text('name')} from {row.text('path')}" for row in loaded
                   if row.text("name") not in allowed], f"{len(loaded)} modules loaded, all allowed")  # fmt: skip


def renamed(subject: Subject) -> Outcome:
    names = subject.look.sub("config_file").texts("renamed")
    return judged([f"command {name} is renamed" for name in names], "no command is renamed")


def sandbox(subject: Subject) -> Outcome:
    process, look = subject.look.sub("process"), subject.look
    unit = look.text("unit")
    if not unit:
        return judged(["the server does not run as a systemd unit"], "")
    properties = look.sub("units").sub(unit)
    problems = ["the server runs as root"] if process.text("user") == "root" else []
    problems += [] if process.flag("no_new_privileges") else ["the process may gain privileges"]
    protect = properties.text("protect_system")
    problems += [] if protect == "strict" else [f"ProtectSystem={protect or 'no'}"]
    exposure = look.number("exposure")
    problems += [f"exposure {exposure} by systemd-analyze security"] if exposure > EXPOSURE else []
    return judged(problems, f"user {process.text('user')}, ProtectSystem=strict, exposure {exposure}")


def modes(subject: Subject) -> Outcome:
    files = subject.look.sub("files").facts
    user = subject.look.sub("process").text("user") if subject.server is not None else ""
    problems = []
    for what in ("config", "sentinel_config", "acl", "sentinel_acl", "data", "log", "log_dir"):
        file = files.sub(what)
        if not file or not file.flag("exists"):
            continue
        mode, path = int(file.text("mode") or "0", 8), file.text("path")
        if mode & 0o007:
            problems.append(f"{path} has mode {mode:04o}: everybody on the host has rights there")
        if what in ("config", "sentinel_config") and mode & 0o020 and file.text("group") != user:
            problems.append(f"{path} has mode {mode:04o}: group {file.text('group')} may write it")
        if what == "config" and user and not _writes(file.text("owner"), file.text("group"), mode, user):
            problems.append(f"{path} cannot be rewritten by {user}, so CONFIG REWRITE and failovers fail")
    if not any(file.flag("exists") for _name, file in files.named()):
        raise NotSeenError(f"{subject.name}: none of the server's files was found")
    return judged(problems, ", ".join(f"{file.text('path')} {file.text('mode')}" for _name, file in files.named()
                                      if file.flag("exists")))  # fmt: skip


def _writes(owner: str, group: str, mode: int, user: str) -> bool:
    return (owner == user and bool(mode & 0o200)) or (group == user and bool(mode & 0o020))


def current(subject: Subject) -> Outcome:
    packages = subject.look.sub("packages")
    installed = list(packages.sub("installed").facts.named())
    version = subject.redis.maybe("info").text("redis_version") if subject.server is not None else ""
    if not installed:
        return manual(f"version {version} is not of a package that APT knows: compare it with the project's advisories")
    age = packages.number("lists_age_s") / DAY
    if age > LISTS_DAYS:
        raise NotSeenError(f"{subject.name}: APT's lists are {age:.0f} days old; refresh them (apt-get update)")
    problems = [f"{name} {package.text('version')}: {package.text('candidate')} is waiting"
                + (" (a security update)" if package.flag("security") else "")
                for name, package in installed if package.text("version") != package.text("candidate")]  # fmt: skip
    platform = subject.host.facts.sub("platform") if subject.host else None
    release = (platform.text("distribution"), platform.text("release")) if platform else ("", "")
    end = SUPPORT.get(release)
    if end is None:
        return (
            judged(problems, "")
            if problems
            else manual(f"no update is waiting; how long {' '.join(release)} is supported is not known here")
        )
    if datetime.fromtimestamp(subject.now, timezone.utc).strftime("%Y-%m-%d") > end:
        problems.append(f"{' '.join(release)} has had no support since {end}")
    shown = ", ".join(f"{name} {package.text('version')}" for name, package in installed)
    return judged(problems, f"{shown}; {' '.join(release)} is supported until {end}")


def file_limit(subject: Subject) -> Outcome:
    clients, limit = int(subject.config.number("maxclients")), subject.look.sub("process").count("files_limit")
    problem = f"maxclients {clients} and {OWN_FILES} files of its own, but the process may open {limit}"
    return judged([problem] if -1 < limit < clients + OWN_FILES else [], f"maxclients {clients}, files {limit}")


def restarts(subject: Subject) -> Outcome:
    look = subject.look
    unit = look.text("unit")
    if not unit:
        return judged(["the server does not run as a systemd unit"], "")
    said = look.sub("units").sub(unit)
    config = subject.config
    persists = bool(config.text("save").strip()) or config.text("appendonly") == "yes"
    problems = []
    if persists and said.text("restart") in ("no", ""):
        problems.append("Restart=no: a crash needs a person")
    if said.text("restart") not in ("no", "") and (
        said.count("start_limit_burst") < 1 or said.number("start_limit_interval_s") <= 0
    ):
        problems.append("there is no limit on restarts: a server that cannot start tries forever")
    loading = subject.redis.sub("info").number("used_memory") / LOADING
    start, stop = said.number("timeout_start_s"), said.number("timeout_stop_s")
    if 0 <= start < 3 * loading:
        problems.append(f"TimeoutStartSec={start:.0f} is less than three times what loading takes ({loading:.0f} s)")
    if stop < 0:
        problems.append("TimeoutStopSec is infinite: a server that hangs at its end never goes down")
    return judged(problems, f"Restart={said.text('restart')}, start {start:.0f} s, stop {stop:.0f} s")


CONTROLS = (
    Control(
        id="RDS-017",
        title="Debug commands, module loading and protected settings are off",
        severity=HIGH,
        scope=SERVER,
        why="With them, whoever logs in runs code on the host.",
        fix="redis_server_config must not switch them on; run provision.yml, which restarts the server for it.",
        reference="redis.conf of 7.0",
        check=switches,
        repairs=True,
    ),
    Control(
        id="RDS-018",
        title="Only allowed modules are loaded",
        severity=MEDIUM,
        scope=SERVER,
        why="A module is foreign code in the server's process.",
        fix="Remove loadmodule from redis.conf and restart, or name it in redis_compliance_modules.",
        reference="DISA V-251189, V-251208, V-251210",
        check=modules,
    ),
    Control(
        id="RDS-019",
        title="No command is renamed",
        severity=LOW,
        scope=SERVER,
        why=(
            "Renaming is deprecated and breaks Sentinel, replication and tools; ACL users limit commands. Lynis "
            "(DBS-1886) asks for the opposite."
        ),
        fix="Remove rename-command from redis.conf and restart.",
        reference="redis.io security",
        check=renamed,
    ),
    Control(
        id="RDS-020",
        title="The server's process is confined",
        severity=HIGH,
        scope=SERVER,
        why="A flaw in Redis must not become a flaw of the host.",
        fix="The distribution's unit with role redis_server's drop-in; run provision.yml.",
        reference="redis.io security; DISA V-251211, V-251219",
        check=sandbox,
    ),
    Control(
        id="RDS-021",
        title="Files are closed to others, and Redis can rewrite its configuration",
        severity=HIGH,
        scope=HOST,
        why="They hold passwords and data; and a failover that cannot be written down is undone by a restart.",
        fix="Run provision.yml, which sets modes and owners; data and log folders: the package's own modes.",
        reference="Lynis DBS-1882; DISA V-251202 to V-251204, V-251247",
        check=modes,
        repairs=True,
    ),
    Control(
        id="RDS-022",
        title="The package is supported and no update is waiting",
        severity=HIGH,
        scope=HOST,
        why=(
            "Known flaws are the ones that are used. Debian repairs them without a new upstream version, so the "
            "package's version counts."
        ),
        fix="apt-get upgrade on one host after the other, the primary last (restart.yml).",
        reference="DISA V-265880, V-251253",
        check=current,
    ),
    Control(
        id="RDS-023",
        title="The process may open as many files as maxclients needs",
        severity=MEDIUM,
        scope=SERVER,
        why="Redis lowers maxclients silently otherwise.",
        fix="redis_server_maxclients; run provision.yml.",
        reference="DISA V-251183; measured: fault F06",
        check=file_limit,
    ),
    Control(
        id="RDS-049",
        title="The unit restarts the server within limits, and lets it start and stop",
        severity=MEDIUM,
        scope=SERVER,
        why=(
            "A start timeout shorter than loading kills a healthy server again and again; without one for the stop, a "
            "server that hangs is never replaced."
        ),
        fix="redis_server_start_timeout, redis_server_stop_timeout; run provision.yml.",
        reference="measured: faults F16, N13",
        check=restarts,
        repairs=True,
    ),
)  # fmt: skip

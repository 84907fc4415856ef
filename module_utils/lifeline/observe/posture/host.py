# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How a host is set up beside Redis: ports, kernel settings, mounts, clock, packages, audit, journal, core dumps."""

from __future__ import annotations

import contextlib
import ctypes
import grp
import json
import os
import pwd
import re
import stat
import time
from pathlib import Path
from typing import Any, Iterable, Mapping, Optional, Sequence

from ...common.shell import output, read
from ..sockets import LISTENS, address_of

KERNEL = {
    "overcommit_memory": "/proc/sys/vm/overcommit_memory",
    "somaxconn": "/proc/sys/net/core/somaxconn",
    "suid_dumpable": "/proc/sys/fs/suid_dumpable",
    "ptrace_scope": "/proc/sys/kernel/yama/ptrace_scope",
    "core_pattern": "/proc/sys/kernel/core_pattern",
    "conntrack_count": "/proc/sys/net/netfilter/nf_conntrack_count",
    "conntrack_max": "/proc/sys/net/netfilter/nf_conntrack_max",
    "thp": "/sys/kernel/mm/transparent_hugepage/enabled",
}
CONTAINER_MARKS = ("/run/systemd/container", "/run/.containerenv", "/.dockerenv")

# Units whose presence says that something is taken care of.
CLOCKS = ("chrony.service", "chronyd.service", "systemd-timesyncd.service", "ntpsec.service", "ntp.service",
          "ntpd.service", "openntpd.service")  # fmt: skip
SHIPPERS = ("systemd-journal-upload.service", "promtail.service", "vector.service", "fluent-bit.service",
            "fluentd.service", "td-agent.service", "filebeat.service", "alloy.service", "otelcol.service",
            "syslog-ng.service", "splunk.service", "SplunkForwarder.service")  # fmt: skip
AUDIT = "auditd.service"
SYSLOG = "rsyslog.service"

PACKAGES = ("redis-server", "redis-sentinel", "redis-tools", "valkey-server", "valkey-sentinel", "redis")
STA_UNSYNC = 0x0040
STA_NANO = 0x2000
TIME_ERROR = 5


def listening() -> list[dict[str, Any]]:
    """``[{address, port}]`` of all TCP ports that take connections; ``*`` and ``::`` stand for every address."""
    found = [*parse_tcp(read("/proc/net/tcp", 4_000_000)), *parse_tcp(read("/proc/net/tcp6", 4_000_000))]
    return sorted(found, key=lambda row: (row["port"], row["address"]))


def parse_tcp(text: str) -> list[dict[str, Any]]:
    """The same from the text of /proc/net/tcp or tcp6; state 0A is listening."""
    found = {}
    for line in text.splitlines()[1:]:
        words = line.split()
        if len(words) > 3 and words[3] == LISTENS and ":" in words[1]:
            place, _, port = words[1].rpartition(":")
            row = {"address": address_of(place), "port": int(port, 16)}
            found[(row["address"], row["port"])] = row
    return list(found.values())


def files(paths: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """By what they are for: ``{path, exists, mode (octal text), owner, group, size}``; what is not there has the first
    two."""
    return {what: _file(path) for what, path in paths.items() if path}


def _file(path: str) -> dict[str, Any]:
    try:
        state = os.stat(path)
    except OSError:
        return {"path": path, "exists": False}
    return {
        "path": path,
        "exists": True,
        "mode": f"{stat.S_IMODE(state.st_mode):04o}",
        "owner": _name(state.st_uid, pwd.getpwuid),
        "group": _name(state.st_gid, grp.getgrgid),
        "size": state.st_size,
    }


def _name(number: int, lookup: Any) -> str:
    try:
        return str(lookup(number)[0])
    except KeyError:
        return str(number)


def kernel() -> dict[str, str]:
    """Settings by name, as the kernel spells them; those that it lacks are left out."""
    return {name: text.strip() for name, path in KERNEL.items() if (text := read(path))}


def container() -> bool:
    """Whether the kernel, its clock and its audit are another host's."""
    return any(os.path.exists(mark) for mark in CONTAINER_MARKS)


def process(pid: int) -> dict[str, Any]:
    """``{pid, user, no_new_privileges, swap_kb, rss_kb, core_limit, files_limit}``; empty when there is none."""
    status = read(f"/proc/{pid}/status") if pid > 0 else ""
    if not status:
        return {}
    said = {name: rest.split() for name, _, rest in (line.partition(":") for line in status.splitlines())}
    limits = read(f"/proc/{pid}/limits")
    return {
        "pid": pid,
        "user": _name(int(said["Uid"][0]), pwd.getpwuid) if said.get("Uid") else "",
        "no_new_privileges": said.get("NoNewPrivs") == ["1"],
        "swap_kb": int(said["VmSwap"][0]) if said.get("VmSwap") else 0,
        "rss_kb": int(said["VmRSS"][0]) if said.get("VmRSS") else 0,
        "core_limit": _limit(limits, "Max core file size"),
        "files_limit": _limit(limits, "Max open files"),
    }


def _limit(limits: str, name: str) -> Optional[int]:
    """The soft limit; -1 for unlimited."""
    for line in limits.splitlines():
        if line.startswith(name):
            word = line[len(name) :].split()[0]
            return -1 if word == "unlimited" else int(word)
    return None


def mount_of(path: str, mountinfo: str) -> dict[str, Any]:
    """``{point, type, options, own}`` of the filesystem that holds a path; ``own``: not that of ``/``."""
    best: dict[str, Any] = {}
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        words, kind = left.split(), right.split()
        if len(words) < 6 or not kind:
            continue
        point = words[4].replace("\\040", " ")
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(str(best.get("point", ""))):
            best = {"point": point, "type": kind[0], "options": words[5].split(","), "own": point != "/"}
    return best


def mount(path: str) -> dict[str, Any]:
    """``mount_of`` by this host's mounts; empty without a path."""
    return mount_of(os.path.realpath(path), read("/proc/self/mountinfo", 1_000_000)) if path else {}


class _Timex(ctypes.Structure):
    _fields_ = [
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("constant", ctypes.c_long),
        ("precision", ctypes.c_long),
        ("tolerance", ctypes.c_long),
        ("room", ctypes.c_byte * 128),
    ]


def clock() -> dict[str, Any]:
    """The kernel's own word on its clock: ``{synchronized, offset_ms}``; nothing where it does not say."""
    try:
        library = ctypes.CDLL(None, use_errno=True)
        timex = _Timex()
        state = library.adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):
        return {}
    if state < 0:
        return {}
    unit = 1e6 if timex.status & STA_NANO else 1e3
    return {
        "synchronized": state != TIME_ERROR and not timex.status & STA_UNSYNC,
        "offset_ms": round(max(abs(timex.offset) / unit, timex.esterror / 1e3), 3),
    }


def states(units: Sequence[str], seconds: float) -> dict[str, str]:
    """Active states of those units that the host has; nothing where systemd takes longer than ``seconds``."""
    text = output(["systemctl", "show", "--no-pager", "--property=Id,LoadState,ActiveState", "--", *units], seconds)
    found = {}
    for name, block in zip(units, text.strip().split("\n\n")):
        said = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if said.get("LoadState") == "loaded":
            found[name] = said.get("ActiveState", "")
    return found


def packages(seconds: float, names: Sequence[str] = PACKAGES) -> dict[str, Any]:
    """``{installed: {name: {version, candidate, security}}, lists_age_s}`` by APT; see ``parse_policy``."""
    text = output(["apt-cache", "policy", *names], seconds)
    return {"installed": parse_policy(text), "lists_age_s": _lists_age()} if text else {}


def parse_policy(text: str) -> dict[str, dict[str, Any]]:
    """``apt-cache policy``'s installed packages; ``security``: the candidate comes from a security archive."""
    found: dict[str, dict[str, Any]] = {}
    for block in re.split(r"^(?=\S)", text, flags=re.MULTILINE):
        name = block.partition(":")[0].strip()
        installed = re.search(r"^ +Installed: (\S+)", block, re.MULTILINE)
        candidate = re.search(r"^ +Candidate: (\S+)", block, re.MULTILINE)
        if not name or not installed or installed[1] == "(none)" or not candidate:
            continue
        table = re.search(r"^(?: \*\*\*|    ) " + re.escape(candidate[1]) + r" .*?(?=^(?: \*\*\*|    ) \S|\Z)",
                          block, re.MULTILINE | re.DOTALL)  # fmt: skip
        origins = table[0] if table else ""
        found[name] = {
            "version": installed[1],
            "candidate": candidate[1],
            "security": "security" in origins,
        }
    return found


def _lists_age() -> Optional[float]:
    """Seconds since APT last fetched a list."""
    stamps = []
    for path in ("/var/lib/apt/periodic/update-success-stamp", "/var/lib/apt/lists/partial", "/var/lib/apt/lists"):
        try:
            stamps.append(os.stat(path).st_mtime)
        except OSError:
            continue
    return round(max(0.0, time.time() - max(stamps)), 0) if stamps else None


def audit_watches(root: str = "/etc/audit") -> list[str]:
    """Paths that audit rules watch, from the rules' files."""
    found = set()
    for path in [Path(root) / "audit.rules", *sorted(Path(root).glob("rules.d/*.rules"))]:
        for line in read(str(path)).splitlines():
            match = re.match(r"\s*-w\s+(\S+)", line) or re.search(r"-F\s+(?:dir|path)=(\S+)", line)
            if match and not line.lstrip().startswith("#"):
                found.add(match[1].rstrip("/"))
    return sorted(found)


def settings_of(names: Iterable[str], *files_of_settings: str) -> dict[str, str]:
    """The last value of some settings in files of systemd's form, drop-ins after the file itself."""
    wanted = set(names)
    found = {}
    for file in files_of_settings:
        texts = [read(file), *(read(str(path)) for path in sorted(Path(f"{file}.d").glob("*.conf")))]
        for line in "\n".join(texts).splitlines():
            name, equals, value = line.strip().partition("=")
            if equals and name in wanted:
                found[name] = value.strip()
    return found


def journal() -> dict[str, Any]:
    """``{storage, folder, max_use}``: where the journal goes, whether its lasting folder exists, and its limit."""
    said = settings_of(("Storage", "SystemMaxUse"), "/etc/systemd/journald.conf")
    return {
        "storage": said.get("Storage", "auto"),
        "folder": os.path.isdir("/var/log/journal"),
        "max_use": said.get("SystemMaxUse", ""),
    }


def syslog_forwards(*paths: str) -> bool:
    """Whether rsyslog's files send lines to another host."""
    files_of_rules = [Path(path) for path in paths] or [
        Path("/etc/rsyslog.conf"),
        *sorted(Path("/etc/rsyslog.d").glob("*.conf")),
    ]
    pattern = re.compile(r"^[ \t]*[^#\s]+[ \t]+@@?[\w\[]|omfwd|omrelp", re.MULTILINE)
    comment = re.compile(r"^[ \t]*#.*$", re.MULTILINE)
    return any(pattern.search(comment.sub("", read(str(path)))) for path in files_of_rules)


def space(path: str) -> dict[str, int]:
    """``{free, total}`` bytes of the filesystem that holds a path; empty where it cannot be told."""
    try:
        state = os.statvfs(path)
    except OSError:
        return {}
    return {"free": state.f_bavail * state.f_frsize, "total": state.f_blocks * state.f_frsize}


def record(path: str) -> dict[str, Any]:
    """A record that another tool keeps as JSON on this host: ``{path, found, content}``."""
    text = read(path, 1_000_000)
    try:
        content = json.loads(text) if text else None
    except ValueError:
        content = None
    return {"path": path, "found": isinstance(content, dict), "content": content if isinstance(content, dict) else {}}


def baseline(path: str) -> dict[str, Any]:
    """The result of an audit of the operating system: ``{path, found, tool, failed, total, age_s}``.

    Understands the JSON of InSpec and cinc-auditor (``profiles[].controls[].results[].status``) and of goss
    (``summary``).
    """
    found = record(path)
    content = found.pop("content")
    if not found["found"]:
        return found
    with contextlib.suppress(OSError):
        found["age_s"] = round(max(0.0, time.time() - os.stat(path).st_mtime), 0)
    return {**found, **count_baseline(content)}


def count_baseline(content: Mapping[str, Any]) -> dict[str, Any]:
    """``{tool, failed, total}``; empty for JSON of another form."""
    summary = content.get("summary")
    if isinstance(summary, Mapping) and "failed-count" in summary:
        return {"tool": "goss", "failed": int(summary["failed-count"]), "total": int(summary.get("test-count", 0))}
    profiles = content.get("profiles")
    if not isinstance(profiles, list):
        return {}
    controls = [
        control for profile in profiles if isinstance(profile, Mapping) for control in profile.get("controls") or []
    ]
    bad = sum(any(result.get("status") == "failed" for result in control.get("results") or []) for control in controls)
    return {"tool": "inspec", "failed": bad, "total": len(controls)}

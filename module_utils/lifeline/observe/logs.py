# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Anomalies in logs and journals, read from their ends in bounded time and memory, and grouped."""

from __future__ import annotations

import os
import re
import subprocess
import time
from datetime import datetime
from typing import Any, Callable, Iterable, Iterator, Optional

from ..common import commands, reading

# A log costs no more than its tail, however long it is.
TAIL_BYTES = 1 << 20
JOURNAL_LINES = 500
SAMPLE_CHARS = 300
# What decides what a line is stands at its beginning; a line of a megabyte is nobody's.
LINE_CHARS = 2000

# Lines this young, in seconds, tell how often something happens now.
RECENT_S = 60

# Name of a group, and what its lines hold. The first that fits takes the line. Words are those of Redis 6 to 8 and
# Valkey 7 to 9; a cause asks for a group by its name.
PATTERNS: tuple[tuple[str, str], ...] = (
    ("ended_by_disk", r"Replica was unable to write command to disk"),
    ("crash", r"BUG REPORT START|crashed by signal|Guru Meditation|=== ASSERTION FAILED"),
    ("no_space", r"No space left on device|Disk quota exceeded|Short write while writing to the AOF file"),
    ("read_only", r"Read-only file system"),
    ("config_fatal", r"FATAL CONFIG FILE ERROR"),
    ("config_line", r"Reading the configuration file, at line"),
    ("config_directive", r"^>>> '"),
    (
        "config_reason",
        r"^(?:Bad directive|[Ww]rong number of arg|[Ii]nvalid |argument |Unknown |Can't chdir|Unrecognized )",
    ),
    ("config_denied", r"can't open config file"),
    ("log_denied", r"Can't open the log file"),
    ("port_taken", r"Address already in use"),
    ("address_missing", r"Cannot assign requested address"),
    ("start_timeout", r"start operation timed out"),
    ("fork_failed", r"fork: (?:Cannot allocate memory|Resource temporarily unavailable)"),
    ("aof_fsync_slow", r"Asynchronous AOF fsync is taking too long"),
    ("exited", r"Main process exited, code=exited, status="),
    ("dumped", r"Main process exited, code=(?:dumped|killed), status=(?!9/KILL)"),
    ("oom_unit", r"killed by the OOM killer|Failed with result 'oom-kill'"),
    ("oom_server", r"Killed process \d+ \((?:redis|valkey)-server"),
    ("oom_other", r"(?:Out of memory|cgroup out of memory): Killed process"),
    ("disk_error", r"EXT4-fs error|XFS \(\S+\): .{0,200}(?:error|[Cc]orrupt)|I/O error, dev"),
    ("disk_error", r"Remounting filesystem read-only"),
    ("task_hung", r"blocked for more than \d+ seconds"),
    ("start_limit", r"Start request repeated too quickly"),
    ("killed", r"code=killed, status=9/KILL"),
    ("slow_script", r"Slow script detected"),
    ("acl_error", r"because of ACL errors|Error loading ACLs"),
    ("tls_error", r"Failed to load (?:certificate|private key)|Failed to configure TLS"),
    ("nodes_file", r"corrupted cluster config file|already used by a different Redis Cluster node"),
    ("unresolved", r"Can't resolve instance hostname|Failed to resolve hostname"),
    ("sdown_over", r"-sdown "),
    ("sdown_primary", r"[+]sdown (?:master|primary) "),
    ("aof_truncated", r"Truncating the AOF|loaded anyway because aof-load-truncated"),
    ("aof_unfinished", r"Unexpected end of file reading the append only file|truncated file is not the last file"),
    ("aof_corrupt", r"(?:Bad file format|Unrecoverable error|Unknown command .{0,300}) reading the append only file"),
    ("aof_missing", r"Unable to obtain the AOF file|Fatal error: can't open the append log file"),
    ("aof_created", r"Creating AOF base file \S+ on server start"),
    ("rdb_version", r"Can't handle RDB format version"),
    ("rdb_unreadable", r"can't open the RDB file.{0,300}(?:Permission denied|not permitted)"),
    ("rdb_unreadable", r"Fatal error loading the DB.{0,300}(?:Permission denied|not permitted)"),
    ("rdb_broken", r"Short read or OOM loading DB|Wrong RDB checksum|Wrong signature trying to load DB"),
    ("rdb_broken", r"RDB CRC error|Unexpected EOF reading RDB|Internal error in RDB reading"),
    ("loaded", r"DB loaded from|Done loading RDB"),
    ("replica_buffer", r"overcoming of output buffer limits"),
    # By its first copy, for want of backlog, after another history; and what the replica says of each.
    ("full_sync", r"Full resync requested by replica|Full resync from (?:master|primary)"),
    ("full_sync", r"Unable to partial resync with replica|Partial resynchronization not accepted"),
    ("flushing_old", r"Flushing old data"),
    (
        "replica_login",
        r"Unable to AUTH to|(?:MASTER|Master|PRIMARY|Primary) .{0,200}(?:NOAUTH|NOPERM|WRONGPASS)",
    ),
    ("linked", r"Successful partial resynchronization|(?:MASTER|PRIMARY) <-> REPLICA sync: Finished with success"),
    ("promoted", r"(?:MASTER|PRIMARY) MODE enabled"),
    ("no_good_replica", r"-failover-abort-no-good-slave"),
    ("rebooted", r"[+]reboot master"),
    ("tilt", r"[+]tilt"),
    ("sentinel_unwritable", r"Sentinel config file \S+ is not writable|was not able to save the new configuration"),
    ("ready", r"Ready to accept connections"),
    ("started", r"(?:Redis|Valkey) is starting"),
    ("denied", r"Permission denied"),
)

_COMPILED = [(name, re.compile(pattern)) for name, pattern in PATTERNS]
_ANY = re.compile("|".join(f"(?:{pattern})" for _name, pattern in PATTERNS))

# pid:role day month year hour:minute:second.millisecond level message
_REDIS_LINE = re.compile(r"^\d+:[A-Z] (\d{1,2} \w{3} \d{4} \d{2}:\d{2}:\d{2})\.(\d{3}) (\S) (.*)$")
# journalctl -o short-unix: seconds, host, program[pid]:, message
_JOURNAL_LINE = re.compile(r"^(\d{9,11}\.\d+) \S+ ([^:]+): (.*)$")


def file_groups(path: str, since: float, redact: Callable[[str], str]) -> dict[str, Any]:
    """``{path, size, groups, last}`` of a Redis or Sentinel log; ``error`` instead where it cannot be read.

    ``groups``: ``{name: {count, recent, first, last, sample}}`` of lines since ``since`` (seconds since 1970);
    ``recent`` of them are of the last minute; ``sample`` is the newest line. ``last``: the last lines of all, for
    faults that nobody knows yet.
    """
    try:
        size, text = _tail(path)
    except OSError as error:
        return {"path": path, "error": error.strerror or str(error), "groups": {}, "last": []}
    lines = list(_redis_lines(text))
    return {"path": path, "size": size, **group(lines, since, redact)}


def _tail(path: str) -> tuple[int, str]:
    with reading.regular(path) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - TAIL_BYTES))
        return size, file.read(TAIL_BYTES).decode("utf-8", "replace")


def _lines(text: str) -> Iterator[str]:
    return (line[:LINE_CHARS] for line in text.splitlines())


def _redis_lines(text: str) -> Iterator[tuple[float, str]]:
    """(time, message); a line without a time, such as one of a crash report, has that of the line before."""
    when = 0.0
    for line in _lines(text):
        match = _REDIS_LINE.match(line)
        if match:
            when = _moment(match[1], match[2], when)
            yield when, match[4]
        elif line.strip():
            yield when, line


def _moment(text: str, milliseconds: str, default: float) -> float:
    try:
        return datetime.strptime(text, "%d %b %Y %H:%M:%S").astimezone().timestamp() + int(milliseconds) / 1000
    except (ValueError, OverflowError, OSError):
        return default


def journal_groups(units: Iterable[str], since: float, redact: Callable[[str], str], seconds: float) -> dict[str, Any]:
    """The same of some units' journal. Raises TimeoutError when it takes longer than ``seconds``."""
    names = [word for unit in units for word in ("-u", unit)]
    return _journal(names, since, redact, seconds) if names else {"groups": {}, "last": []}


def kernel_groups(since: float, redact: Callable[[str], str], seconds: float) -> dict[str, Any]:
    """The same of the kernel's messages, where this host may read them. Raises TimeoutError as well."""
    return _journal(["-k"], since, redact, seconds)


def _journal(which: list[str], since: float, redact: Callable[[str], str], seconds: float) -> dict[str, Any]:
    """Groups of the newest lines. A journal that was not read to its end is not one in which nothing stands.

    With ``--since``, journalctl of systemd 252 counts ``-n`` from the oldest line on, and a server that ends again and
    again fills that within minutes (measured: 2,176 lines in 15 minutes); with ``--reverse`` from the newest.
    """
    argv = ["journalctl", "--no-pager", "--quiet", "-o", "short-unix", "--reverse", f"--since=@{int(since)}"]
    try:
        text = commands.bounded([*argv, f"-n{JOURNAL_LINES}", *which], seconds).stdout
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(f"journalctl did not end within {seconds:g} s") from error
    except OSError:  # a host without systemd
        text = ""
    return group(list(_journal_lines(text))[::-1], since, redact)


def _journal_lines(text: str) -> Iterator[tuple[float, str]]:
    for line in _lines(text):
        match = _JOURNAL_LINE.match(line)
        if match:
            yield float(match[1]), match[3]


def group(lines: list[tuple[float, str]], since: float, redact: Callable[[str], str]) -> dict[str, Any]:
    """Lines of known anomalies by name, and the last lines as they are."""
    groups: dict[str, dict[str, Any]] = {}
    now = time.time()
    for when, line in lines:
        if when < since or not _ANY.search(line):
            continue
        name = next(name for name, pattern in _COMPILED if pattern.search(line))
        found = groups.setdefault(name, {"count": 0, "recent": 0, "first": round(when, 3), "last": 0.0, "sample": ""})
        found["count"] += 1
        found["recent"] += when >= now - RECENT_S
        found["last"] = round(when, 3)
        found["sample"] = line
    for found in groups.values():
        found["sample"] = redact(found["sample"])[:SAMPLE_CHARS]
    return {"groups": groups, "last": [redact(line)[:SAMPLE_CHARS] for when, line in lines[-5:] if when >= since]}


def window_start(minutes: float, now: Optional[float] = None) -> float:
    """Seconds since 1970 at which the window that is looked at begins."""
    return (time.time() if now is None else now) - minutes * 60

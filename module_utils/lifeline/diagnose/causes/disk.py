# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The disk under a server: full, out of inodes, read-only, or not the server's to use."""

from __future__ import annotations

from typing import Iterator, Optional

from ...common.facts import Facts
from ..case import Case, Host, Server
from ..log_evidence import MIB, data_disk, data_folder, down, end_of_life, last_words, sample, saving_fails, size
from .base import CERTAIN, CRITICAL, LIKELY, WARNING, Cause, Match
from .process import DEATHS, grade, reach, unit_line

# Less than this is no room for a server, in bytes.
FULL = MIB

# Below this share, and this many bytes, of free space a disk is nearly full. A big disk may be 95 % full in peace.
NEARLY, NEARLY_BYTES = 0.05, 1024 * MIB

# Least space for configuration and logs, in bytes.
ROOM = 64 * MIB

# Fewer free inodes than this, or this share of them, are none: one snapshot needs one, a rewrite two.
INODES, INODES_SHARE = 16, 0.001

# What comes of a server that cannot write.
FAILING = ("saving_fails", "disk_nearly_full", "server_crashed", *DEATHS)


def _space_line(server: Server) -> str:
    disk = data_disk(server)
    return (
        f"{server.name} {data_folder(server)}: {size(disk.number('free'))} of {size(disk.number('total'))} free, "
        f"{disk.count('inodes_free')} of {disk.count('inodes_total')} inodes"
    )


def _no_bytes(disk: Facts) -> bool:
    return "free" in disk and disk.number("free") < FULL


def _no_inodes(disk: Facts) -> bool:
    total, free = disk.number("inodes_total"), disk.number("inodes_free")
    return total > 0 and (free < INODES or free < total * INODES_SHARE)


def _cannot_write(server: Server) -> list[str]:
    """How a server shows that its writes to disk fail: its own word, or its last words."""
    said = saving_fails(server)
    return said or ([unit_line(server)] if down(server) else [])


def _disk_full(case: Case, append_only: bool) -> Iterator[Match]:
    for server in case.servers:
        disk = data_disk(server)
        failing = _cannot_write(server)
        logged = last_words(server, "no_space") if down(server) else _newest_reason(server)
        if not failing or not (logged or _no_bytes(disk)) or _no_inodes(disk) or disk.flag("read_only"):
            continue
        if append_only == _by_append_only_file(server):
            lines = (*failing, *sample(server, logged), _space_line(server))
            sure = CERTAIN if _no_bytes(disk) else LIKELY
            yield Match(server.name, lines, reach(case, server), grade(case, server), sure)


def _newest_reason(server: Server) -> Optional[Facts]:
    """Lines about want of space of a server that runs, unless it was denied something since."""
    found, denied = server.logged("no_space"), server.logged("denied")
    return None if found and denied and denied.number("last") > found.number("last") else found


def _by_append_only_file(server: Server) -> bool:
    if down(server):
        return server.files.flag("aof_configured")
    return not server.view.flag("aof_ok", True)


def _disk_full_aof(case: Case) -> Iterator[Match]:
    named = list(_disk_full(case, append_only=True))
    yield from named
    for server in case.servers:
        ended, why = end_of_life(server, "ended_by_disk"), server.logged("no_space")
        if ended and why and server.name not in {match.where for match in named}:
            lines = (*sample(server, why), *sample(server, ended), _space_line(server), unit_line(server))
            yield Match(server.name, lines, reach(case, server), grade(case, server))


def _disk_full_rdb(case: Case) -> Iterator[Match]:
    return _disk_full(case, append_only=False)


def _inodes_gone(case: Case) -> Iterator[Match]:
    for server in case.servers:
        disk = data_disk(server)
        if _no_inodes(disk):
            failing = _cannot_write(server)
            lines = (_space_line(server), *failing)
            yield Match(
                server.name, lines, reach(case, server) if failing else (), grade(case, server) if failing else WARNING
            )


def _read_only(case: Case) -> Iterator[Match]:
    for server in case.servers:
        if data_disk(server).flag("read_only"):
            lines = [f"{server.name} {data_folder(server)}: mounted read-only", *_cannot_write(server)]
            lines += sample(server, server.logged("read_only"))
            kernel = server.host.logged("kernel", "disk_error") if server.host else None
            lines += sample(server, kernel, "kernel")
            yield Match(server.name, tuple(lines), reach(case, server), grade(case, server))


def _nearly_full(case: Case) -> Iterator[Match]:
    for host in case.hosts.values():
        server = case.server(host.name)
        data = data_folder(server) if server else ""
        lines = [
            line
            for path, disk in host.section("system").named("disks")
            if (line := _tight(host, path, disk, server if path == data else None))
        ]
        if lines:
            yield Match(host.name, tuple(lines))


def _tight(host: Host, path: str, disk: Facts, server: Optional[Server]) -> str:
    """Why the space at a path is short, as evidence; empty where it is not. ``server``: whose data lies there."""
    if "free" not in disk or disk.flag("read_only"):
        return ""
    free, total = disk.number("free"), disk.number("total")
    text = f"{host.name} {path}: {size(free)} of {size(total)} free"
    if server is not None:
        needed = max(server.files.number("rdb.size"), server.files.number("aof.size"))
        if free < needed:
            return f"{text}; the next snapshot or rewrite needs about {size(needed)}"
        return text if free < total * NEARLY and free < NEARLY_BYTES else ""
    return text if free < ROOM else ""


def _denied(server: Server) -> list[tuple[str, Facts]]:
    """Paths in or above the data folder that the server's user may not use."""
    folder = data_folder(server)
    if not folder or server.host is None:
        return []
    denied = server.host.section("start").named("denied")
    return [(path, entry) for path, entry in denied if path == folder or path.startswith(f"{folder}/")]


def denied_line(server: Server, path: str, entry: Facts) -> str:
    """Why its user may not use a path, as evidence."""
    by = entry.text("blocked_by")
    what = entry.text("error") or f"owner {entry.text('owner')}, mode {entry.text('mode')}"
    user = server.unit.text("user") or "its user"
    return f"{server.name} {path}: {user} may not {entry.text('need')} it ({by}: {what})"


def _data_denied(case: Case) -> Iterator[Match]:
    for server in case.servers:
        denied = _denied(server)
        if denied:
            failing = _cannot_write(server)
            found = last_words(server, "denied") if down(server) else server.logged("denied")
            lines = [denied_line(server, path, entry) for path, entry in denied[:3]]
            yield Match(
                server.name,
                (*lines, *failing, *sample(server, found)),
                reach(case, server) if failing else (),
                grade(case, server) if failing else WARNING,
            )


CAUSES = (
    Cause(
        id="disk_full_aof",
        fault="F08",
        title="The disk is full: the append-only file cannot be written",
        severity=CRITICAL,
        at_risk=(
            "Writes are refused (MISCONF, also to PING: Sentinel takes a primary to be dead); a replica of Redis 7 and "
            "later ends itself."
        ),
        remedy=(
            "Make room or grow the disk. Redis tries again by itself: wait for aof_last_write_status:ok, then "
            "BGREWRITEAOF."
        ),
        avoid=(
            "Do not delete files in the append-only folder of a running server: nothing would be left to load. Do "
            "not restart it: it cannot save, so it does not stop either."
        ),
        detect=_disk_full_aof,
        explains=("disk_full_rdb", *FAILING),
    ),
    Cause(
        id="disk_full_rdb",
        fault="F07",
        title="The disk is full: no snapshot can be written",
        severity=CRITICAL,
        at_risk=(
            "Writes are refused (MISCONF, also to PING: Sentinel takes a primary to be dead), and all since the last "
            "snapshot is in memory only."
        ),
        remedy=(
            "Make room or grow the disk, then BGSAVE, and wait for rdb_last_bgsave_status:ok: writes go on by "
            "themselves."
        ),
        avoid=(
            "Do not set stop-writes-on-bgsave-error to no: writes are then accepted and never saved. Do not restart "
            "it: the stop hangs, and what is in memory is lost."
        ),
        detect=_disk_full_rdb,
        explains=FAILING,
    ),
    Cause(
        id="inodes_gone",
        fault="",
        title="The disk has room, but no inodes for new files",
        severity=CRITICAL,
        at_risk="Snapshots and rewrites fail with the words of a full disk.",
        remedy="Find the folder with the many small files (du --inodes) and empty it; then BGSAVE.",
        avoid="Do not grow the files on it: bytes are not what is short.",
        detect=_inodes_gone,
        explains=FAILING,
    ),
    Cause(
        id="disk_read_only",
        fault="F09",
        title="The file system of the data is read-only",
        severity=CRITICAL,
        at_risk="All since the last write to disk is in memory only.",
        remedy=(
            "Have another host be primary. Read the kernel's log for the reason, repair the file system, mount it "
            "writable, and let the server rejoin as a replica."
        ),
        avoid=(
            "Do not restart the server: the stop hangs while it cannot save. Do not mount a failing disk writable by "
            "force."
        ),
        detect=_read_only,
        explains=("disk_full_aof", "disk_full_rdb", "data_denied", *FAILING),
    ),
    Cause(
        id="data_denied",
        fault="F10",
        title="The server's user may not use its data folder",
        severity=CRITICAL,
        at_risk="It cannot load its data, or goes on without saving any.",
        remedy=(
            "Give the folder back to its user: chown -R redis:redis, mode 0750; where it is missing, mount it. Then "
            "systemctl reset-failed and start, or BGSAVE on a running server."
        ),
        avoid="Do not chmod 777 and do not run the server as root: everybody could read or replace the data.",
        detect=_data_denied,
        explains=("config_invalid", *FAILING),
        task="restore_files",
    ),
    Cause(
        id="disk_nearly_full",
        fault="",
        title="A disk is nearly full",
        severity=WARNING,
        at_risk="The next snapshot or rewrite may fail; then writes are refused.",
        remedy="Make room or grow the disk before that.",
        avoid="Do not delete the newest snapshot to make room.",
        detect=_nearly_full,
    ),
)

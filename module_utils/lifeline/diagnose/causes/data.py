# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Data on disk that is lost, broken or not loaded, and what a start would make of it."""

from __future__ import annotations

from typing import Callable, Iterator, Optional

from ...common.facts import Facts
from ..case import Case, Server
from ..log_evidence import last_words, sample, saving_fails, started_at
from .base import CRITICAL, WARNING, Cause, Match
from .process import grade, reach, unit_line

# Bytes; a snapshot of an empty server is smaller, one of a few keys is not.
EMPTY_RDB = 200

# Seconds by which a start, as INFO's uptime tells it, may lie beside the log's own word.
CLOCK_S = 2

# A server that cannot load its data is dead; why it is dead says more than that it is.
NOT_STARTING = ("process_dead", "start_limit", "process_restarted", "server_loading", "server_down", "server_silent")

# Workers that a wiped server no longer knows end, or go on unseen.
FORGOTTEN = ("units_unwell", "workers_gone", "scheduler_absent", "queue_unattended")


def _not_loading(pattern: str) -> Callable[[Case], Iterator[Match]]:
    """Servers that do not answer, and whose last start ended with such a line."""

    def detect(case: Case) -> Iterator[Match]:
        for server in case.servers:
            found = last_words(server, pattern)
            if not server.alive and not server.node.stopped_on_purpose and found is not None:
                lines = (*sample(server, found), unit_line(server), *copies(case, server))
                yield Match(server.name, lines, severity=grade(case, server))

    return detect


def since_start(server: Server, pattern: str) -> Optional[Facts]:
    """Lines that a live server wrote since its process started."""
    found, start = server.logged(pattern), started_at(server)
    return found if found and start and found.number("last") >= start - CLOCK_S else None


def copies(case: Case, but: Server) -> list[str]:
    """Who else holds data, as evidence: the remedy depends on it."""
    return [
        f"{other.name}: {other.node.role}, {other.view.count('keys')} keys"
        for other in case.servers
        if other is not but and other.alive
    ]


def loaded_nothing(server: Server) -> bool:
    """Its log has its last start, and no word of loading anything then or since."""
    return since_start(server, "ready") is not None and since_start(server, "loaded") is None


def _restarted_empty(case: Case) -> Iterator[Match]:
    server = case.primary
    if server is None or not loaded_nothing(server):
        return
    uptime = server.view.count("uptime_s")
    older = [other for other in case.servers if other.alive and other.view.count("uptime_s") > uptime + CLOCK_S]
    ready = server.logged("ready")
    before = ready is not None and ready.number("first") < started_at(server) - CLOCK_S
    noticed = [
        f"{watcher.name} log: {said.text('sample')}"
        for watcher in case.watchers
        if (said := watcher.logged("rebooted")) and said.number("last") >= started_at(server) - CLOCK_S
    ]
    if not older and not before and not noticed:
        return
    persistent = server.files.flag("aof_configured") or server.files.flag("rdb_configured")
    lines = [f"{server.name} started {uptime} s ago, loaded nothing, and has {server.view.count('keys')} keys"]
    if not persistent:
        lines.append(f"{server.name} keeps nothing on disk: neither appendonly nor save is set")
    lines += [f"{other.name} ran before, and has {other.view.count('keys')} keys now" for other in older]
    for other in case.servers:
        lines += other.log_line("flushing_old") if other is not server else []
    lines += noticed
    yield Match(server.name, tuple(lines), (*case.applications, case.service))


def _disk_empty(case: Case) -> Iterator[Match]:
    """A dead primary that would start with nothing."""
    server = case.last_primary
    if case.primary is not None or server is None or not server.node.unit_down or not server.files:
        return
    files = server.files
    configured = files.flag("aof_configured") or files.flag("rdb_configured")
    empty = files.count("rdb.size") == 0 and files.count("aof.size") == 0
    if configured and empty and files.text("dir"):
        lines = (unit_line(server), f"{server.name}: {files.text('dir')} holds neither snapshot nor append-only file")
        yield Match(server.name, (*lines, *copies(case, server)))


def _aof_over_rdb(case: Case) -> Iterator[Match]:
    for server in case.servers:
        created = since_start(server, "aof_created")
        old = server.files.count("rdb.size") > EMPTY_RDB and server.files.number("rdb.mtime") < started_at(server)
        if created and old and alone(server) and not server.files.texts("aof.stray"):
            size, keys = server.files.count("rdb.size"), server.view.count("keys")
            unread = f"{server.name}: a snapshot of {size} bytes is older than the start; there are {keys} keys"
            yield Match(server.name, (f"{server.name} log: {created.text('sample')}", unread))


def alone(server: Server) -> bool:
    """Whether what it loaded is what it has: a replica copies its primary anyway."""
    return server.alive and (server.is_primary or not server.node.link_up)


def _appendonly_drift(case: Case) -> Iterator[Match]:
    for server in case.servers:
        directives = server.host.section("start").texts("directives") if server.host else ["include"]
        known = "aof_configured" in server.files and "aof_enabled" in server.view and "include" not in directives
        # A replica has its append-only file closed while it loads what its primary sent.
        if not server.alive or not known or server.view.flag("loading"):
            continue
        written, running = server.files.flag("aof_configured"), server.view.flag("aof_enabled")
        if written and not running and server.view.count("keys"):
            what = "a restart would leave the snapshot aside and start with an empty append-only file"
        elif running and not written:
            what = "a restart would load the last snapshot and drop what came after it"
        else:
            continue
        said = {True: "yes", False: "no"}
        line = f"{server.name}: appendonly is {said[running]} in the server, {said[written]} in its file: {what}"
        # A whole new append-only file needs what its saves are short of: first that, which has a cause of its own.
        yield Match(server.name, (line,), task="" if saving_fails(server) else None)


def _aof_truncated(case: Case) -> Iterator[Match]:
    yield from _not_loading("aof_unfinished")(case)
    for server in case.servers:
        found = since_start(server, "aof_truncated")
        if found and alone(server):
            lines = (f"{server.name} log: {found.text('sample')}", *copies(case, server))
            yield Match(server.name, lines, reach(case, server), severity=WARNING)


def _manifest_lost(case: Case) -> Iterator[Match]:
    for server in case.servers:
        stray = server.files.texts("aof.stray")
        if not server.files.flag("aof_configured") or not stray:
            continue
        names = f"{server.name}: data in {', '.join(stray)}"
        if not server.files.flag("aof.manifest"):
            line = f"{names}, and no manifest that names it"
            yield Match(server.name, (line,), severity=_grade(case, server), task=_task(server))
        elif alone(server) and (created := since_start(server, "aof_created")):
            lines = (f"{server.name} log: {created.text('sample')}", f"{names} is named by no manifest")
            yield Match(server.name, lines, severity=CRITICAL, task="")


def _grade(case: Case, server: Server) -> str:
    return WARNING if server.alive else grade(case, server)


def _task(server: Server) -> Optional[str]:
    """A server that runs has all in memory, and writes a new file."""
    return "rewrite_aof" if server.alive else None


def _base_missing(case: Case) -> Iterator[Match]:
    for server in case.servers:
        missing = server.files.texts("aof.missing")
        if server.files.flag("aof_configured") and missing:
            line = f"{server.name}: the manifest names {', '.join(missing)}, which is not there"
            lines = (line, *server.log_line("aof_missing")) if not server.alive else (line,)
            yield Match(server.name, lines, severity=_grade(case, server), task=_task(server))


def _rdb_broken(case: Case) -> Iterator[Match]:
    yield from _not_loading("rdb_broken")(case)
    for server in case.servers:
        snapshot = server.files.sub("rdb")
        broken = snapshot and (not snapshot.text("header") or snapshot.maybe_flag("complete") is False)
        if server.alive and not server.files.flag("aof_configured") and broken and "header" in snapshot:
            line = f"{server.name}: the snapshot of {snapshot.count('size')} bytes does not begin or end like one"
            yield Match(server.name, (line,), severity=WARNING)


KEEP_COPY = "Copy the data directory before anything else."
FROM_REPLICA = (
    "Promote a replica (recover.yml), move this server's data aside and let it copy the new primary; only without any "
    "replica go back to a backup or to what can still be read."
)

CAUSES = (
    Cause(
        id="aof_over_rdb",
        fault="F18",
        title="The append-only file was switched on in the file: the snapshot was not loaded",
        severity=CRITICAL,
        at_risk="All data: it is only in dump.rdb now, and the next save overwrites that.",
        remedy=(
            "Copy dump.rdb away at once. Set appendonly no in the file, start the server from the copy, then CONFIG "
            "SET appendonly yes and, when the rewrite is done, CONFIG REWRITE."
        ),
        avoid="Do not restart or stop it first: a clean stop saves the empty data over dump.rdb.",
        detect=_aof_over_rdb,
        explains=("primary_restarted_empty", "process_restarted"),
    ),
    Cause(
        id="aof_manifest_lost",
        fault="F20",
        title="The append-only file's manifest is lost",
        severity=WARNING,
        at_risk=(
            "All data of this server at its next start: it starts empty, without an error, and its replicas follow."
        ),
        remedy=(
            f"{KEEP_COPY} While the server runs, BGREWRITEAOF writes a new manifest. Where it does not run, write "
            "the manifest from the files' numbers or restore it, or let the server copy another."
        ),
        avoid="Do not start it as it is: it begins a new, empty append-only file.",
        detect=_manifest_lost,
        explains=("primary_restarted_empty", "process_restarted"),
        task="resync",
    ),
    Cause(
        id="primary_restarted_empty",
        fault="F17",
        title="The primary came back empty, and its replicas erased their own data",
        severity=CRITICAL,
        at_risk="All data: a replica drops its own within seconds of the link.",
        remedy=(
            "Cut off any replica that still has data (REPLICAOF NO ONE) and promote it; else restore the newest backup "
            "or snapshot (also those of the replicas) into the primary while applications are stopped."
        ),
        avoid="Do not restart the replicas and do not save: their old files are the last copies.",
        detect=_restarted_empty,
        explains=("process_restarted", *FORGOTTEN),
    ),
    Cause(
        id="disk_empty",
        fault="F17",
        title="The dead primary has nothing on its disk to start from",
        severity=CRITICAL,
        at_risk="All data, if it is started: its replicas would then erase their own data.",
        remedy="Promote the replica with most data (recover.yml). See whether the data volume is mounted.",
        avoid="Do not start it as a primary.",
        detect=_disk_empty,
        explains=("process_dead",),
        task="failover",
    ),
    Cause(
        id="appendonly_drift",
        fault="F18",
        title="A restart would not load the server's data: appendonly differs between server and file",
        severity=WARNING,
        at_risk="At the next start: all data, or all since the last snapshot.",
        remedy=(
            "provision.yml, or by hand: CONFIG SET appendonly as it should be, wait for aof_rewrite_in_progress:0, "
            "then CONFIG REWRITE."
        ),
        avoid=(
            "Do not restart it before that; a handler that restarts it after a change of the file empties it "
            "without an error."
        ),
        detect=_appendonly_drift,
        task="configure_server",
    ),
    Cause(
        id="aof_base_missing",
        fault="F22",
        title="A part of the append-only file is missing",
        severity=WARNING,
        at_risk="This server's data: it does not start without that part.",
        remedy=(
            f"{KEEP_COPY} While the server runs, BGREWRITEAOF writes all of it again. "
            f"Where it does not run: {FROM_REPLICA}"
        ),
        avoid='Do not delete the manifest to "start clean": it starts empty, and replicas follow.',
        detect=_base_missing,
        explains=NOT_STARTING,
        task="resync",
    ),
    Cause(
        id="aof_truncated",
        fault="F19",
        title="The end of the append-only file is cut off",
        severity=WARNING,
        at_risk="The last writes before the crash.",
        remedy=(
            f"{KEEP_COPY} A replica that is ahead has them: promote it and let this server copy it. "
            "Where there is none, "
            "aof-load-truncated yes (Redis' default) loads the rest."
        ),
        avoid="Do not run redis-check-aof --fix without a copy: it cuts at the first flaw.",
        detect=_aof_truncated,
        explains=(*NOT_STARTING, "units_unwell"),
        task="resync",
    ),
    Cause(
        id="aof_corrupt",
        fault="F21",
        title="The append-only file is corrupt in the middle",
        severity=WARNING,
        at_risk="Everything after the damage; redis-check-aof (without --fix) on a copy says how much that is.",
        remedy=(f"{KEEP_COPY} {FROM_REPLICA}"),
        avoid=(
            "Do not run redis-check-aof --fix first: it drops everything after the damage (9 bad bytes cost 775 "
            "of 953)."
        ),
        detect=_not_loading("aof_corrupt"),
        explains=NOT_STARTING,
        task="resync",
    ),
    Cause(
        id="rdb_newer",
        fault="F23",
        title="The snapshot is of a newer version than the server",
        severity=WARNING,
        at_risk="Nothing yet; the file is whole.",
        remedy="Start it with the version that wrote the file, or let it copy a primary of its own version.",
        avoid="Do not move dump.rdb away and start a primary: it starts empty.",
        detect=_not_loading("rdb_version"),
        explains=NOT_STARTING,
        task="resync",
    ),
    Cause(
        id="rdb_unreadable",
        fault="F23",
        title="The server may not read its snapshot",
        severity=WARNING,
        at_risk="Nothing yet; the file is whole.",
        remedy="Give the file back to the server's user (chown redis:redis, mode 0640) and start it.",
        avoid=(
            "Do not use chmod 777, and do not run the server as root. Do not move dump.rdb away: a primary would "
            "start empty."
        ),
        detect=_not_loading("rdb_unreadable"),
        explains=(*NOT_STARTING, "data_denied"),
        task="restore_files",
    ),
    Cause(
        id="rdb_broken",
        fault="F23",
        title="The snapshot is broken",
        severity=WARNING,
        at_risk="What only this server had.",
        remedy=(f"{KEEP_COPY} {FROM_REPLICA}"),
        avoid="Do not move dump.rdb away and start a primary: it starts empty, and its replicas follow.",
        detect=_rdb_broken,
        explains=NOT_STARTING,
        task="resync",
    ),
)

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Memory: the server's own limit, the host's, forks that fail, swap, huge pages; and a disk that stalls the server."""

from __future__ import annotations

from typing import Iterator

from ..case import Case, Server
from ..log_evidence import MIB, sample, saving_fails, size
from .base import CERTAIN, CRITICAL, INFO, LIKELY, WARNING, Cause, Match
from .process import APPLICATIONS, grade, reach

# Share of maxmemory from which writes are refused: the server frees and takes a little all the time.
AT_LIMIT, NEAR_LIMIT = 0.98, 0.90

# Share of a control group's limit that the process alone holds; what the kernel caches for it can be dropped.
GROUP_LIMIT = 0.90

# Less than this share of a host's memory is nearly nothing.
HOST_LOW = 0.05

# Swapped out: this many bytes, and this share of the process.
SWAPPED_BYTES, SWAPPED_SHARE = MIB, 0.02

# A stall that is this long ago, in seconds, still counts, if there were as many in the window of the logs.
STALL_S, STALLS = 120.0, 2


def _limit(server: Server) -> tuple[float, float, str]:
    """(bytes used as the limit counts them, maxmemory, policy)."""
    info = server.deep.sub("info")
    if "maxmemory" in info:
        used = info.number("used_memory") - info.number("mem_not_counted_for_evict")
        return used, info.number("maxmemory"), info.text("maxmemory_policy")
    return server.view.number("used_memory"), server.view.number("maxmemory"), ""


def _memory_full(case: Case) -> Iterator[Match]:
    for server, used, limit, policy in _limited(case):
        evicts = policy.startswith("volatile-") and server.deep.count("info.evicted_keys") > 0
        if used >= limit * AT_LIMIT and not evicts:
            refused = server.deep.count("info.errors.OOM")
            lines = (
                f"{server.name}: {size(used)} of maxmemory {size(limit)} used, policy {policy or 'unknown'}",
                f"{server.name}: {refused} commands refused because memory ran out since its start",
            )
            sure = CERTAIN if refused and policy else LIKELY
            yield Match(server.name, lines, reach(case, server), sure=sure)


def _memory_nearly_full(case: Case) -> Iterator[Match]:
    for server, used, limit, policy in _limited(case):
        if limit * NEAR_LIMIT <= used < limit * AT_LIMIT:
            line = f"{server.name}: {size(used)} of maxmemory {size(limit)} used, policy {policy or 'unknown'}"
            yield Match(server.name, (line,))


def _limited(case: Case) -> Iterator[tuple[Server, float, float, str]]:
    """Primaries that refuse writes at their limit. A replica takes what its primary took."""
    for server in case.servers:
        used, limit, policy = _limit(server)
        if server.alive and server.is_primary and limit > 0 and not policy.startswith("allkeys-"):
            yield server, used, limit, policy


def _fork_failed(case: Case) -> Iterator[Match]:
    for server in case.servers:
        found, failing = server.logged("fork_failed"), saving_fails(server)
        if found and failing:
            lines = (*sample(server, found), *failing, *_fork_lines(server))
            yield Match(server.name, lines, severity=grade(case, server))


def _fork_lines(server: Server) -> list[str]:
    kernel = server.host.section("system") if server.host else None
    if not kernel:
        return []
    available, setting = size(kernel.number("memory.available")), kernel.text("kernel.overcommit_memory")
    lines = [f"{server.name}: vm.overcommit_memory = {setting}, {available} of memory available"]
    limit = server.process.maybe_number("processes_limit")
    return [*lines, f"{server.name}: limit of processes {limit:.0f}"] if limit is not None else lines


def _fork_at_risk(case: Case) -> Iterator[Match]:
    for server in case.servers:
        kernel = server.host.section("system") if server.host else None
        setting = kernel.text("kernel.overcommit_memory") if kernel else ""
        if not kernel or not server.alive or setting not in ("0", "2"):
            continue
        tight = setting == "2" or server.view.number("used_memory") > kernel.number("memory.available")
        line = f"{server.name}: vm.overcommit_memory = {setting}, it holds {size(server.view.number('used_memory'))}"
        yield Match(server.name, (line, *_fork_lines(server)[:1]), severity=WARNING if tight else INFO)


def _huge_pages(case: Case) -> Iterator[Match]:
    for server in case.servers:
        kernel = server.host.section("system").text("kernel.thp") if server.host else ""
        if "[always]" in kernel and server.process.maybe_number("thp") == 1:
            lines = (f"{server.name}: transparent huge pages: {kernel}", f"{server.name}: the process may use them")
            yield Match(server.name, lines)


def _swapping(case: Case) -> Iterator[Match]:
    for server in case.servers:
        swapped, resident = server.process.number("swap_kb") * 1024, server.process.number("rss_kb") * 1024
        if swapped >= SWAPPED_BYTES and swapped >= (swapped + resident) * SWAPPED_SHARE:
            pages = server.host.section("system").number("pages.swapped_in_per_s") if server.host else 0
            line = f"{server.name}: {size(swapped)} of the process are swapped out, {size(resident)} in memory"
            yield Match(server.name, (line, f"{server.name}: its host swaps in {pages:.0f} pages a second"))


def _disk_slow(case: Case) -> Iterator[Match]:
    for server in case.servers:
        found = server.logged("aof_fsync_slow")
        now = server.clock
        if not server.alive or not found or found.count("count") < STALLS or found.number("last") < now - STALL_S:
            continue
        system = server.host.section("system") if server.host else server.deep
        delayed = server.deep.count("info.aof_delayed_fsync")
        lines = [
            *sample(server, found),
            f"{server.name}: {found.count('count')} such lines, {delayed} delayed fsyncs since its start",
            f"{server.name}: tasks waited for disks {system.number('pressure.io'):.0f} % of the last 10 s",
        ]
        yield Match(server.name, tuple(lines))


def _group_limit(case: Case) -> Iterator[Match]:
    for server in case.servers:
        limit, resident = server.process.number("memory.limit"), server.process.number("rss_kb") * 1024
        if limit > 0 and resident >= limit * GROUP_LIMIT:
            line = f"{server.name}: holds {size(resident)} of the {size(limit)} that its control group allows"
            yield Match(server.name, (line,), severity=grade(case, server))


def _host_low(case: Case) -> Iterator[Match]:
    for host in case.hosts.values():
        memory = host.section("system").sub("memory")
        total, available = memory.number("total"), memory.number("available")
        if total > 0 and "available" in memory and available < total * HOST_LOW:
            waited = host.section("system").number("pressure.memory")
            swap = size(memory.number("swap_free"))
            lines = (
                f"{host.name}: {size(available)} of {size(total)} available, {swap} of swap free",
                f"{host.name}: tasks waited for memory {waited:.0f} % of the last 10 s",
            )
            yield Match(host.name, lines)


CAUSES = (
    Cause(
        id="memory_full",
        fault="F04",
        title="The primary has reached maxmemory and refuses writes",
        severity=CRITICAL,
        at_risk="Every write since then; reads and PING go on, so nothing fails over.",
        remedy=(
            "Raise redis_server_maxmemory where the host has room. Find what grew (redis-cli --bigkeys, queue lengths) "
            "and let the workers drain it."
        ),
        avoid=(
            "Do not switch a queue to allkeys-lru: jobs are then evicted silently. Do not fail over: the replica "
            "holds the same data."
        ),
        detect=_memory_full,
        explains=APPLICATIONS,
        task="scale",
    ),
    Cause(
        id="memory_nearly_full",
        fault="F04",
        title="The primary is near maxmemory",
        severity=WARNING,
        at_risk="At the limit every write is refused.",
        remedy=(
            "Find what grows (redis-cli --bigkeys, queue lengths); raise redis_server_maxmemory where the host has "
            "room."
        ),
        avoid="Do not switch a queue to allkeys-lru: jobs are then evicted silently.",
        detect=_memory_nearly_full,
        task="scale",
    ),
    Cause(
        id="fork_failed",
        fault="F24",
        title="The server cannot fork, so it cannot save",
        severity=CRITICAL,
        at_risk="All since the last save is in memory only, and writes are refused (MISCONF).",
        remedy=(
            "sysctl vm.overcommit_memory=1, raise the unit's TasksMax or the limit of processes, make memory free; "
            "then BGSAVE and wait for rdb_last_bgsave_status:ok."
        ),
        avoid="Do not restart the server: its data is in memory only. Do not set stop-writes-on-bgsave-error to no.",
        detect=_fork_failed,
        explains=("saving_fails", "fork_at_risk"),
        task="restore_files",
    ),
    Cause(
        id="fork_at_risk",
        fault="F24",
        title="The kernel may refuse the server's forks",
        severity=INFO,
        at_risk="Snapshots, rewrites and full resyncs fail once memory is short.",
        remedy="sysctl vm.overcommit_memory=1 (provision.yml sets it with redis_server_tune_kernel).",
        avoid="Do not wait for the first failed save: writes are refused then.",
        detect=_fork_at_risk,
    ),
    Cause(
        id="huge_pages",
        fault="F25",
        title="The kernel gives the server huge pages",
        severity=WARNING,
        at_risk="Forks copy far more memory than changed: latency and memory jump with each save.",
        remedy=(
            "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled, and permanently in the boot settings; "
            "disable-thp yes takes effect at the server's next start."
        ),
        avoid="Do not fail over because of latency where the other hosts have the same setting.",
        detect=_huge_pages,
    ),
    Cause(
        id="swapping",
        fault="F25",
        title="Part of the server is swapped out",
        severity=WARNING,
        at_risk="Commands wait for the disk; Sentinel may take a slow primary to be dead.",
        remedy="Give the host memory or take other programs off it; lower redis_server_maxmemory.",
        avoid="Do not run swapoff on a host that is short of memory: the kernel would kill the server.",
        detect=_swapping,
    ),
    Cause(
        id="disk_slow",
        fault="F25",
        title="The disk is too slow for the append-only file",
        severity=WARNING,
        at_risk="Writes wait for fsync; up to two seconds of them are not on disk yet.",
        remedy="Find what else loads the disk, or move the data to a faster one.",
        avoid="Do not fail over where both hosts share the storage: the problem moves with the primary.",
        detect=_disk_slow,
    ),
    Cause(
        id="memory_limit_near",
        fault="F03",
        title="The server is near the memory limit of its control group",
        severity=WARNING,
        at_risk="At the limit the kernel kills it.",
        remedy="Raise the limit (MemoryMax, or that of the container), or set redis_server_maxmemory to 75 % of it.",
        avoid="Do not start a save: the fork needs memory of the same group.",
        detect=_group_limit,
        explains=("swapping",),
    ),
    Cause(
        id="host_memory_low",
        fault="F03",
        title="A host is nearly out of memory",
        severity=WARNING,
        at_risk="The kernel kills the biggest process next, which is often Redis.",
        remedy="Find who grows (ps --sort=-rss) and stop it; give the host more memory.",
        avoid="Do not start a save or a resync now: forks need memory.",
        detect=_host_low,
        explains=("fork_at_risk",),
    ),
)
